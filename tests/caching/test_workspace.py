"""What is whose: nothing of the user's is lost, nothing half-made is seen, damaged entries are never served."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from story import Story

CACHE = ".bflow/cache"


def entries(story: Story, root: str | Path = CACHE) -> list[Path]:
    return sorted((story.root / root).glob("??/*-*/result.json"))


def test_an_entry_is_what_the_design_says(story: Story) -> None:
    story.write("Flowfile", "out/{x}.txt: in/{x}.txt\n    echo working; cp {in} {out}\n")
    story.write("in/a.txt", "A")
    story.build("out/a.txt")
    (path,) = entries(story)
    folder = path.parent
    key = folder.name.partition("-")[2]
    assert folder.name == f"shell-{key}" and folder.parent.name == key[:2] and len(key) == 32
    assert sorted(os.listdir(folder)) == ["a.txt", "log", "result.json"]
    assert (folder / "log").read_text() == "working\n"
    result = json.loads(path.read_text())
    assert result["rule"] == "out/{x}.txt"
    assert [(i["name"], i["from"]) for i in result["inputs"]] == [("in/a.txt", "source")]
    assert {"wall_s", "rss_peak_gb", "vms_peak_gb", "cpu_peak_percent"} <= set(result["runtime"])
    assert result["host"] and result["worker"] == "cf"


def test_a_log_is_there_only_where_something_was_printed(story: Story) -> None:
    story.write("Flowfile", "a.txt:\n    touch {out}\n")
    story.build()
    (path,) = entries(story)
    assert sorted(os.listdir(path.parent)) == ["a.txt", "result.json"]


def test_outputs_that_share_a_base_name_or_are_named_as_ours(story: Story) -> None:
    story.write(
        "Flowfile",
        "x/out.txt y/out.txt result.json log d/:\n"
        "    echo 1 > x/out.txt; echo 2 > y/out.txt; echo 3 > result.json; echo 4 > log; touch d/f\n",
    )
    story.build()
    names = ["x/out.txt", "y/out.txt", "result.json", "log", "d/f"]
    before = [story.read(name) for name in names]
    story.remove("x", "y", "result.json", "log", "d")
    assert story.build().cached == 1
    assert [story.read(name) for name in names] == before


def test_the_users_file_is_kept(story: Story) -> None:
    story.write("Flowfile", "out.txt:\n    echo made > {out}\n")
    story.write("out.txt", "precious\n")
    ran = story.bflow("build")
    assert story.read("out.txt") == "made\n"
    (kept,) = story.files(".bflow/replaced")
    assert story.read(kept) == "precious\n"
    assert "out.txt" in ran.err


def test_the_same_bytes_are_not_touched(story: Story) -> None:
    story.write("Flowfile", "out.txt:\n    echo made > {out}\n")
    story.write("out.txt", "made\n")
    before = (story.root / "out.txt").stat()
    story.build()
    after = (story.root / "out.txt").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert not story.exists(".bflow/replaced")


def test_a_damaged_entry_is_never_served(story: Story) -> None:
    story.write("Flowfile", "out.txt:\n    echo made > {out}\n")
    story.build()
    (path,) = entries(story)
    (path.parent / "out.txt").write_text("evil\n")
    story.remove("out.txt")
    ran = story.build()
    assert (ran.ran, ran.cached) == (1, 0)
    assert story.read("out.txt") == "made\n"
    story.remove("out.txt")
    assert story.build().cached == 1


@pytest.mark.parametrize("damage", ["missing", "truncated json", "empty json"])
def test_a_broken_entry_is_a_miss(story: Story, damage: str) -> None:
    story.write("Flowfile", "out.txt:\n    echo made > {out}\n")
    story.build()
    (path,) = entries(story)
    if damage == "missing":
        (path.parent / "out.txt").unlink()
    elif damage == "truncated json":
        path.write_text(path.read_text()[:50])
    else:
        path.write_text("")
    story.remove("out.txt")
    assert story.build().ran == 1
    assert story.read("out.txt") == "made\n"


def test_a_damaged_folder_entry_is_never_served(story: Story) -> None:
    story.write("Flowfile", "d/:\n    mkdir {out}sub; echo 1 > {out}sub/a; echo 2 > {out}b\n")
    story.build()
    (path,) = entries(story)
    (path.parent / "d/sub/a").write_text("9\n")
    story.remove("d")
    assert story.build().ran == 1
    assert story.read("d/sub/a") == "1\n"


def test_a_cache_shared_by_two_projects(story: Story, tmp_path: Path) -> None:
    story.write("Flowfile", "out.txt: in.txt\n    cp {in} {out}\n")
    story.write("in.txt", "x")
    assert story.build("--cache-root", str(tmp_path / "shared")).ran == 1
    assert not story.exists(CACHE)
    other = tmp_path / "other"
    other.mkdir()
    (other / "Flowfile").write_text(story.read("Flowfile"))
    (other / "in.txt").write_text("x")
    ran = story.bflow("build", "--json", "--cache-root", str(tmp_path / "shared"), cwd=other)
    assert (ran.ran, ran.cached) == (0, 1)
    third = tmp_path / "third"
    third.mkdir()
    (third / "Flowfile").write_text(story.read("Flowfile"))
    (third / "in.txt").write_text("x")
    ran = story.bflow("build", "--json", "--readonly-cache", str(tmp_path / "shared"), cwd=third)
    assert (ran.ran, ran.cached) == (0, 1)


def test_a_large_output_is_placed_and_kept_apart(story: Story) -> None:
    story.write(
        "Flowfile",
        "big.bin:\n    head -c 20000000 /dev/zero > {out}\nn.txt: big.bin\n    wc -c < {in} > {out}\n",
    )
    story.build("n.txt")
    assert story.read("n.txt").strip() == "20000000"
    path = story.root / "big.bin"
    linked = path.stat().st_nlink > 1
    assert not linked or not path.stat().st_mode & 0o222, "a hard link is read-only"
    assert story.build("n.txt").ran == 0
    story.remove("big.bin")
    assert story.build("n.txt").cached == 1
    assert "nothing to do" in story.bflow("build", "n.txt").err


def test_minus_B_replaces(story: Story) -> None:
    counter = story.root.parent / "count"
    story.write("Flowfile", f"out.txt:\n    echo x >> {counter}; date +%N > {{out}}\n")
    story.build()
    first = story.read("out.txt")
    ran = story.build("-B")
    assert ran.ran == 1 and counter.read_text() == "x\nx\n"
    second = story.read("out.txt")
    story.remove("out.txt")
    assert story.build().cached == 1
    assert story.read("out.txt") == second != first


def test_a_made_folder_shrinks(story: Story) -> None:
    story.write("Flowfile", "d/: list.txt\n    for i in $(cat {in}); do echo $i > {out}$i; done\n")
    story.write("list.txt", "a b c")
    story.build()
    assert story.files("d") == ["d/a", "d/b", "d/c"]
    story.write("list.txt", "a")
    story.build()
    assert story.files("d") == ["d/a"]
    story.write("d/mine", "user's")
    ran = story.bflow("build")
    assert story.files("d") == ["d/a"]
    assert "replaced" in ran.err


def test_temporary_outputs_stay_in_the_cache_and_go(story: Story) -> None:
    counter = story.root.parent / "count"
    story.write(
        "Flowfile",
        f"""
        all: end.txt
        end.txt: mid.txt
            cat {{in}} > {{out}}
        [temp]
        mid.txt: in.txt
            echo x >> {counter}; cp {{in}} {{out}}
        """,
    )
    story.write("in.txt", "one\n")
    assert story.build().ran == 2
    assert not story.exists("mid.txt")
    assert not list((story.root / CACHE).glob("*/*/mid.txt")), "its last reader has committed"
    assert story.build().ran == 0
    assert "nothing to do" in story.bflow("build").err
    story.remove("end.txt")
    assert story.build().cached == 1
    assert counter.read_text() == "x\n"
    story.edit("Flowfile", "cat", "cat -")
    story.edit("Flowfile", "cat - ", "cat ")
    story.write("Flowfile", story.read("Flowfile").replace("cat {in}", "cat {in} {in}"))
    assert story.build().ran == 2, "it is made again where a job must read it"
    assert counter.read_text() == "x\nx\n"
    story.build("mid.txt")
    assert story.read("mid.txt") == "one\n", "asked for by name it is placed and kept"


def test_a_leftover_of_a_killed_placing_is_no_source(story: Story) -> None:
    story.write("Flowfile", "all.txt: in/*\n    cat {in} > {out}\n")
    story.write("in/a", "A")
    story.write("in/.bflow-tmp.123", "junk")
    story.build()
    assert story.read("all.txt") == "A"


def test_a_folder_target_that_is_a_link_to_a_folder_of_the_users(story: Story) -> None:
    story.write("Flowfile", "d/: s\n    cat s > d/x\n")
    story.write("s", "one\n")
    story.write("other/x", "precious\n")
    story.write("other/keep", "me\n")
    os.symlink("other", story.root / "d")
    ran = story.bflow("build", "d/")
    assert "replaced" in ran.err
    kept = {name.rpartition("/")[2]: story.read(name) for name in story.files(".bflow/replaced")}
    assert kept == {"x": "precious\n", "keep": "me\n"}
    assert (story.root / "d").is_symlink() and story.read("other/x") == "one\n"
    assert story.build("d/").ran == 0
    story.remove("d")
    story.remove("other")
    story.write("other/keep", "again\n")
    os.symlink("other", story.root / "d")
    assert "replaced" in story.bflow("build", "d/").err, "from the cache too"
    assert "again\n" in [story.read(name) for name in story.files(".bflow/replaced")]


def test_an_output_replaced_by_a_link_is_made_a_file_again(story: Story) -> None:
    story.write("Flowfile", "d: c\n    cat {in} > {out}\nc: a\n    cat {in} > {out}\n")
    story.write("a", "a")
    story.build()
    story.remove("d")
    os.symlink("c", story.root / "d")
    story.bflow("build")
    assert not (story.root / "d").is_symlink() and story.read("d") == "a"


def test_a_file_target_where_only_what_bflow_made_stands(story: Story) -> None:
    story.write("Flowfile", "x/f: s\n    cp {in} {out}\n")
    story.write("s", "s")
    story.build()
    story.write("Flowfile", "x: s\n    cp {in} {out}\n")
    story.build()
    assert story.read("x") == "s"
    story.write("Flowfile", "x/f: s\n    cp {in} {out}\n")
    story.build()
    assert story.read("x/f") == "s"
    story.write("x/mine", "precious")
    story.write("Flowfile", "x: s\n    cp {in} {out}\n")
    assert "a folder stands there" in story.bflow("build", ok=2).err
    assert story.read("x/mine") == "precious"
