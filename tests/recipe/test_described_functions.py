"""Functions as recipes: their keys, where they live, what they import."""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from buildflow.errors import FlowError
from buildflow.recipe.functions import (
    Parameter,
    check_parameters,
    describe_call,
    hash_function,
    manifest_of_function,
    parameters_of,
    portable,
    project_imports,
    script_environment,
)

Load = Callable[..., Any]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Write modules into the project and import one of them anew: `load("…", other="…")` gives `mod`."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def forget() -> None:
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                del sys.modules[name]

    def load(source: str = "", name: str = "mod", **others: str) -> Any:
        for module, text in {**others, name: source}.items():
            path = tmp_path / f"{module.replace('.', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        forget()
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield load
    forget()


def rows(function: Any, root: Path) -> dict[str, str]:
    found = manifest_of_function(function, str(root))
    assert len(dict(found)) == len(found), "a row for each thing"
    return dict(found)


def changes(load: Load, root: Path, before: str, after: str, **others: str) -> bool:
    one = hash_function(load(before, **others).f, str(root))
    again = hash_function(load(before, **others).f, str(root))
    assert one == again and len(one) == 16
    return hash_function(load(after, **others).f, str(root)) != one


# ---- what is in the key


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(): return 1", "def f(): return 2"),
        ("def f(x=1): return x", "def f(x=2): return x"),
        ("def f(*, x=1): return x", "def f(*, x='1'): return x"),
        ("X = 1\ndef f(): return X", "X = 2\ndef f(): return X"),
        ("X = 1\ndef f(): return X", "X = True\ndef f(): return X"),
        ("X = [1, 2]\ndef f(): return X", "X = [2, 1]\ndef f(): return X"),
        ("X = (1,)\ndef f(): return X", "X = [1]\ndef f(): return X"),
        ("X = {'a': 1, 'b': 2}\ndef f(): return X", "X = {'b': 2, 'a': 1}\ndef f(): return X"),
        ("X = {'a', 'b'}\ndef f(): return X", "X = {'a', 'c'}\ndef f(): return X"),
        ("X = 1\ndef f(): return [X for _ in 'a']", "X = 2\ndef f(): return [X for _ in 'a']"),
        ("X = 1\ndef f(): return lambda: X", "X = 2\ndef f(): return lambda: X"),
        ("def g(): return 1\ndef f(): return g()", "def g(): return 2\ndef f(): return g()"),
        ("X = 1\ndef g(): return X\ndef f(): return g()", "X = 2\ndef g(): return X\ndef f(): return g()"),
        (
            "import re\nX = re.compile('a')\ndef f(): return X",
            "import re\nX = re.compile('a', re.I)\ndef f(): return X",
        ),
        ("f = lambda: 1", "f = lambda: 2"),
        ("f, g = lambda: 1, lambda: 2", "g, f = lambda: 1, lambda: 2"),
        (
            "def m(x):\n  def f(): return x\n  return f\nf = m(1)",
            "def m(x):\n  def f(): return x\n  return f\nf = m(2)",
        ),
        (
            "from functools import partial\ndef g(x): return x\nf = partial(g, 1)",
            "from functools import partial\ndef g(x): return x\nf = partial(g, 2)",
        ),
        (
            "import functools\n@functools.lru_cache\ndef f(): return 1",
            "import functools\n@functools.lru_cache\ndef f(): return 2",
        ),
        (
            "class C:\n  def m(self): return 1\ndef f(): return C().m()",
            "class C:\n  def m(self): return 2\ndef f(): return C().m()",
        ),
        ("class C:\n  a = 1\nX = C()\ndef f(): return X.a", "class C:\n  a = 2\nX = C()\ndef f(): return X.a"),
        (
            "class C: pass\nX = C(); X.a = 1\ndef f(): return X.a",
            "class C: pass\nX = C(); X.a = 2\ndef f(): return X.a",
        ),
        (
            "class B:\n  b = 1\nclass C(B): pass\ndef f(): return C.b",
            "class B:\n  b = 2\nclass C(B): pass\ndef f(): return C.b",
        ),
        (
            "from dataclasses import dataclass\n@dataclass\nclass D:\n  x: int\nX = D(1)\ndef f(): return X",
            "from dataclasses import dataclass\n@dataclass\nclass D:\n  x: int\nX = D(2)\ndef f(): return X",
        ),
        (
            "from enum import Enum\nclass E(Enum):\n  A = 1\n  B = 2\nX = E.A\ndef f(): return X",
            "from enum import Enum\nclass E(Enum):\n  A = 1\n  B = 2\nX = E.B\ndef f(): return X",
        ),
        (
            "def deco(k):\n def d(g):\n  def w(): return k, g()\n  return w\n return d\n@deco(1)\ndef f(): return 0",
            "def deco(k):\n def d(g):\n  def w(): return k, g()\n  return w\n return d\n@deco(2)\ndef f(): return 0",
        ),
        ("def f(): return Y", "Y = 1\ndef f(): return Y"),
        ("def f(): return len([])", "def len(x): return 3\ndef f(): return len([])"),
        ("import collections\nX = collections.deque([1])\ndef f(): return X", "X = [1]\ndef f(): return X"),
        (
            "import datetime\nX = datetime.date(1, 1, 1)\ndef f(): return X",
            "import datetime\nX = datetime.date(1, 1, 2)\ndef f(): return X",
        ),
    ],
)
def test_what_decides_the_value_is_in_the_key(load: Load, tmp_path: Path, before: str, after: str) -> None:
    assert changes(load, tmp_path, before, after)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("def f(): return 1\nOTHER = 1", "def f(): return 1\nOTHER = 2"),
        ("def f(): return 1\ndef g(): return 1", "def f(): return 1\ndef g(): return 2"),
        ("def f(): return 1", "\n\n# moved\ndef f(): return 1"),
        ("class K:\n  def f(): return 1\nf = K.f", "if True:\n        def f(): return 1"),
        ("def rule(**k): return lambda f: f\n@rule(cpus=1)\ndef f(): return 1", "def f(): return 1"),
        ("X = {'a', 'b', 'c'}\ndef f(): return X", "X = {'c', 'b', 'a'}\ndef f(): return X"),
        ("def f(x): return x.real\nreal = 1", "def f(x): return x.real\nreal = 2"),
        (
            "import logging\nL = logging.getLogger('x')\ndef f(): L.info('x')",
            "import logging\nL = logging.getLogger('x')\ndef f(): L.info('x')",
        ),
    ],
)
def test_what_does_not_decide_it_is_not(load: Load, tmp_path: Path, before: str, after: str) -> None:
    assert not changes(load, tmp_path, before, after)


def test_rows_explain(load: Load, tmp_path: Path) -> None:
    mod = load(
        "import math, helper\nfrom pkg.deep import thing\nZ = 'text'\nBIG = [1, 2]\n"
        "def make(y):\n    def f(a, x=3, *, k=None):\n"
        "        return x, y, Z, BIG, math.pi, helper.g(), thing(), same()\n"
        "    return f\ndef same(): return 1\nf = make(2.5)\n",
        helper="import third\ndef g(): return 1\n",
        third="A = 1\n",
        **{"pkg.__init__": "", "pkg.deep": "def thing(): return 1\n"},
    )
    found = rows(mod.f, tmp_path)
    assert [name for name in found if name.startswith("module ")] == [
        "module helper.py",
        "module pkg/__init__.py",
        "module pkg/deep.py",
        "module third.py",
    ]
    assert found["default x"] == "3" and found["default k"] == "None"
    assert found["closure y"] == "2.5" and found["global Z"] == "'text'"
    assert found["global BIG"].startswith("list ")
    assert found["global same"].startswith("function same ") and "same: source" in found
    assert found["global math"].startswith("module math ")
    assert found["source"] != found["same: source"]


@pytest.mark.parametrize(
    ("imports", "use"),
    [
        ("import helper", "helper.g()"),
        ("from helper import g", "g()"),
        ("from helper import K", "K()"),
        ("import sub.helper2", "sub.helper2.g()"),
        ("", "__import__('helper')"),
        ("def h():\n    import helper\n    return helper.g()", "h()"),
        ("def h():\n    from sub import helper2\n    return helper2.g()", "h()"),
    ],
)
def test_modules_of_the_project_are_in_the_key(load: Load, tmp_path: Path, imports: str, use: str) -> None:
    source = f"{imports}\ndef f():\n    return {use}\n"
    if not imports:
        source = "def f():\n    import helper\n    return helper.g()\n"
    helper = "from deep import D\ndef g(): return D\nclass K: pass\n"
    others = {"helper": helper, "deep": "D = 1\n", "sub.helper2": helper, "sub.__init__": ""}
    one = hash_function(load(source, **others).f, str(tmp_path))
    assert one == hash_function(load(source, **others).f, str(tmp_path))
    assert one != hash_function(load(source, **{**others, "deep": "D = 2\n"}).f, str(tmp_path))


def test_a_project_that_moves_keeps_its_keys(load: Load, tmp_path: Path) -> None:
    source = (
        "import os, pathlib\nHERE = os.path.dirname(__file__)\nDATA = pathlib.Path(__file__).parent / 'data'\n"
        "def f(): return HERE, DATA\n"
    )
    load(source)
    digests = set()
    for place in ("one", "two"):
        root = tmp_path / place
        root.mkdir()
        (root / "mod.py").write_text(source)
        code = f"import sys; sys.path.insert(0, {str(root)!r}); import mod; from buildflow.recipe.functions import *; "
        code += f"print(hash_function(mod.f, {str(root)!r}).hex())"
        digests.add(subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parents[2]))
    assert len(digests) == 1


def test_keys_do_not_depend_on_the_process(load: Load, tmp_path: Path) -> None:
    source = (
        "S = {'a', 'b', 'c', frozenset({'x', 'y'})}\ndef g(): return f\n"
        "def f(x={'p', 'q'}): return S, g, 'x' in {'a', 'b'}\n"
    )
    load(source)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import mod; from buildflow.recipe.functions import *; "
    code += f"print(hash_function(mod.f, {str(tmp_path)!r}), hash_function(lambda: 1 in {{1, 'a', 'b'}}, '/'))"
    said = {
        subprocess.check_output(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        for seed in "123"
    }
    assert len(said) == 1


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import threading\nLOCK = threading.Lock()\ndef f(): return LOCK", "the global LOCK of the function f"),
        ("X = open(__file__)\ndef f(): return X", "the global X of the function f"),
        ("X = [{'a': (i for i in 'x')}]\ndef f(): return X", "the global X of the function f"),
        ("X = open(__file__)\ndef g(): return X\ndef f(): return g()", "the global X of the function g"),
        ("def f(x=open(__file__)): return x", "the default of x of the function f"),
        (
            "def m(x):\n  def f(): return x\n  return f\nf = m(open(__file__))",
            "the variable x that the function m.<locals>.f",
        ),
        (
            "class C:\n  def m(self): return X\nX = open(__file__)\ndef f(): return C()",
            "the global X of the function C.m",
        ),
    ],
)
def test_what_cannot_be_hashed_is_an_error_that_names_it(load: Load, tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(FlowError) as error:
        hash_function(load(source).f, str(tmp_path))
    assert error.value.message.startswith(said) and "cannot be part of a key" in error.value.message
    assert error.value.hint


def test_what_another_module_holds_is_covered_by_its_file(load: Load, tmp_path: Path) -> None:
    mod = load(
        "import helper\ndef f(): return helper.g()", helper="import threading\nL = threading.Lock()\ndef g(): return L"
    )
    assert "module helper.py" in rows(mod.f, tmp_path)


def test_circles_are_safe(load: Load, tmp_path: Path) -> None:
    mod = load(
        "X = []\nX.append(X)\nD = {'x': X}\nD['d'] = D\n"
        "class C:\n    def m(self): return C, f\nI = C()\nI.me = I\n"
        "def g(): return f()\ndef f(): return f, g, X, D, C, I\n"
    )
    assert len(hash_function(mod.f, str(tmp_path))) == 16
    deep: Any = []
    for _ in range(60):
        deep = [deep, deep]  # as a tree it would be 2**60
    mod.X = deep
    assert len(hash_function(mod.f, str(tmp_path))) == 16
    for _ in range(100_000):
        deep = [deep]
    mod.X = deep
    with pytest.raises(FlowError, match="nested too deeply"):
        hash_function(mod.f, str(tmp_path))


def test_functions_of_libraries_are_their_names(tmp_path: Path) -> None:
    import textwrap

    assert [name for name, _ in manifest_of_function(textwrap.dedent, str(tmp_path))] == ["function"]
    assert hash_function(len, str(tmp_path)) != hash_function(abs, str(tmp_path))


def test_a_function_without_a_file_is_its_code(tmp_path: Path) -> None:
    def made(text: str) -> Any:
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(text, space)
        return space["f"]

    assert [n for n, _ in manifest_of_function(made("def f(): return 1"), str(tmp_path))] == ["code"]
    one, two = made("def f(): return 1"), made("def f(): return 2")
    assert hash_function(one, str(tmp_path)) != hash_function(two, str(tmp_path))
    assert hash_function(one, str(tmp_path)) == hash_function(made("\ndef f(): return 1"), str(tmp_path))


def test_a_file_that_changed_after_its_import(load: Load, tmp_path: Path) -> None:
    """What was loaded counts, not what the file says now."""
    mod = load("def f(): return 1\n")
    before = hash_function(mod.f, str(tmp_path))
    (tmp_path / "mod.py").write_text("def f(): return 22\n")
    now = rows(mod.f, tmp_path)
    assert list(now) == ["code"]
    assert portable(mod.f, str(tmp_path))[0] is None  # a fresh import would give another
    assert hash_function(load("def f(): return 22\n").f, str(tmp_path)) != before
    mod = load("import helper\ndef f(): return helper.g()\n", helper="def g(): return 1\n")
    hash_function(mod.f, str(tmp_path))
    (tmp_path / "helper.py").write_text("def g(): return 2\n")
    with pytest.raises(FlowError, match="the module helper was changed after it was imported"):
        hash_function(mod.f, str(tmp_path))


_simple = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
_hashable = st.recursive(_simple, lambda inner: st.tuples(inner, inner) | st.frozensets(inner), max_leaves=4)
_values = st.recursive(
    _simple | st.sets(_hashable), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


def _digest(value: Any) -> bytes:
    def f() -> Any:
        return value

    return hash_function(f, "/nowhere")


@given(_values, _values)
@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
def test_values_are_told_apart(one: Any, two: Any) -> None:
    assert _digest(one) == _digest(pickle.loads(pickle.dumps(one)))
    if repr(one) != repr(two) and one != two:
        assert _digest(one) != _digest(two)


# ---- parameters and environments


def test_parameters() -> None:
    def f(a: int, b: int = 1, *rest: int, c: int, d: int = 2, **more: int) -> None: ...

    assert parameters_of(f) == (Parameter("a"), Parameter("b", True), Parameter("c"), Parameter("d", True))
    assert check_parameters(f, {"a"}) == ["c"]
    assert check_parameters(parameters_of(f), {"c"}) == ["a"]
    assert check_parameters(None, set()) == []


def test_a_script_s_environment() -> None:
    job = {
        "inputs": ["a b.txt", "c.txt"],
        "outputs": ["out"],
        "named": {"src": "c.txt", "many": ["a b.txt", "c.txt"]},
        "named_outputs": {"o": "out"},
        "wildcards": {"s": "s 1", "PATH": "/evil", "LD_PRELOAD": "x"},
        "names": {"lanes": ["1", "2"], "none": []},
    }
    assert script_environment(job) == {
        "inputs": "a b.txt\nc.txt",
        "outputs": "out",
        "src": "c.txt",
        "many": "a b.txt\nc.txt",
        "o": "out",
        "s": "s 1",
        "lanes": "1 2",
        "none": "",
        "wildcards": "s=s 1\nPATH=/evil\nLD_PRELOAD=x",
    }


def test_a_script_s_environment_always_starts() -> None:
    job = {
        "inputs": ["x" * 50] * 50_000,
        "wildcards": {"s": "1"},
        "names": {f"n{i}": ["y" * 90_000] for i in range(50)},
    }
    environment = script_environment(job)
    assert environment["s"] == "1" and "inputs" not in environment
    subprocess.run(["true"], env={**os.environ, **environment}, check=True)


# ---- functions that a Flowfile names


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_a_call_is_described_without_an_import(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "tools/__init__.py": "",
            "tools/stats.py": "import os, numpy\nfrom . import plots\nfrom helper import x\n1 / 0\n"
            "def mean(inputs, out, /, s, n=1, *, k, m=2): pass\n",
            "tools/plots.py": "boom",
            "helper.py": "import tools.plots",
            "unrelated.py": "",
        },
    )
    info = describe_call(str(tmp_path), "tools.stats:mean")
    assert info.path == "tools/stats.py" and info.span is not None and info.span.line == 5
    assert info.parameters == (
        Parameter("inputs"),
        Parameter("out"),
        Parameter("s"),
        Parameter("n", True),
        Parameter("k"),
        Parameter("m", True),
    )
    names = [name for name, _ in info.rows]
    assert names == ["function", *(f"module {p}" for p in sorted(info.imports.found))]
    assert sorted(info.imports.found) == ["helper.py", "tools/__init__.py", "tools/plots.py", "tools/stats.py"]
    assert {"numpy", "numpy.py", "os", "os.py"} <= set(info.imports.absent)
    write(tmp_path, {"tools/plots.py": "boom2"})
    assert describe_call(str(tmp_path), "tools.stats:mean").rows != info.rows
    write(tmp_path, {"numpy.py": ""})
    assert "numpy.py" in describe_call(str(tmp_path), "tools.stats:mean").imports.found


@pytest.mark.parametrize(
    ("source", "function", "parameters"),
    [
        ("def f(a): pass", "f", ["a"]),
        ("if 1:\n    def f(a): pass\nelse:\n    def f(b): pass", "f", ["b"]),
        ("try:\n    import nosuch\nexcept ImportError:\n    def f(a): pass", "f", ["a"]),
        ("f = lambda a: 1", "f", ["a"]),
        ("from functools import partial\nf = partial(print)", "f", None),
        ("import functools\n@functools.cache\ndef f(a): pass", "f", None),
        ("class C:\n    @staticmethod\n    def f(a): pass", "C.f", None),
        ("from other import g as f", "f", ["x"]),
        ("from other import *", "g", ["x"]),
        ("from os.path import join as f", "f", None),
    ],
)
def test_where_a_function_is_defined(tmp_path: Path, source: str, function: str, parameters: list[str] | None) -> None:
    write(tmp_path, {"mod.py": source, "other.py": "def g(x): pass\n"})
    info = describe_call(str(tmp_path), f"mod:{function}")
    assert (None if info.parameters is None else [p.name for p in info.parameters]) == parameters
    assert "module mod.py" in dict(info.rows)


@pytest.mark.parametrize(
    ("function", "message", "hint"),
    [
        ("stats", "'stats' is not of the form module:function", "as in"),
        ("stats:", "is not of the form", "as in"),
        ("../stats:f", "is not of the form", "as in"),
        ("stat:mean", "no module stat in the project: stat.py is not there", "did you mean stats?"),
        ("stats:maen", "stats.py has no function maen", "did you mean mean?"),
        ("stats.sub:x", "no module stats.sub", None),
        ("broken:f", "invalid syntax", None),
        ("null:f", "", None),
    ],
)
def test_a_wrong_call_is_an_error(tmp_path: Path, function: str, message: str, hint: str | None) -> None:
    write(tmp_path, {"stats.py": "def mean(): pass\n", "broken.py": "\ndef = 1\n", "null.py": "x = '\0'\n"})
    with pytest.raises(FlowError) as error:
        describe_call(str(tmp_path), function)
    assert message in error.value.message
    assert hint is None or (error.value.hint is not None and hint in error.value.hint)
    if function == "broken:f":
        assert str(error.value.span).startswith("broken.py:2:")


# ---- the project's modules


def test_imports_are_followed(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "run.py": "import a.b.c\nfrom pkg import one, name\ndef f():\n    import lazy\n"
            "import importlib\nimportlib.import_module('dynamic.deep')\n__import__('json')\n",
            "a/__init__.py": "",
            "a/b/__init__.py": "",
            "a/b/c.py": "from .. import up\nfrom ...toohigh import x\nfrom .sibling import y",
            "a/up.py": "from __future__ import annotations\nfrom a import *",
            "a/b/sibling.py": "import run",
            "pkg/one.py": "\xa0syntax error(",
            "lazy.py": "from ns.inner import z",
            "ns/inner.py": "",
            "dynamic/deep.py": "",
            "not_imported.py": "",
        },
    )
    found, absent = project_imports(str(tmp_path), ["run.py"])
    assert sorted(found) == sorted(
        p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.py") if p.name != "not_imported.py"
    )
    assert {"pkg/__init__.py", "pkg/name.py", "ns/__init__.py", "json.py"} <= set(absent)
    assert not set(found) & set(absent)


def test_a_package_comes_before_a_module_and_compiled_code_first(tmp_path: Path) -> None:
    write(tmp_path, {"run.py": "import x", "x.py": ""})
    found, absent = project_imports(str(tmp_path), ["run.py"])
    assert (
        found == ("run.py", "x.py") and any(p.startswith("x.") and p.endswith(".so") for p in absent) and "x" in absent
    )
    (tmp_path / "x.abi3.so").touch()
    assert project_imports(str(tmp_path), ["run.py"]).found == ("run.py", "x.abi3.so")
    write(tmp_path, {"x/__init__.py": ""})
    assert project_imports(str(tmp_path), ["run.py"]).found == ("run.py", "x/__init__.py")


def test_other_roots(tmp_path: Path) -> None:
    write(tmp_path, {"scripts/run.py": "import helper", "scripts/helper.py": "", "helper/other.py": ""})
    assert project_imports(str(tmp_path), ["scripts/run.py"], ["scripts", ""]).found == (
        "scripts/run.py",
        "scripts/helper.py",
    )


# ---- the way to the job


def test_a_function_of_a_module_is_named(load: Load, tmp_path: Path) -> None:
    mod = load(
        "class C:\n    @staticmethod\n    def s(): pass\n"
        "def f(): pass\nl = lambda: 1\ndef m():\n  def i(): pass\n  return i\n"
    )
    assert portable(mod.f, str(tmp_path)) == ("mod:f", None)
    assert portable(mod.C.s, str(tmp_path)) == ("mod:C.s", None)
    for function in (mod.l, mod.m()):
        name, data = portable(function, str(tmp_path))
        assert name is None and data
    assert portable(os.path.join, str(tmp_path)) == ("posixpath:join", None)
    assert portable(mod.f, str(tmp_path / "elsewhere"))[0] is None


def test_a_module_that_builds_a_flow_is_not_imported_again(load: Load, tmp_path: Path) -> None:
    mod = load("from buildflow.errors import FlowError\ndef f(): return 1\n")
    assert portable(mod.f, str(tmp_path))[0] is None


def test_a_pickle_needs_nothing_of_the_project(load: Load, tmp_path: Path) -> None:
    """A script's own folder is not on the path of a job: what it imported from there travels along."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "beside.py").write_text("def g(): return K * 6\nK = 7\n")
    sys.path.insert(0, str(tmp_path / "scripts"))
    try:
        mod = load("import beside\nf = lambda: beside.g()\nh = beside.g\n")
        data = portable(mod.h, str(tmp_path))[1]
    finally:
        sys.path.remove(str(tmp_path / "scripts"))
    assert data is not None
    (tmp_path / "h.pickle").write_bytes(data)
    code = "import pickle; print(pickle.load(open('h.pickle', 'rb'))())"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path) == b"42\n"


def test_what_cannot_travel_is_an_error(tmp_path: Path) -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(FlowError, match="cannot be sent to its job: "):
        portable(lambda: lock, str(tmp_path))
