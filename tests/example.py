"""The folders of examples/ as a user gets them: a copy in a story, and what a build in it ran."""

from __future__ import annotations

import shutil
from typing import Any

from story import CHECKOUT, Story

EXAMPLES = CHECKOUT / "examples"
_BUILT = shutil.ignore_patterns(".bflow", "out", "build", "__pycache__")


def copy(story: Story, name: str) -> Story:
    """The example as it is in the checkout, without what was built in it."""
    shutil.copytree(EXAMPLES / name, story.root, dirs_exist_ok=True, ignore=_BUILT)
    return story


def built(story: Story, *words: str, **options: Any) -> set[str]:
    """What a build ran: all targets of its jobs. `options`: those of `Story.bflow`."""
    return {target for targets in story.build(*words, timeout=300, **options).jobs() for target in targets}
