"""The hooks of one build: those of the caller and those of each rule, called at their moments."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from buildflow.decide import Identity
from buildflow.errors import FlowError
from buildflow.hooks import TaskHooks, call, run_command
from buildflow.job import Job
from buildflow.rule import HOOKS

if TYPE_CHECKING:
    from buildflow.build import Build
    from buildflow.execute import Run
    from buildflow.workers.base import End


class JobHooks:
    """Calls hooks for jobs that run. Commands of the Flowfile (`hooks = post_run="…"`) run in the project's root."""

    def __init__(self, build: Build, hooks: TaskHooks) -> None:
        self.build = build
        self.hooks = hooks
        self.some = bool(hooks)

    def call(self, name: str, job: Job, identity: Identity | None, result: Any = None) -> None:
        """Raises HookError where a hook fails."""
        hook = getattr(self.hooks, name)
        if hook is not None:
            view = self.build_view(job)
            call(name, hook, *((view, result) if name.startswith("post") else (view,)))
        attribute = job.rule.attributes.get("hooks")
        if attribute is None:
            return
        for word in job.words(attribute):
            label, equals, command = word.partition("=")
            if not equals or label not in HOOKS:
                raise FlowError(
                    f"hooks = {word}: a hook is written as moment=command",
                    attribute.span,
                    f"the moments: {' '.join(HOOKS)}",
                )
            if label == name:
                env = {**os.environ, "BFLOW_TARGET": job.target, "BFLOW_RULE": job.rule.name}
                if result is not None:
                    env["BFLOW_ERRORED"] = "1" if result.errored else "0"
                    env["BFLOW_CACHE_DIR"] = str(result.cache_dir or "")
                run_command(name, command, self.build.disk.root, env, attribute.span)

    def wanted(self, job: Job) -> bool:
        return self.some or "hooks" in job.rule.attributes

    def build_view(self, job: Job) -> Any:
        from buildflow.result import JobView

        return JobView.of(job)

    def collected(self, run: Run, end: End) -> None:
        """`post_run_task`: outputs are collected and not yet committed."""
        if self.wanted(run.job):
            from buildflow.result import collected_result

            self.call("post_run_task", run.job, run.identity, collected_result(run, end))

    def committed(self, run: Run, end: End, path: str) -> None:
        """`post_run` after the commit."""
        if self.wanted(run.job):
            from buildflow.result import committed_result

            self.call("post_run", run.job, run.identity, committed_result(run, end, path, self.build.disk.root))

    def failed(self, job: Job, run: Run | None, end: End | None, problem: str) -> None:
        """Both last hooks of a job that failed."""
        if self.wanted(job) and run is not None:
            from buildflow.result import failed_result

            result = failed_result(run, end, problem, self.build.disk.root)
            self.call("post_run_task", job, run.identity, result)
            self.call("post_run", job, run.identity, result)
