"""From `--worker NAME`, a class or an instance to a worker."""

from __future__ import annotations

from typing import Any

from buildflow.errors import FlowError
from buildflow.near import did_you_mean
from buildflow.workers.base import Worker

KNOWN = ("debug", "cf")


def worker(which: str | type[Worker] | Worker, n_procs: int | None = None) -> Worker:
    """The worker that is meant. Raises FlowError for a name that there is not."""
    if isinstance(which, Worker):
        return which
    if isinstance(which, type):
        return which(n_procs)
    if which not in KNOWN:
        raise FlowError(
            f"there is no worker “{which}”", None, did_you_mean(which, KNOWN) or f"there are {' and '.join(KNOWN)}"
        )
    from importlib import import_module

    found: Any = import_module(f"buildflow.workers.{which}").Worker
    made: Worker = found(n_procs)
    return made
