"""Nothing runs again unless a hash changed: what the issue and DESIGN promise, each through the real command."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from story import Story

COPY = """
    x = a b
    all: out/{x}.txt total.txt

    out/{x}.txt: in/{x}.txt
        tr a-z A-Z < {in} > {out}

    total.txt: out/{x}.txt
        cat {in} > {out}
"""


@pytest.fixture
def copies(story: Story) -> Story:
    story.write("Flowfile", COPY)
    story.write("in/a.txt", "one")
    story.write("in/b.txt", "two")
    assert story.build().ran == 3
    return story


def test_a_second_build_has_nothing_to_do(copies: Story) -> None:
    ran = copies.build()
    assert (ran.ran, ran.cached, ran.up_to_date) == (0, 0, 3)
    assert "nothing to do" in copies.bflow("build").err


def test_touching_a_file_runs_nothing(copies: Story) -> None:
    copies.touch("in/a.txt")
    assert copies.build().up_to_date == 3
    copies.touch("out/a.txt")
    assert copies.build().up_to_date == 3


def test_an_edit_runs_what_reads_it_and_no_more(copies: Story) -> None:
    copies.write("in/a.txt", "three")
    ran = copies.build()
    assert ran.jobs() == [("out/a.txt",), ("total.txt",)]
    assert copies.read("total.txt") == "THREETWO"


def test_the_same_bytes_stop_a_rebuild(copies: Story) -> None:
    copies.write("in/a.txt", "ONE")  # upper case already: the output is the same
    ran = copies.build()
    assert ran.jobs() == [("out/a.txt",)]
    assert ran.up_to_date == 2


def test_an_old_state_and_back_runs_nothing(copies: Story) -> None:
    copies.write("in/a.txt", "other")
    assert copies.build().ran == 2
    copies.write("in/a.txt", "one")
    ran = copies.build()
    assert (ran.ran, ran.cached) == (0, 2)
    assert copies.read("total.txt") == "ONETWO"
    copies.write("in/a.txt", "other")
    assert copies.build().ran == 0
    assert copies.read("total.txt") == "OTHERTWO"


def test_deleted_outputs_are_restored_without_running(copies: Story) -> None:
    copies.remove("out", "total.txt")
    ran = copies.build()
    assert (ran.ran, ran.cached) == (0, 3)
    assert copies.read("total.txt") == "ONETWO"


def test_a_deleted_cache_runs_nothing_while_the_outputs_stand(copies: Story) -> None:
    shutil.rmtree(copies.root / ".bflow/cache")
    ran = copies.build()
    assert (ran.ran, ran.up_to_date) == (0, 3)


def test_without_the_folder_of_bflow_everything_is_made_anew(copies: Story) -> None:
    shutil.rmtree(copies.root / ".bflow")
    ran = copies.build()
    assert ran.ran == 3
    assert copies.read("total.txt") == "ONETWO"
    assert not (copies.root / ".bflow/replaced").exists()  # the bytes were the same


def test_a_moved_project_runs_nothing(copies: Story, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    copies.root.rename(moved)
    ran = copies.bflow("build", "--json", cwd=moved)
    assert (ran.ran, ran.up_to_date) == (0, 3)
    assert "nothing to do" in copies.bflow("build", cwd=moved).err


def test_a_copied_project_runs_nothing(copies: Story, tmp_path: Path) -> None:
    shutil.copytree(copies.root, tmp_path / "copy")
    ran = copies.bflow("build", "--json", cwd=tmp_path / "copy")
    assert ran.ran == 0
    (tmp_path / "copy/total.txt").unlink()
    ran = copies.bflow("build", "--json", cwd=tmp_path / "copy")
    assert (ran.ran, ran.cached) == (0, 1)


def test_one_value_of_a_variable_runs_only_the_jobs_that_use_it(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        GREETING = hello
        OTHER = x
        all: a.txt b.txt
        a.txt:
            echo {GREETING} > {out}
        b.txt:
            echo {OTHER} > {out}
        """,
    )
    assert story.build().ran == 2
    story.edit("Flowfile", "hello", "bye")
    assert story.build().jobs() == [("a.txt",)]
    assert story.build("GREETING=hello").cached == 1
    assert story.read("a.txt") == "hello\n"


def test_what_is_not_in_the_key_runs_nothing(story: Story) -> None:
    flow = """
    [name = {name}, cpus = {cpus}, mem = {mem}, retries = {retries}, time = {time}]
    out.txt: in.txt
        wc -c < {{in}} > {{out}}
    """

    def write(**values: object) -> None:
        story.write("Flowfile", "\n".join(line[4:] for line in flow.format(**values).splitlines()))

    write(name="one", cpus=1, mem="10M", retries=0, time="10m")
    story.write("in.txt", "abc")
    assert story.build().ran == 1
    write(name="two", cpus=2, mem="20M", retries=3, time="20m")
    assert story.build().ran == 0
    for variable in ("LC_ALL", "LANG", "EDITOR", "TZ"):
        assert story.build(env={variable: "C"}).ran == 0
    assert story.build("-j", "1").ran == 0
    assert story.build("--worker", "debug").ran == 0
    story.touch("Flowfile")
    assert story.bflow("build").status == 0
    assert story.build().ran == 0


def test_a_comment_in_the_flowfile_runs_nothing(copies: Story) -> None:
    copies.write("Flowfile", copies.read("Flowfile") + "\n# a comment\n")
    assert copies.build().ran == 0


def test_a_comment_in_a_source_compiles_one_object_and_links_nothing(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        hello: build/main.o build/util.o
            cc -o {out} {in}

        [depfile = build/{name}.d]
        build/{name}.o: src=src/{name}.c include/*.h
            cc -Iinclude -MMD -MF {depfile} -c {src} -o {out}
        """,
    )
    story.write("include/u.h", "int f(void);\n")
    story.write("include/v.h", "#define V 3\n")
    story.write("src/main.c", '#include "u.h"\nint main(void) { return f(); }\n')
    story.write("src/util.c", '#include "u.h"\n#include "v.h"\nint f(void) { return V; }\n')
    assert story.build().ran == 3
    story.edit("src/util.c", "int f", "/* a comment */ int f")
    ran = story.build()
    assert ran.jobs() == [("build/util.o",)]
    assert ran.up_to_date == 2
    story.edit("include/v.h", "3", "4")
    assert story.build().jobs() == [("build/util.o",), ("hello",)]
    story.edit("include/u.h", "int f(void);", "int f(void); int g(void);")
    ran = story.build()
    assert ran.jobs() == [("build/main.o",), ("build/util.o",)]
    assert story.build().ran == 0
    story.edit("include/v.h", "4", "3")
    story.edit("include/u.h", " int g(void);", "")
    ran = story.build()
    assert ran.ran == 0, "an older state of the headers is known"


def test_git_checkout_of_an_old_state_and_back(story: Story) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=story.root, check=True, capture_output=True)

    story.write("Flowfile", COPY)
    story.write("in/a.txt", "one")
    story.write("in/b.txt", "two")
    story.write(".gitignore", ".bflow/\nout/\ntotal.txt\n")
    git("init", "-q", "-b", "main")
    git("-c", "user.name=x", "-c", "user.email=x@x", "add", ".")
    git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "one")
    assert story.build().ran == 3
    story.write("in/a.txt", "new")
    git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qam", "two")
    assert story.build().ran == 2
    git("checkout", "-q", "HEAD~1")
    assert story.build().ran == 0
    git("checkout", "-q", "main")
    assert story.build().ran == 0
    assert story.read("total.txt") == "NEWTWO"


def test_equal_jobs_run_once(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        x = a b c
        all: {x}.txt
        [anonymous]
        {x}.txt: src.txt
            echo run >> COUNTER; cat {in} > {out}
        """.replace("COUNTER", str(story.root.parent / "counter")),
    )
    story.write("src.txt", "hi")
    ran = story.build()
    assert (ran.ran, ran.cached) == (1, 2)
    assert (story.root.parent / "counter").read_text() == "run\n"


def test_a_renamed_input_of_an_anonymous_rule_is_a_hit(story: Story) -> None:
    story.write("Flowfile", "[anonymous]\nout/{x}.up: in/{x}.txt\n    tr a-z A-Z < {in} > {out}\n")
    story.write("in/a.txt", "hello")
    assert story.build("out/a.up").ran == 1
    (story.root / "in/a.txt").rename(story.root / "in/first.txt")
    ran = story.build("out/first.up")
    assert (ran.ran, ran.cached) == (0, 1)
    assert story.read("out/first.up") == "HELLO"


def test_names_are_in_the_key_by_default(story: Story) -> None:
    story.write("Flowfile", "out/{x}.up: in/{x}.txt\n    echo {in} > {out}\n")
    story.write("in/a.txt", "hello")
    assert story.build("out/a.up").ran == 1
    (story.root / "in/a.txt").rename(story.root / "in/b.txt")
    assert story.build("out/b.up").ran == 1
    assert story.read("out/b.up") == "in/b.txt\n"


def test_values_of_a_variable_alternate_without_running(copies: Story) -> None:
    assert copies.build("x=a", "total.txt").ran == 1
    for _ in range(2):
        assert copies.build("total.txt").ran == 0
        assert copies.read("total.txt") == "ONETWO"
        assert copies.build("x=a", "total.txt").ran == 0
        assert copies.read("total.txt") == "ONE"


def test_a_mode_change_runs_what_reads_it(story: Story) -> None:
    story.write("Flowfile", "out.txt: tool.sh\n    ls -l {in} | cut -c1-10 > {out}\n")
    story.write("tool.sh", "#!/bin/sh\n")
    assert story.build().ran == 1
    os.chmod(story.root / "tool.sh", 0o755)
    assert story.build().ran == 1
    assert story.read("out.txt") == "-rwxr-xr-x\n"


def test_the_executable_bit_of_an_output_is_kept(story: Story) -> None:
    story.write("Flowfile", "tool:\n    printf '#!/bin/sh\\necho hi\\n' > {out}; chmod +x {out}\n")
    story.build()
    assert os.access(story.root / "tool", os.X_OK)
    story.remove("tool")
    assert story.build().cached == 1
    assert os.access(story.root / "tool", os.X_OK)
