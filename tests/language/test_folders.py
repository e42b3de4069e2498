"""Folders as inputs and targets, files below them, what lies outside the project, and links."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quick import Quick
from story import Story


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Quick]:
    story = Quick(tmp_path)
    yield story
    story.close()


def refused(story: Quick, *words: str) -> str:
    """What a build that is wrong says; it runs nothing."""
    ran = story.build(*words, ok=2)
    assert not [e for e in ran.events if e["event"] in ("start", "job")], ran.out
    assert ran.summary["ok"] is False
    return ran.err


# --- A path that ends in `/` is a directory, hashed as a tree


def test_a_source_folder_is_hashed_as_a_tree(story: Quick) -> None:
    story.write("Flowfile", "x: data/\n    find {in} -type f | sort > {out}; echo {in} >> {out}\n")
    story.write("data/a", "1")
    story.write("data/deep/b", "2")
    story.path("data/empty").mkdir()
    assert story.build().ran == 1
    assert story.read("x") == "data/a\ndata/deep/b\ndata/\n"
    assert story.build().ran == 0
    story.write("data/deep/b", "3")
    assert story.build().ran == 1
    story.write("data/c")
    assert story.build().ran == 1
    story.remove("data/empty")
    assert story.build().ran == 1
    story.write("data/.git/x")
    assert story.build().ran == 0


def test_a_folder_without_its_slash_is_refused(story: Quick) -> None:
    story.write("Flowfile", "x: data\n    ls {in} > {out}\n")
    story.write("data/a")
    said = refused(story)
    assert "Flowfile:1:4: data is a folder" in said and "write data/" in said
    assert "data is a folder" in refused(story, "data")


def test_a_file_with_a_slash_is_no_folder(story: Quick) -> None:
    story.write("Flowfile", "x: data/\n    ls {in} > {out}\n")
    story.write("data")
    assert "data/: no rule makes it, and there is no such folder" in refused(story)


def test_a_folder_as_a_target(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        out/d/ log/x.txt: in
            ls -A {out[0]} > {out[1]}; echo {out} >> {out[1]}; test -d {out[0]}; test ! -e {out[1]}x
            cp {in} {out[0]}one; mkdir {out[0]}sub; cp {in} {out[0]}sub/two
        """,
    )
    story.write("in", "1")
    assert story.build().ran == 1
    assert story.read("log/x.txt") == "out/d/ log/x.txt\n"
    assert story.files("out") == ["out/d/one", "out/d/sub/two"]
    assert story.build().up_to_date == 1
    story.remove("out/d/sub")
    assert story.build().cached == 1
    assert story.read("out/d/sub/two") == "1"


def test_a_made_folder_as_an_input_and_its_files(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        all: list one two

        d/: in
            cp {in} d/one; mkdir d/sub; cp {in} d/sub/two; echo >> d/sub/two

        list: d/
            find d -type f | sort > {out}

        one: d/one
            cp {in} {out}

        two: x=d/sub/two
            cp {x} {out}
        """,
    )
    story.write("in", "1")
    assert story.build().ran == 4
    assert story.read("list") == "d/one\nd/sub/two\n"
    assert (story.read("one"), story.read("two")) == ("1", "1\n")
    assert story.build().up_to_date == 4
    assert story.build("d/sub/two").up_to_date == 1
    story.remove("d")
    assert story.build("d/one").cached == 1


def test_a_file_that_the_folder_is_made_without(story: Quick) -> None:
    story.write("Flowfile", "d/: in\n    cp {in} d/one\n\nx: d/none\n    cp {in} {out}\n")
    story.write("in")
    ran = story.build("x", ok=1)
    assert "d/none" in ran.err and "made without it" in ran.err


def test_a_file_asked_for_that_the_folder_is_made_without(story: Quick) -> None:
    story.write("Flowfile", "d/: in\n    cp {in} d/one\n")
    story.write("in")
    for _ in range(2):
        ran = story.build("d/none", ok=2)
        assert "d/none is not there: d/ was made without it" in ran.err and ran.summary["ok"] is False
    assert story.build("d/one").up_to_date == 1


def test_a_folder_that_reads_a_file_in_it(story: Quick) -> None:
    story.write("Flowfile", "d/: d/in\n    cp {in} d/one\n")
    story.write("d/in")
    assert "Flowfile:1:5: a cycle: d/ needs d/in, which is made with it" in refused(story)


def test_the_whole_project_is_no_input(story: Quick) -> None:
    story.write("Flowfile", "x: ./\n    ls {in} > {out}\n")
    assert "Flowfile:1:4: the whole project cannot be an input" in refused(story)


def test_made_folders_by_pattern(story: Quick) -> None:
    story.write(
        "Flowfile",
        "s = a b\nall: {s}.n\n{s}.n: d/{s}/\n    ls {in} | wc -l > {out}\n\nd/{s}/: {s}.in\n    cp {in} {out}\n",
    )
    story.write("a.in")
    story.write("b.in")
    assert story.build().ran == 4
    assert story.build("d/a/a.in").up_to_date == 1


# --- A folder that no rule makes is its source files and the finite targets below it, less the rule's own


def test_a_folder_holds_the_finite_targets_below_it(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        n = 1 2
        all: list other out/total

        list: out/
            found=$(find out -type f | sort); echo "$found" > {out}

        other: out/
            found=$(find out -type f | sort); echo "$found" > {out}

        out/total: out/
            found=$(find out -type f | sort); echo "$found" > {out}

        out/{n}.txt: in
            cp {in} {out}
        {free}.log: in
            cp {in} {out}
        """,
    )
    story.write("in")
    story.write("out/source")
    for _ in range(2):
        story.build()
        assert story.read("list") == story.read("other") == "out/1.txt\nout/2.txt\nout/source\nout/total\n"
        assert story.read("out/total") == "out/1.txt\nout/2.txt\nout/source\n"
        story.remove("list", "other", "out/total")


def test_less_the_rules_own_whatever_is_asked_first(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        n = 1 2

        out/{n}.txt: out/
            found=$(ls out); echo "$found" > {out}

        list: out/
            found=$(ls out); echo "$found" > {out}
        """,
    )
    story.write("out/source")
    story.build("out/1.txt", "list")
    assert story.read("out/1.txt") == "source\n"
    assert story.read("list") == "1.txt\n2.txt\nsource\n"


def test_a_folder_less_a_rules_own_and_a_build_with_nothing_to_do(tmp_path: Path) -> None:
    """By the real way in, which answers from a snapshot: what comes into the folder is seen all the same."""
    story = Story(tmp_path)
    story.write(
        "Flowfile",
        "out/total: out/\n    found=$(ls out); echo $found > {out}\n\nout/x: in\n    cp {in} {out}\n",
    )
    story.write("in")
    story.write("out/source")
    story.bflow("build")
    assert story.read("out/total") == "source x\n"
    assert "nothing to do" in story.bflow("build").err
    story.write("out/new")
    story.bflow("build")
    assert story.read("out/total") == "new source x\n"


def test_a_folder_asked_for_is_the_targets_below_it(story: Quick) -> None:
    story.write("Flowfile", "n = 1 2\nout/{n}.txt: in\n    cp {in} {out}\n\nout/deep/x: in\n    cp {in} {out}\n")
    story.write("in")
    ran = story.bflow("build", "out/")
    assert story.files("out") == ["out/1.txt", "out/2.txt", "out/deep/x"]
    assert "is a source" not in ran.err
    assert "out is a folder" in refused(story, "out")


def test_a_folder_that_is_nowhere(story: Quick) -> None:
    story.write("Flowfile", "x: none/\n    ls {in} > {out}\n")
    assert "none/: no rule makes it, and there is no such folder" in refused(story)


# --- Other overlaps of targets are an error


@pytest.mark.parametrize(
    "first, second, message",
    [
        ("out/", "out/a", "the target out/a lies in out/, a folder that is a target itself"),
        ("out/a", "out/", "the target out/a lies in out/, a folder that is a target itself"),
        ("out/", "out/deep/", "the target out/deep/ lies in out/, a folder that is a target itself"),
        ("out/", "out", "the target out is a file, and out/ is a target too"),
        ("out", "out/deep/a", "out/deep/a needs a folder where out is a target"),
        ("out/deep/a", "out", "out/deep/a needs a folder where out is a target"),
    ],
)
def test_overlaps_are_found_in_the_whole_flowfile(story: Quick, first: str, second: str, message: str) -> None:
    story.write("Flowfile", f"good: in\n    cp {{in}} {{out}}\n\n{first}: in\n    true\n\n{second}: in\n    true\n")
    story.write("in")
    said = refused(story, "good")
    assert message in said and "the other one: Flowfile:" in said


def test_a_rule_that_names_a_folder_and_a_file_in_it(story: Quick) -> None:
    story.write("Flowfile", "out/ out/a: in\n    cp {in} out/a\n")
    story.write("in")
    assert "the target out/a lies in out/" in refused(story)


@pytest.mark.parametrize("goals", [("out/a",), ("out/", "out/a"), ("out/a", "out/")])
def test_a_pattern_below_a_folder_that_is_a_target(story: Quick, goals: tuple[str, ...]) -> None:
    story.write("Flowfile", "out/: in\n    true\n\nout/{x}: {x}.in\n    cp {in} {out}\n")
    story.write("in")
    story.write("a.in")
    said = refused(story, *goals)
    assert "out/a" in said and "a folder that is a target itself" in said


def test_a_pattern_that_could_make_anything_is_no_overlap(story: Quick) -> None:
    story.write(
        "Flowfile",
        "out/: in\n    cp {in} out/a\n\n{x}: {x}.gz\n    gzip -dc < {in} > {out}\n\ny: out/a\n    cp {in} {out}\n",
    )
    story.write("in", "1")
    story.build("y")
    assert story.read("y") == "1"


def test_patterns_that_overlap_once_they_are_asked_for(story: Quick) -> None:
    story.write("Flowfile", "{d}/: {d}.tar\n    true\n\n{d}/{x}.o: {x}.c\n    cp {in} {out}\n")
    story.write("p.c")
    story.write("a.tar")
    assert story.build("b/p.o").ran == 1
    for goals in (("a/p.o",), ("a/", "a/p.o"), ("a/p.o", "a/")):
        assert "a/p.o" in refused(story, *goals)


def test_a_file_and_a_folder_by_patterns(story: Quick) -> None:
    story.write("Flowfile", "{x}.f: in\n    cp {in} {out}\n\n{x}.f/y: in\n    cp {in} {out}\n")
    story.write("in")
    for goals in (("a.f", "a.f/y"), ("a.f/y", "a.f")):
        said = refused(story, *goals)
        assert "a.f/y" in said and "needs a folder" in said


# --- Inputs may lie outside the project, outputs may not


def test_inputs_outside_the_project(story: Quick, tmp_path: Path) -> None:
    story.write("../shared/x", "shared\n")
    story.write("../abs.fa", "absolute\n")
    absolute = tmp_path / "abs.fa"
    story.write("Flowfile", f"y: ../shared/x {absolute}\n    cat {{in}} > {{out}}; echo {{in}} >> {{out}}\n")
    story.build()
    assert story.read("y") == f"shared\nabsolute\n{tmp_path}/shared/x {absolute}\n"
    assert story.build().up_to_date == 1
    story.write("../shared/x", "changed\n")
    assert story.build().ran == 1
    story.remove("../shared/x")
    assert "../shared/x: no rule makes it, and there is no such file" in refused(story)


def test_folders_and_globs_outside_the_project(story: Quick) -> None:
    story.write("../shared/a.h", "1\n")
    story.write("../shared/deep/b.h", "2\n")
    story.write("Flowfile", "x: ../shared/\n    ls {in} > {out}\n\ny: ../shared/**/*.h\n    cat {in} > {out}\n")
    story.build("x", "y")
    assert story.read("x") == "a.h\ndeep\n"
    assert story.read("y") == "1\n2\n"
    story.write("../shared/deep/b.h", "3\n")
    assert story.build("x", "y").ran == 2


def test_a_way_out_and_back_in_is_inside(story: Quick) -> None:
    story.write(
        "Flowfile",
        f"x: ../project/made {story.root}/made2\n    cat {{in}} > {{out}}\n\n{{n}}: in\n    cp {{in}} {{out}}\n",
    )
    story.write("in", "1")
    assert story.build("x").jobs() == [("made",), ("made2",), ("x",)]


def test_the_key_has_the_name_as_written(story: Quick) -> None:
    """A project that moves keeps its cache, where what lies outside has the same name and content."""
    story.write("../shared/x", "1")
    story.write("Flowfile", "y: ../shared/x\n    echo {in} > {out}\n")
    story.build()
    story.remove("y")
    moved = story.root.parent / "elsewhere"
    story.root.rename(moved)
    story.root = moved
    assert story.build().cached == 1


def test_an_output_folder_that_is_a_link_to_elsewhere(story: Quick) -> None:
    story.path("../scratch").mkdir()
    story.path("out").symlink_to(story.path("../scratch").resolve())
    story.write(
        "Flowfile",
        """
        all: out/x out/d/ y

        out/x: in
            cp {in} {out}

        out/d/: in
            cp {in} {out}

        y: out/x out/d/in
            cat {in} > {out}
        """,
    )
    story.write("in", "1")
    assert story.build().ran == 3
    assert story.path("out").is_symlink()
    assert story.files("../scratch") == ["../scratch/d/in", "../scratch/x"]
    assert story.read("y") == "11"
    assert story.build().up_to_date == 3
    story.remove("../scratch/x", "../scratch/d")
    assert story.build().cached == 2


def test_a_link_as_an_input(story: Quick) -> None:
    story.write("real", "1")
    story.path("link").symlink_to("real")
    story.path("dangling").symlink_to("nowhere")
    story.write("Flowfile", "x: link\n    cp {in} {out}\n\ny: dangling\n    cp {in} {out}\n")
    story.build("x")
    assert story.read("x") == "1" and not story.path("x").is_symlink()
    story.write("real", "2")
    assert story.build("x").ran == 1
    said = refused(story, "y")
    assert "dangling: no rule makes it, and it is a link that leads nowhere" in said
