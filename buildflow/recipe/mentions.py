"""Which files a recipe names without declaring them: words of its commands, and the modules that a script imports.

Words are candidates only: whether such a file exists in the project is the caller's to see.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from posixpath import normpath
from typing import TYPE_CHECKING, NamedTuple, Union

from buildflow.lazy import regex
from buildflow.recipe.command import BUILTINS, Insert
from buildflow.recipe.roles import Role, Word
from buildflow.recipe.shell import Context, Scan
from buildflow.template import Hole

if TYPE_CHECKING:
    import ast

    from buildflow.recipe.fill import Filler

RESERVED = frozenset("in out depfile log cpus mem gpus attempt".split())

_PYTHON = regex(r"(?:python|pypy)[0-9.]*")
_INTERPRETERS = frozenset(
    """perl ruby Rscript bash sh dash ksh zsh node awk gawk mawk nawk julia php lua tclsh wish octave matlab
    source .""".split()
)
_AWKS = ("awk", "gawk", "mawk", "nawk")
_PREFIXES = frozenset("env exec command nohup".split())
_NOT_IN_A_NAME = frozenset("'\"$`*?[]{}<>()~\0")


class Mention(str):
    """A path that a recipe may name; `module`: as `python -m`, so that imports start at the project's root."""

    __slots__ = ("module",)
    module: bool

    def __new__(cls, path: str, module: bool = False) -> Mention:
        self = super().__new__(cls, path)
        self.module = module
        return self


class Candidate(NamedTuple):
    """A word that may name a file. `sure`: its place says so (a command, a script), whatever it looks like."""

    parts: tuple[Union[str, Hole], ...]
    sure: bool = False
    module: bool = False

    def paths(self, text: str) -> list[Mention]:
        """The paths that this word names when it is `text`."""
        if self.module:
            if not re.fullmatch(r"\w+(?:\.\w+)*", text):
                return []
            path = text.replace(".", "/")
            return [Mention(f"{path}.py", True), Mention(f"{path}/__main__.py", True)]
        path_ = project_path(text) if self.sure or "/" in text or "." in text else None
        return [] if path_ is None else [Mention(path_)]


def project_path(word: str) -> str | None:
    """A word as a path of the project, None where it is none: absolute, outside, a folder, an option, a URL."""
    if not word or word[0] in "/-" or word[-1] == "/" or "://" in word or len(word) > 4000:
        return None
    if word.rpartition("/")[2] in (".", ".."):
        return None
    path = normpath(word)
    return None if path.startswith("../") else path


def recipe_words(filler: Filler) -> list[Candidate]:
    """All candidate words of a recipe, in order."""
    return list(filler.mention_words)


def constant(words: Sequence[Candidate]) -> tuple[Mention, ...]:
    """The paths of the words without holes, each once."""
    found: dict[Mention, None] = {}
    for word in words:
        text = _constant(word.parts)
        if text is not None:
            found.update(dict.fromkeys(word.paths(text)))
    return tuple(found)


def filled(
    words: Sequence[Candidate],
    values: Callable[[Hole], Sequence[str]],
    combine: Callable[[tuple[Hole, ...]], Sequence[Sequence[str]]],
) -> list[Mention]:
    """The paths of the words with holes, of which one is of a name that is not reserved."""
    found: dict[Mention, None] = {}
    for word in words:
        holes = tuple(dict.fromkeys(part for part in word.parts if isinstance(part, Hole)))
        if all(hole.name in RESERVED for hole in holes):
            continue
        for row in combine(holes):
            bound = dict(zip(holes, row))
            text = "".join([bound[part] if isinstance(part, Hole) else part for part in word.parts])
            found.update(dict.fromkeys(word.paths(text)))
    return list(found)


def candidates(found: Scan, inserts: Mapping[int, Insert]) -> tuple[Candidate, ...]:
    """The words of a scanned text that may name a file."""
    commands: dict[int, _Command] = {}
    result: list[Candidate] = []
    for word in found.words:
        parts = _parts(found, word, inserts)
        if word.role is Role.REDIRECT:
            if word.operator == "<" and parts is not None:
                result.append(Candidate(parts))
        elif word.role in (Role.COMMAND, Role.ARGUMENT):
            result += commands.setdefault(word.command, _Command()).read(parts, word.role is Role.COMMAND)
    return tuple(result)


def _parts(found: Scan, word: Word, inserts: Mapping[int, Insert]) -> tuple[Union[str, Hole], ...] | None:
    """A word that is unquoted throughout, backslashes resolved; None for another."""
    text = found.text
    parts: list[Union[str, Hole]] = []
    plain: list[str] = []
    i = word.start
    while i < word.end:
        c = text[i]
        insert = inserts.get(i)
        if insert is not None:
            if insert.hole is None or insert.hole.raw or found.context(i) is not Context.PLAIN:
                return None
            if plain:
                parts.append("".join(plain))
                plain = []
            parts.append(insert.hole)
            i = insert.end
        elif c == "\\":
            if text[i + 1 : i + 2] != "\n":
                plain.append(text[i + 1 : i + 2])
            i += 2
        elif c in _NOT_IN_A_NAME and not (c == "~" and (plain or parts)):
            return None
        else:
            plain.append(c)
            i += 1
    if plain:
        parts.append("".join(plain))
    return tuple(parts)


def _constant(parts: Sequence[Union[str, Hole]]) -> str | None:
    return None if any(isinstance(part, Hole) for part in parts) else "".join(map(str, parts))


class _Command:
    """The words of one simple command, in turn."""

    def __init__(self) -> None:
        self.interpreter = ""  # whose script is awaited
        self.prefix = False  # after `env`: a command is awaited
        self.skip = False  # the argument of an option

    def read(self, parts: tuple[Union[str, Hole], ...] | None, command: bool) -> list[Candidate]:
        """The candidates that the next word gives; `parts` is None where it is quoted."""
        if self.skip:
            self.skip = False
            return []
        if not parts:
            self.interpreter = ""
            self.prefix = False
            return []
        first = parts[0] if isinstance(parts[0], str) else ""
        if first.startswith("-") and not command:
            return self.option(parts, first)
        if self.prefix and "=" in first:
            return [Candidate(parts)]
        text = _constant(parts)
        if self.interpreter == "-m":
            result = [Candidate(parts, module=True)]
        else:
            sure = command or self.prefix or bool(self.interpreter) and self.interpreter not in _AWKS
            result = [] if command and text in BUILTINS else [Candidate(parts, sure)]
        self.interpreter = ""
        if text is not None and (command or self.prefix or not result[0].sure):
            name = text.rpartition("/")[2]
            self.prefix = name in _PREFIXES and (command or self.prefix)
            if name in _INTERPRETERS or _PYTHON.fullmatch(name):
                self.interpreter = name
        else:
            self.prefix = False
        return result

    def option(self, parts: tuple[Union[str, Hole], ...], first: str) -> list[Candidate]:
        if self.interpreter in _AWKS:
            if first == "-f":
                self.interpreter = "awk -f"
        elif self.interpreter == "awk -f":
            pass
        elif self.interpreter and _PYTHON.fullmatch(self.interpreter):
            if re.fullmatch(r"-[bBdEhiIOPqsSuvx]*m", first) and len(parts) == 1:
                self.interpreter = "-m"
            elif re.match(r"-[bBdEhiIOPqsSuvx]*m", first):
                self.interpreter = ""
                rest = first[first.index("m") + 1 :]
                return [Candidate((rest, *parts[1:]) if rest else parts[1:], module=True)]
            elif re.match(r"-[A-Za-z]*c", first) and not first.startswith("--"):
                self.interpreter = ""
            elif first in ("-W", "-X") and len(parts) == 1:
                self.skip = True
        elif first in ("-c", "-e", "-E", "-n", "-ne", "-pe") and self.interpreter not in ("bash", "sh"):
            self.interpreter = ""
        elif first == "-c" or re.fullmatch(r"-[a-z]*c", first):
            self.interpreter = ""
        before, equals, after = first.partition("=")
        if not equals:
            return []
        rest_parts = (after, *parts[1:]) if after else parts[1:]
        return [Candidate(rest_parts)] if rest_parts else []


def script_imports(root: str, script: str, path_dirs: Sequence[str] | None = None) -> tuple[list[str], list[str]]:
    """The project's own modules that a Python script imports, at any depth, and the names looked for and absent.

    `script` is a project path; what is no Python (by `.py` or `#!`) gives nothing. `path_dirs` are the folders of the
    project on Python's path, by default the script's own; with them (`[""]` for `python -m`) the script is a module of
    its packages. Both results are sorted project paths without the script; a folder that is absent ends in `/`.
    Modules that are absent everywhere, or that Python cannot parse, are no error. Imports by name at run time
    (`importlib`) and modules that are no source (`.so`) are not seen.
    """
    return _Imports(root, script, path_dirs).run()


class _Imports:
    def __init__(self, root: str, script: str, path_dirs: Sequence[str] | None) -> None:
        self.root = root
        self.script = script
        self.module = path_dirs is not None
        self.path = [script.rpartition("/")[0]] if path_dirs is None else [path.rstrip("/") for path in path_dirs]
        self.found: dict[str, list[str]] = {}  # to the package that its relative imports start from
        self.absent: set[str] = set()
        self.trees: dict[str, ast.Module | None] = {}
        self.resolved: dict[tuple[str, ...], tuple[str | None, list[str]]] = {}
        self.queue: list[str] = []

    def run(self) -> tuple[list[str], list[str]]:
        if not self.is_python():
            return [], []
        self.found[self.script] = []
        if self.module:
            for folder in self.path:
                inside = f"{folder}/" if folder else ""
                if self.script.startswith(inside) and self.script.endswith(".py"):
                    name = self.script[len(inside) : -3].split("/")
                    self.found[self.script] = name[:-1]
                    self.resolve(name[:-1])
                    break
        self.queue.append(self.script)
        while self.queue:
            self.read(self.queue.pop())
        del self.found[self.script]
        return sorted(self.found), sorted(self.absent)

    def is_python(self) -> bool:
        if self.script.endswith(".py"):
            return True
        try:
            with open(f"{self.root}/{self.script}", "rb") as file:
                first = file.readline(200)
        except (OSError, ValueError):
            return False
        return first.startswith(b"#!") and b"python" in first

    def tree(self, path: str) -> ast.Module | None:
        """The syntax of a file, None where there is none."""
        if path not in self.trees:
            import ast
            import warnings

            self.trees[path] = None
            try:
                with open(f"{self.root}/{path}", "rb") as file:
                    content = file.read()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self.trees[path] = ast.parse(content)
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
                pass
        return self.trees[path]

    def read(self, path: str) -> None:
        """Follows the imports of one file."""
        import ast

        tree = self.tree(path)
        if tree is None:
            return
        package = self.found[path]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    self.resolve(alias.name.split("."))
            elif isinstance(node, ast.ImportFrom):
                base = node.module.split(".") if node.module else []
                if node.level:
                    if node.level > len(package):
                        continue  # beyond the top: Python's error
                    base = package[: len(package) - node.level + 1] + base
                found, folders = self.resolve(base)
                if not folders:
                    continue  # no package: the names are its variables
                for alias in node.names:
                    for name in self.exported(found) if alias.name == "*" else [alias.name]:
                        self.resolve([*base, name])

    def exported(self, path: str | None) -> list[str]:
        """The names in a package's `__all__`, as far as they are written out."""
        import ast

        tree = self.tree(path) if path is not None else None
        names: list[str] = []
        for node in tree.body if tree is not None else ():
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                value = getattr(node, "value", None)
                for item in value.elts if isinstance(value, (ast.List, ast.Tuple)) else ():
                    if isinstance(item, ast.Constant) and isinstance(item.value, str) and item.value.isidentifier():
                        names.append(item.value)
        return names

    def resolve(self, name: list[str]) -> tuple[str | None, list[str]]:
        """The file of a module, if it is the project's, and the folders where its submodules would be."""
        if not name:
            return None, []
        key = tuple(name)
        if key not in self.resolved:
            if name[0] in ("sys", "builtins"):  # never looked for
                self.resolved[key] = None, []
            else:
                folders = self.resolve(name[:-1])[1] if len(name) > 1 else self.path
                self.resolved[key] = self.look(folders, name)
        return self.resolved[key]

    def look(self, folders: Sequence[str], name: list[str]) -> tuple[str | None, list[str]]:
        """As Python's path finder: in each folder a package, then a module; else the namespace of that name."""
        from os.path import isdir, isfile

        portions = []
        for folder in folders:
            below = f"{folder}/{name[-1]}" if folder else name[-1]
            package, module = f"{below}/__init__.py", f"{below}.py"
            if isfile(f"{self.root}/{package}"):
                self.add(package, name)
                return package, [below]
            is_folder = isdir(f"{self.root}/{below}")
            if isfile(f"{self.root}/{module}"):
                self.absent.add(package if is_folder else f"{below}/")
                self.add(module, name[:-1])
                return module, []
            self.absent.add(module)
            self.absent.add(package if is_folder else f"{below}/")
            if is_folder:
                portions.append(below)
        return None, portions

    def add(self, path: str, package: list[str]) -> None:
        if path not in self.found:
            self.found[path] = package
            self.queue.append(path)
