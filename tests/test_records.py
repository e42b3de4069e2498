"""Records behave as dataclasses do, as far as they go."""

from __future__ import annotations

from typing import ClassVar

import pytest

from buildflow.records import Record, field, replace


class Point(Record):
    x: int
    y: int = 0
    names: list[str] = field(factory=list)
    kind: ClassVar[str] = "point"


class Fixed(Record, frozen=True):
    text: str
    place: int | None = None


def test_by_position_by_name_and_by_default() -> None:
    assert (Point(1).x, Point(1).y, Point(1, 2).y, Point(x=3).x) == (1, 0, 2, 3)
    assert Point(1, 2, ["a"]).names == ["a"] and Point(1, names=["b"]).names == ["b"]
    one, other = Point(1), Point(1)
    one.names.append("mine")
    assert other.names == []
    assert Point.kind == "point" and "kind" not in vars(one)


def test_equality_hash_and_text() -> None:
    assert Point(1) == Point(1) != Point(2)
    assert Fixed("a") == Fixed("a") and len({Fixed("a"), Fixed("a"), Fixed("b")}) == 2
    assert repr(Fixed("a", 1)) == "Fixed(text='a', place=1)"
    with pytest.raises(TypeError):
        hash(Point(1))


def test_what_is_missing_or_unknown_is_told() -> None:
    with pytest.raises(TypeError, match="x"):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="z"):
        Point(1, z=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Point(1, 2, [], 4)  # type: ignore[call-arg]


def test_a_copy_with_changes() -> None:
    one = Point(1, 2, ["a"])
    other = replace(one, y=5)
    assert (other.x, other.y, one.y) == (1, 5, 2) and other.names is one.names
