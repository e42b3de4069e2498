"""What is of the whole process, its folder and environment, while a function of a job has others in their place.

A function that is called in the driver's process (`buildflow.workers.debug`) sees its sandbox as the current folder and
the environment that was built for it. Builds in other threads go on meanwhile; they ask here.
"""

from __future__ import annotations

import contextlib
import os
from _thread import RLock, allocate_lock, get_ident  # (threading costs a start of bflow more)
from collections.abc import Iterator, Mapping

_ONE_CALL = RLock()
"""Held by the thread that calls a function, as long as it runs."""

_CHANGE = allocate_lock()
"""Held while the folder and the environment change, or are looked at."""

_outer: tuple[int, str, dict[str, str]] | None = None
"""During a call: its thread, and the folder and environment of all others."""


def environ() -> dict[str, str]:
    """The environment of this thread's builds, as it is now."""
    with _CHANGE:
        if _outer is not None and _outer[0] != get_ident():
            return dict(_outer[2])
        return dict(os.environ)


def absolute(path: str) -> str:
    """A path from the current folder of this thread's builds."""
    if os.path.isabs(path):
        return os.path.normpath(path)
    with _CHANGE:
        if _outer is not None and _outer[0] != get_ident():
            return os.path.normpath(os.path.join(_outer[1], path))
        return os.path.abspath(path)


@contextlib.contextmanager
def as_job(folder: str, env: Mapping[str, str]) -> Iterator[None]:
    """The process in a folder, with an environment; one call at a time. All is put back."""
    global _outer
    with _ONE_CALL:
        here = os.open(".", os.O_RDONLY | os.O_CLOEXEC)  # (it need not have a name any more)
        before, outer = dict(os.environ), _outer
        try:
            with _CHANGE:
                _outer = outer or (get_ident(), _current(), before)
                _set_environment(env)
                os.chdir(folder)
            yield
        finally:
            with _CHANGE:
                os.fchdir(here)
                os.close(here)
                _set_environment(before)
                _outer = outer


def _current() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "/"


def _set_environment(env: Mapping[str, str]) -> None:
    for name in [name for name in os.environ if name not in env]:
        del os.environ[name]
    os.environ.update(env)
