"""Which files of the project a Python file imports, read from the source: nothing is run.

Only the project's modules are found, below its root (and other folders of it that sys.path begins with); what else is
imported is a library's. What was looked for and is not there is told too, since a new file of that name would be found.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from buildflow.errors import FlowError

if TYPE_CHECKING:
    import ast


class Imports(NamedTuple):
    """Project files that are read (`found`, in order of first mention) and those that, were they there, would be read
    instead or too (`absent`; one without a suffix is a folder)."""

    found: tuple[str, ...]
    absent: tuple[str, ...]


def project_imports(
    root: str, paths: Iterable[str], roots: Sequence[str] = ("",), *, walk: Walk | None = None
) -> Imports:
    """The project files that Python files `paths` (project paths, themselves included) import, however deep.

    Read from the source: every `import`, wherever it stands, and `import_module("…")` of a written name. Packages above
    a module are imported with it. A file that is no Python is listed and not followed.
    """
    walk = walk or Walk(root, roots)
    for path in paths:
        walk.add(path)
    while walk.queue:
        walk.follow(walk.queue.pop(0))
    return Imports(tuple(walk.found), tuple(p for p in walk.absent if p not in walk.found))


def text_imports(root: str, text: str, roots: Sequence[str] = ("",)) -> Imports:
    """The same of a text that is no file (a `[python]` recipe); one that is no Python gives nothing."""
    import ast

    walk = Walk(root, roots)
    if "import" in text:
        try:
            walk.follow_tree(ast.parse(text), "")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass  # its job says so
    while walk.queue:
        walk.follow(walk.queue.pop(0))
    return Imports(tuple(walk.found), tuple(p for p in walk.absent if p not in walk.found))


def project_files(root: str, module: str, roots: Sequence[str] = ("",)) -> tuple[str, ...]:
    """The project files that importing a module by its name reads first: its own and the packages' above it."""
    walk = Walk(root, roots)
    walk.resolve(module)
    return tuple(walk.found)


class Walk:
    """Resolves module names in the project and remembers the files; `project_imports` is its plain use."""

    def __init__(self, root: str, roots: Sequence[str]) -> None:
        import importlib.machinery

        self.root = root
        self.roots = [r.strip("/") for r in roots]
        self.suffixes = importlib.machinery.EXTENSION_SUFFIXES
        self.found: dict[str, None] = {}
        self.absent: dict[str, None] = {}
        self.queue: list[str] = []

    def add(self, path: str) -> None:
        if path not in self.found:
            self.found[path] = None
            if path.endswith(".py"):
                self.queue.append(path)

    def resolve(self, module: str) -> str | None:
        """The project file of a module, adding it and the packages above it; None: it is not the project's (or has no
        file, as a folder without `__init__.py`)."""
        for folder in self.roots:
            path = self._within(folder, module.split("."))
            if path:
                return path
        return None

    def _within(self, folder: str, parts: Sequence[str]) -> str | None:
        """As `resolve`, in one folder of sys.path; "" for a folder without `__init__.py`."""
        for count, part in enumerate(parts, 1):
            name = f"{folder}/{part}" if folder else part
            if not os.path.isdir(os.path.join(self.root, name)):
                self.absent[name] = None
            elif self._is(f"{name}/__init__.py"):
                folder = name
                if count == len(parts):
                    return f"{name}/__init__.py"
                continue
            compiled = [name + suffix for suffix in self.suffixes]
            for path in (*compiled, f"{name}.py"):
                if os.path.isfile(os.path.join(self.root, path)):
                    self.add(path)
                    if path.endswith(".py"):
                        self.absent.update(dict.fromkeys(compiled))
                    return path if count == len(parts) else ""
            self.absent[f"{name}.py"] = None
            if name in self.absent:
                return None
            folder = name  # a namespace package
        return ""

    def _is(self, path: str) -> bool:
        if os.path.isfile(os.path.join(self.root, path)):
            self.add(path)
            return True
        self.absent[path] = None
        return False

    def absolute(self, path: str, node: ast.ImportFrom) -> str | None:
        """The module that a `from … import` names, in the file at `path`."""
        if not node.level:
            return node.module
        for folder in sorted(self.roots, key=len, reverse=True):
            if not folder or path.startswith(folder + "/"):
                package = path[len(folder) + 1 if folder else 0 :].split("/")[: -node.level]
                return ".".join(package + ([node.module] if node.module else [])) or None
        return None

    def follow(self, path: str) -> None:
        import ast

        try:
            tree = ast.parse(read_source(os.path.join(self.root, path)), path)
        except (FlowError, SyntaxError, ValueError, RecursionError, MemoryError):
            return  # it will fail in its job, with a traceback
        self.follow_tree(tree, path)

    def follow_tree(self, tree: ast.Module, path: str) -> None:
        """Resolve what a file's tree imports."""
        import ast

        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.resolve(alias.name)
            elif isinstance(node, ast.ImportFrom):
                base = self.absolute(path, node)
                if base is not None:
                    self.import_from(base, [alias.name for alias in node.names])
            elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                written = node.args[0].value
                if name in ("import_module", "__import__") and isinstance(written, str) and _dotted(written):
                    self.resolve(written)

    def import_from(self, base: str, names: Iterable[str]) -> None:
        """`from base import names`: any of them may be a module."""
        path = self.resolve(base)
        package = base.replace(".", "/")
        folders = [f"{r}/{package}" if r else package for r in self.roots]
        if (path is None or path.endswith("/__init__.py")) and any(
            os.path.isdir(os.path.join(self.root, folder)) for folder in folders
        ):
            for name in names:
                if name != "*":
                    self.resolve(f"{base}.{name}")


def _dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def read_source(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise FlowError(f"cannot read {path}: {error.strerror}") from None
