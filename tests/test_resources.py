"""The account of cpus, memory, devices and named resources."""

from __future__ import annotations

import pytest

from buildflow.job import Amounts
from buildflow.resources import Resources, devices


def amounts(cpus: int = 1, mem: float | None = None, gpus: int = 0, **named: float) -> Amounts:
    found = Amounts()
    found.cpus, found.mem, found.gpus, found.named = cpus, mem, gpus, named
    return found


def test_the_sum_never_passes_a_limit() -> None:
    account = Resources(4, mem=100.0, gpus=2, named={"licence": 1})
    first = amounts(2, 60.0, 1, licence=1)
    given = account.take(first)
    assert given == ["0"]
    assert account.fits(amounts(2, 40.0, 1))
    assert not account.fits(amounts(3))
    assert not account.fits(amounts(1, 41.0))
    assert not account.fits(amounts(1, None, 2))
    assert not account.fits(amounts(1, licence=1))
    assert account.fits(amounts(1, other=100))  # a resource without a limit is free
    account.give(first, given)
    assert account.fits(amounts(4, 100.0, 2, licence=1))


def test_devices_are_given_back_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7,2")
    account = Resources(4, mem=1.0)
    assert account.devices == ["7", "2"]
    one, two = amounts(gpus=1), amounts(gpus=1)
    given = account.take(one), account.take(two)
    assert given == (["7"], ["2"])
    account.give(two, given[1])
    account.give(one, given[0])
    assert account.take(one) == ["7"]


@pytest.mark.parametrize(
    ("visible", "limit", "expected"),
    [("", None, []), ("3", 2, ["3", "0"]), ("0,GPU-x", 3, ["0", "GPU-x", "1"]), ("4,5,6", 2, ["4", "5"]), ("1", 0, [])],
)
def test_a_limit_counts_whatever_is_found(
    monkeypatch: pytest.MonkeyPatch, visible: str, limit: int | None, expected: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert devices(limit) == expected
