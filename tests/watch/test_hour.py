"""An hour of somebody's edits in seconds: at the end a build has nothing to do, and memory has not grown.

`WATCH_EDITS=2000 python -m pytest tests/watch/test_hour.py` for a long one; `WATCH_SEED` gives the same edits again.
"""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

from story import Running, Story

EDITS = int(os.environ.get("WATCH_EDITS", "60"))
SEED = int(os.environ.get("WATCH_SEED", "1"))
GROWTH = 16 << 20
"""Bytes that memory may differ by between a quarter of the way and the end."""

FLOWFILE = """
include? "more.flow"
n = glob(in/{n}.txt)
(k, word) = table(words.tsv)
all: sum {k}.word
out/{n}.txt: in/{n}.txt | in/common
    grep -v fails {in} > {out} && echo VERSION >> {out}
sum: out/{n}.txt
    cat {in} > {out}
{k}.word: in/common
    echo {word} $(cat {in}) > {out}
"""


class Somebody:
    """Works on a project."""

    def __init__(self, story: Story, chance: random.Random) -> None:
        self.story = story
        self.chance = chance
        self.version = 0
        self.broken = False
        story.write("in/common", "common\n")
        story.write("words.tsv", "k\tword\none\tuno\n")
        for number in range(12):
            story.write(f"in/{number}.txt", f"{number}\n")
        self.save_flowfile()

    def save_flowfile(self) -> None:
        self.broken = False
        self.story.write("Flowfile", FLOWFILE.replace("VERSION", str(self.version)))

    def sources(self) -> list[Path]:
        return sorted(self.story.path("in").glob("*.txt"))

    def edit(self) -> None:
        self.chance.choice(self.sources()).write_text(f"{self.chance.random()}\n")

    def edit_several(self) -> None:
        for path in self.chance.sample(self.sources(), 5):
            path.write_text(f"{self.chance.random()}\n")

    def edit_as_an_editor(self) -> None:
        path = self.chance.choice(self.sources())
        new = path.with_name(f".{path.name}.new")
        new.write_text(f"{self.chance.random()}\n")
        os.replace(new, path)

    def edit_as_another_editor(self) -> None:
        path = self.chance.choice(self.sources())
        path.rename(f"{path}~")
        path.write_text(f"{self.chance.random()}\n")
        os.unlink(f"{path}~")

    def touch(self) -> None:
        os.utime(self.chance.choice(self.sources()))

    def edit_and_take_back(self) -> None:
        path = self.chance.choice(self.sources())
        before = path.read_bytes()
        path.write_text("something else\n")
        path.write_bytes(before)

    def make_fail(self) -> None:
        self.chance.choice(self.sources()).write_text("fails\n")

    def add(self) -> None:
        self.story.write(f"in/{self.chance.randrange(100, 130)}.txt", f"{self.chance.random()}\n")

    def rename(self) -> None:
        self.chance.choice(self.sources()).rename(self.story.path(f"in/{self.chance.randrange(200, 230)}.txt"))

    def remove(self) -> None:
        if len(self.sources()) > 8:
            self.chance.choice(self.sources()).unlink()

    def edit_common(self) -> None:
        self.story.write("in/common", f"{self.chance.random()}\n")

    def edit_table(self) -> None:
        rows = [f"{k}\t{self.chance.random()}" for k in ("one", "two", "three")[: self.chance.randrange(1, 4)]]
        self.story.write("words.tsv", "\n".join(["k\tword", *rows, ""]))

    def edit_flowfile(self) -> None:
        self.version += 1
        self.save_flowfile()

    def break_flowfile(self) -> None:
        self.broken = True
        self.story.write("Flowfile", self.chance.choice(["this: is {no\n", "what is this\n"]))

    def mend_flowfile(self) -> None:
        self.save_flowfile()

    def include(self) -> None:
        path = self.story.path("more.flow")
        path.unlink() if path.exists() else path.write_text("extra = 1\n")

    def edit_output(self) -> None:
        outputs = sorted(self.story.path("out").glob("*.txt"))
        if outputs:
            path = self.chance.choice(outputs)
            path.unlink(missing_ok=True)
            path.write_text("mine\n")

    def remove_output(self) -> None:
        self.story.path("sum").unlink(missing_ok=True)

    def come_to_rest(self) -> None:
        """All is well in the end."""
        self.save_flowfile()
        for path in self.sources():
            if path.read_text() == "fails\n":
                path.write_text("fine\n")


NO_EDITS = ("sources", "save_flowfile", "come_to_rest")
RARE = ("break_flowfile", "edit_flowfile", "edit_table", "include", "rename", "remove", "make_fail")


def test_an_hour_of_edits(story: Story) -> None:
    chance = random.Random(SEED)
    somebody = Somebody(story, chance)
    running = story.start("watch", "--json", "-k", "-j2")
    running.next_event("build")
    every = [name for name in vars(Somebody) if not name.startswith("_") and name not in NO_EDITS]
    weights = [1 if name in RARE else 3 for name in every]
    early = 0
    for number in range(EDITS):
        getattr(somebody, chance.choices(every, weights)[0])()
        if chance.random() < 0.4 and not somebody.broken:
            ready(running, story, f"note {number}")
        if number == EDITS // 4:
            early = memory(running)
    somebody.come_to_rest()
    ready(running, story, "the last note but one")
    ready(running, story, "the last note")  # all that came before is built by now
    late = memory(running)
    running.signal()
    told = running.wait(ok=130)
    after = story.build()
    assert (after.ran, after.cached) == (0, 0), after.account()
    for path in somebody.sources():
        assert story.read(f"out/{path.name}") == f"{path.read_text()}{somebody.version}\n"
    assert not early or late - early < GROWTH, f"{early} bytes, then {late}"
    assert "Traceback" not in told.err


def ready(running: Running, story: Story, note: str) -> None:
    """Wait until an edit that comes now is built."""
    story.write("in/0.txt", f"{note}\n")

    def built() -> bool:
        if story.exists("out/0.txt") and story.read("out/0.txt").startswith(f"{note}\n"):
            events = [json.loads(line) for line in running.out.splitlines(keepends=True) if line.endswith("\n")]
            return bool(events) and events[-1]["event"] == "build"
        return False

    running.until(built, note)


def memory(running: Running) -> int:
    """The bytes that a process has in memory; 0 where that cannot be known."""
    try:
        lines = Path(f"/proc/{running.pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)
