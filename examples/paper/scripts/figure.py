"""figure.py TABLE FIT PICTURE: measured points and the fitted line, as SVG or PDF by the picture's suffix."""

import json
import math
import sys
from pathlib import Path

from measurements import read

WIDTH, HEIGHT, LEFT, BOTTOM = 340, 190, 30, 24  # in points, from the lower left corner
HOTTEST, LONGEST = 100, 60


def place(minute: float, degree: float) -> tuple[float, float]:
    """Where a measurement stands on the paper."""
    x = LEFT + (WIDTH - LEFT - 10) * minute / LONGEST
    return round(x, 1), round(BOTTOM + (HEIGHT - BOTTOM - 10) * degree / HOTTEST, 1)


def svg(points: list, line: list, labels: list) -> str:
    shapes = [f'<polyline points="{" ".join(f"{x},{HEIGHT - y:.1f}" for x, y in line)}" fill="none" stroke="#4477aa"/>']
    shapes += [f'<circle cx="{x}" cy="{HEIGHT - y:.1f}" r="2" fill="#ee6677"/>' for x, y in points]
    shapes += [f'<text x="{x}" y="{HEIGHT - y:.1f}">{text}</text>' for x, y, text in labels]
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="9">'
    return "\n".join([head, *shapes, "</svg>\n"])


def pdf(points: list, line: list, labels: list) -> str:
    """A page of one picture, in the fewest objects that a PDF can have."""
    (x, y), *rest = line
    drawing = ["0.27 0.47 0.67 RG", f"{x} {y} m", *(f"{x} {y} l" for x, y in rest), "S", "0.93 0.4 0.47 rg"]
    drawing += [f"{x - 1.5:.1f} {y - 1.5:.1f} 3 3 re f" for x, y in points]
    drawing += ["0 g", *(f"BT /F 9 Tf {x} {y} Td ({text}) Tj ET" for x, y, text in labels)]
    stream = "\n".join(drawing)
    bodies = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {WIDTH} {HEIGHT}] /Contents 4 0 R"
        " /Resources << /Font << /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>",
        f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
    ]
    text, places = "%PDF-1.4\n", []
    for number, body in enumerate(bodies, 1):
        places.append(len(text))
        text += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = f"xref\n0 5\n0000000000 65535 f \n{table}trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n{len(text)}\n%%EOF\n"
    return text + end


table, fit_file, picture = map(Path, sys.argv[1:])
fit = json.loads(fit_file.read_text())
points = [place(minute, degree) for minute, degree in read(table)]
curve = [(t, fit["room"] + (fit["start"] - fit["room"]) * math.exp(-fit["rate"] * t)) for t in range(LONGEST + 1)]
labels = [(*place(t, 0), f"{t} min") for t in (0, 20, 40)]
labels = [(x, y - 16, text) for x, y, text in labels] + [(4, place(0, c)[1], f"{c} C") for c in (20, 60, 100)]
draw = {".svg": svg, ".pdf": pdf}[picture.suffix]
picture.write_text(draw(points, [place(*at) for at in curve], labels))
