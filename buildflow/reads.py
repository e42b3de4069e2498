"""What a plan was read from: the snapshot is keyed by it, absence included.

`Reads` only remembers. Files and folders are named as the project names them: relative to the root, or absolute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping


class Reads:
    """The files, folders, absent names, variables and commands that decided a plan."""

    __slots__ = ("root", "environ", "files", "folders", "absent", "variables", "commands", "images", "volatile")

    def __init__(self, root: str) -> None:
        self.root = root
        self.environ: Mapping[str, str] = os.environ
        self.files: dict[str, tuple[int, ...] | None] = {}  # the signature before it was read
        self.folders: dict[str, int] = {}  # the moment before it was listed (ns)
        self.absent: dict[str, None] = {}
        self.variables: dict[str, str | None] = {}
        self.commands: dict[str, str] = {}
        self.images: dict[tuple[str, str, str], str] = {}  # what a container engine was asked → an image's id
        self.volatile = False  # whether something was read that cannot be looked at again

    def path(self, name: str) -> str:
        """Where a name of the project stands."""
        return name if name.startswith("/") else os.path.join(self.root, name) if name else self.root

    def file(self, name: str) -> None:
        """Call this before a file is read."""
        if name not in self.files:
            try:
                st = os.stat(self.path(name))
                self.files[name] = (st.st_ctime_ns, st.st_mtime_ns, st.st_ino, st.st_size, st.st_mode)
            except OSError:
                self.files[name] = None

    def folder(self, name: str) -> None:
        """Call this before a folder is listed."""
        self.folders.setdefault(name, time.time_ns())

    def missing(self, name: str) -> None:
        self.absent.setdefault(name)

    def variable(self, name: str) -> str | None:
        value = self.environ.get(name)
        self.variables[name] = value
        return value

    def exists(self, name: str) -> bool:
        """Whether a file stands there; where not, its absence is remembered."""
        if os.path.exists(self.path(name)):
            return True
        self.missing(name)
        return False
