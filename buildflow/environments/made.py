"""Things that are made once, at a place under the cache root that is named by what they are made from.

Two builds that want the same thing at once make it once; what a killed one left half made is removed and made anew.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable

from buildflow.environments.base import Site
from buildflow.errors import BuildError
from buildflow.files import remove_tree

WHOLE = "whole"
"""The file that says that a place is whole: it is written last."""


class Place:
    """`<cache root>/environments/<kind>-<digest>/<name>`."""

    def __init__(self, site: Site, kind: str, digest: str, name: str) -> None:
        self.site = site
        root = site.cache_root or os.path.join(site.root, ".bflow", "cache")
        self.folder = f"{root}/environments/{kind}-{digest}"
        self.path = f"{self.folder}/{name}"

    def whole(self) -> bool:
        """Whether it is there."""
        return os.path.exists(f"{self.folder}/{WHOLE}")

    def make(self, maker: Callable[[str], None]) -> None:
        """Make it, unless it is there: `maker(path)` does. Raises what the maker raises, then nothing is left."""
        if self.whole():
            return
        try:
            os.makedirs(os.path.dirname(self.folder), exist_ok=True)
            lock = os.open(f"{self.folder}.lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise BuildError(f"cannot write {self.folder}: {error.strerror}") from None
        try:
            self._wait(lock)
            if self.whole():
                return
            remove_tree(self.folder)
            os.mkdir(self.folder)
            try:
                maker(self.path)
            except BaseException:
                remove_tree(self.folder)
                raise
            open(f"{self.folder}/{WHOLE}", "wb").close()
        finally:
            os.close(lock)

    def _wait(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.site.say(f"another build makes {self.path}: this one waits for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
