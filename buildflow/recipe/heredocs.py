"""Finds the here-documents that the lines of a shell recipe begin, line by line, before it is known where it ends.

A here-document may hold lines without indentation, so the extent of a recipe hangs on it. This is a lexical scan of
just what hides a `<<`: quotes, comments, substitutions and arithmetic. `buildflow.recipe.shell` reads whole recipes.
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Heredoc(NamedTuple):
    """A here-document: the line that ends it, and whether tabs before that line do not count (`<<-`)."""

    delimiter: str
    tabs: bool


_DELIMITER = re.compile(r"""[ \t]*((?:\\.|'[^']*'|"[^"]*"|[^\s;&|()<>'"\\`])+)""")
_UNQUOTE = re.compile(r"""\\(.)|['"]""")
_COMMON = r"""\\.|\\|\$\(\(|\$\(|\$\{|`|"|"""
_COMMAND = re.compile(_COMMON + r"""\$'|'|<<<|<<-?|\(\(|[()#;&|]|[ \t]+|[^\\$`"'<()#;&| \t]+|.""")
_ARITHMETIC = re.compile(_COMMON + r"[()]|[^\\$`\"()]+|.")
_BRACE = re.compile(_COMMON + r"'|\}|[^\\$`\"'}]+|.")
_SOFT = re.compile(_COMMON + r"[^\\$`\"]+|.")
_ANSI = re.compile(r"\\.|'|[^\\']+|.")
_KEEPS_FRESH = frozenset("then do else elif if while until time".split())


class HeredocScanner:
    """Reads a shell text line by line; `feed` gives the here-documents whose bodies begin on the next line.

    The stack holds what is open: `$` a substitution or parenthesis, `a` arithmetic, `{` a `${`, `}` one within double
    quotes, `t` a backtick, `d s A` quotes (`A`: `$'`). Beside each `$` stands how many `case` are open in it.
    """

    def __init__(self) -> None:
        self.stack: list[str] = []
        self.cases: list[int] = [0]
        self.pending: list[Heredoc] = []
        self.continued = False

    def feed(self, line: str) -> list[Heredoc]:
        """Read the next line (without its newline), which must be in no here-document's body."""
        fresh = not self.continued  # a command may begin here
        bound = not self.continued  # a word may begin here
        self.continued = False
        at = 0
        while at < len(line):
            top = self.stack[-1] if self.stack else "$"
            if top == "s":
                stop = line.find("'", at)
                if stop < 0:
                    break
                self.stack.pop()
                at = stop + 1
                fresh = bound = False
                continue
            plain = top in "$t"
            match = (_COMMAND if plain else _TABLES[top]).match(line, at)
            assert match is not None
            token = match.group()
            at = match.end()
            if token == "\\":
                self.continued = True
            elif self._opens(token, top):
                fresh = bound = self.stack[-1] in "$t"
            elif not plain:
                self._closes(token, top)
                fresh = bound = False
            elif token[0] in " \t":
                bound = True
            elif token == "#" and bound:
                break
            elif token in ("<<", "<<-"):
                found = _DELIMITER.match(line, at)
                if found is not None:
                    self.pending.append(Heredoc(_UNQUOTE.sub(r"\1", found.group(1)), token == "<<-"))
                    at = found.end()
            elif token == "((":
                self._push("a" if bound else "$")
                self._push(self.stack[-1])
                fresh = bound = True
            elif token == "(":
                self._push("$")
                fresh = bound = True
            elif token == ")":
                if self.cases[-1]:
                    fresh = bound = True  # the end of a pattern
                elif top == "$" and self.stack:
                    self.stack.pop()
                    self.cases.pop()
                    fresh = bound = False
            elif token in ";&|":
                fresh = bound = True
            else:
                if bound and fresh and token == "case":
                    self.cases[-1] += 1
                elif bound and fresh and token == "esac":
                    self.cases[-1] = max(0, self.cases[-1] - 1)
                fresh = bound and token in _KEEPS_FRESH or token in "{!"
                bound = False
        if self.continued or (self.stack and self.stack[-1] not in "$t"):
            return []  # the next line still belongs to this one
        found_here, self.pending = self.pending, []
        return found_here

    def _push(self, what: str) -> None:
        self.stack.append(what)
        if what == "$":
            self.cases.append(0)

    def _opens(self, token: str, top: str) -> bool:
        """Whether the token opened something."""
        if token == "$((":
            self._push("a")
            self._push("a")
        elif token == "$(":
            self._push("$")
        elif token == "${":
            self._push("}" if top in "d}" else "{")
        elif token == "`":
            if top == "t":
                self.stack.pop()
                return False
            self._push("t")
        elif token == '"' and top not in "dA":
            self._push("d")
        elif token == "'" and top in "$t{":
            self._push("s")
        elif token == "$'" and top in "$t":
            self._push("A")
        elif token == "(" and top == "a":
            self._push("a")
        else:
            return False
        return True

    def _closes(self, token: str, top: str) -> None:
        if (top, token) in (("d", '"'), ("A", "'"), ("a", ")"), ("{", "}"), ("}", "}")):
            self.stack.pop()


_TABLES = {"a": _ARITHMETIC, "{": _BRACE, "}": _BRACE, "d": _SOFT, "A": _ANSI}


def ends(line: str, heredoc: Heredoc) -> bool:
    """Whether the line, its recipe's indent removed, ends the here-document."""
    return (line.lstrip("\t") if heredoc.tabs else line) == heredoc.delimiter
