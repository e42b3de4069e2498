"""Which rule makes a path: exact before pattern, the project's before a library's, the one whose inputs can be had.

A choice is made once for each path and stays. Nothing is planned here: jobs and their inputs are the resolver's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from buildflow.errors import FlowError
from buildflow.plan.matcher import Bound, Target, maker, overlap
from buildflow.plan.question import Proven, Question
from buildflow.rule import Rule

if TYPE_CHECKING:
    from buildflow.plan.resolve import Resolver


class Choice:
    """What a path is: made by a `rule` under `bound`, `phony`, an `alias` of others (`adds`), a `member` of a made
    folder, a `source`, a `folder` of sources and targets, or `none`."""

    __slots__ = ("kind", "rule", "bound", "adds", "folder")

    def __init__(
        self,
        kind: str,
        rule: Rule | None = None,
        bound: Bound | None = None,
        adds: Sequence[tuple[Rule, Bound]] = (),
        folder: str = "",
    ) -> None:
        self.kind = kind
        self.rule = rule
        self.bound = bound or {}
        self.adds = tuple(adds)
        self.folder = folder


def _made(rule: Rule, bound: Bound) -> Choice:
    return Choice("phony" if rule.phony else "rule", rule, bound)


class Chooser:
    """The choices of one resolver."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.index = resolver.index
        self.bindings = resolver.bindings
        self.finite = resolver.finite
        self.disk = resolver.disk
        self.choices: dict[str, Choice] = {}
        self.proven = Proven()
        self._modes: dict[str, int] = {}
        self._folders: dict[str, Choice | None] = {}
        self._absent: dict[str, bool] = {}
        self._settled: set[int] = set()

    def forget(self) -> None:
        self.choices.clear()
        self._folders.clear()
        self.proven = Proven()

    def choose(self, path: str, asker: int | None = None) -> Choice:
        """What makes a path. `asker`: the job that wants it; what led to that job is not needed to make the path.

        FlowError where several rules can make it, or targets overlap.
        """
        found = self.choices.get(path)
        if found is None:
            found = self._choose(path, asker)
            if not self.resolver.world.cut:
                self.choices[path] = found
        return found

    def _choose(self, path: str, asker: int | None) -> Choice:
        index = self.index
        exact = maker(index.exact_targets(path))
        if exact is not None:
            return _made(exact, {})
        candidates: list[tuple[Target, list[Bound]]] = []
        for target in index.pattern_targets(path):
            if target.rule.makes:
                bounds = list(index.bindings(target, path))
                if bounds:
                    candidates.append((target, bounds))
        adds = index.aliases_of(path)
        if index.folders:
            folder = self.folder_of(path, asker)
            if folder is not None:
                self._no_overlap(path, folder, candidates, adds, asker)
                return Choice("member", folder=folder)
        source = self.is_source(path)
        if candidates:
            chosen = self._among(path, candidates, asker, sure=not source and not adds)
            if chosen is not None:
                return _made(*chosen)
        likely = [c for c in candidates if not c[0].rule.library] or candidates
        if adds:
            # A catch-all that cannot make it is no reason; a rule for names like this is: it would be passed over.
            like = next((c for c in likely if c[0].pattern.suffix), None)
            return Choice("alias", adds=adds) if like is None else _made(like[0].rule, like[1][0])
        if source:
            return Choice("folder" if path.endswith("/") else "source")
        if path.endswith("/") and self.finite.below(path):
            return Choice("folder")
        if likely and not all(self._below_itself(c[0].rule, path, asker) for c in likely):
            # Nothing can make it: the first that would says what it lacks.
            if len({c[0].rule.number for c in likely}) == 1:
                return _made(likely[0][0].rule, likely[0][1][0])
            raise self.resolver.errors.none_can(path, likely, asker)
        return Choice("none")

    def _among(
        self, path: str, candidates: list[tuple[Target, list[Bound]]], asker: int | None, *, sure: bool
    ) -> tuple[Rule, Bound] | None:
        """The one pattern whose inputs exist or can be made. Raises FlowError where several can.

        sure: nothing else could make the path, so that a single candidate needs no question.
        """
        first, bounds = candidates[0]
        if sure and len(candidates) == 1 and len(bounds) == 1 and not self._below_itself(first.rule, path, asker):
            return first.rule, bounds[0]
        for library in (False, True):
            able = list(self._able(path, [c for c in candidates if c[0].rule.library is library], asker))
            if len(able) > 1:
                raise self.resolver.errors.several_can(path, [target for target, _ in able], asker)
            if able:
                return able[0][0].rule, able[0][1]
        return None

    def _able(
        self, path: str, candidates: list[tuple[Target, list[Bound]]], asker: int | None, avoid: str = ""
    ) -> Iterator[tuple[Target, Bound]]:
        """The candidates whose inputs exist or can be made, each rule once, with the first binding that does it."""
        seen: set[int] = set()
        question = Question(self, path, asker, avoid)
        for target, bounds in candidates:
            if target.rule.number not in seen:
                for bound in bounds:
                    if question.answer(target.rule, bound):
                        seen.add(target.rule.number)
                        yield target, bound
                        break

    def _below_itself(self, rule: Rule, path: str, asker: int | None) -> bool:
        """Whether a job of the same rule led to a path that is longer (`{x}: {x}.gz`): there might be no end to it.

        Names with values come to an end; and a function of the wildcards is believed to.
        """
        if rule.input_function is not None:
            return False
        if all(name in rule.scope.definitions for name in self.bindings.wildcards(rule)):
            return False
        plan = self.resolver.plan
        while asker is not None:
            if plan.rule[asker] == rule.number:
                above = [len(plan.paths[f]) for f in plan.outputs[asker]]
                return not above or len(path) > min(above)
            asker = self.resolver.asked_by.get(asker)
        return False

    def inputs_can(self, rule: Rule, bound: Bound, path: str) -> bool:
        """Whether the inputs with which a rule would make a path exist or can be made."""
        return Question(self, path).answer(rule, bound)

    def can_make(self, name: str, path: str, asker: int | None) -> bool:
        """Whether an input of a path exists or can be made."""
        return Question(self, path, asker).can(name)

    # ---- made folders ------------------------------------------------------------------------------------------

    def folder_of(self, path: str, asker: int | None) -> str | None:
        """The made folder that a path lies in."""
        end = path.find("/")
        while 0 <= end < len(path) - 1:
            folder = path[: end + 1]
            if self.makes_folder(folder, asker) is not None:
                return folder
            end = path.find("/", end + 1)
        return None

    def makes_folder(self, folder: str, asker: int | None = None) -> Choice | None:
        """What makes a folder, where a rule does; a pattern only if its inputs can be had."""
        if folder in self._folders:
            return self._folders[folder]
        found: Choice | None = None
        self._folders[folder] = None  # while it is asked
        exact = maker(self.index.exact_targets(folder))
        if exact is not None:
            found = _made(exact, {})
        else:
            candidates = [
                (target, list(self.index.bindings(target, folder)))
                for target in self.index.pattern_targets(folder)
                if target.rule.makes
            ]
            candidates = [c for c in candidates if c[1]]
            chosen = self._among(folder, candidates, asker, sure=False) if candidates else None
            if chosen is not None:
                found = _made(*chosen)
        if found is not None and found.kind != "rule":
            found = None
        if self.resolver.world.cut:
            del self._folders[folder]
        else:
            self._folders[folder] = found
        return found

    def _no_overlap(
        self,
        path: str,
        folder: str,
        candidates: list[tuple[Target, list[Bound]]],
        adds: Sequence[tuple[Rule, Bound]],
        asker: int | None,
    ) -> None:
        """Raises FlowError where a file in a made folder has another rule. A catch-all that cannot make it is none."""
        by = self.makes_folder(folder, asker)
        assert by is not None and by.rule is not None
        other = next((target.rule for target, _ in self._able(path, candidates, asker, folder)), None)
        if other is not None and other is not by.rule:
            raise overlap(path, other.span, folder, by.rule.span)
        if adds:
            raise FlowError(
                f"{path} lies in {folder}, which {by.rule.name} makes: it cannot have inputs of its own",
                adds[0][0].span,
                f"write “{folder}: …”",
            )

    # ---- what is there -----------------------------------------------------------------------------------------

    def mode(self, path: str) -> int:
        """The mode of what the user has there; 0: nothing, or a file that bflow wrote and that is unchanged."""
        found = self._modes.get(path)
        if found is None:
            st = None if self.absent(path.rstrip("/").rpartition("/")[0]) else self.disk.stat(path)
            if st is None:
                self.resolver.reads.missing(path)
                found = 0
            else:
                found = 0 if self.disk.ours(path) else st.st_mode
            self._modes[path] = found
        return found

    def absent(self, folder: str) -> bool:
        """Whether a folder is not there, and so nothing in it is."""
        found = self._absent.get(folder)
        if found is None:
            found = self._absent[folder] = bool(folder) and self.disk.stat(folder) is None
        return found

    def is_source(self, path: str) -> bool:
        """Whether the user's own file (a folder, where the path ends in `/`) stands there."""
        mode = self.mode(path)
        return mode != 0 and stat.S_ISDIR(mode) == path.endswith("/")

    def unfit(self, path: str) -> str | None:
        """Why a source cannot be an input, where it cannot."""
        mode = self._modes.get(path, 0)
        if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or path == "/dev/null":
            # Most files are readable by everyone, and need no question.
            if mode & 0o444 == 0o444 or os.access(self.disk.path(path), os.R_OK):
                return None
            return f"{path} cannot be read: permission denied"
        return f"{path} is no plain file or folder" if mode else None

    # ---- what is planned ---------------------------------------------------------------------------------------

    def planned(self, path: str) -> int | None:
        """The job that makes a path, where it is planned."""
        plan = self.resolver.plan
        f = plan.ids.get(path)
        return None if f is None or plan.maker[f] < 0 else plan.maker[f]

    def job(self, number: int) -> tuple[Rule, Bound]:
        return self.resolver.builder.rules[self.resolver.plan.rule[number]], self.resolver.bounds[number]

    def ancestors(self, job: int | None) -> Iterator[int]:
        """A job, and those that led to it."""
        seen: set[int] = set()
        while job is not None and job not in seen:
            seen.add(job)
            yield job
            job = self.resolver.asked_by.get(job)

    def settled(self, job: int) -> bool:
        """Whether all that a job needs, at any depth, is planned."""
        resolver = self.resolver
        plan, settled, choices = resolver.plan, self._settled, self.choices
        stack, seen = [job], {job}
        while stack:
            one = stack.pop()
            if one in settled:
                continue
            if one in resolver.unfilled or one in resolver.deferred:
                return False
            needed = list(plan.needs[one])
            for f in plan.inputs[one] + plan.after[one] + plan.extra[one]:
                made = plan.maker[f]
                if made >= 0:
                    needed.append(made)
                    continue
                choice = choices.get(plan.paths[f])
                if choice is None or choice.kind != "source":
                    return False
            for other in needed:
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        settled |= seen
        return True
