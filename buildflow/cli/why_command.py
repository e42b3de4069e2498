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
    data,
    environment_options,
    opened,
    size_text,
)
from buildflow.cli.project import load

if TYPE_CHECKING:
    from buildflow.explain import Change, Explanation


@click.command("why")
@click.argument("words", nargs=-1, metavar="[TARGET]... [NAME=VALUE]...")
@click.option("--json", "json", is_flag=True, help="Print it as JSON.")
@environment_options
@cache_options
@click.pass_obj
def command(obj: dict[str, Any], /, words: tuple[str, ...], json: bool, **given: Any) -> int:
    """Say why TARGETs would run, or that they are up to date (default: what “bflow build” builds).

    What is compared is what the key of a result is made of: the words of the recipe, the contents of the inputs, the
    environment, variables and tools. It runs nothing and changes nothing.
    """
    from buildflow.cli.build_command import merged
    from buildflow.explain import explain

    project = load(obj.get("flowfile"), words)
    chosen = merged(project.builder.root, given, project.builder.reads)
    with opened(project.builder, chosen) as session:
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
    if one.state in ("source", "undecided", "up to date") or one.always:
        return
    for name, maker in one.because:
        how = "" if name == maker else f" by the job of {maker}"
        yield f"its input {name} would be made anew first{how} (where that comes out the same, this does not run)"
    other_kind = any(c.what == "recipe" and c.name != "interpreter" and c.old is None for c in one.changes)
    for change in one.changes:
        if not (other_kind and change.what in ("label", "order", "wildcard", "name", "function")):
            yield from _change(change)
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


_NOUNS = {
    "environment": "the environment", "variable": "the variable", "tool": "the tool", "wildcard": "the wildcard",
    "name": "the name", "function": "the function’s", "label": "the file named", "order": "the input number",
    "depfile": "the depfile", "format": "the format of bflow’s keys", "output": "the output",
}  # fmt: skip


def _change(change: Change) -> Iterator[str]:
    """One difference in words."""
    what, name, old, new = change.what, change.name, change.old, change.new
    if what == "recipe":
        yield from _recipe(change)
    elif what in ("input", "header"):
        header = " (named by its depfile)" if what == "header" else ""
        if old is None:
            yield f"a new input: {name}{header}" + (f" ({_digest(new, change.new_size)})" if new else "")
        elif new is None:
            gone = "is gone" if what == "header" else "is no input any more"
            yield f"{name}{header} {gone}" + (f" (it was {_digest(old, change.old_size)})" if old else "")
        elif not old or not new:
            yield f"{name} is read {'in full now' if new else 'only where the depfile names it now'}"
        else:
            yield f"{name}{header} changed: {_digest(old, change.old_size)} → {_digest(new, change.new_size)}"
    elif what == "order" and not name:
        yield "the same outputs, variables or tools stand in another order"
    else:
        noun = _NOUNS.get(what, what)
        label = f"{noun} {name}".rstrip()
        if old is None:
            yield f"{label} is new" + (f": {_value(what, new)}" if new and what != "output" else "")
        elif new is None:
            yield f"{label} is there no more" + (f" (it was {_value(what, old)})" if old and what != "output" else "")
        else:
            yield f"{label} changed: {_value(what, old)} → {_value(what, new)}"


def _digest(digest: str | None, size: int | None) -> str:
    return f"{(digest or '')[:12]}, {size_text(size)}" if size is not None else f"{(digest or '')[:12]}"


def _value(what: str, value: str | None) -> str:
    if what in ("variable", "wildcard", "name"):
        return f"“{value}”"
    if what in ("tool", "function") and value is not None and len(value) == 32:
        return value[:12]
    return str(value)


def _recipe(change: Change) -> Iterator[str]:
    if change.name == "interpreter":
        yield f"the shell changed: {change.old or 'the default'} → {change.new or 'the default'}"
    elif change.old is None:
        yield f"the recipe is of another kind now: {change.name}"
    elif change.new is not None:
        yield "the recipe changed:"
        for line in word_diff(change.old, change.new, Colours()):
            yield f"    {line}"


def word_diff(old: str, new: str, colours: Colours) -> list[str]:
    """The words of a recipe that went `[-…-]` and came `{+…+}`, with a little of what is around them."""
    from difflib import SequenceMatcher

    before, after = _words(old), _words(new)
    parts: list[str] = []
    short = len(before) + len(after) < 2000
    changes = SequenceMatcher(None, before, after, autojunk=not short).get_opcodes()
    for place, (tag, i, j, k, m) in enumerate(changes):
        if tag == "equal":
            parts.append(_around(before[i:j], first=place == 0, last=place == len(changes) - 1))
            continue
        if i < j:
            parts.append(f"{colours.red}[-{''.join(before[i:j])}-]{colours.off}")
        if k < m:
            parts.append(f"{colours.green}{{+{''.join(after[k:m])}+}}{colours.off}")
    return "".join(parts).split("\n")


def _words(text: str) -> list[str]:
    import re

    return re.findall(r"\s+|[^\s]+", text)


_AROUND = 16  # words (white space counts) that are shown beside a change


def _around(words: list[str], *, first: bool, last: bool) -> str:
    head = 0 if first else _AROUND
    tail = 0 if last else _AROUND
    if len(words) <= head + tail + 4:
        return "".join(words)
    gap = " … " if head and tail else "… " if tail else " …"
    return "".join(words[:head]) + gap + "".join(words[len(words) - tail :])


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
        "changes": [_plain_change(change) for change in one.changes],
        "because": [{"input": name, "made_by": maker} for name, maker in one.because],
        "missing": one.missing,
        "edited": one.edited,
        "causes": [plain(cause) for cause in one.causes],
    }


def _plain_change(change: Change) -> dict[str, Any]:
    sized = change.what in ("input", "header")
    return {key: value for key, value in vars(change).items() if sized or not key.endswith("_size")}
