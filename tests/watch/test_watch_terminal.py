"""A watch in a real terminal: what its user sees after each edit."""

from __future__ import annotations

from story import Story, processes_of_session
from terminal import Terminal

WATCHING = "bflow: watching for changes (Ctrl-C ends it)"


def after(terminal: Terminal, count: int) -> list[str]:
    """The screen once the watch has waited for a change so many times: what came last."""
    terminal.until(lambda: terminal.lines().count(WATCHING) == count)
    lines = terminal.lines()
    ends = [i for i, line in enumerate(lines) if line == WATCHING]
    assert ends[-1] == len(lines) - 1
    return lines[(ends[-2] + 1 if count > 1 else 0) : -1]


def test_three_edits_one_of_them_broken_and_ctrl_c(story: Story) -> None:
    story.write("Flowfile", "n = glob(in/{n}.txt)\nall: out/{n}.txt\nout/{n}.txt: in/{n}.txt\n    cp {in} {out}\n")
    story.write("in/a.txt", "one")
    story.write("in/b.txt", "uno")
    with Terminal(story, "watch", "-j1") as terminal:
        lines = after(terminal, 1)
        assert lines[:2] == ["[1/2] out/a.txt", "[2/2] out/b.txt"]
        assert lines[2].startswith("done: 2 ran (")

        story.write("in/a.txt", "two")
        lines = after(terminal, 2)
        assert lines[:2] == ["bflow: in/a.txt changed", "[2/2] out/a.txt"]
        assert lines[2].startswith("done: 1 ran, 1 up to date (")

        story.edit("Flowfile", "cp {in} {out}", "cp {in} {uot}")
        lines = after(terminal, 3)
        assert lines[0] == "bflow: Flowfile changed"
        assert lines[1].startswith("Flowfile:4:")
        assert "uot" in lines[1]

        story.edit("Flowfile", "cp {in} {uot}", "cat {in} {in} > {out}")
        lines = after(terminal, 4)
        assert lines[:3] == ["bflow: Flowfile changed", "[1/2] out/a.txt", "[2/2] out/b.txt"]
        assert lines[3].startswith("done: 2 ran (")
        assert story.read("out/a.txt") == "twotwo"

        terminal.interrupt()
        assert terminal.end() == 130
        lines = terminal.lines()
        assert lines[-2:] in ([WATCHING, "^C"], [lines[-2], WATCHING])
        assert list(processes_of_session(terminal.process.pid)) == []
    assert story.build().up_to_date == 2


def test_a_job_that_fails_is_told_of_until_it_is_mended(story: Story) -> None:
    story.write("Flowfile", "all: x y\nx: a\n    sh {in} > {out}\ny: b\n    cp {in} {out}\n")
    story.write("a", "echo fine\n")
    story.write("b", "one")
    with Terminal(story, "watch", "-j1", "-k") as terminal:
        after(terminal, 1)
        story.write("a", "echo no such word >&2; exit 4\n")
        lines = after(terminal, 2)
        assert "x failed: its recipe ended with status 4" in "\n".join(lines)
        assert "    no such word" in lines
        story.write("b", "two")
        lines = after(terminal, 3)
        assert "    no such word" in lines
        assert story.read("y") == "two"
        story.write("a", "echo mended\n")
        lines = after(terminal, 4)
        assert lines[-1].startswith("done: 1 ran, 1 up to date")
        assert story.read("x") == "mended\n"


def test_a_change_while_it_builds_and_ctrl_c_in_the_middle(story: Story) -> None:
    hold = story.path("hold")
    story.write("Flowfile", f"out: a\n    while test -e {hold}; do sleep 0.01; done; cp {{in}} {{out}}\n")
    story.write("a", "one")
    story.write("hold")
    with Terminal(story, "watch") as terminal:
        terminal.until("[0/1] 1 running")
        story.write("a", "two")
        terminal.until("bflow: a changed: what depends on it starts again")
        terminal.until(lambda: terminal.lines()[-1].endswith("s  out"))
        terminal.interrupt()
        assert terminal.end() == 130
        assert any(line.startswith("interrupted (") for line in terminal.lines())
        assert not story.exists("out")
