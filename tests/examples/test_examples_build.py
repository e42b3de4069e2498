"""Each folder of examples/ in a copy: what its README walks through. (test_cc_flow.py has more of the C rules.)

Those whose tools are not on every machine are in tests/integration/test_examples.py.
"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from example import EXAMPLES, built, copy
from story import Story

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def test_every_example_has_a_test_and_a_readme() -> None:
    folders = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
    assert folders == ["c-program", "dynamic", "mrtrix", "paper", "quickstart", "sweep", "variants"]
    for name in folders:
        assert {"Flowfile", "README.md"} <= {path.name for path in (EXAMPLES / name).iterdir()}


@pytest.mark.parametrize("name", ["mrtrix", "paper", "variants"])
def test_examples_that_need_tools_are_read(story: Story, name: str) -> None:
    """Where the tools are missing, the Flowfile and what it includes are right all the same."""
    assert "[default, alias of " in copy(story, name).bflow("list").out


def test_quickstart(story: Story) -> None:
    copy(story, "quickstart")
    assert built(story) == {"out/jack.words", "out/lamb.words", "out/row.words", "out/table.txt"}
    assert story.read("out/table.txt").splitlines() == [
        "jack     and (3), jack (2), jill (2)",
        "lamb     lamb (2), mary (2), was (2)",
        "row      merrily (4), row (3), a (1)",
    ]
    assert built(story) == set()

    story.edit("rhymes/jack.txt", "Jill", "Jane")
    assert "rhymes/jack.txt changed" in story.bflow("why", "out/jack.words").out
    assert built(story) == {"out/jack.words", "out/table.txt"}
    assert "jane (2)" in story.read("out/table.txt")

    story.write("scripts/table.py", story.read("scripts/table.py") + "# by Mother Goose\n")
    assert built(story) == {"out/table.txt"}
    assert built(story, "top=1") == {"out/table.txt"}
    assert story.read("out/table.txt").startswith("jack     and (3)\n")
    assert built(story) == set()

    story.write("rhymes/hey.txt", "Hey diddle, diddle,\nThe cat and the fiddle,\n")
    assert built(story) == {"out/hey.words", "out/table.txt"}


def test_dynamic(story: Story) -> None:
    copy(story, "dynamic")
    counts = {f"out/counts/{number:02}.txt" for number in (1, 2, 3)}
    assert built(story) == {"out/chapters/", "out/report.txt", *counts}
    assert story.read("out/report.txt").splitlines() == [
        "The Owl: 19 words, the longest is 'nothing'",
        "The Fox: 20 words, the longest is 'afternoon'",
        "The Tortoise: 9 words, the longest is 'perspective'",
    ]
    assert built(story) == set()

    story.edit("book.txt", "perspective", "opinion")
    assert built(story) == {"out/chapters/", "out/counts/03.txt", "out/report.txt"}
    before = story.read("book.txt")
    story.write("book.txt", before + "\nChapter: The End\nAnd so on.\n")
    assert built(story) == {"out/chapters/", "out/counts/04.txt", "out/report.txt"}
    assert story.read("out/report.txt").endswith("The End: 3 words, the longest is 'And'\n")

    story.write("book.txt", before)  # a chapter less: its leftovers are no sources
    assert built(story) == set()
    assert "The End" not in story.read("out/report.txt")
    assert not story.exists("out/chapters/04.txt")

    story.write("book.txt", "No chapters.\n")
    assert built(story) == {"out/chapters/", "out/report.txt"}
    assert story.read("out/report.txt") == ""


@needs_cc
def test_c_program(story: Story) -> None:
    copy(story, "c-program")
    assert len(built(story)) == 9
    assert story.bflow("build", "test").err.count("warning") == 0
    tally = subprocess.run(["build/tally", "tests/rhyme.txt"], cwd=story.root, capture_output=True, text=True)
    assert tally.stdout == story.read("tests/rhyme.expected")

    story.write("src/table/table.c", story.read("src/table/table.c") + "/* the end */\n")
    assert built(story) == {"build/table/table.o"}
    story.edit("include/tally/words.h", "LONGEST_WORD 64", "LONGEST_WORD 32")
    objects = {"build/text/words.o", "build/main.o", "build/tests/check.o"}
    assert built(story) == objects | {"build/libtally.a", "build/tally", "build/tests/check"}
    story.write("src/table/extra.c", "int extra;\n")  # a new file of a part is of the library
    assert {"build/table/extra.o", "build/libtally.a"} <= built(story)

    story.edit("src/table/ranked.c", "? 1 : -1", "? -1 : 1")
    assert "strcmp" in story.bflow("build", "test", ok=1).out  # the check that fails shows itself


def test_sweep(story: Story) -> None:
    copy(story, "sweep")
    runs = {
        f"out/runs/{setting}_{rate}.json"
        for setting in ("village", "town", "school")
        for rate in ("0.15", "0.3", "0.6")
    }
    both = {"out/summary.tsv", "out/epidemic.svg"}
    assert built(story) == runs | both
    head, *rows = (line.split("\t") for line in story.read("out/summary.tsv").splitlines())
    assert head == ["setting", "rate", "day", "ill", "part"]
    assert [row[:2] for row in rows[::4]] == [["village", "0.15"], ["town", "0.3"], ["school", "0.6"]]
    assert ["village", "0.6", "18", "228", "57.1%"] in rows
    picture = story.read("out/epidemic.svg")
    assert picture.count("<polyline") == 9 and picture.count("<rect") == 3
    assert built(story) == set()

    new = {f"out/runs/{setting}_0.2.json" for setting in ("village", "town", "school")}
    assert built(story, "rate=0.2 0.3") == new | both
    assert story.read("out/epidemic.svg").count("<polyline") == 6
    assert built(story) == set()

    story.edit("Flowfile", "village 400", "village 300")
    assert built(story) == {run for run in runs if "village" in run} | both
    story.write("model.py", story.read("model.py") + "# the end\n")
    assert built(story) == runs  # the same numbers: what is made of them stands
    story.edit("report.py", "WIDTH, HEIGHT, MARGIN = 240", "WIDTH, HEIGHT, MARGIN = 300")
    assert built(story) == both
    assert "0.45 is no value of rate" in story.bflow("build", "out/runs/town_0.45.json", ok=2).err


def test_paper_as_a_web_page(story: Story) -> None:
    copy(story, "paper")
    cups = ("flask", "mug", "saucer")
    fits = {f"out/fits/{cup}.json" for cup in cups}
    figures = {f"out/figures/{cup}.svg" for cup in cups}
    assert built(story) == fits | figures | {"out/paper.html"}
    page = story.read("out/paper.html")
    assert "Its excess halved every 15.3 minutes" in page and "<em>every five minutes</em>" in page
    assert page.count("<svg") == 3 and not re.search(r"\{\w+\.\w+\}", page)
    assert built(story) == set()

    story.edit("paper.md", "whoever", "who")
    assert built(story) == {"out/paper.html"}
    story.edit("data/mug.tsv", "84.0", "85.0")
    assert built(story) == {"out/fits/mug.json", "out/figures/mug.svg", "out/paper.html"}
    story.edit("scripts/measurements.py", "def read", "# of a thermometer\ndef read")
    assert built(story) == fits | figures  # both scripts import it; nothing came out otherwise
    assert built(story, "room=20") == fits | figures | {"out/paper.html"}
    assert built(story) == set()

    text = built(story, "out/paper.tex")
    assert text == {"out/paper.tex"}
    assert r"\includegraphics{figures/saucer}" in story.read("out/paper.tex")
