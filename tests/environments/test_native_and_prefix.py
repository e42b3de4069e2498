"""The environments that need nothing installed: native and a software prefix; and what `env = …` may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from buildflow.environments.base import base_variables
from buildflow.environments.native import Environment as Native
from buildflow.environments.prefix import Environment as Prefix
from buildflow.environments.registry import check_name, environment
from buildflow.errors import FlowError


def test_the_base_is_built_and_not_inherited() -> None:
    found = base_variables({"PATH": "/bin", "HOME": "/h", "SECRET": "x", "LANG": "de", "LD_LIBRARY_PATH": "/l"})
    assert found == {
        "PATH": "/bin",
        "HOME": "/h",
        "LD_LIBRARY_PATH": "/l",
        "LC_CTYPE": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    assert base_variables({})["PATH"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["bash", "-euo", "pipefail", "-c"]),
        ("sh", ["sh", "-c"]),
        ("bash -e", ["bash", "-e", "-c"]),
        ("bash -ec", ["bash", "-ec"]),
        ("zsh -c", ["zsh", "-c"]),
        ("python3", ["python3", "-c"]),
        ("/usr/bin/python3.12 -u", ["/usr/bin/python3.12", "-u", "-c"]),
        ("perl", ["perl", "-e"]),
        ("perl -we", ["perl", "-we"]),
        ("Rscript -e", ["Rscript", "-e"]),
        ("Rscript --vanilla", ["Rscript", "--vanilla", "-e"]),
        ("env -i node", ["env", "-i", "node", "-e"]),
    ],
)
def test_the_shell_of_a_rule(text: str | None, words: list[str]) -> None:
    assert Native().shell(text) == words


def test_a_prefix(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "tool").write_text("x")
    prefix = Prefix(str(tmp_path))
    assert prefix.variables({"PATH": "/bin"}) == {"PATH": f"{tmp_path}/bin:/bin"}
    assert prefix.python() == "python3"
    first = prefix.identity()
    assert first == Prefix(str(tmp_path) + "/").identity()
    (tmp_path / "bin" / "other").write_text("y")
    second = prefix.identity()
    assert first != second
    (tmp_path / "pyvenv.cfg").write_text("")
    (tmp_path / "bin" / "python3").write_text("")
    assert prefix.variables({})["VIRTUAL_ENV"] == str(tmp_path)
    assert prefix.python() == f"{tmp_path}/bin/python3"
    record = tmp_path / "lib/python3.11/site-packages/x.dist-info/RECORD"
    record.parent.mkdir(parents=True)
    record.write_text("a\n")
    third = prefix.identity()
    (tmp_path / "bin" / "more").write_text("z")
    assert prefix.identity() == third
    record.write_text("b\n")
    assert prefix.identity() != third


@pytest.mark.parametrize("text", ["native", "prefix://x", "docker://a:b", "singularity://x.sif", "conda://e.yaml"])
def test_names_that_are_right(text: str) -> None:
    check_name(text)


@pytest.mark.parametrize("text", ["", "natve", "docker:/x", "docker://", "prefix", "x://y", "native://x"])
def test_names_that_are_wrong(text: str) -> None:
    with pytest.raises(FlowError):
        check_name(text)


def test_a_prefix_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FlowError, match="has no bin/ folder"):
        environment("prefix://nowhere", str(tmp_path)).check()
