"""From the text of `env = …` to an environment."""

from __future__ import annotations

import os

from buildflow.environments.base import Environment
from buildflow.errors import FlowError, Span
from buildflow.near import did_you_mean

KNOWN = ("native", "prefix", "docker", "singularity", "module", "venv", "conda")
BUILT = ("native", "prefix")


def environment(text: str, root: str, span: Span | None = None) -> Environment:
    """The environment that a text names. Raises FlowError for one that is unknown or cannot be had."""
    kind, colon, rest = text.partition("://")
    if text == "native":
        from buildflow.environments.native import Environment as Native

        return Native()
    if kind == "prefix" and colon and rest:
        from buildflow.environments.prefix import Environment as Prefix

        found = Prefix(os.path.normpath(os.path.join(root, os.path.expanduser(rest))), rest)
        found.check()
        return found
    if kind in KNOWN and kind not in BUILT:
        raise FlowError(
            f"env = {text}: this version knows the environments {' and '.join(BUILT)} only", span, "run the rule natively"
        )
    raise FlowError(
        f"there is no environment “{text}”",
        span,
        did_you_mean(kind, KNOWN) or "there are native and prefix://DIR",
    )
