"""Programs that use the Python interface: a script without a main guard, standard input, a terminal with a debugger."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import textwrap

import pytest

from story import Story


def run(story: Story, script: str, *, ok: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    story.write("script.py", script)
    arguments = [sys.executable, "script.py"] if stdin is None else [sys.executable, "-"]
    done = subprocess.run(
        arguments,
        cwd=story.root,
        env=story.environment(),
        text=True,
        capture_output=True,
        input=stdin or "",
        timeout=60,
    )
    assert (done.returncode == 0) is ok, done.stdout + done.stderr
    return done


SCRIPT = """
from buildflow import Flow

BASE = 10
flow = Flow()

def helper(p):
    return BASE ** int(p)

@flow.rule("pow/{p}.txt", inputs=[])
def power(p, out):
    out.write_text(str(helper(p)))

class Value:
    def __init__(self, n): self.n = n

@flow.rule("value/{n}")
def value(n):
    return vars(Value(n))

results = flow.build(["pow/2.txt", "value/x"], worker="cf", n_procs=2)
print(results.value, results.cached)
"""


def test_a_script_without_a_main_guard(story: Story) -> None:
    assert run(story, SCRIPT).stdout == "[100, {'n': 'x'}] False\n"
    assert run(story, SCRIPT).stdout == "[100, {'n': 'x'}] True\n"
    assert run(story, SCRIPT.replace('worker="cf", n_procs=2', "")).stdout == "[100, {'n': 'x'}] True\n"
    assert run(story, SCRIPT.replace("BASE = 10", "BASE = 2")).stdout == "[4, {'n': 'x'}] False\n"


def test_a_script_from_standard_input(story: Story) -> None:
    script = textwrap.dedent(SCRIPT).replace('worker="cf", n_procs=2', 'cache_root="other"')
    script += (
        "\nimport subprocess\n@flow.rule('c')\ndef c(): return subprocess.run(['cat'], capture_output=True).stdout\n"
    )
    script += "flow.rule('s', shell='cat > {out}')\nprint(flow.build(['c', 's']).errored)\nprint('the rest')\n"
    assert run(story, "", stdin=script).stdout.splitlines() == ["[100, {'n': 'x'}] False", "False", "the rest"]


def test_an_error_that_nobody_catches(story: Story) -> None:
    script = SCRIPT.replace("return vars(Value(n))", "raise RuntimeError('on purpose')")
    done = run(story, script, ok=False)
    assert re.search(r"script.py:1\d:1: value/x failed", done.stderr) and "RuntimeError: on purpose" in done.stderr
    assert '@flow.rule("value/{n}")' in done.stderr


def test_nothing_is_printed(story: Story) -> None:
    done = run(story, SCRIPT.replace("print(results.value, results.cached)", ""))
    assert (done.stdout, done.stderr) == ("", "")


def test_importing_the_package_is_cheap(story: Story) -> None:
    heavy = ("networkx", "asyncio", "click", "buildflow.flow")
    script = f"import sys, buildflow\nprint([m for m in {heavy} if m in sys.modules])"
    assert run(story, script).stdout == "[]\n"
    assert "Flow" in run(story, "import buildflow\nprint(dir(buildflow))").stdout


def talk(story: Story, script: str, *lines: str) -> str:
    """What a script prints to a terminal, which types each line once it is asked."""
    story.write("script.py", script)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(story.root)
        os.execve(sys.executable, [sys.executable, "script.py"], {**story.environment(), "TERM": "dumb"})
    text, waiting = b"", list(lines)
    while True:
        if not select.select([terminal], [], [], 30)[0]:
            raise AssertionError(f"nothing comes any more after {text!r}")
        try:
            data = os.read(terminal, 4096)
        except OSError:  # (Linux, at the end)
            data = b""
        if not data:
            break
        text += data
        if waiting and text.rstrip().endswith((b"(Pdb)", b"?")):
            os.write(terminal, waiting.pop(0).encode() + b"\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert status == 0, text
    return text.decode()


@pytest.mark.parametrize("stop", ["breakpoint()", "__import__('pdb').set_trace()"])
def test_a_debugger_talks_to_the_terminal(story: Story, stop: str) -> None:
    script = f"""
from buildflow import Flow

flow = Flow()

@flow.rule("{{n}}.txt")
def make(n, out):
    print("before")
    secret = n * 2
    {stop}
    print("after")
    return secret

result = flow.build("ab.txt")
print("value", result.value, "log", result.log.split()[0])
"""
    text = talk(story, script, "p secret", "p str(out)", "continue")
    assert "before" in text and "'abab'" in text and "'ab.txt'" in text and "after" in text
    assert "value abab log before" in text
    assert 'print("after")' in text  # where it stands


def test_a_function_may_ask_the_terminal(story: Story) -> None:
    script = """
from buildflow import Flow

flow = Flow()
flow.rule("out")(lambda: input("what now?"))
print("value", flow.build("out").value)
"""
    text = talk(story, script, "an answer")
    assert "what now?" in text and "value an answer" in text


def test_nothing_is_asked_where_there_is_no_terminal(story: Story) -> None:
    script = """
from buildflow import Flow

flow = Flow()
flow.rule("out")(lambda: input("what now?"))
print(flow.build("out", raise_errors=False).log.splitlines()[-1])
"""
    assert run(story, script).stdout == "EOFError: EOF when reading a line\n"
