"""What is made of all runs together. bflow calls these functions (`[call = report:summary]`), and writes their results."""

import json
from pathlib import Path

WIDTH, HEIGHT, MARGIN = 240, 160, 36
COLOURS = ("#4477aa", "#228833", "#ee6677", "#ccbb44", "#aa3377", "#66ccee")


def summary(inputs: list[Path]) -> str:
    """A table: for each run the highest number of the ill, and the day on which it was reached."""
    lines = ["setting\trate\tday\till\tpart"]
    for run in map(read, inputs):
        worst = max(run["ill"])
        day = run["ill"].index(worst)
        lines.append(f"{run['setting']}\t{run['rate']:g}\t{day}\t{worst:.0f}\t{worst / run['people']:.1%}")
    return "\n".join(lines) + "\n"


def figure(inputs: list[Path]) -> str:
    """An SVG picture: a panel for each setting, in it a line for each rate, the part of the people that is ill by day."""
    runs = [read(path) for path in inputs]
    settings = list(dict.fromkeys(run["setting"] for run in runs))
    rates = list(dict.fromkeys(run["rate"] for run in runs))
    width = len(settings) * (WIDTH + MARGIN) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT + 3 * MARGIN}" '
        'font-family="sans-serif" font-size="11">'
    ]
    for column, setting in enumerate(settings):
        left = MARGIN + column * (WIDTH + MARGIN)
        parts.append(f'<text x="{left}" y="{MARGIN - 8}">{setting}</text>')
        parts.append(f'<rect x="{left}" y="{MARGIN}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#bbb"/>')
        for run in (run for run in runs if run["setting"] == setting):
            colour = COLOURS[rates.index(run["rate"]) % len(COLOURS)]
            points = " ".join(
                f"{left + WIDTH * day / (len(run['ill']) - 1):.1f},{MARGIN + HEIGHT * (1 - ill / run['people']):.1f}"
                for day, ill in enumerate(run["ill"])
            )
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    for place, rate in enumerate(rates):
        x, y = MARGIN + 90 * place, HEIGHT + 2 * MARGIN
        parts.append(f'<text x="{x}" y="{y}" fill="{COLOURS[place % len(COLOURS)]}">rate {rate:g}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def read(path: Path) -> dict:
    return json.loads(path.read_text())
