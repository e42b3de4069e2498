"""The reading commands (`-n`, `--check`, `why`, `list`, `log`) change nothing, and need not be able to."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildflow.state import MAGIC, State
from story import Story

FLOWFILE = """
    all: out/a.txt out/sum.txt
    out/{n}.txt: in/{n}.txt
        cat {in} > {out}
    out/sum.txt: out/a.txt
        cat {in} > {out}
"""

READING = (
    ("build", "-n"), ("build", "--check"), ("why",), ("list",), ("list", "--targets"), ("log", "all"),
    ("cache", "list"), ("cache", "path", "all"), ("cache", "verify"), ("clean", "-n"), ("clean", "--stale", "-n"),
)  # fmt: skip


@pytest.fixture
def project(story: Story) -> Story:
    story.write("Flowfile", FLOWFILE)
    story.write("in/a.txt", "one\n")
    return story


def tree(root: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for folder, folders, names in os.walk(root):
        for name in folders + names:
            path = os.path.join(folder, name)
            st = os.lstat(path)
            found[path] = (st.st_mtime_ns, st.st_size)
    return found


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_nothing_is_made_in_a_project_that_was_never_built(project: Story, words: tuple[str, ...]) -> None:
    before = tree(project.root)
    project.bflow(*words, ok=None)
    assert tree(project.root) == before


def test_nothing_changes_in_a_project_but_the_digest_cache(project: Story) -> None:
    project.build()
    project.write("in/a.txt", "two\n")
    before = tree(project.root)
    for words in READING:
        project.bflow(*words, ok=None)
    after = tree(project.root)
    for name in ("state", "lock"):
        before[f"{project.root}/.bflow/{name}"] = after[f"{project.root}/.bflow/{name}"]
    assert before == after
    assert project.build().ran == 2


@contextlib.contextmanager
def read_only(root: Path) -> Iterator[None]:
    """Everything below root without its write bits."""
    paths = [root, *(Path(folder) / name for folder, folders, names in os.walk(root) for name in folders + names)]
    modes = [(path, path.stat().st_mode) for path in paths]
    for path, mode in reversed(modes):
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes:
            path.chmod(mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="modes do not stop root")
@pytest.mark.parametrize("built", (False, True))
def test_they_work_where_nothing_can_be_written(project: Story, built: bool) -> None:
    if built:
        project.build()
        project.write("in/a.txt", "two\n")
    with read_only(project.root):
        assert project.bflow("build", "-n").status == 0
        project.bflow("build", "--check", ok=1)
        assert "would run" in project.bflow("why").out
        assert project.bflow("list", "--targets").out.split() == ["all", "out/sum.txt"]
        project.bflow("log", "out/sum.txt", ok=None if built else 2)
        project.bflow("clean", "-n")
        project.bflow("cache", "verify")


# ---- what -n says ----------------------------------------------------------------------------------------------


def test_a_dry_run_of_a_chain_that_was_never_built(project: Story) -> None:
    ran = project.build("-n")
    assert ran.summary["would_run"] == 2 and ran.summary["ok"] and ran.failed == 0
    assert project.bflow("build", "--check", ok=1).out == ""


def test_check_is_content_with_what_the_cache_has(project: Story) -> None:
    project.build()
    project.bflow("build", "--check")
    project.remove("out")
    ran = project.bflow("build", "-n")
    assert "2 would come from the cache" in ran.err and not project.exists("out")
    assert project.build("--check").cached == 2
    project.write("in/a.txt", "two\n")
    project.bflow("build", "--check", ok=1)


def test_what_follows_a_splitter_is_looked_up_where_that_is_up_to_date(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        name = lines(names.txt)
        sum: out/{name}
            cat {in} > {out}
        names.txt: src.txt
            cp {in} {out}
        out/{name}: names.txt
            echo {name} > {out}
        """,
    )
    story.write("src.txt", "x\ny\n")
    first = story.build("-n")
    assert first.summary["would_run"] == 2 and first.summary["ok"]  # sum and names.txt; the rest is not known yet
    assert story.build().ran == 4
    assert story.build("-n").summary["would_run"] == 0
    story.remove("names.txt", "out")  # it is read from its entry
    again = story.build("-n")
    assert (again.summary["would_run"], again.cached, again.up_to_date) == (0, 3, 1)
    story.write("src.txt", "x\nz\n")
    assert story.build("-n").summary["would_run"] == 2


def test_a_pattern_over_a_splitter_says_what_it_waits_for(story: Story) -> None:
    story.write("Flowfile", "n = lines(names)\nall: {n}.x\nnames:\n    echo a > names\n{n}.x:\n    touch {out}\n")
    ran = story.bflow("build", "-n")
    assert "would run: names" in ran.err and "shows once names is made" in ran.err


def test_a_temporary_that_must_be_made_again_is_counted(story: Story) -> None:
    text = "b: a\n    cat {in} > {out}\n[temp]\na: src\n    cat {in} > {out}\n"
    story.write("Flowfile", text)
    story.write("src", "1")
    story.build()
    assert story.build("-n").summary["would_run"] == 0
    story.write("Flowfile", text.replace("cat {in} > {out}\n[temp]", "sort {in} > {out}\n[temp]"))
    assert story.build("-n").summary["would_run"] == 2
    assert story.build().ran == 2


def test_an_input_that_is_not_there_is_an_error_of_a_dry_run_too(story: Story) -> None:
    story.write("Flowfile", "x: nothing\n    cp {in} {out}\n")
    assert "nothing: no rule makes it" in story.bflow("build", "-n", ok=2).err
    assert not story.exists(".bflow")


# ---- the digest cache ------------------------------------------------------------------------------------------


def test_a_file_of_the_users_is_not_taken_over_by_a_look(project: Story) -> None:
    project.build("out/a.txt")
    project.remove(".bflow/state")
    project.bflow("build", "-n", "out/a.txt")
    project.bflow("why", "out/a.txt")
    project.bflow("clean")
    assert project.read("out/a.txt") == "one\n"


def state_with(path: Path, key: str, value: object) -> None:
    state = State(str(path))
    state.put("misc", key, value)
    state.flush()
    state.close()


def test_a_reader_does_not_write_over_what_a_build_wrote_since(tmp_path: Path) -> None:
    path = tmp_path / "state"
    state_with(path, "a", 1)
    reader = State(str(path))
    state_with(path, "b", 2)
    reader.put("files", "x", b"\0" * 64)
    reader.flush_if_possible()
    reader.close()
    assert State(str(path)).misc == {"a": 1, "b": 2}


def test_a_reader_writes_nothing_while_a_build_runs(tmp_path: Path) -> None:
    path = tmp_path / "state"
    state_with(path, "a", 1)
    before = path.read_bytes()
    with open(tmp_path / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        reader = State(str(path))
        reader.put("files", "x", b"\0" * 64)
        reader.flush_if_possible()
        assert path.read_bytes() == before
    reader.put("files", "x", b"\0" * 64)
    reader.flush_if_possible()
    reader.close()
    assert State(str(path)).files == {"x": b"\0" * 64}


def test_a_state_with_a_hole_in_it_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "state"
    state_with(path, "a", 1)
    assert path.read_bytes().startswith(MAGIC)
    with open(path, "ab") as file:
        file.write(b"\0" * 64)
    assert State(str(path)).misc == {"a": 1}
    state_with(path, "b", 2)
    assert State(str(path)).misc == {"a": 1, "b": 2}
