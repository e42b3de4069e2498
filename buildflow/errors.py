"""Everything that can go wrong in a way that a user can mend, and how it is shown.

An error carries its place (a `Span`), the cause in one sentence and the next step (`hint`). It is printed in one
place, `FlowError.show`, as `Flowfile:LINE:COLUMN: what is wrong`, the line with a mark under the place, and what to do.
"""

from __future__ import annotations

from typing import NamedTuple


class Source:
    """A text that positions refer to: the name to show and its lines."""

    __slots__ = ("name", "text", "_lines")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self._lines: list[str] | None = None

    def line(self, number: int) -> str:
        """The text of line `number` (1-based), empty past the end."""
        if self._lines is None:
            self._lines = self.text.split("\n")
        if not 1 <= number <= len(self._lines):
            return ""
        return self._lines[number - 1].rstrip("\r")


class Span(NamedTuple):
    """A place in a source: 1-based line and column (in characters) and the length to mark."""

    source: Source
    line: int
    column: int
    length: int = 1

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"


class FlowError(Exception):
    """The command, the Flowfile or a target is wrong. Exit status 2."""

    exit_status = 2

    def __init__(self, message: str, span: Span | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.hint = hint

    def show(self) -> str:
        """The whole text for the screen, without a final newline."""
        lines = []
        if self.span is None:
            lines.append(f"bflow: {self.message}")
        else:
            lines.append(f"{self.span}: {self.message}")
            text = self.span.source.line(self.span.line)
            if text.strip():
                start = max(self.span.column - 1, 0)
                shift = 0
                if len(text) > 160:  # a long line is shown around the place
                    shift = max(start - 40, 0)
                    text = text[shift : shift + 120]
                lead = "".join("\t" if c == "\t" else " " for c in text[: start - shift])
                length = max(1, min(self.span.length, len(text) - len(lead)))
                lines.append(f"    {text}")
                lines.append(f"    {lead}{'^' * length}")
        if self.hint:
            lines.extend(f"  {line}" for line in self.hint.split("\n"))
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.show()


class BuildError(FlowError):
    """A build could not be finished though its Flowfile is right (a full disk, a lost lock). Exit status 1."""

    exit_status = 1
