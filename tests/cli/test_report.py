"""`bflow report`: one HTML page, from the entries alone."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from story import Story

VOID = {"meta", "path", "rect", "br"}


class Checker(HTMLParser):
    """Whether every element is closed, and what the page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag in ("script", "link", "img"):
            self.fetched.append(tag)
        if tag not in VOID or (tag == "rect" and ("class", "bar") in attrs):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()


def checked(page: str) -> str:
    checker = Checker()
    checker.feed(page)
    assert not checker.open and not checker.fetched
    return page


@pytest.fixture
def built(story: Story) -> Story:
    story.write(
        "Flowfile",
        """
        n = {1..3}
        all: out/sum
        out/sum: out/{n}.txt
            cat {in} > {out}
        [name = "copy <&>"]
        out/{n}.txt: in/{n}
            cp {in} {out}
        """,
    )
    for n in (1, 2, 3):
        story.write(f"in/{n}", "x" * 1000)
    story.build()
    return story


def test_it_has_rules_times_and_states(built: Story) -> None:
    page = checked(built.bflow("report").out)
    assert "4 jobs: 4 up to date" in page and "3 jobs: up to date" in page and "6.0 kB of results" in page
    assert page.count('class="bar"') == 4 and "4 jobs in " in page
    assert "Longest chain" in page and "Longest jobs" in page and "<title>project</title>" in page
    assert "copy &lt;&amp;&gt;" in page and "copy <&>" not in page


def test_it_is_written_to_a_file_and_runs_nothing(built: Story) -> None:
    built.write("in/1", "other")
    ran = built.bflow("report", "-o", "page.html", "--title", "A <title>")
    assert "4 jobs" in ran.err and not ran.out
    page = checked(built.read("page.html"))
    assert "<h1>A &lt;title&gt;</h1>" in page and "2 would run" in page
    assert built.read("out/1.txt") == "x" * 1000


def test_of_a_project_that_was_never_built(story: Story) -> None:
    story.write("Flowfile", "x:\n    touch {out}\n")
    page = checked(story.bflow("report").out)
    assert "1 job: 1 would run" in page and "Timeline" not in page and not story.exists(".bflow")


def test_what_failed_is_shown_with_the_end_of_its_log(built: Story) -> None:
    built.write("Flowfile", "x:\n    echo '<oops>' >&2; exit 3\n")
    built.build(ok=1)
    page = checked(built.bflow("report").out)
    assert "Failed (1)" in page and "&lt;oops&gt;" in page


def test_rules_that_need_each_other_are_drawn(story: Story) -> None:
    story.write("Flowfile", "all: 3\n1:\n    echo 1 > 1\nn = 2 3\n{n}: b{n}\n    cp {in} {out}\nb2: 1\n    cp {in} b2\n"
                            "b3: 2\n    cp {in} b3\n")  # fmt: skip
    story.build()
    assert checked(story.bflow("report").out).count("<rect x=") >= 4
