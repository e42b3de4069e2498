"""Which rules could make a path: an index over the targets of all rules, so that never every rule is tried.

A target is exact (no wildcard is left in it) or a pattern, filed by the literal text at its ends. Whether the value of
a wildcard lies in its domain is asked here; whether the inputs exist is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buildflow.errors import FlowError
from buildflow.globbing import PathPattern
from buildflow.names import CallHole, Circular, Flat, Relation, Scope
from buildflow.rule import Rule
from buildflow.template import Hole, Part

Bound = dict[str, str]


class Target:
    """One target word of a rule, one of its alternatives: `parts` hold text and wildcards only."""

    __slots__ = ("rule", "word", "parts", "pattern", "exact", "names")

    def __init__(self, rule: Rule, word: int, parts: tuple[Part, ...]) -> None:
        self.rule = rule
        self.word = word
        self.parts = parts
        self.names = tuple(dict.fromkeys(p.name for p in parts if isinstance(p, Hole)))
        self.exact = None if self.names else "".join(str(p) for p in parts)
        if self.names:
            assigned = [n for n in self.names if n in rule.scope.definitions]
            loose = [n for n in self.names if n in rule.scope.patterns]
            self.pattern = PathPattern(parts, slashes=frozenset(assigned + loose))


class RuleIndex:
    """All targets of all rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.exact: dict[str, list[Target]] = {}
        self.patterns: dict[tuple[str, str], list[Target]] = {}
        self.ends: dict[tuple[int, int], None] = {}
        self.folders = False
        self.of_rule: dict[int, list[Target]] = {}
        for rule in rules:
            for target in targets_of(rule):
                self.of_rule.setdefault(rule.number, []).append(target)
                if target.exact is not None:
                    path = normal(target.exact)
                    self.folders = self.folders or path.endswith("/")
                    self.exact.setdefault(path, []).append(target)
                else:
                    prefix, suffix = target.pattern.prefix, target.pattern.suffix
                    self.folders = self.folders or suffix.endswith("/")
                    self.patterns.setdefault((prefix, suffix), []).append(target)
                    self.ends.setdefault((len(prefix), len(suffix)))

    def exact_targets(self, path: str) -> list[Target]:
        return self.exact.get(path, [])

    def pattern_targets(self, path: str) -> Iterator[Target]:
        """Patterns whose literal ends fit, in written order."""
        found: list[Target] = []
        length = len(path)
        for before, after in self.ends:
            if before + after >= length:
                continue
            some = self.patterns.get((path[:before], path[length - after :]))
            if some:
                found.extend(some)
        if len(found) > 1:
            found.sort(key=lambda target: (target.rule.number, target.word))
        return iter(found)

    def bindings(self, target: Target, path: str) -> Iterator[Bound]:
        """Every way in which a path is an instance of a pattern, within the domains; leftmost-longest first."""
        scope = target.rule.scope
        for bound in target.pattern.match(path):
            if in_domains(scope, target.names, bound):
                yield bound


def targets_of(rule: Rule) -> list[Target]:
    """The targets of a rule with followers and plain names filled; functions are not called for it."""
    found = []
    for number, word in enumerate(rule.targets):
        for flat in rule.scope.flatten_static(word.parts):
            parts: list[Part] = []
            for part in flat:
                if isinstance(part, CallHole):
                    parts.append(Hole(part.name))
                elif isinstance(part, Hole):
                    if part.attr is not None or part.index is not None:
                        raise FlowError(
                            f"{part} in a target",
                            word.span or rule.span,
                            f"a target binds whole values: write {{{part.name}}}, or give the other form a name of its own",
                        )
                    parts.append(Hole(part.name))
                elif isinstance(part, str):
                    if parts and type(parts[-1]) is str and not isinstance(part, Hole):
                        parts[-1] = parts[-1] + str(part)
                    else:
                        parts.append(str(part))
                else:
                    raise FlowError("the attribute of a name that holds others in a target", word.span or rule.span)
            found.append(Target(rule, number, tuple(parts)))
    return found


def in_domains(scope: Scope, names: Sequence[str], bound: Bound) -> bool:
    """Whether each value lies in the domain of its name, and joint names in one row."""
    relations: list[Relation] = []
    for name in names:
        text = bound[name]
        try:
            value = scope.value(name)
        except Circular as circle:
            if not circle.definition.busy:
                raise  # it is a circle by itself, not by way of what is evaluated now
            assert scope.world is not None
            scope.world.cut.add(circle.definition)
            return False
        if isinstance(value, Relation):
            if text not in value.values(name):
                return False
            if len(value.columns) > 1 and value not in relations:
                relations.append(value)
        elif value is None:
            pattern = scope.patterns.get(name)
            if pattern is not None:
                if not pattern.fullmatch(text):
                    return False
            elif "/" in text:
                return False
        else:
            others = {n: v for n, v in bound.items() if n != name}
            flats: list[Flat] = scope.flatten((Hole(name),))
            if text not in scope.expand(flats, others):
                return False
    return all(relation.restrict(bound) for relation in relations)


def normal(path: str) -> str:
    """A path as the plan names it: no `./`, no `//`, `..` resolved where that leads to no other place."""
    if "//" not in path and "./" not in path and not path.endswith(("/.", "/..")) and path not in (".", ".."):
        return path
    import posixpath

    folder = path.endswith(("/", "/.", "/..")) or path in (".", "..")
    result = posixpath.normpath(path)
    if result.startswith("//"):
        result = result[1:]
    return result + "/" if folder and result != "/" else result
