"""A drawing as text: graphviz's dot, mermaid, SVG (by graphviz) and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from buildflow.drawing import STATES
from buildflow.errors import FlowError

if TYPE_CHECKING:
    from buildflow.drawing import Drawing, Node

FORMATS = ("dot", "mermaid", "svg", "json")
SUFFIXES = {"dot": "dot", "gv": "dot", "mmd": "mermaid", "mermaid": "mermaid", "svg": "svg", "json": "json"}

COLOURS = {
    "up to date": ("#d5e8d4", "#5d8a4e"), "cached": ("#dae8fc", "#4f6f9f"), "would run": ("#ffe0b2", "#c77700"),
    "undecided": ("#f4cccc", "#a94442"), "source": ("#f5f5f5", "#888888"),
}  # fmt: skip
"""The fill and the line of each state."""

_LONG = 60  # characters of a line in a node


def label(node: Node, rules: bool) -> list[str]:
    """The lines of a node: what it makes, by which rule, how many and what they are."""
    first = _shortened(node.targets[0])
    if node.rule is None:
        return [first] if node.count == 1 else [first, f"and {node.count - 1} more"]
    more = len(node.targets) - 1
    if node.count == 1:
        lines = [first if not more else f"{first} +{more}"]
        if not rules:
            return lines if node.rule == node.targets[0] else [*lines, _shortened(node.rule)]
        return [_shortened(node.rule), *(lines if node.rule != node.targets[0] else ()), node.state]
    states = ", ".join(f"{node.states[state]} {state}" for state in STATES if node.states[state])
    return [_shortened(node.rule), f"{node.count} jobs: {states if len(node.states) > 1 else node.state}"]


def _shortened(text: str) -> str:
    return text if len(text) <= _LONG else f"…{text[1 - _LONG :]}"


def dot(drawing: Drawing) -> str:
    """The language of graphviz."""
    lines = ["digraph bflow {", "  rankdir=LR;", '  node [shape=box, style="rounded,filled", fontname="Helvetica"];']
    for i, node in enumerate(drawing.nodes):
        fill, line = COLOURS[node.state]
        text = "\\n".join(_dot_text(part) for part in label(node, drawing.rules))
        tip = _dot_text(f"{node.rule or 'source'}: {node.state}")
        shape = ", shape=note, style=filled" if node.rule is None else ", peripheries=2" if node.count > 1 else ""
        lines.append(f'  n{i} [label="{text}", tooltip="{tip}", fillcolor="{fill}", color="{line}"{shape}];')
    lines.extend(f"  n{a} -> n{b};" for a, b in drawing.edges)
    return "\n".join([*lines, "}"])


def _dot_text(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def mermaid(drawing: Drawing) -> str:
    """A flowchart as GitHub and others draw it within Markdown."""
    lines = ["flowchart LR"]
    used: dict[str, list[str]] = {}
    for i, node in enumerate(drawing.nodes):
        text = "<br/>".join(_mermaid_text(part) for part in label(node, drawing.rules))
        opened, closed = ("[/", "/]") if node.rule is None else ("[[", "]]") if node.count > 1 else ("[", "]")
        lines.append(f'  n{i}{opened}"{text}"{closed}')
        used.setdefault(node.state, []).append(f"n{i}")
    lines.extend(f"  n{a} --> n{b}" for a, b in drawing.edges)
    for state, names in used.items():
        name = state.replace(" ", "_")
        fill, line = COLOURS[state]
        lines.append(f"  classDef {name} fill:{fill},stroke:{line},color:#222")
        lines.append(f"  class {','.join(names)} {name}")
    return "\n".join(lines)


def _mermaid_text(text: str) -> str:
    """What mermaid would read as its own goes in as entities."""
    found = text.replace("#", "#35;")
    for mark, entity in (("&", "#amp;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;"), ("\n", " ")):
        found = found.replace(mark, entity)
    return found


def svg(drawing: Drawing) -> str:
    """Drawn by graphviz. Raises FlowError where that is not installed or fails."""
    import shutil
    import subprocess

    program = shutil.which("dot")
    if program is None:
        raise FlowError(
            "an SVG is drawn by graphviz, and there is no command “dot” on the PATH", None,
            "install graphviz (apt install graphviz, brew install graphviz, conda install graphviz), "
            "or draw with --format mermaid",
        )  # fmt: skip
    text = dot(drawing).encode("utf-8", "backslashreplace")
    ran = subprocess.run([program, "-Tsvg"], input=text, capture_output=True, check=False)
    if ran.returncode:
        raise FlowError(
            f"graphviz failed: {ran.stderr.decode('utf-8', 'replace').strip()[:300]}", None,
            "“bflow graph” without --format prints what it was given",
        )  # fmt: skip
    return ran.stdout.decode("utf-8")


def plain(drawing: Drawing) -> dict[str, Any]:
    """As JSON has it, in the form that networkx's `node_link_graph` reads: ids are places in `nodes`."""
    nodes: list[dict[str, Any]] = []
    for i, node in enumerate(drawing.nodes):
        row: dict[str, Any] = {"id": i, "kind": "source" if node.rule is None else "rule" if drawing.rules else "job"}
        row |= {"rule": node.rule, "targets": node.targets, "state": node.state.replace(" ", "_")}
        if drawing.rules:
            row["jobs"] = node.count if node.rule is not None else 0
            row["states"] = {state.replace(" ", "_"): count for state, count in node.states.items()}
        nodes.append(row)
    edges = [{"source": a, "target": b} for a, b in drawing.edges]
    return {"directed": True, "multigraph": False, "graph": {}, "nodes": nodes, "edges": edges}


def written(drawing: Drawing, form: str) -> str:
    """A drawing in one of FORMATS."""
    if form == "json":
        import json

        return json.dumps(plain(drawing), indent=1)
    return {"dot": dot, "mermaid": mermaid, "svg": svg}[form](drawing)
