"""What is evaluated before anything is asked for: commands, and names of one value that stand in targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildflow.errors import FlowError
from buildflow.names import Pending, Relation

if TYPE_CHECKING:
    from buildflow.plan.resolve import Resolver


def run_commands(resolver: Resolver) -> None:
    """Functions without free names run in written order: those with an effect that can be seen are commands."""
    found = {
        definition: scope
        for scope in resolver.builder.scopes
        for definition in scope.definitions.values()
        if any(getattr(term, "function", "") == "shell" for term in definition.terms)
    }
    for definition in sorted(found, key=lambda d: d.number):
        try:
            found[definition].evaluate(definition)
        except Pending:
            continue  # its command holds what a rule makes


def settle_targets(resolver: Resolver) -> bool:
    """A name of one value is text in a target: for one that a function gives this shows only now. Whether there is none
    such."""
    rules = resolver.builder.rules
    fresh = False
    of_rule = resolver.index.of_rule
    for scope, name in dict.fromkeys((r.scope, n) for r in rules for t in of_rule[r.number] for n in t.names):
        if name not in scope.definitions:
            continue
        try:
            value = scope.value(name)
        except (Pending, FlowError):
            continue  # said where the target is asked for
        fresh = fresh or isinstance(value, Relation) and value.single(name) is not None
    if fresh:
        resolver.index.build()
        resolver.bindings.forget()
        resolver.finite.forget()
        resolver.chooser.forget()
    for rule in rules:
        targets = resolver.index.of_rule[rule.number]
        if all(set(t.names) == set(targets[0].names) for t in targets):
            continue
        for name in resolver.bindings.wildcards(rule):
            lacking = next((t for t in targets if name not in t.names), None)
            if lacking is not None:
                word = rule.targets[lacking.word]
                raise FlowError(
                    f"the target {word.text} does not use {{{name}}}, which another target of the rule does",
                    word.span or rule.span,
                    "all targets of a rule use the same wildcards",
                )
    return not fresh
