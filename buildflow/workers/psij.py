"""Tasks as jobs of PSI/J: `psij-local`, processes of this machine, and `psij-slurm`.

PSI/J submits, cancels and tells states. What runs, how its end is told and what becomes of it after the driver has died
is as with every queue (`cluster`). PSI/J has no arrays: each element is a job of its own, and as soon as the first ones
have taken all the tasks no more are submitted.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from buildflow.errors import FlowError
from buildflow.files import remove_tree
from buildflow.near import did_you_mean
from buildflow.workers import states
from buildflow.workers.base import Task
from buildflow.workers.calls import Calls
from buildflow.workers.cluster import ClusterWorker, Seen
from buildflow.workers.commands import Answer
from buildflow.workers.live import Live
from buildflow.workers.local import usable_cpus
from buildflow.workers.narrow import NarrowWorker
from buildflow.workers.slurm import KINDS, MARGIN, NO_ANSWER
from buildflow.workers.states import State
from buildflow.workers.submission import SPAN

if find_spec("psij") is None:
    raise ModuleNotFoundError("there is no package psij", name="psij")

AT_ONCE = 16
"""Elements that are submitted before it is asked whether the first ones have left any tasks."""
NEVER = 10**9


class Worker(ClusterWorker):
    """`--worker psij`, with the option `subtype`; what all subtypes have in common."""

    name: ClassVar[str] = "psij"
    subtype: ClassVar[str] = ""
    options = {
        **{name: text for name, text in ClusterWorker.options.items() if name != "args"},
        "subtype": "local (default) or slurm; --worker psij-slurm says it too",
        "queue": "PSI/J's queue_name: a partition of Slurm",
        "account": "as of PSI/J",
        "reservation": "PSI/J's reservation_id",
        "attributes": "custom attributes, as NAME=VALUE words",
    }

    def __new__(cls, n_procs: int | None = None, **given: Any) -> Worker:
        if cls is Worker:
            subtype = str(given.get("subtype", "local"))
            if subtype not in SUBTYPES:
                raise FlowError(
                    f"the worker psij has no subtype “{subtype}”", None,
                    did_you_mean(subtype, SUBTYPES) or f"there are {' and '.join(SUBTYPES)}",
                )  # fmt: skip
            return object.__new__(SUBTYPES[subtype])
        return object.__new__(cls)

    def __init__(self, n_procs: int | None = None, **given: Any) -> None:
        super().__init__(n_procs, **given)
        if given.get("subtype", self.subtype) != self.subtype:
            raise FlowError(f"subtype = {given['subtype']} is said of the worker {self.name}", None, "leave it out")
        self.queue: Calls = Calls(self.wake)
        self.jobs: dict[str, dict[int, Any]] = {}
        """PSI/J's jobs by token of a submission and element."""
        self._whole: set[str] = set()
        """The tokens of submissions that need no more jobs."""
        self._own: set[str] = set()
        """The tokens of submissions of this driver."""
        self._executor: Any = None

    @property
    def attribute(self) -> str:
        return "psij"

    # ---- PSI/J -----------------------------------------------------------------------------------------------------

    def executor(self, folder: Path) -> Any:
        """PSI/J's executor, which keeps its files in a folder."""
        raise NotImplementedError

    def open(self, folder: str) -> None:
        import logging

        # It warns of what is told here in a sentence, or comes right by itself.
        logging.getLogger("psij").setLevel(logging.CRITICAL)
        if self._executor is not None:
            return
        files = Path(folder) / "psij"
        if len(folder.split()) > 1:  # PSI/J's scripts do not quote it
            from xxhash import xxh3_64_hexdigest

            files = Path.home() / ".psij" / f"bflow-{xxh3_64_hexdigest(os.fsencode(folder))}"
        self._executor = self.executor(files)
        self._executor.set_job_status_callback(self._changed)
        super().open(folder)
        if not self.old:
            remove_tree(str(files))  # what jobs of a driver that was killed have left

    def close(self) -> None:
        super().close()
        self.queue.close()
        self.jobs, self._whole, self._own = {}, set(), set()
        self._executor = None

    def _changed(self, job: Any, status: Any) -> None:
        """(PSI/J calls it in a thread of its own.)"""
        if status.final:
            self._next_look = 0.0
            self.wake()

    def spec(self, live: Live, node: str, element: int) -> Any:
        """What PSI/J is to know of an element."""
        from shlex import quote

        psij = _psij()
        task = next(task for task in live.submission.tasks if task is not None)
        attributes, exclusive = self._attributes(task)
        if self.subtype == "slurm":  # PSI/J itself gives no name on
            attributes.set_custom_attribute("slurm.job-name", f"{live.submission.token}.{element}")
        out = quote(f"{live.submission.folder}/out.{element}")
        command = f"{node} {element} > {out} 2>&1"
        return psij.JobSpec(
            name=f"{live.submission.token}.{element}", executable="/bin/sh", arguments=["-c", command],
            directory="/", resources=_resources(task, exclusive), attributes=attributes,
        )  # fmt: skip

    def _attributes(self, task: Task) -> tuple[Any, bool]:
        """PSI/J's attributes of a job, and whether it is to have its node for itself."""
        from datetime import timedelta

        custom, exclusive = custom_attributes(self._words(task), self.subtype)
        given = {"queue_name": "queue", "account": "account", "reservation_id": "reservation"}
        known = {name: str(self.given[option]) for name, option in given.items() if self.given.get(option)}
        attributes = _psij().JobAttributes(**known, custom_attributes=custom)
        attributes.duration = None  # else it is ten minutes
        if task.time:
            batch = task.batch or self.batch
            seconds = task.time * batch if batch else task.time + SPAN
            attributes.duration = timedelta(seconds=60 * -(-int(seconds + MARGIN) // 60))
        return attributes, exclusive

    def _words(self, task: Task) -> list[str]:
        from shlex import split

        return [*split(str(self.given.get("attributes", ""))), *task.arguments]

    # ---- submitting ------------------------------------------------------------------------------------------------

    def submit(self, live: Live, node: str, then: Callable[[str | None, Answer], None]) -> None:
        self.queue.call(lambda: self._submit(live, node), lambda found: then(*found))

    def _submit(self, live: Live, node: str) -> tuple[str | None, Answer]:
        """Submit the elements that are not there yet (in a thread): the names of all, or None and why not."""
        psij = _psij()
        token = live.submission.token
        self._own.add(token)
        jobs = self.jobs.setdefault(token, {})
        batch = live.submission.batch
        for element in range(live.submission.elements):
            if element in jobs:
                continue
            if not batch and len(jobs) >= AT_ONCE and _all_begun(live):
                break
            try:
                job = psij.Job(self.spec(live, node, element))
                self._executor.submit(job)
            except (psij.SubmitException, psij.InvalidJobException, FlowError, OSError) as error:
                if jobs and not batch:
                    break  # those that are there take all tasks
                said = getattr(error, "message", None) or str(error)
                if getattr(error, "exception", None) is not None:
                    said = f"{said}: {error.exception}"  # type: ignore[union-attr]
                return None, Answer(-1 if jobs else 1, "", said)
            jobs[element] = job
        self._whole.add(token)
        return _name(token, jobs), Answer(0, "", "")

    def refused(self, answer: Answer) -> bool:
        text = answer.err.lower()
        return answer.status > 0 and not any(words in text for words in NO_ANSWER)

    # ---- asking ----------------------------------------------------------------------------------------------------

    def look(self, lives: Sequence[Live], then: Callable[[Seen | None, Answer], None]) -> None:
        old = [live for live in lives if self._is_foreign(live)]
        if old:
            self.queue.call(lambda: self.find(old), lambda said: self._tell_states(lives, then, said))
        else:
            self._tell_states(lives, then, None)

    def _tell_states(
        self, lives: Sequence[Live], then: Callable[[Seen | None, Answer], None], problem: str | None
    ) -> None:
        if problem is not None:
            then(None, Answer(1, "", problem))
            return
        seen: Seen = {}
        for live in lives:
            token = live.submission.token
            jobs = self.jobs.get(token)
            if token in self._whole and jobs:
                # Those that this driver did not submit are not needed; one of another's may come to the queue yet.
                absent = State(states.GONE if self._is_foreign(live) else states.COMPLETED)
                elements = dict.fromkeys(range(live.submission.elements), absent)
                elements.update((element, state_of(job)) for element, job in list(jobs.items()))
                seen[token] = live.id or _name(token, dict(jobs)), elements
        then(seen, Answer(0, "", ""))

    def _is_foreign(self, live: Live) -> bool:
        """Whether another driver has submitted it, and jobs of it are not known that may be there."""
        token = live.submission.token
        return token not in self._own and len(self.jobs.get(token, ())) < live.submission.elements

    def find(self, lives: Sequence[Live]) -> str | None:
        """Make what earlier drivers have submitted known in `jobs` (in a thread); why it cannot be asked."""
        raise NotImplementedError

    def found(self, live: Live, element: int, native: str) -> None:
        """A job of an earlier driver."""
        psij = _psij()
        if element in self.jobs.get(live.submission.token, ()):
            return
        job = psij.Job()
        self._executor.attach(job, native)
        self.jobs.setdefault(live.submission.token, {})[element] = job
        self._whole.add(live.submission.token)

    def history(self, live: Live, then: Callable[[dict[int, State]], None]) -> None:
        then({})  # PSI/J has told all


class LocalWorker(NarrowWorker, Worker):
    """`--worker psij-local`."""

    name = "psij-local"
    subtype = "local"

    def executor(self, folder: Path) -> Any:
        psij = _psij()
        config = psij.JobExecutorConfig(work_directory=folder)
        return psij.JobExecutor.get_instance("local", config=config)

    def processors(self) -> int:
        return self.n_procs or usable_cpus()

    def find(self, lives: Sequence[Live]) -> str | None:
        for live in lives:
            for element, process in _nodes(live.submission.folder):
                with contextlib.suppress(Exception):  # it has just ended
                    self.found(live, element, str(process.pid))
        return None

    def cancel(self, ids: Sequence[str], *, kill: bool) -> None:
        """PSI/J would kill a job's processes where they stand: a node is told to end, so that it ends its task's
        group, and its container. Where a node is killed its guard does that."""

        def end() -> None:
            for name in ids:
                for _, process in _nodes(f"{self.folder}/{_parts(name)[0]}"):
                    with contextlib.suppress(Exception):
                        process.kill() if kill else process.terminate()

        self.queue.call(end, lambda nothing: None)


class SlurmWorker(Worker):
    """`--worker psij-slurm`."""

    name = "psij-slurm"
    subtype = "slurm"
    commands = ("sbatch", "squeue", "scancel")

    def executor(self, folder: Path) -> Any:
        from psij.executors.batch import slurm

        kind: Any = slurm.SlurmExecutorConfig
        config = kind(
            work_directory=folder, queue_polling_interval=self.longest_poll,
            initial_queue_polling_delay=min(self.longest_poll, 2), queue_polling_error_threshold=NEVER,
        )  # fmt: skip
        executor = _psij().JobExecutor.get_instance("slurm", config=config)
        # PSI/J's own reading gives up at reasons that it does not know, and tells no states apart.
        executor.get_status_command = lambda native_ids: list(_SQUEUE)
        executor.parse_status_output = _statuses
        return executor

    def find(self, lives: Sequence[Live]) -> str | None:
        import subprocess

        try:
            lines = self._executor._run_command(list(_SQUEUE)).splitlines()
        except subprocess.CalledProcessError as error:
            return str(error.output).strip()
        except OSError as error:
            return str(error)
        rows = [line.split("|") for line in lines]
        native = {row[1]: row[0] for row in rows if len(row) > 1}
        for live in lives:
            known = _parts(live.id or "")[1]
            for element in range(live.submission.elements):
                name = native.get(f"{live.submission.token}.{element}") or known.get(element)
                if name is not None:
                    self.found(live, element, name)
                    _take(self.jobs[live.submission.token][element], rows)
        return None

    def cancel(self, ids: Sequence[str], *, kill: bool) -> None:
        psij = _psij()
        jobs = []
        for name in ids:
            token, natives = _parts(name)
            known = self.jobs.get(token, {})
            for element, native in natives.items():
                job = known.get(element)
                if job is None:  # of an earlier driver
                    job = psij.Job()
                    self._executor.attach(job, native)
                if not job.status.final:
                    jobs.append(job)

        def end() -> None:
            for job in jobs:
                with contextlib.suppress(psij.SubmitException, OSError):
                    job.cancel()

        self.queue.call(end, lambda nothing: None)


SUBTYPES: dict[str, type[Worker]] = {"local": LocalWorker, "slurm": SlurmWorker}

_SQUEUE = ("squeue", "--me", "--noheader", "--states=all", "--format=%i|%j|%T|%N|%r")


def _psij() -> Any:
    """The library, imported where it is needed. (It has types, and not for all that it takes.)"""
    import psij

    return psij


def _name(token: str, jobs: Mapping[int, Any]) -> str:
    """A submission's name: its token, and PSI/J's native id of each element."""
    return " ".join([token, *(f"{element}:{job.native_id}" for element, job in jobs.items())])


def _parts(name: str) -> tuple[str, dict[int, str]]:
    """The token and the native ids in a name."""
    token, *words = name.split() or [""]
    pairs = [word.partition(":") for word in words]
    return token, {int(element): native for element, _, native in pairs}


def custom_attributes(words: Iterable[str], prefix: str) -> tuple[dict[str, object], bool]:
    """`--qos=long`, `qos=long` or `slurm.qos=long` as PSI/J's custom attributes, and whether `exclusive` is among the
    words. Raises FlowError for another word."""
    found: dict[str, object] = {}
    exclusive = False
    for word in words:
        name, equals, value = word.lstrip("-").partition("=")
        if name == "exclusive" and not equals:
            exclusive = True
        elif not equals or not name:
            raise FlowError(f"psij passes attributes on as NAME=VALUE, and “{word}” is none", None, "psij = qos=long")
        else:
            found[name if "." in name else f"{prefix}.{name}"] = value
    return found, exclusive


def _all_begun(live: Live) -> bool:
    """Whether nodes have begun all tasks of a submission."""
    with contextlib.suppress(OSError):
        begun = sum(name.endswith(".began") for name in os.listdir(live.submission.folder))
        return begun >= len(live.submission.tasks)
    return False


def _resources(task: Task, exclusive: bool) -> Any:
    psij = _psij()
    amounts = task.amounts
    return psij.ResourceSpecV1(
        node_count=1, process_count=1, exclusive_node_use=exclusive,
        cpu_cores_per_process=amounts.cpus if amounts else 1,
        gpu_cores_per_process=amounts.gpus or None if amounts else None,
        memory=-(-int(amounts.mem) // 1024) * 1024 if amounts and amounts.mem else None,
    )  # fmt: skip


def state_of(job: Any) -> State:
    """The state of one of PSI/J's jobs."""
    status = job.status
    told = (status.metadata or {}).get("state")
    if isinstance(told, State) and not (told.alive and status.final):
        return told
    kinds = {
        "NEW": states.WAITING, "QUEUED": states.WAITING, "ACTIVE": states.RUNNING, "COMPLETED": states.COMPLETED,
        "CANCELED": states.CANCELLED,
    }  # fmt: skip
    kind = kinds.get(status.state.name, states.FAILED)
    said = status.message or (f"exit status {status.exit_code}" if status.exit_code else "")
    return State(kind, said=said.strip().rpartition("\n")[2] if kind == states.FAILED else "")


def _statuses(exit_code: int, out: str) -> dict[str, Any]:
    """What squeue says of jobs, by PSI/J's names of them."""
    psij = _psij()
    if exit_code:
        raise RuntimeError(out)
    kinds = {
        states.WAITING: psij.JobState.QUEUED, states.COMPLETED: psij.JobState.COMPLETED,
        states.CANCELLED: psij.JobState.CANCELED,
    }  # fmt: skip
    found = {}
    for line in out.splitlines():
        fields = line.split("|")
        if len(fields) >= 5:
            node = "" if fields[3] in ("None assigned", "(null)") else fields[3]
            state = State(KINDS.get(fields[2], states.UNKNOWN), node, fields[4])
            otherwise = psij.JobState.ACTIVE if state.alive else psij.JobState.FAILED
            found[fields[0]] = psij.JobStatus(
                kinds.get(state.kind, otherwise), message=state.said, metadata={"state": state}
            )
    return found


def _take(job: Any, rows: Sequence[Sequence[str]]) -> None:
    """The state of a job that was attached just now, without waiting for the next time that PSI/J asks."""
    psij = _psij()
    status = _statuses(0, "\n".join("|".join(row) for row in rows if row[0] == job.native_id)).get(job.native_id)
    if status is None:  # Slurm has forgotten it: it is over
        status = psij.JobStatus(psij.JobState.COMPLETED, metadata={"state": State(states.GONE)})
    job.executor._set_job_status(job, status)


def _nodes(folder: str) -> Iterator[tuple[int, Any]]:
    """The processes of this machine that run elements of a submission, with the elements."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if len(words) == 6 and words[-2] == folder and words[3].endswith("/node.py") and words[-1].isdigit():
            with contextlib.suppress(psutil.Error):
                if process.parent() is None or process.parent().cmdline() != words:  # else it is the guard
                    yield int(words[-1]), process

