"""Which rule makes a file: exact before pattern, the project's before a library's, the one whose inputs can be made."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from quick import Quick
from story import Story


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Quick]:
    story = Quick(tmp_path)
    yield story
    story.close()


def refused(story: Quick, *words: str) -> str:
    """What a build that is wrong says; it runs nothing."""
    ran = story.build(*words, ok=2)
    assert not [e for e in ran.events if e["event"] in ("start", "job")], ran.out
    assert ran.summary["ok"] is False
    return ran.err


def flowfile(story: Story, *rules: str) -> None:
    """A Flowfile of rules, each of which writes its targets as they stand there, and its inputs, into its first one."""
    texts = []
    for rule in rules:
        targets = rule.partition(":")[0].replace("{", "{{").replace("}", "}}")
        texts.append(f"{rule}\n    echo '{targets} <' {{in}} > {{out[0]}}; touch {{out}}\n")
    story.write("Flowfile", "\n".join(texts))


def made(story: Quick, path: str, *words: str) -> str:
    story.build(*(words or (path,)))
    return story.read(path).strip()


# --- A file that a rule can make is made by it, even where it stands as a source


def test_a_source_that_a_rule_can_make_is_made_and_kept(story: Quick) -> None:
    flowfile(story, "{n}.c: {n}.y")
    story.write("p.y")
    story.write("p.c", "written by hand")
    ran = story.bflow("build", "p.c")
    assert story.read("p.c") == "{n}.c < p.y\n"
    kept = list(story.path(".bflow/replaced").glob("*/p.c"))
    assert [k.read_text() for k in kept] == ["written by hand"]
    assert "p.c was not made by bflow" in ran.err
    assert story.build("p.c").up_to_date == 1


def test_a_source_that_an_exact_rule_makes(story: Quick) -> None:
    flowfile(story, "x: y", "p.c: p.y")
    story.write("p.y")
    story.write("p.c", "written by hand")
    story.write("y")
    assert made(story, "p.c") == "p.c < p.y"


def test_a_source_whose_rule_lacks_its_inputs_is_a_source(story: Quick) -> None:
    flowfile(story, "{n}.o: {n}.c", "{n}.c: {n}.y")
    story.write("p.c", "written by hand")
    assert made(story, "p.o") == "{n}.o < p.c"
    assert story.read("p.c") == "written by hand"


def test_asking_for_a_source_is_answered(story: Quick) -> None:
    flowfile(story, "x: a", "{n}.c: {n}.y")
    story.write("a", "1")
    story.write("p.c", "1")
    story.write("dir/f", "1")
    for word in ("a", "p.c", "dir/"):
        ran = story.bflow("build", word)
        assert f"{word} is a source" in ran.err and "\n" == ran.err[-1]
    ran = story.build("a")
    assert ran.summary["ok"] is True and ran.ran == 0
    assert "is a source" not in story.bflow("build", "x", "x").err


def test_asking_for_a_source_again_is_answered_again(tmp_path: Path) -> None:
    story = Story(tmp_path)  # by the real way in, which may answer from a snapshot
    flowfile(story, "x: a")
    story.write("a", "1")
    for _ in range(2):
        assert "a is a source" in story.bflow("build", "a").err


# --- An exact name beats a pattern; a rule of the project beats one of the library


def test_an_exact_name_beats_a_pattern(story: Quick) -> None:
    flowfile(story, "{n}.o: {n}.c", "p.o: p.s", "{n}.o: {n}.f")
    for name in ("p.c", "p.s", "p.f"):
        story.write(name)
    assert made(story, "p.o") == "p.o < p.s"
    story.remove("p.s")
    assert "p.s: no rule makes it, and there is no such file" in refused(story, "p.o")


@pytest.fixture
def library(story: Quick, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A rule library of the test's own, `<lib.flow>`."""
    folder = tmp_path / "library"
    folder.mkdir()
    monkeypatch.setattr("buildflow.lang.load.library_folder", lambda: str(folder))
    return folder / "lib.flow"


def test_a_pattern_of_the_project_beats_one_of_the_library(story: Quick, library: Path) -> None:
    library.write_text("{n}.o: {n}.c\n    echo library > {out}\n\n{n}.p: {n}.c\n    echo library > {out}\n")
    story.write("Flowfile", "include <lib.flow>\n\n{n}.o: {n}.f\n    echo project > {out}\n")
    for name in ("a.c", "a.f", "b.c", "c.f"):
        story.write(name)
    assert made(story, "a.o") == "project"
    assert made(story, "b.o") == "library"  # what the project's rule cannot make
    assert made(story, "c.o") == "project"
    assert made(story, "a.p") == "library"
    assert "d.o" in refused(story, "d.o")


def test_an_exact_name_of_the_project_beats_one_of_the_library(story: Quick, library: Path) -> None:
    library.write_text("x: in\n    echo library > {out}\n\ny: in\n    echo library > {out}\n")
    story.write(
        "Flowfile", "include <lib.flow>\n\nx: in\n    echo project > {out}\n\n{n}: in\n    echo pattern > {out}\n"
    )
    story.write("in")
    assert made(story, "x") == "project"
    assert made(story, "y") == "library"  # an exact name beats a pattern
    assert made(story, "z") == "pattern"


def test_a_library_included_twice_with_one_exact_name(story: Quick, library: Path) -> None:
    library.write_text("V ?= 1\nx{V}: in\n    echo {V} > {out}\n")
    story.write("in")
    story.write("Flowfile", "include <lib.flow> V=1\ninclude <lib.flow> V=2\n")
    story.build("x1", "x2")
    assert story.read("x2") == "2\n"
    story.write("Flowfile", "include <lib.flow> V=1\ninclude <lib.flow> V=1\n")
    assert "two rules make x1" in refused(story, "x1")


def test_two_rules_of_libraries_that_can_are_ambiguous(story: Quick, library: Path) -> None:
    library.write_text("{n}.o: {n}.c\n    echo c > {out}\n\n{n}.o: {n}.f\n    echo f > {out}\n")
    story.write("Flowfile", "include <lib.flow>\n")
    story.write("a.c")
    story.write("a.f")
    assert "2 rules can make a.o" in refused(story, "a.o")


def test_a_default_in_an_include(story: Quick, library: Path) -> None:
    library.write_text("lib: in\n    touch {out}\n")
    story.write("in")
    story.write("more.flow", "[default]\nmarked: in\n    touch {out}\n")
    story.write("Flowfile", 'include <lib.flow>\ninclude "more.flow"\n\nfirst: in\n    touch {out}\n')
    assert story.build().jobs() == [("marked",)]
    story.edit("more.flow", "[default]\n", "")
    assert story.build().jobs() == [("first",)]


# --- Of several patterns, the one whose inputs exist or can be made


@pytest.mark.parametrize("ending, rule", [("c", "{n}.o"), ("f", "{n}.o"), ("y", "{n}.o")])
def test_the_pattern_whose_inputs_exist_or_can_be_made(story: Quick, ending: str, rule: str) -> None:
    flowfile(story, "{n}.o: {n}.c", "{n}.o: {n}.f", "{n}.c: {n}.y")
    story.write(f"p.{ending}")
    assert made(story, "p.o") == f"{{n}}.o < p.{'c' if ending == 'y' else ending}"


def test_more_than_one_is_an_error_that_shows_them(story: Quick) -> None:
    flowfile(story, "{n}.o: {n}.c", "{n}.o: {n}.f", "{n}.o: {n}.zzz")
    story.write("p.c")
    story.write("p.f")
    said = refused(story, "p.o")
    assert "2 rules can make p.o" in said
    assert "Flowfile:1:1: {n}.o: {n}.c" in said and "Flowfile:4:1: {n}.o: {n}.f" in said and "zzz" not in said


def test_an_ambiguous_source_is_an_error_too(story: Quick) -> None:
    flowfile(story, "{n}.o: {n}.c", "{n}.o: {n}.f")
    for name in ("p.c", "p.f", "p.o"):
        story.write(name)
    assert "2 rules can make p.o" in refused(story, "p.o")


def test_none_that_can_says_what_each_would_need(story: Quick) -> None:
    flowfile(story, "{n}.o: {n}.c common.h", "{n}.o: {n}.f")
    story.write("common.h")
    said = refused(story, "p.o")
    assert "p.o: several rules could make it, and none has its inputs" in said
    assert "Flowfile:1:1: {n}.o would need p.c\n" in said and "Flowfile:4:1: {n}.o would need p.f" in said


def test_inputs_after_the_bar_count(story: Quick) -> None:
    flowfile(story, "{n}.o: {n}.c | tool", "{n}.o: {n}.f")
    story.write("p.c")
    story.write("p.f")
    assert made(story, "p.o") == "{n}.o < p.f"


def test_globs_count(story: Quick) -> None:
    flowfile(story, "{n}.o: {n}/*.c", "{n}.o: {n}.f")
    story.write("p.f")
    assert made(story, "p.o") == "{n}.o < p.f"
    story.remove("p.f")
    story.write("p/1.c")
    assert made(story, "p.o") == "{n}.o < p/1.c"


def test_an_alias_counts_by_what_it_stands_for(story: Quick) -> None:
    flowfile(story, "{n}.o: {n}.c {n}_more", "{n}.o: {n}.f")
    story.write("Flowfile", story.read("Flowfile") + "\n{n}_more: {n}.h\n")
    story.write("p.c")
    story.write("p.f")
    assert made(story, "p.o") == "{n}.o < p.f"
    story.remove("p.f")
    story.write("p.h")
    assert made(story, "p.o") == "{n}.o < p.c p.h"


def test_phony_patterns_are_chosen_alike(story: Quick) -> None:
    story.write("Flowfile", "[phony]\nrun_{n}: {n}.c\n    echo c\n[phony]\nrun_{n}: {n}.f\n    echo f\n")
    story.write("p.f")
    assert story.bflow("build", "run_p").out == "f\n"


def test_a_rule_that_makes_several_targets_is_one_candidate(story: Quick) -> None:
    flowfile(story, "{n}.a {n}.b: {n}.in", "x{n}.a x{n}.b: {n}.no")
    story.write("xp.in")
    assert made(story, "xp.a", "xp.b") == "{n}.a {n}.b < xp.in"


# --- The leftmost-longest split whose inputs exist or can be made


def test_the_leftmost_longest_split_that_can_be_made(story: Quick) -> None:
    flowfile(story, "out/{a}_{b}.x: {a}/{b}")
    story.write("1/2_3")
    assert made(story, "out/1_2_3.x") == "out/{a}_{b}.x < 1/2_3"
    story.write("1_2/3")
    assert made(story, "out/1_2_3.x") == "out/{a}_{b}.x < 1_2/3"
    assert "out/1_2_4.x" in refused(story, "out/1_2_4.x")


def test_domains_choose_between_splits(story: Quick) -> None:
    story.write(
        "Flowfile", "b = x_y\nout/{a}_{b}.x: in\n    echo {a} > {out}\nout2/{a}_{c}.x: in\n    echo {a} {c} > {out}\n"
    )
    story.write("in")
    assert made(story, "out/1_x_y.x") == "1"
    assert made(story, "out2/1_x_y.x") == "1_x y"


# --- While asking, no rule below itself, and no path its own input


@pytest.mark.parametrize(
    "plain, packed, goal", list(product((False, True), (False, True), ("a", "a.gz", "a a.gz", "a.gz a")))
)
def test_packing_and_unpacking_do_not_loop(story: Quick, plain: bool, packed: bool, goal: str) -> None:
    story.write("Flowfile", "{x}.gz: {x}\n    gzip -nc < {in} > {out}\n\n{x}: {x}.gz\n    gzip -dc < {in} > {out}\n")
    if packed:
        story.write("a", "one\n")
        story.build("a.gz")
        story.remove("a", ".bflow")
    if plain:
        story.write("a", "one\n")
    words = goal.split()
    if not plain and not packed:
        said = refused(story, *words)
        assert "a.gz: several rules could make it, and none has its inputs" in said
        assert "{x}.gz would need a\n" in said
        return
    ran = story.build(*words)
    # What is asked for first is made from the other, if that is a source; else it is the source itself.
    made = [word for word in words if {"a": packed, "a.gz": plain}[word]][:1]
    assert ran.jobs() == [(word,) for word in made]
    for word in words:
        assert story.exists(word)
    assert story.build(*words).ran == 0


def test_packing_as_an_input(story: Quick) -> None:
    story.write("Flowfile", "{x}.gz: {x}\n    gzip -nc < {in} > {out}\n\n{x}: {x}.gz\n    gzip -dc < {in} > {out}\n\n"
                            "sum: a b.gz\n    cat {in} > {out}\n")  # fmt: skip
    story.write("a", "one\n")
    story.write("b", "two\n")
    assert story.build("sum").jobs() == [("b.gz",), ("sum",)]
    story.bflow("build", "b.gz")
    story.remove("a", "b", ".bflow", "sum")
    story.write("a", "one\n")
    assert story.build("sum").jobs() == [("sum",)]


def test_a_catch_all_alone_ends(story: Quick) -> None:
    story.write("Flowfile", "{x}: {x}.gz\n    gzip -dc < {in} > {out}\n\ny: a\n    cp {in} {out}\n")
    for goal in ("a", "y"):
        said = refused(story, goal)
        assert "a.gz: no rule makes it, and there is no such file" in said
        assert "needed by a (Flowfile:1:1)" in said
    story.write("a", "1")
    assert story.build("y").ran == 1


def test_names_as_long_as_a_file_system_allows(story: Quick) -> None:
    """That no longer name can exist is an answer too."""
    story.write("Flowfile", "{x}: {x}.gz\n    gzip -dc < {in} > {out}\n\ny: " + "a" * 255 + "\n    cp {in} {out}\n")
    story.write("a" * 255, "1")
    assert story.build("y").ran == 1
    assert "no rule makes it" in refused(story, "b" * 300)


def test_three_forms_of_one_file(story: Quick) -> None:
    forms = "mif", "nii", "mgz"
    flowfile(story, *[f"{{x}}.{a}: {{x}}.{b}" for a in forms for b in forms if a != b])
    story.write("s.nii")
    assert "2 rules can make s.mif" in refused(story, "s.mif")  # from s.nii, and from s.mgz that s.nii gives
    flowfile(story, "{x}.mif: {x}.nii", "{x}.nii: {x}.mif", "{x}.mgz: {x}.nii", "{x}.nii: {x}.mgz")
    story.remove("s.nii")
    story.write("s.mgz")
    assert made(story, "s.mif") == "{x}.mif < s.nii"
    assert story.read("s.nii").strip() == "{x}.nii < s.mgz"


def test_a_circle_of_patterns_with_another_way_in(story: Quick) -> None:
    flowfile(story, "{n}.o: {n}.c", "{n}.o: {n}.f", "foo.c: foo.o")
    story.write("foo.f")
    assert made(story, "foo.o") == "{n}.o < foo.f"
    assert made(story, "foo.c") == "foo.c < foo.o"


def test_a_remembered_answer_does_not_lead_into_a_circle(story: Quick) -> None:
    """That b can be made (from a) must not be remembered when a is asked for: then a would be made from b."""
    flowfile(story, "{x}.b: {x}.a", "{x}.a: {x}.b", "first: p.q", "{y}.q: {y}.b", "{y}.q: {y}.none", "all: first p.a")
    story.write("p.a", "source")
    assert made(story, "first", "all") == "first < p.q"
    assert story.read("p.a") == "source"


def test_many_forms_are_asked_about_in_no_time(story: Quick) -> None:
    forms = range(12)
    flowfile(story, *[f"{{x}}.f{a}: {{x}}.f{b}" for a in forms for b in forms if a != b], "{x}.f0: {x}.start")
    story.write("s.start")
    assert made(story, "s.f0") == "{x}.f0 < s.start"
    assert "t.f0: several rules could make it" in refused(story, "t.f0")


def test_a_rule_below_itself_step_by_step(story: Quick) -> None:
    """Only asking knows no rule below itself: what is the one rule for its target is planned as far as it goes."""
    story.write(
        "Flowfile.py",
        """
        from buildflow import Flow

        flow = Flow()
        flow.rule("step/{n}", inputs=lambda w: [f"step/{int(w.n) - 1}"] if w.n != "0" else [], shell="echo {n} > {out}")
        """,
    )
    assert story.build("step/12").ran == 13


def test_a_rule_below_itself_that_never_ends(story: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("buildflow.plan.resolve.MOST_STEPS", 200)
    story.write(
        "Flowfile.py",
        """
        from buildflow import Flow

        flow = Flow()
        flow.rule("step/{n}", inputs=lambda w: f"step/{int(w.n) + 1}", shell="echo {n} > {out}")
        """,
    )
    said = refused(story, "step/1")
    assert "step/{n} needs itself, 201 times over" in said


# --- Cycles


def test_a_cycle_is_shown_with_its_path(story: Quick) -> None:
    flowfile(story, "all: a", "a: b", "b: c", "c: a", "x: x")
    said = refused(story)
    assert "Flowfile:4:1: a cycle: a needs b needs c needs a" in said
    assert "    a: b\n    ^" in said
    assert "Flowfile:13:4: a cycle: x needs itself" in refused(story, "x")


def test_a_cycle_through_phony_jobs(story: Quick) -> None:
    story.write("Flowfile", "[phony]\na: b\n    true\n[phony]\nb: x\n    true\nx: | a\n    touch {out}\n")
    assert "a cycle: a needs b needs x needs a" in refused(story, "a")
    assert "a cycle: x needs a needs b needs x" in refused(story, "x")
