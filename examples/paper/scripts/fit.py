"""fit.py ROOM TABLE: an exponential decay to ROOM degrees, fitted to a table of minutes and degrees, as JSON."""

import json
import math
import sys
from pathlib import Path

from measurements import read

room, table = float(sys.argv[1]), Path(sys.argv[2])
warm = [(minute, degree) for minute, degree in read(table) if degree > room + 2]  # below, the noise is larger
minutes = [minute for minute, _ in warm]
logs = [math.log(degree - room) for _, degree in warm]  # a straight line, by least squares

middle, height = sum(minutes) / len(minutes), sum(logs) / len(logs)
slope = sum((t - middle) * (y - height) for t, y in zip(minutes, logs)) / sum((t - middle) ** 2 for t in minutes)
start = room + math.exp(height - slope * middle)
fit = {"room": room, "start": round(start, 1), "rate": round(-slope, 5), "half": round(math.log(2) / -slope, 1)}
print(json.dumps(fit))
