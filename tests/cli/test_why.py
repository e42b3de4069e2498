"""`bflow why`: what differs, in the words of what the key is made of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildflow.cli.common import Colours
from buildflow.cli.differences import word_diff
from buildflow.explain import compare
from buildflow.keys import key_of
from story import Story

FLOWFILE = """
    greeting = hello

    all: out/a.txt out/b.txt out/sum.txt

    out/{n}.txt: in/{n}.txt
        echo {greeting} >&2; cat {in} > {out}

    out/sum.txt: out/a.txt out/b.txt
        cat {in} > {out}
"""


@pytest.fixture
def built(story: Story) -> Story:
    story.write("Flowfile", FLOWFILE)
    story.write("in/a.txt", "one\n")
    story.write("in/b.txt", "two\n")
    assert story.build().ran == 3
    return story


def why(story: Story, *words: str, **options: Any) -> list[dict[str, Any]]:
    found = json.loads(story.bflow("why", "--json", *words, **options).out)
    assert isinstance(found, list)
    return found


# ---- stories ---------------------------------------------------------------------------------------------------


def test_what_is_up_to_date_is_said_to_be_so(built: Story) -> None:
    ran = built.bflow("why", "out/a.txt")
    assert ran.out == "out/a.txt is up to date\n"
    assert [one["state"] for one in why(built)] == ["up_to_date"] * 3


def test_an_input_that_changed_is_named_with_digests_and_sizes(built: Story) -> None:
    built.write("in/a.txt", "three\n")
    ran = built.bflow("why", "out/a.txt")
    assert "out/a.txt would run" in ran.out
    (line,) = [line for line in ran.out.splitlines() if "in/a.txt" in line]
    assert "changed" in line and "4 bytes" in line and "6 bytes" in line and "→" in line
    (one,) = why(built, "out/a.txt")  # the second look knows the sizes too
    (change,) = one["changes"]
    assert (change["what"], change["name"]) == ("input", "in/a.txt")
    assert (change["old_size"], change["new_size"]) == (4, 6)
    assert len(change["old"]) == len(change["new"]) == 32 and change["old"] != change["new"]
    assert one["key"] != one["last"]["key"]


def test_the_words_of_the_recipe_that_changed_are_marked(built: Story) -> None:
    built.edit("Flowfile", "hello", "bye now")
    ran = built.bflow("why", "out/a.txt")
    assert "[-hello-]{+bye now+}" in ran.out
    assert "in/a.txt changed" not in ran.out
    (one,) = why(built, "out/a.txt", "greeting=other")
    assert one["changes"][0]["new"].startswith("echo other ")


def test_what_waits_for_another_job_says_for_which_and_why_that_runs(built: Story) -> None:
    built.write("in/b.txt", "three\n")
    ran = built.bflow("why", "out/sum.txt")
    assert "its input out/b.txt would be made anew first" in ran.out
    assert "out/a.txt" not in ran.out
    assert "in/b.txt changed" in ran.out  # the first cause
    (one,) = why(built, "out/sum.txt")
    assert one["because"] == [{"input": "out/b.txt", "made_by": "out/b.txt"}]
    assert one["changes"] == [] and one["causes"][0]["target"] == "out/b.txt"


def test_a_job_with_two_reasons_tells_both(built: Story) -> None:
    built.write("in/b.txt", "three\n")
    built.edit("Flowfile", "out/b.txt\n    cat", "out/b.txt\n    sort")
    (one,) = why(built, "out/sum.txt")
    assert one["because"][0]["input"] == "out/b.txt"
    assert [change["what"] for change in one["changes"]] == ["recipe"]


def test_a_result_in_the_cache_is_said_to_be_there(built: Story) -> None:
    built.write("in/a.txt", "three\n")
    built.build()
    built.write("in/a.txt", "one\n")
    ran = built.bflow("why", "out/a.txt")
    assert "would be restored from the cache" in ran.out and "in/a.txt changed" in ran.out
    assert why(built, "out/a.txt")[0]["state"] == "cached"


def test_an_output_that_is_gone_or_edited_is_named(built: Story) -> None:
    built.remove("out/a.txt")
    built.write("out/b.txt", "mine\n")
    ran = built.bflow("why", "out/a.txt", "out/b.txt")
    assert "out/a.txt is not there" in ran.out
    assert "out/b.txt was edited since" in ran.out and ".bflow/replaced" in ran.out
    assert built.read("out/b.txt") == "mine\n"


def test_what_was_never_made_is_said_to_be_so(built: Story) -> None:
    built.write("in/c.txt", "c\n")
    assert "out/c.txt would run: it was never made" in built.bflow("why", "out/c.txt").out
    built.write("out/c.txt", "mine\n")
    assert "out/c.txt was not made by bflow" in built.bflow("why", "out/c.txt").out


def test_an_entry_that_is_gone_is_said_to_be_gone(built: Story) -> None:
    built.remove(".bflow/cache")
    assert built.bflow("why", "out/a.txt").out == "out/a.txt is up to date\n"
    built.write("in/a.txt", "three\n")
    assert "last result is gone from the cache" in built.bflow("why", "out/a.txt").out
    built.write("in/a.txt", "one\n")
    built.remove("out/a.txt")
    assert "which was for the same, is gone from the cache" in built.bflow("why", "out/a.txt").out


def test_a_failed_try_is_told(built: Story) -> None:
    built.edit("Flowfile", "cat {in} > {out}\n\n", "cat {in} > {out}; exit 3\n\n")
    built.bflow("build", "out/a.txt", ok=1)
    ran = built.bflow("why", "out/a.txt")
    assert "its last try failed" in ran.out and "log" in ran.out
    (one,) = why(built, "out/a.txt")
    assert built.path(one["failed"]["log"]).is_file()
    built.edit("Flowfile", "; exit 3", " && true")
    built.build("out/a.txt")
    assert why(built, "out/a.txt")[0]["failed"] is None


def test_variables_tools_and_the_environment(story: Story) -> None:
    story.write("bin/tool", "#!/bin/sh\necho 1\n", mode=0o755)
    story.write(
        "Flowfile",
        """
        [vars = COLOUR, tools = tool]
        x:
            tool > {out}; echo $COLOUR >> {out}
        """,
    )
    path = f"{story.path('bin')}:/usr/bin:/bin"
    story.build("x", env={"PATH": path, "COLOUR": "red"})
    story.write("bin/tool", "#!/bin/sh\necho 2\n", mode=0o755)
    ran = story.bflow("why", "x", env={"PATH": path, "COLOUR": "blue"})
    assert "the variable COLOUR changed: “red” → “blue”" in ran.out
    assert "the tool tool changed" in ran.out
    assert "variable COLOUR is there no more" in story.bflow("why", "x", env={"PATH": path}).out
    story.path("prefix/bin").mkdir(parents=True)
    ran = story.bflow("why", "x", "--env", "prefix://prefix", env={"PATH": path, "COLOUR": "red"})
    assert "the environment changed: native" in ran.out


def test_names_of_a_python_recipe(story: Story) -> None:
    text = """
        level = 1
        bam = {n}-{level}
        [python]
        out/{n}: in/{n}
            open(outputs[0], "w").write(bam)
        """
    story.write("Flowfile", text)
    story.write("in/a", "a")
    story.build("out/a")
    story.write("Flowfile", text.replace("level = 1", "level = 2"))
    assert "the name bam[0] changed: “a-1” → “a-2”" in story.bflow("why", "out/a").out


def test_a_depfile_names_the_header(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        [depfile = x.d]
        x.o: src=x.c *.h
            cat {src} a.h > {out}; echo "x.o: x.c a.h" > {depfile}
        """,
    )
    story.write("x.c", "c")
    story.write("a.h", "a")
    story.write("b.h", "b")
    story.build("x.o")
    story.write("b.h", "changed")
    assert story.bflow("why", "x.o").out == "x.o is up to date\n"
    story.write("a.h", "changed")
    ran = story.bflow("why", "x.o")
    assert "a.h (named by its depfile) changed" in ran.out and "b.h" not in ran.out
    assert "1 byte " in ran.out or "1 byte\n" in ran.out


def test_a_temporary_output_is_explained_too(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        b: a
            cat {in} > {out}
        [temp]
        a: src
            cat {in} > {out}
        """,
    )
    story.write("src", "1")
    story.build()
    assert story.bflow("why", "b").out == "b is up to date\n"
    story.write("src", "22")
    ran = story.bflow("why", "b")
    assert "its input a would be made anew first" in ran.out
    assert "src changed" in ran.out and "1 byte" in ran.out


def test_phony_alias_source_and_what_there_is_not(built: Story) -> None:
    built.write("Flowfile", built.read("Flowfile") + "\n[phony]\ntest: out/sum.txt\n    cat {in}\n")
    assert "test would run: it is phony" in built.bflow("why", "test").out
    assert "in/a.txt is a source" in built.bflow("why", "in/a.txt").out
    assert built.bflow("why", "all").out.count("up to date") == 3
    assert "no rule makes it" in built.bflow("why", "nothing", ok=2).err
    assert built.bflow("why", "a.txt", cwd="out").out == "out/a.txt is up to date\n"


def test_order_only_inputs_are_no_reason(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        x: in | made
            cat {in} > {out}
        made: src
            cp {in} {out}
        """,
    )
    story.write("in", "1")
    story.write("src", "1")
    story.build()
    story.write("src", "2")
    assert story.bflow("why", "x").out == "x is up to date\n"
    assert story.build("-n").summary["would_run"] == 1
    assert story.build().jobs() == [("made",)]


def test_anonymous_inputs_have_their_own_names(story: Story) -> None:
    story.write("Flowfile", "[anonymous]\nout.txt: in/data.txt\n    cat {in} > {out}\n")
    story.write("in/data.txt", "1")
    story.build("out.txt")
    story.write("in/data.txt", "2")
    assert "in/data.txt changed" in story.bflow("why", "out.txt").out


def test_why_changes_nothing_and_makes_no_folder(built: Story) -> None:
    built.remove(".bflow")
    looking = (
        "why", "why --history out/a.txt", "build -n", "build --check", "list", "list --targets", "graph",
        "graph --rules", "graph --format json out/a.txt", "adopt -n", "report", "doctor", "init -n", "completion bash",
    )  # fmt: skip
    for words in map(str.split, looking):
        built.bflow(*words, ok=None)
        assert not built.exists(".bflow"), words
    built.bflow("log", "out/a.txt", ok=2)
    built.bflow("clean")
    built.bflow("cache", "list")
    assert not built.exists(".bflow")


# ---- rows ------------------------------------------------------------------------------------------------------

# Names that are no UTF-8 come as surrogates of their bytes, and only those.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0") | st.sampled_from("\udc80\udcff"), max_size=3)
rows = st.lists(st.tuples(st.sampled_from(["input", "tool", "output"]), texts, texts), max_size=5)


@given(rows, rows)
def test_hashed_and_explained_alike(one: list[tuple[str, str, str]], two: list[tuple[str, str, str]]) -> None:
    """There is something to explain just where the keys differ."""
    assert bool(compare(one, two)) == (key_of(one) != key_of(two))
    assert compare(one, one) == []


def test_compare_tells_what_came_and_what_went() -> None:
    old = [("input", "a", "1"), ("input", "b", "2"), ("tool", "cc", "x")]
    new = [("input", "a", "9"), ("input", "c", "3"), ("tool", "cc", "x")]
    assert {(c.what, c.name, c.old, c.new) for c in compare(old, new)} == {
        ("input", "a", "1", "9"), ("input", "b", "2", None), ("input", "c", None, "3"),
    }  # fmt: skip
    assert [c.what for c in compare(old, [old[1], old[0], old[2]])] == ["order"]


@given(st.lists(st.sampled_from(["a", "b", "cc"]), max_size=8), st.lists(st.sampled_from(["a", "b", "cc"]), max_size=8))
def test_a_word_diff_holds_both_texts(old: list[str], new: list[str]) -> None:
    import re

    shown = "\n".join(word_diff(" ".join(old), " ".join(new), Colours()))
    if "…" not in shown:
        assert re.sub(r"\[-(.*?)-\]|\{\+(.*?)\+\}", lambda m: m[1] or "", shown) == " ".join(old)
        assert re.sub(r"\[-(.*?)-\]|\{\+(.*?)\+\}", lambda m: m[2] or "", shown) == " ".join(new)


def test_a_long_recipe_is_shown_around_the_change() -> None:
    words = [f"w{i}" for i in range(10_000)]
    (line,) = word_diff(" ".join(words), " ".join([*words[:5000], "new", *words[5001:]]), Colours())
    assert "[-w5000-]{+new+}" in line and "…" in line and len(line) < 300


def test_of_many_targets_those_that_are_well_are_counted(story: Story) -> None:
    story.write("Flowfile", "n = {1..30}\nall: {n}.x\n{n}.x: {n}.src\n    cp {in} {out}\n")
    for n in range(1, 31):
        story.write(f"{n}.src", str(n))
    story.build()
    assert story.bflow("why").out == "30 targets are up to date\n"
    story.write("7.src", "other")
    ran = story.bflow("why")
    assert ran.out.startswith("7.x would run\n") and ran.out.endswith("29 targets are up to date\n")


def test_a_recipe_of_another_kind(story: Story) -> None:
    story.write("Flowfile", "out/{n}: in/{n}\n    cp {in} {out}\n")
    story.write("in/a", "a")
    story.build("out/a")
    story.write("Flowfile", "[python]\nout/{n}: in/{n}\n    open(outputs[0], 'w')\n")
    lines = story.bflow("why", "out/a").out.splitlines()
    assert lines == ["out/a would run", "  the recipe is of another kind now: python"]


def test_a_function_and_the_modules_that_it_imports(story: Story) -> None:
    story.write("tools.py", "import helper\n\ndef make(out):\n    out.write_text(helper.text)\n")
    story.write("helper.py", "text = 'a'\n")
    story.write("Flowfile", "[call = tools:make]\nx:\n")
    story.build("x")
    story.write("helper.py", "text = 'b'\n")
    assert "the function’s module helper.py changed" in story.bflow("why", "x").out


def test_a_flowfile_in_python(story: Story) -> None:
    story.write(
        "Flowfile.py",
        """
        from buildflow import Flow
        flow = Flow(n=["a", "b"])
        flow.rule("out/{n}", inputs="in/{n}", shell="cp {in} {out}", cpus=2)
        """,
    )
    story.write("in/a", "a")
    story.build("out/a")
    story.write("in/a", "b")
    assert "in/a changed" in story.bflow("why", "out/a").out
    assert story.bflow("list").out == "Flowfile.py\n  out/{n}  [default, cpus = 2]\n"
    assert story.bflow("list", "--targets").out.split() == ["out/a", "out/b"]
    story.write("Flowfile.py", story.read("Flowfile.py").replace('"a", "b"', '"b"'))
    assert story.bflow("clean", "--stale", "-n").out == "out/a\n"
