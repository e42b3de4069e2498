"""Whether a recipe is one simple command that can be started without a shell, and then its arguments.

The answer is yes only where `bash -euo pipefail -c` would do exactly that: no expansion, no builtin, no operator.
In any doubt it is no, and bash runs the recipe with the same result. Filling belongs to `buildflow.recipe.fill`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from buildflow.errors import FlowError
from buildflow.lazy import regex
from buildflow.recipe.roles import KEYWORDS
from buildflow.template import Hole

Redirection = tuple[int, str, str]  # descriptor; "r", "w", "a" or "dup"; path, or the descriptor that is copied
Argv = tuple[list[str], list[Redirection]]

BUILTINS = frozenset(
    """. : [ alias bg bind break builtin caller cd command compgen complete compopt continue declare dirs disown echo
    enable eval exec exit export false fc fg getopts hash help history jobs kill let local logout mapfile popd printf
    pushd pwd read readarray readonly return set shift shopt source suspend test times trap true type typeset ulimit
    umask unalias unset wait""".split()
)
# Unquoted, these mean something to bash (`#` and `!` depend on where they stand).
_SPECIAL = frozenset("$`*?[~;&|()")
_BLANK = regex(r"(?:[ \t\n]|\\\n|#[^\n]*(?=\n|\Z))*")  # blanks, continuations and comments
# Bash opens these itself.
_SPECIAL_FILES = ("/dev/tcp/", "/dev/udp/", "/dev/fd/", "/dev/std")


class Insert(NamedTuple):
    """What stands for `text[offset:end]` of a template: a hole, or (`hole` is None) the literal `text`."""

    end: int
    hole: Hole | None
    text: str = ""


class Slot(NamedTuple):
    """A hole within a word: `joined` where it stands in quotes, so that its values become one text."""

    hole: Hole
    joined: bool


class Item(NamedTuple):
    """A word of the command, or the target of a redirection (`redirect`: its descriptor and mode).

    `holes` are those that repeat the word. `affix` is the text around its only part that varies, where that is so.
    """

    parts: tuple[str | Slot, ...]
    holes: tuple[Hole, ...]
    quoted: bool
    redirect: tuple[int, str] | None
    affix: tuple[str, str] | None

    @property
    def constant(self) -> bool:
        return all(isinstance(part, str) for part in self.parts)


def simple_argv(text: str) -> Argv | None:
    """Arguments and redirections (in order) of a filled recipe; None where bash has to run it."""
    items = parse(text, {})
    return None if items is None else build(items, _no_values, _no_rows)


def startable(word: str) -> bool:
    """Whether a command word, as a value, is a program's name or path, no builtin, keyword or assignment."""
    return (
        bool(word.strip(".")) and word not in BUILTINS and word not in KEYWORDS and "=" not in word and word[0] != "%"
    )


def too_many(hole: str, count: int) -> FlowError:
    """The error of a redirection to or from several files."""
    return FlowError(
        f"{hole} has {count} values here, and a redirection takes one file",
        hint="name one of them, as in {in[0]}, or let the command read the others as arguments",
    )


def parse(text: str, inserts: Mapping[int, Insert]) -> tuple[Item, ...] | None:
    """The words of a text that is one simple command, whatever its holes' values are; None where it is not."""
    parser = _Parser(text, inserts)
    if not parser.run():
        return None
    words = [item for item in parser.items if item.redirect is None]
    if not words:
        return None
    first = words[0]
    literal = "".join(part for part in first.parts if isinstance(part, str))
    if "=" in literal or (first.constant and not startable(literal)):
        return None
    return tuple(parser.items)


def build(
    items: Sequence[Item],
    values: Callable[[Hole], Sequence[str]],
    combine: Callable[[tuple[Hole, ...]], Sequence[Sequence[str]]],
) -> Argv | None:
    """The arguments for these values; `combine` gives the rows of values over which a word of several holes repeats."""
    argv: list[str] = []
    redirections: list[Redirection] = []
    for item in items:
        texts: list[str]
        if item.affix is not None:
            before, after = item.affix
            texts = [before + value + after for value in values(item.holes[0])]
        elif not item.holes and len(item.parts) == 1 and isinstance(item.parts[0], str):
            texts = [item.parts[0]]
        else:
            texts = [
                _text(item, dict(zip(item.holes, row)), values) for row in (combine(item.holes) if item.holes else [()])
            ]
        if not item.quoted:
            texts = [text for text in texts if text]
        if item.redirect is None:
            argv += texts
            continue
        if len(texts) > 1:
            raise too_many(str(item.holes[0]), len(texts))
        if not texts or not texts[0] or texts[0].startswith(_SPECIAL_FILES):
            return None
        redirections.append((*item.redirect, texts[0]))
    if not argv or not startable(argv[0]):
        return None
    return argv, redirections


def _text(item: Item, bound: Mapping[Hole, str], values: Callable[[Hole], Sequence[str]]) -> str:
    texts = []
    for part in item.parts:
        if isinstance(part, str):
            texts.append(part)
        elif part.hole in bound:
            texts.append(bound[part.hole])
        else:
            texts.append(" ".join(values(part.hole)))
    return "".join(texts)


def _no_values(hole: Hole) -> Sequence[str]:
    raise AssertionError(hole)


def _no_rows(holes: tuple[Hole, ...]) -> Sequence[Sequence[str]]:
    raise AssertionError(holes)


class _Parser:
    """One pass over a text. `run` is false as soon as bash would be needed."""

    def __init__(self, text: str, inserts: Mapping[int, Insert]) -> None:
        self.text = text
        self.inserts = inserts
        self.items: list[Item] = []
        self.parts: list[str | Slot] | None = None  # of the word being read
        self.quoted = False
        self.braces = False  # it holds `{}`
        self.expands = False  # a word with `{}` may be more to bash
        self.redirect: tuple[int, str] | None = None  # waits for its target

    def run(self) -> bool:
        text, end = self.text, len(self.text)
        i = 0
        while i < end:
            c = text[i]
            insert = self.inserts.get(i)
            if insert is not None:
                if insert.hole is None:  # an unquoted literal `{x}`: braces
                    return False
                self.add(Slot(insert.hole, False))
                i = insert.end
            elif c in " \t":
                self.finish()
                i += 1
            elif c == "\n":
                self.finish()
                if self.redirect is not None:
                    return False
                i += 1
                if self.items:
                    return self.blank(i) and not self.expands
            elif c == "#" and self.parts is None:
                i = text.find("\n", i)
                i = end if i < 0 else i
            elif c == "\\":
                if i + 1 >= end:
                    return False
                if text[i + 1] != "\n":
                    self.add(text[i + 1])
                    self.quoted = True
                i += 2
            elif c == "'":
                i = self.single(i + 1)
            elif c == '"':
                i = self.double(i + 1)
            elif c in "<>":
                i = self.redirection(i)
            elif c in _SPECIAL or (c < " " or c == "\x7f") or (c == "{" and not text.startswith("}", i + 1)):
                return False
            else:
                self.braces |= c == "{"
                self.add(c)
                i += 1
            if i < 0:
                return False
        self.finish()
        return self.redirect is None and not self.expands

    def blank(self, i: int) -> bool:
        """Whether only blanks and comments follow."""
        return _BLANK.fullmatch(self.text, i) is not None

    def add(self, part: str | Slot) -> None:
        if self.parts is None:
            self.parts = []
        if isinstance(part, str) and self.parts and isinstance(self.parts[-1], str):
            self.parts[-1] += part
        else:
            self.parts.append(part)

    def finish(self) -> None:
        """The end of a word, if one was being read."""
        if self.parts is None:
            return
        parts = self.parts or [""]
        if self.braces:
            literal = "".join(part if isinstance(part, str) else "," for part in parts)
            self.expands |= "," in literal or ".." in literal
        holes = tuple(dict.fromkeys(p.hole for p in parts if isinstance(p, Slot) and not p.joined))
        affix = None
        slots = [k for k, part in enumerate(parts) if isinstance(part, Slot)]
        if len(slots) == 1 and len(holes) == 1:
            before = "".join(p for p in parts[: slots[0]] if isinstance(p, str))
            affix = before, "".join(p for p in parts[slots[0] + 1 :] if isinstance(p, str))
        self.items.append(Item(tuple(parts), holes, self.quoted, self.redirect, affix))
        self.parts = self.redirect = None
        self.quoted = self.braces = False

    def single(self, i: int) -> int:
        self.add("")
        self.quoted = True
        while True:
            insert = self.inserts.get(i)
            if insert is not None:
                self.add(insert.text if insert.hole is None else Slot(insert.hole, True))
                i = insert.end
            elif i >= len(self.text):
                return -1
            elif self.text[i] == "'":
                return i + 1
            else:
                self.add(self.text[i])
                i += 1

    def double(self, i: int) -> int:
        text = self.text
        self.add("")
        self.quoted = True
        while True:
            insert = self.inserts.get(i)
            if insert is not None:
                self.add(insert.text if insert.hole is None else Slot(insert.hole, True))
                i = insert.end
                continue
            if i >= len(text) or text[i] in "$`":
                return -1
            c = text[i]
            if c == '"':
                return i + 1
            if c == "\\" and i + 1 < len(text) and text[i + 1] in '$`"\\\n':
                if text[i + 1] != "\n":
                    self.add(text[i + 1])
                i += 2
            else:
                self.add(c)
                i += 1

    def redirection(self, i: int) -> int:
        """One of `< > >>` with its descriptor, or a copy like `2>&1`."""
        text = self.text
        descriptor = 0 if text[i] == "<" else 1
        if self.parts is not None and not self.quoted and len(self.parts) == 1:
            number = self.parts[0]
            if isinstance(number, str) and number.isdigit():
                if number not in ("0", "1", "2"):
                    return -1
                descriptor = int(number)
                self.parts = None
        self.finish()
        if self.redirect is not None or (text[i] == "<") != (descriptor == 0):
            return -1
        following = text[i + 1 : i + 2]
        if text[i] == ">" and following == "&":
            if text[i + 2 : i + 3] not in ("1", "2") or text[i + 3 : i + 4] not in ("", " ", "\t", "\n"):
                return -1
            self.items.append(Item((text[i + 2],), (), False, (descriptor, "dup"), None))
            return i + 3
        if text[i] == ">" and following == ">":
            self.redirect = descriptor, "a"
            i += 1
        else:
            self.redirect = descriptor, "r" if text[i] == "<" else "w"
        if text[i + 1 : i + 2] in ("<", ">", "&", "|", "("):
            return -1
        return i + 1
