"""A rule as the Flowfile (or Python) declares it: targets, inputs, recipe, attributes.

Rules hold words, not files: `buildflow.plan` binds them to paths. What a rule may say is checked here, once, in
`Rule.check`; which rule makes a file is the plan's business.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from buildflow.attribute_checks import check_attributes
from buildflow.attributes import PYTHON_NAMES, RESOURCE_HOLES, Attributes
from buildflow.errors import FlowError, Span
from buildflow.lang.statements import RecipeText
from buildflow.names import RESERVED, Scope
from buildflow.near import did_you_mean, near
from buildflow.template import IDENTIFIER, Hole, Word, parse_word

if TYPE_CHECKING:
    from buildflow.recipe.fill import Filler


_ENTRY_KINDS = {"script": "shell", "function": "call"}


class Recipe:
    """What makes the targets: kind is shell, script (`#!`), python, call (`module:function`) or function."""

    __slots__ = ("kind", "text", "place", "function", "_filler")

    def __init__(
        self, kind: str, text: str, place: RecipeText | None = None, function: Callable[..., Any] | None = None
    ) -> None:
        self.kind = kind
        self.text = text
        self.place = place
        self.function = function
        self._filler: Filler | None = None

    @property
    def entry_kind(self) -> str:
        """shell, python or call: the prefix of the names of its jobs' entries."""
        return _ENTRY_KINDS.get(self.kind, self.kind)

    @property
    def filler(self) -> Filler:
        """The compiled shell text with its holes."""
        if self._filler is None:
            from buildflow.recipe.fill import compile_recipe

            self._filler = compile_recipe(self.text)
        return self._filler

    def at(self, offset: int, length: int) -> Span | None:
        return self.place.at(offset, length) if self.place is not None else None


class Rule:
    """Targets, inputs and order-only inputs as words; `number` is its place among all rules, in written order."""

    __slots__ = (
        "number", "name", "targets", "inputs", "after", "input_function", "recipe", "attributes", "phony", "inplace",
        "scope", "help", "span", "included",
    )  # fmt: skip

    def __init__(
        self,
        targets: Sequence[Word],
        inputs: Sequence[Word],
        after: Sequence[Word],
        recipe: Recipe | None,
        attributes: Attributes,
        scope: Scope,
        *,
        span: Span | None = None,
        help: str = "",
        included: bool = False,
        input_function: Callable[..., Any] | None = None,
    ) -> None:
        self.number = -1
        self.targets = tuple(targets)
        self.inputs = tuple(inputs)
        self.after = tuple(after)
        self.input_function = input_function
        self.recipe = recipe
        self.attributes = attributes
        self.phony = attributes.flag("phony")
        self.inplace = attributes.flag("inplace")
        self.scope = scope
        self.help = help
        self.span = span
        self.included = included
        named = attributes.get("name")
        self.name = named.words[0].text if named is not None and named.words else self.targets[0].text

    @property
    def library(self) -> bool:
        return self.scope.library is not None

    @property
    def makes(self) -> bool:
        """Whether it has a recipe; else it is an alias."""
        return self.recipe is not None

    def labels(self) -> tuple[list[str], list[str]]:
        """The labels of inputs and of outputs, `_` left out."""
        seen = ([], [])  # type: tuple[list[str], list[str]]
        for side, words in ((0, self.inputs + self.after), (1, self.targets)):
            for word in words:
                if word.label and word.label != "_" and word.label not in seen[side]:
                    seen[side].append(word.label)
        return seen

    def target_names(self) -> list[str]:
        """The names that stand in its targets (followers by the names that they hold), in order; stars too."""
        return self._held(name for word in self.targets for name in word.names)

    def starred_names(self) -> list[str]:
        """Those of them that stand with a star: one job has all their values, however few there are."""
        return self._held(p.name for word in self.targets for p in word.parts if isinstance(p, Hole) and p.star)

    def _held(self, given: Iterable[str]) -> list[str]:
        """Names, and those that followers among them hold."""
        names: dict[str, None] = {}
        todo = list(given)[::-1]
        while todo:
            name = todo.pop()
            if name in names:
                continue
            names[name] = None
            definition = self.scope.definitions.get(name)
            if definition is not None and not definition.joint and definition.foreign is None:
                todo += [n for term in definition.terms if isinstance(term, Word) for n in term.names]
        return list(names)

    # ---- checks that need nothing but the rule and its scope ---------------------------------------------------

    def check(self) -> None:
        """Raises FlowError for what is wrong whatever is asked for; called when all names are known."""
        if not self.targets:
            raise FlowError("a rule without a target", self.span)
        inputs, outputs = self.labels()
        scope = self.scope
        starred: set[str] = set()
        names = [self._names_of(word, starred) for word in self.targets]
        wildcards = {name for some in names for name in some} - starred
        for label in inputs + outputs:
            span = next((w.span for w in self.targets + self.inputs + self.after if w.label == label), self.span)
            if label in RESERVED or label in PYTHON_NAMES and self.recipe is not None and self.recipe.kind != "shell":
                raise FlowError(f"“{label}” is a reserved name", span, "give the file another name")
            if label in wildcards | starred or label in scope.definitions or (label in inputs and label in outputs):
                other = "a wildcard" if label in wildcards | starred else "an assigned name"
                if label in inputs and label in outputs:
                    other = "the name of an output"
                raise FlowError(
                    f"“{label}” has two meanings in this rule: a named file and {other}", span, "rename one of them"
                )
        python = self.recipe is not None and (self.recipe.kind == "python" or self.recipe.kind == "function")
        for name in sorted(wildcards | starred) if python else ():
            if name in PYTHON_NAMES:
                raise FlowError(
                    f"“{name}” is a reserved name in a Python recipe", self.span, "choose another name for the wildcard"
                )
        for word, some in zip(self.targets, names, strict=True):
            if word.label == "_":
                raise FlowError("“_=” is of inputs", word.span or self.span, "give the output another name, or none")
            for part in word.parts:
                if type(part) is not str and not isinstance(part, Hole):
                    raise FlowError(
                        f"a glob ({part}) in a target", word.span, "a target names one file; use a {wildcard}"
                    )
                if isinstance(part, Hole):
                    self._check_target_hole(part, word)
            # a name that a function gives may turn out to have one value, and be text: the plan looks again
            missing = [name for name in wildcards if name not in some and not scope.reads(name)]
            if missing:
                raise FlowError(
                    f"the target {word.text} does not use {{{missing[0]}}}, which another target of the rule does",
                    word.span or self.span,
                    "all targets of a rule use the same wildcards",
                )
        if self.recipe is None:
            for name in ("phony", "inplace"):
                if self.attributes.flag(name) and name == "inplace":
                    raise FlowError(f"[{name}] without a recipe", self.attributes[name].span)
        labels = set(inputs) | set(outputs)
        if self.recipe is not None:
            names_known = wildcards | starred | labels | set(scope.definitions)
            for word in self.targets:
                names_known.update(word.names)
            if self.recipe.kind == "shell":
                self.check_holes(self.recipe.filler, self.recipe.at, names_known, labels)
            check_attributes(self, names_known, labels)
            self._check_misspelt(wildcards)

    def wildcards(self) -> set[str]:
        """The names that its targets bind."""
        starred: set[str] = set()
        found = {name for word in self.targets for name in self._names_of(word, starred)}
        return found - starred

    def _names_of(self, word: Word, starred: set[str]) -> set[str]:
        """The base names of a target word: followers replaced by the names that they hold, one-valued ones left out."""
        found: set[str] = set()
        stack: list[tuple[Hole, tuple[str, ...]]] = [(p, ()) for p in word.parts if isinstance(p, Hole)]
        while stack:
            hole, chain = stack.pop()
            definition = self.scope.definitions.get(hole.name)
            inner: list[Hole] = []
            if definition is not None and not definition.joint and definition.foreign is None:
                for term in definition.terms:
                    if isinstance(term, Word):
                        inner.extend(p for p in term.parts if isinstance(p, Hole))
            if inner and hole.name not in chain:
                stack.extend(
                    (one._replace(star=hole.star or one.star), (*chain, hole.name))
                    for one in inner
                    if one.name != hole.name
                )
                continue
            if definition is not None and not definition.joint and len(definition.terms) == 1:
                if isinstance(definition.terms[0], Word) and definition.terms[0].plain and not definition.append:
                    continue  # one value: text
            if hole.star:
                starred.add(hole.name)
            else:
                found.add(hole.name)
        return found

    def _check_target_hole(self, hole: Hole, word: Word) -> None:
        if hole.raw:
            raise FlowError(f"{hole} in a target", word.span, f"write {{{hole.name}}}")
        if hole.name in RESERVED and hole.name not in self.scope.definitions:
            raise FlowError(
                f"{{{hole.name}}} in a target", word.span, "it is a name of recipes; choose another wildcard"
            )

    def check_holes(
        self, filler: Filler, at: Callable[[int, int], Span | None], names: Collection[str], labels: Collection[str]
    ) -> None:
        """Raises FlowError for a hole of a shell text that names nothing known, or a known name in another form."""
        from buildflow.lang.refuse import hole_hint

        known = RESERVED.union(names)
        for hole, offset in filler.holes:
            span = at(offset, len(str(hole))) or self.span
            if hole.name not in known and self.input_function is not None:
                continue  # it may name a file so, which shows with the job
            if hole.name not in known:
                hint = hole_hint(hole) or did_you_mean(hole.name, known)
                literal = f"for the text itself write {{{{{str(hole)[1:-1]}}}}}"
                raise FlowError(f"{hole} names nothing known here", span, f"{hint}\n{literal}" if hint else literal)
            forms = ("list",) if hole.name == "in" else ("mb",) if hole.name == "mem" else ("rows",)
            paths = ("name", "stem", "ext", "dir")
            fine = hole.attr is None or hole.attr in paths or hole.attr in forms
            if hole.name in RESOURCE_HOLES:
                fine = hole.attr is None or (hole.name == "mem" and hole.attr == "mb")
            elif hole.name in labels and hole.attr == "rows":
                fine = False
            if not fine:
                raise FlowError(
                    f"{hole}: {hole.name} has no .{hole.attr}",
                    span,
                    "a path has .name, .stem, .ext and .dir; {in.list} names the inputs in a file; {mem.mb} is a "
                    "number; {name.rows} gives a value a row; for the text itself write {{…}}",
                )
            if hole.name in RESOURCE_HOLES and hole.index is not None:
                raise FlowError(f"{hole}: {hole.name} is one value", span, f"write {{{hole.name}}}")
            if hole.name == "depfile" and "depfile" not in self.attributes:
                raise FlowError(
                    "{depfile}, but the rule has no depfile", span, "add [depfile = build/{name}.d] above the rule"
                )
            if hole.name == "mem" and "mem" not in self.attributes:
                raise FlowError("{mem}, but the rule has no mem", span, "add [mem = 2G] above the rule")
            if hole.name == "log" and "log" not in self.attributes:
                raise FlowError("{log}, but the rule has no log", span, "add [log = logs/{name}.txt] above the rule")

    def _check_misspelt(self, wildcards: set[str]) -> None:
        """A wildcard that nothing uses, near an assigned name, is a misspelt variable."""
        scope = self.scope
        assigned = [name for name in scope.definitions if name not in wildcards]
        suspects = [n for n in wildcards if n not in scope.definitions and n not in scope.patterns]
        if not suspects or not assigned:
            return
        assert self.recipe is not None
        used: set[str] = set()
        for word in self.inputs + self.after:
            used |= self._names_of(word, used)
        if self.input_function is not None:
            return
        recipe = self.recipe
        if recipe.kind == "shell":
            used |= {hole.name for hole, _ in recipe.filler.holes}
            for name in list(used):  # a follower in the recipe uses the names that it holds
                used |= self._names_of(Word((Hole(name),)), set())
        elif recipe.kind == "function":
            code = getattr(recipe.function, "__code__", None)
            if code is None or "wildcards" in code.co_varnames or "job" in code.co_varnames:
                return
            used |= set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
        elif recipe.kind == "call":
            return
        else:
            used |= set(re.findall(r"[A-Za-z_][A-Za-z0-9_]*", recipe.text))
        for attribute in self.attributes.values():
            if attribute.name not in ("depfile", "log"):
                used |= {name for word in attribute.words for name in word.names}
        for name in suspects:
            close = near(name, assigned) if name not in used else []
            if close:
                span = next((w.span for w in self.targets if name in w.names), self.span)
                raise FlowError(
                    f"{{{name}}} is a wildcard that nothing in the rule uses, and {close[0]} is an assigned name",
                    span,
                    f"did you mean {{{close[0]}}}? (a wildcard that is meant: “{name} ~ .*” above the rule)",
                )


def word_list(value: Any, span: Span | None) -> list[Word]:
    """What Python gives for targets and inputs: a string is one word, an iterable several, a mapping names them."""
    if value is None:
        return []
    if isinstance(value, Mapping):
        for label in value:
            if not isinstance(label, str) or not IDENTIFIER.fullmatch(label):
                raise FlowError(f"{label!r} is no name for a file", span, "a name is letters, digits and _")
        return [Word(word.parts, span, label) for label, inner in value.items() for word in word_list(inner, span)]
    if isinstance(value, (bytes, os.PathLike)):
        return [parse_word(os.fsdecode(value), span)]
    if isinstance(value, Iterable) and not isinstance(value, str):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [word for inner in items for word in word_list(inner, span)]
    return [parse_word(str(value), span)]
