"""Functions as recipes, seen from the driver: where one lives, what it asks for, and what of the project it imports.

A function that a Flowfile names (`[call = module:function]`) is never imported here, since an import runs the project's
code: what its key needs is read from the source. One given in Python is there already; its key is made by value, in
`buildflow.recipe.function_key`, and `portable` says how it reaches its job. Nothing is called here: that is
`buildflow/runner.py`'s.
"""

from __future__ import annotations

import os
from _thread import allocate_lock
from collections.abc import Callable, Container, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from buildflow.errors import FlowError, Source, Span
from buildflow.near import did_you_mean
from buildflow.recipe.imports import Imports, Walk, project_imports, read_source

if TYPE_CHECKING:
    import ast

__all__ = [
    "CallInfo",
    "Imports",
    "Parameter",
    "check_parameters",
    "describe_call",
    "hash_function",
    "manifest_of_function",
    "parameters_of",
    "portable",
    "project_imports",
    "script_environment",
]

Digest = Callable[[str], bytes]
"""The digest of a file's content, by its absolute path."""


class Parameter(NamedTuple):
    """A parameter's name, and whether it can be left out (it has a default)."""

    name: str
    default: bool = False


class CallInfo(NamedTuple):
    """What `[call = module:function]` means: the `path` of the module (a project path) and the place of the function
    in it; its `parameters`, None where they are only known once it is imported; `rows` of the manifest; `imports`."""

    function: str
    path: str
    span: Span | None
    parameters: tuple[Parameter, ...] | None
    rows: tuple[tuple[str, str], ...]
    imports: Imports


# ---- what a function asks for


def parameters_of(function: Any) -> tuple[Parameter, ...]:
    """The parameters of a function that is at hand, without `*args` and `**kwargs`. Raises FlowError for a builtin that
    does not tell them."""
    import inspect

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise FlowError(f"{_name(function)} does not tell its parameters", hint="wrap it in a function") from None
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return tuple(
        Parameter(p.name, p.default is not p.empty) for p in signature.parameters.values() if p.kind not in kinds
    )


def check_parameters(function: Any, known: Container[str]) -> list[str]:
    """The names of parameters that name nothing in `known` and have no default.

    `function`: a function, or the `parameters` of a `CallInfo` (None: nothing can be said before it is imported).
    """
    if function is None:
        return []
    parameters = function if isinstance(function, (tuple, list)) else parameters_of(function)
    return [p.name for p in parameters if not p.default and p.name not in known]


def script_environment(job: dict[str, Any]) -> dict[str, str]:
    """What a `#!` recipe finds in its environment of the job that `$BFLOW_JOB` describes (see `buildflow/runner.py`).

    `inputs`, `outputs`, `wildcards` (name=value) and every label hold one path or pair a line; wildcards their value;
    names their values with spaces between, as they would stand in a command. A name that the system or the shell reads
    (`PATH`, `LD_…`) is not set, nor a value longer than one variable may be (the file has it).
    """
    lists: dict[str, Any] = {
        "inputs": job.get("inputs") or [],
        "outputs": job.get("outputs") or [],
        "wildcards": [f"{name}={value}" for name, value in (job.get("wildcards") or {}).items()],
        **(job.get("named") or {}),
        **(job.get("named_outputs") or {}),
    }
    values = {name: w if isinstance(w, str) else " ".join(w) for name, w in (job.get("names") or {}).items()}
    values.update(job.get("wildcards") or {})
    values.update((name, paths if isinstance(paths, str) else "\n".join(paths)) for name, paths in lists.items())
    room = 500_000  # all variables and arguments share a limit that may be as low as 1 MiB (macOS)
    environment: dict[str, str] = {}
    for name, value in sorted(values.items(), key=lambda item: (len(item[1]), item[0])):
        size = len(name) + len(os.fsencode(value)) + 2
        if _of_the_system(name) or size > 100_000 or size > room or "\0" in value:
            continue
        room -= size
        environment[name] = value
    return environment


def _of_the_system(name: str) -> bool:
    return name in _SYSTEM or name.startswith(("LD_", "DYLD_", "LC_", "BFLOW_", "BASH_", "PYTHON"))


_SYSTEM = frozenset("PATH HOME USER LOGNAME SHELL TMPDIR LANG LANGUAGE TZ IFS ENV PWD OLDPWD PS4 SHELLOPTS".split())


# ---- a function that a Flowfile names


def describe_call(
    root: str, function: str, *, span: Span | None = None, digest: Digest | None = None, roots: Sequence[str] = ("",)
) -> CallInfo:
    """Find `module:function` (or `module:Class.method`) in the project at `root`, without importing it.

    `roots`: folders of the project that sys.path begins with. Raises FlowError (at `span`, where it is written) for a
    wrong form, a module or function that is not there, and a module that is no Python.
    """
    walk = Walk(root, roots)
    path, place, parameters = find_function(walk, function, span)
    module = function.partition(":")[0]
    imports = project_imports(root, [walk.resolve(module) or path, path], roots, walk=walk)
    content = digest or _content_digest
    rows = [("function", function)]
    rows += [(f"module {p}", content(os.path.join(root, p)).hex()) for p in sorted(imports.found)]
    return CallInfo(function, path, place, parameters, tuple(rows), imports)


def find_function(
    walk: Walk, function: str, span: Span | None = None
) -> tuple[str, Span | None, tuple[Parameter, ...] | None]:
    """The file of a function of the project, its place there, and its parameters (None: only its import can tell).

    Raises FlowError as `describe_call` does.
    """
    import ast

    root = walk.root
    module, colon, qualname = function.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *qualname.split("."))):
        raise FlowError(f"{function!r} is not of the form module:function", span, "as in [call = analysis.plots:draw]")
    path = walk.resolve(module)
    if path is None or not path.endswith(".py"):
        raise _no_module(root, module, walk, path, span)
    seen = set()
    while True:
        tree, source = _parse(root, path)
        found = _find(tree.body, qualname.split("."))
        if found is None:
            names = [name for name, _ in _definitions(tree.body)]
            raise FlowError(f"{path} has no function {qualname}", span, did_you_mean(qualname, names))
        if not isinstance(found, ast.ImportFrom) or (path, qualname) in seen:
            break
        seen.add((path, qualname))  # it comes from another module: what that says of it counts
        first = qualname.split(".")[0]
        name = next((a.name for a in found.names if (a.asname or a.name) == first), first)
        base = walk.absolute(path, found)
        origin = None if base is None else walk.resolve(base)
        if origin is None or not origin.endswith(".py"):
            break
        path, qualname = origin, ".".join([name, *qualname.split(".")[1:]])
    parameters = _parameters(found, "." in qualname)
    return path, Span(source, found.lineno, found.col_offset + 1, 1), parameters


def _no_module(root: str, module: str, walk: Walk, path: str | None, span: Span | None) -> FlowError:
    if path is not None:
        return FlowError(f"{path} is no Python source: its functions cannot be read", span)
    near = []
    for folder in walk.roots:
        place = os.path.join(root, folder, *module.split(".")[:-1])
        prefix = module.rpartition(".")[0]
        if os.path.isdir(place):
            stems = [n[:-3] if n.endswith(".py") else n for n in os.listdir(place)]
            near += [f"{prefix}.{stem}" if prefix else stem for stem in stems if stem.isidentifier()]
    tried = " or ".join(p for p in walk.absent if p.endswith(".py")) or module
    return FlowError(f"no module {module} in the project: {tried} is not there", span, did_you_mean(module, near))


def _parse(root: str, path: str) -> tuple[ast.Module, Source]:
    import ast

    content = read_source(os.path.join(root, path))
    text = content.decode("utf-8", "surrogateescape")
    source = Source(path, text)
    try:
        return ast.parse(content, path), source
    except SyntaxError as error:
        raise FlowError(f"{error.msg}", Span(source, error.lineno or 1, max(error.offset or 1, 1))) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise FlowError(f"{path} cannot be read as Python: {error}") from None


def _definitions(body: Iterable[Any]) -> list[tuple[str, Any]]:
    """The names that statements bind as they run, in order, those in `if`, `try`, `with` and loops too."""
    import ast

    found: list[tuple[str, Any]] = []
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.append((node.name, node))
        elif isinstance(node, ast.ImportFrom):
            found.extend((alias.asname or alias.name, node) for alias in node.names)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                found.extend((name.id, node) for name in ast.walk(target) if isinstance(name, ast.Name))
        else:
            for block in ("body", "handlers", "orelse", "finalbody"):
                inner = getattr(node, block, None)
                if isinstance(inner, list):
                    found.extend(_definitions(inner))
    return found


def _find(body: Iterable[Any], path: Sequence[str]) -> Any:
    import ast

    definitions = _definitions(body)
    found = next((node for name, node in reversed(definitions) if name == path[0]), None)
    if found is None:
        return next((node for name, node in definitions if name == "*"), None)  # it may come from there
    if len(path) > 1 and isinstance(found, ast.ClassDef):
        return _find(found.body, path[1:]) or (found if found.bases else None)
    return found


def _parameters(node: Any, method: bool) -> tuple[Parameter, ...] | None:
    """What a definition says of its parameters; None where only the import can tell (it is decorated, or no `def`)."""
    import ast

    if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Lambda):
        arguments = node.value.args
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.decorator_list and not method:
        arguments = node.args
    else:
        return None
    plain = [*arguments.posonlyargs, *arguments.args]
    first = len(plain) - len(arguments.defaults)
    found = [Parameter(a.arg, i >= first) for i, a in enumerate(plain)]
    found += [Parameter(a.arg, d is not None) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults)]
    return tuple(found)


def _content_digest(path: str) -> bytes:
    from xxhash import xxh3_128_digest

    return xxh3_128_digest(read_source(path))


# ---- a function that is at hand


def hash_function(function: Any, root: str | None = None) -> bytes:
    """The digest (16 bytes) of `manifest_of_function`; `root`: the current folder."""
    from buildflow.recipe.function_key import hash_function

    return hash_function(function, root)


def manifest_of_function(function: Any, root: str) -> list[tuple[str, str]]:
    """What decides a function's value, as rows (see `buildflow.recipe.function_key`)."""
    from buildflow.recipe.function_key import manifest_of_function

    return manifest_of_function(function, root)


def portable(function: Any, root: str) -> tuple[str | None, bytes | None]:
    """How a function reaches its job: ("module:name", None) where a fresh Python with `root` in front of sys.path
    imports the very same, else (None, its cloudpickle). Raises FlowError where it cannot be pickled."""
    import sys

    from buildflow.recipe.function_key import is_library

    home = _home(function, root)
    if home is not None:
        return home, None
    import cloudpickle  # type: ignore[import-untyped, unused-ignore]

    with _LENDING:
        lent = []
        known = cloudpickle.list_registry_pickle_by_value()  # what the program registered itself stays so
        for name, module in list(sys.modules.items()):
            # What a fresh Python could not import by this name travels too.
            if name == "__main__" or name in known or is_library(module) or _importable(module, root):
                continue
            try:
                cloudpickle.register_pickle_by_value(module)
                lent.append(module)
            except (TypeError, ValueError):
                pass
        try:
            return None, bytes(cloudpickle.dumps(function))
        except Exception as error:
            raise FlowError(
                f"{_name(function)} cannot be sent to its job: {error}",
                hint="make what it holds inside the function, or put the function in a module of the project",
            ) from None
        finally:
            for module in lent:
                cloudpickle.unregister_pickle_by_value(module)


_LENDING = allocate_lock()
"""Held while modules are registered with cloudpickle: its registry is the process's, and builds may run in threads."""


def _name(function: Any) -> str:
    return f"the function {getattr(function, '__qualname__', None) or repr(function)}"


def _home(function: Any, root: str) -> str | None:
    import sys

    from buildflow.recipe.code import in_step
    from buildflow.recipe.function_key import is_library

    module_name, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module_name, str) or not isinstance(qualname, str) or "<" in qualname:
        return None
    module = sys.modules.get(module_name)
    if module is None or not (is_library(module) or _importable(module, root)):
        return None
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    code = getattr(function, "__code__", None)
    if found is not function or (code is not None and not is_library(module) and not in_step(code)):
        return None
    return f"{module_name}:{qualname}"


def _importable(module: Any, root: str) -> bool:
    """Whether a fresh Python finds this module below `root`, and may import it: one that builds a flow would do so
    again."""
    import types

    file, name = getattr(module, "__file__", None), getattr(module, "__name__", "__main__")
    if name == "__main__" or not isinstance(file, str):
        return False
    stem = os.path.join(os.path.realpath(root), *name.split("."))
    if os.path.realpath(file) not in (f"{stem}.py", os.path.join(stem, "__init__.py")):
        return False
    for value in list(vars(module).values()):
        # (of a class, a function or an instance alike)
        owner = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
        if isinstance(owner, str) and owner.partition(".")[0] == "buildflow":
            return False
    return True
