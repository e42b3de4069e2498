"""A container that is kept, without an engine: its shell runs here."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildflow.environments.base import Command
from buildflow.environments.warm import Warm

pytestmark = pytest.mark.skipif(not Warm.possible(), reason="named pipes do not reach into containers here")


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Warm]:
    """Its shell is a process of this machine, whose number stands in `pid`."""
    start = tmp_path / "start"
    start.write_text(f'#!/bin/sh\nsetsid sh "$@" </dev/null >/dev/null 2>&1 &\necho $! >{tmp_path}/pid\n')
    start.chmod(0o755)
    wait = ["sh", "-c", f"while readlink /proc/$(cat {tmp_path}/pid)/exe; do sleep 0.01; done"]  # (a zombie has none)
    (tmp_path / "work").mkdir()
    found = Warm([str(start)], wait, dict(os.environ), str(tmp_path / "work"))
    yield found
    found.close()


def command(warm: Warm, name: str, text: str, **env: str) -> Command:
    folder = f"{warm.work}/{name}"
    os.makedirs(folder, exist_ok=True)
    own = {"PATH": os.environ["PATH"], **env}
    return warm.command(Command(["sh", "-c", text], own, folder, log=f"{folder}.log"))


def start(job: Command, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(job.argv, env={**job.env, **env}, cwd=job.cwd, start_new_session=True)


def until(holds: object) -> None:
    end = time.monotonic() + 30
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


def test_jobs(warm: Warm, tmp_path: Path) -> None:
    one = start(command(warm, "1", 'echo "$A"; pwd; exit 3', A="a 'b'\nc"))
    two = start(command(warm, "2", "echo $CUDA_VISIBLE_DEVICES >&2"), CUDA_VISIBLE_DEVICES="0,1")
    assert (one.wait(30), two.wait(30)) == (3, 0)
    assert (tmp_path / "work/1.log").read_text() == f"a 'b'\nc\n{warm.work}/1\n"
    assert (tmp_path / "work/2.log").read_text() == "0,1\n"
    assert start(command(warm, "1", "exit 0")).wait(30) == 0


def test_a_polite_signal_is_passed_on(warm: Warm, tmp_path: Path) -> None:
    job = start(command(warm, "1", "trap 'echo asked; exit 4' TERM; echo begun; while :; do sleep 0.01; done"))
    log = tmp_path / "work/1.log"
    until(lambda: log.exists() and log.read_text())
    job.terminate()
    assert job.wait(30) == 4
    assert log.read_text().splitlines()[-1] == "asked"


def test_one_that_is_killed_is_ended_by_its_cleanup(warm: Warm, tmp_path: Path) -> None:
    made = command(warm, "1", f"trap '' TERM; echo $$ >{tmp_path}/own; while :; do sleep 0.01; done")
    job = start(made)
    until(lambda: (tmp_path / "own").exists() and (tmp_path / "own").read_text().strip())
    own = int((tmp_path / "own").read_text())
    os.killpg(job.pid, 9)
    job.wait(30)
    os.kill(own, 0)  # it lives
    subprocess.run(made.cleanup, env=made.env, check=True)
    until(lambda: not _lives(own))
    assert start(command(warm, "1", "exit 0")).wait(30) == 0


def test_one_that_was_killed_before_it_began_never_begins(warm: Warm, tmp_path: Path) -> None:
    made = command(warm, "1", f"touch {tmp_path}/ran")
    Path(f"{warm.work}/1.stop").touch()
    assert start(made).wait(30) == 143
    assert not (tmp_path / "ran").exists()


def test_a_container_that_dies_fails_its_jobs(warm: Warm, tmp_path: Path) -> None:
    job = start(command(warm, "1", "echo begun; sleep 0.5; echo late"))
    until(lambda: (tmp_path / "work/1.log").exists() and (tmp_path / "work/1.log").read_text())
    os.killpg(int((tmp_path / "pid").read_text()), 9)
    assert job.wait(30) == 137


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
