"""The group of all commands, and the one place where errors are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from buildflow.errors import FlowError

COMMANDS = {
    "build": "Build targets.",
    "list": "Show the rules, what they make and their help.",
    "log": "Show the output of the job that makes a target.",
    "why": "Say why a target would run, or ran.",
    "clean": "Remove what bflow made.",
    "cache": "Look at the cache and check it.",
    "watch": "Rebuild what changes affect.",
}


class Lazy(click.Group):
    """Imports the file of a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = import_module(f"buildflow.cli.{name}_command")
        found: click.Command = module.command
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from buildflow.near import did_you_mean

            hint = did_you_mean(args[0], COMMANDS) if args else None
            error.message = f"there is no command “{args[0]}”" + (
                f": {hint}" if hint else f"; to build it: bflow build {args[0]}"
            )
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-C", "--directory", metavar="DIR", multiple=True, help="Go to DIR first, as make does.")
@click.option("-f", "--file", "flowfile", metavar="FILE", help="Read FILE; the root is then the current folder.")
@click.version_option(package_name="buildflow", prog_name="bflow", message="%(prog)s %(version)s")
@click.pass_context
def group(ctx: click.Context, directory: tuple[str, ...], flowfile: str | None) -> None:
    """bflow builds files from rules, and runs nothing again unless a hash changed.

    \b
    bflow build                  build the default target of ./Flowfile
    bflow build out/a.txt -j 4   build one file, four jobs at once
    bflow list                   what the rules make
    """
    for folder in directory:
        try:
            os.chdir(folder)
        except OSError as error:
            raise FlowError(f"cannot go to {folder}: {error.strerror}") from None
    ctx.obj = {"flowfile": flowfile}


def run(arguments: Sequence[str]) -> int:
    """Run a command line; its exit status. Errors that a user can mend are printed here and nowhere else."""
    try:
        status = group.main(args=list(arguments), prog_name="bflow", standalone_mode=False)
    except FlowError as error:
        _print(error.show())
        return error.exit_status
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.format_message())
        return 0
    except click.ClickException as error:
        usage = (
            f" ({error.ctx.command_path} --help shows the options)"
            if isinstance(error, click.UsageError) and error.ctx
            else ""
        )
        _print(f"bflow: {error.format_message()}{usage}")
        return 2
    except click.Abort:
        return 130
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _silence_stdout()
        return 1
    except OSError as error:
        import errno

        if error.errno == errno.ENOSPC:
            _print(
                f"bflow: the disk is full ({error.filename or 'while writing'}); make room and build again, nothing is lost"
            )
            return 1
        where = f" ({error.filename})" if error.filename else ""
        _print(f"bflow: {error.strerror or error}{where}")
        return 1
    except RecursionError:
        _print("bflow: a name, pattern or rule is nested too deeply")
        return 2
    return status if isinstance(status, int) else 0


def _print(text: str) -> None:
    sys.stderr.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")


def _silence_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
