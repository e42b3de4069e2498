"""Where outputs may stand: in the project, not in bflow's or git's folder, in nobody's way.

Asked while planning, so before anything runs.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from buildflow.errors import FlowError, Span
from buildflow.plan.matcher import overlap
from buildflow.rule import Rule

if TYPE_CHECKING:
    from buildflow.plan.resolve import Resolver

PROTECTED = (".bflow", ".git")


class Placing:
    """The outputs of one resolver's jobs, and the folders that they need."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.plan = resolver.plan
        self.disk = resolver.disk
        self._parents: dict[str, int] = {}  # a folder that outputs need → the first job that does

    def check(self, path: str, job: int, rule: Rule, span: Span | None) -> None:
        """Raises FlowError where a target may not stand there."""
        bare = path.rstrip("/")
        if path.startswith(("/", "../")) or bare in ("", ".", ".."):
            raise FlowError(
                f"the target {path} lies outside the project" if bare != "." else "the project itself is no target",
                span,
                "targets are written from the project's root, and stand in it; a folder of it may be a link to "
                "elsewhere (out -> /scratch/me/out)",
            )
        first = path.partition("/")[0]
        if first in PROTECTED:
            raise FlowError(f"the target {path} lies in {first}/, which is not for outputs", span)
        if "\0" in path:
            raise FlowError("a target with a NUL byte in its name", span)
        if bare in self._parents:
            inner = self._parents[bare]
            if path != bare and inner == job:
                raise FlowError(f"the target {path} holds another target of its rule", span, "take one of them out")
            raise overlap(self._below(inner, bare), self._span(inner), path, span)
        if path != bare:
            self._against(bare, path, span)
        else:
            self._against(path + "/", path, span)
        parent = bare.rpartition("/")[0]
        if parent and parent not in self._parents:
            self._check_parents(parent, path, job, span)
        st = None if self.resolver.chooser.absent(parent) else self.disk.stat(bare)
        if st is None:
            return
        if path == bare:
            ours = stat.S_ISDIR(st.st_mode) and (self.disk.ours(bare + "/") or self.disk.only_ours(bare + "/"))
            if stat.S_ISDIR(st.st_mode) and not ours:
                raise FlowError(
                    f"the target {path} is a file, and a folder stands there",
                    span,
                    f"move the folder away, or write {path}/ where the rule makes a folder",
                )
        elif not stat.S_ISDIR(st.st_mode) and not self.disk.ours(bare):
            raise FlowError(
                f"the target {path} is a folder, and a file of yours stands there", span, "move the file away"
            )

    def _against(self, other: str, path: str, span: Span | None) -> None:
        """Raises FlowError where one path is planned both as a file and as a folder."""
        f = self.plan.ids.get(other)
        if f is not None and self.plan.maker[f] >= 0 and f not in self.plan.within:
            file, folder = sorted((other, path), key=len)
            raise overlap(file, self._span(self.plan.maker[f]) if file == other else span, folder,
                          span if file == other else self._span(self.plan.maker[f]))  # fmt: skip

    def _check_parents(self, parent: str, path: str, job: int, span: Span | None) -> None:
        chooser = self.resolver.chooser
        while parent and parent not in self._parents:
            self._parents[parent] = job
            f = self.plan.ids.get(parent)
            if f is not None and self.plan.maker[f] >= 0:
                raise overlap(path, span, parent, self._span(self.plan.maker[f]))
            if self.resolver.index.folders:
                folder = chooser.makes_folder(parent + "/")
                if folder is not None and folder.rule is not None:
                    raise overlap(path, span, parent + "/", folder.rule.span)
            self._check_parent(parent, path, span)
            parent = parent.rpartition("/")[0]

    def _check_parent(self, parent: str, path: str, span: Span | None) -> None:
        if self.resolver.chooser.absent(parent):
            if os.path.islink(self.disk.path(parent)):
                raise FlowError(
                    f"{path} needs a folder where the link {parent} stands, which leads nowhere",
                    span,
                    f"make {os.readlink(self.disk.path(parent))}, or remove the link",
                )
            return
        st = self.disk.stat(parent)
        if st is not None and not stat.S_ISDIR(st.st_mode) and not self.disk.ours(parent):
            raise FlowError(
                f"{path} needs a folder where the file {parent} stands",
                span,
                f"move {parent} away, or rename the target",
            )

    def _span(self, job: int) -> Span | None:
        return self.resolver.builder.rules[self.plan.rule[job]].span

    def _below(self, job: int, folder: str) -> str:
        """An output of a job that lies in a folder."""
        names = [self.plan.paths[f] for f in self.plan.outputs[job]]
        rule = self.resolver.builder.rules[self.plan.rule[job]]
        names += [path for _, path in self.resolver.bindings.outputs(rule, self.resolver.bounds[job])]
        return next((name for name in names if name.startswith(folder + "/")), names[0] if names else rule.name)
