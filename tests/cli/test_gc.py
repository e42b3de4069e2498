"""`bflow cache gc`: what nobody holds goes, what somebody holds stays. A cache of two projects, and running builds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from story import Story

FLOWFILE = """
    all: out/a out/b
    out/{n}: in/{n}
        cp {in} {out}
"""


@pytest.fixture
def project(story: Story) -> Story:
    """Two targets, each with two results: of today, and of an earlier time."""
    story.write("Flowfile", FLOWFILE)
    for text in ("old", "new"):
        story.write("in/a", f"{text} a\n")
        story.write("in/b", f"{text} b\n")
        assert story.build().ran == 2
    return story


def texts(cache: Path) -> list[str]:
    """What the entries of a cache hold, sorted."""
    found = []
    for path in cache.glob("??/*/result.json"):
        for output in json.loads(path.read_bytes())["outputs"]:
            if not output["folder"]:
                found.append((path.parent / output["file"]).read_text().strip())
    return sorted(found)


def test_what_the_workspace_holds_stays_and_the_rest_goes(project: Story) -> None:
    cache = project.path(".bflow/cache")
    assert texts(cache) == ["new a", "new b", "old a", "old b"]
    ran = project.bflow("cache", "gc", "--max-size", "0")
    assert texts(cache) == ["new a", "new b"]
    assert "2 entries removed" in ran.err and "2 entries" in ran.err and "the rest is held" in ran.err
    project.remove("out")
    assert project.build().cached == 2


def test_a_dry_run_says_what_would_go(project: Story) -> None:
    ran = project.bflow("cache", "gc", "--max-size", "0", "-n")
    assert len(ran.out.splitlines()) == 2 and "would be removed" in ran.err
    assert len(texts(project.path(".bflow/cache"))) == 4


def test_the_size_asked_for_is_reached_and_no_more_goes(project: Story) -> None:
    total = sum(row["size"] for row in json.loads(project.bflow("cache", "list", "--json").out))
    project.bflow("cache", "gc", "--max-size", f"{(total - 10) / 1024:.4f}K")
    assert len(texts(project.path(".bflow/cache"))) == 3
    project.bflow("cache", "gc", "--max-size", f"{total / 1024:.4f}K")
    assert len(texts(project.path(".bflow/cache"))) == 3


def test_by_age(project: Story) -> None:
    cache = project.path(".bflow/cache")
    project.bflow("cache", "gc", "--older-than", "1d")
    assert len(texts(cache)) == 4
    for path in cache.glob("??/*/result.json"):
        if "old a" in texts_of(path):
            os.utime(path, (0, 0))
    project.bflow("cache", "gc", "--older-than", "1d")
    assert texts(cache) == ["new a", "new b", "old b"]


def texts_of(result: Path) -> str:
    return (result.parent / json.loads(result.read_bytes())["outputs"][0]["file"]).read_text()


def test_a_project_that_was_moved_keeps_what_it_holds(project: Story) -> None:
    moved = project.root.parent / "moved"
    project.root.rename(moved)
    project.root = moved
    project.bflow("cache", "gc", "--max-size", "0")
    assert texts(moved / ".bflow/cache") == ["new a", "new b"]
    project.remove("out")
    assert project.build().cached == 2
    assert len(list((moved / ".bflow/cache/.roots").iterdir())) == 1


def test_what_it_takes_is_asked_for(project: Story) -> None:
    assert "--max-size 20G" in project.bflow("cache", "gc", ok=2).err
    assert "--older-than 3x: x is no unit" in project.bflow("cache", "gc", "--older-than", "3x", ok=2).err
    assert "--cache-root DIR" in project.bflow("cache", "gc", "--max-size", "0", cwd="/", ok=2).err


# ---- a cache of several projects -------------------------------------------------------------------------------


@pytest.fixture
def shared(story: Story) -> Path:
    """A cache that two projects use, `.` and `other`; each has an old result and one of today."""
    for folder in (".", "other"):
        story.write(f"{folder}/Flowfile", FLOWFILE)
        for text in ("old", "new"):
            story.write(f"{folder}/in/a", f"{text} a of {folder}\n")
            story.write(f"{folder}/in/b", f"b of {folder}\n")
            story.build("--cache-root", "../cache" if folder == "." else "../../cache", cwd=folder)
    return story.root.parent / "cache"


def test_nothing_that_another_project_holds_is_lost(story: Story, shared: Path) -> None:
    assert len(texts(shared)) == 6
    ran = story.bflow("cache", "gc", "-v", "--cache-root", str(shared), "--max-size", "0")
    assert texts(shared) == ["b of .", "b of other", "new a of .", "new a of other"]
    assert str(story.root) in ran.err and str(story.path("other")) in ran.err


def test_from_a_folder_that_is_no_project(story: Story, shared: Path) -> None:
    elsewhere = story.root.parent / "elsewhere"
    elsewhere.mkdir()
    story.bflow("cache", "gc", "--cache-root", str(shared), "--max-size", "0", cwd=elsewhere)
    assert len(texts(shared)) == 4


def test_a_project_that_is_gone_holds_nothing(story: Story, shared: Path) -> None:
    story.remove("other")
    story.bflow("cache", "gc", "--cache-root", str(shared), "--max-size", "0")
    assert texts(shared) == ["b of .", "new a of ."]
    assert len(list((shared / ".roots").iterdir())) == 1


def test_a_project_of_another_host_keeps_what_it_said_it_holds(story: Story, shared: Path) -> None:
    """Its folder cannot be seen from here: what its root says counts."""
    for root in (shared / ".roots").iterdir():
        head, keys = root.read_bytes().split(b"\n", 1)
        if b"other" in head:
            root.write_bytes(head.replace(os.uname().nodename.encode(), b"elsewhere") + b"\n" + keys)
    story.remove("other")
    story.bflow("cache", "gc", "--cache-root", str(shared), "--max-size", "0")
    assert {"new a of other", "b of other"} < set(texts(shared))


def test_a_running_build_loses_nothing(story: Story, shared: Path) -> None:
    """It has taken one result from the cache, made another, and works at a third: nothing of it is told yet."""
    story.write(
        "other/Flowfile",
        """
        all: out/a out/c d/ out/slow
        out/{n}: in/{n}
            cp {in} {out}
        d/: in/a
            echo of a folder > d/f
        out/slow: out/a out/c d/
            touch ../../../begun; while [ ! -e ../../../go ]; do sleep 0.01; done; echo slow > {out}
        """,
    )
    story.write("other/in/c", "c of other\n")
    story.build("--cache-root", "../../cache", "d/", cwd="other")
    story.write("other/in/a", "old a of other\n")  # a result that the cache has, and that the workspace has not now
    story.remove("other/d")
    begun, go = story.path("other/begun"), story.path("other/go")
    running = story.start("build", "--cache-root", "../../cache", "--json", cwd="other")
    running.until_exists(begun)
    ran = story.bflow("cache", "gc", "--cache-root", str(shared), "--max-size", "0")
    kept = texts(shared)
    assert {"old a of other", "c of other", "b of other", "new a of .", "b of ."} <= set(kept), ran.err
    assert "old a of ." not in kept
    go.touch()
    assert running.wait().summary["ok"]
    story.bflow("cache", "gc", "--cache-root", str(shared), "--max-size", "0")
    story.remove("other/out", "other/d")
    summary = story.build("--cache-root", "../../cache", cwd="other").summary
    assert summary["ran"] == 0 and summary["cached"] == 4
    story.remove("out")
    assert story.build("--cache-root", "../cache").cached == 2


def test_a_killed_driver_leaves_a_root_that_the_next_build_mends(story: Story) -> None:
    story.write("Flowfile", "x: y\n    cp {in} {out}\nz: x\n    touch begun-$$; kill -9 $PPID\n")
    story.write("y", "1")
    story.start("build", "z").wait(ok=None)
    roots = list(story.path(".bflow/cache/.roots").iterdir())
    assert [path.suffix for path in roots] == [".build"]
    story.build("x")
    (root,) = story.path(".bflow/cache/.roots").iterdir()
    keys = root.read_bytes().split(b"\n", 1)[1]
    (entry,) = story.path(".bflow/cache").glob("??/*")
    assert keys == bytes.fromhex(entry.name.partition("-")[2])


def test_a_hit_that_loses_the_race_is_a_miss(project: Story, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The entry goes between the look and the placing: as if by gc, from within the process that builds."""
    from buildflow.workspace import Workspace

    project.remove("out/a")
    put = Workspace.put
    gone: list[str] = []

    def racing(self: Workspace, source: str, name: str, digest: bytes, key: bytes, *more: object) -> None:
        if not gone:
            gone.append(source)
            os.rename(os.path.dirname(source), tmp_path / "collected")
        put(self, source, name, digest, key)

    monkeypatch.setattr(Workspace, "put", racing)
    ran = project.build()
    assert gone and ran.ran == 1 and ran.failed == 0 and project.read("out/a") == "new a\n"


def test_what_jobs_with_depfiles_read_goes_with_their_entries(story: Story) -> None:
    story.write("Flowfile", "[depfile = x.d]\nx: a.h\n    cat a.h > x; echo 'x: a.h' > x.d\n")
    for text in ("1", "2"):
        story.write("a.h", text)
        story.write("Flowfile", f"[depfile = x.d]\nx: a.h\n    cat a.h > x; echo 'x: a.h' > x.d; echo {text}\n")
        story.build()
    assert len(list(story.path(".bflow/cache").glob("??/deps-*"))) == 2
    story.bflow("cache", "gc", "--max-size", "0")
    assert len(list(story.path(".bflow/cache").glob("??/deps-*"))) == 1
    story.remove("x")
    assert story.build().cached == 1


def test_cleaning_the_cache_takes_its_roots_along(project: Story) -> None:
    project.bflow("clean", "--cache")
    assert not project.exists(".bflow/cache")
    assert project.build().up_to_date == 2
