"""What a failed job probably lacked: files that it names and nobody declared, links that its tool stumbled over."""

from __future__ import annotations

import os
import re

from buildflow.job import Job

_WORD = re.compile(r"[\w./@%+,=-]*[\w@%+-]")
_LINK = re.compile(r"symbolic link|symlink|Too many levels|is a link", re.IGNORECASE)
_VARIABLE = re.compile(r"\b([A-Za-z_][A-Za-z0-9_]*): unbound variable")


def hints(job: Job, log: str, root: str, linked: bool, missing_output: bool = False) -> list[str]:
    """Sentences for the last screen, from a job's log and recipe."""
    found: list[str] = []
    known = {*job.inputs, *job.after, *job.extra, *job.outputs}
    folders = tuple(name for name in known if name.endswith("/"))
    recipe = job.rule.recipe
    text = log[-200_000:] + "\n" + (recipe.text if recipe is not None else "")
    seen: set[str] = set()
    for word in _WORD.findall(text):
        word = word.lstrip("=,").removeprefix("./").rstrip(".,:")
        for part in {word, word.rpartition("=")[2], word.rpartition(",")[2]}:
            if not part or part in seen or part in known or part.startswith(("/", ".bflow", "-")):
                continue
            seen.add(part)
            if len(seen) > 5000:
                break
            if part.startswith(folders) if folders else False:
                continue
            if "/" not in part and "." not in part and part not in log:
                continue
            if os.path.isfile(f"{root}/{part}") and ".." not in part.split("/"):
                found.append(
                    f"{part} exists in the project and is no input of this rule: declare it (it was not in the sandbox)"
                )
    for name in dict.fromkeys(_VARIABLE.findall(log)):
        if name in os.environ:
            found.append(
                f"the variable {name} is set in your shell and not passed on: write [vars = {name}] above the rule"
            )
    if linked and _LINK.search(log):
        found.append("the tool may have stumbled over a link: [stage = copy] stages real files")
    return found[:6]
