"""The private folder that a job runs in: its inputs at their relative paths, the parents of its outputs, nothing else.

`.bflow/work/N` are a few numbered folders kept from build to build. What one holds stays for the next job of the same
rule, and only what differs is changed. After a run it tells what the job touched and what it left that nobody declared.
What an input is, and whether outputs are right, is decided elsewhere (`staging`, `outputs`).
"""

from __future__ import annotations

import fcntl
import marshal
import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from buildflow.errors import BuildError
from buildflow.files import copy_as_it_is, remove_tree

MOST = 64
"""Folders that are opened before one of another rule is taken."""

_FINE = 20_000_000
_COARSE = 2_000_000_000
"""Nanoseconds in which a change may leave a folder's time: where a file system keeps fractions of seconds, and not."""

Stat = tuple[int, int, int, int, int]


class Piece:
    """One staged thing: the file it comes from, the digest it stands for, and whether it must be a real file."""

    __slots__ = ("source", "digest", "real", "folder")

    def __init__(self, source: str, digest: bytes, real: bool, folder: bool = False) -> None:
        self.source = source
        self.digest = digest
        self.real = real
        self.folder = folder


class _Held:
    """What stands in a sandbox under one name: a link with that text, or a real file with that signature."""

    __slots__ = ("digest", "source", "stat")

    def __init__(self, digest: bytes, source: str, stat: Stat | None) -> None:
        self.digest = digest
        self.source = source
        self.stat = stat

    @property
    def link(self) -> str | None:
        return self.source if self.stat is None else None


class Sandbox:
    """One numbered folder, locked as long as the driver or a process of a job that it started lives."""

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self.lock = lock
        self.temporary = f"{path}.tmp"
        self.log = f"{path}.log"
        self.held: dict[str, _Held] = {}
        self.folders: set[str] = set()
        self.fresh = True  # whether it is emptied before its next job
        self.alone = True  # whether no process of its last job lives
        self._calm: dict[str, int] = {}  # folders in which nothing was that should not be, and their time then
        self._staged = 0  # when the last job had not begun yet, in ns

    # ---- before a job ------------------------------------------------------------------------------------------

    def prepare(self, pieces: Mapping[str, Piece], folders: Iterable[str]) -> list[str]:
        """Make the folder hold just `pieces` (name → piece) and the empty `folders` (names with a final `/`); the names
        that were not there yet."""
        needed = _with_parents(pieces, folders)
        try:
            if self.fresh:
                self._wipe()
            new = self._arrange(pieces, needed)
            self._staged = time.time_ns()
            return new
        except OSError as error:
            self.fresh = True
            raise BuildError(f"cannot stage into {self.path}: {error.strerror} ({error.filename})") from None
        except BaseException:
            self.fresh = True
            raise

    def _arrange(self, pieces: Mapping[str, Piece], needed: set[str]) -> list[str]:
        path = self.path
        new: list[str] = []
        for name in [n for n in self.held if n not in pieces]:
            self._drop(name)
        for folder in sorted(self.folders - needed, key=len, reverse=True):
            remove_tree(f"{path}/{folder}")
            self.folders.discard(folder)
        for folder in sorted(needed - self.folders):
            self._make_folder(f"{path}/{folder}")
            self.folders.add(folder)
        for name, piece in pieces.items():
            old = self.held.get(name)
            if old is not None:
                if old.digest == piece.digest and (old.stat is not None) == piece.real:
                    if piece.real or old.source == piece.source:
                        continue
                self._drop(name)
            self._stage(name, piece)
            new.append(name)
        return new

    @staticmethod
    def _make_folder(target: str) -> None:
        try:
            os.mkdir(target)
        except FileExistsError:
            remove_tree(target)
            os.mkdir(target)

    def _stage(self, name: str, piece: Piece) -> None:
        target = f"{self.path}/{name.rstrip('/')}"
        if not piece.real:
            os.symlink(piece.source.rstrip("/"), target)
            self.held[name] = _Held(piece.digest, piece.source, None)
            return
        self.held[name] = _Held(piece.digest, piece.source, _quick(copy_as_it_is(piece.source, target)))

    def _drop(self, name: str) -> None:
        del self.held[name]
        target = f"{self.path}/{name.rstrip('/')}"
        try:
            os.unlink(target)
        except OSError:
            remove_tree(target)

    def _wipe(self) -> None:
        assert self.lock >= 0, "only a folder that is ours alone is emptied"
        remove_tree(self.path)
        os.mkdir(self.path)
        self.held = {}
        self.folders = set()
        self._calm = {}
        self.fresh = False

    def empty_log(self) -> None:
        """The file that the job prints to is empty, or not there."""
        try:
            if os.stat(self.log, follow_symlinks=False).st_size or not self.alone:
                os.unlink(self.log)
        except FileNotFoundError:
            pass

    def empty_temporary(self) -> str:
        """The job's TMPDIR, empty."""
        path = self.temporary
        try:
            st = os.lstat(path)
            if _is_open(st.st_mode):
                if self._is_calm(path, st):
                    return path
                if not os.listdir(path):
                    self._calm[path] = st.st_mtime_ns
                    return path
            remove_tree(path)
        except FileNotFoundError:
            pass
        os.mkdir(path)
        return path

    def _is_calm(self, path: str, st: os.stat_result) -> bool:
        """Whether nothing came into a folder or went since it was looked at: its time is the same, and was past by more
        than a tick of the clock when the last job had not begun."""
        known = self._calm.get(path)
        if known is None or known != st.st_mtime_ns:
            return False
        return known + (_FINE if known % 1_000_000_000 else _COARSE) < self._staged

    # ---- after a job -------------------------------------------------------------------------------------------

    def reclaim(self) -> bool:
        """Take the lock anew, after a job; False where a process that left the job's group still holds it."""
        os.close(self.lock)
        self.lock = -1
        self.lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        self.alone = _locked(self.lock)
        return self.alone

    def touched(self) -> list[str]:
        """The staged inputs that are no longer what was staged; then all is staged anew for the next job."""
        whole = _is_open_folder(self.path)
        changed = [name for name, held in self.held.items() if not whole or self._is_touched(name, held)]
        if changed:
            self.fresh = True  # also what else it did: a folder may have become a link to somewhere
        return changed

    def _is_touched(self, name: str, held: _Held) -> bool:
        target = f"{self.path}/{name.rstrip('/')}"
        try:
            if held.stat is None:
                return os.readlink(target) != held.source.rstrip("/")
            now = quick(target)
            if now == held.stat:
                return False
            if now[:4] != held.stat[:4] or not _same_bytes(target, held.source):
                return True
            held.stat = now  # a hard link was made or removed
        except OSError:
            return True
        return False

    def leftovers(self, outputs: Sequence[str]) -> list[str]:
        """What the job left besides inputs and outputs, by name (a folder's with a final `/`); it is removed here."""
        found: list[str] = []
        keep = {name.rstrip("/") for name in outputs} | {name.rstrip("/") for name in self.held}
        keep -= self.folders  # an output folder is looked into where it is still there
        seen: set[str] = set()
        stack = [""]
        while stack:
            folder = stack.pop()
            path = f"{self.path}/{folder}" if folder else self.path
            try:
                st = os.lstat(path)
            except OSError:
                st = None
            if st is None or not _is_open(st.st_mode):
                self.fresh = True  # and no link is followed from here
                continue
            if not folder and self._is_calm(path, st):
                inner = [name for name in self.folders if "/" not in name]
                seen.update(inner)
                stack.extend(inner)
                continue
            with os.scandir(path) as scan:
                entries = list(scan)
            count = len(found)
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if name in keep:
                    continue
                is_folder = entry.is_dir(follow_symlinks=False)
                if name in self.folders and is_folder:
                    seen.add(name)
                    stack.append(name)
                    continue
                found.append(name + ("/" if is_folder else ""))
                remove_tree(entry.path)
            if not folder and len(found) == count:
                self._calm[path] = st.st_mtime_ns
        self.folders &= seen  # the others the job has removed, or outputs were moved out of
        return sorted(found)

    def saved(self) -> dict[str, tuple[bytes, str, Stat | None]]:
        """What it holds, in a form that marshal writes."""
        return {name: (held.digest, held.source, held.stat) for name, held in self.held.items()}

    def restore(self, held: Mapping[str, Any], folders: Iterable[str]) -> None:
        """What it holds is as `saved` said."""
        self.held = {name: _Held(digest, source, st) for name, (digest, source, st) in held.items()}
        self.folders = set(folders)
        self.fresh = False

    def close(self) -> None:
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


def quick(path: str) -> Stat:
    """A signature that any write changes."""
    return _quick(os.lstat(path))


def _quick(st: os.stat_result) -> Stat:
    return (st.st_size, st.st_mtime_ns, st.st_ino, st.st_mode, st.st_ctime_ns)


def _is_open_folder(path: str) -> bool:
    """Whether a folder, and no link to one, stands there, which we may read and write."""
    try:
        return _is_open(os.lstat(path).st_mode)
    except OSError:
        return False


def _is_open(mode: int) -> bool:
    return stat.S_ISDIR(mode) and mode & 0o700 == 0o700


def _same_bytes(one: str, other: str) -> bool:
    """Whether two files hold the same (only asked where a signature moved by its ctime alone)."""
    with open(one, "rb") as a, open(other, "rb") as b:
        while True:
            left, right = a.read(1 << 20), b.read(1 << 20)
            if left != right:
                return False
            if not left:
                return True


def _with_parents(names: Iterable[str], folders: Iterable[str]) -> set[str]:
    """The folders that must be there, without final `/`."""
    needed = {name.rstrip("/") for name in folders}
    for name in (*names, *needed):
        parent = name.rstrip("/").rpartition("/")[0]
        while parent and parent not in needed:
            needed.add(parent)
            parent = parent.rpartition("/")[0]
    return needed


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class Pool:
    """The numbered sandboxes of a project: one build at a time takes and gives them.

    What they hold is written to `held` at the end and read at the next build; a killed driver leaves no such file, and
    then they are emptied when they are used.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.idle: dict[str, list[Sandbox]] = {}
        self.all: list[Sandbox] = []
        self._busy: list[Sandbox] = []  # those in which a process of an ended job lives on
        self._rules: dict[Sandbox, str] = {}
        self._saved: dict[int, tuple[str, Any, Any]] | None = None
        self._used: set[int] = set()
        self._next = 0

    def take(self, rule: str) -> Sandbox:
        """An unused sandbox, one that a job of the same rule had where there is one."""
        same = self.idle.get(rule)
        if same:
            return same.pop()
        for sandbox in self._busy:
            if sandbox.reclaim():
                self._busy.remove(sandbox)
                return sandbox
        if self._saved is None:
            self._read()
        assert self._saved is not None
        for number in [n for n, saved in self._saved.items() if saved[0] == rule]:
            found = self._open(number)
            if found is not None:
                return found
        if len(self.all) >= MOST:
            for some in self.idle.values():
                if some:
                    return some.pop(0)
        while True:
            found = self._open(self._next)
            self._next += 1
            if found is not None:
                return found

    def _open(self, number: int) -> Sandbox | None:
        """The sandbox of a number; None where it is in use, as by a job of a killed driver."""
        assert self._saved is not None
        saved = self._saved.pop(number, None)
        if number in self._used:
            return None
        path = f"{self.folder}/{number}"
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        if not _locked(lock):
            os.close(lock)
            return None
        self._used.add(number)
        sandbox = Sandbox(path, lock)
        self.all.append(sandbox)
        if saved is not None:
            sandbox.restore(saved[1], saved[2])
            if not sandbox.touched():
                sandbox.leftovers(())
        return sandbox

    def reserve(self, number: int) -> None:
        """Keep a sandbox for the job that an earlier driver left in it."""
        self._used.add(number)

    def free(self, number: int) -> None:
        """A reserved sandbox may be used by any job."""
        self._used.discard(number)
        self._next = min(self._next, number)

    def adopt(self, number: int, held: Mapping[str, Any], folders: Iterable[str]) -> Sandbox | None:
        """A reserved sandbox with what it held when its job began; None where somebody else has it."""
        if self._saved is None:
            self._read()
        self._used.discard(number)
        sandbox = self._open(number)
        if sandbox is not None:
            sandbox.restore(held, folders)
        return sandbox

    def _read(self) -> None:
        """What the last build left; the file goes, so that nothing is taken from a build that was killed."""
        os.makedirs(self.folder, exist_ok=True)
        path = f"{self.folder}/held"
        self._saved = {}
        try:
            with open(path, "rb") as file:
                data = file.read()
            os.unlink(path)
            self._saved = marshal.loads(data)
        except (OSError, ValueError, EOFError, TypeError):
            pass

    def give(self, sandbox: Sandbox, rule: str) -> None:
        """Take a sandbox back, for jobs of that rule first."""
        if sandbox.alone:
            self._rules[sandbox] = rule
            self.idle.setdefault(rule, []).append(sandbox)
        else:
            sandbox.fresh = True
            self._busy.append(sandbox)

    def retire(self, sandbox: Sandbox, target: str) -> None:
        """Move a sandbox away (that of a failed job, kept); its number is made anew."""
        remove_tree(target)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        try:
            os.rename(sandbox.path, target)
        except OSError:
            remove_tree(sandbox.path)
        sandbox.fresh = True

    def close(self) -> None:
        """Write down what idle sandboxes hold, and unlock all."""
        kept: dict[int, tuple[str, Any, Any]] = dict(self._saved or {})
        for some in self.idle.values():
            for sandbox in some:
                if not sandbox.fresh:
                    number = int(os.path.basename(sandbox.path))
                    kept[number] = (self._rules[sandbox], sandbox.saved(), sorted(sandbox.folders))
        if self.all and kept:
            path = f"{self.folder}/held"
            try:
                with open(f"{path}.new", "wb") as file:
                    file.write(marshal.dumps(kept))
                os.replace(f"{path}.new", path)
            except OSError:
                pass  # then they are emptied
        for sandbox in self.all:
            sandbox.close()
        self.all = []
        self.idle = {}
        self._busy = []
