"""What all tests share: the `story` fixture, an environment without this machine's settings, and the slow folders."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from story import Story

# A slow machine is no reason to fail; and the examples that failed once are no part of the checkout.
settings.register_profile("buildflow", deadline=None, max_examples=50, database=None)
settings.load_profile("buildflow")

INTEGRATION = Path(__file__).parent / "integration"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--integration", action="store_true", help="also the tests of tests/integration, which start real back-ends"
    )


def pytest_configure(config: pytest.Config) -> None:
    """The settings of whoever runs the tests, and a make above them, do not reach the tests."""
    for name in list(os.environ):
        if name == "BFLOW_REQUIRE":  # which back-ends must be there, so that their tests fail instead of being skipped
            continue
        if name.startswith("BFLOW_") or name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "XDG_CONFIG_HOME"):
            del os.environ[name]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """True: leave it out; None: let the other plugins decide."""
    if config.getoption("--integration"):
        return None
    return True if INTEGRATION in (collection_path, *collection_path.parents) else None


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """An empty project and the real command."""
    story = Story(tmp_path)
    yield story
    story.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a test that failed, its story is shown."""
    report = yield
    story = getattr(item, "funcargs", {}).get("story")
    if report.failed and isinstance(story, Story) and not story.told:
        report.sections.append(("the story", story.account()))
    return report
