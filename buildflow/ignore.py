"""What a source folder is taken without: a built-in list of names and what `.bflowignore` files say.

The files have gitignore's meaning: nested ones count below their folder, the last match wins, `!` takes a name back,
and what lies in an ignored folder stays ignored. The built-in names cannot be taken back. Nothing here is watched: who
keeps an `Ignore` makes a new one where a file of `files_read()` has changed. pathspec is imported only where a file has
patterns.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildflow.errors import FlowError, Source, Span

if TYPE_CHECKING:
    from pathspec.pattern import Pattern

BUILT_IN = frozenset({"__pycache__", ".git", ".bflow", ".DS_Store"})
TEMPORARY = ".bflow-tmp."
"""How the names of half-made files begin."""


def built_in(name: str) -> bool:
    """Whether a file or folder of this name is never taken for a source."""
    return name in BUILT_IN or name.startswith(TEMPORARY)


class Ignore:
    """The ignore files of the folder `root` and below; with `gitignore`, the `.gitignore` files as well, which yield.

    Paths are relative to `root`. A path outside it (`../x`, `/x`) is held against the built-in list alone. Raises
    FlowError for a `.bflowignore` that cannot be read or has a line that is no pattern.
    """

    def __init__(self, root: str, gitignore: bool = False) -> None:
        self.root = root
        self._names = (".gitignore", ".bflowignore") if gitignore else (".bflowignore",)
        # Folder → (its length with the `/`, patterns) of every ignore file in it and above it, the strongest first.
        self._rules: dict[str, tuple[tuple[int, tuple[Pattern, ...]], ...]] = {}
        self._folders: dict[str, bool] = {"": False}
        self._read: list[str] = []

    def ignored(self, relative_path: str, is_dir: bool) -> bool:
        """Whether a path, or a folder that it lies in, is ignored. A symlink is no folder here, as for git."""
        path = relative_path.rstrip("/")
        if path in ("", "."):
            return False
        if path.startswith(("/", "../")) or path == "..":
            return any(built_in(name) for name in path.split("/"))
        folder, _, name = path.rpartition("/")
        return self._folder_ignored(folder) or self.entry_ignored(folder, name, is_dir)

    def entry_ignored(self, folder: str, name: str, is_dir: bool) -> bool:
        """Whether `name` in `folder` is ignored, for a walk that has entered `folder` (it is not, or was asked for)."""
        if built_in(name):
            return True
        rules = self._rules.get(folder)
        if rules is None:
            rules = self._rules_of(folder)
        if not rules:
            return False
        path = f"{folder}/{name}" if folder else name
        if is_dir:
            path += "/"
        for skip, patterns in rules:
            verdict = _verdict(patterns, path[skip:])
            if verdict is not None:
                return verdict
        return False

    def files_read(self) -> list[str]:
        """The ignore files that were read, or looked for and absent, relative to `root`, in the order of reading."""
        return list(self._read)

    def _folder_ignored(self, folder: str) -> bool:
        known = self._folders
        if folder in known:
            return known[folder]
        end = len(folder)
        while (above := folder[:end]) not in known:  # upwards to a folder that is known, then down again
            end = max(folder.rfind("/", 0, end), 0)
        verdict = known[above]
        while end < len(folder):
            start = end + 1 if end else 0
            following = folder.find("/", start)
            end = len(folder) if following < 0 else following
            verdict = verdict or self.entry_ignored(above, folder[start:end], True)
            above = folder[:end]
            known[above] = verdict
        return verdict

    def _rules_of(self, folder: str) -> tuple[tuple[int, tuple[Pattern, ...]], ...]:
        missing = []
        above = folder
        while above not in self._rules:
            missing.append(above)
            if not above:
                break
            above = above.rpartition("/")[0]
        rules = self._rules.get(above, ())
        for place in reversed(missing):
            for name in self._names:
                patterns = self._load(f"{place}/{name}" if place else name)
                if patterns:
                    rules = ((len(place) + 1 if place else 0, patterns), *rules)
            self._rules[place] = rules
        return rules

    def _load(self, name: str) -> tuple[Pattern, ...]:
        """The patterns of one ignore file, the last one first; none where it is absent."""
        self._read.append(name)
        path = os.path.join(self.root, name)
        try:
            with open(path, "rb") as file:
                data = file.read()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return ()
        except OSError as error:
            raise FlowError(f"cannot read {name}: {error.strerror}") from None
        # surrogateescape, as in names; not splitlines(), which would split at more than line ends
        text = os.fsdecode(data.removeprefix(b"\xef\xbb\xbf"))
        lines = [_deeper(line.removesuffix("\r")) for line in text.split("\n")]
        if not any(line.strip() and not line.startswith("#") for line in lines):
            return ()
        from pathspec import GitIgnoreSpec

        patterns: list[Pattern] = []
        for number, line in enumerate(lines, 1):
            try:
                patterns.extend(GitIgnoreSpec.from_lines([line]).patterns)
            except ValueError:
                if name.endswith(".gitignore"):  # git passes over what it cannot read
                    continue
                place = Span(Source(name, text), number, 1, max(len(line), 1))
                raise FlowError("this is no pattern", place, "patterns are written as in a .gitignore") from None
        return tuple(pattern for pattern in reversed(patterns) if pattern.include is not None)


def _deeper(line: str) -> str:
    """`x/**` as `x/**/*`, `x/**/` as `x/**/*/`: for git they mean what lies in x, for pathspec x itself as well."""
    bare = line.rstrip(" ")
    if bare.endswith("/**"):
        return bare + "/*"
    if bare.endswith("/**/"):
        return bare + "*/"
    return line


def _verdict(patterns: tuple[Pattern, ...], path: str) -> bool | None:
    """What the first pattern that matches says: True (ignored), False (taken back), None where none matches.

    pathspec's patterns match what lies below a folder too, which makes `!folder` take back all of it. In git a pattern
    concerns the name that it matches, so a match that ends at a folder above does not count.
    """
    for pattern in patterns:
        found = pattern.match_file(path)
        if found is None:
            continue
        regex = found.match.re
        if "ps_d" not in regex.groupindex or any(m.end("ps_d") in (-1, len(path)) for m in regex.finditer(path)):
            return bool(pattern.include)
    return None
