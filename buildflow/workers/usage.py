"""What a running job takes: the peaks of memory and processor time of its process and all below it, from /proc."""

from __future__ import annotations

import os


class Usage:
    """The peaks of one job so far; None where it was too short to be looked at, or there is no /proc."""

    __slots__ = ("rss", "vms", "cpu", "_ticks", "_sampled")

    def __init__(self, started: float) -> None:
        self.rss: float | None = None  # GB, as vms
        self.vms: float | None = None
        self.cpu: float | None = None  # percent of one processor
        self._ticks = 0.0
        self._sampled = started

    def sample(self, pid: int, now: float) -> None:
        """Look at a process and all below it; `now` is on the clock of `started`."""
        rss = vms = ticks = 0.0
        some = False
        page = os.sysconf("SC_PAGE_SIZE")
        for process in _family(pid):
            try:
                with open(f"/proc/{process}/statm", "rb") as file:
                    fields = file.read().split()
                with open(f"/proc/{process}/stat", "rb") as file:
                    times = file.read().rpartition(b")")[2].split()
                vms += int(fields[0]) * page
                rss += int(fields[1]) * page
                ticks += (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
            except (OSError, IndexError):
                continue  # it has just ended
            some = True
        if not some:
            return
        self.rss = max(self.rss or 0.0, rss / 1e9)
        self.vms = max(self.vms or 0.0, vms / 1e9)
        passed = now - self._sampled
        if passed > 0 and ticks >= self._ticks:
            self.cpu = max(self.cpu or 0.0, 100 * (ticks - self._ticks) / passed)
        self._ticks = ticks
        self._sampled = now

    def runtime(self, wall: float) -> dict[str, float | None]:
        """As `Result.runtime` has it; `wall` in seconds."""
        return {
            "wall_s": round(wall, 6),
            "rss_peak_gb": self.rss,
            "vms_peak_gb": self.vms,
            "cpu_peak_percent": self.cpu,
        }


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children", "rb") as file:
                    found.extend(int(child) for child in file.read().split())
        except OSError:
            continue
    return found
