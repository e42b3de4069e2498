"""A plan that still holds while some of its files have changed: what is affected, and the snapshot afterwards.

Everything that the plan was read from is as it was; so only jobs that make or read a changed file, and those after
them, are looked at.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from buildflow.plan import stored
from buildflow.plan.resolve import Resolver

if TYPE_CHECKING:
    from buildflow.builder import Builder
    from buildflow.decide import Decider
    from buildflow.disk import Disk
    from buildflow.plan.snapshot import Snapshot


class Again:
    """`snapshot` holds but for its files `changed` (places in it), which are files `numbers` of `plan`."""

    def __init__(self, snapshot: Snapshot, path: str, plan: stored.StoredPlan, numbers: list[int]) -> None:
        self.snapshot = snapshot
        self.path = path
        self.plan = plan
        self.numbers = numbers
        self.affected = plan.affected(numbers)

    def resolver(self, builder: Builder, disk: Disk) -> Resolver:
        """A resolver that has resolved that plan."""
        return Resolver.again(builder, disk, self.plan)

    def record(self, decider: Decider, well: bool) -> None:
        """Bring the snapshot up to date after the build, or remove it where that cannot be vouched for."""
        from buildflow.plan.record import amend

        files = set(self.numbers)
        for job in self.affected:
            files.update(self.plan.outputs[job])
        if well and amend(self.snapshot, decider, sorted(files)):
            self.snapshot.write(self.path)
        elif well:
            with contextlib.suppress(OSError):
                os.unlink(self.path)


def again(snapshot: Snapshot, path: str, changed: list[int]) -> Again | None:
    """What is known of the plan of a snapshot whose files `changed` differ; None where it must be resolved anew: where
    one of these is no source or output that only jobs read, or a source is gone."""
    numbers = snapshot.plan_files()
    found: list[int] = []
    for i in changed:
        if i >= len(numbers) or numbers[i] < 0:  # it is none of the plan, or what is planned depends on it
            return None
        found.append(numbers[i])
    plan = stored.read(f"{path}.plan", snapshot.tag)
    if plan is None:
        return None
    for f in found:
        if plan.maker[f] < 0 and not os.path.isfile(os.path.join(snapshot.place, plan.paths[f])):
            return None
    return Again(snapshot, path, plan, found)
