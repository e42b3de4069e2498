"""Everything that happens in a build is one stream of events; progress, --json and watch are its readers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Reader = Callable[[dict[str, Any]], None]


class Stream:
    """Events are dictionaries with an `event`: plan, start, output, job, note, build. Readers are called in order.

    `clocks` are called several times a second while jobs run, for what shows the time.
    """

    def __init__(self) -> None:
        self.readers: list[Reader] = []
        self.clocks: list[Callable[[], None]] = []

    def tick(self) -> None:
        for clock in self.clocks:
            clock()

    def emit(self, event: str, **fields: Any) -> None:
        if self.readers:
            message = {"event": event, **fields}
            for reader in self.readers:
                reader(message)
