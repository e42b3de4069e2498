"""The worker psij with its two subtypes, on a real PSI/J: processes of this machine, and a real Slurm."""

from __future__ import annotations

import os
import shutil
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest
from cluster_stories import WAIT, Project, Stories

from clusters import Cluster, Slurm, until
from require import require
from story import Story

pytestmark = pytest.mark.psij


@pytest.fixture(scope="session", autouse=True)
def package() -> None:
    require("psij", None if find_spec("psij") else "the package psij-python is not installed")


class PsijSlurm(Slurm):
    worker = "psij-slurm"


class PsijLocal(Cluster):
    worker = "psij-local"

    def queued(self) -> list[str]:
        """The nodes of these tests that run."""
        found = []
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if len(words) > 4 and words[3].endswith(b"/node.py") and os.fsencode(self.root) in words[4]:
                found.append(name)
        return found

    def __init__(self, root: str) -> None:
        super().__init__({})
        self.root = root

    def cancel(self) -> None:
        for name in self.queued():
            os.kill(int(name), signal.SIGTERM)


class TestPsijSlurm(Stories):
    test_a_thousand_short_jobs = None  # it counts the commands of a queue that has arrays

    @pytest.fixture
    def cluster(self, slurm: Slurm) -> Slurm:
        return PsijSlurm(slurm.service_env)

    def test_a_refusal_is_told(self, project: Project) -> None:
        project.many(2)
        ran = project.build("-o", "attributes=no-such-option=1", ok=1)
        assert "the queue refused it: " in ran.err
        assert "no-such-option" in ran.err

    def test_jobs_cancelled_before_they_began(self, project: Project) -> None:
        project.many(14, f"touch {project.story.home / 'started'}; sleep 100")
        running = project.start("-k", "-o", "batch=1", "-o", "poll=1")
        running.until(lambda: len(project.cluster.queued()) == 14, "all in the queue", 60)
        running.until_exists(project.story.home / "started", 60)
        project.cluster.cancel()
        ran = running.wait(ok=1, timeout=120)
        assert ran.failed == 14
        assert ran.err.count("it was cancelled in the queue") == 14

    def test_what_a_job_asks_for_is_passed_on(self, project: Project) -> None:
        project.write("""
            [cpus = 2, mem = 300M, time = 10m, psij = comment=mine --exclusive, pass = SLURM_CONF]
            asked.txt:
                squeue --noheader --states=all --Format=NumCPUs:20,MinMemory:20,TimeLimit:20,Comment:20 > {out}
        """)
        project.build("asked.txt")
        asked = project.story.read("asked.txt")
        assert "300M" in asked and "12:00" in asked and "mine" in asked

    def test_few_jobs_where_the_first_take_all(self, project: Project) -> None:
        """PSI/J has no arrays: nobody wants a thousand jobs that find nothing to do."""
        project.many(300)
        count = project.story.home / "count"
        bin = project.story.home / "bin"
        real = project.cluster.run("sh", "-c", "command -v sbatch").strip()
        project.story.write(bin / "sbatch", f'#!/bin/sh\necho x >> {count}\nexec {real} "$@"\n', mode=0o755)
        path = f"{bin}{os.pathsep}{project.story.environment()['PATH']}"
        assert project.build(env={"PATH": path}).ran == 300
        assert len(count.read_text().split()) < 150


    def test_a_submission_that_is_on_its_way_when_the_driver_is_killed(self, project: Project, tmp_path: Path) -> None:
        """The queue gets it right after the next driver has asked: what it begins is waited for, and runs once."""
        tools = tmp_path / "tools"
        tools.mkdir()
        wait = "while [ ! -e {} ]; do sleep 0.05; done"
        scripts = {
            "sbatch": f"[ ! -e one ] || {wait.format('asked')}\ntouch one\n",
            "squeue": f"""if [ -e killed ] && [ ! -e begun ]; then
                said=$({shutil.which("squeue")} "$@")
                touch asked
                until [ "$(wc -l < {project.counter})" -ge 2 ]; do sleep 0.05; done
                touch begun
                echo "$said"
                exit
            fi
            """,
        }
        for name, text in scripts.items():
            text = f'#!/bin/sh\ncd {tmp_path} || exit\n{text}exec {shutil.which(name)} "$@"\n'
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        project.cluster.env["PATH"] = f"{tools}{os.pathsep}{project.story.environment()['PATH']}"
        project.many(4, WAIT.format(gate=project.gate))
        running = project.start()
        running.until(lambda: len(project.counted()) == 1, "the first job", 60)
        running.process.kill()
        running.process.wait()
        (tmp_path / "killed").touch()
        again = project.start()
        until(lambda: len(project.counted()) >= 2, "the second job")
        until(lambda: again.out.count('"start"') == 4, "the others")
        project.gate.touch()
        ran = again.wait(timeout=120)
        assert ran.failed == 0 and ran.ran == 4
        assert project.counted() == ["1", "2", "3", "4"]


class TestPsijLocal(Stories):
    test_a_thousand_short_jobs = None  # it counts the commands of a queue that has arrays
    test_more_memory_on_the_second_attempt = None  # memory is nobody's affair here


    @pytest.fixture
    def cluster(self, story: Story) -> Cluster:
        return PsijLocal(str(story.root))

    def test_a_job_cancelled_by_somebody(self, project: Project) -> None:
        project.many(1, "touch {started}; sleep 100".format(started=project.story.home / "started"))
        running = project.start()
        running.until_exists(project.story.home / "started", 60)
        project.cluster.cancel()
        assert "it was ended by the queue" in running.wait(ok=1).err

    test_jobs_cancelled_before_they_began = None  # none waits: there are as many as processors
    test_a_refusal_is_told = None

    def test_a_driver_that_is_killed(self, project: Project) -> None:
        project.many(6, f"[ {{n}} -le 2 ] || {WAIT.format(gate=project.gate)}")
        running = project.start("-j", "4")
        running.until(lambda: len(project.counted()) > 3, "some jobs that run", 60)
        running.process.kill()
        running.process.wait()
        again = project.start("-j", "4")
        again.next_event("start")
        project.gate.touch()
        ran = again.wait(timeout=120)
        assert ran.failed == 0 and ran.ran + ran.up_to_date == 6
        assert project.counted() == sorted(map(str, range(1, 7)))

    def test_detached_jobs_are_taken_up(self, project: Project) -> None:
        project.many(2, WAIT.format(gate=project.gate))
        assert "2 jobs are left in the queue" in project.detach().err
        until(lambda: len(project.counted()) == 2, "jobs that run")
        project.gate.touch()
        project.cluster.until_empty()
        assert project.build().ran == 2
        assert project.counted() == ["1", "2"]

    def test_a_folder_with_a_space(self, story: Story, project: Project) -> None:
        """PSI/J's own scripts do not quote."""
        story.write("a b/Flowfile", """
            x.txt:
                echo here > {out}
        """)
        assert project.build("x.txt", cwd="a b").ran == 1
        assert story.read("a b/x.txt") == "here\n"

    def test_a_node_that_is_killed(self, project: Project) -> None:
        """Its task ends with it, so that nothing runs twice."""
        alive = project.story.home / "alive"
        project.write(f"""
            slow.txt:
                echo $$ > {alive}
                sleep 1000
        """)
        running = project.start("-o", "latency_wait=1")
        running.until(lambda: alive.exists() and alive.read_text(), "a job that runs", 60)
        processes = project.cluster.queued()
        parents = {name: Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()[1] for name in processes}
        (node,) = [name for name, parent in parents.items() if parent not in processes]  # the other one is its guard
        os.kill(int(node), signal.SIGKILL)
        assert running.wait(ok=1).failed == 1
        group = alive.read_text().strip()
        until(lambda: not os.path.exists(f"/proc/{group}"), "the end of its task")
