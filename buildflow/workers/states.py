"""What a queue says of a job, apart from how any one queue says it."""

from __future__ import annotations

from typing import NamedTuple

WAITING, RUNNING = "waiting", "running"
COMPLETED, FAILED = "completed", "failed"
TIMED_OUT, MEMORY = "timed out", "out of memory"
NODE_FAILED, CANCELLED, PREEMPTED = "node failed", "cancelled", "preempted"
GONE = "gone"
"""The queue does not know of it, or not any more."""
UNKNOWN = "unknown"
"""The queue has a word for it that we do not know: it is taken for under way."""

ALIVE = frozenset((WAITING, RUNNING, UNKNOWN))


class State(NamedTuple):
    """One of the words above; `node`: where it ran; `said`: the queue's own word, or why."""

    kind: str
    node: str = ""
    said: str = ""

    @property
    def alive(self) -> bool:
        return self.kind in ALIVE


def sentence(state: State) -> str:
    """Why a task came to no end, in a sentence without a subject."""
    where = f" ({state.node})" if state.node else ""
    return {
        TIMED_OUT: "the queue ended it when its time was up",
        MEMORY: "it took more memory than the queue gives it",
        NODE_FAILED: f"its node failed{where}",
        CANCELLED: "it was cancelled in the queue",
        PREEMPTED: "it was preempted by another job of the queue",
        COMPLETED: f"its node{where} says that it ended, and left no word of how",
        FAILED: f"its node{where} could not run it{': ' + state.said if state.said else ''}",
    }.get(state.kind, "it vanished from the queue")
