"""From targets to jobs: which rule makes each path, with which inputs, down to the sources.

The resolver appends to a `Plan`. It looks at the disk and at the state, but makes nothing. Where a name can only be
evaluated once a file is made (a dynamic domain), it leaves the job open, wants that file first, and goes on with
`resume` when the loop has it.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from buildflow.builder import Builder
from buildflow.disk import Disk
from buildflow.errors import FlowError, Span
from buildflow.names import Circular, Definition, Flat, GlobText, Relation, Scope
from buildflow.near import did_you_mean
from buildflow.plan.matcher import Bound, RuleIndex, Target, normal
from buildflow.plan.plan import Plan
from buildflow.plan.world import Pending, PlanWorld
from buildflow.rule import Rule, word_list
from buildflow.template import Hole, Word, parse_word

PROTECTED = (".bflow", ".git")


class Choice:
    """What a path is: made by a `rule` under `bound`, an `alias` of others, a `member` of a made folder, a `source`,
    a `folder` of sources, or `none`."""

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


class _Inputs:
    """The input words of a rule, flattened once. `simple`: parts that only bound names fill."""

    __slots__ = ("words",)

    def __init__(self, rule: Rule, words: Sequence[Word], names: frozenset[str]) -> None:
        self.words: list[tuple[Word, tuple[Any, ...] | None, list[Flat] | None]] = []
        for word in words:
            flats = rule.scope.flatten(word.parts)
            simple = None
            if len(flats) == 1 and all(
                type(p) is str or (isinstance(p, Hole) and p.name in names and p.attr is None and p.index is None)
                for p in flats[0]
            ):
                simple = flats[0]
            self.words.append((word, simple, None if simple is not None else flats))


class Resolver:
    """Resolves goals of one builder into one plan."""

    def __init__(self, builder: Builder, disk: Disk, plan: Plan | None = None) -> None:
        self.builder = builder
        self.disk = disk
        self.reads = builder.reads
        self.plan = plan or Plan()
        self.empty: dict[Definition, str] = {}  # domains that came out empty, and what is said of them
        self.world = PlanWorld(self)
        for scope in builder.scopes:
            scope.reset(self.world)
        self.index = RuleIndex(builder.rules)
        self.jobs: dict[tuple[int, tuple[str, ...]], int] = {}
        self.bounds: dict[int, Bound] = {}
        self.choices: dict[str, Choice] = {}
        self.finished: set[str] = set()  # made paths that functions may read
        self.deferred: dict[int, tuple[str, ...]] = {}  # job → the paths that it waits for before its inputs are known
        self.open_goals: list[tuple[str, str, tuple[str, ...]]] = []
        self.asking = 0  # the number of the question that `goal` answers now
        self.answers: list[int] = []  # for each of the plan's goals: the question that it belongs to
        self._open_questions: dict[str, int] = {}
        self.asked_by: dict[int, int] = {}
        self._inputs: dict[int, tuple[_Inputs, _Inputs, frozenset[str]]] = {}
        self._wildcard_names: dict[int, tuple[str, ...]] = {}
        self._asker: dict[int, int] = {}  # file → the job that first wanted it
        self._wanted: list[int] = []
        self._seen: set[int] = set()
        self._exists: dict[str, bool] = {}
        self._can: dict[str, bool] = {}
        self._tainted = False
        self._parents: dict[str, int] = {}
        self._checked_parents: set[str] = set()
        self._aliases: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        self._alias_chain: list[str] = []
        self._globs: dict[str, list[str]] = {}
        self._finite: dict[int, list[str] | None] = {}
        self._finite_busy: set[int] = set()
        self._mentions: dict[int, tuple[str, ...]] = {}
        self._imports: dict[str, list[str]] = {}
        self._run_commands()
        self._settle_targets()

    def _run_commands(self) -> None:
        """Functions without free names run in written order: those with an effect that can be seen are commands."""
        found = {
            definition: scope
            for scope in self.builder.scopes
            for definition in scope.definitions.values()
            if any(getattr(term, "function", "") == "shell" for term in definition.terms)
        }
        for definition in sorted(found, key=lambda d: d.number):
            try:
                found[definition]._evaluate(definition)
            except Pending:
                continue  # its command holds what a rule makes

    def _settle_targets(self) -> None:
        """A name of one value is text in a target: for one that a function gives this shows only now."""
        rules = self.builder.rules
        fresh = False
        for scope, name in dict.fromkeys((r.scope, n) for r in rules for t in self.index.of_rule[r.number] for n in t.names):
            if name not in scope.definitions:
                continue
            try:
                value = scope.value(name)
            except (Pending, FlowError):
                continue  # said where the target is asked for
            fresh = fresh or isinstance(value, Relation) and value.single(name) is not None
        if fresh:
            self.index = RuleIndex(rules)
            for known in (self.choices, self._can, self._finite, self._globs):
                known.clear()
        for rule in rules:
            targets = self.index.of_rule[rule.number]
            if not rule.makes or rule.phony or all(set(t.names) == set(targets[0].names) for t in targets):
                continue
            for name in self.wildcards_of(rule):
                lacking = next((t for t in targets if name not in t.names), None)
                if lacking is not None:
                    word = rule.targets[lacking.word]
                    raise FlowError(
                        f"the target {word.text} does not use {{{name}}}, which another target of the rule does",
                        word.span or rule.span,
                        "all targets of a rule use the same wildcards",
                    )

    # ---- goals -------------------------------------------------------------------------------------------------

    def goal(self, text: str, span: Span | None = None, bound: Bound = {}) -> None:
        """Ask for a target: an alias or phony, a path, or a pattern with finite domains (paths from the root).

        `bound`: values for some of the pattern's names.
        """
        if "{" in text and not self.index.exact_targets(normal(text)):
            word = parse_word(text, span)
            if word.names:
                for path in self._goal_paths(text, word, bound):
                    self._goal(path)
                return
        self._goal(normal(text))

    def default_goal(self) -> None:
        """What is built where nothing is asked for."""
        rule = self.builder.default_rule()
        for target in self.index.of_rule[rule.number]:
            if target.exact is not None:
                self._goal(normal(target.exact))
                continue
            if rule.scope.library is None or target.names:
                for path in self._expand_goal(rule.scope, target.parts, rule.span):
                    self._goal(path)

    def _goal_paths(self, text: str, word: Word, bound: Bound) -> list[str]:
        scope = self.builder.scope
        for rule in self.builder.rules:
            if any(w.text == text for w in rule.targets):
                scope = rule.scope
                break
        paths: list[str] = []
        for flat in scope.flatten(word.parts):
            paths.extend(self._expand_goal(scope, flat, word.span, bound))
        return paths

    def _expand_goal(self, scope: Scope, parts: Iterable[Any], span: Span | None, bound: Bound = {}) -> list[str]:
        flat = tuple(parts)
        for part in flat:
            if isinstance(part, Hole) and part.name not in scope.definitions and part.name not in bound:
                text = "".join(str(p) for p in flat)
                raise FlowError(
                    f"{text}: {{{part.name}}} has no values, so this stands for no particular file",
                    span,
                    f"ask for one of its files, as in “bflow build {self._sample(flat)}”, or give {part.name} values",
                )
        try:
            return [normal(text) for text, _ in scope.expansions(flat, bound, span)]
        except Pending as pending:
            filled = (bound.get(p.name, str(p)) if isinstance(p, Hole) else str(p) for p in flat)
            self._open_goal("".join(filled), pending)
            return []

    @staticmethod
    def _sample(flat: Iterable[Any]) -> str:
        return "".join(p.name.upper() if isinstance(p, Hole) else str(p) for p in flat)

    def _open_goal(self, text: str, pending: Pending) -> None:
        self.open_goals.append(("pattern", text, pending.paths))
        self._open_questions[text] = self.asking
        for path in pending.paths:
            self._want_path(path, None)
        self._drain()

    def _goal(self, path: str) -> None:
        try:
            files, needs = self._goal_files(path)
        except Pending as pending:
            self.open_goals.append(("path", path, pending.paths))
            self._open_questions[path] = self.asking
            for blocker in pending.paths:
                self._want_path(blocker, None)
            self._drain()
            return
        for f in files:
            self._want(f, None)
        self.plan.goals.append((path, tuple(files), tuple(needs)))
        self.answers.append(self.asking)
        self._drain()

    def _goal_files(self, path: str) -> tuple[list[int], list[int]]:
        choice = self.choose(path, ())
        if choice.kind == "alias":
            files, needs = self.alias(path, None)
            return list(files), list(needs)
        if choice.kind == "phony":
            return [], [self._job_of(choice, path)]
        if choice.kind == "none":
            raise self._no_rule(path, None, None)
        return [self.plan.file(path)], []

    # ---- choosing ----------------------------------------------------------------------------------------------

    def choose(self, path: str, chain: Sequence[str]) -> Choice:
        """What makes a path. `chain` are the paths that led to it, nearest first (a path is never its own input)."""
        found = self.choices.get(path)
        if found is None:
            found = self._choose(path, chain)
            if not self.world.cut:
                self.choices[path] = found
        return found

    def _choose(self, path: str, chain: Sequence[str]) -> Choice:
        index = self.index
        exact = index.exact_targets(path)
        adds: list[tuple[Rule, Bound]] = [(t.rule, {}) for t in exact if not t.rule.makes]
        makers = [t for t in exact if t.rule.makes]
        if makers:
            own = [t for t in makers if not t.rule.library] or makers
            first = own[0].rule
            other = next((t.rule for t in own if t.rule is not first), None)
            if other is not None:
                raise FlowError(
                    f"two rules make {path}",
                    other.span,
                    f"the other one: {first.span}\ngive one of them another target, or take it out",
                )
            for target in index.pattern_targets(path):
                if not target.rule.makes:
                    bound = next(index.bindings(target, path), None)
                    if bound is not None:
                        adds.append((target.rule, bound))
            return Choice("phony" if first.phony else "rule", first, {}, adds)
        candidates: list[tuple[Target, list[Bound]]] = []
        for target in index.pattern_targets(path):
            bounds = list(index.bindings(target, path))
            if not bounds:
                continue
            if target.rule.makes:
                candidates.append((target, bounds))
            else:
                adds.append((target.rule, bounds[0]))
        if candidates:
            chosen = self._among(path, candidates, chain)
            if chosen is not None:
                rule, bound = chosen
                return Choice("phony" if rule.phony else "rule", rule, bound, adds)
        if adds:
            return Choice("alias", adds=adds)
        if index.folders:
            folder = self._made_folder(path, chain)
            if folder is not None:
                return Choice("member", folder=folder)
        if self.is_source(path):
            return Choice("folder" if path.endswith("/") else "source")
        if path.endswith("/") and self._finite_below(path):
            return Choice("folder")
        if candidates:  # nothing can make it: say so by the first that would
            likely = [c for c in candidates if not c[0].rule.library] or candidates
            if len({c[0].rule.number for c in likely}) == 1:
                rule = likely[0][0].rule
                return Choice("phony" if rule.phony else "rule", rule, likely[0][1][0], adds)
            raise self._none_can(path, likely)
        return Choice("none")

    def _among(
        self, path: str, candidates: list[tuple[Target, list[Bound]]], chain: Sequence[str]
    ) -> tuple[Rule, Bound] | None:
        """The one pattern whose inputs exist or can be made. Raises FlowError where several can."""
        source = self.is_source(path)
        if len(candidates) == 1 and len(candidates[0][1]) == 1 and not source:
            return candidates[0][0].rule, candidates[0][1][0]
        for library in (False, True):
            able: list[tuple[Target, Bound]] = []
            for target, bounds in candidates:
                if target.rule.library is not library or any(t.rule is target.rule for t, _ in able):
                    continue
                for bound in bounds:
                    if self._inputs_can(target.rule, bound, {target.rule.number}, {path, *chain}, path):
                        able.append((target, bound))
                        break
            if len(able) > 1:
                lines = "\n".join(f"{t.rule.span}: {t.rule.name}" for t, _ in able if t.rule.span)
                raise FlowError(
                    f"{len(able)} rules can make {path}",
                    able[0][0].rule.span,
                    f"{lines}\ngive a wildcard a narrower domain, or write a rule for this very name",
                )
            if able:
                return able[0][0].rule, able[0][1]
        return None

    def _made_folder(self, path: str, chain: Sequence[str]) -> str | None:
        """The made folder that a path lies in."""
        end = path.find("/")
        while 0 <= end < len(path) - 1:
            folder = path[: end + 1]
            if folder in chain:
                return None
            if self.choose(folder, (path, *chain)).kind == "rule":
                return folder
            end = path.find("/", end + 1)
        return None

    def is_source(self, path: str) -> bool:
        """Whether the user's own file (or folder) stands there; one that bflow wrote, unchanged, is none."""
        found = self._exists.get(path)
        if found is None:
            st = self.disk.stat(path)
            if st is None:
                self.reads.missing(path)
                found = False
            elif path.endswith("/"):
                import stat

                found = stat.S_ISDIR(st.st_mode) and not self.disk.ours(path)
            else:
                found = not self.disk.ours(path)
            self._exists[path] = found
        return found

    def can_make(self, path: str, rules: set[int], paths: set[str]) -> bool:
        """Whether a path is a source or can be made, never by a rule below itself or from itself."""
        known = self._can.get(path)
        if known is not None:
            return known
        if path in paths:
            self._tainted = True
            return False
        if self.is_source(path):
            self._can[path] = True
            return True
        outer, self._tainted = self._tainted, False
        found = self._can_by_rule(path, rules, {*paths, path})
        if (found or not self._tainted) and not self.world.cut:
            self._can[path] = found
        self._tainted = self._tainted or outer
        return found

    def _can_by_rule(self, path: str, rules: set[int], paths: set[str]) -> bool:
        for target in self.index.exact_targets(path):
            if self._tried(target.rule, {}, rules, paths, path):
                return True
        for target in self.index.pattern_targets(path):
            if target.rule.number in rules:
                self._tainted = True
                continue
            for bound in self.index.bindings(target, path):
                if self._tried(target.rule, bound, rules, paths, path):
                    return True
        if self.index.folders:
            end = path.find("/")
            while 0 <= end < len(path) - 1:
                if (
                    path[: end + 1] not in paths
                    and self.can_make(path[: end + 1], rules, paths)
                    and not self.is_source(path[: end + 1])
                ):
                    return True
                end = path.find("/", end + 1)
        return path.endswith("/") and bool(self._finite_below(path))

    def _tried(self, rule: Rule, bound: Bound, rules: set[int], paths: set[str], path: str) -> bool:
        if rule.number in rules:
            self._tainted = True
            return False
        return self._inputs_can(rule, bound, {*rules, rule.number}, paths, path)

    def _inputs_can(self, rule: Rule, bound: Bound, rules: set[int], paths: set[str], path: str) -> bool:
        try:
            texts = [t for _, t in self.input_texts(rule, bound)]
            own = set(self.outputs_of(rule, bound))
        except FlowError:
            return False
        for text in texts:
            if isinstance(text, GlobText):
                if not self.glob_inputs(text, own):
                    return False
            elif not self.can_make(self.project_path(text, rule.span), rules, paths):
                return False
        return True

    # ---- words of a rule under a binding -----------------------------------------------------------------------

    def inputs_of(self, rule: Rule) -> tuple[_Inputs, _Inputs, frozenset[str]]:
        found = self._inputs.get(rule.number)
        if found is None:
            names = frozenset(n for t in self.index.of_rule[rule.number] for n in t.names)
            found = _Inputs(rule, rule.inputs, names), _Inputs(rule, rule.after, names), names
            self._inputs[rule.number] = found
        return found

    def input_texts(self, rule: Rule, bound: Bound) -> Iterator[tuple[Word, str]]:
        """The texts of all inputs (also after the `|`) under a binding, globs not yet looked up."""
        before, after, _ = self.inputs_of(rule)
        yield from self._texts(rule, before, bound)
        yield from self._called(rule, bound)
        yield from self._texts(rule, after, bound)

    def _texts(self, rule: Rule, inputs: _Inputs, bound: Bound) -> Iterator[tuple[Word, str]]:
        for word, simple, flats in inputs.words:
            if simple is not None:
                yield word, "".join([p if type(p) is str else bound.get(p.name, "") for p in simple])
            else:
                assert flats is not None
                for text in dict.fromkeys(rule.scope.expand(flats, bound, word.span or rule.span)):
                    if text:
                        yield word, text

    def _called(self, rule: Rule, bound: Bound) -> Iterator[tuple[Word, str]]:
        """The inputs that a function of the wildcards gives (Python)."""
        if rule.input_function is None:
            return
        from buildflow.view import Wildcards

        try:
            given = rule.input_function(Wildcards(bound))
        except FlowError:
            raise
        except Exception as error:
            raise FlowError(
                f"the inputs function of {rule.name} failed: {type(error).__name__}: {error}", rule.span
            ) from error
        for word in word_list(given, rule.span):
            for text in dict.fromkeys(rule.scope.expand_word(word, bound)):
                if text:
                    yield word, text

    def outputs_of(self, rule: Rule, bound: Bound) -> list[str]:
        """The paths that a job of a rule makes, in the order of its targets."""
        return [path for _, path in self.labelled_outputs(rule, bound)]

    def labelled_outputs(self, rule: Rule, bound: Bound) -> list[tuple[str | None, str]]:
        """The same, each with the label of its target word."""
        found: list[tuple[str | None, str]] = []
        for target in self.index.of_rule[rule.number]:
            label = rule.targets[target.word].label
            if target.exact is not None:
                found.append((label, normal(target.exact)))
            elif all(name in bound for name in target.names):
                text = "".join([p if type(p) is str else bound[p.name] for p in target.parts])  # type: ignore[union-attr]
                found.append((label, normal(text)))
            else:
                span = rule.targets[target.word].span or rule.span
                for text, _ in rule.scope.expansions(target.parts, bound, span):
                    found.append((label, normal(text)))
        return found

    def wildcards_of(self, rule: Rule) -> tuple[str, ...]:
        """The names that one job of a rule binds: those of its targets without the stars."""
        starred = {
            p.name
            for word in rule.targets
            for flat in rule.scope.flatten_static(word.parts)
            for p in flat
            if isinstance(p, Hole) and p.star
        }
        starred |= {p.name for word in rule.targets for p in word.parts if isinstance(p, Hole) and p.star}
        return tuple(dict.fromkeys(n for t in self.index.of_rule[rule.number] for n in t.names if n not in starred))

    def project_path(self, text: str, span: Span | None) -> str:
        """An input's name as the plan has it."""
        path = normal(text)
        if path.startswith("/") and path.startswith(self.builder.root + "/"):
            path = path[len(self.builder.root) + 1 :]
        return path

    # ---- jobs --------------------------------------------------------------------------------------------------

    def _job_of(self, choice: Choice, path: str) -> int:
        """The job of a choice, made where it is new."""
        rule = choice.rule
        assert rule is not None
        names = self._wildcards(rule)
        values = tuple([choice.bound.get(name, "") for name in names])
        key = (rule.number, values)
        job = self.jobs.get(key)
        if job is not None:
            if path not in {self.plan.paths[f] for f in self.plan.outputs[job]} and not rule.phony:
                raise FlowError(f"{path} is no target of the job that {rule.name} gives for it", rule.span)
            return job
        bound = {name: choice.bound[name] for name in names if name in choice.bound}
        plan = self.plan
        job = plan.add_job(rule.number, values)
        self.jobs[key] = job
        self.bounds[job] = bound
        outputs = self.outputs_of(rule, bound)
        if rule.phony:
            plan.outputs[job] = ()
        else:
            for output in outputs:
                self._check_output(output, job, rule)
            plan.outputs[job] = tuple([plan.file(output) for output in outputs])
            if len(set(plan.outputs[job])) != len(plan.outputs[job]):
                twice = next(o for o in outputs if outputs.count(o) > 1)
                raise FlowError(f"the target {twice} stands twice in one rule", rule.span, "take one of them out")
            for f in plan.outputs[job]:
                if plan.maker[f] not in (-1, job):
                    other = self.builder.rules[plan.rule[plan.maker[f]]]
                    raise FlowError(
                        f"two jobs make {plan.paths[f]}", rule.span, f"the other one is of {other.name}, {other.span}"
                    )
                plan.maker[f] = job
                self.choices.setdefault(plan.paths[f], choice)
        self._fill_inputs(job, choice)
        return job

    def _wildcards(self, rule: Rule) -> tuple[str, ...]:
        cached = self._wildcard_names.get(rule.number)
        if cached is None:
            cached = self._wildcard_names[rule.number] = self.wildcards_of(rule)
        return cached

    def _check_output(self, path: str, job: int, rule: Rule) -> None:
        """Raises FlowError where a target may not stand there."""
        bare = path.rstrip("/")
        if path.startswith(("/", "../")) or bare in ("", ".", ".."):
            raise FlowError(
                f"the target {path} lies outside the project",
                rule.span,
                "targets stand in the project; a folder of it may be a link to elsewhere (out -> /scratch/me/out)",
            )
        if path.split("/", 1)[0] in PROTECTED:
            raise FlowError(f"the target {path} lies in {path.split('/', 1)[0]}/, which is not for outputs", rule.span)
        if "\0" in path:
            raise FlowError("a target with a NUL byte in its name", rule.span)
        parent = bare.rpartition("/")[0]
        if path.endswith("/") and self._parents.get(bare, job) != job:
            other = self.builder.rules[self.plan.rule[self._parents[bare]]]
            raise FlowError(
                f"the target {path} holds a target of {other.name}", rule.span, f"the other one: {other.span}"
            )
        if not path.endswith("/") and bare in self._parents:
            other = self.builder.rules[self.plan.rule[self._parents[bare]]]
            raise FlowError(
                f"the target {path} is a file, and {other.name} needs a folder of that name", rule.span, f"{other.span}"
            )
        while parent:
            known = self._parents.get(parent)
            if known is None:
                self._parents[parent] = job
                f = self.plan.ids.get(parent)
                if f is not None and self.plan.maker[f] >= 0:
                    raise FlowError(f"{path} needs a folder where {parent} is a target", rule.span)
                self._check_parent(parent, path, rule)
            folder = self.plan.ids.get(parent + "/")
            if folder is not None and self.plan.maker[folder] not in (-1, job):
                other = self.builder.rules[self.plan.rule[self.plan.maker[folder]]]
                raise FlowError(
                    f"the target {path} lies in {parent}/, a folder that another rule makes",
                    rule.span,
                    f"the other one: {other.span}",
                )
            parent = parent.rpartition("/")[0]
        import stat

        st = None if path.endswith("/") else self.disk.stat(path)
        if st is not None and stat.S_ISDIR(st.st_mode):
            raise FlowError(
                f"the target {path} is a file, and a folder stands there",
                rule.span,
                f"move the folder away, or write {path}/ where the rule makes a folder",
            )
        if path.endswith("/"):
            st = self.disk.stat(bare)
            if st is not None and not stat.S_ISDIR(st.st_mode) and not self.disk.ours(bare):
                raise FlowError(
                    f"the target {path} is a folder, and a file stands there", rule.span, "move the file away"
                )

    def _check_parent(self, parent: str, path: str, rule: Rule) -> None:
        st = self.disk.stat(parent)
        if st is None:
            return
        import stat

        if not stat.S_ISDIR(st.st_mode) and not self.disk.ours(parent):
            raise FlowError(
                f"{path} needs a folder where the file {parent} stands",
                rule.span,
                f"move {parent} away, or rename the target",
            )

    def _fill_inputs(self, job: int, choice: Choice) -> None:
        """Work out the inputs of a job; where a name is pending, leave it open and want what it waits for."""
        try:
            self._try_inputs(job, choice)
        except Pending as pending:
            self.deferred[job] = pending.paths
            for path in pending.paths:
                if normal(path) in {self.plan.paths[f] for f in self.plan.outputs[job]}:
                    raise FlowError(
                        f"{path} is read by a name that its own job needs", self.builder.rules[self.plan.rule[job]].span
                    ) from None
                self._want_path(path, job)
            self.plan.extra[job] = tuple(dict.fromkeys(self.plan.file(path) for path in pending.paths))

    def _try_inputs(self, job: int, choice: Choice) -> None:
        rule = choice.rule
        assert rule is not None
        plan = self.plan
        bound = self.bounds[job]
        own = frozenset([plan.paths[f] for f in plan.outputs[job]])
        before, behind, _ = self.inputs_of(rule)
        inputs: dict[int, None] = {}
        hidden: dict[int, None] = {}
        after: dict[int, None] = {}
        needs: dict[int, None] = {}
        labels: dict[str, dict[int, None]] = {}

        def take(word: Word, text: str, side: dict[int, None], order_only: bool, owner: Rule) -> None:
            if isinstance(text, GlobText):
                names = self.glob_inputs(text, own)
                if not names:
                    raise FlowError(
                        f"{text} matches nothing",
                        word.span or owner.span,
                        "a glob in an input must match a file; for a list that may be empty use “files = glob(…)”",
                    )
                files: Sequence[int] = [plan.file(name) for name in names]
            else:
                path = self.project_path(text, word.span or owner.span)
                if path in own:
                    raise FlowError(
                        f"a cycle: {path} needs itself", word.span or owner.span, "a file cannot be its own input"
                    )
                files, phony = self._input_files(path, job, word, owner)
                if phony and not (order_only or rule.phony):
                    raise FlowError(
                        f"{path} is phony, and makes no file that {rule.name} could read",
                        word.span or owner.span,
                        "put it after a “|” where it only has to go first",
                    )
                for other in phony:
                    needs.setdefault(other)
            chosen = hidden if word.label == "_" and not order_only else side
            for f in files:
                chosen.setdefault(f)
                if word.label and word.label != "_":
                    labels.setdefault(word.label, {}).setdefault(f)

        for word, text in self._texts(rule, before, bound):
            take(word, text, inputs, False, rule)
        for word, text in self._called(rule, bound):
            take(word, text, inputs, False, rule)
        for word, text in self._texts(rule, behind, bound):
            take(word, text, after, True, rule)
        for other, other_bound in choice.adds:
            more, more_after, _ = self.inputs_of(other)
            for word, text in self._texts(other, more, other_bound):
                take(word, text, inputs, False, other)
            for word, text in self._texts(other, more_after, other_bound):
                take(word, text, after, True, other)
        plan.inputs[job] = tuple(inputs)
        plan.after[job] = tuple([f for f in after if f not in inputs])
        plan.needs[job] = tuple(needs)
        known = plan.inputs[job] + plan.after[job]
        if labels:
            place = {f: i for i, f in enumerate(known)}
            plan.labels[job] = tuple((label, tuple([place[f] for f in files])) for label, files in labels.items())
        for f in (*known, *hidden):
            self._want(f, job)
        extra = dict.fromkeys(hidden)
        if rule.recipe is not None and not rule.phony and not rule.inplace:
            for name in self.world.mentioned(rule, job, bound):
                f = plan.file(name)
                if f not in inputs and f not in after and f not in extra and name not in own and self._plain_source(name):
                    extra.setdefault(f)
        plan.extra[job] = tuple(extra)

    def _plain_source(self, path: str) -> bool:
        """Whether no rule makes a file that stands there: only then does a word of a recipe make it an input."""
        try:
            return self.choose(path, ()).kind == "source"
        except (FlowError, Pending):
            return False

    def _input_files(self, path: str, job: int, word: Word, owner: Rule) -> tuple[Sequence[int], Sequence[int]]:
        """The files that one input name stands for (an alias: its files), and the phony jobs."""
        choice = self.choices.get(path)
        if choice is None:
            choice = self.choose(path, self._chain(job))
        if choice.kind == "alias":
            return self.alias(path, job)
        if choice.kind == "phony":
            return (), (self._job_of(choice, path),)
        if choice.kind == "none":
            raise self._no_rule(path, job, word.span or owner.span)
        return (self.plan.file(path),), ()

    def _chain(self, job: int) -> list[str]:
        """The paths that led to a job, nearest first."""
        chain: list[str] = []
        seen: set[int] = set()
        current: int | None = job
        while current is not None and current not in seen and len(chain) < 10_000:
            seen.add(current)
            chain.extend(self.plan.paths[f] for f in self.plan.outputs[current])
            current = self.asked_by.get(current)
        return chain

    def alias(self, path: str, job: int | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The files and phony jobs that an alias stands for."""
        found = self._aliases.get(path)
        if found is not None:
            return found
        if path in self._alias_chain:
            chain = self._alias_chain[self._alias_chain.index(path) :]
            raise FlowError(f"a cycle: {' needs '.join([*chain, path])}", self.choices[path].adds[0][0].span)
        self._alias_chain.append(path)
        try:
            files: dict[int, None] = {}
            needs: dict[int, None] = {}
            for rule, bound in self.choices[path].adds:
                own: set[str] = {path}
                for word, text in self.input_texts(rule, bound):
                    if isinstance(text, GlobText):
                        names = self.glob_inputs(text, own)
                        if not names:
                            raise FlowError(f"{text} matches nothing", word.span or rule.span)
                        for name in names:
                            files.setdefault(self.plan.file(name))
                        continue
                    name = self.project_path(text, word.span)
                    choice = self.choose(name, [path])
                    if choice.kind == "alias":
                        inner, jobs = self.alias(name, job)
                        files.update(dict.fromkeys(inner))
                        needs.update(dict.fromkeys(jobs))
                    elif choice.kind == "phony":
                        needs.setdefault(self._job_of(choice, name))
                    elif choice.kind == "none":
                        raise self._no_rule(name, job, word.span or rule.span, f"the alias {path}")
                    else:
                        files.setdefault(self.plan.file(name))
        finally:
            self._alias_chain.pop()
        found = tuple(files), tuple(needs)
        self._aliases[path] = found
        return found

    # ---- the walk ----------------------------------------------------------------------------------------------

    def _want(self, f: int, job: int | None) -> None:
        if f not in self._seen:
            self._seen.add(f)
            if job is not None:
                self._asker[f] = job
            self._wanted.append(f)

    def _want_path(self, path: str, job: int | None) -> None:
        self._want(self.plan.file(normal(path)), job)

    def _drain(self) -> None:
        """Resolve all that is wanted, depth first."""
        plan = self.plan
        wanted = self._wanted
        while wanted:
            f = wanted.pop()
            if plan.maker[f] >= 0:
                continue
            path = plan.paths[f]
            asker = self._asker.get(f)
            try:
                choice = self.choices.get(path)
                if choice is None:
                    choice = self.choose(path, self._chain(asker) if asker is not None else ())
            except Pending as pending:
                self._seen.discard(f)
                if asker is None:
                    self.open_goals.append(("path", path, pending.paths))
                else:
                    self.deferred[asker] = pending.paths
                    plan.extra[asker] = tuple(dict.fromkeys(plan.file(normal(p)) for p in pending.paths))
                for blocker in pending.paths:
                    if normal(blocker) == path:
                        raise FlowError(f"which rule makes {path} depends on what it holds") from None
                    self._want_path(blocker, asker)
                continue
            kind = choice.kind
            if kind == "rule":
                known = len(plan.rule)
                job = self._job_of(choice, path)
                if job >= known and asker is not None:
                    self.asked_by[job] = asker
                if plan.maker[f] < 0:
                    raise FlowError(f"{path} is no target of {plan.rule[job]}")
            elif kind == "member":
                folder = plan.file(choice.folder)
                plan.within[f] = folder
                self._seen.add(folder)
                if plan.maker[folder] < 0:
                    inner = self.choose(choice.folder, ())
                    plan.maker[folder] = self._job_of(inner, choice.folder)
                plan.maker[f] = plan.maker[folder]
            elif kind == "folder":
                self._folder(f, path, asker)
            elif kind == "none":
                raise self._no_rule(path, asker, None)

    def _folder(self, f: int, path: str, asker: int | None) -> None:
        """A folder that no rule makes: its source files and the finite targets below it, less the rule's own."""
        plan = self.plan
        members, empty = self.world.source_tree(path)
        below = self._finite_below(path)
        own: set[str] = set()
        names = dict.fromkeys(members)
        names.update(dict.fromkeys(below))
        if asker is not None:
            for target in self.outputs_of(self.builder.rules[plan.rule[asker]], self.bounds.get(asker, {})):
                own.add(target)
            rule_targets = self._finite_of(self.builder.rules[plan.rule[asker]]) or []
            own.update(rule_targets)
        files = tuple(plan.file(name) for name in names if name not in own)
        plan.trees[f] = (files, tuple(empty))
        for member in files:
            place = self.disk.path(plan.paths[member])
            if os.path.islink(place) and not os.path.isfile(place) and plan.paths[member] not in below:
                continue  # a link that leads nowhere, or to a folder: its text is all there is
            self._want(member, asker)

    def resume(self) -> list[int]:
        """Go on with what waited for paths that are `finished` now; the numbers of the jobs whose inputs are known."""
        ready = [j for j, paths in self.deferred.items() if all(normal(p) in self.finished for p in paths)]
        for job in ready:
            del self.deferred[job]
            rule = self.builder.rules[self.plan.rule[job]]
            choice = next(
                (c for c in (self.choices.get(self.plan.paths[f]) for f in self.plan.outputs[job]) if c is not None),
                Choice("rule", rule, self.bounds[job]),
            )
            self.plan.extra[job] = ()
            self._fill_inputs(job, choice)
            self._drain()
        goals, self.open_goals = self.open_goals, []
        for kind, text, paths in goals:
            if not all(normal(p) in self.finished for p in paths):
                self.open_goals.append((kind, text, paths))
                continue
            self.asking = self._open_questions.get(text, 0)
            if kind == "pattern":
                self.goal(text)
            else:
                self._goal(text)
        return [j for j in ready if j not in self.deferred]

    # ---- globs over files and targets --------------------------------------------------------------------------

    def glob_inputs(self, text: GlobText, own: Iterable[str]) -> list[str]:
        """The files that a glob in an input stands for, without the rule's own targets."""
        label = str(text)
        found = self._globs.get(label)
        if found is None:
            found = [path for path, _ in self.world.find(text.parts, {}, frozenset(), None)]
            if not self.world.cut:
                self._globs[label] = found
        own = set(own)
        return [path for path in found if path not in own] if own else found

    def _finite_of(self, rule: Rule) -> list[str] | None:
        """All targets of a rule with finite domains, sorted; None where a name has no values or is being evaluated."""
        if rule.number in self._finite:
            return self._finite[rule.number]
        if rule.number in self._finite_busy:
            return None
        self._finite_busy.add(rule.number)
        cut = self.world.cut
        try:
            found: list[str] | None = []
            for target in self.index.of_rule[rule.number]:
                if target.exact is not None:
                    found.append(normal(target.exact))  # type: ignore[union-attr]
                    continue
                if any(name not in rule.scope.definitions for name in target.names):
                    found = None
                    break
                try:
                    found.extend(normal(text) for text, _ in rule.scope.expansions(target.parts, {}, rule.span))  # type: ignore[union-attr]
                except Circular as circle:
                    if not circle.definition.busy:
                        raise  # it is a circle by itself, not by way of what is evaluated now
                    cut.add(circle.definition)
                    return None
            if found is not None:
                found.sort()
            if not cut:
                self._finite[rule.number] = found
            return found
        finally:
            self._finite_busy.discard(rule.number)

    def finite_with(self, prefix: str, suffix: str = "") -> Iterator[str]:
        """The finite targets of all rules with a recipe that begin and end so."""
        for rule in self.builder.rules:
            if not rule.makes or rule.phony:
                continue
            if not any(_may_begin(target, prefix) for target in self.index.of_rule[rule.number]):
                continue
            found = self._finite_of(rule)
            if not found:
                continue
            i = bisect_left(found, prefix)
            while i < len(found) and found[i].startswith(prefix):
                if found[i].endswith(suffix):
                    yield found[i]
                i += 1

    def _finite_below(self, folder: str) -> list[str]:
        return [path for path in self.finite_with(folder) if path != folder]

    # ---- errors ------------------------------------------------------------------------------------------------

    def _no_rule(self, path: str, job: int | None, span: Span | None, asked: str | None = None) -> FlowError:
        """No rule for a target, and no file: with the nearest names, and the chain that asked for it."""
        lines: list[str] = []
        rules = self.builder.rules
        if self.disk.stat(path) is not None and self.disk.ours(path):
            return FlowError(
                f"{path} was made by an earlier build, and no rule makes it any more, so it is no source",
                span,
                "write a rule for it, or take the input out (“bflow clean --stale” removes such files)",
            )
        for rule in rules:
            for target in self.index.of_rule[rule.number]:
                if target.exact is not None or not rule.makes:
                    continue
                bound = target.pattern.first(path)
                if bound is None:
                    continue
                for name in target.names:
                    value = rule.scope.definitions.get(name)
                    if value is None:
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
                    values = sorted(relation.values(name)) if isinstance(relation, Relation) else []
                    if bound[name] not in values:
                        shown = " ".join(values[:8]) + (" …" if len(values) > 8 else "")
                        lines.append(
                            f"{rule.name} would make it, but {bound[name]} is no value of {name} ({shown or 'it has none'})"
                        )
        if not lines:
            names = list(self.index.exact)
            for rule in rules[:2000]:
                try:
                    finite = self._finite_of(rule)
                except (Pending, FlowError):
                    continue
                if finite:
                    names.extend(finite[:2000])
            folder = os.path.dirname(self.disk.path(path))
            try:
                near_files = [os.path.join(os.path.dirname(path), n) for n in os.listdir(folder)[:5000]]
            except OSError:
                near_files = []
            hint = did_you_mean(path, dict.fromkeys([*names, *near_files]))
            if hint:
                lines.append(hint)
            elif job is None:
                lines.append("“bflow list” shows the rules and what they make")
        chain: list[str] = []
        current = job
        while current is not None and len(chain) < 12:
            rule = rules[self.plan.rule[current]]
            name = self.plan.paths[self.plan.outputs[current][0]] if self.plan.outputs[current] else rule.name
            chain.append(f"needed by {name} ({rule.span})" if rule.span else f"needed by {name}")
            current = self.asked_by.get(current)
        if asked:
            chain.insert(0, f"needed by {asked}")
        if span is None and job is not None:
            span = rules[self.plan.rule[job]].span
        what = "no rule makes it, and there is no such file" if job is not None or asked else "no rule makes it"
        if path.endswith("/"):
            what = "no rule makes it, and there is no such folder"
        elif job is None and self.disk.stat(path) is None and not asked:
            what = "no rule makes it, and there is no such file"
        return FlowError(f"{path}: {what}", span, "\n".join(lines + chain))

    def _none_can(self, path: str, candidates: list[tuple[Target, list[Bound]]]) -> FlowError:
        lines = []
        for target, bounds in candidates:
            rule = target.rule
            try:
                missing = [
                    text for _, text in self.input_texts(rule, bounds[0])
                    if not isinstance(text, GlobText) and not self.can_make(self.project_path(text, None), set(), {path})
                ]  # fmt: skip
            except FlowError as error:
                missing = [error.message]
            lines.append(f"{rule.name} ({rule.span}) would need {', '.join(missing) or 'a match of its globs'}")
        return FlowError(f"{path}: several rules could make it, and none has its inputs", None, "\n".join(lines))


def _may_begin(target: Target, prefix: str) -> bool:
    """Whether some instance of a target may begin with a text."""
    if target.exact is not None:
        return normal(target.exact).startswith(prefix)
    own = target.pattern.prefix
    return own.startswith(prefix) or prefix.startswith(own)
