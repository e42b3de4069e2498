"""`[phony]` and `[inplace]` jobs: they run in the project's root, alone, with the caller's input and output."""

from __future__ import annotations

import os

from buildflow.decide import Decider, Identity
from buildflow.environments.base import Command, Environment
from buildflow.errors import FlowError
from buildflow.execute import Executor, Run
from buildflow.job import Job
from buildflow.sandbox import Sandbox
from buildflow.workers.base import Task


def run_of(executor: Executor, decider: Decider, job: Job, environment: Environment, *, json: bool) -> Run:
    """The run of such a job; its sandbox is the project's root and is not touched."""
    recipe = job.rule.recipe
    assert recipe is not None
    keyed, passed = decider.variables(job)
    env = environment.variables(os.environ)
    env.update(passed)
    env.update(keyed)
    job.amounts(decider.size(job))
    identity = Identity(b"", b"", [], {}, environment)
    run = Run(job, identity, Sandbox(decider.disk.root, -1))
    command = Command([], env, decider.disk.root)
    task = Task(job.number, command, "stderr" if json else "", (), job.amounts().time, terminal=True)
    if recipe.kind == "shell":
        command.argv = [*environment.shell(job.attribute("shell")), recipe.filler.fill(job.values, job.rows)]
    else:
        folder = f"{executor.folder}/work"
        os.makedirs(folder, exist_ok=True)
        executor.describe_exclusive(run, task, f"{folder}/exclusive")
    if job.log:
        raise FlowError("a phony rule has no log: its output is the terminal's", job.rule.attributes["log"].span)
    run.task = task
    return run
