"""The jobs of a plan, or its rules, as a graph to be drawn: nodes with a state, and what needs what.

What each job would be is the decision of a dry run. How a graph looks as dot, mermaid or JSON is `drawing_formats`'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildflow.build import Build

STATES = ("would run", "undecided", "cached", "up to date", "source")
"""What a node can be; of several in one node the first of these gives the colour."""

MANY = 60
"""Nodes above which jobs that are alike are drawn as one."""

ROUNDS = 20
"""How far apart two jobs may differ in what they hang on and still be drawn as two."""


@dataclass
class Node:
    """One job or source file, or several that are alike. `rule`: its name, None for a source."""

    targets: list[str]
    rule: str | None
    states: Counter[str]
    count: int = 1

    @property
    def state(self) -> str:
        return next((state for state in STATES if self.states[state]), "undecided")


@dataclass
class Drawing:
    """Nodes, and edges from what is needed to what needs it (places in `nodes`); `rules`: a node is a rule."""

    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)
    rules: bool = False


def drawing_of(build: Build) -> Drawing:
    """Every job of a build that has run (dry or not), and every source file that one reads."""
    plan, states = build.plan, build.summary.states
    rules = build.resolver.builder.rules
    found = Drawing()
    for job, rule in enumerate(plan.rule):
        targets = [plan.paths[f] for f in plan.outputs[job]] or [rules[rule].targets[0].text]
        state = states.get(job, "undecided").replace("_", " ")
        found.nodes.append(Node(targets, rules[rule].name, Counter((state if state in STATES else "undecided",))))
    sources: dict[int, int] = {}
    edges: dict[tuple[int, int], None] = {}
    for job in range(len(plan.rule)):
        edges.update(((before, job), None) for before in sorted(plan.dependencies(job)))
        for f in dict.fromkeys(plan.inputs[job] + plan.extra[job] + plan.after[job]):
            if plan.maker[f] >= 0:
                continue
            tree = plan.tree(job, f)
            if tree is not None and not any(plan.maker[member] < 0 for member in tree[0]):
                continue  # a folder of made files: their jobs are there
            if f not in sources:
                sources[f] = len(found.nodes)
                found.nodes.append(Node([plan.paths[f]], None, Counter(("source",))))
            edges[(sources[f], job)] = None
    found.edges = list(edges)
    return found


def by_rule(drawing: Drawing) -> Drawing:
    """One node a rule; the sources that the same rules read are one node."""
    colours: list[Hashable] = [node.rule for node in drawing.nodes]
    readers: dict[int, set[str | None]] = {}
    for before, after in drawing.edges:
        if drawing.nodes[before].rule is None:
            readers.setdefault(before, set()).add(drawing.nodes[after].rule)
    for place, names in readers.items():
        colours[place] = frozenset(names)
    found = _merged(drawing, colours)
    found.rules = True
    return found


def collapsed(drawing: Drawing) -> Drawing:
    """Jobs of one rule with the same neighbours, or neighbours that are alike in turn, as one node."""
    colours: list[int] = _numbered((node.rule, node.state) for node in drawing.nodes)
    before: list[list[int]] = [[] for _ in drawing.nodes]
    after: list[list[int]] = [[] for _ in drawing.nodes]
    for one, other in drawing.edges:
        before[other].append(one)
        after[one].append(other)
    known = len(set(colours))
    for _ in range(ROUNDS):
        finer = _numbered(
            (colour, frozenset(colours[n] for n in before[i]), frozenset(colours[n] for n in after[i]))
            for i, colour in enumerate(colours)
        )
        count = len(set(finer))
        if count == known or count > len(drawing.nodes) // 2 > MANY:
            break  # nothing is told apart any more; or next to everything is, and that is no smaller drawing
        colours, known = finer, count
    return _merged(drawing, colours)


def _numbered(colours: Iterable[Hashable]) -> list[int]:
    numbers: dict[Hashable, int] = {}
    return [numbers.setdefault(colour, len(numbers)) for colour in colours]


def _merged(drawing: Drawing, colours: Iterable[Hashable]) -> Drawing:
    """Nodes of one colour as one; an edge of a node to itself is left out."""
    places = _numbered(colours)
    found = Drawing(rules=drawing.rules)
    for place, node in zip(places, drawing.nodes, strict=True):
        if place == len(found.nodes):
            found.nodes.append(Node(list(node.targets), node.rule, Counter(node.states), node.count))
            continue
        same = found.nodes[place]
        same.targets.extend(node.targets)
        same.states.update(node.states)
        same.count += node.count
    for node in found.nodes:
        if node.count > 1:
            node.targets.sort()
    found.edges = list(dict.fromkeys((places[a], places[b]) for a, b in drawing.edges if places[a] != places[b]))
    return found
