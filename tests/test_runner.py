"""The job's side of Python recipes, through real processes as a worker starts them."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from buildflow import runner

RUNNER = runner.__file__


def run(folder: Path, kind: str, **job: Any) -> subprocess.CompletedProcess[str]:
    path = folder / "job.json"
    path.write_text(json.dumps({"kind": kind, "inputs": [], "outputs": ["out.txt"], **job}))
    env = {"PATH": os.environ["PATH"], "LC_CTYPE": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, RUNNER, kind, str(path)], cwd=folder, env=env, capture_output=True, text=True, timeout=60
    )


def text(folder: Path, recipe: str, **job: Any) -> subprocess.CompletedProcess[str]:
    return run(folder, "python", text=recipe, file="Flowfile", line=7, **job)


def call(folder: Path, source: str, name: str = "f", **job: Any) -> subprocess.CompletedProcess[str]:
    (folder / "project").mkdir(exist_ok=True)
    (folder / "project" / "mod.py").write_text(source)
    return run(folder, "call", **{"function": f"mod:{name}", "root_dirs": [str(folder / "project")], **job})


def test_is_written_for_python_3_8() -> None:
    """It runs in the job's Python, from a copy: old syntax, the standard library only."""
    tree = ast.parse(Path(RUNNER).read_text(), feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names


def test_runs_from_a_copy(tmp_path: Path) -> None:
    copy = tmp_path / "runner.py"
    copy.write_bytes(Path(RUNNER).read_bytes())
    (tmp_path / "job.json").write_text(json.dumps({"kind": "python", "text": "print(wildcards)"}))
    done = subprocess.run([sys.executable, "-I", str(copy), "python", "job.json"], cwd=tmp_path, capture_output=True)
    assert done.stdout == b"{}\n", done.stderr


# ---- [python] texts


def test_a_text_sees_its_job(tmp_path: Path) -> None:
    recipe = (
        "assert inputs == ['a.nii', 'b.nii', 'c.txt'] and inputs.index == 'c.txt' and inputs['many'] == ['a.nii']\n"
        "assert many == ['a.nii'] and index == 'c.txt' and outputs == ['out.txt'] and out == 'out.txt'\n"
        "assert type(inputs[0]) is str and outputs.table == table == 'out.txt'\n"
        "assert wildcards.items == wildcards['items'] == items == 's1'\n"
        "assert bam == 'out/s1.bam' and lanes == ['1', '2'] and FOO == 'bar'\n"
        "assert (job.cpus, job.mem, job.attempt, job.wildcards.items, job.log) == (2, 512, 1, 's1', None)\n"
        "assert not hasattr(job, 'rule')\n"
        "open(out, 'w').write(__name__)\n"
    )
    done = text(
        tmp_path,
        recipe,
        inputs=["a.nii", "b.nii", "c.txt"],
        named={"many": ["a.nii"], "index": "c.txt"},
        named_outputs={"table": "out.txt"},
        wildcards={"items": "s1"},
        names={"bam": "out/s1.bam", "lanes": ["1", "2"]},
        vars={"FOO": "bar"},
        cpus=2,
        mem=512,
        attempt=1,
        rule="not in the key",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.txt").read_text() == "__main__"


def test_a_text_sees_nothing_else(tmp_path: Path) -> None:
    done = text(tmp_path, "print(sorted(n for n in globals() if not n.startswith('__')))", wildcards={"s": "1"})
    assert done.stdout == "['inputs', 'job', 'out', 'outputs', 's', 'wildcards']\n"


def test_a_traceback_names_the_flowfile(tmp_path: Path) -> None:
    done = text(tmp_path, "def inner():\n    raise ValueError('no')\n\ninner()\n")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0].startswith("Traceback")
    assert lines[1] == '  File "Flowfile", line 10, in <module>'
    assert lines[2].strip() == "inner()"
    assert '  File "Flowfile", line 8, in inner' in lines
    assert lines[-1] == "ValueError: no"
    assert "runner.py" not in done.stderr


def test_a_syntax_error_names_the_flowfile(tmp_path: Path) -> None:
    done = text(tmp_path, "x = 1\ny = = 2\n")
    assert done.returncode == 1
    assert 'File "Flowfile", line 8' in done.stderr and "y = = 2" in done.stderr
    assert "runner.py" not in done.stderr


def test_a_cause_keeps_its_frames(tmp_path: Path) -> None:
    done = text(tmp_path, "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('x') from e\n")
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr and "direct cause" in done.stderr and "runner.py" not in done.stderr


@pytest.mark.parametrize(
    ("recipe", "status", "said"),
    [
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('why')", 1, "why\n"),
        ("raise SystemExit(4)", 4, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15, ""),
    ],
)
def test_exit_is_honoured(tmp_path: Path, recipe: str, status: int, said: str) -> None:
    done = text(tmp_path, recipe)
    assert (done.returncode, done.stderr) == (status, said)


def test_the_language_is_plain(tmp_path: Path) -> None:
    """Neither this module's `from __future__` nor its names reach the recipe."""
    done = text(tmp_path, "def f(x: int): pass\nprint(f.__annotations__['x'] is int, 'json' in globals())")
    assert done.stdout == "True False\n"


def test_what_a_text_defines_can_be_pickled(tmp_path: Path) -> None:
    recipe = "import pickle, copy\ndef f(): return 5\nprint(pickle.loads(pickle.dumps(f))(), copy.copy(inputs))\n"
    assert text(tmp_path, recipe, inputs=["a"]).stdout == "5 ['a']\n"


def test_modules_beside_the_recipe_are_importable_and_ours_are_not(tmp_path: Path) -> None:
    (tmp_path / "errors.py").write_text("X = 'mine'")
    assert text(tmp_path, "import errors; print(errors.X)").stdout == "mine\n"
    assert "ModuleNotFoundError" in text(tmp_path, "import template").stderr


def test_an_unknown_label_says_what_is_known(tmp_path: Path) -> None:
    done = text(tmp_path, "inputs.srx", named={"src": "a.c"}, inputs=["a.c"])
    assert done.stderr.endswith("AttributeError: nothing here is named 'srx' (known: src)\n")


def test_output_is_in_order(tmp_path: Path) -> None:
    recipe = "import subprocess\nprint('one')\nsubprocess.run(['echo', 'two'])\nprint('three')\n"
    assert text(tmp_path, recipe).stdout == "one\ntwo\nthree\n"


def test_names_that_are_no_text_arrive_whole(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff.txt")
    (tmp_path / name).write_text("content")
    done = text(tmp_path, "print(inputs[0]); print(open(inputs[0]).read())", inputs=[name])
    assert done.stdout == "a\\udcff.txt\ncontent\n", done.stderr


# ---- functions


def test_a_function_gets_what_its_parameters_name(tmp_path: Path) -> None:
    source = (
        "from pathlib import Path\n"
        "def f(inputs, src, many, out, outputs, p, wildcards, job, lanes, /, bam, *rest,\n"
        "      cpus, depfile, own=7, **more):\n"
        "    assert inputs == [Path('a.c'), Path('b.h')] and inputs.src == src == Path('a.c')\n"
        "    assert many == [Path('b.h')] and outputs == [out] == [Path('out.txt')] and outputs.o == out\n"
        "    assert (p, wildcards.p, lanes, bam, cpus, own) == ('1', '1', ['x', 'y'], 'z.bam', 3, 7)\n"
        "    assert depfile == Path('d.d') and not rest and not more and job.cpus == 3\n"
        "    out.write_text('done')\n"
    )
    done = call(
        tmp_path,
        source,
        inputs=["a.c", "b.h"],
        named={"src": "a.c", "many": ["b.h"]},
        named_outputs={"o": "out.txt"},
        wildcards={"p": "1"},
        names={"lanes": ["x", "y"], "bam": "z.bam"},
        cpus=3,
        depfile="d.d",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.txt").read_text() == "done"


def test_several_outputs_are_a_list(tmp_path: Path) -> None:
    source = "def f(out):\n    [p.write_text(p.name) for p in out]\n"
    assert call(tmp_path, source, outputs=["a", "b"]).returncode == 0
    assert (tmp_path / "b").read_text() == "b"


def test_a_positional_default_keeps_its_place(tmp_path: Path) -> None:
    assert call(tmp_path, "def f(x=1, out=None, /): return [x, str(out)]").returncode == 0
    assert json.loads((tmp_path / "out.txt").read_text()) == [1, "out.txt"]


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("'text\\r\\n'", b"text\r\n"),
        ("'\u00e9'", "\u00e9".encode()),
        ("''", b""),
        ("b'\\x00\\xff'", b"\x00\xff"),
        ("bytearray(b'x')", b"x"),
        ("5", b"5"),
        ("False", b"false"),
        ("{'b': [1, 2.5, None], 'a': ()}", b'{"b": [1, 2.5, null], "a": []}'),
        ("{1: 'x'}", b'{"1": "x"}'),
        ("[]", b"[]"),
    ],
)
def test_a_value_is_written(tmp_path: Path, value: str, content: bytes) -> None:
    done = call(tmp_path, f"def f(): return {value}")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out.txt").read_bytes() == content


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f(): return {1, 2}", "f() returned a set that cannot be written: Object of type set is not JSON"),
        ("def f(): return float('nan')", "not JSON compliant"),
        ("def f(): return {1: 'a', '1': 'b'}", "two of its keys are the same in JSON"),
        ("def f(): return {(1, 2): 3}", "keys must be str"),
        ("def f():\n    l = []\n    l.append(l)\n    return l", "Circular reference"),
        ("def f(out): return out", "Path"),
        ("def f(): yield 1", "f() gave a generator (it has a `yield`)"),
        ("async def f(): return 1", "f() gave a coroutine (it is `async def`)"),
        ("async def f(): yield 1", "f() gave a generator"),
        ("def f(nosuch): pass", "a parameter of f() names nothing known: 'nosuch' (known: "),
        ("f = 5", "mod:f is no function"),
        ("def g(): pass", "the module 'mod' has no 'f'"),
    ],
)
def test_a_wrong_function_is_told_in_one_sentence(tmp_path: Path, source: str, said: str) -> None:
    done = call(tmp_path, source)
    assert done.returncode == 1
    assert done.stderr.startswith("bflow: ") and said in done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.parametrize("outputs", [[], ["a", "b"]])
def test_a_value_needs_one_output(tmp_path: Path, outputs: list[str]) -> None:
    done = call(tmp_path, "def f(): return 1", outputs=outputs)
    assert (done.returncode, done.stderr) == (
        1,
        f"bflow: f() returned a value, and its rule has {len(outputs)} outputs: let it write them itself\n",
    )


def test_a_value_cannot_be_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in call(tmp_path, "def f(): return 1", outputs=["d/"]).stderr


def test_a_function_that_moves_still_delivers(tmp_path: Path) -> None:
    assert call(tmp_path, "import os\ndef f():\n    os.chdir('/')\n    return 'x'").returncode == 0
    assert (tmp_path / "out.txt").read_text() == "x"


def test_a_function_s_traceback_is_its_own(tmp_path: Path) -> None:
    done = call(tmp_path, "def f(out):\n    out.nosuch()\n")
    assert done.returncode == 1
    assert done.stderr.splitlines()[1].startswith(f'  File "{tmp_path}/project/mod.py", line 2')
    assert "runner.py" not in done.stderr
    done = call(tmp_path, "import nosuch\n")
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'nosuch'\n")
    assert "runner.py" not in done.stderr and "frozen" not in done.stderr


def test_bytecode_from_before_a_quick_edit_is_not_used(tmp_path: Path) -> None:
    import py_compile

    mod = tmp_path / "project" / "mod.py"
    mod.parent.mkdir()
    mod.write_text("def f(): return 1")
    st = mod.stat()
    py_compile.compile(str(mod))
    mod.write_text("def f(): return 2")
    os.utime(mod, ns=(st.st_atime_ns, st.st_mtime_ns))
    assert run(tmp_path, "call", function="mod:f", root_dirs=["project"]).returncode == 0
    assert (tmp_path / "out.txt").read_text() == "2"


def test_methods_and_partials_are_functions(tmp_path: Path) -> None:
    source = (
        "import functools\n"
        "class C:\n    @staticmethod\n    def s(out): out.write_text('s')\n"
        "def g(out, text): out.write_text(text)\n"
        "p = functools.partial(g, text='p')\n"
    )
    assert call(tmp_path, source, "C.s").returncode == 0
    assert (tmp_path / "out.txt").read_text() == "s"
    assert call(tmp_path, source, "p").returncode == 0
    assert (tmp_path / "out.txt").read_text() == "p"


def test_a_pickle_needs_its_python(tmp_path: Path) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    factor = 6
    (tmp_path / "f.pickle").write_bytes(cloudpickle.dumps(lambda: 7 * factor))
    version = list(sys.version_info[:2])
    done = run(tmp_path, "call", pickle="f.pickle", python=version)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.txt").read_text() == "42"
    done = run(tmp_path, "call", pickle="f.pickle", python=[3, 2])
    assert done.returncode == 1
    assert "from Python 3.2, and here runs Python {}.{}".format(*version) in done.stderr


def test_a_wrong_command_is_refused() -> None:
    assert runner.main([]) == 2
