"""Which environment a job gets: for the run, by the table of the settings, by its rule; and one of your own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from quick import Quick
from story import CHECKOUT, Story


@pytest.fixture
def quick(tmp_path: Path) -> Quick:
    """A story whose environments are prefixes; each says its name."""
    story = Quick(tmp_path)
    for name in ("one", "two", "three"):
        story.write(f"{name}/bin/who", f"#!/bin/sh\necho {name}\n", 0o755)
    story.write("Flowfile", "all: out/a out/b\n[env = prefix://one, name = rule]\nout/{n}:\n    who > {out}\n")
    return story


@pytest.mark.parametrize(
    ("table", "made"),
    [
        ("", "one one"),
        ('rule = "prefix://two"', "two two"),
        ('"out/a" = "prefix://two"', "two one"),
        ('"out/{n}" = "prefix://three"', "three three"),
        ('"out/*" = "prefix://two"\n"**/b" = "prefix://three"', "two three"),
        ('"**" = "prefix://two"\n"o?t/{x}" = "prefix://three"\n"out/b" = "prefix://one"', "three one"),
        ('other = "prefix://two"\n"*" = "prefix://two"', "one one"),
    ],
)
def test_the_table(quick: Quick, table: str, made: str) -> None:
    quick.write("bflow.toml", f"[env]\n{table}\n")
    quick.bflow("build")
    assert f"{quick.read('out/a')}{quick.read('out/b')}".split() == made.split()


def test_the_runs_own_goes_before_all(quick: Quick) -> None:
    quick.write("bflow.toml", '[env]\nrule = "prefix://two"\n')
    quick.bflow("build", "--env", "prefix://three", "--default-env", "prefix://none")
    assert quick.read("out/a") == "three\n"
    quick.write("bflow.toml", 'env = "prefix://two"\n')
    quick.bflow("build")
    assert quick.read("out/a") == "two\n"


def test_why_knows_the_table(quick: Quick) -> None:
    quick.write("bflow.toml", '[env]\nrule = "prefix://two"\n')
    quick.bflow("build")
    assert "up to date" in quick.bflow("why", "out/a").out
    assert quick.build("-n").ran == 0


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[env]\nrule = 3\n', "each line should be a rule or a target = an environment"),
        ('[env]\nrule = "prefx://two"\n', "there is no environment “prefx://two”"),
        ('[environments]\ndokcer = "podman"\n', "there is no environments.dokcer"),
        ("[environments]\ndocker = 1\n", "environments.docker should be a text"),
        ('container = "hot"\n', "container should be fresh"),
    ],
)
def test_settings_that_are_wrong(quick: Quick, text: str, problem: str) -> None:
    quick.write("bflow.toml", text)
    assert problem in quick.bflow("build", ok=2).err


def test_an_environment_that_cannot_be_had_is_told_at_its_line(quick: Quick) -> None:
    quick.edit("Flowfile", "prefix://one", "prefix://none")
    assert quick.bflow("build", ok=2).err.startswith("Flowfile:2:8: the prefix none has no bin/ folder")
    quick.edit("Flowfile", "prefix://none", "{env}://x")
    quick.edit("Flowfile", "all:", "env = dcoker\nall:")
    assert "there is no environment “dcoker://x”" in quick.bflow("build", ok=False).err


# ---- one of your own -------------------------------------------------------------------------------------------


@pytest.fixture
def nix(story: Story) -> Story:
    """The example of docs/environments.md, installed, and a stand-in for nix-shell."""
    page = (CHECKOUT / "docs" / "environments.md").read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class Nix" in block)
    group, line = re.search(r'\[project.entry-points."(.+?)"\]\n(.+?)\n', page).groups()  # type: ignore[union-attr]
    story.write("../site/bflow_nix.py", code)
    story.write("../site/bflow_nix-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: bflow-nix\nVersion: 1.0\n")
    story.write("../site/bflow_nix-1.0.dist-info/entry_points.txt", f"[{group}]\n{line.replace(chr(34), '')}\n")
    story.write("../tools/nix-shell", '#!/bin/sh\n[ "$2" = --run ] && NIX=$(cat "$1") exec sh -c "$3"\n', 0o755)
    own = story.environment
    story.environment = lambda extra=None: {  # type: ignore[method-assign]
        **(env := own(extra)),
        "PYTHONPATH": f"{env['PYTHONPATH']}:{story.root.parent}/site",
        "PATH": f"{story.root.parent}/tools:{env['PATH']}",
    }
    story.write("Flowfile", "[env = nix://shell.nix]\na:\n    echo $NIX > {out}; echo done\n")
    story.write("shell.nix", "one")
    return story


def test_the_example_of_the_page(nix: Story) -> None:
    nix.bflow("build")
    assert nix.read("a") == "one\n"
    assert "nothing to do" in nix.bflow("build").err
    nix.write("shell.nix", "other")
    nix.bflow("build")
    assert nix.read("a") == "other\n"
    nix.remove("shell.nix")
    assert nix.bflow("build", ok=2).err.startswith("Flowfile:1:8: there is no shell.nix")
    nix.edit("Flowfile", "nix://", "nxi://")
    assert "nix" in nix.bflow("build", ok=2).err


def test_an_identity_that_no_file_tells_is_asked_at_each_build(nix: Story) -> None:
    file = nix.root.parent / "site/bflow_nix.py"
    nix.edit(file, '    name = "nix"', '    name = "nix"\n    volatile = True')
    nix.edit(file, "    def read(self)", "    def read(self):\n        return []\n\n    def _file(self)")
    nix.edit(file, "self.read()[0]", "self._file()[0]")
    nix.bflow("build")
    nix.bflow("build")
    nix.write("shell.nix", "other")
    assert "1 ran" in nix.bflow("build").err
    assert nix.read("a") == "other\n"
