"""`env = singularity://FILE.sif`: containers of Singularity or Apptainer, through spython.

Identity: the digest of the .sif; of a sandbox folder the names, sizes and times of what is in it. An image URI
(`singularity://docker://…`, `oras://…`, `library://…`) is pulled once, to a .sif under the cache root.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import Any, ClassVar

from buildflow.environments.base import Command, Site
from buildflow.environments.container import Container, Mounts
from buildflow.environments.made import Place
from buildflow.errors import FlowError
from buildflow.records import replace

PROGRAMS = ("singularity", "apptainer")
_CLIENT = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
_FAMILIES = ("APPTAINER_", "SINGULARITY_")
_NOT = ("BIND", "BINDPATH", "MOUNT", "ENV", "HOME", "SHELL", "CONTAIN", "CONTAINALL", "CLEANENV")
"""Settings of Apptainer that would change what a job sees."""


class Environment(Container):
    """An image file, a sandbox folder or an image URI."""

    name: ClassVar[str] = "singularity"

    def __init__(self, image: str | os.PathLike[str], tag: str | None = None) -> None:
        text = os.fspath(image)
        self._image = f"{text}:{tag}" if tag else text
        self._forget()

    def __str__(self) -> str:
        return f"singularity://{self._image}"

    def image(self) -> str:
        return self._image

    def attach(self, site: Site) -> None:
        super().attach(site)
        self._forget()

    def _forget(self) -> None:
        self._identity: str | None = None
        self._files: list[str] = []
        self._mounts: Mounts | None = None

    # ---- who it is ---------------------------------------------------------------------------------------------

    @property
    def is_uri(self) -> bool:
        return "://" in self._image

    @property
    def path(self) -> str:
        """Where the image stands; a URI's is where it was pulled to."""
        return self._pulled().path if self.is_uri else self.site.path(self._image)

    def identity(self) -> str:
        if self._identity is None:
            if self.is_uri and not self.site.writes and not self._pulled().whole():
                return f"singularity {self._image}, which is not here yet"
            if self.is_uri:
                self._pulled().make(self._pull)
            path = self.path
            if os.path.isdir(path):
                digest = self._folder(path)
            elif os.path.isfile(path):
                digest = self.site.file_digest(path)
                self._files = [path]
            else:
                raise FlowError(
                    f"the image {self._image} is not there", None,
                    f"make it first, as with “apptainer build {self._image} …”, or correct the path",
                )  # fmt: skip
            self._identity = f"singularity {digest}"
        return self._identity

    def _folder(self, path: str) -> str:
        """The digest of a sandbox folder by names, sizes and times; all of it is watched."""
        from xxhash import xxh3_128

        state = xxh3_128()
        for folder, folders, names in os.walk(path):
            folders.sort()
            self._files.append(folder)
            for name in sorted(names):
                place = f"{folder}/{name}"
                st = os.lstat(place)
                state.update(f"{place[len(path) :]}\0{st.st_size}\0{st.st_mtime_ns}\0{st.st_mode}\n".encode(
                    "utf-8", "surrogateescape"))  # fmt: skip
                if os.path.isfile(place):
                    self._files.append(place)
        return state.hexdigest()

    def read(self) -> list[str]:
        return self._files

    def check(self) -> None:
        self.identity()

    def prepare(self) -> None:
        self.program()

    def program(self) -> str:
        """The command that there is. Raises FlowError where there is none."""
        given = self.site.settings.get("singularity")
        path = self.site.variable("PATH") or os.defpath
        for name in (str(given),) if given else PROGRAMS:
            if shutil.which(name, path=path):
                return name
        raise FlowError(
            f"there is no command {given or 'singularity or apptainer'}, which {self} needs", None,
            "install Apptainer, or name the command: [environments] singularity = \"…\" in bflow.toml",
        )  # fmt: skip

    # ---- images from elsewhere ---------------------------------------------------------------------------------

    def _pulled(self) -> Place:
        from xxhash import xxh3_128_hexdigest

        return Place(self.site, "singularity", xxh3_128_hexdigest(self._image.encode()), "image.sif")

    def _pull(self, place: str) -> None:
        """Pull the image of a URI."""
        from buildflow.environments.ask import Refused, ask

        program = self.program()
        self.site.say(f"{self._image} is pulled to {place}")
        new = f"{place}.new"
        words = [program, *_client()._init_command(["build", "--force"])[1:], new, self._image]
        try:
            ask(words, merged=True)
        except Refused as refused:
            raise FlowError(f"{program} could not pull {self._image}: {refused.last}", None, refused.more) from None
        os.replace(new, place)

    # ---- running -----------------------------------------------------------------------------------------------

    def wrap(self, command: Command) -> Command:
        if self._mounts is None:
            self._mounts = Mounts(self.site)
        client = _client()
        program = self.program()
        seen = [*self._mounts.always, *self._mounts.more(command)]
        binds = [(path, "ro") for path in seen if path not in command.writable]
        binds += [(path, "rw") for path in command.writable]
        plain = [f"{path}:{path}:{mode}" for path, mode in binds if not _needs_mount(path)]
        home = self.home(command) or command.env.get("HOME") or command.cwd
        words: list[str] = client._init_command("exec")
        words += client._generate_bind_list(plain)
        for path, mode in binds:
            if _needs_mount(path):
                words += ["--mount", _mount(path, mode)]
        words += ["--containall", "--cleanenv", *(["--no-eval"] if self._has_no_eval() else [])]
        words += ["--home", home, "--pwd", command.cwd, *self._options(), self.path, *command.argv]
        words[0] = program
        prefix = "APPTAINERENV_" if self._is_apptainer() else "SINGULARITYENV_"
        env = {**self._environment(), **{prefix + name: v for name, v in command.env.items() if name != "HOME"}}
        return replace(command, argv=words, env=env, prefix=prefix)

    def _options(self) -> list[str]:
        given = self.site.settings.get("singularity_options") or []
        options = given.split() if isinstance(given, str) else [str(word) for word in given]
        network = self.site.settings.get("network")
        return ["--net", "--network", str(network), *options] if network and network != "host" else options

    def _is_apptainer(self) -> bool:
        """Whether the command is Apptainer's, which may stand under Singularity's name."""
        path = shutil.which(self.program(), path=self.site.variable("PATH") or os.defpath)
        return os.path.basename(os.path.realpath(path or "")) == "apptainer" or self._version().startswith("apptainer")

    def _has_no_eval(self) -> bool:
        """Whether the command knows the flag by which a shell takes values of variables as they are."""
        numbers = re.findall(r"\d+", self._version())
        return self._is_apptainer() or tuple(map(int, numbers[:2])) >= (3, 10)

    def _version(self) -> str:
        label = f"singularity {self.program()}"
        known = _versions.get(label)
        if known is None:
            from spython.utils import get_singularity_version

            known = _versions[label] = str(get_singularity_version() or "")
        return known

    def _environment(self) -> dict[str, str]:
        """The environment of the command itself."""
        found = {}
        for name in os.environ:
            family = next((f for f in _FAMILIES if name.startswith(f)), None)
            if name in _CLIENT or (family is not None and name[len(family) :] not in _NOT):
                value = self.site.variable(name)
                if value is not None:
                    found[name] = value
        found.setdefault("PATH", os.defpath)
        return found


_versions: dict[str, str] = {}


def _client() -> Any:
    """spython's client, which composes what Singularity is told."""
    global _spython
    if _spython is None:
        from spython.main import Client

        _spython = Client
        _spython.quiet = True
    return _spython


_spython: Any = None


def _needs_mount(path: str) -> bool:
    """Whether `--bind` would take a path for several words."""
    return any(c in path for c in ':,"\\')


def _mount(path: str, mode: str) -> str:
    parts = ["type=bind", f"source={path}", f"destination={path}", *(["ro"] if mode == "ro" else [])]
    return ",".join('"' + part.replace('"', '""') + '"' if "," in part or '"' in part else part for part in parts)
