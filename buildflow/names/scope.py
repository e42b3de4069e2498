"""A scope: the assignments that see each other, and what each comes to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from buildflow.errors import FlowError, Span
from buildflow.lang.statements import Call, Term
from buildflow.names.calls import Calls
from buildflow.names.definition import Circular, Definition, Follower, World
from buildflow.names.expand import NOTHING
from buildflow.names.parts import CallHole, Nested, text_of
from buildflow.names.relation import Cell, Relation, Row, join
from buildflow.near import did_you_mean
from buildflow.template import Hole, Word

RESERVED = frozenset("in out cpus mem gpus attempt depfile log".split())


class Scope(Calls):
    """The names of the Flowfile and its local includes, or those of one library file (`library`: its name)."""

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
        self._known: dict[tuple[int, int, tuple[str, ...]], list[Row]] = {}
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
                for word in definition.words_of(name):
                    if word.plain and (word.parts or not definition.joint):
                        self._must_match(name, word.text, word.span or definition.span)
                definition = definition.previous.get(name) if definition.append or definition.joint else None

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
        self._known.clear()
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

    def defined(self, name: str) -> Definition | None:
        """The assignment that says what a name is: for what a joint glob must have bound first, the former one."""
        definition = self.definitions.get(name)
        if definition is not None and definition.joint:
            self.evaluate(definition)
            if name in definition.conditional:
                return definition.previous.get(name)
        return definition

    def evaluate(self, definition: Definition) -> Relation | Follower:
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

    def _compute(self, definition: Definition) -> Relation | Follower:
        if definition.joint:
            return self._compute_joint(definition)
        name = definition.names[0]
        values: list[Cell] = []
        before = definition.previous.get(name)
        if definition.append and before is not None:
            old = self.evaluate(before)
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
        if before is not None and not definition.append and self._selects(definition.terms, name):
            kept = self.evaluate(before)
            if isinstance(kept, Relation):
                found = {cell[0] for cell in values if cell}
                i = kept.place[name]
                rows = [row for row in kept.rows if any(v in found for v in row[i])]
                return Relation(kept.columns, rows) if len(kept.columns) > 1 else Relation((name,), rows)
        return Relation((name,), [(cell,) for cell in values])

    @staticmethod
    def _selects(terms: Sequence[Term], name: str) -> bool:
        """Whether a value is a glob in which the name itself is the wildcard: it joins on the former values."""
        if len(terms) != 1:
            return False
        term = terms[0]
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
            value = self.evaluate(old)
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
            texts.append(text_of(flat))
        return texts


def _split(value: str, span: Span | None) -> tuple[Word, ...]:
    """The words of a variable of the environment: as a shell reads them, or where it could not, as they are."""
    import shlex

    try:
        words = shlex.split(value)
    except ValueError:
        words = value.split()
    return tuple(Word((word,) if word else (), span) for word in words)
