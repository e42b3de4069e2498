"""Names from Python: every form of `flow[name] = …`, and what is refused, at its file and line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from buildflow import Flow, FlowError, Results, config, env, glob, lines, shell, table


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names_of(flow: Flow, *names: str) -> list[str]:
    """The values that names take together, in order: each is a file of a phony-like rule."""
    pattern = "_".join(f"{{{name}}}" for name in names)
    flow.rule(f"v/{pattern}.x", shell=f"echo {pattern} > {{out}}")
    results = flow.build(f"v/{pattern}.x")
    assert isinstance(results, Results)
    return [path.name[:-2] for path in results.outputs.get("out", [])]


@pytest.mark.parametrize(
    "value, expected",
    [
        (["0.5", "0.25"], ["0.5", "0.25"]),
        (("b", "a"), ["b", "a"]),
        ("one", ["one"]),
        ("one word with spaces", ["one word with spaces"]),
        (0.5, ["0.5"]),
        (range(3), ["0", "1", "2"]),
        ({3, 1, 2}, ["1", "2", "3"]),
        ({"k": 1, "l": 2}, ["k", "l"]),
        ((str(i) for i in range(2)), ["0", "1"]),
        (Path("a.txt"), ["a.txt"]),
        ([1, "x", 2.5, True], ["1", "x", "2.5", "True"]),
        ([], []),
        (b"by", ["by"]),
    ],
)
def test_what_a_name_takes(root: Path, value: Any, expected: list[str]) -> None:
    flow = Flow()
    flow["n"] = value
    flow["other"] = ["z"]  # (a name of one value is text in a target, a second name keeps the pattern a pattern)
    flow.rule("v/{n}.x", shell="echo {n} > {out}")
    flow.rule("all", inputs="v/{n}.x")
    found = flow.build("all")
    outputs = [found.outputs.out] if not isinstance(found, Results) else found.outputs.get("out", [])
    assert [path.name[:-2] for path in outputs] == expected


def test_names_as_keywords_of_flow(root: Path) -> None:
    assert names_of(Flow(voxel=["0.5", "0.25"]), "voxel") == ["0.5", "0.25"]


def test_rows_are_a_joint_domain(root: Path) -> None:
    flow = Flow()
    flow["subject", "in_file"] = [("s1", "a"), ["s2", "b"], {"subject": "s3", "in_file": "c"}]
    assert names_of(flow, "subject", "in_file") == ["s1_a", "s2_b", "s3_c"]


def test_a_mapping_gives_pairs_to_two_names(root: Path) -> None:
    flow = Flow()
    flow["s", "f"] = {"s1": "a", "s2": "b"}
    assert names_of(flow, "s", "f") == ["s1_a", "s2_b"]


def test_the_last_name_takes_the_rest_of_a_row(root: Path) -> None:
    flow = Flow()
    flow["variant", "opt"] = [("debug", "-O0", "-g"), ("release", ["-O2", "-s"]), ("plain", None)]
    flow.rule("{variant}.txt", shell="echo x {opt} > {out}")
    assert [p.read_text() for p in flow.build("{variant}.txt").outputs.out] == ["x -O0 -g\n", "x -O2 -s\n", "x\n"]


def test_a_pattern_with_its_flags(root: Path) -> None:
    flow = Flow()
    flow["run"] = re.compile(r"[a-z]\d+", re.IGNORECASE)
    flow.rule("r/{run}.txt", shell="echo {run} > {out}")
    assert flow.build("r/A12.txt").outputs.out.read_text() == "A12\n"
    with pytest.raises(FlowError, match="no rule makes it"):
        flow.build("r/12.txt")


def test_a_pattern_holds_for_what_is_written(root: Path) -> None:
    flow = Flow()
    flow["run"] = re.compile(r"\d+")
    flow["run"] = ["1", "x"]
    flow.rule("r/{run}", shell="echo > {out}")
    with pytest.raises(FlowError, match="run = x does not match"):
        flow.build("r/{run}")


def test_a_name_that_follows(root: Path) -> None:
    flow = Flow(sample=["a", "b"])
    flow["bam"] = "bam/{sample}.bam"
    flow.rule("{bam}", shell="echo {sample} > {out}")
    flow.rule("n.txt", inputs="{bam}", shell="cat {in} > {out}")
    assert flow.build("n.txt").outputs.out.read_text() == "a\nb\n"


def test_glob_counts_the_pattern_and_the_root(root: Path) -> None:
    for name in ("x/a.txt", "x/b.txt", "x/c.dat"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("")
    flow = Flow()
    flow["c"] = glob("x/{c}.txt")
    assert names_of(flow, "c") == ["a", "b"]
    other = Flow()
    other["path"] = glob("x/*.dat")
    other.rule("n", inputs="{path}", shell="echo {in} > {out}")
    assert other.build("n").outputs.out.read_text() == "x/c.dat\n"


def test_table_lines_config_env_shell(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("s.tsv").write_text("a\tb\n1\tx\n2\ty\n")
    Path("l.txt").write_text("one\ntwo\n")
    Path("c.toml").write_text('[t]\nk = ["p", "q"]\n')
    monkeypatch.setenv("WHO", "me")
    flow = Flow()
    flow["a", "b"] = table("s.tsv")
    flow["second"] = table(Path("s.tsv"), "b")
    flow["line"] = lines("l.txt")
    flow["k"] = config("c.toml", "t.k")
    flow["who"] = env("WHO")
    flow["none"] = env("NOT_SET_AT_ALL", "default")
    flow["word"] = "x"
    flow["said2"] = shell("for i in 1 2; do echo $i; done")
    flow["mixed"] = ["first", lines("l.txt")]
    text = "{a} {b} {second} {line} {k} {who} {none} {said2} {mixed}"
    flow.rule("n", shell=f"echo {text} > {{out}}")
    expected = "1 2 x y x y one two p q me default 1 2 first one two\n"
    assert flow.build("n").outputs.out.read_text() == expected


def test_shell_reads_holes_and_leaves_the_shell_its_own(root: Path) -> None:
    flow = Flow(word="x")
    flow["said"] = shell("V=v; echo {word}${V} | awk '{print $1}'")
    flow.rule("n", shell="echo {said} > {out}")
    assert flow.build("n").outputs.out.read_text() == "xv\n"


def test_joining_on_a_name_from_before(root: Path) -> None:
    flow = Flow(sample=["s2", "s1"])
    flow["sample", "group"] = [("s1", "x"), ("s2", "y"), ("s3", "z")]
    assert names_of(flow, "sample", "group") == ["s2_y", "s1_x"]


def test_a_domain_without_values_expands_to_nothing(root: Path) -> None:
    flow = Flow(s=[])
    flow.rule("x/{s}", shell="echo > {out}")
    flow.rule("n", inputs="x/{s}", shell="echo [{in}] > {out}")
    assert flow.build("n").outputs.out.read_text() == "\n"
    assert list(flow.build("x/{s}")) == []


@pytest.mark.parametrize("value", [None, ["a", None], [("a", 1)][:0] or None])
def test_none_is_no_value(root: Path, value: Any) -> None:
    with pytest.raises(FlowError, match="None is no value"):
        Flow()["x"] = value


@pytest.mark.parametrize("name", ["a-b", "1a", "", "a b", 3, "é"])
def test_what_is_no_name(root: Path, name: Any) -> None:
    with pytest.raises(FlowError, match="is no name"):
        Flow()[name] = "x"


def assign(name: Any, value: Any) -> Callable[[Flow], None]:
    def act(flow: Flow) -> None:
        flow[name] = value

    return act


BAD: Iterable[tuple[Callable[[Flow], Any], str]] = [
    (assign("out", "x"), "reserved"),
    (assign(("a", "a"), [(1, 2)]), "twice"),
    (assign(("a", "b"), 3), "no list of rows"),
    (assign(("a", "b"), [(["x", "y"], "z")]), "stands last"),
    (assign(("a", "b"), [{"a": 1, "c": 2}]), "'c', which is none of a, b"),
    (assign("a", re.compile(b"x")), "bytes"),
    (lambda flow: flow.rule("x", bogus=1), "no attribute “bogus”"),
    (lambda flow: flow.rule("x", input="y"), "called inputs"),
    (lambda flow: flow.rule("x", threads=2, shell="true"), "called cpus"),
    (lambda flow: flow.rule([], shell="true"), "without a target"),
    (lambda flow: flow.rule("", shell="true"), "empty target"),
    (lambda flow: flow.rule("x", inputs={"a-b": "y"}, shell="true"), "no name for a file"),
    (lambda flow: flow.rule("x", shell="a", python="b"), "one recipe"),
    (lambda flow: flow.rule(r"{n,\d+}.txt", shell="a"), r"n ~ \\d\+"),
    (
        lambda flow: flow.rule("x", shell=["a"]),  # type: ignore[arg-type]
        "a recipe is text",
    ),
    (lambda flow: flow.rule("x", shell="cp $< $@"), r"\$<|\$@"),
    (lambda flow: flow.include("<nothing.flow>"), "no nothing.flow"),
    (lambda flow: flow.include("nothing.flow"), "no file nothing.flow"),
    (lambda flow: flow.rule("x", shell="a")(print), "has a recipe already"),
    (
        lambda flow: flow.rule("x")("text"),  # type: ignore[type-var]
        "no function",
    ),
]


@pytest.mark.parametrize("act, message", BAD)
def test_an_error_has_the_place_in_the_python_file(root: Path, act: Callable[[Flow], Any], message: str) -> None:
    with pytest.raises(FlowError, match=message) as caught:
        act(Flow())
    span = caught.value.span
    assert span is not None and span.source.name == __file__
    assert span.source.line(span.line).strip() != "" and f"{__file__}:{span.line}:" in str(caught.value)


def test_errors_of_a_rule_that_show_later_have_its_place(root: Path) -> None:
    flow = Flow()
    for _ in range(1):
        flow.rule("{n}.txt", shell="echo {m} > {out}")
    with pytest.raises(FlowError, match="{m} names nothing known") as caught:
        flow.build("a.txt")
    assert "flow.rule(" in str(caught.value)
    marked = str(caught.value).splitlines()[2]
    assert marked == "    " + " " * 8 + "^"  # under the statement, not under its indent


def test_each_string_is_one_word(root: Path) -> None:
    Path("a b.txt").write_text("1")
    Path("x=y").write_text("2")
    flow = Flow()
    flow.rule("out dir/c d.txt", inputs=["a b.txt", "x=y"], shell="cat {in} > {out}; echo {in} >> {out}")
    assert flow.build("out dir/c d.txt").outputs.out.read_text() == "12a b.txt x=y\n"


def test_braces_in_strings(root: Path) -> None:
    flow = Flow()
    flow.rule("lit{{x}}.txt", shell="echo {{y}} {{}} > {out}")
    flow.rule("a{b,c}.txt", shell="echo > {out}")
    assert flow.build("lit{x}.txt").outputs.out.read_text() == "{y} {{}}\n"
    assert flow.build("a{b,c}.txt").outputs.out.name == "a{b,c}.txt"
