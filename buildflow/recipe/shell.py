"""Where things stand in a bash text: quotes, here-documents, comments, substitutions and the bounds of words.

This is a lexical scan. It knows where a word begins and ends, what each word is to its command, and how each character
is quoted; it neither parses the grammar nor expands anything, and no text is an error to it (an open quote is bash's
to report).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from enum import Enum

from buildflow.lazy import regex
from buildflow.recipe.roles import ASSIGNMENT, Position, Word

# A hole of a recipe; `${VAR}` is the shell's and `%{name}` curl's and git's.
HOLE = regex(r"(?<![$%])\{(!?)([A-Za-z_][A-Za-z0-9_]*)(?:\[(-?[0-9]+)\])?(?:\.([A-Za-z_][A-Za-z0-9_]*))?\}")

_OPERATOR = regex(r"&>>|&>|;;&|;;|;&|&&|\|\||\|&|[;&|]")
_REDIRECTION = regex(r"<<<|<<-|<<|<>|<&|<|>>|>&|>\||>")
_PLAIN_RUN = regex(r"[^\s;&|()<>\\'\"`$]+")
_SOFT_RUN = regex(r"[^\\\"`$]+")
_DELIMITER = regex(r"(?:\\.|'[^']*'|\"[^\"]*\"|[^\s;&|()<>'\"\\])+", re.DOTALL)
_NAME = regex(r"[A-Za-z_][A-Za-z0-9_]*")
_PARAMETER = regex(r"[!#]?(?:[A-Za-z0-9_]+|[@*?$!#-])?(?:\[[^]]*\])?")
_MAX_DEPTH = 60  # of nested substitutions; deeper ones are read as plain text


class Context(Enum):
    """How a character is quoted."""

    PLAIN = "unquoted"
    DOUBLE = "double quotes"
    SINGLE = "single quotes"
    ANSI = "$'…'"
    HEREDOC = "here-document"
    COMMENT = "comment"
    PARAMETER = "${…}"
    DOUBLE_PARAMETER = "${…} in double quotes"
    DOUBLE_PATTERN = "pattern of ${…} in double quotes"
    ARITHMETIC = "$((…))"
    DELIMITER = "delimiter of a here-document"


class Scan:
    """What `scan` found. `words` are in order of their starts, so a nested one follows the one that holds it.

    `escaped` are the offsets of `{` after an unpaired backslash, `glued` those of `{` right after a `$name`.
    """

    __slots__ = ("text", "words", "escaped", "glued", "_starts", "_contexts")

    def __init__(self, text: str) -> None:
        scanner = _Scanner(text)
        scanner.commands(0, len(text), None)
        self.text = text
        self.words = scanner.words
        self.escaped = scanner.escaped
        self.glued = scanner.glued
        self._starts = [start for start, _, _ in scanner.marks]
        self._contexts = [(context, ticks) for _, context, ticks in scanner.marks]

    def context(self, offset: int) -> Context:
        """How the character at `offset` is quoted; within a substitution, by the quotes inside that."""
        return self._contexts[bisect_right(self._starts, offset) - 1][0]

    def in_backticks(self, offset: int) -> bool:
        """Whether `offset` is within a backtick substitution, which reads its backslashes once before it runs."""
        return self._contexts[bisect_right(self._starts, offset) - 1][1]


def scan(text: str) -> Scan:
    """Scan a bash text."""
    return Scan(text)


class _Scanner:
    """One walk over a text. Methods take an offset and a limit and return the offset after what they read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.words: list[Word] = []
        self.marks: list[tuple[int, Context, bool]] = [(0, Context.PLAIN, False)]
        self.escaped: set[int] = set()
        self.glued: set[int] = set()
        self.pending: list[tuple[str, bool, bool]] = []  # here-documents: delimiter, tabs stripped, quoted
        self.ticks = False
        self.depth = 0
        self.count = 0  # of simple commands

    def mark(self, at: int, context: Context) -> None:
        self.marks.append((at, context, self.ticks))

    # Commands

    def commands(self, i: int, end: int, closer: str | None) -> int:
        """Commands up to `end`, or up to and with an unmatched `closer`."""
        text = self.text
        opened: list[str] = []  # "(" and "case"
        state = Position(self.next_command())
        while i < end:
            c = text[i]
            if c in " \t" or text.startswith("\\\n", i):
                i += 1 if c != "\\" else 2
            elif c == "\n":
                i += 1
                state.begin(self.next_command())
                if self.pending:
                    i = self.heredocs(i, end)
            elif c == "#":
                stop = text.find("\n", i, end)
                stop = end if stop < 0 else stop
                self.mark(i, Context.COMMENT)
                self.mark(stop, Context.PLAIN)
                i = stop
            elif c in ";&|":
                match = _OPERATOR.match(text, i, end)
                assert match is not None
                i = match.end()
                if match.group().startswith("&>"):
                    state.operator = match.group()
                    continue
                state.begin(self.next_command())
                if match.group() in (";;", ";&", ";;&") and opened[-1:] == ["case"]:
                    state.pattern = True
            elif c == "(":
                if (state.fresh or state.last == "for") and text.startswith("((", i):
                    stop = self.arithmetic_end(i + 2, end)
                    if stop >= 0:
                        self.soft(i + 2, stop, Context.ARITHMETIC, Context.PLAIN)
                        i = stop + 2
                        state.fresh = True  # `for ((…)) do`
                        continue
                if not state.pattern:
                    opened.append("(")
                    state.begin(self.next_command())
                i += 1
            elif c == ")":
                i += 1
                if state.pattern:
                    state.pattern = False
                elif opened[-1:] == ["("]:
                    opened.pop()
                elif closer == ")":
                    return i
                state.begin(self.next_command())
            elif c in "<>" and not self.process(i, end):
                match = _REDIRECTION.match(text, i, end)
                assert match is not None
                i = match.end()
                if state.test:
                    continue
                if match.group() in ("<<", "<<-"):
                    i = self.delimiter(i, end, match.group() == "<<-")
                else:
                    state.operator = match.group()
            else:
                i = self.one_word(i, end, state, opened)
        return end

    def process(self, i: int, end: int) -> bool:
        """Whether the `<` or `>` at `i` begins a process substitution, which is part of a word."""
        return i + 1 < end and self.text[i + 1] == "("

    def next_command(self) -> int:
        self.count += 1
        return self.count

    def one_word(self, i: int, end: int, state: Position, opened: list[str]) -> int:
        word = Word(i, state.command)
        self.words.append(word)
        i = self.word(i, end, word, state.fresh or state.declares)
        state.classify(word, self.text, opened)
        return i

    def word(self, i: int, end: int, word: Word, assigns: bool = False) -> int:
        """The rest of a word from `i`; sets its end, which leaves line continuations behind it out."""
        text = self.text
        start = word.end = i
        while i < end:
            match = _PLAIN_RUN.match(text, i, end)
            if match is not None:
                i = word.end = match.end()
                continue
            c = text[i]
            if c == "\\":
                if text.startswith("\\\n", i):
                    i += 2
                    continue
                if text.startswith("{", i + 1):
                    self.escaped.add(i + 1)
                i = min(i + 2, end)
            elif c == "'":
                i = self.single(i + 1, end, Context.PLAIN)
            elif c == '"':
                i = self.double(i + 1, end, Context.PLAIN)
            elif c == "`":
                i = self.backticks(i, end, Context.PLAIN)
            elif c == "$":
                i = self.dollar(i, end, Context.PLAIN)
            elif c in "<>" and self.process(i, end):
                i = self.nested(i + 2, end, Context.PLAIN)
            elif c == "(" and assigns and ASSIGNMENT.fullmatch(text, start, i):
                i = self.array(i + 1, end)
            elif c in " \t\n;&|()<>":
                break
            else:  # other white space is no blank to bash
                i += 1
            word.end = i
        return i

    def array(self, i: int, end: int) -> int:
        """The words of `NAME=(…)`."""
        text = self.text
        while i < end:
            c = text[i]
            if c == ")":
                return i + 1
            if c in " \t\n;&|(" or (c in "<>" and not self.process(i, end)):
                i += 1
            elif text.startswith("\\\n", i):
                i += 2
            elif c == "#":
                stop = text.find("\n", i, end)
                stop = end if stop < 0 else stop
                self.mark(i, Context.COMMENT)
                self.mark(stop, Context.PLAIN)
                i = stop
            else:
                word = Word(i, 0)
                self.words.append(word)
                i = self.word(i, end, word)
        return end

    # Quotes

    def single(self, i: int, end: int, outer: Context) -> int:
        stop = self.text.find("'", i, end)
        self.mark(i, Context.SINGLE)
        if stop < 0:
            return end
        self.mark(stop, outer)
        return stop + 1

    def ansi(self, i: int, end: int, outer: Context) -> int:
        self.mark(i, Context.ANSI)
        while i < end and self.text[i] != "'":
            if self.text[i] == "\\":
                if self.text.startswith("{", i + 1):
                    self.escaped.add(i + 1)
                i += 1
            i += 1
        self.mark(min(i, end), outer)
        return min(i + 1, end)

    def double(self, i: int, end: int, outer: Context) -> int:
        return self.soft(i, end, Context.DOUBLE, outer, '"')

    def soft(self, i: int, end: int, context: Context, outer: Context, closer: str | None = None) -> int:
        """Text where only `\\`, `$` and backticks are special, up to `end` or a closing quote (which it passes)."""
        text = self.text
        self.mark(i, context)
        while i < end:
            match = _SOFT_RUN.match(text, i, end)
            if match is not None:
                i = match.end()
                continue
            c = text[i]
            if c == closer:
                self.mark(i, outer)
                return i + 1
            if c == "\\":
                if text.startswith("{", i + 1) and context is Context.DOUBLE:
                    self.escaped.add(i + 1)
                i = min(i + 2, end)
            elif c == "`":
                i = self.backticks(i, end, context)
            elif c == "$":
                i = self.dollar(i, end, context)
            else:
                i += 1
        self.mark(end, outer)
        return end

    # Substitutions

    def dollar(self, i: int, end: int, outer: Context) -> int:
        """What begins with the `$` at `i`."""
        text = self.text
        unquoted = outer in (Context.PLAIN, Context.PARAMETER)
        if text.startswith("((", i + 1):
            stop = self.arithmetic_end(i + 3, end)
            if stop >= 0:
                inside = Context.HEREDOC if outer is Context.HEREDOC else Context.ARITHMETIC
                self.soft(i + 3, stop, inside, outer)
                return stop + 2
        if i + 1 >= end:
            return end
        c = text[i + 1]
        if c == "(":
            return self.nested(i + 2, end, outer)
        if c == "{" and outer is not Context.HEREDOC:
            return self.parameter(i + 2, end, outer)
        if c == "'" and unquoted:
            return self.ansi(i + 2, end, outer)
        if c == '"' and unquoted:
            return self.double(i + 2, end, outer)
        match = _NAME.match(text, i + 1, end)
        if match is not None:
            if text.startswith("{", match.end()):
                self.glued.add(match.end())
            return match.end()
        return min(i + 2, end) if c in "@*#?-$!0123456789" else i + 1

    def nested(self, i: int, end: int, outer: Context) -> int:
        """The commands of a substitution whose `(` was passed."""
        if self.depth >= _MAX_DEPTH:
            return i
        self.depth += 1
        self.mark(i, Context.PLAIN)
        i = self.commands(i, end, ")")
        self.mark(i, outer)
        self.depth -= 1
        return i

    def backticks(self, i: int, end: int, outer: Context) -> int:
        """A backtick substitution: it ends at the next backtick without a backslash, whatever stands in between."""
        i += 1
        stop = i
        while stop < end and self.text[stop] != "`":
            stop += 2 if self.text[stop] == "\\" else 1
        stop = min(stop, end)
        if self.depth >= _MAX_DEPTH:
            return min(stop + 1, end)
        self.depth += 1
        ticks, self.ticks = self.ticks, True
        self.mark(i, Context.PLAIN)
        self.commands(i, stop, None)
        self.ticks = ticks
        self.mark(stop, outer)
        self.depth -= 1
        return min(stop + 1, end)

    def parameter(self, i: int, end: int, outer: Context) -> int:
        """`${…}` after its `${`. Holes inside are passed over, so that their `}` does not end it."""
        if self.depth >= _MAX_DEPTH:
            return i
        text = self.text
        unquoted = outer in (Context.PLAIN, Context.PARAMETER)
        self.depth += 1
        start = i
        match = _PARAMETER.match(text, i, end)
        if match is not None:
            i = match.end()
        # Within double quotes, single quotes are quotes to pattern operators only.
        singles = unquoted or text[i : i + 1] in ("#", "%", "/", "^", ",")
        double = Context.DOUBLE_PATTERN if singles else Context.DOUBLE_PARAMETER
        context = Context.PARAMETER if unquoted else double
        self.mark(start, context)
        while i < end and text[i] != "}":
            c = text[i]
            if c == "\\":
                if text.startswith("{", i + 1):
                    self.escaped.add(i + 1)
                i += 2
            elif c == "{":
                hole = HOLE.match(text, i, end)
                i = i + 1 if hole is None else hole.end()
            elif c == "'" and singles:
                i = self.single(i + 1, end, context)
            elif c == '"':
                i = self.double(i + 1, end, context)
            elif c == "`":
                i = self.backticks(i, end, context)
            elif c == "$":
                i = self.dollar(i, end, context)
            else:
                i += 1
        i = min(i, end)
        self.mark(i, outer)
        self.depth -= 1
        return min(i + 1, end)

    def arithmetic_end(self, i: int, end: int) -> int:
        """Where the `))` stands that closes an arithmetic text from `i`; -1 where it is none."""
        if self.depth >= _MAX_DEPTH:
            return -1
        depth = 0
        text = self.text
        while i < end:
            c = text[i]
            if c == "\\":
                i += 1
            elif c == "(":
                depth += 1
            elif c == ")":
                if depth == 0:
                    return i if text.startswith("))", i) and i + 1 < end else -1
                depth -= 1
            i += 1
        return -1

    # Here-documents

    def delimiter(self, i: int, end: int, strip: bool) -> int:
        while i < end and self.text[i] in " \t":
            i += 1
        match = _DELIMITER.match(self.text, i, end)
        if match is None:
            return i
        word = match.group()
        self.pending.append((re.sub(r"\\(.)|['\"]", r"\1", word), strip, word != re.sub(r"[\\'\"]", "", word)))
        self.mark(i, Context.DELIMITER)
        self.mark(match.end(), Context.PLAIN)
        return match.end()

    def heredocs(self, i: int, end: int) -> int:
        """The bodies of the here-documents begun on the line before `i`."""
        text = self.text
        pending, self.pending = self.pending, []
        for delimiter, strip, quoted in pending:
            start = line = i
            while True:
                stop = text.find("\n", line, end)
                stop = end if stop < 0 else stop
                content = text[line:stop]
                if (content.lstrip("\t") if strip else content) == delimiter:
                    after = min(stop + 1, end)
                    break
                if stop >= end:
                    line = after = end
                    break
                line = stop + 1
            if quoted:
                self.mark(start, Context.HEREDOC)
            else:
                self.soft(start, line, Context.HEREDOC, Context.DELIMITER)
            self.mark(line, Context.DELIMITER)
            self.mark(after, Context.PLAIN)
            i = after
        return i
