"""The contract of an environment: an identity for the key, and the argument vector that runs a recipe in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

BASE = ("PATH", "HOME", "USER", "LOGNAME")
_EVALUATE = frozenset("perl ruby node nodejs Rscript julia lua elixir".split())
"""Interpreters that take a text after -e; others take it after -c, as shells and Python do."""
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
        if not interpreter:
            return ["bash", "-euo", "pipefail", "-c"]
        words = interpreter.split()
        name = words[0].rpartition("/")[2].rstrip("0123456789.")
        if name == "env" and len(words) > 1:
            name = next((w for w in words[1:] if w[0] != "-" and "=" not in w), "").rstrip("0123456789.")
        text = "-e" if name in _EVALUATE else "-c"
        last = words[-1]
        given = last.startswith("-") and not last.startswith("--") and last.endswith(text[1])
        return words if given else [*words, text]

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
