"""`bflow log`: what a job printed, whether it failed or not."""

from __future__ import annotations

import pytest

from story import Story


@pytest.fixture
def built(story: Story) -> Story:
    story.write(
        "Flowfile",
        """
        all: a b
        a b: src
            echo "says $(cat src)"; test "$(cat src)" != bad; touch a b
        quiet:
            touch quiet
        [phony]
        talk:
            echo hi
        """,
    )
    story.write("src", "good")
    story.build("a", "quiet")
    return story


def test_the_log_of_the_entry(built: Story) -> None:
    for target in ("a", "b", "all"):
        ran = built.bflow("log", target)
        assert ran.out == "says good\n" and "cache" in ran.err
    path = built.bflow("log", "--path", "a").out
    assert path.endswith("/log\n") and built.read(path[:-1]) == "says good\n"


def test_the_log_of_a_try_that_failed_since(built: Story) -> None:
    built.write("src", "bad")
    built.bflow("build", "b", ok=1)
    ran = built.bflow("log", "b")
    assert ran.out == "says bad\n" and "failed" in ran.err
    assert "/failed/" in built.bflow("log", "--path", "a").out
    built.write("src", "better")
    built.build("a")
    assert built.bflow("log", "a").out == "says better\n"


def test_what_is_restored_after_a_failure_has_the_log_of_its_entry(built: Story) -> None:
    built.write("src", "other")
    built.build("a")
    built.write("src", "bad")
    built.bflow("build", "b", ok=1)
    built.remove("a", "b")
    built.write("src", "good")
    assert built.build("a").cached == 1
    assert built.bflow("log", "a").out == "says good\n"


def test_a_job_that_printed_nothing_is_no_error(built: Story) -> None:
    ran = built.bflow("log", "quiet")
    assert ran.out == "" and "printed nothing" in ran.err
    assert built.bflow("log", "--path", "quiet").out == ""


def test_where_there_is_no_log(built: Story) -> None:
    built.write("Flowfile", built.read("Flowfile") + "\nnever:\n    touch never\n")
    assert "never made" in built.bflow("log", "never", ok=2).err
    assert "is a source" in built.bflow("log", "src", ok=2).err
    assert "phony" in built.bflow("log", "talk", ok=2).err
    assert "no rule makes it" in built.bflow("log", "nothing", ok=2).err
    built.remove(".bflow/cache")
    assert "gone from the cache" in built.bflow("log", "a", ok=2).err


def test_the_log_of_a_readonly_cache(built: Story) -> None:
    built.path(".bflow/cache").rename(built.home / "cache")
    built.remove("a", "b", ".bflow")
    assert built.build("a", "--readonly-cache", str(built.home / "cache")).cached == 1
    assert built.bflow("log", "a", "--readonly-cache", str(built.home / "cache")).out == "says good\n"


def test_the_log_of_a_target_that_no_rule_makes_any_more(built: Story) -> None:
    built.write("Flowfile", "x:\n    touch x\n")
    assert built.bflow("log", "b").out == "says good\n"


def test_a_temporary_output_has_its_log(story: Story) -> None:
    story.write("Flowfile", "b: a\n    cat a > b\n[temp]\na:\n    echo hello; touch a\n")
    story.build("b")
    assert story.bflow("log", "a").out == "hello\n"
