"""The parts of a word as it expands: beside text, globs and holes those that stand for a follower's values.

A word is *flattened* first: names of one value become text, followers the text of their values. What is left as a hole
is free or takes several values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Union

from buildflow.errors import FlowError, Span
from buildflow.lang.statements import Call
from buildflow.template import Glob, Hole, Part

if TYPE_CHECKING:
    from buildflow.names.definition import Definition


class GlobText(str):
    """A value in which active glob characters stand: a glob where it is an input, text elsewhere."""

    __slots__ = ("parts",)
    parts: tuple[Part, ...]


class Nested(NamedTuple):
    """`{bam.stem}` where `bam` is a follower: the attribute of what the inner parts give. A part, internally."""

    parts: tuple[object, ...]
    attr: str

    @property
    def name(self) -> str:  # never equal to a real name
        return "."


class CallHole(NamedTuple):
    """A part that stands for the values of one call of a follower under a binding. Internal."""

    name: str
    term: int
    definition: Definition
    attr: str | None = None

    @property
    def call(self) -> Call:
        return self.definition.call(self.term)


FlatPart = Union[str, Glob, Hole, Nested, CallHole]
Flat = tuple[FlatPart, ...]

PATH_ATTRIBUTES = frozenset("name stem ext dir".split())


def apply_attribute(text: str, attr: str, span: Span | None = None) -> str:
    """`.name .stem .ext .dir` of a path, as Python's `pathlib` has them."""
    if attr == "path":
        return text
    body = text.rstrip("/") if len(text) > 1 else text
    folder, slash, name = body.rpartition("/")
    if attr == "dir":
        return folder or ("/" if slash else ".")
    if attr == "name":
        return name
    dot = name.rfind(".")
    if dot <= 0 or dot == len(name) - 1 or not name[:dot].strip("."):
        stem, ext = name, ""
    else:
        stem, ext = name[:dot], name[dot:]
    if attr == "stem":
        return stem
    if attr == "ext":
        return ext
    raise FlowError(f"nothing has a “.{attr}”", span, "a path has .name, .stem, .ext and .dir")


def pick(hole: Hole, values: list[str]) -> list[str]:
    """What the index and the attribute of a hole choose from the values of its name. FlowError past the end."""
    if hole.index is not None:
        try:
            values = [values[hole.index]]
        except IndexError:
            raise FlowError(f"{hole} asks for more than the {len(values)} values that {hole.name} has here") from None
    if hole.attr is not None and hole.attr in PATH_ATTRIBUTES:
        values = [apply_attribute(value, hole.attr) for value in values]
    return values


def starred(part: FlatPart) -> FlatPart:
    """A hole as one that is not bound."""
    return part._replace(star=True) if isinstance(part, Hole) else part


def text_of(flat: Iterable[object]) -> str:
    """The text of parts; a `GlobText` where globs are among them."""
    parts = tuple(flat)
    text = "".join(str(p) for p in parts)
    if any(isinstance(p, Glob) for p in parts):
        glob = GlobText(text)
        glob.parts = parts  # type: ignore[assignment]
        return glob
    return text
