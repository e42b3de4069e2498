"""How a word expands: flattened, then each of its unbound names over its domain.

Names that belong together are chosen where the first of them stands; the last choice is the fastest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from buildflow.errors import FlowError, Span
from buildflow.lang.statements import Call
from buildflow.names.definition import Definition, Pending, Unbound, Value
from buildflow.names.parts import CallHole, Flat, FlatPart, GlobText, Nested, apply_attribute, starred
from buildflow.names.relation import Binding, Relation, Row, choices
from buildflow.near import did_you_mean
from buildflow.template import Glob, Hole, Part, Word

NOTHING: dict[str, str] = {}


class Expansion:
    """Words under a binding. What names are, and what calls give, is the business of the classes below."""

    definitions: dict[str, Definition]
    patterns: dict[str, re.Pattern[str]]
    library: str | None
    _lazy = False

    def evaluate(self, definition: Definition) -> Value:
        """What a definition comes to."""
        raise NotImplementedError

    def defined(self, name: str) -> Definition | None:
        """The assignment that says what a name is."""
        raise NotImplementedError

    def calls_of(self, hole: CallHole, bound: Binding) -> list[Row]:
        """The rows that the call of a follower gives under a binding."""
        raise NotImplementedError

    def value(self, name: str) -> Value | None:
        """What a name is: None where it is free."""
        definition = self.defined(name)
        return None if definition is None else self.evaluate(definition)

    # ---- flattening --------------------------------------------------------------------------------------------

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
                        alternatives = [tuple(starred(p) for p in flat) for flat in alternatives]
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
            definition = self.defined(hole.name)
            if definition is None:
                return [(hole,)]
        value = self.evaluate(definition)
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
            return [(v.parts if isinstance(v, GlobText) else (v,)) for v in values]
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

    def _foreign(self, definition: Definition) -> Expansion:
        return definition.foreign or self

    @staticmethod
    def _pick(hole: Hole, values: list[Flat] | list[str]) -> list:  # type: ignore[type-arg]
        assert hole.index is not None
        try:
            return [values[hole.index]]
        except IndexError:
            raise FlowError(f"{hole} asks for more than the {len(values)} values that {hole.name} has") from None

    @staticmethod
    def _left(call: Call, definition: Definition) -> tuple[str, ...]:
        if call.function != "glob":
            return ()
        return tuple(name for name in definition.names if name not in definition.conditional)

    def _argument(self, call: Call, word: Word, definition: Definition) -> list[Flat]:
        left = self._left(call, definition)
        return self.flatten(word.parts, definition, keep=left)

    # ---- expanding ---------------------------------------------------------------------------------------------

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
        self, flat: Flat, bound: Binding, span: Span | None = None
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
            scope = self._foreign(first.definition)
            rows = scope.calls_of(first, bound)
            names = first.definition.names
            mine = [n for n in names if n in todo or n == first.name]
            places = [names.index(n) for n in mine]
            fixed = [(i, bound[n]) for i, n in enumerate(names) if n in bound]
            chosen: dict[tuple[str, ...], None] = {}
            for row in rows:
                if all(value in row[i] for i, value in fixed):
                    chosen.update(dict.fromkeys(choices([row[i] for i in places])))
            yield from self._choose(flat, mine, chosen, todo[1:], bound, added, span)
            return
        value = self.value(first)
        if value is None:
            pattern = f" (only the pattern {self.patterns[first].pattern})" if first in self.patterns else ""
            if self.library is not None:
                hint = f"give it in the include: “include <{self.library}> {first}=…”"
            else:
                hint = self._not_on_the_left(first) or did_you_mean(first, self.definitions) or (
                    f"assign it (“{first} = …”), or use it in the rule's target"
                )
            raise Unbound(
                f"{{{first}}} is bound by no target here, and has no values to expand over{pattern}",
                span,
                hint,
            )
        assert isinstance(value, Relation)
        mine = [n for n in todo if isinstance(n, str) and n in value.place and n not in bound]
        places = [value.place[n] for n in mine]
        found: dict[tuple[str, ...], None] = {}
        for row in value.restrict(bound):
            for values in choices([row[i] for i in places]):
                found.setdefault(values)
        yield from self._choose(flat, mine, found, [n for n in todo if n not in mine], bound, added, span)

    def _not_on_the_left(self, wildcard: str) -> str | None:
        """What to write for `SAMPLES = glob(data/{sample}.fq)`: a glob finds values of the names on its left."""
        for name, definition in self.definitions.items():
            for term in definition.terms:
                if isinstance(term, Call) and term.function == "glob" and wildcard not in definition.names:
                    if any(wildcard in word.names for word in term.arguments):
                        pattern = " ".join(word.text for word in term.arguments)
                        return (
                            f"{name} = glob({pattern}) gives {name} values, and no values to {wildcard}:\n"
                            f"write {wildcard} = glob({pattern}), and {{{wildcard}}} instead of {{{name}}}"
                        )
        return None

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
        definition = self.defined(name)
        if definition is None:
            raise FlowError(f"{name} has no value here")
        value = self.evaluate(definition)
        if isinstance(value, Relation):
            place = value.place[name]
            rows = value.restrict(bound)
            if attr == "rows":
                return [" ".join(row[place]) for row in rows]
            if len(value.columns) == 1:
                return [v for row in rows for v in row[0]]
            return [v for cell in dict.fromkeys(row[place] for row in rows) for v in cell]
        return self._expand_flats(self._alternatives(Hole(name), None), bound, definition.span)
