"""Ends a build's containers when the build ends, however it ends: also by kill -9.

A process of its own, in a session of its own, reads a pipe that only the build holds open. A line means that the build
has ended in order, the pipe's end that it was killed; then it looks a few times, since a container may be on its way.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence

from buildflow.environments.base import Kept

LABEL = "bflow.build"

_SCRIPT = """
if read line; then times=1; else times=4; fi
while :; do
    ids=$("$@" ps -aq --filter "label=$LABEL") && [ -z "$ids" ] || "$@" rm -f $NOW $ids
    times=$((times - 1))
    [ "$times" -gt 0 ] || exit 0
    sleep 1
done
"""


class Guard(Kept):
    """The guard of the containers that `label` marks, by the engine's command (`words`)."""

    def __init__(self, words: Sequence[str], label: str, env: Mapping[str, str]) -> None:
        own = {**env, "LABEL": f"{LABEL}={label}", "NOW": " ".join(at_once(words))}
        self._process = subprocess.Popen(
            ["sh", "-c", _SCRIPT, "bflow-guard", *words], env=own, start_new_session=True, cwd="/",
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def close(self) -> None:
        """Wait until nothing of the build is left."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(b"end\n")
            self._process.stdin.flush()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            self._process.wait(60)


def at_once(words: Sequence[str]) -> list[str]:
    """Options of `rm -f` by which no container is waited for (podman gives each ten seconds)."""
    return ["-t", "0"] if os.path.basename(words[0]) == "podman" else []


def remove(words: Sequence[str], container: str) -> list[str]:
    """The argument vector that ends a container and removes it."""
    return [*words, "rm", "-f", *at_once(words), container]
