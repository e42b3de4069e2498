"""The lookout and the loop, with real events; what is waited for are the events themselves."""

from __future__ import annotations

import os
import shutil
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildflow import lookout as module
from buildflow.errors import FlowError
from buildflow.lookout import Inbox, Lookout, Touch
from buildflow.seen import Seen
from buildflow.watch import Watch


class Place:
    """A folder, a lookout over it, and what it has told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.told: list[str] = []
        self.inbox = Inbox()
        self.lookout = Lookout(str(root), str(root / ".bflow"), self.inbox, self.told.append)

    def until(self, name: str, limit: float = 20) -> dict[str, Touch]:
        """All that was touched until something came for `name`."""
        found: dict[str, Touch] = {}
        end = module.time.monotonic() + limit
        while name not in found:
            assert module.time.monotonic() < end, f"{name} was not told of: {found}"
            self.inbox.sleep(1)
            for path, touch in self.inbox.take().items():
                found.setdefault(os.path.relpath(path, self.root), touch)
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path)
    yield place
    place.lookout.stop()
    place.inbox.close()


def write(path: Path, text: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_ignored_folders_are_not_watched(place: Place) -> None:
    for name in ("src/deep/x", "lib/a/node_modules/b/x", ".git/x", ".bflow/cache/x", "build/x/y"):
        write(place.root / name)
    write(place.root / ".gitignore", "node_modules/\n/build/\n")
    place.lookout.start()
    spots = {os.path.relpath(spot, place.root): below for spot, below in place.lookout.spots.items()}
    assert spots == {".": False, "src": True, "lib": False, "lib/a": False}
    write(place.root / "lib/a/node_modules/b/x", "y")
    write(place.root / "src/deep/x", "y")
    assert set(place.until("src/deep/x")) == {"src/deep/x"}
    write(place.root / ".gitignore", "")
    place.until(".gitignore")
    place.lookout.reread()
    write(place.root / "build/x/y", "y")
    place.until("build/x/y")


def test_many_ignored_folders_are_watched_rather_than_a_thread_for_each(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SPOTS", 5)
    for number in range(6):
        write(place.root / f"packages/{number}/node_modules/x")
    write(place.root / ".gitignore", "node_modules/\n")
    place.lookout.start()
    assert len(place.lookout.spots) == 2


def test_new_folders_and_what_is_in_them(place: Place) -> None:
    place.lookout.start()
    write(place.root / "new/deep/x")
    assert place.until("new/deep/x")["new/deep/x"].made
    write(place.root / "new/deep/y")
    place.until("new/deep/y")
    os.rename(place.root / "new", place.root / "other")
    place.until("other")
    place.lookout.tidy()
    assert str(place.root / "new") not in place.lookout.spots
    write(place.root / "other/deep/z")
    place.until("other/deep/z")


def test_the_first_that_comes_says_whether_it_stood_there(place: Place) -> None:
    write(place.root / "a")
    place.lookout.start()
    os.rename(place.root / "a", place.root / "b")
    (place.root / "b").unlink()
    write(place.root / "last")
    told = place.until("last")
    assert (told["a"].made, told["b"].made) == (False, True)


def test_a_file_that_is_being_written(place: Place) -> None:
    place.lookout.start()
    path = place.root / "a"
    with open(path, "w") as file:
        place.until("a")
        assert place.inbox.written_at(str(path)) is not None
        file.write("text")
        file.flush()
        place.until("a")
        assert place.inbox.written_at(str(path)) is not None
    while place.inbox.written_at(str(path)) is not None:
        place.inbox.sleep(1)


def test_threads_and_descriptors_are_given_back(tmp_path: Path) -> None:
    def count() -> tuple[int, int]:
        fds = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc") else 0
        return threading.active_count(), fds

    def once() -> None:
        place = Place(tmp_path)
        place.lookout.start()
        place.lookout.stop()
        place.inbox.close()

    once()  # what is imported and made once
    before = count()
    once()
    assert count() == before
    assert os.listdir(tmp_path / ".bflow") == []


def test_jobs_do_not_inherit_what_it_watches_with(place: Place) -> None:
    place.lookout.start()
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc")
    for name in os.listdir("/proc/self/fd"):
        link = f"/proc/self/fd/{name}"
        if os.path.lexists(link) and os.readlink(link) == "anon_inode:inotify":
            assert not os.get_inheritable(int(name))


def test_no_watches_left(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> object:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(module, "_native", refuse)
    monkeypatch.setattr(module, "POLL", 0.01)
    place.lookout.start()
    assert place.lookout.polling
    assert "inotify watch limit reached" in place.told[0] and "every 0.01 s instead" in place.told[0]
    write(place.root / "src/x")
    place.until("src/x")


def test_events_that_do_not_come(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from watchdog.observers.polling import PollingObserver

    monkeypatch.setattr(module, "_native", lambda: PollingObserver(timeout=600))
    monkeypatch.setattr(module, "PROOF", 0.01)
    monkeypatch.setattr(module, "POLL", 0.01)
    place.lookout.start()
    assert place.lookout.polling and "it tells no changes here" in place.told[0]


def test_watches_that_run_out_later(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "POLL", 0.01)
    place.lookout.start()

    def full(self: Lookout) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr(Lookout, "_prove", full)
    write(place.root / "new/x")
    place.until("new/x")
    place.lookout.tidy()
    assert place.lookout.polling and place.inbox.lost
    write(place.root / "new/y")
    place.until("new/y")


def test_a_disk_that_is_full_is_no_reason_to_poll(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**options: object) -> str:
        raise OSError(28, "No space left on device")

    place.lookout.start()
    monkeypatch.setattr(module.tempfile, "mkdtemp", full)
    write(place.root / "new/x")
    place.until("new/x")
    place.lookout.tidy()
    assert not place.lookout.polling and place.told == []


def test_a_project_that_is_removed_and_put_there_again(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    place = Place(root)
    place.lookout.start()
    try:
        shutil.rmtree(root)
        place.until(".")
        write(root / "src/x")
        place.lookout.tidy()
        assert place.inbox.lost
        write(root / "src/x", "y")
        place.until("src/x")
    finally:
        place.lookout.stop()
        place.inbox.close()


def test_events_that_were_lost(place: Place) -> None:
    import logging

    place.lookout.start()
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed; filesystem events were lost")
    assert place.inbox.lost


def test_links_to_folders_are_not_followed_when_polling(place: Place) -> None:
    os.symlink(".", place.root / "self")
    write(place.root / "x")
    os.symlink("x", place.root / "link")
    assert module._stat(str(place.root / "self")).st_ino == os.lstat(place.root / "self").st_ino
    assert module._stat(str(place.root / "link")).st_ino == os.stat(place.root / "x").st_ino


# ---- the loop


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(str(tmp_path), str(tmp_path / ".bflow"), print)
    yield watch
    watch.lookout.stop()


def known(watch: Watch, *names: str) -> Seen:
    """A build that has read some files."""
    seen = Seen(watch.root)
    seen.files = dict.fromkeys(names)
    seen.finished(True)
    return seen


def test_a_thousand_files_saved_at_once_are_one_change(loop: Watch, tmp_path: Path) -> None:
    names = [f"f{number}" for number in range(1000)]
    for name in names:
        write(tmp_path / name)
        for kind in ("created", "modified", "closed"):
            loop.inbox.add(kind, f"{loop.root}/{name}", closes=True)
    touched, look = loop.wait(known(loop, *names))
    assert (sorted(touched), look) == (sorted(names), False)
    assert loop.inbox.take() == {}


def test_what_does_not_matter_is_slept_through(loop: Watch, tmp_path: Path) -> None:
    seen = known(loop, "Flowfile", "a")
    seen.files["a"] = None
    write(tmp_path / "a")
    loop.inbox.add("created", f"{loop.root}/other")
    later = threading.Timer(0.05, lambda: loop.inbox.add("modified", f"{loop.root}/a"))
    later.start()
    assert loop.wait(seen) == (["a"], False)
    later.join()


def test_lost_events_are_a_look_at_everything(loop: Watch) -> None:
    loop.inbox.lose()
    assert loop.wait(known(loop, "Flowfile")) == ([], True)
    assert not loop.inbox.lost


def test_builds_leave_nothing_behind(loop: Watch, tmp_path: Path) -> None:
    builds: list[weakref.ref[Seen]] = []

    def build(seen: Seen, look: bool) -> None:
        builds.append(weakref.ref(seen))
        seen.files = {"a": None}
        seen.finished(True)
        loop.cover(seen)
        if len(builds) == 12:
            raise KeyboardInterrupt
        write(tmp_path / "a", str(len(builds)) * len(builds))

    with pytest.raises(KeyboardInterrupt):
        loop.run(build)
    assert sum(seen() is not None for seen in builds) <= 2
    assert not any(isinstance(thread, type(loop.lookout._observer)) for thread in threading.enumerate())
    assert loop.lookout._observer is None


def test_a_folder_that_is_gone_ends_it(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    watch = Watch(str(root), str(root / ".bflow"), print)

    def build(seen: Seen, look: bool) -> None:
        seen.finished(True)
        for folder in (root / ".bflow", root):
            folder.rmdir()

    with pytest.raises(FlowError, match="the project's folder is gone"):
        watch.run(build)
