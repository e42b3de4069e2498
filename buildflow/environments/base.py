"""The contract of an environment: an identity for the key, and the argument vector that runs a recipe in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from buildflow.records import Record, field

T = TypeVar("T", bound="Kept")
E = TypeVar("E", bound="Environment")

BASE = ("PATH", "HOME", "USER", "LOGNAME")
_EVALUATE = frozenset("perl ruby node nodejs Rscript julia lua elixir".split())
"""Interpreters that take a text after -e; others take it after -c, as shells and Python do."""
WHERE_SET = ("LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX")


class Command(Record):
    """What a worker starts: an argument vector, its environment, its folder, plain redirections (fd, mode, path).

    For environments with a file system of their own: `mounts`, what the job reads outside the project's folder and the
    caches; `writable`, the folders and files that it writes to (all absolute). `terminal`: it has the caller's input
    and output; else it goes to `log`. `here`: it runs on this machine, as long as this process lives.

    `cleanup`: the argument vector that ends what may outlive the job's process group, as a container does. A worker
    runs it, in the same environment, after a job that did not end by itself: killed, out of time, stopped.
    """

    argv: list[str]
    env: dict[str, str]
    cwd: str
    redirections: Sequence[tuple[int, str, str]] = ()
    mounts: Sequence[str] = field(factory=tuple)
    writable: list[str] = field(factory=list)
    log: str = ""
    terminal: bool = False
    here: bool = True
    cleanup: list[str] = field(factory=list)
    prefix: str = ""
    """What stands before a variable's name so that the job sees it (Apptainer's `APPTAINERENV_`)."""

    def give(self, name: str, value: str) -> None:
        """Set a variable that is known only when the job starts: the devices that it got."""
        self.env[self.prefix + name] = value


class Kept:
    """Something that lives as long as a build: `close` ends it."""

    def close(self) -> None:
        raise NotImplementedError


class Site(Record):
    """What an environment may use of the build that it serves. As it is made here it stands for no build at all."""

    root: str = field(factory=os.getcwd)
    """The project's folder; paths in `env = …` are relative to it."""
    folder: str = ""
    """The project's `.bflow`, empty where there is none."""
    cache_root: str = ""
    readonly: Sequence[str] = ()
    settings: Mapping[str, Any] = field(factory=dict)
    """The table `[environments]` of `bflow.toml`."""
    variable: Callable[[str], str | None] = os.environ.get
    """A variable of the caller's environment; that it was asked for is remembered."""
    digest: Callable[[str], bytes] | None = None
    """The digest of a file (absolute), remembered by its signature."""
    recall: Callable[[str], Any] = lambda name: None
    remember: Callable[[str, Any], None] = lambda name, value: None
    """Small facts that are kept from build to build, by name."""
    writes: bool = True
    """Whether anything may be made; not where a command only looks."""
    say: Callable[[str], None] = lambda text: None
    """Tell the user something, in one sentence."""
    kept: dict[str, Kept] = field(factory=dict)

    def keep(self, name: str, make: Callable[[], T]) -> T:
        """What lives as long as the build under that name, made the first time."""
        found = self.kept.get(name)
        if found is None:
            found = self.kept[name] = make()
        return found  # type: ignore[return-value]

    def path(self, text: str) -> str:
        """A path of `env = …`, absolute."""
        return os.path.normpath(os.path.join(self.root, os.path.expanduser(text)))

    def file_digest(self, path: str) -> str:
        if self.digest is not None:
            return self.digest(path).hex()
        from buildflow.digest import stable_digest

        return stable_digest(path)[1].hex()

    def close(self) -> None:
        """End what was kept."""
        while self.kept:
            self.kept.popitem()[1].close()


class Environment:
    """Subclasses say who they are and wrap a command; `native` is the plain case."""

    name: ClassVar[str] = "native"
    direct: ClassVar[bool] = True
    """Whether a simple command may be started without a shell here."""
    contained: ClassVar[bool] = False
    """Whether jobs see a file system of their own: what they need is mounted, and programs are not the host's."""
    made: ClassVar[bool] = False
    """Whether the identity stands for the programs that the environment brings: `tools` that the host lacks are its."""
    volatile: ClassVar[bool] = False
    """Whether the identity may change without a file of `read` changing: then every build asks it anew."""

    site: Site = Site()

    def __str__(self) -> str:
        return self.name

    @classmethod
    def named(cls: type[E], text: str, root: str) -> E:
        """The environment that `env = NAME://text` means in the project at `root`. Raises FlowError for a text that
        is of no form; whether it can be had is not asked."""
        return cls(text)  # type: ignore[call-arg]

    def attach(self, site: Site) -> None:
        """Serve a build: what was found out for another one is forgotten."""
        self.site = site

    def identity(self) -> str:
        """What stands in the key: the same wherever the same programs would run."""
        raise NotImplementedError

    def read(self) -> list[str]:
        """The files and folders (absolute) that the identity was read from: a change of one makes it be asked anew."""
        return []

    def check(self) -> None:
        """Before anything runs: raises FlowError where the environment cannot be had on this machine."""

    def prepare(self) -> None:
        """Before the first job of a build runs here: makes what is missing. Raises FlowError where it cannot."""

    def variables(self, base: Mapping[str, str]) -> dict[str, str]:
        """The environment that a job starts with: built, not inherited."""
        return dict(base)

    def shell(self, interpreter: str | None) -> list[str]:
        """What stands before the text of a shell recipe; without its last word, before the file of a long one."""
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

    def hints(self, log: str) -> list[str]:
        """What a failed job's log says about its environment, in sentences."""
        return []


def base_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What every job sees of the caller's environment."""
    found = {name: environ[name] for name in BASE if name in environ}
    found.update((name, environ[name]) for name in WHERE_SET if name in environ)
    found.setdefault("PATH", os.defpath)
    found["LC_CTYPE"] = "C.UTF-8"
    found["PYTHONDONTWRITEBYTECODE"] = "1"
    return found
