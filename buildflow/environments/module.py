"""`env = module://NAME/VERSION`: Environment Modules or Lmod; several as `module://gcc/12:samtools/1.17`.

Identity: the names, and the digests of the modulefiles that loading them read (those that they load too). A shell is
asked once a build for the environment that they make; jobs start with it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import ClassVar

from buildflow.environments.base import Environment as Base
from buildflow.environments.base import Site, base_variables
from buildflow.errors import FlowError

_INITS = (
    "{MODULESHOME}/init/bash", "{LMOD_PKG}/init/bash", "/usr/share/modules/init/bash",
    "/usr/share/lmod/lmod/init/bash", "/etc/profile.d/modules.sh", "/etc/profile.d/lmod.sh",
)  # fmt: skip
_SYSTEM = ("MODULEPATH", "MODULESHOME", "MODULERCFILE", "MODULES_CMD", "LMOD_CMD", "LMOD_PKG", "LMOD_DIR", "LMOD_ROOT")
"""Variables of the caller that say where modules are."""
_LOADED = "_LMFILES_"
_BOOKS = ("LOADEDMODULES", "_LMFILES_", "MODULE", "LMOD_", "__LMOD", "__MODULES", "_ModuleTable", "FPATH")
"""What modules remember of themselves; no tool reads it."""


class Environment(Base):
    """Modules by name, as `module load` takes them."""

    name: ClassVar[str] = "module"

    def __init__(self, *modules: str) -> None:
        self.modules = [name for text in modules for name in text.split(":")]
        if not all(name and not name.startswith("-") and name.isprintable() for name in self.modules):
            raise FlowError(f"module://{':'.join(modules)} names no module", None, "write module://NAME/VERSION")
        self._after: dict[str, str] | None = None

    def __str__(self) -> str:
        return f"module://{':'.join(self.modules)}"

    def attach(self, site: Site) -> None:
        super().attach(site)
        self._after = None

    def identity(self) -> str:
        rows = [f"{os.path.basename(path)} {self.site.file_digest(path)}" for path in self._files()]
        return f"module {':'.join(self.modules)} {' '.join(rows)}"

    def read(self) -> list[str]:
        """The modulefiles and their folders: a newer version may be what a name without one means."""
        found = self._files()
        path = (self.site.variable("MODULEPATH") or self._loaded().get("MODULEPATH") or "").split(":")
        folders = {*path, *(os.path.dirname(f) for f in found)}
        return [*found, self._init(), *sorted(f for f in folders if f.startswith("/"))]

    def check(self) -> None:
        self._loaded()

    def variables(self, base: Mapping[str, str]) -> dict[str, str]:
        after = {n: v for n, v in self._loaded().items() if not n.startswith(_BOOKS)}
        before = self._before()
        gone = [name for name in before if name not in after and name not in _SYSTEM]
        changed = {name: value for name, value in after.items() if before.get(name) != value}
        return {**{n: v for n, v in base.items() if n not in gone}, **changed}

    def _before(self) -> dict[str, str]:
        """The environment that modules are loaded into: a job's, and where modules are."""
        names = ("PATH", "HOME", "USER", "LOGNAME", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", *_SYSTEM)
        found = {name: self.site.variable(name) for name in names}
        given = {name: value for name, value in found.items() if value is not None}
        system = {name: given[name] for name in _SYSTEM if name in given}
        return {**base_variables(given), **system}

    def _init(self) -> str:
        """The script that defines the shell's `module`. Raises FlowError where there is none."""
        given = self.site.settings.get("module")
        variables = {name: self.site.variable(name) or "/none" for name in ("MODULESHOME", "LMOD_PKG")}
        for place in [str(given)] if given else [text.format(**variables) for text in _INITS]:
            if os.path.exists(place):
                return place
        raise FlowError(
            f"there are no environment modules here, which {self} needs" if not given else f"{given} is not there",
            None,
            "install Environment Modules or Lmod, or name its script for bash: [environments] module = "
            '"…/init/bash" in bflow.toml',
        )

    def _loaded(self) -> dict[str, str]:
        """The environment with the modules in it."""
        if self._after is None:
            from buildflow.environments.ask import Refused
            from buildflow.environments.shells import variables_after

            names = " ".join(map(shlex.quote, self.modules))
            load = f"set +e; . {shlex.quote(self._init())}; set -e\nmodule load {names}"
            try:
                after = variables_after(load, self._before(), self.site.root)
            except Refused as refused:
                raise self._refused(refused.said) from None
            loaded = after.get("LOADEDMODULES", "").split(":")
            for name in self.modules:
                if not any(one == name or one.startswith(f"{name}/") for one in loaded):
                    raise self._refused("")
            self._after = after
        return self._after

    def _refused(self, said: str) -> FlowError:
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        why = f": {lines[-1].removeprefix('ERROR: ')}" if lines else ""
        return FlowError(
            f"{self} cannot be loaded{why}", None, "“module avail” shows those that there are; MODULEPATH says where"
        )

    def _files(self) -> list[str]:
        return [path for path in self._loaded().get(_LOADED, "").split(":") if os.path.isfile(path)]
