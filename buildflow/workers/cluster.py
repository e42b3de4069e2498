"""What the workers of queues share: ready tasks go to the queue together, and their ends are told by files.

A submission is an array whose elements take tasks of it until none is left (`buildflow/node.py`): an element that meets
short tasks takes many, one that meets a long task just that, so nobody has to know beforehand which they are. The queue
is asked rarely, for all submissions at once, for what files cannot tell: that a job was cancelled, or its node failed.
What a queue's commands are called and how they answer is told by a subclass, one file each.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from buildflow.errors import FlowError
from buildflow.node_files import NodeFiles
from buildflow.workers import states
from buildflow.workers.base import End, Task, Worker
from buildflow.workers.commands import Answer, Commands
from buildflow.workers.earlier import Earlier
from buildflow.workers.live import LAST_WORDS, Live
from buildflow.workers.sending import LARGEST, Contact, Sending
from buildflow.workers.states import State, sentence
from buildflow.workers.submission import to_end, unseen

IN_QUEUE = 1000
"""Jobs in the queue at once, unless -j says another number."""
SLOWEST_LOOK = 1.0
"""Seconds between two looks at the files, at most."""
FIRST_POLL, POLL = 2.0, 10.0
"""Seconds between two questions to the queue, at first and at most."""
TRIES = 3
"""Times that a task is submitted anew which no node has begun."""
Seen = dict[str, tuple[str, dict[int, State]]]
"""By token: the queue's name of a submission, and the states of its elements as far as the queue knows them."""


class ClusterWorker(Worker):
    """A worker whose tasks go to a queue. Subclasses have `options`, `commands` and the methods that raise
    NotImplementedError here."""

    here = False
    options = {
        "n_procs": "jobs in the queue at once",
        "batch": "jobs that go to a node together (default: chosen by how long they take; 1: each by itself)",
        "latency_wait": "seconds to wait for files that a node has written (default 30)",
        "poll": f"seconds between two questions to the queue, at most (default {POLL:g})",
        "python": "the Python of the nodes (default python3)",
        "args": "more arguments of the submitting command",
    }
    commands: Sequence[str] = ()
    """Programs that must be there."""
    first = 0
    """The queue's number of an array's first element."""
    watch_memory = False
    """Whether nodes end tasks that take more memory than they asked for, since the queue does not."""

    def __init__(self, n_procs: int | None = None, **given: Any) -> None:
        super().__init__(n_procs, **given)
        self.batch = None if given.get("batch") is None else int(self._amount("batch", 1))
        self.latency = self._amount("latency_wait", 0, 30.0)
        self.longest_poll = self._amount("poll", 0.1, POLL)
        self.python = str(given.get("python", "python3"))
        self.live: list[Live] = []
        self.ended: list[End] = []
        self.queue = Commands(self.wake)
        self.contact = Contact(self)
        self.sending = Sending(self)
        self.earlier = Earlier(self)
        self.folder = ""  # of submissions
        self._told: list[Live] = []  # all their tasks were told of
        self._tries: dict[int, int] = {}
        self._asking = False
        self._next_look = self._next_poll = self._next_history = 0.0
        self._first_poll = min(FIRST_POLL, self.longest_poll)
        self._look_step, self._poll_step = 0.02, self._first_poll
        self._stopping: float | None = None
        self._detached = False
        self._wake_read = self._wake_write = -1

    def _amount(self, name: str, least: float, otherwise: float = 0.0) -> float:
        value = self.given.get(name, otherwise)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = -1.0
        if number < least:
            raise FlowError(f"{name} = {value} is no number for the worker {self.name}", None, self.options[name])
        return number

    # ---- what a queue is like ------------------------------------------------------------------------------------

    def submit(self, live: Live, node: str, then: Callable[[str | None, Answer], None]) -> None:
        """Submit; `then` gets the queue's name of the submission, or None and what the command said. `node`: the
        command of an element, without its number."""
        raise NotImplementedError

    def refused(self, answer: Answer) -> bool:
        """Whether that answer to a submission is a no, and not just no answer."""
        raise NotImplementedError

    def look(self, lives: Sequence[Live], then: Callable[[Seen | None, Answer], None]) -> None:
        """Ask for the states of submissions, by their tokens; None: the queue did not answer. What it does not know
        is left out."""
        raise NotImplementedError

    def history(self, live: Live, then: Callable[[dict[int, State]], None]) -> None:
        """Ask how the elements of a submission ended that the queue does not list any more, as far as that is known."""
        raise NotImplementedError

    def cancel(self, ids: Sequence[str], *, kill: bool) -> None:
        """End submissions."""
        raise NotImplementedError

    def cancel_element(self, name: str, element: int) -> None:
        """End one element of a submission; where that cannot be, it runs to its end."""

    def widest(self, tasks: Sequence[Task]) -> int:
        """The most elements that these tasks get, unless it is said how many of them go together."""
        return LARGEST

    # ---- the contract --------------------------------------------------------------------------------------------

    def slots(self) -> int:
        return self.n_procs or IN_QUEUE

    def check(self) -> None:
        from shutil import which

        for program in self.commands:
            if which(program) is None:
                raise FlowError(
                    f"the worker {self.name} needs the command {program}, and there is none on the PATH", None,
                    f"build on a machine that submits to the cluster, or without --worker {self.name}",
                )  # fmt: skip

    def open(self, folder: str) -> None:
        if self._wake_read >= 0:
            return
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._stopping = None
        self._detached = False
        self.folder = f"{folder}/queue"
        self.node = NodeFiles(folder)
        _more_descriptors(3 * self.slots() + 256)
        self.earlier.find()

    def start(self, task: Task) -> None:
        self.sending.add(task)

    def wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"x")

    def wait(self, timeout: float | None) -> list[End]:
        if not self.ended:
            self._wait(timeout)
        self._note_told()
        ended, self.ended = self.ended, []
        return ended

    def stop(self, *, kill: bool) -> None:
        self._stopping = time.monotonic() + (0.0 if kill else LAST_WORDS)
        self.ended += [End(task, -15, stopped=True) for task in self.sending.ready]
        self.sending.ready.clear()
        on_its_way = self.sending.under_way
        for live in self.live if on_its_way is None else [*self.live, on_its_way]:
            for number in list(live.submission.open):
                if live.submission.take_back(number):
                    self.landed(live, number)
        self.cancel_all(self.live, kill=kill)
        self._next_look, self._poll_step = 0.0, 0.5
        self._next_poll = time.monotonic() + self._poll_step
        self.wake()

    def end(self, task: Task) -> None:
        if task in self.sending.ready:
            self.sending.ready.remove(task)
            self.ended.append(End(task, -15, stopped=True))
        for live in self.live if self.sending.under_way is None else [*self.live, self.sending.under_way]:
            for number in [n for n in live.submission.open if live.submission.tasks[n] is task]:
                live.unwanted.add(number)
                if live.submission.take_back(number):
                    self.landed(live, number)
                elif live.id is not None and live.submission.batch in (None, 1):
                    element = live.element_of(number)
                    if element is not None and element >= 0:
                        self.cancel_element(live.id, element)
        self.wake()

    def close(self) -> None:
        if self._wake_read < 0:
            return
        if self.live and any(live.submission.open for live in self.live):
            self.stop(kill=True)
        self.cancel_all([live for live in (*self._told, *self.live) if live.any_alive()])
        if self.queue.drain(LAST_WORDS):
            self._remove_told([live for live in self.live if not live.submission.open])
        else:
            self.say(f"{self.name}: the queue does not answer, and may keep some jobs; the next build cancels them")
        self.live, self.ended, self._told = [], [], []
        self.earlier.tasks = {}
        self.sending = Sending(self)
        os.close(self._wake_read)
        os.close(self._wake_write)
        self._wake_read = self._wake_write = -1

    def detach(self) -> None:
        while self.sending.ready or self.sending.under_way is not None:
            self.sending.step(now=True)
            if not self.queue.drain(LAST_WORDS) or self.contact.tries:
                break  # what was not submitted, the later driver submits
        self._detached = True
        self.queue.drain(LAST_WORDS)
        self.live = []

    @property
    def old(self) -> dict[str, tuple[Live, int]]:
        """What earlier drivers have submitted: by the folder of a task, its submission and number."""
        return self.earlier.tasks

    def recall(self, folder: str) -> bool:
        return self.earlier.recall(folder)

    def resume(self, task: Task) -> None:
        live = self.earlier.resume(task)
        if live not in self.live:
            self.live.append(live)
        self._next_look = 0.0

    def forget(self, folder: str) -> bool:
        return self.earlier.forget(folder)

    def drop_old(self, live: Live) -> None:
        """Nobody waits for a submission of an earlier driver."""
        self.cancel_all([live])
        live.submission.remove()

    # ---- waiting -------------------------------------------------------------------------------------------------

    def _wait(self, timeout: float | None) -> None:
        more = timeout == 0
        until = time.monotonic() + (1.0 if timeout is None else timeout)
        self._remove_told()
        while True:
            self.queue.step()
            if self._stopping is None:
                self.sending.step(more=more)
            now = time.monotonic()
            if now >= self._next_look:
                self._look_at_files()
            if now >= self._next_poll and self.live:
                self._poll()
            if self._stopping is not None and now >= self._stopping:
                self._give_up()
            if self.ended or now >= until:
                return
            moments = [until]
            if self.live:
                moments += [self._next_look, self._next_poll]
            submit = self.sending.next_moment()
            if submit is not None and self._stopping is None:
                moments.append(submit)
            if self._stopping is not None:
                moments.append(self._stopping)
            if self._sleep(max(min(moments) - now, 0.001)):
                self.queue.step()
                return

    def _sleep(self, seconds: float) -> bool:
        """Whether it was ended by `wake`."""
        if not select.select([self._wake_read], [], [], seconds)[0]:
            return False
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        return True

    def accepted(self, live: Live) -> None:
        """The queue has taken a submission."""
        if self._detached:
            return
        self.live.append(live)
        self._soon()
        if self._stopping is not None:
            self.cancel_all([live])

    @property
    def ending(self) -> bool:
        """Whether all is to end."""
        return self._stopping is not None

    # ---- files -----------------------------------------------------------------------------------------------------

    def _soon(self) -> None:
        """Something happens: look closely."""
        self._look_step, self._poll_step = 0.02, self._first_poll
        now = time.monotonic()
        self._next_look = min(self._next_look, now + self._look_step)
        soon = now + self._first_poll
        self._next_poll = soon if self._next_poll < now else min(self._next_poll, soon)

    def _look_at_files(self) -> None:
        """Take the ends that nodes have told of."""
        began = time.monotonic()
        some = False
        for live in self.live:
            for number in live.submission.ends():
                if number in live.stopped or number in live.late:
                    continue
                told = live.submission.end(number)
                if told is not None:
                    some = True
                    self._tell(live, number, told)
            for number, (told, until) in list(live.late.items()):
                task = live.submission.tasks[number]
                assert task is not None
                path = unseen(task, told)
                if path is None:
                    self.landed(live, number, told)
                elif began >= until:
                    late = f"its node has written {path}, which is not here after {self.latency:g} s"
                    self.landed(live, number, told, error=late)
            if live.suspects or live.stopped:
                self._judge(live)
        now = time.monotonic()
        self._look_step = 0.02 if some else min(self._look_step * 1.3, SLOWEST_LOOK)
        self._next_look = now + max(self._look_step, 10 * (now - began))

    def _tell(self, live: Live, number: int, told: dict[str, Any]) -> None:
        """A task has ended, as its node says."""
        task = live.submission.tasks[number]
        assert task is not None
        wanted = self._stopping is None and number not in live.unwanted
        if told["stopped"] and wanted and not told["memory"]:
            live.stopped[number] = {**told, "heard": time.monotonic()}
            self._next_poll = min(self._next_poll, time.monotonic() + 0.2)
            return
        if told["status"] == 0 and self.latency and unseen(task, told) is not None:
            live.late[number] = told, time.monotonic() + self.latency
            return
        self.landed(live, number, told)

    def landed(
        self, live: Live, number: int, told: Mapping[str, Any] | None = None, *, error: str | None = None
    ) -> None:
        """A task of a submission has come to its end."""
        task = live.submission.tasks[number]
        assert task is not None
        end = End(task, 1 if error else -15) if told is None else to_end(task, told)
        if error is not None:
            end.error = error
        if self._stopping is not None or number in live.unwanted:
            end.stopped = told is None or bool(told["stopped"])
        live.submission.open.discard(number)
        for known in (live.stopped, live.late, live.suspects):
            known.pop(number, None)
        self.ended.append(end)

    def _note_told(self) -> None:
        """Submissions whose tasks are all told of are over once the caller has dealt with them."""
        over = [live for live in self.live if not live.submission.open and not self.earlier.holds(live)]
        if over:
            self.live = [live for live in self.live if live not in over]
            self._told += over

    def _remove_told(self, more: Iterable[Live] = ()) -> None:
        over = [*self._told, *more]
        if not over:
            return
        self._told = []
        self.cancel_all([live for live in over if live.any_alive()])
        for live in over:
            live.submission.remove()

    def cancel_all(self, lives: Sequence[Live], *, kill: bool = False) -> None:
        """Cancel submissions, once."""
        ids = []
        for live in lives:
            if live.id is not None and (kill or not live.cancelled):
                live.cancelled = True
                ids.append(live.id)
        if ids:
            self.cancel(ids, kill=kill)

    def _give_up(self) -> None:
        """The time of cancelled tasks is up."""
        for live in self.live:
            for number in list(live.submission.open):
                self.landed(live, number)
        self._stopping = time.monotonic() + LAST_WORDS

    # ---- the queue -------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        """Ask the queue for all submissions, unless it is being asked."""
        self._next_poll = time.monotonic() + self._poll_step
        if self._asking or self.queue.busy:
            return
        self._asking = True
        lives = list(self.live)
        self.look(lives, lambda seen, answer: self._looked(lives, seen, answer))

    def _looked(self, lives: Sequence[Live], seen: Seen | None, answer: Answer) -> None:
        self._asking = False
        self._poll_step = min(self._poll_step * 1.5, self.longest_poll)
        self._next_poll = time.monotonic() + self._poll_step
        if seen is None:
            self.contact.lost(answer)
            return
        self.contact.there()
        now = time.monotonic()
        for live in lives:
            live.take(seen.get(live.submission.token, ("", {}))[1])
            live.suspect(now)
        self._next_look = 0.0  # an end is told before the queue knows of it

    def _judge(self, live: Live) -> None:
        """Decide what became of tasks that should have ended and told nothing, or that the queue has ended."""
        if self._asking:
            return
        now = time.monotonic()
        live.submission.refresh()
        if live.unclear():
            if now >= self._next_history:
                self._asking = True
                live.asked += 1
                self._next_history = now + min(1.0, self.longest_poll)
                self.history(live, lambda found: self._remembered(live, found))
            return
        for number, told in list(live.stopped.items()):
            found = live.verdict_of_stopped(number, now)
            if found is not None:
                self.landed(live, number, told, error=found.error)
            else:
                self._next_poll = min(self._next_poll, now + 1.0)
        again = []
        for number in list(live.suspects):
            found = live.verdict(number, now, self.latency if self._stopping is None else 0.0)
            if found is None:
                continue
            if found.error is not None or self._stopping is not None:
                self.landed(live, number, error=found.error)
            elif live.submission.take_back(number):
                again.append(number)
        self._again(live, again)

    def _remembered(self, live: Live, found: dict[int, State]) -> None:
        self._asking = False
        live.remember(found)
        self._next_look = 0.0

    def _again(self, live: Live, numbers: Sequence[int]) -> None:
        """Submit tasks anew that no node has begun, nor will."""
        for number in numbers:
            task = live.submission.tasks[number]
            assert task is not None
            tries = self._tries[task.number] = self._tries.get(task.number, 0) + 1
            state = live.over(number)
            if tries > TRIES and not live.begun_elements():
                self.landed(live, number, error=sentence(state or State(states.GONE)))
                continue
            live.submission.open.discard(number)
            live.suspects.pop(number, None)
            self.start(task)


def _more_descriptors(wanted: int) -> None:
    """Each job in the queue has a sandbox, which is locked by an open file."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, soft), hard))
