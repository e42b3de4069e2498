"""`bflow cache`: look at the cache and check it."""

from __future__ import annotations

import time
from typing import Any

import click

from buildflow.cli.common import age_text, as_json, cache_options, data, note, opened, size_text
from buildflow.cli.project import find, load


@click.group("cache")
def command() -> None:
    """Look at the cache of results, and check it."""


@command.command("list")
@click.option("--json", "json", is_flag=True, help="Print it as JSON.")
@cache_options
@click.pass_obj
def list_(obj: dict[str, Any], /, json: bool, **given: Any) -> int:
    """Show the entries: key, size, age, rule and targets.

    The newest stands last. Rule and targets are those that the entry was made for; others may have hit it since.
    """
    from buildflow.builder import Builder
    from buildflow.cli.build_command import merged
    from buildflow.entries import ended, entries, size

    builder = Builder(find(obj.get("flowfile"))[1])
    now = time.time()
    with opened(builder, merged(builder.root, given, builder.reads)) as session:
        rows: list[dict[str, Any]] = [
            {
                "key": found.key,
                "kind": found.kind,
                "rule": found.entry.result.get("rule") if found.entry is not None else None,
                "targets": found.targets,
                "size": size(found.path),
                "age": round(max(0.0, now - ended(found.entry)), 3) if found.entry is not None else None,
                "cache_dir": found.path,
                "readonly": found.entry is not None and found.entry.readonly,
            }
            for found in entries(session.cache.roots)
        ]
    rows.sort(key=lambda row: -row["age"] if row["age"] is not None else 0.0)
    if json:
        as_json(rows)
        return 0
    for row in rows:
        age = age_text(row["age"]) if row["age"] is not None else "?"
        what = "  ".join([str(row["rule"]), " ".join(row["targets"])]) if row["rule"] else "its result.json is damaged"
        data(f"{row['kind']}-{row['key']}  {size_text(row['size']):>10}  {age:>8}  {what}")
    total = sum(row["size"] for row in rows)
    note(f"bflow: {_entries(len(rows))}, {size_text(total)}")
    return 0


@command.command("path")
@click.argument("words", nargs=-1, required=True, metavar="TARGET... [NAME=VALUE]...")
@cache_options
@click.pass_obj
def path(obj: dict[str, Any], /, words: tuple[str, ...], **given: Any) -> int:
    """Print the entries of TARGETs: folders, one a line.

    It is that of the last result of each; exit 1 where one has none.
    """
    from buildflow.cli.build_command import merged
    from buildflow.history import History
    from buildflow.targets import asked

    project = load(obj.get("flowfile"), words)
    missing = False
    with opened(project.builder, merged(project.builder.root, given, project.builder.reads)) as session:
        history = History(session)
        for job in asked(session, project.targets):
            last = history.last(job.outputs) if job.kind in ("rule", "unplanned") else None
            if last is not None and last.entry is not None:
                data(last.entry.path)
                continue
            missing = True
            why = {
                "source": "is a source, which no job makes",
                "phony": "is phony, which has no entry",
                "inplace": "is made in place, which leaves no entry",
            }.get(job.kind, "was never made here" if last is None else "has a result, but its entry is gone")
            note(f"bflow: {job.file} {why}")
    return 1 if missing else 0


@command.command("verify")
@click.argument("words", nargs=-1, metavar="[TARGET]... [NAME=VALUE]...")
@cache_options
@click.pass_obj
def verify(obj: dict[str, Any], /, words: tuple[str, ...], **given: Any) -> int:
    """Compare the entries with their digests.

    All of them are read (with TARGETs: theirs). Exit 1 where some are not as they were written, each of which is named.
    """
    from buildflow.builder import Builder
    from buildflow.cli.build_command import merged
    from buildflow.entries import Found, damage, entries
    from buildflow.history import History
    from buildflow.targets import asked

    flowfile = obj.get("flowfile")
    project = load(flowfile, words) if words else None
    builder = project.builder if project is not None else Builder(find(flowfile)[1])
    checked = damaged = 0
    with opened(builder, merged(builder.root, given, builder.reads)) as session:
        if project is None:
            some = entries(session.cache.roots)
        else:
            history = History(session)
            jobs = [job for job in asked(session, project.targets) if job.kind in ("rule", "unplanned")]
            lasts = [history.last(job.outputs) for job in jobs]
            paths = dict.fromkeys(last.entry.path for last in lasts if last is not None and last.entry is not None)
            some = (found for found in entries(session.cache.roots) if found.path in paths)
        found: Found
        for found in some:
            checked += 1
            wrong = damage(session.cache, found)
            damaged += bool(wrong)
            for name in wrong:
                data(f"{name} is damaged in {found.path}")
    if damaged:
        note(f"bflow: {damaged} of {_entries(checked)} damaged; a build makes them anew where it needs them")
        return 1
    note(f"bflow: {_entries(checked)}, all sound" if checked else "bflow: there are no entries")
    return 0


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"
