"""The inside of a job, for people: its sandbox and its environment, with a shell or any command in it.

After a failure the sandbox is the one that was kept, as the job left it; else one is staged afresh. Nothing that is
made in there is committed.
"""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, NamedTuple

from buildflow.decide import Identity
from buildflow.environments.base import Command, Environment
from buildflow.errors import FlowError
from buildflow.files import remove_tree
from buildflow.history import History
from buildflow.job import Job
from buildflow.records import replace
from buildflow.run import Run
from buildflow.sandbox import Pool, Sandbox
from buildflow.staging import InputChanged, Staging
from buildflow.workers.debug import Worker

if TYPE_CHECKING:
    from buildflow.build import Build
    from buildflow.submitter import Session

RECIPE = "recipe"
"""The file in the job's TMPDIR that holds what the job runs."""

_SHELL = "command -v bash >/dev/null 2>&1 && exec bash --noprofile --norc -i || exec sh -i"
_PASSED = ("TERM", "COLORTERM", "COLUMNS", "LINES")
"""What a terminal needs and jobs do not get."""


class Inside(NamedTuple):
    """A place to run commands in. `failed`: it is the sandbox of a try that failed; `recipe`: the text of the job."""

    target: str
    rule: str
    environment: Environment
    command: Command  # not wrapped yet, and without arguments
    recipe: str
    failed: bool
    sandbox: Sandbox

    @property
    def path(self) -> str:
        return self.sandbox.path

    def run(self, argv: list[str] | None) -> int:
        """Run an argument vector in it, or a shell; the exit status, as a shell has it.

        Keyboard interrupts are the command's own affair. Raises FlowError where it cannot be started.
        """
        import signal
        import subprocess

        env = {**self.command.env, **{name: os.environ[name] for name in _PASSED if name in os.environ}}
        if argv is None:
            env["PS1"] = f"bflow {self.target}$ "
        words = argv or ["sh", "-c", _SHELL]
        command = self.environment.wrap(replace(self.command, argv=words, env=env, redirections=(), terminal=True))

        def heed() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            with subprocess.Popen(command.argv, env=command.env, cwd=command.cwd, preexec_fn=heed) as process:
                status = process.wait()
        except OSError as error:
            raise FlowError(
                f"cannot run {command.argv[0]} in {self.environment.name}: {error.strerror}", None,
                "its PATH is that of the job: see “bflow shell … -- env”",
            ) from None  # fmt: skip
        finally:
            signal.signal(signal.SIGINT, before)
        return status if status >= 0 else 128 - status

    def leave(self) -> None:
        """Remove what was made for it; the sandbox of a failed try stays."""
        self.environment.site.close()
        remove_tree(self.sandbox.temporary)
        for ending in (".log", ".json", ".script", ".sh", ".pickle", ".returned"):
            remove_tree(self.path + ending)
        if not self.failed:
            remove_tree(self.path)
            self.sandbox.close()


class _Bare:
    """An environment as a job's composer sees it, that leaves the command as it is."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def __getattr__(self, name: str) -> object:
        return getattr(self._environment, name)

    @staticmethod
    def wrap(command: Command) -> Command:
        return command


def inside(session: Session, target: str, *, fresh: bool, env: str | None, default_env: str | None) -> Inside:
    """The inside of the job that makes a target. `fresh`: not the sandbox of its last try, also where that failed.

    Raises FlowError where no job makes it, or where an input must be made first.
    """
    from buildflow.dry import dry_run

    build = dry_run(session, session.resolve([target]), env=env, default_env=default_env)
    job = build.decider.job(_number(build, target))
    if job.rule.phony or job.rule.inplace:
        raise FlowError(
            f"{target} is {'phony' if job.rule.phony else 'made in place'}: it has no sandbox, and runs in "
            f"{session.root} itself", job.rule.span,
        )  # fmt: skip
    needed = [build.plan.paths[f] for f in build.lookup.remade(job.number)]
    if needed:
        raise FlowError(
            f"the job of {target} reads what is not up to date: {', '.join(needed[:5])}", None,
            f"bflow build {shlex.join(needed[:5])}",
        )  # fmt: skip
    history = History(session)
    failed = history.failed(job.outputs, history.last(job.outputs))
    kept = None if failed is None or fresh else f"{failed.folder}/sandbox"
    if kept is not None and os.path.isdir(kept):
        return _composed(build, job, Sandbox(kept, -1), failed=True)
    return _staged(build, job, session)


def _number(build: Build, target: str) -> int:
    """The one job that makes a target."""
    jobs: dict[int, None] = {}
    for _, files, numbers in build.plan.goals:
        jobs.update(dict.fromkeys([build.plan.maker[f] for f in files if build.plan.maker[f] >= 0]))
        jobs.update(dict.fromkeys(numbers))
    if not jobs:
        raise FlowError(f"{target} is a source: no job makes it, so there is no sandbox")
    if len(jobs) > 1:
        some = [build.decider.job(number).target for number in list(jobs)[:3]]
        raise FlowError(
            f"{target} stands for {len(jobs)} jobs, and a shell is in one", None, f"name one: {', '.join(some)} …"
        )
    return next(iter(jobs))


def _staged(build: Build, job: Job, session: Session) -> Inside:
    try:
        staging = Staging(build.decider, job)
    except InputChanged as change:
        raise FlowError(
            f"{change.name} is not there, or changes just now", None, f"bflow build {change.name}"
        ) from None
    sandbox = Pool(f"{session.folder}/shell").take(job.rule.name)
    try:
        sandbox.prepare(staging.pieces, staging.folders)
        return _composed(build, job, sandbox, failed=False)
    except BaseException:
        remove_tree(sandbox.path)
        sandbox.close()
        raise


def _composed(build: Build, job: Job, sandbox: Sandbox, *, failed: bool) -> Inside:
    """The environment that the job would see there, and what it would run."""
    identity: Identity = build.decider.identity(job)
    environment = identity.environment
    identity.environment = _Bare(environment)  # type: ignore[assignment]
    run = Run(job, identity, sandbox, Worker())
    if environment.contained:
        run.staging = Staging(build.decider, job)  # what is mounted
    command = build.executor.composer.task(run).command
    recipe = job.rule.recipe
    assert recipe is not None
    if recipe.kind == "shell":
        text = job.text()
        line = shlex.join([*environment.shell(job.attribute("shell")), text])
    else:
        text = recipe.text
        line = shlex.join(command.argv)
    with open(f"{command.env['TMPDIR']}/{RECIPE}", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f"#!/bin/sh\nexec {line}\n")
    os.chmod(file.name, 0o700)
    return Inside(job.target, job.rule.name, environment, command, text, failed, sandbox)
