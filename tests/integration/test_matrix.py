"""Every worker runs every kind of rule in every environment: the same keys and the same bytes wherever it ran, so that
a result of one worker is a cache hit for all others."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from containers import Apptainer, Docker, apptainer, docker, rootfs  # noqa: F401

from clusters import Cluster
from require import require
from story import Story

WORKERS = ("debug", "cf", "slurm", "sge", "psij-local", "psij-slurm", "dask")
ENVIRONMENTS = ("native", "docker", "singularity")
KINDS = {"shell.txt", "python.txt", "call.txt", "script.txt"}

FLOWFILE = """
all: shell.txt python.txt call.txt script.txt

shell.txt: in.txt
    tr a-z A-Z < {in} > {out}

[python]
python.txt: in.txt
    with open(out, "w") as file:
        file.write(open(inputs[0]).read() * 2)

[call = tasks:reverse]
call.txt: source=in.txt

script.txt: in.txt
    #!/bin/sh
    cat in.txt in.txt > script.txt
"""

TASKS = """
def reverse(source, out):
    out.write_text(source.read_text()[::-1])
"""

WANTED = {"shell.txt": "ONE\n", "python.txt": "one\none\n", "call.txt": "\neno", "script.txt": "one\none\n"}

SERVICE = {"slurm": "slurm", "psij-slurm": "slurm", "sge": "sge"}
PACKAGE = {"psij-local": "psij", "psij-slurm": "psij", "dask": "distributed"}

_first: dict[str, tuple[str, dict[str, str], Path]] = {}
"""For each environment the first worker's name, its keys and its cache."""


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("caches")


def variables(request: pytest.FixtureRequest, worker: str) -> dict[str, str]:
    """What the worker's commands need; the service is started."""
    package = PACKAGE.get(worker)
    if package is not None:
        name = worker.partition("-")[0]
        require(name, None if find_spec(package) else f"the package {package} is not installed")
    if worker not in SERVICE:
        return {}
    cluster: Cluster = request.getfixturevalue(SERVICE[worker])
    return dict(cluster.env)


def environment(request: pytest.FixtureRequest, name: str) -> tuple[str, dict[str, str]]:
    """What `--env` says, and the variables that it needs."""
    if name == "docker":
        engine: Docker = request.getfixturevalue("docker")
        return "docker://bflow-full:1", dict(engine.env)
    if name == "singularity":
        images: Apptainer = request.getfixturevalue("apptainer")
        return f"singularity://{images.folder}/full.sif", {}
    return "native", {}


def keys(cache: Path) -> dict[str, str]:
    """The name of the entry of each output."""
    found = {}
    for result in cache.glob("??/*/result.json"):
        for name in KINDS:
            if (result.parent / name).exists():
                found[name] = result.parent.name
    return found


@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_cell(request: pytest.FixtureRequest, story: Story, caches: Path, name: str, worker: str) -> None:
    env, more = environment(request, name)
    more = {**more, **variables(request, worker)}
    story.write("Flowfile", FLOWFILE)
    story.write("tasks.py", TASKS)
    story.write("in.txt", "one\n")
    cache = caches / f"{name}-{worker}"
    words = ("--worker", worker, "--env", env)
    ran = story.build(*words, "--cache-root", str(cache), env=more)
    assert ran.ran == 4 and ran.failed == 0
    assert {one: story.read(one) for one in KINDS} == WANTED
    found = keys(cache)
    assert set(found) == KINDS
    first, others, kept = _first.setdefault(name, (worker, found, cache))
    assert found == others, f"keys of {worker} and of {first}"
    for one in KINDS:
        story.path(one).unlink()
    shutil.rmtree(story.path(".bflow"))
    again = story.build(*words, "--cache-root", str(kept), env=more)
    assert (again.ran, again.cached) == (0, 4)
    assert {one: story.read(one) for one in KINDS} == WANTED
