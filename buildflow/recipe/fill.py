"""A shell recipe compiled once for its rule, and filled for each of its jobs.

What a hole becomes depends on where it stands (`buildflow.recipe.shell` tells): quoted for that place, and in an
unquoted word the word is repeated for each value. What names mean is the caller's: it gives the values of a hole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Union

from buildflow.lazy import regex
from buildflow.recipe import command, mentions
from buildflow.recipe.mentions import Candidate, Mention
from buildflow.recipe.roles import Role, Word
from buildflow.recipe.shell import HOLE, Context, Scan, scan
from buildflow.template import Hole, hole_of

Values = Callable[[Hole], Sequence[str]]
# The rows of values that several holes of one word have together; None: their product.
Rows = Callable[[tuple[Hole, ...]], "Sequence[Sequence[str]] | None"]

_TOKEN = regex(r"\{(\{!?[A-Za-z_][A-Za-z0-9_]*(?:\[-?[0-9]+\])?(?:\.[A-Za-z_][A-Za-z0-9_]*)?\})\}|" + HOLE.pattern)
# Which values may stand as they are: each is a `fullmatch`.
_SAFE = regex(r"[A-Za-z0-9_@%+=:,./-]+").fullmatch
_SAFE_NO_NUMBER = regex(r"(?![0-9]+\Z)[A-Za-z0-9_@%+=:,./-]+").fullmatch
_SAFE_IN_BRACES = regex(r"(?!\.|.*\.\.)[A-Za-z0-9_@%+=:./-]+(?<!\.)").fullmatch
_SAFE_DOUBLE = regex(r"[^\\$`\"]*").fullmatch
_SAFE_SINGLE = regex(r"[^']*").fullmatch
_ANY = regex(r".*", re.DOTALL).fullmatch
_NEVER = regex(r"(?!)").fullmatch
_Matcher = Callable[[str], object]

_ESCAPED_IN_TICKS = regex(r"[\\$`]")
_ESCAPED_IN_DOUBLE = regex(r"[\\$`\"]")
# Within another substitution, bash 5.2 looks for the end of these even where they are quoted: they are cut in two.
_BEGINS = regex(r"([$<>])(?=[({])")
_BEGINS_IN_DOUBLE = regex(r"([<>])(?=\()")
_OPEN_ESCAPE = regex(r"(?<!\\)(?:\\\\)*\\(?:x[0-9a-fA-F]?|[0-7]{1,2}|u[0-9a-fA-F]{0,3}|U[0-9a-fA-F]{0,7}|c)\Z")
_MORE_NAME = regex(r"[A-Za-z0-9_{]")
_REDIRECTED = regex(r"(?:\\\n)*[<>]")
_LITERAL = (Context.COMMENT, Context.DELIMITER)
_ESCAPABLE = (Context.PLAIN, Context.PARAMETER, Context.DOUBLE_PARAMETER, Context.DOUBLE_PATTERN)


def quote(value: str) -> str:
    """A value as one unquoted word of the shell, in quotes only where it needs them."""
    return value if _SAFE(value) else "'" + value.replace("'", "'\\''") + "'"


def compile_recipe(text: str) -> Filler:
    """Compile a shell recipe. No text is an error here: what its holes name is the caller's, its syntax bash's."""
    return Filler(text)


class Filler:
    """A compiled recipe. `text` is the recipe as written, `holes` its holes with their offsets, in order."""

    __slots__ = ("text", "holes", "scan", "inserts", "raw", "_root", "_parts", "_fast", "_items", "_candidates")

    def __init__(self, text: str) -> None:
        self.text = text
        self.scan = scan(text)
        self.inserts: dict[int, command.Insert] = {}
        for match in _TOKEN.finditer(text):
            at = match.start()
            context = self.scan.context(at)
            if context in _LITERAL:
                continue
            if match.group(1) is not None:
                self.inserts[at] = command.Insert(match.end(), None, match.group(1))
            elif not (at in self.scan.escaped and context in _ESCAPABLE):  # `\{in}` is the shell's
                self.inserts[at] = command.Insert(match.end(), hole_of(match, 2))
        self.holes = tuple((insert.hole, at) for at, insert in self.inserts.items() if insert.hole is not None)
        self.raw = any(hole.raw for hole, _ in self.holes)
        self._root = _tree(self.scan, self.inserts)
        self._parts: list[str] = []
        gaps: dict[tuple[Hole, _Matcher], list[int]] = {}
        self._flatten(self._root, gaps)
        self._fast = [(hole, plain, places) for (hole, plain), places in gaps.items()]
        self._items: tuple[command.Item, ...] | None | bool = False  # False: not asked yet
        self._candidates: tuple[Candidate, ...] | None = None

    def _flatten(self, parts: list[_Part], gaps: dict[tuple[Hole, _Matcher], list[int]]) -> None:
        for part in parts:
            if isinstance(part, str):
                self._parts.append(part)
            elif isinstance(part, _Gap):
                gaps.setdefault((part.hole, part.plain), []).append(len(self._parts))
                self._parts.append("")
            else:
                self._flatten(part.parts, gaps)

    def fill(self, values: Values, rows: Rows | None = None) -> str:
        """The recipe with `values(hole)` in place of each hole: none, one (may be empty) or several.

        `rows(holes)`, where given, is asked for the rows that several holes of one word have together. A redirection
        with several values is a `FlowError`.
        """
        parts = self._parts.copy()
        for hole, plain, places in self._fast:
            found = values(hole)
            if len(found) != 1 or not plain(found[0]):
                return _Filling(values, rows).text(self._root, {})
            for place in places:
                parts[place] = found[0]
        return "".join(parts)

    def argv(self, values: Values, rows: Rows | None = None) -> command.Argv | None:
        """What `command.simple_argv` gives for the filled recipe, made without filling and reading it.

        It may be None where that is not, if a word vanished that only bash could have read.
        """
        if isinstance(self._items, bool):
            self._items = command.parse(self.text, self.inserts)
        if self._items is None:
            return None
        if self.raw:
            return command.simple_argv(self.fill(values, rows))
        return command.build(self._items, values, lambda holes: combine(holes, values, rows))

    @property
    def constant_mentions(self) -> tuple[Mention, ...]:
        """Words without holes that may name files of the project: normalised paths, each once."""
        return mentions.constant(self.mention_words)

    def mentions(self, values: Values, rows: Rows | None = None) -> list[Mention]:
        """Words with holes of names (other than `in`, `out`, resources) that may name files of the project."""
        found = mentions.filled(self.mention_words, values, lambda holes: combine(holes, values, rows))
        if self.raw:  # what went in raw may hold words of its own
            text = self.fill(values, rows)
            constant = set(self.constant_mentions)
            found += [m for m in mentions.constant(mentions.candidates(scan(text), {})) if m not in constant]
        return list(dict.fromkeys(found))

    @property
    def mention_words(self) -> tuple[Candidate, ...]:
        """The candidate words, made at the first use."""
        if self._candidates is None:
            self._candidates = mentions.candidates(self.scan, self.inserts)
        return self._candidates


def combine(holes: Sequence[Hole], values: Values, rows: Rows | None = None) -> list[tuple[str, ...]]:
    """The rows of values over which a word with these holes is repeated: their product, the last hole fastest.

    Forms of one name (`{in}` and `{in.stem}`) go together, and so do names of which `rows` knows it.
    """
    lists = [values(hole) for hole in holes]
    if all(len(found) == 1 for found in lists):
        return [tuple(found[0] for found in lists)]
    if not all(lists):
        return []
    if len(lists) == 1:
        return [(value,) for value in lists[0]]
    if rows is not None:
        known = rows(tuple(holes))
        if known is not None:
            return [tuple(row) for row in known]
    axes: dict[tuple[str, object, int], list[int]] = {}
    for place, hole in enumerate(holes):
        alone = place if hole.index is not None else None
        axes.setdefault((hole.name, alone, len(lists[place])), []).append(place)
    result = []
    for choice in product(*(range(length) for _, _, length in axes)):
        row = [""] * len(lists)
        for index, places in zip(choice, axes.values()):
            for place in places:
                row[place] = lists[place][index]
        result.append(tuple(row))
    return result


class _Gap:
    """A hole where it stands. `plain` tells which single values need no care there; `lead` goes before a value that
    would else melt into the text before it; `empty` is an empty value in an unquoted word."""

    __slots__ = ("hole", "context", "plain", "lead", "empty", "ticks", "joined", "repeats")

    def __init__(self, hole: Hole, context: Context, ticks: bool) -> None:
        self.hole = hole
        self.context = context
        self.ticks = ticks
        self.lead = ""
        self.empty = ""
        self.joined = False  # several values are one text (in an assignment)
        self.repeats = False  # several values repeat the word
        self.plain: _Matcher = _SAFE
        if hole.raw or context is Context.HEREDOC:
            self.plain = _ANY
        elif context is Context.DOUBLE and not ticks:
            self.plain = _SAFE_DOUBLE
        elif context is Context.SINGLE and not ticks:
            self.plain = _SAFE_SINGLE

    def render(self, values: Sequence[str]) -> str:
        context = self.context
        if self.hole.raw or context is Context.HEREDOC:
            return " ".join(values)
        if context is Context.PLAIN or context is Context.PARAMETER:
            if self.joined:
                values = [" ".join(values)]
            text = " ".join([self.unquoted(value) for value in values])
        else:
            text = " ".join(values)
            if not (self.plain(text) and not self.lead):
                text = self.lead + self.quoted(text)
        if not self.ticks:
            return text
        if context is Context.DOUBLE:
            text = _BEGINS_IN_DOUBLE.sub(r'\1""', text)
        elif context is not Context.ANSI:
            text = _BEGINS.sub(r"\1''", text)
        return _ESCAPED_IN_TICKS.sub(r"\\\g<0>", text)

    def unquoted(self, value: str) -> str:
        if not value:
            return self.empty
        return value if self.plain(value) else "'" + value.replace("'", "'\\''") + "'"

    def quoted(self, text: str) -> str:
        if self.context is Context.SINGLE:
            return text.replace("'", "'\\''")
        if self.context is Context.ANSI:
            return text.replace("\\", "\\\\").replace("'", "\\'")
        if self.context is Context.DOUBLE_PATTERN:  # quoted, so that its `*` is no pattern
            return "'" + _BEGINS.sub(r"\1''", text.replace("'", "'\\''")) + "'"
        text = _ESCAPED_IN_DOUBLE.sub(r"\\\g<0>", text)
        if self.context is Context.DOUBLE_PARAMETER:
            text = _BEGINS_IN_DOUBLE.sub(r'\1""', text.replace("}", "\\}").replace("'", '"\'"'))
        return text


class _Node:
    """An unquoted word that is repeated for the rows of its `holes` (none, in an assignment: once)."""

    __slots__ = ("parts", "holes", "redirect", "vanished")

    def __init__(self, redirect: bool, vanished: str) -> None:
        self.parts: list[_Part] = []
        self.holes: tuple[Hole, ...] = ()
        self.redirect = redirect
        self.vanished = vanished  # what stays of it when it vanishes

    def close(self) -> None:
        """Once all parts are there."""
        gaps = [part for part in self.parts if isinstance(part, _Gap) and part.repeats]
        self.holes = tuple(dict.fromkeys(gap.hole for gap in gaps))


_Part = Union[str, _Gap, _Node]


def _tree(found: Scan, inserts: Mapping[int, command.Insert]) -> list[_Part]:
    """Cuts a text into plain text, gaps and the words that hold gaps: one pass, with a stack of the open words."""
    text = found.text
    owners = _owners(found, inserts)
    starts = {word.start: word for word in owners.values()}  # no two words start at one place
    root: list[_Part] = []
    stack: list[tuple[int, list[_Part], _Node]] = []
    parts = root
    place = 0
    for at in sorted({*starts, *(word.end for word in starts.values()), *inserts}):
        if at > place:
            parts.append(text[place:at])
            place = at
        while stack and stack[-1][0] <= at:
            _, parts, closed = stack.pop()
            closed.close()
        if at in starts:
            word = starts[at]
            before, after = text[at - 1 : at], text[word.end : word.end + 1]
            vanished = " " if before and after and before in "|&;<>()" and after in "|&;<>()" else ""
            node = _Node(word.role is Role.REDIRECT, vanished)
            parts.append(node)
            stack.append((word.end, parts, node))
            parts = node.parts
        if at in inserts:
            end, hole, literal = inserts[at]
            parts.append(literal if hole is None else _gap(found, inserts, at, end, hole, owners.get(at)))
            place = end
    if place < len(text):
        parts.append(text[place:])
    for _, _, node in stack:
        node.close()
    return root


def _owners(found: Scan, inserts: Mapping[int, command.Insert]) -> dict[int, Word]:
    """The word that each unquoted hole stands in, the innermost one."""
    owners = {}
    opened: list[Word] = []
    words = iter(found.words)
    word = next(words, None)
    for at, insert in inserts.items():
        while word is not None and word.start <= at:
            opened.append(word)
            word = next(words, None)
        opened = [w for w in opened if w.end > at]
        if opened and insert.hole is not None and not insert.hole.raw and found.context(at) is Context.PLAIN:
            owners[at] = opened[-1]
    return owners


def _gap(found: Scan, inserts: Mapping[int, command.Insert], at: int, end: int, hole: Hole, word: Word | None) -> _Gap:
    """The gap for the hole at `text[at:end]`: which values melt into the text around it, unless they are quoted."""
    text = found.text
    context = found.context(at)
    gap = _Gap(hole, context, found.in_backticks(at))
    if hole.raw or context is Context.HEREDOC:
        return gap
    if word is not None:
        gap.joined = word.role is Role.ASSIGNMENT or word.operator == "<<<"
        gap.repeats = not gap.joined
        literal = _literal(text, word, inserts)
        if (not literal or literal.isdigit()) and _REDIRECTED.match(text, word.end):  # `echo {n}> f` is not `2> f`
            gap.plain = _SAFE_NO_NUMBER
            gap.empty = "''" if literal else ""
        elif "{" in literal:  # a comma of a value is none of `{a,b}`
            gap.plain = _SAFE_IN_BRACES
    if context is Context.PLAIN and text[end : end + 1] == "~":
        gap.plain, gap.empty = _NEVER, "''"
    if at in found.glued:  # `$name{in}`: the value is not more of the name
        gap.plain = _NEVER
        gap.lead = '""' if context in (Context.DOUBLE, Context.DOUBLE_PARAMETER) else ""
        gap.empty = "''" if _MORE_NAME.match(text, end) else gap.empty
    elif at in found.escaped and context in (Context.DOUBLE, Context.ANSI):
        gap.plain, gap.lead = _NEVER, "\\"
    elif context is Context.ANSI and _OPEN_ESCAPE.search(text, max(at - 12, 0), at):
        gap.plain, gap.lead = _NEVER, "'$'"
    return gap


def _literal(text: str, word: Word, inserts: Mapping[int, command.Insert]) -> str:
    """The text of a word without its holes."""
    parts = []
    place = word.start
    for at, insert in inserts.items():
        if word.start <= at < word.end:
            parts.append(text[place:at] + insert.text)
            place = insert.end
    parts.append(text[place : word.end])
    return "".join(parts).replace("\\\n", "")


class _Filling:
    """One careful filling; each hole's values are asked for once."""

    def __init__(self, values: Values, rows: Rows | None) -> None:
        self.ask = values
        self.rows = rows
        self.known: dict[Hole, Sequence[str]] = {}

    def values(self, hole: Hole) -> Sequence[str]:
        found = self.known.get(hole)
        if found is None:
            found = self.known[hole] = self.ask(hole)
        return found

    def text(self, parts: Sequence[_Part], bound: Mapping[Hole, str]) -> str:
        texts = []
        for part in parts:
            if isinstance(part, str):
                texts.append(part)
            elif isinstance(part, _Node):
                texts.append(self.word(part))
            elif part.hole in bound:
                texts.append(part.render((bound[part.hole],)))
            else:
                texts.append(part.render(self.values(part.hole)))
        return "".join(texts)

    def word(self, node: _Node) -> str:
        texts = []
        for row in combine(node.holes, self.values, self.rows) if node.holes else [()]:
            text = self.text(node.parts, dict(zip(node.holes, row)))
            if text[:1] in ("#", "~") and isinstance(node.parts[0], _Gap):
                text = "''" + text  # after an empty value it would be a comment, or a home
            if text:
                texts.append(text)
        if node.redirect:
            if len(texts) > 1:
                raise command.too_many(str(node.holes[0]), len(texts))
            return texts[0] if texts else "''"  # no file: bash says so, rather than take the next word for it
        return " ".join(texts) if texts else node.vanished
