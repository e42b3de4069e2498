"""What a build was asked for, and what it came to. The loop between the two is `buildflow.build`."""

from __future__ import annotations

from typing import Any

from buildflow.errors import FlowError
from buildflow.hooks import TaskHooks
from buildflow.records import Record, field


class Options(Record):
    """What the caller asks of a build."""

    keep_going: bool = False
    dry_run: bool = False
    force: bool = False
    rerun: frozenset[str] = frozenset()
    until: frozenset[str] = frozenset()
    shuffle: int | None = None
    env: str | None = None
    default_env: str | None = None
    named: dict[str, float] = field(factory=dict)
    json: bool = False
    detach: bool = False
    """Whether jobs in a queue are left there, to be taken up by a later build."""
    one_worker: bool = False
    """Whether all jobs run on the build's worker, whatever their rules name."""
    hooks: TaskHooks = field(factory=TaskHooks)


class Summary(Record):
    """What a build came to."""

    ok: bool = True
    ran: int = 0
    cached: int = 0
    up_to_date: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    saved: float = 0.0
    """How many seconds the jobs took whose results came from the cache, when they ran."""
    would_run: int = 0
    interrupted: bool = False
    detached: int = 0
    """Jobs that were left in a queue."""
    planning_failed: bool = False
    hook_failed: bool = False
    hook_errors: dict[int, FlowError] = field(factory=dict)
    states: dict[int, str] = field(factory=dict)
    keys: dict[int, bytes] = field(factory=dict)
    errors: dict[int, str] = field(factory=dict)
    results: dict[int, dict[str, Any]] = field(factory=dict)

    @property
    def status(self) -> int:
        if self.interrupted:
            return 130
        if self.planning_failed:
            return 2
        return 1 if self.failed or self.hook_failed or not self.ok else 0
