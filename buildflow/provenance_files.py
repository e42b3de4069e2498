"""The files of a crate: each is copied where the bytes of its digest can still be had, from its entry or the project.

A path that is there with several contents keeps its name once; the others go below `versions/`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from buildflow.cache import Entry
from buildflow.digest import tree_digest
from buildflow.errors import FlowError
from buildflow.files import copy
from buildflow.provenance_terms import quoted

if TYPE_CHECKING:
    from buildflow.provenance import File, Provenance
    from buildflow.submitter import Session

OWN = ("ro-crate-metadata.json", "ro-crate-preview.html")


class Files:
    """What stands in the crate's folder. Without `copies` only the project's own files do, that is the Flowfile."""

    def __init__(self, session: Session, found: Provenance, folder: str, *, copies: bool) -> None:
        self.session = session
        self.found = found
        self.folder = folder
        self.copies = copies
        self._places: dict[tuple[str, str], tuple[str | None, str]] = {}
        self._own: set[str] = set()  # files of the project as it stands
        self._taken: set[str] = set(OWN)  # files, and folders that were copied whole
        self._above: set[str] = set()  # the folders that those are in

    def project_file(self, name: str, *, outside: bool = False) -> str | None:
        """A file of the project as it stands; its id in the crate. None where it is not there, or not of the project
        (`outside`: then it is taken by its base name)."""
        path = os.path.relpath(self.session.disk.path(name), self.session.root)
        source = self.session.disk.path(path)
        if not os.path.isfile(source) or (_is_outside(path) and not outside):
            return None
        path = os.path.basename(path) if _is_outside(path) else path
        if path not in self._own:
            if self._is_taken(path):
                return None
            self._copy(source, path)
            self._own.add(path)
        return quoted(path)

    def place(self, file: File) -> tuple[str | None, str]:
        """The id of a file in the crate; None where it is not in it, and why."""
        known = (file.path, file.name.digest or file.name.step)
        if known not in self._places:
            self._places[known] = self._placed(file)
        return self._places[known]

    def _placed(self, file: File) -> tuple[str | None, str]:
        if file.within is not None:
            folder, why = self.place(file.within)
            return (None if folder is None else folder + quoted(file.path[len(file.within.path) :])), why
        source, why = self._source(file)
        if source is None:
            return None, why
        name = file.path.rstrip("/")
        if name in self._own and source == self.session.disk.path(name):
            return quoted(name), ""
        while self._is_taken(name):
            name = f"versions/{file.name.digest}/{name}"
        if file.is_folder:
            self._copy_folder(source, name)
        else:
            self._copy(source, name)
        return quoted(name + ("/" if file.is_folder else "")), ""

    # ---- where the bytes are -----------------------------------------------------------------------------------

    def _source(self, file: File) -> tuple[str | None, str]:
        """Where a file with these bytes stands (absolute); None where it is not to be had, and why."""
        if not self.copies:
            return None, "the crate was written without files"
        if _is_outside(file.path):
            return None, "it lies outside of the project"
        entry = self.found.steps[file.name.step].entry if file.name.step else None
        if entry is not None and file.output is not None and self._is_sound(entry, file.output):
            return entry.file(file.output), ""
        if file.is_folder:
            return None, "a folder of sources is only described" if file.is_source else "it is gone from the cache"
        path = self.session.disk.path(file.path)
        try:
            if os.path.isfile(path) and self.session.disk.digest(path).hex() == file.name.digest:
                return path, ""
        except FlowError:
            pass  # it cannot be read
        return None, "it has changed since, or is gone" if file.is_source else "it is gone from the cache"

    def _is_sound(self, entry: Entry, output: dict[str, Any]) -> bool:
        try:
            return self.session.cache.sound(Entry(entry.path, {"outputs": [output]}))
        except (KeyError, TypeError, IndexError):
            return False

    # ---- the folder --------------------------------------------------------------------------------------------

    def _is_taken(self, name: str) -> bool:
        return name in self._taken or name in self._above or not self._taken.isdisjoint(_parents(name))

    def _take(self, name: str) -> str:
        self._taken.add(name)
        self._above.update(_parents(name))
        target = f"{self.folder}/{name}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        return target

    def _copy(self, source: str, name: str) -> None:
        _copy_file(source, self._take(name))

    def _copy_folder(self, source: str, name: str) -> None:
        target = self._take(name)
        os.mkdir(target)
        listed = tree_digest(source, source=False, ignore=None, file_digest_of=lambda path, st: b"")[1]
        for item in listed[1:]:
            inner, place = f"{source}/{item.name}", f"{target}/{item.name}"
            if item.kind == "d":
                os.mkdir(place)
            elif item.kind == "l":
                os.symlink(os.readlink(inner), place)
            else:
                _copy_file(inner, place)


def _copy_file(source: str, target: str) -> None:
    copy(source, target)
    os.chmod(target, os.stat(target).st_mode & 0o777 | 0o200)  # those of the cache may be read-only


def _parents(name: str) -> list[str]:
    """The folders that a path is in."""
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _is_outside(path: str) -> bool:
    return path.startswith(("/", "../")) or path == ".."
