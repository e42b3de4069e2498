"""Outputs into the workspace: from an entry to their place, never half, and nothing of the user's lost."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable

from buildflow.disk import Disk
from buildflow.errors import BuildError
from buildflow.files import place, place_tree, remove_tree


class EntryGone(BuildError):
    """An entry was taken away (by `bflow cache gc` beside the build) before its output was placed: a miss."""

    def __init__(self, source: str) -> None:
        super().__init__(f"{source} is gone from the cache", None, "build again")


class Workspace:
    """Places files below the root; what they replace and is not bflow's goes to `.bflow/replaced/<time>/`."""

    def __init__(self, disk: Disk, folder: str, told: Callable[[str], None]) -> None:
        self.disk = disk
        self.root = disk.root
        self.folder = folder
        self.staging = f"{folder}/tmp"
        self.told = told  # a sentence for the user
        self._replaced: str | None = None
        self._ready = False

    def put(self, source: str, name: str, digest: bytes, key: bytes, content: bytes | None = None) -> None:
        """Place one output (a folder where `name` ends in `/`) from its entry; `content`: what the file holds, if that
        is at hand."""
        if not self._ready:
            os.makedirs(self.staging, exist_ok=True)
            self._ready = True
        bare = name.rstrip("/")
        target = f"{self.root}/{bare}"
        self._clear(bare, name)
        try:
            if name.endswith("/"):
                place_tree(source, os.path.realpath(target), staging=self.staging)
                self.disk.written_tree(name, digest, key)
            else:
                how = place(source, target, staging=self.staging, content=content)
                self.disk.written(name, digest, key, how == "link")
        except FileNotFoundError as error:
            if not os.path.lexists(source):
                raise EntryGone(source) from None
            raise BuildError(f"cannot place {name}: {error.strerror} ({error.filename})") from None

    def _clear(self, bare: str, name: str) -> None:
        """What stands in the way: ours is removed, the user's is kept in `.bflow/replaced`."""
        target = f"{self.root}/{bare}"
        try:
            st = os.lstat(target)
        except FileNotFoundError:
            return
        except NotADirectoryError:
            self._clear_parents(bare)
            return
        folder = name.endswith("/")
        if stat.S_ISDIR(st.st_mode):
            if self.disk.ours(bare + "/") or (not folder and self.disk.only_ours(bare + "/")):
                if not folder:
                    remove_tree(target)
                    self.disk.forget(bare + "/")
                return
            if folder and not os.listdir(target):
                return
            self.keep(bare)
        elif stat.S_ISLNK(st.st_mode):
            if not (folder and os.path.isdir(target)):
                self.keep(bare)
            elif not self.disk.ours(bare + "/"):
                for inner in os.listdir(target):  # the link stays: only what it leads to is made anew
                    self.keep(f"{bare}/{inner}")
        elif not self.disk.ours(bare):
            self.keep(bare)
        elif folder:
            os.unlink(target)
            self.disk.forget(bare)

    def _clear_parents(self, bare: str) -> None:
        parts = bare.split("/")
        for i in range(1, len(parts)):
            parent = "/".join(parts[:i])
            path = f"{self.root}/{parent}"
            if os.path.lexists(path) and not os.path.isdir(path):
                if self.disk.ours(parent):
                    os.unlink(path)
                    self.disk.forget(parent)
                else:
                    self.keep(parent)

    def keep(self, bare: str) -> None:
        """Move what the user has there to `.bflow/replaced/<time>/`, and say so."""
        if self._replaced is None:
            stamp = time.strftime("%Y%m%d-%H%M%S")
            base = f"{self.folder}/replaced/{stamp}"
            number = 0
            self._replaced = base
            while os.path.exists(self._replaced):
                number += 1
                self._replaced = f"{base}.{number}"
        target = f"{self._replaced}/{bare}"
        os.makedirs(os.path.dirname(target), exist_ok=True)
        source = f"{self.root}/{bare}"
        try:
            os.rename(source, target)
        except OSError:
            import shutil

            shutil.move(source, target)
        shown = os.path.relpath(target, self.root)
        self.told(f"{bare} was not made by bflow (or was edited since): what stood there is now {shown}")

    def drop_leftovers(self, names: list[str]) -> None:
        """Remove `.bflow-tmp.*` that a killed driver left beside outputs."""
        for folder in {os.path.dirname(name.rstrip("/")) for name in names}:
            try:
                with os.scandir(f"{self.root}/{folder}" if folder else self.root) as scan:
                    found = [entry.path for entry in scan if entry.name.startswith(".bflow-tmp.")]
            except OSError:
                continue
            for path in found:
                remove_tree(path)
