"""Tasks as tasks of Dask: on the workers of a scheduler (`-o address=tcp://…`), or on a cluster of this machine.

An element of a submission is one task of Dask, which runs the node on its worker (`dask_element`). How the ends are
told and what becomes of jobs after the driver has died is as with every queue (`cluster`); a scheduler keeps the
futures of a submission under its token, where a later driver finds them.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from buildflow.errors import FlowError
from buildflow.workers import states
from buildflow.workers.base import Task
from buildflow.workers.cluster import IN_QUEUE, Seen
from buildflow.workers.commands import Answer
from buildflow.workers.dask_cluster import DaskCluster
from buildflow.workers.dask_element import DIED
from buildflow.workers.live import Live
from buildflow.workers.local import usable_cpus
from buildflow.workers.narrow import NarrowWorker
from buildflow.workers.states import State

if find_spec("distributed") is None:
    raise ModuleNotFoundError("there is no package distributed", name="distributed")

NAMES = {"cpus": ("cpu", "cpus"), "mem": ("mem", "memory"), "gpus": ("gpu", "gpus")}
"""What workers may call the resources that jobs ask for, in any case."""
SETTLING = 15.0
"""Seconds that tasks of an earlier driver have to end, where nobody knows of them any more."""


class Worker(NarrowWorker):
    """`--worker dask`."""

    name = "dask"
    options = {
        **{name: text for name, text in NarrowWorker.options.items() if name != "args"},
        "n_procs": "jobs in the queue at once (default: as many as the cluster has threads)",
        "address": "the scheduler's, as in tcp://host:8786 (default: a cluster of this machine, for this build)",
    }

    def __init__(self, n_procs: int | None = None, **given: Any) -> None:
        super().__init__(n_procs, **given)
        self.address = None if given.get("address") is None else str(given["address"])
        self.dask: DaskCluster | None = None
        self.futures: dict[str, dict[int, Any]] = {}
        """By token of a submission and element."""
        self._lost = False  # whether the scheduler was lost: then futures end that nobody has cancelled

    def processors(self) -> int:
        if self.dask is not None:
            return self.dask.threads()
        return self.n_procs or (usable_cpus() if self.address is None else IN_QUEUE)  # until it is asked

    def slots(self) -> int:
        return super().slots() if self.address is None or not self.n_procs else self.n_procs

    def cpus(self) -> int | None:
        return None if self.dask is None or (self.address is not None and self.n_procs) else super().cpus()

    def open(self, folder: str) -> None:
        if self.dask is None:
            threads = self.n_procs or usable_cpus()
            self.dask = DaskCluster(self.address, threads, f"{folder}/dask")
            self._lost = False
            with open(os.path.join(os.path.dirname(__file__), "dask_element.py"), encoding="utf-8") as file:
                self._text = file.read()
        super().open(folder)

    def close(self) -> None:
        super().close()
        self.futures = {}
        if self.dask is not None:
            self.dask.close()
            self.dask = None

    def detach(self) -> None:
        if self.dask is not None and self.dask.own:
            raise FlowError(
                "the cluster of Dask that the build has started ends with it, so no job can be left there", None,
                "give a scheduler that stays: -o address=tcp://…",
            )  # fmt: skip
        super().detach()

    # ---- submitting ------------------------------------------------------------------------------------------------

    def submit(self, live: Live, node: str, then: Callable[[str | None, Answer], None]) -> None:
        assert self.dask is not None
        client, token = self.dask.client, live.submission.token
        task = next(task for task in live.submission.tasks if task is not None)
        try:
            self.dask.mend()
            resources = self._resources(task)
            futures = {}
            for element in range(live.submission.elements):
                given = {
                    "__name__": "bflow_element", "given": (f"{node} {element}", live.submission.folder, element)
                }
                futures[element] = client.submit(
                    exec, self._text, given, key=f"{token}-{element}", resources=resources, pure=False
                )
            self._follow(token, futures)
            if not self.dask.own:
                client.publish_dataset(list(futures.values()), name=token)
        except FlowError as error:
            then(None, Answer(1, "", error.message))
        except Exception as error:  # whatever the scheduler or the way to it has
            then(None, Answer(-1 if self._away() else 1, "", _line(error)))
        else:
            then(token, Answer(0, "", ""))

    def _follow(self, token: str, futures: dict[int, Any]) -> None:
        self.futures[token] = futures
        for future in futures.values():
            future.add_done_callback(self._changed)

    def _changed(self, future: Any) -> None:
        """(Dask calls it in a thread of its own.)"""
        self._next_look = 0.0
        self._next_poll = min(self._next_poll, time.monotonic() + 0.1)
        self.wake()

    def _resources(self, task: Task) -> dict[str, float] | None:
        """What a job asks for, in the cluster's own words."""
        assert self.dask is not None
        asked = {} if task.amounts is None else {"mem": task.amounts.mem or 0, "gpus": task.amounts.gpus}
        if task.amounts is not None and task.amounts.cpus > 1:
            asked["cpus"] = task.amounts.cpus
        if not task.arguments and not any(asked.values()):
            return None
        there = self.dask.resources()
        wanted = {
            name: float(asked[ours]) for ours in asked if asked[ours] for name in there if name.lower() in NAMES[ours]
        }
        wanted.update(named_resources(task.arguments))
        for name, amount in wanted.items():
            if there.get(name, 0.0) < amount:
                has = f"one has {there[name]:g} of it at most" if name in there else "none has it"
                raise FlowError(f"it asks for {name} = {amount:g} of a worker of Dask, and {has}")
        return wanted or None

    def refused(self, answer: Answer) -> bool:
        return answer.status > 0

    def _away(self) -> bool:
        """Whether the scheduler cannot be reached."""
        assert self.dask is not None
        self._lost = self._lost or self.dask.client.status != "running"
        return self._lost

    # ---- asking ----------------------------------------------------------------------------------------------------

    def look(self, lives: Sequence[Live], then: Callable[[Seen | None, Answer], None]) -> None:
        assert self.dask is not None
        self.dask.mend()
        old = [live for live in lives if live.submission.token not in self.futures]
        try:
            self._find_published(old)
        except Exception as error:
            then(None, Answer(1, "", _line(error)))
            return
        away = self._away()
        seen: Seen = {}
        for live in lives:
            token = live.submission.token
            if token in self.futures:
                found = {n: state_of(future, away) for n, future in self.futures[token].items()}
                for element, state in found.items():
                    if state.kind in (states.CANCELLED, states.GONE):  # which alone would not end what runs
                        _stop(live.submission.folder, f"{element}.stop")
                seen[token] = token, found
        then(seen, Answer(0, "", ""))

    def _find_published(self, lives: Sequence[Live]) -> None:
        """What earlier drivers have left on this scheduler; where it knows nothing of a submission, no task of it is
        to go on."""
        assert self.dask is not None
        if not lives:
            return
        published = () if self.dask.own else self.dask.client.list_datasets()
        for live in lives:
            token = live.submission.token
            if token in published:
                self._follow(token, dict(enumerate(self.dask.client.get_dataset(token))))
            else:
                _settle(live)

    def history(self, live: Live, then: Callable[[dict[int, State]], None]) -> None:
        then({})  # Dask has told all

    def cancel(self, ids: Sequence[str], *, kill: bool) -> None:
        """Tasks that run see a file; those that wait are taken out of the queue."""
        for token in ids:
            _stop(f"{self.folder}/{token}")
            waiting = [future for future in self.futures.get(token, {}).values() if not future.done()]
            if waiting and self.dask is not None and not self._away():
                with contextlib.suppress(Exception):
                    self.dask.client.cancel(waiting)
            if token not in self.futures:  # it is an earlier driver's
                self._unpublish(token)

    def _remove_told(self, more: Iterable[Live] = ()) -> None:
        over = [live.submission.token for live in (*self._told, *more)]
        super()._remove_told(more)
        self._forget_futures(over)

    def _forget_futures(self, tokens: Sequence[str]) -> None:
        for token in tokens:
            if self.futures.pop(token, None):
                self._unpublish(token)

    def _unpublish(self, token: str) -> None:
        """Have the scheduler keep a submission's futures no more."""
        if self.dask is not None and not self.dask.own and not self._away():
            with contextlib.suppress(Exception):
                self.dask.client.unpublish_dataset(token)

    # ---- what earlier drivers have submitted -----------------------------------------------------------------------

    def recall(self, folder: str) -> bool:
        if not super().recall(folder):
            return False
        live, number = self.old[folder]
        told = live.submission.end(number)
        if told is not None and told["stopped"]:
            del self.old[folder]  # its cluster has ended, or its worker: it is to run again
            if live not in self.live and not self.earlier.holds(live):
                live.submission.remove()
            return False
        return True


def named_resources(words: Iterable[str]) -> dict[str, float]:
    """`GPU=1 licence=2` as resources of Dask. Raises FlowError for another word."""
    found = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            found[name] = float(value)
        except ValueError:
            raise FlowError(f"dask takes resources of its workers as NAME=NUMBER, and “{word}” is none") from None
    return found


def state_of(future: Any, away: bool) -> State:
    """The state of an element. `away`: the scheduler was lost."""
    kinds: Mapping[str, str] = {
        "pending": states.RUNNING, "finished": states.COMPLETED, "lost": states.GONE,
        "cancelled": states.GONE if away else states.CANCELLED,
    }  # fmt: skip
    status = str(future.status)
    if status != "error":
        return State(kinds.get(status, states.UNKNOWN))
    error = future.exception(timeout=5)
    said = _line(error)
    if type(error).__name__ == "KilledWorker" or DIED in said:
        return State(states.NODE_FAILED)
    return State(states.FAILED, said=said)


def _stop(folder: str, name: str = "stop") -> None:
    """Tell the nodes of a submission to end."""
    with contextlib.suppress(OSError):
        os.close(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT, 0o644))


def _settle(live: Live) -> None:
    """End what runs of a submission that no scheduler knows, and wait for it."""
    submission = live.submission
    _stop(submission.folder)
    deadline = time.monotonic() + SETTLING
    running = list(range(len(submission.folders)))
    while running and time.monotonic() < deadline:
        running = [n for n in running if submission.began(n) is not None and submission.end(n) is None]
        if running:
            time.sleep(0.05)


def _line(error: BaseException | None) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
