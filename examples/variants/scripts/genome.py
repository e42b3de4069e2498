"""genome.py LENGTH: a genome of one chromosome, the same at each call, as FASTA."""

import random
import sys

bases = random.Random("genome").choices("ACGT", k=int(sys.argv[1]))
print(">chr1")
for start in range(0, len(bases), 60):
    print("".join(bases[start : start + 60]))
