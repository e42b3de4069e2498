"""Slurm: `sbatch` with arrays, `squeue` for all at once, `sacct` or `scontrol` for what is over.

`[workers.slurm]` of `bflow.toml` and `-o`: partition, account, qos, constraint, reservation, and those of all clusters.
A rule says `slurm = --qos=long`: arguments of sbatch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from buildflow.workers import states
from buildflow.workers.base import Task
from buildflow.workers.cluster import ClusterWorker, Seen
from buildflow.workers.commands import Answer
from buildflow.workers.live import Live
from buildflow.workers.states import State
from buildflow.workers.submission import SPAN

KINDS = {
    "PENDING": states.WAITING, "CONFIGURING": states.WAITING, "REQUEUED": states.WAITING,
    "REQUEUE_HOLD": states.WAITING, "REQUEUE_FED": states.WAITING, "RESV_DEL_HOLD": states.WAITING,
    "SPECIAL_EXIT": states.WAITING, "RUNNING": states.RUNNING, "COMPLETING": states.RUNNING,
    "RESIZING": states.RUNNING, "SIGNALING": states.RUNNING, "STAGE_OUT": states.RUNNING, "STOPPED": states.RUNNING,
    "SUSPENDED": states.RUNNING,
    "COMPLETED": states.COMPLETED, "FAILED": states.FAILED, "TIMEOUT": states.TIMED_OUT,
    "DEADLINE": states.TIMED_OUT, "OUT_OF_MEMORY": states.MEMORY, "NODE_FAIL": states.NODE_FAILED,
    "BOOT_FAIL": states.NODE_FAILED, "CANCELLED": states.CANCELLED, "REVOKED": states.CANCELLED,
    "PREEMPTED": states.PREEMPTED,
}  # fmt: skip

NO_ANSWER = (
    "unable to contact", "socket timed out", "zero bytes were transmitted", "resource temporarily unavailable",
    "connection refused", "connection reset", "communication", "try again", "slurm controller", "does not answer",
    "authentication", "munge", "unexpected message received", "transport endpoint", "host is down", "no route",
)  # fmt: skip
"""Words of messages that are no answer to what was asked."""

MARGIN = 60.0
"""Seconds that a job gets over the `time` of its tasks, which their node sees to."""


class Worker(ClusterWorker):
    """`--worker slurm`."""

    name = "slurm"
    commands = ("sbatch", "squeue", "scancel")
    options = {
        **ClusterWorker.options,
        "partition": "as of sbatch",
        "account": "as of sbatch",
        "qos": "as of sbatch",
        "constraint": "as of sbatch",
        "reservation": "as of sbatch",
    }

    _accounting: bool | None = None
    """Whether sacct answers; None: it was not asked."""

    def __init__(self, n_procs: int | None = None, **given: Any) -> None:
        super().__init__(n_procs, **given)
        # Whole lists of elements.
        self.queue.env = {**os.environ, "SLURM_BITSTR_LEN": "0"}

    # ---- submitting ------------------------------------------------------------------------------------------------

    def submit(self, live: Live, node: str, then: Callable[[str | None, Answer], None]) -> None:
        submission = live.submission
        task = next(task for task in submission.tasks if task is not None)
        words = [
            "sbatch", "--parsable", f"--job-name={submission.token}", f"--array=0-{submission.elements - 1}",
            "--no-requeue", f"--output={submission.folder.replace('%', '%%')}/out.%a", "--open-mode=truncate",
            *self._wanted_resources(task, submission.batch), *self._options(), *task.arguments,
            submission.script(f"#!/bin/sh\n{node} $SLURM_ARRAY_TASK_ID\n"),
        ]  # fmt: skip

        def answered(answer: Answer) -> None:
            name = answer.out.strip().split(";")[0].rpartition("\n")[2]
            then(name if answer.status == 0 and name.isdigit() else None, answer)

        self.queue.ask(words, answered)

    def _wanted_resources(self, task: Task, batch: int | None) -> Iterator[str]:
        amounts = task.amounts
        if amounts is not None:
            yield f"--cpus-per-task={amounts.cpus}"
            yield "--ntasks=1"
            if amounts.mem:
                yield f"--mem={-(-int(amounts.mem) // 1024)}K"
            if amounts.gpus:
                yield f"--gres=gpu:{amounts.gpus}"
        if task.time:
            seconds = task.time * batch if batch else task.time + SPAN
            yield f"--time={-(-int(seconds + MARGIN) // 60)}"

    def _options(self) -> Iterator[str]:
        for name in ("partition", "account", "qos", "constraint", "reservation"):
            if self.given.get(name):
                yield f"--{name}={self.given[name]}"
        if self.given.get("args"):
            from shlex import split

            yield from split(str(self.given["args"]))

    def refused(self, answer: Answer) -> bool:
        text = answer.err.lower()
        return answer.status > 0 and not any(words in text for words in NO_ANSWER)

    # ---- asking ----------------------------------------------------------------------------------------------------

    def look(self, lives: Sequence[Live], then: Callable[[Seen | None, Answer], None]) -> None:
        names = ",".join(live.submission.token for live in lives)
        words = ["squeue", "--noheader", "--states=all", f"--name={names}", "--format=%j|%F|%K|%T|%N|%r"]

        def answered(answer: Answer) -> None:
            then(_seen(answer.out.splitlines()) if answer.status == 0 else None, answer)

        self.queue.ask(words, answered)

    def history(self, live: Live, then: Callable[[dict[int, State]], None]) -> None:
        if live.id is None:
            then({})
        elif self._accounting is False:
            self._show(live.id, then)
        else:
            self._account(live.id, then)

    def _account(self, name: str, then: Callable[[dict[int, State]], None]) -> None:
        words = ["sacct", "-X", "-n", "-P", "-D", "-j", name, "--format=JobID,State,NodeList"]

        def answered(answer: Answer) -> None:
            if answer.status != 0:
                if self._accounting is None:
                    self._accounting = False  # there is none here
                self._show(name, then)
                return
            self._accounting = True
            then(_accounted(answer.out.splitlines()))

        self.queue.ask(words, answered)

    def _show(self, name: str, then: Callable[[dict[int, State]], None]) -> None:
        words = ["scontrol", "--oneliner", "show", "job", name]
        self.queue.ask(words, lambda answer: then(_shown(answer.out.splitlines()) if answer.status == 0 else {}))

    def cancel(self, ids: Sequence[str], *, kill: bool) -> None:
        signal = ["--signal=KILL", "--full"] if kill else []
        self.queue.ask(["scancel", "--quiet", *signal, *ids], lambda answer: None)

    def cancel_element(self, name: str, element: int) -> None:
        self.queue.ask(["scancel", "--quiet", f"{name}_{element}"], lambda answer: None)


def _state(word: str, node: str = "", reason: str = "") -> State:
    """A state as Slurm writes it: `CANCELLED by 1000` too."""
    kind = KINDS.get(word.split(" ")[0].rstrip("+"), states.UNKNOWN)
    return State(kind, "" if node in ("None assigned", "(null)") else node, reason)


def _seen(lines: Iterable[str]) -> Seen:
    found: Seen = {}
    for line in lines:
        fields = line.split("|")
        if len(fields) < 6:
            continue
        token, name, places, word, node, reason = fields[:6]
        elements = found.setdefault(token, (name, {}))[1]
        state = _state(word, node, reason)
        elements.update((element, state) for element in _places(places))
    return found


def _accounted(lines: Iterable[str]) -> dict[int, State]:
    found: dict[int, State] = {}
    for line in lines:
        fields = line.split("|")
        if len(fields) >= 3 and "_" in fields[0]:
            places = fields[0].partition("_")[2].strip("[]")
            found.update((element, _state(fields[1], fields[2])) for element in _places(places))
    return found


def _shown(lines: Iterable[str]) -> dict[int, State]:
    found: dict[int, State] = {}
    for line in lines:
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        for element in _places(fields.get("ArrayTaskId", "")):
            found[element] = _state(fields.get("JobState", ""), fields.get("NodeList", ""), fields.get("Reason", ""))
    return found


def _places(text: str) -> Iterator[int]:
    """The elements that Slurm writes as `0,3-7,9-21:3%4`."""
    for part in text.partition("%")[0].split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        if first.isdigit() and (last or first).isdigit():
            yield from range(int(first), int(last or first) + 1, int(step) if step.isdigit() else 1)
