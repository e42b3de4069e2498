"""`bflow why --history`: what differed at each of the last times that a target's job ran."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from buildflow.cli.common import Colours, age_text, as_json, data, note
from buildflow.cli.differences import differences, plain_change
from buildflow.entries import ended
from buildflow.errors import FlowError
from buildflow.explain import Change, between

if TYPE_CHECKING:
    from buildflow.cache import Entry
    from buildflow.submitter import Session
    from buildflow.targets import Asked


def tell(session: Session, targets: Sequence[str], most: int, *, json: bool) -> None:
    """Tell of the last `most` results of each target, the newest first. Raises FlowError where none was named."""
    from buildflow.history import History
    from buildflow.targets import asked

    if not targets:
        raise FlowError("whose history? a target is missing", None, "as in: bflow why --history out/a.txt")
    history = History(session)
    told = []
    for number, job in enumerate(asked(session, targets)):
        runs = history.runs(job.outputs, most + 1) if job.kind in ("rule", "unplanned") else []
        last = history.last(job.outputs) if runs else None
        key = None if last is None else last.key.hex()
        if json:
            told.append({"target": job.file, "runs": [_plain(*row, key) for row in _compared(runs, most)]})
            continue
        if number:
            data("")
        _show(job, runs, most, key)
    if json:
        as_json(told)


def _compared(runs: Sequence[Entry], most: int) -> Iterator[tuple[Entry, list[Change] | None]]:
    """Each with what differed from the one before it; None where no earlier one is known."""
    for place, entry in enumerate(runs[:most]):
        yield entry, between(runs[place + 1], entry) if place + 1 < len(runs) else None


def _show(job: Asked, runs: Sequence[Entry], most: int, key: str | None) -> None:
    if not runs:
        note(f"bflow: {job.file} {_NONE.get(job.kind, 'has no result in the cache')}")
        return
    colours = Colours()
    for entry, changes in _compared(runs, most):
        result, then = entry.result, ended(entry)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(then))
        how = "was adopted" if result.get("adopted") else f"ran{_took(result)}"
        now = ", stands now" if result.get("key") == key else ""
        data(f"{colours.bold}{job.file}{colours.off} {how} at {stamp} ({age_text(time.time() - then)} ago{now})")
        if changes is None:
            data("  no earlier result of it is in the cache")
            continue
        for line in differences(changes):
            data(f"  {line}")


_NONE = {
    "source": "is a source: no job makes it",
    "phony": "is phony: it runs each time, and leaves no result",
    "inplace": "is made in place: it runs each time, and leaves no result",
}


def _took(result: dict[str, Any]) -> str:
    seconds = (result.get("runtime") or {}).get("wall_s")
    took = f" {seconds:.1f} s" if isinstance(seconds, (int, float)) else ""
    return f"{took} on {result['host']}" if result.get("host") else took


def _plain(entry: Entry, changes: list[Change] | None, key: str | None) -> dict[str, Any]:
    result = entry.result
    return {
        "key": result.get("key"), "cache_dir": entry.path, "ended": ended(entry), "host": result.get("host"),
        "seconds": (result.get("runtime") or {}).get("wall_s"), "worker": result.get("worker"),
        "adopted": bool(result.get("adopted")), "current": result.get("key") == key,
        "changes": None if changes is None else [plain_change(change) for change in changes],
    }  # fmt: skip
