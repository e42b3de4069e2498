"""Depfiles: what a compiler says that it read, in make's syntax."""

from __future__ import annotations

import os
from collections.abc import Collection

from buildflow.errors import BuildError


def parse_depfile(text: str) -> list[str]:
    """The prerequisites of all its rules, each once, in order. Raises BuildError where it is no depfile."""
    found: dict[str, None] = {}
    word: list[str] = []
    words: list[str] = []
    side = 0  # 0: targets, 1: prerequisites
    i, n = 0, len(text)

    def finish() -> None:
        if word:
            words.append("".join(word))
            word.clear()

    def end_of_rule() -> None:
        nonlocal side
        finish()
        if side == 0 and words:
            raise BuildError("the depfile is not in make's syntax (a line without a “:”)")
        for name in words if side else ():
            found.setdefault(name)
        words.clear()
        side = 0

    while i < n:
        c = text[i]
        if c == "\\" and i + 1 < n:
            after = text[i + 1]
            if after == "\n":
                finish()
                i += 2
                continue
            if after == "\r" and text[i + 2 : i + 3] == "\n":
                finish()
                i += 3
                continue
            if after in " #\\:":
                if after == "\\" and text[i + 2 : i + 3] not in (" ", "#"):
                    word.append("\\")
                    i += 1
                    continue
                word.append(after)
                i += 2
                continue
            word.append(c)
            i += 1
            continue
        if c == "$" and text[i + 1 : i + 2] == "$":
            word.append("$")
            i += 2
            continue
        if c == "\n":
            end_of_rule()
        elif c in " \t\r":
            finish()
        elif c == ":" and side == 0 and (i + 1 == n or text[i + 1] in " \t\r\n\\"):
            finish()
            words.clear()
            side = 1
        else:
            word.append(c)
        i += 1
    end_of_rule()
    return list(found)


def project_names(names: list[str], sandbox: str, staged: Collection[str]) -> tuple[list[str], list[str]]:
    """Those of the names that are inputs (as staged), and those outside the sandbox (absolute). Others the job made."""
    inside: dict[str, None] = {}
    outside: dict[str, None] = {}
    real = os.path.realpath(sandbox)
    for name in names:
        path = os.path.normpath(os.path.join(sandbox, name))
        for root in (sandbox, real):
            if path.startswith(root + "/"):
                name = path[len(root) + 1 :]
                if name in staged:
                    inside.setdefault(name)
                break
        else:
            outside.setdefault(path)
    return list(inside), list(outside)
