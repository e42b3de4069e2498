"""Statements to rules: reads a Flowfile, its includes and libraries into a `Builder`.

The only module that knows both the syntax's statements and the builder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from buildflow.attributes import Attribute, Attributes, check_attribute
from buildflow.builder import Builder
from buildflow.errors import FlowError, Span
from buildflow.lang.lines import read_source
from buildflow.lang.parser import parse
from buildflow.lang.statements import Assign, Defaults, Include, Pattern, RuleStatement
from buildflow.lang.statements import Attribute as AttributeText
from buildflow.lang.words import split_plain, split_words
from buildflow.library import library_files, library_folder
from buildflow.names import NOTHING, Scope
from buildflow.near import did_you_mean
from buildflow.rule import Recipe
from buildflow.template import Word


def load(builder: Builder, path: str) -> None:
    """Read the Flowfile at `path` (relative to the builder's root, or absolute) and all that it includes."""
    builder.flowfile = path
    _Loader(builder, builder.scope).read(path, (), included=False)


def include(builder: Builder, path: str, parameters: Mapping[str, Sequence[Word]], span: Span | None = None) -> None:
    """`flow.include` of Python: a library in `<…>`, else a local file."""
    loader = _Loader(builder, builder.scope)
    if path.startswith("<") and path.endswith(">"):
        loader.library(path[1:-1], {k: list(v) for k, v in parameters.items()}, span, ())
    else:
        loader.read(path, (), included=True)


def attribute_words(name: str, text: str | None, span: Span | None) -> Attribute:
    """An attribute from its raw text."""
    if text is None:
        return Attribute(name, None, (), span)
    words = split_words(text, lambda offset, length: _shift(span, offset, length))
    return Attribute(name, text, words, span)


def _shift(span: Span | None, offset: int, length: int) -> Span:
    assert span is not None
    return span._replace(column=span.column + offset, length=length)


class _Loader:
    def __init__(self, builder: Builder, scope: Scope) -> None:
        self.builder = builder
        self.scope = scope
        self.defaults: dict[str, Attribute] = dict(builder.defaults)

    def read(self, path: str, chain: tuple[str, ...], *, included: bool, span: Span | None = None) -> None:
        builder = self.builder
        real = builder.reads.path(path)
        builder.reads.file(path)
        source = read_source(real, path)
        if path in chain:
            raise FlowError(f"a circle of includes: {' → '.join((*chain, path))}", span, "take one of them out")
        chain = (*chain, path)
        for statement in parse(source, self.scope.known()):
            if isinstance(statement, Assign):
                self.scope.assign(
                    statement.names, statement.operator, statement.terms, statement.rows,
                    joint=statement.joint, span=statement.span,
                )  # fmt: skip
            elif isinstance(statement, Pattern):
                self.scope.set_pattern(statement.name, statement.regex, statement.span)
            elif isinstance(statement, Defaults):
                for text in statement.attributes:
                    check_attribute(text.name, text.text, text.span)
                    attribute = self._attribute(text)
                    if text.name in ("default", "name", "phony", "call"):
                        raise FlowError(f"{text.name} is of one rule and has no default", text.span)
                    self.defaults[text.name] = attribute
            elif isinstance(statement, Include):
                self._include(statement, path, chain)
            else:
                self._rule(statement, included)

    def _attribute(self, text: AttributeText) -> Attribute:
        return attribute_words(text.name, text.text, text.text_span or text.span)

    def _rule(self, statement: RuleStatement, included: bool) -> None:
        seen: set[str] = set()
        for text in statement.attributes:
            check_attribute(text.name, text.text, text.span)
            if text.name in seen and text.name != "hooks":
                raise FlowError(f"the attribute “{text.name}” stands twice", text.span)
            seen.add(text.name)
        attributes = [self._attribute(a) for a in statement.attributes]
        names = {a.name for a in attributes}
        makes = statement.recipe is not None or "call" in names
        defaults = {k: v for k, v in self.defaults.items() if k != "anonymous" or makes}
        recipe: Recipe | None = None
        call = next((a for a in attributes if a.name == "call"), None)
        if call is not None:
            if statement.recipe is not None:
                raise FlowError(
                    "a rule with [call = …] and a recipe", statement.recipe.places[0], "take one of them out"
                )
            recipe = Recipe("call", (call.text or "").strip())
        elif statement.recipe is not None:
            body = statement.recipe.text
            kind = "python" if Attributes({**defaults, **{a.name: a for a in attributes}}).flag("python") else "shell"
            if body.startswith("#!"):
                kind = "script"
            recipe = Recipe(kind, body, statement.recipe)
        self.builder.add_rule(
            statement.targets, statement.inputs, statement.order_only, recipe, attributes,
            scope=self.scope, span=statement.span, help=statement.help, included=included, defaults=defaults,
        )  # fmt: skip

    def _include(self, statement: Include, path: str, chain: tuple[str, ...]) -> None:
        found = self._path(statement)
        if statement.library:
            parameters = {name: _parameter(word) for name, word in statement.parameters}
            self.library(found, parameters, statement.span, chain)
            return
        if statement.parameters:
            raise FlowError(
                "a local file shares the names of the file that includes it, and takes no NAME=VALUE",
                statement.span,
                f"write “{statement.parameters[0][0]} = …” above the include",
            )
        target = os.path.normpath(os.path.join(os.path.dirname(path), found)) if not found.startswith("/") else found
        if not os.path.exists(self.builder.reads.path(target)):
            self.builder.reads.missing(target)
            if statement.optional:
                return
            raise FlowError(
                f"there is no file {target}", statement.span, "“include? …” is for files that may be missing"
            )
        self.read(target, chain, included=True, span=statement.span)

    def _path(self, statement: Include) -> str:
        word = statement.path
        if not any(not isinstance(p, str) for p in word.parts):
            return word.text
        for scope in self.builder.scopes:
            if scope.world is None:
                from buildflow.world import DiskWorld

                scope.world = DiskWorld(self.builder.reads)
        texts = self.scope.expand_word(word, NOTHING)
        if len(texts) != 1:
            raise FlowError(
                f"the path of an include must be one file, and {word.text} stands for {len(texts)}",
                word.span,
                "use a name that has one value",
            )
        return texts[0]

    def library(
        self, name: str, parameters: dict[str, list[Word]], span: Span | None, chain: tuple[str, ...]
    ) -> None:
        """Read a file of the rule library into a scope of its own."""
        folder = library_folder()
        real = os.path.join(folder, name)
        if not os.path.isfile(real):
            known = library_files()
            raise FlowError(
                f"the rule library has no {name}",
                span,
                did_you_mean(name, known) or f"it has: {' '.join(known)}; a local file is written in quotes",
            )
        scope = self.builder.new_scope(library=name)
        for key, words in parameters.items():
            scope.give(key, words, self.scope, span)
        loader = _Loader(self.builder, scope)
        loader.defaults = {}
        loader.read(real, chain, included=True, span=span)


def _parameter(word: Word) -> list[Word]:
    """The words of `NAME=VALUE`: a quoted value with white space is several, as on the command line."""
    if word.plain and any(c.isspace() for c in word.text):
        return [Word(w.parts, word.span) for w in split_plain(word.text)]
    if not any(isinstance(p, str) and type(p) is str and any(c.isspace() for c in p) for p in word.parts):
        return [Word(word.parts, word.span)]
    words: list[Word] = []
    current: list[object] = []
    for part in word.parts:
        if type(part) is not str:
            current.append(part)
            continue
        pieces = part.split()
        if part[:1].isspace() and current:
            words.append(Word(tuple(current), word.span))  # type: ignore[arg-type]
            current = []
        for i, piece in enumerate(pieces):
            if i:
                words.append(Word(tuple(current), word.span))  # type: ignore[arg-type]
                current = []
            current.append(piece)
        if part[-1:].isspace() and current:
            words.append(Word(tuple(current), word.span))  # type: ignore[arg-type]
            current = []
    if current:
        words.append(Word(tuple(current), word.span))  # type: ignore[arg-type]
    return words
