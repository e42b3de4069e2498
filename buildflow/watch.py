"""Watching a project: build, wait until something that the build has read is changed, build again.

The loop knows neither the command line nor the screen: what a build is, its caller says. The observer runs before the
first build starts, so what changes while one runs is seen, and built after it.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable

from buildflow.errors import FlowError
from buildflow.lookout import Inbox, Lookout, Touch
from buildflow.seen import NOTHING, SURE, Seen

QUIET = 0.03
"""Seconds without an event that end a save, which may make several."""

LONGEST = 2.0
"""Seconds after which a change is built though events still come."""

Step = Callable[[Seen, bool], None]
"""One build. It calls `opened`, `planned` and `finished` of the `Seen`, and `Watch.cover` once the plan is made. With
True it is only a look, whether what has changed is of interest; then it says nothing where nothing was to do."""


class Watch:
    """Watches the project at `root`, whose `.bflow` is `folder`. `tell` takes sentences for the user."""

    def __init__(self, root: str, folder: str, tell: Callable[[str], None], poll: bool = False) -> None:
        self.root = os.path.realpath(root)
        self.inbox = Inbox()
        self.lookout = Lookout(self.root, folder, self.inbox, tell, poll)
        self.changes: list[str] = []  # what the build that is to come is for
        self._names: dict[str, set[str]] = {}  # a folder, or a file, that plans know by other names
        self._homes: dict[str, str] = {}  # a folder as plans name it → where it is
        self._plain: set[str] = set()  # sources that are no links

    def run(self, build: Step) -> None:
        """Build and wait in turn, until an exception ends it (KeyboardInterrupt)."""
        try:
            self.lookout.start()
            seen = Seen(self.root)
            look = False
            while True:
                build(seen, look)
                gc.collect()  # the plan before this one: a build runs without the collector
                touched, look = self.wait(seen)
                seen = Seen(self.root, touched, seen)
        finally:
            self.lookout.stop()
            self.inbox.close()

    # ---- waiting -----------------------------------------------------------------------------------------------

    def wait(self, seen: Seen) -> tuple[list[str], bool]:
        """Wait for a change; the paths that were touched, and whether it takes a look to know that it is one."""
        pending: dict[str, Touch] = {}
        places: dict[str, str] = {}
        began = last = 0.0
        while True:
            self.inbox.sleep(self._due(began, last, places) if pending or self.inbox.lost else None)
            self._check_root()
            self.lookout.tidy()
            now = time.monotonic()
            taken = self.inbox.take()
            if any(path.endswith(("/.gitignore", "/.bflowignore")) for path in taken):
                self.lookout.reread()
                seen.reread()
            for path, touch in taken.items():
                for name in self._names_of(path):
                    self._look_at_links_again(name, touch, seen)
                    if seen.matters(name, touch.folder):
                        known = pending.setdefault(name, touch)
                        if touch.folder and not known.folder:
                            pending[name] = known._replace(folder=True)
                        places[name] = path
                        last = now
                        began = began or now
            if self.inbox.lost and not began:
                began = last = now
            if not began or self._due(began, last, places) > 0:
                continue
            lost, self.inbox.lost = self.inbox.lost, False
            self.changes, verdict = seen.changed(pending)
            if verdict != NOTHING or lost:
                return list(pending), verdict != SURE
            pending, places, began = {}, {}, 0.0

    def _check_root(self) -> None:
        if not os.path.isdir(self.root):
            raise FlowError(f"the project's folder is gone: {self.root}")

    def _due(self, began: float, last: float, places: dict[str, str]) -> float:
        """The seconds that are left until what came can be taken for whole."""
        now = time.monotonic()
        left = last + QUIET - now
        if left <= 0:
            for path in places.values():
                written = self.inbox.written_at(path)
                if written is not None:
                    left = QUIET
                    break
        return max(0.0, min(left, began + LONGEST - now))

    def _look_at_links_again(self, name: str, touch: Touch, seen: Seen) -> None:
        self._plain.discard(name)
        if touch.folder or name in seen.above:
            self._homes.clear()

    # ---- where plans' names stand ------------------------------------------------------------------------------

    def cover(self, seen: Seen) -> bool:
        """Watch all that a plan reads. True where something was not watched until now: what of it was read by then may
        have changed unseen, and the plan must be made again."""
        self._check_root()
        folders, sources = seen.places()
        armed = False
        for folder in folders:
            if folder in self._homes:
                continue
            name = folder
            while not os.path.isdir(home := os.path.realpath(self._place(name))) and name:
                name = os.path.dirname(name)  # it is still to come
            self._homes[folder] = home
            if self._key(home) != name:
                self._names.setdefault(home, set()).add(name)
            armed |= self.lookout.arm(home)
        for name in sources - self._plain:
            place = self._place(name)
            if not os.path.islink(place):
                self._plain.add(name)
                continue
            target = os.path.realpath(place)
            self._names.setdefault(target, set()).add(name)
            if os.path.isdir(os.path.dirname(target)):
                armed |= self.lookout.arm(os.path.dirname(target))
        return armed

    def _place(self, name: str) -> str:
        return name if name.startswith("/") else os.path.join(self.root, name)

    def _key(self, path: str) -> str:
        """An absolute path as plans name it."""
        if path == self.root:
            return ""
        return path[len(self.root) + 1 :] if path.startswith(self.root + "/") else path

    def _names_of(self, path: str) -> list[str]:
        """All names that plans have for a path."""
        names = [self._key(path)]
        if self._names:
            names.extend(self._names.get(path, ()))
            folder, _, base = path.rpartition("/")
            names.extend(os.path.join(name, base) for name in self._names.get(folder, ()))
        return names
