"""The budgets of DESIGN section 8, and whether results meet them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.measure import Cost
from benchmarks.results import Cell, Results, compare

GROWTH = 2.2
"""The factor, of time and of memory, for twice the size."""

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Verdict:
    """A budget and what was found: `met` is None where it was not measured. `least` and `most` are the noise.

    `cpu` is the ratio of processor times: where it is far from `found`, look at what else the machine did.
    """

    what: str
    limit: float
    unit: str
    found: float | None = None
    least: float | None = None
    most: float | None = None
    why_not: str = ""
    cpu: float | None = None

    @property
    def met(self) -> bool | None:
        return None if self.found is None else self.found <= self.limit

    @property
    def word(self) -> str:
        return {True: "met", False: "MISSED", None: "not measured"}[self.met]


@dataclass(frozen=True)
class Against:
    """bflow's time as a multiple of a peer's, phase to phase."""

    what: str
    limit: float
    shape: str
    size: int
    phase: str
    peer: str
    peer_phase: str = ""

    def judge(self, results: Results) -> Verdict:
        ours = Cell(self.shape, self.size, self.phase, "bflow")
        theirs = Cell(self.shape, self.size, self.peer_phase or self.phase, self.peer)
        missing = next((cell for cell in (ours, theirs) if cell not in results.cells), None)
        if missing:
            why_not = f"no {missing.tool} in {missing.shape}/{missing.phase}, {missing.size:,}"
            return Verdict(self.what, self.limit, f"× {self.peer}", why_not=why_not)
        return _of_costs(self.what, self.limit, self.peer, results.cells[ours].costs, results.cells[theirs].costs)


@dataclass(frozen=True)
class Own:
    """bflow's time as a multiple of the base that was measured beside each run."""

    what: str
    limit: float
    shape: str
    size: int
    phase: str
    base: str

    def judge(self, results: Results) -> Verdict:
        runs = results.get(self.shape, self.size, self.phase, "bflow")
        if runs is None:
            why_not = f"no {self.shape}/{self.phase}, {self.size:,}"
            return Verdict(self.what, self.limit, f"× {self.base}", why_not=why_not)
        return _of_costs(self.what, self.limit, self.base, runs.costs, runs.base)


BUDGETS: tuple[Against | Own, ...] = (
    Against("nothing to do, 100,000 jobs", 0.75, "chains", 100_000, "nothing", "ninja"),
    Against("nothing to do, 10,000 jobs", 0.15, "chains", 10_000, "nothing", "make"),
    Own("nothing to do, 1 job", 2.0, "single", 1, "start", "python -c pass"),
    Against("from nothing, 10,000 jobs that start directly", 1.0, "chains", 10_000, "from-nothing", "ninja"),
    Against("from nothing, 10,000 jobs through bash", 1.5, "bash-chains", 10_000, "from-nothing", "ninja"),
    Against("outputs deleted, in the cache, 10,000 jobs", 0.1, "chains", 10_000, "restored", "ninja", "from-nothing"),
    Own("one input edited of 10,000 jobs", 2.0, "chains", 10_000, "edit", "its nothing to do"),
    Own("one input edited of 100,000 jobs", 2.0, "chains", 100_000, "edit", "its nothing to do"),
)


def judge(results: Results) -> list[Verdict]:
    """Every budget, in the order of DESIGN section 8."""
    verdicts = [budget.judge(results) for budget in BUDGETS]
    return [*verdicts, *_cold_plan(results), _watch(results), *_slurm(results)]


def _of_costs(what: str, limit: float, unit: str, ours: list[Cost], theirs: list[Cost]) -> Verdict:
    wall, cpu = compare(ours, theirs)
    return Verdict(what, limit, f"× {unit}", wall.value, wall.least, wall.most, cpu=cpu)


def _cold_plan(results: Results) -> Iterator[Verdict]:
    small, large = (results.get("chains", size, "plan", "bflow") for size in (100_000, 500_000))
    time = "cold plan, 500,000 jobs, time"
    memory = "cold plan, 500,000 jobs, memory"
    if large is None:
        yield Verdict(time, 6, "× that of 100,000", why_not="no chains/plan, 500,000")
        yield Verdict(memory, 3072, "MiB", why_not="no chains/plan, 500,000")
        return
    if small is None:
        yield Verdict(time, 6, "× that of 100,000", why_not="no chains/plan, 100,000")
    else:
        yield Verdict(time, 6, "× that of 100,000", large.wall / small.wall,
                      min(large.walls) / max(small.walls), max(large.walls) / min(small.walls))  # fmt: skip
    peaks = [cost.memory / MEBIBYTE for cost in large.costs]
    yield Verdict(memory, 3072, "MiB", large.memory / MEBIBYTE, min(peaks), max(peaks))


def _watch(results: Results) -> Verdict:
    what = "watch: save to job start, 10,000 jobs, 95th percentile"
    runs = results.get("chains", 10_000, "watch", "bflow")
    if runs is None:
        return Verdict(what, 50, "ms", why_not="no chains/watch, 10,000")
    times = [wall * 1000 for wall in runs.walls]
    return Verdict(what, 50, "ms", percentile(times, 0.95), min(times), max(times))


def _slurm(results: Results) -> Iterator[Verdict]:
    ours = results.get("slurm", 1_000, "slurm", "bflow")
    why_not = "no slurm/slurm, 1,000"
    commands = [float(count) for count in ours.commands] if ours else []
    what = "Slurm, 1,000 jobs, scheduler commands"
    if commands:
        yield Verdict(what, 20, "in all", max(commands), min(commands), max(commands))
    else:
        yield Verdict(what, 20, "in all", why_not=why_not)
    what = "Slurm, 10,000 jobs, the driver's processor time a job"
    many = results.get("slurm", 10_000, "slurm", "bflow")
    if many is None:
        yield Verdict(what, 1, "ms", why_not="no slurm/slurm, 10,000")
    else:
        times = [cost.cpu / 10 for cost in many.costs]
        yield Verdict(what, 1, "ms", min(times), min(times), max(times))
    yield Against("Slurm, 1,000 jobs, time", 0.2, "slurm", 1_000, "slurm", "pydra").judge(results)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    rank = -int(-share * len(ordered) // 1)  # rounded up
    return ordered[max(rank, 1) - 1]


def growth(results: Results) -> list[Verdict]:
    """How bflow's time and memory grew from each size to the next that is at least 1.5 times as large, per doubling.

    The least of the runs are compared: other work on the machine only ever adds.
    """
    verdicts = []
    kinds = dict.fromkeys((cell.shape, cell.phase) for cell in results.cells if cell.tool == "bflow")
    for shape, phase in kinds:
        if phase in ("start", "watch", "slurm"):
            continue
        sizes = results.sizes(shape, phase, "bflow")
        for small, large in zip(sizes, sizes[1:]):
            if large < 1.5 * small:
                continue
            a, b = (results.cells[Cell(shape, size, phase, "bflow")].costs for size in (small, large))
            time = min(cost.wall for cost in b) / min(cost.wall for cost in a)
            memory = min(cost.memory for cost in b) / min(cost.memory for cost in a)
            for name, factor in (("time", time), ("memory", memory)):
                doubled = per_doubling(factor, small, large)
                what = f"{shape}/{phase}, {name}, {small:,} to {large:,}"
                verdicts.append(Verdict(what, GROWTH, "× for twice the size", doubled))
    return verdicts


def worst(verdicts: list[Verdict]) -> list[Verdict]:
    """Of growth: for each shape, phase and kind the step with the largest factor."""
    found: dict[str, Verdict] = {}
    for verdict in verdicts:
        kind = ", ".join(verdict.what.split(", ")[:2])
        if kind not in found or (verdict.found or 0) > (found[kind].found or 0):
            found[kind] = verdict
    return list(found.values())


def per_doubling(factor: float, small: int, large: int) -> float:
    """The factor for twice the size that comes to `factor` between the two sizes."""
    from math import log2

    return float(factor ** (1 / log2(large / small)))
