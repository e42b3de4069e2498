"""From the text of `env = …` to an environment."""

from __future__ import annotations

import os

from buildflow.environments.base import Environment
from buildflow.errors import FlowError, Span
from buildflow.near import did_you_mean

KNOWN = ("native", "prefix", "docker", "singularity", "module", "venv", "conda")
FORMS = {
    "prefix": "DIR", "docker": "IMAGE:TAG", "singularity": "FILE.sif", "module": "NAME/VERSION",
    "venv": "requirements.txt", "conda": "environment.yaml",
}  # fmt: skip
BUILT = ("native", "prefix")


def check_name(text: str, span: Span | None = None) -> None:
    """Raises FlowError for a text that is of no form of an environment; whether it can be had is not asked."""
    kind, colon, rest = text.partition("://")
    if text == "native" or (kind in KNOWN and kind != "native" and colon and rest):
        return
    if kind in KNOWN and kind != "native":
        raise FlowError(f"env = {text} names nothing", span, f"write env = {kind}://{FORMS[kind]}")
    raise FlowError(
        f"there is no environment “{text}”",
        span,
        did_you_mean(kind, KNOWN)
        or f"there are: native {' '.join(f'{kind}://{form}' for kind, form in FORMS.items())}",
    )


def environment(text: str, root: str, span: Span | None = None) -> Environment:
    """The environment that a text names. Raises FlowError for one that is unknown or cannot be had."""
    check_name(text, span)
    kind, colon, rest = text.partition("://")
    if text == "native":
        from buildflow.environments.native import Environment as Native

        return Native()
    if kind == "prefix" and colon and rest:
        from buildflow.environments.prefix import Environment as Prefix

        found = Prefix(os.path.normpath(os.path.join(root, os.path.expanduser(rest))), rest)
        try:
            found.check()
        except FlowError as error:
            error.span = error.span or span
            raise
        return found
    raise FlowError(
        f"env = {text}: this version knows the environments {' and '.join(BUILT)} only", span, "run the rule natively"
    )
