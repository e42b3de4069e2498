"""count.py CHAPTER: its title, how many words it has, and the longest of them."""

import re
import sys
from pathlib import Path

title, _, text = Path(sys.argv[1]).read_text().partition("\n")
words = re.findall(r"[A-Za-z]+", text)
print(f"{title.removeprefix('Chapter:').strip()}: {len(words)} words, the longest is {max(words, key=len)!r}")
