"""`env = docker://IMAGE:TAG`: containers of Docker, Podman or any command that takes the same words.

Identity: the image's id, so that a tag that moves runs jobs again and one that is copied does not. The engine is asked
for it once a build; where it cannot be, the id that it gave last counts, until a job must run.
"""

from __future__ import annotations

import os
import re
from typing import Any, ClassVar

from buildflow.environments.base import Command, Site
from buildflow.environments.container import Container, Mounts
from buildflow.environments.engine import (
    NoEngine,
    NoImage,
    Question,
    config_of,
    image,
    image_id,
    last_id_counts,
    socket_of,
)
from buildflow.environments.guard import LABEL, Guard, remove
from buildflow.environments.warm import Warm
from buildflow.errors import FlowError
from buildflow.records import replace

_IMAGE = re.compile(r"[A-Za-z0-9_][\w.\-/:@+]*", re.ASCII)

_CLIENT = ("PATH", "HOME", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR")
_CLIENT_FAMILIES = ("DOCKER_", "CONTAINER_", "CONTAINERS_", "BUILDAH_", "REGISTRY_", "PODMAN_")
"""Variables of the caller that the engine's command sees; no job does."""

DEVICES = "CUDA_VISIBLE_DEVICES"


class Environment(Container):
    """An image by its name; `tag` may be in the name."""

    name: ClassVar[str] = "docker"

    def __init__(self, image: str, tag: str | None = None) -> None:
        self._image = f"{image}:{tag}" if tag else image
        if not _IMAGE.fullmatch(self._image):
            raise FlowError(f"{self._image!r} is no name of an image", None, "write docker://IMAGE:TAG")
        self._forget()

    def __str__(self) -> str:
        return f"docker://{self._image}"

    def image(self) -> str:
        return self._image

    def attach(self, site: Site) -> None:
        super().attach(site)
        self._forget()

    def _forget(self) -> None:
        self._id: str | None = None
        self._config: dict[str, Any] = {}
        self._problem: NoEngine | NoImage | None = None
        self._mounts: Mounts | None = None

    # ---- who it is ---------------------------------------------------------------------------------------------

    @property
    def words(self) -> list[str]:
        """The engine's command."""
        return str(self.site.settings.get("docker") or "docker").split()

    def question(self) -> Question:
        """What is asked for the identity."""
        words = self.words
        return " ".join(words), socket_of(words, self.site.variable), self._image

    def identity(self) -> str:
        if self._id is None:
            question = self.question()
            label = f"image {self._image}"
            try:
                found = image(question)
                self._id, self._config = image_id(found), found.get("Config") or {}
                self.site.remember(label, self._id)
            except (NoEngine, NoImage) as problem:
                self._problem = problem
                self._id = self.site.recall(label)
                if self._id is None:
                    raise self._error() from None
                self.site.say(last_id_counts(question, problem))
        return f"docker {self._id}"

    def images(self) -> dict[Question, str]:
        """What a build with nothing to do asks, and the answer that it had."""
        return {self.question(): self._id} if self._id is not None else {}

    def read(self) -> list[str]:
        return [config_of(self.site.variable)] if self.question()[1] else []

    def check(self) -> None:
        self.identity()

    def prepare(self) -> None:
        self.identity()
        if self._problem is not None:
            raise self._error()

    def _error(self) -> FlowError:
        words = self.words
        if isinstance(self._problem, NoImage):
            what = f"the image {self._image} is not here"
            return FlowError(what, None, f"get it: {' '.join(words)} pull {self._image}")
        why = str(self._problem).rstrip(".")
        if why.startswith("there is no command"):
            return FlowError(
                f"{why}, which {self} needs", None,
                'install it, or name another: [environments] docker = "podman" in bflow.toml',
            )  # fmt: skip
        what = f"{words[0]} cannot be asked for the image {self._image}: {why}"
        denied = "permission denied" in why.lower()
        return FlowError(what, None, "see who may use its socket (often the group docker)" if denied else "start it")

    # ---- running -----------------------------------------------------------------------------------------------

    def wrap(self, command: Command) -> Command:
        """`docker run` with this command, or a request to the container that is kept (`container = warm`)."""
        if self._mounts is None:
            self._mounts = Mounts(self.site)
        warm = self.site.settings.get("container") == "warm" and Warm.possible()
        if warm and command.here and not command.terminal and not self._mounts.more(command):
            mounts = self._mounts
            warm_one = self.site.keep(f"container {self._id}", lambda: self._warm(mounts))
            if "HOME" not in command.env and self._home(command):
                command.env["HOME"] = str(self._home(command))
            return warm_one.command(command)
        return self._run(command)

    def _run(self, command: Command) -> Command:
        assert self._mounts is not None
        label, container = self._watched(command)
        argv = [*self.words, "run", "--rm", "--name", container, *label, *self._who(), "-w", command.cwd]
        argv += self._options()
        for path in (*self._mounts.always, *self._mounts.more(command)):
            if path not in command.writable:
                argv += mount(path, readonly=True)
        for path in command.writable:
            argv += mount(path, readonly=False)
        if command.terminal:
            argv += ["-i", "-t"] if os.isatty(0) and os.isatty(1) else ["-i"]
        names, client = self._variables(command)
        argv += [*names, "--entrypoint", command.argv[0], str(self._id), *command.argv[1:]]
        return replace(command, argv=argv, env=client, cleanup=remove(self.words, container))

    def _warm(self, mounts: Mounts) -> Warm:
        """The container that is kept for this build."""
        site, words = self.site, self.words
        container = f"bflow-{os.getpid()}-{os.urandom(6).hex()}"
        run = [*words, "run", "-d", "--rm", "--name", container, "--label", f"{LABEL}={self.guarded()}"]
        run += [*self._who(), *self._options()]
        for path in mounts.always:
            run += mount(path, readonly=True)
        run += [*mount(f"{site.folder}/work", readonly=False), "--entrypoint", "sh", str(self._id)]
        from buildflow.environments.ask import Refused

        try:
            return Warm(run, [*words, "wait", container], self.client(), f"{site.folder}/work")
        except Refused as refused:
            raise FlowError(
                f"no container of the image {self._image} can be kept: {refused.last}", None,
                "it needs sh and setsid; without container = warm each job has a container of its own",
            ) from None  # fmt: skip

    def _watched(self, command: Command) -> tuple[list[str], str]:
        """The label that marks a container as this build's, with a guard that ends all of them; and a new name."""
        container = f"bflow-{os.getpid()}-{os.urandom(6).hex()}"
        if not command.here:
            return [], container  # it may outlive this process
        return ["--label", f"{LABEL}={self.guarded()}"], container

    def guarded(self) -> str:
        """The label of this build's containers."""
        words = self.words
        name = f"{os.getpid()}-{id(self.site):x}"
        self.site.keep("guard " + " ".join(words), lambda: Guard(words, name, self.client()))
        return name

    def _options(self) -> list[str]:
        """What the settings say, and what makes a container as light as it can be."""
        given = self.site.settings.get("docker_options") or []
        options = given.split() if isinstance(given, str) else [str(word) for word in given]
        network = self.site.settings.get("network")
        found = ["--log-driver", "none"]  # what a job prints is in its log
        if os.path.basename(self.words[0]) != "podman":
            found.append("--init")  # (podman needs a program for it that is often not there)
        if network:
            found += ["--network", str(network)]
        return [*found, *options]

    def _who(self) -> list[str]:
        """The options by which files belong to the user."""
        uid = os.getuid()
        if uid and os.path.basename(self.words[0]) == "podman":
            return ["--userns", "keep-id", *self._user()]
        return self._user()

    def _user(self) -> list[str]:
        uid = os.getuid()
        socket = self.question()[1]
        try:
            if uid and socket and os.stat(socket).st_uid == uid:
                return ["-u", "0:0"]  # of a daemon that is the user's own, root is the user
        except OSError:
            pass
        return ["-u", f"{uid}:{os.getgid()}"]

    def _variables(self, command: Command) -> tuple[list[str], dict[str, str]]:
        """The options that pass on variables, by name where that is possible (whoever lists the processes of this
        machine sees no value), and the environment of the engine's command."""
        client = self.client()
        env = dict(command.env)
        home = self._home(command)
        if home:
            env["HOME"] = home
        if command.terminal and self.site.variable("TERM"):
            env.setdefault("TERM", str(self.site.variable("TERM")))
        words = ["-e", DEVICES]  # it is given when the job starts
        for name, value in env.items():
            if name in client or name in _CLIENT or name.startswith(("LD_", *_CLIENT_FAMILIES)):
                words += ["-e", f"{name}={value}"]
            else:
                client[name] = value
                words += ["-e", name]
        return words, client

    def _home(self, command: Command) -> str | None:
        """The HOME that a job gets; None where the rule or the image has one."""
        own = any(v.startswith("HOME=") for v in self._config.get("Env") or [])
        return None if own else self.home(command)

    def client(self) -> dict[str, str]:
        """The environment of the engine's command."""
        found = {}
        for name in (*_CLIENT, *(n for n in os.environ if n.startswith(_CLIENT_FAMILIES))):
            value = self.site.variable(name)
            if value is not None:
                found[name] = value
        found.setdefault("PATH", os.defpath)
        return found


def mount(path: str, *, readonly: bool) -> list[str]:
    """The option that shows a file or folder of this machine at the same place in a container."""
    parts = ["type=bind", f"source={path}", f"target={path}", *(["readonly"] if readonly else [])]
    quoted = ['"' + part.replace('"', '""') + '"' if "," in part or '"' in part else part for part in parts]
    return ["--mount", ",".join(quoted)]
