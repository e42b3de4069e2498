"""LANGUAGE.md, “Recipes”: shell recipes, their holes and quoting, through the real command."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from quick import Quick
from story import Story

HOSTILE = [
    "a b",
    "a'b",
    'a"b',
    "a$HOME",
    "a\nb",
    "-n",
    "é x",
    "a;b",
    "a*b",
    "a`b",
    "a\\b",
    "~",
    "#x",
    "a{b,c}",
    "&",
    "!x",
    "(x)",
]


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


# ---- Shell, run whole, with bash -euo pipefail; standard input from /dev/null


def test_a_recipe_runs_whole_and_stops_at_the_first_failure(real: Story) -> None:
    real.write(
        "Flowfile",
        r"""
        all: whole which
        whole:
            x=1
            cd /tmp
            cd "$OLDPWD"
            if true; then
                echo $x > {out}
            fi
        which:
            echo "$BASH_VERSION" | grep -q . && echo bash > {out}
        errexit:
            false
            echo late > {out}
        pipe:
            false | cat > {out}
        unset:
            echo $nothing > {out}
        """,
    )
    assert real.build().ran == 2
    assert real.read("whole") == "1\n" and real.read("which") == "bash\n"
    for target in ("errexit", "pipe", "unset"):
        assert real.build(target, ok=1).failed == 1
        assert not real.exists(target)
    assert "nothing: unbound variable" in real.build("unset", ok=1).err


def test_standard_input_is_empty(real: Story) -> None:
    real.write(
        "Flowfile",
        "a:\n    cat > {out}\nb:\n    cat | cat > {out}\nc:\n    { read x || echo none; } > {out}\nall: a b c\n",
    )
    real.bflow("build", "all", stdin="secret\n")
    assert [real.read(name) for name in "abc"] == ["", "", "none\n"]


def test_one_simple_command_is_started_directly(real: Story) -> None:
    real.write("who", "#!/bin/sh\ntr '\\0' ' ' < /proc/$PPID/cmdline\n", 0o755)
    real.write(
        "Flowfile",
        """
        all: direct builtin pipe and append err
        direct: who
            ./{in} > {out}
        builtin: who
            command ./{in} > {out}
        pipe: who
            ./{in} | cat > {out}
        and: who
            true && ./{in} > {out}
        append: who
            ./{in} >> {out} 2> err.txt
        err:
            ls -d /nowhere . > {out} 2>&1 || true
        """,
    )
    if not os.path.isdir("/proc/self"):
        pytest.skip("needs /proc")
    real.build()
    for name in ("direct", "append"):
        assert "bflow" in real.read(name) and "pipefail" not in real.read(name)
    for name in ("pipe", "and"):
        assert "pipefail" in real.read(name)
    assert "nowhere" in real.read("err")


def test_a_direct_command_fails_as_in_a_shell(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        missing:
            no-such-command {out}
        redirected:
            cat < nothing.txt > {out}
        status:
            python3 -c 'raise SystemExit(3)'
        killed:
            python3 -c 'import os, signal; os.kill(os.getpid(), signal.SIGKILL)'
        none:
            true
        """,
    )
    assert "no-such-command: command not found" in story.build("missing", ok=1).err
    assert "nothing.txt: No such file" in story.build("redirected", ok=1).err
    assert "status 3" in story.build("status", ok=1).err
    assert "SIGKILL" in story.build("killed", ok=1).err
    assert "did not make its output none" in story.build("none", ok=1).err


# ---- Holes


def test_every_form_of_a_hole(story: Quick) -> None:
    story.write("data/x.nii.gz", "x")
    story.write("data/y.nii", "y")
    story.write(
        "Flowfile",
        """
        list = p q
        out/{s}.a out/{s}.b: data/{s}.nii.gz ref=data/y.nii
            for word in {in} -- {out} -- {in[0]} {out[1]} {in[-1]} -- {ref} -- {in.name} -- {in.stem} -- {in.ext} \
                    -- {in.dir}; do
                echo $word
            done > {out[0]}
            echo {in[0].stem} {in[1].ext} {s} {list} {list[1]} {ref.stem} {out.dir} {out[1].name} {cpus} {gpus} \
                {attempt} > {out[1]}
        """,
    )
    story.build("out/x.a")
    assert story.read("out/x.a").split("--\n") == [
        "data/x.nii.gz\ndata/y.nii\n",
        "out/x.a\nout/x.b\n",
        "data/x.nii.gz\nout/x.b\ndata/y.nii\n",
        "data/y.nii\n",
        "x.nii.gz\ny.nii\n",
        "x.nii\ny\n",
        ".gz\n.nii\n",
        "data\ndata\n",
    ]
    assert story.read("out/x.b") == "x.nii .nii x p q q y out out x.b 1 0 1\n"


def test_in_holds_all_before_the_bar_each_once(story: Quick) -> None:
    for name in "abcdxh":
        story.write(name, name)
    story.write("tool.sh", "cat a > $1\n")
    story.write(
        "Flowfile",
        """
        more: c a
        out: a n=b more a | d o=x _=h
            bash tool.sh ignored
            echo {in} / {n} / {o} > {out}; cat d h >> {out}
        """,
    )
    story.build("out")
    assert story.read("out") == "a b c / b / x\ndh"


def test_an_input_named_underscore_is_staged_and_hashed(story: Quick) -> None:
    story.write("a", "a")
    story.write("h", "1")
    story.write("Flowfile", "out: a _=h\n    cat {in} h > {out}\n")
    assert story.build().ran == 1
    assert story.read("out") == "a1"
    story.write("h", "2")
    assert story.build().ran == 1
    assert story.read("out") == "a2"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("{nothing}", "{nothing} names nothing known here"),
        ("{in.foo}", "{in.foo}: in has no .foo"),
        ("{cpus.mb}", "cpus has no .mb"),
        ("{out.list}", "out has no .list"),
        ("{depfile}", "the rule has no depfile"),
        ("{log}", "the rule has no log"),
        ("{mem}", "the rule has no mem"),
        ("{cpus[0]}", "cpus is one value"),
    ],
)
def test_a_hole_that_names_nothing_known_is_an_error(story: Quick, word: str, said: str) -> None:
    story.write("in", "")
    story.write("Flowfile", f"good:\n    touch {{out}}\nout: in\n    echo a\n    echo {word} > {{out}}\n")
    ran = story.build("good", ok=2)
    assert said in ran.err
    assert "Flowfile:5:10" in ran.err
    assert not story.exists("good")


def test_an_index_past_the_end_is_told(story: Quick) -> None:
    story.write("a", "a")
    story.write("Flowfile", "out: a\n    echo {in[3]} > {out}\n")
    ran = story.build(ok=False)
    assert "{in[3]} asks for more than the 1 values that in has" in ran.err and "Flowfile:" in ran.err


def test_what_is_no_hole_stays(story: Quick) -> None:
    story.write("a", "one two\n")
    story.write(
        "Flowfile",
        """
        x = 1
        out: a
            V=v; set -- p q
            echo ${V} $1 "${V}" %{http_code} {} {a,b}c a{b,c} {{.State}} {{x}} '{{x}}' "{{in}}" {1..3} {x y} > {out}
            awk '{print $1}' {in} >> {out}
            awk '{{ print $2 }}' {in} >> {out}
            echo ${V:-{in}} ${#V} >> {out}
            f() { echo "$1 ${2}"; }; f r s >> {out}
        """,
    )
    story.build("out")
    assert story.read("out").splitlines() == [
        "v p v %{http_code} {} ac bc ab ac {{.State}} {x} {x} {in} 1 2 3 {x y}",
        "one",
        "two",
        "v 1",
        "r s",
    ]


# ---- Quoting


def test_hostile_names_go_in_quoted(real: Story) -> None:
    for name in HOSTILE:
        real.write(f"in/{name}.txt", "content\n")
    real.write(
        "Flowfile",
        """
        n ~ (?s).+
        n = glob(in/{n}.txt)
        all: direct/{n} bash/{n} python/{n} string/{n} document/{n}
        direct/{n}: in/{n}.txt
            cp -- {in} {out}
        bash/{n}: in/{n}.txt
            printf '%s|' {n} "{n}" 'x{n}x' x{n}"$(printf %s {n})" "`printf %s {n}`" ${nothing:-{n}} \
                "${nothing:-{n}}" | cat - {in} > {out}
        [python]
        python/{n}: in/{n}.txt
            open(outputs[0], "w").write(open(inputs[0]).read() + n)
        string/{n}: in/{n}.txt
            v={n}; export w={n}
            cat > {out} <<< {n}; test "$v$w" = {n}{n}
        document/{n}:
            cat > {out} <<'END'
            {n}
            END
        """,
    )
    assert real.build().ran == 5 * len(HOSTILE)
    for name in HOSTILE:
        assert real.read(f"direct/{name}") == "content\n"
        assert real.read(f"bash/{name}") == "|".join(
            [name, name, f"x{name}x", f"x{name}{name}", *[name] * 3, "content\n"]
        )
        assert real.read(f"python/{name}") == "content\n" + name
        assert real.read(f"string/{name}") == real.read(f"document/{name}") == name + "\n"
    assert real.build().up_to_date == 5 * len(HOSTILE)


def test_names_that_are_no_utf8(real: Story) -> None:
    raw = os.fsdecode(b"in/\xff\xe9.txt")
    try:
        real.write(raw, "bytes\n")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    real.write(
        "Flowfile",
        """
        n = glob(in/{n}.txt)
        all: direct/{n} shell/{n} python/{n}
        direct/{n}: in/{n}.txt
            cp {in} {out}
        shell/{n}: in/{n}.txt
            cat {in} | cat > {out}
        [python]
        python/{n}: in/{n}.txt
            open(outputs[0], "w").write(open(inputs[0]).read())
        """,
    )
    assert real.build().ran == 3
    for folder in ("direct", "shell", "python"):
        assert real.read(os.fsdecode(os.fsencode(folder) + b"/\xff\xe9")) == "bytes\n"
    assert real.build().up_to_date == 3


def test_words_with_several_and_with_no_values(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        dirs = a b
        empty =
        none = glob(nothing/*)
        w = 'x y' z
        all: out redirect
        out:
            show() { printf '<%s>' "$@"; echo; }
            show -I{dirs} --a={w} "{w}" > {out}
            show end {empty} -e{empty} "{empty}" {none} -n{none} "{none}" >> {out}
            show {dirs}/{w} >> {out}
        redirect:
            v={w}; printf '<%s>' "$v" > {out}
        """,
    )
    story.build()
    lines = story.read("out").split("\n")
    assert lines[0] == "<-Ia><-Ib><--a=x y><--a=z><x y z>"
    assert lines[1] == "<end><-e><><>"
    assert lines[2] == "<a/x y><a/z><b/x y><b/z>"
    assert story.read("redirect") == "<x y z>"


def test_a_redirection_takes_one_file(story: Quick) -> None:
    story.write("a", "")
    story.write("b", "")
    story.write("Flowfile", "out: a b\n    cat < {in} > {out}\n")
    ran = story.build(ok=False)
    assert "{in} has 2 values here, and a redirection takes one file" in ran.err and "Flowfile:" in ran.err


def test_names_of_a_joint_domain_go_together_in_one_word(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        (s, f, c) = a x 1, b y 1, a x 2
        out:
            echo {s}:{f} / {s} / {s.rows} / {f}={c} > {out}
        by/{s}:
            echo {f}:{c} {s}{f} {c.rows} > {out}
        """,
    )
    story.build("out", "by/a")
    assert story.read("out") == "a:x b:y / a b / a b a / x=1 y=1 x=2\n"
    assert story.read("by/a") == "x:1 x:2 ax 1 2\n"


def test_here_documents_and_raw_holes(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        w = 'x  y' "it's"
        cmd = "echo a | cat"
        out:
            cat > {out} <<END
            {w} $((1 + 1)) {cpus}
            END
            cat >> {out} <<'END'
            {w} $HOME {{w}}
            END
            cat >> {out} <<-END
            TABtab {w}
            TABEND
            {!cmd} >> {out}
        """.replace("TAB", "\t"),
    )
    story.build("out")
    assert story.read("out") == "x  y it's 2 1\nx  y it's $HOME {w}\ntab x  y it's\na\n"


def test_substitutions_in_quotes_start_afresh(story: Quick) -> None:
    story.write("a b", "content\n")
    story.write("Flowfile", """out: 'a b'\n    echo "$(cat {in} | tr c C) \\"{in}\\"" > {out}\n""")
    story.build("out")
    assert story.read("out") == 'Content "a b"\n'


# ---- {mem}, {cpus}


def test_resources_in_a_recipe_are_not_in_the_key(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        amount = 2G
        n = 1
        [mem = {amount}, cpus = {n}]
        out:
            echo {mem} {mem.mb} {cpus} > {out}
        """,
    )
    assert story.build("out", "n=64", "-j2", "--resource", "mem=1T").ran == 1
    assert story.read("out") == "2048M 2048 2\n"
    assert story.build("out", "amount=1G").up_to_date == 1


def test_memory_is_whole_mebibytes(story: Quick) -> None:
    story.write(
        "Flowfile",
        "all: a b c\n[mem = 1.5G]\na:\n    echo {mem} > {out}\n[mem = 300K]\nb:\n"
        "    echo {mem.mb} > {out}\n[mem = 7]\nc:\n    echo {mem} > {out}\n",
    )
    story.build()
    assert [story.read(n) for n in "abc"] == ["1536M\n", "1\n", "7M\n"]


# ---- {in.list}, long recipes


def test_a_file_that_lists_the_inputs(story: Quick) -> None:
    for i in range(3):
        story.write(f"in/{i} x.txt", str(i))
    story.write(
        "Flowfile",
        """
        all: direct loop
        direct: in/*.txt
            cp {in.list} {out}
        loop: in/*.txt
            while read -r name; do cat "$name"; done < {in.list} | cat > {out}
        """,
    )
    assert "did not declare" not in story.bflow("build", "-v").err
    assert story.read("direct") == "in/0 x.txt\nin/1 x.txt\nin/2 x.txt\n"
    assert story.read("loop") == "012"


def test_the_order_of_the_list_counts(story: Quick) -> None:
    story.write("a", "")
    story.write("b", "")
    story.write("Flowfile", "n = a b\nout: {n}\n    cp {in.list} {out}\n")
    story.build("out")
    assert story.build("out", "n=b a").ran == 1
    assert story.read("out") == "b\na\n"


def test_a_newline_in_a_list_is_an_error(story: Quick) -> None:
    story.write("a\nb", "")
    story.write("Flowfile", "out: a*\n    cp {in.list} {out}\n")
    assert "has a newline" in story.build(ok=False).err


def test_the_list_of_a_job_in_the_project(story: Quick) -> None:
    story.write("a", "")
    story.write("Flowfile", "[phony]\nshow: a Flowfile\n    cat {in.list} > said\n")
    story.bflow("build", "show")
    assert story.read("said") == "a\nFlowfile\n"
    assert story.files() == ["Flowfile", "a", "said"]


@pytest.mark.parametrize("text", ["x" * 40, "é€" * 15])
def test_a_recipe_longer_than_the_kernel_takes(story: Quick, text: str) -> None:
    story.write("long.txt", text + "\n")
    body = "\n".join(f"    : {text} {i}" for i in range(3000))
    story.write("Flowfile", f"out: long.txt\n{body}\n    cat {{in}} | cat > {{out}}\n")
    assert len(story.read("Flowfile").encode()) > 131_072
    story.build()
    assert story.read("out") == text + "\n"


def test_more_arguments_than_a_command_takes(story: Quick) -> None:
    names = " ".join(f"{'n' * 200}{i}" for i in range(12_000))
    story.write("Flowfile", f"w = {names}\nout:\n    cp {{w}} {{out}}\n")
    ran = story.build(ok=1)
    assert "{in.list}" in ran.err or "too long" in ran.err


# ---- [shell = …], #!


def test_another_shell(story: Quick) -> None:
    story.write("a", "a")
    story.write(
        "Flowfile",
        """
        all: sh python perl plain
        [shell = sh -eu]
        sh: a
            echo "${BASH_VERSION:-sh}" | cat > {out}
        [shell = python3]
        python: a
            import sys
            open('{out}', "w").write(open('{in}').read() + str(len(sys.argv)))
        [shell = perl -e]
        perl: a
            open(my $f, ">", "{out}"); print $f "perl";
        [shell = bash -e]
        plain: a
            echo $unset | cat > {out}
        """,
    )
    story.build()
    assert story.read("python") == "a1" and story.read("perl") == "perl" and story.read("plain") == "\n"


def test_the_shell_is_in_the_key(story: Quick) -> None:
    story.write("Flowfile", "sh = bash\n[shell = {sh}]\nout:\n    echo a > {out}\n")
    assert story.build("out").ran == 1
    assert story.build("out", "sh=sh").ran == 1


def test_a_script_gets_a_json_file_and_variables(story: Quick) -> None:
    story.write("a", "a")
    story.write(
        "Flowfile",
        """
        kind = k_{n}
        unused = no
        [vars = FOO, cpus = 2]
        out/{n}: src=a Flowfile
            #!/usr/bin/env python3
            import json, os
            job = json.load(open(os.environ["BFLOW_JOB"]))
            with open(os.environ["outputs"], "w") as file:
                print(job["wildcards"], job["names"], job["inputs"], job["named"], job["vars"], file=file)
                env = os.environ
                print(env["n"], env["kind"], env["src"], env["inputs"].split("\\n"), file=file)
                print("{n} ${x} {{y}}", os.environ.get("unused"), os.environ.get("FOO"), file=file)
        """,
    )
    story.build("out/7", env={"FOO": "bar"})
    assert story.read("out/7").splitlines() == [
        "{'n': '7'} {'kind': 'k_7'} ['a', 'Flowfile'] {'src': 'a'} {'FOO': 'bar'}",
        "7 k_7 a ['a', 'Flowfile']",
        "{n} ${x} {{y}} None bar",
    ]
    assert story.build("out/7", env={"FOO": "bar"}).up_to_date == 1
    assert story.build("out/7", env={"FOO": "baz"}).ran == 1


def test_a_script_of_another_shell(story: Quick) -> None:
    story.write("Flowfile", 'out:\n    #!/bin/sh\n    # a comment {in}\n    echo "$outputs" > "$outputs"\n')
    story.build()
    assert story.read("out") == "out\n"


# ---- Mentioned scripts


def test_mentioned_scripts_and_what_they_import_are_inputs(story: Quick) -> None:
    story.write("scripts/mean.py", "import sys\nimport helper\nopen(sys.argv[1], 'w').write(helper.text())\n")
    story.write("scripts/helper.py", "from deep.inner import VALUE\ndef text(): return VALUE\n")
    story.write("scripts/deep/__init__.py", "")
    story.write("scripts/deep/inner.py", "VALUE = 'one'\n")
    story.write("scripts/unused.py", "")
    story.write("Flowfile", "out:\n    python scripts/mean.py {out}\n")
    assert story.build().ran == 1
    assert story.read("out") == "one"
    story.edit("scripts/deep/inner.py", "one", "two")
    assert story.build().ran == 1
    assert story.read("out") == "two"
    story.write("scripts/unused.py", "1")
    assert story.build().up_to_date == 1


def test_other_words_that_name_project_files(story: Quick) -> None:
    story.write("pkg/__init__.py", "")
    story.write("pkg/mod.py", "from pkg import other\nprint(other.V)\n")
    story.write("pkg/other.py", "V = 1\n")
    story.write("run.sh", "echo sh\n")
    story.write("tool", "#!/bin/sh\necho tool\n", 0o755)
    story.write("script", "echo script\n")
    story.write("conf.ini", "c\n")
    story.write("quoted.txt", "q\n")
    story.write("word", "w\n")
    story.write(
        "Flowfile",
        """
        m = mod
        all: module hole sh exe interpreter option redirected
        module:
            python3 -m pkg.mod > {out}
        hole:
            python3 -m pkg.{m} > {out}
        sh:
            bash run.sh | cat > {out}
        exe:
            ./tool > {out}
        interpreter:
            bash script > {out}
        option:
            cat conf.ini | tee > {out}
        redirected:
            cat < conf.ini > {out}
        quoted:
            cat "quoted.txt" > {out}
        plain:
            cat word > {out}
        """,
    )
    story.build()
    expected = {
        "module": "1\n",
        "hole": "1\n",
        "sh": "sh\n",
        "exe": "tool\n",
        "interpreter": "script\n",
        "option": "c\n",
        "redirected": "c\n",
    }
    assert {name: story.read(name) for name in expected} == expected
    for name, file in (("quoted", "quoted.txt"), ("plain", "word")):
        ran = story.build(name, ok=1)
        assert f"{file} exists in the project" in ran.err
    story.edit("pkg/other.py", "1", "2")
    story.edit("run.sh", "echo sh", "echo shell")
    assert story.build().jobs() == [("hole",), ("module",), ("sh",)]


def test_a_bare_command_that_is_a_project_file_is_an_input(story: Quick) -> None:
    story.write("tool", "#!/bin/sh\necho tool\n", 0o755)
    story.write("Flowfile", "out:\n    PATH=.:$PATH\n    tool > {out}\n")
    assert story.build().ran == 1
    story.edit("tool", "echo tool", "echo other")
    assert story.build().ran == 1
    assert story.read("out") == "other\n"


def test_a_word_that_names_an_output_is_no_input(story: Quick) -> None:
    story.write("out.txt", "mine, from before")
    story.write("made.txt", "mine too")
    story.write(
        "Flowfile",
        "all: out.txt b\nout.txt:\n    cp /dev/null out.txt\nmade.txt:\n    echo made > {out}\n"
        "b: made.txt\n    cat made.txt > {out}\n",
    )
    assert story.build().ran == 3
    assert story.read("out.txt") == "" and story.read("b") == "made\n"
    assert story.build().up_to_date == 3


def test_a_shell_command_of_python_code_is_no_module(story: Quick) -> None:
    story.write("Flowfile", "out:\n    python3 -c 'print(1)' > {out}\n")
    assert sys.version_info >= (3, 10)
    story.build()
    assert story.read("out") == "1\n"


def test_a_name_that_a_rule_makes_may_stand_in_a_recipe_alone(story: Quick) -> None:
    story.write(
        "Flowfile", "n = lines(list.txt)\nout:\n    echo {n} > {out}\nlist.txt:\n    printf 'a\\nb\\n' > {out}\n"
    )
    assert story.build("out").ran == 2
    assert story.read("out") == "a b\n"
    assert story.build("out").up_to_date == 2


def test_names_that_wait_for_a_file_in_quotes_attributes_and_python(story: Quick) -> None:
    story.write(
        "Flowfile",
        """
        n = lines(list.txt)
        k = k_{n}
        (s, v) = table(rows.csv)
        quoted:
            echo "{n}" > {out}
        [vars = N={n}]
        attribute:
            echo "$N" > {out}
        [python]
        py/{s}:
            open(outputs[0], "w").write(v)
        list.txt:
            printf 'a\\nb\\n' > {out}
        rows.csv:
            printf 's,v\\nx,1\\n' > {out}
        """,
    )
    assert story.build("quoted").ran == 2
    assert story.read("quoted") == "a b\n"
    story.remove(".bflow", "list.txt", "quoted")
    assert story.build("attribute").ran == 2
    assert story.build("py/x").ran == 2
    assert story.read("py/x") == "1"
    assert story.build("quoted", "attribute", "py/x").up_to_date + 1 == 5
