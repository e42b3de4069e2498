"""`bflow shell`: a shell in the sandbox and environment of a target's job."""

from __future__ import annotations

import os
from typing import Any

import click

from buildflow.cli.common import cache_options, environment_options, note, opened
from buildflow.cli.project import load


class _Shell(click.Command):
    """Keeps the words after `--` apart: they are a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta["bflow.command"] = args[place + 1 :]
            args = args[:place]
        return super().parse_args(ctx, args)


@click.command("shell", cls=_Shell)
@click.argument("words", nargs=-1, required=True, metavar="TARGET [NAME=VALUE]... [-- COMMAND...]")
@click.option("--fresh", is_flag=True, help="Stage a new sandbox, also where that of a failed try was kept.")
@environment_options
@cache_options
@click.pass_context
def command(ctx: click.Context, /, words: tuple[str, ...], fresh: bool, **given: Any) -> int:
    """Open a shell where the job of TARGET runs: its sandbox, its environment, its variables.

    After a failure it is the sandbox as the failed try left it; else one is staged with the inputs of today. The file
    $TMPDIR/recipe runs the job's recipe. What is made in there goes nowhere, and a fresh sandbox is removed at the end.
    After “--” a command is run instead, and its exit status is the status.

    \b
    bflow shell out/a.txt               look around; “exit” leaves
    bflow shell out/a.txt -- ls -lR     one command
    bflow shell out/a.txt -- sh -c 'bash -x $TMPDIR/recipe'
    bflow shell --fresh out/a.txt       not what the failed try left
    """
    from buildflow.cli.making import merged
    from buildflow.errors import FlowError
    from buildflow.inside import inside

    argv: list[str] | None = ctx.meta.get("bflow.command")
    if argv == []:
        raise FlowError("no command stands after “--”", None, "as in: bflow shell out/a.txt -- ls")
    project = load(ctx.obj.get("flowfile"), words)
    if len(project.targets) != 1:
        raise FlowError("a shell is in the sandbox of one target", None, "as in: bflow shell out/a.txt")
    chosen = merged(project.builder.root, given, project.builder.reads)
    with opened(project.builder, chosen) as session:
        place = inside(session, project.targets[0], fresh=fresh, env=chosen["env"], default_env=chosen["default_env"])
    try:
        if argv is None:
            _tell(place)
        status = place.run(argv)
    finally:
        place.leave()
    return status if argv is not None else 0


def _tell(place: Any, most: int = 10) -> None:
    """What it is, what the job runs, how to leave."""
    how = "as its failed try left it" if place.failed else "staged afresh, removed when you leave"
    note(f"bflow: a shell in the sandbox of {place.target} ({how}), environment {place.environment.name}")
    note(f"  {os.path.relpath(place.path)}")
    lines = place.recipe.splitlines()
    for line in lines[:most]:
        note(f"    {line}")
    if len(lines) > most:
        note(f"    … {len(lines) - most} lines more")
    note("  “$TMPDIR/recipe” runs that; “exit” or Ctrl-D leaves")
