"""The sandbox: what stands in it, as what, what the job's environment is, and what stays for the next job."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from quick import Quick

MIB = 1 << 20


def lines(story: Quick, path: str) -> list[str]:
    return story.read(path).splitlines()


def test_it_holds_the_inputs_the_folders_of_the_outputs_and_nothing_else(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        """
        out/list.txt: a.txt data/b.txt | later.txt
            find . > {out}.all; sort {out}.all | grep -v .all > {out}
        """,
    )
    for name in ("a.txt", "data/b.txt", "data/not.txt", "later.txt", "secret.txt"):
        quick.write(name, name)
    quick.build()
    found = [".", "./a.txt", "./data", "./data/b.txt", "./later.txt", "./out"]
    assert lines(quick, "out/list.txt") == found


@pytest.mark.parametrize(
    ("attribute", "size", "link"),
    [
        ("", 0, False),
        ("", MIB, False),
        ("", MIB + 1, True),
        ("[stage = copy]", MIB + 1, False),
        ("[stage = link]", 1, True),
    ],
)
def test_inputs_are_real_files_up_to_a_mebibyte(quick: Quick, attribute: str, size: int, link: bool) -> None:
    quick.write(
        "Flowfile", f"{attribute}\nout: in\n    if test -L {{in}}; then echo link; else echo file; fi > {{out}}\n"
    )
    quick.write("in", b"x" * size)
    quick.build()
    assert quick.read("out") == ("link\n" if link else "file\n")


COPIERS = [
    "tar -cf {out} {in}",
    "/bin/tar -cf {out} {in}",
    "{TAR} -cf {out} {in}",
    "zip -q - {in} > {out}",
    "rsync -a {in} {out}",
    "find . -name in -type f -exec cat {} + > {out}",
    "cp -a {in} {out}",
    "cp -d {in} {out}",
    "cp -P {in} {out}",
    "cp -R {in} {out}",
    "cp -r {in} {out}",
    "cp -vfr {in} {out}",
    "cp -f -r {in} {out}",
    "cp --archive {in} {out}",
    "true && cp \\\n      -r {in} {out}",
    "echo {in} | cpio --quiet -o > {out}",
]


@pytest.mark.parametrize("recipe", COPIERS)
def test_tools_that_would_take_a_link_for_the_file_get_real_files(quick: Quick, recipe: str) -> None:
    tool = "tar" if "TAR" in recipe else recipe.replace("true && ", "").split()[0]
    tool = "cpio" if "cpio" in recipe else tool
    if shutil.which(tool) is None:
        pytest.skip(f"there is no {tool}")
    quick.write("Flowfile", f"TAR = tar\n\nout: in\n    test ! -L {{in}}\n    {recipe}\n")
    quick.write("in", b"x" * (MIB + 1))
    quick.build()
    assert quick.path("out").stat().st_size > MIB or recipe.startswith("zip")
    assert not quick.path("out").is_symlink()


def test_a_name_that_only_looks_like_such_a_tool_changes_nothing(quick: Quick) -> None:
    quick.write("Flowfile", "out: in\n    test -L {in} && echo avatar my-tar tar.gz cp x.a-r > {out}\n")
    quick.write("in", b"x" * (MIB + 1))
    quick.build()


@pytest.mark.parametrize(
    ("attribute", "recipe", "kind"),
    [
        ("", "ls data | wc -l", "link"),
        ("[stage = copy]", "ls data | wc -l", "folder"),
        ("", "find data/ -type f | wc -l", "folder"),
    ],
)
def test_a_folder_of_more_than_a_thousand_files(quick: Quick, attribute: str, recipe: str, kind: str) -> None:
    quick.write(
        "Flowfile",
        f"""
        {attribute}
        out: data/
            if test -L data; then echo link; else echo folder; fi > {{out}}
            {recipe} >> {{out}}
        """,
    )
    for i in range(1001):
        quick.write(f"data/{i}", str(i))
    quick.build()
    assert lines(quick, "out") == [kind, "1001"]
    quick.remove("data/0")
    assert quick.build().ran == 1  # a thousand
    assert lines(quick, "out") == ["folder", "1000"]


def test_a_made_folder_is_staged_as_a_source_folder_is(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        """
        few: small/
            test ! -L small && test ! -L small/1 && ls small | wc -l > {out}
        many: large/
            test -L large && ls large/ | wc -l > {out}
        small/:
            for i in 1 2 3; do echo $i > {out}$i; done; mkdir {out}empty; ln -s 1 {out}one
        large/:
            for i in {1..1001}; do echo $i > {out}$i; done
        """,
    )
    quick.build("few", "many")
    assert (quick.read("few").strip(), quick.read("many").strip()) == ("5", "1001")


def test_folders_are_real_with_links_and_empty_folders(quick: Quick) -> None:
    quick.write("Flowfile", "out: data/\n    cd data && find . -not -type d | sort > ../out && ls -d empty >> ../out\n")
    quick.write("data/sub/a", "a")
    quick.path("data/empty").mkdir()
    os.symlink("nowhere", quick.path("data/dangling"))
    quick.build()
    assert lines(quick, "out") == ["./dangling", "./sub/a", "empty"]


def test_a_link_in_a_source_folder_counts_with_what_it_leads_to(quick: Quick) -> None:
    quick.write("Flowfile", "out: data/\n    cat data/link > {out}\n")
    quick.write("elsewhere", "one")
    quick.path("data").mkdir()
    os.symlink("../elsewhere", quick.path("data/link"))
    quick.build()
    quick.edit("elsewhere", "one", "two")
    assert quick.build().ran == 1
    assert quick.read("out") == "two"


def test_code_is_a_real_file_however_large(quick: Quick) -> None:
    """Through a link it would import its helper from the project, where nobody looks whether it changed."""
    quick.write("Flowfile", "out: scripts/main.py data\n    python3 scripts/main.py > {out}\n")
    quick.write("scripts/main.py", "import os; print(os.path.islink(__file__))\n#" + "x" * MIB)
    quick.write("data")
    quick.build()
    assert quick.read("out") == "False\n"
    quick.write("Flowfile", "out: tool | data\n    ./tool > {out}\n")
    quick.write("tool", "#!/bin/sh\ntest -L tool || echo real; exit\n#" + "x" * MIB, mode=0o755)
    quick.build()
    assert quick.read("out") == "real\n"


def test_the_temporary_folder_is_the_jobs_own_and_empty(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        """
        n = 1 2 3
        all: out/{n}
        out/{n}:
            ls -A $TMPDIR > {out}
            case $TMPDIR in $PWD/*) exit 1;; esac
            touch $TMPDIR/left; mkdir -p $TMPDIR/sub/deep; touch $TMPDIR/.hidden; mktemp
        """,
    )
    quick.build("-j1")
    assert [quick.read(f"out/{n}") for n in "123"] == ["", "", ""]


BASE = {"PATH", "HOME", "USER", "LOGNAME", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX"}
ADDED = {"LC_CTYPE": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.mark.parametrize(("recipe", "of_bash"), [("env -0 > {out}", set()), ("true; env -0 > {out}", {"SHLVL", "_"})])
def test_the_environment_is_built_and_not_inherited(quick: Quick, recipe: str, of_bash: set[str]) -> None:
    quick.write("Flowfile", f"[vars = ONE TWO=2 ABSENT, pass = THREE GONE]\nout:\n    {recipe}\n")
    caller = {
        "LANG": "de_DE.UTF-8",
        "LC_ALL": "C",
        "ONE": "1",
        "TWO": "not this",
        "THREE": "3 3",
        "OTHER": "x",
        "BFLOW_SOMETHING": "x",
        "PYTHONPATH": None,
        "LD_LIBRARY_PATH": "/nowhere",
        "VIRTUAL_ENV": "/venv",
        "CONDA_PREFIX": "/conda",
        "USER": "me",
        "LOGNAME": "me too",
    }
    quick.build(env={**caller, "PYTHONPATH": quick.environment()["PYTHONPATH"]})
    found = dict(item.split("=", 1) for item in quick.read("out").split("\0") if item)
    for name in of_bash:
        found.pop(name, None)
    sandbox = found.pop("PWD")
    assert Path(sandbox).parent == quick.path(".bflow/work").resolve()
    assert found.pop("TMPDIR") == sandbox + ".tmp"
    assert {name: found.pop(name) for name in ADDED} == ADDED
    assert (found.pop("ONE"), found.pop("TWO"), found.pop("THREE")) == ("1", "2", "3 3")
    assert (found["USER"], found["LOGNAME"], found["LD_LIBRARY_PATH"]) == ("me", "me too", "/nowhere")
    assert set(found) == BASE


def test_defaults_pass_variables_project_wide(quick: Quick) -> None:
    quick.write("Flowfile", "[defaults: pass = TOKEN]\n\nout:\n    echo $TOKEN > {out}\n")
    quick.build(env={"TOKEN": "t"})
    assert quick.read("out") == "t\n"
    assert quick.build(env={"TOKEN": "other"}).up_to_date == 1  # it is not in the key


def test_standard_input_is_empty(quick: Quick) -> None:
    quick.write("Flowfile", "all: direct bash\ndirect:\n    cat > {out}\nbash:\n    true; cat > {out}\n")
    quick.build()
    assert quick.read("direct") == quick.read("bash") == ""


def test_inputs_outside_the_project_are_not_staged(quick: Quick) -> None:
    outside = quick.root.parent / "outside.txt"
    outside.write_text("far")
    quick.write("Flowfile", "out: ../outside.txt\n    echo {in} > {out}; cat {in} >> {out}; ls -A >> {out}\n")
    quick.build()
    assert lines(quick, "out") == [str(outside), "farout"]


# ---- what stays for the next job


def test_what_differs_is_all_that_is_staged_for_the_next_job(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        """
        n = {1..9}
        all: out/{n}
        out/{n}: common.h src/{n}
            pwd > {out}; stat -c %i common.h >> {out}; ls -A src >> {out}; cat common.h >> {out}
        """,
    )
    quick.write("common.h", "one")
    for n in range(1, 10):
        quick.write(f"src/{n}", str(n))

    def staged() -> dict[str, set[str]]:
        """Sandbox → the inodes that common.h had there."""
        found: dict[str, set[str]] = {}
        for n in range(1, 10):
            sandbox, inode, own, common = lines(quick, f"out/{n}")
            assert (own, common) == (str(n), quick.read("common.h"))
            found.setdefault(sandbox, set()).add(inode)
        return found

    quick.build("-j1")
    first = staged()
    assert len(first) < 5 and all(len(inodes) == 1 for inodes in first.values())
    # The next build takes up what the last one left, and stages anew what changed since.
    for n in range(1, 10):
        quick.write(f"src/{n}", f"{n} again")
    assert quick.build("-j1").ran == 9
    assert staged() == first
    quick.write("common.h", "changed")
    quick.build("-j1")
    assert staged()


SPOILERS = [
    "echo x > left; mkdir -p deep/er; echo x > deep/er/y; ln -s / rooted; mkfifo pipe",
    "rm -rf out; mkdir -p out; echo made > {out}",
    "chmod 500 data; chmod 000 .; chmod 700 .",
    "touch data/extra; mkdir data/more; mv {out} {out}.tmp; cp {out}.tmp {out}",
    "mkdir other; rmdir other; ln -s $(pwd) itself",
]


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_a_job_does_not_spoil_the_next_of_its_rule(quick: Quick, spoiler: str) -> None:
    quick.write(
        "Flowfile",
        f"""
        n = 1 2
        all: out/{{n}}
        out/{{n}}: data/{{n}} common
            find . -not -name '[12]' | sort > {{out}}
            cat common data/* >> {{out}}; stat -c '%a %F' data >> {{out}}; touch data/new; rm data/new
            {spoiler}
        """,
    )
    for name in ("data/1", "data/2", "common"):
        quick.write(name, f"{name}\n")
    quick.build("-j1")
    first = quick.read("out/1")
    assert quick.read("out/2") == first.replace("data/1", "data/2")
    if "made" not in spoiler:
        assert first.splitlines()[:4] == [".", "./common", "./data", "./out"]


def test_a_folder_that_became_a_link_never_leads_out(quick: Quick) -> None:
    """What a job leaves is removed, and never what it leads to."""
    quick.write(
        "Flowfile",
        """
        n = 1 2
        all: out/{n}
        out/{n}: data/{n}
            cp {in} $TMPDIR/kept; rm -r data; ln -s ROOT/data data; echo {n} > {out}; rm -rf more; ln -s ROOT more
        """.replace("ROOT", str(quick.root)),
    )
    for name in ("data/1", "data/2", "data/3", "precious"):
        quick.write(name, name)
    quick.build("-j1", ok=False)
    assert quick.read("data/1") == "data/1" and quick.read("precious") == "precious"
    assert quick.files("data") == ["data/1", "data/2", "data/3"]


def test_a_sandbox_that_became_a_link_never_leads_out(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        'n = 1 2\nall: {n}\n{n}:\n    h=$PWD; cd ..; rm -r "$h"; ln -s ROOT/precious "$h"; echo x > "$h/{n}"\n'.replace(
            "ROOT", str(quick.root)
        ),
    )
    quick.write("precious/file", "kept")
    quick.write("precious/folder/file", "kept")
    quick.build("-j1", ok=None)
    assert quick.read("precious/file") == quick.read("precious/folder/file") == "kept"


def test_an_output_folder_is_there_and_empty_each_time(quick: Quick) -> None:
    quick.write(
        "Flowfile",
        """
        n = 1 2
        all: {n}/ same/
        {n}/:
            test -d {out}; test -z "$(ls -A {out})"; touch {out}file
        same/: in
            test -d {out}; test -z "$(ls -A {out})"; cp {in} {out}
        """,
    )
    quick.write("in", "1")
    quick.build("-j1")
    quick.write("in", "2")
    quick.build("-j1")
    assert quick.read("same/in") == "2"


def test_the_folders_are_a_few_and_are_used_again(quick: Quick) -> None:
    quick.write("Flowfile", "n = {1..9}\nall: out/{n}\nout/{n}:\n    pwd > {out}\n")
    quick.build("-j2")
    first = {quick.read(f"out/{n}") for n in range(1, 10)}
    assert len(first) <= 4
    assert {os.path.dirname(path) for path in first} == {str(quick.path(".bflow/work").resolve())}
    quick.build("-j2", "-B")
    assert {quick.read(f"out/{n}") for n in range(1, 10)} <= first


def test_fifty_rules_and_a_hundred_do_not_run_out_of_sandboxes(quick: Quick) -> None:
    rules = "\n".join(f"o{i}:\n    echo {i} > {{out}}" for i in range(80))
    quick.write("Flowfile", f"n = {{0..79}}\nall: o{{n}}\n{rules}\n")
    assert quick.build("-j2").ran == 80
    numbered = [name for name in os.listdir(quick.path(".bflow/work")) if name.isdigit()]
    assert len(numbered) <= 64
