"""`bflow adopt`: take files that another tool made as results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from buildflow.cli.common import cache_options, data, environment_options, note, opened
from buildflow.cli.project import load

if TYPE_CHECKING:
    from buildflow.adopt import Adoption


@click.command("adopt")
@click.argument("words", nargs=-1, metavar="[TARGET]... [NAME=VALUE]...")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be adopted, and change nothing.")
@click.option("--force", is_flag=True, help="Adopt also files that are older than their inputs, or that differ.")
@click.option("-v", "--verbose", is_flag=True, help="Print the name of each file that is adopted.")
@environment_options
@cache_options
@click.pass_obj
def command(
    obj: dict[str, Any], /, words: tuple[str, ...], dry_run: bool, force: bool, verbose: bool, **given: Any
) -> int:
    """Take the files of TARGETs, and all that they are made of, as results (default: what “bflow build” builds).

    For a project that moves from Make or Snakemake with days of results: what stands is taken for what the rules would
    make, and “bflow build” has nothing to do. A job is adopted where its inputs and outputs are all there and no output
    is older than an input; the others are named, and exit status 1 says that there are some. Entries of adopted files
    say so (“bflow why”, “bflow log”, “bflow cache list”).

    \b
    bflow adopt -n            what would be adopted, and what not and why
    bflow adopt               all that the first rule names
    bflow adopt out/a.bam     one file, with the jobs before it
    bflow adopt --force       whatever the times say (after git clone, cp -r)
    """
    from buildflow.adopt import Adopter
    from buildflow.cli.making import merged

    project = load(obj.get("flowfile"), words)
    chosen = merged(project.builder.root, given, project.builder.reads)
    with opened(project.builder, chosen, write=not dry_run) as session:
        resolver = session.resolve(project.targets)
        adopter = Adopter(
            session, resolver, force=force, dry=dry_run, env=chosen["env"], default_env=chosen["default_env"]
        )
        found = adopter.run()
    _tell(found, dry_run, verbose)
    return 1 if found.refused else 0


_SHOWN = 20
"""Jobs that could not be adopted and are named, unless more is asked for."""


def _tell(found: Adoption, dry: bool, verbose: bool) -> None:
    for outputs in found.adopted:
        for name in outputs:
            if dry:
                data(name)
            elif verbose:
                note(f"adopted {name}")
    shown = found.refused if verbose else found.refused[:_SHOWN]
    for target, why in shown:
        note(f"{target} is not adopted: {why}")
    if len(found.refused) > len(shown):
        note(f"… and {len(found.refused) - len(shown)} more (-v names all)")
    parts = [f"{_jobs(len(found.adopted))} {'would be ' if dry else ''}adopted"]
    if found.standing:
        parts.append(f"{len(found.standing)} had their results already")
    if found.refused:
        parts.append(f"{len(found.refused)} not adopted")
    note(f"bflow: {', '.join(parts)}")
    if any("is older than" in why for _, why in found.refused):
        note("  where the times mean nothing (a clone, a copy), “bflow adopt --force” takes the files all the same")


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"
