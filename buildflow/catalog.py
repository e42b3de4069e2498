"""What a project's rules are, for people: what `bflow list` shows. Nothing is resolved for it but finite targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildflow.errors import FlowError
from buildflow.rule import Rule
from buildflow.template import Word

if TYPE_CHECKING:
    from buildflow.builder import Builder
    from buildflow.dry import Settled

SHOWN = ("name", "env", "worker", "cpus", "mem", "gpus", "time", "retries", "temp", "inplace", "anonymous", "depfile",
         "log", "call", "python")  # fmt: skip
"""The attributes that help to know a rule, in this order; `resource.NAME` too."""


def rules_of(builder: Builder) -> list[dict[str, Any]]:
    """Each rule as a mapping that JSON can hold, in written order: `file` (a library's is `<name.flow>`), `line`,
    `name`, `targets`, `inputs` and `after` (as written), `help`, `kind` (rule, alias, phony), `default`, `attributes`.
    """
    try:
        default: Rule | None = builder.default_rule()
    except FlowError:
        default = None
    found = []
    for rule in builder.rules:
        phony = rule.phony
        found.append(
            {
                "file": file_of(rule, builder),
                "line": rule.span.line if rule.span is not None else None,
                "name": rule.name,
                "targets": [written(word) for word in rule.targets],
                "inputs": [written(word) for word in rule.inputs],
                "after": [written(word) for word in rule.after],
                "help": rule.help,
                "kind": "phony" if phony else "rule" if rule.makes else "alias",
                "phony": phony,
                "default": rule is default,
                "attributes": {
                    name: True if attribute.text is None else attribute.text.strip()
                    for name, attribute in rule.attributes.items()
                },
            }
        )
    return found


def written(word: Word) -> str:
    return f"{word.label}={word.text}" if word.label else word.text


def file_of(rule: Rule, builder: Builder) -> str:
    """The file that a rule stands in, from the root; of the library, as its include names it."""
    if rule.scope.library is not None:
        return f"<{rule.scope.library}>"
    if rule.span is None:
        return builder.flowfile or "Python"
    name = rule.span.source.name
    root = builder.root + "/"
    return name[len(root) :] if name.startswith(root) else name


def shown_attributes(rule: dict[str, Any]) -> list[str]:
    """Those of the attributes that are worth a line: `cpus = 2`, `temp`."""
    attributes = rule["attributes"]
    names = [n for n in SHOWN if n in attributes] + [n for n in attributes if n.startswith("resource.")]
    return [name if attributes[name] is True else f"{name} = {attributes[name]}" for name in names]


def finite_targets(builder: Builder, settled: Settled) -> list[str]:
    """Every target that has no free wildcard: files, aliases and phony names, each once, in the order of the rules."""
    resolver = settled.resolver
    found: dict[str, None] = {}
    for rule in builder.rules:
        targets = settled.ask(lambda rule=rule: resolver.finite.of(rule))  # type: ignore[misc]
        found.update(dict.fromkeys(targets or ()))
    return list(found)
