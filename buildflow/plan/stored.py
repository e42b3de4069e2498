"""A plan beside its snapshot, in a form that is read in no time: an edit is planned from it, and nothing resolved.

Numbers are flat arrays; rows that most jobs have none of are a mapping. The edges are stored both ways: `readers` says
which jobs read a file. The rules are not in it: they are read from the Flowfile, which the snapshot vouches for.
"""

from __future__ import annotations

import marshal
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from buildflow.plan.plan import Plan

VERSION = 1


class Rows:
    """Tuples of numbers, one after the other."""

    __slots__ = ("starts", "items")

    def __init__(self, starts: array[int], items: array[int]) -> None:
        self.starts = starts
        self.items = items

    @classmethod
    def of(cls, rows: Iterable[Sequence[int]]) -> Rows:
        starts, items = array("i", [0]), array("i")
        for row in rows:
            items.extend(row)
            starts.append(len(items))
        return cls(starts, items)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, i: int) -> tuple[int, ...]:
        return tuple(self.items[self.starts[i] : self.starts[i + 1]])

    def __iter__(self) -> Iterator[tuple[int, ...]]:
        return (self[i] for i in range(len(self)))

    def dump(self) -> tuple[bytes, bytes]:
        return self.starts.tobytes(), self.items.tobytes()

    @classmethod
    def load(cls, data: tuple[bytes, bytes]) -> Rows:
        return cls(_array(data[0]), _array(data[1]))


class Sparse(dict[int, Any]):
    """Rows that most have none of."""

    def __init__(self, rows: Any, nothing: Any) -> None:
        super().__init__(rows)
        self.nothing = nothing

    def __missing__(self, i: int) -> Any:
        return self.nothing


class StoredPlan(Plan):
    """A plan that was written, with the readers of each file. Nothing is added to it."""

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__()
        paths: str = state["paths"]
        self.paths = paths.split("\0") if paths else []
        self.ids = dict(zip(self.paths, range(len(self.paths))))
        self.maker = _array(state["maker"])  # type: ignore[assignment]
        self.rule = _array(state["rule"])  # type: ignore[assignment]
        self.values = state["values"]
        self.outputs = Rows.load(state["outputs"])  # type: ignore[assignment]
        self.inputs = Rows.load(state["inputs"])  # type: ignore[assignment]
        for name, nothing in (("extra", ()), ("after", ()), ("needs", ()), ("labels", None)):
            setattr(self, name, Sparse(state[name], nothing))
        self.goals = state["goals"]
        self.readers = Rows.load(state["readers"])
        self.wildcards: dict[int, tuple[str, ...]] = state["wildcards"]

    def affected(self, files: Iterable[int]) -> set[int]:
        """The jobs that make one of these files or read it, and all that need them."""
        found: set[int] = set()
        stack = [self.maker[f] for f in files if self.maker[f] >= 0]
        for f in files:
            stack.extend(self.readers[f])
        while stack:
            job = stack.pop()
            if job not in found:
                found.add(job)
                for f in self.outputs[job]:
                    stack.extend(self.readers[f])
        return found


def write(plan: Plan, wildcards: dict[int, tuple[str, ...]], path: str, tag: bytes) -> None:
    """Write a plan, by rename. `tag`: what the snapshot that it belongs to knows it by."""
    readers: list[list[int]] = [[] for _ in plan.paths]
    for job in range(len(plan.rule)):
        for f in {*plan.inputs[job], *plan.extra[job], *plan.after[job]}:
            readers[f].append(job)
    state: dict[str, Any] = {
        "paths": "\0".join(plan.paths), "maker": array("i", plan.maker).tobytes(),
        "rule": array("i", plan.rule).tobytes(), "values": plan.values, "outputs": Rows.of(plan.outputs).dump(),
        "inputs": Rows.of(plan.inputs).dump(), "goals": plan.goals, "readers": Rows.of(readers).dump(),
        "wildcards": wildcards,
    }  # fmt: skip
    for name in ("extra", "after", "needs", "labels"):
        state[name] = {job: row for job, row in enumerate(getattr(plan, name)) if row}
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(marshal.dumps((VERSION, tag, state)))
    os.replace(temporary, path)


def read(path: str, tag: bytes) -> StoredPlan | None:
    """The plan of a snapshot; None where there is none, or another one's."""
    try:
        with open(path, "rb") as file:
            version, known, state = marshal.loads(file.read())
        return StoredPlan(state) if version == VERSION and known == tag else None
    except (OSError, ValueError, EOFError, TypeError, KeyError):
        return None


def _array(data: bytes) -> array[int]:
    found = array("i")
    found.frombytes(data)
    return found
