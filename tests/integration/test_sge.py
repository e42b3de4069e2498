"""The worker sge on a real Grid Engine of one node."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from cluster_stories import WAIT, Project, Stories

from clusters import Sge, until
from require import service

pytestmark = pytest.mark.sge

MASTER = Path("/var/spool/gridengine/qmaster/qmaster.pid")


class TestSge(Stories):
    @pytest.fixture
    def cluster(self, sge: Sge) -> Sge:
        return sge

    def test_what_the_queue_is_asked_for(self, project: Project) -> None:
        project.write("""
            [sge = -js 3, cpus = 2, mem = 50M, time = 10m]
            out.txt:
                sleep 100
        """)
        running = project.start("-o", "queue=all.q")
        job = until(project.cluster.queued, "a job in the queue")[0]
        rows = (line.partition(":") for line in project.cluster.run("qstat", "-j", job).splitlines())
        told = {name: value.strip() for name, _, value in rows}
        running.signal(signal.SIGINT)
        running.wait(ok=130)
        assert told["hard resource_list"] == "h_rt=720,mem_free=25600K"
        assert told["parallel environment"] == "smp range: 2"
        assert told["hard_queue_list"] == "all.q"
        assert told["jobshare"] == "3"

    def test_a_master_that_is_restarted(self, project: Project) -> None:
        project.write(f"""
            {{n}}.second: {{n}}.first
                cp {{in}} {{out}}

            {{n}}.first:
                {WAIT.format(gate=project.gate)}
                echo {{n}} >> {project.counter}
                echo {{n}} > {{out}}
        """)
        running = project.start("1.second", "2.second", "-o", "poll=1")
        until(lambda: len(project.cluster.run("qstat", "-s", "r").splitlines()) == 4, "two jobs that run")
        pid = int(MASTER.read_text())
        os.kill(pid, signal.SIGTERM)
        until(lambda: not Path(f"/proc/{pid}").exists(), "the master's end")
        try:
            project.gate.touch()
            until(lambda: len(project.counted()) == 2, "jobs that end without it")
            running.until(lambda: "the queue does not answer" in running.out, "a note", 120)
        finally:
            service("sge", "start")
        ran = running.wait(timeout=180)
        assert ran.ran == 4
        assert project.counted() == ["1", "2"]
