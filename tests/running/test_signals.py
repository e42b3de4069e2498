"""Signals, killed drivers, two builds at once: through real processes, told by files and messages how far they are."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from story import COMMAND, Running, Story


def waits(story: Story, started: str = "started", go: str = "go") -> str:
    """A command that says that it runs and waits until the test lets it go on."""
    return f"touch {story.path(started)}; until test -e {story.path(go)}; do sleep 0.01; done"


def nothing_half_made(story: Story) -> None:
    left = [name for name in story.files() if ".bflow-tmp." in name]
    assert not left
    assert story.bflow("cache", "verify").status == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_jobs_drops_partial_work_and_exits_130(story: Story, number: int) -> None:
    """Also where the job takes the signal and says that all is well."""
    story.write(
        "Flowfile",
        f"""
        all: a b c
        a:
            echo whole > {{out}}
        [priority = -1]
        b:
            trap 'exit 0' TERM; echo half > {{out}}; touch {story.path("started")}; sleep 1000 & wait
        c: b
            cp {{in}} {{out}}
        """,
    )
    running = story.start("build", "-j1")
    running.until_exists(story.path("started"))
    running.signal(number)
    ran = running.wait(ok=130)
    assert "interrupted" in ran.err and "Traceback" not in ran.err
    assert story.read("a") == "whole\n"  # what had ended is kept
    assert not story.exists("b") and not story.exists("c")
    nothing_half_made(story)
    story.edit("Flowfile", "sleep 1000 & wait", "true")
    ran = story.build()
    assert (ran.ran, ran.up_to_date) == (2, 1)


def test_a_terminals_interrupt_reaches_the_jobs_through_bflow(story: Story) -> None:
    story.write("Flowfile", f"out:\n    echo half > {{out}}; {waits(story)}\n")
    running = story.start("build")
    running.until_exists(story.path("started"))
    running.signal(signal.SIGINT, group=True)
    running.wait(ok=130)
    assert not story.exists("out")


def test_a_second_interrupt_kills_a_job_that_does_not_listen(story: Story) -> None:
    story.write(
        "Flowfile",
        f"""
        out:
            trap 'touch {story.path("asked")}' TERM INT
            touch {story.path("started")}; while :; do sleep 0.01 || true; done
        """,
    )
    running = story.start("build")
    running.until_exists(story.path("started"))
    running.signal()
    running.until_exists(story.path("asked"))
    running.signal()
    running.wait(ok=130)
    assert not story.exists("out")


def ignoring(number: int) -> list[str]:
    """The words of a program that starts another with a signal ignored."""
    ignore = f"signal.signal({int(number)}, signal.SIG_IGN)"
    program = f"import os, signal, sys; {ignore}; os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", program]


def test_an_ignored_hangup_stays_ignored(story: Story) -> None:
    """As under nohup."""
    story.write("Flowfile", f"out:\n    {waits(story)}; touch {{out}}\n")
    process = subprocess.Popen(
        [*ignoring(signal.SIGHUP), *COMMAND, "build"], cwd=story.root, env=story.environment(),
        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        while not story.exists("started"):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGHUP)
        story.write("go")
        assert process.wait(60) == 0
    finally:
        process.kill()
    assert story.exists("out")


def test_exit_status_of_jobs_where_the_parent_ignores_its_children(story: Story) -> None:
    """SIGCHLD is inherited as ignored, and then the kernel would keep no status."""
    story.write("Flowfile", "good:\n    touch {out}\nbad:\n    exit 3\n")

    def build(target: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*ignoring(signal.SIGCHLD), *COMMAND, "build", target], cwd=story.root, env=story.environment(), text=True,
            stdin=subprocess.DEVNULL, capture_output=True, check=False,
        )  # fmt: skip

    assert build("good").returncode == 0
    assert "ended with status 3" in build("bad").stderr


def test_an_interrupt_of_a_phony_job(story: Story) -> None:
    story.write("Flowfile", f"[phony]\nserve:\n    {waits(story)}\n")
    running = story.start("build")
    running.until_exists(story.path("started"))
    running.signal(group=True)
    running.wait(ok=130)


# ---- killed drivers


CHAIN = """
n = {1..6}
all: out/all
out/all: mid/{n}
    cat {in} > {out}
mid/{n}: big/{n} small/{n}/
    cat big/{n} small/{n}/* > {out}
big/{n}: src/{n}
    for i in 1 2 3 4 5 6 7 8; do cat {in}; done > {out}; {step}
small/{n}/: src/{n}
    cp {in} {out}a; ln -s a {out}b; {step}
"""


def after(running: Running, events: int) -> None:
    """Wait until a build has told so many events, or is done."""
    running.until(lambda: running.out.count("\n") >= events or running.process.poll() is not None)


def test_killed_at_any_moment_the_next_build_completes(story: Story) -> None:
    """The moments are counted in events and in jobs' own steps, not in time."""
    step = "echo . >> ROOT/steps".replace("ROOT", str(story.root))
    story.write("Flowfile", CHAIN.replace("{step}", step))
    choose = random.Random(7)
    for round_ in range(3):
        for folder in ("out", "mid", *(("big", "small", ".bflow") if round_ == 1 else ())):
            shutil.rmtree(story.path(folder), ignore_errors=True)
        for n in range(1, 7):  # something to do each time
            story.write(f"src/{n}", f"round {round_} of {n}\n" * 100)
        running = story.start("build", "-j2", "--json")
        after(running, choose.randrange(1, 25))
        running.signal(signal.SIGKILL)
        running.process.wait()
        ran = story.build("-j2")
        assert ran.failed == 0
        right = story.read("out/all") == "".join(f"round {round_} of {n}\n" * 1000 for n in range(1, 7))
        assert right  # (to show where two long texts differ would take pytest minutes)
    nothing_half_made(story)
    assert story.build("-j2").ran == 0
    assert not story.exists(".bflow/replaced")  # what a killed driver placed is still its own


def test_the_orphan_of_a_killed_driver_spoils_nothing(story: Story) -> None:
    story.write(
        "Flowfile",
        f"""
        all: one two
        one: in
            pwd >> {story.path("sandboxes")}; echo mine > {{out}}
            {waits(story)}; cat in >> {{out}}; pwd > {story.path("ended")}
        two:
            pwd >> {story.path("sandboxes")}; ls -A > {{out}}
        """,
    )
    story.write("in", "first\n")
    running = story.start("build", "one")
    running.until_exists(story.path("started"))
    running.signal(signal.SIGKILL)
    running.process.wait()
    story.write("in", "second\n")
    second = story.start("build", "-j1")
    second.until(lambda: len(story.read("sandboxes").split()) >= 2)
    story.write("go")
    second.wait()
    assert story.read("one") == "mine\nsecond\n"
    sandboxes = story.read("sandboxes").split()
    assert len(sandboxes) == 3 and sandboxes[0] not in sandboxes[1:]
    second.until_exists(story.path("ended"))
    assert story.build().up_to_date == 2
    story.write("in", "third\n")
    story.build()
    assert story.read("one") == "mine\nthird\n"


# ---- two builds at once


def test_the_second_build_waits_says_for_what_and_has_nothing_to_do(story: Story) -> None:
    story.write("Flowfile", f"out:\n    echo x >> {story.path('runs')}; {waits(story)}; touch {{out}}\n")
    first = story.start("build", "--json")
    first.until_exists(story.path("started"))
    second = story.start("build")
    second.until_says(f"another build of this project is running (process {first.pid}); waiting for it")
    story.write("go")
    assert first.wait().ran == 1
    assert "nothing to do" in second.wait().err
    assert story.read("runs") == "x\n"


def test_a_build_that_waits_can_be_interrupted(story: Story) -> None:
    story.write("Flowfile", f"out:\n    {waits(story)}; touch {{out}}\n")
    first = story.start("build")
    first.until_exists(story.path("started"))
    second = story.start("build")
    second.until_says("waiting for it")
    second.signal()
    second.wait(ok=130)
    story.write("go")
    first.wait()


def test_looking_does_not_wait(story: Story) -> None:
    story.write("Flowfile", f"out:\n    {waits(story)}; touch {{out}}\n")
    first = story.start("build")
    first.until_exists(story.path("started"))
    assert "would run: out" in story.bflow("build", "-n").err
    story.write("go")
    first.wait()


def test_a_job_that_builds_its_own_project_is_told_and_does_not_hang(story: Story) -> None:
    command = " ".join(COMMAND)
    story.write("Flowfile", f"[phony]\nall:\n    {command} build out\nout:\n    touch {{out}}\n")
    ran = story.bflow("build", ok=1)
    assert "this build was started by a job or hook of another one of the same project" in ran.err


def test_builds_of_two_projects_share_a_cache_and_do_not_wait(story: Story, tmp_path: Path) -> None:
    flowfile = f"out:\n    {waits(story)}; touch {{out}}\n"
    story.write("Flowfile", flowfile)
    other = tmp_path / "other"
    other.mkdir()
    (other / "Flowfile").write_text(flowfile)
    cache = str(tmp_path / "cache")
    first = story.start("build", "--json", "--cache-root", cache)
    second = story.start("build", "--json", "--cache-root", cache, cwd=other)
    first.next_event("start")
    second.next_event("start")
    story.write("go")
    assert first.wait().ran == second.wait().ran == 1
    assert story.exists("out") and (other / "out").exists()


# ---- make


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("style", ["pipe", "fifo"])
def test_several_builds_under_make_share_its_slots(story: Story, style: str) -> None:
    version = subprocess.run(["make", "--version"], text=True, capture_output=True, check=True).stdout.split()[2]
    if style == "fifo" and tuple(map(int, version.split(".")[:2])) < (4, 4):
        pytest.skip("a fifo came with make 4.4")
    count = story.write("count.py", COUNT)
    names = ("a", "b", "c")
    for name in names:
        story.write(
            f"{name}/Flowfile",
            f"n = {{1..4}}\nall: out/{{n}}\nout/{{n}}:\n    {sys.executable} {count} {story.root} && touch {{out}}\n",
        )
    bflow = " ".join(COMMAND)
    rules = "".join(f"{name}:\n\t+cd {name} && {bflow} build\n" for name in names)
    story.write("Makefile", f".PHONY: all {' '.join(names)}\nall: {' '.join(names)}\n{rules}")
    flags = [f"--jobserver-style={style}"] if version >= "4.4" else []
    done = subprocess.run(
        ["make", "-j3", *flags],
        cwd=story.root,
        env=story.environment(),
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    most = max(map(int, story.read("counts").split()))
    assert most <= 3
    assert len(story.read("counts").split()) == 12


COUNT = """
import fcntl, os, sys, time
root = sys.argv[1]
def change(by):
    with open(root + "/running", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        now = int(file.read() or 0) + by
        file.truncate(0)
        file.write(str(now))
        file.flush()
        if by > 0:
            with open(root + "/counts", "a") as counts:
                counts.write(f"{now}\\n")
change(1)
time.sleep(0.05)  # so that others have the time to be too many
change(-1)
"""


def test_an_explicit_j_leaves_makes_jobserver_with_a_word(story: Story) -> None:
    story.write("Flowfile", "out:\n    touch {out}\n")
    reader, writer = os.pipe()
    os.write(writer, b"+")
    for fd in (reader, writer):
        os.set_inheritable(fd, True)
    try:
        done = subprocess.run(
            [*COMMAND, "build", "-j2"], cwd=story.root, text=True, capture_output=True, close_fds=False, check=True,
            env={**story.environment(), "MAKEFLAGS": f" -j3 --jobserver-auth={reader},{writer}"},
        )  # fmt: skip
        assert "make's jobserver is left alone" in done.stderr
        flags = fcntl.fcntl(reader, fcntl.F_GETFL)
        fcntl.fcntl(reader, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        assert os.read(reader, 10) == b"+"
    finally:
        os.close(reader)
        os.close(writer)
