"""What earlier drivers have submitted: found again by the folders of their tasks, asked for, taken up or cancelled."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from buildflow.files import remove_tree
from buildflow.workers.base import Task
from buildflow.workers.commands import Answer
from buildflow.workers.live import Live
from buildflow.workers.sending import RIDE_OUT
from buildflow.workers.states import GONE
from buildflow.workers.submission import Submission

if TYPE_CHECKING:
    from buildflow.workers.cluster import ClusterWorker, Seen


class Earlier:
    """The submissions of a worker that another driver has made. `tasks`: by the folder of a task, where it is."""

    def __init__(self, worker: ClusterWorker) -> None:
        self._worker = worker
        self.tasks: dict[str, tuple[Live, int]] = {}
        self._asked = False  # whether the queue was
        self._late: set[tuple[str, int | None]] = set()  # elements that were asked for once more

    def find(self) -> None:
        """Read what is written of submissions; of a task that is in two, the later counts."""
        worker = self._worker
        self.tasks, self._asked, self._late = {}, False, set()
        try:
            names = os.listdir(worker.folder)
        except OSError:
            return
        for name in names:
            if not os.path.exists(f"{worker.folder}/{name}/about"):
                remove_tree(f"{worker.folder}/{name}")  # its driver died while it wrote it: nothing was submitted
        found = [Submission.read(f"{worker.folder}/{name}", worker.name) for name in names]
        for submission in sorted((one for one in found if one is not None), key=lambda one: one.created):
            live = Live(submission)
            wanted = [number for number in range(len(submission.folders)) if submission.is_noted(number)]
            if wanted:
                self.tasks.update((submission.folders[number], (live, number)) for number in wanted)
            else:  # nobody waits for it
                worker.drop_old(live)

    def _ask(self) -> None:
        """Ask the queue what it knows of them, until it answers."""
        worker = self._worker
        lives = list({id(live): live for live, _ in self.tasks.values()}.values())
        answered: list[Seen] = []

        def looked(seen: Seen | None, answer: Answer) -> None:
            if seen is None:
                worker.contact.lost(answer)
            else:
                worker.contact.there()
                answered.append(seen)

        began = time.monotonic()
        while not answered and time.monotonic() - began < RIDE_OUT:
            worker.look(lives, looked)
            worker.queue.drain(RIDE_OUT)
            if not answered:
                time.sleep(min(1.0, worker.longest_poll))
        for live in lives if answered else ():
            name, states = answered[0].get(live.submission.token, ("", {}))
            if name and live.id is None:
                live.submission.submitted(name)
            live.take(states)
        self._asked = True

    def recall(self, folder: str) -> bool:
        """As the worker's."""
        known = self.tasks.get(folder)
        if known is None:
            return False
        live, number = known
        if live.submission.end(number) is not None:
            return True
        if not self._asked:
            self._ask()
            return self.recall(folder)
        state = live.over(number)
        if state is None:
            return True
        live.submission.refresh()
        if live.submission.end(number) is not None:
            return True
        element = live.element_of(number)
        if element is None and not live.submission.take_back(number):
            return self.recall(folder)  # it has just begun
        if element is not None and state.kind == GONE and (live.submission.token, element) not in self._late:
            # The command that submits may outlive its driver: the queue got it after it was asked.
            self._late.add((live.submission.token, element))
            self._ask()
            return self.recall(folder)
        del self.tasks[folder]
        return False

    def holds(self, live: Live) -> bool:
        """Whether a task of a submission may still be asked for."""
        return any(one is live for one, _ in self.tasks.values())

    def resume(self, task: Task) -> Live:
        """As the worker's; the submission that the task is in."""
        live, number = self.tasks.pop(task.folder)
        live.submission.tasks[number] = task
        live.submission.open.add(number)
        return live

    def forget(self, folder: str) -> bool:
        """As the worker's. A short task among others that are wanted is left to end by itself."""
        known = self.tasks.get(folder)
        if known is None:
            return True
        live, number = known
        free = live.submission.end(number) is not None or live.submission.take_back(number)
        if not any(self._wanted(live, n, one) for n, one in enumerate(live.submission.folders) if n != number):
            self._worker.cancel_all([live])
        if free:
            del self.tasks[folder]
        return free

    def _wanted(self, live: Live, number: int, folder: str) -> bool:
        """Whether somebody waits for a task, or may yet."""
        if live.submission.tasks[number] is not None:
            return number in live.submission.open
        return self.tasks.get(folder, (None, 0))[0] is live and live.submission.end(number) is None
