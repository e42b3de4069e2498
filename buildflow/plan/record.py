"""Writes the snapshot of a build that went well: collects all that its plan and keys were read from."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from buildflow.plan.snapshot import Snapshot, is_racy, listing, place_of, signature
from buildflow.state import LINKED, WRITTEN, FileRecord

if TYPE_CHECKING:
    from buildflow.decide import Decider


def record(decider: Decider, folder: str, request: str, temporary: set[int]) -> bool:
    """Take the snapshot of a finished build. False, and none is left, where this build cannot have one.

    `temporary`: the numbers of outputs that are not placed in the workspace. Every signature must be the one that the
    state has with the digest that was used: what changed since is not vouched for.
    """
    path = place_of(folder, request)
    snapshot = _collect(decider, request, temporary)
    if snapshot is None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        return False
    snapshot.write(path)
    return True


def _collect(decider: Decider, request: str, temporary: set[int]) -> Snapshot | None:
    resolver, plan, disk, state = decider.resolver, decider.plan, decider.disk, decider.state
    reads = resolver.reads
    rules = resolver.builder.rules
    if any(rules[r].phony or rules[r].inplace or rules[r].input_function is not None for r in set(plan.rule)):
        return None
    now = time.time_ns()
    snapshot = Snapshot()
    snapshot.request = request
    snapshot.root = resolver.builder.root
    seen: set[str] = set()

    def add(name: str, place: str, known: FileRecord | None) -> bool:
        """One file; `known`: the record that its digest is from."""
        if name in seen:
            return True
        seen.add(name)
        try:
            sig = signature(place)
        except OSError:
            return False
        flags = 0
        if known is not None:
            size, mtime, ino, ctime, mode = known.signature
            if (mtime, ino, size, mode) != sig[1:] or (ctime != sig[0] and not known.flags & LINKED):
                return False
            flags = known.flags
        if flags & LINKED:
            snapshot.linked.append(len(snapshot.files))
        elif not flags & WRITTEN and is_racy(sig[0], sig[1], now):
            from buildflow.digest import stable_digest

            digest = stable_digest(place)[1]
            if known is not None and known.digest != digest:
                return False
            snapshot.racy[len(snapshot.files)] = digest
        snapshot.files.append(name)
        snapshot.signatures.append(sig)
        return True

    trees = {f if isinstance(f, int) else f[1] for f in plan.trees}  # unmade folders: their members stand for them
    for f, name in enumerate(plan.paths):
        if f in temporary or plan.within.get(f) in temporary or f in trees:
            continue
        place = disk.path(name)
        if name.endswith("/"):
            rows = state.trees.get(name)
            if rows is None:
                return None
            for row in rows:
                inner = f"{name}{row[0]}" if row[0] else name
                if row[1] == "d":
                    snapshot.folders.append(inner)
                    snapshot.folder_signatures.append((row[2][1], row[2][2]))
                elif row[1] == "f" and inner not in seen:
                    size, mtime, ino, ctime, mode = row[2]
                    seen.add(inner)
                    snapshot.files.append(inner)
                    snapshot.signatures.append((ctime, mtime, ino, size, mode))
            continue
        if plan.maker[f] < 0 and f not in decider.digests and not os.path.islink(place):
            if not add(name, place, None):  # a goal that is a source, an order-only input
                return None
            continue
        if os.path.islink(place) and not os.path.exists(place):
            return None
        known = disk.record(name)
        if known is not None and f in decider.digests and known.digest != decider.digests[f]:
            return None
        if not add(name, place, known):
            return None
    for name, digest in decider.outside.items():
        known = disk.record(name)
        if known is None or known.digest != digest or not add(name, disk.path(name), known):
            return None
    for name, before in reads.files.items():
        try:
            now_there = signature(disk.path(name))
        except OSError:
            return None
        if now_there != before or not add(name, disk.path(name), None):
            return None  # changed since it was read
    made = {p.rstrip("/") for p in plan.paths}
    parents = _parents(plan.paths[f] for f in range(len(plan.paths)) if plan.maker[f] >= 0)
    for name, listed in reads.folders.items():
        place = disk.path(name) if name else disk.root
        try:
            st = os.stat(place)
        except OSError:
            snapshot.absent.append(name)
            continue
        if st.st_mtime_ns + _TICK >= listed and _has_news(place, name, listed - _TICK, made, parents):
            return None
        if is_racy(0, st.st_mtime_ns, now):
            snapshot.racy_folders[len(snapshot.folders)] = listing(place)
        snapshot.folders.append(name)
        snapshot.folder_signatures.append((st.st_mtime_ns, st.st_ino))
    for name in reads.absent:
        if name.rstrip("/") in made or name in seen:
            continue  # it was absent when it was looked for, and is made now
        if os.path.lexists(disk.path(name)):
            return None
        snapshot.absent.append(name)
    snapshot.absent = [str(name) for name in snapshot.absent]  # marshal takes no mentions and globs
    snapshot.files = [str(name) for name in snapshot.files]
    snapshot.folders = [str(name) for name in snapshot.folders]
    snapshot.variables = dict(reads.variables)
    snapshot.commands = dict(reads.commands)
    snapshot.jobs = len(plan.rule)
    snapshot.notes = list(resolver.empty.values())
    return snapshot


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
