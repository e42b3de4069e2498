"""The command line: which shapes, phases, sizes and tools; then the tables, a JSON file and a plot."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path

from benchmarks import budgets, cluster, plot, report
from benchmarks.measure import CommandFailed
from benchmarks.phases import Case, Settings
from benchmarks.places import Scratch, default_parent, file_system
from benchmarks.results import Results
from benchmarks.shapes import SHAPES, Shape
from benchmarks.tools import TOOLS, Bflow, Tool
from benchmarks.watching import WatchFailed

DEFAULT_OUT = Path(__file__).resolve().parent / "results"

BUSY = 0.5
"""The load from which on it is said that there is other work on the machine."""

WATCHED = 10_000
"""The size of the tree that is watched, unless sizes are given."""


def options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="everything, up to 500,000 jobs and 10 GiB: hours")
    parser.add_argument(
        "--only",
        metavar="SHAPE/PHASE",
        action="append",
        default=[],
        help="with * and ?, several by commas or by repetition; a shape alone is all its phases",
    )
    parser.add_argument("--sizes", type=numbers, metavar="N,…", help="of every shape, instead of its own")
    parser.add_argument("--rounds", type=int, help="builds from nothing a tool and tree (default: 3)")
    parser.add_argument("--looks", type=int, help="runs of a build with nothing to do, or one edit (default: 9)")
    parser.add_argument("--saves", type=int, default=100, help="saves while watching (default: 100)")
    parser.add_argument("--tools", metavar="NAME,…", help="bflow's peers, of those that are found (default: all)")
    parser.add_argument(
        "--before",
        type=Path,
        metavar="DIR",
        help="another checkout, whose bflow takes part as `before`: what a change is worth",
    )
    parser.add_argument("-j", "--jobs", type=int, default=2, help="jobs at once (default: 2)")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="the folder for the results")
    parser.add_argument("--scratch", type=Path, help="the folder for the trees, on a real disk")
    parser.add_argument("--keep", action="store_true", help="do not delete the trees")
    parser.add_argument("--list", action="store_true", help="print what there is to measure, and the tools found")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a budget that was measured is missed")
    given = parser.parse_args(words)
    if given.tools is not None:
        unknown = sorted({*given.tools.split(",")} - {*TOOLS})
        if unknown:
            parser.error(f"no tool is called {unknown[0]}; there are {', '.join(TOOLS)}")
    if given.before and not (given.before / "buildflow" / "scripts" / "bflow").is_file():
        parser.error(f"--before {given.before} is no checkout of buildflow")
    wanted = [pattern for text in given.only for pattern in text.split(",")]
    for pattern in wanted:
        if not any(chosen(shape.name, phase, [pattern]) for shape in SHAPES.values() for phase in shape.phases):
            parser.error(f"--only {pattern} is no shape and phase; `--list` prints them")
    given.only = wanted
    return given


def numbers(text: str) -> list[int]:
    try:
        found = [int(word.replace("_", "")) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} are no whole numbers with commas between") from None
    if min(found) < 1:
        raise argparse.ArgumentTypeError("a size is at least 1")
    return found


def chosen(shape: str, phase: str, patterns: list[str]) -> bool:
    def fits(pattern: str) -> bool:
        of_shape, _, of_phase = pattern.partition("/")
        return fnmatchcase(shape, of_shape) and fnmatchcase(phase, of_phase or "*")

    return not patterns or any(fits(pattern) for pattern in patterns)


def main(words: list[str] | None = None) -> int:
    given = options(words)
    wanted = given.tools.split(",") if given.tools is not None else list(TOOLS)
    tools = [tool for tool in TOOLS.values() if tool.name == "bflow" or (tool.name in wanted and tool.found())]
    if given.list:
        for shape in SHAPES.values():
            print(f"{shape.name}: {' '.join(shape.phases)}")
        print("tools found:", *(tool.name for tool in tools))
        return 0
    if given.before:
        tools.insert(1, Bflow(given.before, "before"))
    settings = Settings(given.rounds or 3, given.looks or 9, given.jobs, saves=given.saves, say=say)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # also where SIGINT is ignored, as behind a `&`
    scratch = Scratch(given.scratch or default_parent(), given.keep)
    try:
        return measure_all(given, tools, scratch, settings)
    finally:
        if given.keep:
            say(f"the trees are kept in {scratch.root}")
        else:
            say("deleting the trees")
        scratch.close()


def measure_all(given: argparse.Namespace, tools: list[Tool], scratch: Scratch, settings: Settings) -> int:
    """Every tree that is asked for, then the tables; the exit status."""
    results = Results()
    for tool in tools:
        tool.install(scratch.root)
    about = machine(scratch.root, tools, given)
    say(f"{about['processors']} processors, Python {about['python']}, {about['file_system']}; "
        f"tools: {', '.join(tool.name for tool in tools)}")  # fmt: skip
    if os.getloadavg()[0] > BUSY:
        say(f"the machine is busy (load {os.getloadavg()[0]:.1f}): trust ratios only, and look at the column `by cpu`")
    status = 0
    try:
        for shape in SHAPES.values():
            phases = [phase for phase in shape.phases if chosen(shape.name, phase, given.only)]
            own = shape.full if given.full else shape.sizes
            for size in own if shape.fixed or not given.sizes else given.sizes:
                if not phases:
                    continue
                try:
                    measure_one(shape, size, phases, tools, scratch, results, settings, given)
                except (CommandFailed, WatchFailed) as error:
                    results.failures.append(f"{shape.name} {size:,}: {error}")
                    say(f"FAILED, on with the next: {error}")
    except KeyboardInterrupt:
        say("interrupted; what was measured so far:")
        status = 130
    about["load_after"] = os.getloadavg()
    verdicts = finish(results, about, given)
    differs = any(found for _, found in results.compared)
    missed = given.check and any(verdict.met is False for verdict in verdicts)
    return status or int(differs or missed or bool(results.failures))


def measure_one(shape: Shape, size: int, phases: list[str], tools: list[Tool], scratch: Scratch, results: Results,
                settings: Settings, given: argparse.Namespace) -> None:  # fmt: skip
    """The phases of one tree, those that make it first."""
    tree = shape.make(size)
    limit = 10 if given.full else 1
    able = [tool for tool in tools if tree.size <= tool.most * limit and (isinstance(tool, Bflow) or not shape.alone)]
    case = Case(tree, able, scratch, results, settings)
    say(f"{shape.name}, {size:,} {shape.unit}: {', '.join(phases)}; {', '.join(tool.name for tool in case.tools)}")
    if phases == ["slurm"]:
        if cluster.runs():
            case.slurm()
        else:
            say("no Slurm runs here")
        return
    if phases == ["plan"]:
        case.plan()
        return
    case.from_nothing("plan" in phases, bool({"from-nothing", "restored"} & {*phases}))
    if "start" in phases:
        case.start()
    if "nothing" in phases:
        case.nothing()
    if "restored" in phases:
        case.restored()
    if "edit" in phases:
        case.edit()
    if "watch" in phases and (size == WATCHED or given.sizes):
        case.watch()
    if "hash" in phases:
        case.hash()


def finish(results: Results, about: dict[str, object], given: argparse.Namespace) -> list[budgets.Verdict]:
    """Print the tables and write the files."""
    verdicts = budgets.judge(results)
    grown = budgets.growth(results)
    parts = [
        report.measured(results),
        report.figures(results),
        report.failed(results),
        report.compared(results),
        report.judged("growth, the worst step", budgets.worst(grown)),
        report.judged("budget", verdicts),
    ]
    print("\n" + "\n\n".join(part for part in parts if part), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    stem = time.strftime("%Y%m%d-%H%M%S")
    found = [{"what": v.what, "limit": v.limit, "unit": v.unit, "found": v.found, "met": v.met, "by_cpu": v.cpu}
             for v in [*verdicts, *grown]]  # fmt: skip
    data = {"machine": about, **results.as_json(), "budgets": found}
    path = given.out / f"{stem}.json"
    path.write_text(json.dumps(data, indent=1) + "\n")
    say(f"wrote {path}")
    if plot.write(results, path.with_suffix(".svg")):
        say(f"wrote {path.with_suffix('.svg')}")
    return [*verdicts, *grown]


def machine(root: Path, tools: list[Tool], given: argparse.Namespace) -> dict[str, object]:
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processors": processors, "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(), "file_system": file_system(root), "load_before": os.getloadavg(),
            "jobs": given.jobs, "full": given.full, "tools": [tool.name for tool in tools]}  # fmt: skip


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
