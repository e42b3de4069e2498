"""What is installed: the package, the rule library inside it, and the command; from a wheel, editable, in a checkout.

The builds run setuptools itself, in a copy of the project: no network, and nothing is written into the checkout.
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "buildflow", "rules")


def has_setuptools() -> bool:
    try:
        import setuptools
    except ImportError:
        return False
    return tuple(map(int, setuptools.__version__.split(".")[:2])) >= (70, 1)


needs_setuptools = pytest.mark.skipif(not has_setuptools(), reason="needs setuptools 70.1")


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files as a user gets them, one library file among them at least."""
    folder = tmp_path_factory.mktemp("source") / "buildflow copy"
    folder.mkdir()
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=skip)
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)
        else:
            (folder / name).write_text("")
    (folder / "rules" / "shipped_in_tests.flow").write_text("x = 1\n")
    return folder


def build(source: Path, hook: str, folder: Path) -> Path:
    """What the wheel holds that a hook of setuptools makes, unpacked into `folder`."""
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    code = f"import setuptools.build_meta as b; b.{hook}({str(wheels)!r})"
    made = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, timeout=120)
    assert made.returncode == 0, made.stderr
    (wheel,) = wheels.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, "build_wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def editable(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(source, "build_editable", tmp_path_factory.mktemp("editable"))


def python(*words: str, path: Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    environment |= {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run([sys.executable, *words], env=environment, cwd=cwd, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def settings() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


FIND = "import buildflow.library as b; print(b.__file__, b.library_folder(), *b.library_files(), sep='\\n')"


def test_setup_cfg_names_every_folder_of_the_package() -> None:
    named = set(settings()["options"]["packages"].split())
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "buildflow").rglob("*.py")}
    found = {".".join(folder.parts) for folder in folders} | {"buildflow.rules"}
    assert found <= named
    assert named - found <= {"buildflow.cli", "buildflow.environments", "buildflow.workers"}


def test_no_module_stands_where_the_rule_library_is_installed() -> None:
    assert not (ROOT / "buildflow" / "rules.py").exists()
    assert [p.name for p in (ROOT / "rules").glob("*.py")] == ["__init__.py"]


def test_the_dependencies_are_those_that_the_documents_name() -> None:
    lines = settings()["options"]["install_requires"].split("\n")
    names = {line.split(">")[0].strip().lower() for line in lines if line.strip()}
    assert names == set("click networkx watchdog pathspec xxhash sh spython pyyaml cloudpickle tomli".split())
    assert list(settings()["options.extras_require"]) == ["dask", "psij", "all", "docs", "dev"]


def test_the_top_of_the_project_is_what_setup_cfg_says() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert [line for line in pyproject.splitlines() if line.startswith("[")] == ["[build-system]"]


@needs_setuptools
def test_a_wheel_holds_the_library_and_the_command(wheel: Path, source: Path) -> None:
    files = {str(path.relative_to(wheel)) for path in wheel.rglob("*") if path.is_file()}
    modules = {str(path.relative_to(source)) for path in (source / "buildflow").rglob("*.py")}
    assert modules <= files
    assert {"buildflow/rules/__init__.py", "buildflow/rules/shipped_in_tests.flow", "buildflow/py.typed"} <= files
    assert not [name for name in files if name.startswith(("rules/", "tests/", "examples/"))]
    (script,) = wheel.glob("*.data/scripts/bflow")
    # The installer puts its own Python in place of this; another first line it would leave alone.
    assert script.read_text().startswith("#!python\n")
    assert list(wheel.glob("*.dist-info/entry_points.txt")) == []


@needs_setuptools
def test_the_library_is_found_in_an_install(wheel: Path, tmp_path: Path) -> None:
    module, folder, *files = python("-c", FIND, path=wheel, cwd=tmp_path).split("\n")
    assert module == str(wheel / "buildflow" / "library.py")
    assert folder == str(wheel / "buildflow" / "rules")
    assert "shipped_in_tests.flow" in files
    assert python("-c", "import buildflow.rules as r; print(*r.__path__)", path=wheel, cwd=tmp_path) == folder


@needs_setuptools
def test_the_library_is_found_in_an_editable_install(editable: Path, source: Path, tmp_path: Path) -> None:
    addsite = f"import site; site.addsitedir({str(editable)!r}); "
    # -S: the site-packages of the Python that runs the tests may hold an editable install of the checkout itself.
    module, folder, *files = python("-S", "-c", addsite + FIND, path=tmp_path, cwd=tmp_path).split("\n")
    assert module == str(source / "buildflow" / "library.py")
    assert folder == str(source / "rules")
    assert "shipped_in_tests.flow" in files
    assert python("-S", "-c", addsite + "import buildflow.rules as r; print(r)", path=tmp_path, cwd=tmp_path)


@needs_setuptools
@pytest.mark.skipif(not (ROOT / "buildflow" / "rules").is_symlink(), reason="this checkout has lost the link")
def test_an_editable_install_is_one_path(editable: Path, source: Path) -> None:
    """Not an import hook, which would import pathlib and re at every start of Python."""
    lines = [line for path in editable.glob("*.pth") for line in path.read_text().splitlines() if line]
    assert lines == [str(source)]


@pytest.mark.parametrize("link", [True, False])
def test_the_library_is_found_in_a_checkout(source: Path, tmp_path: Path, link: bool) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(source, copy, symlinks=True)
    if not link and (copy / "buildflow" / "rules").is_symlink():  # a file system or an archive without links
        (copy / "buildflow" / "rules").unlink()
    module, folder, *files = python("-c", FIND, path=copy, cwd=tmp_path).split("\n")
    assert (module, folder) == (str(copy / "buildflow" / "library.py"), str(copy / "rules"))
    assert "shipped_in_tests.flow" in files


def test_a_missing_library_is_told(source: Path, tmp_path: Path) -> None:
    package = tmp_path / "buildflow"
    package.mkdir()
    for name in ("__init__.py", "library.py", "errors.py"):
        shutil.copy2(source / "buildflow" / name, package / name)
    (tmp_path / "rules").mkdir()  # somebody else's
    (tmp_path / "rules" / "__init__.py").touch()
    code = """
from buildflow.errors import FlowError
from buildflow.library import library_folder
try:
    library_folder()
except FlowError as error:
    print(error)
"""
    assert "the rule library is missing" in python("-c", code, path=tmp_path, cwd=tmp_path)


def command(folder: Path) -> Path:
    """A package of that name whose `main` tells what it sees."""
    package = folder / "package" / "buildflow"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    shutil.copy2(ROOT / "buildflow" / "__main__.py", package)
    (package / "start.py").write_text(
        "import sys\n"
        "def main():\n"
        "    heavy = [name for name in ('re', 'json', 'click') if name in sys.modules]\n"
        "    print(sys.argv[1:], heavy, sys.path[0])\n"
    )
    return folder / "package"


def test_the_script_imports_next_to_nothing(tmp_path: Path) -> None:
    package = command(tmp_path)
    script = ROOT / "buildflow" / "scripts" / "bflow"
    assert os.access(script, os.X_OK)
    # -S: without what the machine's site-packages import at every start. What is beside the script is not found.
    said = python("-S", str(script), "build", "x y", path=package, cwd=tmp_path)
    assert said == f"['build', 'x y'] [] {package}"


def test_the_module_is_the_command_too(tmp_path: Path) -> None:
    package = command(tmp_path)
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "click.py").write_text("raise SystemExit('a file of the project was imported')")
    said = python("-m", "buildflow", "build", path=package, cwd=tmp_path / "project")
    assert said.startswith("['build']") and said.endswith(str(package))
    said = python("-m", "buildflow", "build", path=tmp_path, cwd=package)
    assert said.startswith("['build']") and said.endswith(str(package))
