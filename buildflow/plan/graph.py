"""The DAG of jobs as a networkx graph: order, cycles, ancestors. The arrays of `Plan` are what it is compiled to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from buildflow.errors import FlowError
from buildflow.plan.plan import Plan

if TYPE_CHECKING:
    import networkx


def graph_of(plan: Plan) -> networkx.DiGraph[int]:
    """A DiGraph whose nodes are job numbers and whose edges go from a job to those that need it."""
    import networkx

    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_nodes_from(range(len(plan.rule)))
    graph.add_edges_from((before, job) for job in range(len(plan.rule)) for before in plan.dependencies(job))
    return graph


def order(plan: Plan) -> list[int]:
    """Every job after those that it needs. Raises FlowError with the path of a cycle."""
    import networkx

    graph = graph_of(plan)
    try:
        return list(networkx.topological_sort(graph))
    except networkx.NetworkXUnfeasible:
        edges = networkx.find_cycle(graph)
        jobs = [edge[0] for edge in edges]
        # shown as the user reads a Flowfile: each target, then what it needs
        names = [plan.paths[plan.outputs[j][0]] if plan.outputs[j] else f"job {j}" for j in reversed(jobs)]
        names.append(names[0])
        raise FlowError(
            f"a cycle: {' needs '.join(names)}",
            None,
            "one of these must not need the other: take the input out, or give a target another name",
        ) from None
