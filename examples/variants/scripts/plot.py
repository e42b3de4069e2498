"""plot.py FOUND… TRUTH…: as many tables of what was found as of what is true, as an SVG picture.

A panel for each sample: found variants by position and depth, filled where they are true; what was missed on the base line.
"""

import sys
from pathlib import Path

WIDTH, HEIGHT, MARGIN, GENOME, DEEPEST = 600, 110, 40, 20000, 50


def read(name: str) -> list[list[str]]:
    return [line.split("\t") for line in Path(name).read_text().splitlines()]


names = sys.argv[1:]
pairs = list(zip(names[: len(names) // 2], names[len(names) // 2 :]))
print(
    f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 2 * MARGIN}" '
    f'height="{len(pairs) * (HEIGHT + MARGIN) + MARGIN}" font-family="sans-serif" font-size="11">'
)
for row, (found_file, truth_file) in enumerate(pairs):
    found = {(place, base): min(int(depth), DEEPEST) for place, _, base, _, depth in read(found_file)}
    true = {(place, base) for place, _, base, _ in read(truth_file)}
    bottom = (row + 1) * (HEIGHT + MARGIN)
    right = len(true & found.keys())
    title = f"{Path(found_file).stem}: {right} of {len(true)} variants found, {len(found) - right} others"
    print(f'<text x="{MARGIN}" y="{bottom - HEIGHT - 6}">{title}</text>')
    for depth in (0, 25, 50):
        y = bottom - HEIGHT * depth / DEEPEST
        print(f'<path d="M{MARGIN} {y}h{WIDTH}" stroke="#ccc"/><text x="8" y="{y + 4}">{depth}×</text>')
    for place, base in sorted(true | found.keys(), key=lambda at: int(at[0])):
        depth = found.get((place, base), 0)
        x, y = MARGIN + WIDTH * int(place) / GENOME, bottom - HEIGHT * depth / DEEPEST
        colour = "#4477aa" if depth and (place, base) in true else "white"
        print(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}" stroke="{"#4477aa" if depth else "#ee6677"}"/>')
print("</svg>")
