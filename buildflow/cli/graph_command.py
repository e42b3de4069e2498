"""`bflow graph`: the jobs, what they need and what they would be, as a drawing."""

from __future__ import annotations

from typing import Any

import click

from buildflow.cli.common import cache_options, data, environment_options, note, opened
from buildflow.cli.project import load


@click.command("graph")
@click.argument("words", nargs=-1, metavar="[TARGET]... [NAME=VALUE]...")
@click.option("--format", "form", type=click.Choice(["dot", "mermaid", "svg", "json"]), help="Default: dot.")
@click.option("-o", "--output", metavar="FILE", help="Write FILE, in the form that its ending says.")
@click.option("--rules", is_flag=True, help="Draw rules and not their jobs.")
@click.option("--all", "every", is_flag=True, help="Draw every job, however many they are.")
@environment_options
@cache_options
@click.pass_obj
def command(
    obj: dict[str, Any], /, words: tuple[str, ...], form: str | None, output: str | None, rules: bool, every: bool,
    **given: Any,
) -> int:  # fmt: skip
    """Draw the jobs of TARGETs and what they need (default: what “bflow build” builds).

    Colours say what a build would do: green is up to date, blue would be taken from the cache, orange would run, grey
    is a source. In a graph of more than 60 nodes those that are alike (jobs of one rule whose neighbours are alike) are
    one, with their number; “--all” draws each, and JSON always has each. It runs nothing and changes nothing.

    \b
    bflow graph | dot -Tpdf > graph.pdf     with graphviz
    bflow graph -o graph.svg out/a.txt      the same in one step, of one target
    bflow graph --rules --format mermaid    for a page in Markdown
    bflow graph --format json               for programs: nodes and edges
    """
    from buildflow.cli.making import merged
    from buildflow.drawing import MANY, by_rule, collapsed, drawing_of
    from buildflow.drawing_formats import written
    from buildflow.dry import dry_run

    form = _form(form, output)
    project = load(obj.get("flowfile"), words)
    chosen = merged(project.builder.root, given, project.builder.reads)
    with opened(project.builder, chosen) as session:
        resolver = session.resolve(project.targets)
        drawing = drawing_of(dry_run(session, resolver, env=chosen["env"], default_env=chosen["default_env"]))
    if rules:
        drawing = by_rule(drawing)
    elif not every and form != "json" and len(drawing.nodes) > MANY:
        drawing = collapsed(drawing)
        jobs = sum(node.count for node in drawing.nodes if node.rule is not None)
        note(f"bflow: {jobs} jobs in {len(drawing.nodes)} nodes; “--rules” draws fewer, “--all” every one")
    text = written(drawing, form)
    if output is None:
        data(text.encode("utf-8", "backslashreplace").decode("utf-8"))
    else:
        with open(output, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text + "\n")
    return 0


def _form(form: str | None, output: str | None) -> str:
    from buildflow.drawing_formats import SUFFIXES
    from buildflow.errors import FlowError

    if form is not None or output is None:
        return form or "dot"
    found = SUFFIXES.get(output.rpartition(".")[2].lower())
    if found is None:
        raise FlowError(
            f"the name {output} does not say how to draw", None,
            "it ends in .dot, .mmd, .svg or .json; or say it with --format (a PDF: bflow graph | dot -Tpdf)",
        )  # fmt: skip
    return found
