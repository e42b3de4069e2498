"""The roots of a cache: which workspaces use it, and which entries each of them holds. `gc` keeps those.

`<cache>/.roots/<id>` is a root: a line of JSON that says which workspace it is, then the keys (16 bytes each) of the
results that stand there. A build appends the keys of what it has placed when it ends; while it runs, it has a lock on
`<id>.build`. For a workspace that can be seen from here its own state is asked, which knows best.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from buildflow.state import WRITTEN

if TYPE_CHECKING:
    from buildflow.disk import Disk
    from buildflow.state import State

FOLDER = ".roots"
_BUILD = ".build"
_FLAGS, _KEY, _LENGTH = 36, 53, 69
"""Where flags and key stand in a file's record, and how long one with a key is (`buildflow.state.FileRecord`)."""


def keys_of(state: State) -> set[bytes]:
    """The keys of all results whose files stand in a workspace, or were taken out of it."""
    return {data[_KEY:] for data in state.files.values() if len(data) == _LENGTH and data[_FLAGS] & WRITTEN}


class Root:
    """The root that a workspace is in a cache, as the one build that runs there sees it.

    A cache that cannot be written to gets no root, and nothing is said: what needs to write there says so.
    """

    def __init__(self, cache: str, workspace: str) -> None:
        self.cache = cache
        self.workspace = workspace
        self.path = ""
        self._fd = -1
        self._whole = False  # whether all keys are written at the end: the root is new, or a driver was killed

    def enter(self) -> None:
        """Say that a build runs."""
        from xxhash import xxh3_64_hexdigest

        real = os.path.realpath(self.workspace)
        self.path = f"{self.cache}/{FOLDER}/{xxh3_64_hexdigest(os.fsencode(f'{real}/{os.stat(real).st_ino}'))}"
        with contextlib.suppress(OSError):
            try:
                self._fd = self._open()
            except FileNotFoundError:
                os.makedirs(os.path.dirname(self.path), exist_ok=True)
                self._fd = self._open()
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _open(self) -> int:
        try:
            return os.open(self.path + _BUILD, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            self._whole = True
            fd = os.open(self.path + _BUILD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.utime(fd)  # from now on
            return fd

    def leave(self, disk: Disk) -> None:
        """Say that the build is over, and what the workspace has got by it."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            self._write(disk)
        with contextlib.suppress(OSError):
            os.unlink(self.path + _BUILD)
        for folder in (os.path.dirname(self.path), self.cache) if not disk.placed else ():
            with contextlib.suppress(OSError):
                os.rmdir(folder)  # nothing was put into a cache that was not there
        os.close(self._fd)
        self._fd = -1

    def _write(self, disk: Disk) -> None:
        placed = dict.fromkeys(key for key in disk.placed if len(key) == 16)
        try:
            size = os.stat(self.path).st_size
        except FileNotFoundError:
            size = -1  # new, or the workspace was moved here
        if not placed and not self._whole and size >= 0:
            return
        if size < 0 or self._whole or size > (2 * len(disk.state.files) + 1000) * 16:
            keys = keys_of(disk.state)
            if not keys and size < 0:
                return
            with open(f"{self.path}.new", "wb") as file:
                file.write(self._head() + b"".join(keys))
            os.replace(f"{self.path}.new", self.path)
        else:
            with open(self.path, "ab") as file:
                file.write(b"".join(placed))

    def _head(self) -> bytes:
        import json

        real = os.path.realpath(self.workspace)
        head = {"workspace": real, "inode": os.stat(real).st_ino, "host": os.uname().nodename}
        return json.dumps(head).encode("ascii") + b"\n"


class Held(NamedTuple):
    """What one root holds. `place`: the workspace; `seen`: whether it is there to be looked at (else it is on another
    host); `since`: when the build that runs there began (seconds since 1970), None where none runs."""

    place: str
    seen: bool
    keys: set[bytes]
    since: float | None


class Roots:
    """All roots of a cache; `also`: a workspace that counts as one (it may have been moved since it was built)."""

    def __init__(self, cache: str, also: str | None = None) -> None:
        self.also = also
        self.folder = f"{cache}/{FOLDER}"
        self.held: list[Held] = []
        self.dead: list[str] = []  # files of roots whose workspace is gone
        self._seen = -1
        self.changed()

    def changed(self) -> bool:
        """Look again where a build has begun or ended since; whether one has."""
        try:
            now = os.stat(self.folder).st_mtime_ns
        except OSError:
            now = 0
        if now == self._seen:
            return False
        self._seen = now
        self.dead = []
        self.held = list(self._all()) if now else []
        if self.also is not None and os.path.realpath(self.also) not in [held.place for held in self.held]:
            known = f"{self.also}/.bflow/state"
            if os.path.exists(known):
                from buildflow.state import State

                self.held.append(Held(self.also, True, keys_of(State(known)), None))
        return True

    def forget_dead(self) -> None:
        for path in self.dead:
            with contextlib.suppress(OSError):
                os.unlink(path)

    def _all(self) -> Iterator[Held]:
        names = os.listdir(self.folder)
        for name in sorted({name.removesuffix(_BUILD) for name in names if not name.endswith(".new")}):
            path = f"{self.folder}/{name}"
            since = _running(path + _BUILD)
            head, keys = _read(path)
            place = str(head.get("workspace", ""))
            there = _inode(place) == head.get("inode") and os.path.isdir(f"{place}/.bflow")
            known = f"{place}/.bflow/state"
            if there and os.access(known, os.R_OK):
                from buildflow.state import State

                yield Held(place, True, keys_of(State(known)), since)
            elif there or since is not None or (place and head.get("host") != os.uname().nodename):
                yield Held(place or "a workspace that is built for the first time", there, keys, since)
            elif os.path.exists(path):
                self.dead.append(path)


def _read(path: str) -> tuple[dict[str, Any], set[bytes]]:
    import json

    try:
        with open(path, "rb") as file:
            head = json.loads(file.readline())
            data = file.read()
    except (OSError, ValueError):
        return {}, set()
    whole = len(data) - len(data) % 16
    return head if isinstance(head, dict) else {}, {data[i : i + 16] for i in range(0, whole, 16)}


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino if path else None
    except OSError:
        return None


def _running(path: str) -> float | None:
    """When the build that has a lock began; None where nobody has it. One that cannot be asked counts as running."""
    try:
        fd = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    except OSError:
        with contextlib.suppress(OSError):
            return os.stat(path).st_mtime
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return os.fstat(fd).st_mtime
    finally:
        os.close(fd)
    return None


def holds(held: Held, key: bytes, made: float, outputs: Sequence[dict[str, Any]]) -> bool:
    """Whether a root holds an entry: its result stands in the workspace, or the build that runs there has just made it
    or placed it. `made`: when the entry was written; `outputs`: as its result.json has them."""
    if key in held.keys:
        return True
    if held.since is None:
        return False
    return made >= held.since or (held.seen and any(_placed(held.place, output) for output in outputs))


def _placed(workspace: str, output: dict[str, Any]) -> bool:
    """Whether a file was placed from this output: such a one has its size and time."""
    name, known = str(output.get("name", "")), output.get("stat")
    if not isinstance(known, list):
        return False
    if not output.get("folder"):
        return _is(f"{workspace}/{name}", known[:2])
    return any(row[1] == "f" and _is(f"{workspace}/{name}{row[0]}", row[2:4]) for row in known)


def _is(path: str, known: list[Any]) -> bool:
    try:
        st = os.stat(path)
    except OSError:
        return False
    return [st.st_size, st.st_mtime_ns] == known
