"""What an alias stands for: the files of its inputs, those of the aliases among them, and phony jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from buildflow.errors import FlowError
from buildflow.names import GlobText

if TYPE_CHECKING:
    from buildflow.plan.resolve import Resolver

Stands = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""File numbers, order-only file numbers, numbers of phony jobs; each once, in order."""


class _Part(NamedTuple):
    """One thing that an alias names: a file's number, a phony job's, or another alias."""

    kind: str
    number: int
    alias: str
    order_only: bool


class Aliases:
    """The aliases of one resolver, each worked out once. Chains of any length: there is no recursion."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver
        self._known: dict[str, Stands] = {}
        self._parts: dict[str, list[_Part]] = {}

    def of(self, path: str, asker: int | None) -> Stands:
        """What an alias stands for. `asker`: the job that has it as an input. FlowError for a circle of aliases."""
        chain = {path: None}  # a stack, whose last is worked on
        while chain:
            top = next(reversed(chain))
            if top in self._known:
                del chain[top]
                continue
            parts = self._parts.get(top)
            if parts is None:
                parts = self._parts[top] = self._read(top, asker)
            inner = next((p.alias for p in parts if p.kind == "alias" and p.alias not in self._known), None)
            if inner is None:
                self._known[top] = self._joined(parts)
            elif inner in chain:
                names = list(chain)
                circle = [*names[names.index(inner) :], inner]
                rule = self.resolver.choose(inner).adds[0][0]
                raise FlowError(f"a cycle: {' needs '.join(circle)}", rule.span, "take one of these inputs out")
            else:
                chain[inner] = None
        return self._known[path]

    def _joined(self, parts: list[_Part]) -> Stands:
        files: dict[int, None] = {}
        after: dict[int, None] = {}
        needs: dict[int, None] = {}
        for part in parts:
            if part.kind == "phony":
                needs.setdefault(part.number)
            elif part.kind == "file":
                (after if part.order_only else files).setdefault(part.number)
            else:
                more, later, jobs = self._known[part.alias]
                (after if part.order_only else files).update(dict.fromkeys(more))
                after.update(dict.fromkeys(later))
                needs.update(dict.fromkeys(jobs))
        return tuple(files), tuple([f for f in after if f not in files]), tuple(needs)

    def _read(self, path: str, asker: int | None) -> list[_Part]:
        """What the inputs of an alias are."""
        resolver = self.resolver
        plan, bindings = resolver.plan, resolver.bindings
        found: list[_Part] = []
        for rule, bound in resolver.choose(path).adds:
            sides = [(False, bindings.before(rule, bound)), (True, bindings.after(rule, bound))]
            for order_only, texts in sides:
                for word, text in texts:
                    span = word.span or rule.span
                    if isinstance(text, GlobText):
                        for name in resolver.inputs.glob(text, span, rule):
                            found.append(_Part("file", plan.file(name), "", order_only))
                        continue
                    name = bindings.project_path(text)
                    choice = resolver.choose(name, asker)
                    if choice.kind == "alias":
                        found.append(_Part("alias", -1, name, order_only))
                    elif choice.kind == "phony":
                        found.append(_Part("phony", resolver.job_of(choice, name, asker), "", order_only))
                    elif choice.kind == "none":
                        raise resolver.errors.no_rule(name, asker, span, f"the alias {path}")
                    else:
                        f = plan.file(name)
                        if choice.kind == "folder":
                            resolver.folders.take(f, asker, span)
                        found.append(_Part("file", f, "", order_only))
        return found
