"""From what the command line names to the jobs and files that are meant, for commands that build nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from buildflow.errors import FlowError

if TYPE_CHECKING:
    from buildflow.plan.resolve import Resolver
    from buildflow.submitter import Session


class Asked(NamedTuple):
    """One job that was asked for, or one file that no job makes. kind: rule, phony, inplace, source, unplanned."""

    kind: str
    outputs: list[str]
    file: str  # the file of it that was asked for


def asked(session: Session, targets: Sequence[str]) -> list[Asked]:
    """The jobs of some targets, in order, one with each of its files that was asked for.

    What bflow has made is found also where the Flowfile does not know it any more, or cannot tell before something is
    made (`unplanned`). Raises FlowError for a target that nothing is known of.
    """
    from buildflow.plan.resolve import Resolver

    resolver: Resolver | None = None
    found: dict[tuple[str, str], Asked] = {}
    for target in targets:
        if resolver is None:
            resolver = Resolver(session.builder, session.disk)
        try:
            jobs = _of_goal(resolver, target)
        except FlowError:
            if not _known(session, target):
                raise
            jobs = []
        if not jobs and _known(session, target):
            jobs = [Asked("unplanned", [target], target)]
        for one in jobs:
            found.setdefault((one.kind, one.file), one)
    return list(found.values())


def _of_goal(resolver: Resolver, target: str) -> list[Asked]:
    plan = resolver.plan
    before = len(plan.goals)
    resolver.goal(target)
    found: list[Asked] = []
    for _, files, jobs in plan.goals[before:]:
        for f in files:
            maker = plan.maker[f]
            if maker < 0:
                found.append(Asked("source", [plan.paths[f]], plan.paths[f]))
            else:
                rule = resolver.builder.rules[plan.rule[maker]]
                outputs = [plan.paths[o] for o in plan.outputs[maker]]
                found.append(Asked("inplace" if rule.inplace else "rule", outputs, plan.paths[f]))
        found.extend(Asked("phony", [target], target) for _ in jobs)
    return found


def _known(session: Session, target: str) -> bool:
    """Whether bflow has made, or failed to make, a file of that name."""
    import os

    from buildflow.failures import failed_folder

    record = session.disk.record(target)
    return record is not None and len(record.key) == 16 or os.path.exists(failed_folder(session.folder, target))
