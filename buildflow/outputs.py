"""Whether the outputs of a job that ended well are there, and are what may be committed.

A link to an input or output of the job is replaced by its content; anything else that is no plain file or folder is
told in one sentence. Nothing is committed here.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence

from buildflow.files import copy, place_tree, remove_tree

IsOwn = Callable[[str], bool]
"""Whether a real path is an input or output of the job: what a link may stand for."""


def collect(path: str, outputs: Sequence[tuple[str, str]], is_own: IsOwn) -> str | None:
    """What is wrong with the outputs (project name, name in the sandbox `path`), or None; links become content."""
    missing: list[str] = []
    for name, staged in outputs:
        target = f"{path}/{staged.rstrip('/')}"
        try:
            st = os.lstat(target)
        except OSError:
            missing.append(name)
            continue
        problem = _settle_link(target, name, is_own) if stat.S_ISLNK(st.st_mode) else None
        if problem is None:
            problem = _settle(target, name, path, is_own)
        if problem is not None:
            return problem
    if missing:
        several = "s" if len(missing) > 1 else ""
        return f"the recipe ended well but did not make its output{several} {', '.join(missing)}"
    return None


def _settle(target: str, name: str, path: str, is_own: IsOwn) -> str | None:
    st = os.lstat(target)
    if name.endswith("/"):
        if not stat.S_ISDIR(st.st_mode):
            return f"the output {name} should be a folder, and is a file"
        return _settle_tree(target, name, path, is_own)
    if stat.S_ISDIR(st.st_mode):
        return f"the output {name} should be a file, and is a folder (a rule that makes a folder writes {name}/)"
    if not stat.S_ISREG(st.st_mode):
        return f"the output {name} is {_kind(st.st_mode)}, no plain file or folder"
    if st.st_nlink > 1:
        _detach(target)
    return None


def _settle_link(target: str, name: str, is_own: IsOwn) -> str | None:
    text = os.readlink(target)
    real = os.path.realpath(target)
    if not os.path.exists(real):
        return f"the output {name} is a link that leads nowhere ({text})"
    if not is_own(real):
        return f"the output {name} is a link out of the sandbox ({text}); write the file itself"
    if os.path.isdir(real) and not name.endswith("/"):
        return f"the output {name} is a link to a folder"
    _replace_by_content(target, real)
    return None


def _settle_tree(target: str, name: str, path: str, is_own: IsOwn) -> str | None:
    """A folder may hold links within itself, and to what stands outside of the sandbox by absolute path."""
    stack = [target]
    while stack:
        folder = stack.pop()
        with os.scandir(folder) as scan:
            entries = list(scan)
        for entry in entries:
            inner = f"{name}{entry.path[len(target) + 1 :]}"
            if entry.is_symlink():
                text = os.readlink(entry.path)
                place = os.path.normpath(os.path.join(folder, text))
                if not text.startswith("/") and (place == target or place.startswith(target + "/")):
                    continue
                real = os.path.realpath(entry.path)
                if os.path.exists(real) and is_own(real):
                    _replace_by_content(entry.path, real)
                elif not text.startswith("/") or place == path or place.startswith(path + "/"):
                    lost = "leads nowhere" if not os.path.exists(real) else "leads out of that folder"
                    return f"the output {name} holds the link {inner}, which {lost} ({text})"
            elif entry.is_dir(follow_symlinks=False):
                stack.append(entry.path)
            else:
                st = entry.stat(follow_symlinks=False)
                if not stat.S_ISREG(st.st_mode):
                    kind = _kind(st.st_mode)
                    return f"the output {name} holds {inner}, which is {kind}, no plain file, folder or link"
                if st.st_nlink > 1:
                    _detach(entry.path)
    return None


def _kind(mode: int) -> str:
    for test, text in ((stat.S_ISFIFO, "a fifo"), (stat.S_ISSOCK, "a socket"), (stat.S_ISLNK, "a link")):
        if test(mode):
            return text
    return "a device"


def _replace_by_content(target: str, real: str) -> None:
    os.unlink(target)
    if os.path.isdir(real):
        place_tree(real, target, staging=os.path.dirname(target), limit=1 << 62)
    else:
        copy(real, target)


def _detach(path: str) -> None:
    """A file that is a hard link to something else becomes a file of its own."""
    temporary = path + ".bflow-own"
    remove_tree(temporary)
    copy(path, temporary, mtime_ns=os.stat(path).st_mtime_ns)
    os.rename(temporary, path)


def detach(path: str) -> None:
    """An output that a process may still write to becomes a copy, which it cannot reach."""
    if not os.path.isdir(path):
        _detach(path)
        return
    aside = path + ".bflow-own"
    remove_tree(aside)
    os.rename(path, aside)
    place_tree(aside, path, staging=os.path.dirname(path), limit=1 << 62)
    remove_tree(aside)
