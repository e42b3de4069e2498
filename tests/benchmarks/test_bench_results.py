"""What the benchmarks say about their numbers: ratios, budgets, growth, and whether two trees are the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import budgets, plot, report
from benchmarks.__main__ import chosen, options
from benchmarks.compare import difference, listing
from benchmarks.measure import CommandFailed, Cost, run
from benchmarks.phases import Case, Settings
from benchmarks.places import Scratch
from benchmarks.results import Cell, Results, ratio_of
from benchmarks.shapes import chains
from benchmarks.tools import Bflow, Tool
from story import CHECKOUT


def results_of(*rows: tuple[str, int, str, str, list[float]], memory: int = 1 << 20) -> Results:
    results = Results()
    for *cell, walls in rows:
        for wall in walls:
            results.add(Cell(*cell), Cost(wall, wall, memory))
    return results


def verdict(results: Results, what: str) -> budgets.Verdict:
    return next(found for found in budgets.judge(results) if found.what.startswith(what))


def test_a_budget_is_met_missed_or_not_measured() -> None:
    ninja = ("chains", 100_000, "nothing", "ninja", [0.4, 0.8, 0.4])
    met = results_of(("chains", 100_000, "nothing", "bflow", [0.3, 0.6, 0.3]), ninja)
    missed = results_of(("chains", 100_000, "nothing", "bflow", [0.31, 0.62, 0.3]), ninja)
    alone = results_of(ninja)
    what = "nothing to do, 100,000"
    assert [verdict(found, what).word for found in (met, missed, alone)] == ["met", "MISSED", "not measured"]
    assert verdict(missed, what).found == pytest.approx(0.775)
    assert verdict(alone, what).why_not == "no bflow in chains/nothing, 100,000"


def test_restoring_is_set_against_the_peers_build_from_nothing() -> None:
    results = results_of(
        ("chains", 10_000, "restored", "bflow", [1.0]), ("chains", 10_000, "from-nothing", "ninja", [9.0])
    )
    assert verdict(results, "outputs deleted").word == "MISSED"


def test_an_edit_is_set_against_its_own_nothing_to_do() -> None:
    results = Results()
    for wall, base in ((0.3, 0.2), (0.3, 0.1), (0.5, 0.25)):
        results.add(Cell("chains", 10_000, "edit", "bflow"), Cost(wall, wall / 2, 1), Cost(base, base, 1))
    found = verdict(results, "one input edited of 10,000")
    assert (found.found, found.least, found.most, found.word) == (2.0, pytest.approx(1.5), pytest.approx(3.0), "met")
    assert found.cpu == 1.0


def test_a_cold_plan_is_judged_by_time_and_memory() -> None:
    results = results_of(
        ("chains", 100_000, "plan", "bflow", [5.0]), ("chains", 500_000, "plan", "bflow", [31.0]), memory=3 << 30
    )
    assert [verdict(results, f"cold plan, 500,000 jobs, {kind}").word for kind in ("time", "mem")] == ["MISSED", "met"]


def test_a_watch_is_judged_by_its_95th_percentile() -> None:
    fast = [0.04] * 95 + [1.0] * 5
    assert verdict(results_of(("chains", 10_000, "watch", "bflow", fast)), "watch").word == "met"
    assert verdict(results_of(("chains", 10_000, "watch", "bflow", fast[1:] + [1.0])), "watch").word == "MISSED"
    assert [budgets.percentile([3.0, 1.0, 2.0], share) for share in (0.0, 0.5, 0.95)] == [1.0, 2.0, 3.0]


def test_growth_is_judged_for_twice_the_size() -> None:
    results = results_of(
        ("chains", 100, "plan", "bflow", [1.0, 1.5]),
        ("chains", 200, "plan", "bflow", [2.3, 9.0]),
        ("chains", 800, "plan", "bflow", [9.0]),
        ("chains", 200, "plan", "ninja", [1.0]),
    )
    grown = budgets.growth(results)
    assert [(v.what, v.word) for v in grown] == [
        ("chains/plan, time, 100 to 200", "MISSED"),
        ("chains/plan, memory, 100 to 200", "met"),
        ("chains/plan, time, 200 to 800", "met"),
        ("chains/plan, memory, 200 to 800", "met"),
    ]
    assert grown[2].found == pytest.approx((9.0 / 2.3) ** 0.5)
    assert [v.what for v in budgets.worst(grown)][0] == "chains/plan, time, 100 to 200"


def test_ratios_are_taken_round_by_round() -> None:
    assert ratio_of([1.0, 4.0, 3.0], [2.0, 4.0, 1.0]) == (1.0, 0.5, 3.0)
    assert ratio_of([1.0, 3.0], [2.0]) == (1.0, 0.5, 1.5)


def test_the_tables_have_every_number() -> None:
    results = results_of(
        ("chains", 1_000, "nothing", "bflow", [0.5, 0.7, 0.6]), ("chains", 1_000, "nothing", "ninja", [1.2, 1.4, 1.2])
    )
    line = next(line for line in report.measured(results).splitlines() if "bflow" in line)
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "chains", "1,000", "nothing", "bflow", "0.600", "0.500–0.700", "0.50 × ninja", "0.600", "1", "3"
    ]  # fmt: skip
    assert "MISSED" not in report.judged("budget", budgets.judge(results))
    assert report.compared(results) == ""


def test_a_comparison_sees_what_differs(tmp_path: Path) -> None:
    for side in ("a", "b"):
        (tmp_path / side / "out").mkdir(parents=True)
        (tmp_path / side / "out" / "x").write_text("1")
        (tmp_path / side / "out" / "link").symlink_to("x")
        (tmp_path / side / f"tool-{side}").write_text(side)
    ours, theirs = tmp_path / "a", tmp_path / "b"

    def found() -> str:
        return difference(listing(ours, ["tool-a"]), listing(theirs, ["tool-b"]))

    assert found() == ""
    (ours / "out" / "x").write_text("2")
    assert found() == "1 files differ, the first: out/x (other bytes or mode)"
    (ours / "out" / "x").write_text("1")
    (ours / "out" / "x").chmod(0o755)
    assert "out/x" in found()
    (ours / "out" / "x").chmod(0o644)
    (ours / "out" / "link").unlink()
    assert "out/link (only theirs)" in found()
    (ours / "out" / "link").symlink_to("y")
    assert "out/link (other" in found()
    (ours / "out" / "link").unlink()
    (theirs / "out" / "link").unlink()
    (ours / "out" / "tool-a").write_text("")  # only at the top is it the tool's own
    assert "out/tool-a (only ours)" in found()


def test_a_command_is_measured(tmp_path: Path) -> None:
    busy = "x = bytearray(80 << 20)\nfor i in range(10 ** 6): pass\nprint('done')"
    cost = run([sys.executable, "-c", busy], tmp_path, tmp_path / "log", os.environ)
    assert cost.wall > 0 and cost.cpu > 0 and 80 << 20 < cost.memory < 300 << 20
    assert (tmp_path / "log").read_text() == "done\n"
    with pytest.raises(CommandFailed, match="exit status 3\nno good"):
        run(["sh", "-c", "echo no good; exit 3"], tmp_path, tmp_path / "log", os.environ)


def test_the_memory_of_the_benchmark_is_not_that_of_the_command(tmp_path: Path) -> None:
    ours = bytearray(200 << 20)
    assert run(["true"], tmp_path, tmp_path / "log", os.environ).memory < 100 << 20
    del ours


class Broken(Tool):
    name = "broken"

    def prepare(self, tree: object, root: Path) -> None:
        pass

    def build(self, jobs: int) -> list[str]:
        return ["sh", "-c", "echo it is broken; exit 1"]


def test_a_peer_that_fails_takes_no_further_part(tmp_path: Path) -> None:
    said: list[str] = []
    results = Results()
    bflow = Bflow()
    bflow.install(tmp_path)
    case = Case(chains(4), [Broken(), bflow], Scratch(tmp_path), results, Settings(2, 1, say=said.append))
    case.from_nothing()
    case.nothing()
    assert {cell.tool for cell in results.cells} == {"bflow"}
    assert len(said) == 1 and "it is broken" in said[0]


def test_tools_take_turns_to_be_first(tmp_path: Path) -> None:
    case = Case(chains(4), [Bflow(), Broken()], Scratch(tmp_path), Results(), Settings())
    assert [(n, tool.name) for n, tool in case.turns(3)] == [
        (0, "bflow"), (0, "broken"), (1, "broken"), (1, "bflow"), (2, "bflow"), (2, "broken")
    ]  # fmt: skip


def test_a_plot_has_a_line_a_tool(tmp_path: Path) -> None:
    rows = [("chains", size, "nothing", tool, [size / 1e5]) for size in (100, 500_000) for tool in ("bflow", "ninja")]
    assert plot.write(results_of(*rows), tmp_path / "a.svg")
    svg = ElementTree.parse(tmp_path / "a.svg").getroot()
    texts = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"bflow", "ninja", "100", "1,000,000", "nothing to do (chains)"} <= {*texts}
    assert not plot.write(results_of(rows[0]), tmp_path / "b.svg")


def test_what_is_measured_is_chosen_by_shape_and_phase() -> None:
    assert chosen("chains", "plan", []) and chosen("chains", "plan", ["chains"])
    assert chosen("bash-chains", "plan", ["*chains/p*"]) and not chosen("chains", "edit", ["*/plan"])
    assert options(["--only", "chains/plan,gather", "--sizes", "1_000,20"]).sizes == [1000, 20]


@pytest.mark.parametrize("words", [["--only", "chain"], ["--sizes", "many"], ["--sizes", "0"], ["--tools", "bazel"]])
def test_a_wrong_option_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(words)
    assert ended.value.code == 2
    assert words[1] in capsys.readouterr().err or words[1] == "0"


def test_the_command_measures_and_writes(tmp_path: Path) -> None:
    words = "--only single,chains --sizes 4,8 --rounds 1 --looks 1 --saves 2 --tools ninja".split()
    places = ["--out", str(tmp_path / "out"), "--scratch", str(tmp_path / "scratch")]
    command = [sys.executable, "-m", "benchmarks", *words, *places]
    ran = subprocess.run(command, cwd=CHECKOUT, text=True, capture_output=True)
    assert ran.returncode == 0, ran.stderr
    assert "nothing to do, 1 job" in ran.stdout
    assert list((tmp_path / "scratch").iterdir()) == []
    data = json.loads(next((tmp_path / "out").glob("*.json")).read_text())
    measured = {(cell["shape"], cell["phase"]) for cell in data["runs"] if cell["tool"] == "bflow"}
    phases = ("plan", "nothing", "from-nothing", "restored", "edit", "watch")
    assert measured == {("single", "start"), *(("chains", phase) for phase in phases)}
    assert len(list((tmp_path / "out").glob("*.svg"))) == 1


def test_a_run_that_is_ended_leaves_no_trees(tmp_path: Path) -> None:
    places = ["--out", str(tmp_path / "out"), "--scratch", str(tmp_path / "scratch")]
    command = [sys.executable, "-m", "benchmarks", "--only", "chains", "--sizes", "2000", "--tools", "ninja", *places]
    ignored = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731 - as a shell does behind a `&`
    with subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                          preexec_fn=ignored) as process:  # fmt: skip
        assert process.stderr
        for line in process.stderr:
            if "chains, 2,000" in line:
                process.terminate()
                break
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "interrupted" in rest and list((tmp_path / "scratch").iterdir()) == []
