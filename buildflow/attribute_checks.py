"""What can be said of a rule's attributes before anything is asked for: holes, flags, numbers, names, paths.

`Rule.check` calls `check_attributes` for each rule of the Flowfile. What depends on the machine (whether an image or a
prefix is there, what a limit allows) or on a job (values of wildcards) is found when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from buildflow.attributes import PYTHON_NAMES, QUANTITIES, Attribute
from buildflow.errors import FlowError, Span
from buildflow.lazy import regex
from buildflow.names import holds_names
from buildflow.near import did_you_mean
from buildflow.template import Hole

if TYPE_CHECKING:
    from buildflow.recipe.functions import Parameter
    from buildflow.rule import Rule

YES = frozenset("yes true 1 on".split())
NO = frozenset("no false 0 off".split())
FILLED = frozenset("in out cpus mem gpus attempt depfile log".split())
_VARIABLE = regex(r"[A-Za-z_][A-Za-z0-9_]*")


def check_attributes(rule: Rule, names: Collection[str], labels: Collection[str]) -> None:
    """Raises FlowError for the first attribute that is wrong. `names`: all that the rule knows, its labels among it."""
    from buildflow.hooks import parse_hooks

    for attribute in rule.attributes.values():
        if attribute.name == "call":
            continue  # a module and a function: buildflow.recipe.functions reads them
        if attribute.name == "hooks":
            for hook in parse_hooks(attribute):
                rule.check_holes(hook.filler, hook.at, names, labels)
            continue
        if attribute.words:
            for word in attribute.words:
                for name in word.names:
                    if name not in names and name not in FILLED:
                        raise FlowError(
                            f"{{{name}}} names nothing known here",
                            word.span or attribute.span,
                            did_you_mean(name, names) or f"for the text itself write {{{{{name}}}}}",
                        )
        check = _CHECKS.get(attribute.name)
        if check is not None:
            check(rule, attribute)
        elif attribute.text is not None and (attribute.name in QUANTITIES or attribute.name.startswith("resource.")):
            if attribute.plain:
                _sizes(rule, attribute, attribute.quantity().names)


def check_parameters(rule: Rule, parameters: Sequence[Parameter] | None, span: Span | None) -> None:
    """Raises FlowError for a parameter of the rule's function that nothing of the rule is named as.

    `parameters`: None where only the import can tell. A name that follows others may not be seen by every job; that
    shows when the job runs.
    """
    from buildflow.recipe.functions import check_parameters as unknown_of

    assert rule.recipe is not None
    if rule.input_function is not None:
        return  # it may name a file so, which shows with the job
    known = {"out", *PYTHON_NAMES, *FILLED - {"in"}}
    known.update(*rule.labels())
    for word in rule.targets:
        known.update(word.names)
    known |= rule.wildcards()
    for variable in ("vars",):
        if variable in rule.attributes:
            known |= {word.text.partition("=")[0] for word in rule.attributes[variable].words}
    assigned = rule.scope.definitions
    followers = {
        name for name, definition in assigned.items() if definition.joint or any(map(holds_names, definition.terms))
    }
    unknown = unknown_of(parameters, known | followers)
    if not unknown:
        return
    name = unknown[0]
    hint = did_you_mean(name, known) or f"the rule has: {' '.join(sorted(known - FILLED - PYTHON_NAMES)) or 'no names'}"
    if name in assigned:
        hint = f"{name} follows no wildcard of the rule; pass its value on with [vars = {name}={{{name}}}]"
    raise FlowError(f"{rule.recipe.text} asks for “{name}”, and nothing of the rule is named so", span, hint)


def _flag(rule: Rule, attribute: Attribute) -> None:
    if attribute.text is not None and attribute.text.strip().lower() not in YES | NO:
        raise FlowError(f"{attribute.name} is a flag and takes no value", attribute.span, f"write [{attribute.name}]")


def _one(attribute: Attribute, what: str) -> str | None:
    """The one word of an attribute, None where holes are in it."""
    if len(attribute.words) != 1 or not attribute.words[0].parts:
        raise FlowError(f"{attribute.name} is {what}, and this is {len(attribute.words)} words", attribute.span)
    return attribute.words[0].text if attribute.plain else None


def _sizes(rule: Rule, attribute: Attribute, names: Collection[str]) -> None:
    """`size(name)` is of a named input: of a misspelt one it would be 0."""
    known = {"in", *rule.labels()[0]}
    for name in names:
        inner = name[5:-1].strip() if name.startswith("size(") else "in"
        if inner not in known and rule.input_function is None:
            raise FlowError(
                f"size({inner}): the rule has no input of that name",
                attribute.span,
                did_you_mean(inner, known) or "an input is named in the rule's line, as in src=a.c; size(in) is of all",
            )


def _name(rule: Rule, attribute: Attribute) -> None:
    if _one(attribute, "one word") is None:
        raise FlowError("a rule's name holds no hole", attribute.span, "all jobs of a rule share its name")


def _stage(rule: Rule, attribute: Attribute) -> None:
    text = _one(attribute, "one of auto, link, copy")
    if text is not None and text not in ("auto", "link", "copy"):
        raise FlowError(f"stage = {text} is none of auto, link, copy", attribute.span)


def _env(rule: Rule, attribute: Attribute) -> None:
    from buildflow.environments.registry import check_name

    text = _one(attribute, "one environment")
    if text is not None:
        check_name(text, attribute.span)


def _worker(rule: Rule, attribute: Attribute) -> None:
    text = _one(attribute, "one worker")
    if text is not None:
        from buildflow.workers.names import hint, is_worker

        if not is_worker(text):
            raise FlowError(f"there is no worker “{text}”", attribute.span, hint(text))



def _path(rule: Rule, attribute: Attribute) -> None:
    text = _one(attribute, "one path")
    if text is None:
        return
    if text.startswith(("/", "../")) or text.endswith("/"):
        raise FlowError(
            f"{attribute.name} = {text} is no file in the project",
            attribute.span,
            "write a path from the project's root",
        )


def _temp(rule: Rule, attribute: Attribute) -> None:
    if attribute.text is None or attribute.text.strip().lower() in YES | NO:
        return
    known = {word.label for word in rule.targets if word.label} | {word.text for word in rule.targets}
    for word in attribute.words:
        if word.plain and word.text not in known and rule.recipe is not None:
            if all(target.plain for target in rule.targets) or _VARIABLE.fullmatch(word.text):
                raise FlowError(
                    f"temp = {word.text}: the rule has no output of that name",
                    word.span or attribute.span,
                    did_you_mean(word.text, known) or "an output is named in the rule's line, as in idx=out/x.idx",
                )


def _variables(rule: Rule, attribute: Attribute) -> None:
    for word in attribute.words:
        first = word.parts[0] if word.parts else ""
        if isinstance(first, Hole):
            continue
        name = str(first).partition("=")[0]
        whole = "=" in str(first) or len(word.parts) == 1
        if whole and not _VARIABLE.fullmatch(name):
            raise FlowError(
                f"{attribute.name} = {word.text}: {name!r} is no name of a variable",
                word.span or attribute.span,
                f"write {attribute.name} = NAME OTHER=value",
            )


_CHECKS: dict[str, Callable[[Rule, Attribute], None]] = {
    **dict.fromkeys(("default", "phony", "python", "inplace", "anonymous"), _flag),
    "name": _name,
    "stage": _stage,
    "env": _env,
    "worker": _worker,
    "depfile": _path,
    "log": _path,
    "temp": _temp,
    "vars": _variables,
    "pass": _variables,
}
