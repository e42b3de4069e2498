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

VERSION = 6
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
                 "variables", "commands", "images", "racy", "racy_folders", "jobs", "notes",
                 "listings", "numbers", "digests", "keys", "tag", "place")  # fmt: skip

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
        self.images: dict[tuple[str, str, str], str] = {}  # what a container engine is asked → the id of an image
        self.racy: dict[int, bytes] = {}  # place in `files` → digest, where a change could have left the signature
        self.racy_folders: dict[int, str] = {}
        self.jobs = 0
        self.notes: list[str] = []  # what every build says again: domains that are empty
        self.listings: list[bytes] = []  # digests of what each of `folders` holds, by name and kind
        self.numbers = b""  # for the first of `files`: the number in the stored plan, or -1 (as C ints); empty: no plan
        self.digests = b""  # of the stored plan's files, 16 bytes each; zeros where nothing depends on what it holds
        self.keys = b""  # of its jobs
        self.tag = b""  # what the stored plan is known by
        self.place = ""  # the project's root, now

    def plan_files(self) -> list[int]:
        """`numbers`, as numbers."""
        from array import array

        found = array("i")
        found.frombytes(self.numbers)
        return list(found)

    def digest(self, f: int) -> bytes:
        """The digest that a file of the stored plan had."""
        return self.digests[16 * f : 16 * f + 16]

    def key(self, job: int) -> bytes:
        """The key that a job of the stored plan had."""
        return self.keys[16 * job : 16 * job + 16]

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
            names = [name for name in names if not name.endswith(".plan")]
            for old in sorted(names, key=lambda n: os.stat(n).st_mtime_ns)[: max(0, len(names) - KEPT)]:
                for name in (old, f"{old}.plan"):
                    try:
                        os.unlink(name)
                    except FileNotFoundError:
                        pass


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


def changes(snapshot: Snapshot, root: str) -> list[int] | None:
    """The places in `files` of those that have changed; None where something else has that the plan was read from."""
    try:
        environ = os.environ
        for name, value in snapshot.variables.items():
            if environ.get(name) != value:
                return None
        here = os.getcwd()
        snapshot.place = root
        os.chdir(root)  # relative names are shorter for the kernel too
        try:
            found = _changes(snapshot)
            return found if found is not None and commands_hold(snapshot, root) else None
        finally:
            os.chdir(here)
    except (OSError, ValueError):
        return None


def _changes(snapshot: Snapshot) -> list[int] | None:
    stat = os.stat
    for i, (path, sig) in enumerate(zip(snapshot.folders, snapshot.folder_signatures, strict=True)):
        st = stat(path or ".")
        if (st.st_mtime_ns, st.st_ino) != sig:
            if not snapshot.listings or listed(path or ".") != snapshot.listings[i]:
                return None
            snapshot.folder_signatures[i] = (st.st_mtime_ns, st.st_ino)  # a file was replaced by one of its name
            if is_racy(0, st.st_mtime_ns, time.time_ns()):
                snapshot.racy_folders[i] = listing(path or ".")
        elif i in snapshot.racy_folders and listing(path or ".") != snapshot.racy_folders[i]:
            return None
    for path in snapshot.absent:
        try:
            os.lstat(path)
        except OSError:
            continue
        return None
    found = _files(snapshot)
    if snapshot.racy:
        from buildflow.digest import stable_digest
        from buildflow.errors import FlowError

        known = set(found)
        for i, digest in snapshot.racy.items():
            if i in known:
                continue
            try:
                if stable_digest(snapshot.files[i])[1] != digest:
                    found.append(i)
            except (OSError, FlowError):
                found.append(i)
    return found


def listed(path: str) -> bytes:
    """The digest of what a folder holds, by name and kind."""
    from xxhash import xxh3_128_digest

    with os.scandir(path) as scan:
        rows = sorted(
            f"{entry.name}\0l{os.readlink(entry.path)}" if entry.is_symlink() else f"{entry.name}\0{entry.is_dir():d}"
            for entry in scan
        )
    return xxh3_128_digest("\0".join(rows).encode("utf-8", "surrogateescape"))


def _files(snapshot: Snapshot) -> list[int]:
    files, signatures = snapshot.files, snapshot.signatures
    linked = set(snapshot.linked)
    if len(files) < FORK or (os.cpu_count() or 1) < 2:
        return _differing(files, signatures, linked, 0)
    half = len(files) // 2
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(ours)
            data = marshal.dumps(_differing(files[half:], signatures[half:], linked, half))
            with open(theirs, "wb") as pipe:
                pipe.write(data)
        finally:
            os._exit(0)
    os.close(theirs)
    found = _differing(files[:half], signatures[:half], linked, 0)
    with open(ours, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    try:
        found += marshal.loads(data)
    except (ValueError, EOFError, TypeError):  # it was killed
        found += _differing(files[half:], signatures[half:], linked, half)
    return found


def _differing(files: list[str], signatures: Signatures, linked: set[int], first: int) -> list[int]:
    """The places (from `first` on) of the files whose signature is another one, or that are gone."""
    stat = os.stat
    found: list[int] = []
    i = first
    rest = iter(zip(files, signatures, strict=True))
    while True:
        try:
            for path, sig in rest:
                st = stat(path)
                if (st.st_ctime_ns, st.st_mtime_ns, st.st_ino, st.st_size, st.st_mode) != sig and (
                    i not in linked or (st.st_mtime_ns, st.st_ino, st.st_size, st.st_mode) != tuple(sig[1:])
                ):
                    found.append(i)
                i += 1
            return found
        except OSError:
            found.append(i)
            i += 1


def commands_hold(snapshot: Snapshot, root: str) -> bool:
    """Whether the commands that the plan was read from give what they gave."""
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


def answer(words: list[str]) -> int | tuple[Snapshot, str, list[int]] | None:
    """The exit status of a build of these words with nothing to do, its line printed. Else the snapshot, its path and
    the places of the files that have changed; None where there is more to it."""
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
    if snapshot is None:
        return None
    before = list(snapshot.folder_signatures)
    changed = changes(snapshot, root)
    if changed is None:
        return None
    if changed:
        return (snapshot, path, changed) if snapshot.numbers and not snapshot.images else None
    if before != snapshot.folder_signatures:
        try:
            snapshot.write(path)
        except OSError:
            pass
    if snapshot.racy or snapshot.racy_folders:
        _settle(snapshot, path, root)
    told = list(snapshot.notes)
    if snapshot.images:
        from buildflow.environments.engine import unmoved

        more = unmoved(snapshot.images)
        if more is None:
            return None
        told += more
    jobs = snapshot.jobs
    seconds = time.monotonic() - started
    for text in told:
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
