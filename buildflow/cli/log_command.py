"""`bflow log`: what the job that makes a target printed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from buildflow.cli.common import cache_options, data, file_data, note, opened
from buildflow.cli.project import load

if TYPE_CHECKING:
    from buildflow.history import History
    from buildflow.targets import Asked


@click.command("log")
@click.argument("words", nargs=-1, required=True, metavar="TARGET... [NAME=VALUE]...")
@click.option("--path", "only_path", is_flag=True, help="Print the path of the log and nothing else.")
@cache_options
@click.pass_obj
def command(obj: dict[str, Any], /, words: tuple[str, ...], only_path: bool, **given: Any) -> int:
    """Show what the job that makes TARGET printed: at its last try if that failed, else when its result was made.

    \b
    bflow log out/a.txt                  read it
    less $(bflow log --path out/a.txt)   with a pager
    """
    from buildflow.cli.making import merged
    from buildflow.errors import FlowError
    from buildflow.history import History
    from buildflow.targets import asked

    project = load(obj.get("flowfile"), words)
    if not project.targets:
        raise FlowError("whose log? a target is missing", None, "as in: bflow log out/a.txt")
    with opened(project.builder, merged(project.builder.root, given, project.builder.reads)) as session:
        jobs = list({tuple(job.outputs): job for job in asked(session, project.targets)}.values())
        history = History(session)
        shown = 0
        for number, job in enumerate(jobs):
            try:
                shown += _show(history, job, only_path, first=not number)
            except FlowError as error:
                if len(jobs) == 1:
                    raise
                note(error.show())
    if jobs and not shown:
        raise FlowError("there is no log of any of these")
    if not jobs:
        raise FlowError(
            f"there are no jobs for {' '.join(project.targets)} yet", None, "build what decides on them first"
        )
    return 0


def _show(history: History, job: Asked, only_path: bool, *, first: bool) -> bool:
    """Show one log. Raises FlowError where there is none."""
    path, what = find(history, job)
    if path is None:
        note(f"bflow: {what}")
        return True
    if only_path:
        data(path)
        return True
    shown = os.path.relpath(path)
    note(f"{'' if first else chr(10)}{what} ({shown if len(shown) < len(path) else path}):")
    file_data(path)
    return True


def find(history: History, job: Asked) -> tuple[str | None, str]:
    """The path of a job's log and what it is; no path where nothing was printed. Raises FlowError for no log at all."""
    from buildflow.errors import FlowError

    target = job.file
    if job.kind == "source":
        raise FlowError(f"{target} is a source: no job makes it, so there is no log")
    if job.kind in ("phony", "inplace"):
        raise FlowError(f"{target} is {job.kind}: its output goes to the terminal, and no log is kept")
    last = history.last(job.outputs)
    failed = history.failed(job.outputs, last)
    if failed is not None:
        if failed.log is None or not os.path.getsize(failed.log):
            return None, f"the last try of {target} failed, and printed nothing"
        return failed.log, f"the last try of {target}, which failed"
    if last is None:
        raise FlowError(f"{target} was never made here, so there is no log", None, f"bflow build {target}")
    if last.entry is None:
        raise FlowError(
            f"the result of {target} is gone from the cache, and its log with it",
            None,
            f"“bflow build -B {target}” makes it again",
        )
    if last.log is None and last.entry.result.get("adopted"):
        return None, f"{target} was made by another tool and adopted: there is no log of it"
    if last.log is None:
        return None, f"the job that made {target} printed nothing"
    return last.log, f"the job that made {target}"
