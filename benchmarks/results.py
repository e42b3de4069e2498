"""What was measured: for each cell (shape, size, phase, tool) its runs, in the order of the rounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from benchmarks.measure import Cost


class Cell(NamedTuple):
    shape: str
    size: int
    phase: str
    tool: str


@dataclass
class Runs:
    """The costs of a cell's runs.

    `base` has, run by run, the seconds that it is to be compared with, if any; `commands` how often each run called a
    scheduler's commands.
    """

    costs: list[Cost] = field(default_factory=list)
    base: list[float] = field(default_factory=list)
    commands: list[int] = field(default_factory=list)

    @property
    def walls(self) -> list[float]:
        return [cost.wall for cost in self.costs]

    @property
    def wall(self) -> float:
        return median(self.walls)

    @property
    def memory(self) -> float:
        return median(cost.memory for cost in self.costs)


class Ratio(NamedTuple):
    """The median of ratios taken round by round, so that a machine that slows down for a while does not matter."""

    value: float
    least: float
    most: float


class Results:
    """All cells of a run, the differences between trees that should be the same, and what failed."""

    def __init__(self) -> None:
        self.cells: dict[Cell, Runs] = {}
        self.compared: list[tuple[str, str]] = []  # what was compared, and how it differs ("" where it does not)
        self.failures: list[str] = []
        self.figures: dict[str, list[float]] = {}  # numbers that are no run's cost, such as gigabytes a second

    def add(self, cell: Cell, cost: Cost, base: float | None = None) -> None:
        runs = self.cells.setdefault(cell, Runs())
        runs.costs.append(cost)
        if base is not None:
            runs.base.append(base)

    def figure(self, name: str, amount: float, cost: Cost | None) -> None:
        """Note so much a second."""
        if cost is not None:
            self.figures.setdefault(name, []).append(amount / cost.wall)

    def get(self, shape: str, size: int, phase: str, tool: str) -> Runs | None:
        return self.cells.get(Cell(shape, size, phase, tool))

    def ratio(self, ours: Cell, theirs: Cell) -> Ratio | None:
        """How many times as long the first takes. None where one of the two was not measured."""
        a, b = self.cells.get(ours), self.cells.get(theirs)
        if a is None or b is None:
            return None
        return ratio_of(a.walls, b.walls)

    def own_ratio(self, cell: Cell) -> Ratio | None:
        """The same, of a cell's runs to their bases."""
        runs = self.cells.get(cell)
        return ratio_of(runs.walls, runs.base) if runs and runs.base else None

    def sizes(self, shape: str, phase: str, tool: str) -> list[int]:
        return sorted(cell.size for cell in self.cells if (cell.shape, cell.phase, cell.tool) == (shape, phase, tool))

    def as_json(self) -> dict[str, Any]:
        return {
            "runs": [
                {**cell._asdict(), "seconds": runs.walls, "processor_seconds": [c.cpu for c in runs.costs],
                 "peak_bytes": [c.memory for c in runs.costs], **({"base_seconds": runs.base} if runs.base else {}),
                 **({"scheduler_commands": runs.commands} if runs.commands else {})}
                for cell, runs in self.cells.items()
            ],
            "compared": [{"what": what, "difference": found} for what, found in self.compared],
            "failures": self.failures,
            "figures": self.figures,
        }  # fmt: skip

    def groups(self) -> Iterator[tuple[tuple[str, int, str], dict[str, Runs]]]:
        """The cells of each (shape, size, phase) by tool, in the order of their first run."""
        found: dict[tuple[str, int, str], dict[str, Runs]] = {}
        for cell, runs in self.cells.items():
            found.setdefault((cell.shape, cell.size, cell.phase), {})[cell.tool] = runs
        yield from found.items()


def ratio_of(ours: list[float], theirs: list[float]) -> Ratio:
    """Round by round where both have as many runs, else the ratio of medians."""
    if len(ours) == len(theirs):
        ratios = [a / b for a, b in zip(ours, theirs)]
        return Ratio(median(ratios), min(ratios), max(ratios))
    value = median(ours) / median(theirs)
    return Ratio(value, min(ours) / max(theirs), max(ours) / min(theirs))
