"""Stories about running jobs: `quick` runs the command in this process, for what is not about processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quick import Quick


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Quick]:
    story = Quick(tmp_path)
    yield story
    story.close()
