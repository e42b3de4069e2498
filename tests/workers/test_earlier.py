"""What earlier drivers have submitted: which task of a folder is meant, and when a submission is over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from buildflow.environments.base import Command
from buildflow.workers.base import Task, Worker
from buildflow.workers.commands import Answer
from buildflow.workers.live import Live
from buildflow.workers.registry import configured
from buildflow.workers.slurm import Worker as Slurm
from buildflow.workers.states import RUNNING, State
from buildflow.workers.submission import Submission


def tasks(folder: Path, count: int) -> list[Task]:
    """Tasks with the notes of their jobs beside their folders."""
    found = []
    for number in range(count):
        place = folder / "work" / str(number)
        place.mkdir(parents=True)
        Path(f"{place}.run").write_bytes(b"first")
        found.append(Task(number, Command(["true"], {}, "/"), f"{place}.log", folder=str(place)))
    return found


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    worker = Slurm()
    worker.folder = str(tmp_path / "queue")
    return worker


def submitted(slurm: Slurm, several: list[Task]) -> Submission:
    submission = Submission(f"{slurm.folder}/token", several, 1, None)
    submission.write("slurm")
    submission.submitted("7")
    return submission


def test_the_next_job_of_a_folder_is_another(slurm: Slurm, tmp_path: Path) -> None:
    """The driver died when a job was staged into the folder of one that had ended, and was not submitted yet."""
    several = tasks(tmp_path, 2)
    submitted(slurm, several)
    new = Path(f"{several[0].folder}.run.new")
    new.write_bytes(b"second")
    new.rename(f"{several[0].folder}.run")
    slurm.earlier.find()
    assert list(slurm.old) == [several[1].folder]


def test_a_submission_is_not_over_while_a_task_may_be_asked_for(slurm: Slurm, tmp_path: Path) -> None:
    several = tasks(tmp_path, 2)
    submitted(slurm, several)
    slurm.earlier.find()
    live, _ = slurm.old[several[0].folder]
    slurm.resume(several[0])
    live.submission.open.clear()  # it has ended
    slurm._note_told()
    assert isinstance(live, Live) and live in slurm.live
    slurm.resume(several[1])
    live.submission.open.clear()
    slurm._note_told()
    assert live not in slurm.live


def test_a_submission_that_comes_to_the_queue_after_it_was_asked(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that submits has outlived its driver. What has begun by then is taken up, and not run again."""
    several = tasks(tmp_path, 2)
    submission = submitted(slurm, several)
    answers = [{}, {"token": ("7", {0: State(RUNNING), 1: State(RUNNING)})}]

    def look(lives: object, then: Callable[[Any, Answer], None]) -> None:
        if len(answers) == 1:  # asked once more: a node has begun the first task meanwhile
            assert Path(f"{submission.folder}/0.began").exists()
        then(answers.pop(0), Answer(0, "", ""))
        if answers:
            Path(f"{submission.folder}/0.began").write_text('{"element": 0}')

    monkeypatch.setattr(slurm, "look", look)
    slurm.earlier.find()
    assert slurm.recall(several[0].folder), "it runs"
    assert not answers
    assert slurm.recall(several[1].folder), "it waits in the queue"


def test_one_that_the_queue_has_lost_runs_again(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = tasks(tmp_path, 2)
    submission = submitted(slurm, several)
    Path(f"{submission.folder}/0.began").write_text('{"element": 0}')
    monkeypatch.setattr(slurm, "look", lambda lives, then: then({}, Answer(0, "", "")))
    slurm.earlier.find()
    assert not slurm.recall(several[0].folder) and not slurm.recall(several[1].folder)
    assert not submission.take_back(1), "no node begins it any more"


def test_a_table_of_the_kind_counts_for_its_subtypes() -> None:
    pytest.importorskip("psij")
    settings = {"workers": {"psij": {"poll": 3, "account": "a"}, "psij-slurm": {"account": "b"}}}
    worker: Worker = configured(settings, "psij-slurm")
    assert worker.given["poll"] == 3 and worker.given["account"] == "b"
