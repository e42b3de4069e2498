"""The names of workers: those of this package, and those that other packages bring as entry points."""

from __future__ import annotations

from typing import Any

from buildflow.near import did_you_mean

KNOWN = ("debug", "cf", "slurm", "sge", "psij", "dask")
SUBTYPES = {"psij": ("local", "slurm")}
"""`psij-slurm` is `psij` with the option subtype=slurm."""
GROUP = "buildflow.workers"

_found: dict[str, Any] | None = None


def others() -> dict[str, Any]:
    """The entry points of other packages' workers, by name."""
    global _found
    if _found is None:
        from importlib.metadata import entry_points

        _found = {point.name: point for point in entry_points(group=GROUP)}
    return _found


def is_worker(name: str) -> bool:
    """Whether there is a worker of that name."""
    kind, _, subtype = name.partition("-")
    return name in KNOWN or subtype in SUBTYPES.get(kind, ()) or name in others()


def hint(name: str) -> str:
    """What to write instead of a name that is no worker's."""
    names = (*KNOWN, *others())
    return did_you_mean(name, names) or f"there are {', '.join(names[:-1])} and {names[-1]}"
