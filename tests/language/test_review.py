"""What a review of the language found: each was once otherwise than the page says."""

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


# --- The number of subjects does not change a recipe


PYTHON = """
    s = {values}
    bam = out/{{s}}.bam
    kind = lines(kind/{{s}}.txt)
    V = 1
    W = {{V}}
    all: {{bam}} {{s}}.txt
    [python]
    {{bam}}:
        open(outputs[0], "w").write(repr((wildcards.s, s, kind)))
    [python]
    {{s}}.txt:
        seen = [n for n in ("V", "W") if n in globals()]
        open(outputs[0], "w").write(repr((sorted(wildcards), s, bam, kind, seen)))
    """


@pytest.mark.parametrize("values", ["a b", "a"])
def test_a_python_recipe_sees_what_follows_its_wildcards_however_many_there_are(story: Quick, values: str) -> None:
    story.write("Flowfile", PYTHON.format(values=values))
    story.write("kind/a.txt", "x\ny\n")
    story.write("kind/b.txt", "z\n")
    story.build()
    assert story.read("out/a.bam") == "('a', 'a', ['x', 'y'])"
    assert story.read("a.txt") == "(['s'], 'a', 'out/a.bam', ['x', 'y'], [])"
    story.write("kind/a.txt", "w\n")
    assert story.build().jobs() == [("a.txt",), ("out/a.bam",)]
    assert story.read("out/a.bam") == "('a', 'a', 'w')"


@pytest.mark.parametrize("rows", ["a ctl, b trt", "a ctl"])
def test_a_sample_sheet_of_one_row(story: Quick, rows: str) -> None:
    story.write(
        "Flowfile",
        f"""
        (s, cond) = {rows}
        all: {{s}}.txt
        [python]
        {{s}}.txt:
            open(outputs[0], "w").write(wildcards.s + cond)
        """,
    )
    story.build()
    assert story.read("a.txt") == "actl"


@pytest.mark.parametrize("values", ["a b", "a"])
def test_a_starred_name_is_a_list_and_no_wildcard(story: Quick, values: str) -> None:
    story.write(
        "Flowfile",
        f"""
        s = {values}
        [python]
        {{*s}}.txt:
            for one, path in zip(s, outputs):
                open(path, "w").write(one + repr(dict(wildcards)))
        """,
    )
    story.build("a.txt")
    assert story.read("a.txt") == "a{}"


@pytest.mark.parametrize("values", ['["a", "b"]', '["a"]'])
def test_a_function_of_the_wildcards_sees_a_name_of_one_value(story: Quick, values: str) -> None:
    story.write(
        "Flowfile.py",
        f"""
        from buildflow import Flow

        flow = Flow()
        flow["s"] = {values}
        flow.rule("all", inputs="{{s}}.txt")
        flow.rule("{{s}}.txt", inputs=lambda wildcards: f"in/{{wildcards.s}}", shell="cp {{in}} {{out}}")
        """,
    )
    story.write("in/a", "A")
    story.write("in/b", "B")
    story.build()
    assert story.read("a.txt") == "A"


# --- Folders


def test_a_folder_in_a_made_folder_is_no_input(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        u: d/sub/
            ls {in} > {out}
        v: d/sub/**
            cat {in} > {out}
        d/:
            mkdir d/sub; echo 1 > d/sub/f; echo 2 > d/g
        """,
    )
    ran = story.build("u", ok=2)
    assert "Flowfile:1:4: d/sub/ is a part of d/, which a rule makes as a whole" in ran.err
    assert "d/sub/**" in ran.err
    assert not story.exists("d")
    story.build("v")
    assert story.read("v") == "1\n"


# --- Which rule


def test_a_rule_that_would_be_needed_below_itself_is_told_so(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        {x}.gz: {x}
            cp {in} {out}
        {x}: {x}.gz
            cp {in} {out}
        """,
    )
    story.write("a", "1")
    err = story.build("a.gz.gz", ok=2).err
    assert "Flowfile:1:1: {x}.gz would make it by way of itself" in err
    assert "Flowfile:3:1: {x} would need a.gz.gz.gz" in err


def test_many_inputs_of_several_rules_are_asked_about_once(story: Quick, monkeypatch: pytest.MonkeyPatch) -> None:
    from buildflow.plan import question

    story.write(
        "Flowfile",
        """
        n = glob(src/{n}.c)
        h = glob(inc/{h}.h)
        all: {n}.o
        {x}.o: inc/{h}.h src/{x}.f
            cp src/{x}.f {out}
        {x}.o: inc/{h}.h src/{x}.c
            cp src/{x}.c {out}
        """,
    )
    for i in range(20):
        story.write(f"src/s{i}.c")
    for i in range(50):
        story.write(f"inc/h{i}.h")
    looked: list[str] = []
    look = question.Question._look

    def counted(self: question.Question, node: question._Node, above: frozenset[int]) -> None:
        looked.append(node.path)
        look(self, node, above)

    monkeypatch.setattr(question.Question, "_look", counted)
    assert story.build("-n").summary["would_run"] == 20
    assert len([path for path in looked if path.endswith(".h")]) == 50
    assert len(looked) < 50 + 3 * 20


# --- Attributes


def test_the_size_of_an_input_that_is_not_there(story: Quick) -> None:
    story.write("Flowfile", "[mem = size(scr) + 1M]\nb: src=s\n    echo {mem} > {out}\n")
    story.write("s", "1" * (1 << 20))
    err = story.build(ok=2).err
    assert "Flowfile:1:8: size(scr): the rule has no input of that name" in err and "did you mean src?" in err
    story.edit("Flowfile", "size(scr)", "size(src)")
    story.build()
    assert story.read("b") == "2M\n"
