"""`bflow clean`: remove what bflow made."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from buildflow.cli.common import cache_options, data, note, opened
from buildflow.cli.project import find, load

if TYPE_CHECKING:
    from buildflow.builder import Builder
    from buildflow.submitter import Session


@click.command("clean")
@click.argument("words", nargs=-1, metavar="[TARGET]... [NAME=VALUE]...")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
@click.option("--stale", is_flag=True, help="Remove what bflow made and no rule makes any more, and nothing else.")
@click.option("--cache", is_flag=True, help="Remove the cache (what stands in the project stays up to date).")
@click.option("--yes", is_flag=True, help="Yes, also a cache that lies outside the project.")
@click.option("-v", "--verbose", is_flag=True, help="Print the name of each file that is removed.")
@cache_options
@click.pass_obj
def command(
    obj: dict[str, Any], /, words: tuple[str, ...], dry_run: bool, stale: bool, cache: bool, yes: bool, verbose: bool,
    **given: Any,
) -> int:  # fmt: skip
    """Remove the files that bflow made in the project (of TARGETs: theirs), and the folders that are empty then.

    A file that was edited since bflow wrote it is not removed. The cache is kept: “bflow build” puts all of it back.

    \b
    bflow clean -n             what would be removed
    bflow clean out            what bflow made in a folder
    bflow clean --stale        what no rule makes any more
    bflow clean --cache        the results (“bflow cache gc” removes only what nobody holds)
    """
    from buildflow.cli.making import merged
    from buildflow.errors import FlowError

    flowfile = obj.get("flowfile")
    if words or stale:
        project = load(flowfile, words)
        builder: Builder = project.builder
        targets: Sequence[str] = project.targets
    else:  # the Flowfile is not asked: one that is broken keeps nobody from cleaning
        from buildflow.builder import Builder

        builder, targets = Builder(find(flowfile)[1]), ()
    if cache and targets:
        raise FlowError("--cache removes the whole cache, and takes no targets")
    chosen = merged(builder.root, given, builder.reads)
    made = os.path.isdir(f"{builder.root}/.bflow")
    with opened(builder, chosen, write=made and not dry_run) as session:
        if cache:
            _cache(session, yes, dry_run)
        if stale or not cache:
            _files(session, targets, stale, dry_run, verbose)
    return 0


def _files(session: Session, targets: Sequence[str], stale: bool, dry: bool, verbose: bool) -> None:
    from buildflow.dry import Settled
    from buildflow.plan.resolve import Resolver
    from buildflow.stale import Remover, Rules, written
    from buildflow.stale import stale as stale_files

    wanted = _named(session, targets)
    remover = Remover(session.disk, dry=dry)
    if stale:
        settled = Settled(session, Resolver(session.builder, session.disk))
        remover.keep = Rules(settled).make
        items = stale_files(session.disk, settled)
        for path in settled.unknown:
            note(f"bflow: {path} is not up to date: what it decides is taken as made (build it first)")
    else:
        items = written(session.disk)
    remover.remove(one for one in items if wanted(one.name))
    if stale and not dry:
        for name in remover.removed:
            session.disk.forget(name)
    for name in remover.removed:
        if dry:
            data(name)
        elif verbose:
            note(f"removed {name}")
    for name in remover.kept:
        note(f"{name} was edited since bflow wrote it, and is kept")
    count = len(remover.removed)
    what = "no file" if not count else "1 file" if count == 1 else f"{count} files"
    note(f"bflow: {what} {'would be ' if dry else ''}removed")


def _named(session: Session, targets: Sequence[str]) -> Callable[[str], bool]:
    """Whether a file is one of the targets. Raises FlowError for one that nothing is known of."""
    from buildflow.errors import FlowError
    from buildflow.targets import asked

    if not targets:
        return lambda name: True
    files: set[str] = set()
    folders: list[str] = []
    known = session.state.files
    for target in targets:
        folder = target.rstrip("/") + "/"
        try:
            jobs = asked(session, [target])
        except FlowError:
            if target in known:
                files.add(target)
            elif any(name.startswith(folder) for name in known):
                folders.append(folder)
            else:
                raise
            continue
        for job in jobs:
            files.add(job.file)
            if job.kind == "source" and os.path.isdir(session.disk.path(job.file)):
                folders.append(folder)
            elif job.kind == "source":
                note(f"bflow: {job.file} is a source, and stays")
            elif job.kind == "phony":
                note(f"bflow: {job.file} is phony, and makes no file")
    return lambda name: name in files or any(name.startswith(folder) for folder in folders)


def _cache(session: Session, yes: bool, dry: bool) -> None:
    """Remove the cache root; one outside the project may be others' too, so that is asked for."""
    from buildflow.entries import is_empty, remove_all, size
    from buildflow.errors import FlowError

    root = session.cache_root
    if is_empty(root):
        note("bflow: there is no cache")
        return
    inside = os.path.realpath(root).startswith(os.path.realpath(session.root) + "/")
    if not inside and not yes and not dry:
        raise FlowError(
            f"the cache {root} lies outside the project, and others may use it",
            None,
            "“bflow clean --cache --yes” removes it all the same; “bflow cache list” shows what is in it",
        )
    if dry:
        data(os.path.relpath(root) if inside else root)
        return
    freed = size(root)
    left = remove_all(root)
    from buildflow.cli.common import size_text

    note(f"bflow: the cache is removed ({size_text(freed)})")
    if left:
        note(f"bflow: {root} holds what is no cache entry, and stays: {', '.join(left[:10])}")
