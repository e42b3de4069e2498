"""The one helper of end-to-end tests: a story is a project in a temporary folder and the real command run in it.

    def test_an_edit_runs_what_reads_it(story):
        story.write("Flowfile", \"\"\"
            out/{n}.txt: in/{n}.txt
                cp {in} {out}
        \"\"\")
        story.write("in/a.txt", "one")
        assert story.build("out/a.txt").ran == 1
        story.edit("in/a.txt", "one", "two")
        assert story.build("out/a.txt").ran == 1
        assert story.read("out/a.txt") == "two"

It knows the command's promises (exit status, `--json`), and nothing of the package's modules. When a test fails, pytest
shows the story so far: each command, what it said, and the Flowfile (`Story.account`).
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

CHECKOUT = Path(__file__).resolve().parent.parent
COMMAND = (sys.executable, str(CHECKOUT / "buildflow" / "scripts" / "bflow"))  # needs no installation

# `story.bflow(…, ok=…)`: True: 0; False: another one that is no crash (1, 2 or 130); a number: that one; None: any.
Status = Union[bool, int, None]
Event = dict[str, Any]


@dataclass
class Ran:
    """A command that has ended: its words, exit status (negative: the signal that killed it), output and messages."""

    words: tuple[str, ...]
    status: int
    out: str
    err: str
    account: Callable[[], str] = field(repr=False)

    @property
    def events(self) -> list[Event]:
        """What `--json` printed, one event a line of the output."""
        found = []
        for line in self.out.splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                raise AssertionError(f"not an event: {line!r}\n{self.account()}") from None
            assert isinstance(event, dict) and "event" in event, f"not an event: {line!r}\n{self.account()}"
            found.append(event)
        return found

    @property
    def summary(self) -> Event:
        """The last event, which is the build's own."""
        events = self.events
        assert events and events[-1]["event"] == "build", f"no build event at the end\n{self.account()}"
        return events[-1]

    @property
    def ran(self) -> int:
        return int(self.summary["ran"])

    @property
    def cached(self) -> int:
        return int(self.summary["cached"])

    @property
    def up_to_date(self) -> int:
        return int(self.summary["up_to_date"])

    @property
    def failed(self) -> int:
        return int(self.summary["failed"])

    @property
    def skipped(self) -> int:
        return int(self.summary["skipped"])

    def jobs(self, state: str | None = "ran") -> list[tuple[str, ...]]:
        """The targets of each job that ended in `state` (`ran`, `cached`, `failed`, `skipped`; None: any), sorted."""
        events = (e for e in self.events if e["event"] == "job" and state in (None, e["state"]))
        return sorted(tuple(e["targets"]) for e in events)


class Running:
    """A command that still runs: for `watch`, for signals, for two builds at once. It dies with its story."""

    def __init__(self, words: tuple[str, ...], process: subprocess.Popen[bytes], account: Callable[[], str]) -> None:
        self.words = words
        self.process = process
        self._account = account
        self._text = {"out": "", "err": ""}
        self._seen = 0  # the characters of `out` that next_event has passed
        self._changed = threading.Condition()
        self._open = 2
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True)
            for name, stream in (("out", process.stdout), ("err", process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, stream: Any) -> None:
        while data := os.read(stream.fileno(), 1 << 16):
            with self._changed:
                self._text[name] += data.decode("utf-8", "surrogateescape")
                self._changed.notify_all()
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        return self._text["out"]

    @property
    def err(self) -> str:
        return self._text["err"]

    def until(self, holds: Callable[[], Any], what: str = "a condition", timeout: float = 30) -> Any:
        """Wait until `holds()` is true, and return it. It is asked again whenever there is output, and now and then."""
        end = time.monotonic() + timeout
        while not (value := holds()):
            assert time.monotonic() < end, f"waited {timeout} s in vain for {what}\n{self._account()}"
            if self.process.poll() is not None and not self._open:
                value = holds()
                assert value, f"it ended before {what}\n{self._account()}"
                break
            with self._changed:
                self._changed.wait(0.02)
        return value

    def until_says(self, text: str, timeout: float = 30) -> None:
        """Wait until `text` is in its messages (stderr)."""
        self.until(lambda: text in self.err, f"{text!r} in its messages", timeout)

    def until_exists(self, path: Path, timeout: float = 30) -> None:
        """Wait for a file, by which a recipe says how far it is."""
        self.until(path.exists, str(path), timeout)

    def next_event(self, kind: str | None = None, timeout: float = 30) -> Event:
        """The next event of `kind` (of any) that `--json` prints; those before it are passed over."""

        def take() -> Event | None:
            while (end := self.out.find("\n", self._seen)) >= 0:
                line = self.out[self._seen : end]
                self._seen = end + 1
                event: Event = json.loads(line)
                if kind in (None, event["event"]):
                    return event
            return None

        event: Event = self.until(take, f"an event {kind or ''}", timeout)
        return event

    def signal(self, number: int = signal.SIGINT, group: bool = False) -> None:
        """Send a signal to the command alone (as `kill`), or to its whole process group (as a terminal's Ctrl-C)."""
        if group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def wait(self, ok: Status = True, timeout: float = 60) -> Ran:
        """Wait for its end."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s\n{self._account()}") from None
        for reader in self._readers:
            reader.join(5)  # a process that it has left behind may hold the pipes for good
        ran = Ran(self.words, self.process.returncode, self.out, self.err, self._account)
        check_status(ran, ok)
        return ran

    def kill(self) -> None:
        """End it, and whatever it has started."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)  # so that it ends its jobs itself
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        kill_session(self.process.pid)
        self.process.wait()


class Story:
    """A project's folder (`root`, below pytest's `tmp_path`), its own HOME beside it, and the real command."""

    def __init__(self, tmp_path: Path) -> None:
        self.root = tmp_path / "project"
        self.home = tmp_path / "home"
        self.root.mkdir()
        self.home.mkdir()
        self.told = False  # whether a failure's message has the account already
        self._past: list[Ran | Running] = []
        self._running: list[Running] = []

    # The files. Paths are relative to the project's root, or absolute.

    def path(self, path: str | Path) -> Path:
        return self.root / path

    def write(self, path: str | Path, text: str | bytes = "", mode: int | None = None) -> Path:
        """Make a file and its folders. A text of several lines loses its common indent and a first empty line."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, str):
            if "\n" in text:
                text = textwrap.dedent(text).removeprefix("\n")
            text = text.encode("utf-8", "surrogateescape")
        file.write_bytes(text)
        if mode is not None:
            file.chmod(mode)
        return file

    def read(self, path: str | Path) -> str:
        return self.path(path).read_bytes().decode("utf-8", "surrogateescape")

    def exists(self, path: str | Path) -> bool:
        """Whether there is anything of that name, a dangling link included."""
        return os.path.lexists(self.path(path))

    def edit(self, path: str | Path, old: str, new: str) -> None:
        """Replace a text that must be there once or more, in place."""
        text = self.read(path)
        assert old in text, f"{old!r} is not in {path}:\n{text}"
        file = self.path(path)
        if not os.access(file, os.W_OK):  # a hard link into the cache: an editor would replace the file
            file.unlink()
        file.write_bytes(text.replace(old, new).encode("utf-8", "surrogateescape"))

    def touch(self, path: str | Path) -> None:
        """Give a file another time and nothing else."""
        file = self.path(path)
        stat = file.stat()
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))

    def remove(self, *paths: str | Path) -> None:
        """Remove files, or folders with all they hold. They must be there."""
        for path in paths:
            file = self.path(path)
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file)
            else:
                file.unlink()

    def files(self, below: str | Path = ".") -> list[str]:
        """All files and links of the project (of a folder of it) but bflow's own, sorted, relative to the root."""
        found = []
        for folder, folders, names in os.walk(self.path(below)):
            folders[:] = [name for name in folders if name != ".bflow"]
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            found += [os.path.relpath(os.path.join(folder, name), self.root) for name in names + links]
        return sorted(found)

    # The command.

    def environment(self, extra: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """What the command sees: the same on every machine, but for the PATH. None in `extra` takes a name out."""
        keep = ("USER", "LOGNAME", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
        environment = {name: os.environ[name] for name in keep if name in os.environ}
        # Recipes that say python3 mean the one that runs the tests.
        folders = [os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]
        environment |= {
            "PATH": os.pathsep.join(folders),
            "HOME": str(self.home),
            "PYTHONPATH": str(CHECKOUT),
        }
        for name, value in (extra or {}).items():
            if value is None:
                environment.pop(name, None)
            else:
                environment[name] = value
        return environment

    def bflow(
        self,
        *words: str | Path,
        ok: Status = True,
        env: Mapping[str, str | None] | None = None,
        cwd: str | Path = ".",
        stdin: str | None = None,
        timeout: float = 60,
    ) -> Ran:
        """Run `bflow WORDS` in the project and check its exit status. `stdin`: what it reads, else /dev/null."""
        arguments = tuple(map(str, words))
        process = self._spawn(arguments, env, cwd, subprocess.DEVNULL if stdin is None else subprocess.PIPE)
        data = None if stdin is None else stdin.encode("utf-8", "surrogateescape")
        try:
            out, err = process.communicate(data, timeout)
        except subprocess.TimeoutExpired as late:
            kill_session(process.pid)
            out, err = late.stdout or b"", late.stderr or b""
            with contextlib.suppress(subprocess.TimeoutExpired):  # a child that left the session may hold the pipes
                out, err = process.communicate(timeout=5)
            self._past.append(Ran(arguments, -signal.SIGKILL, _text(out), _text(err), self.account))
            raise AssertionError(f"still running after {timeout} s\n{self.account()}") from None
        except BaseException:
            kill_session(process.pid)
            raise
        ran = Ran(arguments, process.returncode, _text(out), _text(err), self.account)
        self._past.append(ran)
        check_status(ran, ok)
        return ran

    def build(self, *words: str | Path, **options: Any) -> Ran:
        """`bflow build --json WORDS`, with the options of `bflow`; its result has `.ran`, `.cached`, `.jobs()` …"""
        return self.bflow("build", "--json", *words, **options)

    def start(
        self, *words: str | Path, env: Mapping[str, str | None] | None = None, cwd: str | Path = "."
    ) -> Running:
        """Start `bflow WORDS` and go on; it is killed when the test ends."""
        arguments = tuple(map(str, words))
        running = Running(arguments, self._spawn(arguments, env, cwd, subprocess.DEVNULL), self.account)
        self._running.append(running)
        self._past.append(running)
        return running

    def _spawn(
        self, words: tuple[str, ...], env: Mapping[str, str | None] | None, cwd: str | Path, stdin: int
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, *words],
            cwd=self.path(cwd),
            env=self.environment(env),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that all that it starts can be found and ended
        )

    def close(self) -> None:
        """End what still runs."""
        for running in self._running:
            running.kill()

    def account(self) -> str:
        """The story so far, for a test that failed: the Flowfile, each command and what it said."""
        self.told = True
        parts = []
        for name in ("Flowfile", "Flowfile.py"):
            if self.path(name).is_file():
                parts.append(f"--- {name}\n{shortened(self.read(name), 100)}")
        for told in self._past:
            status = told.status if isinstance(told, Ran) else told.process.poll()
            ended = "still running" if status is None else f"exit status {status}"
            parts.append(f"--- {shlex.join(('bflow', *told.words))}   ({ended})")
            parts += [f"{mark} {line}" for mark, text in ((">", told.out), ("!", told.err)) for line in lines_of(text)]
        return "\n".join(parts)


def check_status(ran: Ran, ok: Status) -> None:
    """AssertionError where a command ended otherwise than `ok` says, or with a traceback of its own."""
    if ok is None:
        right = True
    elif isinstance(ok, bool):
        right = ran.status == 0 if ok else ran.status in (1, 2, 130)
    else:
        right = ran.status == ok
    expected = {True: "0", False: "a failure"}[ok] if isinstance(ok, bool) else str(ok)
    assert right, f"exit status {ran.status}, expected {expected}\n{ran.account()}"
    # The log of a Python recipe that failed holds a traceback too, but none that comes from here.
    own = f'File "{CHECKOUT / "buildflow"}'
    assert "Traceback (most recent call last)" not in ran.err or own not in ran.err, f"a traceback\n{ran.account()}"


def kill_session(leader: int) -> None:
    """Kill the process group that `leader` leads, and where there is a /proc all of its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
    for process in processes_of_session(leader):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)
    end = time.monotonic() + 5  # a process that was killed is still there until it gets to run
    while any(processes_of_session(leader)) and time.monotonic() < end:
        time.sleep(0.01)


def processes_of_session(leader: int) -> Iterable[int]:
    """The processes in the session of `leader`, zombies left out."""
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                # After the name in parentheses, which may hold anything: state, parent, group, session.
                fields = Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()
                if int(fields[3]) == leader and fields[0] != b"Z":
                    yield int(name)


def lines_of(text: str, most: int = 60) -> list[str]:
    return shortened(text, most).splitlines()


def shortened(text: str, most: int) -> str:
    """The first and last lines of a text of more than `most`."""
    lines = text.splitlines()
    if len(lines) <= most:
        return text
    return "\n".join([*lines[: most // 3], f"… {len(lines) - most} lines …", *lines[most // 3 - most :]])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
