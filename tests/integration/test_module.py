"""`env = module://…` with Debian's Environment Modules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from containers import with_variables

from require import require, service
from story import Story

pytestmark = pytest.mark.module


@pytest.fixture
def modules(story: Story) -> Story:
    """A story with the modules tool/1, tool/2 and needs/1, which loads tool/1."""
    if not os.path.exists("/usr/share/modules/init/bash"):
        if os.geteuid() != 0:
            require("module", "it is not here, and only root can install it")
        service("module", "install", script="modules")
    for version in ("1", "2"):
        folder = story.root.parent / f"software/{version}"
        story.write(folder / "bin/tool", f"#!/bin/sh\necho tool {version} $TOOL\n", 0o755)
        story.write(
            story.root.parent / f"modulefiles/tool/{version}",
            f"#%Module\nprepend-path PATH {folder}/bin\nsetenv TOOL home{version}\n",
        )
    story.write(story.root.parent / "modulefiles/needs/1", "#%Module\nmodule load tool/1\n")
    return with_variables(story, {"MODULEPATH": str(story.root.parent / "modulefiles")})


def test_a_module(modules: Story) -> None:
    modules.write("Flowfile", "[env = module://tool/1]\na: in\n    tool > {out}; env >> {out}\n")
    modules.write("in")
    modules.bflow("build")
    first, *env = modules.read("a").splitlines()
    assert first == "tool 1 home1"
    assert not [line for line in env if line.startswith(("LOADEDMODULES", "_LMFILES_", "MODULE", "BASH_FUNC", "__MOD"))]
    assert "nothing to do" in modules.bflow("build").err
    modules.edit("Flowfile", "tool/1", "tool/2")
    assert modules.build().ran == 1
    assert modules.read("a").startswith("tool 2 home2")


def test_its_modulefile_is_in_the_key_and_those_that_it_loads(modules: Story) -> None:
    file = modules.root.parent / "modulefiles/tool/1"
    modules.write("Flowfile", "[env = module://needs/1]\na:\n    tool > {out}\n")
    modules.bflow("build")
    modules.edit(file, "home1", "other")
    assert "1 ran" in modules.bflow("build").err
    assert modules.read("a") == "tool 1 other\n"


def test_a_newer_version(modules: Story) -> None:
    modules.write("Flowfile", "[env = module://tool]\na:\n    tool > {out}\n")
    modules.bflow("build")
    assert modules.read("a") == "tool 2 home2\n"
    text = Path(modules.root.parent / "modulefiles/tool/2").read_text()
    modules.write(modules.root.parent / "modulefiles/tool/3", text.replace("home2", "home3"))
    assert "1 ran" in modules.bflow("build").err
    assert modules.read("a") == "tool 2 home3\n"


def test_one_that_is_not_there(modules: Story) -> None:
    modules.write("Flowfile", "[env = module://none/1]\na:\n    tool > {out}\n")
    ran = modules.bflow("build", ok=2)
    assert ran.err.startswith("Flowfile:1:8: module://none/1 cannot be loaded")


def test_several_with_python_and_tools(modules: Story) -> None:
    modules.write(
        "Flowfile",
        """
        [python, env = module://needs/1:tool/2, tools = tool]
        a:
            import subprocess
            open(outputs[0], "wb").write(subprocess.check_output("tool"))
        """,
    )
    modules.bflow("build")
    assert modules.read("a") == "tool 2 home2\n"
    modules.write(modules.root.parent / "software/2/bin/tool", "#!/bin/sh\necho newer\n", 0o755)
    assert "1 ran" in modules.bflow("build").err
