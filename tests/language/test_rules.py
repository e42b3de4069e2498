"""The sentences of "Rules" in the language's page: labels, globs, targets, aliases, phony, the default, words.

Which rule makes a file is in test_choice, folders and what lies outside in test_folders.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quick import Quick


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


def lines(text: str) -> str:
    """A Flowfile from one line a statement; `;` begins an indented recipe."""
    return "".join(line.strip().replace(" ; ", "\n    ") + "\n" for line in text.strip().splitlines())


# --- A word `name=path` names an input or output


def test_names_of_inputs_and_outputs(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        main=out/a.txt idx=out/a.idx: src=in/a.txt ref=in/ref.txt in/more.txt
            cat {src} {ref} > {main}; echo {in} > {idx}; echo {out} >> {idx}
        """,
    )
    for name in ("a", "ref", "more"):
        story.write(f"in/{name}.txt", name + "\n")
    story.build()
    assert story.read("out/a.txt") == "a\nref\n"
    assert story.read("out/a.idx") == "in/a.txt in/ref.txt in/more.txt\nout/a.txt out/a.idx\n"


def test_a_name_given_twice_holds_both(story: Quick) -> None:
    story.write("Flowfile", "o=x o=y: s=a b s=c\n    echo {s} {s[1]} / {in} > {o[0]}; echo {o} > {o[1]}\n")
    for name in "abc":
        story.write(name, name)
    story.build()
    assert story.read("x") == "a c c / a b c\n"
    assert story.read("y") == "x y\n"


def test_underscore_is_staged_and_hashed_and_not_in_in(story: Quick) -> None:
    story.write("Flowfile", "x: a _=b _=lib/*.txt | _=c\n    echo {in} > {out}; cat b lib/1.txt c >> {out}\n")
    for name in ("a", "b", "c", "lib/1.txt"):
        story.write(name, name + "\n")
    story.build()
    assert story.read("x") == "a\nb\nlib/1.txt\nc\n"
    story.write("lib/1.txt", "new\n")
    assert story.build().ran == 1
    story.write("c", "order-only: not in the key\n")
    assert story.build().ran == 0


def test_underscore_names_no_output(story: Quick) -> None:
    story.write("Flowfile", "x _=y: a\n    cp {in} x; cp {in} y\n")
    story.write("a")
    assert "Flowfile:1:3: “_=” is of inputs" in refused(story)


def test_a_file_whose_name_has_an_equals_sign(story: Quick) -> None:
    story.write("Flowfile", "./k=v: ./a=b\n    cp {in} {out}\n")
    story.write("a=b", "1")
    assert story.build("k=v").ran == 1
    assert story.build("./k=v").up_to_date == 1
    assert story.read("k=v") == "1"


@pytest.mark.parametrize(
    "rule, message",
    [
        ("x: in=a", "“in” is a reserved name"),
        ("out=x: a", "“out” is a reserved name"),
        ("x: cpus=a", "“cpus” is a reserved name"),
        ("{n}.x: n={n}.a", "“n” has two meanings in this rule: a named file and a wildcard"),
        ("x: known=a", "“known” has two meanings in this rule: a named file and an assigned name"),
        ("f=x: f=a", "“f” has two meanings in this rule: a named file and the name of an output"),
    ],
)
def test_one_name_with_two_meanings(story: Quick, rule: str, message: str) -> None:
    story.write("Flowfile", f"known = 1 2\n{rule}\n    cp {{in}} {{out}}\n")
    story.write("a")
    assert message in refused(story, "x")


# --- Globs are allowed in inputs


def test_globs_in_inputs(story: Quick) -> None:
    story.write("Flowfile", "x: a?.c lib/*.c tree/**/*.c\n    echo {in} > {out}\n")
    for name in ("a1.c", "a22.c", "lib/b.c", "lib/c.c", "lib/.d.c", "lib/deep/e.c", "tree/f.c", "tree/x/y/g.c", "z.c"):
        story.write(name)
    story.build()
    assert story.read("x") == "a1.c lib/b.c lib/c.c tree/f.c tree/x/y/g.c\n"
    story.write("lib/new.c")
    assert story.build().ran == 1


def test_a_glob_that_matches_nothing_is_an_error(story: Quick) -> None:
    story.write("Flowfile", "x: a lib/*.c\n    echo {in} > {out}\n")
    story.write("a")
    said = refused(story)
    assert "Flowfile:1:6: lib/*.c matches nothing" in said
    assert "    x: a lib/*.c\n         ^^^^^^^\n" in said


def test_a_quoted_glob_is_text(story: Quick) -> None:
    story.write("Flowfile", "x: 'a*.c'\n    cp {in} {out}\n")
    story.write("a*.c", "star")
    story.write("ab.c", "b")
    story.build()
    assert story.read("x") == "star"


def test_a_rules_own_targets_are_left_out_of_its_globs(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        n = 1 2
        all: all.txt sum{n}.txt

        all.txt: a*.txt
            echo {in} > {out}

        sum{n}.txt: *.txt
            echo {in} > {out}
        """,
    )
    story.write("a1.txt")
    story.write("b.txt")
    for _ in range(2):
        story.build()
        assert story.read("all.txt") == "a1.txt\n"
        assert story.read("sum1.txt") == story.read("sum2.txt") == "a1.txt all.txt b.txt\n"
        story.remove(".bflow")  # now what it made is a source like any other
        story.remove("all.txt", "sum1.txt", "sum2.txt")


def test_a_rule_without_domains_leaves_out_what_its_pattern_matches(story: Quick) -> None:
    story.write("Flowfile", "{d}.sum: *.txt *.sum\n    cat {in} > {out}\n")
    story.write("a.txt", "1")
    story.write("b.sum", "2")
    assert "*.sum matches nothing" in refused(story, "x.sum")


# --- All targets of a rule are made together by one job


def test_all_targets_are_made_by_one_job(story: Quick) -> None:
    story.write("Flowfile", "{n}.a {n}.b: {n}.in\n    cp {in} {out[0]}; cp {in} {out[1]}\n")
    story.write("x.in", "1")
    assert story.build("x.b", "x.a", "x.b").jobs() == [("x.a", "x.b")]
    story.remove("x.a")
    assert story.build("x.b").cached == 1  # and the one that is missing comes back with it
    assert story.read("x.a") == "1"


def test_targets_use_the_same_wildcards(story: Quick) -> None:
    story.write("Flowfile", "{n}.a b: c\n    touch {out}\n")
    assert "the target b does not use {n}, which another target of the rule does" in refused(story, "b")
    story.write("Flowfile", "{n}.a b: c\n")
    assert "the target b does not use {n}, which another target of the rule does" in refused(story, "b")


# --- Two rules with a recipe for one exact target, and one target twice in a rule, are an error


@pytest.mark.parametrize(
    "flow, message",
    [
        ("good: a ; touch {out}\nx: a ; touch {out}\nx: b ; touch {out}", "Flowfile:5:1: two rules make x"),
        ("good: a ; touch {out}\nx ./y: a ; touch {out}\ny: b ; touch {out}", "Flowfile:5:1: two rules make y"),
        ("good: a ; touch {out}\nn = x\n{n}: a ; touch {out}\nx: b ; touch {out}", "Flowfile:6:1: two rules make x"),
        ("good: a ; touch {out}\nx x: a ; touch {out}", "Flowfile:3:3: the target x stands twice in one rule"),
        (
            "good: a ; touch {out}\nd/x d/./x: a ; touch {out}",
            "Flowfile:3:5: the target d/./x stands twice in one rule",
        ),
        ("good: a ; touch {out}\n{n}.o {n}.o: a ; touch {out}", "Flowfile:3:7: the target {n}.o stands twice"),
        ("good: a ; touch {out}\n[phony]\nx: a ; true\nx: b ; touch {out}", "Flowfile:6:1: two rules make x"),
    ],
)
def test_duplicates_are_found_in_the_whole_flowfile(story: Quick, flow: str, message: str) -> None:
    story.write("Flowfile", lines(flow))
    story.write("a")
    said = refused(story, "good")
    assert message in said
    assert "^" in said


def test_the_other_rule_is_shown(story: Quick) -> None:
    story.write("Flowfile", lines("x: a ; touch {out}\nx: b ; touch {out}"))
    said = refused(story, "x")
    assert "    x: b\n    ^" in said and "the other one: Flowfile:1:1" in said


def test_rules_without_a_recipe_for_one_target_add_up(story: Quick) -> None:
    story.write(
        "Flowfile", lines("all: x\nall: y\nall: x z\nx: a ; cp {in} {out}\ny: a ; cp {in} {out}\nz: a ; cp {in} {out}")
    )
    story.write("a")
    assert story.build().ran == 3
    assert story.files() == ["Flowfile", "a", "x", "y", "z"]


def test_the_same_target_from_patterns_is_no_duplicate(story: Quick) -> None:
    story.write("Flowfile", lines("s = a b\n{s}.x: in ; echo pattern > {out}\na.x: in ; echo exact > {out}"))
    story.write("in")
    story.build("a.x", "b.x")
    assert story.read("a.x") == "exact\n"


# --- Outputs under .bflow/ or .git/, and a user's file where an output needs a folder


@pytest.mark.parametrize("target", [".bflow/x", ".git/hooks/x", "a/../.git/x", ".bflow/", "./.git/x"])
def test_outputs_in_the_folders_of_bflow_and_git(story: Quick, target: str) -> None:
    story.write("Flowfile", f"{target}: a\n    touch {{out}}\n")
    story.write("a")
    assert "which is not for outputs" in refused(story)


def test_a_pattern_that_leads_there(story: Quick) -> None:
    story.write("Flowfile", "{d}/x: a\n    touch {out}\n\nsub/.git/y: a\n    touch {out}\n")
    story.write("a")
    assert ".git/, which is not for outputs" in refused(story, ".git/x")
    assert story.build("sub/.git/y").ran == 1


@pytest.mark.parametrize("target", ["../x", "/tmp/x", "a/../../x", "../", ".", "..", "./"])
def test_outputs_outside_the_project(story: Quick, target: str) -> None:
    story.write("Flowfile", f"good: a\n    cp {{in}} {{out}}\n\n{target}: a\n    touch {{out}}\n")
    story.write("a")
    assert "lies outside the project" in refused(story, target) or target in (".", "./")


def test_a_users_file_where_an_output_needs_a_folder(story: Quick) -> None:
    story.write("Flowfile", lines("all: good out/deep/x\ngood: a ; cp {in} {out}\nout/deep/x: a ; cp {in} {out}"))
    story.write("a")
    story.write("out", "mine")
    said = refused(story)
    assert "out/deep/x needs a folder where the file out stands" in said and "Flowfile:4:1" in said
    assert not story.exists("good") and story.read("out") == "mine"
    story.remove("out")
    story.write("out/deep", "mine")
    assert "out/deep/x needs a folder where the file out/deep stands" in refused(story)


def test_a_link_that_leads_nowhere_where_an_output_needs_a_folder(story: Quick) -> None:
    story.write("Flowfile", "out/x: a\n    cp {in} {out}\n")
    story.write("a")
    story.path("out").symlink_to("nowhere")
    assert "out/x needs a folder where the link out stands, which leads nowhere" in refused(story)


def test_a_users_folder_where_an_output_is_a_file(story: Quick) -> None:
    story.write("Flowfile", "out: a\n    cp {in} {out}\n")
    story.write("a")
    story.write("out/mine", "1")
    assert "the target out is a file, and a folder stands there" in refused(story)


def test_a_folder_that_bflow_made_gives_way(story: Quick) -> None:
    story.write("Flowfile", "out/: a\n    cp {in} {out}\n")
    story.write("a", "1")
    story.build()
    story.write("Flowfile", "out: a\n    cp {in} {out}\n")
    story.build()
    assert story.read("out") == "1"
    story.write("Flowfile", "out/: a\n    cp {in} {out}\n")
    story.build()
    assert story.read("out/a") == "1"
    assert not story.exists(".bflow/replaced")


# --- A rule without a recipe is an alias


def test_nested_aliases_and_their_files_as_inputs(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        all: x
        both: one two
        one: {a,b}.txt
        two: b.txt c.txt

        x: both src=two
            echo {in} / {src} > {out}

        {n}.txt: {n}.in
            cp {in} {out}
        """,
    )
    for name in "abc":
        story.write(f"{name}.in", name)
    assert story.build().ran == 4
    assert story.read("x") == "a.txt b.txt c.txt / b.txt c.txt\n"
    assert story.build("both").up_to_date == 3


def test_aliases_with_wildcards(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        v = 1 2
        all: set_{v}
        set_{v}: x_{v}.txt y_{v}.txt
        {n}.txt:
            echo {n} > {out}
        """,
    )
    assert story.build("set_2").jobs() == [("x_2.txt",), ("y_2.txt",)]
    assert story.build().ran == 2


def test_an_alias_of_nothing_is_built(story: Quick) -> None:
    story.write("Flowfile", "n = glob(none/{n})\nall: {n}.txt\n\n{n}.txt:\n    touch {out}\n")
    assert story.build("all").summary["ok"] is True


def test_an_alias_adds_its_inputs_to_the_job_after_its_own(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        foo.o: special.h | order.h
        foo.o: hdr=more.h

        {n}.o: {n}.c
            echo {in} / {hdr} > {out}; cat order.h >> {out}

        bar.o: bar.c
            echo {in} > {out}
        {x}.o: common.h
        """,
    )
    story.edit("Flowfile", " / {hdr}", "")
    for name in ("foo.c", "bar.c", "special.h", "more.h", "order.h", "common.h"):
        story.write(name, name + "\n")
    story.build("foo.o", "bar.o")
    assert story.read("foo.o") == "foo.c special.h more.h common.h\norder.h\n"
    assert story.read("bar.o") == "bar.c common.h\n"


def test_an_alias_adds_whichever_target_is_asked_for(story: Quick) -> None:
    story.write("Flowfile", lines("{n}.h: extra\n{n}.c {n}.h: {n}.y ; cat {in} > {out[0]}; cat {in} > {out[1]}"))
    story.write("p.y", "y")
    story.write("extra", "e")
    assert story.build("p.c").ran == 1
    assert story.read("p.c") == "ye"
    assert story.build("p.h").up_to_date == 1


def test_an_alias_adds_to_a_phony(story: Quick) -> None:
    story.write(
        "Flowfile", lines("test: x\n[phony]\ntest: y ; echo {in}\n{n}:\n    touch {out}".replace("\n    ", " ; "))
    )
    assert story.bflow("build", "test").out == "y x\n"


def test_an_alias_is_no_file_that_a_catch_all_makes(story: Quick) -> None:
    story.write("Flowfile", lines("all: a\n{x}: {x}.gz ; gzip -dc < {in} > {out}"))
    story.write("a", "1")
    assert story.build("all").summary["ok"] is True


def test_the_alias_docs_and_the_folder_docs(story: Quick) -> None:
    story.write("Flowfile", lines("docs: x\nx: docs/ ; ls docs > {out}\ny: docs ; cp {in} {out}"))
    story.write("docs/a", "1")
    story.build("docs", "docs/", "y")
    assert story.read("x") == "a\n" == story.read("y")


def test_a_circle_of_aliases(story: Quick) -> None:
    story.write("Flowfile", lines("a: b\nb: c\nc: a\nx: a ; touch {out}"))
    for goal in ("a", "x"):
        said = refused(story, goal)
        assert "a cycle: a needs b needs c needs a" in said and "Flowfile:1:1" in said


def test_a_source_file_is_not_replaced_by_what_its_alias_names(story: Quick) -> None:
    """`main.c: config.h`, as Make's users write it, would give the compiler config.h for main.c."""
    story.write("Flowfile", lines("main.o: main.c ; cp {in} {out}\nmain.c: config.h"))
    story.write("main.c")
    story.write("config.h")
    said = refused(story, "main.o")
    assert "main.c is a file of yours, and an alias of config.h" in said
    assert "write “main.o: config.h”" in said


# --- Order-only inputs


def test_order_only_inputs(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        x: a | tool=made other
            echo {in} {tool} > {out}; cat made other >> {out}

        made: b
            cp {in} {out}
        """,
    )
    for name in ("a", "b", "other"):
        story.write(name, name + "\n")
    assert story.build("x").ran == 2
    assert story.read("x") == "a made\nb\nother\n"
    story.write("b", "changed\n")
    story.write("other", "changed\n")
    assert story.build("x").jobs() == [("made",)]


def test_an_input_on_both_sides_is_an_input(story: Quick) -> None:
    story.write("Flowfile", "x: a | a\n    echo {in} > {out}; cat a >> {out}\n")
    story.write("a", "1\n")
    story.build()
    story.write("a", "2\n")
    assert story.build().ran == 1


# --- Phony


def test_a_phony_target_may_be_an_input_of_an_alias_or_a_phony_or_stand_behind_the_bar(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        all: say more
        [phony]
        say:
            echo say
        [phony]
        more: say
            echo more {in}
        x: a | say
            cp {in} {out}
        """,
    )
    story.write("a")
    assert story.bflow("build", "all").out == "say\nmore\n"
    ran = story.bflow("build", "x")
    assert ran.out == "say\n" and story.exists("x")
    assert story.bflow("build", "x").out == "say\n"  # each time that it is asked for, and x is not made again


@pytest.mark.parametrize("word", ["say", "through"])
def test_elsewhere_a_phony_is_an_error(story: Quick, word: str) -> None:
    story.write("Flowfile", lines(f"x: a {word} ; cp {{in}} {{out}}\nthrough: say\n[phony]\nsay: ; echo say"))
    story.write("a")
    said = refused(story)
    assert f"Flowfile:1:6: {word} is phony, and makes no file that x could read" in said
    assert "put it after a “|”" in said


def test_phony_patterns(story: Quick) -> None:
    story.write("Flowfile", lines("[phony]\nrun_{x}: {x}.txt ; cat {in}"))
    story.write("a.txt", "1")
    story.write("b.txt", "2")
    assert story.bflow("build", "run_b", "run_a", "run_b").out == "21"


# --- Without a target


def test_the_default_is_the_first_rule_of_the_flowfile_itself(story: Quick) -> None:
    story.write("Flowfile", 'include "more.flow"\nsecond: a\n    cp {in} {out}\nthird: a\n    cp {in} {out}\n')
    story.write("more.flow", "first: a\n    cp {in} {out}\n")
    story.write("a")
    story.build()
    assert story.files() == ["Flowfile", "a", "more.flow", "second"]


def test_the_rule_marked_default(story: Quick) -> None:
    story.write("Flowfile", lines("first: a ; cp {in} {out}\n[default]\nsecond: a ; cp {in} {out}"))
    story.write("a")
    assert story.build().jobs() == [("second",)]


def test_a_first_rule_with_finite_domains_makes_all(story: Quick) -> None:
    story.write("Flowfile", lines("n = 1 2\nout/{n}: a ; cp {in} {out}"))
    story.write("a")
    story.build()
    assert story.files("out") == ["out/1", "out/2"]


def test_a_first_rule_without_finite_domains_says_what_to_ask_for(story: Quick) -> None:
    story.write("Flowfile", lines("out/{n}.txt: {n} ; cp {in} {out}"))
    said = refused(story)
    assert "Flowfile:1:1: out/{n}.txt: {n} has no values" in said and "bflow build out/N.txt" in said


def test_two_defaults_and_no_rule(story: Quick) -> None:
    story.write("Flowfile", lines("[default]\nx: a ; cp {in} {out}\n[default]\ny: a ; cp {in} {out}"))
    assert "two rules are marked [default]" in refused(story)
    story.write("Flowfile", "n = 1\n")
    assert "has no rule of its own" in refused(story)


# --- Words of the command line


def test_a_word_is_an_alias_or_phony_or_a_path_from_the_current_folder(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        n = a b
        all: sub/x
        all_{n}: {n}.txt
        [phony]
        say:
            echo say
        sub/{x}: in
            cp {in} {out}
        {n}.txt: in
            cp {in} {out}
        """,
    )
    story.write("in")
    story.write("sub/deep/here")
    assert story.build("all", cwd="sub").jobs() == [("sub/x",)]
    assert story.build("y", "./y", cwd="sub").jobs() == [("sub/y",)]
    assert story.build("../sub/z", story.path("sub/zz"), cwd="sub").jobs() == [("sub/z",), ("sub/zz",)]
    assert story.bflow("build", "say", cwd="sub").out == "say\n"
    assert story.build("../{n}.txt", cwd="sub").jobs() == [("a.txt",), ("b.txt",)]
    assert story.build("all_a", cwd="sub").up_to_date == 1
    assert "is a source" in story.bflow("build", "deep/here", cwd="sub").err


def test_the_flowfile_is_searched_upward(story: Quick) -> None:
    story.write("Flowfile", "deep/er/x: in\n    cp {in} {out}\n")
    story.write("in")
    story.path("deep/er").mkdir(parents=True)
    assert story.build("x", cwd="deep/er").ran == 1
    story.write("deep/Flowfile", "er/y: ../in\n    cp {in} {out}\n")
    assert story.build("y", cwd="deep/er").jobs() == [("er/y",)]


def test_file_and_directory_options(story: Quick) -> None:
    story.write("other/build.flow", "x: in\n    cp {in} {out}\n")
    story.write("in")
    story.write("work/in", "there")
    story.bflow("-f", "other/build.flow", "build")
    assert story.read("x") == ""
    story.bflow("-C", "work", "-f", "../other/build.flow", "build", "x")
    assert story.read("work/x") == "there"
    story.remove("x", ".bflow")
    story.write("Flowfile", "x: in\n    cp {in} {out}\n")
    story.bflow("-C", "../other", "-C", "..", "build", "x", cwd="work")
    assert story.exists("x")
    assert "there is no file nope" in story.bflow("-f", "nope", "build", ok=2).err
    assert "cannot go to nope" in story.bflow("-C", "nope", "build", ok=2).err


def test_words_that_lead_back_into_the_project(story: Quick, tmp_path: Path) -> None:
    """By way of another folder, or of a link to the project (a shell's $PWD)."""
    story.write("Flowfile", "{n}.txt: in\n    cp {in} {out}\n")
    story.write("in")
    (tmp_path / "link").symlink_to(story.root)
    words = (f"../{story.root.name}/a.txt", tmp_path / "link" / "b.txt", tmp_path / "link" / "sub" / ".." / "c.txt")
    assert story.build(*words).jobs() == [("a.txt",), ("b.txt",), ("c.txt",)]
    assert "is a source" in story.bflow("build", "../project/in", "/etc/passwd").err


def test_the_projects_own_folder_is_all_that_is_sure_to_be_in_it(story: Quick) -> None:
    story.write("Flowfile", lines("n = 1 2\n{n}.a: ; touch {out}\n{free}.b: ; touch {out}\nsub/x: ; touch {out}"))
    assert story.build(".").jobs() == [("1.a",), ("2.a",), ("sub/x",)]
    assert story.build(".", cwd="sub").up_to_date == 1
    assert story.build("..", cwd="sub").up_to_date == 3


def test_a_target_pattern_builds_all(story: Quick) -> None:
    story.write("Flowfile", lines("s = a b\nv = 1 2\nout/{s}_{v}.x: ; touch {out}\n{z}.y: ; touch {out}"))
    assert story.build("out/{s}_1.x").jobs() == [("out/a_1.x",), ("out/b_1.x",)]
    assert story.build("out/{s}_{v}.x").ran == 2
    assert "{z}.y: {z} has no values" in refused(story, "{z}.y")


def test_goals_given_twice(story: Quick) -> None:
    story.write("Flowfile", lines("[phony]\nsay: ; echo say\nx: a ; cp {in} {out}"))
    story.write("a")
    assert story.bflow("build", "say", "x", "say", "./x", "x").out == "say\n"


def test_an_empty_word_is_refused(story: Quick) -> None:
    story.write("Flowfile", "x:\n    touch {out}\n")
    assert "an empty word" in refused(story, "")


# --- Names of files


NAMES = [
    "a b",
    "it's",
    'say "hi"',
    "$HOME",
    "ünïcode",
    "new\nline",
    "-dash",
    "semi;colon",
    "a&b",
    "{brace}",
    "ta\tb",
    "#x",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_with_any_character(story: Quick, name: str) -> None:
    story.write("Flowfile", "n = glob(in/{n}.txt)\nall: out/{n}.txt\n\nout/{n}.txt: in/{n}.txt\n    cp {in} {out}\n")
    story.write(f"in/{name}.txt", b"1")
    ran = story.build()
    assert ran.jobs() == [(f"out/{name}.txt",)]
    assert story.read(f"out/{name}.txt") == "1"
    assert story.build(f"out/{name}.txt").up_to_date == 1


def test_names_that_are_no_utf8(story: Quick) -> None:
    story.write("Flowfile", "n = glob(in/{n}.txt)\nall: out/{n}.txt\n\nout/{n}.txt: in/{n}.txt\n    cp {in} {out}\n")
    story.write("in/\udcff.txt", b"1")
    story.bflow("build")
    assert story.read("out/\udcff.txt") == "1"
    story.bflow("build", "--json")
    story.bflow("build", "in/\udcfe.txt", ok=2)
