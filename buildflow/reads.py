"""What a plan was read from: the snapshot is keyed by it, absence included.

`Reads` only remembers. Files and folders are named as the project names them: relative to the root, or absolute.
"""

from __future__ import annotations

import os


class Reads:
    """The files, folders, absent names, variables and commands that decided a plan."""

    __slots__ = ("root", "files", "folders", "absent", "variables", "commands")

    def __init__(self, root: str) -> None:
        self.root = root
        self.files: dict[str, None] = {}
        self.folders: dict[str, None] = {}
        self.absent: dict[str, None] = {}
        self.variables: dict[str, str | None] = {}
        self.commands: dict[str, str] = {}

    def path(self, name: str) -> str:
        """Where a name of the project stands."""
        return name if name.startswith("/") else os.path.join(self.root, name) if name else self.root

    def file(self, name: str) -> None:
        self.files.setdefault(name)

    def folder(self, name: str) -> None:
        self.folders.setdefault(name)

    def missing(self, name: str) -> None:
        self.absent.setdefault(name)

    def variable(self, name: str) -> str | None:
        value = os.environ.get(name)
        self.variables[name] = value
        return value

    def exists(self, name: str) -> bool:
        """Whether a file stands there; where not, its absence is remembered."""
        if os.path.exists(self.path(name)):
            return True
        self.missing(name)
        return False
