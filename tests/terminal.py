"""A real pseudo-terminal with a command in it, and the screen that its user sees.

    with Terminal(story, "watch", columns=60) as terminal:
        terminal.until("watching for changes")
        assert terminal.lines()[-1] == …

The screen knows the few sequences that bflow may write, and none else: one that it does not know is an error.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping
from typing import Any
from unicodedata import combining, east_asian_width

from story import COMMAND, Story, kill_session

PATIENCE = 30.0
_SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


class Screen:
    """Rows of a terminal that is `columns` wide; those that have left it at the top are kept."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.grid: list[list[str]] = [[]]
        self.row = self.column = 0
        self.styles: set[str] = set()
        self._rest = ""

    def feed(self, text: str) -> None:
        text, self._rest = self._rest + text, ""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = _SEQUENCE.match(text, at)
                if found is None:
                    assert len(text) - at < 12, f"an unknown sequence: {text[at : at + 12]!r}"
                    self._rest = text[at:]
                    return
                self._command(found.group(2), found.group(1))
                at = found.end()
                continue
            self._put(text[at])
            at += 1

    def _command(self, letter: str, argument: str) -> None:
        number = int(argument or "1") if argument.isdigit() or not argument else 0
        if letter == "A":
            assert self.row - number >= max(0, len(self.grid) - self.rows), "above the top of the screen"
            self.row -= number
        elif letter == "K":
            del self.grid[self.row][self.column :]
        elif letter == "J":
            del self.grid[self.row][self.column :], self.grid[self.row + 1 :]
        elif letter == "m":
            self.styles.add(argument)
        else:
            raise AssertionError(f"an unknown sequence: {argument}{letter}")

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self.row += 1
            if self.row == len(self.grid):
                self.grid.append([])
        else:
            wide = 0 if combining(character) else 2 if east_asian_width(character) in "WF" else 1
            if self.column + wide > self.columns:
                self.column = 0
                self._put("\n")
            line = self.grid[self.row]
            line.extend(" " * (self.column - len(line)))
            line[self.column : self.column + wide] = [character, *[""] * (wide - 1)]
            self.column += wide

    def lines(self) -> list[str]:
        return ["".join(line).rstrip() for line in self.grid]


class Terminal:
    """`bflow` with these words in a terminal of its own, whose keys are `press`ed."""

    def __init__(
        self, story: Story, *words: str, columns: int = 80, rows: int = 24, env: Mapping[str, str | None] | None = None
    ) -> None:
        self.story = story
        self.screen = Screen(columns, rows)
        self.text = ""  # all that was written
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            [*COMMAND, *words], cwd=story.root, env=story.environment({"TERM": "xterm", **(env or {})}), stdin=theirs,
            stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # so that ^C is a signal to it
        )  # fmt: skip
        os.close(theirs)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc: Any) -> None:
        """One that still runs is asked to end first, since its jobs have sessions of their own."""
        late = time.monotonic() + 10
        if self.process.poll() is None:
            self.process.terminate()
        while self.process.poll() is None and time.monotonic() < late:
            self._read()
        kill_session(self.process.pid)
        self.process.wait()
        os.close(self._ours)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def lines(self) -> list[str]:
        """The screen, and what has left it at the top; without the empty lines at the end."""
        lines = self.screen.lines()
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def shown(self) -> str:
        return "\n".join(self.lines())

    def until(self, what: str | Callable[[], Any]) -> None:
        """Wait until a text stands on the screen, or a condition holds."""
        late = time.monotonic() + PATIENCE
        while not (what in self.shown() if isinstance(what, str) else what()):
            assert time.monotonic() < late, f"waited in vain for {what!r}; the screen:\n{self.shown()}"
            assert self._read() or self.process.poll() is None, f"it ended before {what!r}; the screen:\n{self.shown()}"

    def _read(self) -> bool:
        if not select.select([self._ours], [], [], 0.1)[0]:
            return False
        try:
            data = os.read(self._ours, 1 << 16).decode("utf-8", "replace")
        except OSError:  # Linux says so where the other end is closed
            return False
        self.text += data
        self.screen.feed(data)
        return bool(data)

    def end(self) -> int:
        """Read to the end of the command; its status."""
        late = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < late, f"it does not end; the screen:\n{self.shown()}"
            self._read()
        while self._read():
            pass
        return self.process.returncode

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.press("\x03")

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
