"""The workers of one build: its own, and those that rules name. Each has a lane: jobs to run, staged, running."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from buildflow.errors import FlowError
from buildflow.resources import Resources
from buildflow.workers.base import End, Worker

if TYPE_CHECKING:
    from buildflow.decide import Identity
    from buildflow.job import Amounts, Job
    from buildflow.run import Run

TURN = 0.05
"""Seconds between two looks at each of several workers."""


class Lane:
    """What is on its way to one worker. `resources`: what its jobs may take together."""

    def __init__(self, worker: Worker, resources: Resources) -> None:
        self.worker = worker
        self.resources = resources
        self.to_run: list[tuple[float, float, int, Job, Identity]] = []  # a heap by rank
        self.staged: list[Run] = []
        self.running: dict[int, tuple[Run, Amounts, list[str], bool]] = {}  # with its devices, and its token of make
        self.bypassed = 0  # how many jobs have overtaken the first that is staged
        self.opened = False

    def idle(self) -> bool:
        return not self.running and not self.staged and not self.to_run


class Crew:
    """`primary`: where jobs run whose rule names no worker. `make(name)`: the worker of a name; `named`: the limits
    that were given (`--resource`), among them cpus, mem and gpus. `folder`: `.bflow`."""

    def __init__(
        self, primary: Worker, make: Callable[[str], Worker], named: Mapping[str, float], folder: str, *, fixed: bool
    ) -> None:
        self.say: Callable[[str], None] = lambda text: None  # what the workers have to tell
        self.fixed = fixed  # all jobs run on the primary worker, whatever their rules say
        self.make = make
        self.folder = folder
        self._named = dict(named)
        self._limits = {name: self._named.pop(name, None) for name in ("cpus", "mem", "gpus")}
        self._used: dict[str, float] = {}
        self.primary = self._lane(primary)
        self.lanes: dict[str, Lane] = {primary.name: self.primary}
        self._alone = True  # there is no other lane

    def _lane(self, worker: Worker) -> Lane:
        slots, gpus = worker.slots(), self._limits["gpus"]
        resources = Resources(
            slots, self._limits["mem"], None if gpus is None else int(gpus), self._named, self._used,
            cpus=self._cpus(worker), here=worker.here,
        )  # fmt: skip
        return Lane(worker, resources)

    def _cpus(self, worker: Worker) -> float | None:
        given = self._limits["cpus"]
        return worker.cpus() if given is None else given

    def lane(self, job: Job) -> Lane:
        """The lane of a job. Raises FlowError for a worker that cannot be had."""
        attribute = job.rule.attributes.get("worker")
        if attribute is None:
            return self.primary
        name = job.attribute("worker") or self.primary.worker.name
        if self.fixed and not (name == "cf" and not self.primary.worker.here):
            return self.primary  # but what must stay on this machine stays here
        found = self.lanes.get(name)
        if found is None:
            try:
                worker = self.make(name)
                worker.check()
            except FlowError as error:
                error.span = error.span or attribute.span
                raise
            found = self.lanes[name] = self._lane(worker)
            self._alone = False
        return found

    def here(self) -> Lane:
        """The lane of jobs that run on this machine, whatever the worker: those in the project's root."""
        if self.primary.worker.here:
            return self.primary
        found = self.lanes.get("cf")
        if found is None:
            found = self.lanes["cf"] = self._lane(self.make("cf"))
            self._alone = False
        return found

    def cpu_limit(self, job: Job) -> int | None:
        """The most processors that a job gets."""
        return self.lane(job).resources.most_cpus

    def open(self, lane: Lane) -> None:
        """See to it that a lane's worker is ready, and that the lane is as wide as it."""
        if not lane.opened:
            lane.worker.say = self.say
            lane.worker.open(self.folder)
            lane.opened = True
        if not lane.worker.here:
            lane.resources.resize(lane.worker.slots(), self._cpus(lane.worker))

    @property
    def running(self) -> int:
        """How many jobs run."""
        if self._alone:
            return len(self.primary.running)
        return sum(len(lane.running) for lane in self.lanes.values())

    def wait(self, timeout: float | None) -> list[tuple[Lane, End]]:
        """The tasks that ended, with the lanes that they ran in."""
        if self._alone:
            lane = self.primary
            return [(lane, end) for end in lane.worker.wait(timeout)]
        busy = [lane for lane in self.lanes.values() if lane.running]
        if len(busy) == 1:
            return [(busy[0], end) for end in busy[0].worker.wait(timeout)]
        found: list[tuple[Lane, End]] = []
        turn = 0.0 if timeout == 0 else TURN
        for lane in sorted(busy, key=lambda lane: lane.worker.here):  # the last one is waited for longest
            found.extend((lane, end) for end in lane.worker.wait(0.0 if found else turn))
        return found

    def wake(self) -> None:
        for lane in self.lanes.values():
            lane.worker.wake()

    def named(self, name: str) -> Worker:
        """The worker of a name, ready for the build, whether a rule of it names it or not."""
        lane = self.lanes.get(name)
        if lane is None:
            lane = self.lanes[name] = self._lane(self.make(name))
            self._alone = False
        self.open(lane)
        return lane.worker

    def running_here(self) -> bool:
        """Whether jobs run on this machine."""
        return any(lane.running and lane.worker.here for lane in self.lanes.values())

    def stop(self, *, kill: bool, detach: bool = False) -> int:
        """End all jobs, politely or at once; with `detach` those in queues are left: how many."""
        for lane in self.lanes.values():
            if lane.opened and (lane.worker.here or not detach):
                lane.worker.stop(kill=kill)
        return self.detach() if detach else 0

    def detach(self) -> int:
        """Leave the jobs that are in queues; how many there are."""
        left = 0
        for lane in self.lanes.values():
            if lane.opened and not lane.worker.here:
                lane.worker.detach()
                left += len(lane.running)
                lane.running.clear()
        return left

    def close(self) -> None:
        for lane in self.lanes.values():
            if lane.opened:
                lane.worker.close()
                lane.opened = False
