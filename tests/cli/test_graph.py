"""`bflow graph`: jobs and rules, their states, and each form."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from story import Story

FLOWFILE = """
    sample = a b

    all: out/sum.txt

    out/sum.txt: out/{sample}.txt
        cat {in} > {out}

    out/{sample}.txt: in/{sample}.txt
        cp {in} {out}
"""


@pytest.fixture
def project(story: Story) -> Story:
    story.write("Flowfile", FLOWFILE)
    story.write("in/a.txt", "one")
    story.write("in/b.txt", "two")
    return story


def graph(story: Story, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(story.bflow("graph", "--format", "json", *words).out)
    return found


def states(story: Story, *words: str) -> dict[str, str]:
    return {node["targets"][0]: node["state"] for node in graph(story, *words)["nodes"]}


def edges(found: dict[str, Any]) -> set[tuple[str, str]]:
    names = {node["id"]: node["targets"][0] for node in found["nodes"]}
    return {(names[edge["source"]], names[edge["target"]]) for edge in found["edges"]}


def test_nodes_are_jobs_and_sources_and_edges_go_from_what_is_needed(project: Story) -> None:
    found = graph(project)
    assert edges(found) == {
        ("in/a.txt", "out/a.txt"), ("in/b.txt", "out/b.txt"), ("out/a.txt", "out/sum.txt"), ("out/b.txt", "out/sum.txt")
    }  # fmt: skip
    assert {node["kind"] for node in found["nodes"]} == {"job", "source"}
    (one,) = [node for node in found["nodes"] if node["targets"] == ["out/a.txt"]]
    assert one["rule"] == "out/{sample}.txt"


def test_the_json_is_what_networkx_reads(project: Story) -> None:
    import networkx

    read = networkx.node_link_graph(graph(project), edges="edges")
    assert read.is_directed() and networkx.is_directed_acyclic_graph(read) and len(read) == 5


def test_states_are_those_of_a_build(project: Story) -> None:
    assert set(states(project).values()) == {"would_run", "source"}
    assert not project.exists(".bflow")
    project.build()
    assert states(project)["out/sum.txt"] == "up_to_date"
    project.remove("out/a.txt")
    assert states(project)["out/a.txt"] == "cached" and states(project)["out/sum.txt"] == "up_to_date"
    project.write("in/b.txt", "three")
    found = states(project)
    assert found["out/b.txt"] == found["out/sum.txt"] == "would_run" and found["in/b.txt"] == "source"


def test_of_some_targets_it_draws_what_they_need(project: Story) -> None:
    assert states(project, "out/a.txt") == {"out/a.txt": "would_run", "in/a.txt": "source"}


def test_rules_are_drawn_with_the_number_of_their_jobs(project: Story) -> None:
    project.build()
    project.write("in/b.txt", "three")
    nodes = {node["rule"]: node for node in graph(project, "--rules")["nodes"]}
    assert nodes["out/{sample}.txt"]["jobs"] == 2
    assert nodes["out/{sample}.txt"]["states"] == {"up_to_date": 1, "would_run": 1}
    assert nodes["out/{sample}.txt"]["state"] == "would_run"
    assert nodes[None]["targets"] == ["in/a.txt", "in/b.txt"] and len(nodes) == 3
    text = project.bflow("graph", "--rules").out
    assert "2 jobs: 1 would run, 1 up to date" in text and "and 1 more" in text


def test_dot_is_read_by_graphviz_whatever_the_names_hold(story: Story) -> None:
    story.write("Flowfile", "'a \"b\" \\\\n <x>.txt':\n    touch {out}\n")
    story.write('odd "n"#`.txt')
    text = story.bflow("graph").out
    assert text.startswith("digraph bflow {") and 'label="a \\"b\\"' in text
    if shutil.which("dot"):
        drawn = story.bflow("graph", "--format", "svg").out
        assert drawn.lstrip().startswith("<?xml") and "a &quot;b&quot; \\n &lt;x&gt;.txt" in drawn


def test_mermaid(project: Story) -> None:
    lines = project.bflow("graph", "--format", "mermaid").out.splitlines()
    assert lines[0] == "flowchart LR" and '  n0["out/sum.txt"]' in lines and "  n1 --> n0" in lines
    assert any(line.startswith("  classDef would_run fill:") for line in lines)
    project.write("Flowfile", '"x <#1>.txt":\n    touch {out}\n')
    assert '["x #lt;#35;1#gt;.txt"]' in project.bflow("graph", "--format", "mermaid").out


def test_a_file_is_written_in_the_form_that_its_ending_says(project: Story) -> None:
    project.bflow("graph", "-o", "g.dot")
    project.bflow("graph", "-o", "g.mmd")
    project.bflow("graph", "-o", "g.json")
    assert project.read("g.dot").startswith("digraph") and project.read("g.mmd").startswith("flowchart")
    assert json.loads(project.read("g.json"))["directed"]
    assert ".dot, .mmd, .svg or .json" in project.bflow("graph", "-o", "g.pdf", ok=2).err


def test_without_graphviz_it_says_what_to_install(project: Story) -> None:
    empty = project.path("nothing")
    empty.mkdir()
    ran = project.bflow("graph", "--format", "svg", ok=2, env={"PATH": str(empty)})
    assert "install graphviz" in ran.err and not ran.out


def test_jobs_that_are_alike_are_one_node_in_a_large_graph(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        n = {1..100}
        out/sum: out/{n}.b
            cat {in} > {out}
        out/{n}.b: out/{n}.a
            cp {in} {out}
        out/{n}.a: in/{n}
            cp {in} {out}
        """,
    )
    for n in range(1, 101):
        story.write(f"in/{n}", str(n))
    ran = story.bflow("graph")
    assert ran.out.count(" -> ") == 3 and "100 jobs: would run" in ran.out
    assert "201 jobs in 4 nodes" in ran.err
    assert story.bflow("graph", "--all").out.count(" -> ") == 300
    assert len(graph(story)["nodes"]) == 301
    story.build()
    story.write("in/7", "x")
    text = story.bflow("graph").out  # the one that differs has a chain of its own
    assert '"out/7.a' in text and "99 jobs: up to date" in text and text.count(" -> ") == 6


def test_a_job_that_makes_several_files_and_a_phony_one(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        [phony]
        test: x
            cat {in}
        x y:
            touch {out}
        """,
    )
    found = graph(story, "test")
    assert edges(found) == {("x", "test")}
    assert '"x +1' in story.bflow("graph", "test").out
