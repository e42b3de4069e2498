"""Serial, and functions are called in the driver's own process, where a debugger sees them. Python's default.

A call sees what a job of any other worker sees: its sandbox as the current folder, the environment that was built for
it, the project in front of sys.path, its output in the log; all is put back when it returns. So one call at a time in a
process, whatever threads there are. `breakpoint()`, and reading from a terminal, bring output back to the screen.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from buildflow import process
from buildflow.workers.base import End, Task
from buildflow.workers.local import LocalWorker

_KEPT = ("PYTHONBREAKPOINT", "TERM", "COLUMNS", "LINES", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY")
"""What a debugger needs of the caller's environment."""


class Worker(LocalWorker):
    """`--worker debug`: one job at a time (`n_procs` has no meaning here)."""

    name = "debug"

    def __init__(self, n_procs: int | None = None, **given: Any) -> None:
        super().__init__(1, **given)
        self.calls: list[Task] = []
        self._calling = False
        self._interrupted = False

    def start(self, task: Task) -> None:
        if _callable_here(task):
            self.calls.append(task)
        else:
            super().start(task)

    def wait(self, timeout: float | None) -> list[End]:
        """A call that was started is made here, and takes its time: what ended before it is committed by now."""
        if not self.calls or self.ended:
            return super().wait(timeout)
        task = self.calls.pop(0)
        self._calling, self._interrupted = True, False
        try:
            return [call_here(task)]
        except KeyboardInterrupt:
            if not self._interrupted:
                raise
            self.ended.append(End(task, -signal.SIGINT, stopped=True))  # told by the next wait, once the loop knows why
            return []
        finally:
            self._calling = False

    def wake(self) -> None:
        if self._calling and threading.current_thread() is threading.main_thread():
            self._interrupted = True
            raise KeyboardInterrupt  # of the signal's handler that called this, in the middle of the function
        super().wake()

    def stop(self, *, kill: bool) -> None:
        self.ended.extend(End(task, -signal.SIGTERM, stopped=True) for task in self.calls)
        self.calls = []
        super().stop(kill=kill)

    def close(self) -> None:
        self.calls = []
        super().close()


def _callable_here(task: Task) -> bool:
    """Whether a task is a function of this very Python: one at hand, or one of a module that is not loaded already as
    something else."""
    if task.description is None or task.call is None and not task.terminal:
        return False
    if task.function is not None:
        return True
    name = str(task.description.get("function") or "").partition(":")[0]
    return bool(name) and not any(part in sys.modules for part in (name, name.partition(".")[0]))


# ---- one call


class _TimeIsUp(BaseException):
    """Raised in a function whose rule has `time`; no `except Exception` of it is meant."""


def call_here(task: Task) -> End:
    """Call a function in this process. Its exception is in the End, its traceback in the log."""
    status, timed_out, exception = 0, False, None
    with _as_job(task):
        started = time.monotonic()
        try:
            with _limit(task.time):
                _call(task)
        except SystemExit as error:
            if not isinstance(error.code, (int, type(None))):
                print(error.code, file=sys.stderr)
            status = error.code if isinstance(error.code, int) else int(error.code is not None)
        except _TimeIsUp:
            status, timed_out = 1, True
        except Exception as error:
            status, exception = 1, _report(error)
        wall = round(time.monotonic() - started, 6)
    runtime = {"wall_s": wall, "rss_peak_gb": None, "vms_peak_gb": None, "cpu_peak_percent": None}
    return End(task, status & 0xFF, timed_out, runtime=runtime, exception=exception)


def _call(task: Task) -> None:
    from pathlib import Path

    from buildflow import runner

    description = task.description
    assert description is not None
    if task.function is not None:
        function = task.function
        name = getattr(function, "__qualname__", repr(function)) + "()"
    else:
        function, name = runner.find_function(description)
    arguments, keywords = runner.bind(function, name, runner.values_of(description, Path))
    result = function(*arguments, **keywords)
    if result is not None:
        runner.deliver(result, name, description["outputs"], task.command.cwd, description.get("returned"))


def _report(error: Exception) -> Exception:
    """Print a traceback that begins with the user's first frame; the exception with that traceback."""
    from buildflow import runner

    if isinstance(error, runner.Wrong):
        print(f"bflow: {error}", file=sys.stderr)
        return error
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    runner.report(error.with_traceback(trace))
    return error


# ---- the process as the job's, for a while


@contextlib.contextmanager
def _as_job(task: Task) -> Iterator[None]:
    roots = [str(root).rstrip("/") for root in (task.description or {}).get("root_dirs") or []]
    env = dict(task.command.env)
    for name in os.environ if task.terminal else _KEPT:
        if name in os.environ:
            env.setdefault(name, os.environ[name])
    with process.as_job(task.command.cwd, env), _imports(roots), _temporary():
        if task.terminal:
            yield
            return
        with _streams(task.log):
            yield


@contextlib.contextmanager
def _temporary() -> Iterator[None]:
    """Python's idea of TMPDIR, which it works out once, is the job's."""
    folder = getattr(sys.modules.get("tempfile"), "tempdir", None)
    if "tempfile" in sys.modules:
        sys.modules["tempfile"].tempdir = None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if "tempfile" in sys.modules:
            sys.modules["tempfile"].tempdir = folder  # type: ignore[attr-defined]


@contextlib.contextmanager
def _imports(roots: list[str]) -> Iterator[None]:
    """The project in front of sys.path and read from its sources; what is imported from there is forgotten after, as a
    job's process would be: the next call reads the modules as they are then."""
    from buildflow import runner

    known = set(sys.modules)
    path, hooks, bytecode = list(sys.path), list(sys.path_hooks), sys.dont_write_bytecode
    sys.path[:0] = roots
    sys.dont_write_bytecode = True
    runner.from_source(roots)
    try:
        yield
    finally:
        sys.path[:], sys.path_hooks[:], sys.dont_write_bytecode = path, hooks, bytecode
        runner.forget_source()
        below = tuple(f"{root}/" for root in {*roots, *map(os.path.realpath, roots)})
        for name in [name for name in sys.modules if name not in known]:
            file = getattr(sys.modules[name], "__file__", None)
            if isinstance(file, str) and file.startswith(below) and "site-packages" not in file:
                del sys.modules[name]


@contextlib.contextmanager
def _limit(seconds: float | None) -> Iterator[None]:
    """Raise _TimeIsUp after `seconds`, where a signal can do so: in the main thread, unless the alarm is in use."""
    free = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGALRM) is signal.SIG_DFL
    if seconds is None or not free:
        yield
        return

    def late(number: int, frame: object) -> None:
        raise _TimeIsUp

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


# ---- output


class _Output:
    """`sys.stdout` or `sys.stderr` of a call: the log, and the screen too once a debugger talks there."""

    def __init__(self, log: Any, screen: Any) -> None:
        self._log = log
        self._screen = screen
        self.shown = False

    def write(self, text: str) -> int:
        if self.shown and self._screen is not None:
            self._screen.write(text)
        self._log.write(text)
        return len(text)

    def flush(self) -> None:
        if self.shown and self._screen is not None:
            self._screen.flush()
        self._log.flush()

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        return bool(self.shown and self._screen is not None and self._screen.isatty())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._screen if self.shown and self._screen is not None else self._log, name)


class _Input:
    """`sys.stdin` of a call where it is a terminal: whoever reads there wants to be seen."""

    def __init__(self, stream: Any, asked: Callable[[], None]) -> None:
        self._stream = stream
        self._asked = asked

    def readline(self, *most: int) -> Any:
        self._asked()
        return self._stream.readline(*most)

    def read(self, *most: int) -> Any:
        self._asked()
        return self._stream.read(*most)

    def __iter__(self) -> Iterator[str]:
        return iter(self.readline, "")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _streams(path: str) -> Iterator[None]:
    """Standard output and errors, of Python and of the process, go to the log; input comes from /dev/null, or stays
    where it is a terminal."""
    before = sys.stdin, sys.stdout, sys.stderr, sys.breakpointhook
    for stream in before[1:3]:
        with contextlib.suppress(Exception):  # (None in a program without a terminal; closed in others)
            stream.flush()
    with open(path, "a", encoding="utf-8", errors="backslashreplace", buffering=1) as log, _Descriptors() as kept:
        start = log.tell()
        outputs = _Output(log, before[1]), _Output(log, before[2])

        def show() -> None:
            """Bring what was printed so far, and all that follows, to the screen."""
            if outputs[0].shown:
                return
            log.flush()
            kept.restore()
            if before[1] is not None:
                with open(path, encoding="utf-8", errors="replace") as text:
                    text.seek(start)
                    before[1].write(text.read())
                    before[1].flush()
            for output in outputs:
                output.shown = True
            if threading.current_thread() is threading.main_thread():
                signal.setitimer(signal.ITIMER_REAL, 0)  # who debugs has time

        def stop(*arguments: Any, **keywords: Any) -> Any:
            show()
            if before[3] is not sys.__breakpointhook__ or os.environ.get("PYTHONBREAKPOINT"):
                return before[3](*arguments, **keywords)
            import pdb

            pdb.Pdb().set_trace(sys._getframe(1))

        kept.redirect(1, log.fileno())
        kept.redirect(2, log.fileno())
        null = None
        if _is_terminal(before[0]):
            sys.stdin = _Input(before[0], show)
        else:
            null = open(os.devnull)
            kept.redirect(0, null.fileno())
            sys.stdin = null
        sys.stdout, sys.stderr = outputs
        sys.breakpointhook = stop
        try:
            yield
        finally:
            sys.stdin, sys.stdout, sys.stderr, sys.breakpointhook = before
            log.flush()
            if null is not None:
                null.close()


class _Descriptors:
    """Descriptors of the process that lead elsewhere for a while."""

    def __init__(self) -> None:
        self.copies: dict[int, int] = {}

    def redirect(self, number: int, target: int) -> None:
        with contextlib.suppress(OSError):  # it is closed: nothing can be printed there
            self.copies[number] = os.dup(number)
            os.dup2(target, number)

    def restore(self) -> None:
        for number, copy in self.copies.items():
            os.dup2(copy, number)
            os.close(copy)
        self.copies = {}

    def __enter__(self) -> _Descriptors:
        return self

    def __exit__(self, *exc: object) -> None:
        self.restore()


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream is not None and stream.isatty())
    except (ValueError, AttributeError, OSError):
        return False
