"""What counts as a change: what stands there now, against what stood there when a build began."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildflow.disk import Disk
from buildflow.lookout import Touch
from buildflow.plan.plan import Plan
from buildflow.reads import Reads
from buildflow.seen import MAYBE, NOTHING, SURE, Seen
from buildflow.state import State

MADE = Touch(made=True, folder=False)
THERE = Touch(made=False, folder=False)
NEW_FOLDER = Touch(made=True, folder=True)
OLD_FOLDER = Touch(made=False, folder=True)
OLD = 1_600_000_000  # no clock's granularity is that coarse


class Project:
    """`out/a` from `in/a`, a glob over `in/`, a Flowfile; and one build of it after the other."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.disk = Disk(str(root), State(str(root / "state")))
        self.seen: Seen | None = None
        self.write("Flowfile", "text")
        self.write("in/a", "one")

    def write(self, name: str, text: str, time: int = OLD) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (time, time))

    def build(self, *touched: str, whole: bool = True) -> Seen:
        seen = Seen(str(self.root), touched, self.seen)
        reads = Reads(str(self.root))
        for name in ("Flowfile", f"{self.root}/bflow.toml"):
            reads.file(name) if (self.root / name).exists() else reads.missing(name)
        reads.folder("in")
        seen.opened(self.disk)
        plan = Plan()
        job = plan.add_job(0, ())
        plan.inputs[job] = (plan.file("in/a"),)
        plan.outputs[job] = (plan.file("out/a"), plan.file("tree/"))
        for f in plan.outputs[job]:
            plan.maker[f] = job
        seen.planned(plan, reads)
        self.disk.digest("in/a")
        self.write("out/a", "made")
        self.disk.written("out/a", self.disk.digest("out/a"), b"key", False)
        self.write("tree/x", "made")
        self.disk.written_tree("tree/", self.disk.tree("tree/")[0], b"key")
        seen.finished(whole)
        self.seen = seen
        return seen


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def verdict(seen: Seen, name: str, touch: Touch = THERE) -> int:
    """Of a path that was touched; NOTHING too for one that is not worth a look."""
    return seen.changed({name: touch})[1] if seen.matters(name, touch.folder) else NOTHING


def test_a_source(project: Project) -> None:
    project.build()
    seen = project.build()  # the digests of the first are what the second begins with
    assert verdict(seen, "in/a") == NOTHING
    project.write("in/a", "two", time=OLD + 1)
    assert verdict(seen, "in/a") == SURE
    (project.root / "in/a").unlink()
    assert verdict(seen, "in/a") == SURE


def test_events_that_come_late_are_of_the_build_that_they_started(project: Project) -> None:
    project.build()
    project.write("in/a", "two", time=OLD + 1)
    seen = project.build("in/a")
    assert verdict(seen, "in/a", MADE) in (NOTHING, SURE)  # within the clock's granularity the content decides
    assert verdict(project.build("in/a"), "in/a", MADE) == NOTHING


def test_what_is_overtaken_by_the_build_is_a_change(project: Project) -> None:
    """Some of the build's jobs may have read the old file and others the new one, whose digest is known now."""
    project.build()
    seen = project.build()
    project.write("in/a", "two", time=OLD + 1)
    project.disk.digest("in/a")
    assert verdict(seen, "in/a") == SURE


def test_a_source_written_anew_by_a_phony_with_the_same_content(project: Project) -> None:
    project.build()
    seen = project.build()
    project.write("in/a", "one", time=OLD + 1)
    seen.finished(True)
    assert verdict(seen, "in/a") == NOTHING


def test_outputs(project: Project) -> None:
    seen = project.build()
    assert verdict(seen, "out/a", MADE) == verdict(seen, "tree/x", MADE) == verdict(seen, "tree", NEW_FOLDER) == NOTHING
    assert verdict(seen, "out", NEW_FOLDER) == NOTHING
    project.write("out/a", "mine", time=OLD + 1)
    project.write("tree/y", "mine")
    assert verdict(seen, "out/a") == verdict(seen, "tree/y", MADE) == SURE
    (project.root / "out/a").unlink()
    assert verdict(seen, "out/a") == SURE


def test_an_output_that_is_not_placed(project: Project) -> None:
    seen = project.build()
    (project.root / "out/a").unlink()
    project.disk.forget("out/a")
    assert verdict(seen, "out/a") == NOTHING


def test_names_in_a_listed_folder(project: Project) -> None:
    seen = project.build()
    project.write("in/b", "new")
    assert verdict(seen, "in/b", MADE) == MAYBE
    assert verdict(seen, "in/b", THERE) == NOTHING  # it stood there, and only its name could matter
    assert verdict(seen, "in/c", THERE) == MAYBE  # it is gone
    assert verdict(seen, "in/c", MADE) == NOTHING  # it came and went
    assert verdict(project.build("in/b"), "in/b", MADE) == NOTHING
    project.seen = project.build()
    assert verdict(project.build(), "in/b", MADE) == NOTHING  # as an editor that saves by rename makes it
    (project.root / "in/d").mkdir()
    assert verdict(seen, "in/d", NEW_FOLDER) == MAYBE


def test_names_elsewhere(project: Project) -> None:
    seen = project.build()
    project.write("other/x", "new")
    assert verdict(seen, "other/x", MADE) == verdict(seen, "other", NEW_FOLDER) == NOTHING
    assert verdict(project.build(whole=False), "other/x", MADE) == MAYBE  # nobody knows what a broken plan reads


def test_what_was_looked_for_and_is_there_now(project: Project) -> None:
    seen = project.build()
    assert verdict(seen, "bflow.toml") == NOTHING
    project.write("bflow.toml", "")
    assert verdict(seen, "bflow.toml", MADE) == SURE


def test_the_flowfile(project: Project) -> None:
    seen = project.build()
    project.write("Flowfile", "text", time=OLD)
    assert seen.matters("Flowfile", False)
    project.write("Flowfile", "more text", time=OLD + 1)
    assert verdict(seen, "Flowfile") == SURE
    broken = Seen(str(project.root), ["Flowfile"], seen)
    broken.finished(False)
    project.write("Flowfile", "still more text", time=OLD + 2)
    assert verdict(broken, "Flowfile") == SURE


def test_a_folder_that_is_gone(project: Project) -> None:
    seen = project.build()
    os.rename(project.root / "in", project.root / "away")
    assert verdict(seen, "in", OLD_FOLDER) == SURE
    assert seen.changed({"in": OLD_FOLDER})[0] == ["in", "in/a"]


def test_ignore_files(project: Project) -> None:
    project.write(".gitignore", "*.log\na\n")
    project.write(".bflowignore", "*.swp\n")
    seen = project.build()
    for name in ("in/x.log", "in/.a.swp", "in/.bflow-tmp.1", "in/__pycache__"):
        assert not seen.matters(name, False), name
    assert seen.matters("in/a", False)  # a rule reads it by its name
    assert not project.build(whole=False).matters("any.log", False)
    project.write(".gitignore", "")
    assert not seen.matters("in/x.log", False)
    seen.reread()
    assert seen.matters("in/x.log", False)


def test_a_broken_ignore_file_is_for_the_build_to_tell(project: Project) -> None:
    project.write(".bflowignore", "!\n")
    assert project.build().matters("in/b", False)
