"""What is said of a path that nothing makes, or several rules could: the cause, the nearest names, and who asked."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING

from buildflow.errors import FlowError, Span
from buildflow.names import GlobText, Pending, Relation
from buildflow.near import did_you_mean
from buildflow.plan.matcher import Bound, Target
from buildflow.rule import Rule

if TYPE_CHECKING:
    from buildflow.plan.choose import Choice
    from buildflow.plan.resolve import Resolver

_ASKERS = 12  # lines of the chain that asked
_NAMES = 2000  # rules, and targets of each, whose names are compared


class Errors:
    """The errors of one resolver about choosing."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.plan = resolver.plan
        self.disk = resolver.disk

    def no_rule(self, path: str, asker: int | None, span: Span | None, asked: str | None = None) -> FlowError:
        """No rule for a target, and no file. `asker`: the job that wants it; `asked`: an alias that does."""
        if span is None and asker is not None:
            span = self._rule(asker).span
        chain = self.chain(asker, asked)
        st = self.disk.stat(path)
        if st is not None and self.disk.ours(path):
            return FlowError(
                f"{path} was made by an earlier build, and no rule makes it any more, so it is no source",
                span,
                "\n".join(
                    ["write a rule for it, or take the input out", "“bflow clean --stale” removes such files", *chain]
                ),
            )
        if not path:
            return FlowError("an input is an empty name", span, "\n".join(["a name in it has an empty value", *chain]))
        if st is not None and stat.S_ISDIR(st.st_mode):
            return FlowError(f"{path} is a folder", span, "\n".join([f"write {path}/ for what is in it", *chain]))
        lines = self._outside_domains(path)
        if not lines:
            names = self._names(path)
            job = asker
            while job is not None:  # what needs it is not what was meant: that would be a circle
                for f in self.plan.outputs[job]:
                    names.pop(self.plan.paths[f], None)
                above = self.resolver.asked_by.get(job)
                job = above if above != job else None
            hint = did_you_mean(path, names)
            if hint:
                lines.append(hint)
            elif asker is None and asked is None:
                lines.append("“bflow list” shows the rules and what they make")
        what = "there is no such folder" if path.endswith("/") else "there is no such file"
        if os.path.islink(self.disk.path(path.rstrip("/"))):
            what = "it is a link that leads nowhere"
        return FlowError(f"{path}: no rule makes it, and {what}", span, "\n".join(lines + chain))

    def _rule(self, job: int) -> Rule:
        return self.resolver.builder.rules[self.plan.rule[job]]

    def chain(self, asker: int | None, asked: str | None = None) -> list[str]:
        """Who needs it, the nearest first."""
        lines = [f"needed by {asked}"] if asked else []
        while asker is not None:
            if len(lines) == _ASKERS:
                lines.append("…")
                break
            rule = self._rule(asker)
            outputs = self.plan.outputs[asker]
            name = self.plan.paths[outputs[0]] if outputs else rule.name
            lines.append(f"needed by {name} ({rule.span})" if rule.span else f"needed by {name}")
            asker = self.resolver.asked_by.get(asker)
        return lines

    def _outside_domains(self, path: str) -> list[str]:
        """The rules that would make a path, were it not for a value that is outside its name's domain."""
        lines: list[str] = []
        index = self.resolver.index
        for target in index.pattern_targets(path):
            rule = target.rule
            bound = target.pattern.first(path) if rule.makes else None
            if bound is None:
                continue
            for name in target.names:
                if name not in rule.scope.definitions:
                    pattern = rule.scope.patterns.get(name)
                    if pattern is not None and not pattern.fullmatch(bound[name]):
                        lines.append(
                            f"{rule.name} would make it, but {name} = {bound[name]} does not match {pattern.pattern}"
                        )
                    continue
                try:
                    relation = rule.scope.value(name)
                except (Pending, FlowError):
                    continue
                values: list[str] = []
                if isinstance(relation, Relation):  # in the order of the Flowfile
                    place = relation.place[name]
                    values = list(dict.fromkeys(v for row in relation.rows for v in row[place]))
                if bound[name] not in values:
                    shown = " ".join(values[:8]) + (" …" if len(values) > 8 else "")
                    near = did_you_mean(bound[name], values)
                    lines.append(
                        f"{rule.name} would make it, but {bound[name]} is no value of {name} ({shown or 'it has none'})"
                        + (f"; {near}" if near else "")
                    )
        return lines

    def _names(self, path: str) -> dict[str, None]:
        """The names that a path may be misspelt for: targets, and the files beside it."""
        resolver = self.resolver
        names = dict.fromkeys(resolver.index.exact)
        for rule in resolver.builder.rules[:_NAMES]:
            try:
                finite = resolver.finite.of(rule)
            except (Pending, FlowError):
                continue
            names.update(dict.fromkeys(finite[:_NAMES] if finite else ()))
        folder = path.rstrip("/").rpartition("/")[0]
        try:
            with os.scandir(self.disk.path(folder or ".")) as scan:
                for _, entry in zip(range(5000), scan):
                    name = f"{folder}/{entry.name}" if folder else entry.name
                    names.setdefault(name + "/" if entry.is_dir() else name)
        except OSError:
            pass
        return names

    def alias_of_a_file(self, path: str, choice: Choice, owner: Rule, span: Span | None) -> FlowError:
        """An input that is a file of the user's, and an alias: as Make's users write that one file includes another."""
        rule = choice.adds[0][0]
        inputs = " ".join(word.text for word in rule.inputs) or "nothing"
        return FlowError(
            f"{path} is a file of yours, and an alias of {inputs} ({rule.span}), which {owner.name} would read instead",
            span,
            f"where {owner.name} reads {inputs} too, write “{owner.targets[0].text}: {inputs}”; else rename the alias",
        )

    def several_can(self, path: str, targets: Sequence[Target], asker: int | None) -> FlowError:
        """More than one rule can make a path."""
        lines = [self._shown(target) for target in targets]
        return FlowError(
            f"{len(targets)} rules can make {path}",
            targets[0].rule.span,
            "\n".join(
                [
                    *lines,
                    "give a wildcard a narrower domain, or write a rule for this very name",
                    *self.chain(asker),
                ]
            ),
        )

    @staticmethod
    def _shown(target: Target) -> str:
        rule = target.rule
        text = f"{' '.join(w.text for w in rule.targets)}: {' '.join(w.text for w in rule.inputs)}".rstrip()
        return f"{rule.span}: {text}" if rule.span else text

    def none_can(self, path: str, candidates: Sequence[tuple[Target, list[Bound]]], asker: int | None) -> FlowError:
        """Several rules could make a path, and none of them has its inputs."""
        lines = []
        chooser, bindings = self.resolver.chooser, self.resolver.bindings
        for target, bounds in candidates:
            rule = target.rule
            missing: list[str] = []
            try:
                for _, text in bindings.inputs(rule, bounds[0]):
                    if isinstance(text, GlobText):
                        if not self.resolver.finite.glob(text, rule):
                            missing.append(f"a match of {text}")
                        continue
                    name = bindings.project_path(text)
                    if not chooser.can_make(name, path, asker):
                        missing.append(name)
            except FlowError as error:
                missing.append(error.message)
            if not missing:
                lines.append(f"{rule.span}: {rule.name} would make it by way of itself".removeprefix("None: "))
                continue
            lines.append(f"{rule.span}: {rule.name} would need {', '.join(missing[:5])}".removeprefix("None: "))
        span = self._rule(asker).span if asker is not None else None
        return FlowError(
            f"{path}: several rules could make it, and none has its inputs",
            span,
            "\n".join([*dict.fromkeys(lines), *self.chain(asker)]),
        )
