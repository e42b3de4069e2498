"""Each folder of examples/ in a copy: what its README walks through. (test_cc_flow.py has more of the C rules.)"""

from __future__ import annotations

import shutil
import subprocess

import pytest

from story import CHECKOUT, Story

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")


def copy(story: Story, name: str) -> Story:
    """The example as it is in the checkout, without what was built in it."""
    built = shutil.ignore_patterns(".bflow", "out", "build", "__pycache__")
    shutil.copytree(CHECKOUT / "examples" / name, story.root, dirs_exist_ok=True, ignore=built)
    return story


def built(story: Story, *words: str) -> set[str]:
    """What a build ran."""
    return {target for targets in story.bflow("build", "--json", *words).jobs() for target in targets}


def test_every_example_has_a_test_and_a_readme() -> None:
    folders = sorted(path.name for path in (CHECKOUT / "examples").iterdir() if path.is_dir())
    assert folders == ["c-program", "dynamic", "quickstart"]
    for name in folders:
        assert {"Flowfile", "README.md"} <= {path.name for path in (CHECKOUT / "examples" / name).iterdir()}


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
