"""What a build would do, found out without doing it: `why`, `list --targets` and `clean --stale` look through this.

It is the loop of a build that runs nothing (as `bflow build -n`), so what it says cannot drift from what a build does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from buildflow.build import Build
from buildflow.errors import FlowError
from buildflow.events import Stream
from buildflow.names import Pending
from buildflow.outcome import Options
from buildflow.workers.debug import Worker

if TYPE_CHECKING:
    from buildflow.plan.resolve import Resolver
    from buildflow.submitter import Session

T = TypeVar("T")


def dry_run(session: Session, resolver: Resolver, *, env: str | None = None, default_env: str | None = None) -> Build:
    """Decide every job of what `resolver` has resolved: `summary.states` of the build says what each would be."""
    build = dry_build(session, resolver, env=env, default_env=default_env)
    build.run()
    return build


def dry_build(
    session: Session, resolver: Resolver, *, env: str | None = None, default_env: str | None = None
) -> Build:
    """The same before it has decided anything: for its decider, which has the keys."""
    options = Options(dry_run=True, keep_going=True, env=env, default_env=default_env)
    build = Build(resolver, session.disk, session.state, session.cache, Worker(), options, Stream(), session.folder)
    build.decider.environments.settle(session.settings)
    return build


class Settled:
    """Asks a resolver for what may depend on files that rules make, as far as those files are up to date."""

    def __init__(self, session: Session, resolver: Resolver) -> None:
        self.session = session
        self.resolver = resolver
        self.unknown: dict[str, None] = {}  # files that must be made before more can be said
        self._asked: set[str] = set()

    def ask(self, question: Callable[[], T]) -> T | None:
        """The answer to a question; None where it hangs on a file that is not up to date, or cannot be made."""
        while True:
            try:
                return question()
            except Pending as pending:
                if not self._settle(pending.paths):
                    self.unknown.update(dict.fromkeys(pending.paths))
                    return None

    def _settle(self, paths: Sequence[str]) -> bool:
        """Whether all of these stand as a build would leave them."""
        new = [path for path in paths if path not in self._asked]
        self._asked.update(new)
        if new:
            try:
                for path in new:
                    self.resolver.goal(path)
                dry_run(self.session, self.resolver)
            except FlowError:
                return False
        return all(path in self.resolver.finished for path in paths)
