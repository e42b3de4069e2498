"""`env = singularity://…` on the real Apptainer: every kind of recipe, identities, signals, an image of a URI."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from containers import Apptainer, apptainer, rootfs  # noqa: F401
from test_docker import MADE, all_kinds

from story import Story

pytestmark = pytest.mark.singularity


def test_every_kind_of_recipe(story: Story, apptainer: Apptainer) -> None:  # noqa: F811
    all_kinds(story)
    assert story.build("--env", f"singularity://{apptainer.folder}/full.sif", "-j2").ran == 6
    assert story.read("full.txt") == MADE
    assert os.stat(story.path("full.txt")).st_uid == os.getuid()


def test_an_image_by_its_contents(story: Story, apptainer: Apptainer, rootfs: Path) -> None:  # noqa: F811
    shutil.copy(apptainer.folder / "plain.sif", story.path("one.sif"))
    story.write("Flowfile", "[env = singularity://one.sif]\na:\n    cat /version > {out} || echo none > {out}\n")
    story.bflow("build")
    assert "nothing to do" in story.bflow("build").err
    story.path("one.sif").rename(story.path("two.sif"))
    story.edit("Flowfile", "one.sif", "two.sif")
    assert story.build().up_to_date == 1
    (rootfs / "plain" / "version").write_text("2\n")
    try:
        shutil.copy(apptainer.image("new.sif", rootfs / "plain"), story.path("two.sif"))
    finally:
        (rootfs / "plain" / "version").unlink()
    assert "1 ran" in story.bflow("build").err
    assert story.read("a") == "2\n"


def test_an_image_without_bash_and_python(story: Story, apptainer: Apptainer) -> None:  # noqa: F811
    story.write(
        "Flowfile",
        f"""
        [defaults: env = singularity://{apptainer.folder}/plain.sif]
        a:
            false | true || echo pipefail > {{out}}
            echo "${{BASH_VERSION:-sh}}" >> {{out}}
        [python]
        b:
            open(outputs[0], "w")
        """,
    )
    assert story.build("a").ran == 1
    assert story.read("a") == "pipefail\nsh\n"
    assert "plain.sif has no python3" in story.bflow("build", "b", ok=1).err


def test_what_a_job_sees(story: Story, apptainer: Apptainer) -> None:  # noqa: F811
    story.write("../other/out, side.txt", "outside")
    story.write("far/far.bin", b"y" * 2_000_000)
    story.path("far").rename(story.root.parent / "far")
    story.path("far").symlink_to(story.root.parent / "far")
    story.write(
        "Flowfile",
        f"""
        [env = singularity://{apptainer.folder}/full.sif, vars = OWN=1 TWO]
        out.txt: "../other/out, side.txt" far/far.bin
            cat {{in[0]}} > {{out}}; wc -c < far/far.bin >> {{out}}
            echo "$OWN $TWO $HOME $PATH ${{SECRET:-}}${{LEAK:-}}" >> {{out}}
            ! touch {{in[0]}} 2>/dev/null; ! touch ../../../new 2>/dev/null
            touch "$TMPDIR/x" "$HOME/y"
        """,
    )
    env = {"TWO": "a 'b' $(c)", "SECRET": "1", "APPTAINERENV_LEAK": "2", "APPTAINER_BIND": "/opt"}
    story.bflow("build", env=env)
    first, second = story.read("out.txt").splitlines()
    assert first == "outside2000000"
    assert second.startswith("1 a 'b' $(c) ") and second.endswith("bin ")
    assert second.split(" ")[4].endswith(".tmp")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_and_time_limits(story: Story, apptainer: Apptainer, number: int) -> None:  # noqa: F811
    story.write("Flowfile", f"[env = singularity://{apptainer.folder}/plain.sif]\na:\n    echo begun; sleep 313\n")
    running = story.start("build")
    work = story.path(".bflow/work")
    running.until(lambda: work.exists() and [p for p in work.glob("*.log") if p.stat().st_size], "a start")
    running.signal(number)
    running.wait(ok=130)
    assert "sleep 313" not in subprocess.run(["ps", "axo", "args"], capture_output=True, text=True).stdout
    story.edit("Flowfile", ".sif]", ".sif, time = 1s]")
    assert "it took longer than its time" in story.bflow("build", ok=1).err


def test_an_image_of_a_uri_is_pulled_once(story: Story, apptainer: Apptainer, rootfs: Path) -> None:  # noqa: F811
    image = story.root.parent / "image.tar"
    _oci(rootfs / "plain", image)
    story.write("Flowfile", f"[env = singularity://docker-archive://{image}]\na:\n    echo hello > {{out}}\n")
    assert story.build("-n").summary["would_run"] == 1
    assert not list(story.path(".bflow").glob("cache/environments/*.sif"))
    assert "is pulled to" in story.bflow("build").err
    image.unlink()
    story.remove("a")
    assert story.build("-B").ran == 1
    assert story.bflow("build", "--env", f"singularity://docker-archive://{image}.none", ok=2)


def _oci(root: Path, image: Path) -> None:
    """A root file system as `docker save` writes an image."""
    import hashlib
    import json

    folder = image.parent / "oci"
    folder.mkdir()
    subprocess.run(["tar", "-C", root, "-cf", folder / "layer.tar", "."], check=True)
    digest = hashlib.sha256((folder / "layer.tar").read_bytes()).hexdigest()
    rows = {"type": "layers", "diff_ids": [f"sha256:{digest}"]}
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rows}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "manifest.json").write_text(
        json.dumps([{"Config": "config.json", "RepoTags": ["plain:1"], "Layers": ["layer.tar"]}])
    )
    subprocess.run(["tar", "-C", folder, "-cf", image, "manifest.json", "config.json", "layer.tar"], check=True)


def test_what_cannot_be_had(story: Story) -> None:
    story.write("Flowfile", "all: b\na:\n    echo > {out}\n[env = singularity://none.sif]\nb: a\n    cp {in} {out}\n")
    ran = story.bflow("build", ok=2)
    assert ran.err.startswith("Flowfile:4:8: the image none.sif is not there")
    assert not story.exists("a")
