"""Why a job would run, or would not: what differs from the last result of its target.

The decision is that of a dry run, and the differences are those of the rows that the key is a hash of
(`buildflow.keys`): hashed and explained alike. How it looks on the screen is `buildflow.cli.why_command`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from buildflow.cache import Entry
from buildflow.decide import Identity
from buildflow.errors import FlowError
from buildflow.history import FailedTry, History, Last
from buildflow.job import Job
from buildflow.state import WRITTEN, FileRecord

if TYPE_CHECKING:
    from buildflow.build import Build
    from buildflow.submitter import Session

Rows = Sequence[Sequence[str]]

UNKNOWN = b"\xff" * 16
"""Stands for the digest of an input that a job would make anew."""


@dataclass
class Change:
    """One row of the manifest that differs; `old` is None for a new one, `new` for one that is gone.

    what: recipe, input, header (a file that a depfile named), environment, variable, tool, … as in `buildflow.keys`. Of
    inputs the values are digests (hex), and the sizes are in bytes, None where they are not known.
    """

    what: str
    name: str
    old: str | None
    new: str | None
    old_size: int | None = None
    new_size: int | None = None


@dataclass
class Explanation:
    """What would become of one job (or source), and why.

    state: `source`, `up to date`, `cached` (its result would be taken from the cache), `would run`, or `undecided`
    (with `problem`). because: (input, job's first target) of each input that would be made anew first.
    """

    target: str
    state: str
    rule: str | None = None
    where: str | None = None
    outputs: list[str] = field(default_factory=list)
    key: str | None = None
    last: Last | None = None
    failed: FailedTry | None = None
    changes: list[Change] = field(default_factory=list)
    because: list[tuple[str, str]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # outputs that are not there
    edited: list[str] = field(default_factory=list)  # outputs that are not as bflow wrote them, or are not bflow's
    always: str | None = None  # phony or inplace: it runs each time
    problem: str | None = None
    causes: list[Explanation] = field(default_factory=list)  # the first ones of the chain in `because`


# ---- rows ------------------------------------------------------------------------------------------------------


def compare(old: Rows, new: Rows) -> list[Change]:
    """The rows that differ between two manifests; none only where both have the same key."""
    before, after = _by_name(old), _by_name(new)
    changes = [
        Change(what, name, before.get((what, name, n)), after.get((what, name, n)))
        for what, name, n in dict.fromkeys([*after, *before])
        if before.get((what, name, n)) != after.get((what, name, n))
    ]
    if not changes and [tuple(row) for row in old] != [tuple(row) for row in new]:
        changes.append(Change("order", "", None, None))
    return changes


def _by_name(rows: Rows) -> dict[tuple[str, str, int], str]:
    """Rows by section, name and how often both stood before."""
    found: dict[tuple[str, str, int], str] = {}
    for what, name, value in rows:
        n = 0
        while (what, name, n) in found:
            n += 1
        found[(what, name, n)] = value
    return found


def between(old: Entry, new: Entry) -> list[Change]:
    """What differs between two results of one target, files that their depfiles named included."""
    changes = compare(old.result.get("manifest") or [], new.result.get("manifest") or [])
    before, after = (dict(entry.result.get("read") or ()) for entry in (old, new))
    names = [name for name in dict.fromkeys([*after, *before]) if before.get(name) != after.get(name)]
    changes.extend(Change("header", name, before.get(name), after.get(name)) for name in names)
    sizes = [{row["name"]: row.get("size") for row in entry.result.get("inputs") or ()} for entry in (old, new)]
    for change in changes:
        if change.what in ("input", "header"):
            change.old_size, change.new_size = (known.get(change.name) for known in sizes)
    return changes


# ---- jobs ------------------------------------------------------------------------------------------------------


class Explainer:
    """Explains the jobs of one dry run. `before` are the records of the files as they were before it looked at them."""

    def __init__(self, session: Session, build: Build, before: dict[str, bytes]) -> None:
        self.session = session
        self.build = build
        self.plan = build.plan
        self.before = before
        self.history = History(session)

    def asked(self) -> list[Explanation]:
        """An explanation of each thing that was asked for, in order, each once."""
        found: dict[Any, Explanation] = {}
        for _, files, jobs in self.plan.goals:
            for f in files:
                maker = self.plan.maker[f]
                if maker >= 0:
                    if maker not in found:
                        found[maker] = self.job(maker)
                else:
                    found.setdefault(("source", f), Explanation(self.plan.paths[f], "source"))
            for number in jobs:
                if number not in found:
                    found[number] = self.job(number)
        return list(found.values())

    def job(self, number: int, *, causes: bool = True) -> Explanation:
        """Why one job would run, be restored, or is up to date."""
        build = self.build
        job = build.decider.job(number)
        state = build.summary.states.get(number, "undecided").replace("_", " ")
        span = job.rule.span
        found = Explanation(
            job.target, state, job.rule.name, str(span) if span is not None else None, list(job.outputs)
        )
        if state not in ("up to date", "cached", "would run"):
            found.state = "undecided"
            found.problem = build.summary.errors.get(number) or "a job before it could not be decided"
            return found
        found.always = "phony" if job.rule.phony else "inplace" if job.rule.inplace else None
        if found.always:
            return found
        key = build.decider.keys.get(number)
        found.key = None if key is None else key.hex()
        found.last = self.history.last(job.outputs)
        found.failed = self.history.failed(job.outputs, found.last)
        found.because = self._because(number)
        if causes:
            found.causes = self._causes(number)
        if state == "up to date":
            return found
        try:
            identity = self._identity(job)
        except FlowError as error:
            found.problem = error.message
            return found
        if not found.because:
            found.key = identity.key.hex() if identity.key else None
        if found.last is not None and found.last.entry is not None:
            found.changes = self._changes(job, identity, found.last.entry)
        self._outputs(job, found)
        return found

    def _because(self, number: int) -> list[tuple[str, str]]:
        plan = self.plan
        pairs = []
        for f in dict.fromkeys(self.build.lookup.remade(number)):
            outputs = plan.outputs[plan.maker[f]]
            pairs.append((plan.paths[f], plan.paths[outputs[0]] if outputs else plan.paths[f]))
        return pairs

    def _causes(self, number: int, most: int = 5) -> list[Explanation]:
        """The jobs before it that would run for a reason of their own."""
        found: list[Explanation] = []
        seen = {number}
        stack = [number]
        while stack and len(found) < most:
            job = stack.pop()
            before = [self.plan.maker[f] for f in self.build.lookup.remade(job)]
            if not before and job != number:
                found.append(self.job(job, causes=False))
            for other in reversed(list(dict.fromkeys(before))):
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        return found

    def _identity(self, job: Job) -> Identity:
        """Today's rows. What a job would make anew has no digest yet."""
        digests = self.build.decider.digests
        for f in self.build.lookup.remade(job.number):
            digests.setdefault(f, UNKNOWN)
        return self.build.decider.identity(job)

    def _changes(self, job: Job, identity: Identity, entry: Entry) -> list[Change]:
        remade = {self.plan.paths[f] for f in self.build.lookup.remade(job.number)}
        folders = {
            name for name, f in zip(job.inputs, job.input_ids, strict=True)
            if (tree := self.plan.tree(job.number, f)) and any(self.plan.paths[m] in remade for m in tree[0])
        }  # fmt: skip
        names = {staged: name for name, staged in job.staged.items()}
        changes = []
        for change in compare(entry.result.get("manifest") or [], identity.rows):
            if change.what == "input":
                change.name = names.get(change.name, change.name)
                if change.name in remade | folders and change.old is not None:
                    continue  # it is told of in `because`
                if change.name in remade | folders:
                    change.new = ""
                self._sizes(change, job, entry)
            changes.append(change)
        return changes + self._headers(job, identity, entry)

    def _headers(self, job: Job, identity: Identity, entry: Entry) -> list[Change]:
        """What a depfile named at the last run, and is other now."""
        now = {name: digest.hex() for name, digest in identity.read}
        changes = []
        for name, old in entry.result.get("read") or ():
            new = now.get(name) if identity.key is not None else self._digest(name, job)
            if new != old:
                change = Change("header", name, old, new)
                self._sizes(change, job, entry)
                changes.append(change)
        return changes

    def _digest(self, name: str, job: Job) -> str | None:
        """The digest of today of a file that a depfile named; None where it is gone."""
        decider = self.build.decider
        f = self.plan.ids.get(name)
        try:
            if f is not None and f in (*job.input_ids, *job.extra_ids, *job.after_ids):
                return decider.digest(f, job.number).hex()
            return decider.external(name).hex()
        except FlowError:
            return None

    def _sizes(self, change: Change, job: Job, entry: Entry) -> None:
        if change.new:
            f = self.plan.ids.get(change.name)
            place = self.build.decider.place(f) if f is not None else self.session.disk.path(change.name)
            if os.path.isfile(place):
                change.new_size = os.stat(place).st_size
        for row in entry.result.get("inputs") or ():
            if row["name"] == change.name:
                change.old_size = row.get("size")
        data = self.before.get(change.name)
        if change.old_size is None and data is not None and change.old:
            record = FileRecord.unpack(data)
            if record.digest.hex() == change.old:
                change.old_size = record.signature[0]

    def _outputs(self, job: Job, found: Explanation) -> None:
        """Which outputs are not there, or not bflow's."""
        disk = self.session.disk
        for name in job.outputs:
            if self.build.temporaries.stays_in_cache(job, name):
                continue
            if not os.path.lexists(disk.path(name.rstrip("/"))):
                found.missing.append(name)
                continue
            data = self.before.get(name)
            if data is None or not FileRecord.unpack(data).flags & WRITTEN or not disk.ours(name):
                found.edited.append(name)


def explain(
    session: Session, targets: Iterable[str], *, env: str | None = None, default_env: str | None = None
) -> list[Explanation]:
    """Explain targets (paths from the root; none: the default). Raises FlowError where one cannot be planned."""
    from buildflow.dry import dry_run

    before = dict(session.state.files)
    build = dry_run(session, session.resolve(list(targets)), env=env, default_env=default_env)
    return Explainer(session, build, before).asked()
