"""From a build that is over to the `Result` of each job that was asked for.

An entry that is gone, of a key whose files stand in the workspace, is committed again from them here: `cache_dir` is
the entry of the key.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from buildflow.build import Build
from buildflow.cache import Entry, file_stat, output_names, read_entry, tree_stat, write_result
from buildflow.digest import file_digest, tree_digest
from buildflow.errors import FlowError
from buildflow.files import copy, place_tree, remove_tree
from buildflow.job import Job
from buildflow.outcome import Summary
from buildflow.result import JobError, JobView, Outputs, Result, Runtime, outputs_of

MADE = ("ran", "cached", "up_to_date")


class ResultsOf:
    """The results of one build. Make them while its session is open: they look at the state, and may commit."""

    def __init__(self, build: Build, summary: Summary) -> None:
        self.build = build
        self.summary = summary
        self.events: dict[str, dict[str, Any]] = {}  # of failed jobs, by their first target
        self._known: dict[int, Result] = {}

    def hear(self, event: dict[str, Any]) -> None:
        """A reader of the build's events: what failed jobs printed."""
        if event["event"] == "job" and event.get("state") == "failed" and event.get("targets"):
            self.events[event["targets"][0]] = event

    def answers(self, questions: int) -> list[list[Result]]:
        """For each question (see `Resolver.asking`) the results of its jobs, in order, each once.

        A source that was asked for by name is a result too: nothing had to be done for it.
        """
        plan, resolver = self.build.plan, self.build.resolver
        found: list[dict[int | str, Result]] = [{} for _ in range(questions)]
        for (text, files, jobs), question in zip(plan.goals, resolver.answers, strict=True):
            results = found[question]
            for f in files:
                if plan.maker[f] >= 0:
                    results.setdefault(plan.maker[f], self.of_job(plan.maker[f]))
                elif plan.paths[f] == text:
                    results.setdefault(text, self._source(text))
            for job in jobs:
                results.setdefault(job, self.of_job(job))
        return [list(results.values()) for results in found]

    def errors(self) -> list[JobError]:
        """An error for each job that failed, in the order in which they did; then for each whose last hook failed."""
        found = []
        for number in (*self.summary.errors, *self.summary.hook_errors):
            result = self.of_job(number)
            hints = self.events.get(result.job.target, {}).get("hints") or ()
            error = JobError(result, self.build.decider.job(number).rule.span, "\n".join(hints) or None)
            hook = self.summary.hook_errors.get(number)
            error.__cause__ = hook.__cause__ if hook else self.summary.results.get(number, {}).get("exception")
            found.append(error)
        return found

    def of_job(self, number: int) -> Result:
        found = self._known.get(number)
        if found is None:
            found = self._known[number] = self._of_job(number)
        return found

    def _of_job(self, number: int) -> Result:
        build, summary = self.build, self.summary
        job = build.decider.job(number)
        state = summary.states.get(number, "skipped")
        key = build.decider.keys.get(number)
        root = build.disk.root
        if state not in MADE:
            event = self.events.get(job.target, {})
            runtime = summary.results.get(number, {}).get("runtime")
            return Result(
                JobView.of(job), outputs_of(job, {}, root), key=key.hex() if key else None,
                runtime=Runtime(runtime), errored=True, cached=False, cache_dir=None,
                problem=summary.errors.get(number) or self._why_skipped(number), log="\n".join(event.get("tail") or ()),
            )  # fmt: skip
        entry = self._entry(job, key) if key else None
        places = {}
        for output in entry.outputs if entry is not None else ():
            if build.temporaries.stays_in_cache(job, output["name"]) and entry is not None:
                places[output["name"]] = entry.file(output)
        hook = summary.hook_errors.get(number)
        runtime = entry.result.get("runtime") if entry is not None else summary.results.get(number, {}).get("runtime")
        return Result(
            JobView.of(job), outputs_of(job, places, root), key=key.hex() if key else None,
            runtime=Runtime(runtime), errored=hook is not None, cached=state != "ran",
            cache_dir=Path(entry.path) if entry is not None else None, problem=hook.message if hook else None,
            returned=entry.result.get("returned") if entry is not None else None,
        )  # fmt: skip

    def _why_skipped(self, number: int) -> str:
        """The failure that a job was not started for."""
        plan, errors = self.build.plan, self.summary.errors
        seen, stack = {number}, [number]
        while stack:
            for before in plan.dependencies(stack.pop()):
                if before in errors:
                    return f"it was not started: it needs {self.build.decider.job(before).target}, which failed"
                if before not in seen:
                    seen.add(before)
                    stack.append(before)
        return "it was not started, since another job failed"

    def _source(self, name: str) -> Result:
        return Result(
            JobView.of_source(name), Outputs(out=Path(self.build.disk.path(name))), key=None, runtime=Runtime(),
            errored=False, cached=True, cache_dir=None,
        )  # fmt: skip

    # ---- entries that are gone ---------------------------------------------------------------------------------

    def _entry(self, job: Job, key: bytes) -> Entry | None:
        found = self.build.decider.entry(job, key)
        if found is None and self._commit_again(job, key):
            found = self.build.decider.entry(job, key)
        if found is None:  # one whose temporary outputs are gone
            found = read_entry(self.build.cache.path_of(job.kind, key))
        return found

    def _commit_again(self, job: Job, key: bytes) -> bool:
        """Commit the entry of a key from the files in the workspace. False where they are not all there, whole."""
        build = self.build
        digests = build.decider.known(key, len(job.outputs))
        if digests is None or any(build.temporaries.stays_in_cache(job, name) for name in job.outputs):
            return False
        folder = build.cache.open(job.kind, key)
        try:
            outputs = []
            for name, inner, digest in zip(job.outputs, output_names(job.outputs), digests, strict=True):
                source, target, tree = build.disk.path(name.rstrip("/")), f"{folder}/{inner}", name.endswith("/")
                os.makedirs(os.path.dirname(target), exist_ok=True)
                if self._copied(source, target, tree) != digest:
                    return False
                signature: Any = tree_stat(target) if tree else file_stat(target)
                row = {"name": name, "file": inner, "folder": tree, "digest": digest.hex(), "stat": signature}
                outputs.append(row)
            write_result(folder, self._result_json(job, key, outputs))
            return build.cache.commit(folder, job.kind, key)
        except (OSError, FlowError):
            return False  # (a full disk, a cache that cannot be written to) the files stand all the same
        finally:
            remove_tree(folder)

    @staticmethod
    def _copied(source: str, target: str, is_folder: bool) -> bytes:
        def digest(path: str, st: os.stat_result) -> bytes:
            return file_digest(path, bool(st.st_mode & 0o100))

        if is_folder:
            place_tree(source, target, staging=os.path.dirname(target))
            return tree_digest(target, source=False, ignore=None, file_digest_of=digest)[0]
        copy(source, target)
        return digest(target, os.stat(target))

    def _result_json(self, job: Job, key: bytes, outputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
        from buildflow.run import Run
        from buildflow.sandbox import Sandbox
        from buildflow.workers.base import End, Task

        run = Run(job, self.build.decider.identity(job), Sandbox("", -1), self.build.crew.primary.worker)
        end = End(Task(job.number, None, ""), 0)  # type: ignore[arg-type]  # nothing runs
        return {**self.build.executor.result(run, end, key, list(outputs)), "again": True}
