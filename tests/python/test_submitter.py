"""`Submitter` and `flow.build`: what they take, what they give, and that they leave the process as it was."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import os
import pickle
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from buildflow import Flow, FlowError, JobError, Result, Results, Submitter
from buildflow.workers import cf, debug


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def powers() -> Flow:
    flow = Flow()

    @flow.rule("pow/{p}.txt", inputs=[])
    def power(p: str, out: Path) -> None:
        out.write_text(str(10 ** int(p)))

    return flow


def test_one_job_gives_a_result(root: Path) -> None:
    result = powers().build("pow/2.txt")
    assert isinstance(result, Result)
    assert result.outputs.out == result.outputs["out"] == root / "pow/2.txt"
    assert dict(result.outputs) == {"out": root / "pow/2.txt"}
    assert result.outputs.out.read_text() == "100"
    assert not result.errored and not result.cached and result.problem is None and result.log == ""
    assert result.job.target == "pow/2.txt" and result.job["wildcards"].p == "2"
    assert result.cache_dir is not None and (result.cache_dir / "2.txt").read_text() == "100"
    assert json.loads((result.cache_dir / "result.json").read_text())["key"] == result.key
    assert set(result.runtime) == {"wall_s", "rss_peak_gb", "vms_peak_gb", "cpu_peak_percent"}
    assert result.runtime.wall_s > 0
    assert repr(result) == f"Result('pow/2.txt', ran, key={result.key!r})"
    assert repr(result.outputs).startswith("Outputs({'out': ")


def test_where_nothing_ran_it_is_cached(root: Path) -> None:
    flow = powers()
    first = flow.build("pow/2.txt")
    again = flow.build("pow/2.txt")
    assert again.cached and again.key == first.key and again.cache_dir == first.cache_dir
    assert again.runtime.wall_s == first.runtime.wall_s
    (root / "pow/2.txt").unlink()
    assert flow.build("pow/2.txt").cached
    assert (root / "pow/2.txt").read_text() == "100"


def test_a_pattern_with_values(root: Path) -> None:
    results = powers().build("pow/{p}.txt", p=[1, 2, 3])
    assert isinstance(results, Results) and len(results) == 3
    assert [result.outputs.out.read_text() for result in results] == ["10", "100", "1000"]
    assert results.outputs.out == [root / f"pow/{p}.txt" for p in (1, 2, 3)]
    assert results[-1].job.target == "pow/3.txt" and [r.job.target for r in results[:2]] == ["pow/1.txt", "pow/2.txt"]
    assert results.value == [10, 100, 1000] and not results.errored and not results.cached
    one = powers().build("pow/{p}.txt", p=1)
    assert isinstance(one, Result) and one.cached
    assert isinstance(powers().build("pow/{p}.txt", p=[1]), Results)
    assert list(powers().build("pow/{p}.txt", p=[])) == []


def test_a_list_of_targets_in_that_order(root: Path) -> None:
    (root / "src").write_text("x")
    flow = powers()
    flow.rule("slow", inputs="pow/1.txt", shell="cp {in} {out}")
    targets: list[Any] = ["slow", "pow/3.txt", Path("pow/1.txt"), "src", "pow/3.txt"]
    results = flow.build(targets, worker="cf", n_procs=2)
    assert [r.job.target for r in results] == ["slow", "pow/3.txt", "pow/1.txt", "src", "pow/3.txt"]
    assert results[3].cached and results[3].outputs.out == root / "src" and results[3].key is None
    assert isinstance(flow.build(["pow/1.txt"]), Results)


def test_the_order_holds_where_a_domain_is_known_late(root: Path) -> None:
    from buildflow import lines

    flow = powers()
    flow.rule("names", shell="printf 'b\\na\\n' > {out}")
    flow["n"] = lines("names")
    flow.rule("x/{n}", shell="echo {n} > {out}")
    results = flow.build(["x/{n}", "pow/1.txt"])
    assert [r.job.target for r in results] == ["x/b", "x/a", "pow/1.txt"]


def test_values_expand_as_the_domain_allows(root: Path) -> None:
    flow = Flow()
    flow["s", "lane"] = [("a", 1), ("a", 2), ("b", 3)]
    flow.rule("{s}_{lane}.txt", shell="echo > {out}")
    assert [r.job.target for r in flow.build("{s}_{lane}.txt", s="a")] == ["a_1.txt", "a_2.txt"]
    assert [r.job.target for r in flow.build("{s}_{lane}.txt", s=["b", "a"])] == ["b_3.txt", "a_1.txt", "a_2.txt"]
    assert len(flow.build("{s}_{lane}.txt")) == 3
    with pytest.raises(FlowError, match="c is no value of s"):
        flow.build("{s}_{lane}.txt", s="c", lane=1)


def test_values_make_a_product_the_last_name_fastest(root: Path) -> None:
    flow = Flow()
    flow.rule("{a}-{b}", shell="echo > {out}")
    results = flow.build("{a}-{b}", b=["x", "y"], a=[1, 2])
    assert [r.job.target for r in results] == ["1-x", "1-y", "2-x", "2-y"]


def test_names_called_as_parameters_are(root: Path) -> None:
    flow = Flow()
    flow.rule("{target}.{self}.{flow}", shell="echo > {out}")
    results = flow.build("{target}.{self}.{flow}", target=["a"], self="b", flow="c")
    assert [r.job.target for r in results] == ["a.b.c"]
    assert flow.build(target="x.y.z").job.target == "x.y.z"


def test_what_is_no_option_and_no_name(root: Path) -> None:
    with pytest.raises(FlowError, match="no {n_proc}") as caught:
        powers().build("pow/1.txt", n_proc=3)
    assert "options are worker, n_procs" in str(caught.value)
    with pytest.raises(FlowError, match="is no target"):
        powers().build(3)
    with pytest.raises(FlowError, match="p = None"):
        powers().build("pow/{p}.txt", p=None)


def test_a_submitter_can_be_entered_again(root: Path) -> None:
    flow = powers()
    submitter = Submitter(worker="cf", n_procs=3, cache_root="cache")
    for p in (1, 2):
        with submitter as submit:
            assert submit(flow, f"pow/{p}.txt").outputs.out.read_text() == str(10**p)
            assert submit(flow, "pow/{p}.txt", p=[1, p]).outputs.out[-1].exists()
    assert (root / "cache").is_dir() and not (root / ".bflow/cache").exists()
    assert submitter(flow, "pow/1.txt").cached


@pytest.mark.parametrize("worker", ["debug", "cf", debug.Worker, cf.Worker, cf.Worker(n_procs=2), debug.Worker()])
def test_every_way_to_name_a_worker(root: Path, worker: Any) -> None:
    flow = powers()
    flow.rule("sh/{n}", shell="echo {n} > {out}")
    for n in range(2):  # an instance serves many builds
        results = flow.build([f"pow/{n}.txt", f"sh/{n}"], worker=worker)
        assert [path.read_text() for path in results.outputs.out] == [str(10**n), f"{n}\n"]


def test_the_same_keys_and_bytes_from_every_worker(root: Path) -> None:
    def build(worker: str) -> Results:
        flow = powers()
        flow.rule("r/{n}", inputs="{n}.in")(
            lambda n, inputs, out: [n, str(inputs[0]), str(out), os.getcwd() != str(root)]
        )
        results = flow.build(["pow/3.txt", "r/a"], worker=worker, cache_root=worker)
        assert isinstance(results, Results) and not results.cached
        return results

    (root / "a.in").write_text("x")
    one = build("debug")
    bytes_of = [path.read_bytes() for path in one.outputs.out]
    shutil.rmtree(root / ".bflow")
    for path in one.outputs.out:
        path.unlink()
    two = build("cf")
    assert [r.key for r in one] == [r.key for r in two] and one.key == two.key
    assert [path.read_bytes() for path in two.outputs.out] == bytes_of
    assert one[1].value == ["a", "a.in", "r/a", True]


def test_a_key_of_results_depends_on_their_order(root: Path) -> None:
    flow = powers()
    one, two = flow.build(["pow/1.txt", "pow/2.txt"]), flow.build(["pow/2.txt", "pow/1.txt"])
    assert one.key != two.key and one.key == flow.build(["pow/1.txt", "pow/2.txt"]).key
    assert len(one.key) == 32


def test_options_of_one_submit(root: Path) -> None:
    with Submitter() as submit:
        assert submit(powers(), "pow/1.txt", worker="cf", cache_root="other").outputs.out.exists()
    assert (root / "other").is_dir()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"worker": "fc"}, "no worker “fc”"),
        ({"n_procs": 0}, "n_procs = 0"),
        ({"n_procs": "3"}, "n_procs = '3'"),
        ({"worker": cf.Worker(1), "n_procs": 2}, "a worker that has its own"),
        ({"hooks": print}, "no TaskHooks"),
    ],
)
def test_options_that_are_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FlowError, match=message):
        Submitter(**options)


# ---- failures


def failing() -> Flow:
    flow = Flow()
    flow.rule("bad", shell="echo first; echo the end >&2; exit 3")
    flow.rule("after", inputs="bad", shell="cp {in} {out}")
    flow.rule("good", shell="echo > {out}")
    return flow


def test_a_failed_job_raises_with_the_logs_end(root: Path) -> None:
    with pytest.raises(JobError) as caught:
        failing().build("after")
    error = caught.value
    assert "bad failed: its recipe ended with status 3" in str(error) and "the end" in str(error)
    result = error.result
    assert result.errored and not result.cached and result.cache_dir is None and result.job.target == "bad"
    assert result.problem == "its recipe ended with status 3" and result.log == "first\nthe end"
    assert result.runtime is not None and result.runtime.wall_s >= 0
    assert error.span is not None and "flow.rule(" in error.span.source.line(error.span.line)
    with pytest.raises(FlowError, match="bad has no value"):
        print(result.value)
    assert pickle.loads(pickle.dumps(error)).result.problem == result.problem


def test_failures_as_results(root: Path) -> None:
    results = failing().build(["after", "good", "bad"], raise_errors=False)
    assert [r.errored for r in results] == [True, False, True] and results.errored
    assert results[0].problem == "it was not started: it needs bad, which failed"
    assert (root / "good").exists() and results[2].log == "first\nthe end"
    single = failing().build("bad", raise_errors=False)
    assert isinstance(single, Result) and single.errored


def test_an_exception_of_a_function_is_the_cause(root: Path) -> None:
    flow = Flow()

    @flow.rule("x")
    def broken(out: Path) -> None:
        print("working")
        raise ValueError("boom")

    with pytest.raises(JobError) as caught:
        flow.build("x")
    assert isinstance(caught.value.__cause__, ValueError)
    assert "working\nTraceback" in caught.value.result.log and "ValueError: boom" in str(caught.value)
    assert "buildflow/" not in caught.value.result.log  # the traceback begins with the user's frame
    with pytest.raises(JobError, match="boom"):
        flow.build("x", worker="cf")


def test_what_cannot_be_planned_runs_nothing(root: Path) -> None:
    flow = failing()
    with pytest.raises(FlowError, match="nowhere: no rule makes it") as caught:
        flow.build(["good", "nowhere"], raise_errors=False)
    assert not isinstance(caught.value, JobError) and not (root / "good").exists()


def test_the_project_is_free_after_an_error(root: Path) -> None:
    flow = failing()
    for target in ("nowhere", "bad"):
        with pytest.raises(FlowError):
            flow.build(target)
    assert flow.build("good").outputs.out.exists()


# ---- entries


def test_an_entry_that_is_gone_is_committed_again(root: Path) -> None:
    flow = Flow()
    flow.rule(
        ["a/x.txt", "b/x.txt", "d/"],
        shell="echo a > a/x.txt; echo b > b/x.txt; mkdir d/e; echo y > d/e/y; chmod +x a/x.txt",
    )
    first = flow.build("a/x.txt")
    digests = [o["digest"] for o in json.loads((first.cache_dir / "result.json").read_text())["outputs"]]
    shutil.rmtree(root / ".bflow/cache")
    again = flow.build("a/x.txt")
    assert again.cached and again.cache_dir == first.cache_dir and again.key == first.key
    entry = json.loads((again.cache_dir / "result.json").read_text())
    assert [o["digest"] for o in entry["outputs"]] == digests
    for path in [root / "a", root / "b", root / "d"]:
        shutil.rmtree(path)
    third = flow.build("a/x.txt")  # the new entry is as good as the old one
    assert third.cached and (root / "d/e/y").read_text() == "y\n" and os.access(root / "a/x.txt", os.X_OK)


def test_a_damaged_entry_is_committed_again(root: Path) -> None:
    flow = powers()
    first = flow.build("pow/1.txt")
    damaged = first.cache_dir / "1.txt"
    damaged.chmod(0o644)
    damaged.write_text("rubbish")
    again = flow.build("pow/1.txt")
    assert again.cached and (again.cache_dir / "1.txt").read_text() == "10"


def test_a_file_that_does_not_stand_is_made_again(root: Path) -> None:
    flow = powers()
    flow.build("pow/1.txt")
    shutil.rmtree(root / ".bflow/cache")
    (root / "pow/1.txt").unlink()
    assert not flow.build("pow/1.txt").cached


def test_a_temporary_output(root: Path) -> None:
    flow = Flow()
    flow.rule("t", shell="echo t > {out}", temp=True)
    flow.rule("out", inputs="t", shell="cp {in} {out}")
    assert flow.build("out").outputs.out.read_text() == "t\n"
    assert not (root / "t").exists()
    assert flow.build("t").outputs.out.read_text() == "t\n"


# ---- the process


def state_of_the_process() -> tuple[Any, ...]:
    handlers = [
        signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD)
    ]
    streams = sys.stdin, sys.stdout, sys.stderr, sys.breakpointhook, sys.dont_write_bytecode
    return handlers, os.getcwd(), list(sys.path), list(sys.path_hooks), streams, dict(os.environ), gc.isenabled()


@pytest.mark.parametrize("worker", ["debug", "cf"])
def test_the_process_is_as_before(root: Path, worker: str, capfd: pytest.CaptureFixture[str]) -> None:
    flow = Flow()

    @flow.rule("{n}.txt", time="1m", vars={"A": "1"})
    def noisy(n: str, out: Path) -> None:
        print("noise")
        os.system("echo more noise")
        sys.path.append("/nowhere")
        os.environ["LEFT"] = "behind"
        os.chdir("/")
        out.resolve()
        if n == "bad":
            raise RuntimeError("as asked")

    flow.rule("sh", shell="echo noise; echo noise >&2; echo > {out}")
    before, threads = state_of_the_process(), threading.active_count()
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    results = flow.build(["bad.txt", "sh"], worker=worker, raise_errors=False)
    assert results[0].errored and not results[1].errored
    with pytest.raises(JobError):
        flow.build("bad.txt", worker=worker)
    assert state_of_the_process() == before and threading.active_count() == threads
    assert capfd.readouterr() == ("", "")
    assert "noise\nmore noise\n" in results[0].log and results[1].log == "noise\nnoise\n"
    if descriptors:
        assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_collector_that_was_off_stays_off(root: Path) -> None:
    gc.disable()
    try:
        powers().build("pow/1.txt")
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_within_a_running_event_loop(root: Path) -> None:
    async def main() -> Any:
        assert asyncio.get_running_loop().is_running()
        return powers().build("pow/{p}.txt", p=[1, 2], worker="cf")

    assert asyncio.run(main()).value == [10, 100]


def test_in_threads(root: Path) -> None:
    """Builds of several projects at once, functions in this process; and of one project: the second waits."""
    found: dict[str, Any] = {}

    def build(name: str, folder: str) -> None:
        flow = Flow(root=folder)
        flow.rule("{n}.txt")(lambda n, out: out.write_text(f"{n} {os.path.basename(str(out))}") and None)
        found[name] = flow.build("{n}.txt", n=[name, "x"], worker="cf" if name == "d" else "debug")

    for folder in ("one", "two"):
        Path(folder).mkdir()
    threads = [
        threading.Thread(target=build, args=pair) for pair in (("a", "one"), ("b", "two"), ("c", "one"), ("d", "two"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: results[0].outputs.out.read_text() for name, results in found.items()} == {
        name: f"{name} {name}.txt" for name in "abcd"
    }


def test_a_build_within_itself_is_an_error_and_no_deadlock(root: Path) -> None:
    flow = powers()
    flow.rule("out")(lambda out: powers_here(str(root)))
    with pytest.raises(JobError, match="is being built already"):
        flow.build("out")


def powers_here(folder: str) -> Any:
    flow = Flow(root=folder)
    flow.rule("inner", shell="echo > {out}")
    return flow.build("inner").key


def test_a_build_of_another_project_within_a_function(root: Path) -> None:
    (root / "sub").mkdir()
    folder = str(root / "sub")
    flow = Flow()
    flow.rule("out")(lambda out: powers_here(folder))
    assert len(flow.build("out").value) == 32


def test_ctrl_c_ends_the_jobs(root: Path) -> None:
    flow = Flow()
    flow.rule("long", shell="kill -INT $PPID; sleep 100; echo > {out}")
    with pytest.raises(KeyboardInterrupt):
        flow.build("long", worker="cf")
    assert not (root / "long").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    flow.rule("short", shell="echo > {out}")
    assert flow.build("short").outputs.out.exists()


def test_ctrl_c_in_a_function(root: Path) -> None:
    flow = Flow()

    @flow.rule("long")
    def wait(out: Path) -> None:
        import time

        signal.raise_signal(signal.SIGINT)
        time.sleep(100)

    with pytest.raises(KeyboardInterrupt):
        flow.build("long")
    assert os.getcwd() == str(root) and not (root / "long").exists()


def test_a_handler_of_the_programs_own_is_called(root: Path) -> None:
    seen = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    flow = Flow()
    flow.rule("long", shell="kill -INT $PPID; sleep 100; echo > {out}")
    try:
        with pytest.raises(KeyboardInterrupt):
            flow.build("long")
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]


def test_settings_of_the_project_fill_what_is_not_given(root: Path) -> None:
    (root / "bflow.toml").write_text('cache_root = "shared"\nworker = "nonsense"\n')
    assert str(powers().build("pow/1.txt").cache_dir).startswith(str(root / "shared"))
    assert str(powers().build("pow/1.txt", cache_root="given").cache_dir).startswith(str(root / "given"))


def test_notes_go_to_the_logger(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root / "pow").mkdir()
    (root / "pow/1.txt").write_text("the user's")
    with caplog.at_level("INFO", "buildflow"):
        powers().build("pow/1.txt")
    assert any("pow/1.txt was not made by bflow" in record.getMessage() for record in caplog.records)


def test_results_can_be_copied_and_pickled(root: Path) -> None:
    results = powers().build("pow/{p}.txt", p=[1, 2])
    for same in (copy.deepcopy(results), pickle.loads(pickle.dumps(results))):
        assert same.outputs == results.outputs and same.key == results.key
        assert same[0].job.wildcards.p == "1" and same[0].runtime.wall_s == results[0].runtime.wall_s


def test_an_output_may_be_called_as_a_method_is(root: Path) -> None:
    flow = Flow()
    flow.rule({"items": "{n}.i", "keys": "{n}.k"}, shell="echo i > {items}; echo k > {keys}")
    result = flow.build("a.i")
    assert result.outputs.items == root / "a.i" and result.outputs["keys"] == root / "a.k"
    assert sorted(result.outputs) == ["items", "keys"]
    with pytest.raises(AttributeError, match="there is no nothing here; there are: items, keys"):
        print(result.outputs.nothing)


def test_loading_a_flowfile(root: Path) -> None:
    (root / "Flowfile").write_text("n = a b\n{n}.out:\n    echo {n} > {out}\n")
    for flow in (Flow.load("Flowfile"), Flow.load(root), Flow.load()):
        assert [path.read_text() for path in flow.build("{n}.out").outputs.out] == ["a\n", "b\n"]
    assert [r.job.target for r in Flow.load(overrides={"n": "c d"}).build("{n}.out")] == ["c.out", "d.out"]
    os.mkdir("sub")
    assert Flow.load("Flowfile", root="sub").build("a.out").outputs.out == root / "sub/a.out"
    with pytest.raises(FlowError, match="there is no file nowhere"):
        Flow.load("nowhere")
    with pytest.raises(FlowError, match="sub has no Flowfile"):
        Flow.load("sub")
