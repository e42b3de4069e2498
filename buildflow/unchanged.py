"""Jobs of a plan that still holds whose inputs are as they were: their keys are those of the build that the snapshot is
of, and nothing of them is hashed or filled in again. What is gone of their outputs is put back from the cache.

What was is what the snapshot says, and not the state, which may know more: from a build that failed, or another one's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildflow.cache import entry_name, output_names
from buildflow.digest import small_digest
from buildflow.errors import FlowError
from buildflow.workspace import EntryGone

if TYPE_CHECKING:
    from buildflow.build import Build
    from buildflow.plan.again import Again


class Unchanged:
    """The jobs of one build of a plan that was kept."""

    def __init__(self, build: Build, again: Again) -> None:
        self.build = build
        self.again = again
        self.changed = set(again.numbers)
        self.only = again.affected
        self.snapshot = again.snapshot
        self.plan = build.plan
        self._same: dict[int, bool] = {}  # files of which it is known

    def settle(self, number: int) -> bool:
        """Whether a job is as it was, and all its outputs stand now: then it is done."""
        plan = self.plan
        for f in (*plan.inputs[number], *plan.extra[number], *plan.after[number]):
            if not self._is_same(f):
                return False
        key = self.snapshot.key(number)
        digests = [self.snapshot.digest(f) for f in plan.outputs[number]]
        if not any(key) or not all(map(any, digests)):
            return False
        gone = [i for i, f in enumerate(plan.outputs[number]) if f in self.changed]
        if gone and not self._put_back(number, key, digests, gone):
            return False
        if gone:
            rule = self.build.rules[plan.rule[number]].name
            self.build.summary.saved += self.build.state.seconds.get(rule, 0.0)
        self.build.lookup.stands(number, key, digests, "cached" if gone else "up_to_date")
        return True

    def went_back(self, files: set[int], jobs: set[int]) -> None:
        """These sources have changed, and what these jobs make may stand as this build has left it."""
        outputs = {f for job in jobs for f in self.plan.outputs[job]}
        self.only.update(jobs)
        self.again.numbers.extend(files - self.changed)
        self.changed |= files | outputs
        for f in files | outputs:
            self._same.pop(f, None)

    def made(self, number: int, digests: list[bytes]) -> None:
        """A job is done: whether its outputs are what they were."""
        for f, digest in zip(self.plan.outputs[number], digests, strict=True):
            self._same[f] = self.snapshot.digest(f) == digest

    def _is_same(self, f: int) -> bool:
        found = self._same.get(f)
        if found is None:
            maker = self.plan.maker[f]
            if maker >= 0:
                found = maker not in self.only
            else:
                found = f not in self.changed or self._has_its_digest(f)
            self._same[f] = found
        return found

    def _has_its_digest(self, f: int) -> bool:
        """Whether a source that was touched holds what it held."""
        try:
            return self.build.decider.digest(f, -1) == self.snapshot.digest(f)
        except FlowError:
            return False

    def _put_back(self, number: int, key: bytes, digests: list[bytes], gone: list[int]) -> bool:
        """Put small outputs back, each looked at as it is read; False where the long way must be gone."""
        build, plan = self.build, self.plan
        kind = build.decider.kind(number)
        names = [plan.paths[f] for f in plan.outputs[number]]
        inner = output_names(names)
        folder = f"{build.cache.root}/{entry_name(kind, key)}"
        for i in gone:
            if os.path.lexists(build.disk.path(names[i])):
                return False
            found = small_digest(f"{folder}/{inner[i]}")
            if found is None or found[0] != digests[i]:
                return False
            try:
                build.workspace.put(f"{folder}/{inner[i]}", names[i], digests[i], key, found[1])
            except EntryGone:
                return False
        return True
