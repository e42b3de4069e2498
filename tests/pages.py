"""Pages of the documentation as stories: their files are written, their commands run, their outputs compared.

In a page, comments that no reader sees say what the blocks are:

    <!-- new project -->           the next blocks begin in an empty folder (`; needs: cc make`: else it is skipped)
    <!-- file: PATH -->            the block below is that file (a second time: its new text)
    <!-- run: COMMAND -->          run as well, and not shown; it must succeed
    <!-- status: N -->             the last command of the console block below ends with status N, not 0
    <!-- not run: REASON -->       the block below is left alone

A `console` block has commands after `$ ` (and `> ` where one goes on) and what they print, both streams. Of what is
printed, durations and keys count as equal to others, jobs may end in any order; `…` is any text, as a line any lines.

`python tests/pages.py PAGE…` writes what the commands print today into the pages: read the difference, then keep it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from story import CHECKOUT, COMMAND, Story

_PIECE = re.compile(r"^<!-- (?P<comment>.*?) -->$|^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_VOLATILE = (
    (re.compile(r" that took .* to make\b"), ""),  # (told where the cache has saved seconds)
    (re.compile(r"\b\d+(\.\d+)? (ms|s)\b"), "N s"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "KEY"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d[:.]\d\d[:.]\d\d\b"), "TIME"),
    (re.compile(r"(?<=\.bflow/replaced/)[^/ ]+"), "TIME"),
)
_COUNTED = re.compile(r"^\[ *\d+/(\d+)\] ")


@dataclass
class Step:
    """A file to write, or a command to run: where its block stands in the page, and how it must end."""

    path: str | None = None
    command: str | None = None
    text: str = ""  # of a file; or what the command prints
    status: int = 0
    place: tuple[int, int] | None = None  # of the output in the page


@dataclass
class Project:
    """What a page does in one folder; `line`: where it begins."""

    page: str
    line: int
    needs: tuple[str, ...] = ()
    steps: list[Step] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def projects(page: str) -> list[Project]:
    """The projects of a page (its path from the checkout), those without steps left out."""
    text = (CHECKOUT / page).read_text(encoding="utf-8")
    found = [Project(page, 1)]
    said: dict[str, str] = {}
    for piece in _PIECE.finditer(text):
        comment, language, body = piece["comment"], piece["language"], piece["body"]
        if comment is not None:
            kind, _, value = comment.partition(": ")
            if comment.startswith("new project"):
                needs = tuple(comment.partition("needs: ")[2].split())
                found.append(Project(page, text.count("\n", 0, piece.start()) + 1, needs))
            elif kind == "run":
                found[-1].steps.append(Step(command=value))
            else:
                said[kind] = value
            continue
        if "file" in said:
            found[-1].steps.append(Step(path=said["file"], text=body))
        elif language == "console" and "not run" not in said:
            found[-1].steps += _commands(body, piece.start("body"), int(said.get("status", "0")))
        said = {}
    return [project for project in found if project.steps]


def _commands(body: str, start: int, status: int) -> list[Step]:
    steps: list[Step] = []
    for line in body.splitlines(keepends=True):
        start += len(line)
        if line.startswith("$ "):
            steps.append(Step(command=line[2:], place=(start, start)))
            continue
        last = steps[-1]
        assert last.place is not None and last.command is not None
        if line.startswith("> ") and not last.text:
            last.command += line[2:]
            last.place = (start, start)
        else:
            last.text += line
            last.place = (last.place[0], start)
    if steps:
        steps[-1].status = status
    return steps


def missing(project: Project) -> list[str]:
    """The programs that a project needs and this machine has not."""
    return [name for name in project.needs if shutil.which(name) is None]


def play(project: Project, story: Story) -> list[tuple[Step, str]]:
    """Do what a project does; each shown command with what it printed. AssertionError where one ends otherwise."""
    shims = story.home / "bin"
    shims.mkdir(exist_ok=True)
    shim = shims / "bflow"
    shim.write_text('#!/bin/sh\nexec {} {} "$@"\n'.format(*COMMAND))
    shim.chmod(0o755)
    environment = story.environment()
    environment |= {"PATH": f"{shims}:{environment['PATH']}", "CHECKOUT": str(CHECKOUT), "LC_ALL": "C.UTF-8"}
    printed = []
    for step in project.steps:
        if step.path is not None:
            story.write(step.path, step.text.encode())
            continue
        assert step.command is not None
        done = subprocess.run(
            ["bash", "-c", step.command], cwd=story.root, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False,
        )  # fmt: skip
        said = done.stdout.decode("utf-8", "replace").replace(str(story.root), "/home/me/project")
        assert done.returncode == step.status, f"{project}: $ {step.command}status {done.returncode}:\n{said}"
        if step.place is not None:
            printed.append((step, said))
    return printed


def differs(shown: str, said: str) -> bool:
    """Whether a command printed something else than the page shows."""

    def of(line: str) -> str:
        return r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n"

    pattern = "".join(map(of, _comparable(shown)))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _comparable(said))) is None


def _comparable(text: str) -> list[str]:
    """The lines of an output without what is another each time; a run of jobs that ended is sorted."""
    for pattern, replacement in _VOLATILE:
        text = pattern.sub(replacement, text)
    lines: list[str] = []
    jobs: list[str] = []
    for line in [*text.splitlines(), ""]:
        if _COUNTED.match(line):
            jobs.append(_COUNTED.sub(r"[n/\1] ", line).removesuffix("  N s"))  # (told of those that take long)
            continue
        lines += [*sorted(jobs), line.rstrip()]
        jobs = []
    return lines[:-1]


def rewrite(page: str) -> None:
    """Write into a page what its commands print, where that differs."""
    file = CHECKOUT / page
    text = file.read_text(encoding="utf-8")
    found: list[tuple[Step, str]] = []
    for project in projects(page):
        if missing(project):
            continue
        with tempfile.TemporaryDirectory() as folder:
            story = Story(Path(folder))
            try:
                found += play(project, story)
            finally:
                story.close()
    for step, said in reversed(found):
        if differs(step.text, said):
            assert step.place is not None
            text = text[: step.place[0]] + said + text[step.place[1] :]
    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        rewrite(os.path.relpath(name, CHECKOUT))
