"""Depfiles: make's syntax, and which names are inputs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildflow.depfile import parse_depfile, project_names
from buildflow.errors import BuildError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", []),
        ("a.o: a.c\n", ["a.c"]),
        ("a.o: a.c", ["a.c"]),
        ("a.o b.o: a.c b.h a.c\n", ["a.c", "b.h"]),
        ("a.o: a.c \\\n  b.h \\\r\n  c.h\n", ["a.c", "b.h", "c.h"]),
        ("a.o: a.c b.h\n\nb.h:\n", ["a.c", "b.h"]),  # -MP
        ("a.o: a\\ b.h c\\#d.h e$$f.h\n", ["a b.h", "c#d.h", "e$f.h"]),
        ("a.o: x\\\\ y\n", ["x\\", "y"]),
        ("a.o:\\\n a.c\n", ["a.c"]),
        ("a.o : a.c\n", ["a.c"]),
        ("a.o:\n", []),
        ("C\\:x.o: a.c\n", ["a.c"]),
        ("a.o: C:x.h\n", ["C:x.h"]),
        ("\n\na.o: a.c\n\n", ["a.c"]),
        ("a.o: dir\\file.h\n", ["dir\\file.h"]),
        ("a.o:\ta.c\tb.h\n", ["a.c", "b.h"]),
    ],
)
def test_make_syntax(text: str, names: list[str]) -> None:
    assert parse_depfile(text) == names


@pytest.mark.parametrize("text", ["no rule\n", "a.o: a.c\nnonsense\n"])
def test_what_is_no_depfile(text: str) -> None:
    with pytest.raises(BuildError, match="make's syntax"):
        parse_depfile(text)


NAMES = st.text(st.sampled_from("ab/.# $é-+"), min_size=1, max_size=8).filter(lambda name: name == name.strip())


@settings(max_examples=60)
@given(st.lists(NAMES, unique=True, max_size=5))
def test_what_a_compiler_escapes_comes_back(names: list[str]) -> None:
    escaped = [name.replace("$", "$$").replace("#", "\\#").replace(" ", "\\ ") for name in names]
    assert parse_depfile("x.o: " + " \\\n ".join(escaped) + "\n") == names


def test_names_in_and_outside_the_sandbox(tmp_path: Path) -> None:
    sandbox = tmp_path / "real"
    sandbox.mkdir()
    link = tmp_path / "link"
    link.symlink_to(sandbox)
    names = ["a.c", "./b.h", f"{link}/c.h", f"{sandbox}/d.h", "sub/../a.c", "/usr/include/x.h", "made.h", "../out.h"]
    inside, outside = project_names(names, str(link), {"a.c", "b.h", "c.h", "d.h"})
    assert inside == ["a.c", "b.h", "c.h", "d.h"]
    assert outside == ["/usr/include/x.h", os.path.join(str(tmp_path), "out.h")]
