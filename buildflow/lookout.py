"""The lookout: which paths were touched, in the project and in the folders outside it that matter.

watchdog's threads fill an `Inbox`; the loop of `buildflow.watch` sleeps on it and takes what is there. Whether what was
touched has changed is not decided here (`buildflow.seen`).

The project is watched folder by folder where it holds ignored folders, which are left out (`.bflow` and `.git` always
are), and else by whole subtrees. Where the system's watches run out or no events come, it is looked at again and again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from buildflow.errors import FlowError
from buildflow.ignore import Ignore, built_in

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent

POLL = 0.5
"""Seconds between two looks where no events come."""

PROOF = 3.0
"""Seconds in which the first event must have come."""

PAIRING = 0.01
"""Seconds that watchdog holds back a name that was moved away, to pair it with the one it was moved to."""

PATIENCE = 0.5
"""Seconds without a further write after which a file counts as whole though it is still open."""

SPOTS = 48
"""Watches, each a thread, above which ignored folders are left out at the top level only."""


class Touch(NamedTuple):
    """What came for a path since the inbox was last emptied. `made`: the first of it says that nothing stood there
    before; `folder`: some of it was about a folder."""

    made: bool
    folder: bool


class Inbox:
    """What was touched, filled by threads and emptied by one. `lost`: some of it is not known: look at everything."""

    def __init__(self) -> None:
        self.lost = False
        self._touched: dict[str, Touch] = {}
        self._writing: dict[str, tuple[float, bool]] = {}  # not closed yet: the last event, and whether it is new
        self._complete: set[str] = set()  # closed, or moved to their places
        self._lock = threading.Lock()
        self._awake = False
        self._read, self._write = os.pipe()

    def add(self, kind: str, path: str, folder: bool = False, *, closes: bool = False) -> None:
        """Something happened to `path`: it was created, deleted, modified, closed, or moved there. `closes`: closing is
        told too."""
        with self._lock:
            known = self._touched.get(path)
            if known is None:
                self._touched[path] = Touch(kind in ("created", "moved"), folder)
            elif folder and not known.folder:
                self._touched[path] = known._replace(folder=True)
            if closes and not folder and kind in ("created", "modified"):
                self._writing[path] = (time.monotonic(), kind == "created")
            else:
                self._writing.pop(path, None)
            if kind in ("closed", "moved"):
                self._complete.add(path)
            else:
                self._complete.discard(path)
        self.wake()

    def lose(self) -> None:
        """Events were lost."""
        self.lost = True
        self.wake()

    def wake(self) -> None:
        """Make `sleep` return."""
        with self._lock:
            awake, self._awake = self._awake, True
        if not awake:
            os.write(self._write, b"x")

    def sleep(self, timeout: float | None) -> bool:
        """Wait until something comes, or for `timeout` seconds; whether something came."""
        if not select.select([self._read], [], [], timeout)[0]:
            return False
        with self._lock:
            os.read(self._read, 16)
            self._awake = False
        return True

    def take(self) -> dict[str, Touch]:
        """All that was touched since the last time, by absolute path."""
        with self._lock:
            taken, self._touched = self._touched, {}
            if self._writing:
                recent = time.monotonic() - PATIENCE
                self._writing = {path: found for path, found in self._writing.items() if found[0] > recent}
            return taken

    def written_at(self, path: str) -> float | None:
        """When a file that somebody still has open was last written to; None for one that is whole, or was left so."""
        with self._lock:
            found = self._writing.get(path)
        if found is None or found[0] < time.monotonic() - PATIENCE:
            return None
        moment, new = found
        if new:  # a link or a file that was moved here is never closed: only an empty one is waited for
            try:
                st = os.lstat(path)
            except OSError:
                return None
            if not stat.S_ISREG(st.st_mode) or st.st_size:
                return None
        return moment

    def is_complete(self, path: str) -> bool:
        """Whether a file stands at a path, and whoever wrote it has closed it or moved it there."""
        with self._lock:
            return path in self._complete and path not in self._writing and os.path.isfile(path)

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


class Lookout:
    """Watches the project at `root` (absolute, no links) and what `arm` adds. `folder` is its `.bflow`, absolute."""

    def __init__(self, root: str, folder: str, inbox: Inbox, tell: Callable[[str], None], poll: bool = False) -> None:
        self.root = root
        self.folder = folder
        self.inbox = inbox
        self.tell = tell
        self.polling = poll
        self.spots: dict[str, bool] = {}  # folder → whether all below it is watched too
        self._tree: set[str] = set()  # the folders of the project that are watched one by one
        self._handles: dict[str, Any] = {}
        self._gone: set[str] = set()
        self._ignore = Ignore(root, gitignore=True)
        self._observer: Any = None
        self._closes = False
        self._made_folders = False
        self._losses = _Losses(inbox)

    def start(self) -> None:
        """From here on everything is seen."""
        logging.getLogger("watchdog").addHandler(self._losses)
        if not self.polling:
            try:
                self._begin(_native())
                self._prove()
                return
            except OSError as error:
                self._fall_back(_reason(error))
        self._begin(_poller())

    def stop(self) -> None:
        """End all threads."""
        self._end()
        logging.getLogger("watchdog").removeHandler(self._losses)

    def arm(self, folder: str) -> bool:
        """Watch one more folder (absolute, no links); whether it was not watched before."""
        if self.covers(folder):
            return False
        try:
            self._schedule(folder, False)
        except OSError as error:
            if not os.path.isdir(folder):
                return False
            self._change_over(_reason(error))
            if not self.covers(folder):
                self._schedule(folder, False)
        return True

    def covers(self, folder: str) -> bool:
        """Whether what happens in a folder is seen."""
        if folder in self.spots:
            return True
        while len(folder) > 1:
            folder = os.path.dirname(folder)
            if self.spots.get(folder):
                return True
        return False

    def reread(self) -> None:
        """An ignore file has changed."""
        self._ignore = Ignore(self.root, gitignore=True)
        try:
            self._watch_tree(self.root)
        except OSError as error:
            self._change_over(_reason(error))

    def tidy(self) -> None:
        """Forget folders that are gone, and look whether those that came could still be watched."""
        for path in list(self._gone):
            self._gone.discard(path)
            if path == self.root:
                self._change_over()
                continue
            for spot in [s for s in self.spots if s == path or s.startswith(path + "/")]:
                self._unschedule(spot)
            if os.path.isdir(path):  # another one has come to its place meanwhile
                self._appeared(path)
        if self._made_folders and not self.polling:
            self._made_folders = False
            try:
                self._prove()
            except OSError as error:
                self._change_over(_reason(error))

    # ---- watches -----------------------------------------------------------------------------------------------

    def _begin(self, observer: Any) -> None:
        self._observer = observer
        self._closes = type(observer).__name__ == "InotifyObserver"
        self.spots.clear()
        self._tree.clear()
        self._handles.clear()
        observer.start()
        self._watch_tree(self.root)

    def _watch_tree(self, top: str) -> None:
        for folder, below in self._subtrees(top):
            if self.covers(folder):
                continue
            try:
                self._schedule(folder, below)
                self._tree.add(folder)
            except OSError:
                if os.path.isdir(folder):
                    raise

    def _change_over(self, reason: str | None = None) -> None:
        """Begin anew in the middle of it all; with a reason by looking at the files again and again."""
        others = [spot for spot in self.spots if spot not in self._tree]
        if reason is not None:
            self._fall_back(reason)
        else:
            self._end()
        self._begin(_poller() if self.polling else _native())
        for folder in others:
            if os.path.isdir(folder) and not self.covers(folder):
                self._schedule(folder, False)
        self.inbox.lose()

    def _fall_back(self, reason: str) -> None:
        self._end()
        self.polling = True
        self.tell(f"{reason}: the files are looked at every {POLL:g} s instead")

    def _end(self) -> None:
        if self._observer is not None:
            observer, self._observer = self._observer, None
            observer.stop()
            with contextlib.suppress(RuntimeError):  # it was never started
                observer.join()

    def _schedule(self, folder: str, below: bool) -> None:
        self.spots[folder] = below
        try:
            kinds = {"event_filter": _kinds()} if self._closes else {}  # the opening and reading of files is not news
            try:
                self._handles[folder] = self._observer.schedule(self, folder, recursive=below, **kinds)
            except TypeError:  # an older watchdog
                self._handles[folder] = self._observer.schedule(self, folder, recursive=below)
        except BaseException:
            self.spots.pop(folder, None)
            raise
        _close_on_exec()

    def _unschedule(self, folder: str) -> None:
        self.spots.pop(folder, None)
        self._tree.discard(folder)
        handle = self._handles.pop(folder, None)
        if handle is not None:
            with contextlib.suppress(KeyError):  # its thread has ended by itself
                self._observer.unschedule(handle)

    def _subtrees(self, top: str) -> list[tuple[str, bool]]:
        """The folders to watch so that all of `top` is but what is ignored: each, and whether with all below it."""
        folders, broken = self._walk(top)
        found: list[tuple[str, bool]] = []
        whole: set[str] = set()
        for folder in folders:
            if os.path.dirname(folder) in whole:
                whole.add(folder)
                continue
            if folder not in broken:
                whole.add(folder)
            found.append((folder, folder not in broken))
        if len(found) > SPOTS:
            found = [(top, False), *((f, True) for f in folders if os.path.dirname(f) == top)]
        return found

    def _walk(self, top: str) -> tuple[list[str], set[str]]:
        """The folders below `top` that are not ignored, parents first, and those that hold an ignored one somewhere."""
        folders: list[str] = []
        broken: set[str] = {self.root}
        for place, names, _ in os.walk(top):
            folders.append(place)
            inner = [path for name in names if not os.path.islink(path := os.path.join(place, name))]
            kept = [path for path in inner if not self._pruned(path)]
            names[:] = [os.path.basename(path) for path in kept]
            if len(kept) < len(inner):
                while place not in broken and len(place) >= len(top):
                    broken.add(place)
                    place = os.path.dirname(place)
        return folders, broken

    def _pruned(self, path: str) -> bool:
        try:
            return self._ignore.ignored(os.path.relpath(path, self.root), True)
        except FlowError:  # a broken .bflowignore: whoever reads it for the build says so
            return built_in(os.path.basename(path))

    def _prove(self) -> None:
        """One more watch can be added, and what happens there is told. Raises OSError where that is not so."""
        seen = threading.Event()

        class Handler:
            def dispatch(self, event: FileSystemEvent) -> None:
                seen.set()

        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.folder)  # and not what it lies in: somebody may be removing the project
            proof = tempfile.mkdtemp(prefix="watch-", dir=self.folder)
        except OSError:
            return  # a full disk, say: that is for the build to tell
        try:
            handle = self._observer.schedule(Handler(), proof)
            _close_on_exec()
            os.mkdir(f"{proof}/x")
            told = seen.wait(PROOF)
            self._observer.unschedule(handle)
        finally:
            for folder in (f"{proof}/x", proof):
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        if not told:
            raise OSError("it tells no changes here")

    # ---- events ------------------------------------------------------------------------------------------------

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog's thread for each event."""
        kind = event.event_type
        folder = event.is_directory
        if kind in ("opened", "closed_no_write") or (folder and kind in ("modified", "attrib")):
            return
        path = os.fsdecode(event.src_path)
        if kind in ("moved", "deleted"):
            if path in self.spots:
                self._gone.add(path)
            self.inbox.add("deleted", path, folder)
        if kind == "moved":
            path = os.fsdecode(event.dest_path)
        if kind in ("created", "moved") and folder:
            self._made_folders = True
            self._appeared(path)
        if kind != "deleted":
            self.inbox.add(kind, path, folder, closes=self._closes)

    def _appeared(self, path: str) -> None:
        """A new folder: where its parent is watched alone it gets watches of its own, and what is in it is news."""
        if path in self.spots or os.path.dirname(path) not in self._tree or self.spots.get(os.path.dirname(path)):
            return
        if os.path.islink(path) or self._pruned(path):
            return
        try:
            self._watch_tree(path)
            for place, folders, names in os.walk(path):
                for name in folders:
                    self.inbox.add("created", os.path.join(place, name), True)
                for name in names:
                    self.inbox.add("created", os.path.join(place, name))
        except OSError:
            self.inbox.lose()  # it is gone again, or the watches have run out: `tidy` sees which


class _Losses(logging.Handler):
    """watchdog tells of events that the kernel has dropped in its log only."""

    def __init__(self, inbox: Inbox) -> None:
        super().__init__(logging.WARNING)
        self.inbox = inbox

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self.inbox.lose()


def _native() -> Any:
    """The system's own way to tell of changes."""
    from watchdog.observers import Observer

    # Each editor that saves by rename would be heard half a second late.
    groupers = ("inotify_move_event_grouper", "InotifyMoveEventGrouper"), ("inotify_buffer", "InotifyBuffer")
    for module, name in groupers:
        with contextlib.suppress(ImportError, AttributeError):
            getattr(import_module(f"watchdog.observers.{module}"), name).delay = PAIRING
    return Observer()


def _kinds() -> list[type[FileSystemEvent]]:
    """The events that are news."""
    from watchdog import events

    names = ("Created", "Deleted", "Moved")
    kinds = [getattr(events, f"{what}{name}Event") for what in ("Dir", "File") for name in names]
    kinds += [events.FileModifiedEvent, events.FileClosedEvent]
    if hasattr(events, "FileAttribEvent"):  # others tell it as modified
        kinds.append(events.FileAttribEvent)
    return kinds


def _poller() -> Any:
    from watchdog.observers.polling import PollingObserverVFS

    return PollingObserverVFS(_stat, os.scandir, polling_interval=POLL)


def _stat(path: str) -> os.stat_result:
    """The status of a file, of what a link leads to; but of a link to a folder, which may lead in a circle, its own."""
    st = os.lstat(path)
    if stat.S_ISLNK(st.st_mode):
        with contextlib.suppress(OSError):
            target = os.stat(path)
            if not stat.S_ISDIR(target.st_mode):
                return target
    return st


def _close_on_exec() -> None:
    """watchdog's descriptors would be open in every job."""
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/self/fd/{name}") == "anon_inode:inotify":
                    os.set_inheritable(int(name), False)


def _reason(error: OSError) -> str:
    return f"the system cannot watch the files ({error.strerror or error})"
