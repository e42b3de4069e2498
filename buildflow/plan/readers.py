"""Who reads each file of a plan, and so: what a change affects.

Only of plans whose files all have one name for everybody: not of those with folders that no rule makes, or that hold
what is made below them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from buildflow.plan.plan import Plan


class Readers:
    """The readers of one plan's files: an index over the whole of it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._readers: list[list[int]] = [[] for _ in plan.paths]
        self._needed_by: dict[int, list[int]] = {}  # a phony job → those that it goes before
        for job in range(len(plan.rule)):
            for f in {*plan.inputs[job], *plan.extra[job], *plan.after[job]}:
                self._readers[f].append(job)
            for before in plan.needs[job]:
                self._needed_by.setdefault(before, []).append(job)

    def affected(self, files: Iterable[int], jobs: Iterable[int] = ()) -> set[int]:
        """These jobs, those that make one of these files or read it, and all that need them."""
        plan, readers = self.plan, self._readers
        found: set[int] = set()
        stack = list(jobs)
        for f in files:
            if plan.maker[f] >= 0:
                stack.append(plan.maker[f])
            stack.extend(readers[f])
        while stack:
            job = stack.pop()
            if job in found:
                continue
            found.add(job)
            for f in plan.outputs[job]:
                stack.extend(readers[f])
            stack.extend(self._needed_by.get(job, ()))
        return found
