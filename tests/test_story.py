"""The helper of the stories itself, with a command that only says what it was asked."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

import story as module
from story import Story, processes_of_session

FAKE = f"PACKAGE = {str(module.CHECKOUT / 'buildflow')!r}" + """
import json, os, sys, time
word = sys.argv[-1]
if word == "env":
    print(json.dumps(dict(os.environ)))
elif word == "in":
    print(sys.stdin.read(), end="")
elif word.isdigit():
    print("no good", file=sys.stderr)
    sys.exit(int(word))
elif word == "crash":
    exec(compile("1 / 0", PACKAGE + "/x.py", "exec"))
elif word in ("wait", "fork"):
    if word == "fork" and os.fork() == 0:
        os.setpgid(0, 0)
        time.sleep(600)
    print('{"event": "start"}', flush=True)
    print("waiting", file=sys.stderr, flush=True)
    time.sleep(600)
else:
    print('{"event": "job", "state": "ran", "rule": "r", "targets": ["b", "c"], "cache_dir": ""}')
    print('{"event": "job", "state": "ran", "rule": "r", "targets": ["a"], "cache_dir": ""}')
    print('{"event": "job", "state": "cached", "rule": "r", "targets": ["d"], "cache_dir": ""}')
    print('{"event": "build", "ok": true, "ran": 2, "cached": 1, "up_to_date": 7, "failed": 0, "skipped": 3}')
"""


@pytest.fixture
def fake(story: Story, monkeypatch: pytest.MonkeyPatch) -> Story:
    script = story.home / "fake.py"
    script.write_text(FAKE)
    monkeypatch.setattr(module, "COMMAND", (sys.executable, str(script)))
    return story


def test_the_files_of_a_story(story: Story) -> None:
    story.write(
        "a/Flowfile",
        """
        all: x
            cp {in} {out}
        """,
    )
    assert story.read("a/Flowfile") == "all: x\n    cp {in} {out}\n"
    story.write("line", "  one line is as it is")
    assert story.read("line") == "  one line is as it is"
    story.write("run", b"\xff", mode=0o750)
    assert story.path("run").stat().st_mode & 0o777 == 0o750
    story.edit("line", "one", "two")
    assert story.read("line") == "  two line is as it is"
    with pytest.raises(AssertionError):
        story.edit("line", "one", "two")
    before = story.path("line").stat().st_mtime_ns
    story.touch("line")
    assert story.path("line").stat().st_mtime_ns != before
    story.write(".bflow/x")
    story.path("link").symlink_to("nowhere")
    assert story.exists("link")
    assert story.files() == ["a/Flowfile", "line", "link", "run"]
    story.remove("a", "link")
    assert story.files() == ["line", "run"]


def test_a_build_tells_what_became_of_its_jobs(fake: Story) -> None:
    ran = fake.build("all")
    assert ran.words == ("build", "--json", "all")
    assert (ran.ran, ran.cached, ran.up_to_date, ran.failed, ran.skipped) == (2, 1, 7, 0, 3)
    assert ran.jobs() == [("a",), ("b", "c")]
    assert ran.jobs("cached") == [("d",)]
    assert ran.jobs(None) == [("a",), ("b", "c"), ("d",)]
    assert [event["event"] for event in ran.events] == ["job", "job", "job", "build"]


def test_the_status_is_checked_and_the_story_told(fake: Story) -> None:
    fake.write("Flowfile", "all: x")
    assert fake.bflow("2", ok=2).err == "no good\n"
    fake.bflow("1", ok=False)
    fake.bflow("1", ok=None)
    for word, ok in (("1", True), ("1", 2), ("all", False), ("99", False), ("crash", False)):
        with pytest.raises(AssertionError) as error:
            fake.bflow(word, ok=ok)
        assert "--- Flowfile\nall: x" in str(error.value)
        assert f"--- bflow {word}" in str(error.value)
    assert "! no good" in str(fake.account())


def test_the_environment_is_clean(fake: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BFLOW_WORKER", "slurm")
    monkeypatch.setenv("LC_ALL", "C")
    environment = fake.bflow("env", env={"EXTRA": "1", "USER": None}).out
    assert "BFLOW_WORKER" not in environment and "LC_ALL" not in environment and '"USER"' not in environment
    assert '"EXTRA": "1"' in environment and f'"HOME": "{fake.home}"' in environment


def test_standard_input(fake: Story) -> None:
    assert fake.bflow("in").out == ""
    assert fake.bflow("in", stdin="é\n").out == "é\n"


def test_a_started_command(fake: Story) -> None:
    running = fake.start("wait")
    assert running.next_event()["event"] == "start"
    running.until_says("waiting")
    running.signal(signal.SIGTERM)
    assert running.wait(ok=-signal.SIGTERM).out == '{"event": "start"}\n'


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs /proc to find processes")
def test_nothing_outlives_a_story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fake.py").write_text(FAKE)
    monkeypatch.setattr(module, "COMMAND", (sys.executable, str(tmp_path / "fake.py")))
    story = Story(tmp_path)
    running = story.start("fork")
    running.until_says("waiting")
    assert len(list(processes_of_session(running.pid))) == 2
    story.close()
    assert list(processes_of_session(running.pid)) == []
    with pytest.raises(AssertionError, match="still running"):
        story.bflow("wait", timeout=0.5)


def test_waiting_for_what_never_comes(fake: Story) -> None:
    running = fake.start("all")
    running.wait()
    assert running.next_event("build")["ran"] == 2
    with pytest.raises(AssertionError, match="it ended before"):
        running.next_event("build")
