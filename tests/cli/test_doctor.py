"""`bflow doctor`: what a machine has; commands are made up on a PATH of the test's own."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import pytest

from buildflow.doctor import _clock, _kind
from story import Story


@pytest.fixture
def empty(story: Story) -> Story:
    story.path("bin").mkdir()
    return story


def command(story: Story, name: str, says: str, status: int = 0) -> None:
    story.write(f"bin/{name}", f"#!/bin/sh\necho '{says}'\nexit {status}\n", mode=0o755)


def findings(story: Story, *words: str) -> dict[str, dict[str, Any]]:
    ran = story.bflow("doctor", "--json", *words, env={"PATH": str(story.path("bin"))})
    return {one["what"]: one for one in json.loads(ran.out)}


def test_a_bare_machine_has_next_to_nothing_and_is_told_what_to_do(empty: Story) -> None:
    found = findings(empty)
    assert found["python"]["state"] == "ok" and sys.executable in found["python"]["found"]
    assert found["bash"]["state"] == "missing"
    for name in ("docker", "apptainer", "slurm", "sge", "graphviz", "git"):
        assert found[name]["state"] == "absent" and found[name]["advice"], name
    assert {"processors", "project disk", "project clock", "inotify", "cache file system"} <= set(found)


def test_versions_are_told_as_the_commands_say_them(empty: Story) -> None:
    command(empty, "docker", "27.1.1")
    command(empty, "apptainer", "apptainer version 1.3.4")
    command(empty, "sbatch", "slurm 23.11.4")
    command(empty, "squeue", "")
    command(empty, "bash", "GNU bash, version 5.2.15(1)-release")
    found = findings(empty)
    assert found["docker"]["found"] == "docker 27.1.1"
    assert found["apptainer"]["found"] == "apptainer version 1.3.4"
    assert found["slurm"] == {"what": "slurm", "state": "ok", "found": "slurm 23.11.4", "advice": ""}
    assert found["bash"]["found"].startswith("5.2.15")


def test_an_engine_that_does_not_answer_and_half_a_cluster(empty: Story) -> None:
    command(empty, "docker", "Cannot connect to the Docker daemon", 1)
    command(empty, "sbatch", "slurm 23.11.4")
    found = findings(empty)
    assert found["docker"]["state"] == "note" and "does not answer" in found["docker"]["found"]
    assert found["slurm"]["state"] == "note" and "squeue is not" in found["slurm"]["found"]


def test_podman_stands_in_for_docker(empty: Story) -> None:
    command(empty, "podman", "4.3.1")
    assert findings(empty)["docker"]["found"] == "podman 4.3.1"


def test_what_a_rule_names_is_missing_where_it_is_not_there(empty: Story) -> None:
    empty.write("Flowfile", "[name = count, env = docker://busybox:1]\nx:\n    touch {out}\n")
    found = findings(empty)
    assert found["docker"]["state"] == "missing" and "the rule count needs it" in found["docker"]["found"]
    assert found["apptainer"]["state"] == "absent"
    empty.write("Flowfile", "what is this\n")
    assert findings(empty)["docker"]["state"] == "absent"


def test_it_is_a_table_of_two_columns_and_leaves_nothing(empty: Story) -> None:
    ran = empty.bflow("doctor", env={"PATH": str(empty.path("bin"))})
    lines = ran.out.splitlines()
    assert all(line[:18].strip() == "" or line[17] == " " for line in lines)
    assert any(line.startswith("bash              missing: there is no command bash") for line in lines)
    assert empty.files() == [] or empty.files() == ["bin"]
    assert not empty.exists(".bflow")


def test_a_cache_elsewhere_is_looked_at_where_it_will_be(empty: Story) -> None:
    assert "cache file system" in findings(empty, "--cache-root", "not/made/yet")
    assert not empty.exists("not")


@pytest.mark.skipif(not os.path.exists("/proc/self/mounts"), reason="there is no /proc")
def test_the_file_system_of_a_path() -> None:
    assert _kind("/proc/self") == "proc" and _kind("/")


def test_a_clock_of_whole_seconds_is_noted() -> None:
    assert _clock("project", 10**9).state == "note" and _clock("project", 4_000_000).state == "ok"
