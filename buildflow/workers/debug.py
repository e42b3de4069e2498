"""Serial, and functions are called in the driver's own process, where a debugger sees them. Python's default."""

from __future__ import annotations

import contextlib
import io
import os
import time
from pathlib import Path
from typing import Any

from buildflow.workers.base import End, Task
from buildflow.workers.local import LocalWorker


class Worker(LocalWorker):
    """`--worker debug`."""

    name = "debug"

    def __init__(self, n_procs: int | None = None) -> None:
        super().__init__(1)

    def start(self, task: Task) -> None:
        if task.description is None or task.function is None:
            super().start(task)
            return
        started = time.monotonic()
        status, text = call_here(task.function, task.description, task.command.cwd)
        with open(task.log, "a", encoding="utf-8", errors="surrogateescape") as log:
            log.write(text)
        runtime: dict[str, float | None] = {
            "wall_s": round(time.monotonic() - started, 6),
            "rss_peak_gb": None,
            "vms_peak_gb": None,
            "cpu_peak_percent": None,
        }
        self.ended.append(End(task, status, runtime=runtime))
        self.wake()


def call_here(function: Any, description: dict[str, Any], cwd: str) -> tuple[int, str]:
    """Call a function in this process, its files by absolute path; its status and what it printed."""
    from buildflow import runner

    printed = io.StringIO()
    name = getattr(function, "__qualname__", repr(function)) + "()"
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            values = runner.values_of(description, lambda path: Path(os.path.join(cwd, path)))
            arguments, keywords = runner.bind(function, name, values)
            result = function(*arguments, **keywords)
            if result is not None:
                runner.deliver(result, name, description["outputs"], cwd)
        except runner.Wrong as error:
            print(f"bflow: {error}", file=printed)
            return 1, printed.getvalue()
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
            return status, printed.getvalue()
        except Exception as error:
            runner.report(error)
            return 1, printed.getvalue()
    return 0, printed.getvalue()
