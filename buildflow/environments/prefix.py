"""`env = prefix://DIR`: a conda prefix, a virtual environment, a Spack view; its `bin/` goes first on the PATH.

Identity: the digests of `conda-meta/*.json` and `*.dist-info/RECORD`, else names, sizes and times under `bin/`.
`Made` is for prefixes that bflow makes itself, from a file: their identity is the file's digest.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping
from typing import ClassVar, TypeVar

from xxhash import xxh3_128

from buildflow.environments.base import Environment as Base
from buildflow.environments.made import Place
from buildflow.errors import FlowError

P = TypeVar("P", bound="Environment")


class _Prefix(Base):
    """Programs in one folder with a `bin/`."""

    folder: str

    def variables(self, base: Mapping[str, str]) -> dict[str, str]:
        env = dict(base)
        env["PATH"] = f"{self.folder}/bin:{env.get('PATH', os.defpath)}"
        if os.path.isdir(f"{self.folder}/conda-meta"):
            env["CONDA_PREFIX"] = self.folder
        elif os.path.exists(f"{self.folder}/pyvenv.cfg"):
            env["VIRTUAL_ENV"] = self.folder
        return env

    def python(self) -> str:
        own = f"{self.folder}/bin/python3"
        return own if os.path.exists(own) else "python3"


class Environment(_Prefix):
    """A software prefix at `folder` (absolute)."""

    name: ClassVar[str] = "prefix"

    def __init__(self, folder: str, shown: str | None = None) -> None:
        self.folder = os.path.abspath(folder)
        self.shown = shown or folder

    def __str__(self) -> str:
        return f"prefix://{self.folder}"

    @classmethod
    def named(cls: type[P], text: str, root: str) -> P:
        return cls(os.path.normpath(os.path.join(root, os.path.expanduser(text))), text)

    def check(self) -> None:
        if not os.path.isdir(f"{self.folder}/bin"):
            raise FlowError(
                f"the prefix {self.shown} has no bin/ folder",
                None,
                "make it first, or correct the path in env = prefix://…",
            )

    def identity(self) -> str:
        self.check()
        found = sorted(glob.glob(f"{glob.escape(self.folder)}/conda-meta/*.json"))
        found += sorted(glob.glob(f"{glob.escape(self.folder)}/lib/python*/site-packages/*.dist-info/RECORD"))
        state = xxh3_128()
        if found:
            for path in found:
                state.update(os.fsencode(path[len(self.folder) :]) + b"\0")
                with open(path, "rb") as file:
                    state.update(file.read())
        else:
            for name in sorted(os.listdir(f"{self.folder}/bin")):
                st = os.stat(f"{self.folder}/bin/{name}", follow_symlinks=True)
                state.update(f"{name}\0{st.st_size}\0{st.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
        return f"prefix {state.hexdigest()}"

    def read(self) -> list[str]:
        found = glob.glob(f"{glob.escape(self.folder)}/conda-meta/*.json")
        found += glob.glob(f"{glob.escape(self.folder)}/lib/python*/site-packages/*.dist-info/RECORD")
        folders = [f"{self.folder}/conda-meta", *glob.glob(f"{glob.escape(self.folder)}/lib/python*/site-packages")]
        if not found:
            found = [f"{self.folder}/bin/{name}" for name in os.listdir(f"{self.folder}/bin")]
        return [*found, f"{self.folder}/bin", *(f for f in folders if os.path.isdir(f))]


class Made(_Prefix):
    """A prefix that is made once from a file. Subclasses say from which, and how."""

    made: ClassVar[bool] = True
    shown: str

    def what(self) -> str:
        """What besides the files decides what is made."""
        raise NotImplementedError

    def make(self, place: str) -> None:
        """Make the prefix at `place`, which is not there. Raises FlowError with what the tool printed as its hint."""
        raise NotImplementedError

    def identity(self) -> str:
        digests = " ".join(self.site.file_digest(path) for path in self.read())
        return f"{self.name} {digests} {self.what()}"

    def check(self) -> None:
        self.read()

    def prepare(self) -> None:
        place = self._place()
        if not place.whole():
            self.site.say(f"{self} is made: {place.path}")
        place.make(self.make)

    @property
    def folder(self) -> str:  # type: ignore[override]
        return self._place().path

    def _place(self) -> Place:
        digest = xxh3_128(self.identity().encode()).hexdigest()
        return Place(self.site, self.name, digest, "prefix")

    def client(self) -> dict[str, str]:
        """The environment of the tool that makes it: the caller's, but for what would lead it elsewhere."""
        leads = ("PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_USER")
        return {name: value for name, value in os.environ.items() if name not in leads}
