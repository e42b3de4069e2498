"""The project's files: what stands there, whose it is, and its digest, remembered by signature.

A file is *ours* where bflow wrote it and it is unchanged since; every other file is the user's. Names are the project's
(relative to the root, or absolute).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from buildflow.digest import Signature, signature, stable_digest, tree_digest
from buildflow.errors import FlowError
from buildflow.state import LINKED, RACY, TREE, WRITTEN, FileRecord, State

if TYPE_CHECKING:
    from buildflow.ignore import Ignore


class Disk:
    """Files below `root` (and outside ones by absolute or `../` name) with their records in `state`."""

    def __init__(self, root: str, state: State) -> None:
        self.root = root
        self.state = state
        self._ignore: Ignore | None = None
        self._members: dict[str, tuple[Any, dict[str, Signature]]] = {}
        self.placed: list[bytes] = []  # the keys of what was placed, or found to stand, since this was made

    @property
    def ignore(self) -> Ignore:
        if self._ignore is None:
            from buildflow.ignore import Ignore

            self._ignore = Ignore(self.root)
        return self._ignore

    def path(self, name: str) -> str:
        return name if name[:1] == "/" else f"{self.root}/{name}"

    def stat(self, name: str) -> os.stat_result | None:
        """The status of what stands at a name (links followed), None where nothing does."""
        try:
            return os.stat(self.path(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG or os.path.islink(self.path(name)):
                return None
            raise FlowError(f"cannot look at {name}: {error.strerror}") from None

    def record(self, name: str) -> FileRecord | None:
        data = self.state.files.get(name)
        return None if data is None else FileRecord.unpack(data)

    def ours(self, name: str) -> bool:
        """Whether bflow wrote what stands there, and it is unchanged since."""
        data = self.state.files.get(name)
        if self.state.trees and self._member(name):
            return True
        if data is None:
            return False
        record = FileRecord.unpack(data)
        if not record.flags & WRITTEN:
            return False
        if record.flags & TREE:
            return self.tree_unchanged(name)
        return self.holds(name, record)

    def only_ours(self, folder: str) -> bool:
        """Whether a folder holds nothing but files that bflow wrote and that are unchanged; `folder` ends in `/`."""
        for place, names, files in os.walk(self.path(folder)):
            below = place[len(self.path(folder)) :].strip("/")
            prefix = f"{folder}{below}/" if below else folder
            if any(os.path.islink(f"{place}/{name}") for name in names):
                return False
            if any(os.path.islink(f"{place}/{name}") or not self.ours(prefix + name) for name in files):
                return False
        return True

    def _member(self, name: str) -> bool:
        """Whether a path lies in a made folder and is as bflow placed it there."""
        end = name.find("/")
        while end >= 0:
            folder = name[: end + 1]
            listing = self.state.trees.get(folder)
            if listing is not None and folder != name:
                members = self._members.get(folder)
                if members is None or members[0] is not listing:
                    members = self._members[folder] = (listing, {row[0]: tuple(row[2]) for row in listing})
                known = members[1].get(name[end + 1 :].rstrip("/"))
                return known is not None and (name.endswith("/") or known == self.signature(name))
            end = name.find("/", end + 1)
        return False

    def holds(self, name: str, record: FileRecord) -> bool:
        """Whether the file of a record is unchanged; where only its signature moved, by its digest."""
        try:
            found = os.stat(self.path(name))
        except OSError:
            return False
        sig = signature(found)
        if _same(record, sig) and not record.flags & RACY:
            return True
        if not stat.S_ISREG(sig[4]) or (sig[0] != record.signature[0]):
            return False
        return self.digest(name) == record.digest

    def digest(self, name: str) -> bytes:
        """The digest of a regular file. Raises FlowError where there is none or it cannot be read."""
        path = self.path(name)
        try:
            sig = signature(os.stat(path))
        except OSError as error:
            raise FlowError(f"cannot read {name}: {error.strerror}") from None
        data = self.state.files.get(name)
        record = None
        if data is not None:
            record = FileRecord.unpack(data)
            if _same(record, sig) and not record.flags & (RACY | TREE):
                return record.digest
        try:
            sig, digest, racy = stable_digest(path)
        except OSError as error:
            raise FlowError(f"cannot read {name}: {error.strerror}") from None
        flags = RACY if racy else 0
        key = b""
        if record is not None and record.flags & WRITTEN and record.digest == digest:
            flags |= record.flags & (WRITTEN | LINKED)
            key = record.key
        self.state.put("files", name, FileRecord(sig, digest, flags, key).pack())
        return digest

    def signature(self, name: str) -> Signature | None:
        try:
            return signature(os.stat(self.path(name)))
        except OSError:
            return None

    def written(self, name: str, digest: bytes, key: bytes, linked: bool) -> None:
        """Remember a file that bflow just placed."""
        sig = signature(os.stat(self.path(name)))
        flags = WRITTEN | (LINKED if linked else 0)
        self.state.put("files", name, FileRecord(sig, digest, flags, key).pack())
        self.placed.append(key)

    def forget(self, name: str) -> None:
        self.state.drop("files", name)
        self.state.drop("trees", name)

    # ---- made folders ------------------------------------------------------------------------------------------

    def written_tree(self, name: str, digest: bytes, key: bytes) -> None:
        """Remember a folder that bflow just placed; `name` ends in `/`."""
        listing = self._listing(name)
        sig = signature(os.stat(self.path(name)))
        self.state.put("files", name, FileRecord(sig, digest, WRITTEN | TREE, key).pack())
        self.state.put("trees", name, listing)
        self.placed.append(key)

    def _listing(self, name: str) -> list[tuple[str, str, Signature]]:
        _, listed = tree_digest(self.path(name), source=False, ignore=None, file_digest_of=lambda p, s: b"")
        return [(item.name, item.kind, item.signature) for item in listed]

    def tree_unchanged(self, name: str) -> bool:
        """Whether a made folder holds just what bflow placed there."""
        listing = self.state.trees.get(name)
        if listing is None:
            return False
        try:
            if self._listing(name) == [tuple(row) for row in listing]:
                return True
            record = self.record(name)
            if record is None:
                return False
            digest, _ = self.tree(name)
        except (OSError, FlowError):
            return False
        if digest != record.digest:
            return False
        self.written_tree(name, digest, record.key)
        return True

    def tree(self, name: str) -> tuple[bytes, list[str]]:
        """The digest of a made folder as it stands, and the files in it (paths below the folder)."""
        prefix = self.path(name)
        files: list[str] = []

        def of(path: str, st: os.stat_result) -> bytes:
            below = path[len(prefix) :].lstrip("/")
            files.append(below)
            return self.digest(name + below)

        digest, _ = tree_digest(prefix, source=False, ignore=None, file_digest_of=of)
        return digest, files


def _same(record: FileRecord, sig: Signature) -> bool:
    old = record.signature
    if old == sig:
        return True
    # a read-only hard link of the cache: a link elsewhere changes its ctime and nothing else
    return bool(record.flags & LINKED) and old[:3] == sig[:3] and old[4] == sig[4]
