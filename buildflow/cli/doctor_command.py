"""`bflow doctor`: what this machine has of all that rules may need."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from buildflow.cli.common import Colours, as_json, cache_options, data, note

if TYPE_CHECKING:
    from buildflow.builder import Builder


@click.command("doctor")
@click.option("--json", "json", is_flag=True, help="Print it as JSON.")
@cache_options
@click.pass_obj
def command(obj: dict[str, Any], /, json: bool, **given: Any) -> int:
    """Look at what this machine has: containers, clusters, file systems, limits; and say what to do where it lacks.

    In a project, what its rules name (env = docker://…, worker = slurm) is told as missing where it is not there; what
    nothing needs is only told as absent. The exit status is 0 whatever is found.

    \b
    bflow doctor            a table
    bflow doctor --json     for programs: what, state (ok, absent, missing, note), found, advice
    """
    from buildflow.cli.making import merged
    from buildflow.doctor import examine
    from buildflow.reads import Reads

    root, builder = _project(obj.get("flowfile"))
    cache = merged(root, given, Reads(root))["cache_root"] or ".bflow/cache"
    findings = examine(root, os.path.abspath(os.path.join(root, cache)), builder)
    if json:
        as_json([one._asdict() for one in findings])
        return 0
    colours = Colours()
    marks = {"missing": colours.red, "note": colours.bold, "absent": colours.dim, "ok": ""}
    for one in findings:
        start = f"{marks[one.state]}{one.what:<18}{colours.off if marks[one.state] else ''}"
        text = f"{'missing: ' if one.state == 'missing' else ''}{one.found}"
        data(f"{start}{text}" + (f"\n{'':<18}  ({one.advice})" if one.advice else ""))
    return 0


def _project(flowfile: str | None) -> tuple[str, Builder | None]:
    """The root and the rules of the project, as far as there is one and it can be read."""
    from buildflow.cli.project import find, load
    from buildflow.errors import FlowError

    try:
        root = find(flowfile)[1]
    except FlowError:
        return os.getcwd(), None
    try:
        return root, load(flowfile, ()).builder
    except FlowError as error:
        note(f"bflow: the Flowfile cannot be read, so it is not known what its rules need ({error.message})")
        return root, None
