"""`env = conda://…`: a prefix that is made once, from a file, by a stand-in (venv is among the integration tests)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from story import Story

CONDA = r"""#!/bin/sh
# A stand-in for the command line of micromamba, mamba and conda.
echo "$(basename "$0") $*" >>"$CALLS"
while [ $# -gt 0 ]; do
    case $1 in
    -p) prefix=$2; shift ;;
    -f) file=$2; shift ;;
    esac
    shift
done
grep -q broken "$file" && { echo "nothing provides broken" >&2; echo "could not solve" >&2; exit 1; }
[ -e "$prefix" ] && { echo "prefix exists" >&2; exit 1; }
mkdir -p "$prefix/bin" "$prefix/conda-meta" "$prefix/etc/conda/activate.d"
[ ! -e "$HOLD" ] || { echo >"$HOLD.reached"; sleep 300; }
printf '#!/bin/sh\necho tool of %s $ACTIVE\n' "$(cat "$file")" >"$prefix/bin/tool"
chmod +x "$prefix/bin/tool"
echo 'export ACTIVE=active' >"$prefix/etc/conda/activate.d/tool.sh"
"""


@pytest.fixture
def conda(story: Story) -> Story:
    tools = story.root.parent / "tools"
    story.write(tools / "micromamba", CONDA, 0o755)
    own = story.environment
    story.environment = lambda extra=None: own({  # type: ignore[method-assign]
        "PATH": f"{tools}:{os.environ['PATH']}", "CALLS": f"{tools}/calls", "HOLD": f"{tools}/hold", **(extra or {}),
    })  # fmt: skip
    story.write("env.yaml", "one")
    story.write("Flowfile", "[env = conda://env.yaml]\n{n}.txt:\n    tool > {out}; echo $CONDA_PREFIX >> {out}\n")
    return story


def calls(story: Story) -> list[str]:
    return (story.root.parent / "tools/calls").read_text().splitlines()


def test_conda(conda: Story) -> None:
    ran = conda.bflow("build", "a.txt", "b.txt")
    assert "conda://env.yaml is made: " in ran.err
    tool, prefix = conda.read("a.txt").splitlines()
    assert tool == "tool of one active"
    assert calls(conda) == [f"micromamba create -y -p {prefix} -f {conda.root}/env.yaml"]
    assert "nothing to do" in conda.bflow("build", "a.txt", "b.txt").err
    conda.path("env.yaml").rename(conda.path("same.yaml"))
    conda.edit("Flowfile", "env.yaml", "same.yaml")
    assert conda.build("a.txt").up_to_date == 1
    conda.write("same.yaml", "two")
    assert "1 ran" in conda.bflow("build", "a.txt").err
    assert len(calls(conda)) == 2


@pytest.mark.parametrize(
    ("program", "words"), [("mamba", "mamba env create -y -p"), ("conda", "conda env create -p")]
)
def test_the_other_commands(conda: Story, program: str, words: str) -> None:
    tools = conda.root.parent / "tools"
    (tools / "micromamba").rename(tools / program)
    conda.bflow("build", "a.txt")
    assert calls(conda)[0].startswith(words)


def test_conda_that_fails(conda: Story) -> None:
    conda.write("env.yaml", "broken")
    ran = conda.bflow("build", "a.txt", ok=1)
    assert "micromamba could not make env.yaml: could not solve" in ran.err
    assert "nothing provides broken" in ran.err
    conda.write("env.yaml", "fine")
    assert conda.build("a.txt").ran == 1


def test_without_conda_and_without_its_file(conda: Story) -> None:
    conda.bflow("build", "a.txt")
    (conda.root.parent / "tools/micromamba").unlink()
    assert conda.build("a.txt").up_to_date == 1
    conda.remove("env.yaml")
    assert conda.bflow("build", "a.txt", ok=2).err.startswith("Flowfile:1:8: the environment's file env.yaml is not")
    conda.write("env.yaml", "new")
    ran = conda.bflow("build", "a.txt", ok=1, env={"BFLOW_ENVIRONMENTS": "conda=no-conda"})
    assert "there is no command no-conda, which conda://env.yaml needs" in ran.err


def test_a_build_that_is_killed_while_it_makes_one(conda: Story) -> None:
    hold = conda.write(conda.root.parent / "tools/hold")
    running = conda.start("build", "a.txt")
    running.until_exists(Path(f"{hold}.reached"))
    running.signal(signal.SIGKILL, group=True)
    running.wait(ok=-signal.SIGKILL)
    hold.unlink()
    assert conda.build("a.txt").ran == 1


def test_two_builds_make_one(conda: Story) -> None:
    hold = conda.write(conda.root.parent / "tools/hold")
    cache = str(conda.root.parent / "cache")
    first = conda.start("build", "--cache-root", cache, "a.txt")
    first.until_exists(Path(f"{hold}.reached"))
    other = conda.root.parent / "other"
    for name in ("Flowfile", "env.yaml"):
        conda.write(other / name, conda.read(name))
    second = conda.start("build", "--cache-root", cache, "b.txt", cwd=other)
    second.until_says("this one waits for it")
    hold.unlink()
    first.signal(signal.SIGKILL, group=True)
    first.wait(ok=-signal.SIGKILL)
    second.wait()
    assert len(calls(conda)) == 2
