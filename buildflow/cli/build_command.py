"""`bflow build`: make targets."""

from __future__ import annotations

import gc
from typing import Any

import click

from buildflow.cli.common import count
from buildflow.cli.making import run


class _Build(click.Command):
    """Takes `--shuffle` alone too: what follows it is a target, and no seed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        args[:end] = ["--shuffle=" if word == "--shuffle" else word for word in args[:end]]
        return super().parse_args(ctx, args)


@click.command("build", cls=_Build, context_settings={"ignore_unknown_options": False})
@click.argument("words", nargs=-1, metavar="[TARGET]... [NAME=VALUE]...")
@click.option("-j", "--jobs", type=count("-j"), metavar="N", help="Jobs at once (default: the usable processors).")
@click.option("-k", "--keep-going", is_flag=True, help="After a failure build all that does not need the failed job.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would run, and run nothing.")
@click.option("-B", "--always-make", is_flag=True, help="Run every job that is asked for again.")
@click.option("-q", "--quiet", is_flag=True, help="Print failures only.")
@click.option("-v", "--verbose", is_flag=True, help="Print recipes, cached jobs and undeclared files too.")
@click.option(
    "-R",
    "--rerun",
    multiple=True,
    metavar="NAME",
    help="Run the jobs of a rule (its name or a target as written) again.",
)
@click.option("--until", multiple=True, metavar="NAME", help="Build up to the jobs of a rule, and nothing after them.")
@click.option("--check", is_flag=True, help="Run nothing; exit 1 where something would run.")
@click.option("--shuffle", metavar="[=SEED]", help="Start ready jobs in a random order, the same for the same seed.")
@click.option("--worker", metavar="NAME", help="Where jobs run: cf (default), debug, slurm, sge, psij-slurm, dask, …")
@click.option("-o", "--option", "options", multiple=True, metavar="OPT=VALUE", help="An option of the worker.")
@click.option(
    "--detach", is_flag=True, help="Hand ready jobs to the queue and return; the next build takes them up."
)
@click.option("--env", metavar="ENV", help="The environment of every job, whatever the rules say.")
@click.option("--default-env", metavar="ENV", help="The environment of rules that name none.")
@click.option("--resource", "resource", multiple=True, metavar="NAME=N", help="A limit: mem=8G, gpus=1, licence=2.")
@click.option("--cache-root", metavar="DIR", help="The cache (default: .bflow/cache).")
@click.option("--readonly-cache", multiple=True, metavar="DIR", help="A cache to look in as well.")
@click.option("--profile", metavar="NAME", help="A group of settings of bflow.toml.")
@click.option("--json", "as_json", is_flag=True, help="Print one event a line to stdout.")
@click.option("--audit", metavar="WHERE", help="Tell of each job as JSON-LD: print, file:PATH or http://…")
@click.pass_obj
def command(obj: dict[str, Any], /, **given: Any) -> int:
    """Build TARGETs (default: the rule marked [default], else the first).

    \b
    bflow build                      all that the first rule names
    bflow build out/a.txt voxel=0.1  one file, with another value for a name
    bflow build 'out/{subject}.mif'  a pattern: for every value of its names
    bflow build -n                   what would run
    """
    gc.disable()  # a plan of 100,000 jobs holds no garbage worth looking for
    return run(obj.get("flowfile"), **given)
