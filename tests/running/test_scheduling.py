"""Resources, order, hooks: what runs beside what, what goes first, and what the caller sees of it."""

from __future__ import annotations

import sys

import pytest

from quick import Quick
from story import Story

COUNT = """
import fcntl, os, sys, time

root, amount, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])

def change(by):
    with open(root + "/running", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        now = float(file.read() or 0) + by
        file.truncate(0)
        file.write(str(now))
        file.flush()
        if by > 0:
            with open(root + "/counts", "a") as counts:
                counts.write(f"{now}\\n")

change(amount)
time.sleep(seconds)  # so that others have the time to be too many
change(-amount)
"""

def counting(quick: Quick, n: int, amount: float = 1, seconds: float = 0.02) -> str:
    """The rules of `n` jobs that count how many of them run."""
    count = quick.write("count.txt", COUNT)
    run = f"{sys.executable} - {quick.root} {amount} {seconds} < {count}"
    rules = f"ATTRIBUTE\nout/{{n}}:\n    {run}\n    touch {{out}}\none:\n    touch {{out}}\n"
    return f"n = {{1..{n}}}\nall: out/{{n}} | one\n{rules}"


LIMITS = [
    ("", 1, ("-j3",), 3),
    ("cpus = 2", 2, ("-j3",), 3),
    ("cpus = 9", 3, ("-j3",), 3),
    ("mem = 400M", 400, ("-j9", "--resource", "mem=1G"), 1024),
    ("gpus = 1", 1, ("-j9", "--resource", "gpus=2"), 2),
    ("resource.licence = 1", 1, ("-j9", "--resource", "licence=1"), 1),
    ("resource.io = 0.3", 0.3, ("-j9", "--resource", "io=1"), 1),
]


@pytest.mark.parametrize(("attribute", "amount", "options", "limit"), LIMITS)
def test_limits_are_never_passed(
    quick: Quick, attribute: str, amount: float, options: tuple[str, ...], limit: float
) -> None:
    quick.write("Flowfile", counting(quick, 7, amount).replace("ATTRIBUTE", f"[{attribute}]" if attribute else ""))
    ran = quick.build(*options)
    assert ran.ran == 8
    counts = [float(line) for line in quick.read("counts").split()]
    assert len(counts) == 7 and max(counts) <= limit + 1e-9


def test_limits_stand_in_the_projects_settings(quick: Quick) -> None:
    quick.write("bflow.toml", "[resources]\nlicence = 1\n")
    quick.write("Flowfile", counting(quick, 3).replace("ATTRIBUTE", "[resource.licence = 1]"))
    quick.build("-j3")
    assert set(quick.read("counts").split()) == {"1.0"}


def test_jobs_that_wait_for_a_resource_do_not_hold_up_the_others(story: Story) -> None:
    """They go first by their priority, and there is one licence: meanwhile all others are built."""
    story.write(
        "Flowfile",
        f"""
        n = {{1..9}}
        all: a/{{n}} b/{{n}}
        [resource.licence = 1, priority = 1]
        a/{{n}}:
            until test -e {story.path("go")}; do sleep 0.01; done; touch {{out}}
        b/{{n}}:
            touch {{out}}
        """,
    )
    running = story.start("build", "-j3", "--resource", "licence=1", "--json")
    running.until(lambda: running.out.count('"ran"') == 9, "the nine others")
    story.write("go")
    assert running.wait().ran == 18


def test_each_job_has_its_own_devices(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        """
        n = 1 2
        all: {n} none
        [gpus = 2]
        {n}:
            echo $CUDA_VISIBLE_DEVICES > {out}
        none:
            echo ${CUDA_VISIBLE_DEVICES-unset} > {out}
        """,
    )
    quick.build(env={"CUDA_VISIBLE_DEVICES": "3,5,8"})
    assert {quick.read("1"), quick.read("2")} <= {"3,5\n", "8,3\n", "5,8\n"}
    assert quick.read("none") == "unset\n"


def order(quick: Quick, *words: str) -> list[str]:
    ran = quick.build("-j1", *words)
    return [e["targets"][0] for e in ran.events if e["event"] == "start"]


def test_the_longest_remaining_path_goes_first_by_recorded_durations(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        """
        all: short end quick
        short:
            touch {out}
        quick:
            touch {out}
        a:
            touch {out}
        b: a
            touch {out}
        end: b
            touch {out}
        """,
    )
    assert order(quick)[0] == "a"  # nothing is recorded: the most jobs
    quick.edit("Flowfile", "quick:\n    touch {out}", "quick:\n    sleep 0.3; touch {out}")
    quick.build("quick")
    assert order(quick, "-B")[0] == "quick"


def test_priority_beats_path_length(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        """
        all: end first
        a:
            touch {out}
        end: a
            touch {out}
        [priority = 1]
        first:
            touch {out}
        """,
    )
    assert order(quick) == ["first", "a", "end"]


def test_shuffle_changes_the_order_and_a_seed_repeats_it(quick: Quick) -> None:
    quick.write("Flowfile", "n = {1..8}\nall: {n}\n{n}:\n    touch {out}\n")
    orders = {seed: order(quick, "-B", f"--shuffle={seed}") for seed in (1, 2)}
    assert orders[1] != orders[2] and orders[1] == order(quick, "-B", "--shuffle=1")


def test_debug_runs_one_job_at_a_time(quick: Quick) -> None:
    quick.write("Flowfile", counting(quick, 3).replace("ATTRIBUTE", ""))
    quick.build("--worker", "debug", "-j4")
    assert set(quick.read("counts").split()) == {"1.0"}


# ---- hooks of a Flowfile


HOOKED = """
[hooks = pre_run="echo pre_run {where} >> hooks" pre_run_task="echo pre_run_task {where} >> hooks" \\
    post_run_task="echo post_run_task {where} $BFLOW_ERRORED >> hooks" \\
    post_run="echo post_run {where} $BFLOW_ERRORED >> hooks"]
out: in
    RECIPE
"""


def hooked(quick: Quick, recipe: str, where: str = "x") -> None:
    quick.write("Flowfile", HOOKED.replace("RECIPE", recipe).replace("{where}", where))
    quick.write("in", "in")


def test_hooks_run_in_order_for_jobs_that_run_and_never_for_cached_ones(quick: Quick) -> None:
    hooked(quick, "cp {in} {out}")
    quick.build()
    assert quick.read("hooks").splitlines() == ["pre_run x", "pre_run_task x", "post_run_task x 0", "post_run x 0"]
    quick.remove("hooks", "out")
    quick.build()
    quick.build()
    hooked(quick, "cp {in} {out}", "elsewhere")
    assert quick.build().up_to_date == 1  # they are not in the key
    assert not quick.exists("hooks")


def test_hooks_of_a_job_that_fails(quick: Quick) -> None:
    hooked(quick, "exit 1")
    quick.build(ok=1)
    assert quick.read("hooks").splitlines() == ["pre_run x", "pre_run_task x", "post_run_task x 1", "post_run x 1"]


MOMENTS = ["pre_run", "pre_run_task", "post_run_task", "post_run"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_hook_that_fails_fails_the_job_with_its_own_message(quick: Quick, moment: str) -> None:
    """That of `post_run` leaves the entry."""
    quick.write(
        "Flowfile",
        f'[hooks = {moment}="echo told by {moment} >&2; exit 4"]\nout:\n    touch {{out}} {quick.path("ran")}\n',
    )
    ran = quick.build(ok=1)
    assert f"told by {moment}" in ran.err
    assert quick.exists("ran") == (moment not in ("pre_run", "pre_run_task"))
    assert quick.exists("out") == (moment == "post_run")
    quick.edit("Flowfile", "exit 4", "exit 0")
    again = quick.build()
    assert (again.ran, again.up_to_date) == ((0, 1) if moment == "post_run" else (1, 0))


def test_many_jobs_leave_no_process_and_no_descriptor(story: Story) -> None:
    """Two hundred jobs with few descriptors to spare."""
    story.write(
        "Flowfile",
        """
        n = {1..200}
        all: out/{n}
        out/{n}: in
            cp {in} {out}
        """,
    )
    story.write("in")
    story.write("sitecustomize.py", "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))")
    env = {"PYTHONPATH": f"{story.environment()['PYTHONPATH']}:{story.root}"}
    assert story.build("-j4", env=env).ran == 200
