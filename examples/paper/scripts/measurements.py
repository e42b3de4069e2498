"""What the scripts share."""

from pathlib import Path


def read(table: Path) -> list[tuple[float, float]]:
    """The minutes and degrees of a table with a header row."""
    rows = [line.split("\t") for line in table.read_text().splitlines()[1:]]
    return [(float(minute), float(degree)) for minute, degree in rows]
