"""Whether inputs can be made: against the rule of the language's page, tried in every order."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from buildflow.disk import Disk
from buildflow.flow import Flow
from buildflow.plan.question import Question
from buildflow.plan.resolve import Resolver
from buildflow.state import State

FORMS = st.sampled_from("abcde")
RULES = st.lists(
    st.tuples(FORMS, st.lists(FORMS | st.sampled_from(["a.b", "b.c", "c.a", "a.a"]), max_size=3)), max_size=8
)


@settings(max_examples=150)
@given(RULES, st.sets(FORMS, max_size=3))
def test_what_can_be_made(rules: list[tuple[str, list[str]]], sources: set[str]) -> None:
    """A rule is not tried below itself, nor is a path its own input at any depth."""
    files = {f"s.{form}" for form in sources}

    def can(path: str, above: frozenset[int], paths: frozenset[str]) -> bool:
        if path in paths:
            return False
        return path in files or any(
            all(can(f"{path[:-2]}.{form}", above | {i}, paths | {path}) for form in inputs)
            for i, (target, inputs) in enumerate(rules)
            if i not in above and path.endswith("." + target) and len(path) > 2
        )

    with tempfile.TemporaryDirectory() as folder:
        for name in files:
            Path(folder, name).touch()
        flow = Flow(folder)
        for target, inputs in rules:
            flow.rule("{x}." + target, inputs=["{x}." + form for form in inputs], shell="touch {out}")
        resolver = Resolver(flow, Disk(folder, State(f"{folder}/state")))
        for i, (target, inputs) in enumerate(rules):
            path = f"s.{target}"
            expected = all(can(f"s.{form}", frozenset((i,)), frozenset((path,))) for form in inputs)
            assert Question(resolver.chooser, path).answer(flow.rules[i], {"x": "s"}) == expected
