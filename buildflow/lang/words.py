"""Splits a text of the Flowfile into words: a shell's quoting, `{a,b}` and `{1..10}`, holes and globs.

One word as written may stand for several (`{a,b}.c`); all of them then have the same place. Which words mean what
(targets, inputs, values) is the parser's business, and what the holes mean is the loader's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from typing import Union

from buildflow.errors import FlowError, Span
from buildflow.lang import refuse
from buildflow.lazy import regex
from buildflow.template import HOLE, Glob, Part, Word, hole_of

Place = Callable[[int, int], Union[Span, None]]
"""Gives the place in the file of what begins at an offset of the text at hand and has a length."""

MOST_WORDS = 1_000_000
LONGEST_WORD = 1_000_000  # with braces, quotes or globs in it
_MOST_WORK = 20_000_000
_DEEPEST = 64

_QUOTED = r"""'[^']*'|"[^"\\]*(?:\\.[^"\\]*)*"|\\."""
_RAW = regex(r"""(?:[^ \t\n\r\f\v'"\\]+|""" + _QUOTED + r"|\\\Z)+", re.DOTALL)
_SPACE = regex(r"[ \t\n\r\f\v]*")
_SPECIAL = regex(r"""['"\\{}*?$]""")
_TOKEN = regex(
    _QUOTED
    + r"|\$(?P<dollar>[({])(?P<variable>[A-Za-z_][A-Za-z0-9_]*)[)}]|\$\{|(?P<hole>"
    + HOLE.pattern
    + r""")|\*\*|[*?{},]|[^'"\\*?{},$]+|.""",
    re.DOTALL,
)
_IN_SINGLE = r"\$(?P<dollar>[({])(?P<variable>[A-Za-z_][A-Za-z0-9_]*)[)}]|\$\{|\{\{|\}\}|(?P<hole>" + HOLE.pattern + ")"
_SINGLE = regex(_IN_SINGLE)  # here a backslash is text
_DOUBLE = regex(_IN_SINGLE + r"|\\.", re.DOTALL)
_SEQUENCE = regex(
    r"(?:(-?[0-9]{1,18})\.\.(-?[0-9]{1,18})|([a-z])\.\.([a-z])|([A-Z])\.\.([A-Z]))(?:\.\.(-?[0-9]{1,18}))?"
)
_SEQUENCE_START = regex(r"-?[0-9]*\.\.")
_LABEL = regex(r"([A-Za-z_][A-Za-z0-9_]*)=")
_CONSTRAINT = regex(_QUOTED + r"|[{}\[(+*^$\\]", re.DOTALL)
_NAME_AND_COMMA = regex(r"\{[ \t]*([A-Za-z_][A-Za-z0-9_]*)[ \t]*,")
_NAME_IN_BRACES = regex(r"""\{[*!]?([A-Za-z_][A-Za-z0-9_]*)[^{},'"\\]*\}""")


def raw_words(text: str, place: Place, start: int = 0) -> Iterator[tuple[int, int]]:
    """The words of `text` from `start` as written: where each begins and ends. An unclosed quote is an error."""
    while True:
        start = skip_space(text, start)
        if start >= len(text):
            return
        end = raw_end(text, place, start)
        yield start, end
        start = end


def skip_space(text: str, start: int) -> int:
    """Where the white space that begins at `start` ends."""
    match = _SPACE.match(text, start)
    return start if match is None else match.end()


def raw_end(text: str, place: Place, start: int) -> int:
    """Where the word that begins at `start` ends."""
    match = _RAW.match(text, start)
    end = start if match is None else match.end()
    if text[end : end + 1] in ("'", '"'):
        raise unclosed(text[end], place(end, 1))
    return end


def unclosed(quote: str, span: Span | None) -> FlowError:
    """The error of a quote that its line does not close."""
    return FlowError(f"this {quote} is never closed", span, f"a quote that is meant as text is written \\{quote}")


def split_words(
    text: str,
    place: Place,
    *,
    wildcards: Container[str] = (),
    assigned: Container[str] = (),
    labels: bool = False,
) -> list[Word]:
    """The words of `text`.

    `wildcards` and `assigned` are the names for which `{name,regex}` and `$(NAME)` are refused; with `labels`,
    `name=path` is a word with a label. Raises `FlowError` for an unclosed quote and for what is refused.
    """
    words: list[Word] = []
    refuse_constraints(text, place, wildcards, assigned)
    for start, end in raw_words(text, place):
        words.extend(one_word(text, start, end, place, wildcards=wildcards, assigned=assigned, labels=labels))
    return words


def split_plain(text: str) -> list[Word]:
    """The words of a value that stands in no file (`voxel="0.5 0.25"` on the command line): the same syntax."""
    return split_words(text, lambda offset, length: None)


def one_word(
    text: str,
    start: int,
    end: int,
    place: Place,
    *,
    wildcards: Container[str] = (),
    assigned: Container[str] = (),
    labels: bool = False,
) -> list[Word]:
    """The words that the one word `text[start:end]` as written stands for (several where it has a brace list)."""
    span = place(start, end - start)
    label = None
    if labels:
        match = _LABEL.match(text, start, end)
        if match is not None:
            label, start = match.group(1), match.end()
    raw = text[start:end]
    if _SPECIAL.search(raw) is None:
        return [Word((raw,) if raw else (), span, label)]
    quick = _only_holes(raw)
    if quick is not None:
        return [Word(quick, span, label)]
    parser = _Braces(raw, start, place, wildcards, assigned)
    return [Word(parts, span, label) for parts in parser.words()]


def _only_holes(raw: str) -> tuple[Part, ...] | None:
    """The parts of the commonest kind of word with braces: plain text and holes, and nothing else."""
    if re.search(r"""['"\\*?$]""", raw.replace("{*", "{")) is not None:
        return None
    parts: list[Part] = []
    done = holes = 0
    for match in HOLE.finditer(raw):
        if match.start() > done:
            parts.append(raw[done : match.start()])
        parts.append(hole_of(match))
        done = match.end()
        holes += 1
    if holes != raw.count("{") or holes != raw.count("}"):
        return None
    if done < len(raw):
        parts.append(raw[done:])
    return tuple(parts)


def refuse_constraints(text: str, place: Place, wildcards: Container[str], assigned: Container[str]) -> None:
    """Refuse Snakemake's `{name,regex}`. Looks at the text before it is split: the expression may hold a space."""
    if "," not in text or "{" not in text:
        return
    opened: list[re.Match[str] | None] = []  # for each open brace, the name and comma behind it
    special = -1  # where a character of regular expressions stood last
    for token in _CONSTRAINT.finditer(text):
        mark = token.group()
        if mark == "{":
            behind_dollar = token.start() > 0 and text[token.start() - 1] == "$"
            opened.append(None if behind_dollar else _NAME_AND_COMMA.match(text, token.start()))
        elif mark == "}":
            match = opened.pop() if opened else None
            if match is not None:
                name = match.group(1)
                if special >= match.end() or name in wildcards or name in assigned:
                    span = place(match.start(), token.end() - match.start())
                    raise _constraint(name, text[match.end() : token.start()], span)
        elif mark[0] in "'\"" and len(mark) > 1:
            for match in _NAME_AND_COMMA.finditer(mark):  # there it may be text, but not of a name that is known
                name = match.group(1)
                close = mark.find("}", match.end())
                if close > 0 and (name in wildcards or name in assigned) and mark[match.start() - 1] not in "\\$":
                    at = token.start() + match.start()
                    raise _constraint(name, mark[match.end() : close], place(at, close + 1 - match.start()))
        else:
            special = token.start()


def _constraint(name: str, regex: str, span: Span | None) -> FlowError:
    return FlowError(
        f"`{{{name},…}}` is Snakemake's form of a wildcard's pattern", span, refuse.constraint_hint(name, regex.strip())
    )


class _Braces:
    """The expansion of one word as written: its tokens, and which of its braces are lists."""

    def __init__(
        self, raw: str, offset: int, place: Place, wildcards: Container[str], assigned: Container[str]
    ) -> None:
        self.raw = raw
        self.offset = offset
        self.place = place
        self.wildcards = wildcards
        self.assigned = assigned
        if len(raw) > LONGEST_WORD:
            raise FlowError(f"this word has more than {LONGEST_WORD:,} characters", place(offset, 1))
        self.tokens: list[re.Match[str]] = list(_TOKEN.finditer(raw))
        self.close: dict[int, int] = {}  # of a list: its last token
        self.commas: dict[int, list[int]] = {}  # of a list: its commas
        self.sequences: dict[int, list[str]] = {}
        self.work = 0
        self._find_lists()

    def words(self) -> list[tuple[Part, ...]]:
        """The parts of each word. One that a list left empty is no word, unless quotes say that it is."""
        found = [_merged(parts) for parts in self._expand(0, len(self.tokens), 0)]
        if len(found) > 1 and "'" not in self.raw and '"' not in self.raw:
            found = [parts for parts in found if parts]
        return found

    def _error(self, message: str, index: int, hint: str) -> FlowError:
        start = self.offset + self.tokens[index].start()
        return FlowError(message, self.place(start, self.offset + len(self.raw) - start), hint)

    def _find_lists(self) -> None:
        """Finds the brace lists and sequences; the other braces are text (`{{x}}`, a lone `}`)."""
        open_braces: list[tuple[int, list[int]]] = []
        for index, token in enumerate(self.tokens):
            text = token.group()
            if text == "{":
                open_braces.append((index, []))
            elif text == "," and open_braces:
                open_braces[-1][1].append(index)
            elif text == "}" and open_braces:
                first, commas = open_braces.pop()
                if commas:
                    self.close[first], self.commas[first] = index, commas
                elif self._sequence(first, index):
                    self.close[first] = index
                elif self.close.get(first + 1) == index - 1:  # `{{a,b}}` is the text `{a,b}`
                    del self.close[first + 1]
                    self.commas.pop(first + 1, None)
                    self.sequences.pop(first + 1, None)

    def _sequence(self, first: int, last: int) -> bool:
        if not 2 <= last - first <= 4:
            return False
        inner = self.raw[self.tokens[first].end() : self.tokens[last].start()]
        match = _SEQUENCE.fullmatch(inner)
        if match is None:
            if _SEQUENCE_START.match(inner) and any(t.group("hole") for t in self.tokens[first + 1 : first + 4]):
                raise self._error("a sequence cannot hold a name", first, "both ends are numbers: `{1..10}`")
            return False
        values = _sequence(match)
        if values is None:
            raise self._error(f"this sequence has more than {MOST_WORDS:,} values", first, "read them with lines(file)")
        self.sequences[first] = values
        return True

    def _expand(self, first: int, last: int, depth: int) -> list[list[Part]]:
        """The words that the tokens `first` to `last` stand for, each a list of parts."""
        if depth > _DEEPEST:
            raise self._error("these braces are nested too deeply", max(first - 1, 0), "give the inner lists names")
        words: list[list[Part]] = [[]]
        index = first
        while index < last:
            close = self.close.get(index)
            if close is None:
                parts, index = self._literal(index, last)
                for word in words:
                    word.extend(parts)
                self.work += len(words)
            else:
                options: list[list[Part]] = [[value] for value in self.sequences.get(index, ())]
                if not options:
                    start = index + 1
                    for comma in (*self.commas[index], close):
                        options.extend(self._expand(start, comma, depth + 1))
                        start = comma + 1
                count = len(words) * len(options)
                self.work += count * (1 + len(words[0]))
                if count > MOST_WORDS or self.work > _MOST_WORK:
                    raise self._error(
                        f"this list gives more than {MOST_WORDS:,} words", index, "read them with lines(file)"
                    )
                words = [word + option for word in words for option in options] if first < index else options
                index = close + 1
            if self.work > _MOST_WORK:
                raise self._error("these lists give too many words", first, "read them with lines(file)")
        return words

    def _literal(self, index: int, last: int) -> tuple[list[Part], int]:
        """The parts of one token that is no list, and the index of the token after it."""
        token = self.tokens[index]
        text = token.group()
        first = text[0]
        if first == "\\":
            return [text[1:] or text], index + 1
        if first in "'\"" and len(text) > 1:
            return self._quoted(token), index + 1
        if token.group("variable"):
            self._variable(token, self.offset)
            return [text], index + 1
        if token.group("hole"):
            return [hole_of(token, 4)], index + 1
        if first in "*?":
            return [Glob(text)], index + 1
        if text == "{":
            return self._brace(index, last)
        if text == "}":
            double = index + 1 < last and self.tokens[index + 1].group() == "}"
            return ["}"], index + (2 if double else 1)
        return [text], index + 1

    def _brace(self, index: int, last: int) -> tuple[list[Part], int]:
        """A `{` that begins neither a hole nor a list: text; `{{` is one `{`."""
        follower = self.tokens[index + 1] if index + 1 < last else None
        if follower is not None and follower.group("hole"):  # `{{x}}` is the text `{x}`
            double = index + 2 < last and self.tokens[index + 2].group() == "}"
            return [follower.group()], index + (3 if double else 2)
        if follower is not None and follower.group() == "{" and index + 1 not in self.close:
            return ["{"], index + 2
        match = _NAME_IN_BRACES.match(self.raw, self.tokens[index].start())
        if match is not None and (match.group(1) in self.wildcards or match.group(1) in self.assigned):
            name = match.group(1)
            raise self._error(
                f"`{match.group()}` is no form of the name `{name}`",
                index,
                f"write `{{{name}}}`, `{{{name}[0]}}` or `{{{name}.stem}}`; as text `{{{match.group()}}}`",
            )
        return ["{"], index + 1

    def _variable(self, token: re.Match[str], offset: int) -> None:
        name = token.group("variable")
        if name in self.assigned or (token.group("dollar") == "{" and name in self.wildcards):
            start = offset + token.start()
            refuse.variable(token.group(), name, self.place(start, len(token.group())))

    def _quoted(self, token: re.Match[str]) -> list[Part]:
        """The parts of a quoted piece: holes, `{{` and `}}`; in double quotes `\\` quotes what a shell's does."""
        text = token.group()
        single = text[0] == "'"
        inner = text[1:-1]
        parts: list[Part] = [""]  # even an empty quote is a part: it makes a word
        done = 0
        for match in (_SINGLE if single else _DOUBLE).finditer(inner):
            found = match.group()
            parts.append(inner[done : match.start()])
            done = match.end()
            if match.group("variable") and not single:
                self._variable(match, self.offset + token.start() + 1)
            if match.group("hole"):
                parts.append(hole_of(match, 4))
            elif found in ("{{", "}}"):
                parts.append(found[0])
            elif found[0] == "\\" and found[1] in '\\"$`{}':
                parts.append(found[1])
            else:
                parts.append(found)
        parts.append(inner[done:])
        return parts


def _sequence(match: re.Match[str]) -> list[str] | None:
    """The values of `{1..10}`, `{01..10..2}` or `{a..e}`; None where there are too many."""
    letters = match.group(1) is None
    ends = [text for text in match.group(1, 2, 3, 4, 5, 6) if text is not None]
    first, last = (ord(end) if letters else int(end) for end in ends)
    step = abs(int(match.group(7) or 1)) or 1
    if abs(last - first) // step >= MOST_WORDS:
        return None
    numbers = range(first, last + 1, step) if last >= first else range(first, last - 1, -step)
    if letters:
        return [chr(number) for number in numbers]
    padded = any(len(end.lstrip("-")) > 1 and end.lstrip("-")[0] == "0" for end in ends)
    width = max(len(end) for end in ends) if padded else 0
    return [f"{number:0{width}d}" for number in numbers]


def _merged(parts: list[Part]) -> tuple[Part, ...]:
    """The parts with adjacent texts joined and empty ones left out."""
    merged: list[Part] = []
    texts: list[str] = []
    for part in parts:
        if type(part) is str:
            texts.append(part)
            continue
        if any(texts):
            merged.append("".join(texts))
        texts = []
        merged.append(part)
    if any(texts):
        merged.append("".join(texts))
    return tuple(merged)
