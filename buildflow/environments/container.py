"""What all containers have in common: which variables and files of this machine a job sees in them, and its shell."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence

from buildflow.environments.base import WHERE_SET, Command, Environment, Site, base_variables

HOSTS = ("PATH", "HOME", *WHERE_SET)
"""Variables that say where this machine's programs are: an image has its own."""

_SHELL = (
    'command -v bash >/dev/null 2>&1 && exec bash -euo pipefail "$@"; '
    '(set -o pipefail) 2>/dev/null && exec sh -euo pipefail "$@"; exec sh -eu "$@"'
)
_MANY = 100
"""Files in one folder above which the folder is mounted."""

_NO_PYTHON = re.compile(
    r"python3[\"'`]*:? (?:executable file )?not found|executable file `python3` not found|exec python3 failed"
)


class Container(Environment):
    """An environment with a file system of its own, from an image."""

    contained = True

    def image(self) -> str:
        """The image's name, for messages."""
        raise NotImplementedError

    def variables(self, base: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in base_variables(base).items() if name not in HOSTS}

    def shell(self, interpreter: str | None) -> list[str]:
        """Bash as everywhere; in an image without it sh, with pipefail where that has it."""
        return super().shell(interpreter) if interpreter else ["sh", "-c", _SHELL, "sh", "-c"]

    def hints(self, log: str) -> list[str]:
        if _NO_PYTHON.search(log):
            return [f"the image {self.image()} has no python3, which [python] recipes and functions need"]
        return []

    def home(self, command: Command) -> str | None:
        """A HOME that the job may write to: its TMPDIR, whoever it runs as; None where the rule sets one."""
        return None if "HOME" in command.env else command.env.get("TMPDIR")


class Mounts:
    """What of this machine the containers of one build see: the project and its caches, read-only."""

    def __init__(self, site: Site) -> None:
        wanted = [site.root, site.cache_root, *site.readonly]
        self.always = outermost(path for path in wanted if path and os.path.isdir(path))
        if site.folder:  # which may be a link to another disk
            within = [f"{site.folder}/{name}" for name in ("work", "node", "cache")]
            self.always = outermost([*self.always, *reached(within, self.always)])

    def more(self, command: Command) -> list[str]:
        """What a command must read besides."""
        return reached(command.mounts, [*self.always, *command.writable]) if command.mounts else []


def outermost(paths: Iterable[str]) -> list[str]:
    """Folders without those that lie in others."""
    found: list[str] = []
    for path in sorted(set(paths), key=lambda p: (p.count("/"), p)):
        if not below(path, found):
            found.append(path)
    return found


def below(path: str, folders: Sequence[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def reached(paths: Iterable[str], seen: Sequence[str]) -> list[str]:
    """The places outside of the folders `seen` that paths lead to, over whatever links; those that are in one folder
    by that folder where they are many. What is not there is left out."""
    found: dict[str, None] = {}
    for path in paths:
        place = beyond(path.rstrip("/"), seen)
        if place is not None and os.path.exists(place):
            found.setdefault(place)
    folders: dict[str, int] = {}
    for place in found:
        folder = os.path.dirname(place)
        folders[folder] = folders.get(folder, 0) + 1
    return outermost(
        os.path.dirname(place) if folders[os.path.dirname(place)] > _MANY else place for place in found
    )  # fmt: skip


def beyond(path: str, seen: Sequence[str]) -> str | None:
    """Where a path leaves the folders that are `seen`, by itself or over links in them; None where it never does.

    Links are followed as a process would that sees these folders and nothing else.
    """
    todo = [part for part in reversed(path.split("/")) if part]
    here = ""
    for _ in range(1000):
        if not todo:
            return None
        part = todo.pop()
        if part == "..":
            here = os.path.dirname(here)
            continue
        if part == ".":
            continue
        here = f"{here}/{part}"
        if not below(here, seen):
            if not any(below(folder, [here]) for folder in seen):
                return "/".join([here, *reversed(todo)])
            continue  # a folder above one that is seen: a plain one in a container
        if os.path.islink(here):
            target = os.readlink(here)
            todo.extend(part for part in reversed(target.split("/")) if part)
            here = "" if target.startswith("/") else os.path.dirname(here)
    return None
