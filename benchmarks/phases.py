"""The phases of a tree's life, each measured for every tool in turn: planned, made from nothing, looked at again, …

A `Case` is one shape at one size. Tools take turns within a round and the first to go changes from round to round.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure
from benchmarks.cluster import Counted
from benchmarks.compare import difference, listing
from benchmarks.places import Scratch
from benchmarks.results import Cell, Results
from benchmarks.tools import REFERENCE, Bflow, Tool
from benchmarks.trees import Tree, edit
from benchmarks.watching import Watching, saves

_READER = """
import sys, threading
def read(paths):
    part = memoryview(bytearray(1 << 20))
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(part):
                pass
count = int(sys.argv[1])
threads = [threading.Thread(target=read, args=(sys.argv[2 + i::count],)) for i in range(count)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


SLOW = 0.5
"""Seconds of a build with nothing to do, above which a peer has it less often."""


SETTLED = 500
"""The size of a tree from which on it is worth while to wait for the disk."""


@dataclass(frozen=True)
class Settings:
    """How often, and how wide. `rounds` is for phases that make the tree, `looks` for those that find it made.

    Trees of more than `large` jobs are made once.
    """

    rounds: int = 3
    looks: int = 9
    jobs: int = 2
    large: int = 20_000
    saves: int = 100
    limit: float = 1800.0  # seconds for one command
    say: Callable[[str], None] = print


class Case:
    """Runs the phases of one tree for some tools, and puts what they cost into `results`."""

    def __init__(self, tree: Tree, tools: Sequence[Tool], scratch: Scratch, results: Results, settings: Settings):
        self.tree = tree
        self.tools = [tool for tool in tools if tool.takes(tree)]
        self.scratch = scratch
        self.results = results
        self.settings = settings
        self.rounds = settings.rounds if tree.size <= settings.large else 1
        self.standing: dict[str, Path] = {}  # by tool: its tree, all made

    def turns(self, rounds: int) -> Iterator[tuple[int, Tool]]:
        """Each round's number with each tool; who begins changes. A peer that has failed has no more turns."""
        for number in range(rounds):
            first = number % len(self.tools)
            for tool in self.tools[first:] + self.tools[:first]:
                if tool in self.tools:
                    yield number, tool

    def run(self, tool: Tool, words: list[str], place: Path, first: Path | None = None) -> measure.Cost | None:
        """What a command costs, with the folder `first` on its PATH. A peer that fails takes no further part."""
        log = place.with_name(place.name + ".log")
        environment = measure.environment(self.scratch.home)
        if first is not None:
            environment["PATH"] = f"{first}:{environment['PATH']}"
        try:
            return measure.run(words, place, log, environment, self.settings.limit)
        except measure.CommandFailed as error:
            if tool.name == "bflow":
                raise
            self.settings.say(f"{tool.name} takes no further part here: {error}")
            self.tools = [other for other in self.tools if other is not tool]
            return None

    def add(self, phase: str, tool: Tool, cost: measure.Cost | None, base: measure.Cost | None = None) -> None:
        if cost is not None:
            self.results.add(self.cell(phase, tool), cost, base)

    def cell(self, phase: str, tool: Tool) -> Cell:
        return Cell(self.tree.shape, self.tree.size, phase, tool.name)

    def prepared(self, tool: Tool) -> Path:
        place = self.scratch.fresh(f"{self.tree.shape}-{self.tree.size}-{tool.name}")
        self.tree.write_sources(place)
        tool.prepare(self.tree, place)
        self.settle()
        return place

    def settle(self) -> None:
        """Have all data on the disk, so that no tool pays for what another, or we, have written."""
        if self.tree.size >= SETTLED:
            os.sync()

    def from_nothing(self, plan: bool = True, count: bool = True) -> None:
        """Build a fresh tree in each round; with `plan`, ask before what would run. The last ones stay for the rest.

        Without `count` it is only to have the trees, once and without results.
        """
        for _, tool in self.turns(self.rounds if count or plan else 1):
            place = self.prepared(tool)
            if plan and (words := tool.plan()) is not None:
                self.add("plan", tool, self.run(tool, words, place))
            cost = self.build(tool, place)
            if count:
                self.add("from-nothing", tool, cost)
            self.standing[tool.name] = place
        self.compare("from nothing")

    def build(self, tool: Tool, place: Path) -> measure.Cost | None:
        return self.run(tool, tool.build(self.settings.jobs), place)

    def plan(self) -> None:
        """Only ask what would run, on trees that were never built."""
        places = {tool.name: self.prepared(tool) for tool in self.tools if tool.plan() is not None}
        for _, tool in self.turns(self.rounds):
            if (words := tool.plan()) is not None:
                self.add("plan", tool, self.run(tool, words, places[tool.name]))

    def nothing(self) -> None:
        """Build a tree in which all stands."""
        for _, tool in self.turns(1):
            self.build(tool, self.standing[tool.name])
        for number, tool in self.turns(self.settings.looks):
            if number < self.enough(tool):
                self.add("nothing", tool, self.build(tool, self.standing[tool.name]))

    def enough(self, tool: Tool) -> int:
        """How often to look at a tree: a peer that takes long for it has its turn in the first rounds only."""
        runs = self.results.cells.get(self.cell("nothing", tool))
        slow = runs is not None and runs.wall > SLOW and tool.name not in ("bflow", "before", *REFERENCE[:3])
        return min(self.settings.rounds, self.settings.looks) if slow else self.settings.looks

    def start(self) -> None:
        """The same for a tree of one job; its base is a Python that does nothing."""
        for ours in self.ours():
            self.build(ours, self.standing[ours.name])
        for _ in range(4 * self.settings.looks):
            for ours in self.ours():
                base = self.run(ours, [ours.python, "-c", "pass"], self.standing[ours.name])
                self.add("start", ours, self.build(ours, self.standing[ours.name]), base)

    def edit(self) -> None:
        """Build after one source was edited; its base is a build with nothing to do right before."""
        for number, tool in self.turns(self.settings.looks):
            if number >= self.enough(tool):
                continue
            place = self.standing[tool.name]
            base = self.build(tool, place)
            edit(place / self.tree.editable(number), number)
            self.add("edit", tool, self.build(tool, place), base)
        self.compare("edit")

    def restored(self) -> None:
        """Build where all outputs are gone, and the cache has them. Only bflow can."""
        outputs = self.tree.made or [path for step in self.tree.steps() for path in step.outputs]
        for _ in range(self.rounds):
            for tool in self.ours():
                place = self.standing[tool.name]
                for output in outputs:
                    self.scratch.away(place / output)
                self.settle()
                self.add("restored", tool, self.build(tool, place))
        self.compare("restored")

    def watch(self) -> None:
        """Save one source after another under a running watch; each cost is the time until its job starts."""
        for tool in self.ours():
            place = self.standing[tool.name]
            log = place.with_name(place.name + ".watch.log")
            words = [*tool.command(), "watch", "--json"]
            watching = Watching(words, place, log, measure.environment(self.scratch.home))
            try:
                waits = list(saves(watching, self.tree, place, self.settings.saves))
            finally:
                memory = watching.close()
            for wait in waits:
                self.add("watch", tool, measure.Cost(wait, 0.0, memory))

    def hash(self) -> None:
        """Build where nothing is known of the sources; its base is a program that reads them and does no more."""
        sources = [path for step in self.tree.steps() for path in step.inputs]
        outputs = [path for step in self.tree.steps() for path in step.outputs]
        reader = [sys.executable, "-IS", "-c", _READER, str(self.settings.jobs), *sources]
        for tool in self.ours():
            place = self.standing[tool.name]
            gigabytes = sum((place / path).stat().st_size for path in sources) / 1e9
            self.run(tool, reader, place)  # into the page cache, as far as they fit
            for _ in range(self.settings.rounds):
                for path in (".bflow", *outputs):
                    self.scratch.away(place / path)
                base, cost = self.run(tool, reader, place), self.build(tool, place)
                self.add("hash", tool, cost, base)
                what = f"{gigabytes:.1f} GB in large files, GB/s:"
                self.results.figure(f"{what} read with {self.settings.jobs} threads", gigabytes, base)
                self.results.figure(f"{what} {tool.name} build", gigabytes, cost)

    def slurm(self) -> None:
        """Build from nothing through Slurm, once, and count its commands."""
        for _, tool in self.turns(1):
            words = tool.cluster()
            if words is None:
                continue
            place = self.prepared(tool)
            counted = Counted(self.scratch.fresh("commands"))
            cost = self.run(tool, words, place, counted.folder)
            self.add("slurm", tool, cost)
            if cost is not None:
                self.results.cells[self.cell("slurm", tool)].commands.append(counted.count())

    def ours(self) -> list[Bflow]:
        return [tool for tool in self.tools if isinstance(tool, Bflow)]

    def compare(self, after: str) -> None:
        """Set bflow's tree beside the reference's, byte for byte."""
        other = next((tool for name in REFERENCE for tool in self.tools if tool.name == name), None)
        if other is None or "bflow" not in self.standing:
            return
        ours = listing(self.standing["bflow"], Bflow.own)
        theirs = listing(self.standing[other.name], other.own)
        what = f"{self.tree.shape} {self.tree.size:,} {after}: {len(ours):,} files, bflow and {other.name}"
        self.results.compared.append((what, difference(ours, theirs)))
