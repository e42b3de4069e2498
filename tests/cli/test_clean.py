"""`bflow clean`: what bflow made goes, what the user made or edited stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from story import Story


@pytest.fixture
def built(story: Story) -> Story:
    story.write(
        "Flowfile",
        """
        s = a b
        all: out/{s}.txt deep/er/x.txt dir/
        out/{s}.txt: in/{s}.txt
            cat {in} > {out}
        [log = logs/x.txt]
        deep/er/x.txt:
            echo log >&2; echo x > {out}
        dir/: in/a.txt
            mkdir dir/sub; cp in/a.txt dir/sub/f; cp in/a.txt dir/g
        """,
    )
    story.write("in/a.txt", "a")
    story.write("in/b.txt", "b")
    assert story.build().ran == 4
    return story


def test_all_that_bflow_made_goes_and_comes_back_from_the_cache(built: Story) -> None:
    shown = built.bflow("clean", "-n")
    assert shown.out.split() == ["deep/er/x.txt", "dir/", "logs/x.txt", "out/a.txt", "out/b.txt"]
    assert built.exists("out/a.txt")
    ran = built.bflow("clean")
    assert "5 files" in ran.err and ran.out == ""
    assert built.files() == ["Flowfile", "in/a.txt", "in/b.txt"]
    assert sorted(os.listdir(built.root)) == [".bflow", "Flowfile", "in"]  # no empty folder is left
    again = built.build()
    assert (again.ran, again.cached) == (0, 4)


def test_of_the_targets_that_are_named(built: Story) -> None:
    built.bflow("clean", "out/a.txt")
    assert not built.exists("out/a.txt") and built.exists("out/b.txt")
    built.bflow("clean", "b.txt", cwd="out")
    assert not built.exists("out")
    built.build()
    built.bflow("clean", "out/{s}.txt")
    assert not built.exists("out") and built.exists("dir/g")
    built.build()
    built.bflow("clean", "out")  # a folder: what is in it
    assert not built.exists("out") and built.exists("dir/g")
    built.bflow("clean", "all")
    assert built.files() == ["Flowfile", "in/a.txt", "in/b.txt", "logs/x.txt"]
    assert "is a source" in built.bflow("clean", "in/a.txt").err
    assert built.exists("in/a.txt")
    assert "no rule makes it" in built.bflow("clean", "nothing", ok=2).err


def test_what_was_edited_stays(built: Story) -> None:
    built.write("out/a.txt", "mine")
    built.write("dir/g", "mine")
    built.write("dir/new", "mine")
    built.write("deep/er/note", "mine")
    ran = built.bflow("clean")
    for name in ("out/a.txt", "dir/g", "dir/new"):
        assert built.read(name) == "mine" and f"{name} was edited" in ran.err
    assert not built.exists("dir/sub") and not built.exists("out/b.txt") and built.exists("deep/er/note")


def test_a_link_that_leads_elsewhere_stays(story: Story, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    story.path("out").symlink_to(tmp_path / "scratch")
    story.write("Flowfile", "out/a:\n    echo a > {out}\n")
    story.build("out/a")
    story.bflow("clean")
    assert story.path("out").is_symlink() and os.listdir(tmp_path / "scratch") == []


def test_a_broken_flowfile_keeps_nobody_from_cleaning(built: Story) -> None:
    built.write("Flowfile", "what is this\n")
    built.bflow("clean")
    assert not built.exists("out")


def test_clean_makes_no_difference_to_what_is_known(built: Story) -> None:
    built.bflow("clean")
    built.write("in/a.txt", "changed")
    assert "in/a.txt changed" in built.bflow("why", "out/a.txt").out


# ---- stale -----------------------------------------------------------------------------------------------------


def test_a_value_that_left_its_domain_leaves_a_stale_file(built: Story) -> None:
    assert "no file" in built.bflow("clean", "--stale").err
    built.edit("Flowfile", "s = a b", "s = a")
    assert built.bflow("clean", "--stale", "-n").out == "out/b.txt\n"
    built.bflow("clean", "--stale")
    assert not built.exists("out/b.txt") and built.exists("out/a.txt") and built.exists("dir/sub/f")
    assert built.build().up_to_date == 3


def test_rules_that_are_gone_leave_stale_files_and_edited_ones_stay(built: Story) -> None:
    built.write("Flowfile", "s = a b\nout/{s}.txt: in/{s}.txt\n    cat {in} > {out}\n")
    built.write("dir/g", "mine")
    ran = built.bflow("clean", "--stale", "-v")
    assert built.files() == ["Flowfile", "dir/g", "in/a.txt", "in/b.txt", "out/a.txt", "out/b.txt"]
    assert "removed logs/x.txt" in ran.err and "dir/g was edited" in ran.err


def test_a_free_wildcard_counts_as_long_as_its_input_can_be_had(story: Story) -> None:
    story.write("Flowfile", "{n}.o: {n}.c\n    cp {in} {out}\n{n}.x: {n}.o\n    cp {in} {out}\n")
    story.write("a.c", "a")
    story.write("b.c", "b")
    story.build("a.x", "b.x")
    story.remove("b.c")
    assert story.bflow("clean", "--stale", "-n").out.split() == ["b.o", "b.x"]
    story.bflow("clean", "--stale", "b.x")
    assert story.files() == ["Flowfile", "a.c", "a.o", "a.x", "b.o"]


def test_a_log_with_wildcards_is_stale_with_its_value(story: Story) -> None:
    text = "s = a b\nall: {s}.out\n[log = logs/{s}.log]\n{s}.out:\n    echo hi; touch {out}\n"
    story.write("Flowfile", text)
    story.build()
    assert story.bflow("clean", "--stale", "-n").out == ""
    story.write("Flowfile", text.replace("a b", "a"))
    assert story.bflow("clean", "--stale", "-n").out.split() == ["b.out", "logs/b.log"]


DYNAMIC = """
    name = lines(names.txt)
    all: out/{name}
    names.txt: src.txt
        cp {in} {out}
    out/{name}:
        touch {out}
"""


def test_a_dynamic_domain_is_looked_up_where_it_is_up_to_date(story: Story) -> None:
    story.write("Flowfile", DYNAMIC)
    story.write("src.txt", "x\ny\n")
    story.build()
    assert story.bflow("clean", "--stale", "-n").out == ""
    story.write("src.txt", "x\n")
    ran = story.bflow("clean", "--stale", "-n")  # who knows
    assert ran.out == "" and "names.txt is not up to date" in ran.err
    story.build()
    assert story.bflow("clean", "--stale", "-n").out == "out/y\n"


def test_a_folder_that_became_files_loses_only_what_nobody_makes(story: Story) -> None:
    story.write("Flowfile", "d/:\n    echo 1 > d/a; echo 2 > d/b\n")
    story.build("d/")
    story.write("Flowfile", "d/a:\n    echo 1 > d/a\n")
    story.build("d/a")
    story.bflow("clean", "--stale")
    assert story.files() == ["Flowfile", "d/a"]
    assert story.build("d/a").up_to_date == 1


def test_phony_rules_and_aliases_make_no_file(story: Story) -> None:
    story.write("Flowfile", "x:\n    touch x\n")
    story.build("x")
    story.write("Flowfile", "[phony]\nx:\n    echo x\n")
    assert story.bflow("clean", "--stale", "-n").out == "x\n"


# ---- the cache -------------------------------------------------------------------------------------------------


def test_without_a_cache_nothing_is_stale_while_the_outputs_stand(built: Story) -> None:
    ran = built.bflow("clean", "--cache", "-n")
    assert ran.out == ".bflow/cache\n" and built.exists(".bflow/cache")
    built.bflow("clean", "--cache")
    assert not built.exists(".bflow/cache") and built.exists("out/a.txt")
    assert built.build().up_to_date == 4
    assert "no cache" in built.bflow("clean", "--cache").err
    assert "takes no targets" in built.bflow("clean", "--cache", "out/a.txt", ok=2).err


def test_a_cache_outside_the_project_is_asked_for(built: Story) -> None:
    root = built.home / "cache"
    built.remove(".bflow", "out", "dir", "deep", "logs")
    built.build("--cache-root", str(root))
    (root / "notes.txt").write_text("mine")
    refused = built.bflow("clean", "--cache", "--cache-root", str(root), ok=2)
    assert "--yes" in refused.err and (root / "notes.txt").exists()
    ran = built.bflow("clean", "--cache", "--yes", "--cache-root", str(root))
    assert os.listdir(root) == ["notes.txt"] and "notes.txt" in ran.err
