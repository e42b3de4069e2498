"""The loop: takes each job as it becomes ready, and keeps the workers busy.

One thread. What becomes of a job is decided by `lookup`, when it starts by `launch`, what it comes to by `landing`; how
far each has come is in `schedule`. Everything that happens is told to the event stream.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from buildflow.cache import Cache
from buildflow.crew import Crew
from buildflow.decide import Decider
from buildflow.disk import Disk
from buildflow.errors import FlowError
from buildflow.events import Stream
from buildflow.execute import Executor
from buildflow.failures import Failures
from buildflow.goback import GoBack
from buildflow.hooks_of import JobHooks
from buildflow.landing import Landing
from buildflow.launch import Launch
from buildflow.lookup import Lookup
from buildflow.outcome import Options, Summary
from buildflow.plan.again import Again
from buildflow.plan.graph import order
from buildflow.plan.resolve import Resolver
from buildflow.schedule import DONE, NEW, READY, RUNNING, SKIPPED, Schedule
from buildflow.state import State
from buildflow.temporary import Temporaries
from buildflow.unchanged import Unchanged
from buildflow.workers.base import Worker
from buildflow.workers.registry import worker as worker_named
from buildflow.workspace import Workspace

ESTIMATED = 1.0
"""Seconds between two estimates of the time that is left."""

TURN = 0.05
"""Seconds of deciding after which jobs that have ended are looked at."""


class Build:
    """One build of the goals that `resolver` resolved. `folder` is `.bflow`, absolute; `make(name)` gives the worker
    that a rule names. `again`: what is known of the plan from the last build."""

    def __init__(
        self, resolver: Resolver, disk: Disk, state: State, cache: Cache, worker: Worker, options: Options,
        stream: Stream, folder: str, make: Callable[[str], Worker] = worker_named, again: Again | None = None,
    ) -> None:  # fmt: skip
        self.resolver = resolver
        self.plan = resolver.plan
        self.rules = resolver.builder.rules
        self.disk = disk
        self.state = state
        self.cache = cache
        self.options = options
        self.stream = stream
        self.folder = folder
        self.only = None if again is None else again.affected
        self.crew = Crew(worker, make, options.named, folder, fixed=options.one_worker)
        self.crew.say = lambda text: stream.emit("note", text=text)
        self.decider = Decider(
            resolver, disk, state, cache, env=options.env, default_env=options.default_env,
            cpu_limit=self.crew.cpu_limit,
        )  # fmt: skip
        self.executor = Executor(self.decider, cache, folder, state.seconds, self.crew.named)
        self.workspace = Workspace(disk, folder, lambda text: stream.emit("note", text=text))
        self.summary = Summary()
        self.schedule = Schedule(resolver, options, state.seconds, self._priority, self._skipped)
        self.hooks = JobHooks(self, options.hooks)
        self.failures = Failures(self)
        self.temporaries = Temporaries(self)
        self.lookup = Lookup(self)
        self.launch = Launch(self)
        self.landing = Landing(self)
        self.unchanged = None if again is None else Unchanged(self, again)
        self.goback = GoBack(self)
        self.look: Callable[[], float] | None = None  # called at each turn; the seconds until it is to be called again
        self.interrupts = 0
        self.stopping = False
        self._left: tuple[float, float | None] | None = None
        self._told_empty = 0
        self._some_temporary = any("temp" in rule.attributes for rule in self.rules)

    # ---- the whole ---------------------------------------------------------------------------------------------

    def run(self) -> Summary:
        """Build everything that was asked for."""
        started = time.monotonic()
        dry = self.options.dry_run
        try:
            if self.only is None:
                self.schedule.integrate(0, initial=True)
            else:
                self.schedule.integrate_only(self.only)
                self.summary.up_to_date = len(self.plan.rule) - len(self.only)
            self.decider.check_environments(self._concerned())
            if not dry:
                self.crew.primary.worker.check()
                self._drop_leftovers()
            self.launch.check_limits(self._concerned())
            self._tell_plan()
            self._tell_empty()
            self._loop()
            if self.executor.adrift.found and not dry and not self.stopping and not self.summary.detached:
                self.executor.adrift.drop_unwanted(self.plan)
            self._check_members()
            self._tell_empty()
            for number, error in self.launch.over.items():
                if self.summary.states.get(number) == "would run":
                    raise error
        finally:
            self.summary.seconds = time.monotonic() - started
            self._close()
        self._finish_summary()
        return self.summary

    def _concerned(self) -> Iterable[int]:
        """The jobs that may have something to do."""
        return range(len(self.plan.rule)) if self.only is None else self.only

    def _check_members(self) -> None:
        """Raises FlowError where a file was asked for by name and the folder that should hold it has it not."""
        plan, status = self.plan, self.schedule.status
        for _, files, _ in plan.goals if plan.within else ():
            for f in files:
                if f in plan.within and status[plan.maker[f]] == DONE and not self.options.dry_run:
                    self.decider.digest(f, plan.maker[f])

    def _drop_leftovers(self) -> None:
        """Where outputs stand on another file system than `.bflow`, a killed driver may have left half a file there."""
        device = os.stat(self.folder).st_dev
        paths, outputs = self.plan.paths, self.plan.outputs
        folders = {paths[f].rpartition("/")[0] for job in self._concerned() for f in outputs[job]}
        for folder in folders:
            try:
                if os.stat(self.disk.path(folder or ".")).st_dev != device:
                    self.workspace.drop_leftovers([f"{folder}/x"])
            except OSError:
                continue

    def _close(self) -> None:
        self.crew.close()
        self.executor.pool.close()
        if self.launch.jobserver is not None:
            self.launch.jobserver.close()
        if not self.options.dry_run:
            self.state.flush()

    def _finish_summary(self) -> None:
        summary, schedule = self.summary, self.schedule
        for job in schedule.left_out:
            summary.states.setdefault(job, "left out")
        for job in [] if self.options.dry_run else schedule.unfinished():
            schedule.status[job] = SKIPPED
            summary.states.setdefault(job, "skipped")
            if summary.failed or summary.interrupted or summary.planning_failed:
                self._skipped(job)
        summary.keys = dict(self.decider.keys)
        summary.ok = not (summary.failed or summary.interrupted or summary.planning_failed or summary.hook_failed)

    # ---- the loop ----------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        schedule, launch, crew = self.schedule, self.launch, self.crew
        while True:
            if self.interrupts and not self.stopping:
                self._interrupt()
            if schedule.grown and not self.stopping:
                schedule.grown = False
                self._resume()
            due = self.look() if self.look is not None and not self.stopping else None
            launch.start_staged()
            launch.stage_ahead()
            timeout: float | None = None
            if self._decide_some():
                if not crew.running:
                    continue
                timeout = 0.0
            else:
                launch.start_exclusive()
                if not schedule.ready and launch.idle():
                    if self._resume() or (launch.exclusive and not self.stopping):
                        continue
                    if self.options.dry_run and self._unknown_jobs():
                        continue
                    break
                if launch.may_stage():
                    timeout = 0.0
            if not crew.running:
                if self.stopping:
                    break
                continue
            if timeout is None and self.options.detach and not crew.running_here():
                self.summary.detached = crew.detach()
                break
            if timeout is None and launch.jobserver is not None:
                timeout = TURN
            ends = crew.wait(timeout if due is None else due if timeout is None else min(timeout, due))
            if ends:
                self.landing.ended(ends)
            else:
                self.stream.tick()
            if not self.options.dry_run:
                self.state.flush()  # what a killed driver has placed is known to be its own
        self._stuck()

    def _decide_some(self) -> bool:
        """Decide ready jobs until enough is there to run; whether there is more to decide."""
        schedule, launch = self.schedule, self.launch
        deadline = time.monotonic() + TURN
        while schedule.ready and not self.stopping and not self.interrupts and launch.hungry():
            item = schedule.pop()
            if item is None:
                break
            self.lookup.decide(item)
            if self.crew.running and time.monotonic() > deadline:
                break
        return bool(schedule.ready) and not self.stopping and launch.hungry()

    def _stuck(self) -> None:
        """Jobs that wait for each other (only what showed while building can be a cycle here)."""
        if self.stopping or self.summary.failed or self.options.dry_run:
            return
        if any(s == NEW for s in self.schedule.status) and not self.resolver.deferred:
            self.summary.planning_failed = True
            order(self.plan, self.rules)

    def counts(self) -> tuple[int, int]:
        """The jobs that are done, one way or another, and all."""
        s = self.summary
        return s.ran + s.cached + s.up_to_date + s.failed + s.skipped + s.would_run, len(self.plan.rule)

    def seconds_left(self) -> float | None:
        """How long the rest will take, by how long the jobs of each rule took before; None where that is not known of
        one. Of jobs that are not decided yet such a share counts as was not up to date so far."""
        now, status = time.monotonic(), self.schedule.status
        if self._left is not None and now - self._left[0] < ESTIMATED:
            return self._left[1]
        known = [self.state.seconds.get(rule.name) for rule in self.rules]
        waiting = [0] * len(self.rules)
        queued = [0] * len(self.rules)
        for job, found in enumerate(status):
            if found in (NEW, READY):
                waiting[self.plan.rule[job]] += 1
            elif found == RUNNING:
                queued[self.plan.rule[job]] += 1
        left: float | None = None
        if all(seconds is not None or not waiting[r] + queued[r] for r, seconds in enumerate(known)):
            s = self.summary
            same = s.cached + s.up_to_date - (0 if self.only is None else len(status) - len(self.only))
            runs = s.ran + sum(queued)
            share = runs / max(1, runs + same)
            left = sum((share * waiting[r] + queued[r]) * (seconds or 0.0) for r, seconds in enumerate(known))
            for lane in self.crew.lanes.values():
                for run, *_ in lane.running.values():
                    left -= min(time.time() - run.started, known[self.plan.rule[run.job.number]] or 0.0)
            left /= max(1, min(self.crew.primary.resources.slots, sum(queued) + sum(waiting)))
        self._left = now, left
        return left

    def interrupt(self) -> None:
        """Called by a signal handler: the first time stop politely, the second time kill."""
        self.interrupts += 1
        if self.interrupts > 1:
            self.crew.stop(kill=True, detach=self.options.detach)
        self.crew.wake()

    def _interrupt(self) -> None:
        self.stopping = True
        self.summary.interrupted = True
        self.schedule.ready.clear()
        self.launch.clear()
        self.summary.detached = self.crew.stop(kill=False, detach=self.options.detach)

    # ---- what its parts tell -----------------------------------------------------------------------------------

    def done(self, job: int, *, known: bool = True) -> None:
        """A job is finished. `known`: whether its files can be read now."""
        self.schedule.status[job] = DONE
        if self._some_temporary and not self.options.dry_run:
            self.temporaries.finished(job)
        self.schedule.done(job, known=known)

    def fail(self, number: int) -> None:
        """Mark a job as failed and what needs it as skipped; without -k nothing new starts."""
        self.summary.failed += 1
        self.summary.states[number] = "failed"
        self.schedule.fail(number)
        if not self.options.keep_going:
            self.launch.exclusive.clear()
            self.schedule.halt(self.launch.clear())

    def _skipped(self, job: int) -> None:
        self.summary.skipped += 1
        self.summary.states[job] = "skipped"
        targets = [self.plan.paths[f] for f in self.plan.outputs[job]]
        self.stream.emit(
            "job", state="skipped", rule=self.rules[self.plan.rule[job]].name, targets=targets, cache_dir=None
        )

    def _priority(self, job: int) -> float:
        if "priority" not in self.rules[self.plan.rule[job]].attributes:
            return 0.0
        quantity = self.decider.job(job).quantity("priority")
        return quantity.constant or 0.0 if quantity is not None else 0.0

    def _tell_plan(self) -> None:
        self.stream.emit("plan", jobs=len(self.plan.rule), sources=sum(1 for m in self.plan.maker if m < 0))

    def _tell_empty(self) -> None:
        """Say of each domain that came out empty that it did, once."""
        for text in list(self.resolver.empty.values())[self._told_empty :]:
            self.stream.emit("note", text=text)
            self._told_empty += 1

    # ---- dynamic plans -----------------------------------------------------------------------------------------

    def _resume(self) -> bool:
        """Go on with jobs whose inputs can be known now; whether there were any."""
        resolver = self.resolver
        if not resolver.deferred and not resolver.open_goals:
            return False
        known = len(self.plan.rule)
        waiting = dict(resolver.deferred)
        goals = len(resolver.open_goals)
        try:
            again = resolver.resume()
        except FlowError:
            self.summary.planning_failed = True
            raise
        grown = len(self.plan.rule) > known
        if not again and not grown and len(resolver.open_goals) == goals and waiting == resolver.deferred:
            return False
        self._tell_empty()
        self.schedule.integrate(known)
        if grown:
            self._tell_plan()  # again: there are more jobs than was known
        for job in waiting:
            if job < known:
                self.schedule.reconnect(job)
        return True

    def _unknown_jobs(self) -> bool:
        """Of a dry run: jobs whose inputs are known only once a job has run would run too; whether there were any."""
        deferred = self.resolver.deferred
        found = [number for number in deferred if self.schedule.status[number] == NEW]
        for number in found:
            del deferred[number]
            self.lookup.would_run(number, self.decider.job(number))
        for _, text, paths in [] if found else self.resolver.open_goals:
            self.stream.emit("note", text=f"what else {text} needs shows once {', '.join(paths)} is made")
        return bool(found)
