"""What a job reads: its rule's words and those that aliases add, globs, aliases as their files, order-only inputs, and
the files that its recipe names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from buildflow.errors import FlowError, Span
from buildflow.names import GlobText, Pending
from buildflow.plan.matcher import Bound
from buildflow.rule import Rule
from buildflow.template import Word

if TYPE_CHECKING:
    from buildflow.plan.resolve import Resolver


MANY = 16
"""Texts of one word above which it is asked whether they are the same for all jobs."""


class _Found:
    """What was found of one job's inputs: file numbers in order, each once."""

    __slots__ = ("rule", "own", "inputs", "hidden", "after", "needs", "labels")

    def __init__(self, rule: Rule, own: set[str]) -> None:
        self.rule = rule
        self.own = own
        self.inputs: dict[int, None] = {}
        self.hidden: dict[int, None] = {}  # `_=`
        self.after: dict[int, None] = {}
        self.needs: dict[int, None] = {}
        self.labels: dict[str, dict[int, None]] = {}


class Inputs:
    """Works out the inputs of one resolver's jobs."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self.plan = resolver.plan
        self.bindings = resolver.bindings
        self._shared: dict[int, tuple[Sequence[str], dict[int, None], frozenset[str]]] = {}  # by the tuple's identity

    def fill(self, job: int) -> None:
        """Enter the inputs of a job into the plan, and want them. Pending: where a name cannot be evaluated yet."""
        plan, bindings = self.plan, self.bindings
        rule = self.resolver.builder.rules[plan.rule[job]]
        bound = self.resolver.bounds[job]
        found = _Found(rule, {plan.paths[f] for f in plan.outputs[job]})
        for word, texts in bindings.groups_before(rule, bound):
            self._take_all(found, job, word, texts, found.inputs, rule)
        for word, texts in bindings.groups_after(rule, bound):
            self._take_all(found, job, word, texts, found.after, rule)
        own = found.own or self.resolver.outputs_of(rule, bound)  # a phony job has no outputs, but targets
        if self.resolver.index.alias_patterns or not self.resolver.index.aliases.isdisjoint(own):
            for other, other_bound in self._added(own):
                for word, text in bindings.before(other, other_bound):
                    self._take(found, job, word, text, found.inputs, other)
                for word, text in bindings.after(other, other_bound):
                    self._take(found, job, word, text, found.after, other)
        inputs = found.inputs
        plan.inputs[job] = tuple(inputs)
        plan.after[job] = tuple([f for f in found.after if f not in inputs]) if found.after else ()
        plan.needs[job] = tuple(found.needs)
        known = plan.inputs[job] + plan.after[job]
        if found.labels:
            place = {f: i for i, f in enumerate(known)}
            plan.labels[job] = tuple((label, tuple([place[f] for f in files])) for label, files in found.labels.items())
        if rule.recipe is not None:
            self.resolver.world.evaluate_names(rule, bound)
        hidden = found.hidden
        for f in (*known, *hidden):
            self.resolver.want(f, job)
        if rule.recipe is not None and not rule.phony and not rule.inplace:
            for name in self.resolver.world.mentioned(rule, job, bound):
                f = plan.file(name)
                if f not in inputs and f not in found.after and name not in found.own and self._plain_source(name):
                    hidden.setdefault(f)
        plan.extra[job] = tuple([f for f in hidden if f not in inputs]) if hidden else ()

    def _added(self, targets: Iterable[str]) -> list[tuple[Rule, Bound]]:
        """The rules without a recipe that add their inputs to a job, since they have one of its targets."""
        found: dict[tuple[int, tuple[tuple[str, str], ...]], tuple[Rule, Bound]] = {}
        for path in targets:
            for other, values in self.resolver.index.aliases_of(path):
                found.setdefault((other.number, tuple(values.items())), (other, values))
        return sorted(found.values(), key=lambda one: one[0].number)

    def _take_all(
        self, found: _Found, job: int, word: Word, texts: Sequence[str], side: dict[int, None], owner: Rule
    ) -> None:
        """All texts of an input word. Many that are the same for all jobs of a rule (a program's headers) are looked at
        once, as long as each is the name of one file."""
        if len(texts) < MANY:
            for text in texts:
                self._take(found, job, word, text, side, owner)
            return
        known = self._shared.get(id(texts))
        if known is None or known[0] is not texts:
            count = len(side)
            for text in texts:
                self._take(found, job, word, text, side, owner)
            files = [self.plan.ids.get(self.bindings.project_path(str(text)), -1) for text in texts]
            plain = not any(isinstance(text, GlobText) for text in texts) and word.label != "_"
            if plain and -1 not in files and len(side) == count + len(files) and self._are_files(files):
                self._shared[id(texts)] = (texts, dict.fromkeys(files), frozenset(self.plan.paths[f] for f in files))
            return
        _, numbers, paths = known
        if not paths.isdisjoint(found.own):
            for text in texts:
                self._take(found, job, word, text, side, owner)
            return
        side.update(numbers)
        if word.label:
            found.labels.setdefault(word.label, {}).update(numbers)

    def _are_files(self, files: Sequence[int]) -> bool:
        """Whether each is a source or what a rule makes, and no name for something else."""
        choices, paths = self.resolver.chooser.choices, self.plan.paths
        return all((choice := choices.get(paths[f])) is not None and choice.kind in ("rule", "source") for f in files)

    def _take(self, found: _Found, job: int, word: Word, text: str, side: dict[int, None], owner: Rule) -> None:
        """One text of an input word into what was found of a job."""
        plan, rule = self.plan, found.rule
        order_only = side is found.after
        files: Sequence[int]
        if isinstance(text, GlobText):
            files = [plan.file(name) for name in self.glob(text, word.span or owner.span, rule)]
        else:
            path = self.bindings.project_path(text)
            if path in found.own:
                raise FlowError(
                    f"a cycle: {path} needs itself", word.span or owner.span, "a file cannot be its own input"
                )
            files, after, phony = self._input(path, job, word, owner)
            if phony and not (order_only or rule.phony):
                raise FlowError(
                    f"{path} is phony, and makes no file that {rule.name} could read",
                    word.span or owner.span,
                    "put it after a “|” where it only has to go first",
                )
            for other in phony:
                found.needs.setdefault(other)
            for f in after:
                found.after.setdefault(f)
        chosen = found.hidden if word.label == "_" and not order_only else side
        for f in files:
            chosen.setdefault(f)
        if word.label and word.label != "_":
            found.labels.setdefault(word.label, {}).update(dict.fromkeys(files))

    def _plain_source(self, path: str) -> bool:
        """Whether no rule makes a file that stands there: only then does a word of a recipe make it an input."""
        try:
            return self.resolver.choose(path).kind == "source"
        except (FlowError, Pending):
            return False

    def _input(
        self, path: str, job: int, word: Word, owner: Rule
    ) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
        """The files that one input name stands for (an alias: its files), order-only ones, and the phony jobs."""
        plan = self.plan
        choice = self.resolver.chooser.choices.get(path)
        if choice is None:
            choice = self.resolver.choose(path, job)
        kind = choice.kind
        if kind == "rule":
            return (plan.file(path),), (), ()
        if kind == "source":
            unfit = self.resolver.chooser.unfit(path)
            if unfit is not None:
                raise FlowError(unfit, word.span or owner.span, "\n".join(self.resolver.errors.chain(job)))
            return (plan.file(path),), (), ()
        if kind == "alias":
            if self.resolver.chooser.is_source(path):
                raise self.resolver.errors.alias_of_a_file(path, choice, owner, word.span or owner.span)
            return self.resolver.aliases.of(path, job)
        if kind == "phony":
            return (), (), (self.resolver.job_of(choice, path, job),)
        f = plan.file(path)
        if kind == "folder":
            self.resolver.folders.take(f, job, word.span or owner.span)
        elif kind == "member" and any(plan.paths[o] == choice.folder for o in plan.outputs[job]):
            raise FlowError(
                f"a cycle: {choice.folder} needs {path}, which is made with it",
                word.span or owner.span,
                "keep what a rule reads out of the folder that it makes",
            )
        elif kind == "member" and path.endswith("/"):
            raise FlowError(
                f"{path} is a part of {choice.folder}, which a rule makes as a whole",
                word.span or owner.span,
                f"take {choice.folder} itself, or the files in it: {path}**",
            )
        elif kind == "none":
            raise self.resolver.errors.no_rule(path, job, word.span or owner.span)
        return (f,), (), ()

    def glob(self, text: GlobText, span: Span | None, rule: Rule) -> list[str]:
        """The files of a glob in an input. FlowError where there are none."""
        names = self.resolver.finite.glob(text, rule)
        if not names:
            raise FlowError(
                f"{text} matches nothing",
                span,
                "a glob in an input must match a file; for a list that may be empty use “files = glob(…)”",
            )
        return names
