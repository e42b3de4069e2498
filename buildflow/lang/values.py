"""The right of a `=`: words, rows of words, and calls of the six functions. Nothing is evaluated here."""

from __future__ import annotations

import re
from collections.abc import Container

from buildflow.errors import FlowError, Source, Span
from buildflow.lang import refuse
from buildflow.lang.statements import Attribute, Call, Term
from buildflow.lang.words import Place, one_word, raw_end, raw_words, refuse_constraints, skip_space, unclosed
from buildflow.lazy import regex
from buildflow.near import near
from buildflow.template import HOLE, Part, Word, hole_of

FUNCTIONS = ("glob", "table", "lines", "config", "env", "shell")

_CALL = regex(r"([A-Za-z_][A-Za-z0-9_]*)\(")
_SHELL = regex(r"(?<![^ \t,])shell\(")
_MARKS = regex(r"""\\.|'[^']*'|"[^"\\]*(?:\\.[^"\\]*)*"|['"()\[\]{},]""", re.DOTALL)
_SHELL_HOLE = regex(r"(?<![$%\\])(?:\{(?=" + HOLE.pattern + r"\})|" + HOLE.pattern + ")")
_BLANKS = " \t\r\n\f\v"
_ATTRIBUTE = regex(r"[A-Za-z_][A-Za-z0-9_.-]*")


def parse_value(
    text: str, place: Place, *, joint: bool = False, assigned: Container[str] = ()
) -> tuple[tuple[Term, ...], tuple[tuple[Word, ...], ...]]:
    """The right of a `=`: `(terms, rows)`. For one name it has terms only; `joint`: rows, or one call as the term.

    Raises `FlowError` for an unclosed quote or parenthesis, an unknown function, and what is refused.
    """
    refuse_constraints(_without_commands(text, place), place, (), assigned)
    if not joint:
        return tuple(_terms(text, place, assigned)), ()
    start = skip_space(text, 0)
    call = _CALL.match(text, start)
    if call is not None:
        terms = _terms(text, place, assigned)
        if len(terms) == 1:
            return tuple(terms), ()
        if isinstance(terms[0], Call):
            raise FlowError(
                "after several names stands either one function or rows",
                place(start, len(text) - start),
                "join two sources by two assignments that share a name",
            )
    rows: list[tuple[Word, ...]] = []
    pieces = split_at_commas(text, place)
    for number, (start, end) in enumerate(pieces):
        row = _terms(text[start:end], _shifted(place, start), assigned)
        words = tuple(term for term in row if isinstance(term, Word))
        if len(words) < len(row):
            raise FlowError(
                "a row holds words, no function",
                next(term.span for term in row if isinstance(term, Call)),
                "give the function's values a name of their own, or use it alone: `(a, b) = table(file)`",
            )
        if not words:
            if number == len(pieces) - 1:
                continue
            raise FlowError("a row is missing before this comma", place(end, 1), "an empty cell is written as ''")
        rows.append(words)
    return (), tuple(rows)


def _shifted(place: Place, by: int) -> Place:
    return lambda offset, length: place(offset + by, length)


def _without_commands(text: str, place: Place) -> str:
    """The text with what is a shell's own, the commands of `shell(…)`, blanked out."""
    if "shell(" not in text:
        return text
    closing: dict[int, int] | None = None
    kept: list[str] = []
    done = 0
    for match in _SHELL.finditer(text):
        if closing is None:
            closing = _closing(text, match.start(), place)
        close = closing.get(match.end() - 1, -1)
        if match.start() >= done and close > 0:
            kept += [text[done : match.end()], " " * (close - match.end())]
            done = close
    return "".join(kept) + text[done:]


def _terms(text: str, place: Place, assigned: Container[str]) -> list[Term]:
    """The words and calls of a text."""
    terms: list[Term] = []
    closing: dict[int, int] | None = None
    start, end = 0, len(text)
    while (start := skip_space(text, start)) < end:
        call = _CALL.match(text, start)
        if call is not None:
            refuse.call(text, start, place)
            if closing is None:
                closing = _closing(text, start, place)
            close = closing.get(call.end() - 1, -1)
            behind = close + 1
            whole = close >= 0 and (behind == end or text[behind] in _BLANKS)
            name = call.group(1)
            if name in FUNCTIONS:
                if close < 0:
                    raise FlowError(
                        "this `(` is never closed",
                        place(call.end() - 1, 1),
                        "a call ends on its line, or goes on after a `\\`",
                    )
                if not whole:
                    raise FlowError(
                        f"text follows `{name}(…)`",
                        place(behind, 1),
                        f"give it a name, `x = {text[start:behind]}`, and write `{{x}}`",
                    )
                terms.append(_call(name, text, call.end(), close, place, start, assigned))
                start = behind
                continue
            if whole:
                likely = near(name, FUNCTIONS, 1)
                raise FlowError(
                    f"there is no function `{name}`",
                    place(start, len(name)),
                    f"did you mean {likely[0]}(…)?"
                    if likely
                    else f"the functions are {', '.join(FUNCTIONS)}; as text it is quoted: '{text[start:behind]}'",
                )
        stop = raw_end(text, place, start)
        refuse.make_function(text[start:stop], start, place)
        terms.extend(one_word(text, start, stop, place, assigned=assigned))
        start = stop
    return terms


def _call(name: str, text: str, first: int, close: int, place: Place, start: int, assigned: Container[str]) -> Call:
    """The call whose arguments are `text[first:close]`."""
    span = place(start, close + 1 - start) or Span(Source("", text), 1, start + 1)
    inner = text[first:close]
    if name == "shell":
        command = inner.strip(_BLANKS)
        if not command:
            raise FlowError("shell() needs a command", span, "write `shell(uname -s)`")
        at = first + len(inner) - len(inner.lstrip(_BLANKS))
        return Call(name, (Word(command_parts(command), place(at, len(command))),), span)
    arguments: list[Word] = []
    pieces = split_at_commas(inner, _shifted(place, first))
    for left, right in pieces if inner.strip(_BLANKS) else []:
        argument = inner[left:right]
        here = _shifted(place, first + left)
        written = argument.strip(_BLANKS)
        raw = list(raw_words(argument, here))
        if not raw:
            raise FlowError(f"an argument of {name}() is missing", here(0, 1), "an empty one is written as ''")
        begin, stop = raw[0]
        nested = _CALL.match(argument, begin)
        if nested is not None and nested.group(1) in FUNCTIONS:
            raise FlowError(
                "a function's argument is a word, not a function",
                here(begin, len(written)),
                f"give it a name, `x = {written}`, and write `{{x}}`",
            )
        refuse.make_function(argument[begin:stop], begin, here)
        if len(raw) > 1:
            raise FlowError(
                f"white space stands in an argument of {name}()",
                here(begin, len(written)),
                f'arguments are separated by commas; white space in one is quoted: "{written}"',
            )
        words = one_word(argument, begin, stop, here, assigned=assigned)
        if len(words) != 1 and name != "glob":
            raise FlowError(f"a list stands in an argument of {name}()", words[0].span, "call it once for each")
        arguments.extend(words)
    return Call(name, tuple(arguments), span)


def command_parts(command: str) -> tuple[Part, ...]:
    """The parts of a shell command: raw text and holes. `{{x}}` is `{x}`; `${x}` and `%{x}` are the shell's."""
    parts: list[Part] = []
    texts: list[str] = []
    done = 0
    for match in _SHELL_HOLE.finditer(command):
        if match.start() < done:
            continue
        texts.append(command[done : match.start()])
        if match.group() == "{":
            done = command.index("}}", match.start()) + 2
            texts.append(command[match.start() + 1 : done - 1])
            continue
        if any(texts):
            parts.append("".join(texts))
        texts = []
        parts.append(hole_of(match, 5))
        done = match.end()
    texts.append(command[done:])
    if any(texts):
        parts.append("".join(texts))
    return tuple(parts)


def split_at_commas(text: str, place: Place) -> list[tuple[int, int]]:
    """The pieces of `text` between commas outside quotes and brackets: where each begins and ends."""
    pieces: list[tuple[int, int]] = []
    depth = start = 0
    for match in _MARKS.finditer(text):
        mark = match.group()
        if mark == "," and depth == 0:
            pieces.append((start, match.start()))
            start = match.end()
        elif mark in ("(", "[", "{"):
            depth += 1
        elif mark in (")", "]", "}"):
            depth = max(0, depth - 1)
        elif mark in ("'", '"'):
            raise unclosed(mark, place(match.start(), 1))
    pieces.append((start, len(text)))
    return pieces


def _closing(text: str, start: int, place: Place) -> dict[int, int]:
    """For each `(` of `text` from `start` outside quotes, the `)` that closes it."""
    opened: list[int] = []
    closing: dict[int, int] = {}
    for match in _MARKS.finditer(text, start):
        mark = match.group()
        if mark == "(":
            opened.append(match.start())
        elif mark == ")" and opened:
            closing[opened.pop()] = match.start()
        elif mark in ("'", '"'):
            raise unclosed(mark, place(match.start(), 1))
    return closing


def closing_parenthesis(text: str, at: int) -> int:
    """The `)` that closes the `(` at `at`, -1 for none."""
    return _closing(text, at, lambda offset, length: None).get(at, -1)


def parse_attributes(text: str, place: Place) -> tuple[Attribute, ...]:
    """The inside of `[…]`: `name` or `name = text`, separated by commas outside quotes and brackets.

    The texts are raw. Raises `FlowError` for an unclosed quote and for what is no attribute.
    """
    attributes: list[Attribute] = []
    pieces = split_at_commas(text, place)
    for number, (start, end) in enumerate(pieces):
        piece = text[start:end]
        stripped = piece.strip(_BLANKS)
        if not stripped:
            if number == len(pieces) - 1:  # a comma at the end, or nothing at all
                continue
            raise FlowError("an attribute is missing before this comma", place(end, 1), "write `[name = value, …]`")
        at = start + len(piece) - len(piece.lstrip(_BLANKS))
        match = _ATTRIBUTE.match(stripped)
        rest = stripped if match is None else stripped[match.end() :].lstrip(_BLANKS)
        if match is None or (rest and (rest[0] != "=" or rest.startswith("=="))):
            words = stripped.split(None, 1)
            name = words[0].rstrip(":") if match is None else match.group()
            value = rest.lstrip(":=+? ") or "value"
            raise FlowError(
                f"`{stripped}` is no attribute", place(at, len(stripped)), f"write `{name}` or `{name} = {value}`"
            )
        name = match.group()
        if not rest:
            attributes.append(Attribute(name, None, _sure(place(at, len(name)))))
            continue
        value = rest[1:].lstrip(_BLANKS)
        value_at = at + len(stripped) - len(value)
        attributes.append(
            Attribute(name, value, _sure(place(at, len(name))), _sure(place(value_at, max(1, len(value)))))
        )
    return tuple(attributes)


def _sure(span: Span | None) -> Span:
    return Span(Source("", ""), 1, 1) if span is None else span
