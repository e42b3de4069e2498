"""Names and their domains: what `=`, `?=`, `+=`, `~` and joint assignments mean, and how a word expands.

A `Scope` holds the assignments of the Flowfile and its local includes, or those of one library file. A name is
*free* (no assignment), *finite* (it belongs to a `Relation`: a table of rows, of which a plain list is the one-column
case) or a *follower* (its value holds other names). Nothing is evaluated before it is used; what is read on the way is
read through the `World`, so that the plan knows what it depends on. This module knows neither rules nor files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, product
from typing import NamedTuple, Protocol, Union

from buildflow.errors import FlowError, Span
from buildflow.lang.statements import Call, Term
from buildflow.near import did_you_mean
from buildflow.template import Glob, Hole, Part, Word

Cell = tuple[str, ...]
Row = tuple[Cell, ...]
Binding = Mapping[str, str]
NOTHING: dict[str, str] = {}


class GlobText(str):
    """A value in which active glob characters stand: a glob where it is an input, text elsewhere."""

    __slots__ = ("parts",)
    parts: tuple[Part, ...]


class Nested(NamedTuple):
    """`{bam.stem}` where `bam` is a follower: the attribute of what the inner parts give. A part, internally."""

    parts: tuple[object, ...]
    attr: str

    @property
    def name(self) -> str:  # never equal to a real name
        return "."


class World(Protocol):
    """What evaluating a function may ask for; the planner answers, and remembers what was asked.

    `cut`: names under evaluation that could not be asked for, whose part was left out. What is found meanwhile holds
    for that evaluation alone, and is not remembered.
    """

    cut: set[Definition]

    def table(self, path: str, columns: Sequence[str], left: Sequence[str], span: Span | None) -> list[Row]: ...
    def lines(self, path: str, span: Span | None) -> list[str]: ...
    def config(self, path: str, key: str, left: Sequence[str], span: Span | None) -> list[Row]: ...
    def variable(self, name: str) -> str | None: ...
    def empty(self, definition: Definition, text: str) -> None: ...
    def shell(self, command: str, span: Span | None) -> list[str]: ...
    def conditional(self, scope: Scope, parts: Sequence[Part], left: Sequence[str]) -> Sequence[str]: ...
    def glob(
        self, parts: Sequence[Part], patterns: Mapping[str, re.Pattern[str]], span: Span | None
    ) -> list[tuple[str, dict[str, str]]]: ...


class Pending(Exception):
    """A name can be evaluated only once these paths are made."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(", ".join(paths))
        self.paths = tuple(paths)


class Unbound(FlowError):
    """A name is to expand, and has no values."""


class Circular(FlowError):
    """A value that holds itself by way of other names: `definition` is being evaluated and asked for again."""

    definition: Definition


class Definition:
    """One assignment: of one name (`terms`) or of several (`rows`, or one call in `terms`).

    `previous` is what each of its names meant before. `foreign` is the scope that the words' holes belong to where it
    is not the scope of the name (the parameters of an include).
    """

    __slots__ = (
        "names",
        "terms",
        "rows",
        "joint",
        "previous",
        "append",
        "span",
        "patterns",
        "foreign",
        "value",
        "busy",
        "keep",
        "conditional",
        "number",
    )

    def __init__(
        self,
        names: tuple[str, ...],
        terms: tuple[Term, ...] = (),
        rows: tuple[tuple[Word, ...], ...] = (),
        *,
        joint: bool = False,
        previous: Mapping[str, Definition] = {},
        append: bool = False,
        span: Span | None = None,
        patterns: Mapping[str, re.Pattern[str]] = {},
        foreign: Scope | None = None,
    ) -> None:
        self.names = names
        self.terms = terms
        self.rows = rows
        self.joint = joint
        self.previous = dict(previous)
        self.append = append
        self.span = span
        self.patterns = dict(patterns)
        self.foreign = foreign
        self.value: Relation | Follower | None = None
        self.busy = False
        self.number = next(_numbers)  # in written order, whatever the scope
        self.conditional: tuple[str, ...] = ()  # of a joint glob: names to be bound before it can be evaluated
        self.keep: dict[str, tuple[str, ...]] = {}  # of a joint one: the values that the command line keeps


_numbers = count()


class Relation:
    """A finite domain: distinct rows over some names; a cell holds no, one or several values.

    One column that was written as a list keeps its duplicates (`rows` are then not distinct).
    """

    __slots__ = ("columns", "rows", "_index", "_sets", "place")

    def __init__(self, columns: tuple[str, ...], rows: list[Row]) -> None:
        self.columns = columns
        self.rows = rows
        self.place = {name: i for i, name in enumerate(columns)}
        self._index: dict[str, dict[str, list[Row]]] = {}
        self._sets: dict[str, frozenset[str]] = {}

    def values(self, name: str) -> frozenset[str]:
        """The set of the values that `name` takes."""
        found = self._sets.get(name)
        if found is None:
            i = self.place[name]
            found = self._sets[name] = frozenset(v for row in self.rows for v in row[i])
        return found

    def restrict(self, bound: Binding) -> list[Row]:
        """The rows that agree with the bound names; a cell of several values agrees with each of them."""
        rows = self.rows
        first = True
        for name in self.columns:
            value = bound.get(name)
            if value is None:
                continue
            if first:
                index = self._index.get(name)
                if index is None:
                    index = self._index[name] = {}
                    i = self.place[name]
                    for row in self.rows:
                        for v in dict.fromkeys(row[i]):  # a cell may say a value twice
                            index.setdefault(v, []).append(row)
                rows = index.get(value, [])
                first = False
            else:
                i = self.place[name]
                rows = [row for row in rows if value in row[i]]
        return rows

    def single(self, name: str) -> str | None:
        """The one value of `name`, where it has just one."""
        if len(self.rows) == 1:
            cell = self.rows[0][self.place[name]]
            return cell[0] if len(cell) == 1 else None
        values = self.values(name)
        if len(self.columns) > 1 and len(values) == 1 and all(row[self.place[name]] for row in self.rows):
            return next(iter(values))
        return None


class Follower:
    """A value that holds other names: its terms, each a word with holes or a call with holes."""

    __slots__ = ("terms", "definition")

    def __init__(self, terms: tuple[Term, ...], definition: Definition) -> None:
        self.terms = terms
        self.definition = definition


class CallHole(NamedTuple):
    """A part that stands for the values of one call of a follower under a binding. Internal."""

    name: str
    term: int
    definition: Definition
    attr: str | None = None

    @property
    def call(self) -> Call:
        value = self.definition.value
        terms = value.terms if isinstance(value, Follower) else self.definition.terms
        call = terms[self.term]
        assert isinstance(call, Call)
        return call


FlatPart = Union[str, Glob, Hole, Nested, CallHole]
Flat = tuple[FlatPart, ...]


def apply_attribute(text: str, attr: str, span: Span | None = None) -> str:
    """`.name .stem .ext .dir` of a path, as Python's `pathlib` has them."""
    if attr == "path":
        return text
    body = text.rstrip("/") if len(text) > 1 else text
    folder, slash, name = body.rpartition("/")
    if attr == "dir":
        return folder or ("/" if slash else ".")
    if attr == "name":
        return name
    dot = name.rfind(".")
    if dot <= 0 or dot == len(name) - 1 or not name[:dot].strip("."):
        stem, ext = name, ""
    else:
        stem, ext = name[:dot], name[dot:]
    if attr == "stem":
        return stem
    if attr == "ext":
        return ext
    raise FlowError(f"nothing has a “.{attr}”", span, "a path has .name, .stem, .ext and .dir")


class Scope:
    """The assignments that see each other, and the evaluation of words under a binding."""

    def __init__(self, overrides: Mapping[str, Sequence[Word]] = {}, *, library: str | None = None) -> None:
        self.definitions: dict[str, Definition] = {}
        self.patterns: dict[str, re.Pattern[str]] = {}
        self.pattern_spans: dict[str, Span | None] = {}
        self.overrides = {name: tuple(words) for name, words in overrides.items()}
        self.given: dict[str, Definition] = {}  # a library's parameters
        self.library = library
        self.world: World | None = None
        self.used_overrides: set[str] = set()
        self.environ: Callable[[str], str | None] = lambda name: None
        self._calls: dict[tuple[int, int, tuple[str, ...]], list[Row]] = {}
        self._lazy = False

    # ---- assignments -------------------------------------------------------------------------------------------

    def set_pattern(self, name: str, regex: str, span: Span | None = None) -> None:
        """`name ~ regex`. Raises FlowError where it does not compile."""
        if name in RESERVED:
            raise FlowError(f"“{name}” is a reserved name", span, "choose another name for it")
        try:
            self.patterns[name] = re.compile(regex)
        except re.error as error:
            raise FlowError(f"the pattern of {name} is no regular expression: {error}", span) from None
        self.pattern_spans[name] = span

    def assign(
        self,
        names: Sequence[str],
        operator: str,
        terms: Sequence[Term] = (),
        rows: Sequence[tuple[Word, ...]] = (),
        *,
        joint: bool = False,
        span: Span | None = None,
    ) -> None:
        """One assignment of the file, in written order; `operator` is `=`, `?=` or `+=`."""
        names = tuple(names)
        for i, name in enumerate(names):
            if name in RESERVED:
                raise FlowError(f"“{name}” is a reserved name", span, "choose another name for it")
            if name in names[:i]:
                raise FlowError(f"“{name}” stands twice on the left", span)
        if not joint:
            name = names[0]
            assigned = name in self.definitions and name not in self.given
            if name in self.overrides and (self.library is None or name in self.used_overrides):
                self._override(name, span)
                return
            if operator == "?=" and assigned:
                return
            if name in self.overrides and operator == "?=":
                self._override(name, span)
                return
            if name in self.given:
                return
            if operator == "?=":
                value = self.environ(name)
                if value is not None:
                    self.definitions[name] = Definition(names, _split(value, span), span=span)
                    return
        elif operator == "?=":
            if any(name in self.definitions for name in names):
                return
        previous = {name: self.definitions[name] for name in names if name in self.definitions}
        new = Definition(
            names,
            tuple(terms),
            tuple(rows),
            joint=joint,
            previous=previous,
            append=operator == "+=",
            span=span,
            patterns={name: self.patterns[name] for name in names if name in self.patterns},
        )
        if joint:
            for name in names:
                if name in self.overrides and self.library is None:
                    new.keep[name] = tuple(word.text for word in self.overrides[name])
                    self.used_overrides.add(name)
            # all names of the relations that this joins mean the joined one from here on
            for old in list(previous.values()):
                for other in old.names if old.joint else ():
                    if other not in names and self.definitions.get(other) is not None:
                        self.definitions[other] = new
                        new.previous.setdefault(other, old)
        for name in names:
            self.definitions[name] = new

    def _override(self, name: str, span: Span | None) -> None:
        self.used_overrides.add(name)
        if name not in self.definitions or self.definitions[name].foreign is not None:
            self.definitions[name] = Definition((name,), tuple(self.overrides[name]), span=span)

    def check(self) -> None:
        """Raises FlowError for a value that is written down and does not match its name's pattern."""
        for name in self.patterns:
            definition = self.definitions.get(name)
            while definition is not None:
                if definition.joint:
                    i = definition.names.index(name) if name in definition.names else -1
                    last = i == len(definition.names) - 1
                    words = [w for row in definition.rows for w in (row[i:] if last else row[i : i + 1])] if i >= 0 else []
                else:
                    words = [term for term in definition.terms if isinstance(term, Word)]
                for word in words:
                    if word.plain and (word.parts or not definition.joint):
                        self._must_match(name, word.text, word.span or definition.span)
                definition = definition.previous.get(name) if definition.append or definition.joint else None

    def _override_now(self, name: str) -> None:
        """The command line's value for a name that is assigned already (a Flowfile.py)."""
        self.used_overrides.add(name)
        self.definitions[name] = Definition((name,), tuple(self.overrides[name]))

    def give(self, name: str, words: Sequence[Word], scope: Scope, span: Span | None) -> None:
        """A parameter of the include that made this library scope; its holes belong to the including `scope`."""
        self.given[name] = Definition((name,), tuple(words), span=span, foreign=scope)
        self.definitions[name] = self.given[name]

    def known(self) -> set[str]:
        """Every name that has an assignment or a pattern."""
        return set(self.definitions) | set(self.patterns)

    def reset(self, world: World) -> None:
        """Forget what was evaluated; evaluate through `world` from now on."""
        self.world = world
        self._calls.clear()
        seen: set[int] = set()
        stack = list(self.definitions.values()) + list(self.given.values())
        while stack:
            definition = stack.pop()
            if id(definition) in seen:
                continue
            seen.add(id(definition))
            definition.value = None
            definition.busy = False
            definition.conditional = ()
            stack.extend(definition.previous.values())

    # ---- evaluation --------------------------------------------------------------------------------------------

    def value(self, name: str) -> Relation | Follower | None:
        """What a name is: None where it is free."""
        definition = self._defined(name)
        return None if definition is None else self._evaluate(definition)

    def _defined(self, name: str) -> Definition | None:
        """The assignment that says what a name is: for what a joint glob must have bound first, the former one."""
        definition = self.definitions.get(name)
        if definition is not None and definition.joint:
            self._evaluate(definition)
            if name in definition.conditional:
                return definition.previous.get(name)
        return definition

    def _evaluate(self, definition: Definition) -> Relation | Follower:
        if definition.value is None:
            if definition.busy:
                error = Circular(
                    f"the value of {' and '.join(definition.names)} holds itself, by way of other names",
                    definition.span,
                    "break the circle: one of the names must have a value of its own",
                )
                error.definition = definition
                raise error
            definition.busy = True
            cut = self.world.cut if self.world is not None else set()
            before = set(cut)
            cut.clear()
            try:
                scope = definition.foreign or self
                value = scope._compute(definition)
            finally:
                definition.busy = False
                cut.discard(definition)
                whole = not cut
                cut |= before
            if whole:
                definition.value = value
                if isinstance(value, Relation) and not value.rows:
                    self._tell_empty(definition)
            return value
        return definition.value

    def _tell_empty(self, definition: Definition, call: Call | None = None) -> None:
        """Tell the world of a domain that came out empty. What a library leaves empty is its own business."""
        if self.library is not None or self.world is None:
            return
        names = definition.names
        text = f"{' and '.join(names)} {'has' if len(names) == 1 else 'have'} no values"
        call = call or next((term for term in definition.terms if isinstance(term, Call)), None)
        if call is not None and not any(old.value is not None for old in definition.previous.values()):
            written = f"{call.function}({', '.join(word.text for word in call.arguments)})"
            text += f": {written} {'finds' if call.function == 'glob' else 'gives'} nothing"
        elif definition.previous:
            text += ": nothing agrees with the values from before"
        self.world.empty(definition, text)

    def _compute(self, definition: Definition) -> Relation | Follower:
        if definition.joint:
            return self._compute_joint(definition)
        name = definition.names[0]
        values: list[Cell] = []
        before = definition.previous.get(name)
        if definition.append and before is not None:
            old = self._evaluate(before)
            if isinstance(old, Follower) or len(old.columns) > 1:
                first: tuple[Term, ...] = (Word((Hole(name),), definition.span),)
                return Follower(first + definition.terms, definition)
            if before.terms or before.append or before.joint:  # “NAME =” with nothing is nothing to add to
                values.extend(row[0] for row in old.rows)
        elif not definition.terms:
            values.append(("",))
        for term in definition.terms:
            if isinstance(term, Call):
                if self._call_holes(term, definition):
                    return Follower(self._appended(definition), definition)
                for row in self._call_rows(term, definition, NOTHING):
                    values.append(row[0])
            else:
                static = self._static(term, definition)
                if static is None:
                    if definition.foreign is not None:
                        values.extend((text,) for text in self.expand_word(term, NOTHING))
                        continue
                    return Follower(self._appended(definition), definition)
                for text in static:
                    self._must_match(name, text, term.span or definition.span)
                    values.append((text,))
        if before is not None and not definition.append and len(definition.terms) == 1 and self._selects(definition.terms[0], name):
            kept = self._evaluate(before)
            if isinstance(kept, Relation):
                found = {cell[0] for cell in values if cell}
                i = kept.place[name]
                rows = [row for row in kept.rows if any(v in found for v in row[i])]
                return Relation(kept.columns, rows) if len(kept.columns) > 1 else Relation((name,), rows)
        return Relation((name,), [(cell,) for cell in values])

    @staticmethod
    def _selects(term: Term, name: str) -> bool:
        """Whether a term is a glob in which the name itself is the wildcard: it joins on the former values."""
        return isinstance(term, Call) and term.function == "glob" and any(name in w.names for w in term.arguments)

    @staticmethod
    def _appended(definition: Definition) -> tuple[Term, ...]:
        name = definition.names[0]
        if definition.append and name in definition.previous:
            return (Word((Hole(name),), definition.span), *definition.terms)
        return definition.terms

    def _compute_joint(self, definition: Definition) -> Relation | Follower:
        names = definition.names
        if definition.terms:
            call = definition.terms[0]
            assert isinstance(call, Call)
            if call.function == "glob":
                assert self.world is not None
                for word in call.arguments:
                    for flat in self._argument(call, word, definition):
                        asked = self.world.conditional(self, [p for p in flat if isinstance(p, (str, Hole))], names)
                        definition.conditional += tuple(n for n in asked if n not in definition.conditional)
            if definition.conditional or self._call_holes(call, definition):
                return Follower(definition.terms, definition)
            rows = self._call_rows(call, definition, NOTHING)
        else:
            rows = [row for words in definition.rows for row in self._written_row(words, definition)]
        rows = list(dict.fromkeys(rows))
        result = Relation(names, rows)
        former: list[Relation] = []
        for old in sorted(dict.fromkeys(definition.previous.values()), key=lambda d: d.number):
            value = self._evaluate(old)
            if isinstance(value, Follower):
                raise FlowError(
                    f"{' and '.join(old.names)} follows other names, so nothing can be joined on it",
                    definition.span,
                )
            if definition.append and set(value.columns) == set(names):
                order = [value.place[name] for name in names]
                result = Relation(names, list(dict.fromkeys([tuple(r[i] for i in order) for r in value.rows] + rows)))
                continue
            if not any(value is f for f in former):
                former.append(value)
        for value in reversed(former):
            result = join(value, result)
        for name, kept in definition.keep.items():
            i = result.place[name]
            chosen = [row for row in result.rows if any(v in kept for v in row[i])]
            missing = [v for v in kept if v not in result.values(name)]
            if missing or not chosen:
                hint = did_you_mean(missing[0], result.values(name)) if missing else None
                raise FlowError(f"no row of {', '.join(names)} has {name}={' '.join(missing or kept)}", None, hint)
            result = Relation(result.columns, chosen)
        return result

    def _written_row(self, words: tuple[Word, ...], definition: Definition) -> list[Row]:
        """The rows that one written row stands for: holes of other names filled, those of this row by its cells."""
        names = definition.names
        cells: list[Cell] = []
        bound: dict[str, str] = {}
        for i, name in enumerate(names):
            mine = words[i:] if i == len(names) - 1 else words[i : i + 1]
            texts: list[str] = []
            for word in mine:
                found = self._expand_flats(self.flatten(word.parts, definition, own=bound), bound, word.span)
                texts.extend(text for text in found if text or len(mine) > 1)
            for text in texts:
                self._must_match(name, text, (mine[0].span if mine else None) or definition.span)
            cells.append(tuple(texts))
            if len(texts) == 1:
                bound[name] = texts[0]
        return [tuple(cells)]

    def _must_match(self, name: str, text: str, span: Span | None) -> None:
        pattern = self.patterns.get(name)
        if pattern is not None and not pattern.fullmatch(text):
            raise FlowError(f"{name} = {text} does not match its pattern {pattern.pattern}", span)

    def _static(self, word: Word, definition: Definition) -> list[str] | None:
        """The values of a word that holds nothing but names of one value (a lone hole: its list); None: it follows."""
        if word.plain:
            return ["".join(str(p) for p in word.parts)]
        flats = self.flatten(word.parts, definition)
        texts = []
        for flat in flats:
            if any(isinstance(p, (Hole, Nested, CallHole)) for p in flat):
                return None
            texts.append(_text(flat))
        return texts

    # ---- calls -------------------------------------------------------------------------------------------------

    def _call_holes(self, call: Call, definition: Definition) -> bool:
        """Whether a call's arguments hold names that are free or take several values."""
        for word in call.arguments:
            for flat in self._argument(call, word, definition):
                if any(
                    isinstance(p, (Hole, Nested, CallHole)) and p.name not in self._left(call, definition) for p in flat
                ):
                    return True
        return False

    @staticmethod
    def _left(call: Call, definition: Definition) -> tuple[str, ...]:
        if call.function != "glob":
            return ()
        return tuple(name for name in definition.names if name not in definition.conditional)

    def _argument(self, call: Call, word: Word, definition: Definition) -> list[Flat]:
        left = self._left(call, definition)
        return self.flatten(word.parts, definition, keep=left)

    def _call_rows(self, call: Call, definition: Definition, bound: Binding) -> list[Row]:
        """The rows that a call gives under a binding of the names that it holds."""
        world = self.world
        assert world is not None
        names = definition.names
        left = self._left(call, definition)
        arguments: list[tuple[FlatPart, ...]] = []
        for word in call.arguments:
            flats = [self._fill_flat(flat, bound, left, word.span) for flat in self._argument(call, word, definition)]
            if call.function == "shell":
                arguments.append((" ".join(_text(flat) for flat in flats),))
            else:
                arguments.extend(flats)
        texts = [_text(flat) for flat in arguments]
        function, span = call.function, call.span

        def count(least: int, most: int, usage: str) -> None:
            if not least <= len(texts) <= most:
                raise FlowError(f"{function}() is called as {usage}", span)

        rows: list[Row]
        if function == "glob":
            count(1, 10**9, "glob(pattern)")
            found: list[tuple[str, dict[str, str]]] = []
            for flat in arguments:
                parts = [p for p in flat if isinstance(p, (str, Hole))]
                found.extend(world.glob(parts, definition.patterns, span))
            if any(isinstance(p, Hole) for flat in arguments for p in flat):
                rows = list(
                    dict.fromkeys(
                        tuple((b[n] if n in b else bound[n],) for n in names if n in b or n in bound) for _, b in found
                    )
                )
                missing = [
                    n for n in left if not any(isinstance(p, Hole) and p.name == n for f in arguments for p in f)
                ]
                if missing:
                    raise FlowError(f"{missing[0]} is no wildcard of the glob", span, f"write {{{missing[0]}}} in it")
            elif len(names) == 1:
                rows = [
                    ((path,),)
                    for path in sorted({p for p, _ in found}, key=lambda p: p.encode("utf-8", "surrogateescape"))
                ]
            else:
                raise FlowError(f"the glob has no wildcards for {', '.join(names)}", span)
        elif function == "table":
            count(1, 10**9, "table(file) or table(file, column, …)")
            rows = world.table(texts[0], texts[1:], names, span)
        elif function == "lines":
            count(1, 1, "lines(file)")
            rows = [((line,),) for line in world.lines(texts[0], span)]
        elif function == "config":
            count(1, 2, "config(file, key)")
            rows = world.config(texts[0], texts[1] if len(texts) > 1 else "", names, span)
        elif function == "env":
            count(1, 2, "env(NAME, default)")
            value = world.variable(texts[0])
            if value is None:
                if len(texts) < 2:
                    raise FlowError(
                        f"the environment has no {texts[0]}", span, f"set it, or give a default: env({texts[0]}, value)"
                    )
                value = texts[1]
            rows = [((value,),)]
        elif function == "shell":
            count(1, 1, "shell(command)")
            rows = [((word,),) for word in world.shell(texts[0], span)]
        else:
            raise FlowError(f"there is no function {function}()", span)
        if function in ("lines", "env", "shell") and len(names) > 1:
            if function == "env":
                raise FlowError("env() gives one value", span)
            split = [row[0][0].split() for row in rows] if function == "lines" else [[row[0][0] for row in rows]]
            rows = [self._spread(values, len(names)) for values in split]
        kept: list[Row] = []
        for row in rows:
            cells = tuple(
                tuple(v for v in cell if self._matches(name, v)) if name in self.patterns else cell
                for name, cell in zip(names, row, strict=False)
            )
            if all(cell or not old for cell, old in zip(cells, row, strict=False)):
                kept.append(cells)
        return kept

    @staticmethod
    def _spread(values: list[str], count: int) -> Row:
        cells: list[Cell] = [(v,) for v in values[: count - 1]]
        cells += [()] * (count - 1 - len(cells))
        cells.append(tuple(values[count - 1 :]))
        return tuple(cells)

    def _matches(self, name: str, value: str) -> bool:
        pattern = self.patterns.get(name)
        return pattern is None or pattern.fullmatch(value) is not None

    # ---- words -------------------------------------------------------------------------------------------------

    def flatten(
        self,
        parts: Iterable[FlatPart],
        owner: Definition | None = None,
        *,
        keep: Sequence[str] = (),
        own: Binding = NOTHING,
    ) -> list[Flat]:
        """The word with plain names filled and followers replaced by their text: one result for each alternative.

        What is left as a `Hole` is free or takes several values; names in `keep` stay holes whatever they are, those
        in `own` have that value.
        """
        parts = tuple(parts)
        results: list[tuple[dict[str, Flat], Flat]] = [({}, ())]
        for part in parts:
            if not isinstance(part, Hole) or part.name in keep:
                results = [(chosen, (*done, part)) for chosen, done in results]
                continue
            if part.name in own:
                text = own[part.name]
                results = [(c, (*done, apply_attribute(text, part.attr) if part.attr else text)) for c, done in results]
                continue
            label = str(part)
            alternatives: list[Flat] | None = None
            fresh = []
            for chosen, done in results:
                if label in chosen:
                    fresh.append((chosen, done + chosen[label]))
                    continue
                if alternatives is None:
                    alternatives = self._alternatives(part, owner)
                    if part.star:
                        alternatives = [tuple(_starred(p) for p in flat) for flat in alternatives]
                if len(alternatives) == 1:
                    fresh.append((chosen, done + alternatives[0]))
                else:
                    fresh.extend(({**chosen, label: one}, done + one) for one in alternatives)
            results = fresh
        return [done for _, done in results]

    def flatten_static(self, parts: Iterable[FlatPart]) -> list[Flat]:
        """As `flatten`, but nothing is read: names that a function gives stay holes."""
        self._lazy = True
        try:
            return self.flatten(parts)
        finally:
            self._lazy = False

    def reads(self, name: str) -> bool:
        """Whether what a name is can be known only by calling functions, which were not called yet."""
        definition = self.definitions.get(name)
        return definition is not None and self._reads(definition)

    def _reads(self, definition: Definition, busy: tuple[int, ...] = ()) -> bool:
        """Whether evaluating a definition may call a function."""
        if definition.value is not None and isinstance(definition.value, Relation):
            return False
        if id(definition) in busy:
            return False
        busy = (*busy, id(definition))
        scope = self._foreign(definition)
        words = [word for row in definition.rows for word in row]
        for term in definition.terms:
            if isinstance(term, Call):
                return True
            words.append(term)
        if any(scope._reads(old, busy) for old in definition.previous.values()):
            return True
        for name in {name for word in words for name in word.names}:
            inner = scope.definitions.get(name)
            if inner is not None and scope._reads(inner, busy):
                return True
        return False

    def _alternatives(self, hole: Hole, owner: Definition | None) -> list[Flat]:
        if owner is not None and owner.foreign is not None:
            owner = None
        if self._lazy and owner is None:
            seen = self.definitions.get(hole.name)
            if seen is not None and self._reads(seen):
                if not seen.joint and seen.foreign is None and not any(isinstance(t, Call) for t in seen.terms):
                    return self._unread(hole, seen)
                return [(hole,)]
        own = owner is not None and hole.name in owner.names
        if own:
            assert owner is not None
            definition = owner.previous.get(hole.name)
            if hole.name in owner.conditional:  # it is to be bound: one value of what it was before
                own = False
                if definition is None:
                    return [(hole,)]
            elif definition is None:
                raise FlowError(
                    f"{hole.name} holds itself, and has no value before",
                    owner.span,
                    f"assign {hole.name} first, or use another name",
                )
        else:
            definition = self._defined(hole.name)
            if definition is None:
                return [(hole,)]
        value = self._evaluate(definition)
        if isinstance(value, Relation):
            if hole.attr == "rows":
                return [(hole,)]
            place = value.place[hole.name]
            only = value.single(hole.name)
            if only is None and not own and hole.index is None:
                return [(hole,)]
            values = [v for row in value.rows for v in row[place]] if only is None else [only]
            if hole.index is not None:
                values = self._pick(hole, values)
            if hole.attr:
                values = [apply_attribute(v, hole.attr, owner.span if owner else None) for v in values]
            return [(v.parts if isinstance(v, GlobText) else (v,)) for v in values]  # type: ignore[misc]
        flats: list[Flat] = []
        inner = value.definition
        for i, term in enumerate(value.terms):
            if isinstance(term, Call):
                flats.append((CallHole(hole.name, i, inner, hole.attr),))
                continue
            inner_flats = self._foreign(inner).flatten(term.parts, inner)
            flats.extend((Nested(flat, hole.attr),) if hole.attr else flat for flat in inner_flats)
        if hole.index is not None:
            flats = self._pick(hole, flats)
        return flats

    def _unread(self, hole: Hole, definition: Definition) -> list[Flat]:
        """The text of a follower of names that a function gives, without calling it; else the hole itself."""
        own = set(definition.names)
        if hole.attr or hole.index is not None or definition.append:
            return [(hole,)]
        flats: list[Flat] = []
        for term in definition.terms:
            assert isinstance(term, Word)
            if own & set(term.names):
                return [(hole,)]
            flats.extend(self.flatten(term.parts))
        return flats

    def _foreign(self, definition: Definition) -> Scope:
        return definition.foreign or self

    @staticmethod
    def _pick(hole: Hole, values: list[Flat] | list[str]) -> list:  # type: ignore[type-arg]
        assert hole.index is not None
        try:
            return [values[hole.index]]
        except IndexError:
            raise FlowError(f"{hole} asks for more than the {len(values)} values that {hole.name} has") from None

    def _fill_flat(self, flat: Flat, bound: Binding, keep: Sequence[str], span: Span | None) -> Flat:
        done: list[FlatPart] = []
        for part in flat:
            if isinstance(part, Hole) and part.name not in keep:
                done.append(bound[part.name] if not part.attr else apply_attribute(bound[part.name], part.attr, span))
            elif isinstance(part, (Nested, CallHole)):
                done.append("".join(self._expand_flats([(part,)], bound, span)))
            else:
                done.append(part)
        return tuple(done)

    def expand_word(self, word: Word, bound: Binding) -> list[str]:
        """All texts that a word stands for under a binding: followers filled, unbound names over their domains."""
        return self._expand_flats(self.flatten(word.parts), bound, word.span)

    def expand(self, flats: Sequence[Flat], bound: Binding, span: Span | None = None) -> list[str]:
        """The same for a word that was flattened before."""
        return self._expand_flats(flats, bound, span)

    def _expand_flats(self, flats: Sequence[Flat], bound: Binding, span: Span | None) -> list[str]:
        texts: list[str] = []
        pending: list[str] = []
        for flat in flats:
            try:
                texts.extend(text for text, _ in self.expansions(flat, bound, span))
            except Pending as wait:
                pending.extend(wait.paths)
        if pending:  # all that must be made first, so that it is made at once
            raise Pending(list(dict.fromkeys(pending)))
        return texts

    def expansions(
        self, flat: Flat, bound: Binding, span: Span | None = None, *, distinct: bool = True
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """Each text of one flattened word, with the names that it bound on the way."""
        todo = self._needed(flat, bound)
        if not todo:
            yield self._render(flat, bound, span), {}
            return
        yield from self._walk(flat, todo, dict(bound), {}, span)

    def _needed(self, flat: Flat, bound: Binding) -> list[str | CallHole]:
        """What must be chosen for a word, in order: unbound names and calls (after the names that they hold)."""
        todo: dict[str | CallHole, None] = {}

        def visit(parts: Iterable[object]) -> None:
            for part in parts:
                if isinstance(part, Hole):
                    if part.name not in bound:
                        todo.setdefault(part.name)
                elif isinstance(part, Nested):
                    visit(part.parts)
                elif isinstance(part, CallHole):
                    call = part.call
                    scope = self._foreign(part.definition)
                    left = scope._left(call, part.definition)
                    for word in call.arguments:
                        for inner in scope._argument(call, word, part.definition):
                            visit(p for p in inner if not (isinstance(p, Hole) and p.name in left))
                    if part.name not in bound:
                        todo.setdefault(part._replace(attr=None))

        visit(flat)
        return list(todo)

    def _walk(
        self,
        flat: Flat,
        todo: list[str | CallHole],
        bound: dict[str, str],
        added: dict[str, str],
        span: Span | None,
    ) -> Iterator[tuple[str, dict[str, str]]]:
        while todo and isinstance(todo[0], str) and todo[0] in bound:
            todo = todo[1:]
        if not todo:
            yield self._render(flat, bound, span), added
            return
        first = todo[0]
        if isinstance(first, CallHole):
            call = first.call
            scope = self._foreign(first.definition)
            rows = scope._memo_call(call, first, bound)
            names = first.definition.names
            mine = [n for n in names if n in todo or n == first.name]
            places = [names.index(n) for n in mine]
            fixed = [(i, bound[n]) for i, n in enumerate(names) if n in bound]
            chosen: dict[tuple[str, ...], None] = {}
            for row in rows:
                if all(value in row[i] for i, value in fixed):
                    chosen.update(dict.fromkeys(_cells([row[i] for i in places])))
            yield from self._choose(flat, mine, chosen, todo[1:], bound, added, span)
            return
        value = self.value(first)
        if value is None:
            pattern = f" (only the pattern {self.patterns[first].pattern})" if first in self.patterns else ""
            near = did_you_mean(first, self.definitions)
            raise Unbound(
                f"{{{first}}} is bound by no target here, and has no values to expand over{pattern}",
                span,
                near or f"assign it (“{first} = …”), or use it in the rule's target",
            )
        assert isinstance(value, Relation)
        mine = [n for n in todo if isinstance(n, str) and n in value.place and n not in bound]
        places = [value.place[n] for n in mine]
        found: dict[tuple[str, ...], None] = {}
        for row in value.restrict(bound):
            for values in _cells([row[i] for i in places]):
                found.setdefault(values)
        yield from self._choose(flat, mine, found, [n for n in todo if n not in mine], bound, added, span)

    def _choose(
        self,
        flat: Flat,
        names: Sequence[str],
        choices: Iterable[tuple[str, ...]],
        rest: list[str | CallHole],
        bound: dict[str, str],
        added: dict[str, str],
        span: Span | None,
    ) -> Iterator[tuple[str, dict[str, str]]]:
        """Each of the choices of values for some names, and then what the rest may be."""
        pending: list[str] = []
        for values in choices:
            more = dict(zip(names, values, strict=True))
            if not rest:
                yield self._render(flat, {**bound, **more}, span), {**added, **more}
                continue
            try:
                yield from self._walk(flat, rest, {**bound, **more}, {**added, **more}, span)
            except Pending as wait:
                pending.extend(wait.paths)
        if pending:
            raise Pending(list(dict.fromkeys(pending)))

    def _memo_call(self, call: Call, hole: CallHole, bound: Binding) -> list[Row]:
        names: list[str] = []
        left = self._left(call, hole.definition)
        for word in call.arguments:
            for flat in self._argument(call, word, hole.definition):
                names.extend(p for p in self._holes(flat) if p not in left)
        key = (id(hole.definition), hole.term, tuple(bound.get(n, "") for n in dict.fromkeys(names)))
        rows = self._calls.get(key)
        if rows is None:
            rows = self._call_rows(call, hole.definition, bound)
            if self.world is None or not self.world.cut:
                self._calls[key] = rows
                if not rows:
                    self._tell_empty(hole.definition, call)
        return rows

    def _holes(self, flat: Iterable[object]) -> Iterator[str]:
        for part in flat:
            if isinstance(part, Hole):
                yield part.name
            elif isinstance(part, Nested):
                yield from self._holes(part.parts)
            elif isinstance(part, CallHole):
                yield part.name

    def _render(self, flat: Flat, bound: Binding, span: Span | None) -> str:
        parts: list[Part] = []
        active = False
        for part in flat:
            if isinstance(part, Hole):
                text = bound[part.name]
                if part.attr:
                    text = apply_attribute(text, part.attr, span)
                if isinstance(text, GlobText):
                    parts.extend(text.parts)
                    active = True
                else:
                    parts.append(text)
            elif isinstance(part, Nested):
                parts.append(apply_attribute(self._render(part.parts, bound, span), part.attr, span))  # type: ignore[arg-type]
            elif isinstance(part, CallHole):
                text = bound[part.name]
                parts.append(apply_attribute(text, part.attr, span) if part.attr else text)
            else:
                parts.append(part)
                active = active or isinstance(part, Glob)
        if not active:
            return "".join(parts)  # type: ignore[arg-type]
        text = GlobText("".join(str(p) for p in parts))
        text.parts = tuple(parts)
        return text

    # ---- values in a recipe ------------------------------------------------------------------------------------

    def values_of(self, name: str, bound: Binding, attr: str | None = None) -> list[str]:
        """What a name stands for in a recipe or an attribute: its bound value, or all its values."""
        if name in bound and attr != "rows":
            return [bound[name]]
        definition = self._defined(name)
        if definition is None:
            raise FlowError(f"{name} has no value here")
        value = self._evaluate(definition)
        if isinstance(value, Relation):
            place = value.place[name]
            rows = value.restrict(bound)
            if attr == "rows":
                return [" ".join(row[place]) for row in rows]
            if len(value.columns) == 1:
                return [v for row in rows for v in row[0]]
            return [v for cell in dict.fromkeys(row[place] for row in rows) for v in cell]
        return self._expand_flats(self._alternatives(Hole(name), None), bound, definition.span)


def pick(hole: Hole, values: list[str]) -> list[str]:
    """What the index and the attribute of a hole choose from the values of its name. FlowError past the end."""
    if hole.index is not None:
        try:
            values = [values[hole.index]]
        except IndexError:
            raise FlowError(f"{hole} asks for more than the {len(values)} values that {hole.name} has here") from None
    if hole.attr is not None and hole.attr in PATH_ATTRIBUTES:
        values = [apply_attribute(value, hole.attr) for value in values]
    return values


PATH_ATTRIBUTES = frozenset("name stem ext dir".split())
RESERVED = frozenset("in out cpus mem gpus attempt depfile log".split())


def _split(value: str, span: Span | None) -> tuple[Word, ...]:
    """The words of a variable of the environment: as a shell reads them, or where it could not, as they are."""
    import shlex

    try:
        words = shlex.split(value)
    except ValueError:
        words = value.split()
    return tuple(Word((word,) if word else (), span) for word in words)


def _starred(part: FlatPart) -> FlatPart:
    return part._replace(star=True) if isinstance(part, Hole) else part


def _text(flat: Iterable[object]) -> str:
    parts = tuple(flat)
    text = "".join(str(p) for p in parts)
    if any(isinstance(p, Glob) for p in parts):
        glob = GlobText(text)
        glob.parts = parts  # type: ignore[assignment]
        return glob
    return text


def _cells(cells: Sequence[Cell]) -> Iterator[tuple[str, ...]]:
    """The choices of one value from each cell; none where a cell is empty."""
    if len(cells) == 1:
        for value in cells[0]:
            yield (value,)
        return
    if all(len(cell) == 1 for cell in cells):
        yield tuple(cell[0] for cell in cells)
        return
    yield from product(*cells)


def join(left: Relation, right: Relation) -> Relation:
    """Rows whose common names agree, in the order of `left`, the columns of `right` added."""
    common = [name for name in left.columns if name in right.place]
    added = [name for name in right.columns if name not in left.place]
    places = [right.place[name] for name in common]
    index: dict[tuple[str, ...], list[Row]] = {}
    for row in right.rows:
        for values in _cells([row[i] for i in places]):
            index.setdefault(values, []).append(row)
    rows: dict[Row, None] = {}
    mine = [left.place[name] for name in common]
    extra = [right.place[name] for name in added]
    for row in left.rows:
        for values in _cells([row[i] for i in mine]):
            for other in index.get(values, ()):
                whole = list(row)
                for i, value in zip(mine, values, strict=True):
                    whole[i] = (value,)
                rows.setdefault(tuple(whole) + tuple(other[i] for i in extra))
    return Relation(left.columns + tuple(added), list(rows))


def holds_names(term: Term) -> bool:
    """Whether a term holds names."""
    return any(word.names for word in (term.arguments if isinstance(term, Call) else (term,)))
