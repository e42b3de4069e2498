"""From targets to jobs: which rule makes each path, with which inputs, down to the sources.

The resolver appends to a `Plan`. It looks at the disk and at the state, but makes nothing. Where a name can only be
evaluated once a file is made (a dynamic domain), it leaves the job open, wants that file first, and goes on with
`resume` when the loop has it. Which rule makes a path is chosen in `choose`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from buildflow.builder import Builder
from buildflow.disk import Disk
from buildflow.errors import FlowError, Span
from buildflow.names import NOTHING, Definition, Pending, Scope
from buildflow.plan.aliases import Aliases
from buildflow.plan.binding import Bindings
from buildflow.plan.choose import Choice, Chooser
from buildflow.plan.finite import Finite
from buildflow.plan.folders import Folders
from buildflow.plan.inputs import Inputs
from buildflow.plan.matcher import Bound, RuleIndex, normal
from buildflow.plan.placing import Placing
from buildflow.plan.plan import Plan
from buildflow.plan.settle import run_commands, settle_targets
from buildflow.plan.unmade import Errors
from buildflow.plan.world import PlanWorld
from buildflow.rule import Rule
from buildflow.template import Hole, Word, parse_word

if TYPE_CHECKING:
    from buildflow.plan.stored import StoredPlan

MOST_STEPS = 100_000
"""Jobs of one rule, each below the one before, that an inputs function may lead to."""


class Resolver:
    """Resolves goals of one builder into one plan."""

    def __init__(self, builder: Builder, disk: Disk, plan: Plan | None = None, *, settle: bool = True) -> None:
        self.builder = builder
        self.disk = disk
        self.reads = builder.reads
        self.plan = plan or Plan()
        self.empty: dict[Definition, str] = {}  # domains that came out empty, and what is said of them
        self.world = PlanWorld(self)
        for scope in builder.scopes:
            scope.reset(self.world)
        self.index = RuleIndex(builder.rules)
        self.bindings = Bindings(builder.root, self.index)
        self.finite = Finite(self)
        self.chooser = Chooser(self)
        self.errors = Errors(self)
        self.placing = Placing(self)
        self.aliases = Aliases(self)
        self.folders = Folders(self)
        self.inputs = Inputs(self)
        self.jobs: dict[tuple[int, tuple[str, ...]], int] = {}
        self.bounds: dict[int, Bound] = {}
        self.asked_by: dict[int, int] = {}  # job → the job that first wanted it
        self.unfilled: dict[int, None] = {}  # jobs whose inputs are to be worked out
        self.finished: set[str] = set()  # made paths that functions may read
        self.deferred: dict[int, tuple[str, ...]] = {}  # job → the paths that it waits for before its inputs are known
        self._asker: dict[int, int] = {}  # file → the job that first wanted it
        self._wanted: list[int] = []
        self._seen: set[int] = set()
        self._steps: dict[int, int] = {}  # job → how often its rule stands above it
        self.open_goals: list[tuple[str, str, tuple[str, ...]]] = []
        self.asking = 0  # the number of the question that `goal` answers now
        self.answers: list[int] = []  # for each of the plan's goals: the question that it belongs to
        self._open_questions: dict[str, int] = {}
        self.dynamic = False  # whether something had to wait for what a rule makes
        self.settled = True  # whether all targets are what their words say, and no function
        if settle:
            run_commands(self)
            self.settled = settle_targets(self)

    @classmethod
    def again(cls, builder: Builder, disk: Disk, plan: StoredPlan) -> Resolver:
        """The resolver of a plan that was resolved before and still holds."""
        found = cls(builder, disk, plan, settle=False)
        found.bindings.restore(plan.wildcards)
        return found

    # ---- goals -------------------------------------------------------------------------------------------------

    def goal(self, text: str, span: Span | None = None, bound: Bound = NOTHING) -> None:
        """Ask for a target: an alias or phony, a path, or a pattern with finite domains (paths from the root).

        `bound`: values for some of the pattern's names.
        """
        if "{" in text and not self.index.exact_targets(normal(text)) and not self.chooser.is_source(normal(text)):
            word = parse_word(text, span)
            if word.names:
                for path in self._goal_paths(text, word, bound):
                    self._goal(path)
                return
        self._goal(self.bindings.project_path(text))

    def default_goal(self) -> None:
        """What is built where nothing is asked for."""
        rule = self.builder.default_rule()
        for target in self.index.of_rule[rule.number]:
            if target.exact is not None:
                self._goal(normal(target.exact))
                continue
            for path in self._expand_goal(rule.scope, target.parts, target.span):
                self._goal(path)

    def _goal_paths(self, text: str, word: Word, bound: Bound) -> list[str]:
        scope = self.builder.scope
        for rule in self.builder.rules:
            if any(w.text == text for w in rule.targets):
                scope = rule.scope
                break
        paths: list[str] = []
        try:
            flats = scope.flatten(word.parts)
        except Pending as pending:
            self._open_goal(self._filled(word.parts, bound), pending)
            return []
        for flat in flats:
            paths.extend(self._expand_goal(scope, flat, word.span, bound))
        return paths

    @staticmethod
    def _filled(parts: Iterable[Any], bound: Bound) -> str:
        return "".join(bound.get(p.name, str(p)) if isinstance(p, Hole) else str(p) for p in parts)

    def _expand_goal(self, scope: Scope, parts: Iterable[Any], span: Span | None, bound: Bound = NOTHING) -> list[str]:
        flat = tuple(parts)
        for part in flat:
            if isinstance(part, Hole) and part.name not in scope.definitions and part.name not in bound:
                text = "".join(str(p) for p in flat)
                sample = "".join(p.name.upper() if isinstance(p, Hole) else str(p) for p in flat)
                raise FlowError(
                    f"{text}: {{{part.name}}} has no values, so this stands for no particular file",
                    span,
                    f"ask for one of its files, as in “bflow build {sample}”, or give {part.name} values",
                )
        try:
            return [normal(text) for text, _ in scope.expansions(flat, bound, span)]
        except Pending as pending:
            self._open_goal(self._filled(flat, bound), pending)
            return []

    def _open_goal(self, text: str, pending: Pending, kind: str = "pattern") -> None:
        self.dynamic = True
        self.open_goals.append((kind, text, pending.paths))
        self._open_questions[text] = self.asking
        for path in pending.paths:
            self._want_path(path, None)
        self.drain()

    def _goal(self, path: str) -> None:
        try:
            files, needs = self._goal_files(path)
        except Pending as pending:
            self._open_goal(path, pending, "path")
            return
        for f in files:
            self.want(f, None)
        self.plan.goals.append((path, files, needs))
        self.answers.append(self.asking)
        self.drain()

    def _goal_files(self, path: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if not path:
            raise FlowError("an empty word is no target")
        if path == "./":  # the project's own folder: all that is sure to be in it
            return tuple([self.plan.file(name) for name in self.finite.within("")]), ()
        choice = self.choose(path)
        if choice.kind == "alias":
            files, after, needs = self.aliases.of(path, None)
            return files + after, needs
        if choice.kind == "phony":
            return (), (self.job_of(choice, path),)
        if choice.kind == "none":
            raise self.errors.no_rule(path, None, None)
        f = self.plan.file(path)
        if choice.kind == "folder":
            self.folders.take(f, None, None)
        return (f,), ()

    def choose(self, path: str, asker: int | None = None) -> Choice:
        """What makes a path (`Chooser.choose`)."""
        return self.chooser.choose(path, asker)

    def outputs_of(self, rule: Rule, bound: Bound) -> list[str]:
        """The paths that a job of a rule makes, in the order of its targets."""
        return [path for _, path in self.bindings.outputs(rule, bound)]

    # ---- jobs --------------------------------------------------------------------------------------------------

    def job_of(self, choice: Choice, path: str, asker: int | None = None) -> int:
        """The job of a choice, made where it is new; its inputs are worked out by `drain`."""
        rule = choice.rule
        assert rule is not None
        plan = self.plan
        names = self.bindings.wildcards(rule)
        values = tuple([choice.bound.get(name, "") for name in names])
        key = (rule.number, values)
        job = self.jobs.get(key)
        if job is not None:
            return job
        job = self.jobs[key] = plan.add_job(rule.number, values)
        bound = self.bounds[job] = {name: choice.bound[name] for name in names if name in choice.bound}
        if asker is not None:
            self.asked_by[job] = asker
            if rule.input_function is not None:
                self._count_steps(job, rule)
        if not rule.phony:
            self._take_outputs(job, rule, choice, bound)
        self.unfilled[job] = None
        return job

    def _count_steps(self, job: int, rule: Rule) -> None:
        """Raises FlowError where a function gives its own rule more and more to do, without an end."""
        above = self.asked_by.get(job)
        while above is not None and self.plan.rule[above] != rule.number:
            above = self.asked_by.get(above)
        steps = self._steps[job] = 0 if above is None else self._steps.get(above, 0) + 1
        if steps > MOST_STEPS:
            raise FlowError(
                f"{rule.name} needs itself, {steps} times over", rule.span, "its inputs function must come to an end"
            )

    def _take_outputs(self, job: int, rule: Rule, choice: Choice, bound: Bound) -> None:
        """The outputs of a new job. Raises FlowError where they may not stand there, or are another job's."""
        plan, choices = self.plan, self.chooser.choices
        outputs = self.outputs_of(rule, bound)
        for output in outputs:
            self.placing.check(output, job, rule, rule.targets[0].span if len(outputs) == 1 else rule.span)
        plan.outputs[job] = tuple([plan.file(output) for output in outputs])
        if len(outputs) > 1 and len(set(outputs)) != len(outputs):
            twice = next(o for o in outputs if outputs.count(o) > 1)
            raise FlowError(f"the target {twice} stands twice in one rule", rule.span, "take one of them out")
        for f in plan.outputs[job]:
            if plan.maker[f] not in (-1, job):
                other = self.builder.rules[plan.rule[plan.maker[f]]]
                raise FlowError(
                    f"two jobs make {plan.paths[f]}", rule.span, f"the other one is of {other.name}, {other.span}"
                )
            plan.maker[f] = job
            choices.setdefault(plan.paths[f], choice)

    def _fill(self, job: int) -> None:
        """Work out the inputs of a job; where a name is pending, leave it open and want what it waits for."""
        try:
            self.inputs.fill(job)
        except Pending as pending:
            self.dynamic = True
            plan = self.plan
            own = {plan.paths[f] for f in plan.outputs[job]}
            self.deferred[job] = pending.paths
            for path in pending.paths:
                if normal(path) in own:
                    raise FlowError(
                        f"{path} is read by a name that its own job needs", self.builder.rules[plan.rule[job]].span
                    ) from None
                self._want_path(path, job)
            plan.extra[job] = tuple(dict.fromkeys(plan.file(normal(path)) for path in pending.paths))

    # ---- the walk ----------------------------------------------------------------------------------------------

    def want(self, f: int, job: int | None) -> None:
        """See to it that a file is planned; `job`: the first that wants it."""
        if f not in self._seen:
            self._seen.add(f)
            if job is not None:
                self._asker[f] = job
            self._wanted.append(f)

    def _want_path(self, path: str, job: int | None) -> None:
        self.want(self.plan.file(normal(path)), job)

    def drain(self) -> None:
        """Resolve all that is wanted, depth first."""
        plan = self.plan
        wanted, unfilled, choices = self._wanted, self.unfilled, self.chooser.choices
        wanted.reverse()  # the last one is taken first
        while True:
            while unfilled:
                job = next(reversed(unfilled))
                before = len(wanted)
                self._fill(job)
                if len(wanted) > before + 1:
                    wanted[before:] = wanted[: before - 1 if before else None : -1]  # in written order
                del unfilled[job]
            if not wanted:
                return
            f = wanted.pop()
            if plan.maker[f] >= 0:
                continue
            path = plan.paths[f]
            asker = self._asker.get(f)
            choice = choices.get(path)
            if choice is None:
                try:
                    choice = self.choose(path, asker)
                except Pending as pending:
                    self._wait(f, asker, pending)
                    continue
            kind = choice.kind
            if kind == "rule":
                job = self.job_of(choice, path, asker)
                if plan.maker[f] < 0:
                    raise FlowError(f"{path} is no target of {self.builder.rules[plan.rule[job]].name}")
            elif kind == "member":
                folder = plan.within[f] = plan.file(choice.folder)
                self._seen.add(folder)
                if plan.maker[folder] < 0:
                    made = self.chooser.makes_folder(choice.folder, asker)
                    assert made is not None
                    self.job_of(made, choice.folder, asker)
                plan.maker[f] = plan.maker[folder]
            elif kind == "source" and asker is not None:
                unfit = self.chooser.unfit(path)
                if unfit is not None:
                    rule = self.builder.rules[plan.rule[asker]]
                    raise FlowError(unfit, rule.span, "\n".join(self.errors.chain(asker)))
            elif kind == "folder" and asker is None:
                self.folders.take(f, None, None)
            elif kind == "none":
                raise self.errors.no_rule(path, asker, None)

    def _wait(self, f: int, asker: int | None, pending: Pending) -> None:
        """What makes a file is known only once other paths are made."""
        plan, path = self.plan, self.plan.paths[f]
        self.dynamic = True
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

    def resume(self) -> list[int]:
        """Go on with what waited for paths that are `finished` now; the numbers of the jobs whose inputs are known."""
        ready = [j for j, paths in self.deferred.items() if all(normal(p) in self.finished for p in paths)]
        for job in ready:
            del self.deferred[job]
            self.plan.extra[job] = ()
            self.unfilled[job] = None
            self.drain()
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
