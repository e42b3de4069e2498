"""Functions and commands that run around each job, in the driver, for jobs that run (never for cached ones).

`pre_run(job)` before the cache directory is made, `pre_run_task(job)` once inputs are staged, `post_run_task(job,
result)` after the outputs are collected or the job failed (not yet committed), `post_run(job, result)` after the entry
is committed, or the job failed. They are not in the key.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from buildflow.errors import FlowError, Span

Hook = Callable[..., Any]


@dataclass
class TaskHooks:
    """The hooks of a build; each is None or a callable."""

    pre_run: Hook | None = None
    pre_run_task: Hook | None = None
    post_run_task: Hook | None = None
    post_run: Hook | None = None

    def __bool__(self) -> bool:
        return any((self.pre_run, self.pre_run_task, self.post_run_task, self.post_run))


class HookError(FlowError):
    """A hook that raised, or whose command failed."""

    exit_status = 1


def call(name: str, hook: Hook, *arguments: Any) -> None:
    """Call a hook. Raises HookError with the hook's own message where it raises."""
    try:
        hook(*arguments)
    except Exception as error:
        text = error.message if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
        raise HookError(f"the hook {name} failed: {text}") from error


def run_command(name: str, command: str, cwd: str, env: dict[str, str], span: Span | None) -> None:
    """Run a hook of the Flowfile. Raises HookError where its status is not 0."""
    import subprocess

    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # fmt: skip
    if done.returncode:
        tail = done.stdout.decode("utf-8", "replace").strip().splitlines()[-1:]
        said = f": {tail[0]}" if tail else ""
        raise HookError(f"the hook {name} failed with status {done.returncode}{said}", span)
