"""One class a tool: how its build file is written for a tree, and the commands that build.

A tool is used as its users use it: a Flowfile with wildcards, a build.ninja with its rules once and a line a job. Where
a tool takes so long that it would be most of a run, `most` limits the size of the trees that it gets (ten times as
much in a full run).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from benchmarks import cluster
from benchmarks.trees import Step, Tree

CHECKOUT = Path(__file__).resolve().parent.parent


class Tool:
    """`own` are the names, at a tree's top, of what belongs to the tool and not to what it builds."""

    name = ""
    own: tuple[str, ...] = ()
    most = 1_000_000

    def found(self) -> bool:
        """Whether it is on this machine."""
        return shutil.which(self.name) is not None

    def install(self, folder: Path) -> None:
        """Make what it needs once a run, in `folder`."""

    def takes(self, tree: Tree) -> bool:
        """Whether it can build this tree."""
        return True

    def prepare(self, tree: Tree, root: Path) -> None:
        """Write the build file for a tree whose sources stand at `root`, and whatever else must be there first."""
        raise NotImplementedError

    def build(self, jobs: int) -> list[str]:
        """The command that builds all, `jobs` at once."""
        raise NotImplementedError

    def plan(self) -> list[str] | None:
        """The command that says what it would run."""
        return None

    def cluster(self) -> list[str] | None:
        """The command that builds all on Slurm."""
        return None


class Bflow(Tool):
    """The command of a checkout, as pip installs it in a fresh environment.

    With another checkout and name it is a peer of itself: what a change is worth.
    """

    name = "bflow"
    own = ("Flowfile", ".bflow")

    def __init__(self, checkout: Path = CHECKOUT, name: str = "bflow") -> None:
        self.checkout = checkout.resolve()
        self.name = name
        self.python = ""  # of the environment, once it is there

    def found(self) -> bool:
        return True

    def install(self, folder: Path) -> None:
        """Make the environment: the checkout on its path, and the packages of the Python that runs us.

        Those packages' own .pth files are not read there. They may import much at each start, and are not bflow's cost.
        """
        home = folder / f"environment-{self.name}"
        venv.EnvBuilder(symlinks=True).create(home)
        self.python = str(home / "bin" / "python")
        script = (self.checkout / "buildflow" / "scripts" / "bflow").read_text().split("\n", 1)[1]
        (home / "bin" / "bflow").write_text(f"#!{self.python}\n{script}")
        (home / "bin" / "bflow").chmod(0o755)
        packages = next(home.glob("lib/python3*/site-packages"))
        paths = [str(self.checkout), *(path for path in sys.path if path.endswith(("site-packages", "dist-packages")))]
        (packages / "checkout.pth").write_text("".join(f"{path}\n" for path in paths))

    def prepare(self, tree: Tree, root: Path) -> None:
        (root / "Flowfile").write_text(tree.bflow)

    def command(self) -> list[str]:
        assert self.python, "it is installed first"
        return [str(Path(self.python).with_name("bflow"))]

    def build(self, jobs: int) -> list[str]:
        return [*self.command(), "build", f"-j{jobs}"]

    def plan(self) -> list[str]:
        return [*self.command(), "build", "-n"]

    def cluster(self) -> list[str]:
        return [*self.command(), "build", "--worker", "slurm"]


class Ninja(Tool):
    name = "ninja"
    own = ("build.ninja", ".ninja_log", ".ninja_deps", ".ninja_lock", ".n2_db")

    def prepare(self, tree: Tree, root: Path) -> None:
        rules: dict[tuple[str, bool], str] = {}
        with open(root / "build.ninja", "w") as file:
            for step in tree.steps():
                kind = (step.recipe, bool(step.depfile))
                if kind not in rules:
                    rules[kind] = f"r{len(rules)}"
                    command = step.recipe.replace("$", "$$").replace("{in}", "$in").replace("{out}", "$out")
                    file.write(f"rule {rules[kind]}\n  command = {command.replace('{depfile}', '$out.d')}\n")
                    if step.depfile:
                        file.write("  depfile = $out.d\n  deps = gcc\n")
                # With a depfile the headers are what it says; otherwise what may be read is what counts.
                implicit = f" | {' '.join(step.implicit)}" if step.implicit and not step.depfile else ""
                file.write(f"build {' '.join(step.outputs)}: {rules[kind]} {' '.join(step.inputs)}{implicit}\n")

    def build(self, jobs: int) -> list[str]:
        return [self.name, f"-j{jobs}"]

    def plan(self) -> list[str] | None:
        return [self.name, "-n"]


class Samurai(Ninja):
    name = "samu"


class N2(Ninja):
    name = "n2"

    def plan(self) -> None:
        return None


class Make(Tool):
    name = "make"
    own = ("Makefile",)
    most = 10_000

    def prepare(self, tree: Tree, root: Path) -> None:
        tree.make_folders(root)
        with open(root / "Makefile", "w") as file:
            file.write("all:\n")
            depfiles = False
            for step in tree.steps():
                inputs = " ".join(step.inputs if step.depfile else (*step.inputs, *step.implicit))
                file.write(f"{' '.join(step.outputs)}: {inputs}\n\t{self.recipe(step)}\nall: {step.outputs[0]}\n")
                depfiles = depfiles or bool(step.depfile)
            if depfiles:
                file.write(f"-include {' '.join(f'$(wildcard {folder}/*.d)' for folder in tree.made)}\n")

    def recipe(self, step: Step) -> str:
        inputs = " ".join(step.inputs) if step.implicit else "$^"
        filled = step.recipe.replace("$", "$$").replace("{in}", inputs).replace("{out}", "$@")
        return filled.replace("{depfile}", step.depfile)

    def build(self, jobs: int) -> list[str]:
        return ["make", f"-j{jobs}"]

    def plan(self) -> list[str]:
        return ["make", "-n"]


class Tup(Tool):
    name = "tup"
    own = ("Tupfile", ".tup", ".gitignore")
    most = 1_000

    def found(self) -> bool:
        return super().found() and shutil.which("fusermount3") is not None and os.access("/dev/fuse", os.W_OK)

    def takes(self, tree: Tree) -> bool:
        return not any(step.implicit for step in tree.steps())

    def prepare(self, tree: Tree, root: Path) -> None:
        tree.make_folders(root)
        subprocess.run(["tup", "init"], cwd=root, check=True, stdout=subprocess.DEVNULL)
        with open(root / "Tupfile", "w") as file:
            for step in tree.steps():
                command = step.recipe.replace("%", "%%").replace("{in}", "%f").replace("{out}", "%o")
                file.write(f": {' '.join(step.inputs)} |> {command} |> {' '.join(step.outputs)}\n")

    def build(self, jobs: int) -> list[str]:
        return ["tup", f"-j{jobs}"]


class Doit(Tool):
    name = "doit"
    own = ("dodo.py", "steps.tsv", ".doit.db", ".doit.db.db", ".doit.db.dat", ".doit.db.dir", ".doit.db.bak")
    most = 1_000

    def takes(self, tree: Tree) -> bool:
        return not any(step.depfile for step in tree.steps())

    def prepare(self, tree: Tree, root: Path) -> None:
        tree.make_folders(root)
        with open(root / "steps.tsv", "w") as file:
            for step in tree.steps():
                inputs = " ".join((*step.inputs, *step.implicit))
                file.write(f"{' '.join(step.outputs)}\t{inputs}\t{step.command()}\n")
        (root / "dodo.py").write_text(
            "DOIT_CONFIG = {'verbosity': 0}\n"
            "def task_build():\n"
            "    for line in open('steps.tsv'):\n"
            "        outputs, inputs, command = line.rstrip('\\n').split('\\t')\n"
            "        yield {'name': outputs, 'file_dep': inputs.split(), 'targets': outputs.split(),\n"
            "               'actions': [command]}\n"
        )

    def build(self, jobs: int) -> list[str]:
        return ["doit", "run", "-n", str(jobs)]


class Snakemake(Tool):
    name = "snakemake"
    own = ("Snakefile", ".snakemake")
    most = 100

    def takes(self, tree: Tree) -> bool:
        return self.name in tree.other

    def prepare(self, tree: Tree, root: Path) -> None:
        (root / "Snakefile").write_text(tree.other[self.name])

    def build(self, jobs: int) -> list[str]:
        return ["snakemake", "--cores", str(jobs), "--quiet", "all"]

    def plan(self) -> list[str]:
        return ["snakemake", "--cores", "1", "-n", "--quiet", "all"]

    def cluster(self) -> list[str] | None:
        """With snakemake-executor-plugin-slurm, which waits for ever where there is no accounting."""
        if not cluster.accounts():
            return None
        return ["snakemake", "--executor", "slurm", "--jobs", "1000", "--quiet", "all"]


class Pydra(Tool):
    """Its tasks make files in its own cache: the workspace stays as it is. Only the chains are written for it."""

    name = "pydra"
    own = (".pydra",)
    most = 100

    def python(self) -> str | None:
        """A Python that has Pydra: ours, or the one on the PATH."""
        for python in (sys.executable, shutil.which("python3")):
            look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('pydra') is None)"
            if python and subprocess.run([python, "-c", look]).returncode == 0:
                return python
        return None

    def found(self) -> bool:
        return self.python() is not None

    def takes(self, tree: Tree) -> bool:
        return tree.shape in ("chains", "slurm")

    def prepare(self, tree: Tree, root: Path) -> None:
        pass

    def build(self, jobs: int) -> list[str]:
        script = Path(__file__).with_name("pydra_chains.py")
        return [self.python() or sys.executable, str(script), "cf", str(jobs)]

    def cluster(self) -> list[str]:
        return [*self.build(0)[:-2], "slurm", "0"]


TOOLS: dict[str, Tool] = {
    tool.name: tool for tool in (Bflow(), Ninja(), Samurai(), N2(), Make(), Tup(), Doit(), Snakemake(), Pydra())
}
REFERENCE = ("ninja", "samu", "n2", "make")
"""Whose tree bflow's is compared with, and whose times it is set against: the first that takes part."""
