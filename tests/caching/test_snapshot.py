"""Between a snapshot and the next build: every change that matters is seen by the plain command."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from story import Story


@pytest.fixture
def project(story: Story) -> Story:
    story.write(
        "Flowfile",
        """
        include "more.flow"
        s = glob(in/{s}.txt)
        (name, word) = table(table.tsv)
        all: all.txt words.txt
        all.txt: out/{s}.txt
            cat {in} > {out}
        out/{s}.txt: in/{s}.txt
            cp {in} {out}
        words.txt:
            echo {word} {mode} > {out}
        """,
    )
    story.write("more.flow", "mode ?= {MODE}\nMODE = plain\n")
    story.write("table.tsv", "name\tword\na\talpha\n")
    story.write("in/a.txt", "A\n")
    story.write("in/b.txt", "B\n")
    story.bflow("build")
    assert nothing(story)
    return story


def nothing(story: Story, **options: object) -> bool:
    """Whether a plain build says that there is nothing to do, and does nothing."""
    err = story.bflow("build", **options).err  # type: ignore[arg-type]
    assert ("nothing to do" in err) != ("done:" in err)
    return "nothing to do" in err


def test_it_is_read_and_nothing_else(project: Story) -> None:
    shutil.move(project.root / ".bflow/state", project.root / ".bflow/state.away")
    assert nothing(project)
    assert not (project.root / ".bflow/state").exists(), "the state was not even looked at"


def test_an_edit(project: Story) -> None:
    project.write("in/a.txt", "X\n")
    assert not nothing(project)
    assert project.read("all.txt") == "X\nB\n"


def test_the_same_size_and_time_but_another_inode(project: Story) -> None:
    old = (project.root / "in/a.txt").stat()
    project.write("in/new", "X\n")
    os.utime(project.root / "in/new", ns=(old.st_atime_ns, old.st_mtime_ns))
    os.rename(project.root / "in/new", project.root / "in/a.txt")
    assert not nothing(project)
    assert project.read("all.txt") == "X\nB\n"


def test_the_same_size_time_and_inode(project: Story) -> None:
    path = project.root / "in/a.txt"
    old = path.stat()
    with open(path, "r+") as file:
        file.write("X\n")
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    assert not nothing(project)
    assert project.read("all.txt") == "X\nB\n"


def test_a_clock_set_back(project: Story) -> None:
    project.write("in/a.txt", "X\n")
    os.utime(project.root / "in/a.txt", (1, 1))
    assert not nothing(project)
    assert project.read("all.txt") == "X\nB\n"


def test_an_edit_right_after_the_build_of_the_same_size(story: Story) -> None:
    story.write("Flowfile", "out.txt: in.txt\n    cp {in} {out}\n")
    for i in range(10):  # within the clock's granularity of being hashed, as likely as not
        story.write("in.txt", f"{i}")
        story.bflow("build")
        assert story.read("out.txt") == f"{i}"


def test_a_new_file_that_a_glob_matches(project: Story) -> None:
    project.write("in/c.txt", "C\n")
    assert not nothing(project)
    assert project.read("all.txt") == "A\nB\nC\n"


def test_a_removed_source(project: Story) -> None:
    project.remove("in/b.txt")
    assert not nothing(project)
    assert project.read("all.txt") == "A\n"


def test_a_name_that_was_looked_for_in_vain(story: Story) -> None:
    story.write("Flowfile", 'include? "local.flow"\nword ?= none\nout.txt:\n    echo {word} > {out}\n')
    story.bflow("build")
    assert nothing(story)
    story.write("local.flow", "word = some\n")
    assert not nothing(story)
    assert story.read("out.txt") == "some\n"


def test_a_removed_output(project: Story) -> None:
    project.remove("out/a.txt")
    assert not nothing(project)
    assert project.read("out/a.txt") == "A\n"


def test_an_edited_output(project: Story) -> None:
    project.write("out/a.txt", "mine\n")
    err = project.bflow("build").err
    assert "out/a.txt" in err and ".bflow/replaced" in err
    assert project.read("out/a.txt") == "A\n"
    kept = project.files(".bflow/replaced")
    assert any(f.endswith("out/a.txt") for f in kept)


def test_a_changed_include(project: Story) -> None:
    project.edit("more.flow", "plain", "fancy")
    assert not nothing(project)
    assert project.read("words.txt") == "alpha fancy\n"


def test_a_changed_table(project: Story) -> None:
    project.write("table.tsv", "name\tword\na\tbeta\n")
    assert not nothing(project)
    assert project.read("words.txt") == "beta plain\n"


def test_a_variable_of_the_environment(project: Story) -> None:
    assert not nothing(project, env={"mode": "env"})
    assert project.read("words.txt") == "alpha env\n"
    assert not nothing(project)
    assert project.read("words.txt") == "alpha plain\n"


def test_a_moved_folder(project: Story, tmp_path: Path) -> None:
    project.root.rename(tmp_path / "moved")
    assert "nothing to do" in project.bflow("build", cwd=tmp_path / "moved").err
    (tmp_path / "moved/in/a.txt").write_text("X\n")
    assert "done" in project.bflow("build", cwd=tmp_path / "moved").err


def test_a_command_of_the_flowfile(story: Story) -> None:
    story.write("Flowfile", "v = shell(cat version)\nout.txt:\n    echo {v} > {out}\n")
    story.write("version", "1\n")
    story.bflow("build")
    assert nothing(story)
    story.write("version", "2\n")
    assert not nothing(story)
    assert story.read("out.txt") == "2\n"


def test_settings_that_appear(project: Story) -> None:
    project.write("bflow.toml", "nonsense = 1\n")
    assert "nonsense" in project.bflow("build", ok=2).err


def test_a_file_added_while_the_build_ran(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        s = glob(in/{s}.txt)
        all.txt: in/{s}.txt
            echo new > ROOT/in/z.txt; cat {in} > {out}
        """.replace("ROOT", str(story.root)),
    )
    story.write("in/a.txt", "A\n")
    story.bflow("build")
    story.edit("Flowfile", f"echo new > {story.root}/in/z.txt; ", "")
    story.bflow("build")
    assert story.read("all.txt") == "A\nnew\n"


def test_a_source_changed_after_its_job_while_the_build_ran(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        all: b.txt
        a.txt: in.txt
            cp {in} {out}
        b.txt: a.txt
            echo later > ROOT/in.txt; cp {in} {out}
        """.replace("ROOT", str(story.root)),
    )
    story.write("in.txt", "first\n")
    story.bflow("build")
    story.bflow("build", "a.txt")
    assert story.read("a.txt") == "later\n"


def test_other_targets_have_other_snapshots(project: Story) -> None:
    assert "nothing to do" in project.bflow("build", "all.txt").err
    assert "nothing to do" in project.bflow("build", "all.txt").err
    assert "done" in project.bflow("build", "all.txt", "s=a").err
    assert "done" in project.bflow("build", "all.txt").err
    assert project.read("all.txt") == "A\nB\n"


def test_a_build_with_nothing_to_do_imports_next_to_nothing(project: Story) -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.argv = ['bflow', 'build']; from buildflow.start import main; status = main();"
        "print(status, *sorted(m for m in sys.modules if m.split('.')[0] in {'buildflow', 'click', 'networkx',"
        " 'sqlite3',"
        " 'subprocess', 'typing', 'asyncio', 'json', 'xxhash', 'pathlib', 'rich', 're', 'inspect', 'dataclasses'}))"
    )
    env = project.environment()
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    project.bflow("build")
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=project.root, env=env, capture_output=True, text=True)
    assert done.stdout.split() == ["0", "buildflow", "buildflow.plan", "buildflow.plan.snapshot", "buildflow.start"]
