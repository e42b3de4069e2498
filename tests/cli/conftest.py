"""The stories of this folder are many small commands: they run in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quick import Quick
from story import Story


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    story = Quick(tmp_path)
    yield story
    story.close()
