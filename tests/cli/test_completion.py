"""`bflow completion`: what real shells complete."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from story import COMMAND, Story

FLOWFILE = """
    n = {1..3}
    voxel = 0.5

    ## Everything
    all: out/sum.txt

    out/sum.txt: out/part/{n}.txt
        cat {in} > {out}; echo {voxel}

    out/part/{n}.txt:
        echo {n} > {out}

    [name = other]
    other.txt 'with space.txt':
        touch {out}

    [phony]
    check: out/sum.txt
        cat {in}
"""


@pytest.fixture
def project(story: Story) -> Story:
    story.write("Flowfile", FLOWFILE)
    return story


def asked(story: Story, *words: str, shell: str = "bash") -> list[str]:
    """What `bflow` itself answers to a shell that completes the last of the words."""
    process = subprocess.run(
        [*COMMAND], cwd=story.root, capture_output=True, text=True, check=True,
        env=story.environment(
            {"_BFLOW_COMPLETE": f"{shell}_complete", "COMP_WORDS": "\n".join(["bflow", *words]),
             "COMP_CWORD": str(len(words))}
        ),
    )  # fmt: skip
    assert not process.stderr
    return [line.partition(",")[2] for line in process.stdout.splitlines() if line]


def test_targets_one_folder_at_a_time(project: Story) -> None:
    assert asked(project, "build", "") == ["all", "check", "other.txt", "out/", "with space.txt"]
    assert asked(project, "build", "out/") == ["out/part/", "out/sum.txt"]
    assert asked(project, "build", "out/p") == ["out/part/"]
    assert asked(project, "build", "out/part/") == [f"out/part/{n}.txt" for n in (1, 2, 3)]
    assert asked(project, "why", "al") == ["all"] and asked(project, "log", "oth") == ["other.txt"]
    assert not project.exists(".bflow")


def test_names_rules_and_options(project: Story) -> None:
    assert asked(project, "build", "v") == ["voxel="]
    assert "other" in asked(project, "build", "--until", "o")
    assert asked(project, "build", "--keep") == ["--keep-going"]
    assert "singularity://" in asked(project, "build", "--env", "s")
    assert asked(project, "build", "--worker", "sl") == ["slurm"]
    assert "cache" in asked(project, "c") and asked(project, "cache", "ver") == ["verify"]


def test_what_was_found_is_forgotten_when_the_flowfile_or_a_folder_changes(project: Story) -> None:
    assert asked(project, "build", "n") == ["n="]
    project.edit("Flowfile", "other.txt", "new.txt")
    assert asked(project, "build", "ne") == ["new.txt"]
    project.write("Flowfile", "x = glob(in/{x})\nout/{x}: in/{x}\n    cp {in} {out}\n")
    project.write("in/a")
    assert asked(project, "build", "out/") == ["out/a"]
    project.write("in/b")
    assert asked(project, "build", "out/") == ["out/a", "out/b"]


def test_what_was_built_is_known_where_rules_have_free_wildcards(story: Story) -> None:
    story.write("Flowfile", "{x}.o: {x}.c\n    cp {in} {out}\n")
    story.write("main.c")
    assert asked(story, "build", "m") == []
    story.build("main.o")
    assert asked(story, "build", "m") == ["main.o"]


def test_from_a_folder_below_and_with_other_files(project: Story) -> None:
    project.path("out").mkdir()
    assert asked(project, "-C", "out", "build", "p") == ["part/"]
    project.write("Other", "special:\n    touch {out}\n")
    assert asked(project, "-f", "Other", "build", "") == ["special"]


def test_a_broken_flowfile_or_none_completes_nothing_and_says_nothing(story: Story) -> None:
    assert asked(story, "build", "a") == []
    story.write("Flowfile", "what is this\n")
    assert asked(story, "build", "a") == []


# ---- the shells ------------------------------------------------------------------------------------------------


@pytest.fixture
def path(project: Story) -> Iterator[str]:
    """A PATH with a `bflow` that completes, and else prints its words."""
    real = " ".join(COMMAND)
    text = f'#!/bin/sh\n[ -n "$_BFLOW_COMPLETE" ] && exec {real}\nfor word; do printf "<%s>" "$word"; done; echo\n'
    project.write("bin/bflow", text, mode=0o755)
    yield f"{project.path('bin')}:{project.environment()['PATH']}"


def typed(story: Story, path: str, keys: str) -> str:
    """The screen of a real bash in which keys are typed."""
    script = story.bflow("completion", "bash").out
    story.write("rc", f"PS1='$ '\nbind 'set bell-style none'\n{script}")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(story.root)
        environment = {**story.environment({"TERM": "dumb"}), "PATH": path, "INPUTRC": "/dev/null"}
        os.execvpe("bash", ["bash", "--noprofile", "--rcfile", "rc", "-i"], environment)
    os.write(terminal, f"{keys}\nexit\n".encode())
    screen = b""
    try:
        while data := os.read(terminal, 1 << 16):
            screen += data
    except OSError:
        pass  # the terminal's other end is closed
    os.close(terminal)
    os.waitpid(pid, 0)
    return screen.decode()


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("bflow bui\tout/su\t", "<build><out/sum.txt>"),
        ("bflow build ou\tpart/1\t", "<build><out/part/1.txt>"),
        ("bflow build with\t", "<build><with space.txt>"),
        ("bflow build --keep\tal\t", "<build><--keep-going><all>"),
        ("bflow build vox\t0.1", "<build><voxel=0.1>"),
    ],
)
def test_keys_in_a_real_bash(project: Story, path: str, keys: str, words: str) -> None:
    assert words in typed(project, path, keys)


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish")
def test_fish(project: Story, path: str) -> None:
    project.bflow("completion", "fish")
    script = project.bflow("completion", "fish").out
    ran = subprocess.run(
        ["fish", "--no-config", "-c", f"{script}\ncomplete -C 'bflow build out/s'"], cwd=project.root, text=True,
        capture_output=True, check=True, env={**project.environment(), "PATH": path},
    )  # fmt: skip
    assert ran.stdout.split() == ["out/sum.txt"]


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh")
def test_zsh_takes_the_script(project: Story, path: str) -> None:
    project.write("script", project.bflow("completion", "zsh").out)
    ran = subprocess.run(
        ["zsh", "-fc", "autoload -U compinit; compinit -D -u; source ./script; print ${_comps[bflow]}"],
        cwd=project.root, text=True, capture_output=True, check=True, env={**project.environment(), "PATH": path},
    )  # fmt: skip
    assert ran.stdout.strip() == "_bflow_completion" and not ran.stderr


def test_the_script_is_data_and_a_wrong_shell_is_told(project: Story) -> None:
    assert "complete " in project.bflow("completion", "bash", cwd=Path("/")).out
    assert "fish" in project.bflow("completion", "tcsh", ok=2).err
