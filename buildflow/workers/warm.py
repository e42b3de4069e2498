"""The pool of warm processes, seen from the driver: functions run in forks of a process that has their module.

A server (`warm_server.py`) has one Python, one set of module digests, one list of roots and one environment; when one
of these changes, another takes its place and the old one ends with its last job. Events come by descriptors, so that a
loop of one thread can wait for them along with everything else: `fileno` is one for all. What a job may do, and what
its end means, is not known here.
"""

from __future__ import annotations

import array
import json
import os
import selectors
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from buildflow.errors import BuildError

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "warm_server.py")

OWN = frozenset({"BFLOW_JOB", "TMPDIR", "PWD", "OLDPWD"})
"""Variables that differ from job to job and that no module may have read when it was imported."""


@dataclass(frozen=True)
class WarmRequest:
    """One call: `job` (the JSON of `runner.py`, kind "call"), `cwd` and `log` are absolute paths; the log is appended
    to. `env` is the child's whole environment. `roots` go in front of sys.path, the same as in the job. `digests`
    stands for all project modules that the function imports; `modules` are their files (absolute) with size, mtime_ns
    and inode as they were when the digests were taken: what a server read of others is not used. `name` is the
    function's, for messages and to know which server another replaces. The job inherits `fds`, and all that it starts.
    """

    job: str
    cwd: str
    log: str
    env: Mapping[str, str]
    roots: tuple[str, ...] = ()
    digests: bytes = b""
    modules: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    name: str = "the function"
    fds: tuple[int, ...] = ()


@dataclass(eq=False)
class WarmJob:
    """A job that was handed in; `pid` (its process group too) is known after its start."""

    number: int
    request: WarmRequest
    pid: int | None = None
    killed: int | None = None
    ended: bool = False


class Usage(NamedTuple):
    """Seconds of user and system time, peak resident bytes, of the job's own process and the children it waited for."""

    utime: float
    stime: float
    maxrss: int


class WarmEvent(NamedTuple):
    """`kind` is "start" or "end". At the end `status` is the exit status, negative for a signal, or None where the job
    was lost, and `error` says why."""

    kind: str
    job: WarmJob
    status: int | None = None
    usage: Usage | None = None
    error: str | None = None


@dataclass(eq=False)
class _Server:
    key: tuple[object, ...]
    name: str
    process: subprocess.Popen[bytes]
    channel: socket.socket
    output: IO[bytes]
    jobs: dict[int, WarmJob] = field(default_factory=dict)
    buffer: bytes = b""
    started: bool = False  # whether any job did: then its module is imported
    retired: bool = False


class WarmPool:
    """The servers of one Python. `env` is what a server has where the request's environment lacks it (nothing, as a
    rule); `limit` is how many idle servers are kept."""

    def __init__(self, python: str, env: Mapping[str, str] | None = None, limit: int = 8) -> None:
        self._python = python
        self._env = dict(env or {})
        self._limit = limit
        self._servers: dict[tuple[object, ...], _Server] = {}  # the one used last stands last
        self._retired: list[_Server] = []
        self._selector = selectors.DefaultSelector()
        self._wake, self._wake_write = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._pending: list[WarmEvent] = []
        self._count = 0
        self._closed = False

    def fileno(self) -> int:
        """One descriptor that can be read when `read_events` has something to give."""
        return self._selector.fileno()

    def pids(self) -> set[int]:
        """The servers' processes: a loop that waits for any child will see them end and need not care."""
        return {server.process.pid for server in (*self._servers.values(), *self._retired)}

    def start(self, request: WarmRequest) -> WarmJob:
        """Hand a job in; events tell of it. Raises BuildError where the Python cannot be started."""
        assert not self._closed
        self._count += 1
        job = WarmJob(self._count, request)
        self._submit(job)
        return job

    def kill(self, job: WarmJob, number: int = signal.SIGKILL) -> None:
        """Signal a job's process group, at once or as soon as it starts; its end is still told by an event."""
        if job.ended:
            return
        if job.pid is not None:
            _kill_group(job.pid, number)
            return
        job.killed = number
        for server in (*self._servers.values(), *self._retired):
            if job.number not in server.jobs:
                continue
            try:  # its start may have been told by now
                self._take(server, server.channel.recv(1 << 16, socket.MSG_DONTWAIT))
                self._awake()
            except OSError:
                pass
            if not server.started:  # it is in the import, and may hang there: only this ends it
                server.process.kill()
                self._drop(server)
                for other in list(server.jobs.values()):
                    if other.pid is not None:  # its start was on the way
                        _kill_group(other.pid, signal.SIGKILL)
                    if other is job or other.pid is not None:
                        self._tell(WarmEvent("end", other, -number))
                    else:
                        self._submit(other)
                server.jobs.clear()

    def read_events(self) -> list[WarmEvent]:
        """What has happened, without waiting."""
        for key, _ in self._selector.select(0):
            if key.fd == self._wake:
                try:
                    os.read(self._wake, 4096)
                except BlockingIOError:
                    pass
            else:
                self._read(key.data)
        events, self._pending = self._pending, []
        return events

    def close(self) -> None:
        """End the servers and the jobs that still run; no events follow."""
        if self._closed:
            return
        self._closed = True
        for server in (*self._servers.values(), *self._retired):
            # First the server, so that it starts nothing more while its jobs are ended.
            self._drop(server)
            for job in server.jobs.values():
                if job.pid is not None:
                    _kill_group(job.pid, signal.SIGKILL)
        self._selector.close()
        os.close(self._wake)
        os.close(self._wake_write)

    def __enter__(self) -> WarmPool:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # ---- servers

    def _submit(self, job: WarmJob) -> None:
        request = job.request
        env = {**self._env, **request.env}
        for name in OWN:
            env.pop(name, None)
        key = (request.roots, request.digests, tuple(sorted(env.items())))
        line = json.dumps(
            {
                "id": job.number,
                "job": os.path.abspath(request.job),
                "cwd": os.path.abspath(request.cwd),
                "log": os.path.abspath(request.log),
                "env": {**self._env, **request.env},
                "fds": len(request.fds),
                "modules": dict(request.modules),
            }
        )
        for attempt in (1, 2):
            server = self._servers.pop(key, None) or self._spawn(key, env, request.name)
            self._servers[key] = server
            try:
                _send(server.channel, line.encode("ascii") + b"\n", request.fds)
            except OSError:
                if attempt == 2:
                    self._tell(WarmEvent("end", job, error=f"the warm process for {request.name} cannot be reached"))
                    job.ended = True
                    return
                self._lost(server)  # it ended while it was idle
                continue
            server.jobs[job.number] = job
            break
        self._retire(request)

    def _spawn(self, key: tuple[object, ...], env: Mapping[str, str], name: str) -> _Server:
        ours, theirs = socket.socketpair()
        output = tempfile.TemporaryFile()
        try:
            process = subprocess.Popen(
                [self._python, SERVER],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=output,
                env=env,
                cwd="/",
                start_new_session=True,  # an interrupt from the terminal is the driver's to pass on
            )
        except OSError as error:
            ours.close()
            output.close()
            raise BuildError(f"cannot start {self._python} to call functions: {error.strerror}") from None
        finally:
            theirs.close()
        server = _Server(key, name, process, ours, output)
        self._selector.register(ours, selectors.EVENT_READ, server)
        return server

    def _retire(self, request: WarmRequest) -> None:
        """End servers of the same roots and environment with other digests, and the oldest idle ones over the limit."""
        newest = next(reversed(self._servers))
        for key, server in list(self._servers.items()):
            outdated = key != newest and key[0] == newest[0] and key[2] == newest[2] and server.name == request.name
            if outdated or (not server.jobs and len(self._servers) > self._limit):
                del self._servers[key]
                if server.jobs:
                    server.retired = True
                    self._retired.append(server)
                else:
                    self._drop(server)

    def _drop(self, server: _Server) -> int:
        """End a server and forget it; how it ended (0 where another part of the loop has waited for it)."""
        self._servers = {key: other for key, other in self._servers.items() if other is not server}
        if server in self._retired:
            self._retired.remove(server)
        self._selector.unregister(server.channel)
        try:
            server.channel.shutdown(socket.SHUT_WR)  # it ends once what it is starting has been told
        except OSError:
            pass
        try:
            status = server.process.wait(0.5)
        except subprocess.TimeoutExpired:  # it is importing something
            server.process.kill()
            status = server.process.wait()
        server.channel.setblocking(False)
        try:
            while data := server.channel.recv(1 << 16):
                self._take(server, data)
        except OSError:
            pass
        server.channel.close()
        server.output.close()
        return status

    def _lost(self, server: _Server) -> None:
        """A server died: what ran in it is ended and told."""
        try:
            server.output.seek(max(0, server.output.seek(0, os.SEEK_END) - 4000))
            said = server.output.read().decode("utf-8", "replace").strip()
        except OSError:
            said = ""
        status = self._drop(server)
        how = ""
        if status < 0:
            how = f" ({signal.strsignal(-status) or f'signal {-status}'})"
        for job in server.jobs.values():
            if job.pid is not None:
                _kill_group(job.pid, signal.SIGKILL)
            when = "while its job ran" if job.pid is not None else "before its job started"
            text = f"the warm process for {job.request.name} died {when}{how}"
            self._tell(WarmEvent("end", job, error=f"{text}\n{said}" if said else text))
        server.jobs.clear()

    # ---- events

    def _tell(self, event: WarmEvent) -> None:
        if event.kind == "end":
            event.job.ended = True
        self._pending.append(event)
        self._awake()

    def _awake(self) -> None:
        """Make `fileno` readable, for events that came otherwise."""
        try:
            os.write(self._wake_write, b"x")
        except BlockingIOError:
            pass  # it is awake enough

    def _read(self, server: _Server) -> None:
        if server.channel.fileno() < 0:
            return  # dropped by an event before this one
        try:
            data = server.channel.recv(1 << 16)
        except ConnectionError:
            data = b""
        self._take(server, data)
        if not data:
            self._lost(server)
        elif server.retired and not server.jobs:
            self._drop(server)

    def _take(self, server: _Server, data: bytes) -> None:
        *lines, server.buffer = (server.buffer + data).split(b"\n")
        for line in lines:
            self._event(server, json.loads(line))

    def _event(self, server: _Server, event: dict[str, Any]) -> None:
        job = server.jobs.get(event["id"])
        if job is None:
            return
        if event["event"] == "start":
            server.started = True
            job.pid = event["pid"]
            self._pending.append(WarmEvent("start", job))
            if job.killed is not None:
                _kill_group(event["pid"], job.killed)
            return
        del server.jobs[job.number]
        job.ended = True
        usage = Usage(**event["rusage"]) if event.get("rusage") else None
        self._pending.append(WarmEvent("end", job, event["status"], usage, event.get("error")))


def _send(channel: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sent = channel.sendmsg([data], ancillary)
    channel.sendall(data[sent:])


def _kill_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except OSError:
        pass  # it has ended
