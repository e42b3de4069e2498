"""The local worker by itself: processes that start, end and leave nothing, whatever else the program does."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildflow import Flow, Submitter
from buildflow.environments.base import Command
from buildflow.workers import local
from buildflow.workers.base import End, Task
from buildflow.workers.cf import Worker
from story import CHECKOUT


@pytest.fixture(params=["pidfd", "no pidfd"])
def worker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker here, and as it is on macOS."""
    if request.param == "no pidfd":
        monkeypatch.delattr(os, "pidfd_open", raising=False)
        monkeypatch.delattr(os, "waitid", raising=False)
    elif not hasattr(os, "pidfd_open"):
        pytest.skip("processes have no descriptors here")
    found = Worker(4)
    yield found
    found.close()


def task(number: int, folder: Path, *argv: str, **options: object) -> Task:
    env = {"PATH": os.environ["PATH"]}
    return Task(number, Command(list(argv), env, str(folder)), str(folder / f"log{number}"), **options)  # type: ignore[arg-type]


def sh(number: int, folder: Path, text: str, **options: object) -> Task:
    return task(number, folder, "sh", "-c", text, **options)


def ends(worker: Worker, count: int) -> dict[int, End]:
    found: list[End] = []
    late = time.monotonic() + 30
    while len(found) < count:
        found += worker.wait(1.0)
        assert time.monotonic() < late
    return {end.task.number: end for end in found}


def until(path: Path) -> None:
    late = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < late
        time.sleep(0.005)


def zombies() -> list[int]:
    """The children of this process that have ended and nobody has waited for."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            try:
                fields = Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == os.getpid() and fields[0] == b"Z":
                found.append(int(name))
    return found


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()


def test_statuses_signals_and_output(worker: Worker, tmp_path: Path) -> None:
    worker.start(sh(1, tmp_path, "echo out; echo err >&2; exit 0"))
    worker.start(sh(2, tmp_path, "exit 7"))
    worker.start(sh(3, tmp_path, "kill -KILL $$"))
    worker.start(task(4, tmp_path, "no-such-command"))
    found = ends(worker, 4)
    assert [found[n].status for n in (1, 2, 3, 4)] == [0, 7, -signal.SIGKILL, 127]
    assert (tmp_path / "log1").read_text() == "out\nerr\n"
    assert "no-such-command: command not found" in (tmp_path / "log4").read_text()
    assert not any(end.timed_out or end.stopped or end.error for end in found.values())
    assert not zombies()


def test_redirections_as_bash_makes_them(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("text")
    one = task(1, tmp_path, "sh", "-c", "cat; echo err >&2")
    one.command.redirections = [(0, "r", "in"), (1, "w", "out"), (2, "dup", "1")]
    worker.start(one)
    ends(worker, 1)
    assert (tmp_path / "out").read_text() == "texterr\n" and (tmp_path / "log1").read_text() == ""


def test_a_group_ends_with_its_first_process(worker: Worker, tmp_path: Path) -> None:
    worker.start(sh(1, tmp_path, "sleep 1000 & echo $! > child"))
    ends(worker, 1)
    child = int((tmp_path / "child").read_text())
    late = time.monotonic() + 10
    while Path(f"/proc/{child}/stat").exists() and b") Z" not in Path(f"/proc/{child}/stat").read_bytes():
        assert time.monotonic() < late


def test_time_is_up_politely_and_then_not(worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "GRACE", 0.1)
    worker.start(sh(1, tmp_path, "trap 'echo asked; exit 0' TERM; sleep 1000 & wait", time=0.2))
    worker.start(sh(2, tmp_path, "trap 'echo asked' TERM; while :; do sleep 0.01; done", time=0.2))
    found = ends(worker, 2)
    assert found[1].timed_out and found[1].status == 0
    assert found[2].timed_out and found[2].status == -signal.SIGKILL
    assert "asked" in (tmp_path / "log1").read_text() and "asked" in (tmp_path / "log2").read_text()


def test_stop_asks_first_and_kills_then(worker: Worker, tmp_path: Path) -> None:
    worker.start(sh(1, tmp_path, "trap 'touch a; exit 0' TERM; touch ready1; sleep 1000 & wait"))
    worker.start(sh(2, tmp_path, "trap 'touch b' TERM; touch ready2; while :; do sleep 0.01; done"))
    until(tmp_path / "ready1")
    until(tmp_path / "ready2")
    worker.stop(kill=False)
    first = ends(worker, 1)
    assert first[1].stopped and first[1].status == 0
    until(tmp_path / "b")
    worker.stop(kill=True)
    second = ends(worker, 1)
    assert second[2].stopped and second[2].status == -signal.SIGKILL


def test_wake_ends_a_wait(worker: Worker, tmp_path: Path) -> None:
    worker.start(sh(1, tmp_path, "touch ready; sleep 1000"))
    until(tmp_path / "ready")
    worker.wake()
    assert worker.wait(None) == []


def test_close_ends_what_runs(worker: Worker, tmp_path: Path) -> None:
    before = descriptors()
    second = Worker(2)
    second.start(sh(1, tmp_path, "echo $$ > pid; exec sleep 1000"))
    until(tmp_path / "pid")
    second.close()
    second.close()
    assert descriptors() == before and not zombies()


def test_a_thousand_jobs_leave_nothing(worker: Worker, tmp_path: Path) -> None:
    for number in range(worker.direct + 1):  # the last one is started by the process beside it
        worker.start(task(number, tmp_path, "true"))
        ends(worker, 1)
    before = descriptors()
    count = 1000 if worker._pidfd else 100
    started = ended = 0
    while ended < count:
        while started < count and started - ended < 8:
            started += 1
            worker.start(task(started, tmp_path, "true"))
        got = worker.wait(5.0)
        assert all(end.status == 0 for end in got)
        ended += len(got)
    assert descriptors() == before and not zombies() and not worker.running


def test_other_children_of_the_program_are_left_alone(worker: Worker, tmp_path: Path) -> None:
    """Those of the caller keep their status, and theirs are not taken for jobs."""
    others = [subprocess.Popen(["sh", "-c", f"exit {n}"]) for n in range(5)]
    for n in range(5):
        worker.start(sh(n, tmp_path, f"exit {n + 10}"))
    assert {n: end.status for n, end in ends(worker, 5).items()} == {n: n + 10 for n in range(5)}
    assert [other.wait() for other in others] == list(range(5))


def test_a_status_that_another_part_of_the_program_took_is_told(worker: Worker, tmp_path: Path) -> None:
    worker.start(sh(1, tmp_path, "exit 0"))
    os.waitpid(-1, 0)
    end = ends(worker, 1)[1]
    assert end.error is not None and "took its exit status" in end.error


def test_no_descriptor_left_for_a_process_is_no_reason_to_lose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(os, "pidfd_open"):
        pytest.skip("processes have no descriptors here")
    worker = Worker(2)

    def none_left(pid: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", none_left)
    worker.start(sh(1, tmp_path, "exit 5"))
    assert ends(worker, 1)[1].status == 5
    worker.close()


def test_a_script_that_another_process_has_open_is_tried_again(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    real = subprocess.Popen

    def busy(*arguments: object, **options: object) -> object:
        tries.append(1)
        if len(tries) < 3:
            raise OSError(26, "Text file busy")
        return real(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", busy)
    worker.start(task(1, tmp_path, "true"))
    assert ends(worker, 1)[1].status == 0 and len(tries) == 3


# ---- through Python


def flow(root: Path) -> Flow:
    found = Flow(root=root, n=["1", "2", "3"])
    found.rule("out/{n}", shell="echo {n} > {out}; sleep 0.01")
    return found


@pytest.mark.parametrize("name", ["cf", "debug"])
def test_a_submitter_works_in_a_thread(tmp_path: Path, name: str) -> None:
    """Where no signal handler can be set."""
    got: list[object] = []

    def build() -> None:
        try:
            with Submitter(worker=name) as submit:
                got.append(submit(flow(tmp_path), "out/{n}"))
        except BaseException as error:
            got.append(error)

    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    thread = threading.Thread(target=build)
    thread.start()
    thread.join(60)
    assert len(got) == 1 and not isinstance(got[0], BaseException), got
    assert (tmp_path / "out/3").read_text() == "3\n"
    assert handlers == [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]


def test_a_submitter_works_in_a_notebook_whose_loop_runs_and_beside_other_children(tmp_path: Path) -> None:
    async def cell() -> int:
        other = await asyncio.create_subprocess_exec("sh", "-c", "sleep 0.05; exit 9")
        with Submitter(worker="cf", n_procs=2) as submit:
            submit(flow(tmp_path), "out/{n}")
        return await other.wait()

    assert asyncio.run(cell()) == 9
    assert (tmp_path / "out/1").read_text() == "1\n"


def test_two_submitters_of_two_projects_in_two_threads(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def build(name: str) -> None:
        try:
            (tmp_path / name).mkdir()
            with Submitter(worker="cf", n_procs=2) as submit:
                submit(flow(tmp_path / name), "out/{n}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=build, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors
    assert (tmp_path / "a/out/2").exists() and (tmp_path / "b/out/2").exists()


def test_two_threads_of_one_project_wait_for_each_other(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def build() -> None:
        try:
            with Submitter(worker="cf") as submit:
                submit(flow(tmp_path), "out/{n}")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not errors and (tmp_path / "out/2").exists()


def test_an_interrupt_in_a_script_ends_the_jobs(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from buildflow import Flow, Submitter\n"
        f"flow = Flow(root={str(tmp_path)!r})\n"
        "flow.rule('out', shell='echo $$ > pid; mv pid ROOT/pid; echo half > {out}; sleep 1000')\n".replace(
            "ROOT", str(tmp_path)
        )
        + "with Submitter(worker='cf') as submit:\n    submit(flow, 'out')\n"
    )
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    process = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True, env=env)
    until(tmp_path / "pid")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode != 0 and "KeyboardInterrupt" in said
    assert not (tmp_path / "out").exists()
    late = time.monotonic() + 10
    while True:
        try:
            os.kill(int((tmp_path / "pid").read_text()), 0)
        except ProcessLookupError:
            break
        assert time.monotonic() < late


# ---- through the process beside the loop


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Worker]:
    """A worker whose tasks are all started by the process beside it."""
    worker = Worker(4)
    worker.direct = 0
    yield worker
    worker.close()
    assert not zombies()


def spawned(worker: Worker) -> bool:
    return worker._spawner is not None


needs_pidfd = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="processes have no descriptors here")


@needs_pidfd
def test_spawned_statuses_signals_output_and_redirections(busy: Worker, tmp_path: Path) -> None:
    busy.start(sh(1, tmp_path, "echo out; echo err >&2; exit 3"))
    busy.start(sh(2, tmp_path, "kill -TERM $$"))
    one = task(3, tmp_path, "cat")
    (tmp_path / "from").write_text("text")
    one.command.redirections = ((0, "r", "from"), (1, "w", "to"))
    busy.start(one)
    found = ends(busy, 3)
    assert spawned(busy)
    assert (found[1].status, found[2].status, found[3].status) == (3, -signal.SIGTERM, 0)
    assert Path(found[1].task.log).read_text() == "out\nerr\n"
    assert (tmp_path / "to").read_text() == "text"
    assert all((end.runtime["wall_s"] or 0) > 0 for end in found.values())


@needs_pidfd
def test_spawned_what_cannot_be_started_says_what_a_shell_says(busy: Worker, tmp_path: Path) -> None:
    busy.start(task(1, tmp_path, "no-such-command"))
    script = tmp_path / "script"
    script.write_text("exit 7\n")  # without a first line
    script.chmod(0o755)
    busy.start(task(2, tmp_path, str(script)))
    folder = tmp_path / "folder"
    folder.mkdir()
    busy.start(task(3, tmp_path, str(folder)))
    missing = task(4, tmp_path, "cat")
    missing.command.redirections = ((0, "r", "nowhere"),)
    busy.start(missing)
    found = ends(busy, 4)
    assert [found[n].status for n in (1, 2, 3, 4)] == [127, 7, 126, 1]
    assert "command not found" in Path(found[1].task.log).read_text()
    assert "nowhere: No such file or directory" in Path(found[4].task.log).read_text()


@needs_pidfd
def test_spawned_time_stop_and_a_large_command(busy: Worker, tmp_path: Path) -> None:
    slow = sh(1, tmp_path, "sleep 60")
    slow.time = 0.2
    busy.start(slow)
    assert ends(busy, 1)[1].timed_out
    busy.start(task(2, tmp_path, "printf", "%s", "x" * 100_000))  # more than a message holds
    assert ends(busy, 1)[2].status == 0
    busy.start(sh(3, tmp_path, "sleep 60"))
    busy.stop(kill=False)
    assert ends(busy, 1)[3].stopped


@needs_pidfd
def test_the_end_of_the_spawner_is_told_and_survived(busy: Worker, tmp_path: Path) -> None:
    busy.start(sh(1, tmp_path, "sleep 0.01"))
    ends(busy, 1)
    busy.start(sh(2, tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 60"))
    late = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < late
        busy.wait(0.01)
    assert busy._spawner is not None
    busy._spawner.process.kill()
    end = ends(busy, 1)[2]
    assert end.error is not None and "was killed" in end.error
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    busy.start(sh(3, tmp_path, "exit 0"))
    assert ends(busy, 1)[3].status == 0


@needs_pidfd
def test_where_the_spawner_cannot_be_had_tasks_are_started_without(
    busy: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    for number in range(3):
        busy.start(sh(number, tmp_path, f"exit {number}"))
    assert {number: end.status for number, end in ends(busy, 3).items()} == {0: 0, 1: 1, 2: 2}
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    busy.direct = 0
    busy.start(sh(4, tmp_path, "exit 4"))
    assert ends(busy, 1)[4].status == 4


@pytest.mark.parametrize("direct", [0, 8])
def test_what_a_command_names_for_its_cleanup_is_run_where_it_did_not_end_by_itself(
    tmp_path: Path, direct: int
) -> None:
    worker = Worker(4)
    worker.direct = direct
    for number, text in enumerate(("exit 0", "exit 3", "kill -KILL $$", "exec sleep 60")):
        one = sh(number, tmp_path, text)
        one.command.cleanup = ["/bin/sh", "-c", f"echo x >> {tmp_path}/cleaned.{number}"]
        one.time = 0.2 if number == 3 else None
        worker.start(one)
    ends(worker, 4)
    assert [(tmp_path / f"cleaned.{number}").exists() for number in range(4)] == [False, False, True, True]
    worker.close()
