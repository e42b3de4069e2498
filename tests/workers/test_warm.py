"""The pool of warm processes: stories with real servers."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buildflow.errors import BuildError
from buildflow.workers.warm import WarmEvent, WarmJob, WarmPool, WarmRequest

ENV = {"PATH": os.environ["PATH"], "LC_CTYPE": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


class Place:
    """A project with one module, and a pool to call it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pool = WarmPool(sys.executable)
        self.count = 0
        self.ends: dict[int, WarmEvent] = {}
        (folder / "project").mkdir()

    def module(self, source: str) -> None:
        (self.folder / "project" / "mod.py").write_text(source)

    def start(self, name: str = "f", env: dict[str, str] | None = None, **more: Any) -> WarmJob:
        self.count += 1
        cwd = self.folder / f"box{self.count}"
        cwd.mkdir()
        roots = (str(self.folder / "project"),)
        job = {
            "kind": "call",
            "function": f"mod:{name}",
            "root_dirs": roots,
            "outputs": ["out"],
            "wildcards": {"n": str(self.count)},
        }
        (cwd / "job.json").write_text(json.dumps(job))
        given: dict[str, Any] = {"roots": roots, "name": "f", **more}
        env = {**ENV, "TMPDIR": str(cwd), **(env or {})}
        return self.pool.start(WarmRequest(str(cwd / "job.json"), str(cwd), str(cwd / "log"), env, **given))

    def events(self) -> list[WarmEvent]:
        assert select.select([self.pool], [], [], 60)[0], "no event came"
        events = self.pool.read_events()
        self.ends.update((event.job.number, event) for event in events if event.kind == "end")
        return events

    def end(self, *jobs: WarmJob) -> list[WarmEvent]:
        """Wait for the jobs; their ends in the order of the jobs."""
        while not all(job.number in self.ends for job in jobs):
            self.events()
        return [self.ends[job.number] for job in jobs]

    def started(self, job: WarmJob) -> int:
        while job.pid is None:
            self.events()
        return job.pid

    def text(self, job: WarmJob, name: str = "out") -> str:
        return (Path(job.request.cwd) / name).read_text()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    with made.pool:
        yield made


def test_jobs_share_what_was_imported_and_nothing_else(place: Place) -> None:
    place.module(
        "import os\nSERVER = os.getppid()\nseen = []\ndef f(n):\n    seen.append(n)\n    return [SERVER, seen]\n"
    )
    jobs = [place.start() for _ in range(4)]
    for event in place.end(*jobs):
        assert (event.status, event.error) == (0, None)
        assert event.usage is not None and event.usage.maxrss > 1_000_000 and event.usage.utime >= 0
    values = [json.loads(place.text(job)) for job in jobs]
    assert values == [[os.getpid(), [str(n)]] for n in (1, 2, 3, 4)]  # imported by the driver's child, and only there
    assert len({job.pid for job in jobs}) == 4
    assert len(place.pool.pids()) == 1


def test_each_job_has_its_own_folder_environment_log_and_group(place: Place) -> None:
    place.module(
        "import os, sys, tempfile\ntempfile.gettempdir()\n"
        "def f(n):\n"
        "    print('said', n)\n    print('cried', n, file=sys.stderr)\n    os.system('echo shelled')\n"
        "    assert sys.stdin.read() == ''\n"
        "    assert os.getpgid(0) == os.getpid()\n"
        "    return [os.getcwd(), tempfile.gettempdir(), os.environ.get('TMPDIR'), 'HOME' in os.environ]\n"
    )
    for job in (place.start(), place.start()):
        assert place.end(job)[0].status == 0, place.text(job, "log")
        cwd = os.path.realpath(job.request.cwd)
        assert json.loads(place.text(job)) == [cwd, job.request.cwd, job.request.cwd, False]
        assert place.text(job, "log") == f"said {job.number}\ncried {job.number}\nshelled\n"


def test_a_failing_job_harms_no_other(place: Place) -> None:
    place.module(
        "import os, sys\ndef bad(): raise ValueError('no')\ndef leave(): sys.exit(3)\ndef die(): os.abort()\n"
        "def f(): return 'x'\n"
    )
    jobs = [place.start(name) for name in ("bad", "leave", "die", "f")]
    assert [event.status for event in place.end(*jobs)] == [1, 3, -signal.SIGABRT, 0]
    log = place.text(jobs[0], "log")
    assert log.endswith("ValueError: no\n") and "runner.py" not in log and "warm_server" not in log


def test_an_end_is_a_whole_end(place: Place) -> None:
    """What a plain process does as it ends happens: threads are waited for, files and handlers flushed."""
    place.module(
        "import atexit, threading\nkept = []\n"
        "def f():\n"
        "    kept.append(open('kept', 'w')); kept[0].write('kept')\n"
        "    atexit.register(lambda: open('atexit', 'w').write('ran'))\n"
        "    gate = threading.Event()\n"
        "    threading.Thread(target=lambda: (gate.wait(), open('thread', 'w').write('ran'))).start()\n"
        "    gate.set()\n"
    )
    job = place.start()
    assert place.end(job)[0].status == 0
    assert [place.text(job, name) for name in ("kept", "atexit", "thread")] == ["kept", "ran", "ran"]


def test_the_group_ends_with_its_job(place: Place) -> None:
    place.module(
        "import os, subprocess\ndef f():\n    child = subprocess.Popen(['sleep', '600'])\n    return str(child.pid)\n"
    )
    job = place.start()
    assert place.end(job)[0].status == 0
    assert job.pid is not None
    with pytest.raises(ProcessLookupError):
        while True:  # killed; gone as soon as it is waited for
            os.killpg(job.pid, 0)


@pytest.mark.parametrize(
    "source",
    [
        "import random\nrandom.seed(4)\n",
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n",
        "X = open('job.json').read()\n",  # of the folder of the job
        "HERE = os.getcwd()\n",
    ],
)
def test_a_module_that_cannot_be_shared_is_imported_by_each_job(place: Place, source: str) -> None:
    place.module(f"import os, sys\n{source}def f(): return [sys.argv[0], os.getpid() == os.getpgid(0)]\n")
    job = place.start()
    assert place.end(job)[0].status == 0
    argv0, leads = json.loads(place.text(job))
    assert argv0.endswith("/runner.py") and leads


def test_seeded_numbers_stay_seeded_and_others_differ(place: Place) -> None:
    place.module("import random\nrandom.seed(4)\ndef f(): return random.random()\n")
    jobs = [place.start(digests=b"1"), place.start(digests=b"1")]
    place.end(*jobs)
    assert place.text(jobs[0]) == place.text(jobs[1])
    place.module("import random\ndef f(): return random.random()\n")
    jobs = [place.start(digests=b"2"), place.start(digests=b"2")]
    place.end(*jobs)
    assert place.text(jobs[0]) != place.text(jobs[1])


def test_a_broken_module_fails_its_jobs_with_its_traceback(place: Place) -> None:
    place.module("def f(): return 1\nboom\n")
    job = place.start()
    assert place.end(job)[0].status == 1
    assert place.text(job, "log").endswith("NameError: name 'boom' is not defined\n")


def test_what_an_import_prints_is_in_each_log(place: Place) -> None:
    place.module("import os\nprint('loading')\nos.environ['THREADS'] = '1'\ndef f(): return os.environ['THREADS']\n")
    jobs = [place.start(), place.start()]
    place.end(*jobs)
    assert [place.text(job, "log") for job in jobs] == ["loading\n", "loading\n"]
    assert place.text(jobs[1]) == "1"


def test_changed_modules_have_another_server(place: Place) -> None:
    place.module("def f(): return 'old'\n")
    old = place.start(digests=b"old")
    place.end(old)
    before = place.pool.pids()
    place.module("def f(): return 'new' * 2\n")
    new = place.start(digests=b"new")
    place.end(new)
    assert [place.text(old), place.text(new)] == ["old", "newnew"]
    assert len(place.pool.pids()) == 1 and not before & place.pool.pids()


def test_a_module_that_changed_since_its_digest_is_not_shared(place: Place) -> None:
    """The key is of the old text: whoever checks afterwards drops the result, and no later job may meet the new one."""
    place.module("def f(): return 'old'\n")
    path = place.folder / "project" / "mod.py"
    st = path.stat()
    modules = {str(path): (st.st_size, st.st_mtime_ns, st.st_ino)}
    place.module("def f(): return 'newer'\n")
    for _ in range(2):
        assert place.end(place.start(modules=modules))[0].status == 0
    place.module("def f(): return 'old'\n")
    job = place.start(modules=modules)
    place.end(job)
    assert place.text(job) == "old"


def test_a_variable_read_by_the_import_is_the_job_s(place: Place) -> None:
    place.module("import os\nLEVEL = os.environ['LEVEL']\ndef f(): return LEVEL\n")
    jobs = [place.start(env={"LEVEL": "1"}), place.start(env={"LEVEL": "2"}), place.start(env={"LEVEL": "1"})]
    place.end(*jobs)
    assert [place.text(job) for job in jobs] == ["1", "2", "1"]


def test_idle_servers_are_few(place: Place) -> None:
    place.module("import os\ndef f(): return os.environ['LEVEL']\n")
    place.pool._limit = 2
    for n in range(5):
        place.end(place.start(env={"LEVEL": str(n)}))
    assert len(place.pool.pids()) == 2


def test_a_server_that_dies_fails_its_jobs_and_is_replaced(place: Place) -> None:
    place.module(
        "import os, signal\ndef f(): os.kill(os.getppid(), signal.SIGKILL); signal.pause()\ndef g(): return 'g'\n"
    )
    job = place.start("f")
    (event,) = place.end(job)
    assert event.status is None and event.error == "the warm process for f died while its job ran (Killed)"
    job = place.start("g")
    assert place.end(job)[0].status == 0


def test_an_idle_server_that_died_is_not_noticed(place: Place) -> None:
    place.module("def f(): return 'x'\n")
    place.end(place.start())
    (pid,) = place.pool.pids()
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    job = place.start()
    assert place.end(job)[0].status == 0


def test_an_import_that_crashes_is_told(place: Place) -> None:
    place.module("import os, sys\nprint('about to', file=sys.stderr, flush=True)\nos.abort()\n")
    (event,) = place.end(place.start())
    assert event.status is None and event.error is not None
    assert event.error == "the warm process for f died before its job started (Aborted)\nabout to"


def test_a_job_can_be_killed(place: Place) -> None:
    place.module("import signal\ndef f(): signal.pause()\n")
    job, other = place.start(), place.start()
    place.started(job)
    place.pool.kill(job, signal.SIGTERM)
    assert place.end(job)[0].status == -signal.SIGTERM
    place.pool.kill(other)
    assert place.end(other)[0].status == -signal.SIGKILL
    place.pool.kill(other)  # it has ended: nothing


def test_a_job_whose_import_hangs_can_be_killed(place: Place) -> None:
    place.module("import os, signal\nif not os.path.exists(os.environ['GATE']): signal.pause()\ndef f(): return 'x'\n")
    gate = place.folder / "gate"
    job, other = place.start(env={"GATE": str(gate)}), place.start(env={"GATE": str(gate)})
    place.pool.kill(job)
    assert place.end(job)[0].status == -signal.SIGKILL
    assert other.number not in place.ends  # it was handed to another server, which hangs as well
    place.pool.kill(other)
    assert place.end(other)[0].status == -signal.SIGKILL
    gate.touch()
    assert place.end(place.start(env={"GATE": str(gate)}))[0].status == 0


def test_a_descriptor_is_inherited_by_the_job_and_its_children(place: Place) -> None:
    place.module(
        "import os, subprocess\n"
        "def f(n):\n"
        "    fds = [fd for fd in range(3, 64) if os.path.exists(f'/dev/fd/{fd}')]\n"
        "    pipes = [fd for fd in fds if os.get_inheritable(fd)]\n"
        "    assert len(pipes) == 1, fds\n"
        "    subprocess.run(['sh', '-c', f'echo {n} >&{pipes[0]}'], close_fds=False, check=True)\n"
    )
    read, write = os.pipe()
    job = place.start(fds=(write,))
    os.close(write)
    assert place.end(job)[0].status == 0, place.text(job, "log")
    assert os.read(read, 100) == b"1\n"
    assert os.read(read, 100) == b""  # and the server keeps none
    os.close(read)


def test_a_job_that_cannot_start_is_told(place: Place) -> None:
    place.module("def f(): return 1\n")
    first = place.start()
    place.end(first)
    request = first.request
    gone = WarmRequest(request.job + "x", request.cwd, request.log, request.env, request.roots, name="f")
    (event,) = place.end(place.pool.start(gone))
    assert event.status is None and event.error is not None and "cannot start the job: " in event.error
    unwritable = WarmRequest(request.job, request.cwd, request.cwd + "/no/log", request.env, request.roots, name="f")
    (event,) = place.end(place.pool.start(unwritable))
    assert event.error is not None and "No such file or directory" in event.error


def test_a_missing_python_is_an_error(tmp_path: Path) -> None:
    with WarmPool(str(tmp_path / "nopython")) as pool, pytest.raises(BuildError, match="cannot start .*nopython"):
        pool.start(WarmRequest("job", "/", "log", {}))


def test_closing_ends_servers_and_jobs(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.module("import signal\ndef f(): signal.pause()\n")
    job = place.start()
    pid = place.started(job)
    servers = place.pool.pids()
    place.pool.close()
    place.pool.close()
    for server in servers:
        with pytest.raises(ProcessLookupError):
            os.kill(server, 0)
    with pytest.raises(ProcessLookupError):
        while not _zombie(pid):
            os.kill(pid, 0)
        raise ProcessLookupError


def _zombie(pid: int) -> bool:
    """Killed, and not yet waited for by whoever took it over."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def test_the_driver_s_end_is_the_server_s(place: Place) -> None:
    place.module("def f(): return 1\n")
    place.end(place.start())
    (server,) = place.pool._servers.values()
    server.channel.shutdown(socket.SHUT_WR)
    assert server.process.wait(60) == 0
