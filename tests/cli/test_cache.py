"""`bflow cache list`, `path` and `verify`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from story import Story


@pytest.fixture
def built(story: Story) -> Story:
    story.write(
        "Flowfile",
        """
        all: out/a.txt x y
        out/{n}.txt: in/{n}.txt
            cat {in} > {out}
        x y:
            touch x y
        d/:
            echo 1 > d/f
        [depfile = z.d]
        z: in/a.txt
            cp in/a.txt z; echo "z: in/a.txt" > z.d
        """,
    )
    story.write("in/a.txt", "a")
    story.build("all", "d/", "z")
    return story


def entry(story: Story, target: str) -> Path:
    (line,) = story.bflow("cache", "path", target).out.splitlines()
    return Path(line)


def test_entries_are_listed_with_key_rule_targets_size_and_age(built: Story) -> None:
    rows = json.loads(built.bflow("cache", "list", "--json").out)
    assert len(rows) == 4
    (one,) = [row for row in rows if row["targets"] == ["out/a.txt"]]
    assert one["rule"] == "out/{n}.txt" and one["kind"] == "shell" and one["size"] > 1 and one["age"] >= 0
    assert one["cache_dir"] == str(entry(built, "out/a.txt"))
    assert Path(one["cache_dir"]).name == f"shell-{one['key']}"
    lines = built.bflow("cache", "list").out.splitlines()
    assert len(lines) == 4 and any(one["key"] in line and "out/a.txt" in line for line in lines)


def test_the_path_of_an_entry(built: Story) -> None:
    assert (entry(built, "out/a.txt") / "a.txt").read_text() == "a"
    assert entry(built, "x") == entry(built, "y")
    assert built.bflow("cache", "path", "a.txt", cwd="out").out == f"{entry(built, 'out/a.txt')}\n"
    assert len(built.bflow("cache", "path", "out/a.txt", "d/").out.splitlines()) == 2
    built.bflow("clean")
    assert (entry(built, "out/a.txt") / "a.txt").read_text() == "a"


def test_where_there_is_no_entry_the_status_is_1(built: Story) -> None:
    built.write("in/b.txt", "b")
    ran = built.bflow("cache", "path", "out/b.txt", "out/a.txt", ok=1)
    assert ran.out == f"{entry(built, 'out/a.txt')}\n" and "out/b.txt was never made" in ran.err
    assert "is a source" in built.bflow("cache", "path", "in/b.txt", ok=2).err
    assert "no rule makes it" in built.bflow("cache", "path", "nothing", ok=2).err
    built.remove(".bflow/cache")
    assert "gone" in built.bflow("cache", "path", "out/a.txt", ok=1).err


def test_a_sound_cache_verifies(built: Story) -> None:
    assert "4 entries, all sound" in built.bflow("cache", "verify").err
    assert "1 entry, all sound" in built.bflow("cache", "verify", "out/a.txt").err


def spoil(path: Path, data: bytes) -> None:
    st = path.stat()
    path.chmod(0o644)
    path.write_bytes(data)
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
    path.chmod(st.st_mode)


def test_each_damaged_output_and_entry_is_named(built: Story) -> None:
    spoil(entry(built, "out/a.txt") / "a.txt", b"b")  # the same size and time: only the digest tells
    (entry(built, "x") / "y").unlink()
    spoil(entry(built, "d/") / "d" / "f", b"2\n")
    ran = built.bflow("cache", "verify", ok=1)
    lines = sorted(ran.out.splitlines())
    assert len(lines) == 3
    for name in ("out/a.txt", "y", "d/"):
        assert any(line.startswith(f"{name} is damaged in ") for line in lines)
    assert str(entry(built, "x")) in ran.out
    assert "3 of 4 entries damaged" in ran.err
    assert built.bflow("cache", "verify", "z").status == 0
    built.bflow("cache", "verify", "x", ok=1)


def test_a_result_that_is_not_as_it_was_written_is_damage(built: Story) -> None:
    result = entry(built, "out/a.txt") / "result.json"
    text = result.read_text()
    result.write_text(text.replace("cat in/a.txt", "cat in/b.txt"))
    assert "result.json is damaged" in built.bflow("cache", "verify", ok=1).out
    result.write_text("{")
    assert "result.json is damaged" in built.bflow("cache", "verify", ok=1).out
    assert "damaged" in built.bflow("cache", "list").out
    result.write_text('{"outputs": [{}], "key": 1}')
    assert "result.json is damaged" in built.bflow("cache", "verify", ok=1).out


def test_a_cache_that_is_not_there_is_empty(story: Story) -> None:
    story.write("Flowfile", "x:\n    touch x\n")
    assert story.bflow("cache", "list").out == ""
    assert json.loads(story.bflow("cache", "list", "--json").out) == []
    assert "no entries" in story.bflow("cache", "verify").err


def test_readonly_caches_are_listed_too(built: Story) -> None:
    root = built.home / "shared"
    built.path(".bflow/cache").rename(root)
    rows = json.loads(built.bflow("cache", "list", "--json", "--readonly-cache", str(root)).out)
    assert len(rows) == 4 and all(row["readonly"] for row in rows)


# ---- verify --rerun --------------------------------------------------------------------------------------------


def test_rules_that_make_the_same_bytes_each_time_are_well(built: Story) -> None:
    ran = built.bflow("cache", "verify", "--rerun", "10", "all", "d/", "z")
    assert "4 entries made again, all the same" in ran.err and not ran.out
    assert built.build("all").up_to_date == 2


def test_a_rule_whose_bytes_differ_is_named(story: Story) -> None:
    story.write("Flowfile", "all: same t\nt:\n    date +%N > t; echo 1 >&2\nsame:\n    echo 1 > same\n")
    story.build()
    before = story.read("t")
    ran = story.bflow("cache", "verify", "--rerun", "5", ok=1)
    assert "t is not the same" in ran.out and "rules that differ: t" in ran.err and "same is" not in ran.out
    assert story.read("t") == before and story.build().up_to_date == 2
    assert "1 entry made again" in story.bflow("cache", "verify", "--rerun", "5", "same").err


def test_what_cannot_run_again_is_told(story: Story) -> None:
    story.write("Flowfile", "x: y\n    test ! -e {root}/stop && cp y x\n".replace("{root}", str(story.root)))
    story.write("y", "1")
    story.build()
    story.write("stop")
    assert "x cannot be compared: its recipe ended with status 1" in story.bflow("cache", "verify", "--rerun", "1").err
