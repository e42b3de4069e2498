"""Regular expressions that are compiled when they are first used: a build asks few of those that the package has, and
compiling them all takes longer than an edit is planned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import re


_NAMES = ("match", "fullmatch", "search", "finditer", "findall", "sub", "subn", "split", "pattern", "flags")


class _Lazy:
    """Stands for `re.compile(text, flags)`; its methods are those of the pattern."""

    def __init__(self, text: str, flags: int) -> None:
        self._made = text, flags

    def __getattr__(self, name: str) -> Any:
        import re

        compiled = re.compile(*self._made)
        for known in _NAMES:
            setattr(self, known, getattr(compiled, known))
        return getattr(compiled, name)


def regex(text: str, flags: int = 0) -> re.Pattern[str]:
    """A pattern as `re.compile` gives it, for a constant of a module."""
    found: Any = _Lazy(text, flags)
    return found  # type: ignore[no-any-return]
