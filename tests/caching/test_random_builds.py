"""Random projects and random changes: after each build the workspace is what a build from nothing would make.

The model computes every file in Python; the build is the real command's `run`, in this process for speed.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildflow.cli.main import run

KINDS = ("cat", "head", "word", "temp", "many")


class Model:
    """A project whose node i reads some sources and earlier nodes."""

    def __init__(self, sources: list[str], nodes: list[tuple[str, list[int], list[int]]]) -> None:
        self.sources = dict(enumerate(sources))
        self.nodes = nodes
        self.word = "w0"

    def flowfile(self) -> str:
        lines = [f"word = {self.word}", f"all: {' '.join(f'n{i}' for i, n in enumerate(self.nodes) if n[0] != 'temp')}"]
        for i, (kind, sources, nodes) in enumerate(self.nodes):
            inputs = [f"in/{s}" for s in sources if s in self.sources] + [f"n{n}" for n in nodes]
            if kind == "temp":
                lines.append("[temp]")
            lines.append(f"n{i}: {' '.join(inputs)}" + (f" extra{i}" if kind == "many" else ""))
            recipe = {
                "cat": "cat {in} /dev/null > {out}",
                "temp": "cat {in} /dev/null > {out}",
                "head": "cat {in} /dev/null | (head -c 2; cat > /dev/null) > {out}",  # head alone may break the pipe
                "word": "(echo {word}; cat {in} /dev/null) > {out}",
                "many": "cat {in} > {out}",
            }[kind]
            lines.append(f"    {recipe}")
            if kind == "many":
                lines.append(f"extra{i}:\n    echo {i}{{word}} > {{out}}")
        return "\n".join(lines) + "\n"

    def contents(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for i, (kind, sources, nodes) in enumerate(self.nodes):
            text = "".join(self.sources[s] for s in sources if s in self.sources)
            text += "".join(found[f"n{n}"] for n in nodes)
            if kind == "head":
                text = text[:2]
            elif kind == "word":
                text = f"{self.word}\n{text}"
            elif kind == "many":
                found[f"extra{i}"] = f"{i}{self.word}\n"
                text += found[f"extra{i}"]
            found[f"n{i}"] = text
        return found


@st.composite
def models(draw: st.DrawFn) -> Model:
    sources = draw(st.lists(st.sampled_from(["a", "bb", "aab", ""]), min_size=1, max_size=4))
    nodes: list[tuple[str, list[int], list[int]]] = []
    for i in range(draw(st.integers(1, 6))):
        some = st.lists(st.sampled_from(range(len(sources))), max_size=2, unique=True)
        below = st.lists(st.sampled_from(range(i)), max_size=2, unique=True) if i else st.just([])
        nodes.append((draw(st.sampled_from(KINDS)), draw(some), draw(below)))
    return Model(sources, nodes)


CHANGES = (
    "edit", "edit", "revert", "delete output", "edit output", "delete cache", "delete state", "delete all", "word",
    "touch", "delete snapshots", "one target", "replace same times", "damage entry",
)  # fmt: skip


def change(kind: str, number: int, model: Model, root: Path) -> None:
    """One thing that a user may do between two builds."""
    place = number % max(len(model.sources), 1)
    source = root / "in" / str(place)
    output = root / f"n{number % len(model.nodes)}"
    if kind == "edit":
        model.sources[place] = ["a", "bb", "ab", "aabb", ""][number % 5]
        source.write_text(model.sources[place])
    elif kind == "revert":
        model.sources[place] = "a"
        source.write_text("a")
    elif kind == "replace same times":
        old = source.stat()
        model.sources[place] = "".join(reversed(model.sources[place]))
        source.write_text(model.sources[place])
        os.utime(source, ns=(old.st_atime_ns, old.st_mtime_ns))
    elif kind == "delete output":
        output.unlink(missing_ok=True)
    elif kind == "edit output":
        if output.exists():
            output.chmod(0o644)
            output.write_text("mine")
    elif kind == "delete cache":
        shutil.rmtree(root / ".bflow/cache", ignore_errors=True)
    elif kind == "delete state":
        (root / ".bflow/state").unlink(missing_ok=True)
        shutil.rmtree(root / ".bflow/snapshots", ignore_errors=True)
    elif kind == "delete snapshots":
        shutil.rmtree(root / ".bflow/snapshots", ignore_errors=True)
    elif kind == "delete all":
        shutil.rmtree(root / ".bflow", ignore_errors=True)
    elif kind == "word":
        model.word = f"w{number % 3}"
        (root / "Flowfile").write_text(model.flowfile())
    elif kind == "touch":
        source.touch()
    elif kind == "one target":
        assert quiet(["build", "-q", output.name]) == 0
    elif kind == "damage entry":
        for entry in sorted((root / ".bflow/cache").glob("*/*/n*"))[:1]:
            entry.write_text("damaged")


def quiet(words: list[str]) -> int:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
        status = run(words)
    assert "Traceback" not in err.getvalue()
    return status


def build(words: list[str]) -> dict[str, int]:
    """Build, and the counts of the build event."""
    import json

    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        status = run(["build", "--json", *words])
    assert status == 0, err.getvalue() + out.getvalue()
    found: dict[str, int] = json.loads(out.getvalue().splitlines()[-1])
    return found


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(models(), st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 30)), max_size=5))
def test_after_any_change_a_build_is_what_one_from_nothing_is(model: Model, changes: list[tuple[str, int]]) -> None:
    before = os.getcwd()
    root = Path(tempfile.mkdtemp())
    try:
        os.chdir(root)
        (root / "in").mkdir()
        for number, text in model.sources.items():
            (root / "in" / str(number)).write_text(text)
        (root / "Flowfile").write_text(model.flowfile())
        check(model, root, build)
        for kind, number in changes:
            change(kind, number, model, root)
            check(model, root, build)
    finally:
        os.chdir(before)
        shutil.rmtree(root)
        gc.enable()


def check(model: Model, root: Path, build: Callable[[list[str]], dict[str, int]]) -> None:
    build([])
    for name, text in model.contents().items():
        path = root / name
        if model.nodes[int(name[1:])][0] == "temp" if name.startswith("n") else False:
            continue
        assert path.read_text() == text, name
    again = build([])
    assert (again["ran"], again["cached"]) == (0, 0)
