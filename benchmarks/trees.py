"""The trees: what files stand at the beginning, what is made of them, and how a user of bflow writes that.

A tree is generated and not kept: at half a million jobs its steps are asked for anew by each tool that writes its build
file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Union

Content = Union[bytes, Iterator[bytes]]
"""Of a file: all of it, or its parts in order."""


@dataclass(frozen=True)
class Step:
    """A job. `{in}` and `{out}` of `recipe` stand for `inputs` and `outputs`; `implicit` may be read beside them.

    `depfile` is the file to which the recipe writes, Make's way, what it has read.
    """

    outputs: tuple[str, ...]
    inputs: tuple[str, ...]
    recipe: str
    implicit: tuple[str, ...] = ()
    depfile: str = ""

    def command(self) -> str:
        """The recipe filled. (No path of a tree needs quotes.)"""
        filled = self.recipe.replace("{in}", " ".join(self.inputs)).replace("{out}", " ".join(self.outputs))
        return filled.replace("{depfile}", self.depfile)


@dataclass(frozen=True)
class Tree:
    """`size` is its number of jobs, and `editable` a source by its number, whose edit makes little run again.

    `sources` gives paths with contents, `steps` the jobs, inputs before those who read them. `made` has the folders
    that hold nothing but outputs. `bflow` is the Flowfile; `other` has the build file of tools that need another than
    one with every step, by the tool's name.
    """

    shape: str
    size: int
    sources: Callable[[], Iterator[tuple[str, Content]]]
    steps: Callable[[], Iterator[Step]]
    made: tuple[str, ...]
    bflow: str
    editable: Callable[[int], str]
    other: dict[str, str] = field(default_factory=dict)

    def write_sources(self, root: Path) -> None:
        known = ""
        for path, content in self.sources():
            folder, _, _ = path.rpartition("/")
            if folder and folder != known:
                (root / folder).mkdir(parents=True, exist_ok=True)
                known = folder
            with open(f"{root}/{path}", "wb") as file:
                file.writelines([content] if isinstance(content, bytes) else content)

    def make_folders(self, root: Path) -> None:
        """For tools that do not make the folders of outputs themselves."""
        for folder in self.made:
            (root / folder).mkdir(parents=True, exist_ok=True)


def edit(path: Path, number: int) -> None:
    """Save another content in place: with a comment at its end, of one length for numbers below 10,000."""
    text = path.read_bytes().split(b"//")[0]
    path.write_bytes(text + b"// %04d\n" % number)
