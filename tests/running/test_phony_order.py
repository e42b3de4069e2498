"""Phony jobs run in the order asked, also between targets that are files."""

from __future__ import annotations

import pytest

from quick import Quick


@pytest.fixture
def project(quick: Quick) -> Quick:
    quick.write(
        "Flowfile",
        """
        b: a
            cp {in} {out}
        c: b
            cp {in} {out}
        [phony]
        clean:
            rm -f b c
        [phony]
        change:
            echo changed > a
        [phony]
        broken:
            exit 3
        """,
    )
    quick.write("a", "one\n")
    return quick


def test_a_target_after_a_phony_is_made_after_it(project: Quick) -> None:
    project.build("b")
    ran = project.build("clean", "b")
    assert (ran.ran, ran.cached) == (1, 1)
    assert project.read("b") == "one\n"
    assert project.build("b").up_to_date == 1


def test_one_before_it_is_made_before(project: Quick) -> None:
    project.build("c", "clean")
    assert not project.path("b").exists() and not project.path("c").exists()


def test_what_it_changed_is_seen(project: Quick) -> None:
    project.build("b", "change", "c")
    project.build("change", "c")
    assert project.read("c") == "changed\n"


def test_several_in_their_order(project: Quick) -> None:
    project.build("c")
    project.build("clean", "c", "change")
    assert project.read("c") == "one\n" and project.read("a") == "changed\n"
    project.build("change", "clean", "b", "c")
    assert project.read("c") == "changed\n"


def test_a_failure_stops_there_and_with_k_does_not(project: Quick) -> None:
    assert project.build("broken", "c", ok=1).skipped == 2
    assert not project.path("c").exists()
    assert project.build("-k", "broken", "c", ok=1).ran == 2
    assert project.read("c") == "one\n"


def test_a_dry_run_goes_the_same_way(project: Quick) -> None:
    ran = project.bflow("build", "-n", "clean", "c")
    assert ran.err.index("run: clean\n") < ran.err.index("run: b\n") < ran.err.index("run: c\n")
