"""The worker dask on a real Dask: a scheduler and workers that stay, and the cluster of one build."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cluster_stories import WAIT, Project, Stories

from clusters import Cluster, until
from require import require
from story import Story, kill_session

pytestmark = pytest.mark.dask

LOCAL = ("--host", "127.0.0.1", "--no-dashboard", "--dashboard-address", "127.0.0.1:0")


@pytest.fixture(scope="session", autouse=True)
def package() -> None:
    require("dask", None if find_spec("distributed") else "the package dask[distributed] is not installed")


class Dask(Cluster):
    """A scheduler and two workers of two threads, which do not see the checkout. One has the resource LICENCE."""

    worker = "dask"

    def __init__(self, folder: Path) -> None:
        super().__init__({})
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.file = folder / "scheduler.json"
        self.spawn("scheduler", "--port", "0", "--scheduler-file", str(self.file))
        until(self.file.exists, "the scheduler", 60)
        self.add_worker("--resources", "LICENCE=2")
        self.add_worker()
        from distributed import Client

        self.client: Any = Client(scheduler_file=str(self.file), set_as_default=False)
        self.client.wait_for_workers(2)
        self.address = self.client.scheduler.address

    def spawn(self, kind: str, *words: str) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *LOCAL, *words]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with open(self.folder / "log", "ab") as log:
            self.processes.append(
                subprocess.Popen(
                    command, cwd=self.folder, env=env, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log,
                    stderr=log,
                )
            )  # fmt: skip

    def add_worker(self, *words: str) -> None:
        self.spawn(
            "worker", "--scheduler-file", str(self.file), "--nthreads", "2", "--no-nanny", "--memory-limit", "0",
            "--local-directory", str(self.folder), *words,
        )  # fmt: skip

    def tasks(self) -> dict[str, str]:
        """The scheduler's tasks of bflow: their states."""
        found: dict[str, str] = self.client.run_on_scheduler(
            lambda dask_scheduler: {str(key): task.state for key, task in dask_scheduler.tasks.items()}
        )
        return {name: state for name, state in found.items() if name.startswith("bflow-")}

    def queued(self) -> list[str]:
        return [name for name, state in self.tasks().items() if state not in ("memory", "erred", "released")]

    def cancel(self) -> None:
        from distributed import Future

        futures = [Future(name, self.client) for name in self.queued()]
        self.client.cancel(futures, force=True)

    def close(self) -> None:
        self.client.close()
        for process in self.processes:
            kill_session(process.pid)
            process.wait()


@pytest.fixture(scope="session")
def cluster_of_dask(package: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dask]:
    cluster = Dask(tmp_path_factory.mktemp("dask"))
    yield cluster
    cluster.close()


class TestDask(Stories):
    test_a_thousand_short_jobs = None  # it counts the commands of a queue that has arrays
    test_more_memory_on_the_second_attempt = None  # memory is nobody's affair here

    @pytest.fixture
    def cluster(self, cluster_of_dask: Dask, story: Story) -> Dask:
        story.write("bflow.toml", f'[workers.dask]\naddress = "{cluster_of_dask.address}"\n')
        return cluster_of_dask

    def test_jobs_cancelled_before_they_began(self, project: Project) -> None:
        project.many(12, f"touch {project.story.home / 'started'}; sleep 100")
        running = project.start("-k", "-j", "12", "-o", "batch=1", "-o", "poll=1")
        running.until_exists(project.story.home / "started", 60)
        running.until(lambda: len(project.cluster.queued()) == 12, "all in the queue")
        project.cluster.cancel()
        ran = running.wait(ok=1, timeout=120)
        assert ran.failed == 12
        assert ran.err.count("it was cancelled in the queue") == 12

    def test_a_driver_that_is_killed(self, project: Project) -> None:
        project.many(12, f"[ {{n}} -le 3 ] || {WAIT.format(gate=project.gate)}")
        running = project.start("-j", "12", "-o", "batch=1")
        running.until(lambda: len(project.counted()) > 5, "some jobs that run", 60)
        running.process.kill()
        running.process.wait()
        again = project.start("-j", "12", "-o", "batch=1")
        again.next_event("start")
        project.gate.touch()
        ran = again.wait(timeout=120)
        assert ran.failed == 0 and ran.ran + ran.up_to_date == 12
        assert project.counted() == sorted(map(str, range(1, 13)))
        assert not project.cluster.tasks()

    def test_detached_jobs_are_taken_up(self, project: Project) -> None:
        project.many(4, WAIT.format(gate=project.gate))
        assert "4 jobs are left in the queue" in project.detach().err
        until(lambda: len(project.counted()) == 4, "jobs that run")
        project.gate.touch()
        project.cluster.until_empty()
        assert project.build().ran == 4
        assert project.counted() == ["1", "2", "3", "4"]

    def test_a_refusal_is_told(self, project: Project) -> None:
        project.write("""
            [dask = LICENCE=3]
            x.txt:
                touch {out}
        """)
        said = "the queue refused it: it asks for LICENCE = 3 of a worker of Dask, and one has 2 of it at most"
        assert said in project.build("x.txt", ok=1).err

    def test_a_resource_of_the_cluster(self, project: Project) -> None:
        project.write("""
            [dask = LICENCE=2, cpus = 2]
            {n}.txt:
                echo {n} > {out}
        """)
        assert project.build("a.txt", "b.txt").ran == 2

    def test_as_many_at_once_as_there_are_threads(self, project: Project) -> None:
        """Four threads: three jobs of one processor and none of three beside one of two."""
        most = project.story.home / "most"
        count = f"ls {project.story.home}/now | wc -l >> {most}"
        (project.story.home / "now").mkdir()
        project.write(f"""
            n = {{1..8}}
            all: {{n}}.txt

            [cpus = 2]
            {{n}}.txt:
                mkdir {project.story.home}/now/{{n}}
                {count}
                sleep 0.3
                rmdir {project.story.home}/now/{{n}}
                touch {{out}}
        """)
        assert project.build().ran == 8
        assert max(map(int, most.read_text().split())) <= 2

    def test_a_worker_that_is_killed(self, project: Project) -> None:
        """What it ran ends with it, and is told; what is retried does not meet it."""
        cluster = project.cluster
        assert isinstance(cluster, Dask)
        alive = project.story.home / "alive"
        project.write(f"""
            [retries = 1]
            slow.txt:
                echo $PPID $$ > {alive}
                [ {{attempt}} = 2 ] || sleep 1000
                [ ! -e /proc/$(cat {alive}.first) ]
                touch {{out}}
        """)
        running = project.start("slow.txt")
        running.until(lambda: alive.exists() and alive.read_text(), "a job that runs", 60)
        first = alive.read_text().split()[1]
        Path(f"{alive}.first").write_text(first)
        busy = next(address for address, keys in cluster.client.processing().items() if keys)
        pid = cluster.client.run(os.getpid, workers=[busy])[busy]
        os.kill(pid, signal.SIGKILL)
        ran = running.wait(timeout=120)
        cluster.add_worker("--resources", "LICENCE=2")
        cluster.client.wait_for_workers(2)
        notes = [event["text"] for event in ran.events if event["event"] == "note"]
        assert notes == ["slow.txt: its node failed; attempt 2 of 2"]
        assert ran.ran == 1

    def test_no_scheduler(self, project: Project) -> None:
        project.many(1)
        ran = project.build("-o", "address=tcp://127.0.0.1:9", ok=False)
        assert "no scheduler of Dask answers at tcp://127.0.0.1:9" in ran.err


class OwnDask(Cluster):
    """The cluster that each build starts for itself."""

    worker = "dask"

    def __init__(self) -> None:
        super().__init__({})

    def queued(self) -> list[str]:
        return []


class TestOwnCluster(Stories):
    test_a_thousand_short_jobs = None  # it counts the commands of a queue that has arrays
    test_more_memory_on_the_second_attempt = None
    test_a_job_cancelled_by_somebody = None  # nobody else gets at it
    test_jobs_cancelled_before_they_began = None
    test_a_refusal_is_told = None
    test_a_driver_that_is_killed_while_short_jobs_run = None  # those that it kills run again

    @pytest.fixture
    def cluster(self) -> OwnDask:
        return OwnDask()

    def test_a_driver_that_is_killed(self, project: Project) -> None:
        """The cluster ends, and the jobs with it: they run again, and none beside itself."""
        busy = project.story.home / "busy"
        project.many(2, f"mkdir {busy}{{n}} && trap 'rmdir {busy}{{n}}' EXIT; {WAIT.format(gate=project.gate)}")
        running = project.start("-j", "2")
        running.until(lambda: len(project.counted()) == 2, "jobs that run", 60)
        running.process.kill()
        running.process.wait()
        again = project.start("-j", "2")
        again.until(lambda: len(project.counted()) == 4, "jobs that run again", 60)
        project.gate.touch()
        assert again.wait(timeout=120).ran == 2
        assert not os.listdir(project.story.path(".bflow/queue"))

    def test_detached_jobs_are_taken_up(self, project: Project) -> None:
        project.many(2)
        ran = project.story.bflow("build", "--worker", "dask", "--detach", ok=False)
        assert "the cluster of Dask that the build has started ends with it" in ran.err

    test_what_is_not_wanted_any_more_is_cancelled = None

    def test_nothing_is_left(self, project: Project) -> None:
        """No process of the cluster, and no file."""
        project.many(2)
        project.build()
        own = str(project.story.root)
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                assert own.encode() not in file.read()
        assert not project.story.exists(".bflow/dask")

    def test_a_script_without_a_guard(self, project: Project) -> None:
        """Processes that multiprocessing spawns would run it again."""
        project.many(2)
        project.story.write("script.py", """
            from buildflow import Flow

            print("here")
            flow = Flow.load("Flowfile")
            flow.build("all", worker="dask", n_procs=2)
        """)
        ran = subprocess.run(
            [sys.executable, "script.py"], cwd=project.story.root, env=project.story.environment(), text=True,
            capture_output=True, timeout=120,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.count("here") == 1
        assert project.counted() == ["1", "2"]
