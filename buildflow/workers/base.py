"""The contract of a worker: it starts tasks and tells of their ends. It knows neither rules nor caches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from buildflow.environments.base import Command
from buildflow.errors import FlowError
from buildflow.near import did_you_mean
from buildflow.records import Record, field

if TYPE_CHECKING:
    from buildflow.job import Amounts
    from buildflow.workers.warm import WarmRequest


class Task(Record):
    """One run of one job. `log`: where its output goes (absolute). `inherit`: descriptors that it keeps open.

    `call`: a function to call in a warm process instead of a command; `function` the function itself where the driver
    has it, with the job's description. `terminal`: it has the caller's input and output. `fallback`: what runs it
    through a shell, where the command cannot be started directly: the message and the status are the shell's then.

    For workers whose tasks run elsewhere: `folder`, the job's own, which nothing else uses while it is under way (files
    named `<folder>.<something>` are the worker's to use); `outputs`, paths in it that are there once it ended well (as
    far as it did); `amounts`, what it asks for; `rule` and `target`, to name it; `expected`, the seconds that it will
    probably take, where known; `batch`, how many may go together in one submission of theirs (None: the worker's to
    choose); `arguments`, what its rule passes to this worker (`slurm = --qos=long`), split into words.
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
    folder: str = ""
    outputs: Sequence[str] = ()
    amounts: Amounts | None = None
    rule: str = ""
    target: str = ""
    expected: float | None = None
    batch: int | None = None
    arguments: Sequence[str] = ()


class End(Record):
    """How a task ended: `status` as a shell's (negative: by that signal); `timed_out`: its time was up; `stopped`: it
    was told to end by `Worker.stop`, so what it made is partial; `error`: why it could not run, or how it was lost (a
    sentence without a subject: “its node failed”). `runtime`: wall_s, rss_peak_gb, vms_peak_gb, cpu_peak_percent;
    `host`: the machine that it ran on, where that is another. `exception`: what a function raised, where it was called
    in this process."""

    task: Task
    status: int
    timed_out: bool = False
    stopped: bool = False
    error: str | None = None
    runtime: dict[str, float | None] = field(factory=dict)
    exception: BaseException | None = None
    host: str | None = None


class Worker:
    """Subclasses run tasks somewhere. The loop calls all but `wake` from one thread.

    `here`: its tasks are processes of this machine, children of this process, which share its processors and memory;
    else they run elsewhere, on what some queue gives them: `slots` is then the number of jobs in the queue at once.
    `options`: what `-o NAME=VALUE` and `[worker.NAME]` of `bflow.toml` may say, with a line of help each.
    """

    name: ClassVar[str] = "base"
    here: ClassVar[bool] = True
    options: ClassVar[Mapping[str, str]] = {"n_procs": "jobs at once"}

    def __init__(self, n_procs: int | None = None, **given: Any) -> None:
        for option in given:
            if option not in self.options:
                raise FlowError(
                    f"the worker {self.name} has no option “{option}”",
                    None,
                    did_you_mean(option, self.options) or f"it has {' '.join(self.options)}",
                )
        self.n_procs = n_procs
        self.given = given
        self.say: Callable[[str], None] = lambda text: None  # tell the user something, in one sentence

    def slots(self) -> int:
        """How many tasks may be under way at once."""
        raise NotImplementedError

    def cpus(self) -> int | None:
        """The most processors that its tasks may have together; None: that is the queue's affair."""
        return None

    @property
    def attribute(self) -> str:
        """The attribute by which a rule passes words to it."""
        return self.name

    def start(self, task: Task) -> None:
        """Start a task; never waits for it. One that cannot be started is told by `wait` as one that ended."""
        raise NotImplementedError

    def wait(self, timeout: float | None) -> list[End]:
        """The tasks that ended; waits for one at most `timeout` seconds (None: as long as it takes, or a while).

        With a timeout of 0 the caller has more tasks to start: a worker that submits several together may wait for
        them.
        """
        raise NotImplementedError

    def wake(self) -> None:
        """Make a `wait` that is under way return (from a signal handler)."""

    def stop(self, *, kill: bool) -> None:
        """End all tasks: politely, or at once."""
        raise NotImplementedError

    def give_up(self, task: Task) -> None:
        """End one task, politely: what it makes is not wanted any more. A worker that cannot lets it run to its end."""

    def check(self) -> None:
        """Raises FlowError where this machine lacks what the worker needs."""

    def open(self, folder: str) -> None:
        """Make ready for a build: called before each, also after a `close`. `folder`: the project's `.bflow`."""

    def close(self) -> None:
        """Give back what the worker holds."""

    # ---- tasks that outlive the driver (only where `here` is false) --------------------------------------------

    def recall(self, folder: str) -> bool:
        """Whether a task of an earlier driver was submitted with that folder, and is under way or has ended."""
        return False

    def resume(self, task: Task) -> None:
        """Wait for a task that `recall` knows by its folder, as if this driver had started it."""
        raise NotImplementedError

    def forget(self, folder: str) -> bool:
        """A recalled task is not wanted: cancel it if it is under way. Whether its folder is free now: else a later
        driver asks again."""
        return True

    def detach(self) -> None:
        """Let go of all tasks without ending them: a later driver recalls them."""
