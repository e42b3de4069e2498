"""Making room in a cache: entries that nobody holds go, the oldest first, by rename.

Who holds what is `roots`' to say. A build that finds an entry gone takes it for a miss.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from buildflow.cache import RESULT, Cache, read_entry
from buildflow.entries import KINDS, dependency_files, entry_folders, size
from buildflow.roots import Roots, holds


class Candidate(NamedTuple):
    """An entry: when it was made (seconds since 1970) and its bytes."""

    made: float
    path: str
    key: str
    size: int


@dataclass
class Collected:
    """What was removed and what stays (bytes); `held`: entries and bytes that a workspace or a build holds."""

    removed: list[Candidate] = field(default_factory=list)
    freed: int = 0
    left: int = 0
    held: int = 0
    held_size: int = 0
    workspaces: list[str] = field(default_factory=list)


def collect(
    cache: Cache, workspace: str, *, max_size: float | None = None, made_before: float | None = None,
    dry: bool = False,
) -> Collected:  # fmt: skip
    """Remove the entries of the cache's own root that nobody holds and that were made before a time, and then the
    oldest until the rest has at most `max_size` bytes. `workspace` holds what it has even where the cache does not know
    it. `dry`: only say which."""
    roots = Roots(cache.root, workspace)
    found = Collected()
    free: list[Candidate] = []
    for one in sorted(_candidates(cache.root)):
        found.left += one.size
        if _held(roots, one):
            found.held += 1
            found.held_size += one.size
        else:
            free.append(one)
    for one in free:
        old = made_before is not None and one.made < made_before
        if not old and (max_size is None or found.left <= max_size):
            continue
        if not dry:
            if roots.changed() and _held(roots, one):
                found.held += 1
                found.held_size += one.size
                continue
            cache.discard(one.path)
            if os.path.exists(one.path):
                continue  # somebody else's, whom modes protect
        found.removed.append(one)
        found.freed += one.size
        found.left -= one.size
    found.workspaces = [held.place for held in roots.held]
    if not dry:
        cache.sweep()
        roots.forget_dead()
        _drop_dependencies(cache.root)
    return found


def _candidates(root: str) -> Iterator[Candidate]:
    for path, _, key in entry_folders(root):
        try:
            made = os.stat(f"{path}/{RESULT}").st_mtime
        except OSError:
            made = 0.0  # broken: nobody can use it
        yield Candidate(made, path, key, size(path))


def _held(roots: Roots, one: Candidate) -> bool:
    key = bytes.fromhex(one.key)
    outputs = []
    if any(held.since is not None for held in roots.held):
        entry = read_entry(one.path)
        outputs = entry.outputs if entry is not None else []
    return any(holds(held, key, one.made, outputs) for held in roots.held)


def _drop_dependencies(root: str) -> None:
    """Remove what jobs with a depfile read where none of the entries that this leads to is there any more."""
    for path, keys in dependency_files(root):
        shelves = (f"{root}/{key[:2]}/{kind}-{key}" for key in keys for kind in KINDS)
        if not any(os.path.exists(shelf) for shelf in shelves):
            try:
                os.unlink(path)
            except OSError:
                continue
