"""Rows over names: the finite domains. A plain list is the case of one column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

Cell = tuple[str, ...]
Row = tuple[Cell, ...]
Binding = Mapping[str, str]


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


def choices(cells: Sequence[Cell]) -> Iterator[tuple[str, ...]]:
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
        for values in choices([row[i] for i in places]):
            index.setdefault(values, []).append(row)
    rows: dict[Row, None] = {}
    mine = [left.place[name] for name in common]
    extra = [right.place[name] for name in added]
    for row in left.rows:
        for values in choices([row[i] for i in mine]):
            for other in index.get(values, ()):
                whole = list(row)
                for i, value in zip(mine, values, strict=True):
                    whole[i] = (value,)
                rows.setdefault(tuple(whole) + tuple(other[i] for i in extra))
    return Relation(left.columns + tuple(added), list(rows))
