"""LANGUAGE.md, “Recipes”: `[python]` recipes and `[call = module:function]`, through the real command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from quick import Quick


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Quick]:
    story = Quick(tmp_path)
    yield story
    story.close()


def test_a_python_recipe_has_its_variables(story: Quick) -> None:
    story.write("a", "a")
    story.write("b", "b")
    story.write(
        "Flowfile",
        """
        one = single
        bam = bam/{s}.bam
        (s, kind) = x k1, y k2
        unused = 1
        [python, vars = FOO, cpus = 2]
        out/{one}/{s}.txt idx=out/{one}/{s}.idx: first=a rest=b rest=Flowfile
            lines = [
                s, one, wildcards.s, wildcards["one"], sorted(wildcards), bam, kind, FOO,
                inputs, list(outputs), first, rest, inputs.first, inputs["rest"], idx, outputs.idx,
                job.wildcards.s, job.cpus, job.inputs[0], "unused" in globals(), "{s} ${x} {{y}}", __name__,
            ]
            with open(outputs[0], "w") as file:
                for line in lines:
                    print(line, file=file)
            open(idx, "w").close()
        """,
    )
    story.build("out/single/x.txt", env={"FOO": "bar"})
    assert story.read("out/single/x.txt").splitlines() == [
        "x", "single", "x", "single", "['one', 's']", "bam/x.bam", "k1", "bar",
        "['a', 'b', 'Flowfile']", "['out/single/x.txt', 'out/single/x.idx']", "a", "['b', 'Flowfile']", "a",
        "['b', 'Flowfile']", "out/single/x.idx", "out/single/x.idx", "x", "2", "a", "False", "{s} ${x} {{y}}",
        "__main__",
    ]  # fmt: skip


def test_what_a_python_recipe_can_read_is_in_its_key(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        other = 1
        bam = a/{s}
        [python, vars = V={other}]
        out/{s}:
            open(outputs[0], "w").write(bam + V)
        """,
    )
    assert story.build("out/x").ran == 1
    story.edit("Flowfile", "bam = a/", "bam = b/")
    assert story.build("out/x").ran == 1
    assert story.build("out/x", "other=2").ran == 1
    assert story.read("out/x") == "b/x2"
    story.edit("Flowfile", "[python, ", "[python, cpus = 2, ")
    assert story.build("out/x", "other=2").up_to_date == 1
    story.edit("Flowfile", "+ V)", "+ V )")
    assert story.build("out/x", "other=2").ran == 1


def test_a_traceback_shows_the_line_of_the_flowfile(story: Quick) -> None:
    story.write(
        "Flowfile",
        "# one\n\n[python]\nout:\n    x = 1\n    def f():\n        raise ValueError('bad value')\n"
        "    f()\n[python]\nwrong:\n    x = = 1\n",
    )
    ran = story.build(ok=1)
    assert 'File "Flowfile", line 7, in f' in ran.err and "raise ValueError('bad value')" in ran.err
    assert 'File "Flowfile", line 8' in ran.err and "runner.py" not in ran.err
    ran = story.build("wrong", ok=1)
    assert 'File "Flowfile", line 11' in ran.err and "SyntaxError" in ran.err


def test_a_python_recipe_may_import_the_project(story: Quick) -> None:
    story.write("tools/helper.py", "from tools import more\nVALUE = more.VALUE\n")
    story.write("tools/more.py", "VALUE = 'one'\n")
    story.write("tools/unused.py", "")
    story.write(
        "Flowfile", "[python]\nout:\n    from tools.helper import VALUE\n    open(outputs[0], 'w').write(VALUE)\n"
    )
    assert story.build().ran == 1
    story.edit("tools/more.py", "one", "two")
    assert story.build().ran == 1
    assert story.read("out") == "two"
    story.write("tools/unused.py", "x = 1\n")
    assert story.build().up_to_date == 1


def test_a_python_recipe_ends_with_the_status_it_says(story: Quick) -> None:
    story.write("Flowfile", "[python]\nout:\n    import sys\n    print('said')\n    sys.exit(3)\n")
    ran = story.build(ok=1)
    assert "status 3" in ran.err and "said" in ran.err


def test_defaults_make_recipes_python_and_a_rule_shell_again(story: Quick) -> None:
    story.write(
        "Flowfile",
        "[defaults: python]\nall: a b c\na:\n    open(outputs[0], 'w').write('py')\n[python = no]\nb:\n"
        "    echo sh > {out}\nc:\n    #!/bin/sh\n    echo script > $outputs\n",
    )
    story.build()
    assert [story.read(n) for n in "abc"] == ["py", "sh\n", "script\n"]


# ---- [call = module:function]


def test_a_function_is_called_with_what_its_parameters_name(story: Quick) -> None:
    story.write("data/a.txt", "a")
    story.write("ref", "r")
    story.write("pkg/__init__.py", "")
    story.write(
        "pkg/work.py",
        """
        from pathlib import Path
        def join(inputs, out, n, ref, wildcards, cpus, kind, optional=7, *, V):
            assert isinstance(ref, Path) and all(isinstance(p, Path) for p in inputs) and isinstance(out, Path)
            out.write_text(f"{[str(p) for p in inputs]} {n} {ref} {wildcards.n} {cpus} {kind} {optional} {V}")
        """,
    )
    story.write(
        "Flowfile", "kind = k_{n}\n[call = pkg.work:join, cpus = 2, vars = V=v]\nout/{n}: data/{n}.txt ref=ref\n"
    )
    assert story.build("out/a", "-j2").ran == 1
    assert story.read("out/a") == "['data/a.txt', 'ref'] a ref a 2 k_a 7 v"
    assert story.build("out/a").up_to_date == 1


@pytest.mark.parametrize(
    ("body", "content"),
    [
        ("return 'text é'", "text é"),
        ("return b'\\x00\\xff'", "\x00\udcff"),
        ("return {'a': [1, 2.5, None]}", json.dumps({"a": [1, 2.5, None]})),
        ("return 5", "5"),
        ("import os; os.chdir('/'); return 'moved'", "moved"),
        ("import os; os.chdir('sub') if os.path.isdir('sub') else None; out.write_text('self')", "self"),
    ],
)
def test_a_value_that_it_returns_is_written(story: Quick, body: str, content: str) -> None:
    story.write("mod.py", f"def f(out):\n    {body}\n")
    story.write("Flowfile", "[call = mod:f]\nout/x:\n")
    story.build("out/x")
    assert story.read("out/x") == content


def test_values_that_cannot_be_written(story: Quick) -> None:
    story.write("mod.py", "def two(): return 1\ndef odd(): return object()\ndef none(): pass\ndef folder(): return 1\n")
    story.write(
        "Flowfile", "[call = mod:two]\na b:\n[call = mod:odd]\nc:\n[call = mod:none]\nd:\n[call = mod:folder]\ne/:\n"
    )
    assert "its rule has 2 outputs" in story.build("a", ok=1).err
    assert "cannot be written" in story.build("c", ok=1).err
    assert "did not make its output d" in story.build("d", ok=1).err
    assert "is a folder" in story.build("e/", ok=1).err


def test_an_edited_helper_module_runs_it_again(story: Quick) -> None:
    story.write("mod.py", "import helper\ndef f():\n    return helper.text()\n")
    story.write("helper.py", "def text(): return 'one'\n")
    story.write("other.py", "")
    story.write("Flowfile", "all: a\n[call = mod:f]\na:\n")
    assert story.build().ran == 1
    story.edit("helper.py", "one", "two")
    assert story.build().ran == 1
    assert story.read("a") == "two"
    story.write("other.py", "x = 1\n")
    assert story.build().up_to_date == 1
    story.edit("mod.py", "helper.text()", "helper.text() + '!'")
    assert story.build().ran == 1
    assert story.read("a") == "two!"


def test_many_calls_share_a_warm_process(story: Quick) -> None:
    story.write(
        "mod.py",
        "import os\nIMPORTED = os.getpid()\ndef f(n):\n    return f'{IMPORTED} {os.getpid()}'\n".replace(
            "os.getpid()\ndef", "id(os)\ndef"
        ),
    )
    story.write("mod.py", "PARENTS = []\nimport os\ndef f(n):\n    return f'{os.getppid()} {os.getpid()}'\n")
    story.write("Flowfile", "n = {1..6}\nall: out/{n}\n[call = mod:f]\nout/{n}:\n")
    assert story.build("-j2").ran == 6
    pairs = [story.read(f"out/{n}").split() for n in range(1, 7)]
    assert len({parent for parent, _ in pairs}) == 1 and len({own for _, own in pairs}) == 6


@pytest.mark.parametrize(
    ("call", "said", "hint"),
    [
        ("mod:f", "mod:f asks for “nothing”, and nothing of the rule is named so", "the rule has: n"),
        ("mod:near", "mod:near asks for “input”", "did you mean inputs"),
        ("mod:assigned", "mod:assigned asks for “voxel”", "[vars = voxel={voxel}]"),
        ("mod:missing", "mod.py has no function missing", ""),
        ("mood:f", "no module mood in the project", "did you mean mod?"),
        ("mod", "is not of the form module:function", "as in [call"),
        ("bad:f", "invalid syntax", ""),
    ],
)
def test_what_it_asks_for_is_checked_when_the_flowfile_is_read(story: Quick, call: str, said: str, hint: str) -> None:
    story.write("mod.py", "def f(n, nothing): pass\ndef near(input): pass\ndef assigned(voxel): pass\n")
    story.write("bad.py", "def f(:\n")
    story.write("Flowfile", f"voxel = 1 2\ngood:\n    touch {{out}}\n[call = {call}]\nout/{{n}}:\n")
    ran = story.build("good", ok=2)
    assert said in ran.err and hint in ran.err
    assert ran.err.startswith("bad.py:1:" if call.startswith("bad") else "Flowfile:4:")
    assert not story.exists("good")


def test_a_recipe_beside_a_call_is_an_error(story: Quick) -> None:
    story.write("mod.py", "def f(): pass\n")
    story.write("Flowfile", "[call = mod:f]\na:\n    touch a\n")
    assert "[call = …] and a recipe" in story.build(ok=2).err


def test_a_call_that_fails_shows_its_traceback(story: Quick) -> None:
    story.write("mod.py", "def f():\n    print('printed')\n    raise KeyError('k')\n")
    story.write("Flowfile", "[call = mod:f]\na:\n")
    ran = story.build(ok=1)
    assert "KeyError: 'k'" in ran.err and "mod.py" in ran.err and "line 3" in ran.err and "printed" in ran.err
    assert "runner.py" not in ran.err


def test_a_call_has_the_environment_and_the_time_of_its_rule(story: Quick) -> None:
    story.write(
        "mod.py",
        "import os, time\n"
        "def env(): return ' '.join(os.environ.get(n, '-') for n in ('V', 'SEEN', 'HIDDEN'))\n"
        "def sleep(): time.sleep(600)\n",
    )
    story.write("Flowfile", "[call = mod:env, vars = V=1, pass = SEEN]\na:\n[call = mod:sleep, time = 0.3s]\nb:\n")
    story.build("a", env={"SEEN": "s", "HIDDEN": "h"})
    assert story.read("a") == "1 s -"
    assert "took longer than its time" in story.build("b", ok=1).err
