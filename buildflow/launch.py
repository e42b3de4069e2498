"""From jobs that must run to jobs that run: by rank, within what there is, staged a little ahead of the workers."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from buildflow.crew import Lane
from buildflow.errors import FlowError
from buildflow.resources import over_limits
from buildflow.schedule import DONE, RUNNING
from buildflow.staging import InputChanged

if TYPE_CHECKING:
    from buildflow.build import Build
    from buildflow.decide import Identity
    from buildflow.job import Amounts, Job
    from buildflow.jobserver import Jobserver
    from buildflow.run import Run

AHEAD = 2
"""Jobs that are staged before there is room for them, so that the next starts before the ended one is committed."""
SEARCHED = 64
"""Jobs that are looked at for one that need not wait for its resources."""


class Launch:
    """What is to run and has not ended, in one build."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.crew = build.crew
        self.exclusive: list[int] = []  # phony and inplace jobs that are ready
        self.alone: set[int] = set()  # jobs under which an input changed: they run alone the second time
        self.over: dict[int, FlowError] = {}  # jobs that are known to ask for more than there is, until one runs
        self.jobserver: Jobserver | None = None
        self._lonely: set[int] = set()  # those that run, and alone

    # ---- queues ------------------------------------------------------------------------------------------------

    def queue(self, lane: Lane, rank: tuple[float, float], job: Job, identity: Identity) -> None:
        """A job is to run, once its turn has come."""
        heapq.heappush(lane.to_run, (rank[0], rank[1], job.number, job, identity))

    def hungry(self) -> bool:
        """Whether a worker could do with more jobs to run."""
        if self.over:
            return True  # all must be decided before anything runs
        for lane in self.crew.lanes.values():
            enough = AHEAD + lane.resources.slots
            if len(lane.to_run) < enough or len(lane.to_run) < enough + self._waiting(lane):
                return True
        return False

    @staticmethod
    def _waiting(lane: Lane) -> int:
        """How many of those to run wait for more than processors: others may go before them."""
        if not lane.running:
            return 0
        return sum(not lane.resources.has_beside_cpus(item[3].amounts()) for item in lane.to_run[:SEARCHED])

    def idle(self) -> bool:
        """Whether nothing is to run, or runs."""
        return all(lane.idle() for lane in self.crew.lanes.values())

    def may_stage(self) -> bool:
        """Whether a worker without a job could get one now."""
        for lane in self.crew.lanes.values():
            if lane.to_run and len(lane.staged) < AHEAD and not lane.running:
                return True
        return False

    def clear(self) -> list[int]:
        """Take back all that has not started; the jobs."""
        found: list[int] = []
        for lane in self.crew.lanes.values():
            found += [number for _, _, number, _, _ in lane.to_run]
            for run in lane.staged:
                found.append(run.job.number)
                self.build.executor.give_back(run)
            lane.to_run.clear()
            lane.staged.clear()
        return found

    def take_back(self, jobs: set[int]) -> None:
        """Take back those of these jobs that have not started."""
        for lane in self.crew.lanes.values():
            if any(item[2] in jobs for item in lane.to_run):
                lane.to_run = [item for item in lane.to_run if item[2] not in jobs]
                heapq.heapify(lane.to_run)
            for run in [run for run in lane.staged if run.job.number in jobs]:
                lane.staged.remove(run)
                self.build.executor.give_back(run)
        self.exclusive = [number for number in self.exclusive if number not in jobs]

    def end(self, jobs: set[int]) -> set[int]:
        """Those of these jobs that run: their worker is told to end them, if it can."""
        found = set()
        for lane in self.crew.lanes.values():
            for number in jobs & lane.running.keys():
                run = lane.running[number][0]
                assert run.task is not None
                lane.worker.give_up(run.task)
                found.add(number)
        return found

    def check_limits(self, jobs: Iterable[int]) -> None:
        """Note which of these jobs are known to ask for more than there is."""
        self.over = over_limits(lambda job: self.crew.lane(job).resources, self.build.decider, jobs)

    def _within_limits(self) -> bool:
        """Whether a job may start: not while one that is known to ask for too much may have to run.

        Raises FlowError where one has to; so nothing has run then.
        """
        schedule = self.build.schedule
        if schedule.ready and not self.build.stopping:
            return False
        for number, error in self.over.items():
            if schedule.status[number] != DONE:
                raise error
        self.over = {}
        return True

    # ---- staging -----------------------------------------------------------------------------------------------

    def stage_ahead(self) -> None:
        """Stage jobs until every worker has what it can take and `AHEAD` more."""
        for lane in list(self.crew.lanes.values()):
            if lane.to_run:
                self._stage_ahead(lane)

    def _stage_ahead(self, lane: Lane) -> None:
        build = self.build
        if self.over and not self._within_limits():
            return
        self.crew.open(lane)
        while lane.to_run and not build.stopping and not self._some_alone():
            chosen = self._next_to_stage(lane)
            if chosen is None:
                return
            _, _, number, job, identity = chosen
            try:
                run = build.executor.stage(job, identity, lane.worker)
            except InputChanged as change:
                build.landing.again(number, change, ran=False)
                continue
            except FlowError as error:
                build.failures.failed(number, error.message, error)
                continue
            lane.staged.append(run)
            self._start_staged(lane)

    def _next_to_stage(self, lane: Lane) -> tuple[float, float, int, Job, Identity] | None:
        """The first by rank that does not wait for memory, devices or a named resource; one that does, if it is the
        only one; None where enough is staged."""
        has = lane.resources.has_beside_cpus
        if len(lane.staged) < AHEAD and (not lane.running or has(lane.to_run[0][3].amounts())):
            return heapq.heappop(lane.to_run)
        waiting = [run for run in lane.staged if not has(run.job.amounts())]
        if len(lane.staged) - len(waiting) >= AHEAD:
            return None
        if lane.running and lane.bypassed <= self._patience(lane) and not has(lane.to_run[0][3].amounts()):
            for item in heapq.nsmallest(SEARCHED, lane.to_run):
                if has(item[3].amounts()):
                    lane.to_run.remove(item)
                    heapq.heapify(lane.to_run)
                    return item
            if waiting:
                return None
        return heapq.heappop(lane.to_run)

    @staticmethod
    def _patience(lane: Lane) -> int:
        """How many jobs may overtake one that waits for its resources."""
        return 4 * lane.resources.slots + 8

    # ---- starting ----------------------------------------------------------------------------------------------

    def start_staged(self) -> None:
        """Start what is staged and has room."""
        for lane in self.crew.lanes.values():
            if lane.staged:
                self._start_staged(lane)

    def _start_staged(self, lane: Lane) -> None:
        i = 0
        while i < len(lane.staged) and not self.build.stopping:
            run = lane.staged[i]
            amounts = run.job.amounts()
            if not lane.resources.fits(amounts) or self._must_wait(run):
                i += 1
                if lane.bypassed > self._patience(lane):
                    return  # the first has waited long enough: nothing overtakes it now
                continue
            token = False
            if self.jobserver is not None and lane.worker.here:
                if not self.jobserver.acquire():
                    return
                token = True
            lane.bypassed = lane.bypassed + 1 if i else 0
            del lane.staged[i]
            if self._began(run):
                self._start(lane, run, amounts, token)
            elif token and self.jobserver is not None:
                self.jobserver.release()

    def _began(self, run: Run) -> bool:
        """Call the first hooks of a job that starts now (a job that is staged and never starts has none)."""
        try:
            self.build.hooks.before(run.job, run.identity)
        except FlowError as error:
            self.build.executor.give_back(run)
            self.build.failures.failed(run.job.number, error.message, error)
            return False
        return True

    def _must_wait(self, run: Run) -> bool:
        """Whether a job must wait since it, or one that runs, is alone."""
        return self._some_alone() or (bool(self.crew.running) and self.is_alone(run))

    def _some_alone(self) -> bool:
        return bool(self._lonely)

    def is_alone(self, run: Run) -> bool:
        """Whether nothing else may run beside a job."""
        return run.job.number in self.alone or run.job.rule.phony or run.job.rule.inplace

    def _start(self, lane: Lane, run: Run, amounts: Amounts, token: bool) -> None:
        build = self.build
        given = lane.resources.take(amounts)
        assert run.task is not None
        if given and lane.worker.here:
            run.task.command.give("CUDA_VISIBLE_DEVICES", ",".join(given))
        number = run.job.number
        build.schedule.status[number] = RUNNING
        lane.running[number] = (run, amounts, given, token)
        if self.is_alone(run):
            self._lonely.add(number)
        build.stream.emit(
            "start", rule=run.job.rule.name, targets=run.job.outputs, attempt=run.job.attempt,
            terminal=run.task.terminal,
        )  # fmt: skip
        if run.resumed:
            lane.worker.resume(run.task)
        else:
            run.started = time.time()
            lane.worker.start(run.task)

    # ---- alone, in the project's root --------------------------------------------------------------------------

    def start_exclusive(self) -> None:
        """Phony and inplace jobs: alone, on this machine, in the order asked, once nothing else is under way."""
        build = self.build
        if not self.exclusive or build.stopping or not self.idle():
            return
        self.exclusive.sort(key=self._asked_place)
        number = self.exclusive.pop(0)
        job = build.decider.job(number)
        if build.options.dry_run:
            build.lookup.would_run(number, job)
            return
        if self.over:
            self._within_limits()
        from buildflow.exclusive import run_of

        lane = self.crew.here()
        try:
            env = build.decider.environment(job.rule, job)
            run = run_of(build.executor, build.decider, job, env, lane.worker, json=build.options.json)
            lane.resources.check(job, job.amounts())
            build.hooks.before(job, run.identity)
        except FlowError as error:
            build.failures.failed(number, error.message, error)
            return
        self.crew.open(lane)
        self._start(lane, run, job.amounts(), False)

    def _asked_place(self, number: int) -> int:
        plan = self.build.plan
        place = 0
        for _, files, jobs in plan.goals:
            for job in (*(plan.maker[f] for f in files), *jobs):
                if job == number:
                    return place
                place += 1
        return place + number

    # ---- ended -------------------------------------------------------------------------------------------------

    def ended(self, lane: Lane, number: int) -> Run:
        """A job's task has ended: what it had taken is free again."""
        run, amounts, given, token = lane.running.pop(number)
        lane.resources.give(amounts, given)
        self._lonely.discard(number)
        if token and self.jobserver is not None:
            self.jobserver.release()
        return run
