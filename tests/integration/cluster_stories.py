"""What every cluster worker promises, as stories on a real queue: `test_slurm.py` and `test_sge.py` run them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters import Cluster, until
from story import COMMAND, Ran, Running, Story

MANY = """
    n = {{1..{count}}}
    all: out/{{n}}.txt

    out/{{n}}.txt:
        echo {{n}} >> {counter}
        {body}
        echo {{n}} > {{out}}
"""


class Project:
    """A story whose jobs go to a cluster. `counter`: a file outside the project where each job that runs leaves a
    line."""

    def __init__(self, story: Story, cluster: Cluster) -> None:
        self.story = story
        self.cluster = cluster
        self.counter = story.home / "counter"
        self.gate = story.home / "gate"

    def write(self, text: str, attributes: str = "") -> None:
        self.story.write("Flowfile", text)

    def many(self, count: int, body: str = ":") -> None:
        """`count` jobs that tell the counter, then run `body`."""
        self.story.write("Flowfile", MANY.format(count=count, counter=self.counter, body=body))

    def build(self, *words: str, **given: object) -> Ran:
        env = {**self.cluster.env, **given.pop("env", {})}  # type: ignore[dict-item]
        return self.story.build("--worker", self.cluster.worker, *words, env=env, timeout=180, **given)

    def start(self, *words: str) -> Running:
        return self.story.start("build", "--json", "--worker", self.cluster.worker, *words, env=self.cluster.env)

    def detach(self) -> Ran:
        return self.story.bflow("build", "--worker", self.cluster.worker, "--detach", env=self.cluster.env)

    def counted(self) -> list[str]:
        """What the jobs that ran have left, sorted."""
        return sorted(self.counter.read_text().split()) if self.counter.exists() else []


WAIT = "while [ ! -e {gate} ]; do sleep 0.05; done"


class Stories:
    """`cluster` is the fixture of a subclass."""

    @pytest.fixture
    def project(self, story: Story, cluster: Cluster) -> Iterator[Project]:
        yield Project(story, cluster)
        story.close()
        if cluster.queued():
            cluster.cancel()
            cluster.until_empty()

    def test_every_kind_of_recipe_runs(self, project: Project) -> None:
        project.write("""
            all: shell.txt python.txt script.txt call.txt

            shell.txt:
                echo $((6 * 7)) > {out}

            [python]
            python.txt: shell.txt
                text = open(inputs[0]).read()
                open(out, "w").write(text)

            script.txt: shell.txt
                #!/bin/sh
                cat shell.txt > script.txt

            [call = work:answer]
            call.txt: shell.txt
        """)
        project.story.write("work.py", """
            def answer(inputs, out):
                out.write_text(inputs[0].read_text())
        """)
        assert project.build("all").ran == 4
        for name in ("shell", "python", "script", "call"):
            assert project.story.read(f"{name}.txt") == "42\n"
        assert project.build("all").ran == 0

    def test_a_result_is_a_hit_for_the_local_pool(self, project: Project) -> None:
        project.many(3)
        assert project.build().ran == 3
        project.story.remove("out")
        assert project.story.build("--worker", "cf").cached == 3

    def test_the_environment_is_the_jobs_own(self, project: Project) -> None:
        project.write("""
            env.txt:
                env > {out}
        """)
        project.build("env.txt")
        there = project.story.read("env.txt")
        project.story.bflow("clean", "--cache")
        project.story.remove("env.txt")
        project.story.build("env.txt")
        here = project.story.read("env.txt")
        names = [sorted(line.partition("=")[0] for line in text.splitlines()) for text in (there, here)]
        assert names[0] == names[1]

    def test_a_failed_recipe_is_told_as_on_this_machine(self, project: Project) -> None:
        project.write("""
            bad.txt:
                echo something is wrong
                exit 3
        """)
        ran = project.build("bad.txt", ok=1)
        assert "its recipe ended with status 3" in ran.err
        assert "something is wrong" in ran.err

    def test_a_command_that_is_not_there(self, project: Project) -> None:
        project.write("""
            bad.txt:
                no-such-command {out}
        """)
        assert "no-such-command: command not found" in project.build("bad.txt", ok=1).err

    def test_a_missing_output_is_told_at_once(self, project: Project) -> None:
        project.write("""
            bad.txt:
                true
        """)
        assert "did not make its output bad.txt" in project.build("bad.txt", ok=1).err

    def test_a_job_past_its_time(self, project: Project) -> None:
        project.write("""
            [time = 1s]
            slow.txt:
                sleep 100
        """)
        assert "it took longer than its time (0:00:01)" in project.build("slow.txt", ok=1).err

    def test_more_memory_on_the_second_attempt(self, project: Project) -> None:
        project.write("""
            [mem = 100M * attempt, retries = 1]
            big.txt:
                python3 -c 'import time; x = b"x" * 130_000_000; time.sleep(1); print(len(x))' > {out}
        """)
        ran = project.build("big.txt")
        notes = [event["text"] for event in ran.events if event["event"] == "note"]
        assert notes == ["big.txt: it took more memory than it asked for (100M); attempt 2 of 2"]
        assert project.story.read("big.txt") == "130000000\n"

    def test_a_job_cancelled_by_somebody(self, project: Project) -> None:
        project.many(1, "touch {started}; sleep 100".format(started=project.story.home / "started"))
        running = project.start()
        running.until_exists(project.story.home / "started", 60)
        project.cluster.cancel()
        ran = running.wait(ok=1)
        assert "it was cancelled in the queue" in ran.err

    def test_jobs_cancelled_before_they_began(self, project: Project) -> None:
        project.many(40, f"touch {project.story.home / 'started'}; sleep 100")
        running = project.start("-k", "-o", "batch=1", "-o", "poll=1")
        running.until_exists(project.story.home / "started", 60)
        project.cluster.cancel()
        ran = running.wait(ok=1, timeout=120)
        assert ran.failed == 40
        assert ran.err.count("it was cancelled in the queue") == 40

    def test_an_interrupt_cancels(self, project: Project) -> None:
        project.many(20, f"touch {project.story.home / 'started'}; sleep 100")
        running = project.start()
        running.until_exists(project.story.home / "started", 60)
        running.signal(signal.SIGINT, group=True)
        running.wait(ok=130)
        project.cluster.until_empty()
        assert not os.listdir(project.story.path(".bflow/queue"))

    def test_a_driver_that_is_killed(self, project: Project) -> None:
        """Jobs that have ended, that run and that wait are taken up; none runs twice."""
        project.many(30, f"[ {{n}} -le 5 ] || {WAIT.format(gate=project.gate)}")
        running = project.start("-o", "batch=1")
        running.until(lambda: len(project.counted()) > 6, "some jobs that run", 60)
        running.process.kill()
        running.process.wait()
        again = project.start("-o", "batch=1")
        again.next_event("start")
        project.gate.touch()
        ran = again.wait(timeout=120)
        assert ran.failed == 0 and ran.ran + ran.up_to_date == 30
        assert project.counted() == sorted(map(str, range(1, 31)))
        assert not os.listdir(project.story.path(".bflow/queue"))

    def test_a_driver_that_is_killed_while_short_jobs_run(self, project: Project) -> None:
        project.many(200, "sleep 0.05")
        running = project.start()
        running.until(lambda: len(project.counted()) > 20, "some jobs that ran", 60)
        running.process.kill()
        running.process.wait()
        ran = project.build()
        assert ran.ran + ran.up_to_date == 200
        assert project.counted() == sorted(map(str, range(1, 201)))

    def test_detached_jobs_are_taken_up(self, project: Project) -> None:
        project.many(12, WAIT.format(gate=project.gate))
        assert "12 jobs are left in the queue" in project.detach().err
        assert len(project.cluster.queued()) > 0
        project.gate.touch()
        project.cluster.until_empty()
        assert project.build().ran == 12
        assert project.counted() == sorted(map(str, range(1, 13)))

    def test_a_thousand_short_jobs(self, project: Project) -> None:
        """At most 20 commands of the queue in all, and less than a quarter of the time that they take one by one (that
        of a twentieth of them, twenty times)."""
        count, path = scheduler_counter(project.story.home)
        project.many(1000)
        began = time.monotonic()
        assert project.build(env={"PATH": path}).ran == 1000
        together = time.monotonic() - began
        assert len(count.read_text().splitlines()) <= 20
        project.cluster.until_empty()
        project.story.remove(".bflow", "out")
        project.many(50)
        began = time.monotonic()
        assert project.build("-o", "batch=1").ran == 50
        assert together < 20 * (time.monotonic() - began) / 4

    def test_as_a_user_who_is_not_root(self, cluster: Cluster) -> None:
        user = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
        with tempfile.TemporaryDirectory(dir="/var/tmp") as home:
            os.chmod(home, 0o755)
            project = Story(Path(home))
            for path in (home, project.root, project.home):
                shutil.chown(path, "nobody", "nogroup")
            file = project.write("Flowfile", """
                n = {1..5}
                all: out/{n}

                out/{n}:
                    id -un > {out}
            """)
            file.chmod(0o644)
            env = {**project.environment(cluster.env), "PYTHONDONTWRITEBYTECODE": "1"}
            given = {"env": env, "cwd": project.root, "stdin": subprocess.DEVNULL, "timeout": 120}
            if subprocess.run([*user, *COMMAND, "--version"], capture_output=True, **given).returncode:
                pytest.skip("another user cannot run this Python, or this checkout")
            ran = subprocess.run(
                [*user, *COMMAND, "build", "--worker", cluster.worker], capture_output=True, text=True, **given
            )
            assert ran.returncode == 0, ran.stderr
            assert project.read("out/3") == "nobody\n"

    def test_what_is_not_wanted_any_more_is_cancelled(self, project: Project) -> None:
        project.many(1, WAIT.format(gate=project.gate))
        assert "1 job is left in the queue" in project.detach().err
        until(project.counted, "a job that runs")
        project.many(1, "true")
        assert project.build().ran == 1
        project.cluster.until_empty()
        assert project.counted() == ["1", "1"]

    def test_a_refusal_is_told(self, project: Project) -> None:
        project.many(2)
        ran = project.build("-o", "args=--no-such-option", ok=1)
        assert "the queue refused it: " in ran.err
        assert "no-such-option" in ran.err

    def test_a_function_that_travels(self, project: Project) -> None:
        project.story.write("Flowfile.py", """
            from buildflow import Flow

            flow = Flow()

            def made():
                factor = 7

                @flow.rule("answer.txt", inputs=[])
                def answer(out):
                    out.write_text(str(6 * factor))

            made()
        """)
        assert project.build("answer.txt").ran == 1
        assert project.story.read("answer.txt") == "42"


COMMANDS = (
    *("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo", "srun"),
    *("qsub", "qstat", "qacct", "qdel", "qhost"),
)


def scheduler_counter(folder: Path) -> tuple[Path, str]:
    """The file in which each command of a queue is counted, and a PATH that does so."""
    count = folder / "count"
    bin = folder / "bin"
    bin.mkdir()
    for name in COMMANDS:
        real = shutil.which(name)
        if real:
            (bin / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {count}\nexec {real} "$@"\n')
            (bin / name).chmod(0o755)
    return count, f"{bin}{os.pathsep}{os.environ['PATH']}"
