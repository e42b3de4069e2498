"""The functions of the Flowfile's right sides, for Python: each gives a value for `flow[name] = …`; and where in a
Python file a name or a rule stands, for errors.

Nothing is read here: a call is evaluated when it is used, as one of a Flowfile is.
"""

from __future__ import annotations

import linecache
import os
import sys

from buildflow.errors import FlowError, Source, Span
from buildflow.lang.statements import Call
from buildflow.template import parse_word

_OWN = os.path.dirname(os.path.abspath(__file__)) + "/"


class PythonSource(Source):
    """A Python file (or a notebook's cell) by its name; its text is looked up once it is shown."""

    __slots__ = ("file",)

    def __init__(self, file: str) -> None:
        here = os.getcwd() + "/"
        super().__init__(file[len(here) :] if file.startswith(here) else file, "")
        self.file = file

    def line(self, number: int) -> str:
        linecache.checkcache(self.file)
        return linecache.getline(self.file, number).rstrip("\r\n")


def caller_span() -> Span | None:
    """The place of the nearest frame outside buildflow; None where there is none."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_OWN):
        if frame.f_back is None:
            return None
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(file, line)
    return Span(PythonSource(file), line, len(text) - len(text.lstrip()) + 1)


def _call(function: str, *arguments: object) -> Call:
    span = caller_span()
    words = []
    for argument in arguments:
        if argument is None:
            raise FlowError(f"an argument of {function}() is None", span)
        words.append(parse_word(os.fspath(argument) if isinstance(argument, os.PathLike) else str(argument), span))
    return Call(function, tuple(words), span or Span(Source("", ""), 1, 1))


def glob(*patterns: str | os.PathLike[str]) -> Call:
    """Every match: `flow["subject"] = glob("data/{subject}.nii")`; without a wildcard of the left, the paths."""
    return _call("glob", *patterns)


def table(file: str | os.PathLike[str], *columns: str) -> Call:
    """The rows of a tab- or comma-separated file with a header; without columns, those named as on the left."""
    return _call("table", file, *columns)


def lines(file: str | os.PathLike[str]) -> Call:
    """The lines of a file."""
    return _call("lines", file)


def config(file: str | os.PathLike[str], key: str = "") -> Call:
    """A value of a TOML, JSON or YAML file; `a.b` walks mappings."""
    return _call("config", file, key)


def env(name: str, *default: object) -> Call:
    """A variable of the environment, or a default."""
    return _call("env", name, *default)


def shell(command: str) -> Call:
    """The words that a command prints. It is run at every start and must only read; `{name}` is a hole, `${name}` the
    shell's."""
    from buildflow.lang.values import command_parts
    from buildflow.template import Word

    span = caller_span()
    if not command.strip():
        raise FlowError("shell() needs a command", span, "write shell('uname -s')")
    return Call("shell", (Word(command_parts(command.strip()), span),), span or Span(Source("", ""), 1, 1))
