"""Digests of files and folders, and the stat signatures that say whether one still holds.

A digest is the XXH3-128 (16 bytes) of a file's content and executable bit, or of a folder's names, file digests, link
texts and empty folders. It depends on nothing else: not on times, owners, threads or the order of a listing. Nothing is
remembered here; who keeps digests compares signatures, and hashes again what was `racy`.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import Callable
from typing import NamedTuple, Union

from xxhash import xxh3_128, xxh3_128_digest

from buildflow.errors import FlowError
from buildflow.ignore import Ignore, built_in

Signature = tuple[int, int, int, int, int]
"""size, mtime_ns, inode, ctime_ns, mode"""

Path = Union[str, bytes]

SMALL = 64 << 10
CHUNK = 1 << 20
BLOCK = 16 << 20
WHOLE = 64 << 20
"""Files above this size are hashed as blocks of `BLOCK` bytes, by several threads."""

TRIES = 5

# Digests made of other digests have a seed of their own, so that no file's content can look like one.
_EXECUTABLE, _BLOCKS, _TREE = 1, 2, 3

_SECOND = 1_000_000_000
_FINE = 20_000_000  # a kernel's clock tick is 1 to 10 ms
_COARSE = 2 * _SECOND  # file systems that store whole seconds, FAT every other one


class Listed(NamedTuple):
    """One thing that a tree digest saw: its path below the folder ("" itself), "f", "d" or "l", its own signature."""

    name: str
    kind: str
    signature: Signature


def signature(st: os.stat_result) -> Signature:
    """What is compared to see that a file is the one that was hashed."""
    return (st.st_size, st.st_mtime_ns, st.st_ino, st.st_ctime_ns, st.st_mode)


def signature_matches(old: Signature, new: Signature, ignore_ctime: bool) -> bool:
    """Whether a file is unchanged; `ignore_ctime` for a read-only file, whose ctime a hard link elsewhere changes."""
    return old == new or (ignore_ctime and old[:3] == new[:3] and old[4] == new[4])


def is_racy(known: Signature, moment_ns: int) -> bool:
    """Whether a change after `moment_ns` (when the reading began, as `time.time_ns()`) could leave this signature.

    So for a time within the clock's granularity of that moment, or after it.
    """
    for stamp in (known[1], known[3]):
        if stamp + (_FINE if stamp % _SECOND else _COARSE) >= moment_ns:
            return True
    return False


def with_mode(content: bytes, executable: bool) -> bytes:
    """The digest of a file from its content's."""
    return xxh3_128_digest(b"x\0" + content, _EXECUTABLE) if executable else content


def file_digest(path: Path, executable: bool) -> bytes:
    """The digest of a file as it is read now. Errors as `stable_digest`, which also sees a change under the reading."""
    fd, st = _open(path)
    try:
        for _ in range(TRIES):
            content = _content_digest(fd, st.st_size)
            if content is not None:
                return with_mode(content, executable)
            os.lseek(fd, 0, os.SEEK_SET)
            st = os.fstat(fd)
    except OSError as error:
        raise _unreadable(error, path) from None
    finally:
        os.close(fd)
    raise _changing(path)


def dated_digest(path: Path, now: int) -> tuple[bytes, Signature, bytes | None]:
    """The digest of a file that is ours alone, made readable and given the time `now` (ns); its signature then, and its
    content if that is small.

    Errors as `file_digest`.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except PermissionError:
        os.chmod(path, os.stat(path).st_mode | 0o400)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise _unreadable(error, path) from None
    try:
        st = os.fstat(fd)
        if not st.st_mode & 0o400:
            os.fchmod(fd, st.st_mode | 0o400)
        for _ in range(TRIES):
            data = os.read(fd, SMALL + 1) if st.st_size <= SMALL else None
            if data is not None and len(data) == st.st_size:
                content: bytes | None = xxh3_128_digest(data)
            else:
                data = None
                os.lseek(fd, 0, os.SEEK_SET)
                content = _content_digest(fd, st.st_size)
            if content is not None:
                os.utime(fd, ns=(now, now))
                return with_mode(content, bool(st.st_mode & stat.S_IXUSR)), signature(os.fstat(fd)), data
            os.lseek(fd, 0, os.SEEK_SET)
            st = os.fstat(fd)
    except OSError as error:
        raise _unreadable(error, path) from None
    finally:
        os.close(fd)
    raise _changing(path)


def small_digest(path: Path) -> tuple[bytes, bytes] | None:
    """The digest and the content of a small file, as they are read in one piece; None for any other."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        st = os.fstat(fd)
        if not stat.S_ISREG(st.st_mode) or st.st_size > SMALL:
            return None
        data = os.read(fd, SMALL + 1)
        if len(data) != st.st_size:
            return None
        return with_mode(xxh3_128_digest(data), bool(st.st_mode & stat.S_IXUSR)), data
    except OSError:
        return None
    finally:
        os.close(fd)


def stable_digest(path: Path) -> tuple[Signature, bytes, bool]:
    """The signature and digest of a file that did not change meanwhile, and whether it is racy (see `is_racy`).

    Symlinks are followed. Raises FileNotFoundError or NotADirectoryError where there is no such file, FlowError for one
    that is no regular file, cannot be read, or keeps changing.
    """
    fd, st = _open(path)
    try:
        before = signature(st)
        for _ in range(TRIES):
            moment = time.time_ns()
            content = _content_digest(fd, before[0])
            after = signature(os.fstat(fd))
            if content is not None and before == after:
                return after, with_mode(content, bool(after[4] & stat.S_IXUSR)), is_racy(after, moment)
            before = after
            os.lseek(fd, 0, os.SEEK_SET)
    except OSError as error:
        raise _unreadable(error, path) from None
    finally:
        os.close(fd)
    raise _changing(path)


def _open(path: Path) -> tuple[int, os.stat_result]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a fifo must not make us wait for a writer
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV, errno.EOPNOTSUPP):  # a socket cannot be opened at all
            raise FlowError(f"{os.fsdecode(path)} is no regular file") from None
        raise _unreadable(error, path) from None
    st = os.fstat(fd)
    if not stat.S_ISREG(st.st_mode):
        os.close(fd)
        what = "a folder, not a file" if stat.S_ISDIR(st.st_mode) else "no regular file"
        raise FlowError(f"{os.fsdecode(path)} is {what}")
    return fd, st


def _content_digest(fd: int, size: int) -> bytes | None:
    """The digest of what `fd`, of `size` bytes, holds from its start; None where that size proves wrong."""
    if size > WHOLE:
        return _blocks_digest(fd, size)
    if size < CHUNK:
        data = os.read(fd, size + 1)
        if len(data) == size:  # one byte more was asked for: the file ends here
            return xxh3_128_digest(data)
        os.lseek(fd, 0, os.SEEK_SET)
    state = xxh3_128()
    total = 0
    buffer = memoryview(bytearray(CHUNK))
    with io.FileIO(fd, closefd=False) as file:
        while count := file.readinto(buffer):
            state.update(buffer[:count])
            total += count
            if total > WHOLE:
                return None
    return state.digest()


def _blocks_digest(fd: int, size: int) -> bytes | None:
    """Blocks read and hashed side by side: both release the interpreter's lock."""
    import threading

    blocks = range(0, size, BLOCK)
    digests: list[bytes | None] = [None] * len(blocks)
    errors: list[OSError] = []
    workers = min(4, os.cpu_count() or 1, len(blocks))

    def work(first: int) -> None:
        buffer = memoryview(bytearray(CHUNK))
        try:
            for index in range(first, len(blocks), workers):
                digests[index] = _block_digest(fd, blocks[index], min(BLOCK, size - blocks[index]), buffer)
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(1, workers)]
    for thread in threads:
        thread.start()
    work(0)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    done = [digest for digest in digests if digest is not None]
    if len(done) < len(blocks) or os.pread(fd, 1, size):
        return None
    return xxh3_128_digest(b"".join(done), _BLOCKS)


def _block_digest(fd: int, offset: int, length: int, buffer: memoryview) -> bytes | None:
    state = xxh3_128()
    while length:
        if hasattr(os, "preadv"):
            count = os.preadv(fd, [buffer[: min(CHUNK, length)]], offset)
            state.update(buffer[:count])
        else:  # older macOS
            data = os.pread(fd, min(CHUNK, length), offset)
            count = len(data)
            state.update(data)
        if not count:
            return None
        offset += count
        length -= count
    return state.digest()


def tree_digest(
    path: str,
    *,
    source: bool,
    ignore: Ignore | None,
    file_digest_of: Callable[[str, os.stat_result], bytes],
) -> tuple[bytes, list[Listed]]:
    """The digest of a folder and what was seen in it, sorted by name (in bytes), the folder itself first.

    `file_digest_of(path, lstat)` gives a file's digest, from a cache where the caller has one. A `source` folder is
    taken without what `ignore` names (without one: the built-in list); that the folder itself may be ignored does not
    count, as it was asked for by name. Symlinks in it are hashed as their text and not followed; `path` itself may be
    one. The listing changes whenever the digest can: it has every file, link and folder, ignored ones left out.

    Raises FileNotFoundError or NotADirectoryError where there is no such folder, FlowError for a special file, what
    cannot be read, and a folder that keeps changing.
    """
    path = path.rstrip("/") or "/"
    within = ""
    if source and ignore is not None:
        ignore, within = _seen_from(ignore, path)
    for _ in range(TRIES):
        try:
            return _tree_digest(path, within, source, ignore, file_digest_of)
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.isdir(path):
                raise
        except OSError as error:
            raise _unreadable(error, error.filename or path) from None
    raise _changing(path)


def _seen_from(ignore: Ignore, path: str) -> tuple[Ignore, str]:
    """What is to be asked about the names in `path`, and the path by which it knows that folder.

    A folder outside the project has only its own ignore files.
    """
    within = os.path.relpath(os.path.abspath(path), os.path.abspath(ignore.root))
    if within == ".":
        return ignore, ""
    if within == ".." or within.startswith("../"):
        return Ignore(path), ""
    return ignore, within


def _tree_digest(
    path: str,
    within: str,
    source: bool,
    ignore: Ignore | None,
    file_digest_of: Callable[[str, os.stat_result], bytes],
) -> tuple[bytes, list[Listed]]:
    # The signature of a folder is taken before it is listed, so that a later change is seen by whoever compares it.
    found: list[tuple[bytes, bytes, Listed]] = []
    root = Listed("", "d", signature(os.stat(path)))
    folders = [""]
    while folders:
        folder = folders.pop()
        place = os.path.join(path, folder) if folder else path
        known_as = f"{within}/{folder}" if within and folder else within or folder
        with os.scandir(place) as entries:
            for entry in entries:
                st = entry.stat(follow_symlinks=False)
                kind = stat.S_IFMT(st.st_mode)
                is_dir = kind == stat.S_IFDIR
                if source:
                    if ignore is None:
                        if built_in(entry.name):
                            continue
                    elif ignore.entry_ignored(known_as, entry.name, is_dir):
                        continue
                name = f"{folder}/{entry.name}" if folder else entry.name
                if kind == stat.S_IFREG:
                    letter, payload = "f", file_digest_of(entry.path, st)
                elif is_dir:
                    letter, payload = "d", b""
                    folders.append(name)
                elif kind == stat.S_IFLNK:
                    letter, payload = "l", os.fsencode(os.readlink(entry.path))
                else:
                    raise FlowError(
                        f"{entry.path} is no plain file, folder or link",
                        hint="name it in .bflowignore to leave it out" if source else None,
                    )
                found.append((os.fsencode(name), payload, Listed(name, letter, signature(st))))
    found.sort(key=lambda item: item[0])
    state = xxh3_128(seed=_TREE)
    for encoded, payload, listed in found:
        head = f"{listed.kind}{len(encoded)},{len(payload)}:"
        state.update(head.encode() + encoded + payload)
    return state.digest(), [root, *(item[2] for item in found)]


def _unreadable(error: OSError, path: Path) -> Exception:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return error
    return FlowError(f"cannot read {os.fsdecode(path)}: {error.strerror}")


def _changing(path: Path) -> FlowError:
    return FlowError(
        f"{os.fsdecode(path)} changes while it is read",
        hint="something writes it during the build; let it finish, or give the input a copy",
    )
