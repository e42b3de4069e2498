"""`env = venv://…` with the real pip (and no network), `conda://…` with the real thing where there is one."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from require import require
from story import Story


def wheel(folder: Path, version: str) -> None:
    """A package with a command, as pip installs it with no network."""
    name = f"tiny-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"tiny-{version}-py3-none-any.whl", "w") as file:
        file.writestr("tiny.py", f"def main(): print('tiny {version}')\n")
        file.writestr(f"{name}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
        file.writestr(f"{name}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{name}/entry_points.txt", "[console_scripts]\ntiny = tiny:main\n")
        file.writestr(f"{name}/RECORD", "")


def test_venv(story: Story) -> None:
    for version in ("1.0", "2.0"):
        wheel(story.path("wheels"), version)
    story.write("requirements.txt", "--no-index\n--find-links wheels\n-r more.txt\n")
    story.write("more.txt", "tiny==1.0\n")
    story.write(
        "Flowfile",
        """
        [defaults: env = venv://requirements.txt]
        all: a b
        [tools = tiny]
        a:
            tiny > {out}; python3 -c 'import tiny; tiny.main()' >> {out}
        [python]
        b:
            import tiny, sys
            open(outputs[0], "w").write(sys.prefix)
        """,
    )
    story.bflow("build", timeout=300)
    assert story.read("a") == "tiny 1.0\ntiny 1.0\n"
    assert story.read("b").startswith(str(story.path(".bflow/cache/environments/venv-")))
    assert "nothing to do" in story.bflow("build").err
    story.write("more.txt", "tiny==2.0\n")
    assert "2 ran" in story.bflow("build", timeout=300).err
    assert story.read("a").startswith("tiny 2.0")
    story.write("more.txt", "tiny==3.0\n")
    ran = story.bflow("build", ok=1, timeout=300)
    assert "pip could not install requirements.txt: ERROR: No matching distribution" in ran.err
    story.remove("more.txt")
    assert "the requirements more.txt cannot be read" in story.bflow("build", ok=2).err


@pytest.mark.conda
def test_conda(story: Story) -> None:
    if not any(map(shutil.which, ("micromamba", "mamba", "conda"))):
        require("conda", "neither micromamba, mamba nor conda is here")
    story.write("environment.yaml", "channels: []\ndependencies: []\n")
    story.write("Flowfile", "[env = conda://environment.yaml]\na:\n    echo $CONDA_PREFIX > {out}\n")
    story.bflow("build", timeout=300)
    assert Path(story.read("a").strip(), "conda-meta").is_dir()
