"""`bflow watch` as its user has it: a real process, and edits that it answers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from story import Running, Story, processes_of_session

COPY = """
n = glob(in/{n}.txt)
all: out/{n}.txt
out/{n}.txt: in/{n}.txt
    cp {in} {out}
"""


def watch(story: Story, *words: str, **options: Any) -> Running:
    """Start it, and wait for the first build."""
    running = story.start("watch", "--json", *words, **options)
    running.next_event("build")
    return running


def ran(running: Running, number: int = 1) -> None:
    """The next build runs so many jobs, and is well."""
    event = running.next_event("build")
    assert (event["ok"], event["ran"]) == (True, number), event


def waits(story: Story) -> tuple[Path, Path, str]:
    """Two files by which a recipe and a test wait for each other, and the recipe's lines."""
    started, go = story.home / "started", story.home / "go"
    return started, go, f"touch {started}; until [ -e {go} ]; do sleep 0.01; done"


@pytest.fixture
def copies(story: Story) -> Story:
    story.write("Flowfile", COPY)
    story.write("in/a.txt", "one")
    story.write("in/b.txt", "uno")
    return story


# ---- what wakes it


def test_an_edit_is_built_and_nothing_else(copies: Story) -> None:
    running = copies.start("watch", "--json")
    first = running.next_event("build")
    assert (first["ok"], first["ran"], first["failed"]) == (True, 2, 0)
    copies.edit("in/a.txt", "one", "two")
    event = running.next_event("build")
    assert (event["ok"], event["ran"], event["up_to_date"]) == (True, 1, 1)
    assert copies.read("out/a.txt") == "two"


def test_a_new_file_that_a_glob_matches_joins(copies: Story) -> None:
    running = watch(copies)
    copies.write("in/c.txt", "three")
    ran(running)
    assert copies.read("out/c.txt") == "three"


def test_a_new_folder_that_a_glob_looks_into(story: Story) -> None:
    story.write("Flowfile", "f = glob(in/*/x.txt)\nall.txt: {f}\n    cat {in} > {out}\n")
    story.write("in/a/x.txt", "one ")
    running = watch(story)
    story.write("in/b/x.txt", "two")
    ran(running)
    assert story.read("all.txt") == "one two"


def test_a_file_that_is_removed(copies: Story) -> None:
    copies.write("Flowfile", "f = glob(in/*.txt)\nall.txt: {f}\n    cat {in} > {out}\n")
    running = watch(copies)
    copies.remove("in/b.txt")
    ran(running)
    assert copies.read("all.txt") == "one"


def test_the_flowfile_is_edited(copies: Story) -> None:
    running = watch(copies)
    copies.edit("Flowfile", "cp {in} {out}", "cat {in} {in} > {out}")
    ran(running, 2)
    assert copies.read("out/a.txt") == "oneone"


def test_a_broken_flowfile_is_shown_and_a_mended_one_built(copies: Story) -> None:
    running = watch(copies)
    copies.edit("Flowfile", "out/{n}.txt: in", "out/{n}.txt in")
    assert not running.next_event("build")["ok"]
    running.until_says("Flowfile:3:")
    copies.edit("in/a.txt", "one", "two")  # no change that mends it
    copies.edit("Flowfile", "out/{n}.txt in", "out/{n}.txt: in")
    ran(running)
    assert copies.read("out/a.txt") == "two"


def test_a_flowfile_broken_and_put_back_is_told_of(copies: Story) -> None:
    running = watch(copies)
    good = copies.read("Flowfile")
    copies.write("Flowfile", "what is this")
    assert not running.next_event("build")["ok"]
    copies.write("Flowfile", good)
    event = running.next_event("build")
    assert (event["ok"], event["ran"], event["up_to_date"]) == (True, 0, 2)


def test_broken_at_the_start(story: Story) -> None:
    story.write("Flowfile", "out.txt: {nothing}.txt\n    cp {in} {out}\n")
    story.write("in.txt", "text")
    running = story.start("watch", "--json")
    assert not running.next_event("build")["ok"]
    story.edit("Flowfile", "{nothing}", "in")
    ran(running)


def test_a_flowfile_that_is_removed_and_comes_back(copies: Story) -> None:
    running = watch(copies)
    text = copies.read("Flowfile")
    copies.remove("Flowfile")
    assert not running.next_event("build")["ok"]
    copies.write("Flowfile", text.replace("cp {in}", "cat {in} {in} >"))
    ran(running, 2)


def test_an_input_that_is_missing_is_made(story: Story) -> None:
    story.write("Flowfile", "out.txt: in/x.txt\n    cp {in} {out}\n")
    running = story.start("watch", "--json")
    assert not running.next_event("build")["ok"]
    story.write("in/x.txt", "late")
    ran(running)
    assert story.read("out.txt") == "late"


def test_a_failing_recipe_is_mended(story: Story) -> None:
    story.write("Flowfile", "out.txt: in.txt\n    sh scripts/make.sh {in} {out}\n")
    story.write("scripts/make.sh", "echo no good >&2; exit 3\n")
    story.write("in.txt", "text")
    running = story.start("watch", "--json")
    event = running.next_event("build")
    assert (event["ok"], event["failed"]) == (False, 1)
    running.until_says("no good")
    story.write("scripts/make.sh", "cp $1 $2\n")
    ran(running)
    story.edit("Flowfile", "{in} {out}", "{in}")
    event = running.next_event("build")
    assert (event["ok"], event["failed"]) == (False, 1)
    story.edit("Flowfile", "{in}", "{in} {out}")
    running.next_event("build")
    assert story.read("out.txt") == "text"


def test_what_the_flowfile_reads(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        include "rules/more.flow"
        include? "local.flow"
        (s, colour) = table(samples.tsv)
        size ?= 1
        all: {s}.txt
        {s}.txt: base
            echo {colour} {size} > {out}
        """,
    )
    story.write("rules/more.flow", "base:\n    touch {out}\n")
    story.write("samples.tsv", "s\tcolour\na\tred\n")
    running = watch(story)
    story.write("samples.tsv", "s\tcolour\na\tblue\nb\tred\n")
    ran(running, 2)
    assert story.read("a.txt") == "blue 1\n"
    story.write("local.flow", "size = 7\n")
    ran(running, 2)
    assert story.read("b.txt") == "red 7\n"
    story.remove("local.flow")
    running.next_event("build")
    assert story.read("b.txt") == "red 1\n"
    story.edit("rules/more.flow", "touch", "echo base >")
    ran(running, 3)


def test_inputs_outside_the_project(story: Story, tmp_path: Path) -> None:
    outside = tmp_path / "shared"
    story.write(outside / "x.txt", "one ")
    story.write(tmp_path / "deep" / "y.txt", "eins ")
    story.write(
        "Flowfile",
        f"""
        f = glob({outside}/*.txt)
        all.txt: {{f}} ../deep/y.txt
            cat {{in}} > {{out}}
        """,
    )
    running = watch(story)
    assert story.read("all.txt") == "one eins "
    story.write(outside / "x.txt", "two ")
    ran(running)
    story.write(outside / "z.txt", "three ")
    ran(running)
    story.write(tmp_path / "deep" / "y.txt", "zwei ")
    ran(running)
    assert story.read("all.txt") == "two three zwei "


def test_inputs_through_links(story: Story, tmp_path: Path) -> None:
    story.write(tmp_path / "far" / "x.txt", "one ")
    story.write(tmp_path / "single" / "y.txt", "eins ")
    os.symlink(tmp_path / "far", story.path("in"))
    os.symlink(tmp_path / "single" / "y.txt", story.path("y.txt"))
    story.write("Flowfile", "f = glob(in/*.txt)\nall.txt: {f} y.txt\n    cat {in} > {out}\n")
    running = watch(story)
    story.write(tmp_path / "far" / "x.txt", "two ")
    ran(running)
    story.write(tmp_path / "far" / "z.txt", "three ")
    ran(running)
    story.write(tmp_path / "single" / "y.txt", "zwei ")
    ran(running)
    assert story.read("all.txt") == "two three zwei "


def test_a_folder_as_an_input(story: Story) -> None:
    story.write("Flowfile", "list.txt: src/\n    find {in} -type f | sort > {out}\n")
    story.write("src/a/x.c", "x")
    running = watch(story)
    story.write("src/b/y.c", "y")
    while story.read("list.txt") != "src/a/x.c\nsrc/b/y.c\n":  # the folder may come a moment before the file
        assert running.next_event("build")["ok"]
    story.remove("src/a")
    while story.read("list.txt") != "src/b/y.c\n":
        assert running.next_event("build")["ok"]


def test_a_folder_that_is_moved_away_and_back(copies: Story, tmp_path: Path) -> None:
    copies.write("Flowfile", "out.txt: in/a.txt\n    cp {in} {out}\n")
    running = watch(copies)
    os.rename(copies.path("in"), tmp_path / "away")
    assert not running.next_event("build")["ok"]
    copies.write(tmp_path / "away" / "a.txt", "else")
    os.rename(tmp_path / "away", copies.path("in"))
    ran(running)
    copies.write("in/a.txt", "again")
    ran(running)
    assert copies.read("out.txt") == "again"


def test_a_flowfile_in_python_and_its_modules(story: Story) -> None:
    story.write(
        "Flowfile.py",
        """
        from buildflow import Flow
        from parts import words
        flow = Flow()
        flow.rule("out.txt", shell=f"echo {words.TEXT} > {{out}}")
        """,
    )
    story.write("parts/__init__.py")
    story.write("parts/words.py", "TEXT = 'one'\n")
    running = watch(story)
    story.write("parts/words.py", "TEXT = 'two'\n")
    ran(running)
    assert story.read("out.txt") == "two\n"
    story.edit("Flowfile.py", "echo", "echo now")
    ran(running)
    assert story.read("out.txt") == "now two\n"
    story.write("parts/words.py", "TEXT = \n")
    assert not running.next_event("build")["ok"]
    story.write("parts/words.py", "TEXT = 'three'\n")
    ran(running)


def test_a_flow_with_a_root_of_its_own(story: Story) -> None:
    story.write("Flowfile.py", "from buildflow import Flow\nflow = Flow(root='sub')\nexec(open('rules.py').read())\n")
    story.write("rules.py", "flow.rule('out.txt', inputs='in.txt', shell='cp {in} {out}')\n")
    story.write("sub/in.txt", "one")
    running = watch(story)
    story.write("sub/in.txt", "two")
    ran(running)
    story.edit("Flowfile.py", "exec", "print('a word'); exec")
    assert running.next_event("build")["up_to_date"] == 1
    assert story.read("sub/out.txt") == "two"


def test_settings_are_read_again(copies: Story) -> None:
    running = watch(copies)
    copies.write("bflow.toml", "nonsense = 1\n")
    assert not running.next_event("build")["ok"]
    running.until_says("nonsense")
    copies.write("bflow.toml", "jobs = 1\n")
    assert running.next_event("build")["ok"]


# ---- how editors save


def test_editors_that_write_by_rename(copies: Story) -> None:
    running = watch(copies)
    for text in ("two", "three"):
        copies.write("in/.a.txt.new", text)
        os.replace(copies.path("in/.a.txt.new"), copies.path("in/a.txt"))
        ran(running)
        assert copies.read("out/a.txt") == text
    os.rename(copies.path("in/a.txt"), copies.path("in/a.txt~"))  # as vim does it
    copies.write("in/a.txt", "four")
    copies.remove("in/a.txt~")
    ran(running)
    assert copies.read("out/a.txt") == "four"


def test_a_file_that_is_still_being_written_is_waited_for(copies: Story) -> None:
    running = watch(copies)
    with open(copies.path("in/a.txt"), "w") as file:
        for part in ("half ", "and half"):
            file.write(part)
            file.flush()
            os.fsync(file.fileno())
    ran(running)
    assert copies.read("out/a.txt") == "half and half"


# ---- its own outputs


def test_its_own_outputs_do_not_wake_it(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        n = glob({n}.txt)
        all: {n}.up out/sum log/{n}/x folder/
        [log = logs/{n}.log]
        {n}.up: {n}.txt
            cat {in} > {out}; echo said
        out/sum: {n}.up
            cat {in} > {out}
        log/{n}/x: {n}.up
            cp {in} {out}
        folder/: out/sum
            cp {in} {out}a; mkdir {out}b; echo > {out}b/c
        """,
    )
    story.write("a.txt", "one")
    running = watch(story)
    for text in ("two", "three", "four"):  # had one woken it, its build would come before the next edit's
        story.write("a.txt", text)
        ran(running, 4)
    running.signal()
    told = running.wait(ok=130)
    assert sum(event["event"] == "build" for event in told.events) == 4


def test_an_output_that_is_edited_is_made_right_and_the_edit_kept(copies: Story) -> None:
    running = watch(copies)
    copies.write("out/a.txt", "mine")
    event = running.next_event("build")
    assert (event["ok"], event["ran"], event["cached"]) == (True, 0, 1)
    assert copies.read("out/a.txt") == "one"
    kept = list(copies.path(".bflow/replaced").glob("*/out/a.txt"))
    assert [file.read_text() for file in kept] == ["mine"]
    copies.remove("out")
    assert running.next_event("build")["ok"]
    running.until(lambda: copies.exists("out/a.txt") and copies.exists("out/b.txt"), "both outputs")
    copies.edit("in/a.txt", "one", "two")
    while copies.read("out/a.txt") != "two":
        assert running.next_event("build")["ok"]


def test_a_file_in_a_made_folder_is_edited(story: Story) -> None:
    story.write("Flowfile", "made/:\n    echo one > {out}a; echo two > {out}b\n")
    running = watch(story)
    story.write("made/a", "mine")
    assert running.next_event("build")["cached"] == 1
    assert story.read("made/a") == "one\n"


def test_a_phony_that_rewrites_a_source_does_not_go_round_for_ever(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        [phony]
        tidy: a.txt b.txt
            for f in a.txt b.txt; do tr a-z A-Z < $f > $f.new; cat $f.new > $f; done
        """,
    )
    story.write("a.txt", "one")
    story.write("b.txt", "two")
    running = watch(story, "tidy")
    ran(running)  # what it changed is a change
    story.write("b.txt", "three")
    ran(running)
    while story.read("b.txt") != "THREE":
        ran(running)
    running.signal()
    assert sum(event["event"] == "build" for event in running.wait(ok=130).events) <= 4


def test_a_phony_is_run_at_each_change(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        out.txt: in.txt
            cp {in} {out}

        [phony]
        test: out.txt
            echo tested $(cat out.txt)
        """,
    )
    story.write("in.txt", "one")
    running = watch(story, "test")
    running.until_says("tested one")
    story.write("in.txt", "two")
    ran(running, 2)
    running.until_says("tested two")
    story.write("in.txt", "one")
    event = running.next_event("build")
    assert (event["ran"], event["cached"]) == (1, 1)


# ---- what does not concern it


def test_what_ignore_files_name_does_not_wake_it(story: Story) -> None:
    story.write("Flowfile", "list.txt: src/\n    cat {in}* > {out}\n")
    story.write(".gitignore", "*.log\nbuild/\n")
    story.write(".bflowignore", "*.swp\n")
    story.write("src/a.c", "a")
    running = story.start("watch")
    running.until_says("watching for changes")
    for number in range(3):
        story.write("src/run.log", f"{number}")
        story.write("src/.a.c.swp", f"{number}")
        story.write("build/x", f"{number}")
        story.write("elsewhere.c", f"{number}")
        story.write("src/a.c", f"a{number}")
        running.until(lambda: running.err.count("watching for changes") == number + 2, "another build")  # noqa: B023
    assert running.err.count("bflow: src/a.c changed\n") == 3
    assert running.err.count(" changed\n") == 3
    story.write(".gitignore", "")
    story.write("src/now.log", "x")
    running.until(lambda: "x" in story.read("list.txt"), "the log in the list")


def test_a_new_file_that_no_glob_matches_is_not_told_of(copies: Story) -> None:
    running = watch(copies)
    for number, text in enumerate(("two", "three")):
        copies.write("in/notes.md", f"{number}")
        copies.write(f"in/other{number}.md", "x")
        copies.remove("in/notes.md")
        copies.write("in/a.txt", text)
        ran(running)
    running.signal()
    assert sum(event["event"] == "build" for event in running.wait(ok=130).events) == 3


# ---- while it builds


def test_an_edit_during_a_build_is_built_in_it_or_after_it(story: Story) -> None:
    started, go, wait = waits(story)
    story.write(
        "Flowfile",
        f"""
        all: a.out b.out
        a.out: a
            cp {{in}} {{out}}
        b.out: b | a.out
            {wait}; cp {{in}} {{out}}
        """,
    )
    story.write("a", "one")
    story.write("b", "uno")
    running = story.start("watch", "--json")
    running.until_exists(started)
    story.write("a", "two")  # its job is done
    story.write("c", "nothing reads it")
    go.touch()
    assert running.next_event("build")["ran"] == 2
    if story.read("a.out") != "two":
        ran(running)
    assert (story.read("a.out"), story.read("b.out")) == ("two", "uno")


def test_an_input_that_changes_under_its_job(story: Story) -> None:
    started, go, wait = waits(story)
    story.write("Flowfile", f"out: a\n    {wait}; cp {{in}} {{out}}\n")
    story.write("a", "one")
    running = story.start("watch", "--json")
    running.until_exists(started)
    story.write("a", "two")
    go.touch()
    ran(running)
    assert story.read("out") == "two"


def test_a_flowfile_that_changes_during_a_build(story: Story) -> None:
    started, go, wait = waits(story)
    story.write("Flowfile", f"out: a\n    {wait}; cp {{in}} {{out}}\n")
    story.write("a", "one")
    running = story.start("watch", "--json")
    running.until_exists(started)
    story.edit("Flowfile", "cp {in} {out}", "cat {in} {in} > {out}")
    go.touch()
    running.next_event("build")
    ran(running)
    assert story.read("out") == "oneone"


def test_the_lock_is_held_only_while_it_builds(copies: Story) -> None:
    running = watch(copies)
    assert copies.build().up_to_date == 2
    copies.edit("in/a.txt", "one", "two")
    ran(running)


# ---- a dynamic plan


def test_what_only_shows_while_it_builds(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        w = lines(words.txt)
        all: out/{w}.txt
        words.txt: source.txt
            tr ' ' '\\n' < {in} > {out}
        out/{w}.txt: parts/{w}.txt
            cp {in} {out}
        """,
    )
    story.write("source.txt", "a b")
    for name in "abc":
        story.write(f"parts/{name}.txt", name)
    running = watch(story)
    story.write("parts/b.txt", "new")
    ran(running)
    story.write("source.txt", "a b c")
    ran(running, 2)
    assert story.read("out/c.txt") == "c"


# ---- its end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_clean(copies: Story, number: int) -> None:
    running = watch(copies)
    running.signal(number)
    told = running.wait(ok=130)
    assert told.err == ""
    assert list(processes_of_session(running.pid)) == []
    assert copies.build().up_to_date == 2


def test_a_signal_during_a_build(story: Story) -> None:
    started, _, wait = waits(story)
    story.write("Flowfile", f"out: a\n    {wait}; cp {{in}} {{out}}\n")
    story.write("a", "one")
    running = story.start("watch", "--json")
    running.until_exists(started)
    running.signal()
    assert not running.wait(ok=130).summary["ok"]
    assert list(processes_of_session(running.pid)) == []
    assert not story.exists("out")


def test_no_flowfile_and_a_wrong_option_are_errors_at_once(story: Story) -> None:
    assert "no Flowfile" in story.bflow("watch", ok=2).err
    story.write("Flowfile", "a:\n    touch {out}\n")
    assert "there is no worker" in story.bflow("watch", "--worker", "clustr", ok=2).err
    assert "--dry-run" in story.bflow("watch", "--dry-run", ok=2).err
    assert "--poll" in story.bflow("watch", "--help").out


def test_the_project_is_removed(copies: Story) -> None:
    running = watch(copies)

    def removed() -> bool:  # more than once where it is just writing
        shutil.rmtree(copies.root, ignore_errors=True)
        return running.process.poll() is not None

    running.until(removed, "its end")
    assert "is gone" in running.wait(ok=2).err
    copies.root.mkdir(exist_ok=True)


# ---- where the system tells nothing


def test_polling(copies: Story) -> None:
    running = watch(copies, "--poll")
    copies.edit("in/a.txt", "one", "two too")
    ran(running)
    copies.write("in/c.txt", "three")
    ran(running)


def test_watches_that_run_out(copies: Story) -> None:
    """In a user namespace of its own the limits can be set, and nobody else feels it."""
    limited = ["unshare", "--user", "--map-root-user", "sh", "-c"]
    limit = "echo 1 > /proc/sys/user/max_inotify_watches && "
    if subprocess.run([*limited, limit + "true"], capture_output=True).returncode:
        pytest.skip("the limit of inotify cannot be set here")
    import story as module

    command = " ".join(module.COMMAND)
    process = subprocess.Popen(
        [*limited, f"{limit}exec {command} watch --json"],
        cwd=copies.root, env=copies.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    running = Running(("watch", "--json"), process, copies.account)
    copies._running.append(running)
    running.next_event("build")
    running.until_says("the files are looked at every")
    copies.edit("in/a.txt", "one", "two too")
    ran(running)
    assert copies.read("out/a.txt") == "two too"
