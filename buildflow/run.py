"""One run of one job: its sandbox and what it stages, and the task that a worker starts.

Composes the argument vector, the environment (built, not inherited) and the job's description; runs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from shlex import split
from typing import TYPE_CHECKING, Any

from buildflow.environments.base import Command
from buildflow.errors import FlowError
from buildflow.files import remove_tree
from buildflow.job import LIST_FILE, Job
from buildflow.node_files import NodeFiles
from buildflow.workers.base import Task

if TYPE_CHECKING:
    from buildflow.decide import Decider, Identity
    from buildflow.sandbox import Sandbox
    from buildflow.staging import Staging
    from buildflow.workers.base import Worker

LONG = 100_000
"""Bytes of a recipe above which it runs from a file: the kernel takes 128 KiB in one argument."""

_BASH_READS = ("BASH_ENV", "SHELLOPTS", "BASHOPTS")
"""Variables with which bash would do more than start a simple command (functions are `BASH_FUNC_…`)."""


class Run:
    """A job on its way: staged, started, ended."""

    __slots__ = (
        "job", "identity", "sandbox", "staging", "task", "started", "outputs", "env", "description", "given",
        "returned", "worker", "logged", "resumed",
    )  # fmt: skip

    def __init__(self, job: Job, identity: Identity, sandbox: Sandbox, worker: Worker) -> None:
        self.job = job
        self.worker = worker
        self.logged = False  # whether its entry has a log
        self.resumed = False  # whether an earlier driver has started it
        self.identity = identity
        self.sandbox = sandbox
        self.staging: Staging | None = None
        self.task: Task | None = None
        self.started = 0.0
        self.outputs = [(name, job.staged.get(name, name)) for name in job.outputs]
        self.env: dict[str, str] = {}
        self.description: dict[str, Any] | None = None
        self.given = False  # whether the sandbox was given back
        self.returned: str | None = None  # how a function's value was written: "text", "bytes" or "json"


class Composer:
    """Makes the tasks of one build. `root`: the project's, absolute; `folder`: its `.bflow`; `seconds`: how long the
    jobs of a rule took."""

    def __init__(self, decider: Decider, root: str, folder: str, seconds: Mapping[str, float]) -> None:
        self.decider = decider
        self.root = root
        self.seconds = seconds
        self.node = NodeFiles(folder)

    def task(self, run: Run) -> Task:
        """The task of a job that is staged."""
        job, sandbox = run.job, run.sandbox
        recipe = job.rule.recipe
        assert recipe is not None
        environment = run.identity.environment
        self.decider.environments.prepare(job.rule, environment)
        env = run.env = self.variables(run)
        env["TMPDIR"] = sandbox.empty_temporary()
        env["PWD"] = sandbox.path
        sandbox.empty_log()
        task = Task(job.number, Command([], env, sandbox.path), sandbox.log, (sandbox.lock,), job.amounts().time)
        if not run.worker.here:
            self._for_elsewhere(run, task)
        if recipe.kind == "shell":
            if job.lists_inputs:
                self.list_inputs(job, f"{sandbox.path}/{LIST_FILE}")
            found = None
            if environment.direct and job.rule.attributes.get("shell") is None and not _bash_reads(run):
                found = job.argv()
            if found is not None and environment.contained:
                found = None if found[1] else found  # what is redirected is written by the container's own shell
            if found is not None:
                task.command.argv, task.command.redirections = list(found[0]), list(found[1])
                if not environment.contained:
                    task.fallback = lambda: self._shell(run)
            else:
                task.command.argv = self._shell(run)
        elif recipe.kind == "script":
            self._script(run, sandbox.path)
            task.command.argv = [f"{sandbox.path}.script"]
        elif recipe.kind == "python":
            self._describe(run, sandbox.path)
            task.command.argv = [environment.python(), self.node.runner(), "python", env["BFLOW_JOB"]]
        else:
            self._call(run, task, sandbox.path)
        if environment.contained:
            self._contained(run, task.command)
        task.command = environment.wrap(task.command)
        return task

    @staticmethod
    def _contained(run: Run, command: Command) -> None:
        """What a job writes to, and reads outside of the project, in a container."""
        assert run.staging is not None
        command.here = run.worker.here
        command.log = run.sandbox.log
        command.mounts = run.staging.outside()
        command.writable = [run.sandbox.path, run.sandbox.temporary]
        returned = (run.description or {}).get("returned")
        if returned:
            open(returned, "wb").close()  # so that it can be mounted
            command.writable.append(returned)

    def resumed(self, run: Run) -> Task:
        """The task of a job that an earlier driver has started: nothing of it is made anew."""
        run.env = self.variables(run)
        task = Task(run.job.number, Command([], run.env, run.sandbox.path), run.sandbox.log, (), run.job.amounts().time)
        self._for_elsewhere(run, task)
        return task

    def _for_elsewhere(self, run: Run, task: Task) -> None:
        """What a worker must know of a job that it hands to somebody else."""
        job, sandbox = run.job, run.sandbox
        task.inherit = ()
        task.folder = sandbox.path
        task.outputs = [f"{sandbox.path}/{staged.rstrip('/')}" for _, staged in run.outputs]
        task.amounts = job.amounts()
        task.rule, task.target = job.rule.name, job.target
        task.expected = self.seconds.get(job.rule.name)
        batch = job.quantity("batch")
        task.batch = None if batch is None else int(batch.constant or 1)
        arguments = job.attribute(run.worker.attribute)
        if arguments:
            task.arguments = split(arguments)

    def exclusive(self, run: Run, task: Task, base: str) -> None:
        """A job in the project's root whose recipe is no shell: its description and script stand at `base`."""
        run.env = task.command.env
        recipe = run.job.rule.recipe
        assert recipe is not None
        if recipe.kind == "python":
            self._describe(run, base)
            task.command.argv = [run.identity.environment.python(), self.node.runner(), "python", run.env["BFLOW_JOB"]]
        elif recipe.kind == "script":
            self._script(run, base)
            task.command.argv = [f"{base}.script"]
        else:
            self._call(run, task, base)
            task.call = None

    def variables(self, run: Run) -> dict[str, str]:
        """The environment that the job sees."""
        env = dict(self.decider.environments.base(run.identity.environment))
        env.update(run.identity.variables)
        return env

    def _shell(self, run: Run) -> list[str]:
        text = run.job.text()
        before = run.identity.environment.shell(run.job.attribute("shell"))
        if len(text) <= LONG and (len(text) <= LONG // 4 or len(os.fsencode(text)) <= LONG):
            return [*before, text]
        script = f"{run.sandbox.path}.sh"
        with open(script, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text + "\n")
        return [*before[:-1], script]

    @staticmethod
    def list_inputs(job: Job, target: str) -> None:
        """Write the file that `{in.list}` stands for."""
        names = job.shown(job.inputs, key=False)
        for name in names:
            if "\n" in name:
                raise FlowError(
                    f"{{in.list}} names one file a line, and the name {name!r} has a newline",
                    job.rule.span,
                    "rename the file",
                )
        with open(target, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(f"{name}\n" for name in names))

    def _script(self, run: Run, base: str) -> None:
        from buildflow.recipe.functions import script_environment

        self._describe(run, base)
        recipe = run.job.rule.recipe
        assert run.description is not None and recipe is not None
        run.env.update(script_environment(run.description))
        script = f"{base}.script"
        with open(script, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(recipe.text + "\n")
        os.chmod(script, 0o700)

    def _describe(self, run: Run, base: str) -> None:
        import json

        keyed, _ = self.decider.variables(run.job)
        run.description = run.job.description(keyed)
        path = f"{base}.json"
        with open(path, "w", encoding="ascii") as file:
            json.dump(run.description, file)
        run.env["BFLOW_JOB"] = path

    def _call(self, run: Run, task: Task, base: str) -> None:
        import json
        import sys

        from buildflow.workers.warm import WarmRequest

        job = run.job
        recipe = job.rule.recipe
        assert recipe is not None
        keyed, _ = self.decider.variables(job)
        description = run.description = job.description(keyed)
        description["kind"] = "call"
        description["root_dirs"] = [self.root]
        description["returned"] = f"{base}.returned"
        remove_tree(f"{base}.returned")
        name = recipe.text
        pickled = None
        if recipe.kind == "function":
            from buildflow.recipe.functions import portable

            home, pickled = portable(recipe.function, self.root)
            name = getattr(recipe.function, "__qualname__", "the function")
            description["function"] = home
            if pickled is not None:
                path = f"{base}.pickle"
                with open(path, "wb") as file:
                    file.write(pickled)
                description["pickle"] = path
                description["python"] = list(sys.version_info[:2])
            task.function = recipe.function
        task.description = description
        path = f"{base}.json"
        with open(path, "w", encoding="ascii") as file:
            json.dump(description, file)
        run.env["BFLOW_JOB"] = path
        environment = run.identity.environment
        rows = self.decider.functions(job)
        python = environment.python() if environment.name != "native" else sys.executable
        task.command.argv = [python, self.node.runner(pickled=pickled is not None), "call", path]
        if environment.name == "native" and run.sandbox.lock >= 0:
            from xxhash import xxh3_128_digest

            digests = xxh3_128_digest("\0".join(f"{a}\0{b}" for a, b in rows).encode("utf-8", "surrogateescape"))
            task.call = WarmRequest(
                job=path, cwd=run.sandbox.path, log=run.sandbox.log, env=run.env, roots=(self.root,), digests=digests,
                name=name, fds=(run.sandbox.lock,),
            )  # fmt: skip


def _bash_reads(run: Run) -> bool:
    return any(name in _BASH_READS or name.startswith("BASH_FUNC_") for name in run.identity.variables)
