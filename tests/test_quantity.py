"""Numbers of attributes: "arithmetic over numbers, units (K M G T, s m h d), attempt, size(in), min, max"."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildflow.errors import FlowError, Source, Span
from buildflow.near import did_you_mean, edit_distance, near
from buildflow.quantity import compile_quantity, evaluate, format_memory, format_time

MIB = 1 << 20
GIB = 1 << 30


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        (" 2 ", 2),
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("7 // 2", 3),
        ("7 / 2", 3.5),
        ("7 % 4", 3),
        ("10 - 2 - 3", 5),
        ("2 * -3 + 10", 4),
        ("--3", 3),
        ("min(4, 2, 3)", 2),
        ("max(4, 2 * 3)", 6),
        ("max(1)", 1),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000),
        ("2K", 2048),
        ("attempt", 3),
        ("2 * attempt", 6),
        ("min(8, size(in) // 1G + 1)", 3),
        ("size(in) / 1000000000", 2.5 * GIB / 1e9),
        ('"2"', 2),
    ],
)
def test_counts(text: str, value: float) -> None:
    assert evaluate(text, {"attempt": 3, "size(in)": 2.5 * GIB}, "count") == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2G", 2 * GIB),
        ("2g", 2 * GIB),
        ("2 G", 2 * GIB),
        ("2GB", 2 * GIB),
        ("2GiB", 2 * GIB),
        ("2gib", 2 * GIB),
        ("500", 500 * MIB),  # a bare number is MiB
        ("500M", 500 * MIB),
        ("500m", 500 * MIB),
        ("1K", 1024),
        ("1T", 1024 * GIB),
        ("100B", 100),
        ("0", 0),
        ("2G * attempt", 6 * GIB),
        ("2G * 2", 4 * GIB),
        ("1G + 512", 1.5 * GIB),
        ("512 + 1G", 1.5 * GIB),
        ("500 * attempt", 1500 * MIB),
        ("max(2G, 500)", 2 * GIB),
        ("max(500, 2G)", 2 * GIB),
        ("max(1, 500)", 500 * MIB),
        ("size(in)", 3 * GIB),
        ("2 * size(in) + 100M", 6 * GIB + 100 * MIB),
        ("size(in) / 1M + 500", 3572 * MIB),
        ("1G * size(in) / 1G", 3 * GIB),
        ("size(src) + size(in[0])", 3),
    ],
)
def test_memory_is_in_bytes(text: str, value: float) -> None:
    names = {"attempt": 3, "size(in)": 3 * GIB, "size(src)": 1, "size(in[0])": 2}
    assert evaluate(text, names, "memory") == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90", 90),
        ("90s", 90),
        ("30m", 1800),
        ("2h", 7200),
        ("1d", 86400),
        ("1.5h", 5400),
        ("1h30m", 5400),
        ("1d2h3m4s", 93784),
        ("1h + 30m", 5400),
        ("1h + 60", 3660),
        ("1:30:00", 5400),
        ("2:30", 150),
        ("1-12:00:00", 129600),
        ("1-12:30", 131400),
        ("1h * attempt", 10800),
        ("10m * size(in) / 1G", 1200),
        ("max(10m, 1h)", 3600),
        ("size(in) / 1M", 2048),
        ("60 + size(in) / 1000000", 60 + 2 * GIB / 1e6),
        ("1h + size(in) / 1000000", 3600 + 2 * GIB / 1e6),
    ],
)
def test_time_is_in_seconds(text: str, value: float) -> None:
    assert evaluate(text, {"attempt": 3, "size(in)": 2 * GIB}, "time") == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "unit", "says"),
    [
        ("", "count", "missing"),
        ("   ", "count", "missing"),
        ("two", "count", "two is not known"),
        ("2 +", "count", "ends too early"),
        ("2 3", "count", "3 cannot stand here"),
        ("(2", "count", ") is missing"),
        ("2)", "count", "cannot stand here"),
        ("min(1, 2", "count", ") is missing"),
        ("min 1", "count", "parentheses"),
        ("min()", "count", "cannot stand here"),
        ("size", "memory", "needs the name"),
        ("size(2)", "memory", "needs the name"),
        ("2X", "memory", "X is no unit"),
        ("2Gx", "memory", "Gx is no unit"),
        ("1 / 0", "count", "divides by zero"),
        ("1 // 0", "count", "divides by zero"),
        ("1 % 0", "count", "divides by zero"),
        ("1 - 2", "count", "negative"),
        ("-2G", "memory", "negative"),
        ("1e999", "count", "too large"),
        ("1e300 * 1e300", "count", "too large"),
        ("5000000T", "memory", "too large"),
        ("1000000d", "time", "too large"),
        ("2h", "memory", "is a time, not a size"),
        ("2G", "time", "is a size, not a time"),
        ("30M", "time", "is a size, not a time"),
        ("2G + 1h", "memory", "+ of a size and a time"),
        ("1h30", "time", "unit of time is missing"),
        ("1:30", "memory", "is a time"),
        ("2G * 2G", "memory", "a product of units"),
        ("2 ** 3", "count", "cannot stand here"),
        ("__import__('os')", "count", "not known"),
        ("(" * 5000, "count", "parentheses"),
        ("2\u00b2", "count", "cannot stand here"),
        ("\u0663", "count", "cannot stand here"),
    ],
)
def test_what_is_no_number_is_said(text: str, unit: str, says: str) -> None:
    with pytest.raises(FlowError) as caught:
        evaluate(text, {"attempt": 1, "size(in)": 1}, unit)
    assert says in caught.value.show()


def test_the_mark_stands_under_the_very_place() -> None:
    source = Source("Flowfile", "[mem = 2G * atempt]")
    span = Span(source, 1, 8, 11)
    with pytest.raises(FlowError) as caught:
        compile_quantity("2G * atempt", "memory", span)
    assert caught.value.span == Span(source, 1, 13, 6)
    assert "did you mean attempt?" in caught.value.show()


def test_a_filled_text_marks_the_attribute() -> None:
    span = Span(Source("Flowfile", "[mem = {m}]"), 1, 8, 3)
    with pytest.raises(FlowError) as caught:
        compile_quantity("2X", "memory", span)
    assert caught.value.span == span


def test_what_varies_is_known_before_it_is_run() -> None:
    fixed = compile_quantity("2G * 2", "memory")
    assert (fixed.constant, fixed.names) == (4 * GIB, set())
    varies = compile_quantity("2G * attempt + size(in)", "memory")
    assert varies.constant is None
    assert varies.names == {"attempt", "size(in)"}
    assert [varies.value({"attempt": a, "size(in)": 1}) for a in (1, 2)] == [2 * GIB + 1, 4 * GIB + 1]
    assert varies.value(lambda name: 1) == 2 * GIB + 1
    assert compile_quantity("cpus * 1G", "memory", names=("cpus",)).names == {"cpus"}


def test_an_error_of_one_job_shows_when_it_is_asked() -> None:
    quantity = compile_quantity("10 / (attempt - 1)", "count")
    assert quantity.value({"attempt": 3}) == 5
    with pytest.raises(FlowError, match="divides by zero"):
        quantity.value({"attempt": 1})


def test_a_long_sum_needs_no_stack() -> None:
    assert evaluate("+".join(["1"] * 20_000), {}, "count") == 20_000
    assert evaluate("-" * 20_000 + "1", {}, "count") == 1


def test_priority_may_be_negative() -> None:
    assert evaluate("-5", {}, "number") == -5


def test_memory_is_written_as_whole_mib() -> None:
    assert format_memory(2 * GIB) == "2048M"
    assert format_memory(1) == "1M"
    assert format_memory(1.1 * GIB) == "1127M"
    assert format_memory(0) == "0M"
    assert format_memory(0.1 * 3 * 10 * MIB) == "3M"  # 3.0000000000000004


def test_time_is_written_as_a_clock_and_read_back() -> None:
    assert format_time(5400) == "1:30:00"
    assert format_time(0.5) == "0:00:01"
    assert format_time(90_000) == "25:00:00"


@given(st.integers(0, 10_000_000))
@settings(deadline=None, max_examples=50)
def test_written_quantities_are_read_back(value: int) -> None:
    assert evaluate(format_time(value), {}, "time") == value
    assert evaluate(format_memory(value * MIB), {}, "memory") == value * MIB


_NUMBERS = st.integers(0, 50).map(str)
_EXPRESSIONS = st.recursive(
    _NUMBERS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map("".join),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner).map(lambda t: f"{t[0]}({t[1]}, {t[2]})"),
    ),
    max_leaves=12,
)


@given(_EXPRESSIONS)
@settings(deadline=None, max_examples=200)
def test_plain_arithmetic_is_pythons(text: str) -> None:
    try:
        expected = eval(text)
    except ZeroDivisionError:
        with pytest.raises(FlowError):
            evaluate(text, {}, "number")
        return
    if abs(expected) < 2**50:
        assert evaluate(text, {}, "number") == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(st.text(alphabet="0123456789KMGsmhd()+-*/%., :attempt[]sizen\n", max_size=30))
@settings(deadline=None, max_examples=200)
def test_any_text_is_a_number_or_a_flow_error(text: str) -> None:
    for unit in ("count", "memory", "time"):
        try:
            evaluate(text, lambda name: 1.0, unit)
        except FlowError:
            pass


# --- names that are near


def test_near_names_come_nearest_first() -> None:
    assert near("voxle", ["voxel", "subject", "voxels", "x"]) == ["voxel", "voxels"]
    assert near("CFLAG", ["CFLAGS", "LDFLAGS", "CC"])[0] == "CFLAGS"
    assert near("VOXEL", ["voxel"]) == ["voxel"]
    assert near("out/s1.tx", ["out/s1.txt", "out/s2.txt", "data/s1.nii"])[0] == "out/s1.txt"
    assert near("out/s1.tx", ["out/s2.txt"], related=True) == ["out/s2.txt"]
    assert near("x", ["a", "b"]) == []
    assert near("", ["a"]) == []
    assert near("same", ["same"]) == []


def test_what_is_meant_so_is_not_near() -> None:
    assert near("s1", ["s2", "s10"]) == []
    assert near("sub", ["subject"]) == []
    assert near("s1.txt", ["out/s1.txt"]) == []


def test_a_hint_also_shows_what_is_related() -> None:
    assert near("s1.txt", ["out/s1.txt", "out/s2.txt"], related=True) == ["out/s1.txt"]
    assert near("sub", ["subject", "voxel"], related=True) == ["subject"]
    assert near("s1", ["s2"], related=True) == ["s2"]


def test_the_hint_is_a_sentence() -> None:
    assert did_you_mean("voxle", ["voxel"]) == "did you mean voxel?"
    assert did_you_mean("ab1x", ["ab1y", "ab1z"]) == "did you mean ab1y or ab1z?"
    assert did_you_mean("zzz", ["voxel"]) is None


def test_many_names_are_no_trouble() -> None:
    names = [f"out/s{i:06}.txt" for i in range(50_000)]
    assert "out/s000123.txt" in near("out/s000123.tx", names, 50)


def _slow_distance(one: str, two: str) -> int:
    table = {(i, 0): i for i in range(len(one) + 1)} | {(0, j): j for j in range(len(two) + 1)}
    for i in range(1, len(one) + 1):
        for j in range(1, len(two) + 1):
            same = one[i - 1] != two[j - 1]
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + same)
            if i > 1 and j > 1 and one[i - 1] == two[j - 2] and one[i - 2] == two[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[len(one), len(two)]


@given(st.text("abc", max_size=7), st.text("abc", max_size=7), st.integers(0, 8))
@settings(deadline=None, max_examples=200)
def test_edit_distance(one: str, two: str, limit: int) -> None:
    assert edit_distance(one, two, limit) == min(_slow_distance(one, two), limit + 1)
