"""Finding and loading the project that a command is about."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Sequence

from buildflow.builder import Builder
from buildflow.errors import FlowError
from buildflow.flow import FLOWFILES, Flow
from buildflow.lazy import regex

_OVERRIDE = regex(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


class Project:
    """A loaded project: its builder, the targets asked for (from the root) and the folder the words came from."""

    def __init__(self, builder: Builder, targets: list[str], here: str) -> None:
        self.builder = builder
        self.targets = targets
        self.here = here


def find(flowfile: str | None) -> tuple[str, str]:
    """The Flowfile (absolute) and the root: with `-f` the current folder, else the folder upward that has one."""
    if flowfile is not None:
        path = os.path.abspath(flowfile)
        if not os.path.exists(path):
            raise FlowError(f"there is no file {flowfile}")
        return path, os.getcwd()
    folder = os.getcwd()
    while True:
        for name in FLOWFILES:
            path = os.path.join(folder, name)
            if os.path.lexists(path):
                return path, folder
        above = os.path.dirname(folder)
        if above == folder:
            hint = "go to its folder, name it with -f, or begin one: “bflow init” writes a first one for what is here"
            if os.path.exists("Makefile") or os.path.exists("makefile"):
                hint += "\na Makefile is there: most rules can stay as they are, with {in} for $^ and {out} for $@"
            elif os.path.exists("Snakefile"):
                hint += "\na Snakefile is there: “rule x: input: a output: b shell: c” is “b: a” with c below, indented"
            raise FlowError("there is no Flowfile here or in any folder above", None, hint)
        folder = above


def load(flowfile: str | None, words: Sequence[str], found: tuple[str, str] | None = None) -> Project:
    """Load the project; `words` of the command line are targets and `NAME=VALUE` of assigned names.

    `found`: what `find` gave, for who loads it again and again.
    """
    path, root = found or find(flowfile)
    candidates: dict[str, str] = {}
    for word in words:
        match = _OVERRIDE.fullmatch(word)
        if match is not None:
            candidates[match.group(1)] = match.group(2)
    with contextlib.redirect_stdout(sys.stderr):  # what a Flowfile.py prints is no data
        flow = Flow.load(path, root=root, overrides=candidates)
    unknown = set(flow.unused_overrides())
    here = os.path.relpath(os.getcwd(), flow.root)
    targets: list[str] = []
    for word in words:
        match = _OVERRIDE.fullmatch(word)
        if match is None or match.group(1) in unknown:
            targets.append(target(flow, word, here))
    return Project(flow, targets, here)


def target(builder: Builder, word: str, here: str) -> str:
    """A word of the command line as a goal: an alias or phony is that, else a path from the current folder.

    `here`: that folder, from the root.
    """
    if not word:
        raise FlowError("an empty word is no target")
    if os.path.isabs(word):
        return _from_root(builder.root, word)
    if here in (".", "") or _is_name(builder, word):
        return word
    joined = os.path.normpath(os.path.join(here, word))
    folder = word.endswith("/") or word.rpartition("/")[2] in (".", "..")
    return joined + "/" if folder else joined


def _from_root(root: str, word: str) -> str:
    """An absolute path as the project names it: inside from the root, also where a link leads to the root."""
    place = os.path.realpath(os.path.dirname(word.rstrip("/")))
    for path in (word, os.path.join(place, os.path.basename(word.rstrip("/")))):
        relative = os.path.relpath(path, root)
        if relative != ".." and not relative.startswith("../"):
            return relative + "/" if word.endswith("/") else relative
    return word


def _is_name(builder: Builder, word: str) -> bool:
    """Whether a word is an alias or a phony target, or an instance of such a pattern."""
    from buildflow.plan.matcher import in_domains, targets_of
    from buildflow.world import DiskWorld

    for scope in builder.scopes:
        if scope.world is None:
            scope.world = DiskWorld(builder.reads)
    for rule in builder.rules:
        if rule.makes and not rule.phony:
            continue
        for target in targets_of(rule):
            text = "".join(map(str, target.parts))
            if word == text:
                return True
            if target.exact is None and "{" not in word:
                bound = target.pattern.first(word)
                if bound is not None and in_domains(rule.scope, target.names, bound):
                    return True
    return False
