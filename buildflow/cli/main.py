"""The group of all commands."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from buildflow import __version__
from buildflow.cli.guard import guarded, say
from buildflow.errors import FlowError

COMMANDS = {
    "build": "Build targets.",
    "watch": "Rebuild what changes affect.",
    "list": "Show the rules, what they make and their help.",
    "why": "Say why targets would run, or that they are up to date.",
    "log": "Show what the job of a target printed.",
    "graph": "Draw the jobs and what they need.",
    "shell": "Open a shell where a target's job ran.",
    "clean": "Remove what bflow made.",
    "cache": "Look at the cache of results, check it, make room in it.",
    "adopt": "Take files that another tool made as results.",
    "report": "Write a page about a build: graph, times, resources.",
    "provenance": "Export the history of a file.",
    "doctor": "Check that this machine has what the rules need.",
    "init": "Write a first Flowfile.",
    "completion": "Print the completion script of a shell.",
}


class Lazy(click.Group):
    """Imports the file of a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        folder = os.path.dirname(__file__)
        return [name for name in COMMANDS if os.path.exists(f"{folder}/{name}_command.py")]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.list_commands(ctx):
            return None
        module = import_module(f"buildflow.cli.{name}_command")
        found: click.Command = module.command
        if "_BFLOW_COMPLETE" in os.environ:
            from buildflow.cli.completing import prepare

            prepare(found)
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        word = args[0] if args else ""
        if self.get_command(ctx, word) is None and not word.startswith("-"):
            from buildflow.near import did_you_mean

            hint = did_you_mean(word, self.list_commands(ctx))
            raise click.UsageError(
                f"there is no command “{word}”; " + (hint or f"to build a target of that name: bflow build {word}"), ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name]) for name in self.list_commands(ctx)])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("-C", "--directory", metavar="DIR", multiple=True, help="Go to DIR first, as make does.")
@click.option("-f", "--file", "flowfile", metavar="FILE", help="Read FILE; the root is then the current folder.")
@click.version_option(__version__, prog_name="bflow", message="%(prog)s %(version)s")
@click.pass_context
def group(ctx: click.Context, directory: tuple[str, ...], flowfile: str | None) -> None:
    """bflow builds files from rules, and runs nothing again unless a hash changed.

    \b
    bflow build                  build the default target of ./Flowfile
    bflow build out/a.txt -j 4   build one file, four jobs at once
    bflow list                   what the rules make
    bflow why out/a.txt          why a file would be made again
    """
    for folder in directory:
        try:
            os.chdir(folder)
        except OSError as error:
            raise FlowError(f"cannot go to {folder}: {error.strerror}") from None
    ctx.obj = {"flowfile": flowfile}


def run(arguments: Sequence[str]) -> int:
    """Run a command line; its exit status."""
    if "_BFLOW_COMPLETE" in os.environ:
        from buildflow.cli.completing import answer, prepare

        answer()
        prepare(group)
    return guarded(lambda: _click(arguments))


def _click(arguments: Sequence[str]) -> Any:
    try:
        return group.main(args=list(arguments), prog_name="bflow", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.format_message())
        return 0
    except click.ClickException as error:
        say(_of_click(error))
        return 2
    except click.Abort:
        return 130


def _of_click(error: click.ClickException) -> str:
    """What is wrong with the words of the command line: one sentence, and where the right ones are listed."""
    text = error.format_message()
    if isinstance(error, click.NoSuchOption):
        from buildflow.near import did_you_mean

        known = [name for p in error.ctx.command.get_params(error.ctx) for name in p.opts] if error.ctx else []
        hint = did_you_mean(error.option_name, [name for name in known if name.startswith("--")])
        text = f"there is no option {error.option_name}" + (f"; {hint}" if hint else "")
    elif isinstance(error, click.UsageError) and text == "Missing command.":
        text = "a command is missing, as in: bflow build"
    else:
        text = text[:1].lower() + text[1:]
    lines = [f"bflow: {text}"]
    if isinstance(error, click.UsageError) and error.ctx is not None:
        lines.append(f"  “{error.ctx.command_path} --help” shows what there is")
    return "\n".join(lines)
