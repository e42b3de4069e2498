"""What users' functions see of a job: mappings whose items are attributes too."""

from __future__ import annotations

from typing import Any


class View(dict[str, Any]):
    """A mapping with attribute access."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no {name} here; there are: {', '.join(self) or 'none'}") from None


class Wildcards(View):
    """The values of a job's wildcards, strings."""
