"""`env = conda://environment.yaml`: a conda prefix, made once under the cache root by micromamba, mamba or conda, at a
place named by its identity: the digest of the file, and the platform. Its activation scripts are run once a build."""

from __future__ import annotations

import glob
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from typing import ClassVar

from buildflow.environments.prefix import Made
from buildflow.errors import FlowError

PROGRAMS = ("micromamba", "mamba", "conda")


class Environment(Made):
    """`file`: as `conda env create -f` takes it, relative to the project."""

    name: ClassVar[str] = "conda"

    def __init__(self, file: str | os.PathLike[str]) -> None:
        self.shown = os.fspath(file)

    def __str__(self) -> str:
        return f"conda://{self.shown}"

    def read(self) -> list[str]:
        path = self.site.path(self.shown)
        if not os.path.isfile(path):
            raise FlowError(
                f"the environment's file {self.shown} is not there", None, "correct the path in env = conda://…"
            )
        return [path]

    def what(self) -> str:
        return f"{sys.platform} {os.uname().machine}"

    def program(self) -> str:
        """The command that there is. Raises FlowError where there is none."""
        given = self.site.settings.get("conda")
        path = self.site.variable("PATH") or os.defpath
        for name in (str(given),) if given else PROGRAMS:
            if shutil.which(name, path=path):
                return name
        raise FlowError(
            f"there is no command {given or 'micromamba, mamba or conda'}, which {self} needs", None,
            'install one of them, or name yours: [environments] conda = "…" in bflow.toml',
        )  # fmt: skip

    def make(self, place: str) -> None:
        from buildflow.environments.ask import Refused, ask

        program = self.program()
        name = os.path.basename(program)
        verb = ["create"] if name.startswith("micromamba") else ["env", "create"]
        yes = [] if name.startswith("conda") else ["-y"]  # (conda env create asks nothing, and older ones know no -y)
        words = [program, *verb, *yes, "-p", place, "-f", self.site.path(self.shown)]
        try:
            ask(words, env=self.client(), cwd=self.site.root, merged=True)
        except Refused as refused:
            raise FlowError(f"{name} could not make {self.shown}: {refused.last}", None, refused.more) from None

    def variables(self, base: Mapping[str, str]) -> dict[str, str]:
        env = super().variables(base)
        env["CONDA_PREFIX"] = self.folder
        scripts = sorted(glob.glob(f"{glob.escape(self.folder)}/etc/conda/activate.d/*.sh"))
        if not scripts:
            return env
        from buildflow.environments.ask import Refused
        from buildflow.environments.shells import variables_after

        text = "set +e\n" + "\n".join(f". {shlex.quote(script)}" for script in scripts) + "\ntrue"
        try:
            return variables_after(text, env, self.site.root)
        except Refused as refused:
            raise FlowError(f"{self} cannot be activated: {refused.last}", None, refused.more) from None
