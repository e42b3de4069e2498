"""What the shells ask while a word is typed: click's shell completion, with the targets, rules and names of a project.

Only imported where a shell asks (`_BFLOW_COMPLETE`) and for `bflow completion`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    add_completion_class,
)

VARIABLE = "_BFLOW_COMPLETE"


if TYPE_CHECKING:
    _Type = click.ParamType[str]
else:
    _Type = click.ParamType  # generic from click 8.4 on


class Asked(_Type):
    """A parameter whose values the project knows: `of` is targets, rules or one of `_FIXED`."""

    name = "text"

    def __init__(self, of: str) -> None:
        self.of = of

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if self.of == "targets":
            return [CompletionItem(word) for word in _targets(ctx, incomplete)]
        if self.of == "rules":
            known = _known(ctx)
            words: Any = [*known[0].rules, *known[0].files] if known is not None else ()
        else:
            words = _fixed(self.of)
        return [CompletionItem(word) for word in words if word.startswith(incomplete)]


_OF = {
    "words": "targets", "rerun": "rules", "until": "rules", "env": "environments", "default_env": "environments",
    "worker": "workers",
}  # fmt: skip
_FOLDERS = ("cache_root", "readonly_cache", "directory")
_FILES = ("flowfile", "output")


def prepare(command: click.Command) -> None:
    """Give the parameters of a command (and of those below it) the types that complete."""
    for param in command.params:
        if param.name in _OF:
            param.type = Asked(_OF[param.name])
        elif param.name in _FOLDERS:
            param.type = click.Path(file_okay=False)
        elif param.name in _FILES:
            param.type = click.Path()
    for below in getattr(command, "commands", {}).values():
        prepare(below)


def _fixed(of: str) -> list[str]:
    if of == "environments":
        from buildflow.environments.registry import KNOWN

        return [name if name == "native" else f"{name}://" for name in KNOWN]
    from buildflow.workers.names import KNOWN as WORKERS

    return list(WORKERS)


def _known(ctx: click.Context) -> Any:
    """What the project knows, and the current folder from its root; None where there is none."""
    from buildflow.cli.project import find
    from buildflow.errors import FlowError
    from buildflow.suggest import known

    above = ctx.find_root().params
    for folder in above.get("directory") or ():
        try:
            os.chdir(folder)
        except OSError:
            return None
    try:
        flowfile, root = find(above.get("flowfile"))
    except FlowError:
        return None
    return known(flowfile, root), os.path.relpath(os.getcwd(), root)


def _targets(ctx: click.Context, word: str) -> list[str]:
    from buildflow.suggest import from_here, steps

    found = _known(ctx)
    if found is None:
        return []
    known, here = found
    words = [*known.goals, *from_here(known.files, here)]
    if ctx.info_name not in ("log", "shell") and word and "/" not in word:
        words += [f"{name}=" for name in known.names]
    return steps(words, word)


# ---- the scripts -----------------------------------------------------------------------------------------------


class _Bash(BashComplete):
    """As click's, but names with blanks or stars stay one word, and a folder or `NAME=` is gone on with."""

    source_template = """\
%(complete_func)s() {
    local type value response
    response=$(env COMP_WORDS="$(printf '%%s\\n' "${COMP_WORDS[@]}")" COMP_CWORD=$COMP_CWORD \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
    COMPREPLY=()
    while IFS=',' read -r type value; do
        if [[ $type == dir ]]; then
            compopt -o dirnames
        elif [[ $type == file ]]; then
            compopt -o default
        elif [[ $type == plain ]]; then
            [[ $value == */ || $value == *= ]] && compopt -o nospace
            [[ $value == *[![:alnum:]_./=+,@%%:-]* ]] && value=$(printf '%%q' "$value")
            COMPREPLY+=("$value")
        fi
    done <<< "$response"
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class _Zsh(ZshComplete):
    """As click's, but a folder or `NAME=` is gone on with."""

    source_template = ZshComplete.source_template.replace(
        "        compadd -U -V unsorted -a completions\n",
        "        local -a open closed\n"
        "        open=(${(M)completions:#*[/=]})\n"
        "        closed=(${completions:#*[/=]})\n"
        "        (( $#open )) && compadd -U -S '' -V unsorted -a open\n"
        "        (( $#closed )) && compadd -U -V unsorted -a closed\n",
    )


class _Fish(FishComplete):
    """As click's of all versions: one line a completion, `type,value`."""

    source_template = """\
function %(complete_func)s
    for line in (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp | string collect) \\
            COMP_CWORD=(commandline -t | string collect) %(prog_name)s 2>/dev/null)
        set -l found (string split -m 1 "," -- $line)
        switch $found[1]
            case dir
                __fish_complete_directories (commandline -t)
            case file
                __fish_complete_path (commandline -t)
            case plain
                echo $found[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value}"


_SHELLS: dict[str, type[ShellComplete]] = {"bash": _Bash, "zsh": _Zsh, "fish": _Fish}


def answer() -> None:
    """Let click answer a shell in our words, not its own."""
    for completer in _SHELLS.values():
        add_completion_class(completer)


def script(shell: str, group: click.Command) -> str:
    """The script that teaches a shell to complete `bflow`."""
    completer = _SHELLS[shell](group, {}, "bflow", VARIABLE)
    return completer.source_template % completer.source_vars()
