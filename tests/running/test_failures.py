"""Failures: what goes on and what does not, what is counted, what is hinted at; full disks and closed folders."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from quick import Quick
from story import COMMAND, Story

MIB = 1 << 20


def test_without_k_running_jobs_finish_and_commit_and_nothing_new_starts(story: Story) -> None:
    """What waits for the job that finishes does not start either, nor does what was ready, or another try."""
    started = story.path("started")
    story.write(
        "Flowfile",
        f"""
        all: after bad other
        [priority = 2]
        slow:
            touch {started}; until test -e {story.path("go")}; do sleep 0.01; done; touch {{out}}
        after: slow
            touch {{out}} {story.path("ran-after")}
        [priority = 1]
        bad:
            until test -e {started}; do sleep 0.01; done; exit 1
        [priority = -1]
        other:
            touch {{out}} {story.path("ran-other")}
        needs: bad
            touch {{out}}
        """,
    )
    running = story.start("build", "-j2", "--json", "all", "needs")
    running.until_says("bad failed")
    story.write("go")
    ran = running.wait(ok=1)
    assert (ran.ran, ran.failed, ran.skipped) == (1, 1, 3)
    assert ran.jobs("ran") == [("slow",)]
    assert ran.jobs("skipped") == [("after",), ("needs",), ("other",)]
    assert story.exists("slow") and not story.exists("ran-after") and not story.exists("ran-other")
    story.edit("Flowfile", "exit 1", "touch {out}")
    ran = story.build("all", "needs")
    assert (ran.ran, ran.up_to_date) == (4, 1)


def test_with_k_all_that_does_not_need_the_failed_one_is_built(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        """
        all: top good2
        bad:
            exit 1
        [priority = -1]
        good:
            touch {out}
        good2: good
            touch {out}
        middle: bad good
            touch {out}
        top: middle
            touch {out}
        """,
    )
    ran = quick.build("-k", "-j1", ok=1)
    assert (ran.ran, ran.failed, ran.skipped) == (2, 1, 2)
    assert ran.jobs("skipped") == [("middle",), ("top",)]
    assert quick.files() == ["Flowfile", "good", "good2"]


def test_a_job_of_the_same_key_as_a_failed_one_is_tried_once(quick: Quick) -> None:
    quick.write(
        "Flowfile", f"[anonymous]\n{{n}}.out: {{n}}.in\n    echo x >> {quick.path('runs')}; exit 1\nall: a.out b.out\n"
    )
    quick.write("a.in", "same")
    quick.write("b.in", "same")
    ran = quick.build("all", ok=1)
    assert (ran.failed, ran.skipped) == (1, 1) and quick.read("runs") == "x\n"


def test_retries_happen_in_a_fresh_folder_and_know_their_number(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        f"""
        [retries = 3, mem = 1M * attempt]
        out: in
            ls -A >> {quick.path("seen")}; touch left $TMPDIR/left; test {{attempt}} = 3; echo {{mem}} > {{out}}
        """,
    )
    quick.write("in")
    ran = quick.build()
    assert (ran.ran, ran.failed) == (1, 0)
    assert quick.read("seen") == "in\n" * 3
    assert quick.read("out") == "3M\n"
    assert [e["attempt"] for e in ran.events if e["event"] == "start"] == [1, 2, 3]


def test_a_retry_that_asks_for_more_than_there_is_fails_with_that(quick: Quick) -> None:
    quick.write(
        "Flowfile", "[retries = 3, mem = 1G * attempt]\nbad:\n    exit 1\n[priority = -1]\ngood:\n    touch {out}\n"
    )
    ran = quick.build("bad", "good", "-k", "--resource", "mem=2G", "-j1", ok=1)
    assert "bad asks for mem = 3072M, and the limit is 2048M" in ran.err
    assert (ran.ran, ran.failed) == (1, 1)


# ---- hints


HINTS = [
    ("cat 'data/secret.txt' > {out}", "data/secret.txt exists in the project and is no input of this rule"),
    ("python3 -c 'open(\"data/secret.txt\")'", "data/secret.txt exists in the project"),
    ("python3 -c 'import helper'", "helper.py exists in the project"),
    ("cat 'a b.txt' > {out}", "a b.txt exists in the project"),
    ("cat $PWD/data/secret.txt", "data/secret.txt exists in the project"),
    ("cat Plain", "Plain exists in the project"),
    ("test -e 'data/secret.txt'", "data/secret.txt exists in the project"),
    ("cd data && cat secret.txt", "data/ exists in the project"),
    ("echo $NEEDED", "the variable NEEDED is set in your shell and not passed on: write [vars = NEEDED]"),
    ("python3 -c 'import os; os.environ[\"NEEDED\"]'", "the variable NEEDED is set in your shell"),
    ("echo 'error: environment variable NEEDED is not set'; exit 1", "the variable NEEDED is set in your shell"),
]


@pytest.mark.parametrize(("recipe", "hint"), HINTS)
def test_what_a_failed_job_probably_lacked_is_named(quick: Quick, recipe: str, hint: str) -> None:
    quick.write("Flowfile", f"out: in\n    {recipe}\n    : > {{out}}\n    false\n")
    for name in ("in", "data/secret.txt", "helper.py", "a b.txt", "Plain"):
        quick.write(name)
    ran = quick.bflow("build", ok=1, env={"NEEDED": "1"})
    assert hint in ran.err
    assert "  in exists in the project" not in ran.err


def test_a_variable_that_the_caller_lacks_too_is_no_hint(quick: Quick) -> None:
    quick.write("Flowfile", "out:\n    echo $NEEDED\n")
    assert "vars" not in quick.bflow("build", ok=1).err


def test_a_tool_that_stumbles_over_a_link_is_pointed_to_stage_copy(quick: Quick) -> None:
    quick.write("Flowfile", "out: in\n    echo 'refusing to read a symbolic link'; exit 1\n")
    quick.write("in", b"x" * (MIB + 1))
    assert "[stage = copy] stages real files" in quick.bflow("build", ok=1).err
    quick.write("in", "small")
    assert "stage" not in quick.bflow("build", ok=1).err


# ---- a command that cannot be started


UNSTARTABLE = [
    "no-such-command {in} > {out}",
    "./no-such-file {in}",
    "./in {out}",
    "./folder {out}",
    "cat < no-such-file > {out}",
    "cat {in} > no-such-folder/x",
    "sub/../in",
]


@pytest.mark.parametrize("recipe", UNSTARTABLE)
def test_a_command_that_cannot_be_started_says_what_bash_says(quick: Quick, recipe: str) -> None:
    """Simple commands are started directly; status and message are those of bash all the same."""
    quick.write("in", "text")
    quick.write("folder/x")
    said = []
    for target in ("one-start", "one-shell"):
        quick.write("Flowfile", f"{target}: in folder/\n    {'true;' if target == 'one-shell' else ''} {recipe}\n")
        ran = quick.bflow("build", ok=1)
        lines = [line for line in ran.err.splitlines() if "status" in line or "bash: line" in line]
        said.append([line.replace(target, "X").strip() for line in lines])
    assert said[0] == said[1] and len(said[0]) >= 1


def test_a_script_without_a_first_line_runs_as_in_a_shell(quick: Quick) -> None:
    quick.write("Flowfile", "out: tool\n    ./tool {out}\n")
    quick.write("tool", "echo made by $0 > $1\n", mode=0o755)
    quick.build()
    assert quick.read("out") == "made by ./tool\n"


def test_what_bash_reads_before_a_command_is_read(quick: Quick) -> None:
    quick.write("setup", "cat() { echo from the function; }\n")
    quick.write("Flowfile", "[vars = BASH_ENV]\nout: in\n    cat {in} > {out}\n")
    quick.write("in", "from the file\n")
    quick.build(env={"BASH_ENV": str(quick.path("setup"))})
    assert quick.read("out") == "from the function\n"


def test_a_relative_folder_of_the_path_is_looked_up_where_the_job_runs(quick: Quick) -> None:
    quick.write("Flowfile", "[vars = PATH]\nout: bin/tool\n    tool {out}\n")
    quick.write("bin/tool", "#!/bin/sh\necho staged > $1\n", mode=0o755)
    quick.build(env={"PATH": f"bin:{os.environ['PATH']}"}, cwd=".")
    assert quick.read("out") == "staged\n"


# ---- disks and folders


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


FULL = [
    "head -c 8000000 /dev/zero > {out}",
    "head -c 3000000 /dev/zero > {out}",
    "yes | head -c 8000000; touch {out}",
    "head -c 2000000 /dev/zero > {out}; head -c 1900000 /dev/zero > d/x",
]


@pytest.mark.parametrize("recipe", FULL)
def test_a_full_disk_is_told_and_nothing_half_made(small_disk: Path, tmp_path: Path, recipe: str) -> None:
    (tmp_path / "home").mkdir()
    story = Story(tmp_path / "home")
    story.root = small_disk
    story.write("Flowfile", f"out d/:\n    mkdir -p d; {recipe.replace('{out}', 'out')}\n")
    ran = story.bflow("build", ok=1)
    assert "No space left" in ran.err or "disk is full" in ran.err
    assert "Traceback" not in ran.err
    assert story.files() == ["Flowfile"]
    assert story.bflow("cache", "verify").status == 0  # an entry is whole or absent
    story.write("Flowfile", "out:\n    echo small > {out}\n")
    remove(story, ".bflow/failed", ".bflow/work")
    story.build()
    assert story.read("out") == "small\n"


def remove(story: Story, *paths: str) -> None:
    story.remove(*[path for path in paths if story.exists(path)])


@pytest.mark.parametrize("where", ["project", "cache", "work"])
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, where: str) -> None:
    story = Story(tmp_path)
    story.write("Flowfile", "out:\n    touch {out}\n")
    if where == "project":
        story.write(".bflow", "a file")
    elif where == "cache":
        story.write(".bflow/cache", "a file")
    else:
        story.write(".bflow/work", "a file")
    ran = story.bflow("build", ok=1)
    assert f".bflow{'' if where == 'project' else '/' + where}" in ran.err
    assert "Traceback" not in ran.err and not story.exists("out")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("closed", [".", ".bflow", ".bflow/cache"])
def test_a_closed_folder_is_told_to_a_plain_user(tmp_path: Path, closed: str) -> None:
    story = Story(tmp_path)
    story.write("Flowfile", "out: in\n    cp {in} {out}\n")
    story.write("in")
    story.path(".bflow/cache").mkdir(parents=True)
    for folder in [tmp_path, *tmp_path.parents[:3]]:
        if folder.stat().st_uid == os.geteuid() and "pytest" in str(folder):
            folder.chmod(0o755)
    for folder in (story.root, story.path(".bflow"), story.path(".bflow/cache")):
        os.chown(folder, 65534, 65534)
    story.path(closed).chmod(0o555)
    try:
        done = subprocess.run(
            [*COMMAND, "build"], cwd=story.root, env=story.environment(), text=True, capture_output=True, check=False,
            user=65534, group=65534, extra_groups=(),
        )  # fmt: skip
    except PermissionError:
        pytest.skip("the interpreter is root's own")
    assert done.returncode == 1, done.stderr
    assert "ermission denied" in done.stderr and "Traceback" not in done.stderr
    assert not story.exists("out")
