"""Names and domains, through the command: values, patterns, wildcards, expansion, followers, overrides, scopes.

Each test is one sentence of the language's description. test_joint.py has joint names, test_functions.py functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buildflow.disk import Disk
from buildflow.errors import FlowError
from buildflow.flow import Flow
from buildflow.job import Job
from buildflow.plan.resolve import Resolver
from buildflow.state import State
from quick import Quick
from story import CHECKOUT, Story


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


def says(story: Story, flowfile: str, *words: str, env: dict[str, str | None] | None = None) -> str:
    """Build (`out` by default) and read the file `out`, without its line end."""
    story.write("Flowfile", flowfile)
    story.build(*(words or ("out",)), env=env)
    return story.read("out").rstrip("\n")


def wrong(story: Story, flowfile: str, *words: str, env: dict[str, str | None] | None = None) -> str:
    """What the command says of a wrong Flowfile or target; it runs nothing."""
    story.write("Flowfile", flowfile)
    ran = story.bflow("build", *words, ok=2, env=env)
    assert not story.exists("out")
    return ran.err


# ---- values and patterns


def test_words_give_a_list_of_values(story: Story) -> None:
    flowfile = """
        x = a 'b c' "d"e {f,g}.h i{1..3}
        out:
            printf '<%s>' {x} > {out}
    """
    assert says(story, flowfile) == "<a><b c><de><f.h><g.h><i1><i2><i3>"


def test_a_list_keeps_what_it_says_twice(story: Story) -> None:
    flowfile = """
        FLAGS = -I a -I b
        out:
            echo {FLAGS} > {out}
    """
    assert says(story, flowfile) == "-I a -I b"


def test_a_pattern_is_matched_in_full(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        run ~ \\d+   # digits
        out/{run}.txt:
            echo {run} > {out}
    """,
    )
    assert story.build("out/12.txt").ran == 1
    for path in ("out/12a.txt", "out/a12.txt", "out/a.txt"):
        assert "does not match" in story.bflow("build", path, ok=2).err


def test_a_pattern_ends_at_a_hash_after_white_space_only(story: Story) -> None:
    story.write("Flowfile", "n ~ a#b|c d # the rest\nout/{n}.txt:\n    echo > {out}\n")
    assert story.build("out/a#b.txt", "out/c d.txt").ran == 2


def test_a_pattern_may_allow_slashes(story: Story) -> None:
    story.write("Flowfile", "page ~ .+\nsite/{page}.html:\n    echo {page} > {out}\n")
    assert story.build("site/a/b/c.html").ran == 1
    assert story.read("site/a/b/c.html") == "a/b/c\n"


@pytest.mark.parametrize("order", ["x = 1 b\nx ~ [0-9]\n", "x ~ [0-9]\nx = 1 b\n", "x ~ [0-9]\nx = 1\nx += b\n"])
def test_what_is_written_and_does_not_match_is_an_error(story: Story, order: str) -> None:
    err = wrong(story, order + "all: other\nother:\n    echo > {out}\n")
    assert "b does not match" in err
    assert "Flowfile:" in err


def test_a_given_value_that_does_not_match_is_an_error(story: Story) -> None:
    flowfile = "x ~ [0-9]\nx ?= 1\nout:\n    echo {x} > {out}\n"
    assert "b does not match" in wrong(story, flowfile, "out", "x=b")
    assert "b does not match" in wrong(story, flowfile, "out", env={"x": "b"})
    assert says(story, flowfile, "out", "x=3") == "3"


def test_what_a_function_finds_and_does_not_match_is_left_out(story: Story) -> None:
    story.write("list", "1\nb\n2\n")
    assert says(story, "x = lines(list)\nx ~ [0-9]\nout:\n    echo {x} > {out}\n") == "1 2"


def test_a_pattern_before_a_glob_counts_in_it(story: Story) -> None:
    for path in ("p/a.md", "p/b/c.md"):
        story.write(path)
    flowfile = "page ~ .+\npage = glob(p/{page}.md)\nout:\n    echo {page} > {out}\n"
    assert says(story, flowfile) == "a b/c"
    flowfile = "page = glob(p/{page}.md)\npage ~ .+\nout:\n    echo {page} > {out}\n"
    assert says(story, flowfile) == "a"


def test_a_pattern_before_a_glob_decides_how_a_path_is_split(story: Story) -> None:
    for path in ("d/a_b_1.txt", "d/c_2.txt", "d/c_x.txt"):
        story.write(path)
    flowfile = "n ~ \\d+\n(s, n) = glob(d/{s}_{n}.txt)\nout:\n    echo {s}={n} > {out}\n"
    assert says(story, flowfile) == "a_b=1 c=2"


def test_a_pattern_that_is_no_regex(story: Story) -> None:
    err = wrong(story, "x ~ a(b\nout:\n    echo > {out}\n")
    assert "Flowfile:1:5" in err or "Flowfile:1:" in err


def test_a_name_with_neither_matches_no_slash(story: Story) -> None:
    story.write("Flowfile", "out/{any}.txt:\n    echo > {out}\n")
    assert story.build("out/a.b c.txt").ran == 1
    assert "no rule makes it" in story.bflow("build", "out/a/b.txt", ok=2).err


def test_a_name_with_values_matches_those_slashes_included(story: Story) -> None:
    story.write("Flowfile", "f = a/b c\nout/{f}.txt:\n    echo {f} > {out}\n")
    story.build("out/a/b.txt", "out/c.txt")
    err = story.bflow("build", "out/d.txt", ok=2).err
    assert "d is no value of f" in err and "a/b c" in err


def test_a_name_with_nothing_is_one_empty_value(story: Story) -> None:
    flowfile = """
        NONE =
        out:
            printf '<%s>' a {NONE} x{NONE}y b > {out}
    """
    assert says(story, flowfile) == "<a><xy><b>"


def test_an_empty_value_is_text_in_a_target_and_an_input(story: Story) -> None:
    story.write("in.txt", "1")
    story.write("Flowfile", "suffix =\nout{suffix}: in{suffix}.txt\n    cp {in} {out}\n")
    assert story.build().ran == 1
    assert story.read("out") == "1"


# ---- wildcards in targets


def test_a_wildcard_is_never_empty(story: Story) -> None:
    story.write("Flowfile", "out/{s}.txt:\n    echo > {out}\n")
    assert "no rule makes it" in story.bflow("build", "out/.txt", ok=2).err


def test_the_same_name_twice_is_the_same_text(story: Story) -> None:
    story.write("Flowfile", "{s}/{s}.txt:\n    echo {s} > {out}\n")
    assert story.build("a/a.txt").ran == 1
    assert "no rule makes it" in story.bflow("build", "a/b.txt", ok=2).err


def test_all_targets_use_the_same_wildcards(story: Story) -> None:
    err = wrong(story, "o/{a}.txt o/{b}.log: in/{a}\n    touch {out}\n", "o/1.txt")
    assert "Flowfile:1:" in err and "wildcards" in err
    err = wrong(story, "o/{a}.txt out:\n    touch {out}\n", "o/1.txt")
    assert "Flowfile:1:" in err


def test_a_name_of_one_value_is_text_in_a_target(story: Story) -> None:
    story.write("Flowfile", "v = 1.2\ndist/x-{v}.tar sums.txt:\n    echo {v} | tee {out}\n")
    ran = story.build()
    assert ran.jobs() == [("dist/x-1.2.tar", "sums.txt")]
    assert story.build("sums.txt", "dist/x-1.2.tar").up_to_date == 1


@pytest.mark.parametrize(
    "value", ["shell(echo 1.2)", "lines(version)", "config(c.json, v)", "env(VERSION, 1.2)", "{major}.2"]
)
def test_a_name_of_one_value_is_text_in_a_target_wherever_it_comes_from(story: Story, value: str) -> None:
    story.write("version", "1.2\n")
    story.write("c.json", '{"v": 1.2}')
    story.write(
        "Flowfile", f"major = shell(echo 1)\nv = {value}\ndist/x-{{v}}.tar sums.txt:\n    echo {{v}} | tee {{out}}\n"
    )
    assert story.build().jobs() == [("dist/x-1.2.tar", "sums.txt")]
    assert story.read("sums.txt") == "1.2\n"
    assert story.build("sums.txt", "dist/x-1.2.tar").up_to_date == 1


def test_a_path_splits_leftmost_longest_where_its_inputs_are(story: Story) -> None:
    story.write("a/x_y.txt", "1")
    story.write("b/z.txt", "2")
    flowfile = """
        {s}_{t}.out: a/{s}.txt b/{t}.txt
            echo {s} {t} > {out}
        {s}_{t}.any:
            echo {s} {t} > {out}
    """
    story.write("Flowfile", flowfile)
    story.build("x_y_z.out", "x_y_z.any")
    assert story.read("x_y_z.out") == "x_y z\n"
    assert story.read("x_y_z.any") == "x_y z\n"
    story.remove("a/x_y.txt", "b/z.txt")
    story.write("a/x.txt", "1")
    story.write("b/y_z.txt", "2")
    story.build("x_y_z.out")
    assert story.read("x_y_z.out") == "x y_z\n"


# ---- expansion in inputs


def test_what_the_target_binds_has_that_value_and_the_rest_expands(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        s = b a
        v = 2 1
        all: mean_{v}.txt
        mean_{v}.txt: raw/{s}_{v}.txt
            echo {v}: {in} > {out}
        raw/{s}_{v}.txt:
            echo {s} {v} > {out}
    """,
    )
    assert story.build().ran == 6
    assert story.read("mean_1.txt") == "1: raw/b_1.txt raw/a_1.txt\n"
    assert story.read("mean_2.txt") == "2: raw/b_2.txt raw/a_2.txt\n"


def test_a_product_goes_in_order_of_first_appearance_the_last_fastest(story: Story) -> None:
    flowfile = """
        a = 1 2
        b = x y
        out: d/{b}_{a}_{b}
            echo {in} > {out}
        d/{any}:
            touch {out}
    """
    assert says(story, flowfile) == "d/x_1_x d/x_2_x d/y_1_y d/y_2_y"


def test_words_expand_one_after_the_other(story: Story) -> None:
    flowfile = """
        a = 2 1
        out: d/{a}.x d/{a}.y
            echo {in} > {out}
        d/{any}:
            touch {out}
    """
    assert says(story, flowfile) == "d/2.x d/1.x d/2.y d/1.y"


def test_a_name_with_only_a_pattern_has_nothing_to_expand_over(story: Story) -> None:
    err = wrong(story, "n ~ \\d+\nout: d/{n}.txt\n    cat {in} > {out}\n", "out")
    assert "Flowfile:2:" in err and "{n}" in err and "expand" in err


def test_a_name_that_nothing_assigns_has_nothing_to_expand_over(story: Story) -> None:
    err = wrong(story, "sample = a\nout: d/{sampel}.txt\n    cat {in} > {out}\n", "out")
    assert "{sampel}" in err and "did you mean sample" in err


def test_an_alias_is_an_expand(story: Story) -> None:
    story.write("Flowfile", "s = a b\nall: out/{s}.txt\nout/{s}.txt:\n    echo {s} > {out}\n")
    assert story.build().jobs() == [("out/a.txt",), ("out/b.txt",)]


def test_one_job_makes_a_file_for_every_value_of_a_starred_name(story: Story) -> None:
    story.write("run.fq", "x")
    story.write(
        "Flowfile",
        """
        s = a b
        all: demux/{s}.gz
        demux/{*s}.fq: run.fq
            for f in {out}; do cp {in} $f; done
        demux/{s}.gz: demux/{s}.fq
            cp {in} {out}
    """,
    )
    assert story.build().jobs() == [("demux/a.fq", "demux/b.fq"), ("demux/a.gz",), ("demux/b.gz",)]


def test_a_star_beside_a_wildcard(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        s = a b
        r = 1 2
        all: demux/{r}/{s}.fq
        demux/{r}/{*s}.fq:
            echo {r} {s} | tee {out}
    """,
    )
    ran = story.build()
    assert ran.jobs() == [("demux/1/a.fq", "demux/1/b.fq"), ("demux/2/a.fq", "demux/2/b.fq")]
    assert story.read("demux/2/b.fq") == "2 a b\n"


# ---- followers


def test_a_follower_is_the_file_of_the_value_at_hand_and_all_where_it_is_free(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        sample = a b
        bam = out/{sample}.bam
        all: out/{sample}.stat merged
        {bam}:
            echo {sample} {bam} > {out}
        out/{sample}.stat: {bam}
            echo {in} {bam} {bam.stem} > {out}
        merged: {bam}
            echo {in} {bam} > {out}
    """,
    )
    story.build()
    assert story.read("out/b.bam") == "b out/b.bam\n"
    assert story.read("out/b.stat") == "out/b.bam out/b.bam b\n"
    assert story.read("merged") == "out/a.bam out/b.bam out/a.bam out/b.bam\n"


def test_a_follower_of_a_follower_with_text_around_it(story: Story) -> None:
    flowfile = """
        s = a b
        t = x y
        base = {s}-{t}
        file = d/{base}.txt
        out: {file}.gz
            echo {in} : {base} > {out}
        d/{any}.gz:
            touch {out}
    """
    assert says(story, flowfile) == "d/a-x.txt.gz d/a-y.txt.gz d/b-x.txt.gz d/b-y.txt.gz : a-x a-y b-x b-y"


def test_a_follower_of_several_words_stands_for_each(story: Story) -> None:
    flowfile = """
        s = a b
        pair = {s}_1 {s}_2
        all: out/{s}
        out/{s}: d/{pair}.fq
            echo {in} : {pair} > {out}
        d/{any}.fq:
            touch {out}
    """
    story.write("Flowfile", flowfile)
    story.build()
    assert story.read("out/b") == "d/b_1.fq d/b_2.fq : b_1 b_2\n"


def test_a_target_of_a_follower_of_several_words(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        s = a b
        pair = d/{s}_1 d/{s}_2
        all: d/{s}_1
        {pair}:
            for f in {out}; do echo {s} > $f; done
    """,
    )
    assert story.build().jobs() == [("d/a_1", "d/a_2"), ("d/b_1", "d/b_2")]


def test_a_function_whose_argument_holds_names_follows_them(story: Story) -> None:
    story.write("kind/a.txt", "x\n")
    story.write("kind/b.txt", "y\nz\n")
    story.write(
        "Flowfile",
        """
        s = a b
        kind = lines(kind/{s}.txt)
        all: out/{s} every
        out/{s}: ref/{kind}
            echo {in} : {kind} > {out}
        every: ref/{kind}
            echo {in} : {kind} > {out}
        ref/{any}:
            touch {out}
    """,
    )
    story.build()
    assert story.read("out/a") == "ref/x : x\n"
    assert story.read("out/b") == "ref/y ref/z : y z\n"
    assert story.read("every") == "ref/x ref/y ref/z : x y z\n"


def test_a_word_that_holds_a_name_and_its_follower(story: Story) -> None:
    story.write("kind/a.txt", "x\n")
    story.write("kind/b.txt", "y\nz\n")
    flowfile = """
        s = a b
        kind = lines(kind/{s}.txt)
        bam = {s}.bam
        out: d/{s}-{kind} d/{kind}-{s} d/{bam}-{s}
            echo {in} : {s}={kind} > {out}
        d/{any}:
            touch {out}
    """
    assert says(story, flowfile) == "d/a-x d/b-y d/b-z d/x-a d/y-b d/z-b d/a.bam-a d/b.bam-b : a=x b=y b=z"


def test_a_follower_binds_in_a_target_by_what_its_function_gives(story: Story) -> None:
    story.write("kind/a.txt", "x\n")
    story.write("kind/b.txt", "y\nz\n")
    story.write(
        "Flowfile",
        """
        s = a b
        kind = lines(kind/{s}.txt)
        all: out/{s}/{kind}
        out/{s}/{kind}:
            echo {s} {kind} > {out}
    """,
    )
    assert story.build().jobs() == [("out/a/x",), ("out/b/y",), ("out/b/z",)]
    assert "no value of kind" in story.bflow("build", "out/a/y", ok=2).err


# ---- empty domains


def test_an_empty_domain_expands_to_nothing_and_is_said_once_a_build(command: Story) -> None:
    flowfile = """
        s = glob(none/{s}.txt)
        all: o/{s}.a o/{s}.b out
        o/{s}.a o/{s}.b: none/{s}.txt
            touch {out}
        out: none/{s}.txt
            echo .{in} -{s} {s} . > {out}
    """
    said = "bflow: Flowfile:1: s has no values: glob(none/{s}.txt) finds nothing\n"
    command.write("Flowfile", flowfile)
    assert command.bflow("build").err.count(said) == 1
    assert command.read("out") == ".\n"
    ran = command.bflow("build")
    assert ran.err.startswith(said) and "nothing to do" in ran.err
    assert said not in command.bflow("build", "-q").err
    command.write("none/a.txt")
    ran = command.build()
    assert ran.jobs() == [("o/a.a", "o/a.b"), ("out",)]


def test_a_domain_that_is_not_empty_is_not_mentioned(story: Story) -> None:
    story.write("d/a.txt")
    story.write("Flowfile", "s = glob(d/{s}.txt)\nE =\nout: d/{s}.txt\n    echo {s}{E} > {out}\n")
    assert "finds nothing" not in story.bflow("build").err


# ---- names with one value


def test_a_name_with_one_value_may_stand_in_an_include(story: Story) -> None:
    story.write("align_bwa.flow", "out:\n    echo bwa > {out}\n")
    story.write("align_star.flow", "out:\n    echo star > {out}\n")
    flowfile = 'aligner = bwa\ninclude "align_{aligner}.flow"\n'
    assert says(story, flowfile) == "bwa"
    assert says(story, flowfile, "out", "aligner=star") == "star"
    assert "stands for 2" in story.bflow("build", "out", "aligner=bwa star", ok=2).err


def test_a_name_with_one_value_may_stand_in_a_function_and_an_attribute(story: Story) -> None:
    story.write("lists/a", "1\n2\n")
    flowfile = """
        which = a
        ways = FOO=3
        x = lines(lists/{which})
        y = shell(cat lists/{which})
        z = glob({dir}/*)
        dir = lists
        [vars = {ways}, log = log/{which}.txt]
        out:
            echo {x} {y} {z} $FOO {log} > {out}
    """
    assert says(story, flowfile) == "1 2 1 2 lists/a 3 log/a.txt"


def test_in_a_recipe_a_name_has_its_bound_value_or_all_its_values(story: Story) -> None:
    story.write("Flowfile", "s = a b\nt = x y\nall: out/{s}\nout/{s}:\n    echo {s} -{t} {t}- {s}{t} > {out}\n")
    story.build()
    assert story.read("out/a") == "a -x -y x- y- ax ay\n"


# ---- the command line, the environment, and = ?= +=

OUT = "\nout:\n    printf '<%s>' {x} > {out}\n"


@pytest.mark.parametrize(
    ("lines", "plain", "environment", "command_line"),
    [
        ("x = 1", "[1]", "[1]", "[c] [d]"),
        ("x ?= 1", "[1]", "[e] [f]", "[c] [d]"),
        ("x += 1", "[1]", "[1]", "[c] [d]"),
        ("x = 1\nx ?= 2", "[1]", "[1]", "[c] [d]"),
        ("x ?= 1\nx ?= 2", "[1]", "[e] [f]", "[c] [d]"),
        ("x ?= 1\nx = 2", "[2]", "[2]", "[c] [d]"),
        ("x = 1\nx += 2 3", "[1] [2] [3]", "[1] [2] [3]", "[c] [d]"),
        ("x ?= 1\nx += 2", "[1] [2]", "[e] [f] [2]", "[c] [d]"),
        ("x = 1\nx = 2", "[2]", "[2]", "[c] [d]"),
        ("x = 1\nx = {x} 2", "[1] [2]", "[1] [2]", "[c] [d]"),
        ("x ?= 1\nx = {x} 2", "[1] [2]", "[e] [f] [2]", "[c] [d]"),
        ("x = 1\nx = -{x}-", "[-1-]", "[-1-]", "[c] [d]"),
        ("x = 1 2\nx = -{x}-", "[-1-] [-2-]", "[-1-] [-2-]", "[c] [d]"),
        ("x := 1\nx ::= {x} 2", "[1] [2]", "[1] [2]", "[c] [d]"),
        ("x=1\nx += 2", "[1] [2]", "[1] [2]", "[c] [d]"),
        ("x =\nx += 1", "[1]", "[1]", "[c] [d]"),
        ("y = 1\nx = {y}\ny = 2", "[2]", "[2]", "[c] [d]"),
        ("x = a\nx += {y}\ny = 2 3", "[a] [2] [3]", "[a] [2] [3]", "[c] [d]"),
    ],
)
def test_assignments_and_who_wins(
    lines: str, plain: str, environment: str, command_line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Flowfile").write_text(lines + "\nout:\n    echo [{x}] > {out}\n")

    def recipe(**overrides: str) -> str:
        return filled(Flow.load(str(tmp_path / "Flowfile"), overrides=overrides), "out")

    assert recipe() == f"echo {plain} > out"
    monkeypatch.setenv("x", "e f")
    assert recipe() == f"echo {environment} > out"
    assert recipe(x="c d") == f"echo {command_line} > out"


def filled(flow: Flow, target: str) -> str:
    """The recipe of a target as it would run; nothing is run, and no state is kept."""
    disk = Disk(flow.root, State(f"{flow.root}/.none"))
    resolver = Resolver(flow, disk)
    resolver.goal(target)
    job = Job(resolver, resolver.plan.maker[resolver.plan.ids[target]])
    assert job.rule.recipe is not None
    return job.rule.recipe.filler.fill(job.values, job.rows)


@pytest.mark.parametrize(("environment", "words"), [(None, "[1] [2]"), ("e 'f g'", "[e] [f g] [2]")])
def test_the_command_line_wins_over_the_environment_and_both_over_a_default(
    story: Story, environment: str | None, words: str
) -> None:
    flowfile = "x ?= 1\nx += 2\nout:\n    printf '[%s] ' {x} > {out}\n"
    env = {"x": environment}
    assert says(story, flowfile, env=env).strip() == words
    assert says(story, flowfile, "out", "x=c 'd e'", env=env).strip() == "[c] [d e]"


def test_an_override_is_split_as_a_shell_does(story: Story) -> None:
    assert says(story, "x = 1" + OUT, "out", "x=a 'b c' {d,e}") in ("<a><b c><d><e>", "<a><b c><{d,e}>")
    assert says(story, "x = 1" + OUT, "out", "x=") == "<>"  # printf had no word


def test_an_override_counts_for_what_holds_the_name(story: Story) -> None:
    story.write("Flowfile", "v = 0.5 0.25\nall: out/{v}\nout/{v}:\n    echo {v} > {out}\n")
    assert story.build("v=0.1", "all").jobs() == [("out/0.1",)]


def test_an_override_of_a_name_of_a_local_include(story: Story) -> None:
    story.write("more.flow", "x = 1\n")
    assert says(story, 'include "more.flow"' + OUT, "out", "x=2") == "<2>"


def test_any_other_word_with_an_equals_sign_is_a_target(story: Story) -> None:
    story.write("Flowfile", "x = 1\ny ~ .*\n'./a=b':\n    echo {x} > {out}\n")
    assert story.build("a=b").ran == 1
    assert "y=3" in story.bflow("build", "y=3", ok=2).err


def test_holes_are_resolved_from_the_final_values(story: Story) -> None:
    assert says(story, "x = {y}/{z}\ny = 1\nz = 2\ny = 3" + OUT) == "<3/2>"


def test_a_circle_is_an_error_where_it_is_used(story: Story) -> None:
    rules = "other:\n    echo > {out}\nout:\n    echo {x} > {out}\nlast:\n    echo {z} > {out}\n"
    story.write("Flowfile", "x = {y}\ny = {x} 1\nz = {z} 1\n" + rules)
    story.build("other")
    err = story.bflow("build", "out", ok=2).err
    assert "Flowfile:" in err and "holds itself" in err
    err = story.bflow("build", "last", ok=2).err
    assert "Flowfile:3" in err and "holds itself" in err


# ---- misspelt variables


def test_a_misspelt_variable_in_a_target(story: Story) -> None:
    err = wrong(story, "subject = a b\nout/{subjet}.txt: in.txt\n    cp {in} {out}\n", "out/a.txt")
    assert "Flowfile:2:" in err and "{subjet}" in err and "{subject}" in err


@pytest.mark.parametrize(
    "rule",
    [
        "out/{subjet}.txt: in_{subjet}.txt\n    cp {in} {out}\n",
        "out/{subjet}.txt:\n    echo {subjet} > {out}\n",
        "[python]\nout/{subjet}.txt:\n    open(str(outputs[0]), 'w').write(subjet)\n",
        "out/{subjet}.txt:\n    #!/bin/sh\n    echo $subjet > $out\n",
    ],
)
def test_a_wildcard_that_is_used_is_no_misspelt_variable(story: Story, rule: str) -> None:
    story.write("in_a.txt")
    story.write("Flowfile", "subject = b\n" + rule)
    story.build("out/a.txt", "-n")


def test_a_wildcard_with_no_assigned_name_near_it_is_no_misspelt_variable(story: Story) -> None:
    story.write("Flowfile", "voxel = b\nout/{subject}.txt:\n    echo > {out}\n")
    assert story.build("out/a.txt").ran == 1


def test_a_wildcard_with_a_domain_is_no_misspelt_variable(story: Story) -> None:
    story.write(
        "Flowfile",
        "subject = b\nsubjects = c d\nsubjec ~ .*\n{subjects}.x:\n    echo > {out}\n{subjec}.y:\n    echo > {out}\n",
    )
    assert story.build("c.x", "e.y").ran == 2


# ---- scopes


def test_a_local_include_shares_the_scope(story: Story) -> None:
    story.write("a.flow", "y = {x}2\n")
    assert says(story, 'include "a.flow"\nx = 1' + OUT.replace("{x}", "{y}")) == "<12>"


@pytest.fixture
def library(command: Story, tmp_path: Path) -> Callable[[str, str], dict[str, str]]:
    """Gives the command a rule library of the test's own: `library(name, text)` is the environment to run it in."""
    package = tmp_path / "package" / "buildflow"
    package.mkdir(parents=True)
    for entry in (CHECKOUT / "buildflow").iterdir():
        if entry.name != "rules":
            (package / entry.name).symlink_to(entry)

    def add(name: str, text: str) -> dict[str, str]:
        command.write(package / "rules" / name, text)
        return {"PYTHONPATH": str(package.parent)}

    return add


def test_a_library_has_its_own_scope(command: Story, library: Callable[[str, str], dict[str, str]]) -> None:
    env = library("own.flow", "x = library\nname ~ [a-z]+\n{name}.own: {name}.src\n    echo {name} {x} > {out}\n")
    command.write("a.src")
    command.write(
        "Flowfile", "include <own.flow>\nname = b c\nx = project\nout: a.own\n    echo {x} $(cat {in}) > {out}\n"
    )
    command.build("out", env=env)
    assert command.read("out") == "project a library\n"


def test_a_library_sees_only_what_it_is_given(command: Story, library: Callable[[str, str], dict[str, str]]) -> None:
    env = library("own.flow", "out:\n    echo {x} > {out}\n")
    command.write("Flowfile", "x = project\ninclude <own.flow>\n")
    assert "{x}" in command.bflow("build", "out", ok=2, env=env).err
    command.write("Flowfile", "y = 1 2\ninclude <own.flow> x={y}\ny = 3 4\n")
    command.build("out", env=env)
    assert command.read("out") == "3 4\n"


def test_a_library_file_may_be_included_several_times(
    command: Story, library: Callable[[str, str], dict[str, str]]
) -> None:
    env = library("own.flow", "x ?= no\n{dir}/x.txt:\n    echo {x} > {out}\n")
    command.write("Flowfile", "include <own.flow> x=1 dir=a\ninclude <own.flow> x='2 3' dir=b\nall: a/x.txt b/x.txt\n")
    command.build(env=env)
    assert (command.read("a/x.txt"), command.read("b/x.txt")) == ("1\n", "2 3\n")


@pytest.mark.parametrize("operator", ["?=", "="])
def test_who_wins_for_the_names_of_a_library(
    command: Story, library: Callable[[str, str], dict[str, str]], operator: str
) -> None:
    env = library("own.flow", f"x {operator} library\nout:\n    echo {{x}} > {{out}}\n")
    outer = {**env, "x": "environment"}
    soft = operator == "?="

    def built(flowfile: str, *words: str, env: dict[str, str]) -> str:
        command.write("Flowfile", flowfile)
        command.build("out", *words, env=env)
        return command.read("out").strip()

    given, plain = "include <own.flow> x=include\n", "include <own.flow>\n"
    assert built(plain, env=env) == "library"
    assert built(plain, env=outer) == ("environment" if soft else "library")
    assert built(given, env=outer) == "include"
    if soft:
        assert built(given, "x=command", env=outer) == "command"
        assert built(plain, "x=command", env=outer) == "command"
    else:
        assert "x=command" in command.bflow("build", "out", "x=command", ok=2, env=env).err
        # the project's own x is another name, and what is given holds it
        flowfile = "x = 1\ninclude <own.flow> x={x}\n"
        assert built(flowfile, "x=command", env=env) == "command"


def test_a_library_may_add_to_its_own_names(command: Story, library: Callable[[str, str], dict[str, str]]) -> None:
    env = library("own.flow", "x ?= a\nx += b\nout:\n    echo {x} > {out}\n")
    command.write("Flowfile", "include <own.flow>\n")
    command.build("out", env=env)
    assert command.read("out") == "a b\n"
    command.build("out", "x=c", env=env)
    assert command.read("out") == "c\n"


def test_a_name_of_the_library_may_be_given_to_itself(
    command: Story, library: Callable[[str, str], dict[str, str]]
) -> None:
    env = library("own.flow", "CFLAGS ?= -O0\nout:\n    echo {CFLAGS} > {out}\n")
    command.write("Flowfile", "CFLAGS ?= -O2 -Wall\ninclude <own.flow> CFLAGS={CFLAGS}\n")
    command.build("out", env=env)
    assert command.read("out") == "-O2 -Wall\n"


# ---- reserved names, and names with two meanings


@pytest.mark.parametrize("name", "in out cpus mem gpus attempt depfile log".split())
@pytest.mark.parametrize(
    "line",
    [
        "{} = 1",
        "{} ?= 1",
        "{} += 1",
        "{} ~ .*",
        "(a, {}) = 1 2",
        "x/{{{}}}: \n    touch {{out}}",
        "x: {}=f\n    touch {{out}}",
        "{}=x: f\n    touch {{out}}",
    ],
)
def test_reserved_names(name: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "Flowfile").write_text(line.format(name) + "\n")
    with pytest.raises(FlowError) as caught:
        Flow.load(str(tmp_path / "Flowfile"))
    assert name in caught.value.message and caught.value.span is not None


@pytest.mark.parametrize("name", "job inputs outputs wildcards".split())
@pytest.mark.parametrize("use", ["o/{{{}}}: f", "o: {}=f", "{}=o: f"])
def test_reserved_names_of_python_recipes(name: str, use: str, tmp_path: Path) -> None:
    flowfile = tmp_path / "Flowfile"
    flowfile.write_text("[python]\n" + use.format(name) + "\n    pass\n")
    with pytest.raises(FlowError, match="reserved"):
        Flow.load(str(flowfile))
    flowfile.write_text(use.format(name) + "\n    touch {out}\n")
    Flow.load(str(flowfile))


@pytest.mark.parametrize(
    "rule",
    [
        "o/{n}: n=f\n    touch {out}",
        "n=o/{n}: f\n    touch {out}",
        "o: v=f\n    touch {out}",
        "v=o: f\n    touch {out}",
        "n=o: n=f\n    touch {out}",
        "n=o: f | n=g\n    touch {out}",
        "o/{*n}: n=f\n    touch {out}",
    ],
)
def test_one_name_with_two_meanings_is_an_error(rule: str, tmp_path: Path) -> None:
    flowfile = tmp_path / "Flowfile"
    flowfile.write_text("v = 1 2\n" + ("n = 1 2\n" if "*" in rule else "") + rule + "\n")
    with pytest.raises(FlowError, match="two meanings") as caught:
        Flow.load(str(flowfile))
    assert caught.value.span is not None
