"""What evaluating a name may read while a plan is made: the disk, and what rules make.

A function over what a rule makes is `Pending` until that is made. Globs see the user's files, the targets of rules with
finite domains whether they exist yet or not, and what stands in made folders that are finished; never a file that an
earlier build left.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from buildflow.errors import FlowError, Span
from buildflow.globbing import PathPattern, glob_files
from buildflow.names import Definition, Pending, Scope, holds_names, pick
from buildflow.plan.matcher import normal
from buildflow.template import Glob, Hole, Part
from buildflow.world import DiskWorld, acceptance

if TYPE_CHECKING:
    from buildflow.plan.resolve import Resolver
    from buildflow.recipe.functions import CallInfo
    from buildflow.rule import Rule


class PlanWorld(DiskWorld):
    """The world of one resolver."""

    def __init__(self, resolver: Resolver) -> None:
        super().__init__(resolver.builder.reads)
        self.resolver = resolver
        self.where: dict[str, str] = {}  # made paths that are read elsewhere than in the workspace (temp)
        self._constant: dict[int, list[str]] = {}
        self._used: dict[int, tuple[str, ...]] = {}
        self._imports: dict[tuple[str, bool], list[str]] = {}
        self._calls: dict[int, CallInfo] = {}
        self._regular: dict[str, bool] = {}

    # ---- functions over one file -------------------------------------------------------------------------------

    def locate(self, path: str, span: Span | None) -> str:
        path = normal(path)
        if not path.startswith(("/", "../")):
            choice = self.resolver.choose(path)
            if choice.kind in ("rule", "member"):
                made = choice.folder if choice.kind == "member" else path
                if made not in self.resolver.finished:
                    raise Pending([made])
                return self.where.get(path) or self.reads.path(path)
        return super().locate(path, span)

    def empty(self, definition: Definition, text: str) -> None:
        place = f"{definition.span.source.name}:{definition.span.line}: " if definition.span is not None else ""
        self.resolver.empty.setdefault(definition, place + text)

    # ---- globs -------------------------------------------------------------------------------------------------

    def conditional(self, scope: Scope, parts: Sequence[Part], left: Sequence[str]) -> Sequence[str]:
        """The wildcards of a joint glob that stand in the name of a made folder: they must be bound first."""
        if not self.resolver.index.folders:
            return ()
        found: dict[str, None] = {}
        for prefix in _folders(parts):
            names = [p.name for p in prefix if isinstance(p, Hole) and p.name in left]
            if names and set(names) != set(left) and self._folder_pattern(prefix):
                found.update(dict.fromkeys(names))
        return tuple(found)

    def _folder_pattern(self, prefix: Sequence[Part]) -> bool:
        """Whether a rule's target is a folder with this text, wildcards standing for wildcards."""
        shape = "".join("\1" if isinstance(p, Hole) else str(p) for p in prefix)
        for rule in self.resolver.builder.rules:
            for target in self.resolver.index.of_rule.get(rule.number, ()):
                if target.exact is None and rule.makes:
                    if "".join("\1" if isinstance(p, Hole) else str(p) for p in target.parts) == shape:
                        return True
        return False

    def glob(
        self, parts: Sequence[Part], patterns: Mapping[str, re.Pattern[str]], span: Span | None
    ) -> list[tuple[str, dict[str, str]]]:
        accept, slashes = acceptance(patterns, [p.name for p in parts if isinstance(p, Hole)])
        return self.find(parts, accept, slashes, span)

    def find(
        self,
        parts: Sequence[Part],
        accept: Mapping[str, Callable[[str], bool] | None],
        slashes: frozenset[str] | set[str],
        span: Span | None,
        without: Callable[[str], bool] = lambda folder: False,
    ) -> list[tuple[str, dict[str, str]]]:
        """What a pattern matches, byte-sorted and distinct; nothing below made folders for which `without` is true."""
        resolver = self.resolver
        disk = resolver.disk
        inside = self._inside(parts)
        made: dict[str, dict[str, str]] = {}
        pending: list[str] = []
        pattern = PathPattern(parts, accept, slashes, dots=False)
        folders: set[str] = set()
        left_out: set[str] = set()
        if inside and resolver.index.folders:
            for folder in self._made_folders(parts):
                if without(folder):
                    left_out.add(folder)
                    continue
                folders.add(folder)
                if folder not in resolver.finished:
                    pending.append(folder)
        if pending:
            raise Pending(pending)
        found = glob_files(self.reads.root, parts, accept, slashes=slashes, skip=_skip, listed=self.listed, span=span)
        for path, binding in found:
            if inside and not self._made_below(path, folders) and disk.ours(path):
                continue
            if left_out and self._made_below(path, left_out):
                continue
            made[path] = binding
        if inside:
            for path in resolver.finite.within(pattern.prefix, pattern.suffix, pattern.depth):
                if path not in made:
                    first = pattern.first(path)
                    if first is not None:
                        made[path] = first
        for folder in folders:
            root = self.where.get(folder)
            if root is not None:
                made.update(self._elsewhere(folder, root, pattern))
        return sorted(made.items(), key=lambda item: os.fsencode(item[0]))

    @staticmethod
    def _inside(parts: Sequence[Part]) -> bool:
        first = parts[0] if parts else ""
        return not (type(first) is str and first.startswith(("/", "../")))

    def _made_folders(self, parts: Sequence[Part]) -> list[str]:
        """The made folders that a pattern looks into."""
        resolver = self.resolver
        found: list[str] = []
        for prefix in _folders(parts):
            if all(type(p) is str for p in prefix):
                folder = normal("".join(str(p) for p in prefix))
                if resolver.choose(folder).kind == "rule":
                    found.append(folder)
            else:
                pattern = PathPattern(prefix, dots=False)
                for folder in resolver.finite.within(pattern.prefix, "/"):
                    if pattern.first(folder) is not None:
                        found.append(folder)
        return list(dict.fromkeys(found))

    @staticmethod
    def _made_below(path: str, folders: set[str]) -> bool:
        return any(path.startswith(folder) for folder in folders)

    @staticmethod
    def _elsewhere(folder: str, root: str, pattern: PathPattern) -> dict[str, dict[str, str]]:
        """The files of a made folder that is not placed in the workspace."""
        found: dict[str, dict[str, str]] = {}
        for place, _, names in os.walk(root):
            below = os.path.relpath(place, root)
            for name in names:
                path = folder + (name if below == "." else f"{below}/{name}")
                first = pattern.first(path)
                if first is not None:
                    found[path] = first
        return found

    # ---- folders and mentioned files ---------------------------------------------------------------------------

    def source_tree(self, folder: str) -> tuple[list[str], list[str]]:
        """The user's files below a folder (links among them), and its empty folders, both by project name."""
        disk = self.resolver.disk
        ignore = disk.ignore
        inside = not folder.startswith(("/", "../"))
        files: list[str] = []
        empty: list[str] = []
        stack = [folder]
        while stack:
            here = stack.pop()
            self.listed(here.rstrip("/"))
            try:
                with os.scandir(disk.path(here)) as scan:
                    entries = sorted(scan, key=lambda e: os.fsencode(e.name))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise FlowError(f"cannot read the folder {here}: {error.strerror}") from None
            some = False
            for entry in entries:
                is_dir = entry.is_dir(follow_symlinks=False)
                name = here + entry.name
                if inside and ignore.entry_ignored(here.rstrip("/"), entry.name, is_dir):
                    continue
                some = True
                if is_dir:
                    stack.append(name + "/")
                elif inside and disk.ours(name):
                    continue
                else:
                    mode = entry.stat(follow_symlinks=False).st_mode
                    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
                        raise FlowError(
                            f"{name} is no plain file, folder or link", None, "name it in .bflowignore to leave it out"
                        )
                    files.append(name)
            if not some and here != folder:
                empty.append(here)
        for name in ignore.files_read():
            self.reads.file(name) if os.path.exists(disk.path(name)) else self.reads.missing(name)
        return files, empty

    def mentioned(self, rule: Rule, job: int, bound: Mapping[str, str]) -> list[str]:
        """The source files that words of a recipe name, and the project's modules that its Python scripts import."""
        recipe = rule.recipe
        assert recipe is not None
        if recipe.kind == "call":
            self.call_info(rule)
        if recipe.kind == "python":
            return self._imported(rule)
        if recipe.kind != "shell":
            return []
        constant = self._constant.get(rule.number)
        if constant is None:
            constant = self._constant[rule.number] = self._sources(recipe.filler.constant_mentions)
        if all(isinstance(part, str) for word in recipe.filler.mention_words for part in word.parts):
            return constant
        scope = rule.scope

        def values(hole: Hole) -> list[str]:
            if hole.name not in bound and hole.name not in scope.definitions:
                return []  # a file of the job: declared already
            found = scope.values_of(hole.name, bound, hole.attr if hole.attr == "rows" else None)
            return pick(hole, found)

        return list(dict.fromkeys([*constant, *self._sources(recipe.filler.mentions(values))]))

    def evaluate_names(self, rule: Rule, bound: Mapping[str, str]) -> None:
        """Evaluate the names that a recipe and its attributes use. Raises Pending where one reads what is not made."""
        names = self._used.get(rule.number)
        scope = rule.scope
        if names is None:
            recipe = rule.recipe
            assert recipe is not None
            used = {name for a in rule.attributes.values() for word in a.words for name in word.names}
            if recipe.kind == "shell":
                used.update(hole.name for hole, _ in recipe.filler.holes)
            else:  # it can read whatever follows the wildcards
                used.update(n for n, d in scope.definitions.items() if d.joint or any(map(holds_names, d.terms)))
            reads = [n for n in scope.definitions if n in used and scope.reads(n)]
            names = self._used[rule.number] = tuple(reads)
        for name in names:
            if name not in bound:
                try:
                    scope.values_of(name, bound)
                except FlowError:
                    continue  # told where it is used, if it is

    def _imported(self, rule: Rule) -> list[str]:
        """The project's modules that a Python recipe imports, by their names from the root."""
        known = self._constant.get(rule.number)
        if known is None:
            from buildflow.recipe.imports import text_imports

            assert rule.recipe is not None
            imports = text_imports(self.reads.root, rule.recipe.text)
            for name in imports.absent:
                self.reads.missing(name)
            known = self._constant[rule.number] = [name for name in imports.found if self.is_regular(name)]
            for name in known:
                self.reads.file(name)
        return known

    def call_info(self, rule: Rule) -> CallInfo:
        """The function that a `[call = module:function]` names, read and not imported."""
        known = self._calls.get(rule.number)
        if known is None:
            from buildflow.recipe.functions import describe_call

            assert rule.recipe is not None
            span = rule.attributes["call"].span or rule.span
            known = self._calls[rule.number] = describe_call(self.reads.root, rule.recipe.text, span=span)
            for name in known.imports.found:
                self.reads.file(name)
            for name in known.imports.absent:
                self.reads.missing(name)
        return known

    def _sources(self, words: Sequence[str]) -> list[str]:
        found: dict[str, None] = {}
        for word in words:
            name = normal(str(word))
            if name.startswith("/") or name.startswith("../") or not self.is_regular(name):
                continue
            found.setdefault(name)
            for module in self._modules(name, bool(getattr(word, "module", False))):
                found.setdefault(module)
        return list(found)

    def is_regular(self, name: str) -> bool:
        """Whether a regular file of the user stands there; an absence is remembered."""
        known = self._regular.get(name)
        if known is None:
            st = self.resolver.disk.stat(name)
            known = st is not None and stat.S_ISREG(st.st_mode) and not self.resolver.disk.ours(name)
            if st is None:
                self.reads.missing(name)
            self._regular[name] = known
        return known

    def _modules(self, script: str, from_root: bool) -> list[str]:
        known = self._imports.get((script, from_root))
        if known is None:
            known = []
            if is_python(self.resolver.disk.path(script)):
                from buildflow.recipe.mentions import script_imports

                found, absent = script_imports(self.reads.root, script, [""] if from_root else None)
                self.reads.file(script)
                for name in found:
                    self.reads.file(name)
                for name in absent:
                    self.reads.missing(name)
                known = list(found)
            self._imports[(script, from_root)] = known
        return known


def is_python(path: str) -> bool:
    """Whether a file is a Python script, by its name or its first line."""
    if path.endswith(".py"):
        return True
    if "." in os.path.basename(path):
        return False
    try:
        with open(path, "rb") as file:
            first = file.readline(200)
    except OSError:
        return False
    return first.startswith(b"#!") and b"python" in first


def _skip(path: str, folder: bool) -> bool:
    name = path.rpartition("/")[2]
    return name == ".bflow" or name.startswith(".bflow-tmp.")


def _folders(parts: Sequence[Part]) -> list[tuple[Part, ...]]:
    """The folders that a pattern goes through, each as the parts up to and with its `/`."""
    found: list[tuple[Part, ...]] = []
    done: list[Part] = []
    for part in parts:
        if isinstance(part, (Glob, Hole)):
            done.append(part)
            continue
        pieces = part.split("/")
        for i, piece in enumerate(pieces):
            last = i == len(pieces) - 1
            text = piece if last else piece + "/"
            if text:
                if done and type(done[-1]) is str:
                    done[-1] = done[-1] + text
                else:
                    done.append(text)
            if not last and any(p != "/" for p in done):
                found.append(tuple(done))
    return found
