"""What README.md and docs/ show: their examples are run (`tests/pages.py`), Flowfiles parse, links lead somewhere, and
commands, attributes, settings and fields of results are those that there are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from buildflow.attributes import FLAGS, TEXTS
from buildflow.cli.main import COMMANDS
from buildflow.lang.lines import read_source
from buildflow.lang.parser import parse
from buildflow.settings import ENVIRONMENTS, KNOWN, NOT_SETTINGS, TABLES, settings
from pages import Project, differs, missing, play, projects
from story import CHECKOUT, Story

PAGES = (
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"),
    *sorted(str(page.relative_to(CHECKOUT)) for page in (CHECKOUT / "docs").glob("*.md")),
)
PLAYED = [project for page in PAGES for project in projects(page)]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def text(page: str) -> str:
    return (CHECKOUT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return [body for name, body in _BLOCK.findall(text(page)) if name == language]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as the usual renderers make them."""
    headings = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("project", PLAYED, ids=str)
def test_what_a_page_shows_is_so(project: Project, story: Story) -> None:
    """(Where it is not, and should not be: `python tests/pages.py PAGE` writes what is so.)"""
    if missing(project):
        pytest.skip(f"needs {' '.join(missing(project))}")
    wrong = [(step.command, step.text, said) for step, said in play(project, story) if differs(step.text, said)]
    assert not wrong, "\n".join(f"$ {command}--- the page:\n{text}--- is:\n{said}" for command, text, said in wrong)


@pytest.mark.parametrize("page", PAGES)
def test_flowfiles_parse(page: str, tmp_path: Path) -> None:
    for number, body in enumerate(blocks(page, "make")):
        file = tmp_path / f"Flowfile{number}"
        file.write_text(body)
        assert list(parse(read_source(str(file), f"{page}, block {number}"), set()))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in _LINK.findall(text(page)):
        target, _, anchor = link.partition("#")
        file = (CHECKOUT / page).parent / target if target else CHECKOUT / page
        assert file.exists(), f"{page}: {link}"
        if anchor:
            assert anchor in anchors(str(file.resolve().relative_to(CHECKOUT))), f"{page}: {link}"


def test_all_pages_are_listed() -> None:
    """In the site's navigation and on its first page."""
    pages = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert {page for page in pages if f": {page}\n" not in text("mkdocs.yml")} == set()
    assert {page for page in pages - {"index.md"} if f"]({page})" not in text("docs/index.md")} == set()


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: str) -> None:
    named = re.findall(r"(?:`|^\$ )bflow ([a-z]+)", text(page), re.MULTILINE)
    assert set(named) <= set(COMMANDS)


def test_all_attributes_are_described() -> None:
    reference = text("docs/flowfile.md").partition("## Attributes")[2].partition("## Includes")[0]
    assert {name for name in FLAGS | TEXTS if f"`{name}" not in reference} == set()


def test_the_page_of_commands_is_what_help_says() -> None:
    """(`python docs/commands.py > docs/commands.md` writes it.)"""
    done = subprocess.run([sys.executable, CHECKOUT / "docs/commands.py"], cwd=CHECKOUT, env={"PYTHONPATH": "."},
                          capture_output=True, text=True, encoding="utf-8", check=True)  # fmt: skip
    assert done.stdout == text("docs/commands.md")


def test_all_settings_are_described(tmp_path: Path) -> None:
    page = text("docs/settings.md")
    names = {name for name in KNOWN if name not in TABLES.values()}
    assert {name for name in names if f"`{name} = " not in page and f"`[{name}" not in page} == set()
    assert {name for name in NOT_SETTINGS if f"`{name}`" not in page} == set()
    environments = text("docs/environments.md")
    assert {name for name in ENVIRONMENTS if f"{name} = " not in environments} == set()
    assert {name for name in re.findall(r"BFLOW_([A-Z_]+)=", page) if name.lower() not in KNOWN} == set()
    for name in PAGES:
        for body in blocks(name, "toml"):
            if "jbos" not in body and "project.entry-points" not in body:
                (tmp_path / "bflow.toml").write_text(body)
                settings(str(tmp_path), None, {"HOME": str(tmp_path)})


def test_all_fields_of_a_result_are_described(story: Story) -> None:
    story.write("Flowfile", "[call = made:it]\nout.txt: in.txt\n")
    story.write("made.py", "def it(inputs):\n    return inputs[0].read_text()\n")
    story.write("in.txt", "one\n")
    story.build()
    result = json.loads(story.read(story.bflow("cache", "path", "out.txt").out.strip() + "/result.json"))
    described = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", text("docs/results.md"), re.MULTILINE)))
    assert set(result) <= set(described)
    assert set(described) - set(result) == {"image", "adopted", "again"}


def test_the_readme_shows_the_quickstart() -> None:
    assert blocks("README.md", "make")[0] == text("examples/quickstart/Flowfile")
    (setup,) = [body for body in blocks("README.md", "sh") if "examples/quickstart" in body]
    assert setup.count("\n") == 1
    marked = text("README.md").partition("<!-- test command -->\n")[2]
    assert marked.startswith("```sh\n") and "pytest" in marked.splitlines()[1] and marked.splitlines()[2] == "```"
