"""The first lines that run: a build with nothing to do is answered from the snapshot, anything else by the commands.

Imports next to nothing itself.
"""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command that `sys.argv` gives; its exit status."""
    arguments = sys.argv[1:]
    words = plain_build(arguments)
    if words is not None:
        from buildflow.plan.snapshot import answer

        status = answer(words)
        if status is not None:
            return status
    from buildflow.cli.main import run

    return run(arguments)


def plain_build(arguments: list[str]) -> list[str] | None:
    """The targets and `NAME=VALUE`s of a `build` with no option but `-j`; None for anything else."""
    if not arguments or arguments[0] != "build" or "BFLOW_PROFILE" in os.environ:
        return None
    words: list[str] = []
    rest = iter(arguments[1:])
    for word in rest:
        if word == "-j":
            if not next(rest, "").isdigit():
                return None
        elif word.startswith("-j"):
            if not word[2:].isdigit():
                return None
        elif word.startswith("-"):
            return None
        else:
            words.append(word)
    return words
