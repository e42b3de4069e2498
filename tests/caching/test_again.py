"""An edit is planned from the stored plan: only what it affects is looked at, and nothing else differs from a build
that resolves everything."""

from __future__ import annotations

import os
import random
import re
import shutil
from pathlib import Path

import pytest

from quick import Quick
from story import Ran, Story


@pytest.fixture
def project(tmp_path: Path) -> Quick:
    story = Quick(tmp_path)
    story.write(
        "Flowfile",
        """
        s = glob(in/{s}.txt)
        all: all.txt
        all.txt: out/{s}.txt | note.txt
            cat {in} > {out}
        out/{s}.txt: mid/{s}.txt
            cp {in} {out}
        mid/{s}.txt: in/{s}.txt scripts/up.sh
            sh scripts/up.sh < {in[0]} > {out}
        """,
    )
    story.write("scripts/up.sh", "tr a-z A-Z\n")
    story.write("note.txt", "n\n")
    for name in "abc":
        story.write(f"in/{name}.txt", f"{name}\n")
    story.bflow("build")
    return story


def counts(ran: Ran) -> dict[str, int]:
    """What the last line of a plain build says."""
    last = ran.err.strip().split("\n")[-1]
    if last.startswith("nothing to do"):
        return {}
    return {what: int(n) for n, what in re.findall(r"(\d+) (ran|from the cache|up to date|failed|skipped)", last)}


def plan(story: Story) -> bytes:
    """The stored plan: one that is resolved is written anew, under another tag."""
    (found,) = (story.root / ".bflow/snapshots").glob("*.plan")
    return found.read_bytes()


def test_an_edit_is_planned_without_resolving(project: Quick) -> None:
    before = plan(project)
    project.write("in/a.txt", "changed\n")
    assert counts(project.bflow("build")) == {"ran": 3, "up to date": 4}
    assert project.read("all.txt") == "CHANGED\nB\nC\n"
    assert plan(project) == before
    assert counts(project.bflow("build")) == {}
    project.write("in/a.txt", "CHANGED\n")  # the same result: it stops at the first job
    assert counts(project.bflow("build")) == {"ran": 1, "up to date": 6}
    assert plan(project) == before
    assert counts(project.bflow("build")) == {}


def test_a_file_that_is_replaced_by_one_of_its_name(project: Quick) -> None:
    """As most editors save: the folder's time moves, and what it holds does not."""
    before = plan(project)
    project.write("in/new", "saved\n")
    os.replace(project.path("in/new"), project.path("in/b.txt"))
    assert counts(project.bflow("build"))["ran"] == 3
    assert project.read("all.txt") == "A\nSAVED\nC\n"
    assert plan(project) == before
    assert counts(project.bflow("build")) == {}


def test_a_touched_file_runs_nothing(project: Quick) -> None:
    before = plan(project)
    os.utime(project.path("in/a.txt"))
    assert counts(project.bflow("build")) == {}
    assert plan(project) == before
    assert counts(project.bflow("build")) == {}


def test_deleted_outputs_are_restored(project: Quick) -> None:
    before = plan(project)
    shutil.rmtree(project.path("out"))
    shutil.rmtree(project.path("mid"))
    assert counts(project.bflow("build")) == {"from the cache": 6, "up to date": 1}
    assert project.read("out/b.txt") == "B\n"
    assert plan(project) == before
    assert counts(project.bflow("build")) == {}


def test_an_output_that_the_user_edited_is_kept(project: Quick) -> None:
    project.write("mid/a.txt", "mine\n")
    assert counts(project.bflow("build")) == {"from the cache": 1, "up to date": 6}
    (kept,) = (project.root / ".bflow/replaced").glob("*/mid/a.txt")
    assert kept.read_text() == "mine\n" and project.read("mid/a.txt") == "A\n"
    assert counts(project.bflow("build")) == {}


def test_an_edit_of_a_script_runs_what_calls_it(project: Quick) -> None:
    project.write("scripts/up.sh", "tr a-z A-Z | tr A X\n")
    assert counts(project.bflow("build")) == {"ran": 5, "up to date": 2}
    assert project.read("all.txt") == "X\nB\nC\n"
    assert counts(project.bflow("build")) == {}


def test_an_order_only_input_is_in_no_key(project: Quick) -> None:
    project.write("note.txt", "another\n")
    assert "ran" not in counts(project.bflow("build"))
    assert counts(project.bflow("build")) == {}


def test_what_is_more_than_an_edit_is_resolved(project: Quick) -> None:
    before = plan(project)
    project.write("in/d.txt", "d\n")
    assert counts(project.bflow("build"))["ran"] == 3
    assert plan(project) != before and project.read("all.txt") == "A\nB\nC\nD\n"
    project.path("in/d.txt").unlink()
    assert counts(project.bflow("build"))["from the cache"] == 1
    assert project.read("all.txt") == "A\nB\nC\n"
    project.edit("Flowfile", "cp {in} {out}", "cat {in} > {out}")
    assert counts(project.bflow("build"))["ran"] == 3


def test_a_source_that_is_gone_is_told_as_ever(project: Quick) -> None:
    project.path("scripts/up.sh").unlink()
    ran = project.bflow("build", ok=2)
    assert "scripts/up.sh" in ran.err
    project.write("scripts/up.sh", "tr a-z A-Z\n")
    project.bflow("build")
    assert counts(project.bflow("build")) == {}


def test_a_source_that_becomes_a_folder_is_resolved(project: Quick) -> None:
    project.path("in/a.txt").unlink()
    project.path("in/a.txt").mkdir()
    project.bflow("build")
    assert project.read("all.txt") == "B\nC\n"


def test_a_failure_leaves_what_is_to_be_done(project: Quick) -> None:
    project.write("in/a.txt", "new\n")
    project.write("scripts/up.sh", "exit 3\n")
    assert counts(project.bflow("build", ok=1))["failed"] > 0
    assert counts(project.bflow("build", ok=1))["failed"] > 0
    project.write("scripts/up.sh", "tr a-z A-Z\n")
    assert counts(project.bflow("build"))["ran"] == 3
    assert project.read("all.txt") == "NEW\nB\nC\n"
    assert counts(project.bflow("build")) == {}


def test_an_edit_within_a_tick_of_the_build_is_seen(project: Quick) -> None:
    for text in ("x", "y", "z", "x", "y"):
        project.write("in/a.txt", f"{text}\n")
        project.bflow("build")
        assert project.read("all.txt") == f"{text.upper()}\nB\nC\n"


def test_the_same_size_and_time_right_after(project: Quick) -> None:
    project.write("in/a.txt", "x\n")
    old = project.path("in/a.txt").stat()
    project.bflow("build")
    project.write("in/a.txt", "y\n")
    os.utime(project.path("in/a.txt"), ns=(old.st_atime_ns, old.st_mtime_ns))
    project.bflow("build")
    assert project.read("all.txt") == "Y\nB\nC\n"


def test_headers_of_a_depfile(tmp_path: Path) -> None:
    story = Quick(tmp_path)
    story.write(
        "Flowfile",
        """
        h = glob(inc/{h}.h)
        all: a.o b.o
        [depfile = {n}.d]
        {n}.o: {n}.c | inc/{h}.h
            cat {in} $(sed -n 's/^#//p' {in}) > {out}
            echo "{out}: {in} $(sed -n 's/^#//p' {in})" > {depfile}
        """,
    )
    story.write("inc/x.h", "x\n")
    story.write("inc/y.h", "y\n")
    story.write("a.c", "#inc/x.h\n")
    story.write("b.c", "#inc/y.h\n")
    story.bflow("build")
    before = plan(story)
    story.write("inc/x.h", "X\n")
    assert counts(story.bflow("build")) == {"ran": 1, "up to date": 1}
    story.write("b.c", "#inc/x.h\n")
    assert counts(story.bflow("build")) == {"ran": 1, "up to date": 1}
    assert counts(story.bflow("build")) == {}
    story.write("inc/x.h", "again\n")
    assert counts(story.bflow("build")) == {"ran": 2}
    assert plan(story) == before
    assert story.read("b.o") == "#inc/x.h\nagain\n"


def test_a_result_says_from_which_entry_its_inputs_came(project: Quick) -> None:
    import json

    project.write("in/a.txt", "new\n")
    project.bflow("build")
    entry = Path(project.bflow("cache", "path", "all.txt").out.strip())
    result = json.loads((entry / "result.json").read_text())
    for row in result["inputs"]:
        if row["name"].startswith("out/"):
            assert row["from"].startswith("shell-"), row


def test_a_stale_output_that_is_edited_is_a_source_again(tmp_path: Path) -> None:
    story = Quick(tmp_path)
    flowfile = """
        n = glob(in/{n}.txt)
        all: all.txt
        all.txt: in/{n}.txt
            cat {in} > {out}
        """
    story.write("in/a.txt", "a\n")
    story.write("Flowfile", flowfile.rstrip() + "\n        in/z.txt:\n            echo z > {out}\n")
    story.bflow("build", "in/z.txt")
    story.write("Flowfile", flowfile)
    story.bflow("build")
    assert story.read("all.txt") == "a\n"
    assert counts(story.bflow("build")) == {}
    story.write("in/new", "mine\n")
    os.replace(story.path("in/new"), story.path("in/z.txt"))
    story.bflow("build")
    assert story.read("all.txt") == "a\nmine\n"


# ---- random edits against a build from nothing


def files(story: Story) -> dict[str, str]:
    return {
        str(path.relative_to(story.root)): path.read_text()
        for path in sorted(story.root.rglob("*"))
        if path.is_file() and ".bflow" not in path.parts
    }


@pytest.mark.parametrize("seed", range(3))
def test_random_edits_end_as_a_build_from_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    story = Quick(tmp_path)
    names = [f"s{i}" for i in range(6)]
    lines = ["n = glob(in/{n}.txt)", "all: sum.txt twice.txt"]
    lines += ["sum.txt: c/{n}.txt", "    cat {in} > {out}", "twice.txt: sum.txt extra.txt", "    cat {in} {in} > {out}"]
    lines += ["c/{n}.txt: b/{n}.txt extra.txt", "    cat {in} > {out}"]
    lines += ["b/{n}.txt: a/{n}.txt", "    head -n 1 {in} > {out}", "a/{n}.txt: in/{n}.txt", "    cp {in} {out}"]
    story.write("Flowfile", "\n".join(lines) + "\n")
    story.write("extra.txt", "e\n")
    for name in names:
        story.write(f"in/{name}.txt", f"{name}\nrest\n")
    story.bflow("build")
    for _ in range(15):
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            name = chance.choice(names)
            path = story.path(f"in/{name}.txt")
            action = chance.randrange(9)
            if action == 0:
                story.write(f"in/{name}.txt", f"{chance.random()}\nrest\n")
            elif action == 1:
                story.write(f"in/{name}.txt", f"{name}\n{chance.random()}\n")  # ends at the first line's job
            elif action == 2:
                story.write("in/.new", f"{chance.random()}\n")
                os.replace(story.path("in/.new"), path)
            elif action == 3:
                os.utime(path)
            elif action == 4:
                for folder in chance.sample(("a", "b", "c"), 2):
                    story.path(f"{folder}/{name}.txt").unlink(missing_ok=True)
            elif action == 5:
                story.write(f"{chance.choice('abc')}/{name}.txt", "meddled\n")
            elif action == 6:
                story.write("extra.txt", f"{chance.random()}\n")
            elif action == 7:
                old = path.stat()
                text = path.read_text()
                path.write_text(text.replace(text[0], chance.choice("xyz"), 1))
                os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
            else:
                shutil.rmtree(story.path("c"), ignore_errors=True)
        story.bflow("build")
        found = files(story)
        (tmp_path / "other").mkdir()
        other = Quick(tmp_path / "other")
        for name, text in found.items():
            if name.startswith("in/") or name in ("Flowfile", "extra.txt"):
                other.write(name, text)
        other.bflow("build")
        assert found == files(other)
        shutil.rmtree(tmp_path / "other")
        assert counts(story.bflow("build")) == {}


def test_what_a_build_of_other_targets_knows_is_not_what_this_one_did(project: Quick) -> None:
    """Between two builds of all, one of a part takes the new content in: what comes after that part is still to do."""
    project.write("in/a.txt", "new\n")
    project.bflow("build", "mid/a.txt")
    assert counts(project.bflow("build"))["ran"] == 2
    assert project.read("all.txt") == "NEW\nB\nC\n"


def test_a_driver_that_was_killed_after_it_had_hashed_an_edit(project: Quick) -> None:
    project.write("in/a.txt", "new\n")
    project.bflow("build", "-n")  # hashes it, and runs nothing
    project.bflow("why", "all.txt", ok=None)
    assert counts(project.bflow("build"))["ran"] == 3
    assert project.read("all.txt") == "NEW\nB\nC\n"
