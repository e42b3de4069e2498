"""Domains over what a rule makes: evaluated once that is made, anew in every build, and never from what is left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from quick import Quick
from story import Story


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Quick]:
    """An empty project, and the command in this process; `command` is the real one."""
    story = Quick(tmp_path)
    yield story
    story.close()


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Story]:
    """An empty project, and the real command with its snapshots."""
    story = Story(tmp_path)
    yield story
    story.close()


SPLIT = """
    chunk = glob(chunks/{chunk}.txt)
    all: total.txt
    chunks/: words.txt
        for w in $(cat {in}); do echo $w > {out}$w.txt; done
    up/{chunk}.txt: chunks/{chunk}.txt
        tr a-z A-Z < {in} > {out}
    total.txt: up/{chunk}.txt
        cat {in} > {out}
"""


def test_a_glob_over_a_made_folder_is_evaluated_once_that_is_made(command: Story) -> None:
    command.write("Flowfile", SPLIT)
    command.write("words.txt", "b a c")
    assert command.build().jobs() == [("chunks/",), ("total.txt",), ("up/a.txt",), ("up/b.txt",), ("up/c.txt",)]
    assert command.read("total.txt") == "A\nB\nC\n"
    ran = command.build()
    assert (ran.ran, ran.up_to_date) == (0, 5)
    assert "nothing to do" in command.bflow("build").err
    assert "nothing to do" in command.bflow("build").err


def test_a_dynamic_list_that_grows_and_shrinks(command: Story) -> None:
    command.write("Flowfile", SPLIT)
    for words, ran in (("b a", 4), ("b a c", 3), ("a", 2), ("a d", 3), ("b a", 0)):
        command.write("words.txt", words)
        assert command.build().ran == ran
        assert command.read("total.txt").split() == sorted(words.upper().split())
        assert sorted(p.name for p in command.path("chunks").iterdir()) == sorted(f"{w}.txt" for w in words.split())
    command.bflow("build")
    assert "nothing to do" in command.bflow("build").err
    command.write("words.txt", "x")
    command.bflow("build")
    assert command.read("total.txt") == "X\n"


def test_a_dynamic_list_that_becomes_empty_is_said(story: Story) -> None:
    story.write("Flowfile", SPLIT)
    story.write("words.txt", "a")
    story.build()
    story.write("words.txt", "")
    err = story.bflow("build").err
    assert err.count("chunk has no values: glob(chunks/{chunk}.txt) finds nothing") == 1
    assert story.read("total.txt") == ""


def test_what_an_earlier_build_left_is_not_seen(story: Story) -> None:
    story.write("Flowfile", SPLIT)
    story.write("words.txt", "a b")
    story.build()
    story.remove(".bflow")  # now everything that stands there looks as if it were the user's
    story.write("words.txt", "c")
    story.build()
    assert story.read("total.txt") == "C\n"


def test_a_dry_run_of_a_dynamic_project_that_was_never_built(story: Story) -> None:
    story.write("Flowfile", SPLIT)
    story.write("words.txt", "a b")
    assert story.build("-n").jobs("would run") == [("chunks/",), ("total.txt",)]
    assert not story.exists("chunks") and not story.exists(".bflow")
    story.bflow("build", "--check", ok=1)
    story.build()
    assert story.build("-n").jobs("would run") == []
    story.bflow("build", "--check")
    story.write("words.txt", "a b c")
    assert ("chunks/",) in story.build("-n").jobs("would run")
    assert story.read("total.txt") == "A\nB\n"


def test_a_dynamic_target_asked_for_by_name(story: Story) -> None:
    story.write("Flowfile", SPLIT)
    story.write("words.txt", "a b")
    assert story.build("up/a.txt").jobs() == [("chunks/",), ("up/a.txt",)]
    err = story.bflow("build", "up/zz.txt", ok=2).err
    assert "zz is no value of chunk" in err


def test_a_dynamic_pattern_asked_for(story: Story) -> None:
    story.write("Flowfile", SPLIT)
    story.write("words.txt", "a b")
    assert story.build("up/{chunk}.txt").jobs() == [("chunks/",), ("up/a.txt",), ("up/b.txt",)]


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("lines(list)", "b\\na\\n"),
        ("table(list, x)", "x\\ty\\nb\\t1\\na\\t2\\n"),
        ("config(list.json, x)", '{"x": ["b", "a"]}'),
    ],
)
def test_a_function_over_a_made_file(command: Story, function: str, text: str) -> None:
    target = "list.json" if "json" in function else "list"
    command.write(
        "Flowfile",
        f"""
        x = {function}
        all: total
        {target}: seed
            printf '{text}' > {{out}}
        part/{{x}}:
            echo {{x}} > {{out}}
        total: part/{{x}}
            cat {{in}} > {{out}}
    """,
    )
    command.write("seed")
    assert command.build().jobs() == [(target,), ("part/a",), ("part/b",), ("total",)]
    assert command.read("total") == "b\na\n"
    assert "nothing to do" in command.bflow("build").err


def test_a_made_file_that_changes_its_list(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        x = lines(list)
        list: seed
            sort {in} > {out}
        total: {x}.part
            cat {in} > {out}
        {y}.part:
            echo {y} > {out}
    """,
    )
    for words in ("b a", "a", "c a"):
        story.write("seed", words.replace(" ", "\n") + "\n")
        story.build("total")
        assert story.read("total").split() == sorted(words.split())


def test_an_edit_of_a_made_list_is_made_again(story: Story) -> None:
    story.write("Flowfile", "x = lines(list)\ntotal:\n    echo {x} > {out}\nlist:\n    echo a > {out}\n")
    story.build("total")
    story.write("list", "mine\n")
    story.build("total")
    assert story.read("total") == "a\n"


JOINT = """
    s = one two
    (s, c) = glob(chunks/{s}/{c}.txt)
    all: {s}.total
    chunks/{s}/: {s}.words
        for w in $(cat {in}); do echo $w > {out}$w.txt; done
    up/{s}/{c}.txt: chunks/{s}/{c}.txt
        tr a-z A-Z < {in} > {out}
    {s}.total: up/{s}/{c}.txt
        cat {in} > {out}
"""


def test_a_joint_glob_is_evaluated_for_each_bound_name_as_that_is_made(command: Story) -> None:
    command.write("Flowfile", JOINT)
    command.write("one.words", "b a")
    command.write("two.words", "c")
    assert command.build("one.total").jobs() == [("chunks/one/",), ("one.total",), ("up/one/a.txt",), ("up/one/b.txt",)]
    assert not command.exists("chunks/two")
    assert command.build().jobs() == [("chunks/two/",), ("two.total",), ("up/two/c.txt",)]
    assert (command.read("one.total"), command.read("two.total")) == ("A\nB\n", "C\n")
    assert "nothing to do" in command.bflow("build").err
    command.write("two.words", "d e")
    assert command.build().jobs() == [("chunks/two/",), ("two.total",), ("up/two/d.txt",), ("up/two/e.txt",)]
    assert command.read("two.total") == "D\nE\n"


def test_one_branch_goes_on_while_the_splitter_of_another_runs(story: Story) -> None:
    """`one` is done as soon as its own splitter is: that of `two` waits for it."""
    wait = 'i=0; until [ -e "$1" ] || [ $((i+=1)) -gt 200 ]; do sleep 0.05; done; [ -e "$1" ]'
    story.write("wait.sh", wait)
    flowfile = JOINT.replace("for w", f"if [ {{s}} = two ]; then sh wait.sh {story.root}/one.total; fi; for w")
    story.write("Flowfile", flowfile)
    story.write("one.words", "a")
    story.write("two.words", "c")
    story.build("-j2")
    assert story.read("two.total") == "C\n"


def test_a_joint_glob_whose_first_name_is_a_wildcard(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        (s, c) = glob(chunks/{s}/{c}.txt)
        chunks/{s}/: {s}.words
            for w in $(cat {in}); do echo $w > {out}$w.txt; done
        {s}.total: chunks/{s}/{c}.txt
            cat {in} > {out}
    """,
    )
    story.write("one.words", "b a")
    story.build("one.total")
    assert story.read("one.total") == "a\nb\n"


def test_a_joint_dynamic_name_in_a_recipe_and_a_gathering_over_all(story: Story) -> None:
    story.write(
        "Flowfile",
        JOINT
        + """
    every: up/{s}/{c}.txt
        echo {in} : {s}/{c} > {out}
    """,
    )
    story.write("one.words", "b a")
    story.write("two.words", "a")
    story.build("every")
    text = "up/one/a.txt up/one/b.txt up/two/a.txt : one/a one/b two/a\n"
    assert story.read("every") == text
    story.write("two.words", "c")
    story.build("every")
    assert story.read("every") == text.replace("two/a", "two/c")


def test_two_levels_of_dynamic_domains(command: Story) -> None:
    command.write(
        "Flowfile",
        """
        a = lines(groups)
        b = lines(members/{a})
        all: total
        groups: seed
            cut -d: -f1 {in} > {out}
        members/{a}: seed
            grep ^{a}: {in} | cut -d: -f2 | tr ' ' '\\n' > {out}
        part/{a}/{b}:
            echo {a} {b} > {out}
        total: part/{a}/{b}
            cat {in} > {out}
    """,
    )
    command.write("seed", "x:1 2\ny:3\n")
    assert command.build().ran == 7
    assert command.read("total") == "x 1\nx 2\ny 3\n"
    assert "nothing to do" in command.bflow("build").err
    command.write("seed", "y:4\nz:5 6\n")
    command.build()
    assert command.read("total") == "y 4\nz 5\nz 6\n"


def test_a_splitter_of_what_a_splitter_made(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        a = glob(first/{a}.txt)
        (a, b) = glob(second/{a}/{b}.txt)
        all: total
        first/: seed
            for w in $(cat {in}); do echo $w-1 $w-2 > {out}$w.txt; done
        second/{a}/: first/{a}.txt
            for w in $(cat {in}); do echo $w > {out}$w.txt; done
        total: second/{a}/{b}.txt
            cat {in} > {out}
    """,
    )
    for words in ("x y", "z x", ""):
        story.write("seed", words)
        story.build()
        assert story.read("total").split() == [f"{w}-{n}" for w in sorted(words.split()) for n in (1, 2)]


def test_a_splitter_that_fails(story: Story) -> None:
    story.write("Flowfile", SPLIT.replace("for w", "false; for w"))
    story.write("words.txt", "a b")
    ran = story.build(ok=1)
    assert (ran.ran, ran.failed, ran.skipped) == (0, 1, 1)
    assert not story.exists("total.txt") and not story.exists("up")
    story.write("Flowfile", SPLIT)
    assert story.build().ran == 4


def test_a_splitter_that_fails_leaves_the_rest_with_k(story: Story) -> None:
    story.write("Flowfile", JOINT.replace("for w", "[ {s} = one ]; for w"))
    story.write("one.words", "a")
    story.write("two.words", "b")
    ran = story.build("-k", ok=1)
    assert (ran.failed, ran.skipped) == (1, 1)
    assert story.read("one.total") == "A\n"


def test_what_shows_only_once_a_splitter_has_run_is_exit_2_and_what_ran_is_kept(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        x = lines(list)
        list:
            echo a > {out}
        total: {x}.missing
            cat {in} > {out}
    """,
    )
    err = story.bflow("build", "total", ok=2).err
    assert "a.missing" in err and "no rule makes it" in err
    assert story.read("list") == "a\n"
    story.write("a.missing", "here\n")
    assert story.build("total").jobs() == [("total",)]


def test_a_temporary_splitter(story: Story) -> None:
    story.write("Flowfile", SPLIT.replace("    chunks/: words", "    [temp]\n    chunks/: words"))
    story.write("words.txt", "a b")
    assert story.build().ran == 4
    assert story.read("total.txt") == "A\nB\n"
    assert story.build().ran == 0
    story.write("words.txt", "a c")
    story.build()
    assert story.read("total.txt") == "A\nC\n"
    story.remove("total.txt", "up")
    story.build()
    assert story.read("total.txt") == "A\nC\n"


def test_a_temporary_list(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        x = lines(list)
        [temp]
        list: seed
            sort {in} > {out}
        total:
            echo {x} > {out}
    """,
    )
    for words in ("b a", "c"):
        story.write("seed", words.replace(" ", "\n") + "\n")
        story.build("total")
        assert story.read("total").split() == sorted(words.split())
        assert story.build("total").ran == 0


def test_the_outputs_deleted_come_back_from_the_cache(story: Story) -> None:
    story.write("Flowfile", SPLIT)
    story.write("words.txt", "a b")
    story.build()
    story.remove("chunks", "up", "total.txt")
    ran = story.build()
    assert (ran.ran, ran.cached) == (0, 4)
    assert story.read("total.txt") == "A\nB\n"


def test_a_name_that_its_own_maker_needs_is_an_error(story: Story) -> None:
    story.write("Flowfile", "x = lines(list)\nlist: {x}\n    echo > {out}\nout: {x}\n    cp {in} {out}\n")
    err = story.bflow("build", "out", ok=2).err
    assert "list" in err and "Flowfile:" in err


def test_a_command_over_a_dynamic_name(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        x = lines(list)
        n = shell(echo {x} | wc -w)
        list:
            printf 'a\\nb\\n' > {out}
        out: list
            echo {n} > {out}
    """,
    )
    story.build("out")
    assert story.read("out").split() == ["1", "1"]  # n follows x: one command for each value


def test_a_glob_of_other_things_does_not_wait(command: Story) -> None:
    """A glob that no dynamic target can match is known at once, and may be the splitter's own input."""
    command.write("a.md")
    command.write("b.md")
    command.write(
        "Flowfile",
        """
        doc = glob(*.md)
        chunk = glob(chunks/{chunk})
        all: up/{chunk} {chunk}.txt
        chunks/: {doc}
            for f in {in}; do echo > {out}$f; done
        up/{chunk} {chunk}.txt: chunks/{chunk}
            cat {in} | tee {out}
    """,
    )
    assert command.build().jobs() == [("chunks/",), ("up/a.md", "a.md.txt"), ("up/b.md", "b.md.txt")]
    assert "nothing to do" in command.bflow("build").err


def test_a_glob_over_dynamic_targets_waits_for_them(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        x = lines(list)
        y = glob(part/{y}.txt)
        all: out
        list: seed
            sort {in} > {out}
        part/{x}.txt:
            echo {x} > {out}
        out: part/{y}.txt
            echo {y} > {out}
    """,
    )
    for words in ("b a", "c"):
        story.write("seed", words.replace(" ", "\n") + "\n")
        story.build()
        assert story.read("out").split() == sorted(words.split())


def test_a_file_of_a_made_folder_is_an_input_by_name(story: Story) -> None:
    story.write("Flowfile", "x = lines(made/list)\nmade/:\n    echo a > {out}list\nout:\n    echo {x} > {out}\n")
    story.build("out")
    assert story.read("out") == "a\n"


def test_a_glob_of_the_rule_that_makes_the_folder_leaves_it_out(story: Story) -> None:
    story.write("a.md", "1")
    story.write("doc/b.md", "2")
    story.write(
        "Flowfile",
        """
        site/: **/*.md
            for f in {in}; do cp $f {out}$(basename $f .md)2.md; done
        count: **/*.md
            echo {in} > {out}
    """,
    )
    for _ in range(2):
        story.build("site/")
        assert sorted(p.name for p in story.path("site").iterdir()) == ["a2.md", "b2.md"]
        story.build("count")
        assert story.read("count") == "a.md doc/b.md site/a2.md site/b2.md\n"
        story.touch("a.md")


def test_a_follower_over_a_made_folder(story: Story) -> None:
    """As the joint form: `c` follows `s`, which has values of its own."""
    story.write(
        "Flowfile",
        JOINT.replace("(s, c) = glob(chunks", "c = glob(chunks")
        + "\n    every: up/{s}/{c}.txt\n        echo {in} > {out}\n",
    )
    story.write("one.words", "b a")
    story.write("two.words", "c")
    assert story.build("one.total").jobs() == [("chunks/one/",), ("one.total",), ("up/one/a.txt",), ("up/one/b.txt",)]
    story.build("every")
    assert story.read("every") == "up/one/a.txt up/one/b.txt up/two/c.txt\n"


def test_splitters_that_one_word_waits_for_run_side_by_side(story: Story) -> None:
    """Each waits for the other to have begun."""
    wait = 'i=0; until [ -e "$1" ] || [ $((i+=1)) -gt 200 ]; do sleep 0.05; done; [ -e "$1" ]'
    story.write("wait.sh", wait)
    scratch = story.root.parent / "scratch"
    both = f"touch {scratch}/{{s}}; sh wait.sh {scratch}/one; sh wait.sh {scratch}/two; for w"
    every = "every: up/{s}/{c}.txt\n    echo {in} > {out}\n"
    flowfile = dedent(JOINT.replace("for w", both)) + every
    story.write("../scratch/.keep")
    story.write("Flowfile", flowfile)
    story.write("one.words", "a")
    story.write("two.words", "b")
    story.build("every", "-j2")
    assert story.read("every") == "up/one/a.txt up/two/b.txt\n"


def test_until_a_rule_whose_jobs_are_not_known_yet(story: Story) -> None:
    story.write("Flowfile", SPLIT)
    story.write("words.txt", "a b")
    assert story.build("--until", "up/{chunk}.txt").jobs() == [("chunks/",), ("up/a.txt",), ("up/b.txt",)]
    assert not story.exists("total.txt")
    assert story.build().jobs() == [("total.txt",)]
