"""`bflow why`: what differs from the last result of a target."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from buildflow.cli.common import (
    Colours,
    age_text,
    as_json,
    cache_options,
    count,
    data,
    environment_options,
    opened,
)
from buildflow.cli.differences import differences, plain_change
from buildflow.cli.project import load

if TYPE_CHECKING:
    from buildflow.explain import Explanation


class _Why(click.Command):
    """Takes `--history` alone too: what follows it is a number, or a target."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        for place, word in enumerate(args[:end]):
            if word == "--history" and not (place + 1 < end and args[place + 1].isdigit()):
                args[place] = f"--history={_PAST}"
        return super().parse_args(ctx, args)


_PAST = 5
"""Results that `--history` tells of."""


@click.command("why", cls=_Why)
@click.argument("words", nargs=-1, metavar="[TARGET]... [NAME=VALUE]...")
@click.option("--history", type=count("--history"), metavar="[N]", help="Tell of the last N times that they ran.")
@click.option("--json", "json", is_flag=True, help="Print it as JSON.")
@environment_options
@cache_options
@click.pass_obj
def command(
    obj: dict[str, Any], /, words: tuple[str, ...], history: int | None, json: bool, **given: Any
) -> int:  # fmt: skip
    """Say why TARGETs would run, or that they are up to date (default: what “bflow build” builds).

    What is compared is what the key of a result is made of: the words of the recipe, the contents of the inputs, the
    environment, variables and tools. It runs nothing and changes nothing.

    \b
    bflow why                        all that “bflow build” would look at
    bflow why out/a.txt              one target, and the jobs before it that would run
    bflow why voxel=0.1 out/a.txt    with another value for a name
    bflow why --history 3 out/a.txt  why it ran the last three times
    """
    from buildflow.cli.making import merged
    from buildflow.explain import explain

    project = load(obj.get("flowfile"), words)
    chosen = merged(project.builder.root, given, project.builder.reads)
    with opened(project.builder, chosen) as session:
        if history is not None:
            from buildflow.cli.why_history import tell

            tell(session, project.targets, history, json=json)
            return 0
        found = explain(session, project.targets, env=chosen["env"], default_env=chosen["default_env"])
        if json:
            as_json([plain(one) for one in found])
        else:
            show(found)
    return 0


# ---- for people ------------------------------------------------------------------------------------------------

_MANY = 20
"""Targets above which those that are up to date are only counted."""


def show(found: list[Explanation]) -> None:
    """Each in its block, and those that are up to date in one."""
    told = {one.target for one in found}
    well = [one for one in found if one.state == "up to date" and one.failed is None]
    few = len(found) <= _MANY
    before: Explanation | None = None
    for one in found:
        if one in well and not few:
            continue
        if before is not None and (one not in well or before not in well):
            data("")
        before = one
        data("\n".join(lines(one, told)))
    if not few and well:
        data(f"{len(well)} targets are up to date")


def lines(one: Explanation, told: set[str]) -> Iterator[str]:
    """What to say of one job. `told`: jobs that were told of as a cause already."""
    colours = Colours()
    yield f"{colours.bold}{one.target}{colours.off} {_head(one)}"
    for line in _reasons(one):
        yield f"  {line}"
    if one.failed is not None:
        log = f"; its log: {os.path.relpath(one.failed.log)}" if one.failed.log else ""
        yield f"  its last try failed, {_ago(one.failed.time)}{log}"
    for cause in one.causes:
        if cause.target not in told:
            told.add(cause.target)
            yield from lines(cause, told)


def _head(one: Explanation) -> str:
    if one.state == "source":
        return "is a source: no rule makes it"
    if one.state == "undecided":
        return f"cannot be decided: {one.problem}"
    if one.always:
        return f"would run: it is {one.always}, and runs each time it is asked for"
    if one.state == "up to date":
        return "is up to date"
    if one.state == "cached":
        return "would be restored from the cache: there is a result for what it reads now"
    if one.because and not one.changes:
        return "would run"
    if one.last is None:
        return "would run: it was never made"
    return "would run"


def _reasons(one: Explanation) -> Iterator[str]:
    if one.state == "up to date" and one.last is not None and one.last.entry is not None:
        if one.last.entry.result.get("adopted"):
            yield "another tool made it: its files were adopted"
    if one.state in ("source", "undecided", "up to date") or one.always:
        return
    for name, maker in one.because:
        how = "" if name == maker else f" by the job of {maker}"
        yield f"its input {name} would be made anew first{how} (where that comes out the same, this does not run)"
    yield from differences(one.changes)
    if one.last is not None and one.last.entry is None and one.state == "would run":
        if one.because:
            yield "its last result is gone from the cache, so it is not known what else differs"
        elif one.last.key.hex() != one.key:
            yield "it would not be as it was, but its last result is gone from the cache, so nothing can be compared"
        else:
            yield "its last result, which was for the same, is gone from the cache"
    elif one.last is not None and one.key == one.last.key.hex() and one.state == "would run" and not one.because:
        yield "nothing that it reads differs, but its result in the cache is damaged or incomplete"
    for name in one.missing:
        if one.last is not None:
            yield f"{name} is not there"
    for name in one.edited:
        how = "was edited since bflow wrote it" if one.last is not None else "was not made by bflow"
        yield f"{name} {how}; it would be moved to .bflow/replaced"
    if one.problem:
        yield one.problem


def _ago(then: float) -> str:
    return f"{age_text(time.time() - then)} ago"


# ---- for programs ----------------------------------------------------------------------------------------------


def plain(one: Explanation) -> dict[str, Any]:
    """An explanation as JSON has it."""
    last = one.last
    return {
        "target": one.target,
        "state": one.state.replace(" ", "_"),
        "rule": one.rule,
        "where": one.where,
        "outputs": one.outputs,
        "key": one.key,
        "always": one.always,
        "problem": one.problem,
        "last": None
        if last is None
        else {"key": last.key.hex(), "cache_dir": last.entry.path if last.entry is not None else None},
        "failed": None if one.failed is None else {"log": one.failed.log, "time": one.failed.time},
        "changes": [plain_change(change) for change in one.changes],
        "because": [{"input": name, "made_by": maker} for name, maker in one.because],
        "missing": one.missing,
        "edited": one.edited,
        "causes": [plain(cause) for cause in one.causes],
    }
