"""Differences between two results of a job (`buildflow.explain.Change`), in words and for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from buildflow.cli.common import Colours, size_text

if TYPE_CHECKING:
    from buildflow.explain import Change

_NOUNS = {
    "environment": "the environment", "variable": "the variable", "tool": "the tool", "wildcard": "the wildcard",
    "name": "the name", "function": "the function’s", "label": "the file named", "order": "the input number",
    "depfile": "the depfile", "format": "the format of bflow’s keys", "output": "the output",
}  # fmt: skip


def differences(changes: Sequence[Change]) -> Iterator[str]:
    """All differences in words, but for those that follow from a recipe of another kind."""
    other_kind = any(c.what == "recipe" and c.name != "interpreter" and c.old is None for c in changes)
    for change in changes:
        if not (other_kind and change.what in ("label", "order", "wildcard", "name", "function")):
            yield from change_lines(change)


def change_lines(change: Change) -> Iterator[str]:
    """One difference in words."""
    what, name, old, new = change.what, change.name, change.old, change.new
    if what == "recipe":
        yield from _recipe(change)
    elif what in ("input", "header"):
        header = " (named by its depfile)" if what == "header" else ""
        if old is None:
            yield f"a new input: {name}{header}" + (f" ({_digest(new, change.new_size)})" if new else "")
        elif new is None:
            gone = "is gone" if what == "header" else "is no input any more"
            yield f"{name}{header} {gone}" + (f" (it was {_digest(old, change.old_size)})" if old else "")
        elif not old or not new:
            yield f"{name} is read {'in full now' if new else 'only where the depfile names it now'}"
        else:
            yield f"{name}{header} changed: {_digest(old, change.old_size)} → {_digest(new, change.new_size)}"
    elif what == "order" and not name:
        yield "the same outputs, variables or tools stand in another order"
    else:
        noun = _NOUNS.get(what, what)
        label = f"{noun} {name}".rstrip()
        if old is None:
            yield f"{label} is new" + (f": {_value(what, new)}" if new and what != "output" else "")
        elif new is None:
            yield f"{label} is there no more" + (f" (it was {_value(what, old)})" if old and what != "output" else "")
        else:
            yield f"{label} changed: {_value(what, old)} → {_value(what, new)}"


def _digest(digest: str | None, size: int | None) -> str:
    return f"{(digest or '')[:12]}, {size_text(size)}" if size is not None else f"{(digest or '')[:12]}"


def _value(what: str, value: str | None) -> str:
    if what in ("variable", "wildcard", "name"):
        return f"“{value}”"
    if what in ("tool", "function") and value is not None and len(value) == 32:
        return value[:12]
    return str(value)


def _recipe(change: Change) -> Iterator[str]:
    if change.name == "interpreter":
        yield f"the shell changed: {change.old or 'the default'} → {change.new or 'the default'}"
    elif change.old is None:
        yield f"the recipe is of another kind now: {change.name}"
    elif change.new is not None:
        yield "the recipe changed:"
        for line in word_diff(change.old, change.new, Colours()):
            yield f"    {line}"


def word_diff(old: str, new: str, colours: Colours) -> list[str]:
    """The words of a recipe that went `[-…-]` and came `{+…+}`, with a little of what is around them."""
    from difflib import SequenceMatcher

    before, after = _words(old), _words(new)
    parts: list[str] = []
    short = len(before) + len(after) < 2000
    changes = SequenceMatcher(None, before, after, autojunk=not short).get_opcodes()
    for place, (tag, i, j, k, m) in enumerate(changes):
        if tag == "equal":
            parts.append(_around(before[i:j], first=place == 0, last=place == len(changes) - 1))
            continue
        if i < j:
            parts.append(f"{colours.red}[-{''.join(before[i:j])}-]{colours.off}")
        if k < m:
            parts.append(f"{colours.green}{{+{''.join(after[k:m])}+}}{colours.off}")
    return "".join(parts).split("\n")


def _words(text: str) -> list[str]:
    import re

    return re.findall(r"\s+|[^\s]+", text)


_AROUND = 16  # words (white space counts) that are shown beside a change


def _around(words: list[str], *, first: bool, last: bool) -> str:
    head = 0 if first else _AROUND
    tail = 0 if last else _AROUND
    if len(words) <= head + tail + 4:
        return "".join(words)
    gap = " … " if head and tail else "… " if tail else " …"
    return "".join(words[:head]) + gap + "".join(words[len(words) - tail :])


def plain_change(change: Change) -> dict[str, Any]:
    sized = change.what in ("input", "header")
    return {key: value for key, value in vars(change).items() if sized or not key.endswith("_size")}
