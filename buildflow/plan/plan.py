"""The resolved plan as flat arrays: files by number, jobs by number, and the edges between them.

The resolver appends to it, the scheduler runs over it, the snapshot stores it. It knows no rule's words: a job is its
rule's number and the values of its wildcards.
"""

from __future__ import annotations

from typing import Any

ARRAYS = ("paths", "maker", "rule", "values", "outputs", "inputs", "extra", "after", "needs", "labels", "within")


class Plan:
    """Files: `paths[f]`, `maker[f]` (job, or -1 for a source), `within` (file below a made folder → the folder).

    Jobs: `rule[j]` (number), `values[j]` (of the rule's wildcards), `outputs[j]`, `inputs[j]` (before the `|`),
    `extra[j]` (inputs that recipe words add), `after[j]` (order-only files), `needs[j]` (phony jobs that go first),
    `labels[j]` ((label, places in inputs + after) …, or None).
    `trees[f]` or `trees[(j, f)]`: the member files and empty folders of a folder that no rule makes.
    `goals`: what was asked for, each (text, file numbers, job numbers).
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.ids: dict[str, int] = {}
        self.maker: list[int] = []
        self.within: dict[int, int] = {}
        self.rule: list[int] = []
        self.values: list[tuple[str, ...]] = []
        self.outputs: list[tuple[int, ...]] = []
        self.inputs: list[tuple[int, ...]] = []
        self.extra: list[tuple[int, ...]] = []
        self.after: list[tuple[int, ...]] = []
        self.needs: list[tuple[int, ...]] = []
        self.labels: list[tuple[tuple[str, tuple[int, ...]], ...] | None] = []
        self.trees: dict[Any, tuple[tuple[int, ...], tuple[str, ...]]] = {}
        self.goals: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []

    def file(self, path: str) -> int:
        """The number of a path, new ones without a maker."""
        number = self.ids.get(path)
        if number is None:
            number = self.ids[path] = len(self.paths)
            self.paths.append(path)
            self.maker.append(-1)
        return number

    def add_job(self, rule: int, values: tuple[str, ...]) -> int:
        self.rule.append(rule)
        self.values.append(values)
        for array in (self.outputs, self.inputs, self.extra, self.after, self.needs):
            array.append(())
        self.labels.append(None)
        return len(self.rule) - 1

    def tree(self, job: int, folder: int) -> tuple[tuple[int, ...], tuple[str, ...]] | None:
        """Members and empty folders of an unmade folder as one job sees it."""
        return self.trees.get((job, folder)) or self.trees.get(folder)

    def dependencies(self, job: int) -> set[int]:
        """The jobs that must be done before a job."""
        maker = self.maker
        found = {maker[f] for f in self.inputs[job]}
        if self.after[job]:
            found.update(maker[f] for f in self.after[job])
        if self.extra[job]:
            found.update(maker[f] for f in self.extra[job])
        if self.needs[job]:
            found.update(self.needs[job])
        if self.trees:
            for f in self.inputs[job] + self.after[job]:
                tree = self.tree(job, f)
                if tree is not None:
                    found.update(maker[m] for m in tree[0])
        found.discard(-1)
        return found

    def dump(self) -> dict[str, Any]:
        """Everything, as marshal can write it."""
        state: dict[str, Any] = {name: getattr(self, name) for name in ARRAYS}
        state["trees"] = self.trees
        state["goals"] = self.goals
        return state

    @classmethod
    def load(cls, state: dict[str, Any]) -> Plan:
        plan = cls()
        for name, value in state.items():
            setattr(plan, name, value)
        plan.ids = {path: i for i, path in enumerate(plan.paths)}
        return plan
