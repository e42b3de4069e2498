"""Queues of which is known how many processors they have: there are no more jobs in them than these can run, unless
jobs are short. Of short ones each processor gets many at once, which it runs one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from buildflow.workers.base import Task
from buildflow.workers.cluster import ClusterWorker

SHORT = 1.0
"""Seconds up to which a job is short: what it takes to submit one is worth as much."""
TOGETHER = 32
"""Short jobs for each processor."""


class NarrowWorker(ClusterWorker):
    """Subclasses say how many processors there are."""

    def __init__(self, n_procs: int | None = None, **given: Any) -> None:
        super().__init__(n_procs, **given)
        self._together = self.batch or 1

    def processors(self) -> int:
        raise NotImplementedError

    def slots(self) -> int:
        return self.processors() * self._together

    def cpus(self) -> int | None:
        return self.processors() * self._together

    def start(self, task: Task) -> None:
        short = task.expected is not None and task.expected <= SHORT
        self._together = task.batch or self.batch or (TOGETHER if short else 1)
        super().start(task)

    def widest(self, tasks: Sequence[Task]) -> int:
        amounts = tasks[0].amounts
        busy = sum(min(live.submission.elements, len(live.submission.open)) for live in self.live)
        return max(1, (self.processors() - busy) // (1 if amounts is None else amounts.cpus))
