"""After the run: wrong outputs, inputs that changed, what a failed job leaves; what is said and what stands."""

from __future__ import annotations

import os
import signal

import pytest

from quick import Quick
from story import Story

MIB = 1 << 20


def no_entry(story: Story) -> bool:
    """Whether nothing is in the cache, half made or whole."""
    cache = story.path(".bflow/cache")
    return not cache.exists() or not [name for _, _, names in os.walk(cache) for name in names]


WRONG = [
    ("true", "the recipe ended well but did not make its output out"),
    ("mkdir {out}", "the output out should be a file, and is a folder"),
    ("ln -s nowhere {out}", "the output out is a link that leads nowhere (nowhere)"),
    ("mkfifo {out}", "the output out is a fifo, no plain file or folder"),
    ("ln -s /etc/passwd {out}", "the output out is a link out of the sandbox (/etc/passwd)"),
    ("ln -s /etc {out}", "the output out is a link out of the sandbox (/etc)"),
    ("ln -s {out} {out}", "the output out is a link that leads nowhere"),
    ("echo half > {out}; exit 3", "its recipe ended with status 3"),
    ("echo half > {out}; kill -KILL $$", "it was ended by the signal SIGKILL"),
    (
        "echo half > {out}; bash -c 'kill -SEGV $$'; true",
        "its recipe ended with status 139 (a command of it ended by SIGSEGV)",
    ),
    ("echo half > {out}; false | true", "its recipe ended with status 1"),
    ("echo half > {out}; echo $UNSET_NAME", "its recipe ended with status 1"),
]


@pytest.mark.parametrize(("recipe", "message"), WRONG)
def test_a_job_that_does_not_make_its_output_fails_and_commits_nothing(quick: Quick, recipe: str, message: str) -> None:
    quick.write("Flowfile", f"all: after\nafter: out\n    cp {{in}} {{out}}\nout: in\n    {recipe}\n")
    quick.write("in", "in")
    ran = quick.build(ok=1)
    assert message in ran.err
    assert (ran.failed, ran.skipped, ran.ran) == (1, 1, 0)
    assert not quick.exists("out") and no_entry(quick)
    assert quick.build(ok=1).failed == 1  # and it is tried again


FOLDERS = [
    ("rmdir {out}; echo x > d", "the output d/ should be a folder, and is a file"),
    ("rmdir {out}", "did not make its output d/"),
    ("mkfifo {out}x", "the output d/ holds d/x, which is a fifo"),
    ("mkdir {out}sub; ln -s ../../in {out}sub/x", ""),
    (
        "mkdir {out}sub; ln -s ../../gone {out}sub/x",
        "the output d/ holds the link d/sub/x, which leads nowhere (../../gone)",
    ),
    ("ln -s $PWD/gone {out}x", "the output d/ holds the link d/x, which leads nowhere"),
    ("ln -s /etc/passwd {out}x; ln -s x {out}y; ln -s gone {out}z", ""),
    ("ln -s $PWD/in {out}x; ln in {out}y; echo n > {out}a; ln {out}a {out}b", ""),
]


@pytest.mark.parametrize(("recipe", "message"), FOLDERS)
def test_a_folder_is_one_and_holds_files_folders_and_links_of_its_own(quick: Quick, recipe: str, message: str) -> None:
    quick.write("Flowfile", f"d/: in\n    {recipe}\n")
    quick.write("in", "in")
    ran = quick.build(ok=1 if message else 0)
    assert message in ran.err
    assert quick.exists("d") != bool(message)
    if not message:
        for folder, _, names in os.walk(quick.path("d")):
            for name in names:
                path = os.path.join(folder, name)
                assert ".bflow" not in (os.readlink(path) if os.path.islink(path) else "")
                if not os.path.islink(path):
                    assert os.stat(path).st_nlink == 1
        if "sub" in recipe:
            assert quick.read("d/sub/x") == "in"
        quick.remove("d")
        assert quick.build().cached == 1


@pytest.mark.parametrize("size", [3, MIB + 1])
@pytest.mark.parametrize(
    "recipe",
    ["ln -s in {a}", "ln -s $PWD/in {a}", "ln in {a} || ln -s in {a}", "cp -L in kept; ln -s kept other; mv kept {a}",
     "cat in > b; ln -s b {a}", "cp -lL in {a} || cp in {a}", "cat in > {a}; ln {a} b"],
)  # fmt: skip
def test_a_link_to_an_input_or_output_is_committed_as_its_content(quick: Quick, size: int, recipe: str) -> None:
    quick.write("Flowfile", f"a=out b: in\n    {recipe}\n    test -e b || cp -f in b\n")
    quick.write("in", b"x" * size)
    for words in ((), ("-B",)):
        assert quick.build(*words).ran == 1
        for name in ("out", "b"):
            assert not quick.path(name).is_symlink() and quick.path(name).stat().st_size == size
            assert quick.path(name).stat().st_nlink == 1
    assert quick.path("in").stat().st_nlink == 1
    quick.edit("in", "xxx", "yyy")
    assert quick.build().ran == 1
    assert quick.read("out").startswith("yyy")


# ---- inputs that change


SMALL_AND_LARGE = pytest.mark.parametrize("size", [3, MIB + 1])
EDITS = pytest.mark.parametrize(
    "edit", ["echo more >> in", "chmod +x in", "truncate -s 1 in", "cp in c; mv c in", "rm in"]
)


@SMALL_AND_LARGE
@EDITS
def test_a_job_that_edits_a_source_runs_once_more_and_fails(quick: Quick, size: int, edit: str) -> None:
    """A small one is a copy; of a large one the user's own file is changed, which is noticed."""
    quick.write("Flowfile", f"out: in\n    cp {{in}} {{out}}\n    {edit}\n")
    quick.write("in", b"x" * size)
    ran = quick.build(ok=0 if size > 3 and edit == "chmod +x in" else 1)
    assert "in changed while out ran: it runs again" in ran.out
    if ran.status == 0:
        return  # the second time there was nothing left to change
    assert "let the recipe work on a copy of its input" in ran.err
    assert (ran.ran, ran.failed) == (0, 1)
    assert not quick.exists("out") and no_entry(quick)
    if size == 3:
        assert quick.read("in") == "xxx" and not os.access(quick.path("in"), os.X_OK)


@SMALL_AND_LARGE
@EDITS
def test_a_built_input_that_a_job_edits_is_restored(quick: Quick, size: int, edit: str) -> None:
    quick.write(
        "Flowfile",
        f"""
        good: in
            wc -c < {{in}} > {{out}}
        bad: in
            cp {{in}} {{out}}
            {edit}
        in:
            head -c {size} /dev/zero > {{out}}
        """,
    )
    ran = quick.build("bad", "good", "-k", "-j1", ok=1)
    assert (ran.ran, ran.failed) == (2, 1)
    assert int(quick.read("good")) == quick.path("in").stat().st_size == size
    assert not quick.exists("bad")
    ran = quick.build("good")
    assert (ran.ran, ran.up_to_date) == (0, 2)


@SMALL_AND_LARGE
def test_a_job_that_edits_its_built_input_and_fails_spoils_nothing(quick: Quick, size: int) -> None:
    quick.write(
        "Flowfile",
        f"""
        good: in
            wc -c < {{in}} > {{out}}
        [priority = 1]
        bad: in
            echo more >> {{in}}; exit 1
        in:
            head -c {size} /dev/zero > {{out}}
        """,
    )
    quick.build("bad", "good", "-k", "-j1", ok=1)
    assert int(quick.read("good")) == quick.path("in").stat().st_size == size


def test_where_input_and_entry_are_one_file_the_entry_is_dropped_and_made_again(quick: Quick) -> None:
    """A temporary file is read where it lies in the cache."""
    quick.write(
        "Flowfile",
        """
        all: good bad
        good: in
            wc -c < {in} > {out}
        [priority = 1]
        bad: in
            echo more >> {in}; cp {in} {out}
        [temp]
        in:
            head -c 1048577 /dev/zero > {out}
        """,
    )
    ran = quick.build("-k", "-j1", ok=1)
    assert ran.failed == 1
    assert int(quick.read("good")) == MIB + 1


def test_an_input_that_the_user_edits_meanwhile_is_read_again(story: Story) -> None:
    story.write(
        "Flowfile",
        "out: in\n    cat {in} > {out}; touch ROOT/started; until test -e ROOT/go; do sleep 0.01; done\n".replace(
            "ROOT", str(story.root)
        ),
    )
    story.write("in", "old")
    running = story.start("build", "--json")
    running.until_exists(story.path("started"))
    story.write("in", "new")
    story.write("go")
    ran = running.wait()
    assert (ran.ran, ran.failed) == (1, 0)
    assert story.read("out") == "new"
    assert story.build().up_to_date == 1


def test_a_source_edited_back_by_the_job_with_its_times_is_noticed(quick: Quick) -> None:
    quick.write("Flowfile", "out: in\n    cp -p {in} kept; printf y > {in}; touch -r kept {in}; cp {in} {out}\n")
    quick.write("in", "x")
    quick.build(ok=1)
    assert not quick.exists("out")


# ---- what is left, and what is said


def test_what_was_not_declared_is_dropped_and_named_when_asked(quick: Quick) -> None:
    quick.write("Flowfile", "out/a: in\n    cp {in} {out}; cp in extra; mkdir sub; touch sub/x out/b\n")
    quick.write("in", "in")
    ran = quick.bflow("build", "-v")
    assert "wrote and did not declare: extra, out/b, sub/" in ran.err
    assert quick.files() == ["Flowfile", "in", "out/a"]
    quick.edit("in", "in", "other")
    assert "declare" not in quick.bflow("build").err


def test_undeclared_files_are_named_where_the_job_fails(quick: Quick) -> None:
    quick.write("Flowfile", "out d/: in\n    cp in other; touch d/fine; exit 1\n")
    quick.write("in", "in")
    err = quick.bflow("build", ok=1).err
    assert "it wrote files that are not declared: other\n" in err


def test_the_last_200_lines_go_to_the_screen_with_the_path_of_the_rest(quick: Quick) -> None:
    quick.write("Flowfile", "out:\n    for i in {1..500}; do echo line $i; done; echo to stderr >&2; exit 7\n")
    for quiet in ((), ("-q",), ("--json",)):
        ran = quick.bflow("build", *quiet, ok=1)
        shown = [line.strip() for line in ran.err.splitlines()]
        assert [line for line in shown if line.startswith("line")] == [f"line {i}" for i in range(302, 501)]
        assert "to stderr" in shown
        assert ".bflow/failed/out/log" in ran.err
    log = quick.read(".bflow/failed/out/log").splitlines()
    assert len(log) == 501 and log[0] == "line 1"
    assert "line 1\n" in quick.bflow("log", "out").out


def test_sandbox_and_log_of_the_last_try_stay_until_it_is_well(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        "[retries = 2]\nout/a: in\n    echo try {attempt}; touch try{attempt}; cat in; grep -q good in; cp in {out}\n",
    )
    quick.write("in", "bad\n")
    ran = quick.bflow("build", ok=1)
    assert "attempt 2 of 3" in ran.err and "attempt 3 of 3" in ran.err
    assert quick.files(".bflow/failed") == [
        f".bflow/failed/out%a/{name}" for name in ("log", "sandbox/in", "sandbox/try3")
    ]  # a fresh folder each time
    assert quick.read(".bflow/failed/out%a/log") == "try 3\nbad\n"
    quick.write("in", "good\n")
    quick.build()
    assert not quick.exists(".bflow/failed/out%a")


def test_the_old_output_stays_and_is_named_as_out_of_date(quick: Quick) -> None:
    quick.write("Flowfile", "out: in\n    grep -v bad {in} > {out}\n")
    quick.write("in", "good\n")
    quick.build()
    quick.write("in", "bad\n")
    ran = quick.build(ok=1)
    assert "out stays as it was, and is out of date" in ran.err
    assert quick.read("out") == "good\n"
    quick.write("in", "good\n")
    assert quick.build().up_to_date == 1


def test_an_output_of_100_mb_of_text_is_no_trouble(story: Story) -> None:
    """Memory stays low and the screen bounded; the log is whole."""
    story.write(
        "Flowfile",
        r"""
        out:
            head -c 100000000 /dev/zero | tr '\0' x; touch {out}
        bad:
            yes | head -c 100000000; exit 1
        long:
            head -c 50000000 /dev/zero; exit 1
        """,
    )
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))"
    story.write("limited/sitecustomize.py", limit)  # for bflow and all that it starts
    env = {"PYTHONPATH": f"{story.environment()['PYTHONPATH']}:{story.path('limited')}"}
    ran = story.bflow("build", env=env)
    assert len(ran.err) < 20_000_000
    ran = story.bflow("build", "bad", env=env, ok=1)
    assert ran.err.count("y\n") == 200 and len(ran.err) < 10_000
    assert story.path(".bflow/failed/bad/log").stat().st_size == 100_000_000
    assert len(story.bflow("build", "long", env=env, ok=1).err) < 10_000_000


def test_a_child_that_is_left_running_is_ended(quick: Quick) -> None:
    pid = quick.path("pid")
    quick.write("Flowfile", f"out:\n    sleep 1000 & echo $! > {pid}; echo done > {{out}}\n")
    quick.build()
    assert quick.read("out") == "done\n"
    assert gone(int(pid.read_text()))


def gone(pid: int) -> bool:
    """Whether a process has ended (one that nobody has waited for is a zombie)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] == b"Z"
    except FileNotFoundError:
        return not os.path.isdir("/proc/self") and _kill_says_gone(pid)


def _kill_says_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_daemon_that_left_the_group_cannot_reach_what_was_committed(quick: Quick) -> None:
    """It keeps its sandbox to itself, and the output that it has open is no longer the one that is kept."""
    root = quick.root
    quick.write(
        "Flowfile",
        f"""
        n = 1 2 3 4
        all: {{n}} d/
        {{n}}:
            ls -A > $TMPDIR/seen; pwd >> {root}/sandboxes; cat $TMPDIR/seen > {{out}}
        [priority = 2]
        1:
            pwd >> {root}/sandboxes; exec 3> {{out}}; echo ours >&3
            setsid sh -c 'echo $$ > {root}/pid; mv {root}/pid {root}/daemon
                while :; do echo theirs >&3; echo x >> dirty; sleep 0.01; done' > /dev/null 2>&1 &
            until test -e {root}/daemon; do sleep 0.01; done
        [priority = 1]
        d/:
            touch {{out}}x
        """,
    )
    try:
        quick.build("-j1")
        kept = quick.read("1")
        assert kept.startswith("ours\n")
        sandboxes = quick.read("sandboxes").splitlines()
        assert sandboxes[0] not in sandboxes[1:]
        assert [quick.read(n) for n in "234"] == ["", "", ""]
        assert quick.bflow("cache", "verify").status == 0
        quick.edit("Flowfile", "n = 1 2 3 4", "n = 1 2 3 4 5")
        quick.build("-j1")  # nor does the next build use its sandbox
        sandboxes = quick.read("sandboxes").splitlines()
        assert sandboxes[0] not in sandboxes[1:] and quick.read("5") == "" and quick.read("1") == kept
    finally:
        os.kill(int(quick.read("daemon")), signal.SIGKILL)


def test_a_time_limit_ends_the_job(quick: Quick) -> None:
    quick.write("Flowfile", "[time = 0.2s]\nout:\n    echo half > {out}; sleep 1000 & wait\n")
    ran = quick.build(ok=1)
    assert "it took longer than its time" in ran.err
    assert not quick.exists("out")
