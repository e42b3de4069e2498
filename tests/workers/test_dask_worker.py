"""The worker dask as far as it needs no scheduler."""

from __future__ import annotations

import os

import pytest

from buildflow.errors import FlowError
from buildflow.workers.registry import worker
from story import Story

pytest.importorskip("distributed")


def test_resources_of_a_rule() -> None:
    from buildflow.workers.dask import named_resources

    assert named_resources(["GPU=1", "licence=0.5"]) == {"GPU": 1.0, "licence": 0.5}
    with pytest.raises(FlowError) as raised:
        named_resources(["GPU"])
    assert "NAME=NUMBER" in raised.value.message


def test_jobs_at_once() -> None:
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert worker("dask").slots() == cpus
    assert worker("dask", 3).slots() == 3
    assert worker("dask", 3, {"batch": "10"}).slots() == 30


def test_an_option_that_there_is_not() -> None:
    with pytest.raises(FlowError) as raised:
        worker("dask", given={"adress": "tcp://127.0.0.1:1"})
    assert "no option “adress”" in raised.value.message


def test_no_scheduler(story: Story) -> None:
    story.write("Flowfile", """
        x.txt:
            touch {out}
    """)
    ran = story.bflow("build", "--worker", "dask", "-o", "address=tcp://127.0.0.1:9", ok=False)
    assert "no scheduler of Dask answers at tcp://127.0.0.1:9" in ran.err
