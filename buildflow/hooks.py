"""Functions and commands that run around each job, in the driver, for jobs that run (never for cached ones).

`pre_run(job)` before the cache directory is made, `pre_run_task(job)` once inputs are staged, `post_run_task(job,
result)` after the outputs are collected or the job failed (not yet committed), `post_run(job, result)` after the entry
is committed, or the job failed. They are not in the key.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from buildflow.errors import FlowError, Span
from buildflow.lazy import regex
from buildflow.records import Record
from buildflow.template import HOLE, Hole

if TYPE_CHECKING:
    from buildflow.attributes import Attribute
    from buildflow.recipe.fill import Filler

Hook = Callable[..., Any]
MOMENTS = ("pre_run", "pre_run_task", "post_run_task", "post_run")


class TaskHooks(Record):
    """The hooks of a build; each is None or a callable."""

    pre_run: Hook | None = None
    pre_run_task: Hook | None = None
    post_run_task: Hook | None = None
    post_run: Hook | None = None

    def __bool__(self) -> bool:
        return any((self.pre_run, self.pre_run_task, self.post_run_task, self.post_run))


class HookError(FlowError):
    """A hook that raised, or whose command failed."""

    exit_status = 1


class CommandHook:
    """A command of the Flowfile: its moment, its shell text with holes as in a recipe, and its place."""

    __slots__ = ("moment", "filler", "span")

    def __init__(self, moment: str, filler: Filler, span: Span | None) -> None:
        self.moment = moment
        self.filler = filler
        self.span = span

    def at(self, offset: int, length: int) -> Span | None:
        """The place of a hole: quoting hides where just it stands, so that of the hook."""
        return self.span


_LITERAL = regex(HOLE.pattern)


def parse_hooks(attribute: Attribute) -> list[CommandHook]:
    """The commands of `hooks = pre_run="cmd" post_run="cmd {out}"`. Raises FlowError for what is no such word."""
    from buildflow.near import did_you_mean
    from buildflow.recipe.fill import compile_recipe

    found = []
    for word in attribute.words:
        # a word's literal `{x}` was `{{x}}` as written, and is so in a shell text
        text = "".join(str(p) if isinstance(p, Hole) else _LITERAL.sub(r"{\g<0>}", p) for p in word.parts)
        moment, equals, command = text.partition("=")
        span = word.span or attribute.span
        if moment not in MOMENTS:
            hint = did_you_mean(moment, MOMENTS) or f'the moments: {" ".join(MOMENTS)}, as in post_run="notify {{out}}"'
            raise FlowError(f"hooks = {word.text}: a hook is written as moment=command", span, hint)
        if not equals or not command.strip():
            raise FlowError(f"the hook {moment} has no command", span, f'write {moment}="command"')
        found.append(CommandHook(moment, compile_recipe(command), span))
    return found


def call(name: str, hook: Hook, *arguments: Any) -> None:
    """Call a hook. Raises HookError with the hook's own message where it raises."""
    try:
        hook(*arguments)
    except Exception as error:
        text = error.message if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
        raise HookError(f"the hook {name} failed: {text}") from error


def run_command(name: str, command: str, cwd: str, env: dict[str, str], span: Span | None) -> None:
    """Run a hook of the Flowfile. Raises HookError where its status is not 0."""
    import subprocess

    done = subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # fmt: skip
    if done.returncode:
        tail = done.stdout.decode("utf-8", "replace").strip().splitlines()[-1:]
        said = f": {tail[0]}" if tail else ""
        raise HookError(f"the hook {name} failed with status {done.returncode}{said}", span)
