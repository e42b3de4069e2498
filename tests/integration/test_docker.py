"""`env = docker://…` on the real engine: every kind of recipe, identities, signals, what is left over."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from containers import Docker, dock, docker, rootfs  # noqa: F401

from story import Story

pytestmark = pytest.mark.docker

KINDS = """
    all: {full}.txt
    {full}.txt: shell.txt direct.txt script.txt python.txt call.txt
        cat {in} > {out}
    shell.txt: in.txt big.bin
        false | true || echo pipefail > {out}
        cat in.txt >> {out}; wc -c < big.bin >> {out}
    direct.txt: in.txt
        cp {in} {out}
    script.txt: in.txt
        #!/bin/sh
        cat $inputs > $outputs
    [python]
    python.txt: in.txt big.bin
        import os
        open(outputs[0], "w").write(f"{open(inputs[0]).read()}{os.path.getsize(inputs[1])}\\n")
    [call = work:size]
    call.txt: in.txt big.bin
"""
WORK = "def size(inputs): return [p.stat().st_size for p in inputs]\n"
MADE = "pipefail\none\n2000000\none\none\none\n2000000\n[4, 2000000]"


def all_kinds(story: Story) -> None:
    story.write("Flowfile", KINDS.replace("{full}", "full"))
    story.write("in.txt", "one\n")
    story.write("big.bin", b"\0" * 2_000_000)  # stands as a link in the sandbox
    story.write("work.py", WORK)


@pytest.mark.parametrize("container", ["fresh", "warm"])
def test_every_kind_of_recipe(dock: Story, docker: Docker, container: str) -> None:  # noqa: F811
    all_kinds(dock)
    settings = {"BFLOW_CONTAINER": container}
    assert dock.build("--env", "docker://bflow-full:1", "-j2", env=settings).ran == 6
    assert dock.read("full.txt") == MADE
    assert os.stat(dock.path("full.txt")).st_uid == os.getuid()
    assert docker.containers() == []


def test_a_native_result_and_one_of_an_image_have_different_keys(dock: Story) -> None:  # noqa: F811
    dock.write("Flowfile", "a:\n    echo a > {out}\n")
    assert dock.build("a").ran == 1
    assert dock.build("--env", "docker://bflow-plain:1", "a").ran == 1
    assert dock.build("a").up_to_date == 1


def test_an_image_without_bash_and_python(dock: Story) -> None:  # noqa: F811
    dock.write(
        "Flowfile",
        """
        [defaults: env = docker://bflow-plain:1]
        a:
            false | true || echo pipefail > {out}
            echo "${BASH_VERSION:-sh}" >> {out}
        [python]
        b:
            open(outputs[0], "w")
        """,
    )
    assert dock.build("a").ran == 1
    assert dock.read("a") == "pipefail\nsh\n"
    assert "the image bflow-plain:1 has no python3" in dock.bflow("build", "b", ok=1).err


def test_a_moved_tag_runs_again_and_a_copied_one_does_not(dock: Story, docker: Docker, rootfs: Path) -> None:  # noqa: F811
    dock.write("Flowfile", "[env = docker://bflow-moves:1]\na:\n    cat /version > {out} || echo none > {out}\n")
    docker("tag", "bflow-plain:1", "bflow-moves:1")
    assert dock.bflow("build").status == 0 and dock.read("a") == "none\n"
    assert "nothing to do" in dock.bflow("build").err
    docker("tag", "bflow-moves:1", "bflow-copied:1")
    dock.edit("Flowfile", "bflow-moves", "bflow-copied")
    assert dock.build().up_to_date == 1
    dock.edit("Flowfile", "bflow-copied", "bflow-moves")
    assert "up to date" in dock.bflow("build").err
    (rootfs / "plain" / "version").write_text("2\n")
    docker.image("bflow-moves:1", rootfs / "plain")
    (rootfs / "plain" / "version").unlink()
    assert "environment" in dock.bflow("why", "a").out
    assert "1 ran" in dock.bflow("build").err  # the way without a plan has seen it too
    assert dock.read("a") == "2\n"


def test_without_the_engine_what_stands_stands(dock: Story, docker: Docker) -> None:  # noqa: F811
    dock.write("Flowfile", "[env = docker://bflow-plain:1]\na: in\n    cp {in} {out}\n")
    dock.write("in", "1")
    dock.bflow("build")
    gone = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    for _ in range(2):  # once by the loop (another DOCKER_HOST is another question), once by the snapshot
        ran = dock.bflow("build", env=gone)
        assert "the id that the image bflow-plain:1 had last counts" in ran.err
    dock.write("in", "2")
    ran = dock.bflow("build", env=gone, ok=1)
    assert "docker cannot be asked for the image bflow-plain:1" in ran.err
    assert dock.read("a") == "1"
    assert dock.build().ran == 1


def test_what_cannot_be_had_is_told_before_anything_runs(dock: Story) -> None:  # noqa: F811
    dock.write(
        "Flowfile",
        """
        all: first second
        first:
            echo > {out}
        [env = docker://bflow-none:1]
        second: first
            cp {in} {out}
        """,
    )
    ran = dock.bflow("build", ok=2)
    assert ran.err.startswith("Flowfile:4:8: the image bflow-none:1 is not here"), ran.err
    assert "docker pull bflow-none:1" in ran.err
    assert not dock.exists("first")
    ran = dock.bflow("build", ok=2, env={"BFLOW_ENVIRONMENTS": "docker=no-such-docker"})
    assert "there is no command no-such-docker, which docker://bflow-none:1 needs" in ran.err
    ran = dock.bflow("build", ok=2, env={"DOCKER_HOST": "unix:///nowhere/docker.sock"})
    assert "docker cannot be asked" in ran.err


def test_what_a_job_sees(dock: Story) -> None:  # noqa: F811
    dock.write("other/outside.txt", "outside")
    dock.root = dock.root / "inner"
    dock.write("data/real.bin", b"x" * 2_000_000)
    dock.path("link.bin").symlink_to("data/real.bin")
    dock.write(dock.root.parent / "far/far.bin", b"y" * 2_000_000)
    dock.path("far").symlink_to(dock.root.parent / "far")
    dock.write(
        "Flowfile",
        """
        [env = docker://bflow-full:1, vars = OWN=1 TWO]
        out.txt: ../other/outside.txt link.bin far/far.bin
            cat ../../../../other/outside.txt {in[0]} > {out}
            wc -c < link.bin >> {out}; wc -c < far/far.bin >> {out}
            echo "$OWN $TWO $HOME $PATH" >> {out}
            ! touch {in[0]} 2>/dev/null; ! touch ../../../new 2>/dev/null
            touch "$TMPDIR/x" "$HOME/y"
        """,
    )
    variables = {"TWO": "a 'b' $(c)\n=", "LD_LIBRARY_PATH": "/nowhere", "SECRET": "1"}
    dock.bflow("build", env=variables)
    first, two, three, *rest = dock.read("out.txt").split("\n")
    assert (first, two, three) == ("outsideoutside2000000", "2000000", "1 a 'b' $(c)")
    home, path = rest[0].removeprefix("= ").split(" ")
    assert home.endswith(".tmp") and path.startswith("/usr/local/sbin:")


@pytest.mark.parametrize("container", ["fresh", "warm"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_container_outlives_its_build(dock: Story, docker: Docker, container: str, number: int) -> None:  # noqa: F811
    dock.write("Flowfile", "[env = docker://bflow-plain:1]\n{n}.txt:\n    echo begun; sleep 300\n")
    running = dock.start("build", "-j2", "a.txt", "b.txt", env={"BFLOW_CONTAINER": container})
    work = dock.path(".bflow/work")
    running.until(lambda: [p for p in work.glob("*.log") if p.stat().st_size] if work.exists() else None, "a start")
    assert docker.containers()
    running.signal(number)
    running.wait(ok=130 if number == signal.SIGINT else -number)
    if number == signal.SIGINT:
        assert docker.containers() == []
    else:
        assert docker.gone()


@pytest.mark.parametrize("container", ["fresh", "warm"])
def test_a_time_limit(dock: Story, docker: Docker, container: str) -> None:  # noqa: F811
    dock.write("Flowfile", "[env = docker://bflow-plain:1, time = 1s]\na:\n    sleep 300\n    touch {out}\n")
    ran = dock.bflow("build", ok=1, env={"BFLOW_CONTAINER": container})
    assert "it took longer than its time" in ran.err
    assert docker.containers() == []


def test_a_phony_job_has_the_project(dock: Story) -> None:  # noqa: F811
    dock.write("Flowfile", "[phony, env = docker://bflow-plain:1]\nsay: in\n    cat in; cat > got\n")
    dock.write("in", "hello\n")
    assert dock.bflow("build", "say", stdin="typed").out == "hello\n"
    assert dock.read("got") == "typed"
    assert os.stat(dock.path("got")).st_uid == os.getuid()
