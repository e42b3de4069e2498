"""The contract of a worker: it starts tasks and tells of their ends. It knows neither rules nor caches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from buildflow.environments.base import Command

if TYPE_CHECKING:
    from buildflow.workers.warm import WarmRequest


@dataclass
class Task:
    """One run of one job. `log`: where its output goes (absolute). `inherit`: descriptors that it keeps open.

    `call`: a function to call in a warm process instead of a command; `function` the function itself where the driver
    has it, with the job's description. `terminal`: it has the caller's input and output. `fallback`: what runs it
    through a shell, where the command cannot be started directly: the message and the status are the shell's then.
    """

    number: int
    command: Command
    log: str
    inherit: Sequence[int] = ()
    time: float | None = None
    call: WarmRequest | None = None
    description: dict[str, Any] | None = None
    function: Any = None
    terminal: bool = False
    fallback: Callable[[], list[str]] | None = None


@dataclass
class End:
    """How a task ended: `status` as a shell's (negative: by that signal); `timed_out`: its time was up; `stopped`: it
    was told to end by `Worker.stop`, so what it made is partial; `error`: why it could not run at all. `runtime`:
    wall_s, rss_peak_gb, vms_peak_gb, cpu_peak_percent. `exception`: what a function raised, where it was called in
    this process."""

    task: Task
    status: int
    timed_out: bool = False
    stopped: bool = False
    error: str | None = None
    runtime: dict[str, float | None] = field(default_factory=dict)
    exception: BaseException | None = None


class Worker:
    """Subclasses run tasks somewhere. The loop calls `start` and `wait` from one thread."""

    name = "base"
    local = True

    def __init__(self, n_procs: int | None = None) -> None:
        self.n_procs = n_procs

    def slots(self) -> int:
        """How many tasks may be under way at once."""
        raise NotImplementedError

    def start(self, task: Task) -> None:
        """Start a task; never waits for it."""
        raise NotImplementedError

    def wait(self, timeout: float | None) -> list[End]:
        """The tasks that ended; waits for one at most `timeout` seconds (None: as long as it takes)."""
        raise NotImplementedError

    def wake(self) -> None:
        """Make a `wait` that is under way return (from a signal handler)."""

    def stop(self, *, kill: bool) -> None:
        """End all tasks: politely, or at once."""
        raise NotImplementedError

    def open(self) -> None:
        """Make ready for a build: called before each, also after a `close`."""

    def close(self) -> None:
        """Give back what the worker holds."""
