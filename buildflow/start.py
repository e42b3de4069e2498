"""The first lines that run: a build with nothing to do is answered from the snapshot, anything else by the commands.

Imports next to nothing itself.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from buildflow.plan.snapshot import Snapshot


def main() -> int:
    """Run the command that `sys.argv` gives; its exit status."""
    arguments = sys.argv[1:]
    words = plain_build(arguments)
    if words is not None:
        from buildflow.plan.snapshot import answer

        found = answer(words)
        if isinstance(found, int):
            return found
        if found is not None:
            status = _again(words, arguments, *found)
            if status is not None:
                return status
    from buildflow.cli.main import run

    return run(arguments)


def _again(
    words: list[str], arguments: list[str], snapshot: Snapshot, path: str, changed: list[int]
) -> int | None:
    """A build of a plan that still holds, though some of its files have changed; None where there is more to it."""
    import gc

    gc.disable()  # a plan of 100,000 jobs holds no garbage worth looking for
    from buildflow.plan.again import again

    known = again(snapshot, path, changed)
    if known is None:
        return None
    from buildflow.cli.guard import guarded
    from buildflow.cli.making import GIVEN, run

    given = {**GIVEN, "words": tuple(words), "jobs": _jobs(arguments)}
    return guarded(lambda: run(None, known, **given))


def _jobs(arguments: list[str]) -> int | None:
    """The number after the last `-j` of a plain build."""
    found = None
    for i, word in enumerate(arguments):
        if word.startswith("-j"):
            found = int(word[2:] or arguments[i + 1])
    return found


def plain_build(arguments: list[str]) -> list[str] | None:
    """The targets and `NAME=VALUE`s of a `build` with no option but `-j`; None for anything else."""
    if not arguments or arguments[0] != "build" or "BFLOW_PROFILE" in os.environ:
        return None
    words: list[str] = []
    rest = iter(arguments[1:])
    for word in rest:
        if word == "-j":
            if not _is_number(next(rest, "")):
                return None
        elif word.startswith("-j"):
            if not _is_number(word[2:]):
                return None
        elif word.startswith("-"):
            return None
        else:
            words.append(word)
    return words


def _is_number(text: str) -> bool:
    return text.isdigit() and int(text) > 0
