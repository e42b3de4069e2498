"""The key of a function that is at hand: everything that decides what it would return, as rows and as one digest.

The rows are its source as loaded, its defaults, its closure, the globals that it uses, by value, and the files of the
project's modules that it imports. Functions and classes of the project that it uses are followed in the same way; those
of libraries are their name and version. `why` shows the rows, the key hashes them: one walk makes both.

Two things are not seen: names made at run time (`globals()[x]`, `eval`), and files that a module reads.
"""

from __future__ import annotations

import copyreg
import functools
import os
import pathlib
import sys
import types
from typing import Any

from xxhash import xxh3_128_digest

from buildflow.errors import FlowError
from buildflow.recipe.code import code_digest, join, source_of, unchanged, uses
from buildflow.recipe.imports import project_files, project_imports

Rows = list[tuple[str, str]]


def manifest_of_function(function: Any, root: str) -> Rows:
    """Rows of (what, value): ("source", digest), ("default x", …), ("closure y", …), ("global Z", …), ("module path",
    digest); those of a function that it uses begin with its name. Short values are written out. Paths below `root` are
    taken relative to it. Raises FlowError that names the function and what of it cannot be hashed."""
    walk = _Walk(root)
    walk.top(function)
    walk.modules()
    return walk.rows


def hash_function(function: Any, root: str | None = None) -> bytes:
    """The digest (16 bytes) of `manifest_of_function`; `root`: the current folder."""
    rows = manifest_of_function(function, os.getcwd() if root is None else root)
    return join("manifest", *(part.encode("utf-8", "surrogatepass") for row in rows for part in row))


# ---- what is whose


@functools.cache
def _library_folders() -> tuple[str, ...]:
    import sysconfig

    paths = sysconfig.get_paths()
    own = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # buildflow itself
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {own}
    return tuple(f"{folder}/" for one in folders for folder in {one, os.path.realpath(one)})


def is_library(module: Any) -> bool:
    """Whether a module is of the standard library or installed: its name stands for it."""
    name, file = getattr(module, "__name__", ""), getattr(module, "__file__", None)
    if name == "__main__":
        return False
    if not isinstance(file, str):  # built in, or made by hand; a folder without __init__.py has a path
        place = list(getattr(module, "__path__", []))
        if not place:
            return name.partition(".")[0] in sys.stdlib_module_names
        file = place[0] + "/"
    return _in_library(file)


def _in_library(file: str) -> bool:
    if file.startswith("<frozen "):
        return True
    parts = file.split("/")
    return file.startswith(_library_folders()) or "site-packages" in parts or "dist-packages" in parts


def _owner(thing: Any) -> Any:
    """The module of a function or class; None where it has none."""
    name = getattr(thing, "__module__", None)
    return sys.modules.get(name) if isinstance(name, str) else None


def _library_thing(thing: Any) -> bool:
    code = getattr(thing, "__code__", None)
    module = _owner(thing)
    if code is not None and not code.co_filename.startswith("<"):
        return _in_library(code.co_filename)  # (a wrapper says that it is of the module that it wraps)
    if module is None:
        return False if code is not None else getattr(thing, "__module__", None) is None
    return is_library(module)


def _library_name(thing: Any) -> str:
    module = getattr(thing, "__module__", None) or "builtins"
    top = sys.modules.get(module.partition(".")[0])
    version = getattr(top, "__version__", "")
    return f"{module}:{getattr(thing, '__qualname__', thing)} {version if isinstance(version, str) else ''}".rstrip()


# ---- the walk


class _Unhashable(Exception):
    pass


class _Walk:
    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self.rows: Rows = []
        self.seen: dict[int, tuple[Any, bytes]] = {}  # by id, the object kept so that its id stays its own
        self.open: dict[int, int] = {}
        self.labels: dict[str, int] = {}
        self.imported: dict[str, Any] = {}
        self.names_imported: set[str] = set()
        self.home: str | None = None  # the module of the function that the key is for: seen by value, not as a file

    # -- functions

    def top(self, function: Any) -> None:
        inner = function
        while isinstance(inner, functools.partial):
            inner = inner.func
        self.home = getattr(inner, "__module__", None)
        if isinstance(function, types.FunctionType) and not _library_thing(function):
            self.seen[id(function)] = (function, join("function", b""))
            self.function(function, "", strict=True)
        else:
            name = getattr(function, "__qualname__", None) or type(function).__qualname__
            self.row("function", function, f"the function {name}", True)

    def row(self, label: str, value: Any, where: str, strict: bool) -> None:
        try:
            shown = self.show(value, where, strict)
        except _Unhashable as error:
            if strict:
                raise FlowError(
                    f"{where} cannot be part of a key: {error}",
                    hint="give it to the function as an input or a wildcard, or make it inside the function",
                ) from None
            shown = "as its module makes it"
        self.rows.append((label, shown))

    def function(self, function: types.FunctionType, prefix: str, strict: bool) -> None:
        code = function.__code__
        text = source_of(code)
        if text is not None:
            self.rows.append((f"{prefix}source", xxh3_128_digest(text.encode("utf-8", "surrogatepass")).hex()))
        else:
            self.rows.append((f"{prefix}code", code_digest(code).hex()))
        who = f"the function {function.__qualname__}"
        positional = code.co_varnames[: code.co_argcount]
        defaults = function.__defaults__ or ()
        pairs = [
            *zip(positional[len(positional) - len(defaults) :], defaults),
            *(function.__kwdefaults__ or {}).items(),
        ]
        for name, value in pairs:
            self.row(f"{prefix}default {name}", value, f"the default of {name} of {who}", strict)
        for name, cell in zip(code.co_freevars, function.__closure__ or ()):
            try:
                value = cell.cell_contents
            except ValueError:  # not yet assigned
                self.rows.append((f"{prefix}closure {name}", "empty"))
                continue
            self.row(f"{prefix}closure {name}", value, f"the variable {name} that {who} encloses", strict)
        used, imports = uses(code)
        space = function.__globals__
        for name in sorted(used):
            if name not in space:
                builtins = space.get("__builtins__", {})
                found = builtins if isinstance(builtins, dict) else vars(builtins)
                if name not in found:
                    self.rows.append((f"{prefix}global {name}", "undefined"))
                continue
            value = space[name]
            self.row(f"{prefix}global {name}", value, f"the global {name} of {who}", strict)
            if isinstance(value, types.ModuleType) and not is_library(value):
                for attribute in sorted(used[name] & vars(value).keys()):
                    self.row(f"{prefix}global {name}.{attribute}", vars(value)[attribute], who, False)
        package = space.get("__package__") or ""
        for name, level, names in imports:
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])]) if level else name
            self.names_imported.update([base, *(f"{base}.{n}" for n in names if n != "*")])

    def follow(self, function: types.FunctionType) -> bytes:
        """Rows for a function of the project that another one uses; what stands for it there."""
        name = function.__qualname__
        self.labels[name] = count = self.labels.get(name, 0) + 1
        label = name if count == 1 else f"{name}#{count}"
        reference = join("function", label.encode())
        self.seen[id(function)] = (function, reference)  # before its rows: functions call each other
        self.function(function, f"{label}: ", strict=self.by_value(function))
        return reference

    def by_value(self, thing: Any) -> bool:
        """Whether a function or class is the key's own; else the digest of its module covers what it holds."""
        module = _owner(thing)
        if module is None or module.__name__ in ("__main__", self.home):
            return True
        if not isinstance(getattr(module, "__file__", None), str):
            return True
        self.imported[module.__name__] = module
        return False

    # -- values

    def show(self, value: Any, where: str, strict: bool) -> str:
        if type(value) in (int, float, bool, type(None)):
            return repr(value)
        digest = self.value(value)
        if type(value) is str and len(value) <= 60 and self.below_root(value) is None:
            return repr(value)
        name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
        kind = type(value).__name__
        return f"{kind} {name} {digest.hex()}" if isinstance(name, str) else f"{kind} {digest.hex()}"

    def below_root(self, text: str) -> str | None:
        if text == self.root or text.startswith(self.root + "/"):
            return text[len(self.root) :]
        return None

    def value(self, value: Any) -> bytes:
        """The digest of any value. Raises _Unhashable."""
        kind = type(value)
        if kind in (int, float, complex, bool, type(None), type(Ellipsis), type(NotImplemented)):
            return join(kind.__name__, repr(value).encode())
        if kind is str:
            rest = self.below_root(value)
            text = value if rest is None else rest
            return join("str" if rest is None else "path of the project", text.encode("utf-8", "surrogatepass"))
        if kind in (bytes, bytearray):
            return join(kind.__name__, bytes(value))
        key = id(value)
        if key in self.seen:
            return self.seen[key][1]
        if key in self.open:  # a circle: how far up it closes
            return join("circle", str(len(self.open) - self.open[key]).encode())
        if len(self.open) > 200:
            raise _Unhashable("it is nested too deeply")
        self.open[key] = len(self.open)
        try:
            digest = self.compound(value, kind)
        finally:
            del self.open[key]
        self.seen.setdefault(key, (value, digest))
        return digest

    def compound(self, value: Any, kind: type) -> bytes:
        if kind in (tuple, list):
            return join(kind.__name__, *map(self.value, value))
        if kind in (set, frozenset):
            return join(kind.__name__, *sorted(map(self.value, value)))
        if kind in (dict, types.MappingProxyType):  # in its order, in which a function walks it
            return join("dict", *(self.value(part) for item in value.items() for part in item))
        if isinstance(value, pathlib.PurePath):
            return join(kind.__name__, self.value(str(value)))
        if isinstance(value, types.ModuleType):
            return self.module(value)
        if isinstance(value, type):
            return self.klass(value)
        if isinstance(value, types.FunctionType):
            return join("library", _library_name(value).encode()) if _library_thing(value) else self.follow(value)
        if isinstance(value, types.MethodType):
            return join("method", self.value(value.__func__), self.value(value.__self__))
        if isinstance(value, (staticmethod, classmethod)):
            return join(kind.__name__, self.value(value.__func__))
        if isinstance(value, property):
            return join("property", *map(self.value, (value.fget, value.fset, value.fdel)))
        if isinstance(value, functools.partial):
            return join("partial", *map(self.value, (value.func, value.args, value.keywords)))
        if isinstance(value, types.BuiltinFunctionType):
            owner = value.__self__
            held = b"" if owner is None or isinstance(owner, (type, types.ModuleType)) else self.value(owner)
            return join("builtin", _library_name(value).encode(), held)
        wrapped = getattr(value, "__wrapped__", None)
        if wrapped is not None and callable(value):  # functools.lru_cache, and its like in C
            return join("wrapper", f"{kind.__module__}:{kind.__qualname__}".encode(), self.value(wrapped))
        if kind.__module__.partition(".")[0] == "buildflow":
            raise _Unhashable(f"it is a {kind.__qualname__}, part of the build and not of a job")
        return self.reduced(value, kind)

    def reduced(self, value: Any, kind: type) -> bytes:
        """Anything else by how it would be copied: its class and its state."""
        try:
            special = copyreg.dispatch_table.get(kind)
            state = special(value) if special is not None else value.__reduce_ex__(4)
        except Exception as error:
            raise _Unhashable(f"it is of the type {kind.__module__}.{kind.__qualname__} ({error})") from None
        if isinstance(state, str):
            return join("global", f"{kind.__module__}:{state}".encode())
        call, arguments, *more = state
        parts = [self.value(call), self.value(arguments)]
        for part in more[:1]:
            parts.append(self.value(part))
        parts.extend(self.value(list(part)) if part is not None else b"" for part in more[1:3])
        return join("object", *parts)

    def klass(self, value: type) -> bytes:
        if _library_thing(value):
            return join("library", _library_name(value).encode())
        name = value.__qualname__
        self.seen[id(value)] = (value, join("class", name.encode()))  # its methods may name it
        self.by_value(value)
        parts = [self.value(base) for base in value.__bases__]
        for attribute, what in sorted(vars(value).items()):
            if attribute in _BOOKKEEPING or (attribute.startswith("__") and _generated(what)):
                continue
            try:
                parts += [attribute.encode(), self.value(what)]
            except _Unhashable:
                parts += [attribute.encode(), b"as its module makes it"]
        digest = join("class", name.encode(), *parts)
        self.seen[id(value)] = (value, digest)
        return digest

    # -- modules

    def module(self, module: types.ModuleType) -> bytes:
        if is_library(module):
            version = getattr(module, "__version__", "")
            return join("module", module.__name__.encode(), version.encode() if isinstance(version, str) else b"")
        self.imported[module.__name__] = module
        return join("module", module.__name__.encode())

    def modules(self) -> None:
        """The rows of the project's modules, those that they import included. Raises FlowError for one that was changed
        after it was imported: what it would do here and in a fresh process differ."""
        outside: dict[str, str] = {}
        inside: dict[str, None] = {}
        folders = [os.path.realpath(p) for p in sys.path]
        roots = [
            "",
            *(p[len(self.root) + 1 :] for p in folders if p.startswith(self.root + "/") and not _in_library(p)),
        ]
        for name in sorted(self.names_imported):
            inside.update(dict.fromkeys(project_files(self.root, name, roots)))
        for name, module in sorted(self.imported.items()):
            file = getattr(module, "__file__", None)
            if not isinstance(file, str):
                continue
            rest = self.below_root(os.path.realpath(file))
            if rest is None:
                outside[f"module {name}"] = file
            else:
                inside[rest[1:]] = None
                parents = [name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)]
                inside.update(dict.fromkeys(p for parent in parents for p in project_files(self.root, parent, roots)))
        found = {f"module {p}": os.path.join(self.root, p) for p in project_imports(self.root, inside, roots).found}
        loaded = {}
        for module in list(sys.modules.values()):
            if not is_library(module) and isinstance(getattr(module, "__file__", None), str):
                loaded[os.path.realpath(module.__file__ or "")] = module
        for label, path in sorted({**found, **outside}.items()):
            there = loaded.get(os.path.realpath(path))
            if there is not None and not unchanged(there):
                raise FlowError(
                    f"the module {there.__name__} was changed after it was imported",
                    hint="restart, or import it again with importlib.reload, so that the key is of what runs",
                )
            try:
                with open(path, "rb") as file_:
                    self.rows.append((label, xxh3_128_digest(file_.read()).hex()))
            except OSError as error:
                raise FlowError(f"cannot read {path}: {error.strerror}") from None


_BOOKKEEPING = frozenset(
    "__dict__ __weakref__ __doc__ __module__ __qualname__ __firstlineno__ __static_attributes__ __abstractmethods__ "
    "_abc_impl __slotnames__ __dataclass_params__ __annotate__ __annotate_func__ __annotations_cache__".split()
)


def _generated(what: Any) -> bool:
    """Whether a method was written by `dataclass` or the like, from fields that are in the key."""
    return isinstance(what, types.FunctionType) and what.__code__.co_filename == "<string>"
