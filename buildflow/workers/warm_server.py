"""The warm process: it imports a function's module once and forks a child for each job.

Run as a script by `buildflow.workers.warm`, in the job's Python, with the standard library alone; what a job is and how
it runs is `buildflow/runner.py`'s, which is loaded from beside this package.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = os.path.dirname(os.path.abspath(__file__))
RUNNER = os.path.join(os.path.dirname(HERE), "runner.py")


def load_runner() -> Any:
    """The runner as a module of its own name: the job's modules see no buildflow."""
    spec = importlib.util.spec_from_file_location("_bflow_runner", RUNNER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Server:
    """Forks a child for each request, after importing the function's module once.

    Descriptor 0 is a Unix stream socket. A request is one line of JSON: `{"id", "job": path, "cwd", "log": path,
    "env": {…}, "fds": number, "modules": {path: [size, mtime_ns, inode]}}`, with that many descriptors passed along,
    which the child and all it starts inherit; modules are the files that the import may read, as their digests were
    taken. Answers, a line each: `{"event": "start", "id", "pid"}`, then `{"event": "end", "id", "pid", "status",
    "rusage"}`; status is the exit status, negative for a signal, or null with an "error". The child leads a process
    group, which is killed when the child has ended.

    A child is as a process of its own: it ends as Python ends, and where its module cannot be shared it is one. That is
    so where a file of it is another by now, where it fails to import, starts threads, leaves the folder, seeds or draws
    random numbers or asks for the time as it is imported. The end of the socket ends the server, not the children.
    """

    def __init__(self) -> None:
        import signal
        import socket

        self.runner = load_runner()
        self.channel = socket.socket(fileno=os.dup(0))
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)  # what modules print while imported goes where the driver can read it
        self.wake, wake = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake, False)
        self.wake_write = wake
        self.on_child = signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.buffer = b""
        self.fds: list[int] = []
        self.running: dict[int, int] = {}  # id: pid
        self.shared: dict[str, bool] = {}  # module (or pickle): whether children can share what was imported
        self.printed: dict[str, bytes] = {}  # what the import printed
        self.changed: dict[str, str | None] = {}  # what imports did to the environment
        os.chdir("/")  # a module that reads the job's folder as it is imported fails, and is imported by each child

    def serve(self) -> Callable[[], int] | None:
        """Serve until the socket ends (None); in a child: what it has to do, to be called from an empty stack."""
        import select

        while True:
            ready = select.select([self.channel.fileno(), self.wake], [], [])[0]
            if self.wake in ready:
                try:
                    os.read(self.wake, 4096)
                except BlockingIOError:
                    pass
            self.reap()
            if self.channel.fileno() not in ready:
                continue
            if not self.receive():
                return None
            while b"\n" in self.buffer:
                line, self.buffer = self.buffer.split(b"\n", 1)
                child = self.start(json.loads(line.decode("ascii")))
                if child is not None:
                    return child

    def receive(self) -> bool:
        import array
        import socket

        try:
            data, ancillary, _, _ = self.channel.recvmsg(1 << 16, socket.CMSG_SPACE(64 * array.array("i").itemsize))
        except ConnectionError:
            return False
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
                self.fds.extend(fds)
        self.buffer += data
        return bool(data)

    def tell(self, **event: Any) -> None:
        try:
            self.channel.sendall(json.dumps(event).encode("ascii") + b"\n")
        except OSError:
            os._exit(0)  # the driver is gone

    def start(self, request: dict[str, Any]) -> Callable[[], int] | None:
        import warnings

        fds, self.fds = self.fds[: request.get("fds", 0)], self.fds[request.get("fds", 0) :]
        log = -1
        try:
            path = os.path.join(request["cwd"], request["job"])
            job = self.runner.load_job(path)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            log = os.open(os.path.join(request["cwd"], request["log"]), flags, 0o666)
            shared = self.preload(job, request.get("modules") or {})
            sys.stdout.flush()
            sys.stderr.flush()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside a library's threads
                pid = os.fork()
        except (OSError, ValueError, KeyError) as error:
            self.tell(event="end", id=request["id"], pid=None, status=None, error=f"cannot start the job: {error}")
            for fd in fds + [log] * (log >= 0):
                os.close(fd)
            return None
        if pid == 0:
            return self.child(request, path, job, log, fds, shared)
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass  # it did so itself, and has gone on
        for fd in fds + [log]:
            os.close(fd)
        self.running[request["id"]] = pid
        self.tell(event="start", id=request["id"], pid=pid)
        return None

    def preload(self, job: dict[str, Any], files: dict[str, list[int]]) -> bool:
        """Import the job's module; whether a child can use what this process has imported."""
        import signal
        import threading

        if job["kind"] != "call":
            return True
        module = self.name_of(job)
        if module not in self.shared:
            roots = [os.path.abspath(root) for root in job.get("root_dirs") or []]
            self.runner.set_path(roots)
            before = dict(os.environ)
            place = _place(2)
            try:
                self.runner.find_function(job)
                alone = threading.active_count() == 1
                alone = alone and all(signature(path) == known for path, known in files.items())
                self.shared[module] = alone and not restless(roots) and os.getcwd() == "/"
            except BaseException:
                self.shared[module] = False
            for name in {*before, *os.environ}:
                if before.get(name) != os.environ.get(name):
                    self.changed[name] = os.environ.get(name)
            sys.stdout.flush()
            sys.stderr.flush()
            if place is not None:
                self.printed[module] = os.pread(2, 1 << 20, place)
            handler = signal.signal(signal.SIGCHLD, lambda number, frame: None)
            if getattr(handler, "__module__", None) != __name__:
                self.on_child = handler
            signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
            os.chdir("/")
        return self.shared[module]

    @staticmethod
    def name_of(job: dict[str, Any]) -> str:
        return (job.get("function") or "").partition(":")[0] or str(job.get("pickle"))

    def child(
        self, request: dict[str, Any], path: str, job: dict[str, Any], log: int, fds: list[int], shared: bool
    ) -> Callable[[], int]:
        """In the child: become the job's process; what is left to do is given back."""
        import signal

        try:
            os.setpgid(0, 0)
        except OSError:
            pass
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, self.on_child)
        self.channel.close()
        for fd in (self.wake, self.wake_write, *self.fds):
            os.close(fd)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        for fd in fds:
            os.set_inheritable(fd, True)
        try:
            os.chdir(request["cwd"])
        except OSError as error:
            print(f"bflow: {error}", file=sys.stderr)
            return lambda: 1
        environ = dict(request["env"])
        if not shared:
            arguments = [sys.executable, RUNNER, job["kind"], path]
            return lambda: os.execve(sys.executable, arguments, environ)
        for name, value in self.changed.items():
            environ.pop(name, None)
            if value is not None:
                environ[name] = value
        os.environ.clear()
        os.environ.update(environ)
        os.write(2, self.printed.get(self.name_of(job), b""))  # as the import would have printed here
        if "tempfile" in sys.modules:
            setattr(sys.modules["tempfile"], "tempdir", None)  # noqa: B010  # TMPDIR is the job's
        for module in ("numpy.random", "torch"):  # children must not all draw the same numbers
            seed = getattr(sys.modules.get(module), "seed", None)
            if seed is not None:
                seed()
        return lambda: int(self.runner.run(job))

    def reap(self) -> None:
        import signal

        for number, pid in list(self.running.items()):
            try:
                if hasattr(os, "waitid"):  # the group is ended while the child's number is still its own
                    if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                        continue
                    os.killpg(pid, signal.SIGKILL)
            except OSError:
                pass
            try:
                done, status, usage = os.wait4(pid, os.WNOHANG)
            except ChildProcessError:
                del self.running[number]
                self.tell(event="end", id=number, pid=pid, status=None, error="the exit status of the job is lost")
                continue
            if done == 0:
                continue
            if not hasattr(os, "waitid"):
                try:
                    os.killpg(pid, signal.SIGKILL)
                except OSError:
                    pass
            del self.running[number]
            code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
            unit = 1 if sys.platform == "darwin" else 1024
            used = {"utime": usage.ru_utime, "stime": usage.ru_stime, "maxrss": usage.ru_maxrss * unit}
            self.tell(event="end", id=number, pid=pid, status=code, rusage=used)


def signature(path: str) -> list[int]:
    st = os.stat(path)
    return [st.st_size, st.st_mtime_ns, st.st_ino]


def _place(fd: int) -> int | None:
    try:
        return os.lseek(fd, 0, os.SEEK_CUR)
    except OSError:
        return None


def restless(roots: list[str]) -> bool:
    """Whether a module of the project, as it is imported, takes what is another in each process: random numbers (or
    their seed, which a child would lose), the time, the process, the folder."""
    import re

    call = re.compile(
        rb"^(?!def |class |async |@|#)\S.*\b(seed|manual_seed|default_rng|RandomState|Random|SystemRandom|now|today"
        rb"|time|time_ns|monotonic|perf_counter|getpid|getcwd|cwd|mkdtemp|uuid1|uuid4|urandom|token_\w+)\(",
        re.MULTILINE,
    )
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if getattr(module, "__name__", None) == "__main__" or not isinstance(file, str) or not file.endswith(".py"):
            continue
        if "site-packages" in file or not any(file.startswith(root.rstrip("/") + "/") for root in roots):
            continue
        with open(file, "rb") as source:
            if call.search(source.read()):
                return True
    return False


def main() -> int:
    if sys.path and os.path.abspath(sys.path[0]) == HERE:
        del sys.path[0]  # its names are not the user's
    job = Server().serve()
    if job is None:
        os._exit(0)  # what modules registered for the end of a process is the children's
    return job()


if __name__ == "__main__":
    sys.exit(main())
