"""The worker psij as far as it needs no queue: its options and what it passes on."""

from __future__ import annotations

import pytest

from buildflow.errors import FlowError
from buildflow.workers.registry import worker
from story import Story


def test_a_missing_package_is_told(story: Story) -> None:
    """(Whether the package is there or not: one that is found first is broken in that way.)"""
    story.write("Flowfile", """
        x.txt:
            touch {out}
    """)
    story.write("sitecustomize/sitecustomize.py", """
        import importlib.util

        real = importlib.util.find_spec

        def find_spec(name, package=None):
            return None if name in ("psij", "distributed") else real(name, package)

        importlib.util.find_spec = find_spec
    """)
    path = f"{story.path('sitecustomize')}:{story.environment()['PYTHONPATH']}"
    for name, package, extra in (
        ("psij", "psij", "psij"), ("psij-slurm", "psij", "psij"), ("dask", "distributed", "dask"),
    ):  # fmt: skip
        ran = story.bflow("build", "--worker", name, ok=2, env={"PYTHONPATH": path})
        assert f"needs the package {package}" in ran.err
        assert f"pip install 'buildflow[{extra}]'" in ran.err


class TestWithPsij:
    @pytest.fixture(autouse=True)
    def package(self) -> None:
        pytest.importorskip("psij")

    def test_names_and_subtypes(self) -> None:
        assert worker("psij").name == "psij-local"
        assert worker("psij-slurm").name == "psij-slurm"
        assert worker("psij", given={"subtype": "slurm"}).name == "psij-slurm"
        assert worker("psij-slurm").attribute == "psij"

    def test_a_subtype_that_there_is_not(self) -> None:
        with pytest.raises(FlowError) as raised:
            worker("psij", given={"subtype": "slrum"})
        assert "no subtype “slrum”" in raised.value.message

    def test_attributes_of_a_rule(self) -> None:
        from buildflow.workers.psij import custom_attributes

        assert custom_attributes(["--qos=long", "pbs.c=x", "exclusive"], "slurm") == (
            {"slurm.qos": "long", "pbs.c": "x"}, True,
        )  # fmt: skip
        with pytest.raises(FlowError) as raised:
            custom_attributes(["long"], "slurm")
        assert "NAME=VALUE" in raised.value.message

    def test_a_state_that_slurm_may_tell(self) -> None:
        from buildflow.workers import states
        from buildflow.workers.psij import _statuses, state_of

        psij = pytest.importorskip("psij")
        found = _statuses(0, "1|a|OUT_OF_MEMORY|n1|OutOfMemory\n2|b|NEWSTATE|n1|None\n3|c|TIMEOUT|n1|some words\n")
        kinds = []
        for status in found.values():
            job = psij.Job()
            job.status = status
            kinds.append(state_of(job).kind)
        assert kinds == [states.MEMORY, states.UNKNOWN, states.TIMED_OUT]

    def test_a_build(self, story: Story) -> None:
        story.write("Flowfile", """
            out/{n}.txt:
                echo {n} > {out}
        """)
        assert story.build("--worker", "psij-local", "out/a.txt", "out/b.txt").ran == 2
        assert story.read("out/a.txt") == "a\n"
        story.remove("out")
        assert story.build("--worker", "cf", "out/a.txt", "out/b.txt").cached == 2
