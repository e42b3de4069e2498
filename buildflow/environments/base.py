"""The contract of an environment: an identity for the key, and the argument vector that runs a recipe in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

BASE = ("PATH", "HOME", "USER", "LOGNAME")
WHERE_SET = ("LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX")


@dataclass
class Command:
    """What a worker starts: an argument vector, its environment, its folder, plain redirections (fd, mode, path)."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    redirections: Sequence[tuple[int, str, str]] = ()
    mounts: Sequence[str] = field(default_factory=tuple)


class Environment:
    """Subclasses say who they are and wrap a command; `native` is the plain case."""

    name = "native"
    direct = True
    """Whether a simple command may be started without a shell here."""

    def identity(self) -> str:
        """What stands in the key: the same wherever the same programs would run."""
        raise NotImplementedError

    def read(self) -> list[str]:
        """The files and folders (absolute) that the identity was read from: a change of one makes it be asked anew."""
        return []

    def check(self) -> None:
        """Raises FlowError where the environment cannot be had on this machine."""

    def variables(self, base: Mapping[str, str]) -> dict[str, str]:
        """The environment that a job starts with: built, not inherited."""
        return dict(base)

    def shell(self, interpreter: str | None) -> list[str]:
        """What stands before the text of a shell recipe."""
        if interpreter:
            words = interpreter.split()
            return words if words[-1] == "-c" or words[-1].endswith("c") and words[-1].startswith("-") else [*words, "-c"]
        return ["bash", "-euo", "pipefail", "-c"]

    def wrap(self, command: Command) -> Command:
        """The command as the worker starts it."""
        return command

    def python(self) -> str:
        """The Python that runs `[python]` recipes and functions here."""
        return "python3"


def base_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What every job sees of the caller's environment."""
    found = {name: environ[name] for name in BASE if name in environ}
    found.update((name, environ[name]) for name in WHERE_SET if name in environ)
    found.setdefault("PATH", os.defpath)
    found["LC_CTYPE"] = "C.UTF-8"
    found["PYTHONDONTWRITEBYTECODE"] = "1"
    return found
