"""The jobserver's client against pipes and fifos set up here, and against a real make."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildflow.jobserver import Jobserver

ROOT = Path(__file__).resolve().parent.parent


class Make:
    """Make's side: a pipe or fifo with tokens in it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.descriptors: list[int]
        if kind == "pipe":
            self.reader, self.writer = os.pipe()
            self.descriptors = [self.reader, self.writer]
            self.auth = f"--jobserver-auth={self.reader},{self.writer}"
        else:
            path = folder / "GMfifo 1"
            os.mkfifo(path)
            self.reader = self.writer = os.open(path, os.O_RDWR)
            self.descriptors = [self.reader]
            self.auth = "--jobserver-auth=fifo:" + str(path).replace(" ", "\\ ")

    def put(self, tokens: bytes) -> None:
        os.write(self.writer, tokens)

    def left(self) -> bytes:
        """The tokens in it, sorted, which it then has no more."""
        found = b""
        while select.select([self.reader], [], [], 0)[0]:
            found += os.read(self.reader, 1)
        return bytes(sorted(found))

    def environ(self, extra: str = "") -> dict[str, str]:
        return {"MAKEFLAGS": f"{extra} -j4 {self.auth}"}

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


@pytest.fixture(params=["pipe", "fifo"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    make = Make(request.param, tmp_path)
    yield make
    make.close()


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Make]:
    make = Make("pipe", tmp_path)
    yield make
    make.close()


def client(make: Make) -> Jobserver:
    found = Jobserver.from_environment(make.environ())
    assert found is not None
    return found


def shared(make: Make) -> Jobserver:
    """A client as on a system without /proc: it reads through the description that make has too."""
    return Jobserver(os.dup(make.reader), os.dup(make.writer), own_description=False)


def test_one_job_needs_no_token(make: Make) -> None:
    with client(make) as jobserver:
        assert jobserver.held == 0
        assert jobserver.acquire()
        assert jobserver.held == 1
        assert not jobserver.acquire()
        jobserver.release()
        assert jobserver.acquire()
    assert make.left() == b""


def test_tokens_come_and_go_back_as_they_were(make: Make) -> None:
    make.put(b"+a\0")
    jobserver = client(make)
    assert [jobserver.acquire() for _ in range(5)] == [True] * 4 + [False]
    assert jobserver.held == 4
    jobserver.release()
    assert len(returned := make.left()) == 1
    make.put(returned)
    assert jobserver.acquire()
    jobserver.close()
    assert make.left() == b"\0+a"


def test_the_implicit_token_is_given_back_last(make: Make) -> None:
    make.put(b"+")
    with client(make) as jobserver:
        assert jobserver.acquire() and jobserver.acquire()
        jobserver.release()
        assert make.left() == b"+"
        jobserver.release()
        assert make.left() == b""
        jobserver.release()  # one too many gives no slot that was never taken
        assert jobserver.acquire() and not jobserver.acquire()


def test_close_gives_everything_back_once(make: Make) -> None:
    make.put(b"++")
    jobserver = client(make)
    assert jobserver.acquire() and jobserver.acquire() and jobserver.acquire()
    jobserver.close()
    jobserver.close()
    jobserver.release()
    assert not jobserver.acquire()
    assert make.left() == b"++"


def test_the_descriptor_is_readable_when_a_token_is_there(make: Make) -> None:
    with client(make) as jobserver:
        assert select.select([jobserver], [], [], 0)[0] == []
        make.put(b"+")
        assert select.select([jobserver], [], [], 0)[0] == [jobserver]


def test_a_read_that_must_wait_elsewhere_still_waits(make: Make) -> None:
    with client(make):
        assert os.get_blocking(make.reader) and os.get_blocking(make.writer)


def test_our_descriptors_are_no_jobs(make: Make) -> None:
    with client(make) as jobserver:
        assert not os.get_inheritable(jobserver.fileno())


def test_a_forked_child_gives_nothing_back(make: Make) -> None:
    make.put(b"+")
    jobserver = client(make)
    assert jobserver.acquire() and jobserver.acquire()
    child = os.fork()
    if child == 0:
        jobserver.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert make.left() == b""
    jobserver.close()
    assert make.left() == b"+"


def test_the_old_option_and_the_last_of_several(pipe: Make) -> None:
    fds = f"{pipe.reader},{pipe.writer}"
    for flags in (
        f"--jobserver-fds={fds} -j",
        f"ks -j3 --jobserver-auth=98,99 --jobserver-auth={fds}",
        f" -j3 --jobserver-auth={fds} -- --jobserver-auth=98,99 X=-j1",
        f" -j3 --jobserver-auth={fds} -- X=\\ --\\ --jobserver-auth=98,99",
    ):
        found = Jobserver.from_environment({"MAKEFLAGS": flags})
        assert found is not None, flags
        found.close()


def test_no_jobserver(pipe: Make, tmp_path: Path) -> None:
    fds = f"{pipe.reader},{pipe.writer}"
    (tmp_path / "plain").write_text("+++")
    flags = [
        "",
        "w",
        " -j4",
        " -j1",
        f" -j1 --jobserver-auth={fds}",
        f" -- X=1 --jobserver-auth={fds}",
        f" -- --jobserver-auth={fds}",
        " -j --jobserver-auth=-2,-2",
        " -j --jobserver-auth=3",
        " -j --jobserver-auth=",
        " -j --jobserver-auth=a,b",
        " -j --jobserver-auth=9999,9998",
        " -j --jobserver-auth=99999999999999999999,4",
        f" -j --jobserver-auth={pipe.writer},{pipe.reader}",
        f" -j --jobserver-auth=fifo:{tmp_path}/none",
        f" -j --jobserver-auth=fifo:{tmp_path}/plain",
        f" -j --jobserver-auth=fifo:{tmp_path}",
        " -j --jobserver-auth=fifo:",
        " -j --jobserver-auth=fifo:a\0b",
        " -j --jobserver-auth=gmake_semaphore_1",
    ]
    assert [f for f in flags if Jobserver.from_environment({"MAKEFLAGS": f})] == []
    assert Jobserver.from_environment({}) is None


def test_descriptors_that_are_something_else_by_now(tmp_path: Path) -> None:
    """Without the `+`, make closes them, and the numbers are free for any file that this process opens."""
    with open(tmp_path / "log", "w+") as log, open(os.devnull, "w+") as null:
        flags = f" -j3 --jobserver-auth={log.fileno()},{null.fileno()}"
        assert Jobserver.from_environment({"MAKEFLAGS": flags}) is None


@given(st.text())
def test_any_makeflags_is_read(text: str) -> None:
    for flags in (text, f" -j2 --jobserver-auth={text}"):
        found = Jobserver.from_environment({"MAKEFLAGS": flags.replace("\x00", "")})
        if found is not None:  # it found a pipe of this very process
            found.close()


def test_shared_description(pipe: Make) -> None:
    pipe.put(b"+-")
    with shared(pipe) as jobserver:
        assert [jobserver.acquire() for _ in range(4)] == [True, True, True, False]
        jobserver.release()
        assert jobserver.acquire()
    assert pipe.left() == b"+-"
    assert os.get_blocking(pipe.reader)


def test_shared_description_when_another_client_is_quicker(pipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The poll says that there is a token, and it is gone when it is read: the read is ended."""
    former = signal.getsignal(signal.SIGALRM)
    with shared(pipe) as jobserver:
        assert jobserver.acquire()
        monkeypatch.setattr(select, "select", lambda r, w, x, t: (r, w, x))
        descriptors = len(os.listdir("/dev/fd"))
        assert not jobserver.acquire()
        assert len(os.listdir("/dev/fd")) == descriptors
        pipe.put(b"+")
        assert jobserver.acquire()
    monkeypatch.undo()
    assert pipe.left() == b"+"
    assert signal.getsignal(signal.SIGALRM) is former
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


class Interrupt(Exception):
    """What the handler of the next test raises."""


@pytest.mark.parametrize("own", [True, False])
def test_an_interrupt_loses_no_token(pipe: Make, own: bool) -> None:
    """A handler that raises comes at every place of `acquire` and `release`, as Ctrl-C may."""
    pipe.put(b"+-*/")
    jobserver = client(pipe) if own else shared(pipe)
    assert jobserver.acquire()  # the implicit one
    file = sys.modules[Jobserver.__module__].__file__
    steps = 0
    stop = 0

    def count(frame: FrameType, event: str, argument: object) -> Callable[..., object] | None:
        """A trace function: raises where a signal's handler would, before the instruction number `stop`."""
        nonlocal steps
        # Not inside the timer's set-up, which has nothing of a token in it.
        if frame.f_code.co_filename != file or frame.f_code.co_name in ("_acquire_in_time", "give_up"):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            steps += 1
            if steps == stop:
                raise Interrupt
        return count

    def interrupted(call: Callable[[], object], at: int) -> bool:
        nonlocal steps, stop
        steps, stop = 0, at
        sys.settrace(count)
        try:
            call()
        except Interrupt:
            return True
        finally:
            sys.settrace(None)
        return False

    for call in (jobserver.acquire, jobserver.release, jobserver.close):
        at = 1
        while interrupted(call, at):
            # What is in the pipe and what is held are all there are, at every moment.
            there = pipe.left()
            assert len(there) + len(jobserver._tokens) == 4
            assert sorted([*(bytes([b]) for b in there), *jobserver._tokens]) == [b"*", b"+", b"-", b"/"]
            pipe.put(there)
            if call == jobserver.release:  # have one to give back at the next step, too
                jobserver.acquire()
            at += 1
        assert at > 5
    assert pipe.left() == b"*+-/"


def run_client(make: Make, code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **make.environ(), "PYTHONPATH": str(ROOT)},
        pass_fds=make.descriptors,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


HOLD_THREE = """
import os
from buildflow.jobserver import Jobserver
jobserver = Jobserver.from_environment(os.environ)
assert jobserver.acquire() and jobserver.acquire() and jobserver.acquire()
"""


@pytest.mark.parametrize("end", ["", "raise SystemExit(3)", "1 / 0", "os.kill(os.getpid(), 2)"])
def test_tokens_go_back_however_python_ends(make: Make, end: str) -> None:
    make.put(b"+-")
    run_client(make, HOLD_THREE + end)
    assert make.left() == b"+-"


CLIENT = """
import os, sys
from buildflow.jobserver import Jobserver
jobserver = Jobserver.from_environment(os.environ)
if jobserver is None:
    print("none")
    sys.exit()
print("slots", sum(jobserver.acquire() for _ in range(10)))
if sys.argv[1] == "close":
    jobserver.close()
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("jobs", "prefix", "expected"),
    [("-j3", "+", "slots 3"), ("-j2", "+", "slots 2"), ("-j1", "+", "none"), ("-k", "+", "none")],
)
def test_under_make(tmp_path: Path, jobs: str, prefix: str, expected: str) -> None:
    (tmp_path / "client.py").write_text(CLIENT)
    # One after the other, so that each finds all the slots of make, those of the one before included.
    lines = "".join(f"\t{prefix}@'{sys.executable}' client.py {how}\n" for how in ("close", "exit", "close"))
    (tmp_path / "Makefile").write_text(f"all:\n{lines}")
    environ = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    made = subprocess.run(
        ["make", jobs, "all"],
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert made.stdout.splitlines() == [expected] * 3
    # Make counts its tokens at its end, and would say here that some are missing.
    assert (made.returncode, made.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_under_make_without_its_plus(tmp_path: Path) -> None:
    """Make 4.3 and before close the pipe then; later ones say so, or pass a fifo, which is open to all."""
    (tmp_path / "client.py").write_text(CLIENT)
    (tmp_path / "Makefile").write_text(f"all:\n\t@'{sys.executable}' client.py exit\n")
    environ = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    made = subprocess.run(
        ["make", "-j3", "all"],
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert made.stdout in ("none\n", "slots 3\n")
    assert (made.returncode, made.stderr) == (0, "")
