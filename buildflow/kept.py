"""What a watch keeps in memory between two builds: the state, and the plan of the last whole build that went well.

A change to nothing but files that jobs read or make is built from it: nothing is loaded, nothing resolved, and only
what is affected is looked at. Whether that is the whole change its caller knows; where it is not, it plans anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from buildflow.plan.again import Again
from buildflow.plan.readers import Readers
from buildflow.plan.snapshot import commands_hold

if TYPE_CHECKING:
    from buildflow.builder import Builder
    from buildflow.decide import Decider
    from buildflow.disk import Disk
    from buildflow.plan.resolve import Resolver
    from buildflow.plan.snapshot import Snapshot
    from buildflow.state import State


class Kept:
    """One plan that holds, and its snapshot; `path` is where that is for other builds to find, None for nowhere.
    `chosen`: the settings that it was built with."""

    def __init__(
        self, resolver: Resolver, state: State, snapshot: Snapshot, path: str | None, chosen: dict[str, Any]
    ) -> None:
        self.resolver = resolver
        self.state = state
        self.snapshot = snapshot
        self.chosen = chosen
        self.readers = Readers(resolver.plan)
        rules, plan = resolver.builder.rules, resolver.plan
        self.always = [job for job, rule in enumerate(plan.rule) if rules[rule].phony]  # jobs that every build runs
        self.pending: set[int] = set()  # files of which the snapshot does not say what they hold
        self._numbers = snapshot.plan_files()
        self._path = path
        self._unwritten = False
        self._known = _version(path)

    def covers(self, names: Iterable[str]) -> bool:
        """Whether a change to these is none to the plan: files that are there and that jobs read, and outputs."""
        return all(self._file(name) is not None for name in names)

    def again(self, names: Iterable[str]) -> KeptAgain | None:
        """What is known of the plan once those of these files that are its have changed; None where nothing of it has,
        or it cannot be vouched for."""
        if not commands_hold(self.snapshot, self.resolver.builder.root):
            return None
        found = {f for name in names if (f := self._file(name)) is not None}
        self.pending |= found
        return KeptAgain(self, sorted(self.pending)) if found else None

    def _file(self, name: str) -> int | None:
        plan = self.resolver.plan
        f = plan.ids.get(name)
        if f is None or f >= len(self._numbers) or self._numbers[f] != f:
            return None
        if plan.maker[f] < 0 and not os.path.isfile(os.path.join(self.resolver.builder.root, name)):
            return None
        return f

    def amend(self, again: KeptAgain, decider: Decider, well: bool) -> bool:
        """Take in what a build came to; False where the plan cannot be vouched for any more."""
        from buildflow.plan.record import amend

        plan = self.resolver.plan
        files = {*again.numbers, *(f for job in again.affected for f in plan.outputs[job])}
        if not well:
            self.pending |= files
            return True
        self._unwritten = True
        self.pending = set()
        return amend(self.snapshot, decider, sorted(files))

    def write(self) -> None:
        """Bring the snapshot that other builds find up to date, unless one of them has left its own. An old one says
        nothing wrong: it only leaves more to be looked at."""
        if self._path is None or not self._unwritten or self.pending:
            return
        self._unwritten = False
        if self._known is not None and _version(self._path) == self._known:
            try:
                self.snapshot.write(self._path)
            except OSError:
                self._path = None
            self._known = _version(self._path)


class KeptAgain(Again):
    """One build of a kept plan, whose files `numbers` have changed. More may come to it while it runs."""

    def __init__(self, kept: Kept, numbers: list[int]) -> None:
        self.kept = kept
        self.snapshot = kept.snapshot
        self.numbers = numbers
        self.affected = kept.readers.affected(numbers, kept.always)
        self.holds = True

    def resolver(self, builder: Builder, disk: Disk) -> Resolver:
        return self.kept.resolver

    def record(self, decider: Decider, well: bool) -> None:
        self.holds = self.kept.amend(self, decider, well)


def _version(path: str | None) -> tuple[int, int, int] | None:
    if path is None:
        return None
    try:
        st = os.stat(path)
    except OSError:
        return None
    return st.st_ino, st.st_size, st.st_mtime_ns
