"""Functions as recipes: what they are called with, what they return, and what makes them run again."""

from __future__ import annotations

import functools
import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from buildflow import Flow, FlowError, JobError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    # The tests' own imports: bytecode goes by whole seconds and sizes, and edits here are quicker than that.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


WORKERS = pytest.mark.parametrize("worker", ["debug", "cf"])


@WORKERS
def test_parameters_are_what_the_rule_names(root: Path, worker: str) -> None:
    (root / "a.src").write_text("source")
    (root / "b.src").write_text("other")
    flow = Flow()
    flow["kind"] = "kind of {n}"

    @flow.rule(
        {"one": "{n}.1", "two": "{n}.2"},
        inputs={"src": "{n}.src", "rest": ["a.src", "b.src"]},
        cpus=1,
        mem="1G",
        vars="A=1",
    )
    def make(n, src, rest, one, two, inputs, outputs, out, wildcards, job, cpus, mem, attempt, A, kind, extra="d"):  # type: ignore
        assert isinstance(n, str) and wildcards.n == wildcards["n"] == n == job.wildcards.n
        assert isinstance(src, Path) and src.read_text() == "source" and inputs.src == src
        assert rest == [Path("a.src"), Path("b.src")] and list(inputs) == [Path("a.src"), Path("b.src")]
        assert [Path(p) for p in outputs] == [one, two] == out and outputs.two == two
        assert (cpus, mem, attempt, A, kind, extra) == (1, "1024M", 1, "1", "kind of a", "d")
        one.write_text("1")
        two.write_text("2")

    result = flow.build("a.1", worker=worker)
    assert result.outputs.one.read_text() == "1" and result.outputs.two.read_text() == "2"


@WORKERS
@pytest.mark.parametrize(
    "value, content",
    [
        ("text", b"text"),
        ("42", b"42"),
        ("ü\udcff", "ü".encode() + b"\xff"),
        (b"\x00\xff", b"\x00\xff"),
        (b"42", b"42"),
        (42, b"42"),
        ([1, "a", None, True, 1.5], None),
        ({"a": {"b": []}}, None),
        ("", b""),
        (False, b"false"),
    ],
)
def test_a_value_is_written_and_read_back(root: Path, worker: str, value: Any, content: bytes | None) -> None:
    flow = Flow()
    flow.rule("value")(lambda: value)
    result = flow.build("value", worker=worker)
    assert result.value == value and type(result.value) is type(value)
    assert content is None or result.outputs.out.read_bytes() == content
    again = flow.build("value")
    assert again.cached and again.value == value and type(again.value) is type(value)


@pytest.mark.parametrize(
    "function, message",
    [
        (lambda: {1, 2}, "cannot be written"),
        (lambda: float("nan"), "cannot be written"),
        (lambda: {1: "a", "1": "b"}, "same in JSON"),
        (lambda: (x for x in "a"), "a generator"),
        (lambda: None, "did not make its output out"),
    ],
)
def test_values_that_cannot_be(root: Path, function: Callable[[], Any], message: str) -> None:
    flow = Flow()
    flow.rule("out")(function)
    with pytest.raises(JobError, match=message):
        flow.build("out")


def test_a_value_needs_one_output(root: Path) -> None:
    flow = Flow()
    flow.rule(["a", "b"])(lambda: 1)
    with pytest.raises(JobError, match="its rule has 2 outputs"):
        flow.build("a")
    flow.rule("d/")(lambda: 1)
    with pytest.raises(JobError, match="is a folder"):
        flow.build("d/")
    flow.rule(["c", "e"], shell="echo 1 > c; echo 2 > e")
    with pytest.raises(FlowError, match="has 2 outputs"):
        print(flow.build("c").value)


def test_a_parameter_that_names_nothing(root: Path) -> None:
    flow = Flow()

    @flow.rule("{sample}.txt")
    def make(smaple: str) -> str:
        return smaple

    with pytest.raises(FlowError, match="make.* asks for .*smaple") as caught:
        flow.build("a.txt")
    assert "sample" in str(caught.value) and caught.value.span is not None


class Doubler:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def method(self, n: str) -> str:
        return n * self.factor

    def __call__(self, n: str) -> str:
        return n * self.factor

    @staticmethod
    def static(n: str) -> str:
        return n + n


def joined(n: str, end: str) -> str:
    return n + end


@WORKERS
@pytest.mark.parametrize(
    "function, expected",
    [
        (lambda n: n * 2, "abab"),
        (Doubler(3).method, "ababab"),
        (Doubler(1), "ab"),
        (Doubler.static, "abab"),
        (functools.partial(joined, end="!"), "ab!"),
    ],
)
def test_every_kind_of_callable(root: Path, worker: str, function: Callable[..., Any], expected: str) -> None:
    flow = Flow()
    flow.rule("{n}.txt")(function)
    assert flow.build("ab.txt", worker=worker).value == expected
    again = Flow()
    again.rule("{n}.txt", call=function)
    assert again.build("ab.txt").cached


def test_commands_and_files_are_read_anew_by_each_build(root: Path) -> None:
    from buildflow import lines, shell

    (root / "said").write_text("one")
    flow = Flow()
    flow["said"] = shell("cat said")
    flow["line"] = lines("said")
    flow.rule("out", shell="echo {said} {line} > {out}")
    assert flow.build("out").outputs.out.read_text() == "one one\n"
    (root / "said").write_text("two")
    assert flow.build("out").outputs.out.read_text() == "two two\n"


def test_a_change_of_what_a_function_uses_runs_it_again(root: Path) -> None:
    ran = []

    def build(factor: int, default: int = 1) -> bool:
        flow = Flow()

        def make(n: str, d: int = default) -> str:
            return n * factor * d

        flow.rule("{n}.txt")(make)
        result = flow.build("ab.txt")
        assert result.value == "ab" * factor * default
        ran.append(not result.cached)
        return not result.cached

    assert build(1) and not build(1) and build(2) and not build(1) and build(1, 3)


SCALE = 1


def scaled(n: str) -> str:
    return n * SCALE


def test_a_change_of_a_global_runs_it_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> Any:
        flow = Flow()
        flow.rule("{n}.txt")(scaled)
        return flow.build("ab.txt")

    assert build().value == "ab" and build().cached
    monkeypatch.setitem(globals(), "SCALE", 2)
    assert not build().cached
    monkeypatch.setitem(globals(), "SCALE", 1)
    assert build().cached


@WORKERS
def test_a_function_of_a_module_of_the_project(root: Path, worker: str) -> None:
    (root / "helper.py").write_text("FACTOR = 2\n")
    (root / "steps.py").write_text(
        "import helper\ndef double(n):\n    import late\n    return n * helper.FACTOR + late.END\n"
    )
    (root / "late.py").write_text("END = '.'\n")

    def build() -> Any:
        steps = importlib.import_module("steps")
        flow = Flow()
        flow.rule("{n}.txt")(steps.double)
        return flow.build("ab.txt", worker=worker)

    assert build().value == "abab." and build().cached
    assert "late" not in sys.modules
    (root / "late.py").write_text("END = '!'\n")
    changed = build()
    assert not changed.cached and changed.value == "abab!"
    (root / "helper.py").write_text("FACTOR = 3\n")
    for name in ("helper", "steps"):
        del sys.modules[name]
    importlib.invalidate_caches()
    assert build().value == "ababab!"


def test_what_cannot_be_hashed_is_named(root: Path) -> None:
    import threading

    lock = threading.Lock()
    flow = Flow()

    @flow.rule("out")
    def make() -> str:
        with lock:
            return "x"

    with pytest.raises(FlowError, match="the variable lock"):
        flow.build("out")


def test_a_function_sees_its_sandbox_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "declared").write_text("d")
    (root / "undeclared").write_text("u")
    monkeypatch.setenv("INHERITED", "1")
    flow = Flow()

    @flow.rule("out", inputs="declared", vars={"GIVEN": "g"})
    def look(out: Path) -> list[Any]:
        import os
        import tempfile

        names = sorted(os.listdir("."))
        folder = tempfile.gettempdir()
        return [names, os.environ.get("INHERITED"), os.environ.get("GIVEN"), os.environ["TMPDIR"] == folder, str(out)]

    for worker in ("debug", "cf"):
        value = flow.build("out", worker=worker, cache_root=worker).value
        assert value == [["declared"], None, "g", True, "out"]
        (root / "out").unlink()


def test_a_call_of_the_flowfile_in_this_process(root: Path) -> None:
    (root / "steps.py").write_text("import os\ndef make(n):\n    return [n, os.getpid()]\n")
    flow = Flow()
    flow.rule("{n}.txt", call="steps:make")
    import os

    assert flow.build("a.txt").value == ["a", os.getpid()]
    assert flow.build("b.txt", worker="cf").value[1] != os.getpid()
    assert "steps" not in sys.modules
    (root / "steps.py").write_text("def make(n):\n    return 'new'\n")
    assert flow.build("a.txt").value == "new"


def test_exit_and_time(root: Path) -> None:
    flow = Flow()

    @flow.rule("{n}.txt", time="0.2s")
    def leave(n: str) -> str:
        import time

        if n == "slow":
            time.sleep(60)
        codes: dict[str, Any] = {"three": 3, "said": "why"}
        sys.exit(codes[n])

    for name, message in (("three", "status 3"), ("said", "why"), ("slow", "longer than its time")):
        with pytest.raises(JobError, match=message):
            flow.build(f"{name}.txt")


def test_an_async_function_is_refused_clearly(root: Path) -> None:
    flow = Flow()

    @flow.rule("out")
    async def make() -> str:
        return "x"

    with pytest.raises(JobError, match="async def"):
        flow.build("out")


def test_a_function_that_makes_a_folder(root: Path) -> None:
    flow = Flow()

    @flow.rule("d/")
    def make(out: Path) -> None:
        assert out.is_dir()
        (out / "x").write_text("x")

    assert (flow.build("d/").outputs.out / "x").read_text() == "x"


def test_a_recipe_of_text_beside_functions(root: Path) -> None:
    flow = Flow()
    flow.rule(
        "{n}.json",
        python=textwrap.dedent(
            """
            import json
            json.dump([n, wildcards.n], open(outputs[0], "w"))
            """
        ),
    )
    assert flow.build("a.json").value == ["a", "a"]


def test_two_rules_of_one_function(root: Path) -> None:
    flow = Flow()

    @flow.rule("{n}.one")
    @flow.rule("{n}.two")
    def make(n: str) -> str:
        """What it makes."""
        return n

    assert flow.build(["a.one", "a.two"]).value == ["a", "a"]
    assert make("x") == "x" and flow.rules[0].help == "What it makes."
