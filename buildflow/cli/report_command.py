"""`bflow report`: a page about what was built: graph, times, resources."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from buildflow.cli.common import cache_options, data, environment_options, note, opened
from buildflow.cli.project import load


@click.command("report")
@click.argument("words", nargs=-1, metavar="[TARGET]... [NAME=VALUE]...")
@click.option("-o", "--output", metavar="FILE", help="Write FILE instead of printing the page.")
@click.option("--title", metavar="TEXT", help="The title (default: the name of the project’s folder).")
@environment_options
@cache_options
@click.pass_obj
def command(obj: dict[str, Any], /, words: tuple[str, ...], output: str | None, title: str | None, **given: Any) -> int:
    """Write a page about TARGETs (default: what “bflow build” builds): HTML that needs nothing else.

    It has the graph of the rules with the state of their jobs, what each rule took in time, memory and processors, the
    timeline of each time that something was built, the longest chain and the longest jobs, and what failed. All of it
    is read from the results in the cache, so it can be written at any time; it runs nothing.

    \b
    bflow report -o report.html
    bflow report out/a.bam > a.html
    """
    from buildflow.cli.making import merged
    from buildflow.dry import dry_run
    from buildflow.report import report
    from buildflow.report_page import page

    project = load(obj.get("flowfile"), words)
    chosen = merged(project.builder.root, given, project.builder.reads)
    with opened(project.builder, chosen) as session:
        resolver = session.resolve(project.targets)
        build = dry_run(session, resolver, env=chosen["env"], default_env=chosen["default_env"])
        found = report(session, build)
    text = page(found, title or os.path.basename(project.builder.root), time.time())
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if output is None:
        data(text.rstrip("\n"))
    else:
        with open(output, "w", encoding="utf-8") as file:
            file.write(text)
        note(f"bflow: {output} is written ({len(found.jobs)} jobs)")
    return 0
