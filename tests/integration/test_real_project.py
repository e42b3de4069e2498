"""A project that none of us wrote: its own tests pass, and an edit runs what its makefile would run, or less.

jansson, a JSON library in C (42 C files, 5 test suites), by `jansson.flow` beside this file. What a makefile would
compile after an edit is asked of the compiler (`cc -MM`), as automake does.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from story import CHECKOUT, Story

FETCH = CHECKOUT / "tests" / "services" / "real_project.sh"
FLOWFILE = Path(__file__).parent / "jansson.flow"
SUITES = ("api", "encoding-flags", "invalid", "invalid-unicode", "valid")
INCLUDES = ("-Iout/include", "-Isrc")


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its sources, fetched once. Where they cannot be had: skipped, unless BFLOW_REQUIRE names `real`."""
    folder = tmp_path_factory.mktemp("real") / "jansson"
    required = "real" in os.environ.get("BFLOW_REQUIRE", "").replace(",", " ").split()
    missing = [tool for tool in ("bash", "cc", "ar") if shutil.which(tool) is None]
    if not missing:
        fetched = subprocess.run([FETCH, "jansson", folder], capture_output=True, text=True, timeout=300)
        if fetched.returncode == 0:
            return folder
    reason = f"{', '.join(missing)} not here" if missing else f"no sources to be had: {fetched.stderr[-500:]}"
    if required:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def whole(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """The sources with our Flowfile, all of it built once."""
    story = Story(tmp_path_factory.mktemp("whole"))
    shutil.copytree(sources, story.root, dirs_exist_ok=True, symlinks=True)
    shutil.copyfile(FLOWFILE, story.path("Flowfile"))
    assert len([name for name in story.files() if name.endswith((".c", ".h"))]) > 30
    story.bflow("build", "all", "check", timeout=300)
    return story


@pytest.fixture
def jansson(whole: Story, story: Story) -> Story:
    """A copy of the built project, `.bflow` and all: in it there is nothing to do."""
    shutil.copytree(whole.root, story.root, dirs_exist_ok=True, symlinks=True)
    return story


def built(story: Story, *words: str) -> set[str]:
    ran = story.bflow("build", "--json", *words, timeout=300)
    return {target for targets in ran.jobs() for target in targets}


def objects_that_read(story: Story, header: str) -> set[str]:
    """The objects that a makefile compiles when `header` is newer: the compiler says whose source includes it."""
    found = set()
    for source in sorted([*story.path("src").glob("*.c"), *story.path("test").rglob("*.c")]):
        name = source.relative_to(story.root).as_posix()
        read = subprocess.run(
            ["cc", "-MM", "-DHAVE_CONFIG_H", *INCLUDES, name], cwd=story.root, capture_output=True, text=True
        )
        if read.returncode == 0 and header in read.stdout.split():
            stem = name.removesuffix(".c")
            kinds = ["static", "shared"] if name.startswith("src/") else ["test"]
            found |= {f"out/{kind}/{stem.partition('/')[2]}.o" for kind in kinds}
    return found


def test_its_own_tests_pass(jansson: Story) -> None:
    logs = {suite: jansson.read(f"out/passed/{suite}.log") for suite in SUITES}
    assert all("1 test suites passed" in log and "FAILED" not in log for log in logs.values()), logs
    assert sum(log.count("... ok") for log in logs.values()) > 100
    assert "check-exports... ok" in logs["api"]


def test_nothing_to_do(jansson: Story) -> None:
    assert built(jansson, "all", "check") == set()  # in a copy of the project
    for name in jansson.files("src"):
        jansson.touch(name)
    assert built(jansson, "all", "check") == set()  # make would compile all of it
    shutil.rmtree(jansson.path("out"))
    assert built(jansson, "all", "check") == set()


def test_a_source(jansson: Story) -> None:
    jansson.edit("src/utf.c", "#include <string.h>", "#include <string.h> /* strings */")
    assert built(jansson, "all", "check") == {"out/static/utf.o", "out/shared/utf.o"}

    jansson.edit("src/utf.c", "0x7C0) >> 6", "0x7C0) >> 7")  # the first of two bytes: a wrong one
    ran = jansson.bflow("build", "--json", "-k", "all", "check", ok=1, timeout=300)
    failed = {target for targets in ran.jobs("failed") for target in targets}
    assert failed and failed <= {f"out/passed/{suite}.log" for suite in SUITES}
    compiled = {target for targets in ran.jobs() for target in targets if target.endswith(".o")}
    assert compiled == {"out/static/utf.o", "out/shared/utf.o"}

    jansson.edit("src/utf.c", "0x7C0) >> 7", "0x7C0) >> 6")
    assert built(jansson, "all", "check") == set()


@pytest.mark.parametrize("header", ["src/utf.h", "src/hashtable.h", "test/suites/api/util.h", "src/lookup3.h"])
def test_a_header(jansson: Story, header: str) -> None:
    expected = objects_that_read(jansson, header)
    assert expected
    suites = {"out/passed/api.log"} if header.startswith("test/suites/api/") else set()  # a suite reads its folder
    jansson.write(header, b"/* edited */ " + jansson.path(header).read_bytes())
    ran = built(jansson, "all", "check")
    # The line numbers are the same and so are the objects: make would link, and test, all over again.
    assert ran == expected | suites
    assert built(jansson, "all", "check") == set()

    jansson.write(header, b"\n" + jansson.path(header).read_bytes())  # other line numbers: with -g, another object
    ran = built(jansson, "all", "check")
    assert {target for target in ran if target.endswith(".o")} == expected


def test_a_file_of_a_test_suite(jansson: Story) -> None:
    jansson.write("test/suites/valid/empty-array/README", "An array of nothing.\n")
    assert built(jansson, "all", "check") == {"out/passed/valid.log"}
    (test,) = [name for name in jansson.files("test/suites/api") if name.endswith("test_simple.c")]
    jansson.edit(test, "static void run_tests() {", 'static void run_tests() {\n    fputs("", stdout);\n')
    assert built(jansson, "all", "check") == {
        "out/test/suites/api/test_simple.o", "out/test/suites/api/test_simple", "out/passed/api.log"
    } | {f"out/passed/{suite}.log" for suite in SUITES if suite != "api"}  # fmt: skip


def test_an_answer_of_its_configuration(jansson: Story) -> None:
    jansson.edit("Flowfile", "sched_yield setlocale", "setlocale")
    ran = built(jansson, "all", "check")
    assert {"out/include/jansson_private_config.h", "out/static/hashtable_seed.o"} <= ran
    assert not [target for target in ran if target.startswith("out/probe/")]
    # Of the library only the seeding yields; and its public header came out the same.
    assert "out/static/libjansson.a" in ran and "out/include/jansson_config.h" in ran


def test_flags_of_the_command_line(jansson: Story) -> None:
    ran = built(jansson, "all", "CFLAGS=-O0")
    assert len([target for target in ran if target.endswith(".o")]) == 2 * len(list(jansson.path("src").glob("*.c")))
    assert built(jansson, "all") == set()
