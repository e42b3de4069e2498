"""`bflow cache`: look at the cache, check it, and make room in it."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from buildflow.cli.common import (
    age_text,
    as_json,
    cache_options,
    count,
    data,
    environment_options,
    note,
    opened,
    size_text,
)
from buildflow.cli.project import find, load


@click.group("cache")
def command() -> None:
    """Look at the cache of results, check it, and make room in it.

    \b
    bflow cache list                  what is in it
    bflow cache path out/a.txt        where the result of a target stands
    bflow cache verify                whether all is as it was written
    bflow cache gc --max-size 20G     make room
    """


@command.command("list")
@click.option("--json", "json", is_flag=True, help="Print it as JSON.")
@cache_options
@click.pass_obj
def list_(obj: dict[str, Any], /, json: bool, **given: Any) -> int:
    """Show the entries: key, size, age, rule and targets.

    The newest stands last. Rule and targets are those that the entry was made for; others may have hit it since.

    \b
    bflow cache list                   a line each
    bflow cache list --json            for programs
    """
    from buildflow.builder import Builder
    from buildflow.cli.making import merged
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
                "adopted": found.entry is not None and bool(found.entry.result.get("adopted")),
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
        what += "  (adopted)" if row["adopted"] else ""
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

    It is that of the last result of each; exit 1 where one has none yet, 2 where none can have one: a source, a phony.

    \b
    bflow cache path out/a.txt                      its folder
    cat $(bflow cache path out/a.txt)/result.json   all that is known of it
    """
    from buildflow.cli.making import merged
    from buildflow.history import History
    from buildflow.targets import asked

    project = load(obj.get("flowfile"), words)
    status = 0
    with opened(project.builder, merged(project.builder.root, given, project.builder.reads)) as session:
        history = History(session)
        for job in asked(session, project.targets):
            last = history.last(job.outputs) if job.kind in ("rule", "unplanned") else None
            if last is not None and last.entry is not None:
                data(last.entry.path)
                continue
            status = max(status, 1 if job.kind in ("rule", "unplanned") else 2)
            why = {
                "source": "is a source, which no job makes",
                "phony": "is phony, which has no entry",
                "inplace": "is made in place, which leaves no entry",
            }.get(job.kind, "was never made here" if last is None else "has a result, but its entry is gone")
            note(f"bflow: {job.file} {why}")
    return status


@command.command("verify")
@click.argument("words", nargs=-1, metavar="[TARGET]... [NAME=VALUE]...")
@click.option("--rerun", type=count("--rerun"), metavar="N", help="Run N jobs again, and compare what they make.")
@environment_options
@cache_options
@click.pass_obj
def verify(obj: dict[str, Any], /, words: tuple[str, ...], rerun: int | None, **given: Any) -> int:
    """Compare the entries with their digests.

    All of them are read (with TARGETs: theirs). Exit 1 where some are not as they were written, each of which is named.

    With --rerun, N jobs of TARGETs (default: what “bflow build” builds), of as many rules as can be, run again in
    sandboxes of their own, and rules are named that do not make the same bytes each time. It changes nothing.

    \b
    bflow cache verify                every entry
    bflow cache verify out/a.txt      one
    bflow cache verify --rerun 10     whether rules make the same each time
    """
    if rerun is not None:
        return _rerun(obj.get("flowfile"), words, rerun, given)
    return _verify(obj.get("flowfile"), words, given)


def _verify(flowfile: str | None, words: tuple[str, ...], given: dict[str, Any]) -> int:
    from buildflow.builder import Builder
    from buildflow.cli.making import merged
    from buildflow.entries import Found, damage, entries
    from buildflow.history import History
    from buildflow.targets import asked

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


def _rerun(flowfile: str | None, words: tuple[str, ...], count: int, given: dict[str, Any]) -> int:
    from buildflow.cli.making import merged
    from buildflow.dry import dry_run
    from buildflow.reruns import candidates, rerun

    project = load(flowfile, words)
    chosen = merged(project.builder.root, given, project.builder.reads)
    compared = differing = 0
    rules: dict[str, None] = {}
    with opened(project.builder, chosen, write=os.path.isdir(f"{project.builder.root}/.bflow")) as session:
        resolver = session.resolve(project.targets)
        build = dry_run(session, resolver, env=chosen["env"], default_env=chosen["default_env"])
        for one in rerun(build, candidates(build)[:count]):
            if one.problem is not None:
                note(f"bflow: {one.target} cannot be compared: {one.problem}")
                continue
            compared += 1
            differing += bool(one.differing)
            for name in one.differing:
                rules.setdefault(one.rule)
                data(f"{name} is not the same when it is made again (rule {one.rule}, {one.entry.path})")
    if differing:
        note(f"bflow: {differing} of {_entries(compared)} not the same; rules that differ: {', '.join(rules)}")
        return 1
    note(f"bflow: {_entries(compared)} made again, all the same" if compared else "bflow: there are no entries to run")
    return 0


@command.command("gc")
@click.option("--max-size", metavar="SIZE", help="Remove the oldest entries until all has this size (20G; 500: MiB).")
@click.option("--older-than", metavar="TIME", help="Remove entries that were made longer ago (30d, 12h).")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Name the workspaces that hold entries.")
@cache_options
@click.pass_obj
def gc(
    obj: dict[str, Any], /, max_size: str | None, older_than: str | None, dry_run: bool, verbose: bool, **given: Any
) -> int:
    """Make room in the cache.

    What a workspace holds stays, in each project that uses the cache: the result of every target that it has, or had
    when it was last built. So does what a running build has made or taken. Of the others the oldest go first. It can
    run beside builds, and from anywhere where --cache-root says which cache is meant.

    \b
    bflow cache gc --max-size 20G               until it has 20 GiB
    bflow cache gc --older-than 30d             what is older than a month
    bflow cache gc --max-size 0 -n              all that nobody holds: what that would be
    bflow cache gc --cache-root /scratch/bflow --max-size 2T
    """
    from buildflow.cache import Cache
    from buildflow.cli.making import merged
    from buildflow.disk import Disk
    from buildflow.errors import FlowError
    from buildflow.gc import collect
    from buildflow.reads import Reads
    from buildflow.state import State

    if max_size is None and older_than is None:
        raise FlowError(
            "how much should go? neither a size nor an age is given", None,
            "--max-size 20G, or --older-than 30d; “--max-size 0 -n” says what could go",
        )  # fmt: skip
    size = _amount("--max-size", max_size, "memory")
    age = _amount("--older-than", older_than, "time")
    try:
        root = find(obj.get("flowfile"))[1]
    except FlowError as error:
        if given["cache_root"] is None:
            raise FlowError(error.message, None, "go to a project, or name the cache: --cache-root DIR") from None
        root = os.getcwd()
    place = os.path.join(root, merged(root, given, Reads(root))["cache_root"] or ".bflow/cache")
    cache = Cache(os.path.abspath(place), disk=Disk(root, State(os.devnull)))
    found = collect(cache, root, max_size=size, made_before=None if age is None else time.time() - age, dry=dry_run)
    if dry_run:
        for one in found.removed:
            data(one.path)
    note(
        f"bflow: {_entries(len(found.removed))} {'would be ' if dry_run else ''}removed ({size_text(found.freed)}), "
        f"{size_text(found.left)} stay"
    )
    if found.held:
        note(f"  {_entries(found.held)} ({size_text(found.held_size)}) held by workspaces or running builds")
    if size is not None and found.left > size:
        note("  that is more than the size asked for: the rest is held")
    for place in found.workspaces if verbose else ():
        note(f"  {place}")
    return 0


def _amount(option: str, text: str | None, unit: str) -> float | None:
    """A size (bytes) or time (seconds) of the command line."""
    from buildflow.errors import FlowError
    from buildflow.quantity import evaluate

    try:
        return None if text is None else evaluate(text, {}, unit)
    except FlowError as error:
        raise FlowError(f"{option} {text}: {error.message}", None, error.hint) from None


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"
