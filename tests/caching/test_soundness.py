"""What stands after a build is what a build from nothing would make: each way to be wrong has its story."""

from __future__ import annotations

import os

import pytest

from story import Story


def test_an_edited_helper_module_of_a_script_runs_again(story: Story) -> None:
    story.write("Flowfile", "out.txt: in.txt\n    python3 scripts/main.py {in} > {out}\n")
    story.write("in.txt", "x")
    story.write("scripts/main.py", "import helper\nprint(helper.word())\n")
    story.write("scripts/helper.py", "from deep import WORD\ndef word(): return WORD\n")
    story.write("scripts/deep.py", "WORD = 'one'\n")
    assert story.build().ran == 1
    assert story.read("out.txt") == "one\n"
    story.edit("scripts/deep.py", "one", "two")
    assert story.build().ran == 1
    assert story.read("out.txt") == "two\n"
    story.edit("scripts/helper.py", "return WORD", "return WORD + '!'")
    assert story.build().ran == 1
    assert story.read("out.txt") == "two!\n"
    assert story.build().ran == 0


def test_a_new_module_that_shadows_another_is_seen(story: Story) -> None:
    story.write("Flowfile", "out.txt:\n    python3 scripts/main.py > {out}\n")
    story.write("scripts/main.py", "import string\nprint(getattr(string, 'MINE', 'library'))\n")
    assert story.build().ran == 1
    assert story.read("out.txt") == "library\n"
    story.write("scripts/string.py", "MINE = 'mine'\n")
    assert story.build().ran == 1
    assert story.read("out.txt") == "mine\n"


def test_a_job_that_writes_into_its_source_does_not_poison(story: Story) -> None:
    story.write("Flowfile", "out.txt: in.txt\n    echo more >> {in}; cat {in} > {out}\n")
    story.write("in.txt", "one\n")
    ran = story.bflow("build", ok=1)
    assert "in.txt" in ran.err and "copy" in ran.err
    assert story.read("in.txt") == "one\n", "it wrote into its own copy"
    assert not story.exists("out.txt")


def test_a_job_that_writes_into_a_built_input_does_not_poison(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        all: good.txt
        mid.txt:
            echo mid > {out}
        bad.txt: mid.txt
            echo poison >> {in}; cp {in} {out}
        good.txt: mid.txt
            cp {in} {out}
        """,
    )
    story.bflow("build", "bad.txt", ok=1)
    assert story.read("mid.txt") == "mid\n"
    story.build()
    assert story.read("good.txt") == "mid\n"
    story.remove("mid.txt")
    story.build("mid.txt")
    assert story.read("mid.txt") == "mid\n"


def test_a_large_built_input_written_through_its_link_is_restored(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        big.bin:
            head -c 3000000 /dev/zero > {out}
        bad.txt: big.bin
            chmod u+w {in}; echo poison >> {in}; echo done > {out}
        size.txt: big.bin
            wc -c < {in} > {out}
        """,
    )
    story.bflow("build", "bad.txt", ok=1)
    story.build("size.txt")
    assert story.read("size.txt").strip() == "3000000"


def test_a_header_that_newly_shadows_another_is_seen(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        [depfile = build/{n}.d]
        build/{n}.o: src=src/{n}.c first/*.h second/*.h
            cc -Ifirst -Isecond -MMD -MF {depfile} -c {src} -o {out}
        prog: build/a.o
            cc -o {out} {in}
        """,
    )
    story.write("first/other.h", "\n")
    story.write("second/v.h", "#define V 1\n")
    story.write("src/a.c", "#include <v.h>\nint main(void) { return V; }\n")
    story.build("prog")
    assert os.system(f"{story.root}/prog") >> 8 == 1
    story.write("first/v.h", "#define V 2\n")
    story.build("prog")
    assert os.system(f"{story.root}/prog") >> 8 == 2


def test_a_glob_is_the_same_in_a_clean_checkout_and_in_a_built_tree(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        f = glob(data/{f}.txt)
        list.out: data/*.txt
            echo {in} > {out}
        all.out: made/{f}.x
            echo {in} > {out}
        made/{f}.x: data/{f}.txt
            cp {in} {out}
        data/gen.txt:
            echo generated > {out}
        """,
    )
    story.write("data/a.txt", "a")
    story.build("list.out", "all.out")
    first = story.read("list.out"), story.read("all.out")
    assert first == ("data/a.txt data/gen.txt\n", "made/a.x made/gen.x\n")
    assert story.build("list.out", "all.out").ran == 0
    story.write("Flowfile", story.read("Flowfile").replace("data/gen.txt:", "data/new.txt:"))
    story.build("list.out", "all.out")
    assert story.read("list.out") == "data/a.txt data/new.txt\n", "what an earlier build left is no source"


def test_an_output_whose_source_is_gone_is_no_source(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        s = glob(in/{s}.txt)
        all.txt: mid/{s}.txt
            cat {in} > {out}
        mid/{s}.txt: in/{s}.txt
            cp {in} {out}
        """,
    )
    story.write("in/a.txt", "a")
    story.write("in/b.txt", "b")
    story.build()
    assert story.read("all.txt") == "ab"
    story.remove("in/b.txt")
    story.build()
    assert story.read("all.txt") == "a"
    ran = story.bflow("build", "mid/b.txt", ok=2)
    assert "mid/b.txt" in ran.err


def test_an_input_that_an_earlier_rule_made_is_an_error(story: Story) -> None:
    story.write("Flowfile", "b.txt: a.txt\n    cp {in} {out}\na.txt:\n    echo a > {out}\n")
    story.build()
    story.write("Flowfile", "b.txt: a.txt\n    cat {in} > {out}\n")
    ran = story.bflow("build", ok=2)
    assert "a.txt" in ran.err and "no rule makes it any more" in ran.err
    story.write("a.txt", "mine")
    assert story.build().ran == 1, "an edited one is the user's"
    assert story.read("b.txt") == "mine"


def test_tar_of_an_input_holds_its_bytes(story: Story) -> None:
    story.write("Flowfile", "out.tar: data/big.bin\n    tar -cf {out} data\n")
    story.write("data/big.bin", b"x" * 3_000_000)
    story.build()
    assert (story.root / "out.tar").stat().st_size > 3_000_000


def test_an_undeclared_file_is_not_there(story: Story) -> None:
    story.write("Flowfile", "out.txt: a.txt\n    cat a.txt hidden.txt > {out}\n")
    story.write("a.txt", "a")
    story.write("hidden/hidden.txt", "h")
    ran = story.bflow("build", ok=1)
    assert "hidden.txt" in ran.err
    assert not story.exists("out.txt")


def test_a_file_replaced_while_its_job_runs_runs_it_again(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        out.txt: in.txt
            echo x >> COUNT; [ $(wc -l < COUNT) -gt 1 ] || echo new > SRC; cat {in} > {out}
        """.replace("COUNT", str(story.root.parent / "count")).replace("SRC", str(story.root / "in.txt")),
    )
    story.write("in.txt", "old\n")
    ran = story.build()
    assert ran.ran == 1
    assert story.read("out.txt") == "new\n"


def test_a_table_that_changes_plans_anew(story: Story) -> None:
    story.write("Flowfile", "s = lines(list.txt)\nall.txt: in/{s}.txt\n    cat {in} > {out}\n")
    story.write("list.txt", "a\n")
    story.write("in/a.txt", "A")
    story.write("in/b.txt", "B")
    story.build()
    story.write("list.txt", "a\nb\n")
    story.build()
    assert story.read("all.txt") == "AB"


@pytest.mark.parametrize("name", ["a b", "a'b", 'a"b', "a$b", "ü", "a\nb", "a;b", "a*b", "-a", "a\\b", "a{b}", "~a"])
def test_outputs_with_hostile_names(story: Story, name: str) -> None:
    story.write("Flowfile", "x = glob(in/{x}.txt)\nall: out/{x}.txt\nout/{x}.txt: in/{x}.txt\n    cp {in} {out}\n")
    story.write(f"in/{name}.txt", "hi")
    assert story.build().ran == 1
    assert story.read(f"out/{name}.txt") == "hi"
    assert story.build().ran == 0
    story.remove("out")
    assert story.build().cached == 1


def test_a_failed_job_commits_nothing_and_leaves_the_old_output(story: Story) -> None:
    story.write("Flowfile", "out.txt: in.txt\n    cat {in} > {out}; grep -q good {in}\n")
    story.write("in.txt", "good")
    story.build()
    story.write("in.txt", "bad")
    ran = story.bflow("build", ok=1)
    assert "out of date" in ran.err
    assert story.read("out.txt") == "good"
    story.write("in.txt", "good")
    assert story.build().ran == 0


def test_a_tool_that_is_named_is_in_the_key(story: Story) -> None:
    story.write("Flowfile", "[tools = mytool, pass = PATH]\nout.txt:\n    mytool > {out}\n")
    tool = story.write("../bin/mytool", "#!/bin/sh\necho one\n", mode=0o755)
    env = {"PATH": f"{tool.parent}:{os.environ['PATH']}"}
    assert story.build(env=env).ran == 1
    assert story.build(env=env).ran == 0
    story.write("../bin/mytool", "#!/bin/sh\necho two\n", mode=0o755)
    assert story.bflow("build", env=env).status == 0
    assert story.read("out.txt") == "two\n"


def test_a_variable_that_is_listed_is_in_the_key(story: Story) -> None:
    story.write("Flowfile", "[vars = FOO]\nout.txt:\n    echo ${FOO:-none} > {out}\n")
    assert story.build().ran == 1
    assert story.build(env={"FOO": "1"}).ran == 1
    assert story.read("out.txt") == "1\n"
    assert story.bflow("build", env={"FOO": "2"}).status == 0
    assert story.read("out.txt") == "2\n"
    assert story.build(env={"FOO": "1"}).cached == 1


def test_a_source_edited_between_its_digest_and_its_staging(story: Story) -> None:
    """The hook runs after the key was made and before the inputs are staged: what is made is not of that key."""
    story.write(
        "Flowfile",
        """
        [hooks = pre_run="test -e DONE || (touch DONE; echo new > in.txt)"]
        out.txt: in.txt
            cp {in} {out}
        """.replace("DONE", str(story.root.parent / "done")),
    )
    story.write("in.txt", "old\n")
    story.build()
    assert story.read("out.txt") == "new\n"
    story.write("in.txt", "old\n")
    story.build()
    assert story.read("out.txt") == "old\n"


def test_a_built_file_edited_while_a_job_waits(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        [hooks = pre_run="test -e DONE || (touch DONE; echo evil > mid.txt)"]
        out.txt: mid.txt
            cp {in} {out}
        mid.txt:
            echo mid > {out}
        """.replace("DONE", str(story.root.parent / "done")),
    )
    story.build()
    assert story.read("out.txt") == "mid\n"
    assert story.read("mid.txt") == "mid\n"


def test_a_folder_edited_while_a_job_waits(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        [hooks = pre_run="test -e DONE || (touch DONE; echo evil > d/a)"]
        out.txt: d/
            cat d/a > {out}
        d/:
            echo good > {out}a
        """.replace("DONE", str(story.root.parent / "done")),
    )
    story.build()
    assert story.read("out.txt") == "good\n"
