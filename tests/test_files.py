"""Files arrive whole, by the cheapest way that the file system has, and nothing is left behind."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from buildflow import files
from buildflow.errors import BuildError, FlowError
from buildflow.files import clone, commit_dir, copy, place, place_tree, remove_tree, replace

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's calls")
plain_user = pytest.mark.skipif(os.geteuid() == 0, reason="modes do not stop root")
STEPS = [errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL]


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_no_reflink", set())
    monkeypatch.setattr(files, "_homes", {})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `staging/`; each test ends with nothing in there and no temporary file anywhere."""
    monkeypatch.chdir(tmp_path)
    os.mkdir("staging")
    return tmp_path


@pytest.fixture(autouse=True)
def nothing_is_left(here: Path) -> Iterator[None]:
    yield
    assert [str(path) for path in here.rglob(".bflow-tmp.*")] == []


@pytest.fixture
def no_reflink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_reflink", lambda *arguments: False)
    monkeypatch.setattr(files, "_clone_apfs", lambda *arguments: False)


def failing(code: int, when: Callable[..., bool] = lambda *arguments: True, real: Any = None) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        if when(*arguments):
            raise OSError(code, os.strerror(code), *(a for a in arguments[:1] if isinstance(a, str)))
        return real(*arguments, **named)

    return call


def write(name: str, data: bytes = b"hello", mode: int = 0o644) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    return name


def mode_of(name: str) -> int:
    return stat.S_IMODE(os.lstat(name).st_mode)


# Copies


@pytest.mark.parametrize("size", [0, 5, 256 << 10, (256 << 10) - 1, (3 << 20) + 1])
@pytest.mark.parametrize("mode", [0o644, 0o755, 0o400, 0o444, 0o666, 0o777])
@pytest.mark.usefixtures("no_reflink")
def test_a_copy_has_content_and_mode(size: int, mode: int) -> None:
    data = os.urandom(size)
    assert copy(write("src", data, mode), "dst") == "copy"
    assert Path("dst").read_bytes() == data
    assert mode_of("dst") == mode


def test_an_umask_takes_nothing_from_a_copy() -> None:
    old = os.umask(0o077)
    try:
        copy(write("src", mode=0o664), "dst")
    finally:
        os.umask(old)
    assert mode_of("dst") == 0o664


def test_setuid_is_not_copied() -> None:
    copy(write("src", mode=0o4755), "dst")
    assert mode_of("dst") == 0o755


def test_a_time_is_set_where_it_is_given() -> None:
    os.utime(write("src"), ns=(7, 7))
    copy("src", "now")
    copy("src", "then", mtime_ns=1_000_000_007)
    assert os.stat("now").st_mtime_ns > 1_000_000_007
    assert os.stat("then").st_mtime_ns == 1_000_000_007


@linux
@pytest.mark.usefixtures("no_reflink")
@pytest.mark.parametrize("missing", [("copy_file_range",), ("copy_file_range", "sendfile")])
@pytest.mark.parametrize("code", STEPS)
def test_the_kernel_may_be_unable(monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], code: int) -> None:
    data = os.urandom(1 << 20)
    for name in missing:
        monkeypatch.setattr(os, name, failing(code))
    copy(write("src", data), "dst")
    assert Path("dst").read_bytes() == data


@linux
@pytest.mark.usefixtures("no_reflink")
def test_the_kernel_may_stop_halfway_or_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = os.urandom(1 << 20)
    write("src", data)
    real = os.copy_file_range
    calls = itertools.count()

    def half(source: int, target: int, count: int) -> int:
        if next(calls):
            raise OSError(errno.EXDEV, "no")
        return real(source, target, 1000)

    monkeypatch.setattr(os, "copy_file_range", half)
    copy("src", "1")
    monkeypatch.setattr(os, "copy_file_range", lambda *arguments: 0)
    copy("src", "2")
    assert Path("1").read_bytes() == Path("2").read_bytes() == data


@pytest.mark.usefixtures("no_reflink")
def test_short_writes_are_continued(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda target, data: real(target, data[:3]))
    copy(write("src", b"0123456789"), "dst")
    assert Path("dst").read_bytes() == b"0123456789"


@pytest.mark.usefixtures("no_reflink")
@pytest.mark.parametrize(
    ("code", "text"),
    [
        (errno.ENOSPC, "the disk is full (dst)"),
        (errno.EDQUOT, "the disk quota is used up (dst)"),
        (errno.EIO, "cannot write dst: Input/output error"),
    ],
)
@pytest.mark.parametrize("call", ["write", "close"])
def test_a_full_disk_is_told_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, code: int, text: str, call: str
) -> None:
    write("src")
    real = os.close
    if call == "write":
        monkeypatch.setattr(os, "write", failing(code))
    else:  # as NFS does

        def close(fd: int) -> None:
            writing = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY
            real(fd)
            if writing:
                raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "close", close)
    with pytest.raises(BuildError) as caught:
        copy("src", "dst")
    monkeypatch.setattr(os, "close", real)
    assert caught.value.message == text
    assert not os.path.exists("dst")


def test_nothing_is_written_over() -> None:
    write("src")
    write("dst", b"mine")
    write("aim", b"mine")
    os.symlink("aim", "link")
    for name in ("dst", "link"):
        with pytest.raises(FlowError, match=f"{name} is a file already"):
            copy("src", name)
    assert Path("dst").read_bytes() == Path("aim").read_bytes() == b"mine"


def test_a_source_that_is_none() -> None:
    os.mkfifo("fifo")
    for name in ("fifo", "staging"):
        with pytest.raises(FlowError, match=name):
            copy(name, "dst")
    with pytest.raises(FileNotFoundError):
        copy("missing", "dst")
    with pytest.raises(FileNotFoundError):
        clone("missing", "dst")
    with pytest.raises(BuildError, match="cannot write no/dst"):
        copy(write("src"), "no/dst")


@plain_user
def test_modes_that_forbid_are_told() -> None:
    write("src", mode=0)
    with pytest.raises(BuildError, match="cannot read src: Permission denied"):
        copy("src", "dst")
    os.mkdir("closed", 0o500)
    with pytest.raises(BuildError, match="cannot write closed/dst: Permission denied"):
        place(write("other"), "closed/dst", staging="staging")


# Reflinks


@linux
def test_a_reflink_where_the_file_system_can(monkeypatch: pytest.MonkeyPatch) -> None:
    def ioctl(target: int, request: int, source: int) -> int:
        assert request == 0x40049409
        os.write(target, os.read(source, 100))
        return 0

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    assert clone(write("src", b"1", 0o755), "1")
    assert copy("src", "2") == "reflink"
    assert place("src", "3", staging="staging", limit=0, writable_root=False) == "reflink"
    for name in "123":
        assert Path(name).read_bytes() == b"1" and mode_of(name) == 0o755
    assert os.stat("src").st_nlink == 1


@linux
@pytest.mark.parametrize("code", STEPS)
def test_no_reflink_is_a_step_down(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(fcntl, "ioctl", failing(code))
    assert not clone(write("src"), "dst")
    assert not os.path.exists("dst")
    assert copy("src", "dst") == "copy"


@linux
def test_a_reflink_is_tried_once_for_a_pair_of_file_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def ioctl(*arguments: int) -> int:
        tried.append(arguments)
        raise OSError(errno.EOPNOTSUPP, "no")

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    write("src")
    for name in "1234":
        copy("src", name)
    assert len(tried) == 1


@linux
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EACCES])
def test_other_errors_of_a_reflink_are_told(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    monkeypatch.setattr(fcntl, "ioctl", failing(code))
    write("src")
    with pytest.raises(BuildError, match="dst"):
        copy("src", "dst")
    with pytest.raises(BuildError, match="dst"):
        place("src", "dst", staging="staging")
    assert not os.path.exists("dst")


def test_the_clone_of_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    class Library:
        code = 0

        def fclonefileat(self, source: int, folder: int, dst: bytes, flags: int) -> int:
            if self.code:
                ctypes.set_errno(self.code)
                return -1
            Path(os.fsdecode(dst)).write_bytes(os.pread(source, 100, 0))
            return 0

    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda *arguments, **named: library)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(files, "_LINUX", False)
    os.utime(write("src", b"1", 0o755), ns=(7, 7))
    assert copy("src", "1", mtime_ns=9) == "reflink"
    assert mode_of("1") == 0o755 and os.stat("1").st_mtime_ns == 9
    library.code = errno.EIO
    with pytest.raises(BuildError, match="cannot write 2"):
        copy("src", "2")
    library.code = errno.ENOTSUP
    assert copy("src", "2") == "copy"
    assert Path("2").read_bytes() == b"1"
    library.code = 0
    assert copy("src", "3") == "copy"  # remembered


# Placing


@pytest.mark.usefixtures("no_reflink")
def test_small_files_are_copied_and_keep_mode_and_time() -> None:
    os.utime(write("src", mode=0o755), ns=(7, 1_000_000_007))
    assert place("src", "dst", staging="staging") == "copy"
    assert mode_of("dst") == mode_of("src") == 0o755
    assert os.stat("dst").st_mtime_ns == 1_000_000_007
    place("src", "dst", staging="staging", mtime_ns=9)
    assert os.stat("dst").st_mtime_ns == 9
    assert os.stat("src").st_nlink == 1


@pytest.mark.usefixtures("no_reflink")
@pytest.mark.parametrize(("mode", "then"), [(0o644, 0o444), (0o775, 0o555), (0o400, 0o400)])
def test_large_files_are_linked_read_only(mode: int, then: int) -> None:
    write("src", b"123", mode)
    assert place("src", "1", staging="staging", limit=3, writable_root=False) == "copy"
    assert place("src", "2", staging="staging", limit=2, writable_root=False) == "link"
    assert os.path.samefile("src", "2") and not os.path.samefile("src", "1")
    assert mode_of("1") == mode and mode_of("2") == then
    assert place("src", "2", staging="staging", limit=2, writable_root=False) == "link"  # over itself


@pytest.mark.usefixtures("no_reflink")
def test_root_gets_a_copy() -> None:
    write("src", b"123")
    assert place("src", "1", staging="staging", limit=2, writable_root=True) == "copy"
    assert mode_of("1") == mode_of("src") == 0o644
    expected = "copy" if os.geteuid() == 0 else "link"
    assert place("src", "2", staging="staging", limit=2) == expected


@pytest.mark.usefixtures("no_reflink")
def test_a_link_to_a_file_is_linked_as_the_file() -> None:
    write("real", b"123")
    os.symlink("real", "src")
    assert place("src", "dst", staging="staging", limit=2, writable_root=False) == "link"
    assert os.path.samefile("real", "dst") and not os.path.islink("dst")


@pytest.mark.usefixtures("no_reflink")
@pytest.mark.parametrize("code", STEPS)
@pytest.mark.parametrize("call", ["link", "chmod"])
def test_no_hard_link_is_a_step_down(monkeypatch: pytest.MonkeyPatch, code: int, call: str) -> None:
    write("src", b"123")
    monkeypatch.setattr(os, call, failing(code))
    assert place("src", "dst", staging="staging", limit=2, writable_root=False) == "copy"
    assert Path("dst").read_bytes() == b"123"
    assert mode_of("src") == mode_of("dst") == 0o644


@pytest.mark.usefixtures("no_reflink")
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EMLINK, errno.ENOSPC])
def test_other_errors_of_a_hard_link_are_told(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    write("src", b"123")
    monkeypatch.setattr(os, "link", failing(code))
    with pytest.raises(BuildError):
        place("src", "dst", staging="staging", limit=2, writable_root=False)
    assert not os.path.exists("dst")


def test_what_stood_there_is_replaced_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    write("src", b"new")
    write("dst", b"old")
    seen = []
    real = os.rename

    def rename(old: str, new: str) -> None:
        seen.append((os.path.dirname(old), Path(old).read_bytes(), Path(new).read_bytes()))
        real(old, new)

    monkeypatch.setattr(os, "rename", rename)
    place("src", "dst", staging="staging")
    assert seen == [("staging", b"new", b"old")]
    assert Path("dst").read_bytes() == b"new"


def test_a_link_is_replaced_and_not_written_through() -> None:
    write("aim", b"mine")
    os.symlink("aim", "dst")
    place(write("src"), "dst", staging="staging")
    assert not os.path.islink("dst") and Path("aim").read_bytes() == b"mine"


def test_missing_folders_are_made() -> None:
    place(write("src"), "a/b/dst", staging="new/staging")
    assert Path("a/b/dst").read_bytes() == b"hello"
    remove_tree("a")
    place("src", "a/b/dst", staging="new/staging")
    assert Path("a/b/dst").read_bytes() == b"hello"


def test_a_missing_source_is_a_miss() -> None:
    with pytest.raises(FileNotFoundError):
        place("missing", "a/dst", staging="staging")
    with pytest.raises(FileNotFoundError):
        place_tree("missing", "a/dst", staging="staging")
    assert not os.path.exists("a")


@pytest.mark.usefixtures("no_reflink")
def test_a_source_that_goes_meanwhile_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    write("src")
    real = os.link

    def link(old: str, new: str) -> None:
        os.unlink(old)
        real(old, new)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(FileNotFoundError):
        place("src", "dst", staging="staging", limit=0, writable_root=False)


def test_a_folder_or_a_file_in_the_way() -> None:
    write("src")
    write("file")
    write("folder/x")
    os.mkdir("empty")
    os.symlink("nowhere", "dangling")
    for name in ("folder", "empty"):
        with pytest.raises(FlowError, match=f"{name} is a folder already"):
            place("src", name, staging="staging")
    for name in ("file/dst", "file/a/dst", "dangling/dst"):
        with pytest.raises(FlowError, match=f"cannot write {name}"):
            place("src", name, staging="staging")
    for name in ("file", "dangling"):
        with pytest.raises(FlowError, match=f"{name} is no folder"):
            place_tree("folder", name, staging="staging")
    assert Path("file").read_bytes() == b"hello"


@pytest.mark.parametrize("name", ["out/dst", "dst"])
def test_on_another_file_system_it_is_made_beside(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write("src")
    os.mkdir("out")
    real = os.rename
    crossing = []

    def rename(old: str, new: str) -> None:
        if os.path.dirname(old) == "staging":
            crossing.append(old)
            raise OSError(errno.EXDEV, "crossing", old, None, new)
        assert os.path.basename(old).startswith(".bflow-tmp.")
        real(old, new)

    monkeypatch.setattr(os, "rename", rename)
    for _ in range(3):
        place("src", name, staging="staging")
    assert len(crossing) == 1  # it is remembered
    assert Path(name).read_bytes() == b"hello"
    place_tree("out", "tree/x", staging="staging")
    assert os.path.isdir("tree/x")


def test_what_cannot_cross_at_all_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    write("src")
    monkeypatch.setattr(os, "rename", failing(errno.EXDEV))
    with pytest.raises(BuildError, match="cannot write dst"):
        place("src", "dst", staging="staging")


@pytest.mark.parametrize("code", [errno.EROFS, errno.ENOSPC, errno.EIO])
def test_errors_at_the_rename_are_told(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    write("src")
    monkeypatch.setattr(os, "rename", failing(code))
    with pytest.raises(BuildError, match="dst"):
        place("src", "dst", staging="staging")


def test_replace(monkeypatch: pytest.MonkeyPatch) -> None:
    write("tmp", b"new")
    write("dst", b"old")
    write("folder/x")
    replace("tmp", "dst")
    assert Path("dst").read_bytes() == b"new"
    with pytest.raises(FlowError, match="folder is a folder already"):
        replace("dst", "folder")
    with pytest.raises(FlowError, match="dst is no folder"):
        replace("folder", "dst")
    monkeypatch.setattr(os, "rename", failing(errno.EXDEV))
    with pytest.raises(OSError) as caught:
        replace("dst", "other")
    assert caught.value.errno == errno.EXDEV


# Folders


def a_tree(name: str) -> None:
    write(f"{name}/a/b/x", b"1", 0o755)
    write(f"{name}/big", b"123")
    os.mkdir(f"{name}/empty")
    os.symlink("../outside", f"{name}/link")


@pytest.mark.usefixtures("no_reflink")
def test_a_tree_is_placed_whole() -> None:
    a_tree("src")
    os.utime("src/a/b/x", ns=(7, 1_000_000_007))
    place_tree("src", "out/dst/", staging="staging", limit=2, writable_root=False)
    assert sorted(os.listdir("out/dst")) == ["a", "big", "empty", "link"]
    assert Path("out/dst/a/b/x").read_bytes() == b"1" and mode_of("out/dst/a/b/x") == 0o755
    assert os.stat("out/dst/a/b/x").st_mtime_ns == 1_000_000_007
    assert os.readlink("out/dst/link") == "../outside"
    assert os.path.samefile("src/big", "out/dst/big") and mode_of("out/dst/big") == 0o444


def test_the_old_tree_goes() -> None:
    a_tree("src")
    write("dst/old")
    write("dst/closed/x")
    os.chmod("dst/closed", 0o500)
    place_tree("src", "dst", staging="staging")
    assert sorted(os.listdir("dst")) == ["a", "big", "empty", "link"]
    os.mkdir("bare")
    place_tree("src", "bare", staging="staging")
    assert sorted(os.listdir("bare")) == ["a", "big", "empty", "link"]


def test_read_only_folders() -> None:
    a_tree("src")
    for name in ("src/a/b", "src/a", "src"):
        os.chmod(name, 0o555)
    for _ in range(2):  # the second one renames a read-only folder away
        place_tree("src", "dst", staging="staging")
        assert [mode_of(name) for name in ("dst", "dst/a", "dst/a/b", "dst/empty")] == [0o555] * 3 + [0o755]
    assert commit_dir("src", "entry/x")
    assert mode_of("entry/x") == 0o555
    for name in ("dst", "entry"):
        remove_tree(name)
        assert not os.path.exists(name)


def test_a_failed_swap_puts_the_old_tree_back(monkeypatch: pytest.MonkeyPatch) -> None:
    a_tree("src")
    write("dst/old")
    real = os.rename
    calls = itertools.count()

    def rename(old: str, new: str) -> None:
        if next(calls) == 2:
            raise OSError(errno.ENOSPC, "full")
        real(old, new)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(BuildError, match="the disk is full"):
        place_tree("src", "dst", staging="staging")
    assert os.listdir("dst") == ["old"]


def test_a_tree_with_a_special_file_is_told() -> None:
    a_tree("src")
    os.mkfifo("src/a/pipe")
    with pytest.raises(FlowError, match="src/a/pipe"):
        place_tree("src", "dst", staging="staging")
    assert not os.path.exists("dst")


def test_commit_dir() -> None:
    write("1/x", b"1")
    write("2/x", b"2")
    assert commit_dir("1", "ab/entry")
    assert not commit_dir("2", "ab/entry")
    assert Path("ab/entry/x").read_bytes() == b"1" and os.path.exists("2/x")
    os.mkdir("ab/bare")
    assert commit_dir("2", "ab/bare")
    write("file")
    with pytest.raises(FlowError, match="file is no folder"):
        commit_dir("ab", "file")
    with pytest.raises(BuildError, match="cannot write ab/new"):
        commit_dir("missing", "ab/new")


def test_remove_tree_never_follows_links() -> None:
    write("outside/x")
    write("tree/y")
    os.symlink("../outside", "tree/link")
    os.symlink("outside", "link")
    for name in ("tree", "link", "nothing"):
        remove_tree(name)
        assert not os.path.lexists(name)
    remove_tree(write("file"))
    assert not os.path.exists("file") and os.path.exists("outside/x")


@pytest.mark.parametrize("mode", [0, 0o100, 0o200, 0o400, 0o444, 0o500])
def test_remove_tree_opens_closed_folders(mode: int) -> None:
    write("tree/a/b/x")
    for name in ("tree/a/b", "tree/a", "tree"):
        os.chmod(name, mode)
    remove_tree("tree")
    assert not os.path.exists("tree")


@plain_user
def test_remove_tree_tells_what_it_may_not() -> None:
    write("closed/tree/x")
    os.chmod("closed", 0o500)
    with pytest.raises(BuildError, match="cannot remove closed/tree: Permission denied"):
        remove_tree("closed/tree")
    os.chmod("closed", 0o700)


def test_remove_tree_at_any_depth(here: Path) -> None:
    os.mkdir("tree")
    os.chdir("tree")
    for _ in range(60):  # longer than a path may be
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    write("x")
    os.chdir(here)
    remove_tree("tree")
    assert not os.path.exists("tree")


def test_remove_tree_while_something_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    write("tree/x")
    real = os.rmdir
    late = iter(["tree/late"])

    def rmdir(path: str) -> None:
        for name in late:
            write(name)
        real(path)

    monkeypatch.setattr(os, "rmdir", rmdir)
    remove_tree("tree")
    assert not os.path.exists("tree")
