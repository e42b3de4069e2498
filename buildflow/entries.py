"""What a cache root holds, as far as one can tell by walking through it: every entry, its size, what is broken.

Finding the entry of a key is `buildflow.cache`'s business and needs no walk.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from buildflow.cache import Entry, read_entry

if TYPE_CHECKING:
    from buildflow.cache import Cache

KINDS = ("shell", "python", "call")
_SHELF = re.compile(r"[0-9a-f]{2}")
_ENTRY = re.compile(r"(shell|python|call)-([0-9a-f]{32})")
_DEPENDS = re.compile(r"deps-([0-9a-f]{32})\.json")  # what jobs with a depfile read


class Found(NamedTuple):
    """One entry's folder. `entry` is None where its result.json cannot be read."""

    path: str
    kind: str
    key: str
    entry: Entry | None

    @property
    def targets(self) -> list[str]:
        outputs = self.entry.outputs if self.entry is not None else []
        return [str(output.get("name")) for output in outputs if isinstance(output, dict)]


def entry_folders(root: str) -> Iterator[tuple[str, str, str]]:
    """Path, kind and key (hex) of every entry of a root, sorted."""
    for shelf in _names(root):
        if _SHELF.fullmatch(shelf):
            for name in _names(f"{root}/{shelf}"):
                match = _ENTRY.fullmatch(name)
                if match is not None:
                    yield f"{root}/{shelf}/{name}", match[1], match[2]


def entries(roots: Sequence[str]) -> Iterator[Found]:
    """Every entry of the roots, in their order."""
    for number, root in enumerate(roots):
        for path, kind, key in entry_folders(root):
            yield Found(path, kind, key, read_entry(path, readonly=number > 0))


def entries_of_key(cache: Cache, key: bytes) -> Iterator[Entry]:
    """The entries of a key, of whichever kind, in whichever root."""
    text = key.hex()
    for root in cache.roots:
        for kind in KINDS:
            entry = read_entry(f"{root}/{text[:2]}/{kind}-{text}", readonly=root != cache.root)
            if entry is not None:
                yield entry


def newest_entries(cache: Cache) -> dict[str, Entry]:
    """For each target the entry that was made last of those that say they made it. It reads every entry."""
    newest: dict[str, Entry] = {}
    for found in entries(cache.roots):
        entry = found.entry
        if entry is None or entry.result.get("key") != found.key:
            continue
        for name in found.targets:
            best = newest.get(name)
            if best is None or ended(entry) > ended(best):
                newest[name] = entry
    return newest


def entries_making(cache: Cache, name: str) -> Iterator[Entry]:
    """The entries that were made for a target of that name. It reads every entry."""
    for found in entries(cache.roots):
        if found.entry is not None and found.entry.result.get("key") == found.key and name in found.targets:
            yield found.entry


def ended(entry: Entry) -> float:
    """When an entry was made (seconds since 1970)."""
    time = entry.result.get("ended")
    return float(time) if isinstance(time, (int, float)) else 0.0


def size(path: str) -> int:
    """The bytes of all files of an entry."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total


def damage(cache: Cache, found: Found) -> list[str]:
    """What is wrong with an entry: a name for each damaged output, and `result.json` where that is not as written."""
    entry = found.entry
    if entry is None:
        return ["result.json"]
    wrong = [] if _consistent(found, entry) else ["result.json"]
    try:
        return wrong + cache.verify(entry)
    except (KeyError, TypeError, ValueError):
        return ["result.json"]


def _consistent(found: Found, entry: Entry) -> bool:
    """Whether result.json is of this key: the manifest that it holds has to hash to it."""
    from buildflow.keys import key_of, second_key

    result = entry.result
    try:
        if result["key"] != found.key or result["kind"] != found.kind:
            return False
        manifest = result.get("manifest")
        if not manifest:
            return True
        key = key_of(tuple(row) for row in manifest)
        if any(row[0] == "depfile" for row in manifest):
            key = second_key(key, [(name, bytes.fromhex(digest)) for name, digest in result["read"]])
        return key.hex() == found.key
    except (KeyError, TypeError, ValueError):
        return False


def dependency_files(root: str) -> Iterator[tuple[str, list[str]]]:
    """Path of each file that says what jobs with a depfile read, and the keys (hex) that it leads to."""
    import json

    from buildflow.keys import second_key

    for shelf in _names(root):
        for name in _names(f"{root}/{shelf}") if _SHELF.fullmatch(shelf) else ():
            match = _DEPENDS.fullmatch(name)
            if match is None:
                continue
            first = bytes.fromhex(match[1])
            try:
                with open(f"{root}/{shelf}/{name}", "rb") as file:
                    reads = [json.loads(line) for line in file.read().splitlines()]
                keys = [second_key(first, [(n, bytes.fromhex(d)) for n, d in read]).hex() for read in reads]
            except (OSError, ValueError, TypeError):
                continue
            yield f"{root}/{shelf}/{name}", keys


def is_empty(root: str) -> bool:
    """Whether a cache root is not there, or holds nothing but who uses it."""
    from buildflow.roots import FOLDER as ROOTS

    return not set(_names(root)) - {ROOTS}


def remove_all(root: str) -> list[str]:
    """Remove a cache from its root, entries by rename first; what else stands there stays, and is named."""
    from buildflow.cache import OPEN
    from buildflow.files import remove_tree
    from buildflow.roots import FOLDER as ROOTS

    aside = f"{root}/{OPEN}/clean-{os.getpid()}"
    for shelf in [name for name in _names(root) if _SHELF.fullmatch(name)]:
        for name in _names(f"{root}/{shelf}"):
            if _ENTRY.fullmatch(name) or _DEPENDS.fullmatch(name):
                os.makedirs(f"{root}/{OPEN}", exist_ok=True)
                try:
                    os.rename(f"{root}/{shelf}/{name}", aside)
                except OSError:
                    continue
                remove_tree(aside)
        _remove_empty(f"{root}/{shelf}")
    _remove_empty(f"{root}/{OPEN}")
    remove_tree(f"{root}/{ROOTS}")
    _remove_empty(root)
    return _names(root)


def _remove_empty(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError:
        pass


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
