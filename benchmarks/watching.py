"""How soon after a save `bflow watch` starts the job that reads it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.trees import Tree, edit

PATIENCE = 120
"""Seconds without an event after which the watch has failed."""


class WatchFailed(Exception):
    """The watch ended, or said nothing for too long; the message has what it said last."""


class Watching:
    """A running `bflow watch --json`, whose events are read as they come."""

    def __init__(self, words: list[str], place: Path, log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        with open(log, "wb") as messages:
            self._process = subprocess.Popen(words, cwd=place, env=dict(environment), stdin=subprocess.DEVNULL,
                                             stdout=subprocess.PIPE, stderr=messages)  # fmt: skip
        assert self._process.stdout
        self._pipe = self._process.stdout.fileno()
        self._rest = b""

    def until(self, event: str) -> float:
        """Pass over events up to the next `event`; when it came, by `time.perf_counter`."""
        return next(when for message, when in self._events() if message["event"] == event)

    def _events(self) -> Iterator[tuple[dict[str, Any], float]]:
        while True:
            line, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                yield json.loads(line), time.perf_counter()
                continue
            ready, _, _ = select.select([self._pipe], [], [], PATIENCE)
            data = os.read(self._pipe, 1 << 16) if ready else b""
            if not data:
                raise WatchFailed(f"the watch ended or was silent: {self._log.read_text()[-2000:]}")
            self._rest += data

    def close(self) -> int:
        """End it; its peak memory in bytes (Linux)."""
        try:
            memory = _peak(self._process.pid)
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
        finally:
            self._process.kill()
            self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()
        return memory


def _peak(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def saves(watching: Watching, tree: Tree, place: Path, count: int) -> Iterator[float]:
    """Seconds from before each save to the event that its job starts. The next comes when the rebuild is done."""
    watching.until("build")
    for number in range(count):
        path = place / tree.editable(number)
        began = time.perf_counter()
        edit(path, 5000 + number)
        yield watching.until("start") - began
        watching.until("build")
