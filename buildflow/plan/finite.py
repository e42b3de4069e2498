"""The targets of rules with finite domains: what globs and folders see whether it exists yet or not."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from typing import TYPE_CHECKING

from buildflow.names import Circular, GlobText, Unbound
from buildflow.plan.matcher import Target, normal
from buildflow.rule import Rule
from buildflow.template import Glob

if TYPE_CHECKING:
    from buildflow.plan.resolve import Resolver


class Finite:
    """The finite targets of a resolver's rules, and the globs of its inputs. Nothing is remembered that was found while
    a name under evaluation was left out (`world.cut`)."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.index = resolver.index
        self._of: dict[int, list[str] | None] = {}
        self._busy: set[int] = set()
        self._globs: dict[str, list[str]] = {}
        self._less: dict[tuple[str, int], list[str]] = {}

    def forget(self) -> None:
        self._of.clear()
        self._globs.clear()
        self._less.clear()

    def of(self, rule: Rule) -> list[str] | None:
        """All targets of a rule with finite domains, sorted; None where a name has no values or is being evaluated."""
        if rule.number in self._of:
            return self._of[rule.number]
        if rule.number in self._busy:
            return None
        self._busy.add(rule.number)
        cut = self.resolver.world.cut
        try:
            found: list[str] | None = []
            for target in self.index.of_rule[rule.number]:
                if target.exact is not None:
                    found.append(normal(target.exact))  # type: ignore[union-attr]
                    continue
                if any(name not in rule.scope.definitions for name in target.names):
                    found = None
                    break
                try:
                    found.extend(normal(text) for text, _ in rule.scope.expansions(target.parts, {}, rule.span))  # type: ignore[union-attr]
                except Circular as circle:
                    if not circle.definition.busy:
                        raise  # it is a circle by itself, not by way of what is evaluated now
                    cut.add(circle.definition)
                    return None
                except Unbound:  # it follows a name that is a free wildcard
                    found = None
                    break
            if found is not None:
                found.sort()
            if not cut:
                self._of[rule.number] = found
            return found
        finally:
            self._busy.discard(rule.number)

    def within(self, prefix: str, suffix: str = "", depth: tuple[int, int | None] = (0, None)) -> Iterator[str]:
        """The finite targets of all rules with a recipe that begin and end so, with so many slashes (None: any number).

        Names of rules that can have none such are not evaluated: they may not be known yet.
        """
        for rule in self.resolver.builder.rules:
            if not rule.makes or rule.phony:
                continue
            if not any(_may_be(target, prefix, suffix, depth) for target in self.index.of_rule[rule.number]):
                continue
            found = self.of(rule)
            if not found:
                continue
            i = bisect_left(found, prefix)
            while i < len(found) and found[i].startswith(prefix):
                if found[i].endswith(suffix):
                    yield found[i]
                i += 1

    def below(self, folder: str) -> list[str]:
        """The finite targets in a folder."""
        return [path for path in self.within(folder) if path != folder]

    def owns(self, rule: Rule, path: str) -> bool:
        """Whether a path is among the targets of a rule."""
        if rule.phony or not rule.makes:
            return False
        found = self.of(rule)
        if found is not None:
            i = bisect_left(found, path)
            return i < len(found) and found[i] == path
        return any(
            normal(target.exact) == path if target.exact is not None
            else next(self.index.bindings(target, path), None) is not None
            for target in self.index.of_rule[rule.number]
        )  # fmt: skip

    def glob(self, text: GlobText, rule: Rule) -> list[str]:
        """The files that a glob in an input of a rule stands for, without the rule's own targets."""
        label = "".join([f"\0{part}" if isinstance(part, Glob) else str(part) for part in text.parts])
        key = (label, rule.number)
        known = self._less.get(key)
        if known is not None:
            return known
        world = self.resolver.world
        cut = world.cut
        if any(word.text.endswith("/") for word in rule.targets):  # the folder that it makes itself is not waited for
            rows = world.find(text.parts, {}, frozenset(), None, lambda folder: self.owns(rule, folder))
            found = [path for path, _ in rows]
        else:
            shared = self._globs.get(label)
            if shared is None:
                shared = [path for path, _ in world.find(text.parts, {}, frozenset(), None)]
                if not cut:
                    self._globs[label] = shared
            found = shared
        less = [path for path in found if not self.owns(rule, path)]
        if not cut:
            self._less[key] = less
        return less


def _may_be(target: Target, prefix: str, suffix: str, depth: tuple[int, int | None]) -> bool:
    """Whether some instance of a target may begin and end so, with a number of slashes between two."""
    if target.exact is not None:
        path = normal(target.exact)
        return path.startswith(prefix) and path.endswith(suffix)
    start, end = target.pattern.prefix, target.pattern.suffix
    if not (start.startswith(prefix) or prefix.startswith(start)) or not (end.endswith(suffix) or suffix.endswith(end)):
        return False
    least, most = target.pattern.depth
    return (depth[1] is None or least <= depth[1]) and (most is None or depth[0] <= most)
