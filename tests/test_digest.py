"""Digests say content, mode, names, links and empty folders, and nothing else."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_128_digest

from buildflow import digest
from buildflow.digest import (
    Listed,
    Signature,
    file_digest,
    is_racy,
    signature,
    signature_matches,
    stable_digest,
    tree_digest,
    with_mode,
)
from buildflow.errors import FlowError
from buildflow.files import remove_tree
from buildflow.ignore import Ignore

MB = 1 << 20


def of_file(path: str, st: os.stat_result) -> bytes:
    return file_digest(path, bool(st.st_mode & 0o100))


def tree(path: Path | str, source: bool = False, ignore: Ignore | None = None) -> bytes:
    return tree_digest(str(path), source=source, ignore=ignore, file_digest_of=of_file)[0]


def listing(path: Path | str, source: bool = False, ignore: Ignore | None = None) -> list[Listed]:
    return tree_digest(str(path), source=source, ignore=ignore, file_digest_of=of_file)[1]


# Files


@pytest.mark.parametrize("size", [0, 1, 500, MB - 1, MB, MB + 1, 3 * MB + 7])
def test_a_file_is_hashed_by_its_content(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    path = tmp_path / "x"
    path.write_bytes(data)
    assert file_digest(str(path), False) == xxh3_128_digest(data)
    assert file_digest(os.fsencode(path), False) == xxh3_128_digest(data)
    assert len(file_digest(str(path), True)) == 16
    assert file_digest(str(path), True) == with_mode(xxh3_128_digest(data), True) != xxh3_128_digest(data)


@pytest.mark.parametrize("extra", [0, 1, 2 * MB])
def test_large_files_are_hashed_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: int) -> None:
    monkeypatch.setattr(digest, "WHOLE", 4 * MB)
    monkeypatch.setattr(digest, "BLOCK", MB + 5)
    data = bytearray(os.urandom(5 * MB + extra))
    path = tmp_path / "x"
    path.write_bytes(data)
    found = set()
    for processors in (1, 2, 7, None):
        monkeypatch.setattr(os, "cpu_count", lambda count=processors: count)
        found.add(file_digest(str(path), False))
    monkeypatch.delattr(os, "preadv")
    found.add(file_digest(str(path), False))
    assert len(found) == 1
    data[-1] ^= 1
    path.write_bytes(data)
    assert file_digest(str(path), False) not in found


def test_at_the_limit_a_file_is_hashed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "WHOLE", 4 * MB)
    path = tmp_path / "x"
    path.write_bytes(b"y" * (4 * MB))
    assert file_digest(str(path), False) == xxh3_128_digest(b"y" * (4 * MB))


def test_no_content_looks_like_a_made_up_digest(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"hello")
    other = tmp_path / "other"
    other.write_bytes(b"x\0" + file_digest(str(plain), False))
    assert file_digest(str(other), False) != file_digest(str(plain), True)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9\n")
    try:
        with open(name, "wb") as file:
            file.write(b"1")
    except OSError:
        pytest.skip("the file system wants UTF-8")
    assert file_digest(os.fsdecode(name), False) == file_digest(name, False) == stable_digest(name)[1]


def test_what_is_no_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    os.mkdir("folder")
    with socket.socket(socket.AF_UNIX) as end:
        end.bind("socket")
        for name in ("fifo", "folder", "socket", "/dev/null"):
            with pytest.raises(FlowError, match=name):
                file_digest(name, False)
            with pytest.raises(FlowError, match=name):
                stable_digest(name)
    with pytest.raises(FileNotFoundError):
        stable_digest("missing")
    os.symlink("loop", "loop")
    with pytest.raises(FlowError, match="cannot read loop"):
        stable_digest("loop")


@pytest.mark.skipif(os.geteuid() == 0, reason="modes do not stop root")
def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("1")
    path.chmod(0)
    with pytest.raises(FlowError, match="cannot read .*x: Permission denied"):
        stable_digest(str(path))


def test_stable_digest_gives_signature_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("1")
    path.chmod(0o755)
    found, value, _ = stable_digest(str(path))
    assert found == signature(os.stat(path))
    assert value == file_digest(str(path), True)
    link = tmp_path / "link"
    link.symlink_to("x")
    assert stable_digest(str(link))[:2] == (found, value)


def test_a_change_under_the_reading_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    read = digest._content_digest
    writes = ["newer", "new"]

    def change(fd: int, size: int) -> bytes | None:
        found = read(fd, size)
        if writes:
            path.write_text(writes.pop(0))
        return found

    monkeypatch.setattr(digest, "_content_digest", change)
    found, value, racy = stable_digest(str(path))
    assert value == xxh3_128_digest(b"new")
    assert found == signature(os.stat(path))
    assert racy


@pytest.mark.parametrize("whole", [4 * MB, 1])
def test_a_file_that_keeps_growing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: int) -> None:
    monkeypatch.setattr(digest, "WHOLE", whole)
    path = tmp_path / "x"
    path.write_text("old")
    read = digest._content_digest

    def grow(fd: int, size: int) -> bytes | None:
        with open(path, "a") as file:
            file.write("more")
        return read(fd, size)

    monkeypatch.setattr(digest, "_content_digest", grow)
    with pytest.raises(FlowError, match="changes while it is read"):
        stable_digest(str(path))


def test_a_size_that_proves_wrong_is_no_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "WHOLE", MB)
    path = tmp_path / "x"
    path.write_bytes(b"x" * (2 * MB))
    with open(path, "rb", buffering=0) as file:
        assert digest._content_digest(file.fileno(), 3 * MB) is None  # it shrank
        assert digest._content_digest(file.fileno(), 2 * MB - 1) is None  # it grew
        assert digest._content_digest(file.fileno(), 10) is None  # it grew out of one read
        assert digest._content_digest(file.fileno(), 2 * MB) == file_digest(str(path), False)


# Signatures


def test_signatures() -> None:
    old: Signature = (1, 2, 3, 4, 0o100644)
    assert signature_matches(old, old, False)
    assert not signature_matches(old, (1, 2, 3, 5, 0o100644), False)
    assert signature_matches(old, (1, 2, 3, 5, 0o100644), True)
    for other in [(9, 2, 3, 4, 0o100644), (1, 9, 3, 4, 0o100644), (1, 2, 9, 4, 0o100644), (1, 2, 3, 4, 0o100755)]:
        assert not signature_matches(old, other, True)


@pytest.mark.parametrize(
    ("mtime", "ctime", "racy"),
    [
        (-1_000_000_007, -1_000_000_007, False),
        (-30_000_001, -30_000_001, False),
        (-10_000_001, -30_000_001, True),
        (-30_000_001, -10_000_001, True),
        (5_000_000_001, -30_000_001, True),  # in the future
        (-30_000_001, 5_000_000_001, True),
        (-1_000_000_000, -1_000_000_000, True),  # whole seconds are stored
        (-3_000_000_000, -3_000_000_000, False),
        (-1_000_000_000, -1_000_000_007, True),
    ],
)
def test_racy(mtime: int, ctime: int, racy: bool) -> None:
    now = 1_700_000_000_000_000_000
    assert is_racy((1, now + mtime, 3, now + ctime, 0o100644), now) is racy


def test_a_file_just_written_is_racy_and_an_old_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_text("1")
    assert stable_digest(str(path))[2]
    later = time.time_ns() + 10_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert not stable_digest(str(path))[2]


# Folders


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "a" / "b").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "x").write_text("1")
    (root / "a" / "b" / "y").write_text("2")
    (root / "link").symlink_to("a")
    return root


def test_a_listing_names_all_with_their_signatures(folder: Path) -> None:
    assert [(e.name, e.kind) for e in listing(folder)] == [
        ("", "d"),
        ("a", "d"),
        ("a/b", "d"),
        ("a/b/y", "f"),
        ("empty", "d"),
        ("link", "l"),
        ("x", "f"),
    ]
    for entry in listing(folder):
        assert entry.signature == signature(os.lstat(folder / entry.name))


def test_every_kind_of_change_shows(folder: Path) -> None:
    seen = {tree(folder)}

    def changed() -> None:
        now = tree(folder)
        assert now not in seen
        seen.add(now)

    (folder / "x").write_text("3")
    changed()
    (folder / "x").chmod(0o755)
    changed()
    (folder / "x").rename(folder / "z")
    changed()
    (folder / "link").unlink()
    changed()
    (folder / "link").symlink_to("b")
    changed()
    (folder / "empty" / "inner").mkdir()
    changed()
    shutil.rmtree(folder / "empty")
    changed()
    (folder / "empty").write_text("")
    changed()
    (folder / "dangling").symlink_to("nowhere")
    changed()
    (folder / "a" / "b" / "y").unlink()
    changed()


def test_what_does_not_count(folder: Path, tmp_path: Path) -> None:
    before = tree(folder)
    os.utime(folder / "x", ns=(5, 5))
    (folder / "a").chmod(0o700)
    (folder / "x").chmod(0o600)
    moved = folder.rename(tmp_path / "moved")
    assert tree(moved) == tree(f"{moved}/") == before
    (tmp_path / "alias").symlink_to("moved")
    assert tree(tmp_path / "alias") == before


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (folder / "out").symlink_to(tmp_path / "outside")
    before = tree(folder)
    (tmp_path / "outside" / "new").write_text("1")
    assert tree(folder) == before


def test_sources_go_without_what_is_ignored(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".bflowignore").write_text("*.log\n")
    (folder / ".bflowignore").write_text("!b.log\n/a/cache/\n")
    before = tree(folder, True, Ignore(str(tmp_path)))
    made = tree(folder)
    (folder / "a.log").write_text("1")
    (folder / "a" / "cache").mkdir()
    (folder / "a" / "cache" / "1").write_text("1")
    (folder / "a" / "__pycache__").mkdir()
    (folder / ".DS_Store").write_text("1")
    os.mkfifo(folder / "fifo.log")
    assert tree(folder, True, Ignore(str(tmp_path))) == before
    names = {e.name for e in listing(folder, True, Ignore(str(tmp_path)))}
    assert "a.log" not in names and ".bflowignore" in names
    (folder / "fifo.log").unlink()
    assert tree(folder) != made
    (folder / "b.log").write_text("1")
    assert tree(folder, True, Ignore(str(tmp_path))) != before


def test_without_ignore_files_the_built_in_list_counts(folder: Path) -> None:
    before = tree(folder, True)
    (folder / "a" / "__pycache__").mkdir()
    assert tree(folder, True) == before
    assert tree(folder, False) != before


def test_a_folder_asked_for_by_name_is_not_ignored(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ".bflowignore").write_text("tree/\n")
    assert tree(folder, True, Ignore(str(tmp_path))) == tree(folder)


def test_a_folder_outside_the_project_has_its_own_ignore_file(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / ".bflowignore").write_text("x\n")
    (folder / ".bflowignore").write_text("y\n")
    names = {e.name for e in listing(folder, True, Ignore(str(tmp_path / "project")))}
    assert "x" in names and "a/b" in names and "a/b/y" not in names


def test_relative_paths(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".bflowignore").write_text("/tree/x\n")
    monkeypatch.chdir(tmp_path)
    names = {e.name for e in listing("tree/", True, Ignore("."))}
    assert "x" not in names and "a/b/y" in names


@pytest.mark.parametrize("source", [True, False])
def test_special_files_are_told(folder: Path, source: bool) -> None:
    os.mkfifo(folder / "a" / "pipe")
    with pytest.raises(FlowError, match="a/pipe"):
        tree(folder, source)


def test_no_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tree(tmp_path / "missing")
    with pytest.raises(NotADirectoryError):
        tree(folder / "x")


def test_a_file_that_goes_during_the_walk(folder: Path) -> None:
    gone = []

    def remove_once(path: str, st: os.stat_result) -> bytes:
        if path.endswith("y") and not gone:
            gone.append(path)
            os.unlink(path)
        return of_file(path, st)

    found, _ = tree_digest(str(folder), source=False, ignore=None, file_digest_of=remove_once)
    assert gone and found == tree(folder)


def test_a_tree_that_keeps_changing_is_told(folder: Path) -> None:
    def missing(path: str, st: os.stat_result) -> bytes:
        raise FileNotFoundError(path)

    with pytest.raises(FlowError, match="changes while it is read"):
        tree_digest(str(folder), source=False, ignore=None, file_digest_of=missing)


def test_deep_trees(tmp_path: Path) -> None:
    place = str(tmp_path / "deep")
    path = place
    for _ in range(1201):
        os.mkdir(path)
        path += "/d"
    assert len(listing(place, True, Ignore(str(tmp_path)))) == 1201
    remove_tree(place)  # pytest itself, cleaning up, would go too deep


name = st.text(
    st.sampled_from("ab-.é\n" + ("" if sys.platform == "darwin" else "\udce9")), min_size=1, max_size=3
).filter(lambda text: text not in (".", ".."))
leaf = st.one_of(
    st.tuples(st.just("f"), st.binary(max_size=3), st.booleans()),
    st.tuples(st.just("l"), name, st.just(False)),
)
Tree = dict  # name → leaf or Tree
trees = st.recursive(
    st.dictionaries(name, leaf, max_size=3), lambda inner: st.dictionaries(name, leaf | inner, max_size=3), max_leaves=8
)


def build(place: str, content: Tree, backwards: bool = False) -> None:
    os.mkdir(place)
    for entry, what in reversed(content.items()) if backwards else content.items():
        path = os.path.join(place, entry)
        if isinstance(what, dict):
            build(path, what, backwards)
        elif what[0] == "l":
            os.symlink(what[1], path)
        else:
            with open(path, "wb") as file:
                file.write(what[1])
            os.chmod(path, 0o755 if what[2] else 0o644)


@given(trees, trees)
@settings(deadline=None, max_examples=80)
def test_equal_digests_are_equal_trees(one: Tree, other: Tree) -> None:
    with tempfile.TemporaryDirectory() as root:
        build(f"{root}/1", one)
        build(f"{root}/2", one, backwards=True)
        build(f"{root}/3", other)
        assert tree(f"{root}/1") == tree(f"{root}/2")
        assert (tree(f"{root}/1") == tree(f"{root}/3")) is (one == other)
