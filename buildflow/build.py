"""The loop: decides for each job in order whether it stands, is restored or runs, and keeps the worker busy.

One thread. Two jobs are staged ahead, so that the next starts before the ended one is committed. Everything that
happens is told to the event stream.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Sequence

from buildflow.cache import Cache, Entry
from buildflow.decide import Decider, Identity
from buildflow.disk import Disk
from buildflow.errors import FlowError
from buildflow.events import Stream
from buildflow.execute import Executor, InputChanged, Run, failure
from buildflow.failures import Failures
from buildflow.hooks_of import JobHooks
from buildflow.job import LIST_FILE, Amounts, Job
from buildflow.jobserver import Jobserver
from buildflow.outcome import Options, Summary
from buildflow.plan.graph import order
from buildflow.plan.resolve import Resolver
from buildflow.resources import Resources, over_limits
from buildflow.state import State
from buildflow.temporary import Temporaries
from buildflow.workers.base import End, Worker
from buildflow.workspace import Workspace

NEW, READY, RUNNING, DONE, FAILED, SKIPPED = range(6)
AHEAD = 2
STALE = 5
"""Times that an input of a job may have changed before it is staged."""
SEARCHED = 64
"""Jobs that are looked at for one that need not wait for its resources."""


class Build:
    """One build of the goals that `resolver` resolved. `folder` is `.bflow`, absolute."""

    def __init__(
        self, resolver: Resolver, disk: Disk, state: State, cache: Cache, worker: Worker, options: Options,
        stream: Stream,
        folder: str,
    ) -> None:  # fmt: skip
        self.resolver = resolver
        self.plan = resolver.plan
        self.disk = disk
        self.state = state
        self.cache = cache
        self.worker = worker
        worker.open()
        self.options = options
        self.stream = stream
        self.folder = folder
        slots = worker.slots()
        named = dict(options.named)
        mem = named.pop("mem", None)
        gpus = named.pop("gpus", None)
        slots = max(1, min(slots, int(named.pop("cpus", slots))))
        self.resources = Resources(slots, mem, None if gpus is None else int(gpus), named)
        self.over: dict[int, FlowError] = {}  # jobs that are known to ask for more than there is, until one runs
        self.decider = Decider(
            resolver, disk, state, cache, env=options.env, default_env=options.default_env, cpu_limit=slots
        )
        self.executor = Executor(self.decider, cache, folder, worker.name)
        self.workspace = Workspace(disk, folder, lambda text: stream.emit("note", text=text))
        self.hooks = JobHooks(self, options.hooks)
        self.failures = Failures(self)
        self.temporaries = Temporaries(self)
        self.summary = Summary()
        self.status: list[int] = []
        self.waiting: list[int] = []
        self.dependents: list[list[int]] = []
        self.weight: list[float] = []
        self.ready: list[tuple[float, float, int]] = []
        self.to_run: list[tuple[float, float, int, Job, Identity]] = []
        self.staged: list[Run] = []
        self.running: dict[int, tuple[Run, Amounts, list[str], bool]] = {}
        self.exclusive: list[int] = []
        self.by_key: dict[bytes, int] = {}
        self.same: dict[int, list[int]] = {}
        self.forced: set[int] = set()
        self.tries: dict[int, int] = {}
        self.changed_once: set[int] = set()  # jobs under which an input changed; they run alone the second time
        self.stale: dict[int, int] = {}  # how often an input had changed when a job was to be staged, or had run
        self.interrupts = 0
        self.stopping = False
        self.halted = False  # after a failure without -k: what runs finishes, nothing new starts
        self.jobserver: Jobserver | None = None
        self._tokens = 0
        self._bypassed = 0
        self._changed_jobs: set[int] = set()
        self._ran_first: set[bytes] = set()  # first-level keys that ran in this build: not forced to run again
        self._told_empty = 0
        self._some_temporary = any("temp" in rule.attributes for rule in resolver.builder.rules)
        self._due = False  # whether what was deferred may be known now
        self._reconnected: set[int] = set()

    # ---- the whole ---------------------------------------------------------------------------------------------

    def run(self) -> Summary:
        """Build everything that was asked for."""
        started = time.monotonic()
        try:
            self._integrate(0, initial=True)
            self.decider.check_environments()
            self.over = over_limits(self.resources, self.decider)
            if not self.options.dry_run:
                self._drop_leftovers()
            self._tell_plan()
            self._tell_empty()
            self._loop()
            self._check_members()
            self._tell_empty()
            for number, error in self.over.items():
                if self.summary.states.get(number) == "would run":
                    raise error
        finally:
            self.summary.seconds = time.monotonic() - started
            self._close()
        self._finish_summary()
        return self.summary

    def _check_members(self) -> None:
        """Raises FlowError where a file was asked for by name and the folder that should hold it has it not."""
        for _, files, _ in self.plan.goals:
            for f in files:
                if f in self.plan.within and self.status[self.plan.maker[f]] == DONE and not self.options.dry_run:
                    self.decider.digest(f, self.plan.maker[f])

    def _drop_leftovers(self) -> None:
        """Where outputs stand on another file system than `.bflow`, a killed driver may have left half a file there."""
        device = os.stat(self.folder).st_dev
        folders = {name.rpartition("/")[0] for f, name in enumerate(self.plan.paths) if self.plan.maker[f] >= 0}
        for folder in folders:
            try:
                if os.stat(self.disk.path(folder or ".")).st_dev != device:
                    self.workspace.drop_leftovers([f"{folder}/x"])
            except OSError:
                continue

    def _close(self) -> None:
        self.worker.close()
        self.executor.pool.close()
        if self.jobserver is not None:
            self.jobserver.close()
        if not self.options.dry_run:
            self.state.flush()

    def _finish_summary(self) -> None:
        summary = self.summary
        for job, status in enumerate(self.status):
            if status in (NEW, READY, RUNNING) and not self.options.dry_run:
                self.status[job] = SKIPPED
                summary.states.setdefault(job, "skipped")
                if summary.failed or summary.interrupted or summary.planning_failed:
                    summary.skipped += 1
                    self._tell_skipped(job)
        summary.keys = dict(self.decider.keys)
        summary.ok = not (summary.failed or summary.interrupted or summary.planning_failed or summary.hook_failed)

    # ---- the graph ---------------------------------------------------------------------------------------------

    def _integrate(self, first: int, *, initial: bool = False) -> None:
        """Take jobs from number `first` on into the arrays of the loop."""
        plan = self.plan
        count = len(plan.rule)
        grow = count - len(self.status)
        self.status.extend([NEW] * grow)
        self.waiting.extend([0] * grow)
        self.dependents.extend([] for _ in range(grow))
        self.weight.extend([0.0] * grow)
        for job in range(first, count):
            self._connect(job)
        if initial:
            known = self.state.seconds
            rules = self.resolver.builder.rules
            for job in reversed(order(plan, rules)):
                own = known.get(rules[plan.rule[job]].name, 1.0)
                after = self.dependents[job]
                self.weight[job] = own + (max([self.weight[d] for d in after]) if after else 0.0)
        self._restrict()
        for job in range(first, count):
            if self.waiting[job] == 0 and self.status[job] == NEW and job not in self.resolver.deferred:
                self._make_ready(job)

    def _connect(self, job: int) -> None:
        missing = 0
        for before in self.plan.dependencies(job):
            if self.status[before] in (FAILED, SKIPPED):
                self._skip(job)
                return
            if self.status[before] != DONE:
                missing += 1
                self.dependents[before].append(job)
        self.waiting[job] = missing

    def _restrict(self) -> None:
        """`--until`: what is after the named jobs is left out."""
        if not self.options.until:
            return
        rules = self.resolver.builder.rules
        stack: list[int] = []
        for name in self.options.until:
            named = [
                job
                for job in range(len(self.plan.rule))
                if self._is_named(job, rules[self.plan.rule[job]].name, frozenset((name,)))
            ]
            stack.extend(named)
            if not named:  # jobs that are not known yet may be meant: what they wait for is needed
                waits = [p for paths in self.resolver.deferred.values() for p in paths]
                waits += [p for _, _, paths in self.resolver.open_goals for p in paths]
                stack.extend(self.plan.maker[self.plan.ids[path]] for path in waits if path in self.plan.ids)
        needed: set[int] = set()
        while stack:
            job = stack.pop()
            if job not in needed and job >= 0:
                needed.add(job)
                stack.extend(self.plan.dependencies(job))
        for job in range(len(self.plan.rule)):
            if job not in needed and self.status[job] == NEW:
                self.status[job] = DONE
                self.summary.states[job] = "left out"

    def _is_named(self, job: int, rule: str, names: frozenset[str]) -> bool:
        """Whether `-R NAME` or `--until NAME` means a job: by its rule's name, a target as written, or a path."""
        if rule in names or any(self.plan.paths[f] in names for f in self.plan.outputs[job]):
            return True
        return any(w.text in names for w in self.resolver.builder.rules[self.plan.rule[job]].targets)

    def _make_ready(self, job: int) -> None:
        self.status[job] = READY
        if self.halted:
            return
        priority = 0.0
        attribute = self.resolver.builder.rules[self.plan.rule[job]].attributes.get("priority")
        if attribute is not None:
            quantity = self.decider.job(job).quantity("priority")
            priority = quantity.constant or 0.0 if quantity is not None else 0.0
        weight = self.weight[job]
        if self.options.shuffle is not None:
            import random

            weight = random.Random(f"{self.options.shuffle}/{job}").random()
        heapq.heappush(self.ready, (-priority, -weight, job))

    # ---- the loop ----------------------------------------------------------------------------------------------

    def _tell_empty(self) -> None:
        """Say of each domain that came out empty that it did, once."""
        for text in list(self.resolver.empty.values())[self._told_empty :]:
            self.stream.emit("note", text=text)
            self._told_empty += 1

    def _loop(self) -> None:
        while True:
            if self.interrupts and not self.stopping:
                self._interrupt()
            if self._due and not self.stopping:
                self._due = False
                self._resume()
            self._start_staged()
            self._stage_ahead()
            if self._decide_some():
                if not self.running:
                    continue
                timeout: float | None = 0.0
            else:
                self._start_exclusive()
                if not self.running and not self.staged and not self.to_run and not self.ready:
                    if self._resume() or self.exclusive and not self.stopping:
                        continue
                    if self.options.dry_run and self._unknown_jobs():
                        continue
                    break
                timeout = None
                if self.to_run and len(self.staged) < AHEAD and not self.running:
                    timeout = 0.0
            if not self.running:
                if self.stopping:
                    break
                continue
            if timeout is None and self.jobserver is not None and self.staged:
                timeout = 0.05
            ends = self.worker.wait(timeout)
            if ends:
                self._ended(ends)
            else:
                self.stream.tick()
            if not self.options.dry_run:
                self.state.flush()  # what a killed driver has placed is known to be its own
        self._stuck()

    def _stuck(self) -> None:
        """Jobs that wait for each other (only what showed while building can be a cycle here)."""
        if self.stopping or self.summary.failed or self.options.dry_run:
            return
        if any(s == NEW for s in self.status) and not self.resolver.deferred:
            self.summary.planning_failed = True
            order(self.plan, self.resolver.builder.rules)

    def counts(self) -> tuple[int, int]:
        """The jobs that are done, one way or another, and all."""
        s = self.summary
        return s.ran + s.cached + s.up_to_date + s.failed + s.skipped + s.would_run, len(self.plan.rule)

    def interrupt(self) -> None:
        """Called by a signal handler: the first time stop politely, the second time kill."""
        self.interrupts += 1
        if self.interrupts > 1:
            self.worker.stop(kill=True)
        self.worker.wake()

    def _interrupt(self) -> None:
        self.stopping = True
        self.summary.interrupted = True
        self.ready.clear()
        self.to_run.clear()
        for run in self.staged:
            self._give_back(run)
        self.staged.clear()
        self.worker.stop(kill=False)

    # ---- deciding ----------------------------------------------------------------------------------------------

    def _decide_some(self) -> bool:
        """Decide ready jobs until enough is there to run; whether there is more to decide."""
        enough = len(self.status) + 1 if self.over else AHEAD + self.resources.cpus + self._waiting_for_resources()
        deadline = time.monotonic() + 0.05
        while self.ready and len(self.to_run) < enough and not self.stopping:
            priority, weight, job = heapq.heappop(self.ready)
            if self.status[job] != READY:
                continue
            self._decide(job, (priority, weight))
            if self.running and time.monotonic() > deadline:
                break
        return bool(self.ready) and len(self.to_run) < enough and not self.stopping

    def _waiting_for_resources(self) -> int:
        """How many of those to run wait for more than processors: others may go before them."""
        if not self.running:
            return 0
        return sum(not self.resources.has_beside_cpus(item[3].amounts()) for item in self.to_run[:SEARCHED])

    def _decide(self, number: int, rank: tuple[float, float] = (0.0, 0.0)) -> None:
        try:
            job = self.decider.job(number)
            if job.rule.phony or job.rule.inplace:
                self.exclusive.append(number)
                return
            self._decide_job(job, rank)
        except InputChanged as change:
            self.failures.failed(number, f"its input {change.name} changed while the build looked at it")
        except FlowError as error:
            self.failures.failed(number, error.message, error)

    def _decide_job(self, job: Job, rank: tuple[float, float]) -> None:
        number = job.number
        if self.options.dry_run and self.remade(number):
            self._would_run(number, job)  # what its inputs will be is not known yet
            return
        identity = self.decider.identity(job)
        key = identity.key
        forced = number in self.forced or self._is_forced(job)
        before = self.by_key.get(identity.first)
        if before is not None and before != number and self.status[before] == RUNNING:
            self.same.setdefault(before, []).append(number)  # it takes what that one makes
            return
        forced = forced and identity.first not in self._ran_first
        if key is not None and not forced:
            if self._stands_or_restored(job, identity, key):
                return
        if self.temporaries.missing(job):
            return  # a temporary input must be made again first
        if self.options.dry_run:
            self._would_run(number, job)
            return
        if number not in self.over:
            self.resources.check(job, job.amounts())
        self.by_key[identity.first] = number
        self.status[number] = RUNNING
        heapq.heappush(self.to_run, (rank[0], rank[1], number, job, identity))

    def _is_forced(self, job: Job) -> bool:
        return self.options.force or bool(
            self.options.rerun and self._is_named(job.number, job.rule.name, self.options.rerun)
        )

    def remade(self, number: int) -> list[int]:
        """Of a dry run: the files in a job's key that jobs would make anew (order-only ones do not count)."""
        changed, plan = self._changed_jobs, self.plan
        if not changed:
            return []
        files = plan.inputs[number] + plan.extra[number]
        if "depfile" in self.resolver.builder.rules[plan.rule[number]].attributes:
            files += plan.after[number]
        found = []
        for f in files:
            tree = plan.tree(number, f) if plan.trees else None
            found.extend([m for m in (tree[0] if tree is not None else (f,)) if plan.maker[m] in changed])
        return found

    def _would_run(self, number: int, job: Job) -> None:
        self._changed_jobs.add(number)
        self.summary.would_run += 1
        self.summary.states[number] = "would run"
        self.stream.emit("job", state="would run", rule=job.rule.name, targets=job.outputs)
        self._done(number, "would run")

    def _stands_or_restored(self, job: Job, identity: Identity, key: bytes) -> bool:
        decider = self.decider
        count = len(job.outputs)
        digests = decider.known(key, count)
        entry: Entry | None = None
        if digests is None:
            entry = decider.entry(job, key)
            if entry is None or len(entry.outputs) != count:
                return False
            digests = entry.digests()
        lacking = [
            i
            for i, name in enumerate(job.outputs)
            if not self.temporaries.stays_in_cache(job, name) and not decider.stands(name, digests[i], key)
        ]
        if not lacking:
            self._known(job, key, digests, "up_to_date", entry)
            return True
        if entry is None:
            entry = decider.entry(job, key)
            if entry is None or len(entry.outputs) != count or entry.digests() != digests:
                return False
        for i in lacking:
            if self.options.dry_run:
                self.temporaries._stands(self.plan.outputs[job.number][i], entry.file(entry.outputs[i]))
            else:
                self.workspace.put(entry.file(entry.outputs[i]), job.outputs[i], digests[i], key)
        self._known(job, key, digests, "cached", entry)
        return True

    def _known(self, job: Job, key: bytes, digests: list[bytes], state: str, entry: Entry | None) -> None:
        """A job whose outputs are there, one way or the other."""
        self.decider.remember(key, digests)
        self._outputs_are(job, key, digests)
        self.temporaries.known(job, key, entry)
        setattr(self.summary, state, getattr(self.summary, state) + 1)
        self.summary.states[job.number] = state
        if state != "up_to_date" or self.options.json:
            self.stream.emit(
                "job", state=state, rule=job.rule.name, targets=job.outputs, cache_dir=self.cache.path_of(job.kind, key)
            )
        self._done(job.number, state)

    def _outputs_are(self, job: Job, key: bytes, digests: Sequence[bytes]) -> None:
        self.decider.keys[job.number] = key
        for f, digest in zip(self.plan.outputs[job.number], digests, strict=True):
            self.decider.digests[f] = digest

    def _done(self, number: int, state: str) -> None:
        """A job is finished: those that waited for it may go on."""
        self.status[number] = DONE
        if self._some_temporary and not self.options.dry_run:
            self.temporaries.finished(number)
        plan = self.plan
        if state != "would run":  # of a dry run: nobody can read it yet
            for f in plan.outputs[number]:
                self.resolver.finished.add(plan.paths[f])
        deferred = self.resolver.deferred
        for after in self.dependents[number]:
            self.waiting[after] -= 1
            if after in self._reconnected:  # it was connected more than once: count anew
                self.waiting[after] = sum(1 for d in plan.dependencies(after) if self.status[d] != DONE)
            if self.waiting[after] == 0 and self.status[after] == NEW and after not in deferred:
                self._make_ready(after)
        self.dependents[number] = []
        for twin in self.same.pop(number, ()):
            self.status[twin] = READY
            heapq.heappush(self.ready, (0.0, 0.0, twin))
        if deferred or self.resolver.open_goals:
            self._due = True

    def _tell_plan(self) -> None:
        self.stream.emit("plan", jobs=len(self.plan.rule), sources=sum(1 for m in self.plan.maker if m < 0))

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
        if (
            not again
            and len(self.plan.rule) == known
            and len(resolver.open_goals) == goals
            and waiting == resolver.deferred
        ):
            return False
        self._tell_empty()
        self._integrate(known)
        if len(self.plan.rule) > known:
            self._tell_plan()  # again: there are more jobs than was known
        for job in waiting:
            if job < known and self.status[job] == NEW:
                self._reconnected.add(job)
                self._connect(job)
                if self.waiting[job] == 0 and self.status[job] == NEW and job not in resolver.deferred:
                    self._make_ready(job)
        return True

    def _unknown_jobs(self) -> bool:
        """Of a dry run: jobs whose inputs are known only once a job has run would run too; whether there were any."""
        deferred = self.resolver.deferred
        found = [number for number in deferred if self.status[number] == NEW]
        for number in found:
            del deferred[number]
            self._would_run(number, self.decider.job(number))
        for _, text, paths in [] if found else self.resolver.open_goals:
            self.stream.emit("note", text=f"what else {text} needs shows once {', '.join(paths)} is made")
        return bool(found)

    # ---- starting ----------------------------------------------------------------------------------------------

    def _within_limits(self) -> bool:
        """Whether a job may start: not while one that is known to ask for too much may have to run.

        Raises FlowError where one has to; so nothing has run then.
        """
        if self.ready and not self.stopping:
            return False
        for number, error in self.over.items():
            if self.status[number] != DONE:
                raise error
        self.over = {}
        return True

    def _stage_ahead(self) -> None:
        if self.over and self.to_run and not self._within_limits():
            return
        while self.to_run and not self.stopping and not self._alone():
            chosen = self._next_to_stage()
            if chosen is None:
                return
            _, _, number, job, identity = chosen
            try:
                run = self.executor.stage(job, identity)
            except InputChanged as change:
                self._again(number, change, ran=False)
                continue
            except FlowError as error:
                self.failures.failed(number, error.message, error)
                continue
            self.staged.append(run)
            self._start_staged()

    def _next_to_stage(self) -> tuple[float, float, int, Job, Identity] | None:
        """The first by rank that does not wait for memory, devices or a named resource; one that does, if it is the
        only one; None where enough is staged."""
        waiting = [run for run in self.staged if not self.resources.has_beside_cpus(run.job.amounts())]
        if len(self.staged) - len(waiting) >= AHEAD:
            return None
        if self.running and self._bypassed <= self._patience and not self.resources.has_beside_cpus(
            self.to_run[0][3].amounts()
        ):
            for item in heapq.nsmallest(SEARCHED, self.to_run):
                if self.resources.has_beside_cpus(item[3].amounts()):
                    self.to_run.remove(item)
                    heapq.heapify(self.to_run)
                    return item
            if waiting:
                return None
        return heapq.heappop(self.to_run)

    @property
    def _patience(self) -> int:
        """How many jobs may overtake one that waits for its resources."""
        return 4 * self.resources.cpus + 8

    def _start_staged(self) -> None:
        i = 0
        while i < len(self.staged) and not self.stopping:
            run = self.staged[i]
            amounts = run.job.amounts()
            if not self.resources.fits(amounts) or self._alone() or (self.running and self._is_alone(run)):
                i += 1
                if self._bypassed > self._patience:
                    return  # the first has waited long enough: nothing overtakes it now
                continue
            token = False
            if self.jobserver is not None:
                if not self.jobserver.acquire():
                    return
                token = True
            self._bypassed = self._bypassed + 1 if i else 0
            del self.staged[i]
            if self._began(run):
                self._start(run, amounts, token)
            elif token and self.jobserver is not None:
                self.jobserver.release()

    def _began(self, run: Run) -> bool:
        """Call the first hooks of a job that starts now (a job that is staged and never starts has none)."""
        try:
            self.hooks.before(run.job, run.identity)
        except FlowError as error:
            self._give_back(run)
            self.failures.failed(run.job.number, error.message, error)
            return False
        return True

    def _alone(self) -> bool:
        return any(self._is_alone(run) for run, _, _, _ in self.running.values())

    def _is_alone(self, run: Run) -> bool:
        """Whether nothing else may run beside a job."""
        return run.job.rule.phony or run.job.rule.inplace or run.job.number in self.changed_once

    def _start(self, run: Run, amounts: Amounts, token: bool) -> None:
        given = self.resources.take(amounts)
        assert run.task is not None
        if given:
            run.task.command.env["CUDA_VISIBLE_DEVICES"] = ",".join(given)
        run.started = time.time()
        number = run.job.number
        self.status[number] = RUNNING
        self.running[number] = (run, amounts, given, token)
        self.stream.emit("start", rule=run.job.rule.name, targets=run.job.outputs, attempt=run.job.attempt)
        self.worker.start(run.task)

    def _start_exclusive(self) -> None:
        """Phony and inplace jobs: alone, in the order asked, once nothing else is under way."""
        if not self.exclusive or self.running or self.staged or self.to_run or self.stopping:
            return
        self.exclusive.sort(key=self._asked_place)
        number = self.exclusive.pop(0)
        job = self.decider.job(number)
        if self.options.dry_run:
            self._would_run(number, job)
            return
        if self.over:
            self._within_limits()
        from buildflow.exclusive import run_of

        try:
            env = self.decider.environment(job.rule, job)
            run = run_of(self.executor, self.decider, job, env, json=self.options.json)
            self.resources.check(job, job.amounts())
            self.hooks.before(job, run.identity)
        except FlowError as error:
            self.failures.failed(number, error.message, error)
            return
        self._start(run, job.amounts(), False)

    def _asked_place(self, number: int) -> int:
        place = 0
        for _, files, jobs in self.plan.goals:
            for job in (*(self.plan.maker[f] for f in files), *jobs):
                if job == number:
                    return place
                place += 1
        return place + number

    # ---- ended -------------------------------------------------------------------------------------------------

    def _ended(self, ends: list[End]) -> None:
        runs: list[tuple[Run, End]] = []
        for end in ends:
            run, amounts, given, token = self.running.pop(end.task.number)
            self.resources.give(amounts, given)
            if token and self.jobserver is not None:
                self.jobserver.release()
            runs.append((run, end))
        if not self.hooks.some and not any(self._is_alone(run) or failure(end, run.job) for run, end in runs):
            self._start_staged()  # the next starts before the ended one is committed, unless that has more to say
        for run, end in runs:
            try:
                if run.job.rule.phony or run.job.rule.inplace:
                    self._ended_exclusive(run, end)
                else:
                    self._ended_run(run, end)
            except FlowError as error:
                self.failures.failed(run.job.number, error.message, error, run, end)

    def _ended_exclusive(self, run: Run, end: End) -> None:
        job = run.job
        if self.stopping and end.status:
            self._skip(job.number)
            return
        problem = failure(end, job)
        if problem is None and job.rule.inplace:
            for f in self.plan.outputs[job.number]:
                name = self.plan.paths[f]
                if not os.path.exists(self.disk.path(name)):
                    problem = f"the recipe ended well but did not make its output {name}"
                    break
                self.decider.digests[f] = self.disk.tree(name)[0] if name.endswith("/") else self.disk.digest(name)
        if problem is not None:
            self.failures.failed(job.number, problem, None, run, end)
            return
        self.hooks.collected(run, end)
        self.summary.ran += 1
        self.summary.states[job.number] = "ran"
        self.stream.emit(
            "job",
            state="ran",
            rule=job.rule.name,
            targets=job.outputs,
            cache_dir=None,
            seconds=end.runtime.get("wall_s"),
        )
        self._committed_hook(run, end, None)
        self._done(job.number, "ran")

    def _ended_run(self, run: Run, end: End) -> None:
        job = run.job
        number = job.number
        self.executor.ended(run)
        if self.stopping and (end.stopped or end.status or end.timed_out):
            self._give_back(run, fresh=True)  # also of one that took the signal and ended well: its work is partial
            self._skip(number)
            return
        problem = self.executor.problem(run, end)
        try:
            self.executor.check_inputs(run)
        except InputChanged as change:
            # A failed job that changed its own copy has failed; any other change may be the very reason.
            if problem is None or (not change.by_job and number not in self.changed_once):
                self._give_back(run, fresh=True)
                self._again(number, change)
                return
            self._restore(change)
        if problem is not None:
            self._failed_try(run, end, problem)
            return
        read = None
        key = run.identity.key
        try:
            read = self.executor.read_depfile(run)
            if read is not None:
                from buildflow.keys import second_key

                key = second_key(run.identity.first, read)
                run.identity.read = tuple(read)
            self.hooks.collected(run, end)
        except FlowError as error:
            self._failed_try(run, end, error.message, error)
            return
        assert key is not None
        if self.options.force or number in self.forced or self._is_forced(job):
            self.cache.discard(self.cache.path_of(job.kind, key))
        digests, path = self.executor.commit(run, end, key, read is not None, {})
        entry = self.decider.entry(job, key)
        if entry is not None and len(entry.outputs) == len(digests):
            digests = entry.digests()  # of two builds that race, the later takes the entry that is there
        if read is not None:
            self.decider.add_manifest(run.identity.first, read)
        self.decider.remember(key, digests)
        if entry is not None:
            for i, name in enumerate(job.outputs):
                if self.temporaries.stays_in_cache(job, name):
                    continue
                if self.decider.stands(name, digests[i], key):
                    continue
                self.workspace.put(entry.file(entry.outputs[i]), name, digests[i], key)
        self._outputs_are(job, key, digests)
        self._ran_first.add(run.identity.first)
        self.temporaries.known(job, key, entry)
        self.failures.succeeded(run, path)
        own = (LIST_FILE, job.log)
        left = [n for n in run.sandbox.leftovers([staged for _, staged in run.outputs]) if n not in own]
        log = self._log_of(run, path)
        self._give_back(run)
        self.state.put("seconds", job.rule.name, self._duration(job.rule.name, end))
        self.summary.ran += 1
        self.summary.states[number] = "ran"
        self.summary.results[number] = {"runtime": end.runtime, "path": path}
        self.state.flush()  # before it is told: whoever kills the driver now finds its files its own
        self.stream.emit(
            "job", state="ran", rule=job.rule.name, targets=job.outputs, cache_dir=path,
            seconds=end.runtime.get("wall_s"), runtime=end.runtime, log=log, undeclared=left,
        )  # fmt: skip
        self._committed_hook(run, end, path)
        self.forced.discard(number)
        self._done(number, "ran")

    def _committed_hook(self, run: Run, end: End, path: str | None) -> None:
        """`post_run`: one that fails leaves the entry, and the build's exit status is 1."""
        try:
            self.hooks.committed(run, end, path)
        except FlowError as error:
            self.summary.hook_failed = True
            self.summary.hook_errors[run.job.number] = error
            self.stream.emit("note", text=error.show(), error=True)

    def _duration(self, rule: str, end: End) -> float:
        wall = end.runtime.get("wall_s") or 0.0
        known = self.state.seconds.get(rule)
        return wall if known is None else round(0.7 * known + 0.3 * wall, 6)

    @staticmethod
    def _log_of(run: Run, path: str) -> str | None:
        place = f"{path}/log"
        return place if os.path.exists(place) else None

    def _failed_try(self, run: Run, end: End, problem: str, error: FlowError | None = None) -> None:
        job = run.job
        if job.attempt <= job.amounts().retries and not self.stopping and not self.halted:
            self.stream.emit(
                "note",
                text=f"{job.target}: {problem}; attempt {job.attempt + 1} of {job.amounts().retries + 1}",
            )
            again = self.decider.job(job.number)
            again.attempt = job.attempt + 1
            again.amounts(self.decider.size(again))
            self.resources.check(again, again.amounts())
            self._give_back(run, fresh=True)
            heapq.heappush(self.to_run, (0.0, -self.weight[job.number], job.number, again, run.identity))
            return
        self.failures.failed(job.number, problem, error, run, end)

    def _again(self, number: int, change: InputChanged, *, ran: bool = True) -> None:
        """An input changed under a job: once more under its new key, alone, so that it is known whose doing it is; a
        second time it fails. One that had not run yet (`ran`) is only decided anew, unless that takes no end."""
        remade = self._restore(change)
        self.stale[number] = self.stale.get(number, 0) + 1
        if number in self.changed_once and (ran or self.stale[number] > STALE):
            how = "the recipe changes its input" if change.by_job else "an input changed while the job ran:"
            self.failures.failed(
                number, f"{how} {change.name}, twice",
                FlowError(f"{how} {change.name}", None, "let the recipe work on a copy of its input"),
            )  # fmt: skip
            return
        if ran or self.stale[number] > STALE:
            self.changed_once.add(number)
        if ran:
            self.stream.emit("note", text=f"{change.name} changed while {self._name(number)} ran: it runs again")
        self.by_key = {k: j for k, j in self.by_key.items() if j != number}
        self.status[number] = READY
        if remade is not None:
            maker = self.plan.maker[self.plan.within.get(remade, remade)]
            self.dependents[maker].append(number)
            self.waiting[number] += 1
            self.status[number] = NEW
        elif not self.halted:
            heapq.heappush(self.ready, (0.0, 0.0, number))

    def _restore(self, change: InputChanged) -> int | None:
        """What is known of sources is read anew, and a built file is put back; where that file must be made again
        first, its number."""
        plan = self.plan
        known = self.decider.digests.items()
        self.decider.digests = {k: v for k, v in known if plan.maker[k] >= 0 and k not in plan.within}
        self.decider._trees.clear()
        self.decider._externals.clear()
        self._decide_anew()
        f = plan.ids.get(change.name)
        if f is not None and plan.maker[f] >= 0 and not change.by_job and self.temporaries.mend(f):
            return f
        return None

    def _decide_anew(self) -> None:
        """The keys of jobs that have not started may hold the digest of an input that changed."""
        waiting = [number for _, _, number, _, _ in self.to_run] + [run.job.number for run in self.staged]
        for run in self.staged:
            self._give_back(run)
        self.to_run.clear()
        self.staged.clear()
        for number in waiting:
            self.by_key = {k: j for k, j in self.by_key.items() if j != number}
            self.status[number] = READY
            heapq.heappush(self.ready, (0.0, -self.weight[number], number))

    def _name(self, number: int) -> str:
        outputs = self.plan.outputs[number]
        return self.plan.paths[outputs[0]] if outputs else self.resolver.builder.rules[self.plan.rule[number]].name

    def _give_back(self, run: Run, *, fresh: bool = False) -> None:
        self.executor.give_back(run, fresh=fresh)

    # ---- failing -----------------------------------------------------------------------------------------------

    def fail(self, number: int) -> None:
        """Mark a job as failed and what needs it as skipped; without -k nothing new starts."""
        self.status[number] = FAILED
        self.summary.failed += 1
        self.summary.states[number] = "failed"
        stack = list(self.dependents[number])
        while stack:
            after = stack.pop()
            if self.status[after] in (NEW, READY):
                self._skip(after)
        for twin in self.same.pop(number, ()):
            self.status[twin] = READY
            heapq.heappush(self.ready, (0.0, 0.0, twin))
        if not self.options.keep_going:
            self.halted = True
            self.ready.clear()
            self.exclusive.clear()
            for _, _, other, _, _ in self.to_run:
                self.status[other] = NEW
            self.to_run.clear()
            for run in self.staged:
                self.status[run.job.number] = NEW
                self._give_back(run)
            self.staged.clear()

    def _skip(self, number: int) -> None:
        stack = [number]
        while stack:
            job = stack.pop()
            if self.status[job] not in (NEW, READY, RUNNING):
                continue
            self.status[job] = SKIPPED
            self.resolver.deferred.pop(job, None)
            self.summary.skipped += 1
            self.summary.states[job] = "skipped"
            self._tell_skipped(job)
            stack.extend(self.dependents[job])

    def _tell_skipped(self, job: int) -> None:
        rule = self.resolver.builder.rules[self.plan.rule[job]]
        targets = [self.plan.paths[f] for f in self.plan.outputs[job]]
        self.stream.emit("job", state="skipped", rule=rule.name, targets=targets, cache_dir=None)
