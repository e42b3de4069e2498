"""One job as it is about to be keyed and run: its rule, its files by project name, and the values of its holes.

Made from the plan's arrays when a job needs more than a look; most jobs of a build with little to do never are one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from buildflow.attributes import RESOURCE_HOLES, Attribute
from buildflow.errors import FlowError, Span
from buildflow.names import Scope, pick
from buildflow.quantity import Quantity, format_memory, whole
from buildflow.rule import Rule
from buildflow.template import Hole

if TYPE_CHECKING:
    from buildflow.plan.resolve import Resolver
    from buildflow.recipe.command import Argv
    from buildflow.recipe.fill import Filler

MIB = 1 << 20
LIST_FILE = ".bflow-inputs"


class Amounts:
    """What a job asks for; mem in bytes, time in seconds, None where it is not said; `named`: the named resources."""

    __slots__ = ("cpus", "mem", "gpus", "time", "retries", "priority", "named")

    def __init__(self) -> None:
        self.cpus = 1
        self.mem: float | None = None
        self.gpus = 0
        self.time: float | None = None
        self.retries = 0
        self.priority = 0.0
        self.named: dict[str, float] = {}


class Job:
    """A job of the plan with all that its rule says filled in. `number` is its place in the plan."""

    def __init__(self, resolver: Resolver, number: int) -> None:
        plan = resolver.plan
        self.resolver = resolver
        self.number = number
        self.rule: Rule = resolver.builder.rules[plan.rule[number]]
        self.scope: Scope = self.rule.scope
        bound = resolver.bounds.get(number)
        if bound is None:
            names = resolver.bindings.wildcards(self.rule)
            bound = dict(zip(names, plan.values[number], strict=True))
            resolver.bounds[number] = bound
        self.wildcards: dict[str, str] = bound
        paths = plan.paths
        self.input_ids = plan.inputs[number]
        self.after_ids = plan.after[number]
        self.extra_ids = plan.extra[number]
        self.inputs = [paths[f] for f in self.input_ids]
        self.after = [paths[f] for f in self.after_ids]
        self.extra = [paths[f] for f in self.extra_ids]
        if self.rule.phony:
            self.outputs = resolver.outputs_of(self.rule, bound)
        else:
            self.outputs = [paths[f] for f in plan.outputs[number]]
        self._labels: dict[str, list[str]] | None = None
        self.attempt = 1
        self.cpu_limit: int | None = None
        self._amounts: Amounts | None = None
        self._depfile: str | None = None
        self._log: str | None = None
        self.anonymous = self.rule.attributes.flag("anonymous")
        self.staged: dict[str, str] = {}  # project name → name in the sandbox, where they differ
        self.list_file = LIST_FILE  # what {in.list} stands for
        if self.anonymous:
            self._neutral_names()

    @property
    def kind(self) -> str:
        """shell, python or call: the prefix of the entry's name."""
        assert self.rule.recipe is not None
        return self.rule.recipe.entry_kind

    @property
    def target(self) -> str:
        return self.outputs[0] if self.outputs else self.rule.name

    def _neutral_names(self) -> None:
        """`in0.nii`, `out0.mif`: a name that says only where the file stands in the rule, and its extensions.

        What is no value of a hole (a script that the recipe mentions, `_=path`) is read by its own name and keeps it.
        """
        for prefix, names in (("in", self.inputs + self.after), ("out", self.outputs)):
            for i, name in enumerate(names):
                if name.startswith(("/", "../")):
                    continue
                base = name.rstrip("/").rpartition("/")[2]
                dot = base.find(".", 1)
                ending = base[dot:] if dot > 0 else ""
                self.staged[name] = f"{prefix}{i}{ending}" + ("/" if name.endswith("/") else "")

    @property
    def named_inputs(self) -> dict[str, list[str]]:
        """Label → project names, of inputs and order-only ones."""
        found = self.resolver.plan.labels[self.number]
        if not found:
            return {}
        known = self.inputs + self.after
        return {label: [known[i] for i in places] for label, places in found}

    @property
    def named_outputs(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        if any(word.label for word in self.rule.targets):
            for label, path in self.resolver.bindings.outputs(self.rule, self.wildcards):
                if label:
                    found.setdefault(label, []).append(path)
        return found

    @property
    def labels(self) -> dict[str, list[str]]:
        if self._labels is None:
            self._labels = {**self.named_inputs, **self.named_outputs}
        return self._labels

    # ---- attributes --------------------------------------------------------------------------------------------

    def attribute(self, name: str) -> str | None:
        """The text of an attribute, holes filled, words joined by a space; None where the rule has none."""
        found = self.rule.attributes.get(name)
        return None if found is None or found.text is None else " ".join(self.words(found))

    def words(self, attribute: Attribute) -> list[str]:
        """The words of an attribute, holes filled (a name of several values gives several words)."""
        if attribute.plain:
            return [word.text for word in attribute.words]
        texts: list[str] = []
        for word in attribute.words:
            rows: list[str] = [""]
            for part in word.parts:
                values = self.attribute_values(part, attribute.span) if isinstance(part, Hole) else [str(part)]
                rows = [row + value for row in rows for value in values]
            texts.extend(rows)
        return texts

    def attribute_values(self, hole: Hole, span: Span | None) -> list[str]:
        known = set(self.wildcards) | set(self.scope.definitions) | set(self.labels) | {"in", "out", "attempt", "cpus"}
        if hole.name not in known:
            raise FlowError(f"{hole} names nothing known here", span, "for the text itself write {{…}}")
        if hole.name == "attempt":
            return [str(self.attempt)]
        return self.values(hole)

    def quantity(self, name: str) -> Quantity | None:
        """The compiled value of a numeric attribute."""
        attribute = self.rule.attributes.get(name)
        if attribute is None or attribute.text is None:
            return None
        if attribute.plain:
            return attribute.quantity()
        return attribute.quantity(" ".join(self.words(attribute)))

    def amounts(self, size: Any = None) -> Amounts:
        """What the job asks for at this attempt; `size(name)` gives the bytes of an input for `size(in)`."""
        if self._amounts is not None:
            return self._amounts
        amounts = self._amounts = Amounts()
        attributes = self.rule.attributes
        if not attributes:
            return amounts

        def lookup(name: str) -> float:
            if name == "attempt":
                return float(self.attempt)
            inner = name[name.index("(") + 1 : -1].strip()
            files = self.inputs if inner == "in" else self.labels.get(inner, [])
            return float(sum(size(f) for f in files)) if size is not None else 0.0

        for name in ("cpus", "mem", "gpus", "time", "retries", "priority"):
            quantity = self.quantity(name)
            if quantity is None:
                continue
            value = quantity.constant if quantity.constant is not None else quantity.value(lookup)
            setattr(amounts, name, value if name in ("mem", "time", "priority") else whole(value))
        amounts.cpus = max(1, amounts.cpus)
        if self.cpu_limit is not None:
            amounts.cpus = min(amounts.cpus, self.cpu_limit)
        for name in attributes:
            if name.startswith("resource."):
                quantity = self.quantity(name)
                if quantity is not None:
                    amounts.named[name[9:]] = (
                        quantity.constant if quantity.constant is not None else quantity.value(lookup)
                    )
        return amounts

    @property
    def depfile(self) -> str | None:
        """The depfile's project name."""
        if "depfile" not in self.rule.attributes:
            return None
        if self._depfile is None:
            self._depfile = self.attribute("depfile") or ""
        return self._depfile

    @property
    def log(self) -> str | None:
        """The project name of the file that `log = …` names."""
        if "log" not in self.rule.attributes:
            return None
        if self._log is None:
            self._log = self.attribute("log") or ""
            if self._log.startswith(("/", "../")):
                raise FlowError(f"the log {self._log} lies outside the project", self.rule.attributes["log"].span)
        return self._log

    # ---- holes -------------------------------------------------------------------------------------------------

    def shown(self, names: Sequence[str], *, key: bool) -> list[str]:
        """Project names as the recipe sees them: as staged, outside files by absolute path (in the key: as written)."""
        staged = self.staged
        found = []
        for name in names:
            if name.startswith("../") and not key:
                import os

                name = os.path.normpath(os.path.join(self.resolver.builder.root, name)) + (
                    "/" if name.endswith("/") else ""
                )
            found.append(staged.get(name, name) if staged else name)
        return found

    def text(self, *, key: bool = False) -> str:
        """The shell recipe with its holes filled. FlowError, at the hole's place, where one has no such value."""
        filler = self._filler

        def values(hole: Hole) -> list[str]:
            return self._at_hole(hole, key)

        try:
            return filler.fill(values, self.rows)
        except FlowError as error:
            raise self._placed(error) from None

    def argv(self) -> Argv | None:
        """Arguments and redirections of a recipe that needs no shell, else None."""
        try:
            return self._filler.argv(lambda hole: self._at_hole(hole, False), self.rows)
        except FlowError as error:
            raise self._placed(error) from None

    @property
    def lists_inputs(self) -> bool:
        """Whether the recipe asks for `{in.list}`."""
        recipe = self.rule.recipe
        return (
            recipe is not None
            and recipe.kind == "shell"
            and any(hole.name == "in" and hole.attr == "list" for hole, _ in recipe.filler.holes)
        )

    @property
    def _filler(self) -> Filler:
        assert self.rule.recipe is not None
        return self.rule.recipe.filler

    def _at_hole(self, hole: Hole, key: bool) -> list[str]:
        try:
            return self.values(hole, key=key)
        except FlowError as error:
            raise self._placed(error, str(hole)) from None

    def _placed(self, error: FlowError, hole: str = "") -> FlowError:
        """The error at the hole that it is about, as far as it has no place yet."""
        recipe = self.rule.recipe
        if error.span is None and recipe is not None:
            named = hole or error.message.split(" ", 1)[0]  # messages about a hole begin with it
            place = next((at for found, at in recipe.filler.holes if str(found) == named), None)
            error.span = self.rule.span if place is None else recipe.at(place, len(named)) or self.rule.span
        return error

    def values(self, hole: Hole, *, key: bool = False) -> list[str]:
        """What a hole of the recipe stands for. For the key, resources stand as their hole."""
        name = hole.name
        if name == "in":
            if hole.attr == "list":
                return [self.list_file]
            return pick(hole, self.shown(self.inputs, key=key))
        if name == "out":
            return pick(hole, self.shown(self.outputs, key=key))
        value = self.wildcards.get(name)
        if value is not None and hole.attr != "rows":
            return pick(hole, [value])
        labels = self.labels
        if name in labels:
            return pick(hole, self.shown(labels[name], key=key))
        if name in RESOURCE_HOLES:
            if key:
                return [str(hole)]
            amounts = self.amounts()
            if name == "cpus":
                return [str(amounts.cpus)]
            if name == "gpus":
                return [str(amounts.gpus)]
            if name == "attempt":
                return [str(self.attempt)]
            text = format_memory(amounts.mem) if amounts.mem is not None else "0M"
            return [text[:-1] if hole.attr == "mb" else text]
        if name == "depfile":
            return pick(hole, [self.depfile or ""])
        if name == "log":
            return pick(hole, [self.log or ""])
        if any(label == name for words in (self.rule.labels()) for label in words):
            return []  # a named input whose words came out empty
        if hole.attr == "rows":
            return self.scope.values_of(name, self.wildcards, "rows")
        return pick(hole, self.scope.values_of(name, self.wildcards))

    def rows(self, holes: tuple[Hole, ...]) -> list[tuple[str, ...]] | None:
        """The values that several names of one word have together, where they are of one table; else None."""
        names = [h.name for h in holes]
        if any(
            n in self.labels or n in self.wildcards or n in ("in", "out") or n not in self.scope.definitions
            for n in names
        ):
            return None
        if any(h.attr == "rows" or h.index is not None for h in holes):
            return None
        flats = self.scope.flatten(holes)
        found: list[tuple[str, ...]] = []
        for flat in flats:
            for _, added in self.scope.expansions(flat, self.wildcards, self.rule.span):
                row = []
                for hole in holes:
                    values = pick(hole, self.scope.values_of(hole.name, {**self.wildcards, **added}))
                    if len(values) != 1:
                        return None
                    row.append(values[0])
                found.append(tuple(row))
        return found

    def following(self) -> dict[str, list[str]]:
        """The names that follow the wildcards, or are used with them: what a recipe that is not filled can read.

        A name in a target that has one value is a wildcard here: the number of subjects does not change a recipe.
        """
        found: dict[str, list[str]] = {}
        for name in self.rule.target_names():
            if name not in self.wildcards and name in self.scope.definitions:
                found[name] = self.scope.values_of(name, self.wildcards)
        starred = self.rule.starred_names()
        bound = set(self.wildcards).union(n for n, values in found.items() if len(values) == 1 and n not in starred)
        if not bound:
            return found
        from buildflow.names import Relation, holds_names

        for name, definition in list(self.scope.definitions.items()):
            if name in found or name in bound:
                continue
            if not definition.joint and not definition.append and not any(holds_names(t) for t in definition.terms):
                continue  # it follows nothing, and may be known only once something is made
            value = self.scope.value(name)
            if isinstance(value, Relation):
                if len(value.columns) > 1 and bound & set(value.columns):
                    found[name] = self.scope.values_of(name, self.wildcards)
            if name not in found and self._follows(name, bound):
                found[name] = self.scope.values_of(name, self.wildcards)
        return found

    def _follows(self, name: str, bound: set[str], chain: tuple[str, ...] = ()) -> bool:
        """Whether all that a follower holds is bound (else it would expand, or has no value)."""
        from buildflow.lang.statements import Call

        definition = self.scope.defined(name)
        if definition is None or name in chain:
            return False
        names = definition.names
        terms = list(definition.terms)
        while definition.append and name in definition.previous:
            definition = definition.previous[name]
            terms += definition.terms
        some = False
        for term in terms:
            words = term.arguments if isinstance(term, Call) else (term,)
            left = names if isinstance(term, Call) and term.function == "glob" else ()
            for hole in (n for word in words for n in word.names if n not in left):
                if hole in bound:
                    some = True
                elif hole not in self.scope.definitions:
                    return False
                elif self._follows(hole, bound, (*chain, name)):
                    some = True
        return some

    def description(self, environment: Mapping[str, str]) -> dict[str, Any]:
        """The job as `buildflow.runner` reads it (recipes that are not filled)."""

        def files(labels: dict[str, list[str]]) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for label, names in labels.items():
                shown = self.shown(names, key=False)
                several = len(shown) != 1 or sum(w.label == label for w in self.rule.inputs) > 1
                found[label] = shown if several else shown[0]
            return found

        recipe = self.rule.recipe
        assert recipe is not None
        amounts = self.amounts()
        place = recipe.place.places[0] if recipe.place is not None else None
        names = self.following()
        starred = self.rule.starred_names()
        targets = [name for name in self.rule.target_names() if name not in starred]
        singles = {n: v[0] for n, v in names.items() if n in targets and len(v) == 1}
        return {
            "kind": {"function": "call"}.get(recipe.kind, recipe.kind),
            "inputs": self.shown(self.inputs, key=False),
            "outputs": self.shown(self.outputs, key=False),
            "named": files(self.named_inputs),
            "named_outputs": files(self.named_outputs),
            "wildcards": {**singles, **self.wildcards},
            "names": {
                n: (v[0] if len(v) == 1 and n not in starred else v) for n, v in names.items() if n not in singles
            },
            "vars": dict(environment),
            "cpus": amounts.cpus,
            "mem": format_memory(amounts.mem) if amounts.mem is not None else None,
            "gpus": amounts.gpus,
            "attempt": self.attempt,
            "depfile": self.depfile,
            "log": self.log,
            "text": recipe.text if recipe.kind in ("python", "script") else None,
            "function": recipe.text if recipe.kind == "call" else None,
            "file": place.source.name if place is not None else None,
            "line": place.line if place is not None else 1,
        }
