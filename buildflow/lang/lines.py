"""The lines of a Flowfile: its file read, `\\` continuations joined, comments found, `[…]` closed, recipes taken out.

It knows where a statement begins and ends, and nothing of what statements say. Lines are read once, in order.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable

from buildflow.errors import FlowError, Source, Span
from buildflow.lang.statements import RecipeText
from buildflow.lazy import regex
from buildflow.recipe.heredocs import Heredoc, HeredocScanner

BLANKS = " \t\r\f\v"
_BOM = "\ufeff"
_INDENT = regex(r"[ \t]*")
_SHEBANG_SHELL = regex(r"\b(?:ba|da|k|z|a)?sh\b")
_MARKS = regex(r"""\\.|'[^']*'|"[^"\\]*(?:\\.[^"\\]*)*"|['"#]""", re.DOTALL)
_BRACKETS = regex(r"""\\.|'[^']*'|"[^"\\]*(?:\\.[^"\\]*)*"|['"#\[\]]""", re.DOTALL)


def read_source(path: str, shown: str) -> Source:
    """The text of the file at `path`, called `shown` in errors, without a byte-order mark.

    Raises `FlowError` where there is no such file, it cannot be read, is a directory, or is no UTF-8 text.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise FlowError(f"there is no file {shown}") from None
    except IsADirectoryError:
        raise FlowError(f"{shown} is a directory, and a Flowfile is a file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise FlowError(f"cannot read {shown}: {reason}") from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise FlowError(f"{shown} is not UTF-8 but UTF-16", None, "save it as UTF-8")
    if data.startswith(b"\xef\xbb\xbf"):
        data = data[3:]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        readable = Source(shown, data.decode("utf-8", "replace"))
        span = Span(readable, before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise FlowError(
            f"this is not UTF-8: the byte 0x{data[error.start]:02x} (byte {error.start} of the file)",
            span,
            "a Flowfile is UTF-8: save it as that",
        ) from None
    null = text.find("\0")
    if null >= 0:
        span = Span(Source(shown, text), text.count("\n", 0, null) + 1, null - text.rfind("\n", 0, null))
        raise FlowError("a Flowfile cannot hold a NUL character", span, "is it the right file, and a text?")
    return Source(shown, text)


class Logical:
    """One line as it is meant: continuation lines joined by a space, or the lines of one `[…]`."""

    __slots__ = ("source", "text", "number", "_starts", "_places")

    def __init__(self, source: Source, text: str, number: int) -> None:
        self.source = source
        self.text = text
        self.number = number  # of its first line, 1-based
        self._starts: list[int] | None = None  # where the later pieces begin, and the line and column they have
        self._places: list[tuple[int, int]] = []

    def place(self, offset: int, length: int = 1) -> Span:
        """The place of what begins at `offset` of the text, marked to its line's end at most."""
        if self._starts is None:
            return Span(self.source, self.number, offset + 1, length)
        piece = bisect_right(self._starts, offset) - 1
        line, column = self._places[piece]
        if piece + 1 < len(self._starts):
            length = max(1, min(length, self._starts[piece + 1] - 1 - offset))
        return Span(self.source, line, column + offset - self._starts[piece], length)

    def shifted(self, by: int) -> Callable[[int, int], Span]:
        """`place` for a part of the text that begins at `by`."""
        return lambda offset, length: self.place(offset + by, length)

    @property
    def pieces(self) -> list[str]:
        """Its text line by line as written, without indentation and the `\\` at the ends."""
        if self._starts is None:
            return [self.text]
        bounds = [*self._starts, len(self.text) + 1]
        return [self.text[a : b - 1] for a, b in zip(bounds, bounds[1:])]

    @classmethod
    def joined(cls, source: Source, pieces: list[tuple[str, int, int]]) -> Logical:
        """Of several pieces, each with its line and column."""
        line = cls(source, " ".join(piece for piece, _, _ in pieces), pieces[0][1])
        if len(pieces) > 1 or pieces[0][2] != 1:
            line._starts = []
            at = 0
            for piece, number, column in pieces:
                line._starts.append(at)
                line._places.append((number, column))
                at += len(piece) + 1
        return line


class Reader:
    """Gives a Flowfile's logical lines one by one; after a rule's, `recipe` takes the block below it."""

    def __init__(self, source: Source) -> None:
        text = source.text.removeprefix(_BOM)
        self.source = source if len(text) == len(source.text) else Source(source.name, text)
        self.lines = text.split("\n")
        if "\r" in text:
            self.lines = [line[:-1] if line.endswith("\r") else line for line in self.lines]
        self.next = 0
        self.after_blank = False  # whether a blank line stood before the line given last
        self._ends: dict[str, list[int]] | None = None  # text of a line -> where it stands, for here-documents
        self._tabbed: dict[str, list[int]] = {}  # the same without leading tabs

    def logical(self) -> Logical | None:
        """The next line that is not blank, or None at the end. An indented line that is no comment is an error."""
        lines = self.lines
        self.after_blank = False
        while self.next < len(lines):
            line = lines[self.next]
            stripped = line.strip(BLANKS)
            if not stripped or (line[0] in " \t" and stripped[0] == "#"):
                self.after_blank = self.after_blank or not stripped
                self.next += 1
                continue
            if line[0] in " \t":
                column = len(line) - len(line.lstrip(" \t")) + 1
                raise FlowError(
                    "an indented line with no rule above it",
                    Span(self.source, self.next + 1, column, len(stripped)),
                    "only a recipe is indented, and it stands right below its rule's line",
                )
            if line[0] == "[":
                return self._bracketed()
            self.next += 1
            if line[-1] != "\\" or not _continues(line):
                self._check_end(line, self.next)
                return Logical(self.source, line, self.next)
            pieces = [(line[:-1], self.next, 1)] if line.strip(BLANKS + "\\") else []
            while self.next < len(lines):
                line = lines[self.next]
                self.next += 1
                start = len(line) - len(line.lstrip(" \t"))
                more = _continues(line)
                self._check_end(line, self.next)
                piece = line[start:-1] if more else line[start:]
                if pieces or piece:
                    pieces.append((piece, self.next, start + 1))
                if not more:
                    break
            if pieces:
                return Logical.joined(self.source, pieces)
        return None

    def _check_end(self, line: str, number: int) -> None:
        """A `\\` that white space follows: it looks like a continuation and is none."""
        if line[-1:] in (" ", "\t"):
            end = line.rstrip(BLANKS)
            if end.endswith((" \\", "\t\\")) and "#" not in end:
                raise FlowError(
                    "white space follows the `\\`, so the line does not go on",
                    Span(self.source, number, len(end)),
                    "take the white space at the line's end away",
                )

    def _bracketed(self) -> Logical:
        """The lines of one `[…]`, comments left out."""
        pieces: list[tuple[str, int, int]] = []
        depth = 0
        first = self.next
        while self.next < len(self.lines):
            line = self.lines[self.next]
            self.next += 1
            start = len(line) - len(line.lstrip(BLANKS)) if pieces else 0
            end = len(line)
            escaped = -1
            for match in _BRACKETS.finditer(line):
                mark = match.group()
                if mark == "[":
                    depth += 1
                elif mark == "]":
                    depth -= 1
                    if depth == 0:
                        end = match.end()
                        self._check_behind(line, end)
                        break
                elif mark == "#":
                    at = match.start()
                    if (at == 0 or line[at - 1] in BLANKS) and at != escaped:
                        end = at
                        break
                elif mark in ("'", '"'):
                    raise _unclosed(mark, Span(self.source, self.next, match.start() + 1))
                else:
                    escaped = match.end()
            more = line[:end].rstrip(BLANKS)
            if depth > 0 and more.endswith("\\") and end == len(line):
                more = more[:-1]
            pieces.append((more[start:], self.next, start + 1))
            if depth == 0:
                return Logical.joined(self.source, pieces)
        raise FlowError("this `[` is never closed", Span(self.source, first + 1, 1), "attributes end with a `]`")

    def _check_behind(self, line: str, end: int) -> None:
        """Only a comment may follow the `]` of attributes."""
        rest = line[end:].lstrip(BLANKS)
        if rest and (rest[0] != "#" or line[end] == "#"):
            raise FlowError(
                "text follows the attributes",
                Span(self.source, self.next, len(line) - len(rest) + 1, len(rest)),
                "attributes stand on lines of their own; a target that begins with `[` is quoted: '[…'",
            )

    # Recipes

    def recipe(self, shell: bool) -> RecipeText | None:
        """The more indented block that begins at the next line, or None. `shell`: whether it may hold here-documents.

        Comments in the first column are no part of it, and end it only where no indented line follows.
        """
        lines = self.lines
        taken: list[tuple[int, str | None]] = []  # the lines, and of those that end a here-document the delimiter
        last = 0  # how many of them are left once blank lines at the end are dropped
        indent: str | None = None
        scanner: HeredocScanner | None = None
        at = self.next - 1
        while (at := at + 1) < len(lines):
            line = lines[at]
            blank = not line.strip(BLANKS)
            if not blank and line[0] == "#":
                while at < len(lines) - 1 and _continues(lines[at]):
                    at += 1
                continue
            if blank and indent is None:
                continue
            if not blank:
                if line[0] not in " \t":
                    break
                if indent is None and line.lstrip(BLANKS).startswith("#!"):
                    shell = shell and _SHEBANG_SHELL.search(line) is not None
                indent = self._common(indent, at)
            taken.append((at, None))
            last = last if blank else len(taken)
            if not shell or indent is None or (scanner is None and "<<" not in line):
                continue
            if scanner is None:
                scanner = HeredocScanner()
                for number, _ in taken[:-1]:
                    scanner.feed(lines[number])
            for heredoc in scanner.feed(line):
                end = self._end_of(heredoc, indent, at + 1)
                if end is None:
                    shell = False  # it has no end: what is indented is the recipe, and bash has its say
                    break
                self._check_body(heredoc, at + 1, end)
                taken.extend((number, None) for number in range(at + 1, end))
                taken.append((end, heredoc.delimiter))
                last = len(taken)
                at = end
        if indent is None:
            return None
        del taken[last:]
        self.next = taken[-1][0] + 1
        return self._text(taken, indent)

    def _check_body(self, heredoc: Heredoc, first: int, end: int) -> None:
        """A here-document that leaves its recipe, past a line that looks like its end: it would swallow rules."""
        looks: int | None = None
        for number in range(first, end):
            line = self.lines[number]
            if line.strip(BLANKS) == heredoc.delimiter:
                looks = number if looks is None else looks
            elif line.strip(BLANKS) and line[0] not in " \t":
                break
        else:
            return
        if looks is not None:
            line = self.lines[looks]
            column = len(line) - len(line.lstrip(BLANKS)) + 1
            raise FlowError(
                f"this does not end the here-document `{heredoc.delimiter}`: it is not indented as the recipe is",
                Span(self.source, looks + 1, column, len(heredoc.delimiter)),
                "give it the recipe's indentation, or none",
            )

    def _common(self, indent: str | None, at: int) -> str:
        """The indentation that line `at` has in common with those before it. None at all is an error."""
        line = self.lines[at]
        match = _INDENT.match(line)
        own = "" if match is None else match.group()
        if indent is None or own.startswith(indent):
            return own if indent is None else indent
        length = 0
        while length < min(len(own), len(indent)) and own[length] == indent[length]:
            length += 1
        if length == 0:
            tabs = "tabs" if own[0] == "\t" else "spaces"
            others = "spaces" if own[0] == "\t" else "tabs"
            raise FlowError(
                f"this line is indented with {tabs}, the lines above it with {others}",
                Span(self.source, at + 1, 1, len(own)),
                f"indent the whole recipe with {others}",
            )
        return own[:length]

    def _end_of(self, heredoc: Heredoc, indent: str, first: int) -> int | None:
        """The first line from `first` that ends a here-document: as written, or once the recipe's indent is removed."""
        if self._ends is None:
            self._ends = {}
            for number, line in enumerate(self.lines):
                self._ends.setdefault(line, []).append(number)
                if line.startswith("\t"):
                    self._tabbed.setdefault(line.lstrip("\t"), []).append(number)
        candidates = [self._ends.get(heredoc.delimiter), self._ends.get(indent + heredoc.delimiter)]
        if heredoc.tabs:
            candidates.append(self._tabbed.get(heredoc.delimiter))
            candidates += [self._ends.get(indent + "\t" * count + heredoc.delimiter) for count in range(1, 9)]
        found: int | None = None
        for numbers in candidates:
            index = bisect_left(numbers, first) if numbers else 0
            if numbers and index < len(numbers) and (found is None or numbers[index] < found):
                found = numbers[index]
        return found

    def _text(self, taken: list[tuple[int, str | None]], indent: str) -> RecipeText:
        """The recipe of these lines, the indent removed from those that have it, and all of it before a delimiter."""
        texts: list[str] = []
        places: list[Span] = []
        width = len(indent)
        for number, delimiter in taken:
            line = self.lines[number]
            cut = width if line.startswith(indent) else 0
            if delimiter is not None:
                cut = len(line) - len(delimiter)
            elif not cut and not line.strip(BLANKS):
                line = ""
            texts.append(line[cut:] if cut else line)
            places.append(Span(self.source, number + 1, cut + 1))
        return RecipeText("\n".join(texts), tuple(places))


def comment_start(text: str, line: Logical) -> int:
    """Where the comment at the end of `text` (a whole logical line) begins, its length where there is none.

    Raises `FlowError` for an unclosed quote.
    """
    if "#" not in text and "'" not in text and '"' not in text:
        return len(text)
    escaped = -1
    for match in _MARKS.finditer(text):
        mark = match.group()
        at = match.start()
        if mark == "#":
            if (at == 0 or text[at - 1] in BLANKS) and at != escaped:
                return at
        elif mark in ("'", '"'):
            raise _unclosed(mark, line.place(at))
        else:
            escaped = match.end()
    return len(text)


def _continues(line: str) -> bool:
    """Whether a `\\` that is not itself quoted ends the line."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _unclosed(quote: str, span: Span) -> FlowError:
    return FlowError(f"this {quote} is never closed", span, f"a quote that is meant as text is written \\{quote}")
