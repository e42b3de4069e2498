"""The snapshot of a finished build: all that its plan and its results were read from, as flat arrays.

A build with nothing to do reads it and nothing else: where every file still has its signature, every listed folder its
own, every name that was absent is absent, and variables and commands give what they gave, everything stands. Several
are kept, one for each request. This module imports next to nothing: it is on the fastest path.
"""

from __future__ import annotations

import marshal
import os
import sys
import time

VERSION = 4
KEPT = 16
"""Snapshots of one project that are kept; the oldest goes."""

FORK = 20_000
"""Files above which two processes look at them."""

_FINE = 20_000_000
_COARSE = 2_000_000_000

Signatures = list[tuple[int, int, int, int, int]]


def request_of(words: list[str], here: str) -> str:
    """What is asked, as one text: the words, the folder below the root, and what of the environment decides."""
    own = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("BFLOW_"))
    version = f"{VERSION} {sys.version_info[:3]}"
    return "\0".join([version, sys.platform, os.path.dirname(__file__), here, *own, "", *words])


def place_of(folder: str, request: str) -> str:
    """The file of a request's snapshot; two requests of one name are told apart by what is in it."""
    import zlib

    data = request.encode("utf-8", "surrogateescape")
    return f"{folder}/snapshots/{zlib.crc32(data):08x}{len(data):04x}"


def signature(path: str) -> tuple[int, int, int, int, int]:
    st = os.stat(path)
    return (st.st_ctime_ns, st.st_mtime_ns, st.st_ino, st.st_size, st.st_mode)


def listing(path: str) -> str:
    """The names in a folder, as one text."""
    return "\0".join(sorted(os.listdir(path)))


class Snapshot:
    """What one file holds. Paths are absolute below `root`, so a moved project is looked at where it is now."""

    __slots__ = ("request", "root", "files", "signatures", "linked", "folders", "folder_signatures", "absent",
                 "variables",                  "commands", "racy", "racy_folders", "jobs", "notes")  # fmt: skip

    def __init__(self) -> None:
        self.request = ""
        self.root = ""
        self.files: list[str] = []
        self.signatures: Signatures = []
        self.linked: list[int] = []  # places in `files` of read-only hard links, whose ctime does not count
        self.folders: list[str] = []
        self.folder_signatures: list[tuple[int, int]] = []
        self.absent: list[str] = []
        self.variables: dict[str, str | None] = {}
        self.commands: dict[str, str] = {}
        self.racy: dict[int, bytes] = {}  # place in `files` → digest, where a change could have left the signature
        self.racy_folders: dict[int, str] = {}
        self.jobs = 0
        self.notes: list[str] = []  # what every build says again: domains that are empty

    def write(self, path: str) -> None:
        """Write it by rename; older ones of the project beyond `KEPT` are removed."""
        data = [getattr(self, name) for name in self.__slots__ if name not in ("files", "signatures")]
        flat = [n for sig in self.signatures for n in sig]
        payload = marshal.dumps((data, "\0".join(self.files), flat))
        folder = os.path.dirname(path)
        os.makedirs(folder, exist_ok=True)
        temporary = f"{path}.{os.getpid()}"
        with open(temporary, "wb") as file:
            file.write(payload)
        os.replace(temporary, path)
        names = [f"{folder}/{name}" for name in os.listdir(folder)]
        if len(names) > KEPT:
            for old in sorted(names, key=lambda n: os.stat(n).st_mtime_ns)[: len(names) - KEPT]:
                os.unlink(old)


def read(path: str, request: str) -> Snapshot | None:
    """The snapshot of a request; None where there is none, or none that can be read."""
    try:
        with open(path, "rb") as file:
            data, files, flat = marshal.loads(file.read())
        snapshot = Snapshot()
        for name, value in zip([n for n in Snapshot.__slots__ if n not in ("files", "signatures")], data, strict=True):
            setattr(snapshot, name, value)
    except (OSError, ValueError, EOFError, TypeError):
        return None
    if snapshot.request != request:
        return None
    snapshot.files = files.split("\0") if files else []
    snapshot.signatures = list(zip(*[iter(flat)] * 5, strict=True))
    return snapshot


def holds(snapshot: Snapshot, root: str) -> bool:
    """Whether nothing that the snapshot was read from has changed."""
    try:
        environ = os.environ
        for name, value in snapshot.variables.items():
            if environ.get(name) != value:
                return False
        here = os.getcwd()
        os.chdir(root)  # relative names are shorter for the kernel too
        try:
            return _holds(snapshot) and _commands(snapshot, root)
        finally:
            os.chdir(here)
    except (OSError, ValueError):
        return False


def _holds(snapshot: Snapshot) -> bool:
    stat = os.stat
    for path, sig in zip(snapshot.folders, snapshot.folder_signatures, strict=True):
        st = stat(path or ".")
        if (st.st_mtime_ns, st.st_ino) != sig:
            return False
    for i, names in snapshot.racy_folders.items():
        if listing(snapshot.folders[i] or ".") != names:
            return False
    for path in snapshot.absent:
        try:
            os.lstat(path)
        except OSError:
            continue
        return False
    if not _files(snapshot):
        return False
    if snapshot.racy:
        from buildflow.digest import stable_digest

        for i, digest in snapshot.racy.items():
            if stable_digest(snapshot.files[i])[1] != digest:
                return False
    return True


def _files(snapshot: Snapshot) -> bool:
    files, signatures = snapshot.files, snapshot.signatures
    if snapshot.linked:
        linked = set(snapshot.linked)
        for i in linked:
            if signature(files[i])[1:] != tuple(signatures[i][1:]):
                return False
        files = [f for i, f in enumerate(files) if i not in linked]
        signatures = [s for i, s in enumerate(signatures) if i not in linked]
    if len(files) < FORK or (os.cpu_count() or 1) < 2:
        return _same(files, signatures)
    half = len(files) // 2
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if _same(files[half:], signatures[half:]) else 1
        except OSError:
            status = 1
        finally:
            os._exit(status)
    try:
        mine = _same(files[:half], signatures[:half])
    except OSError:
        mine = False
    _, status = os.waitpid(child, 0)
    return mine and status == 0


def _same(files: list[str], signatures: Signatures) -> bool:
    stat = os.stat
    for path, sig in zip(files, signatures, strict=True):
        st = stat(path)
        if (st.st_ctime_ns, st.st_mtime_ns, st.st_ino, st.st_size, st.st_mode) != sig:
            return False
    return True


def _commands(snapshot: Snapshot, root: str) -> bool:
    if not snapshot.commands:
        return True
    from buildflow.errors import FlowError
    from buildflow.readers import run_shell

    try:
        return all("\n".join(run_shell(c, root, None)) == output for c, output in snapshot.commands.items())
    except FlowError:
        return False


def is_racy(ctime: int, mtime: int, now: int) -> bool:
    """Whether a change right after `now` could leave these times (the clocks of file systems tick coarsely)."""
    return any(stamp + (_FINE if stamp % 1_000_000_000 else _COARSE) >= now for stamp in (ctime, mtime))


def answer(words: list[str]) -> int | None:
    """The exit status of a build of these words with nothing to do, its line printed; None: there is more to it."""
    started = time.monotonic()
    here = os.getcwd()
    root = here
    while not (os.path.lexists(f"{root}/Flowfile") or os.path.lexists(f"{root}/Flowfile.py")):
        above = os.path.dirname(root)
        if above == root:
            return None
        root = above
    request = request_of(words, here[len(root) :])
    path = place_of(f"{root}/.bflow", request)
    snapshot = read(path, request)
    if snapshot is None or not holds(snapshot, root):
        return None
    if snapshot.racy or snapshot.racy_folders:
        _settle(snapshot, path, root)
    jobs = snapshot.jobs
    seconds = time.monotonic() - started
    for text in snapshot.notes:
        sys.stderr.write(f"bflow: {text}\n")
    what = "all are up to date" if jobs != 1 else "it is up to date"
    several = "s" if jobs != 1 else ""
    sys.stderr.write(f"nothing to do: {what} ({jobs} job{several}, {seconds:.2f} s)\n")
    return 0


def _settle(snapshot: Snapshot, path: str, root: str) -> None:
    """What was racy has been looked at closely: from now on its signature is enough, once time has passed."""
    now = time.time_ns()
    changed = False
    for i in list(snapshot.racy):
        if not is_racy(snapshot.signatures[i][0], snapshot.signatures[i][1], now):
            del snapshot.racy[i]
            changed = True
    for i in list(snapshot.racy_folders):
        if not is_racy(0, snapshot.folder_signatures[i][0], now):
            del snapshot.racy_folders[i]
            changed = True
    if changed:
        try:
            snapshot.write(path)
        except OSError:
            pass
