"""`Submitter`: runs the jobs of a flow with a worker, in an environment, with hooks, and gives their results.

The command stands on `Session` here, Python on `Submitter`. How results are put together is `buildflow.results_of`'s.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from _thread import get_ident
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from buildflow.afloat import put_back
from buildflow.build import Build
from buildflow.builder import Builder
from buildflow.cache import Cache
from buildflow.disk import Disk
from buildflow.environments.base import Environment
from buildflow.errors import FlowError
from buildflow.events import Stream
from buildflow.files import remove_tree
from buildflow.hooks import TaskHooks
from buildflow.lock import ProjectLock
from buildflow.outcome import Options
from buildflow.plan.resolve import Resolver
from buildflow.process import absolute
from buildflow.roots import Root
from buildflow.state import State
from buildflow.template import parse_word
from buildflow.workers.base import Worker
from buildflow.workers.registry import configured
from buildflow.workers.registry import worker as worker_named

if TYPE_CHECKING:
    from buildflow.result import JobError, Result

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
        self.settings: Mapping[str, Any] = {}  # for the dry builds in it
        self.cache_root = os.path.abspath(os.path.join(self.root, cache_root)) if cache_root else f"{self.folder}/cache"
        self.readonly = [os.path.abspath(os.path.join(self.root, r)) for r in readonly]
        self.holds = Root(self.cache_root, self.root)

    def open(self, stream: Stream, state: State | None = None) -> None:
        """Lock the project (where it is written to) and read its state. `state`: that of an earlier session of this
        process, which is taken where nobody has written since."""
        if self.write:
            os.makedirs(self.folder, exist_ok=True)
            self.lock = ProjectLock(self.folder)
            self.lock.take(lambda text: stream.emit("note", text=text))
        self.state = state if state is not None and state.is_current() else State(f"{self.folder}/state")
        self.state.writable = self.write
        self.disk = Disk(self.root, self.state)
        self.cache = Cache(self.cache_root, self.readonly, disk=self.disk)
        if self.write:
            put_back(f"{self.folder}/work")
            self.cache.sweep()
            remove_tree(f"{self.folder}/tmp")
            self.holds.enter()

    def resolve(self, goals: Sequence[str]) -> Resolver:
        """Resolve goals (paths from the root); none: the default."""
        resolver = Resolver(self.builder, self.disk)
        for goal in goals:
            resolver.goal(goal)
        if not goals:
            resolver.default_goal()
        return resolver

    def close(self) -> None:
        try:
            if hasattr(self, "state"):
                if self.write:
                    self.state.flush()
                    self.holds.leave(self.disk)
                else:
                    self.state.writable = True
                    self.state.flush_if_possible()
                self.state.close()
        finally:
            if self.lock is not None:
                self.lock.release()
                self.lock = None


class Submitter:
    """`with Submitter(worker="cf", n_procs=3) as submit: result = submit(flow, "out/x.txt")`.

    worker: a name, class or instance (default `debug`: serial, functions in this process); n_procs: jobs at once;
    cache_root: a folder; environment: that of every job, as text or an instance; hooks: `TaskHooks`; raise_errors:
    whether a failed job raises `JobError` (else what does not need it is built, and its Result is `errored`).

    What is not given is as the project's settings say (`bflow.toml`, `BFLOW_…`), but for the worker. Nothing is
    printed; what a build notes goes to the logger `buildflow`. It can be entered again, and used in threads and
    event loops.
    """

    def __init__(
        self,
        worker: str | type[Worker] | Worker = "debug",
        n_procs: int | None = None,
        cache_root: str | os.PathLike[str] | None = None,
        environment: str | Environment | type[Environment] | None = None,
        hooks: TaskHooks | None = None,
        raise_errors: bool = True,
    ) -> None:
        if n_procs is not None and (not isinstance(n_procs, int) or isinstance(n_procs, bool) or n_procs < 1):
            raise FlowError(f"n_procs = {n_procs!r} is no number of jobs", None, "it is 1 or more")
        if n_procs is not None and isinstance(worker, Worker):
            raise FlowError("n_procs is given, and a worker that has its own", None, "write cf.Worker(n_procs=3)")
        if hooks is not None and not isinstance(hooks, TaskHooks):
            raise FlowError(f"hooks = {hooks!r} are no TaskHooks", None, "write hooks=TaskHooks(post_run=f)")
        if isinstance(worker, str) and worker != "debug":
            worker_named(worker, 1).close()  # an unknown one is told here
        self.worker = worker
        self.n_procs = n_procs
        self.cache_root = None if cache_root is None else absolute(os.path.expanduser(os.fspath(cache_root)))
        self.environment = environment
        self.hooks = hooks or TaskHooks()
        self.raise_errors = raise_errors

    def __enter__(self) -> Submitter:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def __repr__(self) -> str:
        return f"Submitter(worker={self.worker!r}, n_procs={self.n_procs!r}, cache_root={self.cache_root!r})"

    def __call__(self, flow: Builder, target: Any = None, /, **names: Any) -> Any:
        """Build what `flow.build` takes: a target, a pattern with values for its names, a list; None: the default.

        A `Result` where one target was asked for and is made by one job, else `Results`. Raises FlowError where it
        cannot be planned (then nothing ran), JobError where a job fails, KeyboardInterrupt after the running jobs were
        ended.
        """
        from buildflow.result import Results

        own = {name: names.pop(name) for name in OPTIONS if name in names}
        if own:
            return Submitter(**{**{name: getattr(self, name) for name in OPTIONS}, **own})(flow, target, **names)
        if target is None and "target" in names:
            target = names.pop("target")
        if not os.path.isdir(flow.root):
            raise FlowError(f"there is no folder {flow.root}")
        flow.reread()
        flow.check()
        questions = _questions(target, names)
        goals = None if target is None else [goal for question in questions for goal in question.goals]
        with _not_within(flow.root):
            results, errors = self._build(flow, goals)
        if errors and self.raise_errors:
            raise errors[0] from errors[0].__cause__
        single = len(questions) == 1 and len(results) == 1 and (questions[0].one or _is_target(flow, target))
        return results[0] if single else Results(results)

    def _build(
        self, flow: Builder, goals: Sequence[tuple[str, dict[str, str]]] | None
    ) -> tuple[list[Result], list[JobError]]:
        """Build goals (a text and values for its names; None: the default); their results, and the jobs that failed."""
        from buildflow.results_of import ResultsOf
        from buildflow.settings import settings

        chosen = settings(flow.root, None, flow.reads.environ)
        session = Session(
            flow, cache_root=self.cache_root or chosen.get("cache_root"), readonly=chosen.get("readonly_cache") or ()
        )
        stream = Stream()
        stream.readers.append(_log)
        worker = self._worker(chosen)
        environment = self._environment(flow.root)
        session.open(stream)
        try:
            with _collector_off():
                resolver = Resolver(flow, session.disk)
                for resolver.asking, (text, bound) in enumerate(goals or ()):
                    resolver.goal(text, None, bound)
                if goals is None:
                    resolver.default_goal()
            options = Options(
                keep_going=not self.raise_errors, hooks=self.hooks, env=chosen.get("env"),
                default_env=chosen.get("default_env"), named=_limits(chosen.get("resources") or {}),
            )  # fmt: skip
            build = Build(
                resolver, session.disk, session.state, session.cache, worker, options, stream, session.folder,
                partial(configured, chosen),
            )  # fmt: skip
            if environment is not None:
                build.decider.environments.use(environment)
            made = ResultsOf(build, build.summary)
            stream.readers.append(made.hear)
            with _interruptible(build), build.decider.environments.serving(chosen, stream):
                build.run()
            answers = made.answers(1 if goals is None else len(goals))
            return [result for answer in answers for result in answer], made.errors()
        finally:
            session.close()

    def _worker(self, chosen: Mapping[str, Any]) -> Worker:
        n_procs = self.n_procs
        if n_procs is None and self.worker != "debug":
            n_procs = chosen.get("jobs")
        if isinstance(self.worker, str):
            return configured({**chosen, "worker": self.worker}, self.worker, n_procs)
        return worker_named(self.worker, n_procs)

    def _environment(self, root: str) -> Environment | None:
        """The environment of every job; the build checks it before anything runs."""
        found = self.environment
        if isinstance(found, type):
            found = found()
        if isinstance(found, str):
            from buildflow.environments.registry import environment

            return environment(found, root)
        return found


class _Question(NamedTuple):
    """What one target stands for: goals (text, values of its names); whether it may be answered by one Result."""

    goals: list[tuple[str, dict[str, str]]]
    one: bool


def _questions(target: Any, names: Mapping[str, Any]) -> list[_Question]:
    """The questions that a target, or a list of targets, with values for their names stands for."""
    if target is None:
        if names:
            raise FlowError(f"values for {', '.join(names)}, and no target that has such a name")
        return [_Question([], True)]
    if isinstance(target, Iterable) and not isinstance(target, (str, bytes, os.PathLike)):
        questions = [q for one in target for q in _questions(one, names)]
        return [_Question([goal for q in questions for goal in q.goals], False)]
    text = os.fsdecode(target) if isinstance(target, (bytes, os.PathLike)) else target
    if not isinstance(text, str):
        raise FlowError(f"{target!r} is no target", None, "a target is text, a path or a list of them")
    known = parse_word(text).names
    unknown = [name for name in names if name not in known]
    if unknown:
        raise FlowError(
            f"the target {text} has no {{{unknown[0]}}}", None,
            f"options are {', '.join(OPTIONS)}; another value for an assigned name: flow[{unknown[0]!r}] = …",
        )  # fmt: skip
    lists = {name: _values(name, names[name]) for name in known if name in names}
    from itertools import product

    rows = [dict(zip(lists, row)) for row in product(*(values for values, _ in lists.values()))]
    several = any(listed for _, listed in lists.values()) or any(name not in names for name in known)
    return [_Question([(text, row) for row in rows], not several)]


def _is_target(flow: Builder, text: Any) -> bool:
    """Whether a text that reads as a pattern is the very name of a target."""
    return any(word.plain and word.text == text for rule in flow.rules for word in rule.targets)


def _values(name: str, value: Any) -> tuple[list[str], bool]:
    """A name's values as text, and whether they were given as a list."""
    listed = isinstance(value, Iterable) and not isinstance(value, (str, bytes, os.PathLike))
    values = (sorted(value, key=str) if isinstance(value, (set, frozenset)) else list(value)) if listed else [value]
    if any(v is None for v in values):
        raise FlowError(f"{name} = None is no value")
    return [os.fsdecode(v) if isinstance(v, (bytes, os.PathLike)) else str(v) for v in values], listed


def _limits(resources: Mapping[str, Any]) -> dict[str, float]:
    """The limits that the settings give, as numbers."""
    if not resources:
        return {}
    from buildflow.quantity import evaluate

    return {name: evaluate(str(v), {}, "memory" if name == "mem" else "count") for name, v in resources.items()}


def _log(event: dict[str, Any]) -> None:
    """What happens, to whoever listens to the logger `buildflow`: nobody does where logging was never imported."""
    logging = sys.modules.get("logging")
    if logging is None:
        return
    logger = logging.getLogger("buildflow")
    if event["event"] == "note":
        logger.info("%s", event["text"])
    elif event["event"] in ("start", "job"):
        logger.debug("%s: %s", event.get("state", "start"), " ".join(event["targets"]))


# ---- the process around a build


_building: set[tuple[int, str]] = set()
"""The threads that build, and what."""


@contextlib.contextmanager
def _not_within(root: str) -> Iterator[None]:
    """A function or hook that builds the project that it is part of would wait for itself."""
    this = get_ident(), os.path.realpath(root)
    if this in _building:
        raise FlowError(f"{root} is being built already, by what called this", None, "build it before, or after that")
    _building.add(this)
    try:
        yield
    finally:
        _building.discard(this)


@contextlib.contextmanager
def _collector_off() -> Iterator[None]:
    """A plan of 100,000 jobs holds no garbage worth looking for."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


@contextlib.contextmanager
def _interruptible(build: Build) -> Iterator[None]:
    """Ctrl-C stops launching and ends the jobs; then the handler that was there before is called.

    Only in the main thread (others get no signals), and not where the program ignores SIGINT.
    """
    import threading

    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: build.interrupt())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if build.summary.interrupted:
        signal.raise_signal(signal.SIGINT)
        raise KeyboardInterrupt  # that handler did not raise
