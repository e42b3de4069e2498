"""The check of the imports' direction, on packages written for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import check_imports
from check_imports import check


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of its own, so that the project's can change."""
    layers = ["errors template", "lang.statements digest", "names", "lang plan keys cache state sandbox", "workers"]
    top = [{"submitter"}, {"flow"}, {"", "cli"}]
    monkeypatch.setattr(check_imports, "LAYERS", [set(names.split()) for names in layers] + top)
    monkeypatch.setattr(check_imports, "FORBIDDEN", {"workers": {"plan", "lang"}})
    monkeypatch.setattr(check_imports, "EXCEPTIONS", {("lang.load", "flow")})


def package(root: Path, files: dict[str, str]) -> list[str]:
    for name, text in files.items():
        path = root / "buildflow" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return check(root)


def test_downward_and_beside_is_right(tmp_path: Path) -> None:
    files = {
        "__init__.py": "def __getattr__(name):\n    from buildflow.flow import Flow\n    return Flow\n",
        "errors.py": "import os\n",
        "template.py": "from buildflow.errors import Span\n",
        "lang/__init__.py": "",
        "lang/statements.py": "from buildflow.template import Word\n",
        "lang/parser.py": "from . import statements\nfrom ..errors import FlowError\nfrom buildflow.keys import key\n",
        "keys.py": "import buildflow.errors\n",
        "flow.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from buildflow.cli import main\n",
        "cli/__init__.py": "from buildflow import Flow, errors\n",
        "rules/__init__.py": "import buildflow.cli\n",
    }
    assert package(tmp_path, files) == []


def test_upward_is_wrong_wherever_it_stands(tmp_path: Path) -> None:
    files = {
        "errors.py": "\nimport buildflow.keys\n",
        "keys.py": "def f():\n    from buildflow import flow\n",
        "cache.py": "from .flow import x\n",
        "state.py": "import importlib\nimportlib.import_module('buildflow.submitter')\n",
        "digest.py": "import typing\nif typing.TYPE_CHECKING:\n    pass\nelse:\n    import buildflow.keys as k\n",
        "flow.py": "",
        "submitter.py": "",
    }
    assert package(tmp_path, files) == [
        "buildflow/cache.py:1: cache imports flow: layer 3 from layer 6, which is higher",
        "buildflow/digest.py:5: digest imports keys: layer 1 from layer 3, which is higher",
        "buildflow/errors.py:2: errors imports keys: layer 0 from layer 3, which is higher",
        "buildflow/keys.py:2: keys imports flow: layer 3 from layer 6, which is higher",
        "buildflow/state.py:2: state imports submitter: layer 3 from layer 5, which is higher",
    ]


def test_what_workers_never_import_though_it_is_lower(tmp_path: Path) -> None:
    files = {
        "workers/cf.py": "from buildflow.plan.arrays import Plan\nfrom buildflow import lang\n",
        "lang/__init__.py": "",
        "plan/arrays.py": "",
    }
    assert package(tmp_path, files) == [
        "buildflow/workers/cf.py:1: workers.cf imports plan.arrays: workers must know nothing of it",
        "buildflow/workers/cf.py:2: workers.cf imports lang: workers must know nothing of it",
    ]


def test_exceptions(tmp_path: Path) -> None:
    files = {"lang/load.py": "import buildflow.flow\n", "lang/parser.py": "import buildflow.flow\n", "flow.py": ""}
    assert package(tmp_path, files) == [
        "buildflow/lang/parser.py:1: lang.parser imports flow: layer 3 from layer 6, which is higher"
    ]


def test_a_cycle_is_wrong_within_a_layer_too(tmp_path: Path) -> None:
    files = {
        "keys.py": "import os\nimport buildflow.cache\n",
        "cache.py": "def f():\n    from buildflow.state import x\n",
        "state.py": "from buildflow.keys import x\n",
        "sandbox.py": "from buildflow.sandbox import itself\nimport buildflow.keys\n",
    }
    assert package(tmp_path, files) == [
        "buildflow/cache.py:2: a cycle of imports: cache → state → keys → cache",
        "    buildflow/cache.py:2: imports state",
        "    buildflow/state.py:1: imports keys",
        "    buildflow/keys.py:2: imports cache",
    ]


def test_a_module_that_the_table_does_not_have(tmp_path: Path) -> None:
    assert package(tmp_path, {"novelty.py": ""}) == [
        "buildflow/novelty.py:1: novelty is in no layer: add it to LAYERS in tests/check_imports.py"
    ]


def test_a_longer_name_of_the_table_counts() -> None:
    assert check_imports.layer_of("lang.statements") == 1
    assert check_imports.layer_of("lang.parser") == check_imports.layer_of("lang") == 3
    assert check_imports.layer_of("language") is None


def test_the_script_prints_and_exits() -> None:
    ran = subprocess.run([sys.executable, check_imports.__file__], capture_output=True, text=True)
    assert ran.stderr == ""
    assert (ran.returncode == 0) == (ran.stdout == "imports go one way\n")
