"""Words with holes: the text of a target, an input or a value, cut into its parts.

A part is plain text, a `Glob` (an active `*`, `**` or `?`) or a `Hole` (`{name}`). This module knows the inside of one
word; quoting, brace lists and lines belong to `buildflow.lang`.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Union

from buildflow.errors import Span
from buildflow.lazy import regex
from buildflow.records import Record


class Glob(str):
    """An active glob character sequence (`*`, `**`, `?`); as text it is itself."""

    __slots__ = ()


class Hole(NamedTuple):
    """`{name}`, `{name[1]}`, `{name.stem}`, `{*name}` (star), `{!name}` (raw); offset: where it stands in its word."""

    name: str
    index: int | None = None  # type: ignore[assignment]
    attr: str | None = None
    star: bool = False
    raw: bool = False

    def __str__(self) -> str:
        mark = "*" if self.star else "!" if self.raw else ""
        index = "" if self.index is None else f"[{self.index}]"
        attr = "" if self.attr is None else f".{self.attr}"
        return f"{{{mark}{self.name}{index}{attr}}}"


Part = Union[str, Glob, Hole]

IDENTIFIER = regex(r"[A-Za-z_][A-Za-z0-9_]*")
HOLE = regex(r"\{([*!]?)([A-Za-z_][A-Za-z0-9_]*)(?:\[(-?[0-9]+)\])?(?:\.([A-Za-z_][A-Za-z0-9_]*))?\}")
_TOKEN = regex(r"\{\{|\}\}|" + HOLE.pattern + r"|\*\*|\*|\?")


def hole_of(match: re.Match[str], first: int = 1) -> Hole:
    """The hole that a match of `HOLE` (whose first group is number `first`) stands for."""
    mark, name, index, attr = match.group(first, first + 1, first + 2, first + 3)
    return Hole(name, None if index is None else int(index), attr, mark == "*", mark == "!")


class Word(Record, frozen=True):
    """One word: its parts (adjacent texts merged), where it stands, and the label of `label=path` in a rule's line."""

    parts: tuple[Part, ...]
    span: Span | None = None
    label: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its holes, in order of first appearance."""
        return tuple(dict.fromkeys(p.name for p in self.parts if isinstance(p, Hole)))

    @property
    def text(self) -> str:
        """As written, without quotes: holes as `{name}`."""
        return "".join(str(p) for p in self.parts)

    @property
    def plain(self) -> bool:
        """Whether it holds neither a hole nor an active glob."""
        return all(type(p) is str for p in self.parts)


def parse_word(text: str, span: Span | None = None, label: str | None = None) -> Word:
    """A word from a string that is one word already (as in Python): holes and globs, `{{` and `}}` for braces."""
    parts: list[Part] = []
    plain: list[str] = []
    place = 0
    for match in _TOKEN.finditer(text):
        plain.append(text[place : match.start()])
        place = match.end()
        token = match.group()
        if token in ("{{", "}}"):
            plain.append(token[0])
            continue
        if any(plain):
            parts.append("".join(plain))
        plain = []
        parts.append(Glob(token) if token[0] != "{" else hole_of(match))
    plain.append(text[place:])
    if any(plain):
        parts.append("".join(plain))
    return Word(tuple(parts), span, label)
