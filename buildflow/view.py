"""What users' functions see of a job: mappings whose items are attributes too."""

from __future__ import annotations

from typing import Any


class View(dict[str, Any]):
    """A mapping with attribute access; an item wins over a method of its name, so that a file may be called `items`."""

    def __init__(self, /, *values: Any, **more: Any) -> None:
        super().__init__(*values, **more)
        self.__dict__.update(self)

    def __getattr__(self, name: str) -> Any:
        if name in self:  # set after it was made
            return self[name]
        raise AttributeError(f"there is no {name} here; there are: {', '.join(self) or 'none'}")

    def __reduce__(self) -> Any:
        return type(self), (dict(self),)


class Wildcards(View):
    """The values of a job's wildcards, strings."""
