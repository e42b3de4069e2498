"""Many files that a job may read, and few that it does: they are looked at together, and as closely as others."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from quick import Quick

HEADERS = 40

COMPILER = """
import sys
out, dep, source, *more = sys.argv[1:]
text, names = open(source).read(), [source]
for line in text.splitlines():
    if line.startswith("#include "):
        names.append("inc/" + line.split()[1])
        text += open(names[-1]).read()
for action in more:
    exec(action)
open(out, "w").write(text)
open(dep, "w").write(out + ": " + " ".join(names) + chr(10))
"""


@pytest.fixture
def project(tmp_path: Path) -> Quick:
    story = Quick(tmp_path)
    story.write("cc.py", COMPILER)
    story.write(
        "Flowfile",
        """
        n = glob(src/{n}.c)
        h = glob(inc/{h}.h)
        all: obj/{n}.o
        [depfile = obj/{n}.d]
        obj/{n}.o: src=src/{n}.c inc/{h}.h
            python3 cc.py {out} {depfile} {src}
        """,
    )
    for i in range(HEADERS):
        story.write(f"inc/h{i}.h", f"header {i}\n")
    for name in "abc":
        story.write(f"src/{name}.c", f"#include h{'abc'.index(name)}.h\n{name}\n")
    assert story.build().ran == 3
    assert story.build().up_to_date == 3
    return story


def test_only_what_reads_a_header_runs(project: Quick) -> None:
    project.write("inc/h1.h", "edited\n")
    assert project.build().jobs() == [("obj/b.o",)]
    assert "edited" in project.read("obj/b.o")
    project.write("inc/h30.h", "edited\n")
    assert project.build().ran == 0
    project.write("src/a.c", "#include h30.h\n")
    assert project.build().ran == 1
    assert project.read("obj/a.o") == "#include h30.h\nedited\n"


def test_a_new_header_is_looked_at_by_all(project: Quick) -> None:
    project.write(f"inc/h{HEADERS}.h", "new\n")
    assert project.build().ran == 3


def test_the_result_names_what_was_read(project: Quick) -> None:
    entry = Path(project.bflow("cache", "path", "obj/a.o").out.strip())
    names = {row["name"] for row in json.loads((entry / "result.json").read_text())["inputs"]}
    assert names == {"cc.py", "src/a.c", "inc/h0.h"}


def test_a_job_that_writes_into_a_header_of_its_sandbox_spoils_nothing(project: Quick) -> None:
    project.edit("Flowfile", "{src}", "{src} \"open('inc/h2.h', 'w').write('spoilt' + chr(10))\"")
    project.build(ok=None)
    assert project.read("inc/h2.h") == "header 2\n"
    project.edit("Flowfile", " \"open('inc/h2.h', 'w').write('spoilt' + chr(10))\"", "")
    project.write("src/a.c", "#include h2.h\nmore\n")
    project.build()
    assert project.read("obj/a.o") == "#include h2.h\nmore\nheader 2\n"


def test_a_header_that_changes_while_it_is_read(project: Quick) -> None:
    """What was made is of no known input: it is made again."""
    root = project.root
    project.edit("cc.py", "for action in more", f"""
import os
if source == "src/a.c" and not os.path.exists("{root}/once"):
    open("{root}/once", "w").close()
    open("{root}/inc/h0.h", "w").write("changed under it" + chr(10))
for action in more""")
    assert project.build().failed == 0
    assert project.read("obj/a.o") == "#include h0.h\na\nchanged under it\n"
    assert project.build().ran == 0


def test_one_that_no_job_reads_may_change(project: Quick) -> None:
    root = project.root
    project.edit("cc.py", "for action in more", f"""
if source == "src/a.c":
    open("{root}/inc/h39.h", "w").write("whatever" + chr(10))
for action in more""")
    assert project.build().ran == 3
    project.write("src/b.c", "#include h39.h\n")
    assert project.build().ran == 1
    assert project.read("obj/b.o") == "#include h39.h\nwhatever\n"


def test_a_header_that_was_changed_and_put_back_between_builds(project: Quick) -> None:
    """A sandbox that was filled while it was another one holds nothing of that."""
    path = project.path("inc/h5.h")
    for text in ("one\n", "header 5\n", "two\n", "header 5\n"):
        path.write_text(text)
        project.write("src/a.c", f"#include h5.h\n{text}")
        project.build()
        assert project.read("obj/a.o") == f"#include h5.h\n{text}{text}"
        os.utime(path)
