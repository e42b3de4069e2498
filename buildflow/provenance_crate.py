"""A history as a Workflow Run RO-Crate: a folder with the files and `ro-crate-metadata.json`.

It follows RO-Crate 1.1 and, of the Workflow Run profiles, the one that tells of each job (Provenance Run Crate 0.5):
the Flowfile is the workflow, a rule is a tool of it, a job is a `CreateAction`, and one more is the run as a whole.
Files that cannot be had any more with the bytes that were read or made are described, and are not in the folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from buildflow import provenance_terms as terms
from buildflow.errors import FlowError
from buildflow.files import commit_dir, remove_tree
from buildflow.provenance_files import Files
from buildflow.provenance_terms import shown

if TYPE_CHECKING:
    from buildflow.provenance import File, Provenance, Step
    from buildflow.submitter import Session

METADATA = "ro-crate-metadata.json"
CONTEXT = ["https://w3id.org/ro/crate/1.1/context", "https://w3id.org/ro/terms/workflow-run/context"]
CRATE = "https://w3id.org/ro/crate/1.1"
WORKFLOW_CRATE = "https://w3id.org/workflowhub/workflow-ro-crate/1.0"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    WORKFLOW_CRATE: ("Workflow RO-Crate", "1.0"),
}
UNITS = {
    "wall_s": "https://qudt.org/vocab/unit/SEC", "rss_peak_gb": "https://qudt.org/vocab/unit/GigaBYTE",
    "vms_peak_gb": "https://qudt.org/vocab/unit/GigaBYTE", "cpu_peak_percent": "https://qudt.org/vocab/unit/PERCENT",
}  # fmt: skip
LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
RUN, ENGINE, LANGUAGE, UNKNOWN = "#run", "#bflow", "#flowfile", "#unknown"
Node = dict[str, Any]


def write_crate(session: Session, found: Provenance, folder: str, version: str, *, files: bool) -> None:
    """Write the crate into a new folder, in one step. `version`: bflow's; `files`: copy those that can be had.

    Raises FlowError where something is there already, or it cannot be written.
    """
    import json

    folder = os.path.abspath(folder)
    if os.path.lexists(folder) and not (os.path.isdir(folder) and not os.listdir(folder)):
        raise FlowError(f"{folder} is there already", None, "name a new folder, or remove that one first")
    staging = f"{os.path.dirname(folder)}/.bflow-tmp.crate-{os.getpid()}"
    try:
        os.makedirs(staging)
    except OSError as error:
        raise FlowError(f"cannot write the crate {folder}: {error.strerror}") from None
    try:
        crate = _Crate(session, found, Files(session, found, staging, copies=files), version)
        with open(f"{staging}/{METADATA}", "w", encoding="ascii") as file:
            json.dump({"@context": CONTEXT, "@graph": crate.graph()}, file, indent=2)
            file.write("\n")
        if not commit_dir(staging, folder):
            raise FlowError(f"{folder} is there already", None, "name a new folder, or remove that one first")
    except OSError as error:
        raise FlowError(f"cannot write the crate {folder}: {error.strerror}") from None
    finally:
        remove_tree(staging)


class _Crate:
    """The graph of one crate: nodes by their ids, in the order in which they were added."""

    def __init__(self, session: Session, found: Provenance, files: Files, version: str) -> None:
        self.version = version
        self.session = session
        self.found = found
        self.files = files
        self.nodes: dict[str, Node] = {}
        self.parts: list[Node] = []  # what is in the folder

    def graph(self) -> list[Node]:
        root: Node = {"@id": "./", "@type": "Dataset"}
        self.add({"@id": METADATA, "@type": "CreativeWork", "about": _ref("./"),
                  "conformsTo": [_ref(CRATE), _ref(WORKFLOW_CRATE)]})  # fmt: skip
        self.add(root)
        for profile, (name, version) in PROFILES.items():
            self.add({"@id": profile, "@type": "CreativeWork", "name": name, "version": version})
        workflow = self._workflow()
        for target in self.found.targets:
            self.file(target)
        jobs = [self._job(step) for step in self.found.steps.values()]
        run = self._run(workflow)
        workflow["hasPart"] = self._of_type("SoftwareApplication", but=ENGINE) + workflow["hasPart"]
        workflow["step"] = self._of_type("HowToStep")
        self._engine(run)
        names = ", ".join(shown(target.path) for target in self.found.targets[:3])
        root.update({
            "name": f"The history of {names}" + (" …" if len(self.found.targets) > 3 else ""),
            "description": f"How {names} came about: every job from the sources on, as bflow recorded it.",
            "datePublished": terms.time_text(time.time()), "license": self._licence(),
            "conformsTo": [_ref(profile) for profile in PROFILES], "mainEntity": _to(workflow),
            "hasPart": self.parts, "mentions": [_to(run), *map(_to, jobs)],
        })  # fmt: skip
        return [_compact(node) for node in self.nodes.values()]

    def add(self, node: Node) -> Node:
        """A node that is to be in the graph; the one that is there by its id."""
        return self.nodes.setdefault(node["@id"], node)

    def _of_type(self, kind: str, but: str = "") -> list[Node]:
        return [_to(node) for node in self.nodes.values() if node["@type"] == kind and node["@id"] != but]

    # ---- the workflow ------------------------------------------------------------------------------------------

    def _workflow(self) -> Node:
        builder = self.session.builder
        named = [rule.span.source.name for rule in builder.rules if rule.span is not None]
        names = [name for name in dict.fromkeys([builder.flowfile, *named]) if name is not None]
        added = [(name, self.files.project_file(name, outside=name == builder.flowfile)) for name in names]
        (first, place), *included = [(name, place) for name, place in added if place]
        self.add({"@id": LANGUAGE, "@type": "ComputerLanguage", "name": "Flowfile", "alternateName": "bflow",
                  "url": "https://pypi.org/project/buildflow/"})  # fmt: skip
        node = self.add({
            "@id": place, "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            "name": shown(first), "description": "The rules, as they stand at the time of the export.",
            "programmingLanguage": _ref(LANGUAGE), "encodingFormat": "text/plain", "hasPart": [],
        })  # fmt: skip
        self.parts.append(_to(node))
        for name, place in included:
            part = self.add({"@id": place, "@type": ["File", "SoftwareSourceCode"], "name": shown(name),
                             "programmingLanguage": _ref(LANGUAGE), "encodingFormat": "text/plain"})  # fmt: skip
            self.parts.append(_to(part))
            node["hasPart"].append(_to(part))
        return node

    def _licence(self) -> Any:
        """The project's, where it has one in a file."""
        for name in LICENCES:
            place = self.files.project_file(name)
            if place is not None:
                node = self.add({"@id": place, "@type": ["File", "CreativeWork"], "name": name,
                                 "description": "The licence of the project.",
                                 "encodingFormat": "text/plain"})  # fmt: skip
                if _to(node) not in self.parts:
                    self.parts.append(_to(node))
                return _to(node)
        return "not stated"

    # ---- runs --------------------------------------------------------------------------------------------------

    def _run(self, workflow: Node) -> Node:
        steps = self.found.steps.values()
        node = {
            "@id": RUN, "@type": "CreateAction", "name": "the run of the workflow", "instrument": _to(workflow),
            "description": "All jobs of the history, whenever each of them ran.",
            "object": self._files(self.found.sources), "result": self._files(self.found.targets),
        }  # fmt: skip
        _times(node, [t for s in steps if (t := s.time("started"))], [t for s in steps if (t := s.time("ended"))])
        return self.add(node)

    def _engine(self, run: Node) -> None:
        self.add({"@id": ENGINE, "@type": "SoftwareApplication", "name": "bflow", "softwareVersion": self.version,
                  "url": "https://pypi.org/project/buildflow/",
                  "description": "What ran the jobs; the version is that which wrote this crate."})  # fmt: skip
        steps = self._of_type("ControlAction")
        self.add({"@id": "#orchestration", "@type": "OrganizeAction", "name": "bflow ran the workflow",
                  "instrument": _ref(ENGINE), "object": steps, "result": _to(run)})  # fmt: skip

    def _job(self, step: Step) -> Node:
        node: Node = {"@id": f"#{step.id}", "@type": "CreateAction", "name": shown(step.label)}
        self.add(node)
        tool = self._tool(step)
        node["instrument"] = _to(tool)
        node["description"] = shown(step.recipe) if step.entry is not None else f"This step is not known: {step.why}."
        node["object"] = self._files(step.used)
        node["result"] = self._files(step.made.values())
        times = ([t] if (t := step.time(name)) else [] for name in ("started", "ended"))
        _times(node, *times)
        if step.entry is not None:
            node["actionStatus"] = "http://schema.org/CompletedActionStatus"
            self._surroundings(step, node)
        how = self.add({"@id": f"{tool['@id']}-step", "@type": "HowToStep", "name": tool["name"],
                        "workExample": _to(tool)})  # fmt: skip
        self.add({"@id": f"#step-{step.id}", "@type": "ControlAction", "name": f"step {node['name']}",
                  "instrument": _to(how), "object": _to(node)})  # fmt: skip
        return node

    def _tool(self, step: Step) -> Node:
        if step.entry is None:
            return self.add({"@id": UNKNOWN, "@type": "SoftwareApplication", "name": "unknown",
                             "description": "What ran is not recorded any more."})  # fmt: skip
        if step.result.get("adopted"):
            return self.add({"@id": "#another-tool", "@type": "SoftwareApplication", "name": "another tool",
                             "description": "Its files were adopted as results."})  # fmt: skip
        return self.add({"@id": f"#rule-{terms.quoted(step.rule)}", "@type": "SoftwareApplication",
                         "name": shown(step.rule), "description": "A rule of the workflow."})  # fmt: skip

    def _surroundings(self, step: Step, node: Node) -> None:
        """Resources, variables of the environment, image, host: what else is on record of a job."""
        key = step.id
        usage = [
            self._value(f"#{key}-{name}", name, value, propertyID=terms.urn("terms", name), unitCode=UNITS[name])
            for name, value in terms.runtime_of(step.result.get("runtime")).items()
        ]
        variables = [self._value(f"#{key}-{terms.quoted(name)}", name, value) for name, value in step.rows("variable")]
        about = [
            self._value(f"#{name}-{terms.quoted(str(step.result[name]))}", name, str(step.result[name]))
            for name in ("host", "worker", "environment", "image")
            if step.ran and step.result.get(name)
        ]
        for name, values in (("resourceUsage", usage), ("environment", variables), ("additionalProperty", about)):
            if values:
                node[name] = values
        image = self._image(step)
        if image is not None:
            node["containerImage"] = _to(image)

    def _image(self, step: Step) -> Node | None:
        """The container of a job that ran in one."""
        scheme, _, name = str(step.result.get("image") or "").partition("://")
        if scheme not in ("docker", "singularity"):
            return None
        identity = next((value for _, value in step.rows("environment")), "")
        kind = "DockerImage" if scheme == "docker" else "SIFImage"
        node: Node = {
            "@id": f"#image-{terms.quoted(identity or name)}", "@type": "ContainerImage", "identifier": shown(identity),
            "additionalType": _ref(f"https://w3id.org/ro/terms/workflow-run#{kind}"), "name": shown(name),
        }  # fmt: skip
        if scheme == "docker":
            registry, slash, rest = name.partition("/")
            if not slash or not ("." in registry or ":" in registry):
                registry, rest = "docker.io", name
            if ":" in rest:
                rest, _, node["tag"] = rest.rpartition(":")
            node["registry"], node["name"] = registry, rest
        return self.add(node)

    def _value(self, identifier: str, name: str, value: Any, **more: str) -> Node:
        text = shown(value) if isinstance(value, str) else value
        return _to(self.add({"@id": identifier, "@type": "PropertyValue", "name": shown(name), "value": text, **more}))

    # ---- files -------------------------------------------------------------------------------------------------

    def file(self, file: File) -> Node:
        """A reference to a file, which is put into the crate where it can be had."""
        place, why = self.files.place(file)
        if place is None:
            identifier = f"#file-{file.name.digest or 'unknown'}-{terms.quoted(file.path)}"
            node: Node = {"@id": identifier, "@type": "CreativeWork", "description": f"It is not in this crate: {why}."}
        else:
            identifier = place
            node = {"@id": place, "@type": "Dataset" if file.is_folder else "File"}
        if identifier in self.nodes:
            return _ref(identifier)
        self.add(node)
        node["name"] = shown(file.path)
        if place is not None:
            self.parts.append(_to(node))
            if place != terms.quoted(file.path):
                node["alternateName"] = shown(file.path)
            if not file.is_folder:
                from mimetypes import guess_type

                node["encodingFormat"] = guess_type(file.path)[0] or "application/octet-stream"
        if file.size is not None:
            node["contentSize"] = str(file.size)
        if file.name.digest:
            digest = file.name.digest
            node["additionalProperty"] = self._value(f"#xxh3-128-{digest}", "XXH3-128", digest)
        if file.members:
            node["hasPart"] = self._files(file.members)
        return _ref(identifier)

    def _files(self, files: Iterable[File]) -> list[Node]:
        """References to files, each once."""
        return [_ref(identifier) for identifier in dict.fromkeys(self.file(file)["@id"] for file in files)]


def _compact(node: Node) -> Node:
    """Without empty lists, and a single value as itself: so JSON-LD would have it."""
    some = {name: value for name, value in node.items() if value != []}
    return {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in some.items()}


def _ref(identifier: str) -> Node:
    return {"@id": identifier}


def _to(node: Node) -> Node:
    return {"@id": node["@id"]}


def _times(node: Node, started: list[float], ended: list[float]) -> None:
    if started:
        node["startTime"] = terms.time_text(min(started))
    if ended:
        node["endTime"] = terms.time_text(max(ended))
