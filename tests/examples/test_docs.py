"""What README.md and docs/ show: Flowfiles that parse, files that are there, commands and attributes that exist."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from buildflow.attributes import FLAGS, TEXTS
from buildflow.cli.main import COMMANDS
from buildflow.lang.lines import read_source
from buildflow.lang.parser import parse
from story import CHECKOUT, Story

PAGES = (
    "README.md",
    "ARCHITECTURE.md",
    *(f"docs/{n}.md" for n in ("flowfile", "caching", "rules", "workers", "from-make", "from-snakemake")),
)
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


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: str) -> None:
    named = re.findall(r"(?:`|^\$ )bflow ([a-z]+)", text(page), re.MULTILINE)
    assert set(named) <= set(COMMANDS)


def test_all_attributes_are_described() -> None:
    reference = text("docs/flowfile.md").partition("## Attributes")[2].partition("## Includes")[0]
    assert {name for name in FLAGS | TEXTS if f"`{name}" not in reference} == set()


def test_the_readme_shows_the_quickstart() -> None:
    assert blocks("README.md", "make")[0] == text("examples/quickstart/Flowfile")
    (setup,) = [body for body in blocks("README.md", "sh") if "examples/quickstart" in body]
    assert setup.count("\n") == 1
    marked = text("README.md").partition("<!-- test command -->\n")[2]
    assert marked.startswith("```sh\n") and "pytest" in marked.splitlines()[1] and marked.splitlines()[2] == "```"


def test_the_same_file_twice_is_one(story: Story) -> None:
    """The two Flowfiles of from-make.md build the same program from the same sources."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    written, with_library = blocks("docs/from-make.md", "make")[-2:]
    story.write("src/main.c", '#include <stdio.h>\n#include "word.h"\nint main(void) { return puts(word()) < 0; }\n')
    story.write("src/word.c", '#include "word.h"\nconst char *word(void) { return "hello"; }\n')
    story.write("include/word.h", "const char *word(void);\n")
    story.write("tests/expected.txt", "hello\n")
    for flowfile in (written, with_library):
        story.write("Flowfile", flowfile)
        assert story.build().ran == 3
    story.write("Flowfile", written)
    story.bflow("build", "test")
