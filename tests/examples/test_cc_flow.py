"""`rules/cc.flow`: what it makes, and that it compiles and links no more than it must, and never less."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from story import Story

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
needs_cxx = pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")

ALL = {"build/hello", "build/main.o", "build/greet/hello.o", "build/greet/name.o", "build/libgreet.a"}


def write_project(story: Story) -> None:
    """A program of one source, and a library of two in a folder of their own."""
    story.write(
        "Flowfile",
        """
        include <cc.flow> program=hello library=greet

        all: build/hello
        build/hello: build/main.o build/libgreet.a
        build/libgreet.a: build/greet/{hello,name}.o
        """,
    )
    story.write("include/greet.h", "int greet(const char *who);\n")
    story.write("src/main.c", '#include "greet.h"\nint main(void) { return greet("world"); }\n')
    story.write("src/greet/name.h", "const char *name(const char *who);\n")
    story.write("src/greet/name.c", '#include "name.h"\nconst char *name(const char *who) { return who; }\n')
    story.write(
        "src/greet/hello.c",
        """
        #include "greet.h"
        #include "name.h"
        int puts(const char *);
        int greet(const char *who) { return puts(name(who)) < 0; }
        """,
    )


def built(story: Story, *words: str, env: dict[str, str | None] | None = None) -> set[str]:
    """What a build ran."""
    return {target for targets in story.bflow("build", "--json", *words, env=env).jobs() for target in targets}


def says(story: Story, program: str = "build/hello") -> str:
    return subprocess.run([story.path(program)], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def project(story: Story) -> Story:
    write_project(story)
    assert built(story) == ALL
    return story


def test_a_program_of_several_folders_is_built_once(project: Story) -> None:
    assert says(project) == "world\n"
    assert set(project.files("build")) == ALL  # no depfiles
    project.touch("src/main.c")
    assert built(project) == set()


def test_a_comment_compiles_one_object_and_links_nothing(project: Story) -> None:
    project.edit("src/greet/name.c", "{ return", "/* as it is */ { return")
    assert built(project) == {"build/greet/name.o"}
    assert built(project) == set()


def test_an_edit_of_a_source_compiles_it_and_links(project: Story) -> None:
    project.edit("src/main.c", "world", "moon")
    assert built(project) == {"build/main.o", "build/hello"}
    assert says(project) == "moon\n"


def test_a_header_compiles_what_the_depfiles_name(project: Story) -> None:
    project.edit("src/greet/name.h", ";", ";  /* of whom */")
    assert built(project) == {"build/greet/name.o", "build/greet/hello.o"}
    project.edit("include/greet.h", ";", ";  /* prints */")
    assert built(project) == {"build/main.o", "build/greet/hello.o"}
    project.write("include/unused.h", "int unused;\n")  # it might be found instead of another: all look, none links
    assert not built(project) & {"build/hello", "build/libgreet.a"}
    project.edit("include/unused.h", "int", "long")
    assert built(project) == set()


def test_an_old_state_and_back_runs_nothing(project: Story) -> None:
    project.edit("src/greet/name.h", "const char *name", "char const *name")
    project.edit("src/main.c", "world", "moon")
    built(project)
    project.edit("src/main.c", "moon", "world")
    project.edit("src/greet/name.h", "char const *name", "const char *name")
    assert built(project) == set()
    assert says(project) == "world\n"


def test_a_header_that_shadows_another_is_seen(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        include <cc.flow> program=hello includes="first second"
        build/hello: build/main.o
        """,
    )
    story.write("src/main.c", "#include <word.h>\nint puts(const char *);\nint main(void) { return puts(WORD) < 0; }\n")
    story.write("second/word.h", '#define WORD "second"\n')
    built(story, "build/hello")
    assert says(story) == "second\n"
    story.write("first/word.h", '#define WORD "first"\n')
    assert built(story, "build/hello") == {"build/main.o", "build/hello"}
    assert says(story) == "first\n"
    story.remove("first/word.h")
    assert built(story, "build/hello") == set()
    assert says(story) == "second\n"


def test_objects_do_not_hold_where_they_were_made(project: Story, tmp_path: Path) -> None:
    built(project, "CFLAGS=-g -O0")
    first = {name: project.path(name).read_bytes() for name in ALL}
    assert not [name for name, data in first.items() if b".bflow" in data or bytes(project.root) in data]

    (tmp_path / "elsewhere").mkdir()
    other = Story(tmp_path / "elsewhere")
    write_project(other)
    other.bflow("build", "CFLAGS=-g -O0", "-j1")
    assert {name: other.path(name).read_bytes() for name in ALL} == first


def test_flags_come_from_the_command_line_then_the_include_then_the_environment(project: Story) -> None:
    assert built(project, env={"CFLAGS": "-O2"}) == set()  # as it is without
    assert built(project, env={"LDLIBS": "-lm"}) == {"build/hello"}
    assert built(project, env={"CFLAGS": "-O2 -DWHO=1"}) == {name for name in ALL if name.endswith(".o")}
    project.edit("Flowfile", "library=greet", "library=greet CFLAGS='-O2 -DA'")
    built(project)
    assert built(project, env={"CFLAGS": "-O0"}) == set()
    assert "build/main.o" in built(project, "CFLAGS=-O1")


def test_programs_and_libraries_that_nothing_names_are_not_made(project: Story) -> None:
    assert "did you mean build/hello?" in project.bflow("build", "build/helo", ok=2).err
    assert "no rule makes it" in project.bflow("build", "build/libother.a", ok=2).err
    wrong = project.bflow("build", "build/greet/nme.o", ok=2)
    assert "src/greet/nme.c" in wrong.err and "src/greet/nme.cpp" in wrong.err


def test_a_library_of_nothing_says_what_is_missing(story: Story) -> None:
    story.write("Flowfile", "include <cc.flow> library=empty\nall: build/libempty.a\n")
    assert "no objects: say which, as in build/libempty.a: " in story.bflow("build", ok=1).err
    assert not story.exists("build/libempty.a")


def test_objects_of_one_base_name_are_both_in_a_library(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        include <cc.flow> program="hello tests/check" library=two src=.
        all: build/hello build/tests/check
        build/hello: build/main.o build/libtwo.a
        build/tests/check: build/tests/main.o build/libtwo.a
        build/libtwo.a: build/{a,b}/part.o
        """,
    )
    story.write("a/part.c", "int a(void) { return 1; }\n")
    story.write("b/part.c", "int b(void) { return -1; }\n")
    story.write("main.c", "int a(void), b(void);\nint main(void) { return a() + b(); }\n")
    story.write("tests/main.c", "int a(void), b(void);\nint main(void) { return a() * b() + 1; }\n")
    assert len(built(story)) == 7
    assert says(story) == says(story, "build/tests/check") == ""


def test_a_shared_library_is_found_beside_its_program(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        include <cc.flow> program=hello shared="word other" LDFLAGS='-Wl,-rpath,$ORIGIN'
        build/hello: build/main.o build/libword.so
        build/libword.so: build/word.o
        """,
    )
    story.write("src/word.c", 'const char *word(void) { return "shared"; }\n')
    story.write(
        "src/main.c", "const char *word(void);\nint puts(const char *);\nint main(void) { return puts(word()) < 0; }\n"
    )
    assert built(story, "build/hello") == {"build/hello", "build/main.o", "build/word.o", "build/libword.so"}
    assert says(story) == "shared\n"
    story.edit("src/word.c", "shared", "edited")
    built(story, "build/hello")
    assert says(story) == "edited\n"


@needs_cxx
def test_cxx_sources_of_each_suffix(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        include <cc.flow> program=hello LINK=c++ CXXFLAGS='-O0 -Wall'
        build/hello: build/main.o build/{one,two,three}.o
        """,
    )
    for name, suffix in (("one", "cc"), ("two", "cpp"), ("three", "cxx")):
        story.write(f"src/{name}.{suffix}", f'#include "words.hpp"\nstd::string {name}() {{ return "{name}\\n"; }}\n')
    story.write("src/words.hpp", "#include <string>\nstd::string one(), two(), three();\n")
    story.write(
        "src/main.cpp",
        """
        #include <cstdio>
        #include "words.hpp"
        int main() { std::fputs((one() + two() + three()).c_str(), stdout); }
        """,
    )
    assert len(built(story, "build/hello")) == 5
    assert says(story) == "one\ntwo\nthree\n"
    story.edit("src/two.cpp", "return", "/* two */ return")
    assert built(story, "build/hello") == {"build/two.o"}


def test_headers_and_sources_that_rules_make(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        include <cc.flow> program=hello includes="include made/include"
        include <cc.flow> src=made build=build/made includes=made/include

        build/hello: build/main.o build/made/word.o

        made/include/word.h: word.txt
            printf '#define WORD "%s"\\n' "$(cat {in})" > {out}

        made/word.c: word.txt
            { echo '#include <word.h>'; echo 'const char *word(void) { return WORD; }'; } > {out}
        """,
    )
    story.write("word.txt", "one\n")
    story.write("src/main.c", '#include "word.h"\nint puts(const char *);\nint main(void) { return puts(WORD) < 0; }\n')
    story.write("src/other.c", "int other;\n")
    assert len(built(story, "build/hello")) == 5
    assert says(story) == "one\n"
    story.edit("word.txt", "one", "two")
    assert built(story, "build/hello") == {
        "made/include/word.h", "made/word.c", "build/main.o", "build/made/word.o", "build/hello"
    }  # fmt: skip
    assert says(story) == "two\n"
    assert built(story, "build/other.o") == {"build/other.o"}
    story.edit("word.txt", "two", "three")
    assert built(story, "build/other.o") == {"made/include/word.h"}


def test_variants_side_by_side(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        variant = debug release
        include <cc.flow> program=hello build=debug CFLAGS='-O0 -g'
        include <cc.flow> program=hello build=release

        all: {variant}/hello
        debug/hello: debug/main.o
        release/hello: release/main.o
        """,
    )
    story.write("src/main.c", "int main(void) { return 0; }\n")
    assert len(built(story)) == 4
    assert story.path("debug/main.o").read_bytes() != story.path("release/main.o").read_bytes()


def test_names_with_spaces_and_quotes(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        include <cc.flow> program=hello includes="'my headers' include"
        build/hello: 'build/a b/it'"'"'s.o'
        """,
    )
    story.write("my headers/status.h", "#define STATUS 0\n")
    story.write("src/a b/it's.c", '#include "status.h"\nint main(void) { return STATUS; }\n')
    assert len(built(story, "build/hello")) == 2
    assert says(story) == ""
    story.edit("my headers/status.h", "STATUS 0", "STATUS 0 + 0")
    assert built(story, "build/hello") == {"build/a b/it's.o"}


def test_a_compiler_that_fails_says_where(project: Story) -> None:
    project.edit("src/greet/name.c", "return who", "return whom")
    failed = project.bflow("build", ok=1)
    assert "src/greet/name.c:2" in failed.err and "whom" in failed.err
    assert says(project) == "world\n"


def test_a_compiler_that_is_missing_is_an_error(project: Story) -> None:
    assert "no-such-cc" in project.bflow("build", "CC=no-such-cc", ok=False).err
