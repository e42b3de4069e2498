"""Properties of names without the command: expansion order, joint rows, joins, binding. The models are brute force."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from buildflow.errors import FlowError
from buildflow.names import Pending, Relation, Scope
from buildflow.template import Word, parse_word

VALUES = st.sampled_from(["1", "2", "3", "x/y"])
LISTS = st.lists(VALUES, max_size=4)
FILLED = st.lists(VALUES, min_size=1, max_size=4)
NAMES = ("a", "b", "c", "d")


def words(values: list[str]) -> list[Word]:
    return [Word((value,) if value else ()) for value in values]


def scope_of(**lists: list[str]) -> Scope:
    scope = Scope()
    for name, values in lists.items():
        scope.assign((name,), "=", words(values))
    return scope


def text_of(order: list[str]) -> str:
    return "-".join(f"{{{name}}}" for name in order)


def filled(order: list[str], row: dict[str, str]) -> str:
    return "-".join(row[name] for name in order)


# ---- plain names


@given(st.lists(FILLED, min_size=4, max_size=4), st.lists(st.sampled_from(NAMES), min_size=1, max_size=6))
def test_a_word_is_the_product_in_order_of_first_appearance(lists: list[list[str]], order: list[str]) -> None:
    domains = dict(zip(NAMES, lists))
    first = list(dict.fromkeys(order))
    rows = product(*(dict.fromkeys(domains[name]) for name in first))
    expected = [filled(order, dict(zip(first, row))) for row in rows]
    assert scope_of(**domains).expand_word(parse_word(text_of(order)), {}) == expected


@given(
    st.lists(FILLED, min_size=4, max_size=4),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=6),
    st.dictionaries(st.sampled_from(NAMES), VALUES),
)
def test_what_is_bound_has_that_value(lists: list[list[str]], order: list[str], bound: dict[str, str]) -> None:
    domains = {name: [bound[name]] if name in bound else values for name, values in zip(NAMES, lists)}
    scope = scope_of(**dict(zip(NAMES, lists)))
    if any(len(set(values)) == 1 and name in bound for name, values in zip(NAMES, lists)):
        return  # a name of one value is text, and no target binds it
    first = list(dict.fromkeys(order))
    rows = product(*(dict.fromkeys(domains[name]) for name in first))
    expected = [filled(order, dict(zip(first, row))) for row in rows]
    assert scope.expand_word(parse_word(text_of(order)), bound) == expected


@given(LISTS)
def test_a_name_in_a_recipe_is_its_list_as_written(values: list[str]) -> None:
    assert scope_of(a=values).values_of("a", {}) == (values or [""])


# ---- joint names

# A cell may be empty; that of the last name may hold several values, and one of them twice.
CELLS = st.lists(VALUES, max_size=2).map(tuple)
ONE = st.lists(VALUES, max_size=1).map(tuple)
FULL = VALUES.map(lambda value: (value,))
ROWS = st.lists(st.tuples(ONE, ONE, CELLS), max_size=6)
Rows = list[tuple[tuple[str, ...], ...]]


def relation_scope(rows: Rows, names: tuple[str, ...] = ("a", "b", "c"), scope: Scope | None = None) -> Scope:
    """The rows as they would be written: an empty cell is an empty word."""
    scope = scope or Scope()
    written = []
    for row in rows:
        cells = [Word(cell) for cell in row[:-1]]
        written.append((*cells, *(words(list(row[-1])) or [Word(())])))
    scope.assign(names, "=", (), written, joint=True)
    return scope


def chosen(rows: Rows, names: tuple[str, ...], held: list[str], bound: dict[str, str]) -> list[dict[str, str]]:
    """The distinct rows of the names that a word holds, where the bound ones agree."""
    found: dict[tuple[str, ...], None] = {}
    for row in rows:
        cells = dict(zip(names, row))
        if all(bound[name] in cells[name] for name in names if name in bound):
            for values in product(*(cells[name] for name in held)):
                found.setdefault(values)
    return [dict(zip(held, values)) for values in found]


@given(ROWS, st.lists(st.sampled_from("abc"), min_size=1, max_size=5), st.dictionaries(st.sampled_from("abc"), VALUES))
def test_a_word_takes_the_distinct_rows_of_the_names_it_holds(
    rows: Rows, order: list[str], bound: dict[str, str]
) -> None:
    names = ("a", "b", "c")
    scope = relation_scope(rows)
    relation = scope.value("a")
    assert isinstance(relation, Relation) and relation.rows == list(dict.fromkeys(rows))
    if any(relation.single(name) is not None for name in bound) or not relation.restrict(bound):
        return  # text, which no target binds; and none binds what stands in no row
    held = [name for name in dict.fromkeys(order) if name not in bound]
    expected = (
        [filled(order, {**bound, **row}) for row in chosen(rows, names, held, bound)]
        if held
        else [filled(order, bound)]
    )
    assert scope.expand_word(parse_word(text_of(order)), bound) == expected


@given(ROWS, st.dictionaries(st.sampled_from("abc"), VALUES))
@example([((), (), ("1", "1"))], {"c": "1"})
def test_a_recipe_s_hole_is_the_distinct_cells_and_rows_gives_one_a_row(rows: Rows, bound: dict[str, str]) -> None:
    scope = relation_scope(rows)
    agree = [r for r in dict.fromkeys(rows) if all(bound[n] in r["abc".index(n)] for n in bound)]
    for i, name in enumerate("abc"):
        if name not in bound:
            assert scope.values_of(name, bound) == [v for cell in dict.fromkeys(r[i] for r in agree) for v in cell]
        assert scope.values_of(name, bound, "rows") == [" ".join(r[i]) for r in agree]


PLAIN = st.lists(st.tuples(FULL, FULL), min_size=1, max_size=6)


@given(PLAIN, PLAIN)
def test_a_join_keeps_the_rows_of_the_earlier_in_their_order(left: Rows, right: Rows) -> None:
    scope = relation_scope(left, ("a", "b"))
    relation_scope(right, ("b", "c"), scope)
    relation = scope.value("c")
    assert isinstance(relation, Relation)
    expected = [(*one, other[1]) for one in left for other in right if one[1] == other[0]]
    places = [relation.place[name] for name in "abc"]
    assert [tuple(row[i] for i in places) for row in relation.rows] == list(dict.fromkeys(expected))
    for name in "ab":
        assert scope.value(name) is relation


@given(FILLED, FILLED, PLAIN)
def test_a_join_on_two_lists_goes_in_the_order_of_both(a: list[str], b: list[str], rows: Rows) -> None:
    for names in (("a", "b"), ("b", "a")):
        scope = scope_of(a=a, b=b)
        relation_scope(rows if names == ("a", "b") else [row[::-1] for row in rows], names, scope)
        texts = scope.expand_word(parse_word("{a}-{b}"), {})
        pairs = {(row[0][0], row[1][0]) for row in rows}
        assert texts == [f"{x}-{y}" for x in dict.fromkeys(a) for y in dict.fromkeys(b) if (x, y) in pairs]


@given(PLAIN, FILLED)
def test_an_override_keeps_the_matching_rows_and_none_is_an_error(rows: Rows, kept: list[str]) -> None:
    scope = Scope({"a": words(kept)})
    relation_scope(rows, ("a", "b"), scope)
    there = {row[0][0] for row in rows}
    if not set(kept) <= there:
        with pytest.raises(FlowError, match="no row"):
            scope.value("a")
        return
    relation = scope.value("a")
    assert isinstance(relation, Relation)
    assert relation.rows == [row for row in dict.fromkeys(rows) if row[0][0] in kept]


@given(PLAIN, FILLED, st.permutations(["a", "b", "d"]))
def test_joint_and_plain_names_in_one_word(rows: Rows, d: list[str], order: list[str]) -> None:
    """What belongs together is chosen where its first name stands; the last choice is the fastest."""
    scope = relation_scope(rows, ("a", "b"))
    scope.assign(("d",), "=", words(d))
    pairs = [{"a": r[0][0], "b": r[1][0]} for r in dict.fromkeys(rows)]
    others = [{"d": value} for value in dict.fromkeys(d)]
    first, second = (others, pairs) if order[0] == "d" else (pairs, others)
    relation = scope.value("a")
    assert isinstance(relation, Relation)
    if relation.single("a") is not None or relation.single("b") is not None:
        return  # a column of one value is text
    expected = [filled(order, {**x, **y}) for x in first for y in second]
    assert scope.expand_word(parse_word(text_of(order)), {}) == expected


# ---- followers


@given(FILLED, FILLED)
def test_a_follower_is_its_text(a: list[str], b: list[str]) -> None:
    scope = scope_of(a=a, b=b)
    scope.assign(("f",), "=", [parse_word("<{b}{a}>")])
    scope.assign(("g",), "=", [parse_word("{f}{a}")])
    for word, meant in (("{f}", "<{b}{a}>"), ("{g}.x", "<{b}{a}>{a}.x"), ("{a}{g}", "{a}<{b}{a}>{a}")):
        for bound in ({}, {"a": a[0]}, {"a": a[0], "b": b[-1]}):
            assert scope.expand_word(parse_word(word), bound) == scope.expand_word(parse_word(meant), bound)


# ---- circles, and what is not there


@pytest.mark.parametrize(
    "assignments",
    [{"a": "{b}", "b": "{a}"}, {"a": "{b}", "b": "{c}", "c": "x{a}"}, {"a": "{a}"}, {"a": "{b.stem}", "b": "{a}"}],
)
def test_a_circle_is_an_error_where_it_is_used(assignments: dict[str, str]) -> None:
    scope = Scope()
    for name, text in assignments.items():
        scope.assign((name,), "=", [parse_word(text)])
    scope.assign(("other",), "=", words(["1"]))
    assert scope.expand_word(parse_word("{other}"), {}) == ["1"]
    with pytest.raises(FlowError, match="holds itself"):
        scope.expand_word(parse_word("{a}"), {})
    with pytest.raises(FlowError, match="holds itself"):  # also the second time
        scope.expand_word(parse_word("{a}"), {})


def test_a_name_within_its_own_new_value_is_its_former_one() -> None:
    scope = scope_of(a=["1", "2"])
    scope.assign(("a",), "=", [parse_word("<{a}>")])
    scope.assign(("a",), "+=", [parse_word("({a})"), parse_word("3")])
    assert scope.values_of("a", {}) == ["<1>", "<2>", "(<1>)", "(<2>)", "3"]


def test_an_index_and_an_attribute_of_a_name() -> None:
    scope = scope_of(a=["x/y.tar.gz", "z.c"])
    assert scope.expand_word(parse_word("{a[0].stem}-{a[-1].ext}"), {}) == ["y.tar-.c"]
    assert scope.expand_word(parse_word("{a.dir}"), {}) == ["x", "."]
    with pytest.raises(FlowError, match="more than"):
        scope.expand_word(parse_word("{a[2]}"), {})


class Makes:
    """A world in which files are made one after the other."""

    def __init__(self) -> None:
        self.made: dict[str, list[str]] = {}
        self.cut: set[object] = set()
        self.told: list[str] = []

    def lines(self, path: str, span: object) -> list[str]:
        if path not in self.made:
            raise Pending([path])
        return self.made[path]

    def empty(self, definition: object, text: str) -> None:
        self.told.append(text)


def test_all_that_a_word_waits_for_is_told_at_once() -> None:
    from buildflow.errors import Source, Span
    from buildflow.lang.statements import Call

    scope = scope_of(a=["1", "2", "3"])
    span = Span(Source("f", ""), 1, 1)
    scope.assign(("k",), "=", [Call("lines", (parse_word("k{a}"),), span)])
    world = Makes()
    scope.reset(world)  # type: ignore[arg-type]
    with pytest.raises(Pending) as caught:
        scope.expand_word(parse_word("{a}{k}"), {})
    assert caught.value.paths == ("k1", "k2", "k3")
    world.made = {"k1": ["x", "y"], "k3": []}
    assert scope.expand_word(parse_word("{a}{k}"), {"a": "1"}) == ["1x", "1y"]
    with pytest.raises(Pending) as caught:
        scope.expand_word(parse_word("{a}{k}"), {})
    assert caught.value.paths == ("k2",)
    world.made["k2"] = ["z"]
    assert scope.expand_word(parse_word("{k}/{a}"), {}) == ["x/1", "y/1", "z/2"]
    assert len(world.told) == 1 and "lines(k{a}) gives nothing" in world.told[0]
