"""Which rules could make a path: an index over the targets of all rules, so that never every rule is tried.

A target is exact (no wildcard is left in it) or a pattern, filed by the literal text at its ends. Whether the value of
a wildcard lies in its domain is asked here; whether the inputs exist is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from buildflow.errors import FlowError, Span
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

    @property
    def span(self) -> Span | None:
        """Where it stands; where several stand in one word (`{a,b}.txt`), the word."""
        return self.rule.targets[self.word].span or self.rule.span


class RuleIndex:
    """All targets of all rules. `build` files them anew, and raises FlowError for targets that contradict each other.

    `folders`: whether a target may be a folder; `aliases`: the exact targets of rules without a recipe;
    `alias_patterns`: whether such a rule has a pattern.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.build()

    def build(self) -> None:
        self.exact: dict[str, list[Target]] = {}
        self.patterns: dict[tuple[str, str], list[Target]] = {}
        self.ends: dict[tuple[int, int], None] = {}
        self.of_rule: dict[int, list[Target]] = {}
        self.folders = self.alias_patterns = False
        self.aliases: set[str] = set()
        for rule in self.rules:
            targets = self.of_rule[rule.number] = targets_of(rule)
            if len(targets) > 1:
                _check_distinct(rule, targets)
            for target in targets:
                if target.exact is not None:
                    path = normal(target.exact)
                    self.folders = self.folders or path.endswith("/")
                    self.exact.setdefault(path, []).append(target)
                    if not rule.makes:
                        self.aliases.add(path)
                else:
                    prefix, suffix = target.pattern.prefix, target.pattern.suffix
                    self.folders = self.folders or suffix.endswith("/")
                    self.patterns.setdefault((prefix, suffix), []).append(target)
                    self.ends.setdefault((len(prefix), len(suffix)))
                    self.alias_patterns = self.alias_patterns or not rule.makes
        check_exact(self.exact)

    def exact_targets(self, path: str) -> list[Target]:
        return self.exact.get(path, [])

    def pattern_targets(self, path: str) -> list[Target]:
        """Patterns whose literal ends fit, in written order."""
        found: list[Target] = []
        length = len(path)
        for before, after in self.ends:
            if before + after >= length:
                continue
            some = self.patterns.get((path[:before], path[length - after :]))
            if some:
                found = found + some if found else some
        if len(found) > 1:
            return sorted(found, key=lambda target: (target.rule.number, target.word))
        return found

    def aliases_of(self, path: str) -> list[tuple[Rule, Bound]]:
        """The rules without a recipe that have a path as a target, in written order."""
        found: list[tuple[Rule, Bound]] = []
        if path in self.aliases:
            found = [(target.rule, {}) for target in self.exact.get(path, ()) if not target.rule.makes]
        if self.alias_patterns:
            for target in self.pattern_targets(path):
                if not target.rule.makes:
                    bound = next(self.bindings(target, path), None)
                    if bound is not None:
                        found.append((target.rule, bound))
            found.sort(key=lambda one: one[0].number)
        return found

    def bindings(self, target: Target, path: str) -> Iterator[Bound]:
        """Every way in which a path is an instance of a pattern, within the domains; leftmost-longest first."""
        scope = target.rule.scope
        for bound in target.pattern.match(path):
            if in_domains(scope, target.names, bound):
                yield bound


def maker(exact: Sequence[Target]) -> Rule | None:
    """The rule with a recipe among those of one exact target: the project's before one of a library."""
    found = [target.rule for target in exact if target.rule.makes]
    return next((rule for rule in found if not rule.library), found[0] if found else None)


def check_exact(exact: dict[str, list[Target]]) -> None:
    """Raises FlowError for two rules with a recipe for one exact target, and for exact targets that overlap."""
    below: dict[str, tuple[str, Target]] = {}  # a folder that targets need → the first of them
    made: list[tuple[str, Target]] = []
    for path, targets in exact.items():
        if len(targets) > 1:
            makers = [target for target in targets if target.rule.makes]
            makers = [target for target in makers if not target.rule.library] or makers
            if len(makers) > 1:
                raise FlowError(
                    f"two rules make {path}",
                    makers[1].span,
                    f"the other one: {makers[0].span}\ngive one of them another target, or take it out",
                )
        target = next((t for t in targets if t.rule.makes and not t.rule.phony), None)
        if target is None:
            continue
        made.append((path, target))
        parent = path.rstrip("/").rpartition("/")[0]
        while parent and parent not in below:
            below[parent] = path, target
            parent = parent.rpartition("/")[0]
    for path, target in made:
        bare = path.rstrip("/")
        inner = below.get(bare)
        if inner is not None:
            raise overlap(inner[0], inner[1].span, path, target.span)
        if bare != path:
            other = next((t for t in exact.get(bare, ()) if t.rule.makes and not t.rule.phony), None)
            if other is not None:
                raise overlap(bare, other.span, path, target.span)


def overlap(path: str, span: Span | None, other: str, other_span: Span | None) -> FlowError:
    """The error for a target that lies in another one, or is a file where another needs a folder."""
    if other.rstrip("/") == path:
        message = f"the target {path} is a file, and {other} is a target too"
    elif other.endswith("/"):
        message = f"the target {path} lies in {other}, a folder that is a target itself"
    else:
        message = f"{path} needs a folder where {other} is a target"
    hint = f"the other one: {other_span}\n" if other_span is not None else ""
    if other.endswith("/") and other.rstrip("/") != path:
        hint += f"the rule of {other} makes all that is in it, and each file of it may be an input elsewhere"
    else:
        hint += "give one of them another name"
    return FlowError(message, span, hint)


def _check_distinct(rule: Rule, targets: Sequence[Target]) -> None:
    """Raises FlowError for a target that stands twice in one rule."""
    seen: set[object] = set()
    for target in targets:
        same = normal(target.exact) if target.exact is not None else target.parts
        if same in seen:
            text = "".join(str(part) for part in target.parts)
            raise FlowError(f"the target {text} stands twice in one rule", target.span, "take one of them out")
        seen.add(same)


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
                            f"a target binds whole values: write {{{part.name}}}, or give the other form its own name",
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
