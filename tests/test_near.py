"""The names that a misspelt one may have meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildflow.near import did_you_mean, edit_distance, near


@pytest.mark.parametrize(
    "word, names, found",
    [
        ("voxle", ["voxel", "pixel"], ["voxel"]),
        ("VOXEL", ["voxel"], ["voxel"]),
        ("out/reprot.txt", ["out/report.txt", "out/other.txt"], ["out/report.txt"]),
        ("s1", ["s2", "s3"], []),  # numbers are meant
        ("ab", ["xy", "abc"], ["abc"]),
        ("x", ["y", "z"], []),
        ("same", ["same"], []),
        ("", ["a"], []),
    ],
)
def test_near(word: str, names: list[str], found: list[str]) -> None:
    assert near(word, names) == found


def test_the_nearest_first_and_few() -> None:
    assert near("sample", ["smaple", "sampel", "sampl", "samples", "simple"])[0] in ("smaple", "sampel", "sampl")
    assert len(near("sample", ["smaple", "sampel", "sampl", "samples", "simple"])) == 3


def test_what_is_related_is_shown_too() -> None:
    assert did_you_mean("report.txt", ["out/report.txt"]) == "did you mean out/report.txt?"
    assert did_you_mean("rep", ["report", "other"]) == "did you mean report?"
    assert did_you_mean("nothing", ["like", "it"]) is None
    assert did_you_mean("aple", ["apple", "aple2", "maple"]) is not None


@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_the_distance_is_one(one: str, two: str) -> None:
    """It is symmetric, zero for equals alone, and cut off above its limit."""
    whole = edit_distance(one, two, 99)
    assert whole == edit_distance(two, one, 99)
    assert (whole == 0) == (one == two)
    assert abs(len(one) - len(two)) <= whole <= max(len(one), len(two))
    assert edit_distance(one, two, 1) == min(whole, 2)
