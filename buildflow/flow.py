"""`Flow`: a project in Python, on the same builder that a Flowfile fills.

It turns what Python gives (strings, lists, mappings, functions) into words, names and rules. Reading a Flowfile is
`buildflow.lang.load`'s, running a Flowfile.py `buildflow.flowfile_py`'s, building `buildflow.submitter`'s.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from buildflow.attributes import FLAGS, Attribute
from buildflow.builder import Builder
from buildflow.errors import FlowError, Span
from buildflow.flowfile_py import given
from buildflow.lang.statements import Call, Term
from buildflow.lang.words import refuse_constraints, split_plain
from buildflow.names import Definition
from buildflow.process import absolute
from buildflow.rule import Recipe, Rule, word_list
from buildflow.sources import caller_span
from buildflow.template import IDENTIFIER, Word, parse_word

F = TypeVar("F", bound=Callable[..., Any])

FLOWFILES = ("Flowfile", "Flowfile.py")

_ONE_WORD = frozenset("name log depfile env stage call worker shell".split())
"""Attributes whose text is one word, white space included; that of the others is read as in a Flowfile."""

_HABITS = {
    "input": "inputs", "output": "targets", "outputs": "targets", "threads": "cpus", "needs": "inputs",
    "deps": "inputs", "order_only": "after", "run": "shell", "cmd": "shell", "command": "shell", "script": "shell",
    "container": "env", "environment": "env", "memory": "mem", "wildcard_constraints": "flow[name] = re.compile(…)",
}  # fmt: skip


class Flow(Builder):
    """A workspace at `root` with its names and rules.

    `Flow(sample=["a", "b"])` gives names values, as `flow["sample"] = …` does; `anonymous=True` is
    `[defaults: anonymous]`. Raises FlowError for what a Flowfile could not say either, at the caller's file and line.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = ".",
        *,
        anonymous: bool = False,
        overrides: Mapping[str, Sequence[Word]] | None = None,
        **names: Any,
    ) -> None:
        super().__init__(os.fspath(root), (given.get() or {}) if overrides is None else overrides)
        if anonymous:
            self.defaults["anonymous"] = Attribute("anonymous", None, (), None)
        for name, value in names.items():
            self[name] = value

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str] = "Flowfile",
        *,
        root: str | os.PathLike[str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Flow:
        """Read a Flowfile, or run a `Flowfile.py`, which leaves a `Flow` in `flow`; of a folder the one in it.

        The root is its folder unless given. `overrides`: values for names that it assigns, as on the command line.
        """
        shown, path = os.fspath(path), absolute(os.fspath(path))
        if os.path.isdir(path):
            path = next((p for p in (os.path.join(path, n) for n in FLOWFILES) if os.path.exists(p)), path)
        elif not os.path.exists(path) and os.path.basename(path) == FLOWFILES[0] and os.path.exists(f"{path}.py"):
            path += ".py"
        if not os.path.isfile(path):
            raise FlowError(f"there is no file {shown}" if not os.path.isdir(path) else f"{shown} has no Flowfile")
        base = absolute(os.fspath(root)) if root is not None else os.path.dirname(path)
        words = {n: _override(v) for n, v in ((given.get() or {}) if overrides is None else overrides).items()}
        relative = os.path.relpath(path, base)
        relative = path if relative.startswith("../") else relative
        if path.endswith(".py"):
            from buildflow.flowfile_py import run

            flow = run(path, relative, base, words)
            if not isinstance(flow, Flow):
                hint = "write “flow = Flow()” and add rules to it"
                raise FlowError(f"{relative} leaves no Flow in “flow”", None, hint)
            flow.flowfile = relative
        else:
            flow = cls(base, overrides=words)
            from buildflow.lang.load import load

            load(flow, relative)
        flow.check()
        return flow

    def __repr__(self) -> str:
        return f"Flow({self.root!r}, {len(self.rules)} rule{'s' if len(self.rules) != 1 else ''})"

    # ---- names -------------------------------------------------------------------------------------------------

    def __setitem__(self, name: str | tuple[str, ...], value: Any) -> None:
        """Assign a name. A string is one value (holes make it follow other names), an iterable several; also
        `re.compile(…)` for its pattern, or a function of `buildflow` (`glob(…)`). To several names: rows, a mapping's
        pairs, or a function; the last name takes the rest of a row, and None is an empty cell."""
        span = caller_span()
        names = name if isinstance(name, tuple) else (name,)
        for one in names:
            if not isinstance(one, str) or not IDENTIFIER.fullmatch(one):
                raise FlowError(f"{one!r} is no name", span, "a name is letters, digits and _")
        if isinstance(name, tuple):
            self._assign_joint(names, value, span)
        elif isinstance(value, re.Pattern):
            self._assign_pattern(name, value, span)
        elif isinstance(value, Call):
            self.scope.assign(names, "=", (value,), span=span)
        elif _several(value):
            terms: list[Term] = [v if isinstance(v, Call) else _word(v, span) for v in _ordered(value)]
            if terms or name in self.scope.overrides:
                self.scope.assign(names, "=", terms, span=span)
            else:  # (no words at all are one empty value in a Flowfile)
                self.scope.assign(names, "=", (), span=span)
                self.scope.definitions[name] = Definition(names, joint=True, span=span)
        else:
            word = _word(value, span)
            self.scope.assign(names, "=", (word,) if word.parts else (), span=span)

    def _assign_pattern(self, name: str, value: re.Pattern[Any], span: Span | None) -> None:
        if not isinstance(value.pattern, str):
            raise FlowError(f"the pattern of {name} is one of bytes", span, "write re.compile(r'…')")
        self.scope.set_pattern(name, value.pattern, span)
        self.scope.patterns[name] = value  # with its flags

    def _assign_joint(self, names: tuple[str, ...], value: Any, span: Span | None) -> None:
        if isinstance(value, Call):
            self.scope.assign(names, "=", (value,), joint=True, span=span)
            return
        if isinstance(value, Mapping):
            value = list(value.items())
        if not _several(value):
            raise FlowError(f"{value!r} is no list of rows for {', '.join(names)}", span)
        rows = [_row(row, names, span) for row in value]
        self.scope.assign(names, "=", (), rows, joint=True, span=span)

    def include(self, path: str | os.PathLike[str], **parameters: Any) -> None:
        """A file of the rule library (`"<mrtrix3.flow>"`, with values for its names; white space in a string separates
        words), or a local Flowfile, whose path is from the root."""
        from buildflow.lang.load import include

        span = caller_span()
        text = os.fspath(path)
        words = {
            name: [_word(v, span) for v in (_ordered(value) if _several(value) else str(value).split())]
            for name, value in parameters.items()
        }
        if not text.startswith("<"):
            if words:
                hint = f'assign flow["{next(iter(words))}"] before'
                raise FlowError("a local file shares the names of the flow, and takes no values", span, hint)
            if not os.path.isfile(self.reads.path(text)):
                raise FlowError(f"there is no file {text}", span)
        include(self, text, words, span)

    # ---- rules -------------------------------------------------------------------------------------------------

    def rule(
        self,
        targets: Any,
        inputs: Any = None,
        after: Any = None,
        shell: str | None = None,
        *,
        python: str | bool | None = None,
        call: str | Callable[..., Any] | None = None,
        interpreter: str | None = None,
        help: str = "",
        **attributes: Any,
    ) -> Declared:
        """Add a rule: with `shell` a recipe, as a decorator on a function that function, with neither an alias.

        `targets`, `inputs`, `after` (order-only): a string is one word, a list several, a dict names them. `inputs` may
        be a function of the wildcards that gives such. `python`: a Python recipe as text. `call`: `module:function`, or
        a function. `interpreter`: the Flowfile's `[shell = …]`. Other keywords are the attributes of a Flowfile, by
        their names (`resource_x` or `resource={"x": 1}` for `resource.x`, `pass_` for `pass`); True is a flag.
        """
        span = caller_span()
        function = inputs if callable(inputs) else None
        if interpreter is not None:
            attributes["shell"] = interpreter
        found = [a for name, value in attributes.items() for a in _attributes(name, value, span)]
        recipes = [r for r in (shell, python if isinstance(python, str) else None, call) if r is not None]
        if len(recipes) > 1:
            raise FlowError("a rule has one recipe: shell, python or call", span, "take the others out")
        recipe: Recipe | None = None
        if shell is not None:
            recipe = _recipe(shell, "python" if python is True else "shell", span)
        elif isinstance(python, str):
            recipe = _recipe(python, "python", span)
        elif isinstance(call, str):
            recipe = Recipe("call", call)
            found.append(Attribute("call", call, (_word(call, span),), span))
        elif call is not None:
            recipe = _function(call)
        words = word_list(targets, span)
        if not words or any(not word.parts for word in words):
            raise FlowError("a rule without a target" if not words else "an empty target", span)
        before = [] if function is not None else word_list(inputs, span)
        behind = word_list(after, span)
        wildcards = {name for word in words for name in word.names}
        for word in (*words, *before, *behind):
            refuse_constraints(word.text, lambda offset, length: span, wildcards, self.scope.definitions)
        rule = self.add_rule(words, before, behind, recipe, found, span=span, help=help, input_function=function)
        return Declared(self, rule)

    def build(self, target: Any = None, /, **options: Any) -> Any:
        """Build a target, a pattern (with values for its names: `flow.build("pow/{p}.txt", p=[1, 2])`) or a list of
        targets; None: the default. A `Result` of one job, `Results` of several, in that order.

        Options are those of `Submitter`; every other keyword gives a name's values.
        """
        from buildflow.submitter import OPTIONS, Submitter

        own = {name: options.pop(name) for name in OPTIONS if name in options}
        with Submitter(**own) as submit:
            return submit(self, target, **options)


class Declared:
    """What `flow.rule` gives: the rule, and a decorator for the function that makes its targets."""

    def __init__(self, flow: Flow, rule: Rule) -> None:
        self._flow = flow
        self._rule = rule

    def __call__(self, function: F) -> F:
        """Make the function the rule's recipe; gives the function back."""
        rule = self._rule
        if rule.recipe is not None:
            raise FlowError(f"the rule {rule.name} has a recipe already", rule.span)
        if not callable(function):
            raise FlowError(f"{function!r} is no function", rule.span)
        rule.recipe = _function(function)
        for name, attribute in self._flow.defaults.items():
            rule.attributes.setdefault(name, attribute)
        if not rule.help:
            rule.help = (getattr(function, "__doc__", None) or "").strip().partition("\n")[0]
        return function

    def __repr__(self) -> str:
        return f"<rule {self._rule.name}>"


# ---- from Python's values to words


def _several(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, os.PathLike))


def _ordered(value: Any) -> list[Any]:
    return sorted(value, key=str) if isinstance(value, (set, frozenset)) else list(value)


def _word(value: Any, span: Span | None) -> Word:
    if value is None:
        raise FlowError("None is no value", span, 'an empty one is ""')
    return parse_word(os.fsdecode(value) if isinstance(value, (bytes, os.PathLike)) else str(value), span)


def _row(row: Any, names: tuple[str, ...], span: Span | None) -> tuple[Word, ...]:
    """The words of a row: a sequence, a mapping by name, or the first cell alone."""
    if isinstance(row, Mapping):
        unknown = [name for name in row if name not in names]
        if unknown:
            raise FlowError(f"a row has {unknown[0]!r}, which is none of {', '.join(names)}: {row!r}", span)
        row = [row.get(name) for name in names]
    cells = list(row) if _several(row) else [row]
    words: list[Word] = []
    for i, cell in enumerate(cells):
        if _several(cell):
            if i != len(names) - 1 or len(cells) > len(names):
                raise FlowError(f"a list in a row stands last, for {names[-1]}: {row!r}", span)
            words.extend(_word(c, span) for c in _ordered(cell))
        else:
            words.append(Word((), span) if cell is None else _word(cell, span))
    return tuple(words)


def _override(value: Any) -> list[Word]:
    if isinstance(value, str):
        return split_plain(value)
    return [v if isinstance(v, Word) else Word((str(v),)) for v in (_ordered(value) if _several(value) else [value])]


def _attributes(name: str, value: Any, span: Span | None) -> list[Attribute]:
    """What a keyword of `rule` says; a mapping of resources is several attributes."""
    if name in _HABITS:
        raise FlowError(f"there is no attribute “{name}”", span, f"it is called {_HABITS[name]} here")
    if name == "resource" and isinstance(value, Mapping):
        return [a for key, number in value.items() for a in _attributes(f"resource.{key}", number, span)]
    if name.startswith("resource_"):
        name = f"resource.{name[9:]}"
    name = name.rstrip("_")
    if value is None or value is False and name not in FLAGS:
        return []
    if value is True:
        return [Attribute(name, None, (), span)]
    if value is False:
        return [Attribute(name, "no", (Word(("no",), span),), span)]
    if name == "hooks" and not isinstance(value, (str, Mapping)):
        raise FlowError(
            "hooks of a rule are commands", span, "functions are given to the build: hooks=TaskHooks(post_run=f)"
        )
    if isinstance(value, Mapping):
        words = [_word(f"{key}={one}", span) for key, one in value.items()]
    elif _several(value):
        words = [_word(one, span) for one in _ordered(value)]
    elif name in _ONE_WORD:
        words = [_word(value, span)]
    else:
        words = [Word(w.parts, span) for w in split_plain(str(value))]
        return [Attribute(name, str(value), words, span)]
    return [Attribute(name, " ".join(word.text for word in words), words, span)]


def _function(function: Callable[..., Any]) -> Recipe:
    return Recipe("function", getattr(function, "__qualname__", None) or type(function).__qualname__, function=function)


def _recipe(text: str, kind: str, span: Span | None) -> Recipe:
    """A recipe from a string: its common indent and the empty lines around it are no part of it."""
    from buildflow.lang.refuse import check_recipe
    from buildflow.lang.statements import RecipeText

    if not isinstance(text, str):
        raise FlowError(f"a recipe is text, and not a {type(text).__name__}", span)
    if "\n" in text:
        import textwrap

        text = textwrap.dedent(text).strip("\n")
    if text.startswith("#!"):
        return Recipe("script", text)
    if kind == "shell" and span is not None:
        try:
            check_recipe(RecipeText(text, (span,)))
        except FlowError as error:
            error.span = span
            raise
    return Recipe(kind, text)
