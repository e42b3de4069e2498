"""The functions of the Flowfile's right sides, for Python: each gives a value for `flow[name] = …`."""

from __future__ import annotations

import sys

from buildflow.errors import Source, Span
from buildflow.lang.statements import Call
from buildflow.template import Word, parse_word

_sources: dict[str, Source] = {}


def caller_span() -> Span | None:
    """The place of the nearest frame outside buildflow."""
    here = __file__.rpartition("/")[0] + "/"
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(here):
        back = frame.f_back
        if back is None:
            return None
        frame = back
    name = frame.f_code.co_filename
    source = _sources.get(name)
    if source is None:
        try:
            with open(name, encoding="utf-8") as file:
                text = file.read()
        except (OSError, UnicodeDecodeError):
            text = ""
        source = _sources[name] = Source(name, text)
    return Span(source, frame.f_lineno, 1)


def _call(function: str, *arguments: object) -> Call:
    span = caller_span()
    assert span is not None
    return Call(function, tuple(parse_word(str(a), span) for a in arguments), span)


def glob(*patterns: str) -> Call:
    """Every match: `glob("data/{subject}.nii")`."""
    return _call("glob", *patterns)


def table(file: str, *columns: str) -> Call:
    """The rows of a tab- or comma-separated file; without columns, those named as on the left."""
    return _call("table", file, *columns)


def lines(file: str) -> Call:
    """The lines of a file."""
    return _call("lines", file)


def config(file: str, key: str = "") -> Call:
    """A value of a TOML, JSON or YAML file; `a.b` walks mappings."""
    return _call("config", file, key)


def env(name: str, *default: str) -> Call:
    """A variable of the environment."""
    return _call("env", name, *default)


def shell(command: str) -> Call:
    """The words that a command prints; it is run at every start and must only read."""
    span = caller_span()
    assert span is not None
    return Call("shell", (Word((command,), span),), span)
