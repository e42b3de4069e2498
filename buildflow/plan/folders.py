"""A folder that no rule makes: its source files and the finite targets below it, less the targets of the rule that
reads it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildflow.errors import FlowError, Span

if TYPE_CHECKING:
    from buildflow.plan.resolve import Resolver

Tree = tuple[tuple[int, ...], tuple[str, ...]]
"""The numbers of the files in a folder, and its empty folders."""


class Folders:
    """The unmade folders that one resolver's jobs read, and what each job sees of them."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.plan = resolver.plan
        self._known: dict[int, tuple[list[str], list[str], frozenset[str]]] = {}
        self._seen: dict[tuple[int, int], Tree] = {}  # by folder and rule (-1: the command)

    def take(self, f: int, job: int | None, span: Span | None) -> None:
        """Enter into the plan what a job (None: the command) sees of folder `f`, and want it."""
        plan = self.plan
        number = -1 if job is None else plan.rule[job]
        tree = self._seen.get((f, number))
        if tree is None:
            tree = self._seen[(f, number)] = self._of_rule(f, job, span)
            below = self._known[f][2]
            for member in tree[0]:
                name = plan.paths[member]
                place = self.resolver.disk.path(name)
                if name not in below and os.path.islink(place) and not os.path.isfile(place):
                    continue  # a link that leads nowhere, or to a folder: its text is all there is
                self.resolver.want(member, job)
        if len(tree[0]) == len(self._known[f][0]):
            plan.trees[f] = tree
        else:
            plan.trees[(job, f)] = tree

    def _of_rule(self, f: int, job: int | None, span: Span | None) -> Tree:
        """What the jobs of one rule see of a folder."""
        names, empty, below = self._content(f, span)
        if job is not None:
            rule = self.resolver.builder.rules[self.plan.rule[job]]
            owns = self.resolver.finite.owns
            names = [name for name in names if name not in below or not owns(rule, name)]
        return tuple([self.plan.file(name) for name in names]), tuple(empty)

    def _content(self, f: int, span: Span | None) -> tuple[list[str], list[str], frozenset[str]]:
        """The files and targets in a folder, its empty folders, and which of the first are targets."""
        found = self._known.get(f)
        if found is None:
            path = self.plan.paths[f]
            if path == "./":
                raise FlowError(
                    "the whole project cannot be an input", span, "name the folders and files that are read"
                )
            members, empty = self.resolver.world.source_tree(path)
            below = self.resolver.finite.below(path)
            names = list(dict.fromkeys([*members, *below]))
            found = self._known[f] = (names, empty, frozenset(below))
        return found
