"""From `--worker NAME`, a class or an instance to a worker.

The workers of this package are one file each; others are found by the entry points of the group `buildflow.workers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from buildflow.errors import FlowError
from buildflow.workers.base import Worker
from buildflow.workers.names import KNOWN, SUBTYPES, hint, is_worker, others

DEFAULT = "cf"
"""The command's own worker."""


def worker(which: str | type[Worker] | Worker, n_procs: int | None = None, given: Mapping[str, Any] = {}) -> Worker:
    """The worker that is meant, with its options. Raises FlowError for a name or an option that there is not."""
    if isinstance(which, Worker):
        return which
    if isinstance(which, type):
        return which(n_procs, **given)
    options = dict(given)
    kind, _, subtype = which.partition("-")
    if subtype in SUBTYPES.get(kind, ()):
        which = kind
        options.setdefault("subtype", subtype)
    own = options.pop("n_procs", None)
    if own is not None:
        n_procs = _number(own)
    return _class(which)(n_procs, **options)


def configured(settings: Mapping[str, Any], name: str, n_procs: int | None = None) -> Worker:
    """The worker of a name with what the settings say of it: `[workers.NAME]`, and over them `[options]` and `-o` where
    it is the build's own."""
    tables = settings.get("workers", {})
    kind, _, subtype = name.partition("-")
    given = dict(tables.get(kind, {})) if subtype in SUBTYPES.get(kind, ()) else {}
    if given.get("subtype", subtype) != subtype:
        given = {}  # it is said of the other one
    given.update(tables.get(name, {}))
    if name == (settings.get("worker") or DEFAULT):
        given.update(settings.get("options", {}))
    return worker(name, n_procs, given)


def _class(name: str) -> type[Worker]:
    if name in KNOWN:
        try:
            found: Any = import_module(f"buildflow.workers.{name}").Worker
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("buildflow"):
                raise
            raise FlowError(
                f"the worker {name} needs the package {error.name}", None, f"pip install 'buildflow[{name}]'"
            ) from None
    else:
        if not is_worker(name):
            raise FlowError(f"there is no worker “{name}”", None, hint(name))
        found = others()[name].load()
        if not (isinstance(found, type) and issubclass(found, Worker)):
            raise FlowError(f"the worker {name} is no buildflow.workers.base.Worker", None, "mend its entry point")
    chosen: type[Worker] = found
    return chosen


def _number(value: Any) -> int:
    text = str(value)
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise FlowError(f"n_procs = {text} is no number of jobs", None, "it is 1 or more")
    return int(text)
