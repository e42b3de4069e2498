"""What a name was assigned and what that comes to, and what evaluating it asks of the world."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Protocol, Union

from buildflow.errors import FlowError, Span
from buildflow.lang.statements import Call, Term
from buildflow.names.relation import Relation, Row
from buildflow.template import Part, Word

if TYPE_CHECKING:
    from buildflow.names.scope import Scope


class Pending(Exception):
    """A name can be evaluated only once these paths are made."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(", ".join(paths))
        self.paths = tuple(paths)


class Unbound(FlowError):
    """A name is to expand, and has no values."""


class Circular(FlowError):
    """A value that holds itself by way of other names: `definition` is being evaluated and asked for again."""

    definition: Definition


class Follower:
    """A value that holds other names: its terms, each a word with holes or a call with holes."""

    __slots__ = ("terms", "definition")

    def __init__(self, terms: tuple[Term, ...], definition: Definition) -> None:
        self.terms = terms
        self.definition = definition


Value = Union[Relation, Follower]
_numbers = count()


class Definition:
    """One assignment: of one name (`terms`) or of several (`rows`, or one call in `terms`).

    `previous` is what each of its names meant before. `foreign` is the scope that the words' holes belong to where it
    is not the scope of the name (the parameters of an include).
    """

    __slots__ = (
        "names",
        "terms",
        "rows",
        "joint",
        "previous",
        "append",
        "span",
        "patterns",
        "foreign",
        "value",
        "busy",
        "keep",
        "conditional",
        "number",
    )

    def __init__(
        self,
        names: tuple[str, ...],
        terms: tuple[Term, ...] = (),
        rows: tuple[tuple[Word, ...], ...] = (),
        *,
        joint: bool = False,
        previous: Mapping[str, Definition] = {},
        append: bool = False,
        span: Span | None = None,
        patterns: Mapping[str, re.Pattern[str]] = {},
        foreign: Scope | None = None,
    ) -> None:
        self.names = names
        self.terms = terms
        self.rows = rows
        self.joint = joint
        self.previous = dict(previous)
        self.append = append
        self.span = span
        self.patterns = dict(patterns)
        self.foreign = foreign
        self.value: Relation | Follower | None = None
        self.busy = False
        self.number = next(_numbers)  # in written order, whatever the scope
        self.conditional: tuple[str, ...] = ()  # of a joint glob: names to be bound before it can be evaluated
        self.keep: dict[str, tuple[str, ...]] = {}  # of a joint one: the values that the command line keeps

    def words_of(self, name: str) -> list[Word]:
        """The words that are written down for one of its names."""
        if not self.joint:
            return [term for term in self.terms if isinstance(term, Word)]
        if name not in self.names:
            return []
        i = self.names.index(name)
        end = None if i == len(self.names) - 1 else i + 1
        return [word for row in self.rows for word in row[i:end]]

    def call(self, term: int) -> Call:
        """The call that is a term of its value."""
        terms = self.value.terms if isinstance(self.value, Follower) else self.terms
        call = terms[term]
        assert isinstance(call, Call)
        return call


class World(Protocol):
    """What evaluating a function may ask for; the planner answers, and remembers what was asked.

    `cut`: names under evaluation that could not be asked for, whose part was left out. What is found meanwhile holds
    for that evaluation alone, and is not remembered.
    """

    cut: set[Definition]

    def table(self, path: str, columns: Sequence[str], left: Sequence[str], span: Span | None) -> list[Row]: ...
    def lines(self, path: str, span: Span | None) -> list[str]: ...
    def config(self, path: str, key: str, left: Sequence[str], span: Span | None) -> list[Row]: ...
    def variable(self, name: str) -> str | None: ...
    def empty(self, definition: Definition, text: str) -> None: ...
    def shell(self, command: str, span: Span | None) -> list[str]: ...
    def conditional(self, scope: Scope, parts: Sequence[Part], left: Sequence[str]) -> Sequence[str]: ...
    def glob(
        self, parts: Sequence[Part], patterns: Mapping[str, re.Pattern[str]], span: Span | None
    ) -> list[tuple[str, dict[str, str]]]: ...


def holds_names(term: Term) -> bool:
    """Whether a term holds names."""
    return any(word.names for word in (term.arguments if isinstance(term, Call) else (term,)))
