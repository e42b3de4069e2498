"""What a Flowfile says, statement by statement: the parser makes these, `buildflow.lang.load` reads them.

Every word knows its place. Nothing here is evaluated: names stand as holes, functions as calls.
"""

from __future__ import annotations

from typing import Union

from buildflow.errors import Span
from buildflow.records import Record
from buildflow.template import Word


class Call(Record, frozen=True):
    """`function(arguments)` on the right of `=`. `shell` has one argument, the command's text (holes parsed)."""

    function: str
    arguments: tuple[Word, ...]
    span: Span


Term = Union[Word, Call]


class Assign(Record, frozen=True):
    """`NAME = terms` (also `?=`, `+=`) or `(A, B) = rows` or `(A, B) = call`.

    A single name: `terms` (none: one empty value is meant; the loader knows). A joint one: `joint` is true, and either
    `rows` (each row its words) or one call in `terms`.
    """

    names: tuple[str, ...]
    operator: str
    terms: tuple[Term, ...]
    rows: tuple[tuple[Word, ...], ...]
    joint: bool
    span: Span


class Pattern(Record, frozen=True):
    """`NAME ~ regex`: a raw Python regular expression, already known to compile."""

    name: str
    regex: str
    span: Span


class Include(Record, frozen=True):
    """`include <library.flow> NAME=VALUE…`, `include "file.flow"`, `include? "file.flow"`."""

    path: Word
    library: bool
    optional: bool
    parameters: tuple[tuple[str, Word], ...]
    span: Span


class Attribute(Record, frozen=True):
    """`name` (a flag: `text` is None) or `name = text`; the text is raw, its quotes and brackets kept."""

    name: str
    text: str | None
    span: Span
    text_span: Span | None = None


class Defaults(Record, frozen=True):
    """`[defaults: …]`: attributes of the rules that follow."""

    attributes: tuple[Attribute, ...]
    span: Span


class RecipeText(Record, frozen=True):
    """A recipe, its common indent removed, without a final newline; `places[i]` is where its line i begins."""

    text: str
    places: tuple[Span, ...]

    def at(self, offset: int, length: int = 1) -> Span:
        """The place of character `offset` of `text`."""
        line = self.text.count("\n", 0, offset)
        start = self.text.rfind("\n", 0, offset) + 1
        place = self.places[min(line, len(self.places) - 1)]
        return Span(place.source, place.line, place.column + offset - start, length)


class RuleStatement(Record, frozen=True):
    """`targets: inputs | order-only` with its attributes, help and recipe (None: an alias)."""

    targets: tuple[Word, ...]
    inputs: tuple[Word, ...]
    order_only: tuple[Word, ...]
    recipe: RecipeText | None
    attributes: tuple[Attribute, ...]
    help: str
    span: Span


Statement = Union[Assign, Pattern, Include, Defaults, RuleStatement]
