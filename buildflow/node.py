"""What runs where a queue has sent it: tasks of one submission, one after the other. It is one file that needs nothing
but the standard library of Python 3.6 or later, and is copied to where nodes can read it.

    python3 node.py SUBMISSION ELEMENT

`SUBMISSION` is a folder that the driver made (`buildflow.workers.submission`), `ELEMENT` a place in its array, from 0.

    batch           lines of JSON (ASCII). The first is an object:
        format          1
        batch           the tasks that one element takes, those from ELEMENT * batch on; null: an element takes its own
                        (of number ELEMENT), and then any that nobody has begun, until it is `span` old
        span            seconds
        watch_memory    whether tasks that take more than their `mem` are ended here
        env             {name: value} of all tasks
        offsets         [bytes]: where each task's line begins, counted from the end of this line
                    each other one a task, by number:
        argv cwd log    the command, its folder, the file that its output goes to
        env             over the common environment
        redirections    [[fd, "r" | "w" | "a" | "dup", path or fd]] (optional)
        fallback        an argument vector that is run where the command is not found (optional)
        cleanup         an argument vector that is run after a task that was killed (optional)
        time mem gpus   seconds, bytes, devices: null or left out where it is not said
        prefix          what stands before the name of a variable that the node adds (optional)
        outputs         paths whose sizes are told at the end
    N.began         made by who takes task N, before it starts: {"element", "host", "started"}. A node that finds one
                    leaves the task alone; the driver makes one to take a task back. So no task runs twice.
    N.end           written whole once task N has ended and its files are closed:
        status          as a shell's, negative: by that signal
        timed_out       its `time` was up
        stopped         the node was told to end (cancelled, preempted, its own time up): what it made is partial
        memory          it was ended since it took more memory than it asked for
        runtime         {"wall_s", "rss_peak_gb", "vms_peak_gb", "cpu_peak_percent"}
        host, started, ended    (seconds since the epoch)
        sizes           of each of `outputs`: bytes, -1 for a folder, null where it is not there

Each task is a process group with just the environment of its line (and the devices that the queue gave it), which ends
with it. SIGTERM (also INT, HUP, USR2, XCPU) ends the running task; a process beside this one ends it where this one is
killed. The exit status is 0, 1 where a task failed, 2 where the submission cannot be read, 143 after a signal.
"""

import errno
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Process = subprocess.Popen[bytes]

FORMAT = 1
GRACE = 5.0
"""Seconds between the polite and the final signal to a task whose time is up."""
LAST = 1.0
"""The same where this process was told to end: a queue gives it two seconds or more."""
HEARSAY = 0.2
"""Seconds to wait for the signal that a task seems to have got first: a queue sends it to all processes."""
SAMPLE = 0.25
"""Seconds between two looks at a task's memory."""
PATIENCE = 10
"""Seconds that a shared file system may take to show the submission."""
BUSY_TRIES = 20
DEVICES = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
"""Variables by which a queue says which devices a task got."""
STOPPING = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2", "SIGXCPU")


class Submission:
    """The folder of a submission, as a node reads and writes it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.file = self._open()
        self.header = json.loads(self.file.readline().decode("ascii"))
        self.base = self.file.tell()
        self.count = len(self.header["offsets"])

    def _open(self) -> BinaryIO:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return open(self.folder + "/batch", "rb")
            except FileNotFoundError:
                if time.monotonic() > deadline or not os.path.isdir(os.path.dirname(self.folder)):
                    raise
                time.sleep(0.5)

    def task(self, number: int) -> "dict[str, Any]":
        """A task by its number."""
        self.file.seek(self.base + self.header["offsets"][number])
        found = json.loads(self.file.readline().decode("ascii"))  # type: dict[str, Any]
        env = dict(self.header["env"])
        env.update(found["env"])
        found["env"] = env
        return found

    def claim(self, number: int, element: int) -> bool:
        """Take a task; False where somebody has it."""
        try:
            made = os.open(f"{self.folder}/{number}.began", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(made, "w") as file:
            json.dump({"element": element, "host": host(), "started": time.time()}, file)
        return True

    def begun(self) -> "set[int]":
        """The numbers of the tasks that were taken."""
        return {int(name[:-6]) for name in os.listdir(self.folder) if name.endswith(".began")}

    def numbers(self, element: int, may_go_on: "Callable[[bool], bool]") -> "Iterator[int]":
        """The tasks that an element takes, each once it was taken. `may_go_on(own)`: whether to take one more."""
        batch = self.header["batch"]
        if batch:
            for number in range(element * batch, min((element + 1) * batch, self.count)):
                if may_go_on(True) and self.claim(number, element):
                    yield number
            return
        if element < self.count and may_go_on(True) and self.claim(element, element):
            yield element
        left = []  # type: list[int]
        while may_go_on(False):
            if not left:
                begun = self.begun()
                left = [number for number in range(self.count) if number not in begun]
                if not left:
                    return
                # Each element begins somewhere else, so that few want the same.
                place = random.randrange(len(left))
                left = left[place:] + left[:place]
                left.reverse()
            number = left.pop()
            if self.claim(number, element):
                yield number
            else:
                left = []

    def end(self, number: int, told: "dict[str, Any]") -> None:
        """Tell how a task ended."""
        path = f"{self.folder}/{number}.end"
        new = path + ".new"
        with open(new, "w") as file:
            json.dump(told, file)
        os.replace(new, path)


class Usage:
    """The peaks of memory and processor time of a process and all below it; None where it was too short to be looked
    at, or there is no /proc."""

    def __init__(self, pid: int, started: float) -> None:
        self.pid = pid
        self.now = 0.0  # resident bytes at the last look
        self.rss = None  # type: float | None
        self.vms = None  # type: float | None
        self.cpu = None  # type: float | None
        self._ticks = 0.0
        self._sampled = started

    def sample(self, now: float) -> None:
        """Look at them; `now` is on the clock of `started`."""
        rss = vms = ticks = 0.0
        some = False
        page, hertz = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
        for process in family(self.pid):
            try:
                with open(f"/proc/{process}/statm", "rb") as file:
                    fields = file.read().split()
                with open(f"/proc/{process}/stat", "rb") as file:
                    times = file.read().rpartition(b")")[2].split()
                vms += int(fields[0]) * page
                rss += int(fields[1]) * page
                ticks += (int(times[11]) + int(times[12])) / hertz
            except (OSError, IndexError):
                continue  # it has just ended
            some = True
        if not some:
            return
        self.now = rss
        self.rss = max(self.rss or 0.0, rss / 1e9)
        self.vms = max(self.vms or 0.0, vms / 1e9)
        passed = now - self._sampled
        if passed > 0 and ticks >= self._ticks:
            self.cpu = max(self.cpu or 0.0, 100 * (ticks - self._ticks) / passed)
        self._ticks = ticks
        self._sampled = now

    def runtime(self, wall: float) -> "dict[str, float | None]":
        return {
            "wall_s": round(wall, 6),
            "rss_peak_gb": self.rss,
            "vms_peak_gb": self.vms,
            "cpu_peak_percent": self.cpu,
        }


def family(pid: int) -> "list[int]":
    """A process and all below it."""
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children", "rb") as file:
                    found.extend(int(child) for child in file.read().split())
        except OSError:
            continue
    return found


def memory_kills() -> int:
    """How many processes the kernel has ended for their memory in the group of processes that this one is in, and those
    above it."""
    found = 0
    try:
        with open("/proc/self/cgroup") as file:
            lines = file.read().split()
    except OSError:
        return 0
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            root, name = "/sys/fs/cgroup", "memory.events"
        elif "memory" in controllers.split(","):
            root, name = "/sys/fs/cgroup/memory", "memory.oom_control"
        else:
            continue
        while path not in ("", "/"):
            try:
                with open(f"{root}{path}/{name}") as file:
                    found += sum(int(row.split()[1]) for row in file if row.startswith("oom_kill "))
            except (OSError, ValueError, IndexError):
                pass
            path = path.rpartition("/")[0]
    return found


class Guard:
    """A process in a session of its own that ends the running task where this process is killed: it hears of it by the
    end of a pipe."""

    def __init__(self) -> None:
        read, self.pipe = os.pipe()
        if os.fork():
            os.close(read)
            return
        try:
            os.setsid()
            for name in STOPPING:
                signal.signal(getattr(signal, name), signal.SIG_IGN)
            os.close(self.pipe)
            null = os.open(os.devnull, os.O_RDWR)
            for number in range(3):
                os.dup2(null, number)
            self._watch(read)
        finally:
            os._exit(0)

    @staticmethod
    def _watch(read: int) -> None:
        last = b""
        with os.fdopen(read, "rb") as pipe:
            for line in pipe:
                last = line
        group, cleanup, env = json.loads(last.decode("ascii") or "[0, [], {}]")
        if group:
            kill_group(group, signal.SIGKILL)
            clean_up(cleanup, env)

    def watch(self, group: int, task: "dict[str, Any]") -> None:
        """What is to be ended; 0: nothing."""
        cleanup = task.get("cleanup") or []
        told = json.dumps([group, cleanup, task["env"] if group and cleanup else {}]) + "\n"
        os.write(self.pipe, told.encode("ascii"))


class Element:
    """One element of a submission's array. `folder`: that of the submission."""

    def __init__(self, folder: str, number: int) -> None:
        self.submission = Submission(folder)
        self.number = number
        self.began = time.monotonic()
        self.told_to_end = False
        self.failed = False
        self.devices = {name: os.environ[name] for name in DEVICES if name in os.environ}
        self.guard = Guard()
        self.heard, wakeup = os.pipe()
        os.set_blocking(self.heard, False)
        os.set_blocking(wakeup, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        for name in STOPPING:
            signal.signal(getattr(signal, name), self._stop)
        signal.signal(signal.SIGUSR1, lambda number, frame: None)  # (a queue warns of a suspension by it)
        signal.set_wakeup_fd(wakeup)

    def _stop(self, number: int, frame: object) -> None:
        self.told_to_end = True

    def _may_go_on(self, own: bool) -> bool:
        return not self.told_to_end and (own or time.monotonic() - self.began < self.submission.header["span"])

    def run(self) -> int:
        """Run the tasks; the exit status."""
        for number in self.submission.numbers(self.number, self._may_go_on):
            self.submission.end(number, self._run(self.submission.task(number)))
        return 143 if self.told_to_end else 1 if self.failed else 0

    # ---- one task ----------------------------------------------------------------------------------------------

    def _run(self, task: "dict[str, Any]") -> "dict[str, Any]":
        """Run a task and wait for it; what is told of its end."""
        if task.get("gpus"):
            prefix = task.get("prefix", "")
            task["env"].update((prefix + name, value) for name, value in self.devices.items())
        kills = memory_kills()
        began, started = time.time(), time.monotonic()
        told = {"status": 1, "host": host(), "started": began}  # type: dict[str, Any]
        told.update(timed_out=False, stopped=False, memory=False)
        process, problem = start(task)
        if process is None:
            with open(task["log"], "ab") as log:
                log.write(b"bflow: " + os.fsencode(problem[1]) + b"\n")
            told.update(status=problem[0], runtime=Usage(0, started).runtime(0.0))
        else:
            usage = Usage(process.pid, started)
            self.guard.watch(process.pid, task)
            self._wait(process, task, usage, told, started)
            self.guard.watch(0, task)
            told["runtime"] = usage.runtime(time.monotonic() - started)
            if memory_kills() > kills and told["status"] != 0:
                told["memory"] = True
            if told["timed_out"] or told["stopped"] or told["memory"] or told["status"] < 0:
                clean_up(task.get("cleanup") or [], task["env"])
        told["ended"] = time.time()
        told["sizes"] = [size(path) for path in task.get("outputs", ())]
        self.failed = self.failed or told["status"] != 0
        return told

    def _wait(
        self, process: "Process", task: "dict[str, Any]", usage: Usage, told: "dict[str, Any]", started: float
    ) -> None:
        """Until the task has ended, and its group with it."""
        deadline = started + task["time"] if task.get("time") else None
        mem = task.get("mem") if self.submission.header.get("watch_memory") else None
        ending = None  # type: float | None  # when it is killed
        while True:
            if has_ended(process):
                break
            now = time.monotonic()
            why, grace = "", 0.0
            if self.told_to_end and not told["stopped"]:
                why, grace = "stopped", LAST
            elif deadline is not None and now >= deadline and ending is None:
                why, grace = "timed_out", GRACE
            elif mem and usage.now > mem and ending is None:
                why, grace = "memory", LAST
            if why:
                told[why] = True
                kill_group(process.pid, signal.SIGTERM)
                ending = min(now + grace, ending or now + grace)
            elif ending is not None and now >= ending:
                kill_group(process.pid, signal.SIGKILL)
                ending = now + GRACE
            next_look = now + SAMPLE
            for moment in (ending, deadline if ending is None else None):
                if moment is not None:
                    next_look = min(next_look, moment)
            select.select([self.heard], [], [], max(next_look - now, 0.0))
            self._drain()
            now = time.monotonic()
            if now - usage._sampled >= SAMPLE:
                usage.sample(now)
        kill_group(process.pid, signal.SIGKILL)  # before it is reaped: the group's number is still ours
        told["status"] = process.wait()
        if told["status"] in (-signal.SIGTERM, 128 + signal.SIGTERM):
            self._drain()
            if not self.told_to_end:
                select.select([self.heard], [], [], HEARSAY)
        if self.told_to_end and told["status"] != 0 and not told["timed_out"]:
            told["stopped"] = True
        if mem and usage.now > mem and told["status"] == -signal.SIGKILL:
            told["memory"] = True

    def _drain(self) -> None:
        try:
            while os.read(self.heard, 4096):
                pass
        except BlockingIOError:
            pass


def has_ended(process: "Process") -> bool:
    """Whether it has; it is not reaped where that can be asked."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def start(task: "dict[str, Any]") -> "tuple[Process | None, tuple[int, str]]":
    """A task's process, or None and why it cannot be: the status and the message of a shell."""
    process, problem = spawn(task, task["argv"], task.get("redirections", ()))
    if process is None and task.get("fallback"):
        process, problem = spawn(task, task["fallback"], ())  # so that the message and the status are the shell's own
    return process, problem


def spawn(
    task: "dict[str, Any]", argv: "list[str]", redirections: "Sequence[Any]"
) -> "tuple[Process | None, tuple[int, str]]":
    """As `start`, of that command."""
    name, env = argv[0], task["env"]
    opened = []  # type: list[int]
    try:
        try:
            streams = open_streams(task, redirections, opened)
        except OSError as error:
            return None, (1, f"{error.filename}: {error.strerror}")
        program = find_program(name, env.get("PATH", os.defpath), task["cwd"])
        if program is None:
            return None, (127, name + ": command not found")
        for attempt in range(BUSY_TRIES + 1):
            try:
                return subprocess.Popen(
                    argv, executable=program, cwd=task["cwd"], env=env, start_new_session=True,
                    stdin=streams[0], stdout=streams[1], stderr=streams[2],
                ), (0, "")  # fmt: skip
            except OSError as error:
                if error.errno == errno.ETXTBSY and attempt < BUSY_TRIES:
                    time.sleep(0.05)
                    continue
                if error.errno == errno.ENOEXEC and name != "bash" and not task.get("fallback"):
                    return spawn(task, ["bash", program] + argv[1:], redirections)  # a script without a first line
                return None, (127 if error.errno == errno.ENOENT else 126, f"{name}: {error.strerror}")
    finally:
        for fd in opened:
            os.close(fd)
    return None, (126, name + ": busy")


def open_streams(task: "dict[str, Any]", redirections: "Sequence[Any]", opened: "list[int]") -> "list[int]":
    """The descriptors of a task's input, output and messages; those in `opened` are to be closed."""
    opened.append(os.open(os.devnull, os.O_RDWR))
    opened.append(os.open(task["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644))
    streams = [opened[0], opened[1], opened[1]]
    create = os.O_WRONLY | os.O_CREAT
    flags = {"r": os.O_RDONLY, "w": create | os.O_TRUNC, "a": create | os.O_APPEND}
    for fd, mode, target in redirections:
        if mode == "dup":
            streams[fd] = streams[int(target)]
            continue
        try:
            opened.append(os.open(os.path.join(task["cwd"], target), flags[mode], 0o666))
        except OSError as error:
            error.filename = target
            raise
        streams[fd] = opened[-1]
    return streams


def find_program(name: str, path: str, cwd: str) -> "str | None":
    """The file that a command's name means, as a shell finds it."""
    if "/" in name:
        full = os.path.join(cwd, name)
        return full if os.path.exists(full) else None
    for folder in path.split(os.pathsep):
        full = os.path.join(cwd, folder, name)
        if os.access(full, os.X_OK) and os.path.isfile(full):
            return full
    return None


def kill_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass


def clean_up(argv: "list[str]", env: "dict[str, str]") -> None:
    """Run what ends that which may outlive a task's group, as a container does."""
    if not argv:
        return
    try:
        process = subprocess.Popen(
            argv, env=env, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        process.wait(60)
    except (OSError, subprocess.TimeoutExpired):
        pass


def size(path: str) -> "int | None":
    """Bytes of a file, -1 for a folder, None where there is none."""
    try:
        return -1 if os.path.isdir(path) else os.stat(path).st_size
    except OSError:
        return None


def host() -> str:
    """The node's name, as the queue calls it."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def main() -> int:
    folder, number = sys.argv[1:]
    try:
        element = Element(folder, int(number))
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"bflow: there is nothing to do in {folder}: {error}\n")
        return 2
    return element.run()


if __name__ == "__main__":
    sys.exit(main())
