"""Running a Flowfile.py: in its project's root, with the root in front of sys.path, and errors told at its lines.

Nothing of it stays in the process: the project's modules that it imported are imported anew by the next one.
"""

from __future__ import annotations

import linecache
import os
import sys
import types
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from buildflow.errors import FlowError, Source, Span
from buildflow.template import Word

NAME = "__flowfile__"
"""The module's `__name__`: a Flowfile.py that is run as a script has another, and may build then."""

given: ContextVar[Mapping[str, Sequence[Word]] | None] = ContextVar("given", default=None)
"""The command line's values for names, while a Flowfile.py runs."""

_imported: dict[str, types.ModuleType] = {}
"""What the last Flowfile.py imported of its project: it may have changed since, or another project have such a name."""


def run(path: str, shown: str, root: str, overrides: Mapping[str, Sequence[Word]]) -> Any:
    """Execute the file (`path` and `root` are absolute); what it leaves in `flow`. FlowError for what it raises."""
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise FlowError(f"cannot read {shown}: {error.strerror}") from None
    for name, old in _imported.items():
        if sys.modules.get(name) is old:
            del sys.modules[name]
    _imported.clear()
    linecache.checkcache(path)
    module = types.ModuleType(NAME)
    module.__file__ = path
    known = set(sys.modules)
    before, search, bytecode = os.getcwd(), list(sys.path), sys.dont_write_bytecode
    token = given.set(overrides)
    sys.path.insert(0, root)
    sys.dont_write_bytecode = True
    sys.modules[NAME] = module
    try:
        os.chdir(root)
        exec(compile(text, path, "exec", dont_inherit=True), module.__dict__)
    except FlowError:
        raise
    except SyntaxError as error:
        place = error.filename if error.filename and error.filename != path else None
        source = Source(shown if place is None else os.path.relpath(place, root), _text(place or path))
        raise FlowError(error.msg, Span(source, error.lineno or 1, max(error.offset or 1, 1))) from error
    except SystemExit as error:
        raise FlowError(f"{shown} ended Python (exit status {error.code})", _where(error, path, shown)) from error
    except Exception as error:
        raise FlowError(
            f"{type(error).__name__}: {error}", _where(error, path, shown), _inner(error, path, root)
        ) from error
    finally:
        os.chdir(before)
        sys.path[:] = search
        sys.dont_write_bytecode = bytecode
        given.reset(token)
        sys.modules.pop(NAME, None)
        read = _remember(known, root)
    flow = module.__dict__.get("flow")
    reads = getattr(flow, "reads", None)
    if reads is not None:
        for name in (shown, *read):
            reads.file(name)
    return flow


def _remember(known: set[str], root: str) -> list[str]:
    """Take note of the project's modules that were imported; their files."""
    found = []
    for name in [name for name in sys.modules if name not in known]:
        file = getattr(sys.modules[name], "__file__", None)
        if isinstance(file, str) and file.startswith(f"{root}/") and "site-packages" not in file:
            _imported[name] = sys.modules[name]
            found.append(os.path.relpath(file, root))
    return found


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _where(error: BaseException, path: str, shown: str) -> Span | None:
    """The last line of the file that an exception came by."""
    import traceback

    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    if not lines:
        return None
    source = Source(shown, _text(path))
    line = source.line(lines[-1] or 1)
    return Span(source, lines[-1] or 1, len(line) - len(line.lstrip()) + 1)


def _inner(error: BaseException, path: str, root: str) -> str | None:
    """Where an exception was raised, if not in the file itself."""
    import traceback

    last = traceback.extract_tb(error.__traceback__)[-1]
    if last.filename == path:
        return None
    file = os.path.relpath(last.filename, root) if last.filename.startswith(f"{root}/") else last.filename
    return f"raised in {file}, line {last.lineno}: {last.line or last.name}"
