"""What runs on a node of a cluster (`buildflow/node.py`), by itself: a process that gets the folder of a submission."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildflow.environments.base import Command
from buildflow.job import Amounts
from buildflow.workers.base import Task
from buildflow.workers.submission import Submission, to_end
from story import CHECKOUT

NODE = CHECKOUT / "buildflow" / "node.py"
ENV = {"PATH": os.environ.get("PATH", os.defpath), "COMMON": "all"}


class Site:
    """Tasks in a folder, submitted to nobody: nodes are started by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tasks: list[Task] = []
        self.nodes: list[subprocess.Popen[bytes]] = []

    def task(self, *argv: str, env: dict[str, str] | None = None, **given: Any) -> Task:
        cwd = self.folder / f"work{len(self.tasks)}"
        cwd.mkdir()
        command = Command(list(argv), {**ENV, **(env or {})}, str(cwd))
        task = Task(len(self.tasks), command, f"{cwd}.log", folder=str(cwd), **given)
        self.tasks.append(task)
        return task

    def shell(self, text: str, **given: Any) -> Task:
        return self.task("sh", "-c", text, **given)

    def submission(self, elements: int = 1, batch: int | None = None, **given: Any) -> Submission:
        (self.folder / "queue").mkdir(exist_ok=True)
        made = Submission(str(self.folder / "queue" / "token"), self.tasks, elements, batch)
        made.write("slurm", **given)
        return made

    def start(
        self, submission: Submission, element: int = 0, env: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        node = subprocess.Popen(
            [sys.executable, "-I", "-S", NODE, submission.folder, str(element)],
            env={**os.environ, "ONLY_THE_NODES": "1", **(env or {})}, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        self.nodes.append(node)
        return node

    def run(self, submission: Submission, element: int = 0, env: dict[str, str] | None = None) -> int:
        return self.start(submission, element, env).wait(60)

    def log(self, task: Task) -> str:
        return Path(task.log).read_text()

    def close(self) -> None:
        for node in self.nodes:
            node.kill()
            node.wait()


@pytest.fixture
def site(tmp_path: Path) -> Any:
    site = Site(tmp_path)
    yield site
    site.close()


def until(holds: Callable[[], Any]) -> Any:
    end = time.monotonic() + 30
    while not (value := holds()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return value


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def pid_in(path: Path) -> int:
    return until(lambda: path.exists() and path.read_text().strip().isdigit() and int(path.read_text()))  # type: ignore[no-any-return]


def test_a_task_sees_its_environment_and_no_other(site: Site) -> None:
    one = site.task("env", env={"OWN": "1\udcff"})
    two = site.task("env", env={"OWN": "2"})
    assert site.run(site.submission(batch=2)) == 0
    text = Path(one.log).read_bytes()
    assert sorted(text.split(b"\n")) == sorted([b"", b"COMMON=all", b"OWN=1\xff", b"PATH=" + os.fsencode(ENV["PATH"])])
    assert "OWN=2" in site.log(two)


def test_how_a_task_ended(site: Site) -> None:
    good = site.shell("echo out > made; mkdir folder", outputs=["work0/made", "work0/folder", "work0/none"])
    good.outputs = [f"{good.folder}/{name}" for name in ("made", "folder", "none")]
    site.shell("exit 3")
    site.shell("kill -9 $$")
    submission = site.submission(batch=3)
    assert site.run(submission, env={"SLURMD_NODENAME": "n7"}) == 1
    told = [submission.end(number) for number in range(3)]
    assert [end["status"] for end in told if end] == [0, 3, -9]
    assert told[0] and told[0]["sizes"] == [4, -1, None] and told[0]["host"] == "n7"
    assert to_end(good, told[0]).runtime["wall_s"] is not None
    assert sorted(submission.ends()) == [0, 1, 2]


def test_redirections_and_commands_that_are_not_there(site: Site) -> None:
    direct = site.task("cat")
    direct.command.redirections = [(0, "r", "in"), (1, "w", "out"), (2, "dup", "1")]
    Path(direct.folder, "in").write_text("text")
    missing = site.task("no-such-command")
    replaced = site.task("no-such-command", fallback=lambda: ["sh", "-c", "no-such-command; echo $?"])
    script = site.task("./script")
    Path(script.folder, "script").write_text("echo a script without a first line\n")
    Path(script.folder, "script").chmod(0o755)
    submission = site.submission(batch=4)
    site.run(submission)
    assert Path(direct.folder, "out").read_text() == "text"
    assert site.log(missing) == "bflow: no-such-command: command not found\n"
    assert [submission.end(number)["status"] for number in range(4)] == [0, 127, 0, 0]  # type: ignore[index]
    assert site.log(replaced).endswith("127\n")
    assert site.log(script) == "a script without a first line\n"


def test_time(site: Site) -> None:
    site.shell("sleep 100 & sleep 100", time=0.2)
    submission = site.submission()
    site.run(submission)
    told = submission.end(0)
    assert told and told["timed_out"] and not told["stopped"] and told["status"] == -15


def test_a_task_that_takes_more_memory_than_it_asked_for(site: Site) -> None:
    amounts = Amounts()
    amounts.mem = 50 << 20
    text = "import time; x = b'x' * 100_000_000; time.sleep(60)"
    task = site.task(sys.executable, "-c", text, amounts=amounts)
    submission = site.submission(watch_memory=True)
    site.run(submission)
    told = submission.end(0)
    assert told and told["memory"] and told["status"] < 0
    assert to_end(task, told).error == "it took more memory than it asked for (50M)"


def test_elements_share_the_tasks(site: Site) -> None:
    for _ in range(30):
        site.shell("echo once >> ../counter")
    submission = site.submission(elements=4)
    nodes = [site.start(submission, element) for element in range(4)]
    assert [node.wait(60) for node in nodes] == [0] * 4
    assert (site.folder / "counter").read_text().count("once") == 30
    assert sorted(submission.ends()) == list(range(30))


def test_an_element_takes_no_more_than_its_batch(site: Site) -> None:
    for _ in range(5):
        site.shell("true")
    submission = site.submission(elements=3, batch=2)
    site.run(submission, 1)
    assert sorted(submission.ends()) == [2, 3]
    site.run(submission, 2)
    assert sorted(submission.ends()) == [2, 3, 4]


def test_a_task_that_was_taken_back_is_not_run(site: Site) -> None:
    site.shell("touch ../ran")
    submission = site.submission()
    assert submission.take_back(0)
    site.run(submission)
    assert not (site.folder / "ran").exists()
    assert not submission.take_back(0)


def test_a_task_that_has_begun_is_not_run_twice(site: Site) -> None:
    site.shell("echo ran >> ../counter")
    submission = site.submission()
    site.run(submission)
    site.run(submission)
    assert (site.folder / "counter").read_text() == "ran\n"
    assert not submission.take_back(0)


def test_a_submission_that_is_gone(site: Site) -> None:
    site.shell("true")
    submission = site.submission()
    submission.remove()
    (site.folder / "queue").rmdir()
    assert site.run(submission) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2, signal.SIGXCPU])
def test_a_node_that_is_told_to_end(site: Site, number: int) -> None:
    site.shell("echo $$ > ../pid; sleep 100", time=100)
    site.shell("touch ../second")
    submission = site.submission(batch=2)
    node = site.start(submission)
    pid = pid_in(site.folder / "pid")
    node.send_signal(number)
    assert node.wait(30) == 143
    told = submission.end(0)
    assert told and told["stopped"] and told["status"] == -15
    assert gone(pid)
    assert submission.end(1) is None and not (site.folder / "second").exists()


def test_a_task_that_does_not_hear(site: Site) -> None:
    site.shell("trap '' TERM; echo $$ > ../pid; while :; do sleep 0.1; done")
    submission = site.submission()
    node = site.start(submission)
    pid_in(site.folder / "pid")
    node.terminate()
    assert node.wait(30) == 143
    told = submission.end(0)
    assert told and told["stopped"] and told["status"] == -9


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc here")
def test_a_node_that_is_killed_takes_its_task_along(site: Site) -> None:
    task = site.shell("echo $$ > ../pid; sleep 100")
    task.command.cleanup = ["sh", "-c", f"touch {site.folder}/clean"]
    submission = site.submission()
    node = site.start(submission)
    pid = pid_in(site.folder / "pid")
    node.kill()
    until(lambda: gone(pid))
    until((site.folder / "clean").exists)


def test_what_outlives_a_task_is_cleaned_up(site: Site) -> None:
    for text, limit in (("sleep 100", 0.1), ("true", None)):
        task = site.shell(text, time=limit)
        task.command.cleanup = ["sh", "-c", f"echo $COMMON >> {site.folder}/clean"]
    site.run(site.submission(batch=2))
    assert (site.folder / "clean").read_text() == "all\n"  # after the one that was killed


def test_devices_of_the_queue_reach_a_task_that_asked_for_some(site: Site) -> None:
    amounts = Amounts()
    amounts.gpus = 1
    with_gpu = site.task("env", amounts=amounts)
    with_gpu.command.prefix = "INSIDE_"
    without = site.task("env")
    site.run(site.submission(batch=2), env={"CUDA_VISIBLE_DEVICES": "3"})
    assert "INSIDE_CUDA_VISIBLE_DEVICES=3\n" in site.log(with_gpu)
    assert "CUDA" not in site.log(without)


def test_an_end_is_whole(site: Site) -> None:
    site.shell("true")
    submission = site.submission()
    Path(submission.folder, "0.end.new").write_text("{")
    assert submission.ends() == []
    site.run(submission)
    assert json.loads(Path(submission.folder, "0.end").read_text())["status"] == 0
