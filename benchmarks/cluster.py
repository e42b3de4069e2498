"""A running Slurm, and how often a tool asks it for something."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

COMMANDS = ("sbatch", "srun", "squeue", "sacct", "scontrol", "scancel", "sinfo", "sacctmgr")


def runs() -> bool:
    """Whether there is a Slurm that answers. (Without its file the commands look for one in the network.)"""
    if shutil.which("sbatch") is None:
        return False
    if "SLURM_CONF" not in os.environ and not os.path.exists("/etc/slurm/slurm.conf"):
        return False
    return _answers(["sinfo", "--noheader"])


def accounts() -> bool:
    """Whether it remembers jobs that have ended."""
    return _answers(["sacct", "--noheader"])


def _answers(words: list[str]) -> bool:
    try:
        return subprocess.run(words, timeout=20, capture_output=True).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class Counted:
    """A folder for the front of the PATH, whose commands note that they were called, and then do their work."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._calls = folder / "calls"
        for name in COMMANDS:
            if command := shutil.which(name):
                script = folder / name
                script.write_text(f'#!/bin/sh\necho {name} >> {self._calls}\nexec {command} "$@"\n')
                script.chmod(0o755)

    def count(self) -> int:
        """The calls so far."""
        return len(self._calls.read_text().splitlines()) if self._calls.exists() else 0
