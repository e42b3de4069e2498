"""What a build looks like, read from the screen of a real terminal."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path

import pytest

from buildflow.progress import Progress
from buildflow.screen import columns, head, tail
from story import Story
from terminal import Terminal

FOUR = """
n = {1..4}
all: {n}
{n}:
    until test -e GO{n}; do sleep 0.01; done; echo said by {n}; echo and {n}; touch {out}
"""


@pytest.fixture
def four(story: Story) -> Story:
    """Four jobs, each of which waits for a file `go<n>`."""
    story.write("Flowfile", FOUR.replace("GO", str(story.path("go"))))
    return story


def test_running_jobs_stand_below_what_was_said(four: Story) -> None:
    with Terminal(four, "build", "-j2") as terminal:
        terminal.until("[0/4] 2 running")
        terminal.until(lambda: len(terminal.lines()) == 3)
        first = [line.split()[-1] for line in terminal.lines()[1:]]
        assert all(line.split()[1] == "s" for line in terminal.lines()[1:])
        for n in first:
            four.write(f"go{n}")
        terminal.until("[2/4] 2 running")
        terminal.until(lambda: len(terminal.lines()) == 9)
        said = terminal.lines()[:6]
        for n in first:  # each job's output is one block below its line
            place = next(i for i, line in enumerate(said) if line.endswith(f"/4] {n}"))
            assert said[place + 1 : place + 3] == [f"said by {n}", f"and {n}"]
        for n in "1234":
            four.write(f"go{n}")
        assert terminal.end() == 0
        lines = terminal.lines()
        assert len(lines) == 13  # nothing is left of the region
        assert lines[-1].startswith("done: 4 ran (")


def test_a_failure_stays_on_the_screen(story: Story) -> None:
    story.write("Flowfile", "out: in\n    echo what is this; echo no such word >&2; exit 3\n")
    story.write("in", "x")
    with Terminal(story, "build") as terminal:
        assert terminal.end() == 1
        lines = terminal.lines()
        assert "out failed: its recipe ended with status 3" in lines[0]
        assert "    no such word" in lines
        assert any("bflow log out" in line for line in lines)
        assert lines[-1].startswith("failed (1 failed;")
        assert "31" in terminal.screen.styles


def test_interrupted(four: Story) -> None:
    with Terminal(four, "build", "-j2") as terminal:
        terminal.until("[0/4] 2 running")
        terminal.interrupt()
        assert terminal.end() == 130
        assert terminal.lines()[-1].startswith("interrupted (")
        assert not any("running" in line for line in terminal.lines())


def test_no_colour(story: Story) -> None:
    story.write("Flowfile", "out:\n    exit 3\n")
    with Terminal(story, "build", env={"NO_COLOR": "1"}) as terminal:
        assert terminal.end() == 1
        assert terminal.screen.styles == set()


def test_a_terminal_that_can_do_nothing(four: Story) -> None:
    for n in "1234":
        four.write(f"go{n}")
    with Terminal(four, "build", "-j1", env={"TERM": "dumb"}) as terminal:
        assert terminal.end() == 0
        assert "\x1b" not in terminal.text
        assert "[1/4] 1" in terminal.lines()


def test_a_narrow_terminal(story: Story) -> None:
    go = story.path("go")
    name = "a-very-long-folder/with-more/and-more/of-them/file.txt"
    story.write("Flowfile", f"{name}:\n    until test -e {go}; do sleep 0.01; done; touch {{out}}\n")
    with Terminal(story, "build", columns=24, rows=6) as terminal:
        terminal.until("file.txt")
        lines = terminal.lines()
        assert len(lines) == 2
        assert all(columns(line) < 24 for line in lines)
        assert lines[1].endswith("/file.txt")
        assert lines[1].startswith("…")
        story.write("go")
        assert terminal.end() == 0
        assert terminal.shown().replace("\n", "").startswith(f"[1/1] {name}done: 1 ran")


def test_more_jobs_than_rows(story: Story) -> None:
    go = story.path("go")
    wait = f"until test -e {go}; do sleep 0.01; done"
    story.write("Flowfile", f"n = {{1..9}}\nall: {{n}}\n{{n}}:\n    {wait}; touch {{out}}\n")
    with Terminal(story, "build", "-j9", rows=6) as terminal:
        terminal.until("and 6 more")
        assert len(terminal.lines()) == 5
        story.write("go")
        assert terminal.end() == 0
        assert len(terminal.lines()) == 10


def test_names_that_a_terminal_would_take_for_commands(story: Story) -> None:
    go = story.path("go")
    name = "表\u0301\x1b[2J漢字.txt"
    story.write("Flowfile", f"{name}:\n    until test -e {go}; do sleep 0.01; done; touch {{out}}\n")
    with Terminal(story, "build", columns=40) as terminal:
        terminal.until("?[2J漢字.txt")
        story.write("go")
        assert terminal.end() == 0


def test_a_phony_has_the_terminal_to_itself(story: Story) -> None:
    go = story.path("go")
    wait = f"until test -e {go}; do sleep 0.01; done"
    story.write("Flowfile", f"[phony]\ntest:\n    printf 'a word'; {wait}; echo ' more'\n")
    with Terminal(story, "build", "test") as terminal:
        terminal.until("a word")
        for _ in range(3):
            terminal._read()
        assert terminal.lines() == ["a word"]
        story.write("go")
        assert terminal.end() == 0
        assert terminal.lines()[0] == "a word more"


def test_what_the_cache_has_saved(story: Story) -> None:
    story.write("Flowfile", "out:\n    touch {out}\n")
    story.build()
    story.remove("out")
    result = next(Path(story.path(".bflow/cache")).glob("*/*/result.json"))
    text = result.read_text()
    found = json.loads(text)
    found["runtime"]["wall_s"] = 90.0
    result.chmod(0o644)
    result.write_text(json.dumps(found))
    story.remove(".bflow/state", ".bflow/snapshots")
    told = story.bflow("build")
    assert "done: 1 from the cache that took 90 s to make (" in told.err


def test_nothing_is_drawn_where_nothing_runs(story: Story) -> None:
    story.write("Flowfile", "out:\n    touch {out}\n")
    story.build()
    with Terminal(story, "build") as terminal:
        assert terminal.end() == 0
        assert "\x1b" not in terminal.text
        assert terminal.lines()[0].startswith("nothing to do")


# ---- the time that is left


def test_the_time_left_is_told_by_the_pace_so_far() -> None:
    progress = Progress(out=io.StringIO(), live=True)
    done = 0
    progress.counts = lambda: (done, 100)
    assert progress._left(time.monotonic()) == ""
    progress({"event": "start", "targets": ["x"], "rule": "x"})
    begun = time.monotonic()
    done = 10
    assert progress._left(begun + 20) in (", 180 s left", ", 3 min 0 s left", ", 2 min 59 s left")
    assert progress._left(begun + 1) == ""  # too early to tell
    done = 100
    assert progress._left(begun + 20) == ""


def test_the_time_left_is_told_by_what_such_jobs_took_before(four: Story) -> None:
    for n in "1234":
        four.write(f"go{n}")
    four.build()
    from buildflow.state import State

    state = State(str(four.path(".bflow/state")))
    assert list(state.seconds) == ["{n}"]
    state.put("seconds", "{n}", 100.0)
    state.flush()
    state.close()
    four.remove("go1", "go2", "go3", "go4", "1", "2", "3", "4", ".bflow/cache")
    with Terminal(four, "build", "-j2") as terminal:
        terminal.until(lambda: re.search(r"\[0/4\] 2 running, about 3 min \d+ s left", terminal.shown()))


def test_what_fits() -> None:
    assert (head("abcdef", 6), head("abcdef", 4), tail("abcdef", 4), head("abc", 0)) == ("abcdef", "abc…", "…def", "")
    assert columns("漢a\u0301") == 3
    assert tail("漢字漢字", 5) == "…漢字"
