"""`Flowfile.py` through the command: loops, conditions, inputs as functions, overrides, and errors at its lines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from buildflow import Flow, FlowError
from story import Story


def test_loops_conditions_and_functions(story: Story) -> None:
    story.write(
        "Flowfile.py",
        """
        from buildflow import Flow, glob

        flow = Flow(voxel=["0.5", "0.25"])
        flow["subject"] = glob("data/{subject}.txt")
        flow.rule("all", inputs="out/{subject}_{voxel}.txt")
        shell = "cat {in} > {out}; echo {voxel} >> {out}"
        flow.rule("out/{subject}_{voxel}.txt", inputs="data/{subject}.txt", shell=shell)
        for letter in "xyz":
            if letter != "y":
                said = f"echo {letter} > {{out}}"
                flow.rule(f"{letter}.txt", inputs=lambda wildcards: [], shell=said, help="A letter.")

        FACTOR = 2

        @flow.rule("twice/{n}.txt")
        def twice(n, out):
            "Twice as much."
            out.write_text(str(int(n) * FACTOR))
        """,
    )
    story.write("data/a.txt", "a\n")
    story.write("data/b.txt", "b\n")
    assert story.build().ran == 4
    assert story.read("out/b_0.25.txt") == "b\n0.25\n"
    ran = story.build("x.txt", "twice/4.txt")
    assert ran.ran == 2 and story.read("twice/4.txt") == "8" and story.read("x.txt") == "x\n"
    assert story.build("y.txt", ok=2).ran == 0
    story.edit("Flowfile.py", "FACTOR = 2", "FACTOR = 3")
    assert story.build("twice/4.txt").ran == 1 and story.read("twice/4.txt") == "12"
    assert story.build().ran == 0
    listed = story.bflow("list")
    assert "A letter." in listed.out + listed.err and "Twice as much." in listed.out + listed.err


def test_values_of_the_command_line(story: Story) -> None:
    story.write(
        "Flowfile.py",
        """
        from buildflow import Flow

        flow = Flow()
        flow["voxel"] = ["0.5", "0.25"]
        flow["a", "b"] = [("1", "x"), ("2", "y")]
        flow.rule("all", inputs=["{voxel}.txt", "{a}{b}.txt"])
        flow.rule("{name}.txt", shell="echo > {out}")
        flow.rule("n=1", shell="echo > {out}")
        """,
    )
    story.build("voxel=0.1 0.2", "all")
    assert [name for name in story.files() if name.endswith(".txt")] == ["0.1.txt", "0.2.txt", "1x.txt", "2y.txt"]
    story.remove("0.1.txt", "0.2.txt", "1x.txt", "2y.txt")
    story.build("a=2", "voxel=3", "all")
    assert [name for name in story.files() if name.endswith(".txt")] == ["2y.txt", "3.txt"]
    story.build("n=1")
    assert story.exists("n=1")
    assert "no row of a, b has a=3" in story.build("a=3", "all", ok=2).err


def test_an_include_sees_the_command_line(story: Story) -> None:
    story.write("more.flow", "flag ?= none\n{n}.inc:\n    echo {flag} > {out}\n")
    story.write("Flowfile.py", "from buildflow import Flow\nflow = Flow()\nflow.include('more.flow')\n")
    story.build("flag=given", "a.inc")
    assert story.read("a.inc") == "given\n"


def test_modules_of_the_project(story: Story) -> None:
    story.write("helper.py", "WORD = 'one'\ndef make(n):\n    return n + WORD\n")
    story.write(
        "Flowfile.py",
        """
        import helper
        from buildflow import Flow

        flow = Flow()
        flow.rule("{n}.txt")(helper.make)
        flow.rule("{n}.sh", shell=f"echo {helper.WORD} > {{out}}")
        """,
    )
    story.build("a.txt", "a.sh")
    assert story.read("a.txt") == "aone" and story.read("a.sh") == "one\n"
    story.edit("helper.py", "one", "two")
    assert story.build("a.txt", "a.sh").ran == 2
    assert story.read("a.txt") == "atwo" and not story.exists("__pycache__")
    os.mkdir(story.path("sub"))
    assert story.build("../a.txt", cwd="sub").up_to_date == 1


@pytest.mark.parametrize(
    "text, place, message",
    [
        ("from buildflow import Flow\n\nflow = Flow(\n", "Flowfile.py:3:", "was never closed"),
        ("x = 1\nif x:\n    1 / 0\n", "Flowfile.py:3:5", "ZeroDivisionError: division by zero"),
        (
            "from buildflow import Flow\nflow = Flow()\nflow.rule('x', bogus=1)\n",
            "Flowfile.py:3:1",
            "no attribute “bogus”",
        ),
        (
            "from buildflow import Flow\nflow = Flow()\nflow.rule('x', shell='{y} > {out}')\n",
            "Flowfile.py:3:1",
            "names nothing",
        ),
        ("flow = 3\n", "", "Flowfile.py leaves no Flow in “flow”"),
        ("import nothing_of_the_kind\n", "Flowfile.py:1:1", "ModuleNotFoundError"),
        ("import sys\nsys.exit(3)\n", "Flowfile.py:2:1", "ended Python"),
        ("import broken\n", "broken.py:2:", "invalid syntax"),
        ("x = 1\nimport raising\n", "Flowfile.py:2:1", "raised in raising.py, line 1"),
        ("raise SystemError('\\x00')\n", "Flowfile.py:1:1", "SystemError"),
        (b"\xff\n", "Flowfile.py:", ""),
    ],
)
def test_errors_are_told_at_their_place(story: Story, text: str | bytes, place: str, message: str) -> None:
    story.write("Flowfile.py", text)
    story.write("broken.py", "x = 1\ny = = 2\n")
    story.write("raising.py", "raise ValueError('x')\n")
    ran = story.build("x", ok=2)
    assert place in ran.err and message in ran.err and "Traceback" not in ran.err


def test_what_it_prints_is_no_output(story: Story) -> None:
    story.write(
        "Flowfile.py",
        "from buildflow import Flow\nprint('hello')\nflow = Flow()\nflow.rule('x', shell='echo > {out}')\n",
    )
    ran = story.build("x")
    assert "hello" not in ran.out and "hello" in ran.err and ran.ran == 1


def test_run_as_a_script_it_may_build(story: Story) -> None:
    story.write(
        "Flowfile.py",
        """
        from buildflow import Flow

        flow = Flow()
        flow.rule("x", shell="echo > {out}")
        if __name__ == "__main__":
            flow.build("x")
        """,
    )
    import subprocess
    import sys

    subprocess.run([sys.executable, "Flowfile.py"], cwd=story.root, env=story.environment(), check=True)
    assert story.exists("x") and story.build("x").up_to_date == 1


def test_loading_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name, word in (("one", "first"), ("two", "second")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "helper_of_two.py").write_text(f"WORD = {word!r}\n")
        (folder / "Flowfile.py").write_text(
            "import dataclasses\nimport helper_of_two\nfrom buildflow import Flow\nflow = Flow()\n"
            "@dataclasses.dataclass\nclass Point:\n    x: 'int'\n"
            "@flow.rule('{n}.txt')\ndef make(n):\n    return n + helper_of_two.WORD + str(Point(1).x)\n"
        )
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    one, two = Flow.load("one/Flowfile.py"), Flow.load("two")
    assert one.root == str(tmp_path / "one") and sys.path == path and os.getcwd() == str(tmp_path)
    for worker in ("debug", "cf"):
        assert one.build(f"{worker}.txt", worker=worker).value == f"{worker}first1"
        assert two.build(f"{worker}.txt", worker=worker).value == f"{worker}second1"
    assert "__flowfile__" not in sys.modules and set(sys.modules) - modules - {"helper_of_two"} >= set()
    (tmp_path / "two/helper_of_two.py").write_text("WORD = 'third'\n")
    assert Flow.load("two").build("debug.txt").value == "debugthird1"


def test_a_flowfile_py_that_loads_a_flowfile(story: Story) -> None:
    story.write("Flowfile.base", "word = none\n{n}.x:\n    echo {word} > {out}\n")
    story.write(
        "Flowfile.py",
        "from buildflow import Flow\nflow = Flow.load('Flowfile.base')\n"
        "flow.rule('y', inputs='a.x', shell='cp {in} {out}')\n",
    )
    story.build("y")
    assert story.read("y") == "none\n"
    story.build("word=given", "y")
    assert story.read("y") == "given\n"


def test_reading_a_flowfile_py_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match="there is no file"):
        Flow.load(tmp_path / "Flowfile.py")
