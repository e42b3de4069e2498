"""Real clusters in tests: what they are asked from outside, as their users do."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from typing import Any


class Cluster:
    """`worker`: bflow's name for it; `env`: what its commands need."""

    worker = ""

    def __init__(self, env: dict[str, str]) -> None:
        self.env = env

    def run(self, *words: str, check: bool = True) -> str:
        ran = subprocess.run(
            words, env={**os.environ, **self.env}, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        assert not check or ran.returncode == 0, f"{words}: {ran.stderr or ran.stdout}"
        return ran.stdout

    def queued(self) -> list[str]:
        """The jobs of bflow that are in the queue, by their ids."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Cancel all that bflow has submitted, as somebody else would."""
        raise NotImplementedError

    def until_empty(self) -> None:
        until(lambda: not self.queued(), "an empty queue")


class Slurm(Cluster):
    worker = "slurm"

    def __init__(self, env: dict[str, str]) -> None:
        home = env.get("SLURM_HOME", "/var/tmp/bflow-slurm")
        super().__init__({"SLURM_CONF": f"{home}/slurm.conf"})
        self.home = home
        self.service_env = env

    def queued(self) -> list[str]:
        lines = self.run("squeue", "--noheader", "--format=%A %j").splitlines()
        return [line.split()[0] for line in lines if line.split()[1].startswith("bflow-")]

    def cancel(self) -> None:
        self.run("scancel", *self.queued())


class Sge(Cluster):
    worker = "sge"

    def __init__(self) -> None:
        super().__init__({"SGE_ROOT": "/var/lib/gridengine", "SGE_CELL": "default"})

    def queued(self) -> list[str]:
        lines = self.run("qstat", "-u", "*").splitlines()[2:]
        return sorted({line.split()[0] for line in lines if line.split()[2].startswith("bflow-")})

    def cancel(self) -> None:
        self.run("qdel", *self.queued())


def until(holds: Callable[[], Any], what: str, timeout: float = 60) -> Any:
    """Wait until `holds()` is true, and return it."""
    end = time.monotonic() + timeout
    while not (value := holds()):
        assert time.monotonic() < end, f"waited {timeout} s in vain for {what}"
        time.sleep(0.05)
    return value
