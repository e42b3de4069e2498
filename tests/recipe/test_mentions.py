"""Words of a recipe that name files, and what a Python script imports."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildflow.recipe.fill import compile_recipe
from buildflow.recipe.mentions import project_path, recipe_words, script_imports
from buildflow.template import Hole


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python scripts/mean.py {out} {in}", ["python", "scripts/mean.py"]),
        ("./build/hello x", ["build/hello"]),
        ("tool x y.txt z/w", ["tool", "y.txt", "z/w"]),
        ("python mean", ["python", "mean"]),
        ("python3.11 -u -W ignore mean x", ["python3.11", "mean"]),
        ("Rscript plot data", ["Rscript", "plot"]),
        ("bash -eu run x", ["bash", "run"]),
        ("bash -c run", ["bash"]),
        ("perl -e run", ["perl"]),
        ("perl -w run", ["perl", "run"]),
        ("python -c run", ["python"]),
        ("awk -f prog data", ["awk", "prog"]),
        ("awk prog data", ["awk"]),
        ("env A=1 python run", ["env", "python", "run"]),
        ("env A=1 tool x", ["env", "tool"]),
        ("xargs -n1 python run", ["xargs", "run"]),
        ("time ./tool", ["tool"]),
        ("source env", ["env"]),
        (". lib/x.sh", ["lib/x.sh"]),
        ("echo a", []),
        ("if tool; then ./b.sh; fi", ["tool", "b.sh"]),
        ("python -m pkg.mod x", ["python", "pkg/mod.py", "pkg/mod/__main__.py"]),
        ("python -mpkg", ["python", "pkg.py", "pkg/__main__.py"]),
        ("python -Bm pkg", ["python", "pkg.py", "pkg/__main__.py"]),
        ("tool < a.txt > b.txt 2> c.txt", ["tool", "a.txt"]),
        ("tool --config=conf/a.yml -x=b.c --d=e", ["tool", "conf/a.yml", "b.c"]),
        ("tool $(cat a.txt) \"$(cat b.txt)\" `cat c.txt`", ["tool", "cat", "a.txt", "b.txt", "c.txt"]),
        ("tool 'a.txt' \"b.txt\" c'.txt' $x/a.txt *.txt a.{b,c} ~/x.y", ["tool"]),
        ("tool a\\ b.txt x\\\ny.txt", ["tool", "a b.txt", "xy.txt"]),
        ("tool /abs/x.txt ../x.txt ./x.txt a/../y.txt", ["tool", "x.txt", "y.txt"]),
        ("tool a/../../z.txt d/ . .. ./ https://a.b/c", ["tool"]),
        ("tool # a.txt", ["tool"]),
        ("cat <<E\na.txt\nE", ["cat"]),
        ("A=x.txt tool", ["tool"]),
        ("for f in a.txt b.txt; do tool $f; done", ["a.txt", "b.txt", "tool"]),
        ("tool a.txt a.txt ./a.txt", ["tool", "a.txt"]),
        ("{x} {x}.py scripts/{in}", []),
    ],
)  # fmt: skip
def test_constant_mentions(text: str, expected: list[str]) -> None:
    assert list(compile_recipe(text).constant_mentions) == expected


VALUES = {
    "in": ["i"],
    "out": ["o"],
    "x": ["v"],
    "m": ["a", "b c"],
    "none": [],
    "cmd": ["./run.sh s.txt"],
    "cpus": ["1"],
}


def values(hole: Hole) -> list[str]:
    return VALUES[hole.name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python scripts/{x}.py {in} {out}.tmp {in.stem}/a", ["scripts/v.py"]),
        ("tool {m}.txt {none}.txt {in}.{x}", ["a.txt", "b c.txt", "i.v"]),
        ("{x} {x}", ["v"]),
        ("python {x}", ["v"]),
        ("python -m pkg.{x}", ["pkg/v.py", "pkg/v/__main__.py"]),
        ("tool --conf=./{x}.yml '{x}.q' > {x}.out", ["v.yml"]),
        ("tool {cpus}.{in}", []),
        ("tool ../{x}.txt", []),
        ("{!cmd} x", ["run.sh", "s.txt"]),
    ],
)
def test_mentions_of_a_job(text: str, expected: list[str]) -> None:
    assert compile_recipe(text).mentions(values) == expected


def test_a_module_is_told_from_a_file() -> None:
    assert [m.module for m in compile_recipe("python -m a").constant_mentions] == [False, True, True]
    assert len(recipe_words(compile_recipe("python -m a"))) == 2


@pytest.mark.parametrize(
    ("word", "path"),
    [("a", "a"), ("./a", "a"), ("a//b/./c", "a/b/c"), ("", None), ("-x", None), ("/a", None), ("a/", None),
     ("..", None),
     ("a/..", None), ("a/.", None), ("..a", "..a"), ("x" * 5000, None)],
)  # fmt: skip
def test_project_path(word: str, path: str | None) -> None:
    assert project_path(word) == path


def write(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return str(root)


def test_modules_beside_the_script(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "s/main.py": "import os, helper\nfrom pkg import sub, name\nif 0:\n    import pkg.deep.x as y\n",
            "s/helper.py": "def f():\n    import lazy\n",
            "s/lazy.py": "import main\nimport helper\n",
            "s/pkg/__init__.py": "from .inner import a\n",
            "s/pkg/inner.py": "from . import sub\nfrom ..beyond import x\nfrom .deep import x\n",
            "s/pkg/sub.py": "",
            "s/pkg/deep/__init__.py": "",
            "s/pkg/deep/x.py": "from ...pkg import late\nfrom .. import late2\n",
            "s/pkg/late2.py": "",
            "s/pkg/unused.py": "",
            "helper.py": "import never",
        },
    )
    found, absent = script_imports(root, "s/main.py")
    assert found == [
        "s/helper.py", "s/lazy.py", "s/pkg/__init__.py", "s/pkg/deep/__init__.py", "s/pkg/deep/x.py", "s/pkg/inner.py",
        "s/pkg/late2.py", "s/pkg/sub.py",
    ]  # fmt: skip
    assert {"s/os.py", "s/os/", "s/helper/", "s/pkg/name.py", "s/pkg/name/"} <= set(absent)
    assert not set(found) & set(absent)
    for name in absent:
        assert not (tmp_path / name).exists()


def test_the_root_of_a_module(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "pkg/__init__.py": "",
            "pkg/tool/__init__.py": "",
            "pkg/tool/__main__.py": "from .. import base\nfrom .part import x\nimport other\nimport part\n",
            "pkg/tool/part.py": "",
            "pkg/base.py": "",
            "other.py": "",
        },
    )
    found, absent = script_imports(root, "pkg/tool/__main__.py", [""])
    assert found == ["other.py", "pkg/__init__.py", "pkg/base.py", "pkg/tool/__init__.py", "pkg/tool/part.py"]
    assert {"part.py", "part/"} <= set(absent)
    found, _ = script_imports(root, "pkg/tool/__main__.py")
    assert found == ["pkg/tool/part.py"]  # run as a file it is in no package


def test_python_s_order(tmp_path: Path) -> None:
    """A package goes before a module, both before a folder without `__init__.py`."""
    root = write(
        tmp_path,
        {
            "m.py": "import a, b, c.d\nfrom c import e",
            "a.py": "", "a/__init__.py": "",
            "b.py": "", "b/x.py": "",
            "c/d.py": "", "c/e.py": "",
        },
    )  # fmt: skip
    found, absent = script_imports(root, "m.py")
    assert found == ["a/__init__.py", "b.py", "c/d.py", "c/e.py"]
    assert absent == ["b/__init__.py", "c.py", "c/__init__.py", "c/d/", "c/e/"]


def test_a_star_takes_what_all_names(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "m.py": "from p import *\nfrom q import *",
            "p/__init__.py": "__all__ = ['a', 'b']",
            "p/a.py": "",
            "p/c.py": "",
        },
    )
    assert script_imports(root, "m.py")[0] == ["p/__init__.py", "p/a.py"]


def test_what_is_no_python(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "broken.py": "import (",
            "good.py": "import broken, coded",
            "coded.py": "# -*- coding: latin-1 -*-\nimport last\n",
            "last.py": "x = '\\d'\n",
            "run": "#!/usr/bin/env python3\nimport good\n",
            "shell": "#!/bin/sh\nimport good\n",
            "zero.py": "\0",
        },
    )
    assert script_imports(root, "run")[0] == ["broken.py", "coded.py", "good.py", "last.py"]
    for name in ("shell", "zero.py", "broken.py", "missing", "missing.py", "."):
        assert script_imports(root, name) == ([], [])
