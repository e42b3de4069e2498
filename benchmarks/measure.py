"""One run of a command and what it cost: wall and processor time, and peak memory.

A process between us and the command starts it, waits and writes the numbers down: a child's peak memory is never less
than what its parent holds when it starts it, and we may hold a large tree.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_STARTER = """
import os, sys, time
log, out, *words = sys.argv[1:]
flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
actions = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
           (os.POSIX_SPAWN_OPEN, 1, log, flags, 0o644), (os.POSIX_SPAWN_DUP2, 1, 2)]
began = time.perf_counter()
child = os.posix_spawnp(words[0], words, os.environ, file_actions=actions)
status, used = os.wait4(child, 0)[1:]
wall = time.perf_counter() - began
code = os.waitstatus_to_exitcode(status)
with open(out, "w") as file:
    print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss, code, file=file)
"""


class CommandFailed(Exception):
    """A measured command ended with another status than 0; the message has the end of what it said."""


@dataclass(frozen=True)
class Cost:
    """Seconds of wall time and of processor time (children that were waited for included), peak memory in bytes."""

    wall: float
    cpu: float
    memory: int


def run(words: Sequence[str], where: Path, log: Path, environment: Mapping[str, str], limit: float = 7200) -> Cost:
    """Run a command in the folder `where`, with its output in the file `log`, for at most `limit` seconds."""
    numbers = log.with_name(log.name + ".cost")
    numbers.unlink(missing_ok=True)
    starter = [sys.executable, "-IS", "-c", _STARTER, str(log), str(numbers), *words]
    process = subprocess.Popen(starter, cwd=where, env=dict(environment), start_new_session=True)
    try:
        if process.wait(limit):
            raise CommandFailed(f"{words[0]} could not be started")
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{' '.join(words)[:300]}: still running after {limit:g} s") from None
    finally:
        if process.returncode is None:  # the time is over, or we are interrupted
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    wall, cpu, memory, code = numbers.read_text().split()
    if int(code):
        said = log.read_bytes()[-2000:].decode(errors="replace")
        raise CommandFailed(f"{' '.join(words)[:300]}: exit status {code}\n{said}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(float(wall), float(cpu), int(memory) * unit)


def environment(home: Path) -> dict[str, str]:
    """What every tool sees: no settings of the user's, no flags of an outer Make."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "SLURM_CONF", "VIRTUAL_ENV") if name in os.environ}
    return {**kept, "HOME": str(home), "LC_ALL": "C.UTF-8"}
