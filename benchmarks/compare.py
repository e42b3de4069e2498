"""Whether two tools made the same files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from pathlib import Path

Listing = dict[str, tuple[str, str]]


def listing(root: Path, own: Collection[str]) -> Listing:
    """Each file below `root` by its path, with its kind and the digest of its bytes, or a link's text.

    Left out: what is named in `own` at the top, folders that hold nothing, and depfiles, which some tools keep.
    """
    found: Listing = {}
    for folder, folders, files in os.walk(root):
        if folder == str(root):
            folders[:] = [name for name in folders if name not in own]
            files = [name for name in files if name not in own]
        for name in [*files, *(name for name in folders if os.path.islink(f"{folder}/{name}"))]:
            path = f"{folder}/{name}"
            if name.endswith(".d"):
                continue
            if os.path.islink(path):
                entry = ("link", os.readlink(path))
            elif os.path.isfile(path):
                kind = "executable" if os.stat(path).st_mode & 0o100 else "file"
                entry = (kind, _digest(path))
            else:
                entry = ("special", "")
            found[os.path.relpath(path, root)] = entry
    return found


def _digest(path: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def difference(ours: Listing, theirs: Listing) -> str:
    """The first path in which two listings differ, and how many do; "" where none does."""
    paths = sorted(path for path in {*ours, *theirs} if ours.get(path) != theirs.get(path))
    if not paths:
        return ""
    first = paths[0]
    what = "only theirs" if first not in ours else "only ours" if first not in theirs else "other bytes or mode"
    return f"{len(paths)} files differ, the first: {first} ({what})"
