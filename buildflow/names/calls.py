"""What the functions on the right of `=` give: rows, as the names on the left have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from buildflow.errors import FlowError, Span
from buildflow.lang.statements import Call
from buildflow.names.definition import Definition, World
from buildflow.names.expand import Expansion
from buildflow.names.parts import CallHole, Flat, FlatPart, Nested, apply_attribute, text_of
from buildflow.names.relation import Binding, Cell, Row
from buildflow.template import Hole


class Calls(Expansion):
    """Calls under a binding of the names that their arguments hold."""

    library: str | None
    world: World | None
    _known: dict[tuple[int, int, tuple[str, ...]], list[Row]]

    def _call_holes(self, call: Call, definition: Definition) -> bool:
        """Whether a call's arguments hold names that are free or take several values."""
        for word in call.arguments:
            for flat in self._argument(call, word, definition):
                if any(
                    isinstance(p, (Hole, Nested, CallHole)) and p.name not in self._left(call, definition) for p in flat
                ):
                    return True
        return False

    def calls_of(self, hole: CallHole, bound: Binding) -> list[Row]:
        """The rows of one call under a binding, remembered unless they hold for the evaluation under way alone."""
        call = hole.call
        names: list[str] = []
        left = self._left(call, hole.definition)
        for word in call.arguments:
            for flat in self._argument(call, word, hole.definition):
                names.extend(p for p in self._holes(flat) if p not in left)
        key = (id(hole.definition), hole.term, tuple(bound.get(n, "") for n in dict.fromkeys(names)))
        rows = self._known.get(key)
        if rows is None:
            rows = self._call_rows(call, hole.definition, bound)
            if self.world is None or not self.world.cut:
                self._known[key] = rows
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
                arguments.append((" ".join(text_of(flat) for flat in flats),))
            else:
                arguments.extend(flats)
        texts = [text_of(flat) for flat in arguments]
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
