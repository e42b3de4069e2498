"""`bflow why --history`: what differed the last times that a target's job ran."""

from __future__ import annotations

import json
from typing import Any

import pytest

from story import Story


@pytest.fixture
def built(story: Story) -> Story:
    story.write("Flowfile", "all: out/a\nout/{n}: in/{n}\n    cat {in} > {out}\n")
    story.write("in/a", "one\n")
    story.build()
    story.write("in/a", "three\n")
    story.build()
    story.edit("Flowfile", "cat {in}", "cat -n {in}")
    story.build()
    return story


def history(story: Story, *words: str) -> list[dict[str, Any]]:
    (found,) = json.loads(story.bflow("why", "--json", "--history", *words).out)
    runs: list[dict[str, Any]] = found["runs"]
    return runs


def test_each_time_that_it_ran_is_told_with_what_differed(built: Story) -> None:
    out = built.bflow("why", "--history", "out/a").out
    assert out.count("out/a ran") == 3 and out.count("stands now") == 1
    recipe, changed, first = (out.index(text) for text in ("-n+}", "in/a changed", "no earlier result"))
    assert recipe < changed < first
    assert "4 bytes" in out and "6 bytes" in out


def test_a_number_says_how_many_and_a_target_may_follow(built: Story) -> None:
    assert len(history(built, "2", "out/a")) == 2
    assert len(history(built, "out/a")) == 3
    newest = history(built, "1", "out/a")[0]
    assert newest["current"] and [change["what"] for change in newest["changes"]] == ["recipe"]
    assert history(built, "3", "out/a")[2]["changes"] is None
    assert "0" in built.bflow("why", "--history=0", "out/a", ok=2).err


def test_what_is_restored_did_not_run(built: Story) -> None:
    built.edit("Flowfile", "cat -n {in}", "cat {in}")
    assert built.build().cached == 1
    runs = history(built, "out/a")
    assert len(runs) == 3 and [run["current"] for run in runs] == [False, True, False]


def test_headers_that_a_depfile_names(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        [depfile = o.d]
        o: a.h b.h
            cat a.h > o; echo "o: a.h" > o.d
        """,
    )
    story.write("a.h", "1")
    story.write("b.h", "1")
    story.build()
    story.write("a.h", "22")
    story.build()
    story.write("b.h", "2")
    assert story.build().ran == 0
    changes = history(story, "o")[0]["changes"]
    assert [(c["what"], c["name"], c["old_size"], c["new_size"]) for c in changes] == [("header", "a.h", 1, 2)]


def test_what_has_no_history_says_so(built: Story) -> None:
    assert "in/a is a source" in built.bflow("why", "--history", "in/a").err
    assert "whose history?" in built.bflow("why", "--history", ok=2).err
    built.bflow("clean", "--cache")
    assert "no result in the cache" in built.bflow("why", "--history", "out/a").err
