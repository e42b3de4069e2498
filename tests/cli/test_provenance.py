"""`bflow provenance`: the history of a file as W3C PROV and as a Workflow Run RO-Crate, from the entries alone."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from story import Story

Node = dict[str, Any]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")


@pytest.fixture
def built(story: Story) -> Story:
    story.write(
        "Flowfile",
        """
        n = {1..2}
        all: out/sum
        out/sum: part/{n}.txt ref=ref.txt
            cat {in} > {out}
        part/{n}.txt: in/{n}
            cp {in} {out}
        """,
    )
    story.write("ref.txt", "ref")
    for n in (1, 2):
        story.write(f"in/{n}", f"text {n}")
    story.build()
    return story


def some(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def path_of(identifier: str) -> str:
    return os.fsdecode(unquote_to_bytes(identifier))


class Prov:
    """A document, checked: every name is of PROV-O or of ours, and every reference leads somewhere."""

    RELATIONS = {
        "prov:used": ("prov:Activity", "prov:Entity"),
        "prov:wasGeneratedBy": ("prov:Entity", "prov:Activity"),
        "prov:wasDerivedFrom": ("prov:Entity", "prov:Entity"),
        "prov:wasAssociatedWith": ("prov:Activity", "prov:Agent"),
        "prov:hadMember": ("prov:Collection", "prov:Entity"),
    }

    def __init__(self, text: str) -> None:
        document = json.loads(text)
        context, graph = document["@context"], document["@graph"]
        assert context["prov"] == "http://www.w3.org/ns/prov#" and not isinstance(context, str)
        assert context["xsd"] == "http://www.w3.org/2001/XMLSchema#"
        self.nodes: dict[str, Node] = {node["@id"]: node for node in graph}
        assert len(self.nodes) == len(graph)
        for node in graph:
            assert re.fullmatch(r"urn:[a-z0-9-]+:[\x21-\x7e]+", node["@id"])
            assert {"prov:Entity", "prov:Activity", "prov:Agent"} & set(some(node["@type"]))
            for name, value in node.items():
                if name.startswith("@"):
                    continue
                assert name.partition(":")[0] in context
                if name in self.RELATIONS:
                    subject, about = self.RELATIONS[name]
                    assert context[name] == {"@type": "@id"} and subject in some(node["@type"])
                    assert all(about in some(self.nodes[one]["@type"]) for one in some(value))
                elif name in ("prov:startedAtTime", "prov:endedAtTime"):
                    assert context[name] == {"@type": "xsd:dateTime"} and TIME.fullmatch(value)
                else:
                    assert name.startswith(("bflow:", "rdfs:")), name

    def files(self, path: str) -> list[Node]:
        return [node for node in self.nodes.values() if node.get("bflow:path") == path]

    def file(self, path: str) -> Node:
        (found,) = self.files(path)
        return found

    def maker(self, path: str) -> Node:
        return self.nodes[self.file(path)["prov:wasGeneratedBy"]]

    def used(self, path: str) -> list[str]:
        """The paths of what the maker of a file used."""
        used = [self.nodes[one] for one in some(self.maker(path).get("prov:used"))]
        return sorted(node["bflow:path"] for node in used if "bflow:path" in node)


def prov(story: Story, *words: str) -> Prov:
    return Prov(story.bflow("provenance", *words).out)


class Crate:
    """A crate, checked by what RO-Crate 1.1 and the profile Provenance Run Crate 0.5 require."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        document = json.loads((folder / "ro-crate-metadata.json").read_text())
        assert document["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
        self.nodes: dict[str, Node] = {node["@id"]: node for node in document["@graph"]}
        assert len(self.nodes) == len(document["@graph"])
        for node in self.nodes.values():
            assert node["@type"] and all(value != [] for value in node.values())
            for value in node.values():
                for one in some(value):
                    if isinstance(one, dict):
                        assert set(one) == {"@id"}
                        assert one["@id"] in self.nodes or one["@id"].startswith("https://w3id.org/"), one
        self._check_root()
        self._check_files()
        self._check_runs()

    def of(self, kind: str) -> list[Node]:
        return [node for node in self.nodes.values() if kind in some(node["@type"])]

    def refs(self, node: Node, name: str) -> list[str]:
        return [one["@id"] for one in some(node.get(name))]

    def _check_root(self) -> None:
        metadata = self.nodes["ro-crate-metadata.json"]
        assert metadata["@type"] == "CreativeWork" and metadata["about"] == {"@id": "./"}
        assert "https://w3id.org/ro/crate/1.1" in self.refs(metadata, "conformsTo")
        self.root = self.nodes["./"]
        assert self.root["@type"] == "Dataset" and all(self.root[name] for name in ("name", "description", "license"))
        assert TIME.fullmatch(self.root["datePublished"])
        for profile in ("process", "workflow", "provenance"):
            assert f"https://w3id.org/ro/wfrun/{profile}/0.5" in self.refs(self.root, "conformsTo")
        (main,) = self.refs(self.root, "mainEntity")
        self.workflow = self.nodes[main]
        assert {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"} <= set(self.workflow["@type"])
        assert self.workflow["name"] and self.refs(self.workflow, "programmingLanguage")

    def _check_files(self) -> None:
        parts = self.refs(self.root, "hasPart")
        for node in [*self.of("File"), *self.of("Dataset")]:
            if node is not self.root:
                assert node["@id"] in parts and node["name"]
                place = self.folder / path_of(node["@id"])
                assert place.is_dir() if "Dataset" in some(node["@type"]) else place.is_file()
        there = {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}
        told = {path_of(part).rstrip("/") for part in parts}
        assert all(any(name == one or name.startswith(one + "/") for one in told)
                   for name in there - {"ro-crate-metadata.json"})  # fmt: skip

    def _check_runs(self) -> None:
        self.runs = self.of("CreateAction")
        mentions = self.refs(self.root, "mentions")
        tools, steps = self.refs(self.workflow, "hasPart"), self.refs(self.workflow, "step")
        jobs = set()
        for run in self.runs:
            (tool,) = self.refs(run, "instrument")
            assert run["@id"] in mentions and run["name"] and tool in (*tools, self.workflow["@id"])
            if tool != self.workflow["@id"]:
                assert "SoftwareApplication" in self.nodes[tool]["@type"]
                jobs.add(run["@id"])
            for name in ("startTime", "endTime"):
                assert name not in run or TIME.fullmatch(run[name])
            for usage in self.refs(run, "resourceUsage"):
                assert self.nodes[usage]["propertyID"] and self.nodes[usage]["@type"] == "PropertyValue"
        (self.run,) = [run for run in self.runs if self.refs(run, "instrument") == [self.workflow["@id"]]]
        assert all(self.refs(self.nodes[step], "workExample")[0] in tools for step in steps)
        controls = self.of("ControlAction")
        assert all(self.refs(control, "instrument")[0] in steps for control in controls)
        assert {one for control in controls for one in self.refs(control, "object")} == jobs
        (engine,) = self.of("OrganizeAction")
        assert self.nodes[self.refs(engine, "instrument")[0]]["softwareVersion"]
        assert self.refs(engine, "result") == [self.run["@id"]]
        assert set(self.refs(engine, "object")) == {control["@id"] for control in controls}

    def maker(self, identifier: str) -> Node:
        (found,) = [run for run in self.runs if run is not self.run and identifier in self.refs(run, "result")]
        return found


def crate(story: Story, *words: str) -> Crate:
    folder = story.path("../crate").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    ran = story.bflow("provenance", "--format", "ro-crate", "-o", folder, *words)
    assert not ran.out
    return Crate(folder)


# ---- PROV


def test_the_whole_history_is_told(built: Story) -> None:
    found = prov(built, "out/sum")
    assert found.used("out/sum") == ["part/1.txt", "part/2.txt", "ref.txt"] and found.used("part/2.txt") == ["in/2"]
    job = found.maker("part/2.txt")
    assert job["bflow:recipe"] == "cp in/2 part/2.txt" and job["bflow:rule"] == "part/{n}.txt"
    assert job["bflow:wildcards"] == ["n=2"] and job["bflow:worker"] == "cf" and job["bflow:host"]
    assert job["prov:startedAtTime"] <= job["prov:endedAtTime"] and job["bflow:wall_s"] >= 0
    source = found.file("in/2")
    assert source["bflow:source"] and source["bflow:size"] == 6 and source["bflow:digest"].startswith("xxh3-128:")
    assert "prov:wasGeneratedBy" not in source
    assert len(found.file("out/sum")["prov:wasDerivedFrom"]) == 3


def test_a_file_of_the_middle_has_its_own_history(built: Story) -> None:
    found = prov(built, "part/1.txt")
    assert found.files("in/1") and not found.files("in/2") and not found.files("out/sum")


def test_several_targets_share_what_is_common(built: Story) -> None:
    found = prov(built, "all", "part/1.txt")
    assert len([node for node in found.nodes.values() if node["@type"] == "prov:Activity"]) == 3


def test_it_is_of_the_entries_and_not_of_today(built: Story) -> None:
    """What stands in the project since, or in the Flowfile, has no part in it."""
    before = json.loads(built.bflow("provenance", "out/sum").out)
    built.write("in/1", "other")
    built.edit("Flowfile", "cp {in} {out}", "cat {in} > {out}")
    built.remove("ref.txt")
    built.write("ref.txt", "another")
    assert json.loads(built.bflow("provenance", "out/sum").out) == before


def test_it_is_written_to_a_file(built: Story) -> None:
    ran = built.bflow("provenance", "out/sum", "-o", "a.jsonld")
    assert not ran.out and "3 jobs" in ran.err
    assert Prov(built.read("a.jsonld")).file("out/sum")
    assert "cannot write no/a" in built.bflow("provenance", "out/sum", "-o", "no/a", ok=2).err


def test_an_entry_that_is_gone_is_an_opaque_step(built: Story) -> None:
    key = built.bflow("cache", "path", "part/1.txt").out.strip()
    shutil.rmtree(key)
    ran = built.bflow("provenance", "out/sum")
    found = Prov(ran.out)
    job = found.maker("part/1.txt")
    assert job["bflow:opaque"] and "gone" in job["bflow:why"] and "prov:used" not in job and not found.files("in/1")
    assert found.used("part/2.txt") == ["in/2"] and "what made part/1.txt is not known" in ran.err


def test_that_of_the_target_itself(built: Story) -> None:
    shutil.rmtree(built.path(".bflow/cache"))
    found = prov(built, "out/sum")
    assert found.maker("out/sum")["bflow:opaque"] and found.file("out/sum")["bflow:digest"]


def test_a_damaged_entry_is_an_opaque_step(built: Story) -> None:
    entry = built.bflow("cache", "path", "part/1.txt").out.strip()
    for change in ({"inputs": [3]}, {"manifest": [["x"]]}, {"inputs": 7}, {"read": ["x"]}, {"outputs": [{}]}):
        result = json.loads(built.read(f"{entry}/result.json"))
        built.write(f"{entry}/result.json", json.dumps({**result, **change}))
        assert prov(built, "out/sum").maker("part/1.txt")["bflow:opaque"]
        built.write(f"{entry}/result.json", json.dumps(result))
    built.write(f"{entry}/result.json", "{")
    assert prov(built, "out/sum").maker("part/1.txt")["bflow:opaque"]


def test_what_ran_again_and_made_other_bytes_is_not_taken_for_what_was_read(story: Story) -> None:
    story.write("Flowfile", "b: a\n    cp a b\na: src\n    date +%N > a\n")
    story.write("src")
    story.build("b")
    story.build("-B", "a")
    found = prov(story, "b")
    job = found.maker("a")
    assert job["bflow:opaque"] and "ran again since" in job["bflow:why"] and not found.files("src")
    assert found.file("b")["bflow:digest"] == found.file("a")["bflow:digest"]


def test_the_same_bytes_made_by_two_jobs_are_two_files(story: Story) -> None:
    """Early cutoff: what reads them keeps the history with which it was made."""
    story.write("Flowfile", "both: b c\nb: a\n    cp a b\nc: a\n    cat a > c\na: src\n    wc -l < src > a\n")
    story.write("src", "1\n")
    story.build("b")
    story.write("src", "2\n")
    story.build("both")
    found = prov(story, "both")
    first, second = found.files("a")
    assert first["bflow:digest"] == second["bflow:digest"]
    assert first["prov:wasGeneratedBy"] != second["prov:wasGeneratedBy"]
    assert len(found.files("src")) == 2


def test_folders_and_what_is_in_them(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        n = 1 2
        all: sum one
        sum: out/
            cat out/* > {out}
        out/{n}: in/{n}
            cp {in} {out}
        one: tab/x
            cp {in} {out}
        tab/: in/1
            cp {in} {out}x
        """,
    )
    story.write("in/1", "1")
    story.write("in/2", "2")
    story.write("out/own", "o")
    story.build()
    found = prov(story, "sum", "one")
    folder = found.file("out/")
    assert [found.nodes[one]["bflow:path"] for one in folder["prov:hadMember"]] == ["out/1", "out/2"]
    assert found.used("out/2") == ["in/2"]
    made = found.file("tab/")
    assert "prov:Collection" in made["@type"] and made["bflow:size"] == 1
    assert made["prov:wasGeneratedBy"] == found.file("tab/x")["prov:wasGeneratedBy"]
    assert some(made["prov:hadMember"]) == [found.file("tab/x")["@id"]]
    assert prov(story, "tab/x").file("tab/x")["bflow:digest"] == found.file("tab/x")["bflow:digest"]


def test_what_a_depfile_names_was_used(story: Story) -> None:
    story.write("Flowfile", "[depfile = d]\no: c inc/*.h\n    echo 'o: c inc/a.h' > {depfile}; touch o\n")
    for name in ("c", "inc/a.h", "inc/b.h"):
        story.write(name, name)
    story.build()
    assert prov(story, "o").used("o") == ["c", "inc/a.h"]


def test_functions_and_the_modules_they_are_in(story: Story) -> None:
    story.write("Flowfile", "[call = m:go, vars = WORD=hello]\no: a\n")
    story.write("m.py", "def go(inputs, out): return 'x'\n")
    story.write("a")
    story.build()
    found = prov(story, "o")
    assert found.used("o") == ["a", "m.py"]
    assert found.maker("o")["bflow:recipe"] == "m:go" and found.maker("o")["bflow:variables"] == ["WORD=hello"]


def test_a_result_that_came_from_a_job_of_another_name(story: Story) -> None:
    story.write("Flowfile", "all: y\n[anonymous]\n{x}: in/{x}\n    cp {in} {out}\ny: b\n    cp b y\n")
    story.write("in/a", "same")
    story.write("in/b", "same")
    story.build("a")
    assert story.build("b").cached == 1
    story.build("y")
    found = prov(story, "y")
    assert found.maker("b") == found.maker("a") and found.used("y") == ["b"]
    assert prov(story, "b").used("b") == ["in/a"]


def test_what_was_adopted_has_no_run(story: Story) -> None:
    story.write("Flowfile", "b: a\n    cp a b\n")
    story.write("a", "1")
    story.write("b", "1")
    story.bflow("adopt", "b")
    found = prov(story, "b")
    job = found.maker("b")
    assert job["bflow:adopted"] and "prov:startedAtTime" not in job and "prov:wasAssociatedWith" not in job
    assert found.used("b") == ["a"]
    assert crate(story, "b").nodes["#another-tool"]


def test_names_of_any_bytes(story: Story) -> None:
    story.write("Flowfile", "all: {s}.out\ns = glob({s}.in)\n{s}.out: {s}.in\n    cp {in} {out}\n")
    for name in ("a b", "ü#?%", os.fsdecode(b"x\xff")):
        story.write(f"{name}.in", name)
    story.build()
    text = story.bflow("provenance", "all").out
    assert "\\ud" not in text
    found = Prov(text)
    assert found.used("ü#?%.out") == ["ü#?%.in"] and any("x%FF.in" in name for name in found.nodes)
    made = crate(story, "all")
    assert made.maker("a%20b.out")["description"] == "cp 'a b.in' 'a b.out'"
    assert made.nodes["x%FF.out"]


@pytest.mark.parametrize("form", ["prov", "ro-crate"])
def test_where_there_is_no_history(built: Story, form: str) -> None:
    built.write("Flowfile", built.read("Flowfile") + "\nnever:\n    touch never\n[phony]\ntalk:\n    echo\n")
    words = ["provenance", "--format", form, "-o", "o"]
    assert "never made" in built.bflow(*words, "never", ok=2).err
    assert "is a source" in built.bflow(*words, "in/1", ok=2).err
    assert "phony" in built.bflow(*words, "talk", ok=2).err
    assert "no rule makes it" in built.bflow(*words, "nothing", ok=2).err
    assert "a target is missing" in built.bflow(*words, "n=1", ok=2).err
    assert not built.exists("o")


def test_a_project_that_was_never_built(story: Story) -> None:
    story.write("Flowfile", "x:\n    touch x\n")
    assert "never made" in story.bflow("provenance", "x", ok=2).err and not story.exists(".bflow")


# ---- RO-Crate


def test_a_crate_has_the_files_and_the_runs(built: Story) -> None:
    built.write("LICENSE", "free")
    found = crate(built, "out/sum")
    assert (found.folder / "out/sum").read_text() == "text 1text 2ref"
    assert found.workflow["@id"] == "Flowfile" and (found.folder / "Flowfile").read_text() == built.read("Flowfile")
    assert found.root["license"] == {"@id": "LICENSE"}
    job = found.maker("part/1.txt")
    assert job["description"] == "cp in/1 part/1.txt" and found.refs(job, "object") == ["in/1"]
    assert job["actionStatus"] == "http://schema.org/CompletedActionStatus"
    assert found.refs(job, "instrument") == ["#rule-part/%7Bn%7D.txt"]
    assert sorted(found.refs(found.run, "object")) == ["in/1", "in/2", "ref.txt"]
    assert found.refs(found.run, "result") == ["out/sum"]
    value = found.nodes[found.refs(found.nodes["in/1"], "additionalProperty")[0]]
    assert value["name"] == "XXH3-128" and re.fullmatch("[0-9a-f]{32}", value["value"])
    assert found.nodes["in/1"]["contentSize"] == "6" and found.nodes["part/1.txt"]["encodingFormat"] == "text/plain"


def test_what_is_not_to_be_had_is_described(built: Story) -> None:
    built.write("in/1", "other")
    shutil.rmtree(built.bflow("cache", "path", "part/2.txt").out.strip())
    built.remove("part/2.txt")
    found = crate(built, "out/sum")
    assert not (found.folder / "in/1").exists() and not (found.folder / "part/2.txt").exists()
    told = {node["name"]: node["description"] for node in found.of("CreativeWork") if "description" in node}
    assert "changed since" in told["in/1"] and "gone from the cache" in told["part/2.txt"]
    (unknown,) = [run for run in found.runs if found.refs(run, "instrument") == ["#unknown"]]
    assert "not known" in unknown["description"]


def test_a_crate_without_files(built: Story) -> None:
    found = crate(built, "out/sum", "--no-files")
    assert sorted(os.listdir(found.folder)) == ["Flowfile", "ro-crate-metadata.json"]
    assert {"out/sum", "in/1"} <= {node.get("name") for node in found.of("CreativeWork")}


def test_folders_versions_and_files_outside(story: Story) -> None:
    story.write("../outside", "far")
    story.write(
        "Flowfile",
        """
        all: both one
        both: old a
            cat {in} > {out}
        old: a
            cat a > old; echo more >> old
        a: src
            cp src a
        one: tab/ ../outside sub/
            cat tab/x {in[1]} > {out}
        tab/:
            mkdir {out}empty; echo 1 > {out}x; ln -s x {out}link
        """,
    )
    story.write("sub/s", "s")
    story.write("src", "1")
    story.build("old")
    story.edit("Flowfile", "cat a > old; echo more", "cat a > old; echo more  ")
    story.build("all")
    found = crate(story, "all")
    assert (found.folder / "tab/link").is_symlink() and (found.folder / "tab/empty").is_dir()
    assert os.access(found.folder / "tab/x", os.W_OK)
    told = {node["name"]: node["description"] for node in found.of("CreativeWork") if "description" in node}
    assert "outside" in told["../outside"] and "folder of sources" in told["sub/"]


def test_a_path_that_had_several_contents(story: Story) -> None:
    story.write("Flowfile", "both: b c\nb: a\n    cp a b\nc: a\n    cat a > c\na: src\n    cp src a\n")
    story.write("src", "1")
    story.build("b")
    story.write("src", "2")
    story.build("c")
    found = crate(story, "both")
    first, second = (node for node in found.of("File") if node["name"] == "a")
    assert first["@id"] == "a" and second["@id"].startswith("versions/") and second["alternateName"] == "a"
    assert found.refs(found.maker("b"), "object") == ["a"] and (found.folder / "a").read_text() == "1"
    assert (found.folder / second["@id"]).read_text() == "2"


def test_what_would_be_the_crates_own_file(story: Story) -> None:
    story.write("Flowfile", "ro-crate-metadata.json:\n    echo mine > {out}\n")
    story.build()
    found = crate(story, "ro-crate-metadata.json")
    (node,) = [node for node in found.of("File") if node["name"] == "ro-crate-metadata.json"]
    assert (found.folder / node["@id"]).read_text() == "mine\n"


def test_includes_and_a_flowfile_from_elsewhere(story: Story) -> None:
    story.write("Flowfile", 'include "rules/more.flow"\nb: a\n    cp a b\n')
    story.write("rules/more.flow", "a:\n    touch a\n")
    story.build("b")
    found = crate(story, "b")
    assert "rules/more.flow" in found.refs(found.workflow, "hasPart") and (found.folder / "rules/more.flow").is_file()
    story.write("../elsewhere/Flowfile", "b:\n    touch b\n")
    story.remove("Flowfile")
    words = ["-f", "../elsewhere/Flowfile"]
    story.bflow(*words, "build", "-B")
    story.bflow(*words, "provenance", "b", "--format", "ro-crate", "-o", "../crate2")
    assert Crate(story.path("../crate2").resolve()).workflow["@id"] == "Flowfile"


def test_a_folder_that_is_there_is_left_alone(built: Story) -> None:
    built.write("crate/mine", "mine")
    words = ["provenance", "out/sum", "--format", "ro-crate"]
    assert "is there already" in built.bflow(*words, "-o", "crate", ok=2).err
    assert os.listdir(built.path("crate")) == ["mine"]
    assert "cannot write the crate" in built.bflow(*words, "-o", "ref.txt/x", ok=2).err
    assert "-o DIR" in built.bflow(*words, ok=2).err
    assert "--no-files" in built.bflow("provenance", "out/sum", "--no-files", ok=2).err
    built.path("empty").mkdir()
    built.bflow(*words, "-o", "empty")
    assert built.exists("empty/ro-crate-metadata.json")
    assert not [name for name in os.listdir(built.root) if name.startswith(".bflow-tmp")]


@pytest.mark.parametrize(
    ("image", "registry", "name", "tag"),
    [
        ("docker://quay.io/bio/samtools:1.9", "quay.io", "bio/samtools", "1.9"),
        ("docker://localhost:5000/tool", "localhost:5000", "tool", None),
        ("docker://busybox:1", "docker.io", "busybox", "1"),
        ("singularity://images/tool.sif", None, "images/tool.sif", None),
    ],
)
def test_the_container_of_a_job(built: Story, image: str, registry: str, name: str, tag: str | None) -> None:
    """(Its entry is written as if it had run there.)"""
    entry = built.bflow("cache", "path", "part/1.txt").out.strip()
    result = json.loads(built.read(f"{entry}/result.json"))
    rows = [["environment", "", "image sha256:12"] if row[0] == "environment" else row for row in result["manifest"]]
    change = {"environment": image.partition(":")[0], "image": image, "manifest": rows}
    built.write(f"{entry}/result.json", json.dumps({**result, **change}))
    found = crate(built, "out/sum")
    node = found.nodes[found.refs(found.maker("part/1.txt"), "containerImage")[0]]
    assert (node.get("registry"), node["name"], node.get("tag")) == (registry, name, tag)
    assert node["@type"] == "ContainerImage" and node["identifier"] == "image sha256:12"
    document = prov(built, "out/sum")
    used = [document.nodes[one] for one in document.maker("part/1.txt")["prov:used"]]
    assert [one["rdfs:label"] for one in used if "bflow:Environment" in one["@type"]] == [image]
