"""The builder that both front ends use: names, patterns and rules of a project, in written order.

`buildflow.lang.load` fills it from a Flowfile, `buildflow.flow.Flow` from Python. It checks what can be checked without
asking for a target; it resolves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from buildflow.attributes import Attribute, Attributes, check_attribute
from buildflow.errors import FlowError, Span
from buildflow.names import Scope
from buildflow.process import absolute
from buildflow.reads import Reads
from buildflow.rule import Recipe, Rule
from buildflow.template import Word


class Builder:
    """The rules and scopes of one project whose root is `root`."""

    def __init__(self, root: str, overrides: Mapping[str, Sequence[Word]] = {}) -> None:
        self.root = absolute(root)
        self.reads = Reads(self.root)
        self.overrides = dict(overrides)
        self.scopes: list[Scope] = []
        self.scope = self.new_scope()
        self.rules: list[Rule] = []
        self.by_name: dict[str, Rule] = {}
        self.flowfile: str | None = None
        self.defaults: dict[str, Attribute] = {}
        self._checked = 0

    def new_scope(self, library: str | None = None) -> Scope:
        scope = Scope(self.overrides, library=library)
        scope.environ = self.reads.variable
        self.scopes.append(scope)
        return scope

    def add_rule(
        self,
        targets: Sequence[Word],
        inputs: Sequence[Word],
        after: Sequence[Word],
        recipe: Recipe | None,
        attributes: Sequence[Attribute],
        *,
        scope: Scope | None = None,
        span: Span | None = None,
        help: str = "",
        included: bool = False,
        input_function: Callable[..., Any] | None = None,
        defaults: Mapping[str, Attribute] | None = None,
    ) -> Rule:
        """Add one rule. Raises FlowError for a bad attribute; the rest is checked by `check`."""
        merged = Attributes(self.defaults if defaults is None else defaults)
        if recipe is None:
            merged = Attributes()  # defaults are of rules that make something
        own: set[str] = set()
        for attribute in attributes:
            check_attribute(attribute.name, attribute.text, attribute.span)
            if attribute.name in own and attribute.name != "hooks":
                raise FlowError(f"the attribute “{attribute.name}” stands twice", attribute.span)
            if attribute.name in own:  # hooks add up
                before = merged[attribute.name]
                text = f"{before.text or ''} {attribute.text or ''}"
                attribute = Attribute(attribute.name, text, before.words + attribute.words, before.span)
            own.add(attribute.name)
            merged[attribute.name] = attribute
        rule = Rule(
            targets, inputs, after, recipe, merged, scope or self.scope,
            span=span, help=help, included=included, input_function=input_function,
        )  # fmt: skip
        rule.number = len(self.rules)
        self.rules.append(rule)
        return rule

    def check(self) -> None:
        """Check the rules that were added since the last call. Raises FlowError for the first that is wrong."""
        for scope in self.scopes:
            scope.check()
        for rule in self.rules[self._checked :]:
            rule.check()
            self._check_call(rule)
            self._check_unique(rule)
            self._checked += 1

    def reread(self) -> None:
        """Forget what an earlier build read: commands are run at every start; see the environment as it is now."""
        from buildflow.process import environ

        self.reads.commands.clear()
        self.reads.environ = environ()

    def _check_call(self, rule: Rule) -> None:
        """Raises FlowError where a function asks for what its rule has not."""
        recipe = rule.recipe
        if recipe is None or recipe.kind not in ("call", "function"):
            return
        from buildflow.attribute_checks import check_parameters
        from buildflow.recipe.functions import find_function, parameters_of
        from buildflow.recipe.imports import Walk

        if recipe.kind == "call":
            span = rule.attributes["call"].span or rule.span
            check_parameters(rule, find_function(Walk(self.root, ("",)), recipe.text, span)[2], span)
        else:
            check_parameters(rule, parameters_of(recipe.function), rule.span)

    def unused_overrides(self) -> list[str]:
        """Names that the command line gives and nothing assigns."""
        return [name for name in self.overrides if not any(name in s.used_overrides for s in self.scopes)]

    def _check_unique(self, rule: Rule) -> None:
        named = rule.attributes.get("name")
        if named is not None:
            other = self.by_name.setdefault(rule.name, rule)
            if other is not rule and other.attributes.get("name") is not named:
                raise FlowError(
                    f"two rules are named {rule.name}",
                    named.span,
                    f"the other one: {other.span}" if other.span else None,
                )

    def assigned(self) -> set[str]:
        """The names that the command line may override: those of the project and the `?=` names of libraries."""
        return {name for scope in self.scopes for name in scope.definitions}

    def default_rule(self) -> Rule:
        """The rule marked `[default]`, else the first rule of the Flowfile itself. FlowError where there is none."""
        marked = [rule for rule in self.rules if rule.attributes.flag("default") and "default" in rule.attributes]
        if len(marked) > 1:
            raise FlowError(
                "two rules are marked [default]", marked[1].attributes["default"].span or marked[1].span,
                f"the other one: {marked[0].span}",
            )  # fmt: skip
        if marked:
            return marked[0]
        for rule in self.rules:
            if not rule.included and not rule.library:
                return rule
        raise FlowError(
            f"{self.flowfile or 'the flow'} has no rule of its own, so there is nothing to build by default",
            None,
            "write a rule (“target: inputs” and an indented recipe below it), or ask for a target",
        )
