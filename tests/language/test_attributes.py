"""LANGUAGE.md, “Attributes”: each of them through the real command, and what is said of wrong ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from quick import Quick
from story import Ran, Story

PLAIN = "\nout: in\n    cat {in} > {out}\n"


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Quick]:
    story = Quick(tmp_path)
    yield story
    story.close()


@pytest.fixture
def real(tmp_path: Path) -> Iterator[Story]:
    """The command in a process of its own."""
    story = Story(tmp_path)
    yield story
    story.close()


# ---- What is wrong is told in the whole Flowfile, at the very place, before anything runs


@pytest.mark.parametrize(
    ("attribute", "column", "said"),
    [
        ("cpu = 2", 2, "there is no attribute “cpu”"),
        ("threads = 2", 2, "here that is cpus"),
        ("params = 2", 2, "here that is a name: “k = 21” on a line of its own"),
        ("cpus", 2, "the attribute “cpus” needs a value"),
        ("resource.x", 2, "resource.x needs a number"),
        ("slurm", 2, "slurm passes words to the worker, and has none"),
        ("phony = 3", 10, "phony is a flag and takes no value"),
        ("python = 3.11", 11, "python is a flag and takes no value"),
        ("inplace = x", 12, "inplace is a flag"),
        ("anonymous = 2", 14, "anonymous is a flag"),
        ("default = all", 12, "default is a flag"),
        ("cpus = two", 9, "two is not known in a number"),
        ("cpus = -1", 9, "negative"),
        ("cpus = 2, cpus = 3", 12, "the attribute “cpus” stands twice"),
        ("mem = 2X", 9, "X is no unit"),
        ("mem = 2h", 8, "2h is a time"),
        ("mem = 2G *", 10, "ends too early"),
        ("time = soon", 9, "soon is not known in a number"),
        ("retries = many", 12, "many is not known"),
        ("gpus = 1/0", 9, "divides by zero"),
        ("priority = high", 13, "high is not known"),
        ("batch = x", 10, "x is not known"),
        ("resource.licence = some", 21, "some is not known"),
        ("stage = move", 10, "stage = move is none of auto, link, copy"),
        ("env = dokcer://x", 8, "there is no environment “dokcer://x”"),
        ("env = prefix://", 8, "env = prefix:// names nothing"),
        ("worker = slrm", 11, "there is no worker “slrm”"),
        ("temp = idx", 9, "the rule has no output of that name"),
        ("vars = 1x", 9, "'1x' is no name of a variable"),
        ("pass = A-B=1", 9, "'A-B' is no name of a variable"),
        ("log = /tmp/x", 8, "log = /tmp/x is no file in the project"),
        ("log = a b", 8, "log is one path, and this is 2 words"),
        ("depfile = ../x.d", 12, "is no file in the project"),
        ("mem = {amount}", 8, "{amount} names nothing known here"),
        ("hooks = on_start=x", 10, "a hook is written as moment=command"),
        ('hooks = post_run="cp {outt} x"', 10, "{outt} names nothing known here"),
        ("hooks = post_run", 10, "the hook post_run has no command"),
        ("name = a b", 9, "name is one word"),
        ("call = f", 9, "no module"),
    ],
)
def test_a_wrong_attribute_is_told_at_its_place(story: Quick, attribute: str, column: int, said: str) -> None:
    story.write("in", "")
    body = "\nout: in\n" if attribute.startswith("call") else PLAIN
    story.write("Flowfile", f"good:\n    touch {{out}}\n\n[{attribute}]{body}")
    if attribute == "call = f":
        said = "is not of the form module:function"
    ran = story.build("good", ok=2)
    assert said in ran.err
    first = ran.err.splitlines()[0]
    assert first.startswith("Flowfile:4:"), first
    found = int(first.split(":")[2])
    assert found == column or column < found <= column + 4, (found, column)
    assert not story.exists("good")


def test_the_nearest_attribute_is_shown(story: Quick) -> None:
    story.write("Flowfile", "[retrys = 2]\na:\n    true\n")
    assert "did you mean retries?" in story.build(ok=2).err


def test_defaults_are_checked_too_and_some_have_none(story: Quick) -> None:
    story.write("Flowfile", "[defaults: cpus = x]\na:\n    touch a\n")
    assert "Flowfile:1:" in story.build(ok=2).err
    for attribute in ("phony", "default", "name = x", "call = a:b"):
        story.write("Flowfile", f"[defaults: {attribute}]\na:\n    touch a\n")
        assert "is of one rule and has no default" in story.build(ok=2).err


def test_values_that_are_right(story: Quick) -> None:
    story.write("in", "x")
    story.write(
        "Flowfile",
        """
        m = 1G
        [name = n, cpus = min(8, size(in) // 1G + 1), mem = {m} * attempt, gpus = 0, time = 1h30m, retries = 2]
        [resource.licence = 1, priority = -5, batch = 10, worker = cf, slurm = --partition=long --qos "a, b"]
        [sge = -q all.q, psij = queue=x, dask = x=1, stage = "copy", tools = cat sort]
        [vars = A B=1, pass = C, shell = bash -e]
        [default, temp = no, anonymous = false, python = no]
        out: in
            cat {in} > {out}
        """,
    )
    assert story.build("--resource", "mem=1T").ran == 1


# ---- Numbers


def test_numbers_are_arithmetic_over_units_attempt_and_sizes(story: Quick) -> None:
    story.write("in", b"x" * 3_000_000)
    story.write(
        "Flowfile",
        """
        all: a b c d
        [mem = 2 * 1G + 512M]
        a:
            echo {mem} > {out}
        [mem = max(1G, 10 * size(in)), cpus = min(64, 1 + 1)]
        b: in
            echo {mem.mb} {cpus} > {out}
        [mem = size(big) * 2 + size(in)]
        c: big=in
            echo {mem} > {out}
        [cpus = 1.5]
        d:
            echo {cpus} > {out}
        """,
    )
    story.build("-j4", "--resource", "mem=64G")
    assert [story.read(n) for n in "abcd"] == ["2560M\n", "1024 2\n", "9M\n", "2\n"]


def test_retries_with_attempt(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        [retries = 2, mem = 1G * attempt, vars = COUNT]
        out:
            echo {attempt} {mem} >> "$COUNT"
            test -e left && exit 9; touch left
            test {attempt} = 3
            echo {mem} > {out}
        """,
    )
    count = story.path("count")
    ran = story.build("--resource", "mem=8G", env={"COUNT": str(count)})
    assert story.read("out") == "3072M\n"
    assert story.read("count") == "1 1024M\n2 2048M\n3 3072M\n"
    assert ran.ran == 1 and ran.failed == 0


def test_retries_end(story: Quick) -> None:
    story.write("Flowfile", "[retries = 1, pass = COUNT]\nout:\n    echo x >> $COUNT; exit 3\n")
    ran = story.build(ok=1, env={"COUNT": str(story.path("count"))})
    assert story.read("count") == "x\nx\n" and ran.failed == 1
    assert "attempt 2 of 2" in story.bflow("build", ok=1, env={"COUNT": str(story.path("count"))}).err


# ---- vars, pass, tools


def test_vars_are_seen_and_in_the_key(story: Quick) -> None:
    story.write(
        "Flowfile",
        "[vars = FOO BAR=set, pass = SEEN OTHER=1]\nout:\n"
        "    echo ${FOO-none} $BAR ${SEEN-none} $OTHER ${HIDDEN-none} > {out}\n",
    )
    env: dict[str, str | None] = {"FOO": "a b", "SEEN": "s", "HIDDEN": "h"}
    assert story.build(env=env).ran == 1
    assert story.read("out") == "a b set s 1 none\n"
    assert story.build(env={**env, "SEEN": "t"}).up_to_date == 1
    assert story.build(env={**env, "HIDDEN": None}).up_to_date == 1
    assert story.build(env={**env, "FOO": "c"}).ran == 1
    assert story.build(env={**env, "FOO": None}).ran == 1
    assert story.read("out").startswith("none set")
    assert story.build(env={**env, "FOO": ""}).ran == 1
    story.edit("Flowfile", "BAR=set", "BAR=reset")
    assert story.build(env=env).ran == 1


def test_vars_with_holes_and_defaults(story: Quick) -> None:
    story.write(
        "Flowfile",
        "[defaults: pass = SEEN]\n[vars = SAMPLE={s} WHERE=x/{s}]\nout/{s}:\n"
        "    echo $SAMPLE $WHERE ${SEEN-none} > {out}\n",
    )
    story.build("out/a", env={"SEEN": "1"})
    assert story.read("out/a") == "a x/a 1\n"


def test_the_environment_is_built(story: Quick) -> None:
    story.write("Flowfile", "out:\n    env | sort > {out}\n")
    story.build(env={"SECRET": "x", "LANG": "de_DE.UTF-8", "LC_ALL": "C"})
    names = {line.partition("=")[0] for line in story.read("out").splitlines()}
    assert {"PATH", "HOME", "LC_CTYPE", "TMPDIR", "PYTHONDONTWRITEBYTECODE"} <= names
    assert not names & {"SECRET", "LANG", "LC_ALL", "PYTHONPATH"}


def test_tools_are_in_the_key(story: Quick) -> None:
    bin = story.home / "bin"
    bin.mkdir()
    tool = bin / "mytool"
    tool.write_text("#!/bin/sh\necho one\n")
    tool.chmod(0o755)
    story.write("Flowfile", "[tools = mytool cat]\nout:\n    mytool > {out}\n")
    env = {"PATH": f"{bin}:{story.environment()['PATH']}"}
    assert story.build(env=env).ran == 1
    assert story.build(env=env).up_to_date == 1
    tool.write_text("#!/bin/sh\necho two\n")
    assert story.build(env=env).ran == 1
    assert story.read("out") == "two\n"
    tool.unlink()
    ran = story.build(env=env, ok=False)
    assert "tools names mytool" in ran.err and "Flowfile:1:" in ran.err


def test_a_tool_of_the_project(story: Quick) -> None:
    story.write("bin/tool", "#!/bin/sh\necho one\n", 0o755)
    story.write("sub/x", "")
    story.write("Flowfile", "[tools = bin/tool]\nout:\n    echo a > {out}\n")
    assert story.build().ran == 1
    story.write("bin/tool", "#!/bin/sh\necho two\n", 0o755)
    assert story.build("../out", cwd="sub").ran == 1


# ---- cpus, mem, gpus, resource.NAME, priority, time


def test_cpus_above_the_limit_are_capped(story: Quick) -> None:
    story.write(
        "Flowfile", "[cpus = 64]\nout:\n    echo {cpus} > {out}\n[cpus = 64]\nother:\n    echo {cpus} > {out}\n"
    )
    story.build("-j3")
    assert story.read("out") == "3\n"
    story.build("other", "-j3", "--resource", "cpus=2")
    assert story.read("other") == "2\n"


@pytest.mark.parametrize(
    ("attribute", "limit", "said"),
    [
        ("mem = 3G", "mem=2G", "asks for mem = 3072M, and the limit is 2048M"),
        ("mem = 3G * attempt", "mem=2G", "asks for mem = 3072M"),
        ("mem = size(in) * 3", "mem=1M", "asks for mem = 3M"),
        ("gpus = 2", "gpus=1", "asks for gpus = 2, and there are 1"),
        ("resource.licence = 2", "licence=1", "asks for resource.licence = 2, and the limit is 1"),
    ],
)
def test_too_much_is_an_error_before_anything_runs(story: Quick, attribute: str, limit: str, said: str) -> None:
    story.write("in", b"x" * (1 << 20))
    story.write(
        "Flowfile",
        f"out: first in\n    cat first > {{out}}\nfirst:\n    touch {{out}}\n[{attribute}]\nbig: in\n"
        f"    touch {{out}}\nall: first out big\n",
    )
    ran = story.build("all", "--resource", limit, ok=2)
    assert said in ran.err and "Flowfile:5:" in ran.err
    assert not story.exists("first") and not story.exists("out")
    assert story.build("all", "-n", "--resource", limit, ok=2)
    assert story.build("out", "--resource", limit).ran == 2  # it is not asked for
    assert (
        story.build(
            "all", "--resource", limit.split("=")[0] + "=8G" if "mem" in limit else limit.split("=")[0] + "=8"
        ).ran
        == 1
    )
    assert story.build("all", "--resource", limit).up_to_date == 3  # it need not run


def test_too_much_that_shows_later(story: Quick) -> None:
    story.write(
        "Flowfile", "[mem = size(in) * 3]\nbig: first\n    touch {out}\nfirst:\n    head -c 1048576 /dev/zero > {out}\n"
    )
    ran = story.build("big", "--resource", "mem=2M", ok=1)
    assert "asks for mem = 3M" in ran.err and ran.ran == 1


def test_named_resources_and_gpus_are_shared(story: Quick) -> None:
    story.write("bflow.toml", "[resources]\nlicence = 1\n")
    story.write(
        "Flowfile",
        """
        n = 1 2 3 4
        all: lic/{n} gpu/{n} pair
        [resource.licence = 1, pass = SHARED]
        lic/{n}:
            mkdir "$SHARED/licence"
            rmdir "$SHARED/licence"
            touch {out}
        [gpus = 1, pass = SHARED]
        gpu/{n}:
            mkdir "$SHARED/gpu$CUDA_VISIBLE_DEVICES"
            rmdir "$SHARED/gpu$CUDA_VISIBLE_DEVICES"
            echo {gpus} $CUDA_VISIBLE_DEVICES > {out}
        [gpus = 2]
        pair:
            echo {gpus} $CUDA_VISIBLE_DEVICES > {out}
        none:
            echo {gpus} ${CUDA_VISIBLE_DEVICES-none} > {out}
        """,
    )
    shared = story.home / "shared"
    shared.mkdir()
    env = {"SHARED": str(shared)}
    assert story.build("all", "none", "-j4", "--resource", "gpus=2", env=env).ran == 10
    assert story.read("pair") == "2 0,1\n" and story.read("none") == "0 none\n"
    assert {story.read(f"gpu/{n}") for n in range(1, 5)} <= {"1 0\n", "1 1\n"}


def test_devices_that_are_visible_are_those_allotted(story: Quick) -> None:
    story.write("Flowfile", "[gpus = 2]\nout:\n    echo $CUDA_VISIBLE_DEVICES > {out}\n")
    story.build(env={"CUDA_VISIBLE_DEVICES": "5,7,9"})
    assert story.read("out") == "5,7\n"


def test_priority_beats_path_length(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        [defaults: pass = ORDER]
        all: a b c d
        a: x
            echo a >> $ORDER; touch {out}
        x:
            echo x >> $ORDER; touch {out}
        [priority = 10]
        b:
            echo b >> $ORDER; touch {out}
        [priority = 2 * 10]
        c:
            echo c >> $ORDER; touch {out}
        [priority = -1]
        d:
            echo d >> $ORDER; touch {out}
        """,
    )
    story.build("all", "-j1", env={"ORDER": str(story.path("order"))})
    assert story.read("order").split()[:3] == ["c", "b", "x"]


def test_time_kills_and_says_so(story: Quick) -> None:
    story.write(
        "Flowfile", "[time = 0.2s]\nout:\n    sleep 600 | cat > {out}\n[time = 0.2, phony]\nrun:\n    sleep 600\n"
    )
    ran = story.build(ok=1)
    assert "it took longer than its time (0:00:01)" in ran.err
    assert "it took longer than its time" in story.build("run", ok=1).err


# ---- temp, stage


def test_a_temp_output_stays_in_the_cache_only(story: Quick) -> None:
    story.write("in", "x")
    story.write(
        "Flowfile",
        """
        out: mid.txt
            cat {in} > {out}
        [temp = idx]
        mid.txt idx=mid.idx: in
            cp {in} mid.txt; cp {in} {idx}
        use: mid.idx
            cp {in} {out}
        [temp]
        whole: in
            cp {in} {out}
        last: whole
            cp {in} {out}
        """,
    )
    assert story.build("use", "last").ran == 4
    assert story.exists("mid.txt") and not story.exists("mid.idx") and not story.exists("whole")
    assert story.build("use", "last").up_to_date == 4
    story.build("mid.idx", "whole")
    assert story.read("mid.idx") == story.read("whole") == "x"


@pytest.mark.parametrize(("stage", "link"), [("auto", "real"), ("link", "link"), ("copy", "real")])
def test_how_inputs_are_staged(story: Quick, stage: str, link: str) -> None:
    story.write("in", "x")
    story.write("big", b"x" * (2 << 20))
    story.write(
        "Flowfile",
        f"""
        [stage = {stage}]
        out: in big
            for f in {{in}}; do if test -L $f; then echo link; else echo real; fi; done > {{out}}
        """,
    )
    story.build()
    assert story.read("out").split() == [link, "real" if stage == "copy" else "link"]


# ---- log


def test_a_log_is_a_file_of_the_workspace_also_when_the_job_fails(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        [log = logs/deep/{n}.txt]
        out/{n}:
            echo printed; echo error >&2; test {n} != bad; touch {out}
        [log = logs/own.txt]
        own:
            echo written > {log}; touch {out}
        [log = logs/target.txt]
        both logs/target.txt:
            echo kept > {log}; test ! -n "$FAIL" && touch both
        use: logs/target.txt
            cp {in} {out}
        wrong: logs/own.txt
            cp {in} {out}
        """.replace("[log = logs/target.txt]", "[log = logs/target.txt, pass = FAIL]"),
    )
    story.build("out/good", "own")
    assert story.read("logs/deep/good.txt") == "printed\nerror\n" and story.read("logs/own.txt") == "written\n"
    story.build("out/bad", ok=1)
    assert story.read("logs/deep/bad.txt") == "printed\nerror\n"
    assert "logs/own.txt" in story.build("wrong", ok=2).err
    story.build("both", env={"FAIL": "1"}, ok=1)
    assert story.read("logs/target.txt") == "kept\n"
    story.build("use", env={"FAIL": ""})
    assert story.read("use") == "kept\n"


def test_a_log_takes_nothing_of_the_users(story: Quick) -> None:
    story.write("notes.txt", "mine")
    story.write("Flowfile", "[log = notes.txt]\nout:\n    echo printed; touch {out}\n")
    story.build()
    assert story.read("notes.txt") == "printed\n"
    kept = list(story.path(".bflow/replaced").rglob("notes.txt"))
    assert [p.read_text() for p in kept] == ["mine"]


def test_a_log_is_no_input_of_a_glob(story: Quick) -> None:
    story.write("logs/mine.txt", "m")
    story.write(
        "Flowfile", "[log = logs/out.txt]\nout:\n    echo x; touch {out}\nall: logs/*.txt\n    echo {in} > {out}\n"
    )
    story.build("out")
    story.build("all")
    assert story.read("all") == "logs/mine.txt\n"


# ---- depfile

CC = """#!/usr/bin/env python3
# a compiler of one file: `#include "x"` is replaced by the file, looked for in include/ and inc2/
import os, sys
source, target, dep = sys.argv[1:4]
read = [source]
def text(path):
    out = []
    for line in open(path):
        if line.startswith("#include"):
            name = line.split()[1].strip('"<>')
            for folder in ("first", "include", os.environ.get("SYSTEM", "/nowhere")):
                if os.path.exists(f"{folder}/{name}"):
                    read.append(f"{folder}/{name}")
                    out.append(text(f"{folder}/{name}"))
                    break
            else:
                sys.exit(f"no {name}")
        else:
            out.append(line)
    return "".join(out)
result = text(source)
open(target, "w").write(result)
if dep != "none":
    names = [os.path.abspath(r) if "abs" in sys.argv else r for r in read]
    body = " \\\\\\n ".join(n.replace(" ", "\\\\ ") for n in names)
    phony = "".join(f"\\n{n}:\\n".replace(" ", "\\\\ ") for n in names[1:])
    open(dep, "w").write(f"{target}: {body}\\n{phony}")
"""


@pytest.fixture
def compiler(story: Quick) -> Quick:
    story.write("cc.py", CC)
    story.write("a.c", '#include "a.h"\nbody\n')
    story.write("include/a.h", "header a\n")
    story.write("include/b.h", "header b\n")
    story.write(
        "Flowfile",
        """
        mode = rel
        all: build/a.o
        [depfile = build/{n}.d, pass = SYSTEM]
        build/{n}.o: src={n}.c include/*.h
            python3 cc.py {src} {out} {depfile} {mode}
        """,
    )
    return story


@pytest.mark.parametrize("mode", ["rel", "abs"])
def test_a_depfile_narrows_what_counts(compiler: Story, mode: str) -> None:
    story = compiler

    def build() -> Ran:
        return story.build("all", f"mode={mode}")

    assert build().ran == 1
    assert not story.exists("build/a.d")
    story.edit("include/b.h", "header b", "other b")
    assert build().up_to_date == 1
    story.edit("include/a.h", "header a", "other a")
    assert build().ran == 1
    assert story.read("build/a.o") == "other a\nbody\n"
    story.edit("include/a.h", "other a", "header a")
    assert build().cached == 1
    assert story.read("build/a.o") == "header a\nbody\n"
    story.edit("a.c", "body", "changed")
    assert build().ran == 1
    story.edit("a.c", '#include "a.h"\n', "")
    assert build().ran == 1
    story.edit("include/a.h", "header a", "third a")
    assert build().up_to_date == 1
    entries = list(story.path(".bflow/cache").rglob("depfile"))
    assert entries


def test_a_new_header_that_shadows_another_is_seen(compiler: Story) -> None:
    story = compiler
    story.edit("Flowfile", "include/*.h", "include/*.h headers/")
    story.write("headers/x", "")
    assert story.build().ran == 1
    story.write("include/c.h", "a new candidate")
    assert story.build().ran == 1
    assert story.build().up_to_date == 1


def test_names_outside_the_project_are_hashed(compiler: Story) -> None:
    story = compiler
    system = story.home / "sys"
    system.mkdir()
    (system / "std.h").write_text("one\n")
    story.edit("a.c", '"a.h"', "<std.h>")
    env = {"SYSTEM": str(system)}
    assert story.build(env=env).ran == 1
    assert story.build(env=env).up_to_date == 1
    (system / "std.h").write_text("two\n")
    assert story.build(env=env).ran == 1
    assert story.read("build/a.o") == "two\nbody\n"


def test_a_depfile_that_is_not_written_is_an_error(story: Quick) -> None:
    story.write("in", "")
    story.write(
        "Flowfile",
        "[depfile = x.d]\nout: in\n    touch {out}\n[depfile = y.d]\nbad: in\n"
        "    touch {out}; echo 'no rule here' > y.d\n",
    )
    assert "did not write its depfile x.d" in story.build(ok=1).err
    assert not story.exists("out")
    assert "not in make's syntax" in story.build("bad", ok=1).err


def test_a_depfile_names_generated_order_only_headers(story: Quick) -> None:
    story.write("cc.py", CC)
    story.write("a.c", '#include "gen.h"\n')
    story.write("gen.in", "one\n")
    story.write("other.in", "other\n")
    story.write(
        "Flowfile",
        """
        [depfile = {n}.d]
        {n}.o: {n}.c | include/gen.h include/other.h
            python3 cc.py {in} {out} {depfile}
        include/{h}.h: {h}.in
            cp {in} {out}
        """,
    )
    assert story.build("a.o").ran == 3
    story.edit("other.in", "other", "changed")
    assert story.build("a.o").ran == 1
    story.edit("gen.in", "one", "two")
    assert story.build("a.o").ran == 2
    assert story.read("a.o") == "two\n"


# ---- hooks


def test_hooks_run_around_jobs_that_run(story: Quick) -> None:
    story.write("in", "x")
    story.write(
        "Flowfile",
        """
        [hooks = pre_run="echo pre {out} >> said" pre_run_task='echo task {in} >> said']
        [hooks = post_run_task="echo collected $(cat {out}) $(test -e out || echo absent) >> said"]
        [hooks = post_run="echo post $(cat {out}) $BFLOW_RULE >> said"]
        out: in
            cp {in} {out}
        """,
    )
    assert story.build().ran == 1
    assert story.read("said").splitlines() == ["pre out", "task in", "collected x absent", "post x out"]
    assert story.build().up_to_date == 1
    story.remove("out")
    assert story.build().cached == 1
    assert len(story.read("said").splitlines()) == 4


def test_hooks_are_not_in_the_key(story: Quick) -> None:
    story.write("Flowfile", "[hooks = post_run=true]\nout:\n    touch {out}\n")
    story.build()
    story.edit("Flowfile", "post_run=true", "post_run=false")
    assert story.build().up_to_date == 1


def test_hooks_that_fail(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        [hooks = pre_run="echo before; exit 3"]
        a:
            touch {out}
        [hooks = post_run_task="echo checked >> said; exit 4" post_run="echo end $BFLOW_ERRORED >> said"]
        b:
            touch {out}
        [hooks = post_run="echo {out} is bad; false"]
        c:
            touch {out}
        [hooks = post_run_task="echo task $BFLOW_ERRORED >> said2" post_run="echo run $BFLOW_ERRORED >> said2"]
        d:
            exit 1
        """,
    )
    assert "the hook pre_run failed with status 3: before" in story.build("a", ok=1).err
    assert not story.exists("a")
    assert "the hook post_run_task failed" in story.build("b", ok=1).err
    assert not story.exists("b") and story.read("said") == "checked\nend 1\n"
    ran = story.build("c", ok=1)
    assert "the hook post_run failed with status 1: c is bad" in ran.err and ran.ran == 1
    assert story.exists("c") and story.build("c").up_to_date == 1
    story.build("d", ok=1)
    assert story.read("said2") == "task 1\nrun 1\n"


# ---- [phony], [inplace]


def test_phony_jobs_run_each_time_in_the_project_with_the_terminal(real: Story) -> None:
    real.write("in", "x")
    real.write(
        "Flowfile",
        """
        [phony]
        two: built
            echo two $(cat built) $(pwd) ${MINE-} >> said; cat >> said
        [phony]
        one:
            echo one >> said; echo printed
        built: in
            cp {in} {out}
        group: one two
        [phony]
        after: | one
            echo after >> said
        out: in | one
            cp {in} {out}
        wrong: one
            cp {in} {out}
        """,
    )
    ran = real.bflow("build", "two", "one", stdin="typed\n", env={"MINE": "m"})
    assert real.read("said") == f"two x {real.root} m\ntyped\none\n"
    assert ran.out == "printed\n"
    ran = real.build("two", "one")
    assert ran.ran == 2 and "printed" in ran.err
    real.remove("said")
    real.build("group")
    assert [line.split()[0] for line in real.read("said").splitlines()] == ["one", "two"]
    real.remove("said")
    real.build("after")
    assert real.read("said") == "one\nafter\n"
    real.build("out")
    assert "is phony, and makes no file" in real.build("wrong", ok=2).err


def test_a_phony_job_that_fails(story: Quick) -> None:
    story.write("Flowfile", "[phony]\na:\n    exit 3\n[phony]\nb:\n    echo b\n")
    ran = story.build("a", "b", ok=1)
    assert "status 3" in ran.err and ran.ran == 0
    assert story.build("a", "b", "-k", ok=1).ran == 1


def test_inplace_jobs_write_in_the_project(story: Quick) -> None:
    story.write("in", "1")
    story.write(
        "Flowfile",
        """
        [inplace]
        state.db: in
            cat in >> state.db; echo side > side.txt
        out: state.db
            cp {in} {out}
        [inplace]
        none:
            true
        """,
    )
    assert story.build("out").ran == 2
    assert story.read("out") == "1" and story.exists("side.txt")
    assert story.build("out").ran == 2
    assert story.read("out") == "11"
    assert "did not make its output none" in story.build("none", ok=1).err


def test_phony_rules_of_other_kinds(story: Quick) -> None:
    story.write(
        "mod.py",
        "from pathlib import Path\ndef work(wildcards, inputs):\n"
        "    Path('called').write_text(wildcards.n + inputs[0].read_text())\n",
    )
    story.write("in", "x")
    story.write(
        "Flowfile",
        """
        [phony, python]
        py: in
            open("made", "w").write(open(inputs[0]).read() + outputs[0])
        [phony, call = mod:work]
        call_{n}: in
        [phony]
        script: in
            #!/bin/sh
            cat "$inputs" > scripted
        """,
    )
    story.build("py", "call_7", "script")
    assert story.read("made") == "xpy" and story.read("called") == "7x" and story.read("scripted") == "x"
    assert story.build("call_7").ran == 1


# ---- [anonymous]


def test_anonymous_rules_see_neutral_names(story: Quick) -> None:
    story.write("data/one.nii.gz", "x")
    story.write("folder/f", "f")
    story.write("tool.py", "import sys\nopen(sys.argv[2], 'w').write(sys.argv[1] + open(sys.argv[1]).read())\n")
    story.write("h", "h")
    story.write(
        "Flowfile",
        """
        [anonymous]
        out/{n}.txt side=out/{n}.side: data/{n}.nii.gz d=folder/ _=h
            python3 tool.py {in[0]} {out[0]}
            echo {in} {out} {d} {side} $(cat h) $(ls {d}) > {side}
        """,
    )
    assert story.build("out/one.txt").ran == 1
    assert story.read("out/one.txt") == "in0.nii.gzx"
    assert story.read("out/one.side") == "in0.nii.gz in1/ out0.txt out1.side in1/ out1.side h f\n"
    story.path("data/one.nii.gz").rename(story.path("data/two.nii.gz"))
    assert story.build("out/two.txt").cached == 1
    assert story.read("out/two.txt") == "in0.nii.gzx"
    story.write("h", "changed")
    assert story.build("out/two.txt").ran == 1


def test_anonymous_by_default_and_with_many_inputs(story: Quick) -> None:
    for i in range(12):
        story.write(f"in/{i:02d}.txt", str(i))
    story.write("Flowfile", "[defaults: anonymous]\nout: in/*.txt\n    cat {in} > {out}\n")
    assert story.build().ran == 1
    assert story.read("out") == "".join(map(str, range(12)))
    for i in range(12):
        story.path(f"in/{i:02d}.txt").rename(story.path(f"in/x{i:02d}.txt"))
    ran = story.build()
    assert ran.ran == 0 and ran.cached + ran.up_to_date == 1


# ---- env


def test_a_prefix_goes_first_on_the_path(story: Quick) -> None:
    for name, text in (("one", "1"), ("two", "2")):
        story.write(f"sw/{name}/bin/tool", f"#!/bin/sh\necho {text} $1\n", 0o755)
    story.write("Flowfile", "p = one\n[env = prefix://sw/{p}]\nout:\n    tool ${CONDA_PREFIX-none} > {out}\n")
    assert story.build("out").ran == 1
    assert story.read("out") == "1 none\n"
    assert story.build("out").up_to_date == 1
    assert story.build("out", "p=two").ran == 1
    assert story.read("out") == "2 none\n"
    story.write("sw/one/bin/tool", "#!/bin/sh\necho 11 $1\n", 0o755)
    assert story.build("out").ran == 1
    ran = story.build("out", "p=three", ok=False)
    assert "has no bin/ folder" in ran.err and "Flowfile:2:" in ran.err


def test_a_prefix_with_records_is_known_by_them(story: Quick) -> None:
    story.write("sw/bin/tool", "#!/bin/sh\necho t\n", 0o755)
    story.write("sw/conda-meta/tool-1.json", "{}")
    story.write("Flowfile", "[env = prefix://sw]\nout:\n    tool > {out}; echo $CONDA_PREFIX >> {out}\n")
    assert story.build().ran == 1
    assert story.read("out") == f"t\n{story.root}/sw\n"
    story.touch("sw/bin/tool")
    assert story.build().up_to_date == 1
    story.write("sw/conda-meta/tool-1.json", '{"version": 2}')
    assert story.build().ran == 1


def test_env_of_the_run_wins_and_the_default_fills(story: Quick) -> None:
    story.write("sw/bin/tool", "#!/bin/sh\necho t\n", 0o755)
    story.write(
        "Flowfile",
        "all: a b\n[env = native]\na:\n    { command -v tool || echo none; } > {out}\nb:\n"
        "    { command -v tool || echo none; } > {out}\n",
    )
    story.build("--default-env", "prefix://sw")
    assert story.read("a") == "none\n" and story.read("b").endswith("sw/bin/tool\n")
    story.build("--env", "prefix://sw")
    assert story.read("a").endswith("sw/bin/tool\n")


def test_what_a_command_inherits_is_no_secret_file_descriptor(story: Quick) -> None:
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    story.write("Flowfile", "out:\n    readlink /proc/self/fd/0 > {out}\n")
    story.build()
    assert story.read("out") == "/dev/null\n"
    assert Path("/dev/null").exists()
