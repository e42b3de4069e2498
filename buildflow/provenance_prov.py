"""A history as W3C PROV: one JSON-LD document in the terms of PROV-O.

Files are entities, runs of jobs are activities, bflow is the agent. It stands for itself: see `provenance_terms`.
"""

from __future__ import annotations

from typing import Any

from buildflow.provenance import File, Provenance, Step
from buildflow.provenance_terms import AGENT, CONTEXT, SOFTWARE, job_urn, runtime_of, shown, time_text, urn

DIGEST = "xxh3-128"
"""Of a file: XXH3-128 of its bytes and its executable bit; of a folder: of the names and digests in it."""


def document(found: Provenance) -> dict[str, Any]:
    """The whole document."""
    environments: dict[str, dict[str, Any]] = {}
    activities = [_activity(step, environments) for step in found.steps.values()]
    entities = [_entity(file, found) for file in found.files.values()]
    return {"@context": CONTEXT, "@graph": [SOFTWARE, *activities, *environments.values(), *entities]}


def file_urn(file: File) -> str:
    return urn("file", file.name.step or "source", file.name.digest or "unknown", file.path)


def _activity(step: Step, environments: dict[str, dict[str, Any]]) -> dict[str, Any]:
    node: dict[str, Any] = {"@id": job_urn(step.id), "@type": "prov:Activity", "rdfs:label": shown(step.label)}
    if step.entry is None:
        return {**node, "bflow:opaque": True, "bflow:why": step.why}
    result = step.result
    for name in ("started", "ended"):
        time = step.time(name)
        if time is not None:
            node[f"prov:{name}AtTime"] = time_text(time)
    if not result.get("adopted"):
        node["prov:wasAssociatedWith"] = AGENT
    node["bflow:rule"] = shown(step.rule)
    node["bflow:recipe"] = shown(step.recipe)
    wildcards = result.get("wildcards")
    if isinstance(wildcards, dict) and wildcards:
        node["bflow:wildcards"] = [shown(f"{name}={value}") for name, value in wildcards.items()]
    for section, name in (("variable", "variables"), ("tool", "tools")):
        rows = step.rows(section)
        if rows:
            node[f"bflow:{name}"] = [shown(f"{one}={value}") for one, value in rows]
    for name in ("adopted", "again"):
        if result.get(name):
            node[f"bflow:{name}"] = True
    used = [file_urn(file) for file in step.used]
    if step.ran:
        for name in ("host", "worker"):
            if result.get(name):
                node[f"bflow:{name}"] = shown(str(result[name]))
        node.update({f"bflow:{name}": value for name, value in runtime_of(result.get("runtime")).items()})
        used.append(_environment(step, environments))
    node["prov:used"] = used
    return node


def _environment(step: Step, environments: dict[str, dict[str, Any]]) -> str:
    """The environment that a job ran in is an entity that it used; its id."""
    text = str(step.result.get("image") or step.result.get("environment") or "native")
    identity = next((value for _, value in step.rows("environment")), "")
    name = urn("environment", identity or text)
    environments[name] = {
        "@id": name, "@type": ["prov:Entity", "bflow:Environment"], "rdfs:label": shown(text),
        "bflow:identity": shown(identity),
    }  # fmt: skip
    return name


def _entity(file: File, found: Provenance) -> dict[str, Any]:
    kind: Any = ["prov:Entity", "prov:Collection"] if file.is_folder else "prov:Entity"
    path = shown(file.path)
    node: dict[str, Any] = {"@id": file_urn(file), "@type": kind, "rdfs:label": path, "bflow:path": path}
    if file.name.digest:
        node["bflow:digest"] = f"{DIGEST}:{file.name.digest}"
    if file.size is not None:
        node["bflow:size"] = file.size
    if file.members:
        node["prov:hadMember"] = [file_urn(member) for member in file.members]
    if file.is_source:
        node["bflow:source"] = not file.members
        return node
    step = found.steps[file.name.step]
    node["prov:wasGeneratedBy"] = job_urn(step.id)
    if step.used:
        node["prov:wasDerivedFrom"] = [file_urn(one) for one in step.used]
    return node
