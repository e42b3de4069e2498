"""The example of docs/workers.md: a worker of somebody else, found by its entry point."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from story import CHECKOUT, Story


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The example as a package on the path, as pip would leave it."""
    page = (CHECKOUT / "docs" / "workers.md").read_text(encoding="utf-8")
    module = re.search(r"<!-- example: nice_worker.py -->\n```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    entry = re.search(r"^buildflow.workers =\n +(nice = \S+)$", page, re.MULTILINE)
    assert module and entry
    site = tmp_path / "site"
    info = site / "nice_worker-1.dist-info"
    info.mkdir(parents=True)
    (site / "nice_worker.py").write_text(module[1])
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: nice-worker\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[buildflow.workers]\n{entry[1]}\n")
    return {"PYTHONPATH": f"{CHECKOUT}{os.pathsep}{site}"}


def test_it_runs_jobs(story: Story, installed: dict[str, str]) -> None:
    story.write("Flowfile", """
        all: a.txt b.txt c.txt

        a.txt:
            nice > {out}

        [python]
        b.txt: a.txt
            open(out, "w").write(open(inputs[0]).read())

        [worker = cf]
        c.txt: a.txt
            nice > {out}
    """)
    assert story.build("all", "--worker", "nice", "-o", "by=7", env=installed).ran == 3
    assert story.read("a.txt") == story.read("b.txt") == "7\n"
    assert story.build("all", "--worker", "cf", env=installed).ran == 0


def test_a_failure_is_told(story: Story, installed: dict[str, str]) -> None:
    story.write("Flowfile", """
        a.txt:
            echo oh no
            exit 4
    """)
    ran = story.build("--worker", "nice", env=installed, ok=1)
    assert "its recipe ended with status 4" in ran.err and "oh no" in ran.err


def test_an_option_that_it_has_not(story: Story, installed: dict[str, str]) -> None:
    story.write("Flowfile", "a.txt:\n    touch {out}\n")
    ran = story.build("--worker", "nice", "-o", "bye=1", env=installed, ok=2)
    assert "the worker nice has no option “bye”" in ran.err and "did you mean by" in ran.err
