"""Writes commands.md from what `--help` says: `python docs/commands.py > docs/commands.md`, with bflow installed.

A test fails where the page is not what this writes.
"""

from __future__ import annotations

import inspect
import sys

import click

from buildflow.cli.main import group

HEAD = """\
# Commands

`bflow [-C DIR] [-f FILE] COMMAND …`. What `bflow COMMAND --help` says, on one page.

**Words.** `TARGET` is a path from the current folder, an alias or a phony, or a pattern in quotes
(`'out/{subject}.mif'`). `NAME=VALUE` gives an assigned name another value; a word whose left side is no such name is
a target. The Flowfile is looked for in the current folder and those above it; `-C` and `-f` stand before the command.

**Exit status.** 0: built, or nothing to do. 1: a job failed (with `--check`: something would run). 2: the command line,
the Flowfile or a target is wrong, and nothing ran. 130: interrupted.

**Output.** Data goes to stdout, all else to stderr. `--json` prints one event a line:
`{"event": "start", …}`, `{"event": "job", "state": "ran", "rule": …, "targets": […], "cache_dir": …}` (`state` is
`ran`, `cached`, `failed` or `skipped`), and at the end
`{"event": "build", "ok": true, "ran": 3, "cached": 10, "up_to_date": 87, "failed": 0, "skipped": 0, "seconds": 1.2}`.

Most options have a setting, so that they need not be typed: [settings](settings.md).
"""


def main() -> None:
    context = click.Context(group, info_name="bflow")
    print(HEAD)
    print(options(group, context))
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        write(command, click.Context(command, info_name=name, parent=context))


def write(command: click.Command, context: click.Context) -> None:
    """A section: how it is called, its help, its options; those of its commands."""
    usage = " ".join(command.collect_usage_pieces(context))
    print(f"\n## {context.command_path}\n\n`{context.command_path} {usage}`\n")
    print(help_of(command))
    listed = options(command, context)
    if listed:
        print(f"\n{listed}")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            write(inner, click.Context(inner, info_name=name, parent=context))


def help_of(command: click.Command) -> str:
    """The help in Markdown; what stands as it is (after `\\b`) is a block."""
    parts = []
    for part in inspect.cleandoc(command.help or "").split("\n\n"):
        if part.startswith("\b\n"):
            parts.append(f"```sh\n{part[2:]}\n```")
        else:
            parts.append(" ".join(part.split()).replace("“", "`").replace("”", "`"))
    return "\n\n".join(parts)


def options(command: click.Command, context: click.Context) -> str:
    """A table of the options."""
    rows = []
    for option in command.get_params(context):
        if isinstance(option, click.Option) and not option.hidden and "--help" not in option.opts:
            names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len))
            value = "" if option.is_flag else " " + shown(option, context)
            rows.append(f"| {names}{value} | {option.help} |")
    return "\n".join(["| | |", "|---|---|", *rows]) if rows else ""


def shown(option: click.Option, context: click.Context) -> str:
    """How an option's value is called."""
    if isinstance(option.type, click.Choice):
        return " or ".join(f"`{choice}`" for choice in option.type.choices)
    return f"`{option.metavar or option.type.name.upper()}`"


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    main()
