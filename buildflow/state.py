"""What the project remembers from build to build: signatures and digests of files, results by key, durations.

One file, `.bflow/state`: a base, then batches of changes, each with its length and checksum, so that a driver killed in
the middle of a write loses that batch and nothing else. It is knowledge only: without it everything is made anew.
"""

from __future__ import annotations

import contextlib
import errno
import marshal
import os
import struct
import zlib
from typing import Any

from buildflow.digest import Signature

MAGIC = b"bflow state 1\n"
_HEAD = struct.Struct("<QI")
_FILE = struct.Struct("<qqQqIB16s")

WRITTEN, RACY, LINKED, TREE = 1, 2, 4, 8

_TABLES = ("files", "results", "trees", "depends", "seconds", "misc")


class FileRecord:
    """What is known of one path: signature, digest, flags and, where bflow wrote it, its job's key."""

    __slots__ = ("signature", "digest", "flags", "key")

    def __init__(self, signature: Signature, digest: bytes, flags: int, key: bytes = b"") -> None:
        self.signature = signature
        self.digest = digest
        self.flags = flags
        self.key = key

    @classmethod
    def unpack(cls, data: bytes) -> FileRecord:
        size, mtime, ino, ctime, mode, flags, digest = _FILE.unpack_from(data)
        return cls((size, mtime, ino, ctime, mode), digest, flags, data[_FILE.size :])

    def pack(self) -> bytes:
        size, mtime, ino, ctime, mode = self.signature
        return _FILE.pack(size, mtime, ino, ctime, mode, self.flags, self.digest) + self.key


class State:
    """Tables: `files` path → packed record; `results` key → digests of the outputs, in order; `trees` path of a made
    folder → its listing; `depends` first-level key → manifests; `seconds` rule → duration; `misc` anything small.

    Writing goes through `put` and `drop`; `flush` appends what changed. Values are what marshal can write.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.tables: dict[str, dict[Any, Any]] = {name: {} for name in _TABLES}
        self.changes: list[tuple[str, Any, Any]] = []
        self.writable = True
        self._fd = -1
        self._base = 0
        self._good = 0
        self._read: tuple[int, int] | None = None  # what was read: whether it is still so
        self._load()
        self.files: dict[str, bytes] = self.tables["files"]
        self.results: dict[bytes, bytes] = self.tables["results"]
        self.trees: dict[str, Any] = self.tables["trees"]
        self.depends: dict[bytes, Any] = self.tables["depends"]
        self.seconds: dict[str, float] = self.tables["seconds"]
        self.misc: dict[str, Any] = self.tables["misc"]

    def _load(self) -> None:
        try:
            with open(self.path, "rb") as file:
                data = file.read()
                self._read = _version(file.fileno())
        except OSError:
            return
        if not data.startswith(MAGIC):
            return
        place = len(MAGIC)
        first = True
        while place + _HEAD.size <= len(data):
            length, check = _HEAD.unpack_from(data, place)
            payload = memoryview(data)[place + _HEAD.size : place + _HEAD.size + length]
            if len(payload) != length or zlib.crc32(payload) != check:
                break
            if not length:
                break
            batch = marshal.loads(payload)
            if first:
                self.tables = {name: batch.get(name, {}) for name in _TABLES}
                self._base = length
                first = False
            else:
                for table, key, value in batch:
                    if value is None:
                        self.tables[table].pop(key, None)
                    else:
                        self.tables[table][key] = value
            place += _HEAD.size + length
        if not first:
            self._good = place

    def put(self, table: str, key: Any, value: Any) -> None:
        self.tables[table][key] = value
        self.changes.append((table, key, value))

    def drop(self, table: str, key: Any) -> None:
        if self.tables[table].pop(key, None) is not None:
            self.changes.append((table, key, None))

    def flush(self) -> None:
        """Append what changed since the last flush; fold everything when the appended part outgrew the base."""
        if not self.changes or not self.writable:
            return
        payload = marshal.dumps(self.changes)
        if self._good == 0 or self._good + len(payload) > 2 * self._base + (1 << 20):
            self.fold()
            return
        self._append(payload)

    def _append(self, payload: bytes) -> None:
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_WRONLY)
            os.ftruncate(self._fd, self._good)  # what a killed driver left half written
        data = _HEAD.pack(len(payload), zlib.crc32(payload)) + payload
        if os.pwrite(self._fd, data, self._good) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)
        self._good += len(data)
        self.changes = []

    def fold(self) -> None:
        """Write everything as a new base, by rename."""
        if not self.writable:
            return
        payload = marshal.dumps(self.tables)
        self.close()
        temporary = f"{self.path}.new"
        with open(temporary, "wb") as file:
            file.write(MAGIC + _HEAD.pack(len(payload), zlib.crc32(payload)))
            file.write(payload)
            file.flush()
            self._read = _version(file.fileno())
        os.replace(temporary, self.path)
        self._base = len(payload)
        self._good = len(MAGIC) + _HEAD.size + len(payload)
        self.changes = []

    def close(self) -> None:
        """Give the descriptor back. What was read stays, and can be written again."""
        if self._fd >= 0:
            self._read = _version(self._fd)
            os.close(self._fd)
            self._fd = -1

    def is_current(self) -> bool:
        """Of one that was closed: whether nobody has written the file since."""
        return self._read == _version(self.path)

    def flush_if_possible(self) -> None:
        """For commands that change nothing: keep the digests that they made, where that can be written.

        They hold no lock, so nothing is written while a build runs, or where one has written since the state was read.
        That a file is bflow's is for builds to say.
        """
        self.changes = [
            c for c in self.changes if c[0] == "files" and c[2] and not FileRecord.unpack(c[2]).flags & WRITTEN
        ]
        if not self.changes or not os.path.isdir(os.path.dirname(self.path)):
            return
        import fcntl

        with contextlib.suppress(OSError):
            lock = os.open(os.path.join(os.path.dirname(self.path), "lock"), os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._good and self._read == _version(self.path):
                    self._append(marshal.dumps(self.changes))
            finally:
                os.close(lock)


def _version(file: int | str) -> tuple[int, int] | None:
    """Which file it is and how far it was written; None where there is none."""
    try:
        st = os.stat(file)
    except OSError:
        return None
    return st.st_ino, st.st_size
