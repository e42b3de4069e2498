"""The hooks of one build: those of the caller and those of each rule, called at their moments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from buildflow.decide import Identity
from buildflow.errors import FlowError
from buildflow.hooks import CommandHook, TaskHooks, call, parse_hooks, run_command
from buildflow.job import Job

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
        self._commands: dict[int, list[CommandHook]] = {}
        self._begun: set[int] = set()  # jobs whose pre_run was called, and post_run was not
        self._collected: set[int] = set()  # jobs whose post_run_task was called at this try

    def call(
        self, name: str, job: Job, identity: Identity | None, result: Any = None, places: Mapping[str, str] = {}
    ) -> None:
        """Raises HookError where a hook fails. `places`: outputs that a command finds outside the workspace."""
        hook = getattr(self.hooks, name)
        if hook is not None:
            view = self.build_view(job)
            call(name, hook, *((view, result) if name.startswith("post") else (view,)))
        if "hooks" not in job.rule.attributes:
            return
        for command in self._of_rule(job):
            if command.moment != name:
                continue
            env = {**self.build.resolver.reads.environ, "BFLOW_TARGET": job.target, "BFLOW_RULE": job.rule.name}
            if result is not None:
                env["BFLOW_ERRORED"] = "1" if result.errored else "0"
                env["BFLOW_CACHE_DIR"] = str(result.cache_dir or "")
            run_command(name, self._text(command, job, places), self.build.disk.root, env, command.span)

    def _text(self, command: CommandHook, job: Job, places: Mapping[str, str]) -> str:
        """The command with its holes filled: files by their names in the project, where it runs, and not as staged."""
        decider = self.build.decider
        inputs = (*job.input_ids, *job.after_ids)
        elsewhere = {decider.plan.paths[f]: decider.place(f) for f in inputs if f in decider.places}
        staged, job.staged = job.staged, {**elsewhere, **places}
        try:
            return command.filler.fill(job.values, job.rows)
        except FlowError as error:
            error.span = error.span or command.span
            raise
        finally:
            job.staged = staged

    def _of_rule(self, job: Job) -> list[CommandHook]:
        found = self._commands.get(job.rule.number)
        if found is None:
            found = self._commands[job.rule.number] = parse_hooks(job.rule.attributes["hooks"])
        return found

    def wanted(self, job: Job) -> bool:
        return self.some or "hooks" in job.rule.attributes

    def build_view(self, job: Job) -> Any:
        from buildflow.result import JobView

        return JobView.of(job)

    def before(self, job: Job, identity: Identity) -> None:
        """Both first hooks of a job that starts: `pre_run` once, `pre_run_task` at each try."""
        if not self.wanted(job):
            return
        if job.number not in self._begun:
            self._begun.add(job.number)
            self.call("pre_run", job, identity)
        self.call("pre_run_task", job, identity)

    def collected(self, run: Run, end: End) -> None:
        """`post_run_task`: outputs are collected and not yet committed."""
        if self.wanted(run.job):
            from buildflow.result import collected_result

            self._collected.add(run.job.number)
            places = {name: f"{run.sandbox.path}/{staged}" for name, staged in run.outputs}
            self.call("post_run_task", run.job, run.identity, collected_result(run, end), places)
            self._collected.discard(run.job.number)

    def committed(self, run: Run, end: End, path: str | None) -> None:
        """`post_run` after the commit (`path` is None for a job without an entry)."""
        if self.wanted(run.job):
            from buildflow.result import committed_result

            decider = self.build.decider
            made = decider.plan.outputs[run.job.number]
            places = {decider.plan.paths[f]: decider.place(f) for f in made if f in decider.places}
            result = committed_result(run, end, path, places, self.build.disk.root)
            self._begun.discard(run.job.number)
            self.call("post_run", run.job, run.identity, result, places)

    def failed(self, job: Job, run: Run | None, end: End | None, problem: str, log: str = "") -> None:
        """Both last hooks of a job that failed after its first ones; one that has failed itself is not called again."""
        if job.number not in self._begun:
            return
        from buildflow.result import failed_result

        identity = run.identity if run is not None else None
        result = failed_result(job, identity.key if identity is not None else None, end, problem, log)
        self._begun.discard(job.number)
        try:
            if job.number not in self._collected:
                self.call("post_run_task", job, identity, result)
        finally:
            self._collected.discard(job.number)
            self.call("post_run", job, identity, result)
