"""`bflow shell`: commands and shells where a job runs. As a process of its own: it starts others on the terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from story import COMMAND, Story


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    story = Story(tmp_path)
    yield story
    story.close()


@pytest.fixture
def project(story: Story) -> Story:
    story.write(
        "Flowfile",
        """
        out/{n}.txt: in/{n}.txt
            cat {in} > {out}; echo left > beside; test ! -s in/bad.txt || grep -q fine {in}
        [vars = COLOUR=red]
        deep.txt: out/a.txt
            cp {in} {out}
        [python]
        p.txt: in/a.txt
            open(outputs[0], "w").write(open(inputs[0]).read())
        [phony]
        test: out/a.txt
            cat {in}
        """,
    )
    story.write("in/a.txt", "one\n")
    story.write("in/b.txt", "two\n")
    return story


def test_a_command_runs_in_a_fresh_sandbox_that_is_removed(project: Story) -> None:
    ran = project.bflow("shell", "out/a.txt", "--", "sh", "-c", "pwd; find . -type f; ls -d out")
    folder, *found = ran.out.splitlines()
    assert found == ["./in/a.txt", "out"] and "/.bflow/shell/" in folder and not os.path.exists(folder)
    assert not project.exists("out/a.txt") and not ran.err


def test_the_environment_is_the_jobs(project: Story) -> None:
    project.build("out/a.txt")
    ran = project.bflow("shell", "deep.txt", "--", "env", env={"SECRET": "1"})
    assert "COLOUR=red" in ran.out and "SECRET" not in ran.out and "TMPDIR=" in ran.out


def test_the_exit_status_is_the_commands(project: Story) -> None:
    assert project.bflow("shell", "out/a.txt", "--", "sh", "-c", "exit 7", ok=7).out == ""
    assert "cannot run no-such-thing" in project.bflow("shell", "out/a.txt", "--", "no-such-thing", ok=2).err


def test_the_recipe_can_be_run_there(project: Story) -> None:
    ran = project.bflow("shell", "out/a.txt", "--", "sh", "-c", "$TMPDIR/recipe && cat out/a.txt beside")
    assert ran.out == "one\nleft\n"
    assert project.bflow("shell", "p.txt", "--", "sh", "-c", "$TMPDIR/recipe && cat p.txt").out == "one\n"


def test_after_a_failure_it_is_the_sandbox_that_was_kept(project: Story) -> None:
    project.write("Flowfile", "x: in/a.txt\n    cp {in} half; false\n")
    project.build("x", ok=1)
    assert project.bflow("shell", "x", "--", "cat", "half").out == "one\n"
    assert project.bflow("shell", "x", "--", "cat", "half").out == "one\n"
    assert project.bflow("shell", "--fresh", "x", "--", "ls").out == "in\n"
    project.edit("Flowfile", "half; false", "x")
    project.build("x")
    assert project.bflow("shell", "x", "--", "ls").out == "in\n"


def test_what_has_no_sandbox_says_so(project: Story) -> None:
    assert "is a source" in project.bflow("shell", "in/a.txt", "--", "ls", ok=2).err
    assert "bflow build out/a.txt" in project.bflow("shell", "deep.txt", "--", "ls", ok=2).err
    project.build("out/a.txt")
    assert "is phony" in project.bflow("shell", "test", "--", "ls", ok=2).err
    assert "one target" in project.bflow("shell", "out/a.txt", "out/b.txt", ok=2).err
    assert "no command" in project.bflow("shell", "out/a.txt", "--", ok=2).err


def test_a_shell_on_a_terminal_says_what_it_is_and_how_to_leave(project: Story) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "shell", "out/a.txt"], cwd=project.root, env=project.environment({"TERM": "dumb"}), stdin=theirs,
        stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, b"cat in/a.txt; echo sum $((40 + 2))\nexit\n")
    screen = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:
            break
        if not data:
            break
        screen += data
    os.close(ours)
    assert process.wait(30) == 0
    text = screen.decode()
    assert "a shell in the sandbox of out/a.txt" in text and "leaves" in text and "cat in/a.txt > out/a.txt" in text
    assert "sum 42" in text and "bflow out/a.txt$" in text and "no job control" not in text
