"""Plans of many jobs: nothing recurses, nothing is tried for every rule, no question is asked twice over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from buildflow.disk import Disk
from buildflow.errors import FlowError
from buildflow.flow import Flow
from buildflow.plan.graph import order
from buildflow.plan.matcher import RuleIndex
from buildflow.plan.question import Question
from buildflow.plan.resolve import Resolver
from buildflow.state import State


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def plan(project: Path, text: str, *goals: str) -> Resolver:
    (project / "Flowfile").write_text(text)
    flow = Flow.load(str(project / "Flowfile"))
    resolver = Resolver(flow, Disk(str(project), State(str(project / ".bflow/state"))))
    for goal in goals:
        resolver.goal(goal)
    if not goals:
        resolver.default_goal()
    return resolver


def test_a_chain_of_exact_rules(project: Path) -> None:
    (project / "f0").touch()
    text = "".join(f"f{i}: f{i - 1}\n    cp {{in}} {{out}}\n" for i in range(1, 5001))
    resolver = plan(project, text, "f5000")
    assert len(resolver.plan.rule) == 5000
    paths = [resolver.plan.paths[resolver.plan.outputs[job][0]] for job in order(resolver.plan)]
    assert paths == [f"f{i}" for i in range(1, 5001)]


def test_chains_of_phony_targets_and_of_aliases(project: Path) -> None:
    (project / "f0").touch()
    text = "".join(f"[phony]\nf{i}: f{i - 1}\n    true\n" for i in range(1, 1501))
    assert len(plan(project, text, "f1500").plan.rule) == 1500
    text = "".join(f"f{i}: f{i - 1}\n" for i in range(1, 1501))
    text += "x: f1500\n    cp {in} {out}\n"
    found = plan(project, text, "x").plan
    assert [found.paths[f] for f in found.inputs[0]] == ["f0"]


def test_a_cycle_at_the_end_of_a_chain(project: Path) -> None:
    text = "".join(f"f{i}: f{i - 1}\n    cp {{in}} {{out}}\n" for i in range(1, 1501)) + "f0: f1499\n    true\n"
    with pytest.raises(FlowError, match="a cycle: f1499 needs f1498 needs .* … .* needs f0 needs f1499\n") as error:
        order(plan(project, text, "f1500").plan)
    assert len(error.value.message) < 1000


def test_only_rules_that_fit_are_tried(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    real = RuleIndex.bindings

    def counted(self: RuleIndex, target, path):  # type: ignore[no-untyped-def]
        tried.append(path)
        return real(self, target, path)

    text = "all: " + " ".join(f"o{i}/x.t{i}" for i in range(2000)) + "\n"
    text += "".join(f"o{i}/{{n}}.t{i}: in{i}.{{n}}\n    cp {{in}} {{out}}\n" for i in range(2000))
    for i in range(2000):
        (project / f"in{i}.x").touch()
    monkeypatch.setattr(RuleIndex, "bindings", counted)
    assert len(plan(project, text).plan.rule) == 2000
    assert len(tried) == 2000


def test_what_was_proven_is_not_asked_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many files with two candidate rules each, which need a file that needs many files."""
    looks = 0
    real = Question._look

    def counted(self, node, banned):  # type: ignore[no-untyped-def]
        nonlocal looks
        looks += 1
        real(self, node, banned)

    monkeypatch.setattr(Question, "_look", counted)
    many = 300
    text = f"i = {{1..{many}}}\nall: {{i}}.o\n"
    text += "{i}.o: {i}.c gen.h\n    cp {in[0]} {out}\n{i}.o: {i}.f gen.h\n    cp {in[0]} {out}\n"
    text += "gen.h: big/{i}.x\n    touch {out}\nbig/{i}.x:\n    touch {out}\n"
    for i in range(1, many + 1):
        (project / f"{i}.c").touch()
    assert len(plan(project, text).plan.rule) == 2 * many + 1
    assert looks < 10 * many


def test_tens_of_thousands_of_targets(project: Path) -> None:
    text = "i = {1..10000}\nall: out/{i}\nout/{i}: mid/{i}\n    cp {in} {out}\nmid/{i}:\n    touch {out}\n"
    found = plan(project, text).plan
    assert len(found.rule) == 20_000 and len(found.goals[0][1]) == 10_000


def test_a_folder_that_many_jobs_read_is_listed_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "i = {1..200}\nall: r{i}\nr{i}: out/\n    ls {in} > {out}\n\nout/{i}.x:\n    touch {out}\n"
    resolver = plan(project, text)
    assert len(resolver.plan.rule) == 400
    assert len(set(map(id, resolver.plan.trees.values()))) == 1
