"""A driver that dies while it commits the job of a queue: what it had taken is where it was."""

from __future__ import annotations

import marshal
import os
from pathlib import Path

from buildflow.afloat import FORMAT, put_back


def test_what_was_taken_is_put_back(tmp_path: Path) -> None:
    work, entry = tmp_path / "work", tmp_path / "open"
    (work / "3" / "out").mkdir(parents=True)
    (work / "3" / "out" / "still").write_text("here")
    (work / "3.run").touch()
    entry.mkdir()
    (entry / "a").write_text("taken")
    (entry / "log").write_text("said")
    moves = [(f"{entry}/a", "out/a"), (f"{entry}/b", "out/still"), (f"{entry}/log", "../3.log")]
    (work / "3.taken").write_bytes(marshal.dumps((FORMAT, moves)))
    (work / "4.taken").write_bytes(b"half a")
    put_back(str(work))
    assert (work / "3" / "out" / "a").read_text() == "taken"
    assert (work / "3" / "out" / "still").read_text() == "here"
    assert (work / "3.log").read_text() == "said"
    assert not [name for name in os.listdir(work) if name.endswith(".taken")]
    put_back(str(work))  # nothing is left to do


def test_nothing_was_taken(tmp_path: Path) -> None:
    put_back(str(tmp_path / "work"))
