"""Code as it was loaded, beside the source that it was loaded from: its text, its digest, the names that it uses.

The file of a function may have changed since; its text counts only where compiling it gives the very code that is at
hand. Values are not looked at here (`buildflow.recipe.function_key`).
"""

from __future__ import annotations

import dis
import linecache
import sys
import types
from collections.abc import Iterator
from typing import Any

from xxhash import xxh3_128_digest


def join(tag: str, *parts: bytes) -> bytes:
    return xxh3_128_digest(b"".join((tag.encode(), b"\0", *(b"%d:%b" % (len(part), part) for part in parts))))


def codes_of(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes_of(constant)


_compiled: dict[str, tuple[list[str], frozenset[types.CodeType]]] = {}


def _written(file: str) -> tuple[list[str], frozenset[types.CodeType]]:
    """The lines of a file as it is now, and all code in it."""
    linecache.checkcache(file)
    lines = linecache.getlines(file)
    known = _compiled.get(file)
    if known is None or known[0] != lines:
        try:
            codes = frozenset(codes_of(compile("".join(lines), file, "exec", dont_inherit=True)))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            codes = frozenset()
        known = _compiled[file] = (lines, codes)
    return known


def in_step(code: types.CodeType) -> bool:
    """Whether the file that a function was loaded from still says what was loaded."""
    return code in _written(code.co_filename)[1]


def source_of(code: types.CodeType) -> str | None:
    """The text of a function, without decorators (what they do is in the values), where that is what was loaded."""
    import ast
    import inspect
    import textwrap

    if code.co_name == "<lambda>" or not in_step(code):  # (two lambdas can share a line)
        return None
    block = inspect.getblock(_written(code.co_filename)[0][code.co_firstlineno - 1 :])
    text = textwrap.dedent("".join(block))
    try:
        node = ast.parse(text).body[0]
    except (SyntaxError, IndexError):
        return None
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return None
    return textwrap.dedent("".join(text.splitlines(keepends=True)[node.lineno - 1 :])).rstrip()


def code_digest(code: types.CodeType) -> bytes:
    constants = []
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            constants.append(code_digest(value))
        elif isinstance(value, frozenset):
            constants.append(repr(sorted(map(repr, value))).encode())
        else:
            constants.append(repr(value).encode("utf-8", "surrogatepass"))
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    shape = (sys.version_info[:2], code.co_flags, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount)
    return join("code", code.co_code, repr(names).encode(), repr(shape).encode(), *constants)


def uses(code: types.CodeType) -> tuple[dict[str, set[str]], list[tuple[str, int, tuple[str, ...]]]]:
    """The globals that code reads with the attributes it takes of them, and its imports (name, level, from names)."""
    names: dict[str, set[str]] = {}
    imports = []
    for one in codes_of(code):
        constants: list[Any] = []
        last: str | None = None
        for step in dis.get_instructions(one):
            if step.opname.startswith("LOAD_CONST") or step.opname == "LOAD_SMALL_INT":
                constants.append(step.argval)
            elif step.opname == "IMPORT_NAME":
                level, names_of = constants[-2:]
                imports.append((str(step.argval), int(level or 0), tuple(names_of or ())))
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"):
                last = str(step.argval)
                names.setdefault(last, set())
            elif step.opname in ("LOAD_ATTR", "LOAD_METHOD") and last is not None:
                names[last].add(str(step.argval))
                last = None
            elif step.opname not in ("CACHE", "PUSH_NULL", "EXTENDED_ARG", "PRECALL"):
                last = None
    return names, imports


def unchanged(module: types.ModuleType) -> bool:
    """Whether the functions of a loaded module are those of its file as it is now (as far as they can tell)."""
    from importlib.machinery import SourceFileLoader

    file = module.__file__
    if not isinstance(file, str) or not file.endswith(".py"):
        return True
    if not isinstance(getattr(module, "__loader__", None), (SourceFileLoader, type(None))):
        return True  # another loader (that of pytest) compiles it otherwise: nothing can be told
    things = list(vars(module).values())
    things += [inner for thing in things if isinstance(thing, type) for inner in vars(thing).values()]
    own = [thing.__code__ for thing in things if isinstance(thing, types.FunctionType)]
    return all(code in _written(file)[1] for code in own if code.co_filename == file)
