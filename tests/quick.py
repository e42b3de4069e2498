"""A story whose commands run in this process: the same `buildflow.start.main`, without an interpreter's start.

For tests of many small commands. What concerns processes themselves (signals, two builds, the way in) is for `story`.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from story import Ran, Status, Story, check_status


class Quick(Story):
    """Standard input is /dev/null, output and messages are taken at their descriptors, as a recipe's are."""

    def bflow(
        self,
        *words: str | Path,
        ok: Status = True,
        env: Mapping[str, str | None] | None = None,
        cwd: str | Path = ".",
        **_: Any,
    ) -> Ran:
        from buildflow.start import main

        arguments = tuple(map(str, words))
        before, here, given = dict(os.environ), os.getcwd(), sys.argv
        streams = sys.stdin, sys.stdout, sys.stderr
        collecting = gc.isenabled()
        kept = [os.dup(n) for n in range(3)]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull, "rb") as null:
            for number, file in enumerate((null, out, err)):
                os.dup2(file.fileno(), number)
            sys.stdin, sys.stdout, sys.stderr = (
                os.fdopen(0, "r", closefd=False),
                os.fdopen(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False),
                os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False),
            )
            os.environ.clear()
            os.environ.update(self.environment(env))
            try:
                os.chdir(self.path(cwd))
                sys.argv = ["bflow", *arguments]
                status = main()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                sys.stdin, sys.stdout, sys.stderr = streams
                os.chdir(here)
                sys.argv = given
                os.environ.clear()
                os.environ.update(before)
                for number, copy in enumerate(kept):
                    os.dup2(copy, number)
                    os.close(copy)
                if collecting:
                    gc.enable()
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "surrogateescape"))
        ran = Ran(arguments, status, *texts, self.account)
        self._past.append(ran)
        check_status(ran, ok)
        return ran
