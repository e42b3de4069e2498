"""split.py BOOK FOLDER: one file for each chapter, numbered: a chapter begins at a line "Chapter: title"."""

import sys
from pathlib import Path

book, folder = Path(sys.argv[1]), Path(sys.argv[2])
chapters: list[list[str]] = []
for line in book.read_text().splitlines(keepends=True):
    if line.startswith("Chapter:"):
        chapters.append([])
    if chapters:
        chapters[-1].append(line)
for number, lines in enumerate(chapters, 1):
    (folder / f"{number:02}.txt").write_text("".join(lines).rstrip() + "\n")
