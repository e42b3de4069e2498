"""The trees of the benchmarks: the same for every tool, and what bflow makes of them is what their steps say."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.compare import difference, listing
from benchmarks.measure import environment
from benchmarks.phases import Case, Settings
from benchmarks.places import Scratch
from benchmarks.results import Results
from benchmarks.shapes import SHAPES
from benchmarks.tools import TOOLS, Bflow
from benchmarks.trees import Tree, edit

SIZES = {"chains": 6, "bash-chains": 6, "gather": 5, "lattice": 90, "rules": 4, "compiles": 2, "huge": 4, "single": 1}


@pytest.fixture(params=SIZES)
def tree(request: pytest.FixtureRequest) -> Tree:
    shape = SHAPES[request.param]
    return shape.make(SIZES[shape.name])


def by_hand(tree: Tree, root: Path) -> None:
    """The tree built by a shell, a step at a time."""
    root.mkdir()
    tree.write_sources(root)
    tree.make_folders(root)
    for step in tree.steps():
        subprocess.run(["sh", "-c", step.command()], cwd=root, check=True)


def test_each_step_reads_what_is_there(tree: Tree) -> None:
    there = {path for path, _ in tree.sources()}
    sources = len(there)
    for step in tree.steps():
        assert there.issuperset(step.inputs) and there.issuperset(step.implicit)
        assert there.isdisjoint(step.outputs)
        there.update(step.outputs)
    assert all(path.startswith(tuple(f"{folder}/" for folder in tree.made)) for step in tree.steps()
               for path in step.outputs) or not tree.made  # fmt: skip
    assert {tree.editable(number) for number in range(20)} <= {path for path, _ in tree.sources()}
    assert sources >= 1


def test_a_tree_has_the_jobs_that_it_says(tree: Tree) -> None:
    if tree.shape not in ("gather", "huge"):  # their size is in inputs and in MiB
        assert sum(1 for _ in tree.steps()) == tree.size


def test_every_tool_gets_the_same_tree(tree: Tree, tmp_path: Path) -> None:
    listings = {}
    for tool in TOOLS.values():
        if tool.takes(tree) and (tool.name != "tup" or tool.found()):
            root = tmp_path / tool.name
            root.mkdir()
            tree.write_sources(root)
            tool.prepare(tree, root)
            listings[tool.name] = listing(root, tool.own)
    assert len(listings) >= 3
    assert all(found == listings["bflow"] for found in listings.values())


@pytest.mark.parametrize("name", ["bflow", "ninja", "samu", "n2", "make", "doit"])
def test_what_a_tool_makes_is_what_the_steps_say(tree: Tree, name: str, tmp_path: Path) -> None:
    tool = TOOLS[name]
    if not tool.found() or not tool.takes(tree) or (tree.shape == "compiles" and shutil.which("cc") is None):
        pytest.skip("not on this machine, or not for this tree")
    by_hand(tree, tmp_path / "hand")
    root, home = tmp_path / "tool", tmp_path / "home"
    root.mkdir()
    home.mkdir()
    tree.write_sources(root)
    tool.prepare(tree, root)
    tool.install(tmp_path)
    subprocess.run(tool.build(2), cwd=root, env=environment(home), check=True, stdout=subprocess.PIPE)
    assert difference(listing(root, tool.own), listing(tmp_path / "hand", ())) == ""


def test_an_edit_is_another_content_each_time(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("source 1\n")
    edit(path, 0)
    first = path.read_text()
    edit(path, 1)
    assert [first, path.read_text()] == ["source 1\n// 0000\n", "source 1\n// 0001\n"]


def test_all_phases_leave_the_trees_alike(tree: Tree, tmp_path: Path) -> None:
    if tree.shape == "compiles" and shutil.which("cc") is None:
        pytest.skip("no C compiler")
    other = next((TOOLS[name] for name in ("ninja", "make") if TOOLS[name].found()), None)
    if other is None:
        pytest.skip("nothing to compare with")
    results = Results()
    scratch = Scratch(tmp_path)
    bflow = Bflow()
    bflow.install(scratch.root)
    case = Case(tree, [bflow, other], scratch, results, Settings(rounds=1, looks=1))
    case.from_nothing()
    case.nothing()
    case.restored()
    case.edit()
    assert [found for _, found in results.compared] == [""] * 3
    assert {cell.phase for cell in results.cells} == {"plan", "from-nothing", "nothing", "restored", "edit"}
    (case.standing["bflow"] / "extra").write_text("")
    case.compare("a change")
    assert "extra (only ours)" in results.compared[-1][1]
    scratch.close()
    assert not scratch.root.exists()
