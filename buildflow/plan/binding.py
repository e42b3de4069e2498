"""The words of a rule under a binding of its wildcards: the texts of its inputs, the paths of its outputs.

Each rule's words are flattened once; most hold nothing but bound names then, and are filled by joining their parts.
What the texts mean (a file, an alias, a glob) is asked elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from buildflow.errors import FlowError
from buildflow.names import Flat, GlobText, Relation
from buildflow.plan.matcher import Bound, RuleIndex, normal
from buildflow.rule import Rule, word_list
from buildflow.template import Hole, Word

Texts = tuple[str, ...]


class Shared(Texts):
    """What a word stands for in all jobs of a rule: names as the plan has them (`project_path`), none a glob."""


class _Inputs:
    """The input words of a rule, flattened once. `simple`: parts that only bound names fill. `shared`: for each word
    that no wildcard of the rule has a say in, what it stands for; the same for all jobs."""

    __slots__ = ("words", "shared", "names")

    def __init__(self, rule: Rule, words: Sequence[Word], names: frozenset[str]) -> None:
        self.names = names
        self.shared: dict[int, Texts | None] = {}
        self.words: list[tuple[Word, tuple[Any, ...] | None, list[Flat] | None]] = []
        for word in words:
            flats = rule.scope.flatten(word.parts)
            simple = None
            if len(flats) == 1 and all(
                type(p) is str or (isinstance(p, Hole) and p.name in names and p.attr is None and p.index is None)
                for p in flats[0]
            ):
                simple = flats[0]
            self.words.append((word, simple, None if simple is not None else flats))


class Bindings:
    """The words of all rules of one index, for a project whose root is `root`."""

    def __init__(self, root: str, index: RuleIndex) -> None:
        self.root = root
        self.index = index
        self._inputs: dict[int, tuple[_Inputs, _Inputs]] = {}
        self._wildcards: dict[int, tuple[str, ...]] = {}

    def restore(self, wildcards: dict[int, tuple[str, ...]]) -> None:
        """The wildcards of rules are known."""
        self._wildcards.update(wildcards)

    def forget(self) -> None:
        self._inputs.clear()
        self._wildcards.clear()

    def _inputs_of(self, rule: Rule) -> tuple[_Inputs, _Inputs]:
        found = self._inputs.get(rule.number)
        if found is None:
            names = frozenset(n for t in self.index.of_rule[rule.number] for n in t.names)
            found = _Inputs(rule, rule.inputs, names), _Inputs(rule, rule.after, names)
            self._inputs[rule.number] = found
        return found

    def groups_before(self, rule: Rule, bound: Bound) -> Iterator[tuple[Word, Texts]]:
        """What each input word before the `|` stands for; a glob is not looked up yet (a `GlobText`). What is the same
        for all jobs of a rule is one and the same tuple."""
        yield from self._texts(rule, self._inputs_of(rule)[0], bound)
        if rule.input_function is not None:
            yield from self._called(rule, bound)

    def groups_after(self, rule: Rule, bound: Bound) -> Iterator[tuple[Word, Texts]]:
        """The same of the order-only inputs."""
        if rule.after:
            yield from self._texts(rule, self._inputs_of(rule)[1], bound)

    def before(self, rule: Rule, bound: Bound) -> Iterator[tuple[Word, str]]:
        """The texts of the inputs before the `|`, one by one."""
        return ((word, text) for word, texts in self.groups_before(rule, bound) for text in texts)

    def after(self, rule: Rule, bound: Bound) -> Iterator[tuple[Word, str]]:
        """The texts of the order-only inputs."""
        return ((word, text) for word, texts in self.groups_after(rule, bound) for text in texts)

    def groups(self, rule: Rule, bound: Bound) -> list[Texts]:
        """What each input word stands for."""
        return [texts for _, texts in (*self.groups_before(rule, bound), *self.groups_after(rule, bound))]

    def inputs(self, rule: Rule, bound: Bound) -> list[tuple[Word, str]]:
        """The texts of all inputs."""
        return [*self.before(rule, bound), *self.after(rule, bound)]

    def _texts(self, rule: Rule, inputs: _Inputs, bound: Bound) -> Iterator[tuple[Word, Texts]]:
        for number, (word, simple, flats) in enumerate(inputs.words):
            if simple is not None:
                yield word, ("".join([p if type(p) is str else bound.get(p.name, "") for p in simple]),)
                continue
            assert flats is not None
            texts = inputs.shared.get(number)
            if texts is None:
                texts = tuple([t for t in dict.fromkeys(rule.scope.expand(flats, bound, word.span or rule.span)) if t])
                if number not in inputs.shared:
                    shared = self._is_shared(rule, flats, inputs.names)
                    if shared and not any(isinstance(text, GlobText) for text in texts):
                        texts = Shared([self.project_path(text) for text in texts])
                    inputs.shared[number] = texts if shared else None
            yield word, texts

    @staticmethod
    def _is_shared(rule: Rule, flats: Sequence[Flat], names: frozenset[str]) -> bool:
        """Whether a word stands for the same whatever the wildcards of its rule are: it holds names of domains alone
        that none of them is a part of."""
        for part in (p for flat in flats for p in flat if not isinstance(p, str)):
            if not isinstance(part, Hole) or part.name not in rule.scope.definitions:
                return False
            value = rule.scope.value(part.name)
            if not isinstance(value, Relation) or not names.isdisjoint(value.columns):
                return False
            if rule.scope.definitions[part.name].value is None:
                return False  # it lacks the names that are being evaluated now
        return True

    @staticmethod
    def _written(rule: Rule, bound: Bound) -> dict[str, str]:
        """The names in a rule's targets that have one value, so that they are text there: functions see them too."""
        scope, starred = rule.scope, rule.starred_names()
        names = [n for n in rule.target_names() if n not in bound and n in scope.definitions and n not in starred]
        found = {name: scope.values_of(name, bound) for name in names}
        return {name: values[0] for name, values in found.items() if len(values) == 1}

    def _called(self, rule: Rule, bound: Bound) -> Iterator[tuple[Word, Texts]]:
        """The inputs that a function of the wildcards gives (Python)."""
        from buildflow.view import Wildcards

        assert rule.input_function is not None
        try:
            given = rule.input_function(Wildcards({**self._written(rule, bound), **bound}))
        except FlowError:
            raise
        except Exception as error:
            raise FlowError(
                f"the inputs function of {rule.name} failed: {type(error).__name__}: {error}", rule.span
            ) from error
        for word in word_list(given, rule.span):
            yield word, tuple([text for text in dict.fromkeys(rule.scope.expand_word(word, bound)) if text])

    def outputs(self, rule: Rule, bound: Bound) -> list[tuple[str | None, str]]:
        """The paths that a job of a rule makes, in the order of its targets, each with the label of its target word."""
        found: list[tuple[str | None, str]] = []
        for target in self.index.of_rule[rule.number]:
            label = rule.targets[target.word].label
            if target.exact is not None:
                found.append((label, normal(target.exact)))
            elif all(name in bound for name in target.names):
                text = "".join([p if type(p) is str else bound[p.name] for p in target.parts])  # type: ignore[union-attr]
                found.append((label, normal(text)))
            else:
                for text, _ in rule.scope.expansions(target.parts, bound, target.span):
                    found.append((label, normal(text)))
        return found

    def wildcards(self, rule: Rule) -> tuple[str, ...]:
        """The names that one job of a rule binds: those of its targets without the stars."""
        found = self._wildcards.get(rule.number)
        if found is None:
            starred = {
                p.name
                for word in rule.targets
                for flat in (word.parts, *rule.scope.flatten_static(word.parts))
                for p in flat
                if isinstance(p, Hole) and p.star
            }
            names = dict.fromkeys(n for t in self.index.of_rule[rule.number] for n in t.names if n not in starred)
            found = self._wildcards[rule.number] = tuple(names)
        return found

    def project_path(self, text: str) -> str:
        """An input's name as the plan has it: what leads out of the project and back in is inside."""
        path = normal(text)
        if not path.startswith(("/", "../")):
            return path
        whole = path if path.startswith("/") else normal(os.path.join(self.root, path))
        if whole.startswith(self.root + "/"):
            return whole[len(self.root) + 1 :] or "./"
        return path
