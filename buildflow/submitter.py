"""`Submitter`: runs the jobs of a flow with a worker, in an environment, with hooks, and gives their results.

The command stands on `open_project` and `Session` here; Python on `Submitter`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from buildflow.build import Build, Options, Summary
from buildflow.builder import Builder
from buildflow.cache import Cache, read_entry
from buildflow.disk import Disk
from buildflow.errors import FlowError
from buildflow.events import Stream
from buildflow.hooks import TaskHooks
from buildflow.lock import ProjectLock
from buildflow.plan.resolve import Resolver
from buildflow.result import JobError, JobView, Result, Results, Runtime, outputs_of
from buildflow.state import State
from buildflow.template import Word
from buildflow.workers.base import Worker
from buildflow.workers.registry import worker as worker_named

OPTIONS = ("worker", "n_procs", "cache_root", "environment", "hooks", "raise_errors")
FOLDER = ".bflow"


class Session:
    """One project opened for one command: state, disk, cache, resolver. `write`: it may change `.bflow`."""

    def __init__(
        self, builder: Builder, *, cache_root: str | None = None, readonly: Sequence[str] = (), write: bool = True
    ) -> None:
        self.builder = builder
        self.root = builder.root
        self.folder = f"{self.root}/{FOLDER}"
        self.write = write
        self.lock: ProjectLock | None = None
        self.cache_root = os.path.abspath(os.path.join(self.root, cache_root)) if cache_root else f"{self.folder}/cache"
        self.readonly = [os.path.abspath(os.path.join(self.root, r)) for r in readonly]

    def open(self, stream: Stream) -> None:
        """Lock the project (where it is written to) and read its state."""
        if self.write:
            os.makedirs(self.folder, exist_ok=True)
            self.lock = ProjectLock(self.folder)
            self.lock.take(lambda text: stream.emit("note", text=text))
        self.state = State(f"{self.folder}/state")
        self.state.writable = self.write
        self.disk = Disk(self.root, self.state)
        self.cache = Cache(self.cache_root, self.readonly, disk=self.disk)

    def resolve(self, goals: Sequence[str]) -> Resolver:
        """Resolve goals (paths from the root); none: the default."""
        resolver = Resolver(self.builder, self.disk)
        for goal in goals:
            resolver.goal(goal)
        if not goals:
            resolver.default_goal()
        return resolver

    def close(self) -> None:
        if hasattr(self, "state"):
            if self.write:
                self.state.flush()
            else:
                self.state.writable = True
                self.state.flush_if_possible()
        if self.lock is not None:
            self.lock.release()
            self.lock = None


class Submitter:
    """`with Submitter(worker="cf", n_procs=3) as submit: result = submit(flow, "out/x.txt")`.

    worker: a name, class or instance (default `debug`); cache_root: a folder; environment: `env` for the run, as text
    or an instance; hooks: `TaskHooks`; raise_errors: whether a failed job raises `JobError`.
    """

    def __init__(
        self,
        worker: str | type[Worker] | Worker = "debug",
        n_procs: int | None = None,
        cache_root: str | os.PathLike[str] | None = None,
        environment: Any = None,
        hooks: TaskHooks | None = None,
        raise_errors: bool = True,
    ) -> None:
        self.worker = worker
        self.n_procs = n_procs
        self.cache_root = os.fspath(cache_root) if cache_root is not None else None
        if self.cache_root is not None:
            self.cache_root = os.path.abspath(self.cache_root)
        self.environment = environment
        self.hooks = hooks or TaskHooks()
        self.raise_errors = raise_errors

    def __enter__(self) -> Submitter:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def __call__(self, flow: Builder, target: Any = None, **names: Any) -> Any:
        """Build a target (a string, a pattern with values for its names, or a list) and give its Result or Results."""
        flow.check()
        goals, single = _goals(target, names)
        session = Session(flow, cache_root=self.cache_root)
        stream = Stream()
        logs: dict[str, str] = {}
        stream.readers.append(lambda event: _remember_log(event, logs))
        session.open(stream)
        try:
            resolver = session.resolve(goals)
            worker = worker_named(self.worker, self.n_procs)
            env = self.environment
            options = Options(keep_going=True, hooks=self.hooks, env=env if isinstance(env, str) else None)
            build = Build(resolver, session.disk, session.state, session.cache, worker, options, stream, session.folder)
            if env is not None and not isinstance(env, str):
                build.decider.use(env)
            summary = build.run()
            results = [self._result(build, summary, job, logs) for job in _asked_jobs(build)]
        finally:
            session.close()
        if self.raise_errors:
            for job, problem in summary.errors.items():
                raise JobError(self._result(build, summary, job, logs, problem))
            if summary.hook_failed:
                raise FlowError("a post_run hook failed")
        if single and len(results) == 1:
            return results[0]
        return Results(results)

    def _result(
        self, build: Build, summary: Summary, number: int, logs: Mapping[str, str], problem: str | None = None
    ) -> Result:
        job = build.decider.job(number)
        key = build.decider.keys.get(number)
        state = summary.states.get(number, "skipped")
        errored = state not in ("ran", "cached", "up_to_date")
        runtime: Runtime | None = None
        cache_dir: Path | None = None
        places: dict[str, str] = {}
        if key:
            path = build.cache.path_of(job.kind, key)
            entry = read_entry(path)
            if entry is None:
                entry = build.decider.entry(job, key)
                path = entry.path if entry is not None else path
            if entry is not None:
                cache_dir = Path(path)
                runtime = Runtime(entry.result.get("runtime") or {})
                for output in entry.outputs:
                    if not os.path.lexists(build.disk.path(output["name"].rstrip("/"))):
                        places[output["name"]] = entry.file(output)
        return Result(
            JobView.of(job), outputs_of(job, places, build.disk.root) if not errored else outputs_of(job, {}, build.disk.root),
            key=key.hex() if key else None, runtime=runtime, errored=errored, cached=state in ("cached", "up_to_date"),
            cache_dir=cache_dir, problem=problem or summary.errors.get(number) or (state if errored else None),
            log=logs.get(job.target, ""),
        )  # fmt: skip


def _remember_log(event: dict[str, Any], logs: dict[str, str]) -> None:
    if event["event"] == "job" and event.get("state") == "failed" and event["targets"]:
        logs[event["targets"][0]] = "\n".join(event.get("tail") or ())


def _asked_jobs(build: Build) -> list[int]:
    """The jobs that make what was asked for, each once, in order."""
    found: dict[int, None] = {}
    plan = build.plan
    for _, files, jobs in plan.goals:
        for f in files:
            if plan.maker[f] >= 0:
                found.setdefault(plan.maker[f])
        for job in jobs:
            found.setdefault(job)
    return list(found)


def _goals(target: Any, names: Mapping[str, Any]) -> tuple[list[str], bool]:
    """The goals that a target with values for its names stands for; whether it is one."""
    if target is None:
        return [], False
    if isinstance(target, (list, tuple)):
        goals = [g for t in target for g in _goals(t, names)[0]]
        return goals, False
    text = os.fspath(target) if not isinstance(target, str) else target
    if not names:
        return [text], "{" not in text
    from itertools import product

    from buildflow.template import Hole, parse_word

    word: Word = parse_word(text)
    unknown = [n for n in names if n not in word.names]
    if unknown:
        raise FlowError(f"{text} has no {{{unknown[0]}}}")
    given = [n for n in word.names if n in names]
    lists = [list(names[n]) if isinstance(names[n], (list, tuple, range)) else [names[n]] for n in given]
    goals = []
    for row in product(*lists):
        bound = dict(zip(given, map(str, row), strict=True))
        goals.append("".join(bound.get(p.name, str(p)) if isinstance(p, Hole) else str(p) for p in word.parts))
    single = all(not isinstance(names[n], (list, tuple, range)) for n in given) and len(goals) == 1
    return goals, single and not (set(word.names) - set(names))
