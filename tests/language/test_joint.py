"""Joint names, through the command: rows, joins, empty cells, selections, conditionals, `{name.rows}`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quick import Quick
from story import Story


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Quick]:
    """An empty project, and the command in this process."""
    story = Quick(tmp_path)
    yield story
    story.close()


def says(story: Story, flowfile: str, *words: str, env: dict[str, str | None] | None = None) -> list[str]:
    """Build (`out` by default) and give the lines of the file `out`."""
    story.write("Flowfile", flowfile)
    story.build(*(words or ("out",)), env=env)
    return story.read("out").splitlines()


# A rule that makes whatever a test's inputs name, so that `{in}` shows how they expanded.
ANY = "\nd/{any}:\n    touch {out}\nany ~ .+\n"

LANES = """
sample\tlane\tread1\tread2\tpatient
b\t1\tb1_1.fq\tb1_2.fq\tp1
a\t1\ta1_1.fq\t\tp2
a\t2\ta2_1.fq\ta2_2.fq\tp2
"""


def test_the_last_name_takes_the_rest_of_a_row(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        (variant, opt) = debug -O0 -g, release -O2, bare
        all: out/{variant}
        out/{variant}:
            echo {variant}:{opt} x{opt}y {opt} . > {out}
    """,
    )
    assert story.build().ran == 3
    assert story.read("out/debug") == "debug:-O0 debug:-g x-O0y x-gy -O0 -g .\n"
    assert story.read("out/release") == "release:-O2 x-O2y -O2 .\n"
    assert story.read("out/bare") == ".\n"


def test_a_row_that_ends_early_has_empty_cells(story: Story) -> None:
    flowfile = "(a, b, c) = 1 x y z, 2 w, 3\nout: d/{a}_{b}_{c} d/{a}-{b} d/{a}\n    echo {in} > {out}\n" + ANY
    assert says(story, flowfile) == ["d/1_x_y d/1_x_z d/1-x d/2-w d/1 d/2 d/3"]


def test_joint_names_expand_together(story: Story) -> None:
    flowfile = "(a, b) = 2 x, 1 y\nout: d/{b}{a} d/{a}{b}\n    echo {in} : {a}={b} {a} {b} > {out}\n" + ANY
    assert says(story, flowfile) == ["d/x2 d/y1 d/2x d/1y : 2=x 1=y 2 1 x y"]


def test_rows_are_distinct_in_order_of_first_appearance(story: Story) -> None:
    flowfile = "(a, b) = 2 x, 1 y, 2 x, 1 x\nout: d/{a}{b}\n    echo {in} {a.rows} > {out}\n" + ANY
    assert says(story, flowfile) == ["d/2x d/1y d/1x 2 1 1"]


def test_where_some_are_bound_the_others_follow(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        (sample, file) = s1 one.txt two.txt, s2 three.txt
        all: out/{sample}.txt
        out/{sample}.txt: data/{file}
            echo {sample} {in} {file} {file.stem} > {out}
    """,
    )
    for name in ("one", "two", "three"):
        story.write(f"data/{name}.txt", name)
    story.build()
    assert story.read("out/s1.txt") == "s1 data/one.txt data/two.txt one.txt two.txt one two\n"
    assert story.read("out/s2.txt") == "s2 data/three.txt three.txt three\n"
    assert story.build("out/s2.txt").up_to_date == 1


def test_a_target_of_joint_names_binds_only_what_stands_in_one_row(story: Story) -> None:
    story.write("Flowfile", "(a, b) = 1 x, 2 y\nall: out/{a}{b}\nout/{a}{b}:\n    echo > {out}\n")
    assert story.build().jobs() == [("out/1x",), ("out/2y",)]
    story.bflow("build", "out/1y", ok=2)


def test_a_word_expands_over_the_distinct_rows_of_the_names_it_holds(story: Story) -> None:
    story.write("units.tsv", LANES)
    flowfile = """
        (sample, lane, read1, read2, patient) = table(units.tsv)
        out: d/qc/{sample} d/bam/{sample}.{lane} d/{patient}
            echo {in} > {out}
            echo {sample} {sample}.{lane} {patient} >> {out}
            echo {sample.rows} / {lane.rows} / {patient.rows} >> {out}
    """
    assert says(story, flowfile + ANY.replace("\n", "\n        ")) == [
        "d/qc/b d/qc/a d/bam/b.1 d/bam/a.1 d/bam/a.2 d/p1 d/p2",
        "b a b.1 a.1 a.2 p1 p2",
        "b a a / 1 1 2 / p1 p2 p2",
    ]


def test_an_input_word_that_holds_an_empty_cell_is_left_out(story: Story) -> None:
    story.write("units.tsv", LANES)
    story.write(
        "Flowfile",
        """
        (sample, lane, read1, read2) = table(units.tsv)
        all: bam/{sample}.{lane}
        bam/{sample}.{lane}: r1=raw/{read1} r2=raw/{read2}
            echo {in} : {r1} : {r2} : {read2} > {out}
        raw/{any}.fq:
            touch {out}
    """,
    )
    story.build()
    assert story.read("bam/a.1") == "raw/a1_1.fq : raw/a1_1.fq : :\n"
    assert story.read("bam/a.2") == "raw/a2_1.fq raw/a2_2.fq : raw/a2_1.fq : raw/a2_2.fq : a2_2.fq\n"


def test_an_empty_cell_written_down(story: Story) -> None:
    flowfile = "(a, b, c) = 1 '' x, 2 y z\nout: d/{a}{b}\n    echo {in} : {c} > {out}\n" + ANY
    assert says(story, flowfile) == ["d/2y : x z"]


def test_a_joint_assignment_joins_on_a_name_assigned_before(story: Story) -> None:
    story.write("units.tsv", LANES)
    story.write("samples.tsv", "sample\tcondition\na\ttreated\nc\tlost\nb\tcontrol\n")
    flowfile = """
        (sample, lane) = table(units.tsv)
        (sample, condition) = table(samples.tsv)
        out: d/{sample}_{lane}_{condition} d/{condition}
            echo {in} : {sample.rows} > {out}
    """
    assert says(story, flowfile + ANY.replace("\n", "\n        ")) == [
        "d/b_1_control d/a_1_treated d/a_2_treated d/control d/treated : b a a"
    ]


def test_a_join_keeps_the_order_of_the_earlier(story: Story) -> None:
    flowfile = (
        "x = 3 1 2\ny = b a\n(y, x, z) = a 1 p, b 3 q, a 3 r, c 1 s, b 9 t\nout: d/{x}{y}{z}\n    echo {in} > {out}\n"
    )
    assert says(story, flowfile + ANY) == ["d/3bq d/3ar d/1ap"]


def test_a_join_drops_the_values_that_only_one_side_has(story: Story) -> None:
    flowfile = "s = a b c\n(s, f) = b 2, a 1, d 4\nout: d/{s} d/{s}{f} d/{f}\n    echo {in} : {s} > {out}\n"
    assert says(story, flowfile + ANY) == ["d/a d/b d/a1 d/b2 d/1 d/2 : a b"]


def test_a_list_before_a_glob_selects(story: Story) -> None:
    for name in ("s01", "s02", "s03"):
        story.write(f"data/{name}.nii")
    tail = "out: data/{subject}.nii\n    echo {in} > {out}\n"
    flowfile = "subject = s03 s01 s09\nsubject = glob(data/{subject}.nii)\n" + tail
    assert says(story, flowfile) == ["data/s03.nii data/s01.nii"]
    assert says(story, flowfile, "out", "subject=s02") == ["data/s02.nii"]


def test_a_list_before_a_joint_glob_selects(story: Story) -> None:
    for name in ("s01_1", "s01_2", "s02_1", "s03_1"):
        story.write(f"data/{name}.nii")
    names = "subject = s03 s01\n(subject, run) = glob(data/{subject}_{run}.nii)\n"
    flowfile = names + "out: data/{subject}_{run}.nii\n    echo {in} : {run} > {out}\n"
    assert says(story, flowfile) == ["data/s03_1.nii data/s01_1.nii data/s01_2.nii : 1 2"]
    assert says(story, flowfile, "out", "subject=s01", "run=2") == ["data/s01_2.nii : 2"]


def test_rows_are_the_conditional(story: Story) -> None:
    flowfile = """
        os = shell(echo $SYSTEM)
        (os, LIBS) = Linux -lrt -lm, Darwin -lc++, Plain
        out:
            echo cc {LIBS} . > {out}
    """
    assert says(story, flowfile, env={"SYSTEM": "Linux"}) == ["cc -lrt -lm ."]
    assert says(story, flowfile, env={"SYSTEM": "Darwin"}) == ["cc -lc++ ."]
    assert says(story, flowfile, env={"SYSTEM": "Plain"}) == ["cc ."]
    assert says(story, flowfile, "out", "os=Linux", env={"SYSTEM": "Linux"}) == ["cc -lrt -lm ."]
    assert says(story, flowfile, env={"SYSTEM": "Beos"}) == ["cc ."]
    assert "os and LIBS have no values" in story.bflow("build", "out", env={"SYSTEM": "Beos"}).err


def test_rows_after_a_variable_of_the_environment(story: Story) -> None:
    flowfile = "mode ?= fast\n(mode, FLAGS) = fast -O2, slow -O0 -g\nout:\n    echo {mode} {FLAGS} > {out}\n"
    assert says(story, flowfile) == ["fast -O2"]
    assert says(story, flowfile, env={"mode": "slow"}) == ["slow -O0 -g"]
    assert says(story, flowfile, "out", "mode=slow") == ["slow -O0 -g"]
    assert "mode=medium" in story.bflow("build", "out", "mode=medium", ok=2).err


def test_an_override_of_a_joint_name_keeps_the_matching_rows(story: Story) -> None:
    flowfile = "(a, b) = 1 x, 2 y, 3 x\nout: d/{a}{b}\n    echo {in} > {out}\n" + ANY
    assert says(story, flowfile) == ["d/1x d/2y d/3x"]
    assert says(story, flowfile, "out", "b=x") == ["d/1x d/3x"]
    assert says(story, flowfile, "out", "a=3 2") == ["d/2y d/3x"]
    assert says(story, flowfile, "out", "a=3", "b=x") == ["d/3x"]
    assert "b=z" in story.bflow("build", "out", "b=z", ok=2).err
    story.bflow("build", "out", "a=1", "b=y", ok=2)


def test_an_override_that_no_row_has_runs_nothing_and_names_what_is_near(story: Story) -> None:
    story.write("Flowfile", "(sample, b) = alpha x, beta y\nout:\n    echo {b} > {out}\n")
    err = story.bflow("build", "out", "sample=alpah", ok=2).err
    assert "alpha" in err and not story.exists("out")


def test_rows_may_hold_other_names_and_the_cells_before(story: Story) -> None:
    flowfile = (
        "dir = data\n(s, f) = a {dir}/{s}.txt, b {dir}/{s}_1.txt {dir}/{s}_2.txt\nout:\n    echo {s}={f} > {out}\n"
    )
    assert says(story, flowfile) == ["a=data/a.txt b=data/b_1.txt b=data/b_2.txt"]
    assert says(story, flowfile, "out", "dir=x") == ["a=x/a.txt b=x/b_1.txt b=x/b_2.txt"]


def test_a_starred_joint_name_expands_within_the_bound_row(story: Story) -> None:
    story.write("units.tsv", LANES)
    story.write(
        "Flowfile",
        """
        (sample, lane) = table(units.tsv)
        all: demux/{sample}/{lane}.fq
        demux/{sample}/{*lane}.fq:
            echo {sample} | tee {out}
    """,
    )
    assert story.build().jobs() == [("demux/a/1.fq", "demux/a/2.fq"), ("demux/b/1.fq",)]


def test_a_follower_of_joint_names(story: Story) -> None:
    story.write("units.tsv", LANES)
    story.write(
        "Flowfile",
        """
        (sample, lane) = table(units.tsv)
        bam = bam/{sample}.{lane}.bam
        all: merged/{sample}
        {bam}:
            echo {sample} {lane} > {out}
        merged/{sample}: {bam}
            echo {in} {bam} > {out}
    """,
    )
    assert story.build().ran == 5
    assert story.read("merged/a") == "bam/a.1.bam bam/a.2.bam bam/a.1.bam bam/a.2.bam\n"


@pytest.mark.parametrize("order", [("sample", "lane"), ("lane", "sample")])
def test_an_input_with_both_a_joint_and_a_plain_name(story: Story, order: tuple[str, str]) -> None:
    word = "d/{{{}}}-{{v}}-{{{}}}".format(*order)
    flowfile = (
        f"(sample, lane) = b 1, a 1, a 2\nv = 9 8\nout: {word}\n    echo {{in}} : {{sample}}{{v}} > {{out}}\n" + ANY
    )
    rows = [("b", "1"), ("a", "1"), ("a", "2")]
    if order[0] == "sample":
        # all that belongs together is chosen where its first name stands
        expected = [f"d/{s}-{v}-{n}" for s, n in rows for v in "98"]
    else:
        expected = [f"d/{n}-{v}-{s}" for s, n in rows for v in "98"]
    assert says(story, flowfile) == [" ".join(expected) + " : b9 b8 a9 a8"]


def test_a_reassignment_of_one_name_of_a_row(story: Story) -> None:
    flowfile = "(a, b) = 1 x, 2 y\nb = z\nout:\n    echo {a}{b} > {out}\n"
    assert says(story, flowfile) == ["1z 2z"]
    flowfile = "(a, b) = 1 x, 2 y\nb += z\nout:\n    echo {b} > {out}\n"
    assert says(story, flowfile) == ["x y z"]


def test_written_values_must_match_their_pattern_and_read_ones_are_left_out(story: Story) -> None:
    story.write("t.tsv", "a\tb\n1\tx\n2\ty\nq\tz\n")
    assert says(story, "a ~ [0-9]\n(a, b) = table(t.tsv)\nout:\n    echo {a}{b} > {out}\n") == ["1x 2y"]
    story.write("Flowfile", "a ~ [0-9]\n(a, b) = 1 x, q z\nout:\n    echo {a}{b} > {out}\n")
    assert "q does not match" in story.bflow("build", "out", ok=2).err


def test_a_dot_rows_stays_in_step(story: Story) -> None:
    flowfile = "(a, b, c) = 1 x 7, 2 '' 8, 1 z 9\nout:\n    printf '<%s>' {a.rows} -{b.rows} {c.rows} > {out}\n"
    assert says(story, flowfile) == ["<1><2><1><-x><-><-z><7><8><9>"]


def test_a_dot_rows_under_a_bound_name(story: Story) -> None:
    story.write("units.tsv", LANES)
    story.write(
        "Flowfile",
        """
        (sample, lane, patient) = table(units.tsv)
        all: out/{sample}
        out/{sample}:
            echo {lane.rows} {patient.rows} {patient} {sample.rows} {sample} > {out}
    """,
    )
    story.build()
    assert story.read("out/a") == "1 2 p2 p2 p2 a a a\n"
