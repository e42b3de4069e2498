"""The first pass over a Flowfile: which statements it has, by the order of forms that the language gives for lines.

It takes recipes out, reads attributes and help, and learns which names the file assigns. The statements' own texts are
read by `buildflow.lang.parser`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from buildflow.errors import FlowError
from buildflow.lang import refuse
from buildflow.lang.lines import BLANKS, Logical, Reader, comment_start
from buildflow.lang.statements import Attribute, Defaults, RecipeText, Statement
from buildflow.lang.values import parse_attributes
from buildflow.lazy import regex
from buildflow.near import near

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_ASSIGNMENT = regex(rf"({_NAME})(?:[ \t]+(=|\?=|\+=|~)|[ \t]*(::?=))")
_TIGHT_ASSIGNMENT = regex(rf"({_NAME})=")
_TIGHT_OPERATOR = regex(rf"({_NAME})([?+]=|~)")
_JOINT = regex(rf"\([ \t]*({_NAME}(?:[ \t]*,[ \t]*{_NAME})*)[ \t]*,?[ \t]*\)[ \t]*(=|::?=|\?=|\+=|~)")
_INCLUDE = regex(r"include(\??)[ \t]+(?=[<\"'])")
_DEFAULTS = regex(r"\[[ \t]*defaults[ \t]*:")
_MARKS = regex(r"""\\.|'[^']*'|"[^"\\]*(?:\\.[^"\\]*)*"|[{}():]""", re.DOTALL)
_OTHER_NAMES = regex(r"([^\s:=]+)[ \t]*(?:[?+]|::?)?=")


class Line(NamedTuple):
    """A statement that was found: what it is, its line, and what was read on the way."""

    kind: str  # statement, assign, joint, pattern, include or rule
    line: Logical
    end: int = 0  # of its text, the comment left out
    match: re.Match[str] | None = None
    colon: int = -1
    statement: Statement | None = None
    attributes: tuple[Attribute, ...] = ()
    help: str = ""
    recipe: RecipeText | None = None
    shell: bool = True


class _Above:
    """What stands above a rule: its attributes and help, until the rule takes them."""

    def __init__(self) -> None:
        self.attributes: list[Attribute] = []
        self.help: list[str] = []
        self.line: Logical | None = None  # of the first attributes
        self.apart = False  # whether a blank line stands behind the help

    def comment(self, text: str, after_blank: bool) -> None:
        self.apart = self.apart or after_blank
        if text.startswith("##") and not text.startswith("###"):
            if self.apart:  # the help so far was the headline of a section
                self.help = []
                self.apart = False
            self.help.append(text[2:].strip(BLANKS))

    def take(self) -> tuple[tuple[Attribute, ...], str]:
        attributes, help = tuple(self.attributes), "\n".join(self.help).strip("\n")
        self.attributes, self.help, self.line, self.apart = [], [], None, False
        return attributes, help

    def none_expected(self) -> None:
        """Something else than a rule follows: help was a comment, attributes are an error."""
        if self.line is not None:
            raise FlowError(
                "no rule follows these attributes",
                self.line.place(0, len(self.line.text)),
                "they stand right above a rule; for all rules that follow write `[defaults: …]`",
            )
        self.help = []


def outline(reader: Reader, found: list[Line], assigned: set[str]) -> None:
    """Find the statements. They are added to `found` as far as they could be read, and the names to `assigned`."""
    above = _Above()
    python = False  # by default
    while True:
        line = reader.logical()
        if line is None:
            above.none_expected()
            return
        text = line.text
        if text[0] == "#":
            above.comment(text, reader.after_blank)
            continue
        if text[0] == "[":
            defaults = _DEFAULTS.match(text)
            start = 1 if defaults is None else defaults.end()
            attributes = parse_attributes(text[start:-1], line.shifted(start))
            if not attributes:
                raise FlowError(
                    "there is no attribute in this `[…]`", line.place(0, len(text)), "write `[name = value]`"
                )
            if defaults is None:
                above.attributes.extend(attributes)
                above.line = above.line or line
                continue
            above.none_expected()
            python = python or any(a.name == "python" and a.text is None for a in attributes)
            found.append(Line("statement", line, statement=Defaults(attributes, line.place(0, len(text)))))
            continue
        entry = _classify(line)
        if entry.kind == "rule":
            attributes, help = above.take()
            shell = not python and _runs_in_shell(attributes)
            found.append(entry)
            recipe = reader.recipe(shell)
            found[-1] = entry._replace(attributes=attributes, help=help, recipe=recipe, shell=shell)
            continue
        above.none_expected()
        if entry.match is not None and entry.kind in ("assign", "pattern", "joint"):
            assigned.update(name.strip(BLANKS) for name in entry.match.group(1).split(","))
        found.append(entry)


def _runs_in_shell(attributes: tuple[Attribute, ...]) -> bool:
    for attribute in attributes:
        if attribute.name == "python":
            return False
        if attribute.name == "shell" and attribute.text and "sh" not in attribute.text:
            return False
    return True


def _classify(line: Logical) -> Line:
    """What a line is that is neither blank, a comment nor attributes. Raises `FlowError` where it is nothing."""
    text = line.text
    include = _INCLUDE.match(text)
    if include is not None:
        return Line("include", line, comment_start(text, line), include)
    assignment = _ASSIGNMENT.match(text)
    if assignment is not None:
        if assignment.group(2) == "~":
            return Line("pattern", line, len(text), assignment)
        return Line("assign", line, comment_start(text, line), assignment)
    end = comment_start(text, line)
    if text[0] == "(":
        joint = _JOINT.match(text)
        if joint is not None:
            return Line("joint", line, end, joint)
    refuse.line(text[:end].rstrip(BLANKS), line.place)
    operator = _TIGHT_OPERATOR.match(text)
    if operator is not None and operator.group(2) != "~":
        raise FlowError(
            f"white space is missing before the `{operator.group(2)}`",
            line.place(operator.start(2), 2),
            f"write `{operator.group(1)} {operator.group(2)} {text[operator.end() : end].strip(BLANKS)}`",
        )
    colon, first = _colons(text, end)
    if colon >= 0:
        return Line("rule", line, end, colon=colon)
    tight = _TIGHT_ASSIGNMENT.match(text)
    if tight is not None:
        return Line("assign", line, end, tight)
    if first >= 0:
        return Line("rule", line, end, colon=first)
    raise _nearest(line, end)


def _colons(text: str, end: int) -> tuple[int, int]:
    """The first `:` that ends a word, and the first that is not `://`; -1 for none. Quotes and brackets hide them."""
    braces = parentheses = 0
    first = -1
    for match in _MARKS.finditer(text, 0, end):
        mark = match.group()
        if mark == "{":
            braces += 1
        elif mark == "}":
            braces = max(0, braces - 1)
        elif mark == "(":
            parentheses += 1
        elif mark == ")":
            parentheses = max(0, parentheses - 1)
        elif mark == ":" and not braces and not parentheses:
            at = match.end()
            if at >= end or text[at] in BLANKS:
                return at - 1, first
            if first < 0 and not text.startswith("//", at):
                first = at - 1
    return -1, first


def _nearest(line: Logical, end: int) -> FlowError:
    """The error of a line that is none of the forms."""
    text = line.text[:end].rstrip(BLANKS)
    span = line.place(0, len(text))
    words = text.split()
    first = words[0] if words else text
    pattern = _TIGHT_OPERATOR.match(text)
    if pattern is not None:
        rest = text[pattern.end() :].strip(BLANKS)
        return FlowError(
            "white space is missing before the `~`",
            line.place(pattern.start(2)),
            f"write `{pattern.group(1)} ~ {rest}`",
        )
    if first in ("include", "include?") or (len(words) > 1 and words[1][0] in "<\"'" and near(first, ["include"])):
        path = words[1].strip("<>\"'") if len(words) > 1 else "file.flow"
        return FlowError(
            "an include names its file in `<…>` or in quotes",
            span,
            f'write `include "{path}"` for a file of yours, `include <{path}>` for one of the rule library',
        )
    if first[:7] in ("<<<<<<<", "=======", ">>>>>>>"):
        return FlowError("a merge conflict stands here", span, "choose one of its sides")
    other = _OTHER_NAMES.match(text)
    if other is not None:
        name = re.sub(r"[^A-Za-z0-9_]", "_", other.group(1))
        if name[:1].isdigit():
            name = "_" + name
        return FlowError(
            f"`{other.group(1)}` is no name to assign to",
            line.place(0, len(other.group(1))),
            f"a name is letters, digits and `_`: `{name} = {text[other.end() :].strip(BLANKS)}`",
        )
    if "=" in words[1:] or any(w in ("+=", "?=", ":=", "::=") for w in words[1:]):
        return FlowError(
            "an assignment has one name before its `=`", span, "several names are `(a, b) = 1 x, 2 y`, rows of values"
        )
    if ":" in text:
        hint = "a `:` within quotes, braces or parentheses is text: close them before it"
        return FlowError("this line is no rule: it has no `:` after its targets", span, hint)
    return FlowError(
        "this line is neither a rule nor an assignment",
        span,
        f"a rule is `{first}: inputs`, an assignment `{'NAME' if not first.isidentifier() else first} = value`;"
        " commands stand indented below a rule",
    )
