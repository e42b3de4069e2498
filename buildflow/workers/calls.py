"""Calls of a library that may take long, made one after the other in a thread, so that they stop nobody."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from buildflow.workers.commands import Answer, Commands


class Calls(Commands):
    """As `Commands`, for functions too. `wake` is called (from the thread) when one has returned."""

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__(wake)
        self._asked: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = queue.SimpleQueue()
        self._returned: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._open = 0
        self._thread: threading.Thread | None = None

    def call(self, function: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Call a function once those before it have returned; `then` gets what it returned, and is called by `step`,
        which raises what the function has raised."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="bflow calls", daemon=True)
            self._thread.start()
        self._open += 1
        self._asked.put((function, then))

    def ask(self, words: Sequence[str], then: Callable[[Answer], None], text: str = "") -> None:
        self.call(lambda: _run(words, text), then)

    @property
    def busy(self) -> bool:
        return self._open > 0

    def step(self) -> None:
        while self._returned:
            then, found = self._returned.popleft()
            self._open -= 1
            then(found)

    def close(self) -> None:
        """End the thread once all calls have returned."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread = None

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            function, then = asked
            try:
                self._returned.append((then, function()))
            except Exception as error:
                self._returned.append((_raise, error))
            self._wake()


def _raise(error: Exception) -> None:
    raise error


def _run(words: Sequence[str], text: str) -> Answer:
    import subprocess

    if words[0] == "sleep":
        time.sleep(float(words[1]))
        return Answer(0, "", "")
    done = subprocess.run(words, input=text, capture_output=True, text=True, errors="replace", check=False)
    return Answer(done.returncode, done.stdout, done.stderr)
