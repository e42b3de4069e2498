"""What was measured: for each cell (shape, size, phase, tool) its runs, in the order of the rounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

    `base` has, run by run, the cost that it is to be compared with, if any; `commands` how often each run called a
    scheduler's commands.
    """

    costs: list[Cost] = field(default_factory=list)
    base: list[Cost] = field(default_factory=list)
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

    def add(self, cell: Cell, cost: Cost, base: Cost | None = None) -> None:
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

    def sizes(self, shape: str, phase: str, tool: str) -> list[int]:
        return sorted(cell.size for cell in self.cells if (cell.shape, cell.phase, cell.tool) == (shape, phase, tool))

    def as_json(self) -> dict[str, Any]:
        return {
            "runs": [{**cell._asdict(), **_numbers(runs)} for cell, runs in self.cells.items()],
            "compared": [{"what": what, "difference": found} for what, found in self.compared],
            "failures": self.failures,
            "figures": self.figures,
        }

    def groups(self) -> Iterator[tuple[tuple[str, int, str], dict[str, Runs]]]:
        """The cells of each (shape, size, phase) by tool, in the order of their first run."""
        found: dict[tuple[str, int, str], dict[str, Runs]] = {}
        for cell, runs in self.cells.items():
            found.setdefault((cell.shape, cell.size, cell.phase), {})[cell.tool] = runs
        yield from found.items()


def _numbers(runs: Runs) -> dict[str, Any]:
    found: dict[str, Any] = {
        "seconds": runs.walls,
        "processor_seconds": [cost.cpu for cost in runs.costs],
        "peak_bytes": [cost.memory for cost in runs.costs],
    }
    if runs.base:
        found["base_seconds"] = [cost.wall for cost in runs.base]
    if runs.commands:
        found["scheduler_commands"] = runs.commands
    return found


def compare(ours: Sequence[Cost], theirs: Sequence[Cost]) -> tuple[Ratio, float]:
    """The ratio of wall times, and the one of processor times, which other work on the machine changes less."""
    wall = ratio_of([cost.wall for cost in ours], [cost.wall for cost in theirs])
    return wall, ratio_of([cost.cpu for cost in ours], [max(cost.cpu, 1e-6) for cost in theirs]).value


def ratio_of(ours: list[float], theirs: list[float]) -> Ratio:
    """Round by round where both have as many runs, else the ratio of medians."""
    if len(ours) == len(theirs):
        ratios = [a / b for a, b in zip(ours, theirs)]
        return Ratio(median(ratios), min(ratios), max(ratios))
    value = median(ours) / median(theirs)
    return Ratio(value, min(ours) / max(theirs), max(ours) / min(theirs))
