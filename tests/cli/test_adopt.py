"""`bflow adopt`: what another tool made, taken as results."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from story import Story

FLOWFILE = """
    n = a b

    all: out/sum.txt

    out/sum.txt: out/{n}.txt
        cat {in} > {out}; false

    out/{n}.txt: in/{n}.txt
        cp {in} {out}; false
"""


@pytest.fixture
def made(story: Story) -> Story:
    """A project that another tool has built; its own recipes would fail."""
    story.write("Flowfile", FLOWFILE)
    for time, name in enumerate(("in/a.txt", "in/b.txt", "out/a.txt", "out/b.txt", "out/sum.txt")):
        old(story.write(name, name), time)
    return story


def old(path: Path, time: int) -> None:
    os.utime(path, (1_000_000_000 + time, 1_000_000_000 + time))


def entries(story: Story) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(story.bflow("cache", "list", "--json").out)
    return found


def test_after_it_a_build_has_nothing_to_do(made: Story) -> None:
    ran = made.bflow("adopt")
    assert "3 jobs adopted" in ran.err and not ran.out
    assert made.build().up_to_date == 3
    assert made.read("out/sum.txt") == "out/sum.txt"
    made.write("in/a.txt", "new")
    assert made.build(ok=1).failed == 1  # now it counts


def test_what_was_adopted_is_in_the_cache_and_marked(made: Story) -> None:
    made.bflow("adopt")
    assert [row["adopted"] for row in entries(made)] == [True] * 3
    assert made.bflow("cache", "list").out.count("(adopted)") == 3
    assert "another tool made it" in made.bflow("why", "out/a.txt").out
    assert "adopted" in made.bflow("log", "out/a.txt").err
    assert "was adopted at" in made.bflow("why", "--history", "out/a.txt").out
    assert "all sound" in made.bflow("cache", "verify").err
    made.remove("out")
    assert made.build().cached == 3
    assert made.read("out/sum.txt") == "out/sum.txt"


def test_once_more_changes_nothing(made: Story) -> None:
    made.bflow("adopt")
    assert "0 jobs adopted, 3 had their results already" in made.bflow("adopt").err


def test_a_dry_run_says_what_would_be(made: Story) -> None:
    ran = made.bflow("adopt", "-n")
    assert ran.out.split() == ["out/a.txt", "out/b.txt", "out/sum.txt"] or len(ran.out.split()) == 3
    assert "would be adopted" in ran.err and not made.exists(".bflow")


def test_of_one_target_its_own_jobs_are_adopted(made: Story) -> None:
    made.bflow("adopt", "out/a.txt")
    assert made.build("out/a.txt").up_to_date == 1
    assert made.build("out/b.txt", ok=1).failed == 1


def test_never_where_an_input_or_output_is_missing(made: Story) -> None:
    made.remove("out/b.txt")
    ran = made.bflow("adopt", ok=1)
    assert "out/b.txt is not adopted: out/b.txt is not there" in ran.err
    assert "out/sum.txt is not adopted: its input out/b.txt was not adopted" in ran.err
    assert "1 job adopted" in ran.err
    made.bflow("adopt", "--force", ok=1)
    made.remove("in/a.txt")
    assert "in/a.txt" in made.bflow("adopt", "--force", ok=2).err


def test_not_where_an_output_is_older_than_an_input_unless_forced(made: Story) -> None:
    old(made.path("in/b.txt"), 50)
    ran = made.bflow("adopt", ok=1)
    assert "out/b.txt is older than its input in/b.txt" in ran.err and "--force" in ran.err
    made.bflow("adopt", "--force")
    assert made.build().up_to_date == 3


def test_what_bflow_made_of_other_inputs_is_not_adopted(story: Story) -> None:
    story.write("Flowfile", "x: y\n    cp {in} {out}\n")
    story.write("y", "1")
    story.build()
    old(story.write("y", "2"), 0)
    assert "bflow made x itself" in story.bflow("adopt", ok=1).err
    story.bflow("adopt", "--force")
    assert story.build().up_to_date == 1 and story.read("x") == "1"


def test_a_result_that_the_cache_has_is_not_replaced_unless_forced(made: Story) -> None:
    made.bflow("adopt")
    old(made.write("out/a.txt", "edited"), 60)
    assert "the cache has another result" in made.bflow("adopt", "out/a.txt", ok=1).err
    made.bflow("adopt", "--force", "out/a.txt")
    made.remove("out/a.txt")
    made.build("out/a.txt")
    assert made.read("out/a.txt") == "edited"


def test_folders_several_outputs_and_links(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        all: d/ x z
        d/: y
            false
        x z: d/
            false
        """,
    )
    for time, name in enumerate(("y", "d/one", "d/two/three", "x", "z")):
        old(story.write(name, name), time)
    story.bflow("adopt")
    assert story.build().up_to_date == 2
    story.remove("d", "x", ".bflow")
    story.path("x").symlink_to("z")
    ran = story.bflow("adopt", ok=1)
    assert "d/ is not there" in ran.err


def test_a_link_is_no_result(story: Story) -> None:
    story.write("Flowfile", "x: y\n    false\n")
    old(story.write("y", "1"), 0)
    story.write("other", "1")
    story.path("x").symlink_to("other")
    assert "x is a link" in story.bflow("adopt", ok=1).err


def test_a_depfile_that_stands_too_narrows_what_was_read(story: Story) -> None:
    story.write("Flowfile", "[depfile = x.d]\nx: a.h b.h\n    echo {depfile}; false\n")
    for time, name in enumerate(("a.h", "b.h", "x")):
        old(story.write(name, name), time)
    story.write("x.d", "x: a.h\n")
    story.bflow("adopt")
    assert story.build().up_to_date == 1
    story.write("b.h", "new")
    assert story.build().up_to_date == 1
    story.write("a.h", "new")
    story.build(ok=1)


def test_without_its_depfile_all_that_it_may_read_counts(story: Story) -> None:
    story.write("Flowfile", "[depfile = x.d]\nx: a.h b.h\n    echo {depfile}; false\n")
    for time, name in enumerate(("a.h", "b.h", "x")):
        old(story.write(name, name), time)
    story.bflow("adopt")
    assert story.build().up_to_date == 1
    story.write("b.h", "new")
    story.build(ok=1)


def test_jobs_that_show_only_later_are_adopted_too(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        all: sum
        parts/: y
            false
        p = glob(parts/{p}.txt)
        sum: done/{p}
            false
        done/{p}: parts/{p}.txt
            false
        """,
    )
    for time, name in enumerate(("y", "parts/1.txt", "parts/2.txt", "done/1", "done/2", "sum")):
        old(story.write(name, name), time)
    assert "4 jobs adopted" in story.bflow("adopt").err
    assert story.build().up_to_date == 4


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_a_project_that_moves_from_make(story: Story) -> None:
    story.write("Makefile", "all: out.txt\nout.txt: in.txt\n\tsort $^ > $@\n")
    story.write("Flowfile", "all: out.txt\nout.txt: in.txt\n    sort {in} > {out}\n")
    story.write("in.txt", "2\n1\n")
    assert os.system(f"make -s -C {story.root}") == 0
    story.bflow("adopt")
    summary = story.build().summary
    assert summary["up_to_date"] == 1 and summary["ran"] == 0


def test_large_files_are_linked_and_not_copied(made: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a user whom modes stop, with a limit of no bytes above which files are linked."""
    from functools import partial

    from buildflow import adopt

    monkeypatch.setattr(adopt, "place", partial(adopt.place, limit=0, writable_root=False))
    made.bflow("adopt")
    assert made.path("out/a.txt").stat().st_nlink == 2
    assert made.build().up_to_date == 3
    assert "all sound" in made.bflow("cache", "verify").err
    made.remove("out/a.txt")
    made.write("out/a.txt", "an editor makes a new file")
    made.bflow("why", "out/a.txt")
    assert "all sound" in made.bflow("cache", "verify").err


def test_what_changes_while_it_is_taken_is_not_adopted(made: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    from buildflow import adopt

    monkeypatch.setattr(adopt, "output_digest", lambda path, is_folder: b"another")
    assert "out/a.txt changed while it was taken" in made.bflow("adopt", "out/a.txt", ok=1).err
    monkeypatch.undo()
    assert made.build("out/a.txt", ok=1).failed == 1
