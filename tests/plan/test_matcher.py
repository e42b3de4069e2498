"""The index over targets, and the order of a plan."""

from __future__ import annotations

from pathlib import Path

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildflow.errors import FlowError
from buildflow.flow import Flow
from buildflow.plan.graph import graph_of, order
from buildflow.plan.matcher import RuleIndex, normal
from buildflow.plan.plan import Plan


@pytest.mark.parametrize(
    "path, name",
    [
        ("a/b", "a/b"), ("./a", "a"), ("a//b", "a/b"), ("a/./b/", "a/b/"), ("a/../b", "b"), ("../a", "../a"),
        ("a/..", "./"), (".", "./"), ("..", "../"), ("./", "./"), ("//a", "/a"), ("/", "/"), ("a/.", "a/"),
        ("...", "..."), (".a/..b", ".a/..b"), ("a/.../b", "a/.../b"),
    ],
)  # fmt: skip
def test_paths_have_one_name(path: str, name: str) -> None:
    assert normal(path) == name
    assert normal(name) == name


def index(tmp_path: Path, *targets: str, **names: object) -> RuleIndex:
    flow = Flow(str(tmp_path), **names)
    for target in targets:
        flow.rule(target.split(), shell="touch {out}")
    return RuleIndex(flow.rules)


def test_patterns_are_found_by_their_ends(tmp_path: Path) -> None:
    found = index(tmp_path, "{x}.o", "out/{x}.o", "out/{x}", "{x}", "lib{x}", "a.o")
    assert [t.rule.number for t in found.pattern_targets("out/a.o")] == [0, 1, 2, 3]
    assert [t.rule.number for t in found.pattern_targets("lib.o")] == [0, 3, 4]
    assert [t.rule.number for t in found.pattern_targets(".o")] == [3]
    assert [t.rule.number for t in found.exact_targets("a.o")] == [5]


def test_a_wildcard_is_never_empty(tmp_path: Path) -> None:
    found = index(tmp_path, "a{x}b")
    assert found.pattern_targets("ab") == []
    assert [t.parts for t in found.pattern_targets("acb")]


@pytest.mark.parametrize(
    "targets, message",
    [
        (("x", "x"), "two rules make x"),
        (("x y x",), "the target x stands twice in one rule"),
        (("d/", "d/x"), "the target d/x lies in d/"),
        (("d/e/", "d/"), "the target d/e/ lies in d/"),
        (("d/ d/x",), "the target d/x lies in d/"),
        (("d", "d/x"), "d/x needs a folder where d is a target"),
        (("d", "d/"), "the target d is a file, and d/ is a target too"),
    ],
)
def test_targets_that_contradict_each_other(tmp_path: Path, targets: tuple[str, ...], message: str) -> None:
    with pytest.raises(FlowError, match=message):
        index(tmp_path, *targets)


def test_targets_that_do_not(tmp_path: Path) -> None:
    index(tmp_path, "d/x", "d/y", "d.x", "dx/y", "d-/", "{d}/x", "d/x/{y}")


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=40))
def test_order(edges: list[tuple[int, int]]) -> None:
    """Every job after those that it needs; a cycle is an error that walks along real edges."""
    plan = Plan()
    for job in range(13):
        plan.add_job(0, (str(job),))
        plan.outputs[job] = (plan.file(f"f{job}"),)
        plan.maker[job] = job
    for job, needed in edges:
        plan.inputs[job] = tuple(dict.fromkeys((*plan.inputs[job], needed)))
    try:
        found = order(plan)
    except FlowError as error:
        assert not networkx.is_directed_acyclic_graph(graph_of(plan))
        names = error.message.removeprefix("a cycle: ").split(" needs ")
        assert names[0] == names[-1]
        for one, other in zip(names, names[1:]):
            assert int(other[1:]) in plan.inputs[int(one[1:])]
        return
    assert sorted(found) == list(range(13))
    place = {job: i for i, job in enumerate(found)}
    assert all(place[needed] < place[job] for job, needed in edges)
