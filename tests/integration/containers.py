"""Docker and Apptainer for tests: started where they are not, with images made here and no registry asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from require import SERVICES, require, service
from story import Story

HOME = os.environ.get("DOCKER_HOME", "/var/tmp/bflow-docker")


class Docker:
    """The engine, and what tests ask it beside bflow."""

    env: Mapping[str, str] = {"DOCKER_HOST": os.environ.get("DOCKER_HOST", f"unix://{HOME}/docker.sock")}

    def __call__(self, *words: str, ok: bool = True) -> str:
        ran = subprocess.run(["docker", *words], env={**os.environ, **self.env}, capture_output=True, text=True)
        assert ran.returncode == 0 or not ok, ran.stderr
        return ran.stdout.strip()

    def image(self, name: str, root: Path) -> str:
        """Make an image from a root file system; its id."""
        return service("docker", "image", name, str(root), env=self.env).strip()

    def containers(self) -> list[str]:
        """The names of all containers of bflow, whatever has become of them."""
        return self("ps", "-a", "--filter", "label=bflow.build", "--format", "{{.Names}}").split()

    def gone(self, timeout: float = 30) -> bool:
        """Whether all are gone, at last."""
        end = time.monotonic() + timeout
        while found := self.containers():
            if time.monotonic() > end:
                raise AssertionError(f"containers are left: {found}")
        return True


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system with busybox, bash and Python, and `plain` beside it with busybox alone."""
    if os.geteuid() != 0 and not all(map(shutil.which, ("busybox", "bash", "python3"))):
        require("docker", "only root can install busybox")
    folder = tmp_path_factory.mktemp("rootfs")
    for name, words in (("full", ("python", "bash")), ("plain", ())):
        subprocess.run([SERVICES / "rootfs.sh", folder / name, *words], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def docker(rootfs: Path) -> Iterator[Docker]:
    """Docker's engine with the images bflow-full:1 and bflow-plain:1."""
    engine = Docker()
    running = shutil.which("docker") and not subprocess.run(
        ["docker", "version"], env={**os.environ, **engine.env}, capture_output=True
    ).returncode  # fmt: skip
    if not running:
        if os.geteuid() != 0:
            require("docker", "its engine does not run, and only root can start it")
        service("docker", "start")
    for name in ("full", "plain"):
        engine.image(f"bflow-{name}:1", rootfs / name)
    yield engine
    for tag in engine("images", "--format", "{{.Repository}}:{{.Tag}}").split():
        if tag.startswith("bflow-"):
            engine("rmi", "-f", tag, ok=False)
    if not running:
        service("docker", "stop")


@pytest.fixture
def dock(story: Story, docker: Docker) -> Story:
    """A story whose commands reach the engine."""
    return with_variables(story, docker.env)


def with_variables(story: Story, env: Mapping[str, str]) -> Story:
    own = story.environment
    story.environment = lambda extra=None: own({**env, **(extra or {})})  # type: ignore[method-assign]
    return story


class Apptainer:
    """What runs .sif files; `folder` has full.sif and plain.sif."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def image(self, name: str, root: Path) -> Path:
        """Make an image from a root file system."""
        path = self.folder / name
        service("singularity", "image", str(path), str(root), script="apptainer")
        return path


@pytest.fixture(scope="session")
def apptainer(rootfs: Path, tmp_path_factory: pytest.TempPathFactory) -> Apptainer:
    """Apptainer with images of its own."""
    if shutil.which("apptainer") is None and shutil.which("singularity") is None:
        if os.geteuid() != 0:
            require("singularity", "it is not here, and only root can install it")
        service("singularity", "install", script="apptainer")
    found = Apptainer(tmp_path_factory.mktemp("images"))
    for name in ("full", "plain"):
        found.image(f"{name}.sif", rootfs / name)
    return found
