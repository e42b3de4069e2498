"""`env = venv://requirements.txt`: a virtual environment, made once under the cache root, at a place named by its
identity: the digests of the requirements and of the files that they name, the Python's version, the platform."""

from __future__ import annotations

import os
import re
import sys
from typing import ClassVar

from buildflow.environments.prefix import Made
from buildflow.errors import FlowError

_NAMES = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]+(\S+)")


class Environment(Made):
    """`requirements`: a file as pip reads it, relative to the project."""

    name: ClassVar[str] = "venv"

    def __init__(self, requirements: str | os.PathLike[str]) -> None:
        self.shown = os.fspath(requirements)

    def __str__(self) -> str:
        return f"venv://{self.shown}"

    def read(self) -> list[str]:
        """The requirements, and those files that they name."""
        found: list[str] = []
        todo = [self.site.path(self.shown)]
        while todo:
            path = todo.pop()
            if path in found:
                continue
            found.append(path)
            for line in self.text(path).splitlines():
                match = _NAMES.match(line)
                if match is not None and "://" not in match[1]:
                    todo.append(os.path.normpath(os.path.join(os.path.dirname(path), match[1])))
        return found

    def what(self) -> str:
        major, minor = sys.version_info[:2]
        return f"python{major}.{minor} {sys.platform} {os.uname().machine}"

    def make(self, place: str) -> None:
        from buildflow.environments.ask import Refused, ask

        # The Python that runs bflow: functions travel to it by pickle too.
        python = f"{place}/bin/python3"
        requirements = self.site.path(self.shown)
        for what, words in (
            ("a virtual environment could not be made", [sys.executable, "-m", "venv", place]),
            (f"pip could not install {self.shown}", [
                python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "-r", requirements]),
        ):  # fmt: skip
            try:
                ask(words, env=self.client(), cwd=self.site.root, merged=True)
            except Refused as refused:
                raise FlowError(f"{what}: {refused.last}", None, refused.more) from None

    def text(self, path: str) -> str:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except OSError as error:
            name = os.path.relpath(path, self.site.root)
            raise FlowError(
                f"the requirements {name} cannot be read: {error.strerror}", None,
                f"correct the path in env = {self}, or in a file that it names",
            ) from None  # fmt: skip
