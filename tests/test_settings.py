"""Settings: what wins, profiles, and values that are none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from buildflow.errors import FlowError
from buildflow.settings import settings
from story import Story


class Project:
    """A root with `bflow.toml`, a home with `config.toml` and an environment."""

    def __init__(self, path: Path) -> None:
        self.root = path / "root"
        self.home = path / "home"
        self.root.mkdir()
        self.env: dict[str, str] = {"HOME": str(self.home)}

    def file(self, text: str) -> None:
        (self.root / "bflow.toml").write_text(text)

    def own(self, text: str) -> None:
        path = self.home / ".config/bflow/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, profile: str | None = None) -> dict[str, Any]:
        return settings(str(self.root), profile, self.env)

    def problem(self, profile: str | None = None) -> str:
        with pytest.raises(FlowError) as caught:
            self.read(profile)
        assert caught.value.exit_status == 2
        return caught.value.show()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_without_any_file_there_are_none(project: Project) -> None:
    assert project.read() == {}


def test_the_environment_wins_over_the_project_and_that_over_the_user(project: Project) -> None:
    project.own("jobs = 1\nworker = 'debug'\nenv = 'a'\n[resources]\nlicence = 1\nmem = '1G'\n")
    project.file("jobs = 2\nenv = 'b'\n[resources]\nlicence = 2\n")
    project.env["BFLOW_JOBS"] = "3"
    found = project.read()
    assert (found["jobs"], found["env"], found["worker"]) == (3, "b", "debug")
    assert found["resources"] == {"licence": 2, "mem": "1G"}
    project.env["BFLOW_RESOURCES"] = "licence=4"
    assert project.read()["resources"] == {"licence": "4", "mem": "1G"}


def test_a_profile_lies_over_its_own_file(project: Project) -> None:
    project.own("jobs = 1\nworker = 'a'\n[profile.big]\njobs = 10\nworker = 'b'\n")
    project.file("jobs = 2\n[profile.big]\nkeep-going = true\n[profile.small]\njobs = 1\n")
    assert project.read()["jobs"] == 2
    assert project.read("big") == {"jobs": 2, "worker": "b", "keep_going": True}
    assert project.read("small") == {"jobs": 1, "worker": "a"}
    project.env["BFLOW_PROFILE"] = "small"
    assert project.read()["jobs"] == 1
    assert project.read("big")["jobs"] == 2  # the command line's wins


def test_a_file_may_ask_for_a_profile(project: Project) -> None:
    project.own("[profile.big]\njobs = 10\n")
    project.file("profile = 'big'\n")
    assert project.read() == {"jobs": 10}


def test_a_profile_that_there_is_not(project: Project) -> None:
    project.file("[profile.big]\njobs = 10\n")
    assert "there is no profile “bgi”" in project.problem("bgi") and "did you mean big?" in project.problem("bgi")
    assert "there are: big" in project.problem("slurm")
    project.file("")
    assert "[profile.slurm]" in project.problem("slurm")


@pytest.mark.parametrize(
    ("text", "said"),
    (
        ("jbos = 3", "bflow.toml:1:1: there is no setting “jbos”|did you mean jobs?"),
        ("\n[profile.x]\nwroker = 'cf'", "bflow.toml:3:1: there is no setting “wroker”|did you mean worker"),
        ("nothing_like = 1", "there are: worker"),
        ("jobs = '4'", 'bflow.toml:1:1: jobs = "4": jobs should be a whole number'),
        ("jobs = true", "jobs = true: jobs should be a whole number"),
        ("jobs = 0", "jobs should be 1 or more"),
        ("keep_going = 'yes'", "should be true or false"),
        ("worker = 3", "should be text"),
        ("readonly_cache = [1]", "should be a list of texts"),
        ("resources = 3", "should be a table"),
        ("[resources]\nlicence = [1]", "resources.licence should be a number or a text"),
        ("jobs = ", "bflow.toml:1:8: "),
        ("jobs = 1\njobs = 2", "bflow.toml:2:"),
        ("[profile]\nbig = 3", "profile.big = 3 is no group of settings"),
        ("profile = 3", "profile should be the name of a profile"),
        ("[profile.x]\nprofile = 'y'", "there is no setting “profile”"),
    ),
)
def test_a_wrong_file_is_told_with_its_place(project: Project, text: str, said: str) -> None:
    project.file(text)
    for part in said.split("|"):
        assert part in project.problem()


def test_a_file_that_is_no_text(project: Project) -> None:
    (project.root / "bflow.toml").write_bytes(b"\xff")
    assert "no UTF-8" in project.problem()
    (project.root / "bflow.toml").unlink()
    (project.root / "bflow.toml").mkdir()
    assert "cannot read bflow.toml" in project.problem()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    (
        ("BFLOW_JOBS", "many", "BFLOW_JOBS=many: jobs should be a whole number"),
        ("BFLOW_JOBS", "0", "jobs should be 1 or more"),
        ("BFLOW_KEEP_GOING", "perhaps", "should be true or false"),
        ("BFLOW_RESOURCES", "licence", "NAME=VALUE"),
        ("BFLOW_WROKER", "cf", "did you mean BFLOW_WORKER?"),
        ("BFLOW_JOSB", "3", "did you mean BFLOW_JOBS?"),
    ),
)
def test_a_wrong_variable_is_told(project: Project, variable: str, value: str, said: str) -> None:
    project.env[variable] = value
    assert said in project.problem()


def test_variables_that_are_no_settings_are_let_be(project: Project) -> None:
    project.env.update({"BFLOW_JOB": "/x/job.json", "BFLOW_TARGET": "a", "BFLOW_SOMETHING": "x", "BFLOW_JOBS": ""})
    assert project.read() == {}
    project.env.update({"BFLOW_KEEP_GOING": "1", "BFLOW_QUIET": "no"})
    assert project.read() == {"keep_going": True, "quiet": False}


def test_paths_are_relative_to_where_they_are_written(project: Project) -> None:
    project.file("cache_root = 'cache'\nreadonly_cache = '/shared/cache'\n")
    found = project.read()
    assert found["cache_root"] == str(project.root / "cache")
    assert found["readonly_cache"] == ["/shared/cache"]
    project.env["BFLOW_CACHE_ROOT"] = "here"
    project.env["BFLOW_READONLY_CACHE"] = "/a:/b"
    found = project.read()
    assert found["cache_root"] == os.path.abspath("here") and found["readonly_cache"] == ["/a", "/b"]


# ---- the command -----------------------------------------------------------------------------------------------


def test_the_command_line_wins_over_all(story: Story) -> None:
    story.write("Flowfile", "x:\n    touch x\n")
    story.write("bflow.toml", "cache_root = 'one'\n[profile.p]\ncache_root = 'two'\n")
    story.build("x")
    assert story.exists("one") and not story.exists(".bflow/cache")
    story.remove("x")
    assert story.build("x", "--profile", "p").ran == 1 and story.exists("two")
    story.remove("x")
    assert story.build("x", env={"BFLOW_CACHE_ROOT": "three"}).ran == 1 and story.exists("three")
    story.remove("x")
    assert story.build("x", "--cache-root", "four", env={"BFLOW_CACHE_ROOT": "three"}).ran == 1 and story.exists("four")


def test_every_command_reads_them(story: Story) -> None:
    story.write("Flowfile", "x:\n    touch x\n")
    story.write("bflow.toml", "cache_root = 'one'\n")
    story.build("x")
    assert story.bflow("cache", "path", "x").out.startswith(str(story.path("one")))
    story.write("bflow.toml", "cach_root = 'one'\n")
    for words in (["build", "x"], ["why", "x"], ["log", "x"], ["clean"], ["cache", "list"], ["list", "--targets"]):
        assert "bflow.toml:1:1: there is no setting “cach_root”" in story.bflow(*words, ok=2).err
