"""What evaluating a name may read, and the memory of what was read.

`DiskWorld` answers from the disk alone. The planner's world adds what rules make (`buildflow.plan.resolve`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from buildflow.errors import Span
from buildflow.globbing import glob_files
from buildflow.reads import Reads
from buildflow.template import Hole, Part

if TYPE_CHECKING:
    from buildflow.names import Definition, Row, Scope


class DiskWorld:
    """Reads files through `buildflow.readers`, and remembers each in `reads`."""

    def __init__(self, reads: Reads) -> None:
        self.reads = reads
        self.cut: set[Definition] = set()

    def locate(self, path: str, span: Span | None) -> str:
        """Where a file that a function reads stands; remembered as read, or as absent."""
        self.reads.file(path)
        return self.reads.path(path)

    def table(self, path: str, columns: Sequence[str], left: Sequence[str], span: Span | None) -> list[Row]:
        from buildflow.readers import read_table

        return read_table(self.locate(path, span), path, columns, left, span)

    def lines(self, path: str, span: Span | None) -> list[str]:
        from buildflow.readers import read_lines

        return read_lines(self.locate(path, span), path, span)

    def config(self, path: str, key: str, left: Sequence[str], span: Span | None) -> list[Row]:
        from buildflow.readers import read_config

        return read_config(self.locate(path, span), path, key, left, span)

    def variable(self, name: str) -> str | None:
        return self.reads.variable(name)

    def shell(self, command: str, span: Span | None) -> list[str]:
        found = self.reads.commands.get(command)
        if found is None:
            from buildflow.readers import run_shell

            found = "\n".join(run_shell(command, self.reads.root, span, self.reads.environ))
            self.reads.commands[command] = found
        return found.split("\n") if found else []

    def empty(self, definition: Definition, text: str) -> None:
        """A domain came out empty: worth a word, not an error."""

    def conditional(self, scope: Scope, parts: Sequence[Part], left: Sequence[str]) -> Sequence[str]:
        return ()

    def glob(
        self, parts: Sequence[Part], patterns: Mapping[str, re.Pattern[str]], span: Span | None
    ) -> list[tuple[str, dict[str, str]]]:
        accept, slashes = acceptance(patterns, [p.name for p in parts if isinstance(p, Hole)])
        return glob_files(
            self.reads.root, parts, accept, slashes=slashes, skip=self.skip, listed=self.listed, span=span
        )

    def skip(self, path: str, folder: bool) -> bool:
        return False

    def listed(self, folder: str, present: bool = True) -> None:
        if present:
            self.reads.folder(folder)
        else:
            self.reads.missing(folder)


def acceptance(
    patterns: Mapping[str, re.Pattern[str]], names: Sequence[str]
) -> tuple[dict[str, Callable[[str], bool] | None], set[str]]:
    """For glob wildcards: the pattern each must match (None: any), and those that may hold a slash."""
    accept: dict[str, Callable[[str], bool] | None] = {}
    slashes: set[str] = set()
    for name in names:
        pattern = patterns.get(name)
        if pattern is None:
            accept[name] = None
        else:
            accept[name] = lambda text, match=pattern.fullmatch: match(text) is not None  # type: ignore[misc]
            slashes.add(name)
    return accept, slashes
