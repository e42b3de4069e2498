"""What becomes of a job whose task has ended: committed and placed, tried again, or failed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildflow.crew import Lane
from buildflow.errors import FlowError
from buildflow.execute import failure
from buildflow.job import LIST_FILE
from buildflow.keys import second_key
from buildflow.staging import InputChanged

if TYPE_CHECKING:
    from buildflow.build import Build
    from buildflow.run import Run
    from buildflow.workers.base import End

STALE = 5
"""Times that an input of a job may have changed before it is staged."""


class Landing:
    """Takes the ends of one build."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self._stale: dict[int, int] = {}  # how often an input had changed when a job was to be staged, or had run

    def ended(self, ends: list[tuple[Lane, End]]) -> None:
        """Some tasks have ended."""
        build = self.build
        launch = build.launch
        runs = [(launch.ended(lane, end.task.number), end) for lane, end in ends]
        if not build.hooks.some and not any(launch.is_alone(run) or failure(end, run.job) for run, end in runs):
            launch.start_staged()  # the next starts before the ended one is committed, unless that has more to say
        for run, end in runs:
            if build.goback.ended(run):
                continue
            try:
                if run.job.rule.phony or run.job.rule.inplace:
                    self._exclusive(run, end)
                else:
                    self._run(run, end)
            except FlowError as error:
                build.failures.failed(run.job.number, error.message, error, run, end)

    def _exclusive(self, run: Run, end: End) -> None:
        build, job = self.build, run.job
        if build.stopping and end.status:
            build.schedule.skip(job.number)
            return
        problem = failure(end, job)
        if problem is None and job.rule.inplace:
            for f in build.plan.outputs[job.number]:
                name = build.plan.paths[f]
                if not os.path.exists(build.disk.path(name)):
                    problem = f"the recipe ended well but did not make its output {name}"
                    break
                build.decider.digests[f] = build.disk.tree(name)[0] if name.endswith("/") else build.disk.digest(name)
        if problem is not None:
            build.failures.failed(job.number, problem, None, run, end)
            return
        build.hooks.collected(run, end)
        build.summary.ran += 1
        build.summary.states[job.number] = "ran"
        build.stream.emit(
            "job", state="ran", rule=job.rule.name, targets=job.outputs, cache_dir=None,
            seconds=end.runtime.get("wall_s"), job=job,
        )  # fmt: skip
        self._committed_hook(run, end, None)
        build.decider.forget_sources()  # it runs in the project itself, and may have changed any of them
        build.done(job.number)

    def _run(self, run: Run, end: End) -> None:
        build, job = self.build, run.job
        number, executor = job.number, build.executor
        executor.ended(run)
        if build.stopping and (end.stopped or end.status or end.timed_out):
            executor.give_back(run, fresh=True)  # also of one that took the signal and ended well: its work is partial
            build.schedule.skip(number)
            return
        problem = executor.problem(run, end)
        try:
            executor.check_inputs(run, problem is not None)
        except InputChanged as change:
            # A failed job that changed its own copy has failed; any other change may be the very reason.
            if problem is None or (not change.by_job and number not in build.launch.alone):
                executor.give_back(run, fresh=True)
                self.again(number, change)
                return
            self._restore(change)
        if problem is not None:
            self._failed_try(run, end, problem)
            return
        read = None
        key = run.identity.key
        try:
            read = executor.read_depfile(run)
            if read is not None:
                key = second_key(run.identity.first, read)
                run.identity.read = tuple(read)
            build.hooks.collected(run, end)
        except InputChanged as change:
            executor.give_back(run, fresh=True)
            self.again(number, change)
            return
        except FlowError as error:
            self._failed_try(run, end, error.message, error)
            return
        assert key is not None
        self._commit(run, end, key, read)

    def _commit(self, run: Run, end: End, key: bytes, read: list[tuple[str, bytes]] | None) -> None:
        """A job ended well: its outputs into the cache, then into the workspace, and all that is to be told."""
        build, job = self.build, run.job
        number, executor, decider, temporaries = job.number, build.executor, build.decider, build.temporaries
        if build.lookup.is_forced(job):
            build.cache.discard(build.cache.path_of(job.kind, key))
        entry = executor.commit(run, end, key, read is not None)
        digests, path = entry.digests(), entry.path
        if read is not None:
            decider.add_manifest(run.identity.first, read)
        decider.remember(key, digests)
        for i, name in enumerate(job.outputs):
            if temporaries.stays_in_cache(job, name) or decider.stands(name, digests[i], key):
                continue
            output = entry.outputs[i]
            build.workspace.put(entry.file(output), name, digests[i], key, entry.contents.get(output["file"]))
        build.lookup.outputs_are(number, key, digests)
        build.lookup.ran_first.add(run.identity.first)
        temporaries.known(job, key, entry)
        build.failures.succeeded(run, path)
        own = (LIST_FILE, job.log)
        left = [n for n in run.sandbox.leftovers([staged for _, staged in run.outputs]) if n not in own]
        log = f"{path}/log" if run.logged else None
        executor.give_back(run)
        build.state.put("seconds", job.rule.name, self._duration(job.rule.name, end))
        build.summary.ran += 1
        build.summary.states[number] = "ran"
        build.summary.results[number] = {"runtime": end.runtime, "path": path}
        build.state.flush()  # before it is told: whoever kills the driver now finds its files its own
        build.stream.emit(
            "job", state="ran", rule=job.rule.name, targets=job.outputs, cache_dir=path,
            seconds=end.runtime.get("wall_s"), runtime=end.runtime, log=log, undeclared=left, job=job,
        )  # fmt: skip
        self._committed_hook(run, end, path)
        build.lookup.forced.discard(number)
        build.done(number)

    def _committed_hook(self, run: Run, end: End, path: str | None) -> None:
        """`post_run`: one that fails leaves the entry, and the build's exit status is 1."""
        build = self.build
        try:
            build.hooks.committed(run, end, path)
        except FlowError as error:
            build.summary.hook_failed = True
            build.summary.hook_errors[run.job.number] = error
            build.stream.emit("note", text=error.show(), error=True)

    def _duration(self, rule: str, end: End) -> float:
        wall = end.runtime.get("wall_s") or 0.0
        known = self.build.state.seconds.get(rule)
        return wall if known is None else round(0.7 * known + 0.3 * wall, 6)

    # ---- once more ---------------------------------------------------------------------------------------------

    def _failed_try(self, run: Run, end: End, problem: str, error: FlowError | None = None) -> None:
        build, job = self.build, run.job
        if job.attempt > job.amounts().retries or build.stopping or build.schedule.halted:
            build.failures.failed(job.number, problem, error, run, end)
            return
        build.stream.emit(
            "note", text=f"{job.target}: {problem}; attempt {job.attempt + 1} of {job.amounts().retries + 1}",
            tried={"targets": job.outputs, "problem": problem, "runtime": end.runtime},
        )  # fmt: skip
        again = build.decider.job(job.number)
        again.attempt = job.attempt + 1
        again.amounts(build.decider.size(again))
        lane = build.crew.lane(again)
        lane.resources.check(again, again.amounts())
        build.executor.give_back(run, fresh=True)
        build.launch.queue(lane, (0.0, -build.schedule.weight[job.number]), again, run.identity)

    def again(self, number: int, change: InputChanged, *, ran: bool = True) -> None:
        """An input changed under a job: once more under its new key, alone, so that it is known whose doing it is; a
        second time it fails. One that had not run yet (`ran`) is only decided anew, unless that takes no end."""
        build = self.build
        alone = build.launch.alone
        remade = self._restore(change)
        self._stale[number] = self._stale.get(number, 0) + 1
        if number in alone and (ran or self._stale[number] > STALE):
            how = "the recipe changes its input" if change.by_job else "an input changed while the job ran:"
            build.failures.failed(
                number, f"{how} {change.name}, twice",
                FlowError(f"{how} {change.name}", None, "let the recipe work on a copy of its input"),
            )  # fmt: skip
            return
        if ran or self._stale[number] > STALE:
            alone.add(number)
        if ran:
            name = build.schedule.name(number)
            build.stream.emit("note", text=f"{change.name} changed while {name} ran: it runs again")
        build.lookup.forget(number)
        if remade is not None:
            build.schedule.wait_for(number, build.plan.maker[build.plan.within.get(remade, remade)])
        else:
            build.schedule.again(number)

    def _restore(self, change: InputChanged) -> int | None:
        """What is known of sources is read anew, and a built file is put back; where that file must be made again
        first, its number."""
        build, plan = self.build, self.build.plan
        build.decider.forget_sources()
        for number in build.launch.clear():  # their keys may hold the digest of an input that changed
            build.lookup.forget(number)
            build.schedule.again(number)
        f = plan.ids.get(change.name)
        if f is not None and plan.maker[f] >= 0 and not change.by_job and build.temporaries.mend(f):
            return f
        return None
