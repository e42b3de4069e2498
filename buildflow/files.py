"""Moving files at the lowest level: clone, copy, link, rename into place, remove.

Whatever stands under its final name is whole: it is made under a temporary name and renamed. What is made, where, and
whether something may be replaced is decided elsewhere (cache, sandbox, workspace). Errors that a user can mend are
BuildErrors with the path; a source that is not there is a FileNotFoundError, as the cache takes it for a miss.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import stat
import sys
from collections.abc import Callable
from typing import Literal, TypeVar

from buildflow.errors import BuildError, FlowError
from buildflow.ignore import TEMPORARY

How = Literal["reflink", "copy", "link"]
Made = Literal["reflink", "copy"]
T = TypeVar("T")

COPY_LIMIT = 16 << 20
"""Bytes up to which a file is copied where it cannot be cloned, and above which it is hard-linked."""

STEP_DOWN = frozenset(
    {errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EINVAL}
)
"""The errors that say that a file system cannot do this; any other one is told."""

_LINUX: bool = sys.platform == "linux"
_FICLONE: int = getattr(fcntl, "FICLONE", 0x40049409)  # named from Python 3.12 on
_SMALL = 256 << 10
_CHUNK = 1 << 20
_LONG = 3000  # bytes of a path after which a folder to be removed is moved up; the kernel takes 4095
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL
_OLD = os.O_RDONLY | os.O_NONBLOCK  # a fifo must not make us wait for a writer

_no_reflink: set[tuple[int, int]] = set()  # pairs of devices between which cloning has failed
_homes: dict[tuple[str, str], str] = {}  # (staging, folder) → where files for that folder are made
_token = os.urandom(4).hex()
_counter = itertools.count()


def clone(src: str, dst: str) -> bool:
    """A reflink of `src` as the new file `dst`, with its mode; False where the file system cannot (no `dst` then)."""
    return _copied(src, dst, None, clone_only=True) is not None


def copy(src: str, dst: str, *, mtime_ns: int | None = None) -> How:
    """A reflink of `src` as the new file `dst`, else a copy; says which. Keeps the mode, and not the time."""
    return _copied(src, dst, mtime_ns, clone_only=False) or "copy"


def copy_as_it_is(src: str, dst: str) -> os.stat_result:
    """`copy` that keeps the time too; the status of the new file."""
    try:
        source, st = _open(src)
        try:
            _make(source, st, dst, st.st_mtime_ns)
        finally:
            os.close(source)
        return os.lstat(dst)
    except OSError as error:
        raise _told(error, dst, src) from None


def place(
    src: str,
    dst: str,
    *,
    staging: str,
    limit: int = COPY_LIMIT,
    writable_root: bool | None = None,
    mtime_ns: int | None = None,
    content: bytes | None = None,
) -> How:
    """`src` under the name `dst`, which it replaces in one step; says how.

    A reflink where the file system can; else a copy up to `limit` bytes, and above that a hard link, made read-only. A
    user whom modes do not stop gets a copy (`writable_root`; by default: whether this is root). The mode is kept (but
    for the write bits of links), and so is the time, unless `mtime_ns` is given (a link has the time of its inode).

    The file is made in the folder `staging` or, where that is on another file system, as `.bflow-tmp.*` beside `dst`.
    Folders that are missing are made. Raises FlowError where `dst` is a folder. `content`: the bytes of `src`, which
    are written where cloning is known to be impossible, and `src` not read again.
    """
    root = _is_root(writable_root)

    def make(tmp: str, home: str) -> How:
        how = _place_at(src, tmp, limit, root, mtime_ns, content)
        os.rename(tmp, dst)
        if how == "link":
            _discard(tmp)  # where `dst` was a link to the same inode, rename has done nothing
        return how

    return _in_place(src, dst, staging, make, _discard)


def place_tree(
    src: str,
    dst: str,
    *,
    staging: str,
    limit: int = COPY_LIMIT,
    writable_root: bool | None = None,
    mtime_ns: int | None = None,
) -> None:
    """The folder `src` under the name `dst`; a folder that stood there is renamed away first and then removed.

    Files are made as by `place`, links keep their text. A `dst` that is a file or a symlink is a FlowError.
    """
    dst = dst.rstrip("/")
    root = _is_root(writable_root)

    def make(tmp: str, home: str) -> str | None:
        mode = _build_tree(src, tmp, limit, root, mtime_ns)
        aside = _swap(tmp, dst, home)
        os.chmod(dst, mode)  # only now: a read-only folder cannot be renamed
        return aside

    aside = _in_place(src, dst, staging, make, remove_tree)
    if aside is not None:
        remove_tree(aside)


def replace(tmp: str, dst: str) -> None:
    """Rename `tmp` to `dst`. FlowError where one is a folder and the other is not; OSError(EXDEV) is passed on."""
    try:
        os.rename(tmp, dst)
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise
        raise _told(error, dst) from None


def commit_dir(tmp: str, dst: str) -> bool:
    """Rename the folder `tmp` to `dst`, whose parent is made; False, and nothing done, where `dst` is there already.

    An empty folder counts as absent. Both must be on one file system.
    """
    try:
        try:
            _rename_folder(tmp, dst)
        except FileNotFoundError:
            _make_folders(os.path.dirname(dst))
            _rename_folder(tmp, dst)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise _told(error, dst) from None
    return True


def remove_tree(path: str) -> None:
    """Remove a file, a link or a folder with all that is in it; nothing where nothing is there.

    Links are removed and never followed. Folders that their modes close are opened first. Any depth will do.
    """
    try:
        for attempt in range(3):
            try:
                if not stat.S_ISDIR(os.lstat(path).st_mode):
                    os.unlink(path)
                else:
                    _remove_folder(path)
            except FileNotFoundError:
                return
            except OSError as error:  # a process that outlived its job may still be writing there
                if attempt == 2 or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
    except OSError as error:
        raise _told(error, error.filename or path, doing="remove") from None


def _copied(src: str, dst: str, mtime_ns: int | None, clone_only: bool) -> Made | None:
    try:
        source, st = _open(src)
        try:
            return _make(source, st, dst, mtime_ns, clone_only)
        finally:
            os.close(source)
    except OSError as error:
        raise _told(error, dst, src) from None


def _in_place(src: str, dst: str, staging: str, make: Callable[[str, str], T], discard: Callable[[str], None]) -> T:
    """What `make(tmp, home)` gives, which makes `tmp` in the folder `home` and renames it to `dst`.

    It is called again where folders were missing, and with another home where that was on another file system.
    """
    folder = os.path.dirname(dst)
    retried = False
    try:
        while True:
            home = _home(staging, folder)
            tmp = _temporary(home)
            try:
                return make(tmp, home)
            except BaseException as error:
                discard(tmp)
                if not _mended(error, src, staging, folder, retried):
                    raise
                retried = True
    except OSError as error:
        raise _told(error, dst, src) from None


def _open(src: str) -> tuple[int, os.stat_result]:
    source = os.open(src, _OLD)
    st = os.fstat(source)
    if not stat.S_ISREG(st.st_mode):
        os.close(source)
        what = "a folder, not a file" if stat.S_ISDIR(st.st_mode) else "no regular file"
        raise FlowError(f"{src} is {what}")
    return source, st


def _place_at(
    src: str, tmp: str, limit: int, root: bool, mtime_ns: int | None, content: bytes | None = None
) -> How:
    """The ladder: reflink, then copy or link by size."""
    if content is not None and _no_reflink:
        _written(content, os.stat(src), tmp, mtime_ns)
        return "copy"
    source, st = _open(src)
    try:
        if mtime_ns is None:
            mtime_ns = st.st_mtime_ns
        if root or st.st_size <= limit:
            return _make(source, st, tmp, mtime_ns) or "copy"
        if _make(source, st, tmp, mtime_ns, clone_only=True):
            return "reflink"
        try:
            _link(src, tmp, st)
            return "link"
        except OSError as error:
            if error.errno not in STEP_DOWN:
                raise
        return _make(source, st, tmp, mtime_ns) or "copy"
    finally:
        os.close(source)


def _written(content: bytes, st: os.stat_result, dst: str, mtime_ns: int | None) -> None:
    """The new file `dst` with these bytes, and the mode and time of `st`."""
    mode = st.st_mode & 0o777
    target = os.open(dst, _NEW, mode)
    try:
        try:
            _write(target, content)
            if os.fstat(target).st_mode & 0o777 != mode:  # the umask took some
                os.fchmod(target, mode)
            time = st.st_mtime_ns if mtime_ns is None else mtime_ns
            os.utime(target, ns=(time, time))
        finally:
            os.close(target)
    except BaseException:
        _discard(dst)
        raise


def _link(src: str, tmp: str, st: os.stat_result) -> None:
    os.link(os.path.realpath(src) if os.path.islink(src) else src, tmp)
    if st.st_mode & 0o222:
        try:
            os.chmod(tmp, stat.S_IMODE(st.st_mode) & ~0o222)
        except OSError:  # another user's file: it stays as it is, and we do without the link
            os.unlink(tmp)
            raise


def _make(source: int, st: os.stat_result, dst: str, mtime_ns: int | None, clone_only: bool = False) -> Made | None:
    """The open file `source` as the new file `dst`; None where it was to be cloned and cannot be (no `dst` then)."""
    mode = st.st_mode & 0o777  # not setuid and the like: the copy may belong to someone else
    if sys.platform == "darwin" and _clone_apfs(source, st.st_dev, dst):
        os.chmod(dst, mode)
        if mtime_ns is None:
            os.utime(dst)
        else:
            os.utime(dst, ns=(mtime_ns, mtime_ns))
        return "reflink"
    target = os.open(dst, _NEW, mode)
    try:
        try:
            made = os.fstat(target)
            how: Made = "reflink"
            if not _reflink(source, target, (st.st_dev, made.st_dev)):
                if clone_only:
                    os.unlink(dst)
                    return None
                _fill(source, target, st.st_size)
                how = "copy"
            if made.st_mode & 0o777 != mode:  # the umask took some
                os.fchmod(target, mode)
            if mtime_ns is not None:
                os.utime(target, ns=(mtime_ns, mtime_ns))
        finally:
            os.close(target)  # on NFS a full disk is told here
    except BaseException:
        _discard(dst)
        raise
    return how


def _reflink(source: int, target: int, devices: tuple[int, int]) -> bool:
    if not _LINUX or devices in _no_reflink:
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno not in STEP_DOWN:
            raise
        if error.errno not in (errno.EPERM, errno.EINVAL):  # these may concern this one file
            _no_reflink.add(devices)
        return False
    return True


def _clone_apfs(source: int, device: int, dst: str) -> bool:
    """macOS makes the clone itself, with its time and mode."""
    if (device, device) in _no_reflink:
        return False
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    at_the_current_folder = -2
    if library.fclonefileat(source, at_the_current_folder, os.fsencode(dst), 0) == 0:
        return True
    code = ctypes.get_errno()
    if code not in STEP_DOWN:
        raise OSError(code, os.strerror(code), dst)
    if code != errno.EXDEV:
        _no_reflink.add((device, device))
    return False


def _fill(source: int, target: int, size: int) -> None:
    """Copy up to the end, by the kernel where the file is large and it can."""
    if size < _SMALL:
        data = os.read(source, size + 1)
        _write(target, data)
        if len(data) == size:
            return
    elif sys.platform == "linux":
        try:
            while os.copy_file_range(source, target, 1 << 30):
                pass
        except OSError as error:
            if error.errno not in STEP_DOWN:
                raise
            try:
                while os.sendfile(target, source, None, 1 << 30):
                    pass
            except OSError as error:
                if error.errno not in STEP_DOWN:
                    raise
    # Also after the above: some kernels' copy_file_range says 0 where it cannot, and offsets stand where it stopped.
    while data := os.read(source, _CHUNK):
        _write(target, data)


def _write(target: int, data: bytes) -> None:
    count = os.write(target, data)
    while count < len(data):
        data = data[count:]
        count = os.write(target, data)


def _build_tree(src: str, tmp: str, limit: int, root: bool, mtime_ns: int | None) -> int:
    """A copy of the folder `src` as `tmp`; the mode that `tmp` itself is to have in the end."""
    os.mkdir(tmp, 0o700)
    top = stat.S_IMODE(os.stat(src).st_mode) & 0o777
    modes: list[tuple[str, int]] = []
    folders = [(src, tmp)]
    while folders:
        folder, made = folders.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                target = f"{made}/{entry.name}"
                if entry.is_symlink():
                    os.symlink(os.readlink(entry.path), target)
                elif entry.is_dir(follow_symlinks=False):
                    os.mkdir(target, 0o700)
                    modes.append((target, entry.stat(follow_symlinks=False).st_mode & 0o777))
                    folders.append((entry.path, target))
                else:
                    _place_at(entry.path, target, limit, root, mtime_ns)
    for target, mode in reversed(modes):  # a folder's inside before it can be closed
        os.chmod(target, mode)
    return top


def _swap(tmp: str, dst: str, home: str) -> str | None:
    """Rename `tmp` to `dst`; where the folder went that stood there."""
    try:
        os.rename(tmp, dst)
        return None
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    aside = _temporary(home)
    _rename_folder(dst, aside)
    try:
        os.rename(tmp, dst)
    except BaseException:
        _rename_folder(aside, dst)
        raise
    return aside


def _rename_folder(old: str, new: str) -> None:
    """Rename a folder, also a read-only one: its `..` changes, for which it must be writable."""
    try:
        os.rename(old, new)
    except PermissionError:
        st = os.lstat(old)
        if not stat.S_ISDIR(st.st_mode) or st.st_mode & 0o200:
            raise
        mode = stat.S_IMODE(st.st_mode)
        os.chmod(old, mode | 0o700)
        try:
            os.rename(old, new)
        except BaseException:
            os.chmod(old, mode)
            raise
        os.chmod(new, mode)


def _remove_folder(path: str) -> None:
    folders = [path]
    for folder in folders:  # grows while it runs: parents before what they hold
        try:
            if os.lstat(folder).st_mode & 0o700 != 0o700:
                os.chmod(folder, 0o700)
        except FileNotFoundError:
            continue
        except PermissionError:  # another user's: perhaps its group may
            pass
        folders += _empty(folder, path)
    for folder in reversed(folders):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            pass


def _empty(folder: str, top: str) -> list[str]:
    """Remove what is in a folder but for its folders, which are given; those too deep for a path come to the top."""
    inside = []
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except FileNotFoundError:
        return []
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            try:
                os.unlink(entry.path)
            except FileNotFoundError:
                pass
        elif len(os.fsencode(entry.path)) > _LONG:
            inside.append(_temporary(top))
            _rename_folder(entry.path, inside[-1])
        else:
            inside.append(entry.path)
    return inside


def _is_root(given: bool | None) -> bool:
    return os.geteuid() == 0 if given is None else given


def _temporary(home: str) -> str:
    return f"{home}/{TEMPORARY}{_token}.{os.getpid()}.{next(_counter)}"


def _home(staging: str, folder: str) -> str:
    """Where files for `folder` are made: on its file system."""
    known = _homes.get((staging, folder))
    if known is None:
        try:
            same = os.stat(folder or ".").st_dev == os.stat(staging).st_dev
        except FileNotFoundError:  # looked at again once they are there
            return staging
        known = _homes[staging, folder] = staging if same else folder or "."
    return known


def _mended(error: BaseException, src: str, staging: str, folder: str, retried: bool) -> bool:
    """Whether placing may succeed at a second try."""
    if not isinstance(error, OSError):
        return False
    if error.errno == errno.EXDEV:
        beside = folder or "."
        if _home(staging, folder) == beside:
            return False
        _make_folders(folder)
        _homes[staging, folder] = beside
        return True
    if error.errno == errno.ENOENT and not retried and os.path.exists(src):
        _make_folders(folder)
        _make_folders(staging)
        return True
    return False


def _make_folders(path: str) -> None:
    missing = []
    while path and not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except FileExistsError:
            if not os.path.isdir(folder):
                raise


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


def _told(error: OSError, path: str, src: str = "", doing: str = "write") -> Exception:
    """The error as a sentence about `path`, or about what of `src` could not be read."""
    code, name = error.errno, error.filename
    if src and code == errno.ENOENT and not os.path.exists(src):
        return error if name == src else FileNotFoundError(code, os.strerror(code), src)
    if src and error.filename2 is None and isinstance(name, str) and (name == src or name.startswith(src + "/")):
        return error if code == errno.ENOENT else BuildError(f"cannot read {name}: {error.strerror}")
    if code == errno.ENOSPC:
        return BuildError(f"the disk is full ({path})")
    if code == errno.EDQUOT:
        return BuildError(f"the disk quota is used up ({path})")
    if code == errno.EROFS:
        return BuildError(f"cannot {doing} {path}: the file system is read-only")
    if code == errno.EEXIST and error.filename2 is None and isinstance(name, str) and name != path:
        return FlowError(f"cannot {doing} {path}: {name} is no folder")  # a folder could not be made
    if code == errno.EISDIR or (code in (errno.ENOTEMPTY, errno.EEXIST) and doing == "write"):
        what = "a folder" if os.path.isdir(path) else "a file"
        return FlowError(f"{path} is {what} already", hint="move it away, or give the target another name")
    if code == errno.ENOTDIR:
        if os.path.lexists(path):
            return FlowError(f"{path} is no folder, and one is to stand there", hint="move it away")
        return FlowError(f"cannot {doing} {path}: a file stands where one of its folders is needed")
    return BuildError(f"cannot {doing} {path}: {error.strerror}")
