"""The functions on the right of `=`: glob, table, lines, config, env, shell; what they read is tracked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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


def says(story: Story, flowfile: str, *words: str, env: dict[str, str | None] | None = None) -> str:
    """Build (`out` by default) and give the text of the file `out`, without its line end."""
    story.write("Flowfile", flowfile)
    story.build(*(words or ("out",)), env=env)
    return story.read("out").rstrip("\n")


def shown(story: Story, *assignments: str, text: str = "{x}", env: dict[str, str | None] | None = None) -> str:
    """What `text` is in a recipe after these assignments."""
    return says(story, "\n".join(assignments) + f"\nout:\n    echo {text} > {{out}}\n", env=env)


def wrong(story: Story, *assignments: str, text: str = "{x}") -> str:
    """What the command says of these assignments."""
    story.write("Flowfile", "\n".join(assignments) + f"\nout:\n    echo {text} > {{out}}\n")
    err = story.bflow("build", "out", ok=2).err
    assert "Flowfile:" in err
    return err


# ---- glob


def test_the_names_of_the_left_are_the_wildcards_of_a_glob(story: Story) -> None:
    for path in ("d/b_1.txt", "d/a_1.txt", "d/a_2.txt", "d/.hidden_1.txt", "d/a.txt", "d/sub/c_1.txt", "d/B_9.txt"):
        story.write(path)
    assert shown(story, "(s, n) = glob(d/{s}_{n}.txt)", text="{s}={n}") == "B=9 a=1 a=2 b=1"
    assert shown(story, "s = glob(d/{s}_*.txt)", text="{s}") == "B a b"
    assert shown(story, "n = glob(d/*_{n}.txt)", text="{n}") == "9 1 2"
    assert shown(story, "(n, s) = glob(d/{s}_{n}.txt)", text="{n}={s}") == "9=B 1=a 2=a 1=b"


def test_other_names_in_a_glob_are_filled(story: Story) -> None:
    for path in ("d/a_1.txt", "d/b_2.txt", "e/c_1.txt"):
        story.write(path)
    assert shown(story, "s = glob({dir}/{s}_{n}.txt)", "dir = d", "n = 2", text="{s}") == "b"
    assert shown(story, "s = glob({dir}/{s}_1.txt)", "dir = d e", text="{dir}/{s}") == "d/a e/c"


def test_a_glob_without_wildcards_gives_the_paths(story: Story) -> None:
    for path in ("d/b.txt", "d/a.txt", "d/e/c.txt", "d/.h.txt", "d/.i/x.txt", "d/Z.txt", "d/ä.txt", "d/a b.txt"):
        story.write(path)
    assert shown(story, "x = glob(d/*.txt)", text="[{x}]") == "[d/Z.txt] [d/a b.txt] [d/a.txt] [d/b.txt] [d/ä.txt]"
    assert shown(story, "x = glob(d/**/*.txt)", text="{x.name}") == "Z.txt a b.txt a.txt b.txt c.txt ä.txt"
    assert shown(story, "x = glob(d/?.txt)") == "d/Z.txt d/a.txt d/b.txt d/ä.txt"
    assert shown(story, "x = glob(d/{a,b}.txt)") == "d/a.txt d/b.txt"
    assert shown(story, "x = glob(d/*.txt, d/e/*, d/a.txt)", text="{x.stem}") == "Z a b a b c ä"
    assert shown(story, "x = glob(d/.*.txt)") == "d/.h.txt"


def test_a_glob_gives_files_and_with_a_slash_folders(story: Story) -> None:
    story.write("d/a/x")
    story.write("d/b")
    assert shown(story, "x = glob(d/*)") == "d/b"
    assert shown(story, "x = glob(d/*/)") == "d/a/"
    assert shown(story, "x = glob(d/{x}/)") == "a"


def test_a_glob_outside_the_project(story: Story) -> None:
    story.write("../shared/a.fq")
    story.write("../shared/b.fq")
    assert shown(story, "x = glob(../shared/{x}.fq)") == "a b"
    assert shown(story, f"x = glob({story.root.parent}/shared/*.fq)", text="{x.stem}") == "a b"


def test_a_glob_that_does_not_fit_the_names_of_the_left(story: Story) -> None:
    story.write("d/a.txt")
    assert "{b}" in wrong(story, "(a, b) = glob(d/{a}.txt)", text="{a}")
    assert "wildcard" in wrong(story, "(a, b) = glob(d/*.txt)", text="{a}")


def test_a_glob_whose_wildcard_is_not_on_the_left_is_pointed_out(story: Story) -> None:
    story.write("data/a.fq", "")
    story.write(
        "Flowfile",
        """
        SAMPLES = glob(data/{sample}.fq)
        all: out/{SAMPLES}.txt
        out/{sample}.txt: data/{sample}.fq
            cp {in} {out}
        """,
    )
    said = story.bflow("build", ok=2).err
    assert "{sample} is bound by no target here" in said
    assert "write sample = glob(data/{sample}.fq), and {sample} instead of {SAMPLES}" in said


def test_a_name_of_the_left_twice_in_a_glob(story: Story) -> None:
    story.write("d/a/a.txt")
    story.write("d/a/b.txt")
    assert shown(story, "x = glob(d/{x}/{x}.txt)") == "a"


def test_terms_may_be_mixed(story: Story) -> None:
    story.write("d/a.txt")
    story.write("list", "l\nm\n")
    assert shown(story, "x = first glob(d/{x}.txt) lines(list) last") == "first a l m last"
    assert shown(story, "x = glob(d/{x}.txt)", "x += lines(list)") == "a l m"


# ---- table


TABLE = "# a comment\nsample\tfile\tn\n\nb\tx.fq\t2\n# another\na\ty.fq\t1\n"


def test_a_table_without_columns_takes_those_named_as_on_the_left(story: Story) -> None:
    story.write("t.tsv", TABLE)
    assert shown(story, "(n, sample) = table(t.tsv)", text="{sample}{n}") == "b2 a1"
    assert shown(story, "sample = table(t.tsv)", text="{sample}") == "b a"


def test_a_table_with_columns(story: Story) -> None:
    story.write("t.tsv", TABLE)
    assert shown(story, "(x, y) = table(t.tsv, file, n)", text="{x}={y}") == "x.fq=2 y.fq=1"
    assert shown(story, "x = table({t}, {column})", "t = t.tsv", "column = file") == "x.fq y.fq"


def test_a_table_of_commas_by_its_extension(story: Story) -> None:
    story.write("t.csv", 'a,b\n"x, ""y""",1\n"two\nlines",2\n')
    assert shown(story, "(a, b) = table(t.csv)", text="[{a}]={b}") == '[x, "y"]=1 [two\nlines]=2'


def test_a_table_that_is_not_there_or_lacks_a_column(story: Story) -> None:
    story.write("t.tsv", TABLE)
    assert "did you mean sample" in wrong(story, "(sampel, n) = table(t.tsv)", text="{sampel}")
    assert "does not exist" in wrong(story, "x = table(missing.tsv)")
    assert "no column" in wrong(story, "x = table(t.tsv, z)")


def test_a_table_of_one_column_is_distinct_where_it_expands(story: Story) -> None:
    story.write("t.tsv", "s\tn\na\t1\na\t2\n")
    story.write("d/a")
    assert says(story, "s = table(t.tsv)\nout: d/{s}\n    echo {in} > {out}\n") == "d/a"


# ---- lines, config, env, shell


def test_lines(story: Story) -> None:
    story.write("list", "b\n\na c\n# no comment\n")
    assert shown(story, "x = lines(list)", text="[{x}]") == "[b] [a c] [# no comment]"
    assert "does not exist" in wrong(story, "x = lines(missing)")


def test_config(story: Story) -> None:
    story.write("c.yaml", "a:\n  b: [1, x, 1.50]\n  m: {k1: v1, k2: [v2, v3]}\n  t: 2\n")
    story.write("c.toml", '[a]\nb = [1, "x", 1.50]\n[[rows]]\ns = "p"\nn = 1\n[[rows]]\nn = 2\ns = "q"\n')
    story.write("c.json", '{"a": {"b": ["1", "x", 1.50]}}')
    for name in ("c.yaml", "c.toml", "c.json"):
        assert shown(story, f"x = config({name}, a.b)") == "1 x 1.50"
    assert shown(story, "x = config(c.yaml, a.m)") == "k1 k2"
    assert shown(story, "(k, v) = config(c.yaml, a.m)", text="{k}={v}") == "k1=v1 k2=v2 k2=v3"
    assert shown(story, "(n, s) = config(c.toml, rows)", text="{s}{n}") == "p1 q2"


def test_a_missing_key_is_an_error(story: Story) -> None:
    story.write("c.json", '{"alpha": {"beta": 1}}')
    err = wrong(story, "x = config(c.json, alpha.bta)")
    assert "there is no bta in alpha of c.json" in err and "beta" in err


def test_env(story: Story) -> None:
    env = {"COLOUR": "red blue"}
    assert shown(story, "x = env(COLOUR)", text="[{x}]", env=env) == "[red blue]"
    assert shown(story, "x = env(COLOUR, green)") == "green"
    assert shown(story, "x = env(COLOUR, '')", text="[{x}]") == "[]"
    assert "COLOUR" in wrong(story, "x = env(COLOUR)")


def test_shell(story: Story) -> None:
    assert shown(story, "x = shell(echo {n} 2; printf '3 4\\n5')", "n = 1", text="[{x}]") == "[1] [2] [3] [4] [5]"
    assert shown(story, "x = shell(echo {n}0)", "n = 1 2", text="{n}={x}") == "1=10 2=20"
    assert shown(story, "x = shell(awk 'BEGIN { print 1 }' | tr 1 2)") == "2"
    err = wrong(story, "x = shell(echo no >&2; false | true)")
    assert "status 1" in err and "no" in err


def test_a_shell_is_run_at_every_start_and_its_output_is_what_is_tracked(command: Story) -> None:
    command.write("Flowfile", "x = shell(echo . >> ../calls; cat ../answer)\nout:\n    echo {x} > {out}\n")
    command.write("../answer", "1")
    calls = 0
    for answer, text in (("1", "done"), ("1", "nothing to do"), ("2", "done"), ("2", "nothing to do")):
        command.write("../answer", answer)
        assert text in command.bflow("build").err
        assert command.read("out") == answer + "\n"
        before, calls = calls, len(command.read("../calls"))
        assert calls > before
    command.bflow("build", "-n")
    assert len(command.read("../calls")) > calls


def test_shells_run_in_written_order_once(story: Story) -> None:
    flowfile = """
        a = 0
        b = shell(echo b >> ../order; echo {a})
        a = shell(echo a >> ../order; echo 1)
        c = shell(echo c >> ../order)
        out:
            echo {c} {b} {a} > {out}
    """
    assert says(story, flowfile) == "1 1"
    assert story.read("../order").split() == ["a", "b", "c"]
    flowfile = flowfile.replace("echo {a})", "echo 0)")
    story.remove("../order")
    assert says(story, flowfile) == "0 1"
    assert story.read("../order").split() == ["b", "a", "c"]


def test_a_shell_that_is_not_used_is_run_as_well(story: Story) -> None:
    story.write("Flowfile", "x = shell(exit 3)\nout:\n    echo > {out}\n")
    assert "status 3" in story.bflow("build", ok=2).err


@pytest.mark.parametrize(
    "value", ["glob()", "table()", "lines()", "lines(a, b)", "config()", "env()", "shell()", "nothing(x)", "glob(x"]
)
def test_a_call_that_is_wrong_is_an_error_at_its_place(story: Story, value: str) -> None:
    assert "Flowfile:1:" in wrong(story, f"x = {value}")


# ---- what is read is tracked


@pytest.mark.parametrize(
    ("value", "path", "first", "second", "expected"),
    [
        ("lines(list)", "list", "1\n", "2\n", ("1", "2")),
        ("table(t.csv)", "t.csv", "x\n1\n", "x\n2\n", ("1", "2")),
        ("config(c.json, x)", "c.json", '{"x": 1}', '{"x": 2}', ("1", "2")),
        ("glob(d/{x}.txt)", "d/2.txt", None, "", ("1", "1 2")),
        ("glob(none/{x}.txt)", "none/2.txt", None, "", ("", "2")),
        ("glob(**/{x}.txt)", "e/f/2.txt", None, "", ("1", "1 2")),
        ("glob(e/f/*.txt) 3", "e/f/2.txt", None, "", ("3", "e/f/2.txt 3")),
        ("glob(d/2.txt) 3", "d/2.txt", None, "", ("3", "d/2.txt 3")),
        ("glob(../other/{x})", "../other/2", None, "", ("", "2")),
    ],
)
def test_what_a_function_reads_is_tracked(
    command: Story, value: str, path: str, first: str | None, second: str, expected: tuple[str, str]
) -> None:
    command.write("d/1.txt")
    command.write("Flowfile", f"x = {value}\nout:\n    echo {{x}} > {{out}}\n")
    if first is not None:
        command.write(path, first)
    command.bflow("build")
    assert command.read("out").strip() == expected[0]
    assert "nothing to do" in command.bflow("build").err
    command.write(path, second)
    command.bflow("build")
    assert command.read("out").strip() == expected[1]
    if first is None:
        command.remove(path)
        command.bflow("build")
        assert command.read("out").strip() == expected[0]


def test_a_variable_of_the_environment_is_tracked(command: Story) -> None:
    command.write("Flowfile", "x = env(A, none)\ny ?= 1\nout:\n    echo {x} {y} > {out}\n")
    for env, text in (
        ({}, "none 1"),
        ({"A": "a"}, "a 1"),
        ({"A": "a", "y": "2"}, "a 2"),
        ({"A": "b"}, "b 1"),
        ({}, "none 1"),
    ):
        command.bflow("build", env=env)  # type: ignore[arg-type]
        assert command.read("out").strip() == text
        assert "nothing to do" in command.bflow("build", env=env).err  # type: ignore[arg-type]


def test_a_follower_s_reads_are_tracked(command: Story) -> None:
    command.write("kind/a.txt", "x\n")
    command.write("Flowfile", "kind = lines(kind/{s}.txt)\n{s}.out:\n    echo {s} {kind} > {out}\n")
    command.bflow("build", "a.out")
    assert command.read("a.out") == "a x\n"
    command.write("kind/a.txt", "y\n")
    command.bflow("build", "a.out")
    assert command.read("a.out") == "a y\n"


# ---- what globs see


def test_a_glob_sees_no_file_that_bflow_wrote(story: Story) -> None:
    story.write("d/a.txt")
    flowfile = """
        x = glob(d/*.txt)
        all: out d/made.txt
        out:
            echo {x} > {out}
        %s
            touch {out}
    """
    # as a target it is seen, whether it is there or not
    assert says(story, flowfile % "d/made.txt:", "out") == "d/a.txt d/made.txt"
    story.build("all")
    assert says(story, flowfile % "d/made.txt:", "out") == "d/a.txt d/made.txt"
    # what no rule makes any more is what an earlier build left
    assert story.exists("d/made.txt")
    assert says(story, flowfile.replace("d/made.txt", "") % "other:", "out") == "d/a.txt"
    # edited, it is the user's
    story.write("d/made.txt", "mine")
    assert says(story, flowfile.replace("d/made.txt", "") % "other:", "out") == "d/a.txt d/made.txt"


def test_a_glob_sees_the_targets_of_rules_with_finite_domains(story: Story) -> None:
    story.write("src/a.c")
    story.write("src/b.c")
    story.write("obj/own.o")
    flowfile = """
        n = glob(src/{n}.c)
        o = glob(obj/{o}.o)
        all: out obj/{n}.o
        obj/{n}.o: src/{n}.c
            touch {out}
        out: obj/*.o
            echo {in} : {o} > {out}
    """
    expected = "obj/a.o obj/b.o obj/own.o : a b own"
    assert says(story, flowfile) == expected
    assert story.build("all").ran == 0
    story.remove("src/a.c")
    assert says(story, flowfile) == "obj/b.o obj/own.o : b own"
    assert story.exists("obj/a.o")


def test_a_clean_checkout_and_a_built_tree_give_the_same_plan(story: Story) -> None:
    story.write("raw/a.txt")
    story.write("raw/b.txt")
    story.write(
        "Flowfile",
        """
        s = glob(raw/{s}.txt)
        t = glob(mid/{t}.txt)
        every = glob(**/*.txt)
        u = glob(**/{u}.end)
        all: end/{t}.end out
        mid/{s}.txt: raw/{s}.txt
            echo mid {s} > {out}
        mid/extra.txt:
            echo extra > {out}
        end/{t}.end: mid/{t}.txt
            cp {in} {out}
        out: mid/*
            echo {in} : {every} : {u} > {out}
    """,
    )
    first = story.build("-n").jobs("would run")
    assert first == [
        ("end/a.end",), ("end/b.end",), ("end/extra.end",), ("mid/a.txt",), ("mid/b.txt",), ("mid/extra.txt",), ("out",)
    ]  # fmt: skip
    assert story.build().ran == 7
    text = "mid/a.txt mid/b.txt mid/extra.txt : mid/a.txt mid/b.txt mid/extra.txt raw/a.txt raw/b.txt : a b extra\n"
    assert story.read("out") == text
    assert story.build().up_to_date == 7
    story.remove(".bflow/snapshots")
    assert story.build("-B").ran == 7
    assert story.read("out") == text
    story.remove("mid", "end", "out", ".bflow")
    assert story.build("-n").jobs("would run") == first


def test_domains_that_see_each_other_s_targets(story: Story) -> None:
    """Which of them is asked for first must not matter."""
    story.write("top.md")
    story.write("raw/x.md")
    story.write(
        "Flowfile",
        """
        a = glob({a}.md)
        b = glob(made/{b}.md)
        c = glob(more/{c}.md)
        all: {a}.html {b}.html {c}.html
        made/{a}.md: {a}.md
            cp {in} {out}
        more/{b}.md: made/{b}.md
            cp {in} {out}
        {a}.html: {a}.md
            cp {in} {out}
        x.md: raw/x.md
            cp {in} {out}
        {b}2.html: made/{b}.md
            cp {in} {out}
        out:
            echo {a} : {b} : {c} > {out}
    """,
    )
    story.build("out")
    assert story.read("out") == "top x : top x : top x\n"
    for order in ("{c} : {b} : {a}", "{b} : {c} : {a}", "{b} : {a} : {c}"):
        story.write("Flowfile", story.read("Flowfile").rpartition("echo")[0] + f"echo {order} > {{out}}\n")
        story.build("out")
        assert story.read("out") == "top x : top x : top x\n"


def test_a_glob_over_its_own_targets_sees_the_files_that_are_the_user_s(story: Story) -> None:
    story.write("d/a.txt", "1")
    story.write(
        "Flowfile",
        """
        s = glob(d/{s}.txt)
        d/{s}.txt: d/{s}.txt.gz
            touch {out}
        out:
            echo {s} > {out}
    """,
    )
    assert story.build("out").ran == 1
    assert story.read("out") == "a\n"


def test_asking_for_a_pattern_with_finite_domains_builds_all(story: Story) -> None:
    for name in ("a", "b"):
        story.write(f"data/{name}.nii")
    rule = "out/{subject}.mif: data/{subject}.nii\n    cp {in} {out}\n"
    story.write("Flowfile", "subject = glob(data/{subject}.nii)\nother:\n    touch {out}\n" + rule)
    assert story.build("out/{subject}.mif", "-n").jobs("would run") == [("out/a.mif",), ("out/b.mif",)]
    story.write("Flowfile", "subject = glob(data/{subject}.nii)\n" + rule)
    assert story.build().jobs() == [("out/a.mif",), ("out/b.mif",)]
    story.write("Flowfile", rule)
    assert "{subject} has no values" in story.bflow("build", ok=2).err
    assert "{subject} has no values" in story.bflow("build", "out/{subject}.mif", ok=2).err
