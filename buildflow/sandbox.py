"""The private folder that a job runs in: its inputs at their relative paths, the parents of its outputs, nothing else.

`.bflow/work/N` are a few numbered folders kept from build to build. What one holds stays for the next job, and only
what differs is changed. After a run it tells what the job touched and what it left that nobody declared.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence

from buildflow.errors import BuildError
from buildflow.files import copy, remove_tree

SMALL = 1 << 20
"""Bytes up to which an input is a real file in the sandbox; larger ones are symlinks."""

MANY = 1000
"""Files above which a folder is one link."""

Stat = tuple[int, int, int, int]


class Piece:
    """One staged thing: the file it comes from, the digest it stands for, and whether it must be a real file."""

    __slots__ = ("source", "digest", "real", "folder")

    def __init__(self, source: str, digest: bytes, real: bool, folder: bool = False) -> None:
        self.source = source
        self.digest = digest
        self.real = real
        self.folder = folder


class _Held:
    __slots__ = ("digest", "link", "stat")

    def __init__(self, digest: bytes, link: str | None, stat: Stat | None) -> None:
        self.digest = digest
        self.link = link
        self.stat = stat


class Sandbox:
    """One numbered folder, locked as long as the driver or a job that it started lives."""

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self.lock = lock
        self.temporary = f"{path}.tmp"
        self.log = f"{path}.log"
        self.held: dict[str, _Held] = {}
        self.folders: set[str] = set()
        self.fresh = True

    def prepare(self, pieces: Mapping[str, Piece], folders: Iterable[str]) -> None:
        """Make the folder hold just `pieces` (name → piece) and the empty `folders` (names with a final `/`)."""
        if self.fresh:
            self._wipe()
        wanted = set(folders)
        held = self.held
        path = self.path
        for name in [n for n in held if n not in pieces]:
            self._drop(name)
        needed: set[str] = set()
        for name in (*pieces, *wanted):
            parent = name.rstrip("/").rpartition("/")[0]
            while parent and parent not in needed:
                needed.add(parent)
                parent = parent.rpartition("/")[0]
        needed.update(name.rstrip("/") for name in wanted)
        for folder in sorted(self.folders - needed, key=len, reverse=True):
            try:
                os.rmdir(f"{path}/{folder}")
            except OSError:
                remove_tree(f"{path}/{folder}")
            self.folders.discard(folder)
        try:
            for folder in sorted(needed - self.folders):
                target = f"{path}/{folder}"
                try:
                    os.mkdir(target)
                except FileExistsError:
                    remove_tree(target)
                    os.mkdir(target)
                self.folders.add(folder)
            for name, piece in pieces.items():
                old = held.get(name)
                if old is not None:
                    if old.digest == piece.digest and (old.link is None) == piece.real:
                        if old.link is None or old.link == piece.source:
                            continue
                    self._drop(name)
                self._stage(name, piece)
        except OSError as error:
            raise BuildError(f"cannot stage into {path}: {error.strerror} ({error.filename})") from None

    def _stage(self, name: str, piece: Piece) -> None:
        target = f"{self.path}/{name.rstrip('/')}"
        if not piece.real:
            os.symlink(piece.source.rstrip("/"), target)
            self.held[name] = _Held(piece.digest, piece.source, None)
            return
        copy(piece.source, target, mtime_ns=os.stat(piece.source).st_mtime_ns)
        self.held[name] = _Held(piece.digest, None, quick(target))

    def _drop(self, name: str) -> None:
        del self.held[name]
        target = f"{self.path}/{name.rstrip('/')}"
        try:
            os.unlink(target)
        except FileNotFoundError:
            pass
        except OSError:
            remove_tree(target)

    def _wipe(self) -> None:
        remove_tree(self.path)
        remove_tree(self.temporary)
        os.mkdir(self.path)
        self.held = {}
        self.folders = set()
        self.fresh = False

    def empty_temporary(self) -> str:
        """The job's TMPDIR, empty."""
        try:
            os.rmdir(self.temporary)
        except FileNotFoundError:
            pass
        except OSError:
            remove_tree(self.temporary)
        os.mkdir(self.temporary)
        return self.temporary

    def touched(self) -> list[str]:
        """The staged inputs that are no longer what was staged; they are staged anew for the next job."""
        changed = []
        for name, held in self.held.items():
            target = f"{self.path}/{name.rstrip('/')}"
            try:
                if held.link is not None:
                    if os.readlink(target) != held.link.rstrip("/"):
                        changed.append(name)
                elif quick(target) != held.stat:
                    changed.append(name)
            except OSError:
                changed.append(name)
        for name in changed:
            self._drop(name)
        return changed

    def leftovers(self, outputs: Sequence[str]) -> list[str]:
        """What the job left besides inputs and outputs, by name; removed here. Outputs are not touched."""
        found: list[str] = []
        keep = {name.rstrip("/") for name in outputs}
        held = self.held
        links = {name.rstrip("/") for name, h in held.items()}
        stack = [""]
        while stack:
            folder = stack.pop()
            try:
                with os.scandir(f"{self.path}/{folder}" if folder else self.path) as scan:
                    entries = list(scan)
            except OSError:
                continue
            for entry in entries:
                name = f"{folder}/{entry.name}" if folder else entry.name
                if name in links or name in keep:
                    continue
                if name in self.folders and entry.is_dir(follow_symlinks=False):
                    stack.append(name)
                    continue
                found.append(name + ("/" if entry.is_dir(follow_symlinks=False) else ""))
                remove_tree(entry.path)
        return sorted(found)

    def close(self) -> None:
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


def quick(path: str) -> Stat:
    """A signature that any write changes."""
    st = os.lstat(path)
    return (st.st_size, st.st_mtime_ns, st.st_ino, st.st_mode)


class Pool:
    """The numbered sandboxes of a project."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.idle: dict[int, list[Sandbox]] = {}
        self.all: list[Sandbox] = []
        self._next = 0

    def take(self, shape: int) -> Sandbox:
        """An unused sandbox, one that a job of the same rule (`shape`) had where there is one."""
        same = self.idle.get(shape)
        if same:
            return same.pop()
        return self._open()

    def _any_idle(self) -> Sandbox | None:
        for some in self.idle.values():
            if some:
                return some.pop(0)
        return None

    def _open(self, most: int = 64) -> Sandbox:
        if len(self.all) >= most:
            found = self._any_idle()
            if found is not None:
                return found
        os.makedirs(self.folder, exist_ok=True)
        while True:
            number = self._next
            self._next += 1
            path = f"{self.folder}/{number}"
            lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)  # a job of a killed driver still runs there
                continue
            sandbox = Sandbox(path, lock)
            self.all.append(sandbox)
            return sandbox

    def give(self, sandbox: Sandbox, shape: int) -> None:
        self.idle.setdefault(shape, []).append(sandbox)

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
        for sandbox in self.all:
            sandbox.close()
        self.all = []
        self.idle = {}


def collect(path: str, outputs: Sequence[tuple[str, str]], is_own: Callable[[str], bool]) -> str | None:
    """Check the outputs (project name, name in the sandbox) of a job that ended well; what is wrong, or None.

    A link to an input or output of the job is replaced by its content.
    """
    missing: list[str] = []
    for name, staged in outputs:
        target = f"{path}/{staged.rstrip('/')}"
        try:
            st = os.lstat(target)
        except OSError:
            missing.append(name)
            continue
        if stat.S_ISLNK(st.st_mode):
            real = os.path.realpath(target)
            if not os.path.exists(real):
                return f"the output {name} is a link that leads nowhere ({os.readlink(target)})"
            if not is_own(real):
                return f"the output {name} is a link out of the sandbox ({os.readlink(target)}); write the file itself"
            if os.path.isdir(real) and not staged.endswith("/"):
                return f"the output {name} is a link to a folder"
            os.unlink(target)
            if os.path.isdir(real):
                from buildflow.files import place_tree

                place_tree(real, target, staging=os.path.dirname(target))
            else:
                copy(real, target)
            st = os.lstat(target)
        if staged.endswith("/"):
            if not stat.S_ISDIR(st.st_mode):
                return f"the output {name} should be a folder, and is a file"
        elif stat.S_ISDIR(st.st_mode):
            return f"the output {name} should be a file, and is a folder (a rule that makes a folder writes {name}/)"
        elif not stat.S_ISREG(st.st_mode):
            return f"the output {name} is no plain file or folder"
    if missing:
        several = "s" if len(missing) > 1 else ""
        return f"the recipe ended well but did not make its output{several} {', '.join(missing)}"
    return None
