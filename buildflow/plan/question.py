"""Whether inputs exist or can be made: what decides between several rules for one path.

The ways in which a path could be made form an and/or graph: a path has ways (rules under a binding, a made folder that
it lies in, an alias), and a way needs paths. What can be made is the least set that holds: so a path is never its own
input, at any depth. A rule is not tried below itself, which keeps the graph finite (`{x}: {x}.gz`): each path is looked
at with the rules that stand above it, and again where another way leads to it, by other rules.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from buildflow.errors import FlowError
from buildflow.names import GlobText
from buildflow.plan.binding import Shared
from buildflow.plan.matcher import Bound, maker
from buildflow.rule import Rule

if TYPE_CHECKING:
    from buildflow.plan.choose import Chooser

_MOST = 20_000  # paths that one question looks at: rules that match anything, one below the other, could ask for ever
_CONTEXTS = 8  # sets of rules above one path that are gone into; with more, every form of a file could be made of any
_NONE: frozenset[int] = frozenset()
_FOLDER = -1  # among the rules that were tried: the folders that a path lies in


class _Node:
    """A path. `contexts`: the sets of rules that stood above it when it was looked at, none holding another; `tried`:
    the rules that have a way here; `open`: whether a rule has none yet, since it stood above."""

    __slots__ = ("path", "true", "dead", "open", "contexts", "tried", "ways", "users")

    def __init__(self, path: str) -> None:
        self.path = path
        self.true = False
        self.dead = False  # it cannot be made, whatever else is found
        self.open = True
        self.contexts: list[frozenset[int]] = []
        self.tried: set[int] = set()
        self.ways: list[_Way] = []
        self.users: list[_Way] = []


class _Way:
    """One way to make a node: by rules (their numbers), from `missing` nodes yet."""

    __slots__ = ("node", "rules", "inputs", "missing", "dead")

    def __init__(self, node: _Node, rules: frozenset[int]) -> None:
        self.node = node
        self.rules = rules
        self.inputs: list[_Node] = []
        self.missing = 0
        self.dead = False


class Proven:
    """Paths that questions found to be makeable, in the order in which they were proven: each from earlier ones alone.

    So what was proven before a path does not need that path.
    """

    def __init__(self) -> None:
        self._stamps: dict[str, int] = {}

    def add(self, path: str) -> None:
        self._stamps.setdefault(path, len(self._stamps))

    def stamp(self, path: str) -> int:
        """The place of a path in the order; past the end where it is not proven."""
        return self._stamps.get(path, 1 << 60)


class Question:
    """Asked for one `path` that the job `asker` (None: the command) wants. Neither the path nor what led to it may be
    needed; `avoid` is a made folder that is left out of account."""

    def __init__(self, chooser: Chooser, path: str, asker: int | None = None, avoid: str = "") -> None:
        self.chooser = chooser
        self.asker = asker
        self.blocked = {path, avoid}
        self._before: int | None = None  # what was proven before holds here too
        self._ancestors: set[int] | None = None
        self._nodes: dict[str, _Node] = {}
        self._todo: deque[tuple[_Node, frozenset[int]]] = deque()

    def answer(self, rule: Rule, bound: Bound) -> bool:
        """Whether all inputs of a rule under a binding exist or can be made."""
        texts = self._needs(rule, bound)
        return texts is not None and self._all(frozenset((rule.number,)), texts)

    def can(self, path: str) -> bool:
        """Whether a path exists or can be made."""
        return self._all(_NONE, [path])

    def _all(self, rules: frozenset[int], paths: list[str]) -> bool:
        self._nodes.clear()
        self._todo.clear()
        root = _Node("")
        self._add(root, rules, paths, _NONE)
        root.open = False
        while self._todo and not root.true and not root.ways[0].dead and len(self._nodes) < _MOST:
            node, above = self._todo.popleft()
            if not node.true and not node.dead and any(not way.dead for way in node.users):
                self._look(node, above)
        return root.true

    def _needs(self, rule: Rule, bound: Bound) -> list[str] | None:
        """The paths that a rule needs; None where it cannot have its inputs. What a glob finds is there."""
        chooser = self.chooser
        paths: dict[str, None] = {}
        try:
            for texts in chooser.bindings.groups(rule, bound):
                if isinstance(texts, Shared):
                    paths.update(dict.fromkeys(texts))
                    continue
                for text in texts:
                    if isinstance(text, GlobText):
                        if not chooser.finite.glob(text, rule):
                            return None
                    else:
                        paths.setdefault(chooser.bindings.project_path(text))
        except FlowError:
            return None
        return list(paths)

    def _add(self, node: _Node, rules: frozenset[int], paths: list[str], above: frozenset[int]) -> None:
        """One more way to make a node."""
        way = _Way(node, rules)
        node.ways.append(way)
        below = above | rules
        blocked, stamp, limit = self.blocked, self.chooser.proven.stamp, self._limit()
        for path in paths:
            if stamp(path) < limit and path not in blocked:
                continue  # it was proven before: a word of a thousand headers is asked about once
            found = self._nodes.get(path)
            if found is None:
                found = self._nodes[path] = _Node(path)
            way.inputs.append(found)
            if not found.true:
                way.missing += 1
                way.dead = way.dead or found.dead
                found.users.append(way)
                self._todo.append((found, below))
        if not way.missing:
            self._settle(node)

    def _settle(self, node: _Node) -> None:
        """A node can be made, and so what lacked nothing else."""
        proven = None if self.chooser.resolver.world.cut else self.chooser.proven
        stack = [node]
        while stack:
            done = stack.pop()
            if done.true:
                continue
            done.true = True
            if proven is not None and done.path:
                proven.add(done.path)
            for way in done.users:
                way.missing -= 1
                if not way.missing:
                    stack.append(way.node)

    @staticmethod
    def _bury(node: _Node) -> None:
        """A node cannot be made where no way to it is left; nor can what needs it."""
        stack = [node]
        while stack:
            one = stack.pop()
            if one.true or one.dead or one.open or any(not way.dead for way in one.ways):
                continue
            one.dead = True
            for way in one.users:
                way.dead = True
                stack.append(way.node)

    def _look(self, node: _Node, above: frozenset[int]) -> None:
        """Look for ways to a node that was reached by these rules."""
        contexts = node.contexts
        if contexts:
            if len(contexts) >= _CONTEXTS or any(known <= above for known in contexts):
                return
            node.contexts = [known for known in contexts if not above < known]
            node.contexts.append(above)
            for way in node.ways:
                if not way.rules & above:
                    self._todo.extend([(one, above | way.rules) for one in way.inputs if not one.true])
            if node.open:
                self._expand(node, above)
            return
        contexts.append(above)
        path = node.path
        if path in self.blocked:
            self._only(node)
        elif self.chooser.proven.stamp(path) < self._limit():
            self._settle(node)
        elif (job := self.chooser.planned(path)) is not None:
            self._planned(node, job, above)
        elif self.chooser.is_source(path):
            self._settle(node)
        else:
            self._expand(node, above)

    def _planned(self, node: _Node, job: int, above: frozenset[int]) -> None:
        """What is planned stays so: there is no other way to it."""
        if job not in self._chain():
            if self.chooser.settled(job):
                self._settle(node)
                return
            rule, bound = self.chooser.job(job)
            texts = self._needs(rule, bound)
            if texts is not None:
                self._add(node, frozenset((rule.number,)), texts, above)
        self._only(node)

    def _only(self, node: _Node) -> None:
        """There are no more ways to a node, whatever leads to it."""
        node.open = False
        self._bury(node)

    def _limit(self) -> int:
        """Proofs up to here need neither the path that is asked about nor what led to it."""
        if self._before is None:
            stamp, plan = self.chooser.proven.stamp, self.chooser.resolver.plan
            above = [plan.paths[f] for job in self._chain() for f in plan.outputs[job]]
            self._before = min([stamp(path) for path in (*self.blocked, *above)])
        return self._before

    def _chain(self) -> set[int]:
        if self._ancestors is None:
            self._ancestors = set(self.chooser.ancestors(self.asker))
        return self._ancestors

    def _expand(self, node: _Node, above: frozenset[int]) -> None:
        """The ways to make a node, but for those by rules above it."""
        index, path, tried = self.chooser.index, node.path, node.tried
        skipped = False

        def way(rule: Rule, bound: Bound) -> None:
            texts = self._needs(rule, bound)
            if texts is not None:
                self._add(node, frozenset((rule.number,)), texts, above)

        exact = maker(index.exact_targets(path))
        if exact is not None:
            if exact.number not in above:
                way(exact, {})
                self._only(node)
            return
        fresh: set[int] = set()
        for target in index.pattern_targets(path):
            number = target.rule.number
            if not target.rule.makes or number in tried:
                continue
            if number in above:
                skipped = True
                continue
            fresh.add(number)
            for bound in index.bindings(target, path):
                way(target.rule, bound)
                if node.true:
                    return
        if _FOLDER not in tried:
            fresh.add(_FOLDER)
            self._folder(node, above)
        adds = index.aliases_of(path)
        numbers = frozenset(rule.number for rule, _ in adds)
        if numbers & above:
            skipped = True
        elif adds and not numbers & tried:
            fresh |= numbers
            paths: dict[str, None] = {}
            for rule, bound in adds:
                texts = self._needs(rule, bound)
                if texts is None:
                    break
                paths.update(dict.fromkeys(texts))
            else:
                self._add(node, numbers, list(paths), above)
        tried |= fresh
        if not skipped:
            self._only(node)

    def _folder(self, node: _Node, above: frozenset[int]) -> None:
        """The folders that a path lies in may be made; a folder that none makes is the finite targets in it."""
        chooser, path = self.chooser, node.path
        if chooser.index.folders:
            end = path.find("/")
            while 0 <= end < len(path) - 1 and not node.true:
                folder = path[: end + 1]
                if folder not in self.blocked and not chooser.is_source(folder):
                    self._add(node, _NONE, [folder], above)
                end = path.find("/", end + 1)
        if path.endswith("/") and not node.true and chooser.finite.below(path):
            self._settle(node)
