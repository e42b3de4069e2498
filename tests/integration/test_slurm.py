"""The worker slurm on a real Slurm of two nodes, with and without accounting."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest
from cluster_stories import WAIT, Project, Stories

from clusters import Slurm, until
from require import service
from story import Story

pytestmark = pytest.mark.slurm

class TestSlurm(Stories):
    @pytest.fixture
    def cluster(self, slurm: Slurm) -> Slurm:
        return slurm

    def test_options_of_the_queue(self, project: Project) -> None:
        project.write("""
            [slurm = --comment=of-the-rule, cpus = 2, mem = 50M, time = 10m]
            out.txt:
                sleep 100
        """)
        project.story.write("bflow.toml", '[workers.slurm]\nqos = "normal"\npartition = "no-such"\n')
        running = project.start("-o", "partition=urgent")
        job = until(project.cluster.queued, "a job in the queue")[0]
        told = dict(
            word.partition("=")[::2] for word in project.cluster.run("scontrol", "-o", "show", "job", job).split()
        )
        running.signal(signal.SIGINT)
        running.wait(ok=130)
        assert told["Partition"] == "urgent"
        assert told["Comment"] == "of-the-rule"
        assert told["NumCPUs"] == "2"
        assert told["MinMemoryNode"] == "50M"
        assert told["TimeLimit"] == "00:12:00"
        assert told["Requeue"] == "0"

    def test_a_node_that_fails(self, project: Project) -> None:
        """It works no more: neither its daemon nor what it runs."""
        where = project.story.home / "where"
        project.story.write("Flowfile", f"""
            [retries = 1]
            out.txt:
                [ -e {where} ] || (echo $PPID > {where}.new; mv {where}.new {where}; sleep 100)
                echo done > {{out}}
        """)
        running = project.start()
        running.until_exists(where, 60)
        node = int(where.read_text())
        try:
            name = _kill_node(project.cluster, node)
            ran = running.wait(timeout=120)
            notes = [event["text"] for event in ran.events if event["event"] == "note"]
            assert notes == [f"out.txt: its node failed ({name}); attempt 2 of 2"]
            assert project.story.read("out.txt") == "done\n"
        finally:
            service("slurm", "start")

    def test_a_job_that_is_preempted(self, project: Project) -> None:
        project.write("""
            [cpus = 4, mem = 10M]
            {n}.txt:
                sleep 100
        """)
        running = project.start("1.txt", "2.txt", "-k")
        _until_running(project.cluster, 2)
        project.cluster.run("sbatch", "--partition=urgent", "--cpus-per-task=4", "--mem=10M", "--output=/dev/null",
                            "--wrap=sleep 1")  # fmt: skip
        event = running.next_event("job", timeout=60)
        assert event["problem"] == "it was preempted by another job of the queue"
        running.signal(signal.SIGINT)
        running.wait(ok=130)

    def test_a_controller_that_is_restarted(self, project: Project) -> None:
        """It is away while jobs run, end, and are to be submitted."""
        project.write(f"""
            {{n}}.second: {{n}}.first
                cp {{in}} {{out}}

            {{n}}.first:
                {WAIT.format(gate=project.gate)}
                echo {{n}} >> {project.counter}
                echo {{n}} > {{out}}
        """)  # fmt: skip
        running = project.start("1.second", "2.second", "-o", "poll=1")
        _until_running(project.cluster, 2)
        pid = int(Path(project.cluster.home, "run", "slurmctld.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        until(lambda: not Path(f"/proc/{pid}").exists(), "the controller's end")
        try:
            project.gate.touch()
            until(lambda: len(project.counted()) == 2, "jobs that end without it")
            running.until(lambda: "the queue does not answer" in running.out, "a note", 120)
        finally:
            service("slurm", "start")
        ran = running.wait(timeout=180)
        assert ran.ran == 4
        assert project.counted() == ["1", "2"]
        notes = [event["text"] for event in ran.events if event["event"] == "note"]
        assert len(notes) == 2 and notes[1] == "slurm: the queue answers again"

    def test_a_partition_that_there_is_not(self, project: Project) -> None:
        project.many(1)
        problem = project.build("-o", "partition=no-such", ok=1).err
        assert "the queue refused it: sbatch: error: invalid partition specified: no-such" in problem

    @pytest.mark.parametrize("third", [500])
    def test_three_layers_of_many_jobs(self, project: Project, third: int) -> None:
        """All run, and the driver stays below 200 MB. (What it costs in time is measured by the benchmarks.)"""
        project.story.write("Flowfile", f"""
            n = {{1..{third}}}
            all: c/{{n}}

            a/{{n}}:
                echo {{n}} > {{out}}
            b/{{n}}: a/{{n}}
                cp {{in}} {{out}}
            c/{{n}}: b/{{n}}
                cp {{in}} {{out}}
        """)  # fmt: skip
        running = project.start()
        peak = 0
        while running.process.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                status = Path(f"/proc/{running.pid}/status").read_text()
                peak = max(peak, int(status.partition("VmHWM:")[2].split()[0]) // 1024)
            time.sleep(0.5)
        ran = running.wait(timeout=10)
        assert ran.ran == 3 * third
        assert 0 < peak < 200, f"{peak} MB"


class TestSlurmWithAccounting:
    """What sacct knows is asked where squeue has forgotten."""

    @pytest.fixture
    def project(self, story: Story, slurm_with_accounting: Slurm) -> Project:
        return Project(story, slurm_with_accounting)

    def test_a_job_cancelled_by_somebody(self, project: Project) -> None:
        started = project.story.home / "started"
        project.many(1, f"touch {started}; sleep 100")
        running = project.start()
        running.until_exists(started, 60)
        project.cluster.cancel()
        assert "it was cancelled in the queue" in running.wait(ok=1).err

    def test_what_the_queue_has_forgotten(self, project: Project) -> None:
        """Jobs that were cancelled long ago, as far as squeue knows."""
        started = project.story.home / "started"
        project.many(1, f"touch {started}; sleep 100")
        hidden = project.story.home / "bin"
        hidden.mkdir()
        (hidden / "squeue").write_text("#!/bin/sh\nexit 0\n")
        (hidden / "squeue").chmod(0o755)
        running = project.story.start(
            "build", "--json", "--worker", "slurm",
            env={**project.cluster.env, "PATH": f"{hidden}{os.pathsep}{os.environ['PATH']}"},
        )  # fmt: skip
        running.until_exists(started, 60)
        project.cluster.cancel()
        assert "it was cancelled in the queue" in running.wait(ok=1, timeout=90).err


def _until_running(cluster: Slurm, count: int) -> None:
    until(lambda: len(cluster.run("squeue", "-h", "-t", "running").splitlines()) == count, f"{count} jobs that run")


def _kill_node(cluster: Slurm, node: int) -> str:
    """Kill the daemon of the node that runs a process, and all that it runs there; the node's name."""
    environment = Path(f"/proc/{node}/environ").read_bytes().split(b"\0")
    name = next(row for row in environment if row.startswith(b"SLURMD_NODENAME="))[16:].decode()
    pid = int(Path(cluster.home, "run", f"slurmd.{name}.pid").read_text())
    step = int(Path(f"/proc/{node}/stat").read_text().rpartition(")")[2].split()[1])
    for process in (pid, step, node):
        os.kill(process, signal.SIGKILL)
    return name
