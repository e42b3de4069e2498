"""A Flowfile's text to its statements, by the order of rules that the language's description gives for lines.

Two passes: the first finds the statements, their recipes and the names that the file assigns; the second reads each
one, since some refusals depend on what is assigned anywhere. Nothing is evaluated here, and no other file is read.
"""

from __future__ import annotations

import re
from collections.abc import Container

from buildflow.errors import FlowError, Source
from buildflow.lang import refuse
from buildflow.lang.lines import BLANKS, Logical, Reader
from buildflow.lang.outline import Line, outline
from buildflow.lang.statements import Assign, Include, Pattern, RuleStatement, Statement
from buildflow.lang.values import FUNCTIONS, closing_parenthesis, parse_attributes, parse_value
from buildflow.lang.words import one_word, raw_words, refuse_constraints, split_words
from buildflow.lazy import regex
from buildflow.template import HOLE, Glob, Word

__all__ = ["parse", "parse_attributes", "parse_value"]

_COMMENT = regex(r"(?:^|[ \t\r\f\v])#")


def parse(source: Source, known: Container[str] = ()) -> list[Statement]:
    """The statements of a Flowfile. `known`: the names that files read before assign.

    Raises `FlowError` for the first line that is wrong.
    """
    own: set[str] = set()
    found: list[Line] = []
    failed: FlowError | None = None
    try:
        outline(Reader(source), found, own)
    except FlowError as error:  # a line above it may be wrong too, and is told first
        failed = error
    assigned = _Either(own, known) if known else own
    statements: list[Statement] = []
    found.reverse()
    while found:  # what was read is let go: a file may be large
        entry = found.pop()
        if entry.statement is not None:
            statements.append(entry.statement)
        elif entry.kind == "rule":
            statements.append(_rule(entry, assigned))
        elif entry.kind == "pattern":
            statements.append(_pattern(entry))
        elif entry.kind == "include":
            statements.append(_include(entry, assigned))
        else:
            statements.append(_assign(entry, assigned))
    if failed is not None:
        raise failed
    return statements


class _Either:
    """Names of this file or of those read before it."""

    def __init__(self, own: Container[str], known: Container[str]) -> None:
        self.own = own
        self.known = known

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self.known


def _assign(entry: Line, assigned: Container[str]) -> Assign:
    line, match = entry.line, entry.match
    assert match is not None
    text = line.text
    joint = entry.kind == "joint"
    operator = next((group for group in match.groups()[1:] if group), "=")
    if operator in (":=", "::="):
        operator = "="
    names = tuple(name.strip(BLANKS) for name in match.group(1).split(","))
    if joint and operator != "=":
        at = match.start(2)
        raise FlowError(f"several names are assigned with `=`, not `{operator}`", line.place(at, len(operator)))
    for index, name in enumerate(names):
        if name in names[:index]:
            raise FlowError(f"`{name}` stands twice", line.place(0, match.end()), "each name is one column of the rows")
    start = match.end()
    terms, rows = parse_value(text[start : entry.end], line.shifted(start), joint=joint, assigned=assigned)
    if joint and not terms and not rows:
        raise FlowError(
            "several names need rows of values, or a function",
            line.place(0, match.end()),
            f"write `({', '.join(names)}) = {' '.join('1' * len(names))}, {' '.join('2' * len(names))}`",
        )
    return Assign(names, operator, terms, rows, joint, line.place(0, match.end()))


def _pattern(entry: Line) -> Pattern:
    """`NAME ~ regex`: raw, to a `#` after white space or the line's end; on several lines they are joined."""
    line, match = entry.line, entry.match
    assert match is not None
    pieces = line.pieces
    regex = line.text[match.end() :] if len(pieces) == 1 else "".join(piece.strip(BLANKS) for piece in pieces)
    if len(pieces) > 1:
        regex = regex[regex.index("~") + 1 :]
    comment = _COMMENT.search(regex)
    start = match.end() + len(regex) - len(regex.lstrip(BLANKS))
    regex = (regex if comment is None else regex[: comment.start()]).strip(BLANKS)
    name = match.group(1)
    span = line.place(start, max(1, len(regex)))
    if not regex:
        raise FlowError(
            "the pattern is missing", line.place(0, match.end()), f"write a regular expression: `{name} ~ \\d+`"
        )
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(regex)
    except re.error as error:
        at = start + (error.pos or 0)
        raise FlowError(
            f"this is no regular expression: {error.msg}", line.place(at), "after `~` stands one of Python's, unquoted"
        ) from None
    except (OverflowError, RecursionError, MemoryError, ValueError):
        raise FlowError("this regular expression is too large, or nested too deeply", span) from None
    return Pattern(name, regex, line.place(0, match.end()))


def _include(entry: Line, assigned: Container[str]) -> Include:
    line, match = entry.line, entry.match
    assert match is not None
    text = line.text[: entry.end]
    start = match.end()
    optional = bool(match.group(1))
    library = text[start] == "<"
    if library:
        end = text.find(">", start)
        if end < 0:
            raise FlowError("this `<` is never closed", line.place(start), "write `include <library.flow>`")
        words = split_words(text[start + 1 : end].strip(BLANKS), line.shifted(start + 1), assigned=assigned)
        rest = end + 1
        if optional:
            raise FlowError(
                "a file of the rule library is never missing", line.place(7), "write `include <library.flow>`"
            )
    else:
        first, rest = next(raw_words(text, line.place, start))
        words = one_word(text, first, rest, line.place, assigned=assigned)
    if len(words) != 1 or not words[0].parts:
        raise FlowError("an include names one file", line.place(start, rest - start), "write an include for each file")
    path = words[0]
    if any(isinstance(part, Glob) for part in path.parts):
        raise FlowError("an include names one file", path.span, "write an include for each file")
    if text[rest:].strip(BLANKS) and text[rest] not in BLANKS:
        raise FlowError("white space is missing after the file's name", line.place(rest))
    parameters: list[tuple[str, Word]] = []
    for first, end in raw_words(text, line.place, rest):
        if not library:
            raise FlowError(
                "a file of yours shares this file's names, and takes no others",
                line.place(first, end - first),
                "assign them on lines above the include",
            )
        for word in one_word(text, first, end, line.place, assigned=assigned, labels=True):
            if word.label is None:
                raise FlowError(
                    "an include is given values by name", word.span, "write `include <library.flow> NAME=VALUE`"
                )
            parameters.append((word.label, word))
    return Include(path, library, optional, tuple(parameters), line.place(0, max(1, rest)))


def _rule(entry: Line, assigned: Container[str]) -> RuleStatement:
    line = entry.line
    text = line.text[: entry.end]
    colon = entry.colon
    if text.startswith("=", colon + 1):
        raise FlowError(
            f"`{text[:colon].strip(BLANKS)}` is no name to assign to",
            line.place(0, colon + 1),
            "a name is letters, digits and `_`",
        )
    refuse.colon(text, colon, line.place)
    wildcards = {m.group(2) for m in HOLE.finditer(text, 0, colon) if text[m.start() - 1 : m.start()] != "$"}
    targets: list[Word] = []
    inputs: list[Word] = []
    order_only: list[Word] = []
    refuse_constraints(text[:colon], line.place, wildcards, assigned)
    for start, end in raw_words(text[:colon], line.place):
        if end - start == 1 and text[start] == "|":
            raise FlowError("a `|` among the targets", line.place(start), "order-only inputs stand behind the `:`")
        targets += _rule_words(text, start, end, line, wildcards, assigned, target=True)
    if not targets:
        raise FlowError("a rule needs a target before its `:`", line.place(colon), "write `target: inputs`")
    current = inputs
    refuse_constraints(text, line.place, wildcards, assigned)
    for start, end in raw_words(text, line.place, colon + 1):
        if end - start == 1 and text[start] == "|":
            if current is order_only:
                raise FlowError("a second `|` in a rule's line", line.place(start), "one `|` is before them all")
            current = order_only
            continue
        current += _rule_words(text, start, end, line, wildcards, assigned, target=False)
    recipe = entry.recipe
    if recipe is not None and entry.shell and not recipe.text.startswith("#!"):
        refuse.check_recipe(recipe)
    return RuleStatement(
        tuple(targets),
        tuple(inputs),
        tuple(order_only),
        recipe,
        entry.attributes,
        entry.help,
        line.place(0, colon),
    )


_PLAIN_WORD = regex(r"[A-Za-z0-9_./{}+~@^-]+")


def _rule_words(
    text: str, start: int, end: int, line: Logical, wildcards: Container[str], assigned: Container[str], *, target: bool
) -> list[Word]:
    """The words that one word of a rule's line stands for, nothing refused among them."""
    if _PLAIN_WORD.fullmatch(text, start, end) is None:
        refuse.rule_word(text, start, end, line.place, target=target)
        function = text[start:end].partition("(")[0]
        if function in FUNCTIONS and text.startswith("(", start + len(function)):
            close = closing_parenthesis(text, start + len(function))
            written = text[start : len(text) if close < 0 else close + 1]
            raise FlowError(
                f"`{function}(…)` stands on the right of a `=`",
                line.place(start, len(written)),
                f"write `name = {written}` on a line above, and `{{name}}` here"
                + ("; a glob stands in an input as it is" if function == "glob" else ""),
            )
    words = one_word(text, start, end, line.place, wildcards=wildcards, assigned=assigned, labels=True)
    for word in words:
        if not word.parts:
            hint = "take it out"
            if word.label:
                hint = f"for an assignment write `{word.label} = …`, for a file of that name `./{word.label}=`"
            raise FlowError("this word is empty, and names no file", word.span, hint)
        if target and any(isinstance(part, Glob) for part in word.parts):
            raise FlowError(
                "a target cannot hold a `*` or `?`",
                word.span,
                "write a wildcard, `{name}`; a character of the name is quoted: `\\*`",
            )
    return words
