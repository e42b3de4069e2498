"""One job of a build, once all that it needs is done: its outputs stand, they are restored from the cache, or it must
run. The commands that only look go the same way, and change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildflow.cache import Entry
from buildflow.decide import Identity
from buildflow.errors import FlowError
from buildflow.job import Job
from buildflow.schedule import RUNNING
from buildflow.staging import InputChanged
from buildflow.workspace import EntryGone

if TYPE_CHECKING:
    from buildflow.build import Build


class Lookup:
    """Decides the jobs of one build."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self.by_key: dict[bytes, int] = {}  # first-level key → the job that runs for it
        self.forced: set[int] = set()  # temporaries that must be made again
        self.ran_first: set[bytes] = set()  # first-level keys that ran in this build: not forced to run again
        self._remade: set[int] = set()  # of a dry run: the jobs that would run

    def decide(self, rank: tuple[float, float, int]) -> None:
        """Find out what becomes of a job that is ready."""
        build, number = self.build, rank[2]
        if build.unchanged is not None and build.unchanged.settle(number):
            return
        try:
            job = build.decider.job(number)
            if job.rule.phony or job.rule.inplace:
                build.launch.exclusive.append(number)
                return
            self._decide(job, rank)
        except InputChanged as change:
            build.failures.failed(number, f"its input {change.name} changed while the build looked at it")
        except FlowError as error:
            build.failures.failed(number, error.message, error)

    def _decide(self, job: Job, rank: tuple[float, float, int]) -> None:
        build, number = self.build, job.number
        dry = build.options.dry_run
        if dry and self.remade(number):
            self.would_run(number, job)  # what its inputs will be is not known yet
            return
        identity = build.decider.identity(job)
        key = identity.key
        before = self.by_key.get(identity.first)
        if before is not None and before != number and build.schedule.status[before] == RUNNING:
            build.schedule.same_as(number, before)  # it takes what that one makes
            return
        if key is not None and (identity.first in self.ran_first or not self.is_forced(job)):
            if self._stands_or_restored(job, identity, key):
                return
        if build.temporaries.missing(job):
            return  # a temporary input must be made again first
        if dry:
            self.would_run(number, job)
            return
        lane = build.crew.lane(job)
        if number not in build.launch.over:
            lane.resources.check(job, job.amounts())
        self.by_key[identity.first] = number
        build.schedule.status[number] = RUNNING
        build.launch.queue(lane, (rank[0], rank[1]), job, identity)

    def is_forced(self, job: Job) -> bool:
        """Whether a job must run, whatever is known of it."""
        options = self.build.options
        if options.force or job.number in self.forced:
            return True
        return bool(options.rerun) and self.build.schedule.is_named(job.number, options.rerun)

    def forget(self, number: int) -> None:
        """The key of a job that was to run is no longer its own."""
        self.by_key = {key: job for key, job in self.by_key.items() if job != number}

    def remade(self, number: int) -> list[int]:
        """Of a dry run: the files in a job's key that jobs would make anew (order-only ones do not count)."""
        changed, plan = self._remade, self.build.plan
        if not changed:
            return []
        files = plan.inputs[number] + plan.extra[number]
        if "depfile" in self.build.rules[plan.rule[number]].attributes:
            files += plan.after[number]
        found = []
        for f in files:
            tree = plan.tree(number, f) if plan.trees else None
            found.extend([m for m in (tree[0] if tree is not None else (f,)) if plan.maker[m] in changed])
        return found

    def would_run(self, number: int, job: Job) -> None:
        """Of a dry run: a job that a build would run."""
        build = self.build
        self._remade.add(number)
        build.summary.would_run += 1
        build.summary.states[number] = "would run"
        build.stream.emit("job", state="would run", rule=job.rule.name, targets=job.outputs, job=job)
        build.done(number, known=False)  # nobody can read it yet

    def _stands_or_restored(self, job: Job, identity: Identity, key: bytes) -> bool:
        build = self.build
        decider, temporaries = build.decider, build.temporaries
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
            if not temporaries.stays_in_cache(job, name) and not decider.stands(name, digests[i], key)
        ]
        if not lacking:
            self._known(job, key, digests, "up_to_date", entry)
            return True
        if entry is None:
            entry = decider.entry(job, key)
            if entry is None or len(entry.outputs) != count or entry.digests() != digests:
                return False
        for i in lacking:
            if build.options.dry_run:
                temporaries.stands(build.plan.outputs[job.number][i], entry.file(entry.outputs[i]))
            else:
                try:
                    build.workspace.put(entry.file(entry.outputs[i]), job.outputs[i], digests[i], key)
                except EntryGone:
                    return False  # a hit that loses the race with gc is a miss
        self._known(job, key, digests, "cached", entry)
        return True

    def _known(self, job: Job, key: bytes, digests: list[bytes], state: str, entry: Entry | None) -> None:
        """A job whose outputs are there, one way or the other."""
        build = self.build
        build.decider.remember(key, digests)
        build.temporaries.known(job, key, entry)
        if state == "cached" and entry is not None:
            build.summary.saved += (entry.result.get("runtime") or {}).get("wall_s") or 0.0
        self.stands(job.number, key, digests, state)

    def stands(self, number: int, key: bytes, digests: list[bytes], state: str) -> None:
        """The outputs of a job are there, up to date or put back: it is done."""
        build = self.build
        self.outputs_are(number, key, digests)
        setattr(build.summary, state, getattr(build.summary, state) + 1)
        build.summary.states[number] = state
        if state != "up_to_date" or build.options.json:
            plan = build.plan
            build.stream.emit(
                "job", state=state, rule=build.rules[plan.rule[number]].name,
                targets=[plan.paths[f] for f in plan.outputs[number]],
                cache_dir=build.cache.path_of(build.decider.kind(number), key),
            )  # fmt: skip
        build.done(number)

    def outputs_are(self, number: int, key: bytes, digests: list[bytes]) -> None:
        """Note what a job has made."""
        decider = self.build.decider
        decider.keys[number] = key
        for f, digest in zip(self.build.plan.outputs[number], digests, strict=True):
            decider.digests[f] = digest
        if self.build.unchanged is not None:
            self.build.unchanged.made(number, digests)
