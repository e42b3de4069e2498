"""`bflow list`: the rules by file, and all finite targets."""

from __future__ import annotations

import json

from story import Story

FLOWFILE = """
    include "more.flow"
    s = a b

    ## Everything,
    ## that is
    all: out/{s}.txt

    ## One text
    [cpus = 2, mem = 2G * attempt, temp, resource.licence = 1]
    out/{s}.txt: src=in/{s}.txt
        cat {src} > {out}

    {x}.gz: {x}
        gzip -c {in} > {out}

    [phony]
    test:
        echo hi
"""


def project(story: Story) -> Story:
    story.write("Flowfile", FLOWFILE)
    story.write("more.flow", "[default, name = second]\nnote.txt:\n    echo 1 > {out}\n")
    return story


def test_rules_are_shown_by_file_with_help_and_marks(story: Story) -> None:
    out = project(story).bflow("list").out
    lines = out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == ["more.flow", "Flowfile"]
    (default,) = [line for line in lines if "default" in line]
    assert "note.txt" in default and "name = second" in default
    place = next(i for i, line in enumerate(lines) if line.strip().startswith("all"))
    assert [line.strip() for line in lines[place + 1 : place + 3]] == ["Everything,", "that is"]
    (rule,) = [line for line in lines if line.strip().startswith("out/{s}.txt ")]
    for text in ("cpus = 2", "mem = 2G * attempt", "temp", "resource.licence = 1"):
        assert text in rule
    assert any("test" in line and "phony" in line for line in lines)


def test_json_has_all_of_a_rule(story: Story) -> None:
    rules = json.loads(project(story).bflow("list", "--json").out)
    by_target = {rule["targets"][0]: rule for rule in rules}
    one = by_target["out/{s}.txt"]
    assert one["file"] == "Flowfile" and one["line"] > 0 and one["inputs"] == ["src=in/{s}.txt"]
    assert one["help"] == "One text" and one["kind"] == "rule" and not one["default"]
    assert one["attributes"]["temp"] is True and one["attributes"]["cpus"] == "2"
    assert by_target["all"]["kind"] == "alias"
    assert by_target["test"]["phony"] and by_target["note.txt"]["default"]


def test_all_finite_targets_one_a_line(story: Story) -> None:
    ran = project(story).bflow("list", "--targets")
    assert ran.out.splitlines() == ["note.txt", "all", "out/a.txt", "out/b.txt", "test"]
    assert ran.err == ""
    assert "out/z.txt\n" in story.bflow("list", "--targets", "s=z").out


def test_targets_that_hang_on_a_made_file(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        name = lines(names.txt)
        all: out/{name}
        names.txt: src.txt
            cp {in} {out}
        out/{name}:
            touch {out}
        """,
    )
    story.write("src.txt", "x\ny\n")
    ran = story.bflow("list", "--targets")
    assert ran.out.splitlines() == ["all", "names.txt"] and "names.txt is made" in ran.err
    story.build("names.txt")
    ran = story.bflow("list", "--targets")
    assert ran.out.splitlines() == ["all", "names.txt", "out/x", "out/y"] and ran.err == ""
    story.write("src.txt", "z\n")  # names.txt is out of date: what it says now does not count
    assert story.bflow("list", "--targets").out.splitlines() == ["all", "names.txt"]


def test_a_library_rule_is_named_by_its_include(story: Story, tmp_path: object) -> None:
    from buildflow.library import library_files

    name = library_files()[0]
    story.write("Flowfile", f"include <{name}>\nx:\n    touch x\n")
    out = story.bflow("list").out
    assert f"<{name}>" in out.splitlines()


def test_list_takes_no_target(story: Story) -> None:
    assert "takes no target" in project(story).bflow("list", "out/a.txt", ok=2).err


def test_names_that_are_no_utf8_come_out_as_they_are(story: Story) -> None:
    story.write("Flowfile", "s = glob(in/{s})\nout/{s}: in/{s}\n    cp {in} {out}\n")
    story.write("in/\udcff", "x")
    assert story.bflow("list", "--targets").out == "out/\udcff\n"
