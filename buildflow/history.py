"""What is known of a target's past: the last result of the job that makes it, and the last try that failed.

The state knows by which key a file was written; the entry of that key has the rest. For `log`, `why` and `cache path`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from buildflow.cache import LOG, Entry
from buildflow.entries import ended, entries_making, entries_of_key, newest_entries
from buildflow.failures import failed_folder

if TYPE_CHECKING:
    from buildflow.submitter import Session


class Last(NamedTuple):
    """The last result: its key, and its entry (None: gone from every cache)."""

    key: bytes
    entry: Entry | None

    @property
    def log(self) -> str | None:
        """The log's path; None where nothing was printed, or the entry is gone."""
        if self.entry is None:
            return None
        path = f"{self.entry.path}/{LOG}"
        return path if os.path.exists(path) else None


class FailedTry(NamedTuple):
    """A try that failed: its folder below `.bflow/failed`, its log (None: none was written) and when it ended."""

    folder: str
    log: str | None
    time: float


class History:
    """The past of the targets of one project."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._newest: dict[str, Entry] | None = None

    def last(self, outputs: Sequence[str]) -> Last | None:
        """The last result of the job that makes these files; None where it has none that is known."""
        for name in outputs:
            record = self.session.disk.record(name)
            if record is not None and len(record.key) == 16:
                return Last(record.key, next(entries_of_key(self.session.cache, record.key), None))
        # One that stays in the cache, or was edited since: only the entries know.
        if self._newest is None:
            self._newest = newest_entries(self.session.cache)
        entry = self._newest.get(outputs[0])
        return None if entry is None else Last(bytes.fromhex(entry.result["key"]), entry)

    def runs(self, outputs: Sequence[str], most: int) -> list[Entry]:
        """The results that the caches hold of the job that makes these files, the newest first, at most so many.

        A result that was restored is no new one. It reads every entry.
        """
        found = {entry.result.get("key"): entry for entry in entries_making(self.session.cache, outputs[0])}
        return sorted(found.values(), key=ended, reverse=True)[:most]

    def failed(self, outputs: Sequence[str], last: Last | None) -> FailedTry | None:
        """The last try of a job that failed, if that was after its last result."""
        folder = failed_folder(self.session.folder, outputs[0])
        try:
            time = os.stat(folder).st_mtime
        except OSError:
            return None
        if last is not None:
            if last.entry is not None and ended(last.entry) > time:
                return None
            for name in outputs:  # restored from the cache since
                record = self.session.disk.record(name)
                if record is not None and record.key == last.key and record.signature[3] > time * 1e9:
                    return None
        log = f"{folder}/{LOG}"
        return FailedTry(folder, log if os.path.exists(log) else None, time)
