"""Changes that come while a watch builds, and many at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from story import Running, Story


def held(story: Story, name: str) -> tuple[Path, Path, str]:
    """A file that a recipe makes when it starts, one that it waits for, and the recipe's words for both."""
    started, go = story.home / f"started-{name}", story.home / f"go-{name}"
    return started, go, f"echo x >> {started}; until [ -e {go} ]; do sleep 0.01; done"


def built(running: Running) -> tuple[bool, int, int, int]:
    event = running.next_event("build")
    return event["ok"], event["ran"], event["cached"], event["up_to_date"]


def test_stale_jobs_are_ended_and_start_again_and_others_go_on(story: Story) -> None:
    started_a, go_a, wait_a = held(story, "a")
    started_b, go_b, wait_b = held(story, "b")
    story.write(
        "Flowfile",
        f"""
        all: a.out b.out
        a.out: a
            {wait_a}; cp {{in}} {{out}}
        b.out: b
            {wait_b}; cp {{in}} {{out}}
        """,
    )
    story.write("a", "one")
    story.write("b", "uno")
    running = story.start("watch", "--json", "-j", "2")
    running.until_exists(started_a)
    running.until_exists(started_b)
    story.write("a", "two")
    running.until(lambda: started_a.read_text() == "x\nx\n", "the second start of a")
    events = [json.loads(line) for line in running.out.splitlines()]
    assert [e["targets"] for e in events if e.get("state") == "stopped"] == [["a.out"]]
    go_a.touch()
    go_b.touch()
    assert built(running) == (True, 2, 0, 0)
    assert (story.read("a.out"), story.read("b.out"), started_b.read_text()) == ("two", "uno", "x\n")
    assert story.build().up_to_date == 2


def test_what_was_made_from_it_is_made_again_too(story: Story) -> None:
    started, go, wait = held(story, "c")
    story.write(
        "Flowfile",
        f"""
        c: b other
            {wait}; cat {{in}} > {{out}}
        b: a
            cp {{in}} {{out}}
        other: more
            cp {{in}} {{out}}
        """,
    )
    story.write("a", "one")
    story.write("more", " more")
    running = story.start("watch", "--json")
    running.until_exists(started)
    story.write("a", "two")
    running.until(lambda: started.read_text() == "x\nx\n", "the second start")
    assert story.read("b") == "two"
    go.touch()
    assert built(running) == (True, 3, 0, 0)
    assert story.read("c") == "two more"
    assert story.build().up_to_date == 3


def test_an_edit_that_is_taken_back_while_it_is_built(story: Story) -> None:
    started, go, wait = held(story, "c")
    story.write(
        "Flowfile",
        f"""
        c: b d
            cat {{in}} > {{out}}
        b: a
            cp {{in}} {{out}}
        d: b
            {wait}; cp {{in}} {{out}}
        """,
    )
    story.write("a", "one")
    go.touch()
    running = story.start("watch", "--json")
    assert built(running) == (True, 3, 0, 0)
    go.unlink()
    started.unlink()
    story.write("a", "two")
    running.until_exists(started)
    assert story.read("b") == "two"
    story.write("a", "one")
    assert built(running) == (True, 0, 1, 2)
    assert story.read("c") == "oneone"
    story.write("a", "three")
    go.touch()
    assert built(running) == (True, 3, 0, 0)
    assert story.read("c") == "threethree"
    assert story.build().up_to_date == 3


def test_a_phony_that_tests_what_is_built_starts_again(story: Story) -> None:
    started, go, wait = held(story, "test")
    story.write("Flowfile", f"out: a\n    cp {{in}} {{out}}\n[phony]\ntest: out\n    {wait}; cat out\n")
    story.write("a", "one")
    running = story.start("watch", "--json", "test")
    running.until_exists(started)
    story.write("a", "two")
    running.until(lambda: started.read_text() == "x\nx\n", "the second start")
    go.touch()
    assert built(running) == (True, 2, 0, 0)
    assert story.read("out") == "two"


def test_a_phony_that_goes_on_writing_what_it_reads_is_ended_once(story: Story) -> None:
    started, go, wait = held(story, "test")
    story.write("Flowfile", f"[phony]\nbump: a\n    echo more >> a; {wait}\n")
    story.write("a", "one\n")
    running = story.start("watch", "--json", "bump")
    running.until(lambda: started.exists() and started.read_text() == "x\nx\n", "the second start")
    go.touch()
    assert built(running) == (True, 1, 0, 0)
    assert started.read_text() == "x\nx\n"


def test_a_phony_is_run_at_each_change_by_the_plan_that_is_kept(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        n = glob(in/{n})
        out/{n}: in/{n}
            cp {in} {out}
        [phony]
        first: out/a
            echo first >> log.txt
        [phony]
        test: first out/{n}
            cat out/* >> log.txt
        """,
    )
    story.write("in/a", "a\n")
    story.write("in/b", "b\n")
    running = story.start("watch", "--json", "test")
    assert built(running) == (True, 4, 0, 0)
    story.write("in/b", "c\n")
    assert built(running) == (True, 3, 0, 1)
    story.write("in/a", "d\n")
    assert built(running) == (True, 3, 0, 1)
    assert story.read("log.txt") == "first\na\nb\nfirst\na\nc\nfirst\nd\nc\n"


@pytest.mark.parametrize("worker", ["cf", "debug"])
def test_with_each_worker(story: Story, worker: str) -> None:
    story.write("Flowfile", "out: a\n    cp {in} {out}\n")
    story.write("a", "one")
    running = story.start("watch", "--json", "--worker", worker)
    assert built(running) == (True, 1, 0, 0)
    for text in ("two", "three"):
        story.write("a", text)
        assert built(running) == (True, 1, 0, 0)
        assert story.read("out") == text


def test_the_debug_worker_in_the_middle_of_a_job(story: Story) -> None:
    started, go, wait = held(story, "a")
    story.write("Flowfile", f"out: a\n    {wait}; cp {{in}} {{out}}\n")
    story.write("a", "one")
    running = story.start("watch", "--json", "--worker", "debug")
    running.until_exists(started)
    story.write("a", "two")
    running.until(lambda: started.read_text() == "x\nx\n", "the second start")
    go.touch()
    assert built(running) == (True, 1, 0, 0)
    assert story.read("out") == "two"


def test_a_job_that_does_not_end_when_it_is_told_is_killed(story: Story) -> None:
    started, go, wait = held(story, "a")
    story.write("Flowfile", f"out: a\n    trap '' TERM; {wait}; cp {{in}} {{out}}\n")
    story.write("a", "one")
    running = story.start("watch", "--json")
    running.until_exists(started)
    story.write("a", "two")
    running.until(lambda: started.read_text() == "x\nx\n", "the second start")
    go.touch()
    assert built(running) == (True, 1, 0, 0)
    assert story.read("out") == "two"


def test_a_thousand_files_at_once_are_one_rebuild(story: Story) -> None:
    story.write("Flowfile", "n = glob(in/{n})\nout: in/{n}\n    cat {in} | md5sum > {out}\n")
    for number in range(1000):
        story.write(f"in/{number}", "one")
    running = story.start("watch", "--json")
    assert built(running) == (True, 1, 0, 0)
    for number in range(1000):
        story.write(f"in/{number}", f"two {number}")
    assert built(running) == (True, 1, 0, 0)
    before = story.read("out")
    running.signal()
    told = running.wait(ok=130)
    assert sum(event["event"] == "build" for event in told.events) == 2
    assert story.build().up_to_date == 1
    assert story.read("out") == before


# ---- the last good Flowfile


def test_edits_are_built_by_the_last_good_flowfile_while_it_is_broken(story: Story) -> None:
    story.write("Flowfile", "n = glob(in/{n}.txt)\nall: out/{n}.txt\nout/{n}.txt: in/{n}.txt\n    cp {in} {out}\n")
    story.write("in/a.txt", "one")
    story.write("in/b.txt", "uno")
    running = story.start("watch")
    running.until_says("done: 2 ran")
    good = story.read("Flowfile")
    story.write("Flowfile", good + "what is this\n")
    running.until_says("Flowfile:5:")
    story.write("in/a.txt", "two")
    running.until_says("built by the Flowfile as it was before")
    assert story.read("out/a.txt") == "two"
    running.until(lambda: running.err.count("Flowfile:5:") == 2, "the error is shown again")
    story.write("Flowfile", good)
    running.until_says("nothing to do: all are up to date")
    running.signal()
    running.wait(ok=130)
    assert story.build().up_to_date == 2


def test_a_failure_and_a_change_taken_back_leave_what_the_first_build_left(story: Story) -> None:
    story.write("Flowfile", "all: x y\nx: a\n    cp {in} {out}\ny: x b\n    sh {in[1]} && cat x > {out}\n")
    story.write("a", "one")
    story.write("b", "true\n")
    running = story.start("watch", "--json")
    assert built(running) == (True, 2, 0, 0)
    story.write("b", "exit 1\n")
    assert not built(running)[0]
    story.write("a", "two")
    assert not built(running)[0]
    assert story.read("x") == "two"
    story.write("a", "one")
    assert not built(running)[0]
    assert story.read("x") == "one"
    story.write("b", "true\n")
    assert running.next_event("build")["ok"]
    assert (story.read("x"), story.read("y")) == ("one", "one")
    assert story.build().up_to_date == 2


def test_another_build_between_two_of_the_watch(story: Story) -> None:
    story.write("Flowfile", "out: a\n    cp {in} {out}\nmore: a\n    cat {in} {in} > {out}\n")
    story.write("a", "one")
    running = story.start("watch", "--json")
    assert built(running) == (True, 1, 0, 0)
    assert story.build("more").ran == 1
    story.write("a", "two")
    assert built(running) == (True, 1, 0, 0)
    story.write("a", "three")
    assert built(running) == (True, 1, 0, 0)
    running.signal()
    running.wait(ok=130)
    assert story.build().up_to_date == 1
    assert story.build("more").ran == 1
    assert story.read("more") == "threethree"
