"""How far each job of a build has come: one more column beside the plan's arrays, and the queue of jobs that are ready.

A job is ready once all that it needs is done. It grows with a dynamic plan.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from buildflow.plan.graph import order

if TYPE_CHECKING:
    from buildflow.outcome import Options
    from buildflow.plan.resolve import Resolver

NEW, READY, RUNNING, DONE, FAILED, SKIPPED = range(6)


class Schedule:
    """The jobs of one plan. `seconds`: how long a rule's jobs took; `priority(job)`: that of the rule's attribute;
    `skipped(job)`: is told of each job that will not run, since one that it needs has failed."""

    def __init__(
        self, resolver: Resolver, options: Options, seconds: Mapping[str, float],
        priority: Callable[[int], float], skipped: Callable[[int], None],
    ) -> None:  # fmt: skip
        self.resolver = resolver
        self.plan = resolver.plan
        self.rules = resolver.builder.rules
        self.options = options
        self.seconds = seconds
        self.priority = priority
        self.skipped = skipped
        self.status: list[int] = []
        self.waiting: list[int] = []
        self.dependents: list[list[int]] = []
        self.weight: list[float] = []
        self.ready: list[tuple[float, float, int]] = []
        self.halted = False  # after a failure without -k: what runs finishes, nothing new starts
        self.left_out: list[int] = []  # by `--until`
        self.grown = False  # whether what was deferred may be known now
        self._same: dict[int, list[int]] = {}
        self._behind: dict[int, list[int]] = {}  # phony job → the jobs that only goals after it need
        self._reconnected: set[int] = set()
        self._prioritized = any("priority" in rule.attributes for rule in self.rules)

    # ---- the graph ---------------------------------------------------------------------------------------------

    def integrate(self, first: int, *, initial: bool = False) -> None:
        """Take jobs from number `first` on. Raises FlowError where they need each other in a circle (`initial`)."""
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
            rules = self.rules
            for job in reversed(order(plan, rules)):
                own = self.seconds.get(rules[plan.rule[job]].name, 1.0)
                after = self.dependents[job]
                self.weight[job] = own + (max([self.weight[d] for d in after]) if after else 0.0)
            self._put_up_barriers()
        self._restrict()
        deferred = self.resolver.deferred
        for job in range(first, count):
            if self.waiting[job] == 0 and self.status[job] == NEW and job not in deferred:
                self.make_ready(job)

    def _put_up_barriers(self) -> None:
        """A phony job runs in the order asked: what only later goals need is not looked at before it has run."""
        rules, rule = self.rules, self.plan.rule
        if len(self.plan.goals) < 2 or not any(rules[rule[j]].phony for _, _, jobs in self.plan.goals for j in jobs):
            return
        seen: set[int] = set()
        barrier = -1
        for _, files, jobs in self.plan.goals:
            stack = [*(self.plan.maker[f] for f in files if self.plan.maker[f] >= 0), *jobs]
            while stack:
                job = stack.pop()
                if job in seen:
                    continue
                seen.add(job)
                stack.extend(self.plan.dependencies(job))
                if barrier >= 0:
                    self._behind.setdefault(barrier, []).append(job)
                    self.waiting[job] += 1
            barrier = next((job for job in reversed(jobs) if rules[rule[job]].phony), barrier)

    def _take_down(self, job: int) -> None:
        """A phony job has ended, well or not: what was to come after it may go on."""
        for after in self._behind.pop(job, ()):
            self.waiting[after] -= 1
            if self.waiting[after] == 0 and self.status[after] == NEW and after not in self.resolver.deferred:
                self.make_ready(after)

    def integrate_only(self, affected: set[int]) -> None:
        """Take these jobs, which hold all that need one of them; the others are done."""
        count = len(self.plan.rule)
        status = self.status = [DONE] * count
        self.waiting = [0] * count
        self.dependents = [[]] * count
        self.weight = [0.0] * count
        for job in affected:
            status[job] = NEW
            self.dependents[job] = []
        for job in affected:
            self._connect(job)
        for job in sorted(affected):
            if self.waiting[job] == 0:
                self.make_ready(job)

    def reconnect(self, job: int) -> None:
        """What a job needs is known only now."""
        if self.status[job] != NEW:
            return
        self._reconnected.add(job)
        self._connect(job)
        if self.waiting[job] == 0 and self.status[job] == NEW and job not in self.resolver.deferred:
            self.make_ready(job)

    def reopen(self, jobs: set[int]) -> None:
        """Bring these jobs, which hold all that need one of them (but for some that still run), to their beginning."""
        for job in jobs:
            self._release(job)
        self.ready = [item for item in self.ready if item[2] not in jobs]
        heapq.heapify(self.ready)
        self._reconnected |= jobs  # some are connected already
        for job in jobs:
            if self.status[job] == DONE:
                self.dependents[job] = []
            self.status[job] = NEW
        for job in jobs:
            self._connect(job)
        for job in sorted(jobs):
            if self.waiting[job] == 0 and self.status[job] == NEW:
                self.make_ready(job)

    def _connect(self, job: int) -> None:
        missing = 0
        for before in self.plan.dependencies(job):
            if self.status[before] in (FAILED, SKIPPED):
                self.skip(job)
                return
            if self.status[before] != DONE:
                missing += 1
                self.dependents[before].append(job)
        self.waiting[job] = missing

    def _restrict(self) -> None:
        """`--until`: what is after the named jobs is left out."""
        if not self.options.until:
            return
        stack: list[int] = []
        for name in self.options.until:
            named = [job for job in range(len(self.plan.rule)) if self.is_named(job, frozenset((name,)))]
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
                self.left_out.append(job)

    def is_named(self, job: int, names: frozenset[str]) -> bool:
        """Whether `-R NAME` or `--until NAME` means a job: by its rule's name, a target as written, or a path."""
        rule = self.rules[self.plan.rule[job]]
        if rule.name in names or any(self.plan.paths[f] in names for f in self.plan.outputs[job]):
            return True
        return any(w.text in names for w in rule.targets)

    def name(self, job: int) -> str:
        """The first target of a job, for messages."""
        outputs = self.plan.outputs[job]
        return self.plan.paths[outputs[0]] if outputs else self.rules[self.plan.rule[job]].name

    # ---- the queue ---------------------------------------------------------------------------------------------

    def make_ready(self, job: int) -> None:
        """A job needs nothing any more."""
        self.status[job] = READY
        if self.halted:
            return
        priority = self.priority(job) if self._prioritized else 0.0
        weight = self.weight[job]
        if self.options.shuffle is not None:
            import random

            weight = random.Random(f"{self.options.shuffle}/{job}").random()
        heapq.heappush(self.ready, (-priority, -weight, job))

    def again(self, job: int, *, urgent: bool = False) -> None:
        """Decide a job once more."""
        self.status[job] = READY
        if not self.halted:
            heapq.heappush(self.ready, (-1.0 if urgent else 0.0, 0.0 if urgent else -self.weight[job], job))

    def wait_for(self, job: int, maker: int) -> None:
        """A job needs another one again."""
        self.dependents[maker].append(job)
        self.waiting[job] += 1
        self.status[job] = NEW

    def pop(self) -> tuple[float, float, int] | None:
        """The next job to decide, with its rank."""
        while self.ready:
            item = heapq.heappop(self.ready)
            if self.status[item[2]] == READY:
                return item
        return None

    def same_as(self, job: int, other: int) -> None:
        """A job has the key of one that runs: it is looked at again when that has ended."""
        self._same.setdefault(other, []).append(job)

    # ---- ends --------------------------------------------------------------------------------------------------

    def done(self, job: int, *, known: bool = True) -> None:
        """A job is finished: those that waited for it may go on. `known`: whether its files can be read now."""
        status, waiting = self.status, self.waiting
        status[job] = DONE
        plan = self.plan
        resolver = self.resolver
        if known:
            for f in plan.outputs[job]:
                resolver.finished.add(plan.paths[f])
        deferred = resolver.deferred
        for after in self.dependents[job]:
            waiting[after] -= 1
            if after in self._reconnected:  # it was connected more than once: count anew
                waiting[after] = sum(1 for d in plan.dependencies(after) if status[d] != DONE)
                waiting[after] += sum(after in behind for behind in self._behind.values())
            if waiting[after] == 0 and status[after] == NEW and after not in deferred:
                self.make_ready(after)
        self.dependents[job] = []
        self._release(job)
        self._take_down(job)
        if deferred or resolver.open_goals:
            self.grown = True

    def fail(self, job: int) -> None:
        """A job has failed: what needs it is skipped."""
        self.status[job] = FAILED
        for after in list(self.dependents[job]):
            if self.status[after] in (NEW, READY):
                self.skip(after)
        self._release(job)
        self._take_down(job)

    def _release(self, job: int) -> None:
        for twin in self._same.pop(job, ()):
            self.status[twin] = READY
            heapq.heappush(self.ready, (0.0, 0.0, twin))

    def skip(self, job: int) -> None:
        """A job, and what needs it, will not run."""
        stack = [job]
        while stack:
            job = stack.pop()
            if self.status[job] not in (NEW, READY, RUNNING):
                continue
            self.status[job] = SKIPPED
            self.resolver.deferred.pop(job, None)
            self.skipped(job)
            stack.extend(self.dependents[job])
            self._take_down(job)

    def halt(self, waiting: Sequence[int]) -> None:
        """Nothing new is started: `waiting` are the jobs that were about to be."""
        self.halted = True
        self.ready.clear()
        for job in waiting:
            self.status[job] = NEW

    def unfinished(self) -> list[int]:
        """The jobs that were not brought to an end."""
        under_way = {NEW, READY, RUNNING}
        if under_way.isdisjoint(self.status):
            return []
        return [job for job, status in enumerate(self.status) if status in under_way]
