"""Marks by service, and the services that several files use. `require` says what happens where one is not there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from clusters import Cluster, Sge, Slurm
from require import require, service

SERVICES = ("slurm", "sge", "docker", "singularity", "psij", "dask", "module", "conda", "real")


def pytest_configure(config: pytest.Config) -> None:
    for name in SERVICES:
        config.addinivalue_line("markers", f"{name}: needs the real thing, started by tests/services")


def _started(name: str, env: dict[str, str]) -> bool:
    """Start a service as root on Debian; whether it was not running before."""
    if os.geteuid() != 0:
        require(name, "only root can install and start it")
    before = subprocess.run(
        [f"{os.path.dirname(os.path.dirname(__file__))}/services/{name}.sh", "status"], env={**os.environ, **env},
        stdin=subprocess.DEVNULL, capture_output=True,
    )  # fmt: skip
    service(name, "start", env=env)
    return before.returncode != 0


def _slurm(env: dict[str, str]) -> Iterator[Cluster]:
    started = _started("slurm", env)
    yield Slurm(env)
    if started:
        service("slurm", "stop", env=env)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """A Slurm of two nodes without accounting."""
    yield from _slurm({})


@pytest.fixture(scope="session")
def slurm_with_accounting() -> Iterator[Cluster]:
    """A Slurm of two nodes with slurmdbd."""
    yield from _slurm({"SLURM_HOME": "/var/tmp/bflow-slurm-dbd", "SLURM_BASE_PORT": "17900", "SLURM_DBD": "1"})


@pytest.fixture(scope="session")
def sge() -> Iterator[Cluster]:
    """A Grid Engine of one node."""
    started = _started("sge", {})
    yield Sge()
    if started:
        service("sge", "stop")
