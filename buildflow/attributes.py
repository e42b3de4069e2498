"""What an attribute is: its name, its words and place, and which names there are with which kinds of values.

What a rule may say with them is checked in `buildflow.attribute_checks`; what they mean for a job is `buildflow.job`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

from buildflow.errors import FlowError, Span
from buildflow.near import did_you_mean
from buildflow.quantity import Quantity, compile_quantity
from buildflow.template import Hole, Word
from buildflow.workers.names import KNOWN as WORKERS
from buildflow.workers.names import others

FLAGS = frozenset("default phony temp python inplace anonymous".split())
TEXTS = frozenset(
    """name temp env stage cpus mem gpus time retries priority depfile log shell call vars pass tools hooks worker
    batch""".split()
)
QUANTITIES = {
    "cpus": "count", "mem": "memory", "gpus": "count", "time": "time", "retries": "count", "priority": "number",
    "batch": "count",
}  # fmt: skip
HABITS = {
    "thread": "cpus", "threads": "cpus", "cores": "cpus", "mem_mb": "mem", "memory": "mem", "runtime": "time",
    "walltime": "time", "container": "env", "conda": "env", "image": "env", "group": "batch",
    "partition": "slurm = --partition=NAME", "resources": "cpus, mem, gpus, time or resource.NAME",
    "params": "a name: “k = 21” on a line of its own, {k} in the recipe", "message": "“## text” above the rule",
    "benchmark": "in each result: “bflow report” shows it",
}  # fmt: skip
"""What other tools call it, and what it is here."""
RESOURCE_HOLES = frozenset(("cpus", "mem", "gpus", "attempt"))
PYTHON_NAMES = frozenset("job inputs outputs wildcards".split())


class Attribute:
    """One attribute: its words (none for a flag), its text as written, and its place."""

    __slots__ = ("name", "text", "words", "span", "_quantity")

    def __init__(self, name: str, text: str | None, words: Sequence[Word], span: Span | None) -> None:
        self.name = name
        self.text = text
        self.words = tuple(words)
        self.span = span
        self._quantity: Quantity | None = None

    @property
    def plain(self) -> bool:
        """Whether no hole is in it (a `*` is text here)."""
        return not any(isinstance(part, Hole) for word in self.words for part in word.parts)

    def quantity(self, filled: str | None = None) -> Quantity:
        """The number that it writes down (`filled`: its text with the holes filled). FlowError at the very place."""
        unit = QUANTITIES.get(self.name, "count")
        if filled is not None:
            return compile_quantity(filled, unit, self.span)
        if self._quantity is None:
            self._quantity = compile_quantity(self.text or "", unit, self.span)
        return self._quantity


class Attributes(dict[str, Attribute]):
    """The attributes of a rule by name, `[defaults: …]` included."""

    def flag(self, name: str) -> bool:
        found = self.get(name)
        return found is not None and (
            found.text is None or found.text.strip().lower() not in ("no", "false", "0", "off")
        )


def check_attribute(name: str, text: str | None, span: Span | None) -> None:
    """Raises FlowError where an attribute is unknown, or has a value where none goes, or none where one must be."""
    base = name.partition(".")[0]
    if base == "resource" and "." in name:
        if text is None:
            raise FlowError(f"{name} needs a number", span, f"write {name} = 1")
        return
    if name in WORKERS or (name not in FLAGS and name not in TEXTS and name in others()):
        if text is None:
            raise FlowError(f"{name} passes words to the worker, and has none", span, f"write {name} = --option=value")
        return
    if name not in FLAGS and name not in TEXTS:
        raise FlowError(
            f"there is no attribute “{name}”",
            span,
            (f"here that is {HABITS[name]}" if name in HABITS else None)
            or did_you_mean(name, [*FLAGS, *TEXTS, *WORKERS])
            or f"there are: {' '.join(sorted(FLAGS | TEXTS))} resource.NAME",
        )
    if text is None and name not in FLAGS:
        raise FlowError(f"the attribute “{name}” needs a value", span, f"write [{name} = …]")
