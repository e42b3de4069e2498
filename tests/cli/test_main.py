"""The command line itself: help, versions, and words that are none."""

from __future__ import annotations

import pytest

from buildflow import __version__
from buildflow.cli.main import COMMANDS
from story import Story


def test_alone_it_prints_its_help(story: Story) -> None:
    ran = story.bflow()
    assert ran.out.startswith("Usage: bflow") and ran.err == ""
    for command in ("build", "list", "why", "log", "clean", "cache"):
        assert f"  {command} " in ran.out and COMMANDS[command] in ran.out
    assert story.bflow("--help").out == ran.out


def test_the_version(story: Story) -> None:
    assert story.bflow("--version").out == f"bflow {__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    (
        (["bulid"], "there is no command “bulid”; did you mean build?"),
        (["out/a.txt"], "bflow build out/a.txt"),
        (["build", "--keep-goin"], "there is no option --keep-goin; did you mean --keep-going?"),
        (["clean", "--stael"], "did you mean --stale?"),
        (["build", "-j", "0"], "-j"),
        (["build", "-j", "many"], "-j"),
        (["-C", "nowhere", "build"], "cannot go to nowhere"),
        (["-f", "nowhere", "build"], "there is no file nowhere"),
        (["cache", "lits"], "list"),
        (["-C", "."], "a command is missing"),
        (["log"], "TARGET"),
        (["build"], "there is no Flowfile"),
    ),
)
def test_wrong_words_are_told_with_the_near_ones(story: Story, words: list[str], said: str) -> None:
    ran = story.bflow(*words, ok=2)
    assert said in ran.err and ran.out == "" and ran.err.startswith("bflow: ")


@pytest.mark.parametrize("command", ("build", "list", "why", "log", "clean", "cache"))
def test_every_command_has_help_without_a_project(story: Story, command: str) -> None:
    ran = story.bflow(command, "--help")
    assert ran.out.startswith(f"Usage: bflow {command}")
    assert all(len(line) <= 100 for line in ran.out.splitlines())


def test_a_reader_that_goes_away_is_no_traceback(story: Story) -> None:
    import subprocess
    import sys

    import story as module

    story.write("Flowfile", "n = {1..30000}\nall: {n}.a\n{n}.a:\n    touch {out}\n")
    process = subprocess.Popen(
        [sys.executable, module.COMMAND[1], "list", "--targets"], cwd=story.root, env=story.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()
