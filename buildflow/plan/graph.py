"""The DAG of jobs as a networkx graph: cycles, ancestors, drawings.

The arrays of `Plan` are what it is compiled to, and what the order of a build is taken from: importing networkx takes
longer than planning a thousand jobs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from buildflow.errors import FlowError
from buildflow.plan.plan import Plan
from buildflow.rule import Rule

if TYPE_CHECKING:
    import networkx

_SHOWN = 20  # names at each end of a long cycle


def graph_of(plan: Plan) -> networkx.DiGraph[int]:
    """A DiGraph whose nodes are job numbers and whose edges go from a job to those that need it."""
    import networkx

    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_nodes_from(range(len(plan.rule)))
    graph.add_edges_from((before, job) for job in range(len(plan.rule)) for before in plan.dependencies(job))
    return graph


def order(plan: Plan, rules: Sequence[Rule] = ()) -> list[int]:
    """Every job after those that it needs. Raises FlowError with the path of a cycle; `rules`: to show its place."""
    count = len(plan.rule)
    waiting = [0] * count
    after: list[list[int]] = [[] for _ in range(count)]
    found: list[int] = []
    for job in range(count):
        before = plan.dependencies(job)
        waiting[job] = len(before)
        if not before:
            found.append(job)
        for one in before:
            after[one].append(job)
    for job in found:  # it grows on the way
        for one in after[job]:
            waiting[one] -= 1
            if not waiting[one]:
                found.append(one)
    if len(found) < count:
        raise _cycle(plan, rules)
    return found


def _cycle(plan: Plan, rules: Sequence[Rule]) -> FlowError:
    """The error for a cycle, shown as the user reads a Flowfile: each target, then what it needs."""
    import networkx

    jobs = [edge[0] for edge in networkx.find_cycle(graph_of(plan))][::-1]
    start = jobs.index(min(jobs))
    jobs = jobs[start:] + jobs[:start]

    def name(job: int) -> str:
        if plan.outputs[job]:
            return plan.paths[plan.outputs[job][0]]
        if not rules:
            return f"job {job}"
        text = rules[plan.rule[job]].targets[0]
        return text.text if text.plain else rules[plan.rule[job]].name

    names = [name(job) for job in (*jobs, jobs[0])]
    if len(names) > 2 * _SHOWN:
        names[_SHOWN:-_SHOWN] = ["…"]
    return FlowError(
        f"a cycle: {' needs '.join(names)}",
        rules[plan.rule[jobs[0]]].span if rules else None,
        "one of these must not need the other: take the input out, or give a target another name",
    )
