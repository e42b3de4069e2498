"""Writes the snapshot of a build that went well: collects all that its plan and keys were read from."""

from __future__ import annotations

import contextlib
import os
import time
from array import array
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from buildflow.plan import stored
from buildflow.plan.snapshot import Snapshot, is_racy, listed, listing, place_of, signature
from buildflow.state import LINKED, WRITTEN, FileRecord

if TYPE_CHECKING:
    from buildflow.decide import Decider


def record(decider: Decider, folder: str, request: str, temporary: set[int]) -> Snapshot | None:
    """Write the snapshot of a finished build (see `collected`), or remove what is there where it cannot have one."""
    path = place_of(folder, request)
    snapshot = collected(decider, request, temporary)
    if snapshot is None:
        for name in (path, f"{path}.plan"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        return None
    if snapshot.numbers and decider.resolver.settled:  # else it takes more than the plan to go on with it
        snapshot.tag = os.urandom(8)
        resolver, plan = decider.resolver, decider.plan
        wildcards = {r: resolver.bindings.wildcards(resolver.builder.rules[r]) for r in set(plan.rule)}
        os.makedirs(os.path.dirname(path), exist_ok=True)
        stored.write(plan, wildcards, f"{path}.plan", snapshot.tag)
    snapshot.write(path)
    return snapshot


def collected(decider: Decider, request: str, temporary: set[int], *, phony: bool = False) -> Snapshot | None:
    """The snapshot of a finished build; None where this build cannot have one. `phony`: it may have jobs that always
    run, of which a snapshot says nothing.

    `temporary`: the numbers of outputs that are not placed in the workspace. Every signature must be the one that the
    state has with the digest that was used: what changed since is not vouched for.
    """
    collector = _Collector(decider, request, phony)
    return collector.snapshot if collector.collect(temporary) else None


def amend(snapshot: Snapshot, decider: Decider, files: list[int]) -> bool:
    """Bring a snapshot up to date for these files of its stored plan, after a build of what they affect. False where it
    cannot be vouched for any more."""
    collector = _Collector(decider, snapshot.request)
    collector.snapshot = snapshot
    return collector.amend(files)


class _Collector:
    """Collects one snapshot."""

    def __init__(self, decider: Decider, request: str, phony: bool = False) -> None:
        self.phony = phony
        self.decider = decider
        self.disk = decider.disk
        self.now = time.time_ns()
        self.seen: set[str] = set()
        self.snapshot = Snapshot()
        self.snapshot.request = request

    def _signature(self, place: str, known: FileRecord | None) -> tuple[Any, int, bytes | None] | None:
        """The signature of a file, the flags of its record, and its digest where the file could change and not the
        signature; None where it is not what `known`, the record that its digest is from, says."""
        try:
            sig = signature(place)
        except OSError:
            return None
        flags = 0
        if known is not None:
            size, mtime, ino, ctime, mode = known.signature
            if (mtime, ino, size, mode) != sig[1:] or (ctime != sig[0] and not known.flags & LINKED):
                return None
            flags = known.flags
        if not flags & (LINKED | WRITTEN) and is_racy(sig[0], sig[1], self.now):
            from buildflow.digest import stable_digest

            digest = stable_digest(place)[1]
            if known is not None and known.digest != digest:
                return None
            return sig, flags, digest
        return sig, flags, None

    def _add(self, name: str, place: str, known: FileRecord | None) -> bool:
        """One file; `known`: the record that its digest is from."""
        if name in self.seen:
            return True
        self.seen.add(name)
        found = self._signature(place, known)
        if found is None:
            return False
        snapshot = self.snapshot
        sig, flags, digest = found
        if flags & LINKED:
            snapshot.linked.append(len(snapshot.files))
        if digest is not None:
            snapshot.racy[len(snapshot.files)] = digest
        snapshot.files.append(name)
        snapshot.signatures.append(sig)
        return True

    def _add_stale(self, folder: str, prefix: str, made: set[str]) -> bool:
        """What bflow wrote into a listed folder and no rule makes any more is no source, as long as nobody edits it."""
        files = self.disk.state.files
        for base in os.listdir(folder):
            name = prefix + base
            if name in files and name not in made:
                known = self.disk.record(name)
                if known is not None and known.flags & WRITTEN and not self._add(name, self.disk.path(name), known):
                    return False
        return True

    def amend(self, files: list[int]) -> bool:
        """Take these files of the plan as they are now, and what was read besides."""
        snapshot, plan, decider = self.snapshot, self.decider.plan, self.decider
        numbers = snapshot.plan_files()
        linked = set(snapshot.linked)
        for f in files:
            if numbers[f] != f:
                return False
            name = plan.paths[f]
            known = self.disk.record(name) if f in decider.digests else None
            if f in decider.digests and (known is None or known.digest != decider.digests[f]):
                return False
            found = self._signature(self.disk.path(name), known)
            if found is None or (plan.maker[f] >= 0 and os.path.islink(self.disk.path(name))):
                return False
            snapshot.signatures[f], flags, digest = found
            snapshot.racy.pop(f, None)
            if digest is not None:
                snapshot.racy[f] = digest
            linked.add(f) if flags & LINKED else linked.discard(f)
        snapshot.linked = sorted(linked)
        snapshot.digests = _patched(snapshot.digests, {f: decider.digests[f] for f in files if f in decider.digests})
        snapshot.keys = _patched(snapshot.keys, decider.keys)
        return self._amend_reads(len(numbers))

    def _amend_reads(self, first: int) -> bool:
        """What the jobs that ran have read besides, as a depfile's headers: all of it must be known or be added."""
        snapshot, decider, reads = self.snapshot, self.decider, self.decider.resolver.reads
        ids = decider.plan.ids
        self.seen = set(snapshot.files[first:])
        for name, digest in decider.outside.items():
            known = self.disk.record(name)
            if known is None or known.digest != digest or not self._add(name, self.disk.path(name), known):
                return False
        for name, before in reads.files.items():
            if name not in ids and name not in self.seen:
                if signature(self.disk.path(name)) != before or not self._add(name, self.disk.path(name), None):
                    return False
        known_folders, known_absent = set(snapshot.folders), set(snapshot.absent)
        if not known_folders.issuperset(reads.folders) or snapshot.commands != reads.commands:
            return False
        for name in reads.absent:
            if name not in known_absent and name.rstrip("/") not in ids and name not in self.seen:
                snapshot.absent.append(str(name))
        snapshot.files = [str(name) for name in snapshot.files]
        return all(snapshot.variables.get(name, 0) == value for name, value in reads.variables.items())

    def collect(self, temporary: set[int]) -> bool:
        """All of a build that went well; False where it can have no snapshot."""
        found = self._collect(temporary)
        if found:
            self._number(temporary)
        return found

    def _number(self, temporary: set[int]) -> None:
        """Which files are those of the plan, where none of them has a say in what is planned."""
        snapshot, resolver, plan = self.snapshot, self.decider.resolver, self.decider.plan
        if temporary or plan.trees or plan.within or resolver.dynamic or snapshot.images:
            return
        if any(name.endswith("/") for name in plan.paths):
            return
        if snapshot.files[: len(plan.paths)] != plan.paths:
            return
        fixed = {*resolver.reads.files, *self.decider.outside}
        numbers = [-1 if name in fixed else f for f, name in enumerate(plan.paths)]
        snapshot.numbers = array("i", numbers).tobytes()
        digests, keys = self.decider.digests, self.decider.keys
        snapshot.digests = b"".join([digests.get(f, _NONE) for f in range(len(numbers))])
        snapshot.keys = b"".join([keys.get(job, _NONE) for job in range(len(plan.rule))])

    def _collect(self, temporary: set[int]) -> bool:
        resolver, plan, disk, state = self.decider.resolver, self.decider.plan, self.disk, self.decider.state
        reads = resolver.reads
        rules = resolver.builder.rules
        used = [rules[r] for r in set(plan.rule)]
        if any(rule.inplace or rule.input_function is not None or (rule.phony and not self.phony) for rule in used):
            return False
        if reads.volatile:
            return False
        decider, snapshot, seen, now = self.decider, self.snapshot, self.seen, self.now
        snapshot.root = resolver.builder.root
        trees = {f if isinstance(f, int) else f[1] for f in plan.trees}  # unmade folders: their members stand for them
        for f, name in enumerate(plan.paths):
            if f in temporary or plan.within.get(f) in temporary or f in trees:
                continue
            place = disk.path(name)
            if name.endswith("/"):
                rows = state.trees.get(name)
                if rows is None:
                    return False
                for row in rows:
                    inner = f"{name}{row[0]}" if row[0] else name
                    if row[1] == "d":
                        snapshot.listings.append(b"")
                        snapshot.folders.append(inner)
                        snapshot.folder_signatures.append((row[2][1], row[2][2]))
                    elif row[1] == "f" and inner not in seen:
                        size, mtime, ino, ctime, mode = row[2]
                        seen.add(inner)
                        snapshot.files.append(inner)
                        snapshot.signatures.append((ctime, mtime, ino, size, mode))
                continue
            if plan.maker[f] < 0 and f not in decider.digests and not os.path.islink(place):
                if not self._add(name, place, None):  # a goal that is a source, an order-only input
                    return False
                continue
            if os.path.islink(place) and not os.path.exists(place):
                return False
            known = disk.record(name)
            if known is not None and f in decider.digests and known.digest != decider.digests[f]:
                return False
            if not self._add(name, place, known):
                return False
        for name, digest in decider.outside.items():
            known = disk.record(name)
            if known is None or known.digest != digest or not self._add(name, disk.path(name), known):
                return False
        for name, before in reads.files.items():
            try:
                now_there = signature(disk.path(name))
            except OSError:
                return False
            if now_there != before or not self._add(name, disk.path(name), None):
                return False  # changed since it was read
        made = {p.rstrip("/") for p in plan.paths}
        parents = _parents(plan.paths[f] for f in range(len(plan.paths)) if plan.maker[f] >= 0)
        for name, when in reads.folders.items():
            place = disk.path(name) if name else disk.root
            try:
                st = os.stat(place)
            except OSError:
                snapshot.absent.append(name)
                continue
            if st.st_mtime_ns + _TICK >= when and _has_news(place, name, when - _TICK, made, parents):
                return False
            if not self._add_stale(place, f"{name}/" if name else "", made):
                return False
            snapshot.listings.append(listed(place))
            if is_racy(0, st.st_mtime_ns, now):
                snapshot.racy_folders[len(snapshot.folders)] = listing(place)
            snapshot.folders.append(name)
            snapshot.folder_signatures.append((st.st_mtime_ns, st.st_ino))
        for name in reads.absent:
            if name.rstrip("/") in made or name in seen:
                continue  # it was absent when it was looked for, and is made now
            if os.path.lexists(disk.path(name)):
                return False
            snapshot.absent.append(name)
        snapshot.absent = [str(name) for name in snapshot.absent]  # marshal takes no mentions and globs
        snapshot.files = [str(name) for name in snapshot.files]
        snapshot.folders = [str(name) for name in snapshot.folders]
        snapshot.variables = dict(reads.variables)
        snapshot.commands = dict(reads.commands)
        snapshot.images = dict(reads.images)
        snapshot.jobs = len(plan.rule)
        snapshot.notes = list(resolver.empty.values())
        return True


_NONE = bytes(16)


def _patched(rows: bytes, new: Mapping[int, bytes]) -> bytes:
    """Rows of 16 bytes, some of them replaced."""
    found = bytearray(rows)
    for i, row in new.items():
        found[16 * i : 16 * i + 16] = row
    return bytes(found)


_TICK = 20_000_000


def _parents(paths: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for path in paths:
        parent = path.rstrip("/").rpartition("/")[0]
        while parent and parent not in found:
            found.add(parent)
            parent = parent.rpartition("/")[0]
    return found


def _has_news(place: str, name: str, since: int, made: set[str], parents: set[str]) -> bool:
    """Whether something that bflow did not make came into a folder after it was listed for the plan."""
    prefix = f"{name}/" if name else ""
    with os.scandir(place) as scan:
        for entry in scan:
            path = prefix + entry.name
            if path in made or path in parents or entry.name == ".bflow":
                continue
            try:
                if entry.stat(follow_symlinks=False).st_ctime_ns >= since:
                    return True
            except OSError:
                return True
    return False
