"""Watching a project: build, wait until something that the build has read is changed, build again.

The loop knows neither the command line nor the screen: what a build is, its caller says. The observer runs before the
first build starts, so what changes while one runs is seen: a source is taken into that build, all else is built after
it.
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

BRIEF = 0.008
"""The same where one file came, and was closed or moved to its place."""

FEW = 8
COMING = 0.1
"""Where one of at most `FEW` files is gone: an editor may have moved it away to write it anew."""

FLOOD = 0.15
"""Where more than `FEW` came: a switch of branches, or a program that writes one after the other."""

IDLE = 1.0
"""Seconds without a change after which there is time for what can wait."""

TURN = 0.05
"""Seconds between two looks at what has changed while a build runs."""

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
        self.whole = True  # whether that is all that has changed
        self.idle: Callable[[], None] = lambda: None  # called once where nothing has changed for a while
        self._pending = Pending()
        self._fresh = Pending()  # of that the sources to which a build that runs may go back
        self._names: dict[str, set[str]] = {}  # a folder, or a file, that plans know by other names
        self.before: Seen  # what the build before this one saw
        self._homes: dict[str, str] = {}  # a folder as plans name it → where it is
        self._plain: set[str] = set()  # sources that are no links

    def run(self, build: Step) -> None:
        """Build and wait in turn, until an exception ends it (KeyboardInterrupt)."""
        try:
            self.lookout.start()
            seen = self.before = Seen(self.root)
            look = False
            while True:
                build(seen, look)
                _collect(whole=not seen.kept)
                touched, look = self.wait(seen)
                self.before = seen
                seen = Seen(self.root, touched, seen)
        finally:
            self.lookout.stop()
            self.inbox.close()

    # ---- waiting -----------------------------------------------------------------------------------------------

    def wait(self, seen: Seen) -> tuple[list[str], bool]:
        """Wait for a change; the paths that were touched, and whether it takes a look to know that it is one."""
        self._fresh = Pending()
        quiet_since: float | None = time.monotonic()
        while True:
            if self._pending.began or self.inbox.lost:
                self.inbox.sleep(self._pending.due(self.inbox))
            elif quiet_since is None:
                self.inbox.sleep(None)
            elif not self.inbox.sleep(max(0.0, quiet_since + IDLE - time.monotonic())):
                quiet_since = None
                self.idle()
            self._gather(seen)
            pending = self._pending
            if self.inbox.lost and not pending.began:
                pending.began = pending.last = time.monotonic()
            if not pending.began or pending.due(self.inbox) > 0:
                continue
            lost, self.inbox.lost = self.inbox.lost, False
            self._pending = Pending()
            self.changes, verdict = seen.changed(pending.touched)
            self.whole = not lost and verdict == SURE
            if verdict != NOTHING or lost:
                return list(pending.touched), verdict != SURE

    def _gather(self, seen: Seen) -> None:
        """Take what came and matters."""
        self._check_root()
        self.lookout.tidy()
        taken = self.inbox.take()
        if any(path.endswith(("/.gitignore", "/.bflowignore")) for path in taken):
            self.lookout.reread()
            seen.reread()
        for path, touch in taken.items():
            for name in self._names_of(path):
                self._look_at_links_again(name, touch, seen)
                if seen.matters(name, touch.folder):
                    self._pending.add(name, path, touch)
                    if seen.is_source(name):
                        self._fresh.add(name, path, touch)

    def catch_up(self, seen: Seen, take_in: Callable[[dict[str, bytes | None]], bool]) -> None:
        """Called now and then while a build runs: give it the sources that have changed, with their digests where they
        are known. `take_in` says whether the build goes back to them; what it does not is built after it."""
        self._gather(seen)
        fresh = self._fresh
        if not fresh.began or fresh.due(self.inbox) > 0:
            return
        self._fresh = Pending()
        found = seen.overtaken(fresh.touched)
        if found and take_in({name: digest for name, (_, digest) in found.items()}):
            seen.caught_up(found)

    def _check_root(self) -> None:
        if not os.path.isdir(self.root):
            raise FlowError(f"the project's folder is gone: {self.root}")

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


class Pending:
    """What came and was not looked at yet, by the names of plans. `began` and `last`: when the first of it came, and
    the last (0: nothing came)."""

    def __init__(self) -> None:
        self.touched: dict[str, Touch] = {}
        self.began = self.last = 0.0
        self._places: dict[str, str] = {}

    def add(self, name: str, path: str, touch: Touch) -> None:
        known = self.touched.setdefault(name, touch)
        if touch.folder and not known.folder:
            self.touched[name] = known._replace(folder=True)
        self._places[name] = path
        self.last = time.monotonic()
        self.began = self.began or self.last

    def due(self, inbox: Inbox) -> float:
        """The seconds that are left until what came can be taken for whole."""
        now = time.monotonic()
        places = self._places.values()
        brief = len(places) == 1 and all(map(inbox.is_complete, places))
        left = self.last + (BRIEF if brief else QUIET if len(places) <= FEW else FLOOD) - now
        if left <= 0 and any(inbox.written_at(path) is not None for path in places):
            left = QUIET
        elif left <= 0 and len(places) <= FEW and not all(map(os.path.lexists, places)):
            left = self.last + COMING - now
        return max(0.0, min(left, self.began + LONGEST - now))


def _collect(*, whole: bool) -> None:
    """A build runs without the collector. What is kept from now on is not looked through again after each; a new plan
    leaves the one before as garbage."""
    if whole:
        gc.unfreeze()
    gc.collect()
    if whole:
        gc.freeze()
