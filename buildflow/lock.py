"""Two builds of one project: the second waits, and says for what. A killed driver leaves no lock behind."""

from __future__ import annotations

import fcntl
import os
from _thread import get_ident
from collections.abc import Callable

from buildflow.errors import BuildError

_held: dict[str, int] = {}
"""The locks that this process has: path → the thread that took it."""


class ProjectLock:
    """A lock on `.bflow/lock`, held by an open descriptor that no job inherits. The file names the process that has
    it."""

    def __init__(self, folder: str) -> None:
        self.path = f"{folder}/lock"
        self._fd = -1
        self._taken = False

    def take(self, tell: Callable[[str], None]) -> None:
        """Take the lock; where another build has it, tell so and wait.

        Raises BuildError where that build waits for this one: a recipe, or a hook, that builds the project it is of.
        """
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._lock(tell)
        except BaseException:
            self.release()
            raise

    def _lock(self, tell: Callable[[str], None]) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._fd, 64, 0).decode("ascii", "replace").strip()
            if _held.get(self.path) == get_ident() or (holder.isdigit() and _is_above(int(holder))):
                raise BuildError(
                    f"this build was started by a job or hook of another one of the same project (process {holder}), "
                    "and each would wait for the other",
                    None,
                    "name the targets as inputs of that rule",
                ) from None
            tell(f"another build of this project is running (process {holder or 'unknown'}); waiting for it")
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        _held[self.path] = get_ident()
        self._taken = True

    def release(self) -> None:
        if self._fd >= 0:
            if self._taken:
                _held.pop(self.path, None)
                self._taken = False
            os.close(self._fd)
            self._fd = -1


def _is_above(pid: int) -> bool:
    """Whether a process is an ancestor of this one; False where there is no /proc."""
    current = os.getppid()
    while current > 1:
        if current == pid:
            return True
        try:
            with open(f"/proc/{current}/stat", "rb") as file:
                current = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return False
    return False
