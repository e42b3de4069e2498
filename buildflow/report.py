"""What is known of the jobs of a plan from their entries: when each ran, where, how long and with what.

How that looks is `report_page`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from buildflow.drawing import Drawing, by_rule, drawing_of
from buildflow.history import History
from buildflow.plan.graph import order

if TYPE_CHECKING:
    from buildflow.build import Build
    from buildflow.history import FailedTry
    from buildflow.submitter import Session

APART = 60.0
"""Seconds without a job after which what follows counts as another time that something was built."""


@dataclass
class Told:
    """One job. Times are seconds since 1970, `seconds` the wall time, memory in GB (1000³ bytes); None: not known."""

    target: str
    outputs: int
    rule: str
    state: str
    started: float | None = None
    ended: float | None = None
    seconds: float | None = None
    memory: float | None = None
    cpu: float | None = None  # the peak, per cent of one processor
    host: str = ""
    worker: str = ""
    environment: str = ""
    adopted: bool = False
    size: int = 0  # bytes of the outputs
    failed: FailedTry | None = None


class Report(NamedTuple):
    """`critical`: places in `jobs` of the chain that took longest; `bursts`: places in `jobs` of what ran together, the
    last first, each in the order of its start."""

    jobs: list[Told]
    drawing: Drawing
    critical: list[int]
    bursts: list[list[int]]


def report(session: Session, build: Build) -> Report:
    """What is known of the jobs of a dry run."""
    history = History(session)
    jobs = [_told(build, history, number) for number in range(len(build.plan.rule))]
    return Report(jobs, by_rule(drawing_of(build)), _critical(build, jobs), _bursts(jobs))


def _told(build: Build, history: History, number: int) -> Told:
    job = build.decider.job(number)
    state = build.summary.states.get(number, "undecided").replace("_", " ")
    targets = job.outputs or [job.rule.targets[0].text]
    found = Told(targets[0], len(job.outputs), job.rule.name, state)
    if job.rule.phony or job.rule.inplace:
        return found
    last = history.last(job.outputs)
    found.failed = history.failed(job.outputs, last)
    if last is None or last.entry is None:
        return found
    result: dict[str, Any] = last.entry.result
    runtime = result.get("runtime") or {}
    found.adopted = bool(result.get("adopted"))
    found.ended = _number(result.get("ended"))
    found.seconds = _number(runtime.get("wall_s"))
    if not found.adopted:
        found.started = _number(result.get("started"))
    found.memory, found.cpu = _number(runtime.get("rss_peak_gb")), _number(runtime.get("cpu_peak_percent"))
    found.host, found.worker = str(result.get("host") or ""), str(result.get("worker") or "")
    found.environment = str(result.get("environment") or "")
    for output in last.entry.outputs:
        known = output.get("stat") or []
        found.size += sum(row[2] for row in known) if output.get("folder") else sum(known[:1])
    return found


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def _critical(build: Build, jobs: Sequence[Told]) -> list[int]:
    """The chain of jobs, each of which needs the one before it, whose times add up to the most."""
    total: dict[int, float] = {}
    before: dict[int, int | None] = {}
    for number in order(build.plan, build.resolver.builder.rules):
        needs = build.plan.dependencies(number)
        first = max(needs, key=lambda n: total[n], default=None)
        total[number] = (jobs[number].seconds or 0.0) + (total[first] if first is not None else 0.0)
        before[number] = first
    place = max(total, key=lambda n: total[n], default=None)
    if place is None or not total[place]:
        return []
    chain = []
    while place is not None:
        chain.append(place)
        place = before[place]
    return chain[::-1]


def _bursts(jobs: Sequence[Told]) -> list[list[int]]:
    timed = sorted((job.started, i) for i, job in enumerate(jobs) if job.started and job.ended)
    found: list[list[int]] = []
    until = 0.0
    for started, place in timed:
        if not found or started > until + APART:
            found.append([])
            until = 0.0
        found[-1].append(place)
        until = max(until, jobs[place].ended or started)
    return found[::-1]
