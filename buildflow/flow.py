"""`Flow`: a project in Python, the same builder that a Flowfile fills."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from buildflow.builder import Builder
from buildflow.errors import FlowError, Span
from buildflow.lang.statements import Call, Term
from buildflow.lang.words import split_plain
from buildflow.rule import Attribute, Recipe, Rule, word_list
from buildflow.sources import caller_span
from buildflow.template import Word, parse_word

FLOWFILES = ("Flowfile", "Flowfile.py")


class Flow(Builder):
    """A workspace at `root` with its names and rules.

    `Flow(sample=["a", "b"])` gives names values; `flow["voxel"] = …` does too. `anonymous=True` is `[defaults: anonymous]`.
    """

    def __init__(
        self, root: str = ".", *, anonymous: bool = False, overrides: Mapping[str, Sequence[Word]] = {}, **names: Any
    ) -> None:
        super().__init__(root, overrides)
        if anonymous:
            self.defaults["anonymous"] = Attribute("anonymous", None, (), None)
        for name, value in names.items():
            self[name] = value

    @classmethod
    def load(cls, path: str = "Flowfile", *, root: str | None = None, overrides: Mapping[str, Any] = {}) -> Flow:
        """Read a Flowfile (or a `Flowfile.py`, which leaves a `Flow` in `flow`). The root is its folder unless given."""
        words = {name: _override(value) for name, value in overrides.items()}
        full = os.path.abspath(path)
        base = os.path.abspath(root) if root is not None else os.path.dirname(full)
        shown = os.path.relpath(full, base)
        if shown.startswith("../"):
            shown = full
        if path.endswith(".py"):
            return cls._run(full, shown, base, words)
        flow = cls(base, overrides=words)
        from buildflow.lang.load import load

        load(flow, shown)
        flow.check()
        return flow

    @classmethod
    def _run(cls, full: str, shown: str, root: str, overrides: Mapping[str, Sequence[Word]]) -> Flow:
        """Execute a Flowfile.py in its folder."""
        try:
            with open(full, "rb") as file:
                text = file.read()
        except OSError as error:
            raise FlowError(f"cannot read {shown}: {error.strerror}") from None
        namespace: dict[str, Any] = {"__name__": "__flowfile__", "__file__": full}
        before = os.getcwd()
        _current_overrides.append(overrides)
        sys.path.insert(0, root)
        no_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            os.chdir(root)
            exec(compile(text, full, "exec"), namespace)
        except FlowError:
            raise
        except SyntaxError as error:
            from buildflow.errors import Source

            span = Span(Source(shown, text.decode("utf-8", "replace")), error.lineno or 1, error.offset or 1)
            raise FlowError(f"{error.msg}", span) from None
        except Exception as error:
            import traceback

            frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == full]
            from buildflow.errors import Source

            where = Span(Source(shown, text.decode("utf-8", "replace")), frames[-1].lineno or 1, 1) if frames else None
            raise FlowError(f"{type(error).__name__}: {error}", where) from None
        finally:
            os.chdir(before)
            sys.path.remove(root)
            sys.dont_write_bytecode = no_bytecode
            _current_overrides.pop()
        flow = namespace.get("flow")
        if not isinstance(flow, Flow):
            raise FlowError(f"{shown} leaves no Flow in “flow”", None, "write “flow = Flow()” and add rules to it")
        flow.flowfile = shown
        flow.reads.file(shown)
        flow.overrides = dict(overrides)
        for scope in flow.scopes:
            scope.overrides = {name: tuple(words) for name, words in overrides.items()}
            flow._apply_overrides()
        flow.check()
        return flow

    def _apply_overrides(self) -> None:
        for name, words in self.overrides.items():
            definition = self.scope.definitions.get(name)
            if definition is None:
                continue
            if definition.joint:
                definition.keep[name] = tuple(word.text for word in words)
                self.scope.used_overrides.add(name)
            else:
                self.scope._override_now(name)

    # ---- names -------------------------------------------------------------------------------------------------

    def __setitem__(self, name: str | tuple[str, ...], value: Any) -> None:
        """Assign a name: a string (one word), a list, `re.compile(…)`, a function of `buildflow` (`glob(…)`), or for
        several names rows or a function."""
        span = caller_span()
        if isinstance(name, tuple):
            self._assign_joint(name, value, span)
            return
        _check_name(name, span)
        if isinstance(value, re.Pattern):
            self.scope.set_pattern(name, value.pattern, span)
        elif isinstance(value, Call):
            self.scope.assign((name,), "=", (value,), span=span)
        elif isinstance(value, (list, tuple, range, set, frozenset)):
            terms: list[Term] = [v if isinstance(v, Call) else parse_word(str(v), span) for v in value]
            self.scope.assign((name,), "=", terms, span=span)
        else:
            text = str(value)
            self.scope.assign((name,), "=", (parse_word(text, span),) if text else (), span=span)

    def _assign_joint(self, names: tuple[str, ...], value: Any, span: Span | None) -> None:
        for name in names:
            _check_name(name, span)
        if isinstance(value, Call):
            self.scope.assign(names, "=", (value,), joint=True, span=span)
            return
        rows: list[tuple[Word, ...]] = []
        for row in value:
            cells = [row] if isinstance(row, str) else list(row)
            words: list[Word] = []
            for i, cell in enumerate(cells):
                if isinstance(cell, (list, tuple)) and i == len(names) - 1:
                    words.extend(parse_word(str(c), span) for c in cell)
                else:
                    words.append(parse_word(str(cell), span))
            if len(cells) > len(names):
                raise FlowError(f"a row of {len(cells)} values for {len(names)} names: {row!r}", span)
            rows.append(tuple(words))
        self.scope.assign(names, "=", (), rows, joint=True, span=span)

    def include(self, path: str, **parameters: Any) -> None:
        """A library file (`"<mrtrix3.flow>"`, with values for its names) or a local one."""
        from buildflow.lang.load import include

        span = caller_span()
        words = {name: [parse_word(str(v), span) for v in (value if isinstance(value, (list, tuple)) else str(value).split())]
                 for name, value in parameters.items()}  # fmt: skip
        include(self, path, words, span)

    # ---- rules -------------------------------------------------------------------------------------------------

    def rule(
        self,
        targets: Any,
        inputs: Any = None,
        after: Any = None,
        shell: str | None = None,
        python: str | bool | None = None,
        **attributes: Any,
    ) -> Any:
        """Add a rule: with `shell`, a recipe; as a decorator on a function, that function; with neither, an alias.

        `targets`, `inputs`, `after`: a string is one word, a list several, a dict names them; `inputs` may be a
        function of the wildcards. Other keywords are attributes, by the names of the Flowfile.
        """
        span = caller_span()
        function = inputs if callable(inputs) else None
        given = [] if function is not None else word_list(inputs, span)
        found = [_attribute(name.replace("resource_", "resource.", 1) if name.startswith("resource_") else name, value, span)
                 for name, value in attributes.items() if value is not None and value is not False]  # fmt: skip
        recipe: Recipe | None = None
        if shell is not None:
            recipe = _recipe(shell)
        elif isinstance(python, str):
            recipe = Recipe("python", _dedent(python))
        elif "call" in attributes:
            recipe = Recipe("call", str(attributes["call"]))
        rule = self.add_rule(
            word_list(targets, span), given, word_list(after, span), recipe, found, span=span, input_function=function
        )
        return _Declared(self, rule)

    def check(self) -> None:
        super().check()

    def build(self, target: Any = None, **options: Any) -> Any:
        """Build a target, a pattern (with values for its names) or a list of targets; see `Submitter`."""
        from buildflow.submitter import OPTIONS, Submitter

        own = {name: options.pop(name) for name in list(options) if name in OPTIONS}
        with Submitter(**own) as submit:
            return submit(self, target, **options)


class _Declared:
    """What `flow.rule` gives: the rule, and a decorator for the function that makes it."""

    def __init__(self, flow: Flow, rule: Rule) -> None:
        self._flow = flow
        self.declared = rule

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        rule = self.declared
        if rule.recipe is not None:
            raise FlowError(f"the rule {rule.name} has a recipe already", rule.span)
        rule.recipe = Recipe("function", getattr(function, "__qualname__", "function"), function=function)
        for name, attribute in self._flow.defaults.items():
            rule.attributes.setdefault(name, attribute)
        return function


_current_overrides: list[Mapping[str, Sequence[Word]]] = []


def _check_name(name: str, span: Span | None) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise FlowError(f"{name!r} is no name", span, "a name is letters, digits and _")


def _override(value: Any) -> list[Word]:
    if isinstance(value, str):
        return split_plain(value)
    if isinstance(value, (list, tuple)):
        return [v if isinstance(v, Word) else Word((str(v),)) for v in value]
    return [Word((str(value),))]


def _attribute(name: str, value: Any, span: Span | None) -> Attribute:
    if value is True:
        return Attribute(name, None, (), span)
    if isinstance(value, (list, tuple)):
        words = [parse_word(str(v), span) for v in value]
        return Attribute(name, " ".join(str(v) for v in value), words, span)
    if isinstance(value, dict):
        words = [parse_word(f"{k}={v}", span) for k, v in value.items()]
        return Attribute(name, " ".join(word.text for word in words), words, span)
    text = str(value)
    return Attribute(name, text, [Word(w.parts, span) for w in split_plain(text)], span)


def _dedent(text: str) -> str:
    import textwrap

    return textwrap.dedent(text).strip("\n")


def _recipe(text: str) -> Recipe:
    body = _dedent(text)
    return Recipe("script" if body.startswith("#!") else "shell", body)
