"""`[phony]` and `[inplace]` jobs: they run in the project's root, alone, with the caller's input and output."""

from __future__ import annotations

import os

from buildflow.decide import Decider, Identity
from buildflow.environments.base import Command, Environment
from buildflow.execute import Executor
from buildflow.job import Job
from buildflow.run import LONG, Run
from buildflow.sandbox import Sandbox
from buildflow.workers.base import Task, Worker


def run_of(
    executor: Executor, decider: Decider, job: Job, environment: Environment, worker: Worker, *, json: bool
) -> Run:
    """The run of such a job; its sandbox is the project's root and is not touched."""
    recipe = job.rule.recipe
    assert recipe is not None
    keyed, passed = decider.variables(job)
    decider.environments.prepare(job.rule, environment)
    env = environment.variables(decider.resolver.reads.environ)
    env.update(passed)
    env.update(keyed)
    job.amounts(decider.size(job))
    identity = Identity(b"", b"", [], {}, environment)
    run = Run(job, identity, Sandbox(decider.disk.root, -1), worker)
    command = Command([], env, decider.disk.root, writable=[decider.disk.root], terminal=True)
    task = Task(job.number, command, "stderr" if json else "", (), job.amounts().time, terminal=True)
    base = f"{executor.folder}/work/exclusive"
    os.makedirs(os.path.dirname(base), exist_ok=True)
    if recipe.kind == "shell":
        if job.lists_inputs:
            job.list_file = os.path.relpath(f"{base}.inputs", decider.disk.root)
            executor.composer.list_inputs(job, f"{base}.inputs")
        text = job.text()
        before = environment.shell(job.attribute("shell"))
        if len(os.fsencode(text)) > LONG:
            with open(f"{base}.sh", "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text + "\n")
            command.argv = [*before[:-1], f"{base}.sh"]
        else:
            command.argv = [*before, text]
    else:
        executor.composer.exclusive(run, task, base)
    for name in (job.log, job.depfile):  # the recipe writes it, and the terminal has its output
        if name:
            os.makedirs(os.path.dirname(os.path.join(decider.disk.root, name)), exist_ok=True)
    task.command = environment.wrap(task.command)
    run.task = task
    return run
