"""Two builds of one project: the second waits, and says for what. A killed driver leaves no lock behind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable


class ProjectLock:
    """A lock on `.bflow/lock`, held by an open descriptor that no job inherits."""

    def __init__(self, folder: str) -> None:
        self.path = f"{folder}/lock"
        self._fd = -1

    def take(self, tell: Callable[[str], None]) -> None:
        """Take the lock; where another build has it, tell so and wait."""
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._fd, 64).decode("ascii", "replace").strip()
            tell(f"another build of this project is running (process {holder or 'unknown'}); waiting for it")
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
