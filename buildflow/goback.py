"""Sources that change while a build runs: the build goes back to them, and to nothing else.

The jobs that read them, and all after these, are decided anew; those of them that run are ended, and what they made is
dropped; the others go on. Where that cannot be done the build goes on as it is, and its caller builds once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from buildflow.plan.readers import Readers
from buildflow.schedule import DONE, FAILED, RUNNING, SKIPPED

if TYPE_CHECKING:
    from buildflow.build import Build
    from buildflow.run import Run


class GoBack:
    """What became stale in one build."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self._ending: set[int] = set()  # jobs that run on what is no more
        self._ended: set[int] = set()  # phony jobs that were ended once: it may be one itself that writes what it reads
        self._index: Readers | None = None

    def take_in(self, found: Mapping[str, bytes | None]) -> bool:
        """These sources hold something else than when the build began: digests of what, where known. False where the
        build cannot go back to them (then nothing is done): where it has failed, or what is planned may depend on
        them."""
        build, plan = self.build, self.build.plan
        known = build.decider.digests
        names = [name for name, digest in found.items() if digest is None or known.get(plan.ids[name]) != digest]
        if not names:
            return True  # all of it was read by now
        files = {plan.ids[name] for name in names}
        if not self._possible():
            return False
        if self._index is None:
            self._index = Readers(plan)
        jobs = self._index.affected(files)
        status = build.schedule.status
        if any(status[job] in (FAILED, SKIPPED) or build.rules[plan.rule[job]].inplace for job in jobs):
            return False
        phony = {job for job in jobs if build.rules[plan.rule[job]].phony and status[job] == RUNNING}
        if phony & self._ended:
            return False
        self._ended |= phony
        build.decider.forget_sources()
        build.launch.take_back(jobs)
        running = build.launch.end(jobs)
        self._ending |= running
        done = [job for job in jobs if status[job] == DONE]
        self._uncount(done)
        if build.unchanged is not None:
            build.unchanged.went_back(files, jobs)
        self._forget(jobs)
        build.schedule.reopen(jobs - running)
        if running or done:
            first, *rest = names
            more = f" and {len(rest)} more" if rest else ""
            build.stream.emit("note", text=f"{first}{more} changed: what depends on it starts again")
        return True

    def _possible(self) -> bool:
        build, plan, resolver = self.build, self.build.plan, self.build.resolver
        if build.stopping or build.schedule.halted or build.options.dry_run or build.options.until:
            return False
        if resolver.dynamic or resolver.deferred or resolver.open_goals or plan.trees or plan.within:
            return False
        return not any("temp" in rule.attributes for rule in build.rules)

    def ended(self, run: Run) -> bool:
        """Whether a task that has ended was one of a stale job: it is decided anew."""
        number = run.job.number
        if number not in self._ending:
            return False
        self._ending.remove(number)
        build = self.build
        build.executor.ended(run)
        build.executor.give_back(run, fresh=True)
        build.stream.emit("job", state="stopped", rule=run.job.rule.name, targets=run.job.outputs)
        if build.stopping:
            build.schedule.skip(number)
        else:
            self._forget({number})
            build.schedule.reopen({number})
        return True

    def _forget(self, jobs: set[int]) -> None:
        lookup, decider, plan = self.build.lookup, self.build.decider, self.build.plan
        lookup.by_key = {key: job for key, job in lookup.by_key.items() if job not in jobs}
        for job in jobs:
            decider.keys.pop(job, None)
            for f in plan.outputs[job]:
                decider.digests.pop(f, None)

    def _uncount(self, jobs: Iterable[int]) -> None:
        """Jobs that were done are not."""
        summary = self.build.summary
        for job in jobs:
            state = summary.states.pop(job, "up_to_date")
            setattr(summary, state, getattr(summary, state) - 1)
