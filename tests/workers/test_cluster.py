"""What a cluster worker does where the queue misbehaves: with a stand-in for Slurm's commands (`fake_slurm.py`)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildflow.environments.base import Command
from buildflow.errors import FlowError
from buildflow.workers import states
from buildflow.workers.base import End, Task
from buildflow.workers.slurm import Worker
from story import Ran, Running, Story

NAMES = ("sbatch", "squeue", "sacct", "scontrol", "scancel")
QUICK = ("-o", "poll=0.1", "-o", "latency_wait=0.2", "-o", f"python={sys.executable}")


class Fake:
    """A project whose `slurm` is a stand-in."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.folder = story.home / "slurm"
        self.counter = story.home / "counter"
        bin = story.home / "bin"
        for folder in (self.folder, bin):
            folder.mkdir()
        script = Path(__file__).parent / "fake_slurm.py"
        for name in NAMES:
            (bin / name).write_text(f"#!{sys.executable}\n" + script.read_text().partition("\n")[2])
            (bin / name).chmod(0o755)
        (bin / "fake_slurm.py").write_text(script.read_text())
        for name in NAMES:
            text = (bin / name).read_text().replace("__file__", repr(str(bin / "fake_slurm.py")))
            (bin / name).write_text(text)
        self.env = {"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(self.folder)}

    def misbehave(self, how: str, times: int = 1_000_000) -> None:
        (self.folder / how).write_text(str(times))

    def many(self, count: int, body: str = ":", attributes: str = "") -> None:
        self.story.write("Flowfile", f"""
            n = {{1..{count}}}
            all: out/{{n}}.txt

            {attributes}
            out/{{n}}.txt:
                echo {{n}} >> {self.counter}
                {body}
                echo {{n}} > {{out}}
        """)

    def build(self, *words: str, ok: bool | int = True) -> Ran:
        return self.story.build("--worker", "slurm", *QUICK, *words, env=self.env, ok=ok)

    def start(self, *words: str) -> Running:
        return self.story.start("build", "--json", "--worker", "slurm", *QUICK, *words, env=self.env)

    def counted(self) -> list[int]:
        return sorted(map(int, self.counter.read_text().split())) if self.counter.exists() else []

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().split()

    def close(self) -> None:
        for path in self.folder.glob("*/*.pid"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(path.read_text()), signal.SIGTERM)


@pytest.fixture
def fake(story: Story) -> Iterator[Fake]:
    fake = Fake(story)
    yield fake
    story.close()
    fake.close()


def notes(ran: Ran) -> list[str]:
    return [event["text"] for event in ran.events if event["event"] == "note"]


def test_short_jobs_go_together(fake: Fake) -> None:
    fake.many(60)
    assert fake.build("-o", "poll=10").ran == 60
    assert fake.counted() == list(range(1, 61))
    assert fake.asked().count("sbatch") == 1
    assert len(list(fake.folder.glob("1/*.pid"))) < 60  # not each job had an element of its own
    assert not os.listdir(fake.story.path(".bflow/queue"))


def test_a_batch_of_a_given_size(fake: Fake) -> None:
    fake.many(7, attributes="[batch = 3]")
    assert fake.build().ran == 7
    assert (fake.folder / "1" / "size").read_text() == "3"


def test_known_jobs_get_fewer_elements(fake: Fake) -> None:
    fake.many(60)
    fake.build()
    fake.many(60, "true")
    fake.build()
    assert (fake.folder / "1" / "size").read_text() == "60"
    assert (fake.folder / "2" / "size").read_text() == "16"


def test_a_queue_that_does_not_answer_for_a_while(fake: Fake) -> None:
    fake.misbehave("mute", 2)
    fake.many(3)
    ran = fake.build()
    assert ran.ran == 3
    assert len(notes(ran)) == 2
    assert notes(ran)[0].startswith("slurm: the queue does not answer (sbatch: error: Unable to contact")
    assert notes(ran)[1] == "slurm: the queue answers again"


def test_a_submission_whose_answer_was_lost_is_found_by_its_name(fake: Fake) -> None:
    fake.misbehave("swallow", 1)
    fake.many(4)
    assert fake.build().ran == 4
    assert fake.asked().count("sbatch") == 1
    assert fake.counted() == [1, 2, 3, 4]


def test_a_job_that_the_queue_lost_before_it_began(fake: Fake) -> None:
    fake.misbehave("drop", 1)
    fake.many(3)
    assert fake.build().ran == 3
    assert fake.asked().count("sbatch") == 2
    assert fake.counted() == [1, 2, 3]


def test_a_queue_that_loses_everything(fake: Fake) -> None:
    fake.misbehave("drop")
    fake.many(1)
    assert "it vanished from the queue" in fake.build(ok=1).err
    assert fake.counted() == []


def test_a_job_that_vanished_while_it_ran(fake: Fake) -> None:
    pid = fake.story.home / "pid"
    fake.many(1, f"echo $PPID > {pid}.new; mv {pid}.new {pid}; sleep 100")
    running = fake.start()
    running.until_exists(pid)
    fake.misbehave("amnesia")
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert "it vanished from the queue" in running.wait(ok=1).err


def test_a_state_that_is_not_known_is_no_error(fake: Fake) -> None:
    gate = fake.story.home / "gate"
    fake.misbehave("word")
    fake.many(1, f"while [ ! -e {gate} ]; do sleep 0.05; done")
    running = fake.start()
    running.until(lambda: fake.folder.joinpath("asked").exists() and fake.asked().count("squeue") > 3, "some questions")
    gate.touch()
    assert running.wait().ran == 1


def test_a_node_without_python(fake: Fake) -> None:
    fake.many(2)
    ran = fake.build("-o", "python=/no/such/python", ok=1)
    assert "its node could not start it: " in ran.err and "/no/such/python" in ran.err
    assert "not found" in ran.err


def test_a_refusal(fake: Fake) -> None:
    fake.many(2)
    ran = fake.build("-k", "-o", "args=--unknown", ok=1)
    assert ran.failed == 2
    assert "the queue refused it: sbatch: unrecognized option '--unknown'" in ran.err


def test_a_cancelled_job_that_never_began(fake: Fake) -> None:
    started = fake.story.home / "started"
    fake.many(5, f"touch {started}; sleep 100")
    running = fake.start("-k")
    running.until_exists(started)
    (fake.folder / "1" / "cancelled").touch()
    for path in fake.folder.glob("1/*.pid"):
        os.kill(int(path.read_text()), signal.SIGTERM)
    ran = running.wait(ok=1)
    assert ran.failed == 5
    assert ran.err.count("it was cancelled in the queue") == 5


def test_a_driver_that_died_before_the_queue_answered(fake: Fake) -> None:
    """The submission is found by its name, and its jobs run once."""
    gate = fake.story.home / "gate"
    fake.many(3, f"while [ ! -e {gate} ]; do sleep 0.05; done")
    running = fake.start()
    running.until(lambda: len(fake.counted()) == 2, "two jobs that run")
    running.process.kill()
    running.process.wait()
    (name,) = os.listdir(fake.story.path(".bflow/queue"))
    fake.story.path(f".bflow/queue/{name}/id").unlink(missing_ok=True)  # it may not have come to write it
    gate.touch()
    assert fake.build().ran == 3
    assert fake.counted() == [1, 2, 3]
    assert fake.asked().count("sbatch") == 1


def test_a_driver_that_died_before_it_submitted(fake: Fake) -> None:
    """What it wrote of the submission counts for nothing, also where the queue gets it late."""
    fake.many(3)
    fake.misbehave("mute")
    running = fake.start()
    running.until(lambda: "does not answer" in running.out, "a note")
    running.process.kill()
    running.process.wait()
    fake.misbehave("mute", 0)
    assert fake.build().ran == 3
    assert fake.counted() == [1, 2, 3]


def test_an_interrupt_cancels_all(fake: Fake) -> None:
    started = fake.story.home / "started"
    fake.many(6, f"touch {started}; sleep 100")
    running = fake.start()
    running.until_exists(started)
    running.signal()
    running.wait(ok=130)
    assert "scancel" in fake.asked()
    assert not os.listdir(fake.story.path(".bflow/queue"))


def test_a_missing_command(story: Story) -> None:
    story.write("Flowfile", "a.txt:\n    touch {out}\n")
    ran = story.build("--worker", "slurm", env={"PATH": os.path.dirname(sys.executable)}, ok=2)
    assert "the worker slurm needs the command sbatch, and there is none on the PATH" in ran.err


def test_an_option_that_is_no_number() -> None:
    with pytest.raises(FlowError, match="batch = many is no number for the worker slurm"):
        Worker(batch="many")


def test_what_a_driver_left_half_written(fake: Fake) -> None:
    fake.many(1)
    fake.story.write(".bflow/queue/bflow-x-1/about.new", "{")
    assert fake.build().ran == 1
    assert not os.listdir(fake.story.path(".bflow/queue"))


def test_a_queue_that_does_not_answer_to_an_interrupt(fake: Fake) -> None:
    """Its jobs are cancelled by the next build."""
    started = fake.story.home / "started"
    fake.many(1, f"echo $PPID > {started}; sleep 100")
    running = fake.start()
    running.until_exists(started)
    fake.misbehave("mute")
    running.signal()
    os.kill(int(started.read_text()), signal.SIGTERM)
    running.wait(ok=130)
    fake.misbehave("mute", 0)
    fake.many(1, "true")
    assert fake.build().ran == 1
    assert not os.listdir(fake.story.path(".bflow/queue"))


class TestOneTaskThatIsNotWanted:
    @pytest.fixture
    def worker(self, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
        for name, value in fake.env.items():
            monkeypatch.setenv(name, value)
        worker = Worker(poll=0.1, python=sys.executable)
        worker.open(str(fake.story.root))
        yield worker
        worker.close()

    def test_before_it_is_submitted(self, worker: Worker, tmp_path: Path) -> None:
        task = Task(1, Command(["true"], {}, str(tmp_path)), str(tmp_path / "log"), rule="r")
        worker.start(task)
        worker.end(task)
        (end,) = worker.wait(0)
        assert end.task is task and end.stopped

    def test_while_it_runs(self, worker: Worker, tmp_path: Path) -> None:
        script = f"touch {tmp_path}/began; sleep 100"
        env = {"PATH": os.environ["PATH"]}
        task = Task(1, Command(["sh", "-c", script], env, str(tmp_path)), str(tmp_path / "log"), rule="r")
        worker.start(task)
        while not (tmp_path / "began").exists():
            assert worker.wait(0.05) == []
        worker.end(task)
        while not (ends := worker.wait(0.1)):
            pass
        assert ends[0].stopped and ends[0].error is None


class TestLateFiles:
    """A file system that shows the end of a job before its outputs."""

    @pytest.fixture
    def worker(self, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
        for name, value in fake.env.items():
            monkeypatch.setenv(name, value)
        worker = Worker(latency_wait=0.3, poll=0.1, python="/bin/false")
        worker.open(str(fake.story.root))
        yield worker
        worker.close()

    def submitted(self, worker: Worker, folder: Path, size: int) -> tuple[Task, Path]:
        """A task that is in the queue and of which a node tells that it ended well, with an output of that size."""
        output = folder / "out"
        task = Task(1, Command(["true"], {}, str(folder)), str(folder / "log"), outputs=[str(output)], rule="r")
        worker.start(task)
        while not worker.live:
            worker._wait(0.05)
        end = Path(worker.live[0].submission.folder, "0.end")
        told = {
            "status": 0, "timed_out": False, "stopped": False, "memory": False, "runtime": {}, "host": "n1",
            "started": 0, "ended": 0, "sizes": [size],
        }  # fmt: skip
        Path(worker.live[0].submission.folder, "0.began").write_text('{"element": 0}')
        end.with_suffix(".new").write_text(json.dumps(told))
        os.replace(end.with_suffix(".new"), end)
        return task, output

    def ends(self, worker: Worker) -> list[End]:
        while not (found := worker.wait(0.1)):
            pass
        return found

    def test_they_are_waited_for(self, worker: Worker, tmp_path: Path) -> None:
        _, output = self.submitted(worker, tmp_path, 3)
        worker._look_at_files()
        output.write_text("a")
        worker._look_at_files()
        assert worker.ended == []
        output.write_text("abc")
        (end,) = self.ends(worker)
        assert (end.status, end.error, end.host) == (0, None, "n1")

    def test_and_not_for_ever(self, worker: Worker, tmp_path: Path) -> None:
        _, output = self.submitted(worker, tmp_path, 3)
        (end,) = self.ends(worker)
        assert end.error == f"its node has written {output}, which is not here after 0.3 s"


def test_what_slurm_says_of_arrays() -> None:
    from buildflow.workers.slurm import _accounted, _places, _seen, _shown

    assert list(_places("0,3-5,10-20:5%2")) == [0, 3, 4, 5, 10, 15, 20]
    seen = _seen(["t|7|2-3|PENDING||Priority", "t|7|1|CANCELLED by 0|n1|None", "broken", "t|7|0|ODD+|n1|None"])
    name, found = seen["t"]
    assert name == "7"
    kinds = [found[element].kind for element in range(4)]
    assert kinds == [states.UNKNOWN, states.CANCELLED, states.WAITING, states.WAITING]
    assert _accounted(["7_0|NODE_FAIL|n2", "7_[1-2]|CANCELLED by 0|None assigned"])[0].node == "n2"
    assert _shown(["JobId=8 ArrayJobId=7 ArrayTaskId=1 JobState=OUT_OF_MEMORY Reason=OutOfMemory NodeList=n1"]) == {
        1: states.State(states.MEMORY, "n1", "OutOfMemory")
    }


def test_what_grid_engine_says_of_arrays() -> None:
    from buildflow.workers.sge import _accounted, _places, _seen

    assert list(_places("1,3-7:2")) == [0, 2, 4, 6]
    rows = "".join(
        f"<job_list><JB_job_number>4</JB_job_number><JB_name>{name}</JB_name><state>{state}</state>"
        f"<queue_name>all.q@n1</queue_name><tasks>{tasks}</tasks></job_list>"
        for name, state, tasks in (("t", "dr", "1"), ("t", "Eqw", "2"), ("other", "r", "3"), ("t", "qw", "3-4:1"))
    )
    seen = _seen(f"<job_info>{rows}</job_info>", {"t"})
    assert seen is not None and list(seen) == ["t"]
    kinds = [seen["t"][1][element].kind for element in range(4)]
    assert kinds == [states.RUNNING, states.FAILED, states.WAITING, states.WAITING]
    assert _seen("no xml", {"t"}) is None
    record = "=" * 62 + "\nhostname  n1\ntaskid  {}\nfailed  {}\nexit_status  {}\n"
    records = [record.format(1, "100 : assumedly after job", 137), record.format(2, 0, 143), record.format(3, 0, 0)]
    found = _accounted("".join(records))
    assert [found[element].kind for element in range(3)] == [states.CANCELLED, states.CANCELLED, states.COMPLETED]
