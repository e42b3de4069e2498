"""`bflow completion`: the script that teaches a shell to complete targets, rules, names and options."""

from __future__ import annotations

import click

from buildflow.cli.common import data


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the script that teaches SHELL to complete commands, options, targets, rules and names.

    \b
    eval "$(bflow completion bash)"     for this shell; in ~/.bashrc for each
    eval "$(bflow completion zsh)"      likewise in ~/.zshrc, after compinit
    bflow completion fish > ~/.config/fish/completions/bflow.fish
    """
    from buildflow.cli.completing import script
    from buildflow.cli.main import group

    data(script(shell, group).rstrip("\n"))
    return 0
