"""From ready tasks to a submission: which go together, and what is done where the queue does not answer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from buildflow.workers.base import Task
from buildflow.workers.commands import Answer
from buildflow.workers.live import Live
from buildflow.workers.submission import Submission, token

if TYPE_CHECKING:
    from buildflow.workers.cluster import ClusterWorker, Seen

LARGEST = 1000
"""Elements of one array: what a Slurm with its own settings takes."""
FEW = 16
"""Elements of an array of tasks that are known to be short."""
SHARE = 10.0
"""Seconds of work for one element, where it is known how long tasks take."""
GATHER = 1.0
"""Seconds for which ready tasks wait for more of them, while others are under way."""
RIDE_OUT = 900.0
"""Seconds for which a queue that does not answer is asked again."""
SLOWEST = 20.0
"""Seconds between two tries, at most."""


class Contact:
    """Whether the queue of a worker answers; the user is told once when it does not, and when it does again."""

    def __init__(self, worker: ClusterWorker) -> None:
        self._worker = worker
        self._since: float | None = None
        self.tries = 0  # in a row, without an answer

    def lost(self, answer: Answer) -> None:
        """A question got no answer."""
        self.tries += 1
        if self._since is None:
            self._since = time.monotonic()
            self._worker.say(f"{self._worker.name}: the queue does not answer ({answer.said}); it is asked again")

    def there(self) -> None:
        """It has answered."""
        self.tries = 0
        if self._since is not None:
            self._since = None
            self._worker.say(f"{self._worker.name}: the queue answers again")

    def gone_for(self) -> float:
        """Seconds for which it has not answered."""
        return 0.0 if self._since is None else time.monotonic() - self._since


class Sending:
    """What a worker has to submit; one submission at a time is on its way."""

    def __init__(self, worker: ClusterWorker) -> None:
        self._worker = worker
        self.ready: list[Task] = []
        self.under_way: Live | None = None
        self._since = 0.0  # when the first of what is ready came
        self._retry: float | None = None  # when to ask again for what is on its way

    def add(self, task: Task) -> None:
        if not self.ready:
            self._since = time.monotonic()
        self.ready.append(task)

    def next_moment(self) -> float | None:
        """When `step` has something to do, if nothing else happens."""
        if self._retry is not None:
            return self._retry
        return self._since + GATHER if self.ready and self.under_way is None else None

    def step(self, *, more: bool = False, now: bool = False) -> None:
        """Submit what is ready, unless more may come soon (`more`: that is known)."""
        moment = time.monotonic()
        if self._retry is not None and moment >= self._retry and self.under_way is not None:
            self._retry = None
            self._ask_for(self.under_way)
        if not self.ready or self.under_way is not None:
            return
        worker = self._worker
        young = moment - self._since < GATHER and len(self.ready) < worker.slots() // 2
        if not now and young and (more or worker.live):
            return
        self.under_way = self._made(self._first_group())
        self._send(self.under_way)
        self._since = moment

    def _first_group(self) -> list[Task]:
        """The first of what is ready and all that may go with it, taken out of it."""
        first = _kind(self.ready[0])
        group: list[Task] = []
        rest: list[Task] = []
        most = LARGEST * (self.ready[0].batch or self._worker.batch or 1)
        for task in self.ready:
            (group if len(group) < most and _kind(task) == first else rest).append(task)
        self.ready = rest
        return group

    def _made(self, tasks: list[Task]) -> Live:
        worker = self._worker
        batch = tasks[0].batch or worker.batch
        count = elements(tasks, batch) if batch else min(elements(tasks, batch), worker.widest(tasks))
        submission = Submission(f"{worker.folder}/{token(tasks[0].rule)}", tasks, count, batch)
        submission.first = worker.first
        submission.write(worker.name, watch_memory=worker.watch_memory)
        return Live(submission)

    def _send(self, live: Live) -> None:
        from shlex import quote

        worker = self._worker
        words = (worker.python, "-I", "-S", worker.node.path("node.py"), live.submission.folder)
        node = f"exec {' '.join(map(quote, words))}"
        worker.submit(live, node, lambda name, answer: self._sent(live, name, answer))

    def _sent(self, live: Live, name: str | None, answer: Answer) -> None:
        """The queue has answered to a submission, or has not."""
        worker = self._worker
        if name is not None:
            self._accepted(live, name)
        elif worker.refused(answer):
            self._failed(live, f"the queue refused it: {answer.said}")
        else:
            worker.contact.lost(answer)
            if worker.ending or worker.contact.gone_for() >= RIDE_OUT:
                self._failed(live, f"the queue does not answer: {answer.said}")
            else:
                longer = 2.0 ** min(worker.contact.tries, 5)
                self._retry = time.monotonic() + min(longer, SLOWEST, 2 * worker.longest_poll)

    def _accepted(self, live: Live, name: str) -> None:
        self.under_way = None
        self._worker.contact.there()
        live.submission.submitted(name)
        self._worker.accepted(live)

    def _failed(self, live: Live, error: str) -> None:
        self.under_way = None
        for number in list(live.submission.open):
            self._worker.landed(live, number, error=error)
        live.submission.remove()

    def _ask_for(self, live: Live) -> None:
        """Submit once more, unless it turns out that the queue has it: its answer may have been lost."""

        def looked(seen: Seen | None, answer: Answer) -> None:
            if seen is None:
                self._sent(live, None, answer)
            elif live.submission.token in seen:
                self._accepted(live, seen[live.submission.token][0])
            else:
                self._send(live)

        self._worker.look([live], looked)


def elements(tasks: Sequence[Task], batch: int | None) -> int:
    """How many elements the array of these tasks gets: more than are needed do no harm, but to the queue's list."""
    if batch:
        return -(-len(tasks) // batch)
    known = [task.expected for task in tasks if task.expected is not None]
    wanted = len(tasks) - len(known) + max(int(sum(known) / SHARE), min(len(known), FEW))
    return max(1, min(wanted, len(tasks), LARGEST))


def _kind(task: Task) -> tuple[Any, ...]:
    """Tasks of the same kind may go together."""
    amounts = task.amounts
    asked = None if amounts is None else (amounts.cpus, amounts.mem, amounts.gpus)
    return asked, task.time, task.batch, tuple(task.arguments)
