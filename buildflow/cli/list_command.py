"""`bflow list`: the rules, what they make and their help."""

from __future__ import annotations

from typing import Any

import click

from buildflow.cli.common import Colours, as_json, cache_options, data, note, opened
from buildflow.cli.project import load


@click.command("list")
@click.argument("words", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--targets", is_flag=True, help="Print every target that stands for one file or goal, one a line.")
@click.option("--json", "json", is_flag=True, help="Print the rules as JSON.")
@cache_options
@click.pass_obj
def command(obj: dict[str, Any], /, words: tuple[str, ...], targets: bool, json: bool, **given: Any) -> int:
    """Show the rules: their targets as written, their help (“##” above a rule) and what they ask for.

    \b
    bflow list                 all rules, by file
    bflow list --targets       every target that can be named, for scripts
    """
    from buildflow.catalog import finite_targets, rules_of
    from buildflow.errors import FlowError

    project = load(obj.get("flowfile"), words)
    if project.targets:
        raise FlowError(
            f"bflow list takes no target ({project.targets[0]})", None, "“bflow why TARGET” tells of one target"
        )
    if not targets:
        rules = rules_of(project.builder)
        if json:
            as_json(rules)
        else:
            show(rules)
        return 0
    from buildflow.cli.making import merged
    from buildflow.dry import Settled
    from buildflow.plan.resolve import Resolver

    with opened(project.builder, merged(project.builder.root, given, project.builder.reads)) as session:
        settled = Settled(session, Resolver(project.builder, session.disk))
        found = finite_targets(project.builder, settled)
    if json:
        as_json(found)
    elif found:
        data("\n".join(found))
    for path in settled.unknown:
        note(f"bflow: more targets are known once {path} is made")
    return 0


def show(rules: list[dict[str, Any]]) -> None:
    """The rules for people, grouped by file."""
    from buildflow.catalog import shown_attributes

    colours = Colours()
    file = None
    for rule in rules:
        if rule["file"] != file:
            if file is not None:
                data("")
            file = rule["file"]
            data(f"{colours.dim}{file}{colours.off}")
        marks = [mark for mark in ("default", "phony", "alias") if rule.get(mark) or rule["kind"] == mark]
        if rule["kind"] == "alias" and rule["inputs"]:
            marks[-1] = "alias of " + _shortened(rule["inputs"])
        marks += shown_attributes(rule)
        ending = f"  {colours.dim}[{', '.join(marks)}]{colours.off}" if marks else ""
        data(f"  {colours.bold}{' '.join(rule['targets'])}{colours.off}{ending}")
        for line in rule["help"].splitlines():
            data(f"      {line}")
    if not rules:
        note("bflow: there are no rules")


def _shortened(words: list[str], most: int = 60) -> str:
    shown: list[str] = []
    for word in words:
        if shown and sum(map(len, shown)) + len(word) > most:
            return " ".join([*shown, "…"])
        shown.append(word)
    return " ".join(shown)
