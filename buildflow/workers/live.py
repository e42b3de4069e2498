"""A submission that is under way: what its files and the queue have told, and what follows from the two.

The files know how a task ended, the queue why one did not. Neither is asked here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from buildflow.workers import states
from buildflow.workers.states import State, sentence
from buildflow.workers.submission import Submission, out_of_memory

SURE = frozenset((states.TIMED_OUT, states.MEMORY, states.NODE_FAILED, states.CANCELLED, states.PREEMPTED))
"""States after which a task that told nothing will tell nothing any more."""
SHORTLY = 3.0
"""Seconds to wait for the file of an end after one of them."""
ASKED = 5
"""Times that the queue's history is asked about a submission."""
LAST_WORDS = 20.0
"""Seconds that cancelled tasks have to come to their ends."""


class Verdict(NamedTuple):
    """What became of a task: `error` says it; None: no node has begun it and none will, so it may be submitted anew."""

    error: str | None


class Live:
    """One submission of a worker."""

    def __init__(self, submission: Submission) -> None:
        self.submission = submission
        self.states: dict[int, State] = {}  # of elements; those that the queue does not know are GONE
        self.stopped: dict[int, dict[str, Any]] = {}  # what was told of tasks that the queue has ended: why comes later
        self.late: dict[int, tuple[dict[str, Any], float]] = {}  # ends whose outputs are not here yet, and until when
        self.unwanted: set[int] = set()  # tasks that we have ended
        self.suspects: dict[int, float] = {}  # tasks that should have ended, and since when
        self.asked = 0  # how often the queue's history was asked
        self.cancelled = False  # by us
        self._element: dict[int, int] = {}  # by number of a task: which element has begun it

    @property
    def id(self) -> str | None:
        return self.submission.id

    def take(self, found: dict[int, State]) -> None:
        """What the queue says of the elements, all that it knows."""
        for element in range(self.submission.elements):
            before = self.states.get(element)
            if before is None or before.alive or before.kind == states.GONE:  # it may have come late to the queue
                self.states[element] = found.get(element) or State(states.GONE)

    def remember(self, found: dict[int, State]) -> None:
        """What the queue's history says of elements that are gone."""
        for element, state in found.items():
            before = self.states.get(element)
            if before is None or before.kind == states.GONE:
                self.states[element] = state

    def any_alive(self) -> bool:
        """Whether an element may do something yet; as long as the queue has told nothing, it may."""
        return not self.states or any(state.alive for state in self.states.values())

    def element_of(self, number: int) -> int | None:
        """The element that has begun a task; None where none has."""
        known = self._element.get(number)
        if known is None:
            began = self.submission.began(number)
            if began is None:
                return None
            known = self._element[number] = began.get("element", -1)
        return known

    def over(self, number: int) -> State | None:
        """The state of the element that has begun a task, or should have, once it is over; None as long as a node may
        work on it."""
        if not self.states:
            return None
        element = self.element_of(number)
        if element is None:
            alive = any(self.states[e].alive for e in self.submission.elements_of(number) if e in self.states)
            if alive:
                return None
            element = self.submission.own_element(number)
        state = self.states.get(element) or State(states.GONE)
        return None if state.alive else state

    def suspect(self, now: float) -> None:
        """Note which tasks should have ended, by what the queue says."""
        if all(state.alive for state in self.states.values()):
            return
        for number in self.submission.open:
            if number in self.stopped or number in self.late:
                continue
            if self.over(number) is None:
                self.suspects.pop(number, None)
            else:
                self.suspects.setdefault(number, now)

    def unclear(self) -> bool:
        """Whether the queue's history may tell more."""
        if self.asked >= ASKED:
            return False
        over = [self.over(number) for number in (*self.suspects, *self.stopped)]
        return any(state is not None and state.kind == states.GONE for state in over)

    def verdict(self, number: int, now: float, latency: float) -> Verdict | None:
        """What became of a suspect; None: it is too early to say. `latency`: seconds that files may be late."""
        state = self.over(number)
        if state is None:
            return None
        waited = now - self.suspects[number]
        if state.kind == states.GONE and self.asked < ASKED:
            return None
        begun = self.element_of(number) is not None
        if waited < (min(latency, SHORTLY) if state.kind in SURE or not begun else latency):
            return None
        if not begun and state.kind != states.CANCELLED:
            if state.kind == states.FAILED and not self.begun_elements():
                said = self.submission.printed(self.submission.own_element(number))
                return Verdict(f"its node could not start it: {said}")
            return Verdict(None)
        return Verdict(self.why(number, state))

    def why(self, number: int, state: State) -> str:
        """Why a task was ended, by the state of its element."""
        task = self.submission.tasks[number]
        if state.kind == states.MEMORY and task is not None:
            return out_of_memory(task)
        return sentence(state)

    def verdict_of_stopped(self, number: int, now: float) -> Verdict | None:
        """As `verdict`, of a task that was ended before its time, as its node says."""
        state = self.over(number)
        waited = now - self.stopped[number]["heard"]
        if waited < LAST_WORDS and (state is None or (state.kind == states.GONE and self.asked < ASKED)):
            return None
        if state is None or state.kind not in SURE:
            return Verdict("it was ended by the queue")
        return Verdict(self.why(number, state))

    def begun_elements(self) -> set[int]:
        """The elements that have begun a task."""
        found = (self.element_of(number) for number in range(len(self.submission.tasks)))
        return {element for element in found if element is not None and element >= 0}
