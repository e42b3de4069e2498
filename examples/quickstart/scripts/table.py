"""table.py TOP FILE...: the TOP most frequent words of each file of counted words, one line a file."""

import sys
from pathlib import Path

top, *files = sys.argv[1:]
for name in files:
    rows = [line.split() for line in Path(name).read_text().splitlines()]
    words = ", ".join(f"{word} ({count})" for count, word in rows[: int(top)])
    print(f"{Path(name).stem:8} {words}")
