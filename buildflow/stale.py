"""What bflow wrote into the workspace, which of it no rule makes any more, and taking it away.

A file that was edited since is the user's, and is never taken away. The state says what bflow wrote; the rules, as they
are today, say what is made.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from buildflow.disk import Disk
from buildflow.errors import FlowError
from buildflow.globbing import PathPattern
from buildflow.plan.matcher import Bound, in_domains, targets_of
from buildflow.state import TREE, WRITTEN, FileRecord
from buildflow.template import Hole, Part

if TYPE_CHECKING:
    from buildflow.dry import Settled
    from buildflow.rule import Rule
    from buildflow.state import State

LOG_KEY = b"log"
"""Stands in a file's record for the key where a rule's `log = …` wrote it."""


class Written(NamedTuple):
    """What stands in the workspace and was written by bflow; a folder's name ends in `/`. `edited`: it was changed
    since, or (a folder) something in it was."""

    name: str
    edited: bool


def made(state: State) -> list[str]:
    """The names of all that bflow wrote, whether it is still there or not."""
    return [name for name, data in state.files.items() if FileRecord.unpack(data).flags & WRITTEN]


def written(disk: Disk) -> list[Written]:
    """Everything that bflow wrote and that is still there, sorted."""
    found = []
    for name, data in sorted(disk.state.files.items(), key=lambda item: os.fsencode(item[0])):
        record = FileRecord.unpack(data)
        if not record.flags & WRITTEN or bool(record.flags & TREE) != name.endswith("/"):
            continue
        try:
            mode = os.lstat(disk.path(name.rstrip("/"))).st_mode
        except OSError:
            continue
        if stat.S_ISDIR(mode) != name.endswith("/") and not stat.S_ISLNK(mode):
            continue
        found.append(Written(name, not disk.ours(name)))
    return found


# ---- what no rule makes any more -------------------------------------------------------------------------------


class Rules:
    """Whether the rules of today make a file. What hangs on a file that is not up to date counts as made."""

    def __init__(self, settled: Settled) -> None:
        self.settled = settled
        self.resolver = settled.resolver
        self._known: dict[str, bool] = {}
        self._logs: list[tuple[Rule, PathPattern, tuple[str, ...]]] | None = None

    def make(self, name: str) -> bool:
        """Whether a rule makes a file, or the made folder that it lies in."""
        known = self._known.get(name)
        if known is None:
            known = self._known[name] = self._asked(lambda: self._by_rule(name)) or self._in_folder(name)
        return known

    def _asked(self, question: Callable[[], bool]) -> bool:
        try:
            answer = self.settled.ask(question)
        except FlowError:
            return True  # several rules that make it, or a name that has no value now: nothing is sure
        return answer is not False

    def _by_rule(self, name: str) -> bool:
        index = self.resolver.index
        if any(target.rule.makes and not target.rule.phony for target in index.exact_targets(name)):
            return True
        for target in index.pattern_targets(name):
            if not target.rule.makes or target.rule.phony:
                continue
            for bound in index.bindings(target, name):
                if self._could(target.rule, bound, name):
                    return True
        return False

    def _could(self, rule: Rule, bound: Bound, name: str) -> bool:
        """Whether a rule makes a file under a binding: one of its finite targets, or one whose inputs can be had."""
        if all(wildcard in rule.scope.definitions for wildcard in bound):
            return True
        self.resolver.bindings.inputs(rule, bound)  # what cannot be evaluated is an error, and not a missing input
        return self.resolver.chooser.inputs_can(rule, bound, name)

    def _in_folder(self, name: str) -> bool:
        end = name.find("/")
        while 0 <= end < len(name) - 1:
            if self.resolver.index.folders and self.make(name[: end + 1]):
                return True
            end = name.find("/", end + 1)
        return False

    def log(self, name: str) -> bool:
        """Whether a rule's `log = …` can name a file."""
        if self._logs is None:
            self._logs = [row for rule in self.resolver.builder.rules for row in _log_patterns(rule)]
        return any(self._asked(lambda row=row: _matches(row, name)) for row in self._logs)  # type: ignore[misc]


def _log_patterns(rule: Rule) -> Iterator[tuple[Rule, PathPattern, tuple[str, ...]]]:
    """The patterns of a rule's log, and the names in each that have a domain; all else there may be any text."""
    attribute = rule.attributes.get("log")
    if attribute is None:
        return
    known = {name for target in targets_of(rule) for name in target.names} | set(rule.scope.definitions)
    for word in attribute.words:
        for flat in rule.scope.flatten_static(word.parts):
            parts: list[Part] = []
            for number, part in enumerate(flat):
                if isinstance(part, str):
                    parts.append(str(part))
                elif isinstance(part, Hole) and part.attr is None and part.index is None and part.name in known:
                    parts.append(Hole(part.name))
                else:
                    parts.append(Hole(f"_any{number}"))
            names = dict.fromkeys(part.name for part in parts if isinstance(part, Hole))
            yield rule, PathPattern(parts, slashes=frozenset(names)), tuple(n for n in names if n in known)


def _matches(row: tuple[Rule, PathPattern, tuple[str, ...]], name: str) -> bool:
    rule, pattern, names = row
    return any(in_domains(rule.scope, names, bound) for bound in pattern.match(name))


def stale(disk: Disk, settled: Settled) -> list[Written]:
    """What bflow wrote, unchanged, and that no rule makes any more; of a folder, what is unchanged in it."""
    rules = Rules(settled)
    found = []
    for one in written(disk):
        record = disk.record(one.name)
        made = rules.log(one.name) or rules.make(one.name) if record and record.key == LOG_KEY else rules.make(one.name)
        if not made and (not one.edited or one.name.endswith("/")):
            found.append(one)
    return found


# ---- taking away -----------------------------------------------------------------------------------------------


class Remover:
    """Removes files that bflow wrote. `keep(name)`: files that are not to be touched whatever stands in a folder.

    dry: only say what would go. `removed` and `kept` (edited ones) have the names.
    """

    def __init__(self, disk: Disk, *, dry: bool = False, keep: Callable[[str], bool] = lambda name: False) -> None:
        self.disk = disk
        self.dry = dry
        self.keep = keep
        self.removed: list[str] = []
        self.kept: list[str] = []
        self._emptied: set[str] = set()

    def remove(self, items: Iterable[Written]) -> None:
        """Remove all that is unchanged of these, and the folders that are empty then."""
        for one in items:
            if one.name.endswith("/"):
                self._folder(one.name)
            elif one.edited:
                self.kept.append(one.name)
            else:
                self._file(one.name)
        if not self.dry:
            for folder in sorted(self._emptied, key=len, reverse=True):
                self._remove_empty(folder)

    def _file(self, name: str) -> None:
        path = self.disk.path(name)
        if not self.dry:
            try:
                os.unlink(path)
            except FileNotFoundError:
                return
            except OSError as error:
                raise FlowError(f"cannot remove {name}: {error.strerror}") from None
        self.removed.append(name)
        self._emptied.add(os.path.dirname(name))

    def _folder(self, name: str) -> None:
        """A made folder: what bflow placed in it and is as it was placed."""
        listing = self.disk.state.trees.get(name) or ()
        known = {row[0]: (row[1], tuple(row[2])) for row in listing}
        root = self.disk.path(name).rstrip("/")
        gone: list[str] = []
        kept: list[str] = []
        for folder, folders, files in os.walk(root, topdown=False):
            below = folder[len(root) + 1 :]
            for inner in [*files, *(n for n in folders if os.path.islink(f"{folder}/{n}"))]:
                member = f"{below}/{inner}" if below else inner
                if self.keep(name + member):
                    kept.append("")
                elif not self._unchanged(f"{folder}/{inner}", known.get(member)):
                    kept.append(name + member)
                else:
                    gone.append(name + member)
                    if not self.dry:
                        os.unlink(f"{folder}/{inner}")
            if below in known or not below:
                self._emptied.add((name + below).rstrip("/"))
        self.removed.extend(sorted(gone) if kept else [name])
        self.kept.extend(sorted(filter(None, kept)))

    @staticmethod
    def _unchanged(path: str, known: tuple[str, tuple[int, ...]] | None) -> bool:
        """Whether a member of a made folder is as it was placed. Its ctime may move: hard links elsewhere do that."""
        if known is None:
            return False
        from buildflow.digest import signature

        now = signature(os.lstat(path))
        return now[:3] == known[1][:3] and now[4] == known[1][4]

    def _remove_empty(self, folder: str) -> None:
        """Remove a folder that is empty now, and those above it that are so then; never the root."""
        while folder:
            try:
                os.rmdir(self.disk.path(folder))
            except OSError:
                return
            folder = os.path.dirname(folder)
