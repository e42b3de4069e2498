"""person.py NAME GENOME COPIES PLACES: both copies that a person of this name has of the genome, and where they differ.

COPIES is FASTA with two records; PLACES a table: position, base of the genome, base of the person, in how many copies.
"""

import random
import sys
from pathlib import Path

name, genome, copies, places = sys.argv[1:]
chance = random.Random(name)
bases = "".join(line for line in Path(genome).read_text().splitlines() if not line.startswith(">"))
both = [list(bases), list(bases)]
with open(places, "w") as table:
    for place in sorted(chance.sample(range(200, len(bases) - 200), 25)):
        other = chance.choice([base for base in "ACGT" if base != bases[place]])
        having = chance.choice([both[:1], both[1:], both])
        for copy in having:
            copy[place] = other
        print(place + 1, bases[place], other, len(having), sep="\t", file=table)
Path(copies).write_text("".join(f">{name}_{number}\n{''.join(copy)}\n" for number, copy in enumerate(both, 1)))
