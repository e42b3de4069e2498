"""The tables of a run, as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.budgets import MEBIBYTE, Verdict
from benchmarks.results import Results, compare, ratio_of
from benchmarks.tools import REFERENCE


def measured(results: Results) -> str:
    """Every cell: median, least and most, ratio to the reference, processor time, peak memory."""
    rows = [("shape", "size", "phase", "tool", "median s", "min–max s", "ratio", "cpu s", "peak MiB", "runs")]
    for (shape, size, phase), tools in results.groups():
        reference = next((name for name in REFERENCE if name in tools), "")
        for tool, runs in sorted(tools.items(), key=lambda item: item[1].wall):
            ratio = ""
            if reference and tool != reference:
                ratio = f"{ratio_of(runs.walls, tools[reference].walls).value:.2f} × {reference}"
            elif runs.base and not reference:
                ratio = f"{compare(runs.costs, runs.base)[0].value:.2f} × base"
            cpu = sorted(cost.cpu for cost in runs.costs)[len(runs.costs) // 2]
            peak = runs.memory / MEBIBYTE
            noise = f"{_seconds(min(runs.walls))}–{_seconds(max(runs.walls))}"
            used = (_seconds(cpu) if cpu else "", f"{peak:,.0f}" if peak else "", str(len(runs.costs)))
            rows.append((shape, f"{size:,}", phase, tool, _seconds(runs.wall), noise, ratio, *used))
    return table(rows, right={1, 4, 7, 8, 9})


def judged(heading: str, verdicts: Iterable[Verdict]) -> str:
    """Budgets with what was found; "" where there is none."""
    rows = [(heading, "must be", "found", "min–max", "by cpu", "verdict")]
    for verdict in verdicts:
        found = noise = ""
        if verdict.found is not None:
            found = _number(verdict.found)
            if verdict.least is not None and verdict.most is not None:
                noise = f"{_number(verdict.least)}–{_number(verdict.most)}"
        cpu = "" if verdict.cpu is None else _number(verdict.cpu)
        word = f"{verdict.word}: {verdict.why_not}" if verdict.why_not else verdict.word
        rows.append((verdict.what, f"≤ {_number(verdict.limit)} {verdict.unit}", found, noise, cpu, word))
    return table(rows, right={2, 4}) if len(rows) > 1 else ""


def compared(results: Results) -> str:
    """Which trees were compared; "" where none was."""
    rows = [("trees compared byte for byte", "found")]
    rows += [(what, found or "the same") for what, found in results.compared]
    return table(rows) if len(rows) > 1 else ""


def failed(results: Results) -> str:
    """What failed, a line each; "" where nothing did."""
    return "\n".join(f"FAILED: {text.splitlines()[0]}" for text in results.failures)


def figures(results: Results) -> str:
    """Numbers that are no run's cost; "" where there is none."""
    rows = [("figure", "median", "min–max")]
    for cell, runs in results.cells.items():
        if runs.commands:
            name = f"{cell.shape} {cell.size:,}, scheduler commands, {cell.tool}"
            rows.append((name, _number(median(runs.commands)), f"{min(runs.commands)}–{max(runs.commands)}"))
    for name, values in results.figures.items():
        rows.append((name, _number(median(values)), f"{_number(min(values))}–{_number(max(values))}"))
    return table(rows, right={1}) if len(rows) > 1 else ""


def table(rows: Sequence[Sequence[str]], right: Iterable[int] = ()) -> str:
    """Rows, the first a header, as a table that is read as text and as Markdown."""
    right = set(right)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]

    def line(row: Sequence[str]) -> str:
        cells = (f"{text:{'>' if i in right else '<'}{widths[i]}}" for i, text in enumerate(row))
        return f"| {' | '.join(cells)} |"

    rule = "|".join("-" * (width + 1) + (":" if i in right else "-") for i, width in enumerate(widths))
    return "\n".join([line(rows[0]), f"|{rule}|", *(line(row) for row in rows[1:])])


def _seconds(value: float) -> str:
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
