"""The rule library as a whole: every file says what it does, and is shown, described and used."""

from __future__ import annotations

import re

import pytest

from buildflow.library import library_files, library_folder
from example import EXAMPLES
from story import CHECKOUT, Story

FILES = library_files()


def text(name: str) -> str:
    with open(f"{library_folder()}/{name}", encoding="utf-8") as file:
        return file.read()


def test_what_there_is() -> None:
    assert FILES == ["cc.flow", "latex.flow", "mrtrix3.flow", "ngs.flow"]


@pytest.mark.parametrize("name", FILES)
def test_a_library_file_says_how_to_use_it(name: str) -> None:
    head = re.match(r"(#.*\n)+", text(name))
    assert head and f"#     include <{name}>" in head[0]  # an example that can be copied
    assert "Upper case: " in head[0] and "Lower case: " in head[0]
    for variable in re.findall(r"^(\w+) +\?= ", text(name), re.MULTILINE):
        assert variable == variable.upper(), "what the command line and the environment may set is in upper case"
    for variable in re.findall(r"^(\w+) += ", text(name), re.MULTILINE):
        assert variable == variable.lower(), "what only the include may set is in lower case"


@pytest.mark.parametrize("name", FILES)
def test_a_library_file_is_used_by_an_example_and_described(name: str) -> None:
    flowfiles = [path.read_text() for path in EXAMPLES.glob("*/Flowfile")]
    assert [file for file in flowfiles if f"include <{name}>" in file]
    page = (CHECKOUT / "docs" / "rules.md").read_text()
    assert f"## {name}" in page and f"include <{name}>" in page


@pytest.mark.parametrize("name", FILES)
def test_every_rule_of_the_library_is_shown_with_its_help(story: Story, name: str) -> None:
    story.write("Flowfile", f"include <{name}>\nall:\n")
    shown = story.bflow("list").out.partition("Flowfile\n")[0]
    rules = re.findall(r"^  (\S.*)\n(      \S.*)?", shown, re.MULTILINE)
    assert rules and all(help for _, help in rules), shown


def test_a_value_that_a_library_needs_is_asked_for(story: Story) -> None:
    story.write("Flowfile", "include <ngs.flow>\n\nall: out/reference/genome.fa\n")
    error = story.bflow("build", ok=2).err
    assert "{reference} is bound by no target here" in error
    assert "give it in the include: “include <ngs.flow> reference=…”" in error


def test_an_empty_name_of_an_input_is_said(story: Story) -> None:
    story.write("Flowfile", "EXTRA =\n\nout.txt: {EXTRA}\n    echo > {out}\n")
    error = story.bflow("build", ok=2).err
    assert "Flowfile:3:10: an input is an empty name" in error and "needed by out.txt" in error
