"""Fresh folders for trees, and their end.

Where files were deleted a moment ago, ext4 without a journal takes up to forty times as long to make a new one. So no
tree is deleted before the last measurement, nothing is removed but by renaming it away, and each tree has a folder of
its own that the file system puts where it is empty.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import tempfile
from pathlib import Path

_TOP_OF_TREE = 0x00020000  # FS_TOPDIR_FL, as `chattr +T` sets it
_IN_MEMORY = {"tmpfs", "ramfs"}


class Scratch:
    """A folder below `parent` with the trees of one run. `close` deletes it, unless `keep`."""

    def __init__(self, parent: Path, keep: bool = False) -> None:
        parent.mkdir(parents=True, exist_ok=True)
        spread(parent)
        self.root = Path(tempfile.mkdtemp(prefix="run.", dir=parent)).resolve()
        spread(self.root)
        self.keep = keep
        self.home = self.root / "home"  # whose settings no tool finds anything in
        self.home.mkdir()
        self._made = 0

    def fresh(self, name: str) -> Path:
        """A new, empty folder whose name ends in `name`."""
        self._made += 1
        place = self.root / f"{self._made:04d}-{name}"
        place.mkdir()
        return place

    def away(self, path: Path) -> None:
        """Take `path` out of its tree, without deleting a file."""
        path.rename(self.fresh("away") / path.name)

    def close(self) -> None:
        if not self.keep:
            shutil.rmtree(self.root, ignore_errors=True)


def spread(folder: Path) -> None:
    """Ask the file system to give each folder below `folder` a place of its own. It need not know how."""
    with contextlib.suppress(OSError, ImportError):
        import fcntl

        word = struct.calcsize("l") << 16
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            flags = struct.unpack("i", fcntl.ioctl(descriptor, 0x80006601 | word, bytes(4)))[0]
            fcntl.ioctl(descriptor, 0x40006602 | word, struct.pack("i", flags | _TOP_OF_TREE))
        finally:
            os.close(descriptor)


def default_parent() -> Path:
    """`benchmarks/.scratch`, or the folder for temporary files where that one lies on a real disk and ours does not."""
    own = Path(__file__).resolve().parent / ".scratch"
    temporary = Path(tempfile.gettempdir())
    if os.access(own.parent, os.W_OK) and (file_system(own.parent) not in _IN_MEMORY):
        return own
    return temporary / "bflow-benchmarks"


def file_system(path: Path) -> str:
    """The type of the file system that holds `path`, as /proc/mounts has it; "unknown" where that is not there."""
    best, kind = "", "unknown"
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, point, name = line.split()[:3]
            if len(point) >= len(best) and path.resolve().is_relative_to(point):
                best, kind = point, name
    return kind
