"""The commands of a queue, asked one after the other in the background: a queue that is slow to answer stops nobody."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

TIMEOUT = 90.0
"""Seconds after which a command that says nothing is ended."""


class Answer(NamedTuple):
    """How a command ended: `status` as a shell's, negative where it was ended by a signal."""

    status: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """What it complained of, in one line."""
        lines = [line.strip() for line in (self.err + "\n" + self.out).splitlines() if line.strip()]
        return next((line for line in lines if "error" in line.lower()), lines[0] if lines else f"status {self.status}")


class Commands:
    """A line of commands. `wake` is called (from another thread) when one has ended; `env` is their environment."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.env: dict[str, str] | None = None
        self._wake = wake
        self._waiting: deque[tuple[Sequence[str], Callable[[Answer], None]]] = deque()
        self._then: Callable[[Answer], None] | None = None  # of the one that runs
        self._answers: deque[Answer] = deque()

    def ask(self, words: Sequence[str], then: Callable[[Answer], None]) -> None:
        """Run a command once those before it have ended; `then` is called by `step`."""
        self._waiting.append((words, then))

    @property
    def busy(self) -> bool:
        return self._then is not None or bool(self._waiting)

    def step(self) -> None:
        """Take the answer of a command that has ended, and start the next."""
        if self._then is not None:
            if not self._answers:
                return
            then, self._then = self._then, None
            then(self._answers.popleft())
        if self._waiting and self._then is None:
            from threading import Thread

            words, self._then = self._waiting.popleft()
            Thread(target=self._run, args=(words,), daemon=True).start()

    def _run(self, words: Sequence[str]) -> None:
        try:
            self._answers.append(run(words, self.env))
        except Exception as error:
            self._answers.append(Answer(126, "", f"{words[0]}: {error}"))
        self._wake()

    def drain(self, seconds: float) -> bool:
        """Wait until all have ended; False where that took too long."""
        deadline = time.monotonic() + seconds
        self.step()
        while self.busy:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.005)
            self.step()
        return True


def run(words: Sequence[str], env: dict[str, str] | None = None) -> Answer:
    """Run a command, in a session of its own, so that an interrupt of ours does not end it in the middle."""
    import sh

    try:
        command = sh.Command(words[0])(
            *words[1:], _env=env, _new_session=True, _timeout=TIMEOUT, _ok_code=list(range(256)), _tty_out=False,
            _return_cmd=True, _out_bufsize=1 << 16,
        )  # fmt: skip
    except sh.CommandNotFound:
        return Answer(127, "", f"{words[0]}: command not found")
    except sh.TimeoutException:
        return Answer(-9, "", f"{words[0]} does not answer")
    except sh.ErrorReturnCode as error:
        return Answer(error.exit_code, error.stdout.decode("utf-8", "replace"), error.stderr.decode("utf-8", "replace"))
    return Answer(
        command.exit_code, command.stdout.decode("utf-8", "replace"), command.stderr.decode("utf-8", "replace")
    )
