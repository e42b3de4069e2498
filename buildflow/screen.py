"""A terminal with lines at its end that are drawn anew: plain text goes above them.

It knows nothing of builds. No library does this: rich takes longer to import than a build with nothing to do takes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import IO

EVERY = 0.05
"""Seconds between two drawings."""


class Screen:
    """Lines on `out`; where `live`, the last of them are a region. Text that is no UTF-8 is escaped."""

    def __init__(self, out: IO[str], live: bool) -> None:
        self.out = out
        self.live = live
        self._lines: tuple[str, ...] = ()
        self._drawn = 0.0

    def say(self, text: str) -> None:
        """One more line, or several, above the region."""
        self.write(text + "\n")
        self.out.flush()

    def write(self, text: str) -> None:
        """Text above the region as it is; whoever writes flushes, and ends it with a line's end."""
        self.clear()
        self.out.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))

    def is_due(self) -> bool:
        """Whether it is time to draw again."""
        return self.live and time.monotonic() - self._drawn >= EVERY

    def draw(self, lines: Sequence[str]) -> None:
        """The region anew. Each line must fit the width of `size`."""
        self._drawn = time.monotonic()
        lines = tuple(lines)
        if lines != self._lines:
            self.out.write(self._up() + "\x1b[K\n".join(lines) + "\x1b[J")
            self.out.flush()
            self._lines = lines

    def clear(self) -> None:
        """Take the region away."""
        if self._lines:
            self.out.write(self._up() + "\x1b[J")
            self.out.flush()
            self._lines = ()

    def _up(self) -> str:
        """To the beginning of the region; lines are more where the terminal has become narrower meanwhile."""
        if not self._lines:
            return "\r"
        width = self.size()[0]
        rows = sum(max(1, -(-columns(line) // width)) for line in self._lines)
        return f"\x1b[{rows - 1}A\r" if rows > 1 else "\r"

    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        try:
            found = os.get_terminal_size(self.out.fileno())
        except (OSError, ValueError):
            return 80, 24
        return found.columns or 80, found.lines or 24  # 0: it does not know


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    from unicodedata import combining, east_asian_width

    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def shown(text: str) -> str:
    """A text without what a terminal would take for a command."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def head(text: str, width: int) -> str:
    """As much of the beginning as fits."""
    if columns(text) <= width:
        return text
    while text and columns(text) >= width:
        text = text[:-1]
    return text + "…" if width > 0 else ""


def tail(text: str, width: int) -> str:
    """As much of the end as fits: of a path that says most."""
    if columns(text) <= width:
        return text
    while text and columns(text) >= width:
        text = text[1:]
    return "…" + text if width > 0 else ""
