"""Results made once more, to see whether a rule makes the same bytes each time. Nothing is committed or placed.

The jobs are those of a plan whose results are in the cache: they run again in sandboxes of their own, one at a time,
and their outputs are compared with the entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from buildflow.cache import output_digest
from buildflow.errors import FlowError
from buildflow.staging import InputChanged

if TYPE_CHECKING:
    from buildflow.build import Build
    from buildflow.cache import Entry
    from buildflow.execute import Run
    from buildflow.job import Job


class Rerun(NamedTuple):
    """One job that ran again. `differing`: its outputs whose bytes are others now; `problem`: why it could not be
    compared (a sentence without a subject), None where it could."""

    rule: str
    target: str
    entry: Entry
    differing: list[str]
    problem: str | None


def candidates(build: Build) -> list[tuple[int, Entry]]:
    """The jobs of a dry run whose results are in the cache, with their entries; at first one of each rule, then the
    second of each, and so on: any number of the first ones are of as many rules as can be."""
    of_rule: dict[int, list[tuple[int, Entry]]] = {}
    for number, state in build.summary.states.items():
        key = build.decider.keys.get(number)
        if state.replace("_", " ") not in ("up to date", "cached") or key is None:
            continue
        entry = build.decider.entry(build.decider.job(number), key)
        if entry is not None:
            of_rule.setdefault(build.plan.rule[number], []).append((number, entry))
    longest = max(map(len, of_rule.values()), default=0)
    return [some[i] for i in range(longest) for some in of_rule.values() if i < len(some)]


def rerun(build: Build, chosen: Sequence[tuple[int, Entry]]) -> Iterator[Rerun]:
    """Run jobs of a dry run again, one by one."""
    try:
        for number, entry in chosen:
            job = build.decider.job(number)
            differing, problem = _once(build, job, entry)
            yield Rerun(job.rule.name, job.target, entry, differing, problem)
    finally:
        build.executor.pool.close()


def _once(build: Build, job: Job, entry: Entry) -> tuple[list[str], str | None]:
    from buildflow.workers.debug import Worker

    worker = Worker()
    try:
        run = build.executor.stage(job, build.decider.identity(job), worker)
    except InputChanged as change:
        return [], f"its input {change.name} is not there, or changes just now"
    except FlowError as error:
        return [], error.message
    try:
        assert run.task is not None
        worker.open()
        worker.start(run.task)
        ends = list(worker.wait(None))
        while not ends:
            ends = list(worker.wait(None))
        build.executor.ended(run)
        problem = build.executor.problem(run, ends[0])
        if problem is not None:
            return [], problem
        return _differing(run, entry), None
    finally:
        worker.close()
        build.executor.give_back(run, fresh=True)


def _differing(run: Run, entry: Entry) -> list[str]:
    found = []
    for (name, staged), output in zip(run.outputs, entry.outputs, strict=True):
        if output.get("temp_gone"):
            continue
        path = f"{run.sandbox.path}/{staged.rstrip('/')}"
        if output_digest(path, name.endswith("/")).hex() != output["digest"]:
            found.append(name)
    return found
