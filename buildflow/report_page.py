"""A report as one HTML file that needs nothing else: no script, no style or picture from elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from buildflow.drawing import Drawing
from buildflow.drawing_formats import COLOURS, label
from buildflow.report import Report, Told

SHOWN = 2000
"""Jobs of one time that are drawn in its timeline: the longest ones."""

_BURSTS = 10
_SLOWEST = 20

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --dim: #888; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th.n, td.n { text-align: right; white-space: nowrap; } td.t { font-family: ui-monospace, monospace; font-size: .9em; }
.dim { color: var(--dim); } .wide { overflow-x: auto; }
pre { overflow-x: auto; border-left: 3px solid #c33; padding: 0 .8rem; }
svg text { font: 12px system-ui, sans-serif; } .bar:hover { opacity: .7; }
.key span { margin-right: 1rem; white-space: nowrap; }
.key i { display: inline-block; width: .8em; height: .8em; margin-right: .35em; border-radius: 2px; }
""".strip()


def page(report: Report, title: str, now: float) -> str:
    """The whole page. `now`: seconds since 1970."""
    return "\n".join(_page(report, title, now)) + "\n"


def _page(report: Report, title: str, now: float) -> Iterator[str]:
    yield "<!doctype html>"
    yield f'<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
    yield f"<h1>{escape(title)}</h1>"
    yield from _summary(report, now)
    yield from _failed(report.jobs)
    yield "<h2>Rules</h2>"
    yield from _graph(report.drawing)
    yield from _rules(report.jobs)
    yield from _timelines(report)
    yield from _chain(report)
    yield from _slowest(report.jobs)
    yield "</body></html>"


def _summary(report: Report, now: float) -> Iterator[str]:
    jobs = report.jobs
    states: dict[str, int] = {}
    for job in jobs:
        states[job.state] = states.get(job.state, 0) + 1
    yield f"<p>{_count(len(jobs), 'job')}: {', '.join(f'{count} {state}' for state, count in states.items())}.</p>"
    total = sum(job.seconds or 0.0 for job in jobs)
    size = sum(job.size for job in jobs)
    parts = [f"{_seconds(total)} of work in all", f"{_bytes(size)} of results"]
    adopted = sum(job.adopted for job in jobs)
    if adopted:
        parts.append(f"{_count(adopted, 'job')} adopted from another tool")
    for noun, names in (
        ("on", {job.host for job in jobs if job.host}),
        ("by the workers", {job.worker for job in jobs if job.worker}),
        ("in", {job.environment for job in jobs if job.environment}),
    ):
        if names:
            parts.append(f"{noun} {', '.join(sorted(names)[:8])}{' …' if len(names) > 8 else ''}")
    yield f"<p>{escape('; '.join(parts))}.</p>"
    yield f'<p class="dim">{_stamp(now)}. What a result took is what it took when it was made, however long ago.</p>'


def _failed(jobs: Sequence[Told]) -> Iterator[str]:
    failed = [job for job in jobs if job.failed is not None]
    if not failed:
        return
    yield f"<h2>Failed ({len(failed)})</h2>"
    for job in failed[:_SLOWEST]:
        assert job.failed is not None
        yield f"<p><b>{escape(job.target)}</b> ({escape(job.rule)}), {_stamp(job.failed.time)}</p>"
        text = _tail(job.failed.log)
        if text:
            yield f"<pre>{escape(text)}</pre>"


def _tail(path: str | None, most: int = 30) -> str:
    if path is None:
        return ""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, 2) - (1 << 16)))
            return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-most:])
    except OSError:
        return ""


# ---- tables ----------------------------------------------------------------------------------------------------


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int]) -> Iterator[str]:
    kind = [' class="n"' if i in numbers else "" for i in range(len(heads))]
    yield '<div class="wide"><table><tr>'
    yield "".join(f"<th{kind[i]}>{escape(head)}</th>" for i, head in enumerate(heads)) + "</tr>"
    for row in rows:
        cells = "".join(f"<td{kind[i] or ' class=t'}>{escape(cell)}</td>" for i, cell in enumerate(row))
        yield f"<tr>{cells}</tr>"
    yield "</table></div>"


def _rules(jobs: Sequence[Told]) -> Iterator[str]:
    of_rule: dict[str, list[Told]] = {}
    for job in jobs:
        of_rule.setdefault(job.rule, []).append(job)
    rows = []
    for rule, some in sorted(of_rule.items(), key=lambda item: -sum(job.seconds or 0.0 for job in item[1])):
        times = [job.seconds for job in some if job.seconds is not None]
        took = [sum(times), sum(times) / len(times), max(times)] if times else []
        rows.append(
            [rule, str(len(some)), *(map(_seconds, took) if took else [""] * 3), _peak(job.memory for job in some),
             _percent(job.cpu for job in some), _bytes(sum(job.size for job in some))]
        )  # fmt: skip
    heads = ("rule", "jobs", "time", "mean", "longest", "memory", "cpu", "results")
    yield from _table(heads, rows, range(1, 8))


def _slowest(jobs: Sequence[Told]) -> Iterator[str]:
    timed = sorted((job for job in jobs if job.seconds is not None), key=lambda job: -(job.seconds or 0.0))[:_SLOWEST]
    if timed:
        yield "<h2>Longest jobs</h2>"
        yield from _table(("target", "rule", "time", "memory", "cpu", "host"), map(_row, timed), (2, 3, 4))


def _chain(report: Report) -> Iterator[str]:
    if len(report.critical) < 2:
        return
    chain = [report.jobs[place] for place in report.critical]
    total = sum(job.seconds or 0.0 for job in chain)
    yield f"<h2>Longest chain: {_seconds(total)}</h2>"
    yield '<p class="dim">With any number of processors a build from nothing takes at least this long.</p>'
    yield from _table(("target", "rule", "time", "memory", "cpu", "host"), map(_row, chain), (2, 3, 4))


def _row(job: Told) -> list[str]:
    took = _seconds(job.seconds) if job.seconds is not None else ""
    return [job.target, job.rule, took, _peak([job.memory]), _percent([job.cpu]), job.host]


# ---- drawings --------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _GAP = 210, 46, 46


def _graph(drawing: Drawing) -> Iterator[str]:
    """The rules in columns, each right of all that it needs."""
    columns = _columns(drawing)
    places: dict[int, tuple[int, int]] = {}
    for x, column in enumerate(columns):
        for y, node in enumerate(column):
            places[node] = (x * (_WIDTH + _GAP), y * (_HEIGHT + 14))
    width = len(columns) * (_WIDTH + _GAP)
    height = max((len(column) for column in columns), default=0) * (_HEIGHT + 14)
    yield f'<div class="wide"><svg width="{width}" height="{height}" role="img" aria-label="The rules as a graph">'
    for a, b in drawing.edges:
        (x1, y1), (x2, y2) = places[a], places[b]
        x1, y1, y2 = x1 + _WIDTH, y1 + _HEIGHT // 2, y2 + _HEIGHT // 2
        bend = f"M{x1} {y1} C{x1 + _GAP} {y1} {x2 - _GAP} {y2} {x2} {y2}"
        yield f'<path d="{bend}" fill="none" stroke="#888" stroke-width="1.2"/>'
    for i, one in enumerate(drawing.nodes):
        x, y = places[i]
        fill, line = COLOURS[one.state]
        first, *more = [text if len(text) < 31 else f"…{text[-29:]}" for text in label(one, True)]
        yield f"<g><title>{escape(', '.join(one.targets[:10]))}</title>"
        box = f'x="{x}" y="{y + 1}" width="{_WIDTH}" height="{_HEIGHT - 2}" rx="6"'
        yield f'<rect {box} fill="{fill}" stroke="{line}"/>'
        yield f'<text x="{x + 8}" y="{y + 19}" fill="#222">{escape(first)}</text>'
        yield f'<text x="{x + 8}" y="{y + 36}" fill="#555">{escape(more[-1] if more else "")}</text></g>'
    yield "</svg></div>"


def _columns(drawing: Drawing) -> list[list[int]]:
    """Nodes by the longest way to them, rules that need each other together; in a column near what they need."""
    import networkx

    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_nodes_from(range(len(drawing.nodes)))
    graph.add_edges_from(drawing.edges)
    whole = networkx.condensation(graph)
    columns = [
        [node for one in generation for node in sorted(whole.nodes[one]["members"])]
        for generation in networkx.topological_generations(whole)
    ]
    row: dict[int, float] = {}
    for column in columns:
        near = {n: [row[b] for b in graph.predecessors(n) if b in row] for n in column}
        column.sort(key=lambda n: sum(near[n]) / (len(near[n]) or 1))
        row.update((node, float(i)) for i, node in enumerate(column))
    return columns


_BARS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#b07aa1", "#9c755f", "#edc948", "#ff9da7", "#79706e")


def _timelines(report: Report) -> Iterator[str]:
    if not report.bursts:
        return
    names = dict.fromkeys(job.rule for job in report.jobs)
    colours = {rule: _BARS[i % len(_BARS)] for i, rule in enumerate(names)}
    yield "<h2>Timeline</h2>"
    keys = [f'<span><i style="background:{colour}"></i>{escape(rule)}</span>' for rule, colour in colours.items()]
    yield f'<p class="key">{"".join(keys[:40])}</p>'
    for burst in report.bursts[:_BURSTS]:
        yield from _timeline([report.jobs[i] for i in burst], colours)
    if len(report.bursts) > _BURSTS:
        yield f'<p class="dim">… and {len(report.bursts) - _BURSTS} earlier times.</p>'


def _timeline(jobs: list[Told], colours: dict[str, str]) -> Iterator[str]:
    start = min(job.started or 0.0 for job in jobs)
    end = max(job.ended or 0.0 for job in jobs)
    whole = max(end - start, 0.001)
    shown = jobs
    if len(jobs) > SHOWN:
        longest = sorted(jobs, key=lambda job: -((job.ended or 0.0) - (job.started or 0.0)))[:SHOWN]
        shown = sorted(longest, key=lambda job: job.started or 0.0)
    lanes: list[float] = []
    bars = []
    for job in shown:
        assert job.started is not None and job.ended is not None
        lane = next((i for i, free in enumerate(lanes) if free <= job.started), len(lanes))
        if lane == len(lanes):
            lanes.append(0.0)
        lanes[lane] = job.ended
        x, width = (job.started - start) / whole * 1000, max((job.ended - job.started) / whole * 1000, 0.8)
        tip = f"{job.target} · {job.rule} · {_seconds(job.ended - job.started)}{' · ' + job.host if job.host else ''}"
        bars.append(
            f'<rect class="bar" x="{x:.1f}" y="{lane * 12}" width="{width:.1f}" height="10" fill="{colours[job.rule]}">'
            f"<title>{escape(tip)}</title></rect>"
        )
    also = f", the longest {SHOWN} shown" if len(jobs) > SHOWN else ""
    yield f"<p>{_stamp(start)}: {_count(len(jobs), 'job')} in {_seconds(whole)}{also}</p>"
    height = len(lanes) * 12
    yield f'<svg viewBox="0 0 1000 {height}" width="100%" height="{height}" preserveAspectRatio="none">'
    yield from bars
    yield "</svg>"


# ---- texts -----------------------------------------------------------------------------------------------------


def _count(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def _stamp(then: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(then))


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _bytes(size: float) -> str:
    if size < 1000:
        return f"{int(size)} B"
    units = iter("kMGTP")
    unit = next(units)
    while (size := size / 1000) >= 999.95:
        unit = next(units)
    return f"{size:.1f} {unit}B"


def _peak(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return _bytes(max(known) * 1e9) if known else ""


def _percent(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{max(known):.0f} %" if known else ""
