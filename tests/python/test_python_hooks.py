"""The four hooks of `TaskHooks`: their order, what they are given, and what comes of one that raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from buildflow import Flow, JobError, Result, TaskHooks

MOMENTS = ("pre_run", "pre_run_task", "post_run_task", "post_run")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").write_text("x")
    return tmp_path


class Seen:
    """Hooks that note their calls, one of which may raise."""

    def __init__(self, fails: str = "") -> None:
        self.calls: list[tuple[str, str]] = []
        self.results: dict[str, Result] = {}
        self.jobs: list[Any] = []
        self.fails = fails

    def hooks(self) -> TaskHooks:
        return TaskHooks(**{moment: self.hook(moment) for moment in MOMENTS})

    def hook(self, moment: str) -> Any:
        def call(job: Any, *result: Result) -> None:
            self.calls.append((moment, job.target))
            self.jobs.append(job)
            assert len(result) == (1 if moment.startswith("post") else 0)
            if result:
                self.results[moment] = result[0]
                self.look(moment, result[0])
            if moment == self.fails:
                raise ValueError(f"no {moment}")

        return call

    def look(self, moment: str, result: Result) -> None:
        """What can be seen at the moment itself."""

    def moments(self, target: str) -> list[str]:
        return [moment for moment, of in self.calls if of == target]


def flow_of_two() -> Flow:
    flow = Flow()
    flow.rule("{n}.mid", inputs="in", shell="echo said; cat {in} > {out}", cpus=1)
    flow.rule("{n}.out", inputs="{n}.mid")(lambda inputs, out: out.write_text(inputs[0].read_text() + "y") and None)
    return flow


@pytest.mark.parametrize("worker", ["debug", "cf"])
def test_their_order_and_what_they_see(root: Path, worker: str) -> None:
    places: dict[str, tuple[bool, bool]] = {}

    class Looking(Seen):
        def look(self, moment: str, result: Result) -> None:
            if result.job.target == "a.mid":
                made = result.outputs.out.read_text() == "x\n"[:1]
                places[moment] = (made, (root / "a.mid").exists())

    seen = Looking()
    flow_of_two().build("a.out", worker=worker, hooks=seen.hooks())
    assert seen.moments("a.mid") == list(MOMENTS) == seen.moments("a.out")
    assert places == {"post_run_task": (True, False), "post_run": (True, True)}  # collected, then committed
    job = seen.jobs[0]
    assert (job.rule, job.inputs, job.outputs, job.wildcards.n, job.cpus) == ("{n}.mid", ["in"], ["a.mid"], "a", 1)
    collected, committed = seen.results["post_run_task"], seen.results["post_run"]
    assert collected.cache_dir is None and committed.cache_dir is not None and committed.cache_dir.is_dir()
    assert committed.key is not None and not committed.errored and committed.runtime.wall_s is not None
    again = Seen()
    flow_of_two().build("a.out", worker=worker, hooks=again.hooks())
    (root / "a.out").unlink()
    flow_of_two().build("a.out", worker=worker, hooks=again.hooks())
    assert again.calls == []  # never for cached jobs


def test_they_are_not_in_the_key(root: Path) -> None:
    first = flow_of_two().build("a.out", hooks=Seen().hooks())
    assert flow_of_two().build("a.out").key == first.key


@pytest.mark.parametrize("moment", MOMENTS[:3])
def test_one_that_raises_fails_the_job_with_its_own_message(root: Path, moment: str) -> None:
    seen = Seen(moment)
    with pytest.raises(JobError, match=f"a.mid failed: the hook {moment} failed: ValueError: no {moment}") as caught:
        flow_of_two().build("a.out", hooks=seen.hooks())
    assert isinstance(caught.value.__cause__, ValueError) and caught.value.result.errored
    assert not (root / "a.mid").exists() and seen.moments("a.out") == []
    assert not list((root / ".bflow/cache").glob("*/*-*")) if (root / ".bflow/cache").exists() else True
    assert seen.moments("a.mid").count(moment) == 1  # never a second time for its own failure
    if moment != "pre_run":
        assert seen.moments("a.mid")[-1] == "post_run" and seen.results["post_run"].errored
    assert not flow_of_two().build("a.out").errored


def test_a_raising_post_run_leaves_the_entry(root: Path) -> None:
    with pytest.raises(JobError, match="the hook post_run failed: ValueError: no post_run") as caught:
        flow_of_two().build("a.mid", hooks=Seen("post_run").hooks())
    result = caught.value.result
    assert result.errored and result.cache_dir is not None and result.cache_dir.is_dir()
    assert isinstance(caught.value.__cause__, ValueError)
    assert flow_of_two().build("a.mid").cached
    shown = flow_of_two().build("b.mid", hooks=Seen("post_run").hooks(), raise_errors=False)
    assert shown.cached or shown.errored


def test_a_job_that_fails_has_its_last_hooks(root: Path) -> None:
    flow = Flow()
    flow.rule("bad", shell="echo why; exit 2")
    seen = Seen()
    with pytest.raises(JobError, match="status 2"):
        flow.build("bad", hooks=seen.hooks())
    assert seen.moments("bad") == list(MOMENTS)
    for moment in MOMENTS[2:]:
        result = seen.results[moment]
        assert result.errored and result.problem == "its recipe ended with status 2" and result.cache_dir is None
        assert "why" in result.log


def test_hooks_that_the_rule_has_too(root: Path) -> None:
    flow = Flow()
    flow.rule("out", inputs="in", shell="cp {in} {out}", hooks={"post_run": "echo hooked $BFLOW_TARGET > hooked"})
    seen = Seen()
    flow.build("out", hooks=seen.hooks())
    assert seen.moments("out") == list(MOMENTS) and (root / "hooked").read_text() == "hooked out\n"


def test_a_hook_may_build_something_else(root: Path) -> None:
    other = root / "other"
    other.mkdir()

    def build(job: Any, result: Result) -> None:
        flow = Flow(root=other)
        flow.rule("note", shell="echo noted > {out}")
        flow.build("note")

    flow_of_two().build("a.mid", hooks=TaskHooks(post_run=build))
    assert (other / "note").read_text() == "noted\n"


def test_some_hooks_alone(root: Path) -> None:
    seen: list[Any] = []
    result = flow_of_two().build("a.mid", hooks=TaskHooks(post_run=lambda job, result: seen.append(result)))
    assert [s.key for s in seen] == [result.key]
    assert not TaskHooks() and TaskHooks(pre_run=print)
