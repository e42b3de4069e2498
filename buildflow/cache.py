"""The cache: content-addressed directories, one for each result, committed by one rename.

`<root>/<2 hex>/<kind>-<key>/` holds `result.json`, the outputs by their base names and the `log`. An entry is whole or
absent, whatever is killed when. Nothing here decides what a key is or where outputs stand in the workspace.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from buildflow.digest import file_digest, tree_digest
from buildflow.disk import Disk
from buildflow.errors import BuildError, FlowError
from buildflow.files import commit_dir, copy, remove_tree, replace

RESULT = "result.json"
LOG = "log"
OPEN = ".open"
"""The folder of a cache root in which entries are filled, and where they go to be removed."""

_HOST = os.uname().nodename

OWN_NAMES = frozenset((RESULT, LOG, "depfile"))


def entry_name(kind: str, key: bytes) -> str:
    """Where an entry stands below a cache root."""
    text = key.hex()
    return f"{text[:2]}/{kind}-{text}"


def output_names(outputs: Sequence[str]) -> list[str]:
    """The name of each output in its entry: its base name, in a numbered folder where two would be one."""
    bases = [name.rstrip("/").rpartition("/")[2] for name in outputs]
    return [
        f"{i}/{base}" if base in OWN_NAMES or bases.count(base) > 1 or base.isdigit() else base
        for i, base in enumerate(bases)
    ]


class Entry:
    """One entry that was found: its folder and what `result.json` says."""

    __slots__ = ("path", "result", "readonly", "contents")

    def __init__(self, path: str, result: dict[str, Any], readonly: bool = False) -> None:
        self.path = path
        self.result = result
        self.readonly = readonly
        self.contents: dict[str, bytes] = {}  # of small files, by their names in it, where they are at hand

    @property
    def outputs(self) -> list[dict[str, Any]]:
        return self.result["outputs"]  # type: ignore[no-any-return]

    def digests(self) -> list[bytes]:
        return [bytes.fromhex(output["digest"]) for output in self.outputs]

    def file(self, output: dict[str, Any]) -> str:
        return f"{self.path}/{output['file']}"


class Cache:
    """A cache root that is written to, and others that are looked in."""

    def __init__(self, root: str, readonly: Sequence[str] = (), *, disk: Disk) -> None:
        self.root = root
        self.roots = [root, *readonly]
        self.disk = disk
        self._count = 0

    def path_of(self, kind: str, key: bytes) -> str:
        return f"{self.root}/{entry_name(kind, key)}"

    def find(self, kind: str, key: bytes) -> Entry | None:
        """The whole entry of a key, undamaged as far as its signatures say; None where there is none."""
        name = entry_name(kind, key)
        for number, root in enumerate(self.roots):
            entry = read_entry(f"{root}/{name}", readonly=number > 0)
            if entry is not None and self.sound(entry):
                return entry
        return None

    def sound(self, entry: Entry) -> bool:
        """Whether the outputs are as committed: a moved signature raises the suspicion, the digest decides."""
        for output in entry.outputs:
            if output.get("temp_gone"):
                return False
            path = entry.file(output)
            if output["folder"]:
                if not self._sound_tree(path, output):
                    return False
                continue
            try:
                st = os.stat(path)
            except OSError:
                return False
            if [st.st_size, st.st_mtime_ns, st.st_ino] == output["stat"]:
                continue
            if st.st_size != output["stat"][0]:
                return False
            try:
                if self.disk.digest(path).hex() != output["digest"]:
                    return False
            except FlowError:
                return False
        return True

    def _sound_tree(self, path: str, output: dict[str, Any]) -> bool:
        listing = tree_stat(path)
        if listing is None:
            return False
        if listing == output["stat"]:
            return True
        try:
            digest, _ = tree_digest(path, source=False, ignore=None, file_digest_of=lambda p, s: self.disk.digest(p))
        except (OSError, FlowError):
            return False
        return bool(digest.hex() == output["digest"])

    def verify(self, entry: Entry) -> list[str]:
        """The outputs of an entry whose bytes are not those of their digest."""
        wrong = []
        for output in entry.outputs:
            if output.get("temp_gone"):
                continue
            path = entry.file(output)
            try:
                digest = output_digest(path, output["folder"])
            except (OSError, FlowError):
                wrong.append(output["name"])
                continue
            if digest.hex() != output["digest"]:
                wrong.append(output["name"])
        return wrong

    # ---- committing --------------------------------------------------------------------------------------------

    def open(self, kind: str, key: bytes) -> str:
        """A fresh folder on the cache's file system, to be filled and committed."""
        self._count += 1
        path = f"{self.root}/{OPEN}/{_HOST}-{os.getpid()}-{self._count}"
        try:
            try:
                os.mkdir(path)
            except FileNotFoundError:
                os.makedirs(path, exist_ok=True)
        except OSError as error:
            raise BuildError(f"cannot write to the cache {self.root}: {error.strerror}") from None
        return path

    def sweep(self) -> None:
        """Remove what drivers of this machine that were killed left half made."""
        try:
            names = os.listdir(f"{self.root}/{OPEN}")
        except OSError:
            return
        for name in names:
            host, _, rest = name.rpartition("-")[0].rpartition("-")
            if host == _HOST and rest.isdigit() and not _alive(int(rest)):
                remove_tree(f"{self.root}/{OPEN}/{name}")

    def commit(self, path: str, kind: str, key: bytes, *, replace_damaged: bool = True) -> bool:
        """Rename a filled folder to its place. False where an undamaged entry is there: then the folder is removed."""
        target = self.path_of(kind, key)
        if commit_dir(path, target):
            return True
        if replace_damaged:
            entry = read_entry(target)
            if entry is None or not self.sound(entry):
                self.discard(target)
                if commit_dir(path, target):
                    return True
        remove_tree(path)
        return False

    def discard(self, path: str) -> None:
        """Take an entry away: renamed first, so that nobody sees half of it."""
        self._count += 1
        aside = f"{self.root}/{OPEN}/{_HOST}-{os.getpid()}-{self._count}"
        try:
            os.makedirs(os.path.dirname(aside), exist_ok=True)
            os.rename(path, aside)
        except OSError:
            return
        remove_tree(aside)


def read_entry(path: str, *, readonly: bool = False) -> Entry | None:
    """The entry in a folder; None where there is none or its result.json cannot be read."""
    import json

    try:
        with open(f"{path}/{RESULT}", "rb") as file:
            result = json.loads(file.read())
        if not isinstance(result, dict) or not isinstance(result["outputs"], list):
            return None
    except (OSError, ValueError, KeyError):
        return None
    return Entry(path, result, readonly)


def write_result(folder: str, result: dict[str, Any]) -> None:
    """Write `result.json` into a folder that is about to be committed."""
    import json

    data = json.dumps(result, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    fd = os.open(f"{folder}/{RESULT}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(fd, data) if len(data) < 1 << 20 else _write_all(fd, data)
    except OSError as error:
        raise BuildError(f"cannot write to the cache ({folder}): {error.strerror}") from None
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def output_digest(path: str, is_folder: bool) -> bytes:
    """The digest of what stands there, read anew. Raises OSError or FlowError where it cannot be read."""

    def of(file: str, st: os.stat_result) -> bytes:
        return file_digest(file, bool(st.st_mode & 0o100))

    if is_folder:
        return tree_digest(path, source=False, ignore=None, file_digest_of=of)[0]
    return of(path, os.stat(path))


def file_stat(path: str) -> list[int]:
    st = os.stat(path)
    return [st.st_size, st.st_mtime_ns, st.st_ino]


def tree_stat(path: str) -> list[list[Any]] | None:
    """The signatures of all that a folder holds, sorted by name."""
    try:
        _, listed = tree_digest(path, source=False, ignore=None, file_digest_of=lambda p, s: b"")
    except (OSError, FlowError):
        return None
    return [[item.name, item.kind, item.signature[0] if item.kind == "f" else 0,
             item.signature[1] if item.kind == "f" else 0, item.signature[2] if item.kind == "f" else 0]
            for item in listed[1:]]  # fmt: skip


def take_in(source: str, target: str) -> None:
    """Move an output from its sandbox into an entry: by rename, on another file system by copy."""
    try:
        replace(source, target)
        return
    except OSError:
        pass
    if os.path.isdir(source) and not os.path.islink(source):
        os.mkdir(target)
        with os.scandir(source) as entries:
            for entry in entries:
                if entry.is_symlink():
                    os.symlink(os.readlink(entry.path), f"{target}/{entry.name}")
                else:
                    take_in(entry.path, f"{target}/{entry.name}")
        os.chmod(target, os.stat(source).st_mode & 0o777)
        remove_tree(source)
    else:
        copy(source, target)
        os.unlink(source)
