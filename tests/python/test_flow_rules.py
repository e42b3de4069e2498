"""Rules from Python: targets, inputs (also as a function of the wildcards), attributes, environments, includes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildflow import Flow, FlowError, JobError
from buildflow.environments import native, prefix


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(name)
    return tmp_path


def text(flow: Flow, target: str, **options: Any) -> str:
    found: str = flow.build(target, **options).outputs.out.read_text()
    return found


@pytest.mark.parametrize(
    "inputs, expected",
    [
        ("a.txt", "a.txt"),
        (["a.txt", "b.txt"], "a.txt b.txt"),
        ({"src": "a.txt", "rest": ["b.txt"]}, "a.txt b.txt"),
        (Path("a.txt"), "a.txt"),
        ((f"{n}.txt" for n in "ba"), "b.txt a.txt"),
        ({"b.txt", "a.txt"}, "a.txt b.txt"),
        (("a.txt", ["b.txt"]), "a.txt b.txt"),
        ("*.txt", "a.txt b.txt"),
        (None, ""),
        ([], ""),
        (b"a.txt", "a.txt"),
    ],
)
def test_inputs_of_every_shape(root: Path, inputs: Any, expected: str) -> None:
    flow = Flow()
    flow.rule("out", inputs=inputs, shell="echo {in} > {out}")
    assert text(flow, "out").strip() == expected


def test_labels_of_inputs_and_outputs(root: Path) -> None:
    flow = Flow()
    flow.rule(
        {"one": "{n}.1", "two": "{n}.2"}, inputs={"src": "{n}.txt", "_": "b.txt"}, shell="cp {src} {one}; ls > {two}"
    )
    result = flow.build("a.1")
    assert set(result.outputs) == {"one", "two"} and result.outputs.one == root / "a.1"
    assert "b.txt" in result.outputs["two"].read_text()  # staged, and in no hole


def test_order_only_inputs(root: Path) -> None:
    flow = Flow()
    flow.rule("first", shell="echo 1 > {out}; echo $RANDOM >> {out}")
    flow.rule("out", inputs="a.txt", after="first", shell="head -n1 first > {out}; echo {in} >> {out}")
    assert text(flow, "out") == "1\na.txt\n"
    (root / "first").write_text("2\n")
    flow2 = Flow()
    flow2.rule("out", inputs="a.txt", after="first", shell="head -n1 first > {out}; echo {in} >> {out}")
    assert flow2.build("out").cached


@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda wildcards: f"{wildcards.n}.txt", "a.txt"),
        (lambda wildcards: [wildcards["n"] + ".txt", Path("b.txt")], "a.txt b.txt"),
        (lambda w: {"src": f"{w.n}.txt"}, "a.txt"),
        (lambda w: "{n}.txt", "a.txt"),
        (lambda w: None, ""),
        (lambda w: (f"{x}.txt" for x in "ab"), "a.txt b.txt"),
    ],
)
def test_inputs_as_a_function_of_the_wildcards(root: Path, function: Callable[[Any], Any], expected: str) -> None:
    flow = Flow()
    flow.rule("{n}.out", inputs=function, shell="echo {in} > {out}")
    assert text(flow, "a.out").strip() == expected


def test_labels_that_an_inputs_function_gives(root: Path) -> None:
    flow = Flow()
    flow.rule("{n}.sh", inputs=lambda w: {"src": f"{w.n}.txt"}, shell="cat {src} > {out}")
    flow.rule("{n}.py", inputs=lambda w: {"src": f"{w.n}.txt"})(lambda src: src.read_text())
    assert text(flow, "a.sh") == "a"
    assert text(flow, "b.py") == "b"


def test_an_inputs_function_sees_strings(root: Path) -> None:
    seen = []
    flow = Flow(p=[1, 2])
    flow.rule("{p}.out", inputs=lambda w: seen.append(w.p), shell="echo > {out}")
    flow.build("{p}.out")
    assert sorted(set(seen)) == ["1", "2"]


def test_an_inputs_function_chains_rules(root: Path) -> None:
    flow = Flow()
    flow.rule(
        "sum/{n}",
        inputs=lambda w: [f"sum/{int(w.n) - 1}"] if int(w.n) else [],
        shell="cat {in} > {out}; echo {n} >> {out}",
    )
    assert text(flow, "sum/3") == "0\n1\n2\n3\n"


def test_an_inputs_function_that_raises(root: Path) -> None:
    def inputs(wildcards: Any) -> str:
        raise KeyError("nothing")

    flow = Flow()
    flow.rule("{n}.out", inputs=inputs, shell="echo > {out}")
    with pytest.raises(FlowError, match="the inputs function of {n}.out failed: KeyError: 'nothing'") as caught:
        flow.build("a.out")
    assert caught.value.span is not None and isinstance(caught.value.__cause__, KeyError)


def test_an_inputs_function_that_names_what_nothing_makes(root: Path) -> None:
    flow = Flow()
    flow.rule("{n}.out", inputs=lambda w: "c.txt", shell="echo > {out}")
    with pytest.raises(FlowError, match=r"c\.txt: no rule makes it") as caught:
        flow.build("a.out")
    assert "needed by a.out" in str(caught.value)


def test_an_unknown_wildcard_in_an_inputs_function(root: Path) -> None:
    flow = Flow()
    flow.rule("{n}.out", inputs=lambda w: w.sample, shell="echo > {out}")
    with pytest.raises(FlowError, match="there is no sample here; there are: n"):
        flow.build("a.out")


def test_a_rule_with_neither_is_an_alias(root: Path) -> None:
    flow = Flow(n=["a", "b"])
    flow.rule("all", inputs="{n}.out")
    flow.rule("{n}.out", inputs="{n}.txt", shell="cp {in} {out}")
    results = flow.build("all")
    assert [r.job.target for r in results] == ["a.out", "b.out"]
    assert [r.job.target for r in flow.build()] == ["a.out", "b.out"]  # the first rule is the default


def test_attributes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEN", "s")
    monkeypatch.setenv("PASSED", "p")
    flow = Flow()
    flow.rule(
        "out", shell="echo $SEEN $PASSED $SET {cpus} {mem} > {out}", vars={"SEEN": "a b", "SET": 3}, pass_="PASSED",
        cpus=1, mem="1G * attempt", time="1m", retries=1, resource_licence=1, resource={"x": 2}, name="my rule",
        temp=False,
    )  # fmt: skip
    result = flow.build("out")
    assert result.outputs.out.read_text() == "a b p 3 1 1024M\n"
    assert result.job.rule == "my rule" and result.job.mem == 1 << 30 and result.job.cpus == 1
    assert flow.rules[0].attributes["resource.licence"].text == "1"


def test_flags_and_the_interpreter(root: Path) -> None:
    flow = Flow()
    flow.rule("py", python="import sys\nopen(outputs[0], 'w').write(wildcards.n if False else 'py')")
    flow.rule("py2", shell="open(outputs[0], 'w').write('two')", python=True)
    flow.rule("sh", shell="echo $0 > {out}", interpreter="sh -c")
    flow.rule("first", shell="echo > {out}", default=True)
    flow.rule("script", shell="#!/bin/sh\necho script > $outputs")
    assert text(flow, "py") == "py" and text(flow, "py2") == "two"
    assert text(flow, "sh") == "sh\n" and text(flow, "script") == "script\n"
    assert flow.build().job.target == "first"


def test_a_recipe_of_several_lines_loses_its_indent(root: Path) -> None:
    flow = Flow()
    flow.rule(
        "out",
        shell="""
            cat > {out} <<E
            x
              y
            E
        """,
    )
    assert text(flow, "out") == "x\n  y\n"


def test_phony(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    flow = Flow()
    flow.rule("test", inputs="a.txt", shell="cat {in}; pwd", phony=True)
    result = flow.build("test")
    assert capfd.readouterr().out == f"a{root}\n"
    assert result.key is None and result.cache_dir is None and not result.errored and not result.cached
    assert dict(result.outputs) == {} and result.job.outputs == []


def test_anonymous(root: Path) -> None:
    def build(flow: Flow, name: str) -> Any:
        flow.rule("{n}.out", inputs="{n}.txt", shell="cp {in} {out}")
        return flow.build(f"{name}.out")

    assert not build(Flow(anonymous=True), "a").cached
    (root / "c.txt").write_text("a")
    assert build(Flow(anonymous=True), "c").cached
    (root / "d.txt").write_text("a")
    assert not build(Flow(), "d").cached
    flow = Flow(anonymous=True)
    flow.rule("plain", inputs="a.txt", shell="echo {in} > {out}", anonymous=False)
    flow.rule("hidden", inputs="a.txt", shell="echo {in} > {out}")
    assert text(flow, "plain") == "a.txt\n" and text(flow, "hidden") == "in0.txt\n"


def test_the_root_is_the_workspace(root: Path) -> None:
    (root / "sub").mkdir()
    (root / "sub/x").write_text("x")
    flow = Flow(root=root / "sub")
    flow.rule("out", inputs="x", shell="cp {in} {out}")
    assert flow.build("out").outputs.out == root / "sub/out"
    assert not (root / ".bflow").exists()
    with pytest.raises(FlowError, match="there is no folder"):
        Flow(root="nowhere").build("x")


def test_an_environment_for_the_build(root: Path) -> None:
    (root / "env/bin").mkdir(parents=True)
    tool = root / "env/bin/tool"
    tool.write_text("#!/bin/sh\necho tool\n")
    tool.chmod(0o755)
    flow = Flow()
    flow.rule("out", shell="tool > {out}", env="prefix://env")
    assert text(flow, "out") == "tool\n"
    with pytest.raises(JobError):
        flow.build("out", environment="native")
    assert flow.build("out", environment=prefix.Environment(str(root / "env"))).cached
    assert flow.build("out", environment="prefix://env").cached
    for environment in (native.Environment(), native.Environment):
        with pytest.raises(JobError):
            flow.build("out", environment=environment)
    with pytest.raises(FlowError, match="no environment “bogus”"):
        flow.build("out", environment="bogus")


def test_includes_share_the_names(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "more.flow").write_text("more = x {n}\n{n}.inc: {n}.txt\n    cat {in} > {out}; echo {suffix} >> {out}\n")
    flow = Flow(suffix="end")
    flow.include("more.flow")
    assert text(flow, "a.inc") == "aend\n"
    with pytest.raises(FlowError, match="takes no values"):
        flow.include("more.flow", CFLAGS="-O2")


def test_a_library_is_given_values(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import buildflow.lang.load as load

    (root / "lib").mkdir()
    (root / "lib/own.flow").write_text("FLAGS ?= none\n{n}.own: {n}.txt\n    echo {FLAGS} > {out}\n")
    monkeypatch.setattr(load, "library_folder", lambda: str(root / "lib"))
    for value, expected in (("-O2 -Wall", "-O2 -Wall"), (["-O2", "a b"], "-O2 a b"), (3, "3")):
        flow = Flow()
        flow.include("<own.flow>", FLAGS=value)
        assert text(flow, "a.own") == f"{expected}\n"
    plain = Flow()
    plain.include("<own.flow>")
    assert text(plain, "a.own") == "none\n"


def test_the_library_that_ships(root: Path) -> None:
    (root / "hello.c").write_text('#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n')
    flow = Flow()
    try:
        flow.include("<cc.flow>", CFLAGS="-O2")
    except FlowError as error:
        pytest.skip(f"no such library: {error.message}")
    assert any(rule.library for rule in flow.rules)


def test_flows_leave_nothing_behind(root: Path) -> None:
    for word in ("one", "two", "one"):
        flow = Flow(word=[word])
        flow.rule("out", shell="echo {word} > {out}")
        assert text(flow, "out") == f"{word}\n"
    assert flow.build("out").cached
    flow.rule("more", inputs="out", shell="cp {in} {out}")  # a flow grows between builds
    assert text(flow, "more") == "one\n"


def test_two_rules_for_one_target(root: Path) -> None:
    flow = Flow()
    flow.rule("out", shell="echo 1 > {out}")
    flow.rule("out", shell="echo 2 > {out}")
    with pytest.raises(FlowError, match="two rules make out"):
        flow.build("out")


def test_how_a_flow_shows_itself(root: Path) -> None:
    flow = Flow()
    assert repr(flow) == f"Flow({str(root)!r}, 0 rules)"
    assert repr(flow.rule("{n}.x", shell="echo > {out}")) == "<rule {n}.x>"


def test_a_hole_that_an_inputs_function_does_not_give(root: Path) -> None:
    flow = Flow()
    flow.rule("{n}.sh", inputs=lambda w: {"src": f"{w.n}.txt"}, shell="cat {scr} > {out}")
    with pytest.raises(FlowError, match="scr"):
        flow.build("a.sh")
