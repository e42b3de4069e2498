"""A small process that starts the jobs of a busy build, so that the loop never waits for the kernel to load a program.

    python -IS -c "…; from buildflow.workers.spawner import serve; serve(DESCRIPTOR)"

The driver and it talk over a socket that keeps messages apart; a message is one marshalled tuple. From the driver:
`("run", number, program, argv, env, cwd, log, redirections)` with the descriptors that the job keeps open, and
`("signal", number, signal)`. To the driver: `("ready",)` before anything is read, `("end", number, status, wall,
usage)` and `("never", number, errno, message)`. Each job is a session of its own, which is ended with its first
process. When the driver is gone this process goes too, and jobs that still run are left to end by themselves.
"""

from __future__ import annotations

import errno
import marshal
import os
import select
import signal
import socket
import sys
import time

from buildflow.workers.usage import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

LARGEST = 1 << 16
"""Bytes of a message that goes through the socket as one piece."""

SAMPLE = 0.25
"""Seconds between two looks at a running job's memory."""

BUSY_TRIES = 20
MOST_FDS = 16

_FLAGS = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}
_DEFAULT = [getattr(signal, name) for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ") if hasattr(signal, name)]
"""Signals that Python ignores, and jobs do not."""


class NotOpened(Exception):
    """A file that a job's streams are to be cannot be opened; holds the OSError."""


def open_streams(cwd: str, log: str, redirections: Sequence[tuple[int, str, str]], null: int) -> list[int]:
    """The descriptors that are to be a job's 0, 1 and 2, then those that were opened for them. Raises NotOpened."""
    opened: list[int] = []
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        opened.append(out)
        streams = [null, out, out]
        for fd, mode, target in redirections:
            if mode == "dup":
                streams[fd] = streams[int(target)]
                continue
            new = os.open(os.path.join(cwd, target), _FLAGS[mode], 0o666)
            opened.append(new)
            streams[fd] = new
    except OSError as error:
        for fd in opened:
            os.close(fd)
        raise NotOpened(error) from None
    return streams + opened


class _Job:
    __slots__ = ("number", "pid", "started", "usage")

    def __init__(self, number: int, pid: int, started: float) -> None:
        self.number = number
        self.pid = pid
        self.started = started
        self.usage = Usage(started)


class Spawner:
    """Serves one driver at the other end of `channel`."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        self.null = os.open(os.devnull, os.O_RDWR)
        self.jobs: dict[int, _Job] = {}  # by process descriptor
        self.numbers: dict[int, _Job] = {}
        self.poll = select.poll()
        self.poll.register(channel.fileno(), select.POLLIN)
        self.sampled = time.monotonic()

    def serve(self) -> None:
        """Until the driver closes its end."""
        ours = self.channel.fileno()
        while True:
            for fd, _ in self.poll.poll(SAMPLE * 1000 if self.jobs else None):
                if fd == ours:
                    if not self._hear():
                        return
                else:
                    self._reap(fd)
            now = time.monotonic()
            if now - self.sampled >= SAMPLE:
                self.sampled = now
                for job in self.jobs.values():
                    if now - job.started >= SAMPLE:
                        job.usage.sample(job.pid, now)

    def _hear(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self.channel, LARGEST, MOST_FDS)
        if not data:
            return False
        kind, number, *rest = marshal.loads(data)
        if kind == "run":
            try:
                self._run(number, fds, *rest)
            finally:
                for fd in fds:
                    os.close(fd)
        else:
            job = self.numbers.get(number)
            if job is not None:
                signal_group(job.pid, rest[0])
        return True

    def _run(
        self, number: int, fds: list[int], program: str, argv: list[str], env: dict[str, str], cwd: str, log: str,
        redirections: list[tuple[int, str, str]],
    ) -> None:  # fmt: skip
        try:
            streams = open_streams(cwd, log, redirections, self.null)
        except NotOpened as problem:
            error: Any = problem.args[0]
            self.tell("never", number, 0, f"{error.filename}: {error.strerror}")
            return
        try:
            os.chdir(cwd)
            for fd in fds:
                os.set_inheritable(fd, True)
            actions = [(os.POSIX_SPAWN_DUP2, streams[i], i) for i in range(3)]
            pid = -1
            for attempt in range(BUSY_TRIES + 1):
                started = time.monotonic()
                try:
                    pid = os.posix_spawn(program, argv, env, file_actions=actions, setsid=True, setsigdef=_DEFAULT)
                    break
                except OSError as error:
                    # A script that was just written: another process has it open still.
                    if error.errno != errno.ETXTBSY or attempt == BUSY_TRIES:
                        self.tell("never", number, error.errno or errno.EIO, "")
                        return
                    time.sleep(0.01)
        except OSError as error:
            self.tell("never", number, error.errno or errno.EIO, "")
            return
        finally:
            for fd in streams[3:]:
                os.close(fd)
        job = _Job(number, pid, started)
        fd = os.pidfd_open(pid)
        self.jobs[fd] = self.numbers[number] = job
        self.poll.register(fd, select.POLLIN)

    def _reap(self, fd: int) -> None:
        job = self.jobs.pop(fd)
        del self.numbers[job.number]
        signal_group(job.pid, signal.SIGKILL)  # before it is reaped: the group's number is still ours
        _, status = os.waitpid(job.pid, 0)
        wall = time.monotonic() - job.started
        self.poll.unregister(fd)
        os.close(fd)
        usage = job.usage.runtime(wall)
        self.tell("end", job.number, os.waitstatus_to_exitcode(status), wall, usage)

    def tell(self, *message: Any) -> None:
        """Send the driver a message."""
        try:
            self.channel.send(marshal.dumps(message))
        except OSError:
            pass  # the driver is gone; the next look at the channel tells


def signal_group(pid: int, number: int) -> None:
    """Signal the processes of a job's group."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def serve(descriptor: int) -> None:
    """What the process does. `descriptor`: its end of the socket."""
    os.set_inheritable(descriptor, False)  # a job that held it would hide this process's end from the driver
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    spawner = Spawner(socket.socket(fileno=descriptor))
    spawner.tell("ready")
    spawner.serve()


class Channel:
    """The driver's end: starts the process. OSError where that cannot be. `ready`: whether it was heard from."""

    def __init__(self) -> None:
        import subprocess

        self.ready = False
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        text = f"import sys; sys.path.insert(0, {root!r}); from buildflow.workers.spawner import serve; serve({{}})"
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-IS", "-c", text.format(theirs.fileno())], pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        finally:
            theirs.close()

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, fds: Sequence[int], *message: Any) -> bool:
        """Send a message with descriptors; False where it is too large for one piece."""
        data = marshal.dumps(message)
        if len(data) >= LARGEST:
            return False
        socket.send_fds(self.socket, [data], list(fds)) if fds else self.socket.send(data)
        return True

    def receive(self) -> list[Any] | None:
        """The messages that are there, after waiting for the first; None where the process is gone."""
        found: list[Any] = []
        flags = 0
        while True:
            try:
                data = self.socket.recv(LARGEST, flags)
            except BlockingIOError:
                return found
            except OSError:
                return found or None
            if not data:
                return found or None
            message = marshal.loads(data)
            if message[0] == "ready":
                self.ready = True
            else:
                found.append(message)
            flags = socket.MSG_DONTWAIT

    def close(self) -> None:
        """End the process; jobs that it runs are not ended here."""
        self.socket.close()
        self.process.wait()
