"""What is typed after the command: counts, limits, and folders, which are relative to where they are typed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quick import Quick


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Quick]:
    story = Quick(tmp_path)
    story.write(
        "Flowfile",
        """
        out.txt: in.txt
            cp {in} {out}
        [phony]
        say:
            echo hello
        """,
    )
    story.write("in.txt", "1")
    yield story
    story.close()


@pytest.mark.parametrize(
    "words", [("build", "-j", "abc"), ("build", "-j0"), ("build", "--jobs=-1"), ("cache", "verify", "--rerun", "x")]
)
def test_a_count_that_is_none(story: Quick, words: tuple[str, ...]) -> None:
    err = story.bflow(*words, ok=2).err
    assert err.startswith("bflow: -") and err.endswith(": it takes a whole number, 1 or more\n")
    assert err.count("\n") == 1


def test_a_limit_that_is_none_is_named(story: Quick) -> None:
    err = story.bflow("build", "--resource", "licence=-1", ok=2).err
    assert err.startswith("bflow: the limit licence=-1: ")


@pytest.mark.parametrize("word", ["--cache-root", "--readonly-cache"])
def test_a_cache_is_relative_to_the_folder_where_it_is_typed(story: Quick, word: str) -> None:
    story.path("sub").mkdir()
    story.bflow("build", "--cache-root", "cache", "../out.txt", cwd="sub")
    assert story.exists("sub/cache") and not story.exists("cache") and not story.exists(".bflow/cache")
    story.remove(".bflow", "out.txt")
    assert story.build(word, "sub/cache").cached == 1
    story.remove(".bflow", "out.txt")
    assert story.bflow("-C", "sub", "build", "--json", word, "cache", "../out.txt").cached == 1


def test_what_can_have_no_entry_and_what_has_none_yet(story: Quick) -> None:
    assert "never made" in story.bflow("cache", "path", "out.txt", ok=1).err
    story.build("out.txt")
    for word in ("in.txt", "say"):
        assert word in story.bflow("cache", "path", word, ok=2).err
        assert word in story.bflow("log", word, ok=2).err
    ran = story.bflow("cache", "path", "out.txt", "in.txt", ok=2)
    assert Path(ran.out.strip()).is_dir()
