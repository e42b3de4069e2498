"""What a shell may complete: the targets, rules and names of a project, found fast and without a word of its errors.

What was found is kept in the user's cache folder until a file or folder that it was read from changes. It is a
suggestion: it may lack what shows only once something is made, and nothing hangs on it.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import sys
from collections.abc import Iterable
from typing import NamedTuple

VERSION = 1


class Known(NamedTuple):
    """`goals`: aliases and phony targets; `files`: targets that are files, from the root; `rules`: names of rules and
    targets as written; `names`: assigned names. Each sorted."""

    goals: list[str]
    files: list[str]
    rules: list[str]
    names: list[str]


def known(flowfile: str, root: str) -> Known:
    """What there is in the project of a Flowfile (absolute). Of one that is broken: nothing."""
    place = _place(flowfile, root)
    found = _remembered(place)
    if found is not None:
        return found
    from buildflow.errors import FlowError

    try:
        with contextlib.redirect_stdout(sys.stderr), open(os.devnull, "w") as null, contextlib.redirect_stderr(null):
            stamps, found = _read(flowfile, root)
    except (FlowError, OSError, RecursionError):
        return Known([], [], [], [])
    with contextlib.suppress(OSError, ValueError):
        os.makedirs(os.path.dirname(place), exist_ok=True)
        temporary = f"{place}.{os.getpid()}"
        with open(temporary, "wb") as file:
            file.write(marshal.dumps((VERSION, stamps, tuple(found))))
        os.replace(temporary, place)
    return found


def _place(flowfile: str, root: str) -> str:
    from xxhash import xxh3_64_hexdigest

    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return f"{home}/bflow/names/{xxh3_64_hexdigest(os.fsencode(f'{flowfile}//{root}'))}"


def _remembered(place: str) -> Known | None:
    try:
        with open(place, "rb") as file:
            version, stamps, found = marshal.loads(file.read())
        if version == VERSION and all(_stamp(path) == stamp for path, stamp in stamps):
            return Known(*found)
    except (OSError, ValueError, EOFError, TypeError):
        pass
    return None


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        st = os.stat(path)
    except OSError:
        return None
    return st.st_mtime_ns, st.st_size


def _read(flowfile: str, root: str) -> tuple[list[tuple[str, tuple[int, int] | None]], Known]:
    from buildflow.disk import Disk
    from buildflow.errors import FlowError
    from buildflow.flow import Flow
    from buildflow.names import Pending
    from buildflow.plan.resolve import Resolver
    from buildflow.stale import made
    from buildflow.state import State

    state = f"{root}/.bflow/state"
    stamps = {flowfile: _stamp(flowfile)}
    then = _stamp(state)
    flow = Flow.load(flowfile, root=root)
    resolver = Resolver(flow, Disk(root, State(state)))
    goals: set[str] = set()
    files: set[str] = set()
    rules: set[str] = set()
    free = False
    for rule in flow.rules:
        rules.update([rule.name, *(word.text for word in rule.targets)])
        targets: list[str] | None = None
        with contextlib.suppress(FlowError, Pending):
            targets = resolver.finite.of(rule)
        (files if rule.makes and not rule.phony else goals).update(targets or ())
        free = free or targets is None
    if free:  # of those the files that were made are known
        stamps[state] = then
        files.update(made(resolver.disk.state))
    reads = flow.reads
    for name in (*reads.files, *reads.folders, *reads.absent):
        path = reads.path(name)
        stamps.setdefault(path, _stamp(path))
    return list(stamps.items()), Known(sorted(goals), sorted(files), sorted(rules), sorted(flow.assigned()))


def steps(paths: Iterable[str], word: str) -> list[str]:
    """What may stand for a word that is begun, one folder at a time: `out/` for all of out/a and out/b."""
    found: dict[str, None] = {}
    for path in paths:
        if path.startswith(word):
            end = path.find("/", len(word))
            found.setdefault(path if end < 0 else path[: end + 1])
    only = list(found)
    if len(only) == 1 and only[0].endswith("/") and only[0] != word:
        deeper = steps([path for path in paths if path != only[0]], only[0])
        return deeper if len(deeper) == 1 else only
    return only


def from_here(paths: Iterable[str], here: str) -> list[str]:
    """The paths (from the root) that lie in a folder, as they are named from there."""
    if here in (".", ""):
        return list(paths)
    prefix = here.rstrip("/") + "/"
    return [path[len(prefix) :] for path in paths if path.startswith(prefix) and path != prefix]
