"""What Make and Snakemake users type by habit, refused with the Flowfile's form instead of taken for something else.

Only texts are looked at here. Where a refusal needs to know more (is the name assigned?) the caller asks first.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from typing import Union

from buildflow.errors import FlowError, Span
from buildflow.lang.statements import RecipeText
from buildflow.lazy import regex
from buildflow.recipe.heredocs import Heredoc, HeredocScanner, ends
from buildflow.template import Hole

Place = Callable[[int, int], Union[Span, None]]

_FIRST = regex(r"[-.&]?[A-Za-z_][A-Za-z0-9_]*")

# A line that begins with one of these words, more text behind it.
_MAKE_WORDS = {
    "export": "write `[vars = NAME]` above a rule, or `[defaults: vars = NAME]`: the jobs see the variable NAME",
    "unexport": "jobs see only the variables that `[vars = NAME]` or `[pass = NAME]` lists",
    "define": "a value is `NAME = words…`; a recipe stands indented below its rule",
    "endef": "a value is `NAME = words…`; a recipe stands indented below its rule",
    "undefine": "leave the assignment out",
    "override": "write `NAME = value`; what the command line says of a name always wins",
    "private": "write `NAME = value`",
    "ifeq": "rows are the conditional: `os = shell(uname -s)`, then `(os, LIBS) = Linux -lrt, Darwin -lc++`",
    "ifneq": "rows are the conditional: `os = shell(uname -s)`, then `(os, LIBS) = Linux -lrt, Darwin -lc++`",
    "ifdef": "`NAME ?= value` is a default; rows are the conditional: `(os, LIBS) = Linux -lrt, Darwin -lc++`",
    "ifndef": "`NAME ?= value` assigns unless the command line or the environment says otherwise",
    "else": "rows are the conditional: `(os, LIBS) = Linux -lrt, Darwin -lc++` after `os = shell(uname -s)`",
    "endif": "rows are the conditional: `(os, LIBS) = Linux -lrt, Darwin -lc++` after `os = shell(uname -s)`",
    "vpath": "write the folder in the rule: `{name}.o: src/{name}.c`",
    "-include": 'write `include? "file.flow"`',
    "sinclude": 'write `include? "file.flow"`',
}

_SPECIAL_TARGETS = {
    ".PHONY": "write `[phony]` on the line above the rule of {targets}",
    ".DEFAULT_GOAL": "write `[default]` on the line above the rule that `bflow build` makes",
    ".DEFAULT": "name the file, or a pattern that it matches: `{{name}}.txt: …`",
    ".SUFFIXES": "suffixes have no rules of their own: write `{{name}}.o: {{name}}.c`",
    ".PRECIOUS": "leave it out: files are kept unless their rule says `[temp]`",
    ".INTERMEDIATE": "write `[temp]` on the line above the rule of {targets}",
    ".SECONDARY": "leave it out: files are kept unless their rule says `[temp]`",
    ".SECONDEXPANSION": "leave it out: inputs may hold the names that the target bound",
    ".DELETE_ON_ERROR": "leave it out: what a failed job wrote never reaches the workspace",
    ".IGNORE": "end the command with `|| true` where its failure does not matter",
    ".SILENT": "leave it out: recipes are shown with `bflow build -v` only",
    ".ONESHELL": "leave it out: a recipe is always run whole",
    ".NOTPARALLEL": "run `bflow build -j1`",
    ".POSIX": "leave it out",
    ".EXPORT_ALL_VARIABLES": "list the variables that jobs see: `[defaults: vars = NAME]`",
    ".LOW_RESOLUTION_TIME": "leave it out: contents are compared, not times",
}

# `word:` in the first column, and in a shell recipe.
_DIRECTIVES = {
    "include": 'write `include "file.flow"` (a file of yours) or `include <library.flow>`',
    "configfile": "read each value where it is needed: `name = config(config.yaml, key)`",
    "container": "write `[defaults: env = docker://IMAGE]`",
    "workdir": "paths are relative to the project's root; `bflow -C DIR build` works elsewhere",
    "localrules": "write `[worker = cf]` on the line above each rule that is to run on this machine",
    "ruleorder": "an exact name beats a pattern; narrow a pattern's wildcard with `name ~ regex`",
    "envvars": "write `[defaults: vars = NAME]`: jobs see the variable, and its value is in their key",
    "wildcard_constraints": "write `name ~ regex` on a line of its own",
    "onsuccess": "write it after the command: `bflow build && …`; `[hooks = …]` runs beside each job",
    "onerror": "write it after the command: `bflow build || …`; `[hooks = …]` runs beside each job",
    "onstart": "write it before the command: `… && bflow build`; `[hooks = …]` runs beside each job",
    "input": "write the files in one line, `targets: inputs`, and the commands indented below it",
    "output": "write the files in one line, `targets: inputs`, and the commands indented below it",
    "shell": "write the files in one line, `targets: inputs`, and the commands indented below it",
}
_RULE_PARTS = "input output shell params threads resources wildcard_constraints conda envmodules wrapper".split()
_IN_RECIPE = regex(rf"^[ \t]*(?:{'|'.join(_RULE_PARTS)}):(?=[ \t]|$)", re.MULTILINE)

_SNAKEMAKE_CALLS = {
    "expand": "write the pattern itself, `out/{name}.txt`: in an input, a name that the target does not bind expands",
    "multiext": "write the alternatives: `name{.a,.b}`",
    "protected": "write the path alone: a hard-linked output is read-only by itself",
    "ancient": "write the path after a `|`: order-only inputs are built first and make nothing stale",
    "touch": "write the path alone, and `touch {out}` in the recipe; or `[phony]` above the rule",
    "directory": "a path that ends in `/` is a directory",
    "temp": "write the path alone, and `[temp]` on the line above the rule",
    "temporary": "write the path alone, and `[temp]` on the line above the rule",
    "unpack": "name the inputs: `name=path`",
    "pipe": "write the path alone, and `[temp]` on the line above the rule",
    "glob_wildcards": "write `name = glob(data/{name}.txt)` on a line of its own",
}
_CALL = regex(r"(?:[A-Za-z_][A-Za-z0-9_]*=)?([A-Za-z_]+)\(")

_MAKE_FUNCTIONS = {
    "wildcard": "a glob stands in an input as it is, `src/*.c`; its matches as a name: `name = glob(src/{name}.c)`",
    "shell": "write `NAME = shell(command)`",
    "patsubst": "with `name = glob(src/{name}.c)`, the word `{name}.o` stands for one file for each",
    "foreach": "a word that holds a name stands for one word for each of its values: `out/{name}.txt`",
}
_MAKE_CALL = regex(
    r"\$\((wildcard|shell|patsubst|foreach|subst|addprefix|addsuffix|filter-out|filter|sort|strip|call|eval|if|or|and"
    r"|notdir|dir|basename|suffix|firstword|lastword|wordlist|words|word|join|realpath|abspath|error|warning|info|origin"
    r")[ \t]"
)

_SNAKEMAKE_RULE = regex(r"(?:rule|checkpoint|module|subworkflow)[ \t]+\w+[ \t]*:|use[ \t]+rule[ \t]+[\w*][^:]*:")
_PYTHON_BLOCKS = frozenset("def class if elif for with".split())


def line(text: str, place: Place) -> None:
    """Refuse a line (its comment removed) for how it begins. Raises `FlowError`."""
    match = _FIRST.match(text)
    if match is None:
        return
    first = match.group()
    rest = text[match.end() :]
    after = rest.lstrip(" \t")
    if after.startswith("!="):
        raise FlowError(
            "`!=` is Make's", place(len(text) - len(after), 2), f"write `{first} = shell({after[2:].strip()})`"
        )
    if after.startswith(":::="):
        raise FlowError("`:::=` is Make's", place(len(text) - len(after), 4), f"write `{first} = value`")
    if first in _MAKE_WORDS and (not after or (after[0] not in ":=?+~" and (rest[0] in " \t("))):
        raise FlowError(f"`{first}` is Make's", place(0, len(first)), _MAKE_WORDS[first])
    if first in _SPECIAL_TARGETS and (after.startswith(":") or first == ".DEFAULT_GOAL"):
        targets = " and of ".join(f"`{target}`" for target in after.lstrip(":= \t").split()[:3]) or "each such target"
        raise FlowError(f"`{first}` is Make's", place(0, len(first)), _SPECIAL_TARGETS[first].format(targets=targets))
    if first in ("rule", "checkpoint", "subworkflow") or (first in ("use", "module") and rest[:1] in (" ", "\t")):
        _snakemake_rule(first, text, place)
    if first in _DIRECTIVES and after.startswith(":") and not after.startswith((":=", "::=", "://")):
        raise FlowError(f"`{first}:` is Snakemake's", place(0, len(first)), _DIRECTIVES[first])
    blocks = first in _PYTHON_BLOCKS and rest[:1] in (" ", "\t") and text.rstrip().endswith(":")
    imports = first in ("import", "from") and rest[:1] in (" ", "\t") and ":" not in text
    if blocks or imports:
        raise FlowError(
            f"`{first}` is Python", place(0, len(first)), "a Flowfile has no statements; Flowfile.py is for those"
        )


def _snakemake_rule(first: str, text: str, place: Place) -> None:
    match = _SNAKEMAKE_RULE.match(text)
    if match is None or (first in ("module", "use") and text[match.end() :].strip()):
        return
    if first == "checkpoint":
        hint = "write `targets: inputs`: a `glob()` over what a rule makes is evaluated once that is made"
    elif first in ("module", "subworkflow"):
        hint = 'write `include "file.flow"`, or `include <library.flow> NAME=VALUE` for a scope of its own'
    else:
        hint = "write the files in one line, `targets: inputs`, and the commands indented below it"
    raise FlowError(f"`{first} …:` is Snakemake's", place(0, match.end()), hint)


def colon(text: str, at: int, place: Place) -> None:
    """Refuse `::` and `&:` as the colon at `at` that makes a line a rule, and `goal: NAME = value` behind it."""
    if text[at - 1 : at] == ":" or text[at + 1 : at + 2] == ":":
        start = at - 1 if text[at - 1 : at] == ":" else at
        raise FlowError(
            "`::` rules are Make's",
            place(start, 2),
            "write one rule with `:`; rules without a recipe add up by themselves",
        )
    if text[at - 1 : at] == "&":
        raise FlowError(
            "`&:` is Make's", place(at - 1, 2), "write `:`: all targets of a rule are made together by one job anyway"
        )
    match = re.match(
        r"[ \t]*((?:export[ \t]+|override[ \t]+|private[ \t]+)*)([A-Za-z_][A-Za-z0-9_]*)"
        r"(?:[ \t]*(?::{1,3}=|\?=|\+=|!=)|[ \t]+=|=(?=[ \t]))",
        text[at + 1 :],
    )
    if match is not None or re.match(r"[ \t]*(?:export|override|private)[ \t]+\w+[ \t]*[:+?]*=", text[at + 1 :]):
        name = match.group(2) if match is not None else "NAME"
        raise FlowError(
            "a variable for one target is Make's",
            place(at, len(text) - at),
            f"give it values by name, `(target, {name}) = a 1, b 2`, or write the value in the rule's recipe",
        )


def rule_word(text: str, start: int, end: int, place: Place, *, target: bool) -> None:
    """Refuse one word of a rule's line, `text[start:end]` as written."""
    raw = text[start:end]
    if "%" in raw:
        bare = _unquoted(raw)
        if "%" in bare if target else re.search(r"%(?![0-9A-Fa-f]{2})", bare):
            raise FlowError(
                "`%` patterns are Make's",
                place(start, end - start),
                f"write a wildcard, `{bare.replace('%', '{name}', 1)}`; as text `%` is quoted: `\\%`",
            )
    if "(" in raw:
        call(text, start, place)
        make_function(raw, start, place)
    if ";" in raw and (raw[0] == ";" or raw[-1] == ";") and raw[-2:] != "\\;":
        raise FlowError(
            "a recipe behind a `;` is Make's",
            place(start, end - start),
            "write it indented on the lines below the rule",
        )
    if not target and raw[-1] == ":" and raw[-2:] != "\\:":
        raise FlowError(
            "a second `:` in a rule's line",
            place(end - 1, 1),
            f"static patterns are Make's: write `targets: inputs`; as a part of a name it is quoted: '{raw}'",
        )
    if not target and len(raw) > 1 and (raw[0] == "|" or (raw[-1] == "|" and raw[-2] != "\\")):
        raise FlowError(
            "order-only inputs begin after a `|` that stands alone",
            place(start, end - start),
            f"put white space around it; as a part of a name it is quoted: '{raw}'",
        )


def _unquoted(raw: str) -> str:
    """A word as written, without its quoted parts."""
    return re.sub(r"""\\.|'[^']*'|"[^"\\]*(?:\\.[^"\\]*)*\"""", "", raw, flags=re.DOTALL)


def call(text: str, start: int, place: Place) -> None:
    """Refuse Snakemake's `expand(…)` and its like as the word that begins at `start`."""
    match = _CALL.match(text, start)
    if match is None or match.group(1) not in _SNAKEMAKE_CALLS:
        return
    depth = 0
    for mark in re.compile(r"""'[^']*'|"[^"]*"|[()]""").finditer(text, match.end() - 1):
        depth += {"(": 1, ")": -1}.get(mark.group(), 0)
        if depth == 0:
            if text[mark.end() : mark.end() + 1] not in ("", " ", "\t", ",", ":"):
                return  # a file's name: `temp(1).txt`
            break
    name = match.group(1)
    raise FlowError(
        f"`{name}(…)` is Snakemake's", place(match.start(1), match.end() - match.start(1)), _SNAKEMAKE_CALLS[name]
    )


def make_function(raw: str, start: int, place: Place) -> None:
    """Refuse `$(wildcard …)` and its like in a word as written; its white space has ended the word already."""
    at = raw.find("$(")
    if at < 0 or "'" in raw[:at] or raw[at - 1 : at] == "\\":
        return
    match = _MAKE_CALL.match(raw[at:] + " ")
    if match is not None:
        name = match.group(1)
        raise FlowError(
            f"`$({name} …)` is Make's",
            place(start + at, len(name) + 2),
            _MAKE_FUNCTIONS.get(name, "the Flowfile's functions are glob, table, lines, config, env and shell"),
        )


def variable(written: str, name: str, span: Span | None) -> None:
    """Refuse `$(NAME)` and `${NAME}` of an assigned name."""
    raise FlowError(f"`{written}` is Make's", span, f"write `{{{name}}}`; as text it stands in single quotes")


def constraint_hint(name: str, regex: str) -> str:
    """What to write for Snakemake's `{name,regex}`."""
    return (
        f"write `{name} ~ {regex}` on a line of its own, and `{{{name}}}` here\n"
        "(if alternatives are meant, write the words out: a wildcard or a name cannot be the first of a list)"
    )


_HOLES = {"input": "in", "output": "out", "threads": "cpus"}


def hole_hint(hole: Hole) -> str | None:
    """What to write for a hole of Snakemake's (`{input}`, `{wildcards.x}`, …), None for any other."""
    name, attr = hole.name, hole.attr
    if name in ("input", "output"):
        own = _HOLES[name]
        if attr is None:
            index = "" if hole.index is None else f"[{hole.index}]"
            return f"write `{{{own}{index}}}`"
        return f"write `{{{attr}}}`, with `{attr}=path` in the rule's line"
    if name == "threads":
        return "write `{cpus}`; their number is the attribute `[cpus = 4]`"
    if name == "wildcards":
        return "write the wildcard alone: `{name}`" if attr is None else f"write `{{{attr}}}`"
    if name == "params":
        named = attr or "name"
        return f"write `{{{named}}}`, with `{named} = value` on a line above the rule"
    if name == "resources":
        return "write `{mem}` or `{mem.mb}`; the attribute is `[mem = 2G]`" if (attr or "").startswith("mem") else None
    return None


# Recipes

_AUTOMATIC = regex(r"\\.|\$\$|\$([@<^*])", re.DOTALL)
_SUSPECT = regex(r"\$[@<^*]|^[ \t]*(?:[@-]|(?:" + "|".join(_RULE_PARTS) + r"):)", re.MULTILINE)
_LEADING = regex(r"^[ \t]*([@-][@+-]*)[ \t]*(?=[\w./~$\"'{(])", re.MULTILINE)
_FUNCTION = regex(r"(?:^|[\s;&|({])(?:function[ \t]+[\w:.-]+|[\w:.-]+[ \t]*\([ \t]*\))")
_SET = regex(r"set(?:[ \t]+[-+]\w*o[ \t]+\w+|[ \t]+[-+]\w*[^\Wo])*[ \t]+(?:--(?=\s|$)|[^-+\s;&|#])")
_AUTOMATIC_HINTS = {
    "@": "write `{out}`",
    "<": "write `{in[0]}`, or name the input: `src=path` in the rule's line, `{src}` here",
    "^": "write `{in}`",
    "*": "write the wildcard by its name: `{name}`",
}


def check_recipe(recipe: RecipeText) -> None:
    """Refuse Make's `$@ $< $^ $*`, a leading `@` or `-`, and Snakemake's `input:` in a recipe that a shell runs.

    Raises `FlowError`. Single quotes, here-documents and comments are the author's own.
    """
    text = recipe.text
    if _SUSPECT.search(text) is None:
        return
    from buildflow.recipe.roles import Role
    from buildflow.recipe.shell import Context, scan

    found = scan(text)
    hidden = (Context.SINGLE, Context.ANSI, Context.HEREDOC, Context.DELIMITER, Context.COMMENT)
    bodies = _Bodies(text)
    own_arguments = len(text)  # from where on `$@` may be a function's or those that `set` gave
    for match in _FUNCTION.finditer(text):
        if found.context(match.end() - 1) is Context.PLAIN:
            own_arguments = match.end()
            break
    commands = {word.start: word for word in found.words if word.role is Role.COMMAND}
    for word in found.words:
        if word.role is Role.COMMAND and text[word.start : word.end] == "set" and word.start < own_arguments:
            if _SET.match(text, word.start):
                own_arguments = word.start
                break
    for match in _AUTOMATIC.finditer(text):
        mark = match.group(1)
        if mark is None or found.context(match.start()) in hidden or match.start() in bodies:
            continue
        if mark in "@*" and match.start() > own_arguments:
            continue
        raise FlowError(f"`${mark}` is Make's", recipe.at(match.start(), 2), _AUTOMATIC_HINTS[mark])
    for match in _LEADING.finditer(text):
        at = match.start(1)
        if at not in commands or at in bodies or _goes_on(text, match.start()):
            continue
        mark = match.group(1)
        hint = (
            "leave it out: recipes are shown with `bflow build -v` only"
            if "@" in mark
            else "end the command with `|| true` where its failure does not matter"
        )
        raise FlowError(f"a leading `{mark}` is Make's", recipe.at(at, len(mark)), hint)
    for match in _IN_RECIPE.finditer(text):
        at = match.end() - len(match.group().lstrip(" \t"))
        if at in commands and at not in bodies and not _goes_on(text, match.start()):
            word_text = match.group().strip(" \t")
            raise FlowError(
                f"`{word_text}` is Snakemake's",
                recipe.at(at, len(word_text)),
                _DIRECTIVES.get(word_text[:-1], "a recipe holds commands; what a rule needs stands in `[…]` above it"),
            )


def _goes_on(text: str, start: int) -> bool:
    """Whether the line that begins at `start` continues the one before it."""
    before = text[max(0, start - 300) : start].rstrip(" \t\n")
    return before.endswith(("|", "&&", "\\"))


class _Bodies:
    """The offsets within here-documents, substitutions in them included."""

    def __init__(self, text: str) -> None:
        self.bounds: list[int] = []  # where a body begins, where it ends, and so on
        if "<<" not in text:
            return
        scanner = HeredocScanner()
        waiting: list[Heredoc] = []
        at = 0
        for line in text.split("\n"):
            if waiting:
                if ends(line, waiting[0]):
                    waiting.pop(0)
                    if not waiting:
                        self.bounds.append(at)
            else:
                waiting = scanner.feed(line)
                if waiting:
                    self.bounds.append(at + len(line))
            at += len(line) + 1

    def __contains__(self, offset: int) -> bool:
        return bisect_right(self.bounds, offset) % 2 == 1
