"""Tasks as processes of this machine, each in a group of its own that ends with it.

One thread: the loop waits on process descriptors, on the warm processes and on a pipe that signal handlers write to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from buildflow.errors import BuildError
from buildflow.workers.base import End, Task, Worker
from buildflow.workers.usage import Usage

if TYPE_CHECKING:
    from buildflow.workers.spawner import Channel
    from buildflow.workers.warm import WarmJob, WarmPool

GRACE = 5.0
"""Seconds between the polite and the final signal."""

DIRECT = 8
"""Tasks that the loop starts itself; after these a process beside it does, since loading a program takes as long as all
else that the loop does for a job."""

CLEANUP = 30.0
"""Seconds that the removal of a container may take."""

_BUSY_TRIES = 20

_SPAWNED = -(1 << 50)
"""A spawned task stands under this less its number."""

_ASKED = 0.01
"""Seconds between two questions to processes that have no descriptor."""

SAMPLE = 0.25
"""Seconds between two looks at a running job's memory."""


class _Running:
    """A task under way: its process (also its group's number), or its job in a warm one."""

    __slots__ = (
        "task", "pid", "fd", "started", "deadline", "timed_out", "stopped", "warm", "process", "usage", "spawned",
    )  # fmt: skip

    def __init__(self, task: Task, pid: int | None, fd: int, started: float) -> None:
        self.task = task
        self.pid = pid
        self.fd = fd
        self.started = started
        self.deadline = started + task.time if task.time else None
        self.timed_out = False
        self.stopped = False
        self.warm: WarmJob | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.spawned = False  # whether the spawner has it
        self.usage = Usage(started)


class LocalWorker(Worker):
    """A pool of processes; `n_procs` at once."""

    direct = DIRECT

    def __init__(self, n_procs: int | None = None, **given: Any) -> None:
        super().__init__(n_procs, **given)
        self.running: dict[int, _Running] = {}  # by descriptor, or minus the number for warm ones
        self.ended: list[End] = []
        self.programs: dict[tuple[str, str], str | None] = {}
        self._null = self._wake_read = self._wake_write = -1
        self._pool: WarmPool | None = None
        self._spawner: Channel | None = None
        self._started = 0
        self._pidfd = _has_pidfd()
        _hear_of_children()
        self._sampled = time.monotonic()

    def open(self, folder: str = "") -> None:
        if self._null >= 0:
            return
        self._poll: Any = select.poll()
        self._null = os.open(os.devnull, os.O_RDWR)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._poll.register(self._wake_read, select.POLLIN)
        self.programs.clear()  # what stands on the PATH may have changed since

    def slots(self) -> int:
        return self.n_procs or usable_cpus()

    # ---- starting ----------------------------------------------------------------------------------------------

    def start(self, task: Task) -> None:
        if self._null < 0:
            self.open()
        if task.call is not None:
            self._start_warm(task)
            return
        self._started += 1
        self._begin(task)

    def _begin(self, task: Task) -> None:
        problem = self._spawn(task)
        if problem is not None:
            self._cannot(task, *problem)

    def _cannot(self, task: Task, status: int, message: str) -> None:
        """A task could not be started: once more through a shell where it has one, else it has ended."""
        if task.fallback is None:
            self._never(task, status, message)
            return
        task.command.argv = task.fallback()  # so that the message and the status are the shell's own
        task.command.redirections = ()
        task.fallback = None
        self._begin(task)

    def _spawn(self, task: Task) -> tuple[int, str] | None:
        """Start a process; why it cannot be, as the status and the message of a shell."""
        if self._started > self.direct and self._pidfd and not task.terminal:
            return self._send(task)
        command = task.command
        name = command.argv[0]
        opened: list[int] = []
        try:
            try:
                streams = self._streams(task, opened)
            except OSError as error:
                return 1, f"{error.filename}: {error.strerror}"
            program = self._program(name, command.env.get("PATH", os.defpath), command.cwd)
            if program is None:
                return 127, f"{name}: command not found"
            for fd in task.inherit:
                os.set_inheritable(fd, True)
            started = time.monotonic()  # it may have ended by the time that Popen returns
            try:
                process = self._popen(task, program, streams)
            except OSError as error:
                return self._refused(task, program, error.errno or errno.EIO)
            finally:
                for fd in task.inherit:
                    os.set_inheritable(fd, False)
        finally:
            for fd in opened:
                os.close(fd)
        self._follow(task, process, started)
        return None

    def _refused(self, task: Task, program: str, code: int) -> tuple[int, str] | None:
        """The system does not run a program: what a shell says then, and does with a script without a first line."""
        name = task.command.argv[0]
        if code == errno.ENOEXEC and task.fallback is None:
            if name == "bash":
                return 126, f"{program}: {os.strerror(code)}"
            task.command.argv = ["bash", program, *task.command.argv[1:]]
            return self._spawn(task)
        if code == errno.E2BIG:
            return 126, f"{name}: more arguments than the system takes; use {{in.list}}"
        return (127 if code == errno.ENOENT else 126), f"{name}: {os.strerror(code)}"

    def _send(self, task: Task) -> tuple[int, str] | None:
        """Let the spawner start a process; what is known to be wrong already."""
        command = task.command
        name = command.argv[0]
        program = self._program(name, command.env.get("PATH", os.defpath), command.cwd)
        if program is None:
            return 127, f"{name}: command not found"
        if self._spawner is None:
            from buildflow.workers.spawner import Channel

            try:
                self._spawner = Channel()
            except OSError:
                return self._directly(task)
            self._poll.register(self._spawner.fileno(), select.POLLIN)
        redirections = [tuple(r) for r in command.redirections]
        started = time.monotonic()
        try:
            sent = self._spawner.send(
                task.inherit, "run", task.number, program, command.argv, command.env, command.cwd, task.log,
                redirections,
            )  # fmt: skip
        except OSError:  # it was killed: the loop hears of it, and this task goes the other way
            sent = False
        if not sent:
            return self._directly(task)
        running = _Running(task, None, 0, started)
        running.spawned = True
        self.running[_SPAWNED - task.number] = running
        return None

    def _directly(self, task: Task) -> tuple[int, str] | None:
        """Start a process without the spawner."""
        self._started, before = 0, self._started
        try:
            return self._spawn(task)
        finally:
            self._started = before

    def _heard(self) -> None:
        """What the spawner tells."""
        assert self._spawner is not None
        messages = self._spawner.receive()
        if messages is None:
            self._lost()
            return
        for kind, number, *rest in messages:
            running = self.running.pop(_SPAWNED - number)
            task = running.task
            if kind == "end":
                status, _, runtime = rest
                self._end(End(task, status, running.timed_out, running.stopped, None, runtime))
                continue
            code, message = rest
            if running.stopped:
                self.ended.append(End(task, -signal.SIGTERM, stopped=True))
                continue
            program = self._program(task.command.argv[0], task.command.env.get("PATH", os.defpath), task.command.cwd)
            problem = self._refused(task, program or task.command.argv[0], code) if code else (1, message)
            if problem is not None:
                self._cannot(task, *problem)

    def _lost(self) -> None:
        """The spawner was killed: its jobs may still run, and nobody learns how they end."""
        assert self._spawner is not None
        ready = self._spawner.ready
        self._poll.unregister(self._spawner.fileno())
        self._spawner.close()
        self._spawner = None
        for label in [label for label, running in self.running.items() if running.spawned]:
            running = self.running.pop(label)
            if not ready:  # it cannot be had here: it has not looked at a task yet
                self.direct = sys.maxsize
                self._begin(running.task)
                continue
            self.ended.append(End(running.task, 1, error="the process that had started it was killed"))

    @staticmethod
    def _popen(task: Task, program: str, streams: list[int | None]) -> subprocess.Popen[bytes]:
        command = task.command
        for attempt in range(_BUSY_TRIES + 1):
            try:
                return subprocess.Popen(
                    command.argv, executable=program, cwd=command.cwd, env=command.env, close_fds=False,
                    stdin=streams[0], stdout=streams[1], stderr=streams[2], start_new_session=not task.terminal,
                )  # fmt: skip
            except OSError as error:
                # A script that was just written: a process that another thread forked at that moment has it open still.
                if error.errno != errno.ETXTBSY or attempt == _BUSY_TRIES:
                    raise
                time.sleep(0.01)
        raise AssertionError

    def _follow(self, task: Task, process: subprocess.Popen[bytes], started: float) -> None:
        fd = -process.pid
        if self._pidfd:
            try:
                fd = os.pidfd_open(process.pid)
                self._poll.register(fd, select.POLLIN)
            except OSError:
                fd = -process.pid  # no descriptor is left: it is asked now and then
        running = _Running(task, process.pid, fd, started)
        running.process = process
        self.running[fd] = running

    def _streams(self, task: Task, opened: list[int]) -> list[int | None]:
        if task.terminal:
            return [None, 2 if task.log == "stderr" else None, None]
        log = os.open(task.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        opened.append(log)
        streams: list[int | None] = [self._null, log, log]
        for fd, mode, target in task.command.redirections:
            if mode == "dup":
                streams[fd] = streams[int(target)]
                continue
            flags = {
                "r": os.O_RDONLY,
                "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
                "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
            }
            try:
                new = os.open(os.path.join(task.command.cwd, target), flags[mode], 0o666)
            except OSError as error:
                error.filename = target
                raise
            opened.append(new)
            streams[fd] = new
        return streams

    def _program(self, name: str, path: str, cwd: str) -> str | None:
        """The file that a command's name means where the job runs, as a shell finds it."""
        if "/" in name:
            full = os.path.join(cwd, name)
            return full if os.path.exists(full) else None
        known = self.programs.get((name, path), "")
        if known == "":
            folders = path.split(os.pathsep)
            known = None
            for folder in folders:
                place = os.path.join(cwd, folder, name)
                if os.access(place, os.X_OK) and os.path.isfile(place):
                    known = place
                    break
            if all(folder.startswith("/") for folder in folders):  # else it depends on the sandbox
                self.programs[(name, path)] = known
        return known

    def _never(self, task: Task, status: int, message: str) -> None:
        """A task that could not be started: as the shell would say it, in its log."""
        if task.terminal:
            self.ended.append(End(task, status, error=message, runtime=Usage(0.0).runtime(0.0)))
        else:
            with open(task.log, "ab") as log:
                log.write(f"bflow: {message}\n".encode("utf-8", "surrogateescape"))
            self.ended.append(End(task, status, runtime=Usage(0.0).runtime(0.0)))
        self.wake()

    def _start_warm(self, task: Task) -> None:
        from buildflow.workers.warm import WarmPool

        if self._pool is None:
            self._pool = WarmPool(self._python(task))
            self._poll.register(self._pool.fileno(), select.POLLIN)
        assert task.call is not None
        try:
            warm = self._pool.start(task.call)
        except BuildError as error:
            self._never(task, 1, error.message)
            return
        running = _Running(task, None, 0, time.monotonic())
        running.warm = warm
        self.running[-(1 << 40) - warm.number] = running

    @staticmethod
    def _python(task: Task) -> str:
        import sys

        return sys.executable

    # ---- waiting -----------------------------------------------------------------------------------------------

    def wake(self) -> None:
        try:
            os.write(self._wake_write, b"x")
        except OSError:
            pass  # it is awake enough, or closed

    def wait(self, timeout: float | None) -> list[End]:
        if not self.ended:
            self._wait(timeout)
        ended, self.ended = self.ended, []
        return ended

    def _wait(self, timeout: float | None) -> None:
        if self._null < 0:
            self.open()
        if not self.running:
            if timeout is not None and timeout > 0:
                self._poll.poll(timeout * 1000)
                self._drain()
            return
        limit = timeout
        now = time.monotonic()
        for running in self.running.values():
            if running.deadline is not None:
                left = max(running.deadline - now, 0.0)
                limit = left if limit is None else min(limit, left)
        step = SAMPLE
        if any(fd < 0 and running.process is not None for fd, running in self.running.items()):
            step = _ASKED
        limit = step if limit is None else min(limit, step)
        found = self._poll.poll(max(limit, 0.0) * 1000)
        for fd, _ in found:
            if fd == self._wake_read:
                self._drain()
            elif self._pool is not None and fd == self._pool.fileno():
                self._warm_events()
            elif fd in self.running:
                self._reap(fd)
            elif self._spawner is not None and fd == self._spawner.fileno():
                self._heard()
        if step == _ASKED:
            for fd in [fd for fd, running in self.running.items() if fd < 0 and running.process is not None]:
                self._reap(fd, wait=False)
        self._deadlines()
        now = time.monotonic()
        if now - self._sampled >= SAMPLE:
            self._sampled = now
            for running in self.running.values():
                if running.pid is not None and now - running.started >= SAMPLE:
                    running.usage.sample(running.pid, now)

    def _drain(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass

    def _reap(self, fd: int, *, wait: bool = True) -> None:
        """Take the status of a process that has ended and end its group; without `wait`, if it has."""
        running = self.running[fd]
        pid, process = running.pid, running.process
        assert pid is not None and process is not None
        code, error = 1, None
        try:
            if fd >= 0:
                if not running.task.terminal:
                    _kill_group(pid, signal.SIGKILL)  # before it is reaped: the group's number is still ours
                _, status = os.waitpid(pid, 0)
            else:
                ended, status = os.waitpid(pid, 0 if wait else os.WNOHANG)
                if ended == 0:
                    return
                if not running.task.terminal:
                    _kill_group(pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            error = "another part of this program took its exit status (a wait for any child)"
        del self.running[fd]
        if fd >= 0:
            self._poll.unregister(fd)
            os.close(fd)
        process.returncode = code
        wall = time.monotonic() - running.started
        runtime = running.usage.runtime(wall)
        self._end(End(running.task, code, running.timed_out, running.stopped, error, runtime))

    def _end(self, end: End) -> None:
        """A process has ended. Where it did not end by itself, what its environment started elsewhere may live on."""
        command = end.task.command
        if command.cleanup and (end.status < 0 or end.timed_out or end.stopped):
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(
                    command.cleanup, env=command.env, timeout=CLEANUP, stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
        self.ended.append(end)

    def _warm_events(self) -> None:
        assert self._pool is not None
        for event in self._pool.read_events():
            label = -(1 << 40) - event.job.number
            running = self.running.get(label)
            if running is None:
                continue
            if event.kind == "start":
                running.pid = event.job.pid
                running.started = time.monotonic()
                if running.task.time:
                    running.deadline = running.started + running.task.time
                continue
            del self.running[label]
            wall = time.monotonic() - running.started
            status = 1 if event.status is None else event.status
            runtime = running.usage.runtime(wall)
            self.ended.append(End(running.task, status, running.timed_out, running.stopped, event.error, runtime))

    def _deadlines(self) -> None:
        now = time.monotonic()
        for running in list(self.running.values()):
            if running.deadline is not None and now >= running.deadline:
                self._signal(running, signal.SIGKILL if running.timed_out else signal.SIGTERM)
                running.timed_out = True
                running.deadline = now + GRACE

    def _signal(self, running: _Running, number: int) -> None:
        if running.spawned and self._spawner is not None:
            with contextlib.suppress(OSError):
                self._spawner.send((), "signal", running.task.number, int(number))
        elif running.warm is not None and self._pool is not None:
            self._pool.kill(running.warm, number)
        elif running.pid is not None:
            if running.task.terminal:
                try:
                    os.kill(running.pid, number)
                except ProcessLookupError:
                    pass
            else:
                _kill_group(running.pid, number)

    def stop(self, *, kill: bool) -> None:
        for running in list(self.running.values()):
            if kill or not running.stopped:
                running.stopped = True
                self._signal(running, signal.SIGKILL if kill else signal.SIGTERM)

    def give_up(self, task: Task) -> None:
        for running in self.running.values():
            if running.task is task and not running.stopped:
                running.stopped = running.timed_out = True
                running.deadline = time.monotonic() + GRACE
                self._signal(running, signal.SIGTERM)

    def close(self) -> None:
        self.stop(kill=True)
        for fd in [fd for fd, r in self.running.items() if r.process is not None]:
            self._reap(fd)
        while self._spawner is not None and any(running.spawned for running in self.running.values()):
            self._heard()
        self.running.clear()
        self.ended = []
        self._started = 0
        if self._spawner is not None:
            self._spawner.close()
            self._spawner = None
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        for fd in (self._null, self._wake_read, self._wake_write):
            if fd >= 0:
                os.close(fd)
        self._null = self._wake_read = self._wake_write = -1


def usable_cpus() -> int:
    """The processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _has_pidfd() -> bool:
    """Whether processes have descriptors here: not on macOS, nor where a filter of system calls forbids it."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _hear_of_children() -> None:
    """Where the parent of this program made it ignore SIGCHLD, the kernel would keep no exit status."""
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _kill_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass
