"""`bflow init`: write a first Flowfile for what lies in the folder."""

from __future__ import annotations

import os
from typing import Any

import click

from buildflow.cli.common import data, note


@click.command("init")
@click.option("-n", "--dry-run", is_flag=True, help="Print the Flowfile, and write nothing.")
@click.pass_obj
def command(obj: dict[str, Any], /, dry_run: bool) -> int:
    """Write a first Flowfile for what is found here, with comments to go on from.

    It knows C and C++ sources, paired reads (.fastq.gz), images (.nii), LaTeX documents and scripts; a Makefile or
    Snakefile is pointed out. A Flowfile that is there is never replaced.

    \b
    bflow init                 write ./Flowfile
    bflow init -n              look at it first
    bflow -C project init      in another folder
    """
    from buildflow.errors import FlowError
    from buildflow.flow import FLOWFILES
    from buildflow.starter import starter

    path = obj.get("flowfile") or FLOWFILES[0]
    there = [name for name in ([path] if obj.get("flowfile") else FLOWFILES) if os.path.lexists(name)]
    if there and not dry_run:
        raise FlowError(f"{there[0]} is there already, and stays as it is", None, "“bflow init -n” prints a new one")
    found = starter(os.getcwd())
    if dry_run:
        data(found.text.rstrip("\n"))
    else:
        with open(path, "x", encoding="utf-8") as file:
            file.write(found.text)
        note(f"bflow: {path} is written" + (f": {'; '.join(found.found)}" if found.found else ""))
    for text in found.notes:
        note(f"  {text}")
    if not dry_run:
        note("  “bflow list” shows its rules, “bflow build” makes them; .bflow/ belongs into .gitignore")
    return 0
