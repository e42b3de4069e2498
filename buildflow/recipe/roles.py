"""What each word of a bash text is to its command: the command, an argument, an assignment, a redirection's target.

Words are told to a `Position` as `buildflow.recipe.shell` reads them; keywords are followed as far as needed for that.
"""

from __future__ import annotations

import re
from enum import Enum

KEYWORDS = frozenset(
    "if then else elif fi case esac for select while until do done in function time { } ! [[ ]] coproc".split()
)
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\[[^]]*\])?\+?=")
_DECLARATIONS = frozenset("declare export local readonly typeset".split())
_ENDS_COMMAND = frozenset("for select function case fi done } ]] in coproc [[ esac".split())


class Role(Enum):
    """What a word is to its command."""

    COMMAND = "command"
    ARGUMENT = "argument"
    ASSIGNMENT = "assignment"
    REDIRECT = "target of a redirection"
    KEYWORD = "keyword"
    DESCRIPTOR = "number before a redirection"
    PATTERN = "pattern of a case"


class Word:
    """A word: `text[start:end]`; `command` numbers the simple command it is of, `operator` is its redirection's."""

    __slots__ = ("start", "end", "role", "operator", "command")

    def __init__(self, start: int, command: int) -> None:
        self.start = start
        self.end = start
        self.role = Role.ARGUMENT
        self.operator = ""
        self.command = command


class Position:
    """What the next word of a command would be."""

    __slots__ = ("command", "fresh", "operator", "pattern", "test", "subject", "declares", "last")

    def __init__(self, command: int) -> None:
        self.operator = ""  # a redirection that waits for its target
        self.pattern = False  # in front of the `)` of a case's pattern
        self.test = False  # within [[ ]]
        self.subject = False  # between `case` and its `in`
        self.begin(command)

    def begin(self, command: int) -> None:
        """After a separator: the next word is a command."""
        self.command = command
        self.fresh = True
        self.declares = False  # after `export`, `local` …, whose arguments are assignments
        self.last = ""  # the last keyword
        self.operator = ""

    def classify(self, word: Word, text: str, opened: list[str]) -> None:
        """Sets the role of a word that was read, and what follows from it."""
        written = text[word.start : word.end].replace("\\\n", "")
        if self.operator:
            word.role = Role.REDIRECT
            word.operator = self.operator
            self.operator = ""
        elif self.pattern:
            word.role = Role.PATTERN
            if written == "esac" and opened[-1:] == ["case"]:
                opened.pop()
                word.role = Role.KEYWORD
                self.pattern = self.fresh = False
        elif self.test:
            self.test = written != "]]"
        elif self.subject:
            if written == "in":
                word.role = Role.KEYWORD
                self.subject = False
                self.pattern = True
        elif written.isascii() and written.isdigit() and text[word.end : word.end + 1] in ("<", ">"):
            word.role = Role.DESCRIPTOR
        elif (self.fresh or self.declares) and ASSIGNMENT.match(written):
            word.role = Role.ASSIGNMENT
        elif not self.fresh:
            word.role = Role.ARGUMENT
        elif written in KEYWORDS:
            word.role = Role.KEYWORD
            self.keyword(written, opened)
        else:
            word.role = Role.COMMAND
            self.fresh = False
            self.declares = written in _DECLARATIONS

    def keyword(self, written: str, opened: list[str]) -> None:
        self.last = written
        if written in _ENDS_COMMAND:
            self.fresh = False
        if written == "case":
            opened.append("case")
            self.subject = True
        elif written == "esac" and opened[-1:] == ["case"]:
            opened.pop()
        elif written == "[[":
            self.test = True
