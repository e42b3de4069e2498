"""What a failed job probably lacked: files that it names and nobody declared, links that its tool stumbled over."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from buildflow.job import Job
from buildflow.lazy import regex

MOST = 6
"""Hints that are given of one job."""

_WORD = regex(r"[\w./@%+,=-]*[\w@%+-]")
_QUOTED = regex(r"'([^'\n]+)'|\"([^\"\n]+)\"|‘([^’\n]+)’|`([^'`\n]+)['`]")
_MODULE = regex(r"No module named '?([\w.]+)'?")
_LINK = regex(r"symbolic link|symlink|Too many levels|is a link|not a regular file", re.IGNORECASE)
_MISSING = regex(r"no such|not found|cannot|can't|does not exist|unable|missing", re.IGNORECASE)
_VARIABLE = regex(
    r"\b([A-Za-z_]\w*): (?:unbound variable|parameter (?:not set|null or not set))|KeyError: '([A-Za-z_]\w*)'"
    r"|\b([A-Z][A-Z0-9_]{2,})\b[^\n]{0,40}\b(?:not set|unset|not defined|undefined|missing|required)"
)


_COMMAND = regex(r"(?:^|: )([A-Za-z_][A-Za-z0-9_]*): (?:command )?not found", re.MULTILINE)


def hints(job: Job, log: str, root: str, sandbox: str, env: Mapping[str, str], linked: bool) -> list[str]:
    """Sentences for the last screen, from a job's log and recipe. `linked`: whether an input was staged as a link."""
    log = log[-200_000:].replace(f"{sandbox}/", "")
    found = [
        f"{name} exists in the project and is no input of this rule: declare it (it was not in the sandbox)"
        for name in _undeclared(job, log, root, sandbox)
    ]
    for groups in dict.fromkeys(_VARIABLE.findall(log)):
        name = "".join(groups)
        if name in os.environ and name not in env:
            found.append(
                f"the variable {name} is set in your shell and not passed on: write [vars = {name}] above the rule"
            )
    for name in dict.fromkeys(_COMMAND.findall(log)):
        if name in job.scope.definitions:
            found.append(f"{name} is a name of the Flowfile: in a recipe it is written {{{name}}}, not $({name})")
    if linked and _LINK.search(log):
        found.append("the tool may have stumbled over a link: [stage = copy] stages real files")
    return found[:MOST]


def _undeclared(job: Job, log: str, root: str, sandbox: str) -> Iterator[str]:
    """Files of the project that the log or the recipe names and that were not in the sandbox; folders too, where the
    log says that they are missing."""
    known = {*job.inputs, *job.after, *job.extra, *job.outputs}
    folders = tuple(name for name in known if name.endswith("/"))
    recipe = job.rule.recipe
    flowfile = job.rule.span.source.name if job.rule.span is not None else None  # a traceback names it
    missing = "\n".join(line for line in log.split("\n") if _MISSING.search(line))
    for name in _candidates(log, recipe.text if recipe is not None else ""):
        if name in known or name == flowfile or name.startswith(folders) or ".." in name.split("/"):
            continue
        if os.path.lexists(f"{sandbox}/{name}"):
            continue
        if os.path.isfile(f"{root}/{name}"):
            yield name
        elif name in missing and os.path.isdir(f"{root}/{name}"):
            yield name.rstrip("/") + "/"


def _candidates(log: str, recipe: str, most: int = 5000) -> Iterator[str]:
    """Words that may be names of files, each once, those of the log first."""
    seen: set[str] = set()
    for name in _names(log, recipe):
        name = name.removeprefix("./").rstrip(".,:;")
        if name and name not in seen and not name.startswith(("/", ".bflow", "-")):
            seen.add(name)
            yield name
            if len(seen) > most:
                return


def _names(log: str, recipe: str) -> Iterator[str]:
    for groups in _QUOTED.findall(log):
        yield "".join(groups)
    for module in _MODULE.findall(log):
        path = module.replace(".", "/")
        yield from (f"{path}.py", f"{path}/__init__.py")
    for text in (log, recipe):
        for word in _WORD.findall(text):
            word = word.lstrip("=,")
            for part in (word, word.rpartition("=")[2], word.rpartition(",")[2]):
                if text is log or "/" in part or "." in part:
                    yield part
