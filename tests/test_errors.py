"""Errors: a place, the line with a mark, the cause and what to do; nothing runs. And the options that name jobs."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildflow.errors import BuildError, FlowError, Source, Span
from quick import Quick
from story import Story


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Quick]:
    story = Quick(tmp_path)
    yield story
    story.close()


def refused(story: Story, *words: str) -> str:
    """What a build that is wrong says; it runs nothing."""
    ran = story.build(*words, ok=2)
    assert not [e for e in ran.events if e["event"] in ("start", "job")], ran.out
    assert ran.summary["ok"] is False
    assert not story.exists("good")
    return ran.err


GOOD = "good: a\n    cp {in} {out}\n\n"


# --- How an error is shown


def test_an_error_shows_its_place_the_line_a_mark_and_a_hint() -> None:
    source = Source("Flowfile", "all: x\r\n\tx: {y}\n")
    error = FlowError("y has no value", Span(source, 2, 5, 3), "assign it\nor take it out")
    assert error.show() == ("Flowfile:2:5: y has no value\n    \tx: {y}\n    \t   ^^^\n  assign it\n  or take it out")
    assert str(error) == error.show() and error.exit_status == 2
    assert FlowError("no place").show() == "bflow: no place"
    assert BuildError("later").exit_status == 1


def test_a_long_line_is_shown_around_the_place() -> None:
    source = Source("Flowfile", "x: " + "a" * 300 + "BAD" + "b" * 300)
    shown = FlowError("bad", Span(source, 1, 304, 3)).show().split("\n")
    assert len(shown[1]) < 140
    mark = shown[2]
    assert shown[1][mark.index("^") : mark.rindex("^") + 1] == "BAD"


def test_a_mark_never_leaves_its_line() -> None:
    source = Source("Flowfile", "ab\n\n")
    assert FlowError("e", Span(source, 1, 2, 50)).show().split("\n")[2] == "     ^"
    assert FlowError("e", Span(source, 1, 9, 2)).show().split("\n")[0] == "Flowfile:1:9: e"
    assert FlowError("e", Span(source, 2, 1)).show() == "Flowfile:2:1: e"
    assert FlowError("e", Span(source, 7, 1)).show() == "Flowfile:7:1: e"


# --- What is checked in the whole Flowfile, whatever is asked for


@pytest.mark.parametrize(
    "text, place, message",
    [
        ("x: 'open\n    true\n", "4:4", "quote"),
        ("this is nothing\n", "4:1", "Flowfile"),
        ("x:\n    echo {nope} > {out}\n", "5:10", "{nope} names nothing known here"),
        ("[cpu = 2]\nx:\n    touch {out}\n", "4:2", "there is no attribute “cpu”"),
        ("[cpus = many]\nx:\n    touch {out}\n", "4:9", "many"),
        ("[stage = fast]\nx:\n    touch {out}\n", "4:10", "fast"),
        ("[env = dcoker://x]\nx:\n    touch {out}\n", "4:8", "there is no environment “dcoker://x”"),
        ("in = 1\n", "4:1", "“in” is a reserved name"),
        ("good: b\n    cp {in} {out}\n", "4:1", "two rules make good"),
        ("include <nope.flow>\n", "4:1", "the rule library has no nope.flow"),
        ('include "nope.flow"\n', "4:1", "there is no file nope.flow"),
        ("x*.o: a\n    cp {in} {out}\n", "4:1", "a target cannot hold a `*`"),
    ],
)
def test_a_wrong_flowfile_runs_nothing(quick: Quick, text: str, place: str, message: str) -> None:
    quick.write("a")
    quick.write("Flowfile", (GOOD + text).encode())
    said = refused(quick, "good")
    assert said.startswith(f"Flowfile:{place}: ") and message in said
    lines = said.split("\n")
    assert lines[1].strip() == (GOOD + text).split("\n")[int(place.partition(":")[0]) - 1].strip()
    assert set(lines[2].strip()) == {"^"}


def test_an_error_in_an_included_file_names_that_file(quick: Quick) -> None:
    quick.write("a")
    quick.write("Flowfile", (GOOD + 'include "sub/more.flow"\n').encode())
    quick.write("sub/more.flow", "x:\n    echo {nope}\n")
    assert refused(quick, "good").startswith("sub/more.flow:2:10: {nope} names nothing known here")


def test_a_flowfile_that_is_no_text(quick: Quick) -> None:
    quick.write("Flowfile", b"x: \xff\xfe\n")
    assert "UTF-8" in refused(quick)
    quick.remove("Flowfile")
    quick.path("Flowfile").mkdir()
    assert "Flowfile" in refused(quick)


def test_no_flowfile(quick: Quick) -> None:
    said = refused(quick)
    assert "there is no Flowfile here or in any folder above" in said and "bflow init" in said
    quick.write("Makefile")
    assert "a Makefile is there" in refused(quick)


# --- No rule for a target


def test_no_rule_with_the_nearest_names_and_the_chain_that_asked(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        """
        all: good out/report.txt

        good: a
            cp {in} {out}

        out/report.txt: out/middle.txt
            cp {in} {out}

        out/middle.txt: data/smaple.txt
            cp {in} {out}
        """,
    )
    quick.write("a")
    quick.write("data/sample.txt")
    assert refused(quick) == (
        "Flowfile:9:17: data/smaple.txt: no rule makes it, and there is no such file\n"
        "    out/middle.txt: data/smaple.txt\n"
        "                    ^^^^^^^^^^^^^^^\n"
        "  did you mean data/sample.txt?\n"
        "  needed by out/middle.txt (Flowfile:9:1)\n"
        "  needed by out/report.txt (Flowfile:6:1)\n"
    )
    assert "did you mean out/report.txt?" in refused(quick, "out/reprot.txt")
    assert "did you mean good" in refused(quick, "godo")


def test_the_nearest_of_finite_targets(quick: Quick) -> None:
    quick.write("Flowfile", "s = anna berta\nout/{s}.txt:\n    touch {out}\n")
    assert "did you mean out/anna.txt?" in refused(quick, "out/ana.tx")


def test_an_alias_that_asked_is_named(quick: Quick) -> None:
    quick.write("Flowfile", "all: one\none: none.txt\n")
    said = refused(quick)
    assert "Flowfile:2:6: none.txt: no rule makes it" in said and "needed by the alias one" in said


def test_a_value_outside_its_domain(quick: Quick) -> None:
    quick.write("Flowfile", "s = anna berta\nrun ~ \\d+\nout/{s}_{run}.txt:\n    touch {out}\n")
    said = refused(quick, "out/ana_1.txt")
    assert "out/{s}_{run}.txt would make it, but ana is no value of s (anna berta); did you mean anna?" in said
    said = refused(quick, "out/anna_x.txt")
    assert "run = x does not match \\d+" in said
    quick.write("Flowfile", "all: out/{s}\nout/{s}:\n    touch {out}\n")
    assert "{s} is bound by no target here, and has no values" in refused(quick)


def test_a_long_chain_is_cut_off(quick: Quick) -> None:
    quick.write("Flowfile", "".join(f"f{i}: f{i - 1}\n    cp {{in}} {{out}}\n\n" for i in range(30, 0, -1)))
    said = refused(quick, "f30")
    assert said.count("needed by") == 12 and said.endswith("  …\n")


def test_a_file_that_an_earlier_build_left_is_no_source(quick: Quick) -> None:
    quick.write("Flowfile", "x: a\n    cp {in} {out}\n\ny: x\n    cp {in} {out}\n")
    quick.write("a", "1")
    quick.build("y")
    quick.write("Flowfile", "y: x\n    cp {in} {out}\n")
    said = refused(quick, "y")
    assert "Flowfile:1:4: x was made by an earlier build, and no rule makes it any more" in said
    assert "bflow clean --stale" in said


def test_an_input_that_is_no_plain_file(quick: Quick) -> None:
    os.mkfifo(quick.path("pipe"))
    quick.write("Flowfile", "x: pipe\n    cp {in} {out}\n")
    assert "Flowfile:1:4: pipe is no plain file" in refused(quick)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_input_that_cannot_be_read(quick: Quick) -> None:
    quick.write("a", mode=0)
    quick.write("Flowfile", "x: a\n    cp {in} {out}\n")
    assert "Flowfile:1:4: a cannot be read" in refused(quick)


def test_an_input_that_cannot_be_read_is_told_before_anything_runs(
    quick: Quick, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("/secret"))
    quick.write("a")
    quick.write("secret", mode=0o600)
    quick.write("Flowfile", GOOD.encode() + b"x: good secret\n    cat {in} > {out}\n")
    assert "Flowfile:4:9: secret cannot be read" in refused(quick, "x")


# --- -k does not help a plan


@pytest.mark.parametrize("options", [(), ("-k",), ("-n",), ("--check",), ("-B",), ("-q",)])
def test_a_target_that_cannot_be_planned_runs_nothing(quick: Quick, options: tuple[str, ...]) -> None:
    quick.write("a")
    quick.write("Flowfile", GOOD.encode())
    said = refused(quick, *options, "good", "none")
    assert "none: no rule makes it" in said
    if "-n" in options or "--check" in options:
        assert not quick.exists(".bflow")


def test_what_shows_only_once_a_splitter_has_run(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        """
        c = glob(chunks/{c})
        all: {c}.up

        chunks/: a
            cp {in} {out}one; cp {in} {out}two

        {c}.up: chunks/{c} {c}.more
            cat {in} > {out}
        """,
    )
    quick.write("a")
    quick.write("one.more")
    ran = quick.build(ok=2)
    assert "Flowfile:7:20: two.more: no rule makes it" in ran.err and "needed by two.up" in ran.err
    assert ran.jobs() == [("chunks/",)] and ran.summary["ok"] is False and ran.ran == 1
    quick.write("two.more")
    ran = quick.build()
    assert ran.up_to_date == 1 and ran.ran == 2


def test_back_ends_are_checked_before_anything_runs(quick: Quick) -> None:
    quick.write("a")
    quick.write("Flowfile", GOOD.encode() + b"[env = prefix://nowhere]\nx: good\n    cp {in} {out}\n")
    said = refused(quick, "x")
    assert "Flowfile:4:8: " in said and "nowhere" in said
    assert "there is no worker “slrum”" in refused(quick, "--worker", "slrum", "good")
    assert quick.build("good").ran == 1


def test_what_is_not_asked_for_may_lack_its_inputs(quick: Quick) -> None:
    quick.write("a")
    quick.write("Flowfile", GOOD.encode() + b"x: none ../y /no/such/file\n    cp {in} {out}\n\nz: z\n    true\n")
    assert quick.build("good").ran == 1


def test_a_full_disk(quick: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
    quick.write("a")
    quick.write("Flowfile", GOOD.encode())

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "good")

    monkeypatch.setattr("buildflow.build.Build.run", full)
    ran = quick.build("good", ok=1)
    assert "the disk is full (good); make room and build again" in ran.err
    assert ran.summary["ok"] is False


def test_an_error_that_is_json_too(story: Story) -> None:
    """The message goes to stderr, the last line of stdout is the build's event."""
    story.write("Flowfile", "x: none\n    cp {in} {out}\n")
    ran = story.bflow("build", "--json", ok=2)
    assert ran.err.startswith("Flowfile:1:4: none: no rule makes it")
    event = json.loads(ran.out)
    assert event["event"] == "build" and event["ok"] is False
    assert {"ran", "cached", "up_to_date", "failed", "skipped", "seconds"} <= set(event)
    story.write("Flowfile", "nonsense\n")
    assert json.loads(story.bflow("build", "--json", ok=2).out)["ok"] is False


# --- The command line


def test_options_of_the_command_line(quick: Quick) -> None:
    quick.write("Flowfile", GOOD.encode())
    assert "there is no option --kep-going; did you mean --keep-going?" in quick.bflow("build", "--kep-going", ok=2).err
    assert "there is no command “biuld”; did you mean build?" in quick.bflow("biuld", ok=2).err
    quick.bflow("build", "-j", "0", ok=2)
    quick.bflow("build", "-j", "x", ok=2)
    assert "n_procs = x is no number of jobs" in quick.bflow("build", "-o", "n_procs=x", ok=2).err


THREE = """
a.txt: in
    cp {in} {out}

[name = second]
b.txt: a.txt
    cp {in} {out}

c.txt: b.txt
    cp {in} {out}

d.txt: a.txt
    cp {in} {out}

all: c.txt d.txt
"""


def test_until(quick: Quick) -> None:
    quick.write("Flowfile", THREE)
    quick.write("in", "1")
    assert quick.build("--until", "second", "all").jobs() == [("a.txt",), ("b.txt",)]
    assert quick.build("--until", "d.txt", "all").jobs() == [("d.txt",)]
    assert "--until secnd: no rule has that name" in refused(quick, "--until", "secnd", "all")
    assert "did you mean second?" in refused(quick, "--until", "secnd", "all")


def test_rerun_and_always_make(quick: Quick) -> None:
    quick.write("Flowfile", THREE)
    quick.write("in", "1")
    assert quick.build("all").ran == 4
    assert quick.build("-R", "second", "all").jobs() == [("b.txt",)]  # the same bytes: what is after it stands
    assert quick.build("-R", "d.txt", "--rerun", "a.txt", "all").jobs() == [("a.txt",), ("d.txt",)]
    assert quick.build("-B", "all").ran == 4
    assert quick.build("-B", "b.txt").ran == 2
    assert "-R nope: no rule has that name" in refused(quick, "-R", "nope", "all")
    ran = quick.build("-n", "-R", "second", "all")
    assert ran.jobs("would run") == [("b.txt",), ("c.txt",)]


def test_a_pattern_as_written_names_its_jobs(quick: Quick) -> None:
    quick.write("Flowfile", "n = 1 2\nall: {n}.y\n{n}.x: in\n    cp {in} {out}\n\n{n}.y: {n}.x\n    cp {in} {out}\n")
    quick.write("in")
    assert quick.build("--until", "{n}.x").jobs() == [("1.x",), ("2.x",)]
    quick.build()
    assert quick.build("-R", "{n}.y").jobs() == [("1.y",), ("2.y",)]
    assert quick.build("-R", "1.y").jobs() == [("1.y",)]


def test_dry_run_and_check(quick: Quick) -> None:
    quick.write("Flowfile", THREE)
    quick.write("in", "1")
    ran = quick.bflow("build", "-n", "all")
    assert "would run: a.txt" in ran.err and "4 of 4 jobs would run" in ran.err
    quick.bflow("build", "--check", "all", ok=1)
    assert not quick.exists(".bflow") and not quick.exists("a.txt")
    quick.build("all")
    assert "nothing to do" in quick.bflow("build", "-n", "all").err
    quick.bflow("build", "--check", "all")
    quick.bflow("build", "--check", "-B", "all", ok=1)
    assert quick.build("--check", "-n", "all").ran == 0


def test_shuffle_alone_takes_no_target(quick: Quick) -> None:
    quick.write("Flowfile", "n = {1..9}\nall: {n}.x\n{n}.x:\n    touch {out}\n")

    def order(*words: str) -> list[str]:
        ran = quick.build("-j1", "-B", *words)
        return [e["targets"][0] for e in ran.events if e["event"] == "start"]

    assert order("--shuffle", "3.x") == ["3.x"]
    assert order("3.x", "--shuffle") == ["3.x"]
    first = order("--shuffle=7", "all")
    assert sorted(first) == sorted(f"{n}.x" for n in range(1, 10))
    assert order("--shuffle=7") == first != order("--shuffle=8")
    assert order("--shuffle=text") == order("--shuffle=text")
    said = quick.bflow("build", "-B", "--shuffle", "3.x").err
    seed = said.partition("--shuffle=")[2].partition(" ")[0]
    assert seed.isdigit()


def test_keep_going(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        "all: c d\na:\n    false\nb:\n    sleep 0; touch {out}\nc: a\n    cp {in} {out}\nd: b\n    cp {in} {out}\n",
    )
    ran = quick.build("-k", "-j1", ok=1)
    assert (ran.ran, ran.failed, ran.skipped) == (2, 1, 1)
    assert ran.summary["ok"] is False
    quick.remove(".bflow", "b", "d")
    ran = quick.build("-j1", "c", "d", ok=1)
    assert ran.failed == 1 and ran.skipped >= 1 and not quick.exists("d")


def test_quiet_and_verbose(quick: Quick) -> None:
    quick.write("Flowfile", "all: x y\nx:\n    echo made; touch {out} other\ny:\n    echo loud; false\n")
    ran = quick.bflow("build", "-q", "x")
    assert ran.err == "" and ran.out == ""
    said = quick.bflow("build", "-q", "-k", ok=1).err
    assert "y failed" in said and "loud" in said and "[1/" not in said
    quick.remove("x")
    assert "x  from the cache" in quick.bflow("build", "-v", "x").err
    said = quick.bflow("build", "-v", "-B", "x").err
    assert "wrote and did not declare: other" in said and "made" in said


def test_verbose_shows_what_runs(quick: Quick) -> None:
    """As make does: with -n before it runs, else when it has run."""
    quick.write("Flowfile", "out/{n}: in/{n}\n    cp {in} {out}\n    : {n}\n[phony]\ntest: out/a\n    test -s out/a\n")
    quick.write("in/a", "a")
    assert quick.bflow("build", "-n", "-v", "out/a").err.startswith(
        "would run: out/a\n    cp in/a out/a\n    : a\n"
    )
    assert "[1/1] out/a\n    cp in/a out/a\n    : a\n" in quick.bflow("build", "-v", "out/a").err
    assert "test\n    test -s out/a\n" in quick.bflow("build", "-v", "test").err
    assert "cp in" not in quick.bflow("build", "-B", "out/a").err
