"""From the text of `env = …` to an environment: those of this package, and those that others bring as entry points."""

from __future__ import annotations

from typing import Any

from buildflow.environments.base import Environment
from buildflow.errors import FlowError, Span
from buildflow.near import did_you_mean

KNOWN = ("native", "prefix", "docker", "singularity", "module", "venv", "conda")
FORMS = {
    "prefix": "DIR", "docker": "IMAGE:TAG", "singularity": "FILE.sif", "module": "NAME/VERSION",
    "venv": "requirements.txt", "conda": "environment.yaml",
}  # fmt: skip
GROUP = "buildflow.environments"

_found: dict[str, Any] | None = None


def others() -> dict[str, Any]:
    """The entry points of other packages' environments, by name."""
    global _found
    if _found is None:
        from importlib.metadata import entry_points

        _found = {point.name: point for point in entry_points(group=GROUP) if point.name not in KNOWN}
    return _found


def check_name(text: str, span: Span | None = None) -> None:
    """Raises FlowError for a text that is of no form of an environment; whether it can be had is not asked."""
    kind, colon, rest = text.partition("://")
    if text == "native" or (kind != "native" and colon and rest and (kind in KNOWN or kind in others())):
        return
    if kind in KNOWN and kind != "native":
        raise FlowError(f"env = {text} names nothing", span, f"write env = {kind}://{FORMS[kind]}")
    known = (*KNOWN, *others())
    if kind in known and kind != "native":
        raise FlowError(f"env = {text} names nothing", span, f"write env = {kind}://…")
    forms = [f"{kind}://{FORMS.get(kind, '…')}" for kind in known if kind != "native"]
    raise FlowError(
        f"there is no environment “{text}”", span, did_you_mean(kind, known) or f"there are: native {' '.join(forms)}"
    )


def environment(text: str, root: str, span: Span | None = None) -> Environment:
    """The environment that a text names; whether it can be had is not asked. Raises FlowError for an unknown one."""
    check_name(text, span)
    kind, _, rest = text.partition("://")
    try:
        return _class(kind, span).named(rest, root) if rest else _class("native", span)()
    except FlowError as error:
        error.span = error.span or span
        raise


def _class(kind: str, span: Span | None) -> type[Environment]:
    found: Any
    if kind in KNOWN:
        from importlib import import_module

        found = import_module(f"buildflow.environments.{kind}").Environment
        return found  # type: ignore[no-any-return]
    point = others()[kind]
    try:
        found = point.load()
    except Exception as error:
        raise FlowError(
            f"the environment {kind} cannot be loaded from {point.value}: {error}", span, "mend that package"
        ) from None
    if not (isinstance(found, type) and issubclass(found, Environment)):
        raise FlowError(
            f"the environment {kind} ({point.value}) is no class of buildflow.environments.base.Environment", span
        )
    return found
