"""Cost against size, one panel a phase and one line a tool, as an SVG file."""

from __future__ import annotations

from math import ceil, floor, log10
from pathlib import Path

from benchmarks.results import Results

PHASES = (
    ("nothing", "nothing to do"),
    ("edit", "one input edited"),
    ("from-nothing", "from nothing"),
    ("restored", "outputs deleted, all in the cache"),
    ("plan", "cold plan"),
)
COLOURS = ("#c0392b", "#2c3e50", "#2980b9", "#16a085", "#8e44ad", "#d68910", "#7f8c8d", "#6e2c00", "#1e8449")
WIDTH, HEIGHT, MARGIN = 300, 240, 55

Points = list[tuple[float, float]]
Lines = dict[str, Points]


def write(results: Results, path: Path, shape: str = "chains") -> bool:
    """Whether there was anything to draw: at least two sizes of one phase."""
    panels = [(title, found) for phase, title in PHASES if (found := _lines(results, shape, phase))]
    if not panels:
        return False
    tools = list(dict.fromkeys(tool for _, lines in panels for tool in lines))
    colours = {tool: COLOURS[i % len(COLOURS)] for i, tool in enumerate(tools)}
    width = len(panels) * (WIDTH + MARGIN) + 20
    height = HEIGHT + 2 * MARGIN + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for i, (title, lines) in enumerate(panels):
        parts += [f'<g transform="translate({MARGIN + i * (WIDTH + MARGIN)},{MARGIN})">']
        parts += [*_panel(f"{title} ({shape})", lines, colours), "</g>"]
    for i, tool in enumerate(tools):
        x, y = MARGIN + i * 100, 18
        parts.append(f'<path d="M{x} {y} h20" stroke="{colours[tool]}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 25}" y="{y + 4}">{tool}</text>')
    path.write_text("\n".join([*parts, "</svg>"]) + "\n")
    return True


def _lines(results: Results, shape: str, phase: str) -> Lines:
    lines: Lines = {}
    for (of_shape, size, of_phase), tools in results.groups():
        if (of_shape, of_phase) == (shape, phase):
            for tool, runs in tools.items():
                lines.setdefault(tool, []).append((size, runs.wall))
    for points in lines.values():
        points.sort()
    return lines if any(len(points) > 1 for points in lines.values()) else {}


def _panel(title: str, lines: Lines, colours: dict[str, str]) -> list[str]:
    """Both axes are logarithmic, from one power of ten to another."""
    xs = [log10(x) for points in lines.values() for x, _ in points]
    ys = [log10(y) for points in lines.values() for _, y in points]
    left, right = floor(min(xs)), max(ceil(max(xs)), floor(min(xs)) + 1)
    low, high = floor(min(ys)), max(ceil(max(ys)), floor(min(ys)) + 1)

    def place(x: float, y: float) -> tuple[float, float]:
        return (WIDTH * (x - left) / (right - left), HEIGHT * (high - y) / (high - low))

    parts = [f'<text x="0" y="-8" font-weight="bold">{title}</text>']
    for power in range(left, right + 1):
        x, _ = place(power, low)
        parts.append(f'<path d="M{x:.1f} 0 V{HEIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT + 15}" text-anchor="middle">{10**power:,}</text>')
    for power in range(low, high + 1):
        _, y = place(left, power)
        parts.append(f'<path d="M0 {y:.1f} H{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="-5" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT + 32}" text-anchor="middle">jobs</text>')
    for tool, points in lines.items():
        at = [place(log10(x), log10(y)) for x, y in points]
        line = " L".join(f"{x:.1f} {y:.1f}" for x, y in at)
        parts.append(f'<path d="M{line}" fill="none" stroke="{colours[tool]}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colours[tool]}"/>' for x, y in at]
    return parts
