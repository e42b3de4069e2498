"""`bflow provenance`: the history of files, for others to read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from buildflow.cli.common import as_json, cache_options, note, opened
from buildflow.cli.project import load

if TYPE_CHECKING:
    from buildflow.provenance import Provenance


@click.command("provenance")
@click.argument("words", nargs=-1, required=True, metavar="TARGET... [NAME=VALUE]...")
@click.option(
    "--format", "form", type=click.Choice(["prov", "ro-crate"]), default="prov",
    help="prov (default): a JSON-LD document; ro-crate: a folder with the files.",
)  # fmt: skip
@click.option("-o", "--output", metavar="PATH", help="The file to write (default: print it); the folder of a crate.")
@click.option("--no-files", is_flag=True, help="Of ro-crate: describe the files, and copy only the Flowfile.")
@cache_options
@click.pass_obj
def command(
    obj: dict[str, Any], /, words: tuple[str, ...], form: str, output: str | None, no_files: bool, **given: Any
) -> int:
    """Export the whole history of TARGETs: every job on the way from the sources, with its recipe, time and machine.

    It is read from the results in the cache, and runs nothing. Where a result is gone from the cache, its step is
    there and says so, and what came before it is not known.

    \b
    bflow provenance out/a.txt -o a.jsonld                   W3C PROV, as JSON-LD
    bflow provenance out/a.txt --format ro-crate -o crate/   a Workflow Run RO-Crate
    """
    from buildflow.cli.making import merged
    from buildflow.errors import FlowError
    from buildflow.provenance import provenance
    from buildflow.targets import asked

    crate = form == "ro-crate"
    if crate and output is None:
        raise FlowError("an RO-Crate is a folder, so it needs -o DIR")
    if no_files and not crate:
        raise FlowError("--no-files is for --format ro-crate: the PROV document holds no files")
    project = load(obj.get("flowfile"), words)
    if not project.targets:
        raise FlowError("whose history? a target is missing", None, "as in: bflow provenance out/a.txt")
    with opened(project.builder, merged(project.builder.root, given, project.builder.reads)) as session:
        jobs = asked(session, project.targets)
        if not jobs:
            raise FlowError(
                f"there are no jobs for {' '.join(project.targets)} yet", None, "build what decides on them first"
            )
        found = provenance(session, jobs)
        if crate:
            from buildflow import __version__
            from buildflow.provenance_crate import write_crate

            assert output is not None
            write_crate(session, found, output, __version__, files=not no_files)
    if not crate:
        _write(found, output)
    for step in found.opaque:
        note(f"bflow: what made {step.label} is not known: {step.why}")
    if output is not None:
        jobs_text = "1 job" if len(found.steps) == 1 else f"{len(found.steps)} jobs"
        note(f"bflow: {output} is written ({jobs_text}, {len(found.files)} files)")
    return 0


def _write(found: Provenance, output: str | None) -> None:
    import json

    from buildflow.provenance_prov import document

    if output is None:
        as_json(document(found))
        return
    text = json.dumps(document(found), indent=2) + "\n"
    try:
        with open(output, "w", encoding="ascii") as file:
            file.write(text)
    except OSError as error:
        from buildflow.errors import FlowError

        raise FlowError(f"cannot write {os.fspath(output)}: {error.strerror}") from None
