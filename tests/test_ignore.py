"""What `.bflowignore` and the built-in list leave out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildflow.errors import FlowError
from buildflow.ignore import Ignore


def ignore_file(root: Path, folder: str, *lines: str, name: str = ".bflowignore") -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / name).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("name", ["__pycache__", ".git", ".bflow", ".DS_Store", ".bflow-tmp.1a2b.7"])
def test_the_built_in_names_are_left_out_everywhere(tmp_path: Path, name: str) -> None:
    ignore = Ignore(str(tmp_path))
    assert ignore.ignored(name, True)
    assert ignore.ignored(f"a/b/{name}", False)
    assert ignore.ignored(f"a/{name}/b/c", False)
    assert ignore.ignored(f"/elsewhere/{name}/x", False)
    assert ignore.ignored(f"../{name}/", True)


def test_other_names_are_not(tmp_path: Path) -> None:
    ignore = Ignore(str(tmp_path))
    for name in ["", ".", "a", "a/", ".gitignore", ".bflowignore", "bflow", ".bflow2", "../a", "/a/b"]:
        assert not ignore.ignored(name, name.endswith("/")), name


def test_built_in_names_cannot_be_taken_back(tmp_path: Path) -> None:
    ignore_file(tmp_path, "", "!__pycache__", "!.git")
    assert Ignore(str(tmp_path)).ignored("a/__pycache__", True)


def test_patterns_as_in_a_gitignore(tmp_path: Path) -> None:
    ignore_file(tmp_path, "", "# made by hand", "", "*.log", "!keep.log", "build/", "/top", "docs/*.txt", "deep/**/x")
    ignore = Ignore(str(tmp_path))
    assert ignore.ignored("a/b/c.log", False)
    assert not ignore.ignored("a/keep.log", False)
    assert ignore.ignored("build", True)
    assert not ignore.ignored("build", False)
    assert ignore.ignored("a/build/c", False)
    assert ignore.ignored("top", False)
    assert not ignore.ignored("a/top", False)
    assert ignore.ignored("docs/a.txt", False)
    assert not ignore.ignored("docs/a/b.txt", False)
    assert ignore.ignored("deep/x", False)
    assert ignore.ignored("deep/1/2/x", False)


def test_what_lies_in_an_ignored_folder_stays_ignored(tmp_path: Path) -> None:
    ignore_file(tmp_path, "", "out/", "!out/keep")
    assert Ignore(str(tmp_path)).ignored("out/keep", False)


def test_nested_files_win_and_count_below_their_folder(tmp_path: Path) -> None:
    ignore_file(tmp_path, "", "*.log")
    ignore_file(tmp_path, "a", "!*.log", "/only")
    ignore = Ignore(str(tmp_path))
    assert ignore.ignored("x.log", False)
    assert not ignore.ignored("a/x.log", False)
    assert not ignore.ignored("a/b/x.log", False)
    assert ignore.ignored("a/only", False)
    assert not ignore.ignored("a/b/only", False)
    assert not ignore.ignored("only", False)


def test_a_folder_taken_back_does_not_take_back_what_is_in_it(tmp_path: Path) -> None:
    ignore_file(tmp_path, "", "*", "!*/", "!*.c")
    ignore = Ignore(str(tmp_path))
    assert not ignore.ignored("a/b/x.c", False)
    assert ignore.ignored("a/b/x.h", False)


def test_entry_ignored_looks_at_one_level(tmp_path: Path) -> None:
    ignore_file(tmp_path, "", "data/", "*.tmp")
    ignore = Ignore(str(tmp_path))
    assert ignore.ignored("data/x", False)
    assert not ignore.entry_ignored("data", "x", False)
    assert ignore.entry_ignored("data", "x.tmp", False)


def test_gitignore_counts_where_asked_and_yields(tmp_path: Path) -> None:
    ignore_file(tmp_path, "", "*.o", "*.a", name=".gitignore")
    ignore_file(tmp_path, "", "!*.a")
    assert not Ignore(str(tmp_path)).ignored("x.o", False)
    both = Ignore(str(tmp_path), gitignore=True)
    assert both.ignored("x.o", False)
    assert not both.ignored("x.a", False)


def test_files_read_names_absent_ones_too(tmp_path: Path) -> None:
    ignore_file(tmp_path, "a", "*.log")
    ignore = Ignore(str(tmp_path))
    assert ignore.files_read() == []
    ignore.ignored("a/b/c", False)
    ignore.ignored("a/b/d", False)
    assert ignore.files_read() == [".bflowignore", "a/.bflowignore", "a/b/.bflowignore"]


def test_an_ignored_folder_is_not_looked_into(tmp_path: Path) -> None:
    ignore_file(tmp_path, "", "out/")
    ignore = Ignore(str(tmp_path))
    assert ignore.ignored("out/a/b/c", False)
    assert ignore.files_read() == [".bflowignore"]


def test_line_ends_mark_and_odd_bytes(tmp_path: Path) -> None:
    (tmp_path / ".bflowignore").write_bytes(b"\xef\xbb\xbf*.log\r\ncaf\xe9\r\na\x0cb\r\n")
    ignore = Ignore(str(tmp_path))
    assert ignore.ignored("x.log", False)
    assert ignore.ignored(os.fsdecode(b"caf\xe9"), False)
    assert ignore.ignored("a\x0cb", False)
    assert not ignore.ignored("a", False)


def test_a_line_that_is_no_pattern_is_told_with_its_place(tmp_path: Path) -> None:
    ignore_file(tmp_path, "a", "*.log", "!")
    with pytest.raises(FlowError) as caught:
        Ignore(str(tmp_path)).ignored("a/x", False)
    assert str(caught.value.span) == "a/.bflowignore:2:1"


def test_a_gitignore_that_git_takes_is_taken(tmp_path: Path) -> None:
    ignore_file(tmp_path, "", "!", "*.o", name=".gitignore")
    assert Ignore(str(tmp_path), gitignore=True).ignored("x.o", False)


def test_a_folder_of_that_name_has_no_patterns(tmp_path: Path) -> None:
    (tmp_path / ".bflowignore").mkdir()
    assert not Ignore(str(tmp_path)).ignored("x", False)


def test_deep_paths(tmp_path: Path) -> None:
    deep = "a/" * 1500 + "x"
    assert not Ignore(str(tmp_path)).ignored(deep, False)
    ignore_file(tmp_path, "", "x")
    assert Ignore(str(tmp_path)).ignored(deep, False)


def test_pathspec_is_imported_only_for_patterns(tmp_path: Path) -> None:
    (tmp_path / ".bflowignore").write_text("# nothing yet\n\n")
    code = "import sys, buildflow.ignore as i; i.Ignore('.').ignored('a/b', False); print('pathspec' in sys.modules)"
    top = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([top, os.environ.get("PYTHONPATH", "")])}
    for expected in ("False", "True"):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.stdout.strip() == expected, done.stderr
        (tmp_path / ".bflowignore").write_text("*.log\n")


part = st.sampled_from(["a", "b", "c", "*", "?", "[ab]", "a*", "**"])
pattern = st.builds(
    lambda mark, slash, parts, end: mark + slash + "/".join(parts) + end,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(part, min_size=1, max_size=3),
    st.sampled_from(["", "", "/"]),
)
patterns = st.lists(pattern, min_size=1, max_size=4)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
@given(patterns, patterns, st.sampled_from(["a/", "b/", "a/b/"]))
@settings(deadline=None, max_examples=40)
def test_git_says_the_same(top: list[str], nested: list[str], where: str) -> None:
    with tempfile.TemporaryDirectory() as root:
        paths = [f"{x}/" for x in "abc"] + [f"{x}/{y}/" for x in "abc" for y in "abc"]
        for path in paths:
            os.mkdir(f"{root}/{path}")
        files = [f"{folder}{z}" for folder in paths if folder.count("/") == 2 for z in "abc"]
        for path in files:
            Path(root, path).touch()
        for folder, lines in (("", top), (where, nested)):
            for name in (".gitignore", ".bflowignore"):
                Path(root, folder, name).write_text("\n".join(lines) + "\n")
        environment = {"PATH": os.environ["PATH"], "HOME": root, "GIT_CONFIG_NOSYSTEM": "1"}
        subprocess.run(["git", "init", "-q", root], env=environment, check=True)
        said = subprocess.run(
            ["git", "-C", root, "check-ignore", "--no-index", "--stdin"],
            input="\n".join(path.rstrip("/") for path in paths + files),
            env=environment,
            capture_output=True,
            text=True,
        )
        ignore = Ignore(root)
        ours = [path.rstrip("/") for path in paths + files if ignore.ignored(path, path.endswith("/"))]
        assert ours == said.stdout.split()
