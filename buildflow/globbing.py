"""Patterns with wildcards against paths: one path (`PathPattern`) and the files of a folder (`glob_files`).

A pattern is the parts of a word: text, globs and holes, whose names are wildcards here. `*` is any text without `/`,
`?` one such character, `**` as a whole component any number of folders (elsewhere it is `*`; at the end of a pattern
it is the files of these folders). `{name}` is text that is not empty and, unless said otherwise, has no `/`; the same
name twice is the same text. This module knows nothing of rules or domains: what a name may be is a function given.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from typing import NamedTuple, Union

from buildflow.errors import FlowError, Span
from buildflow.template import Glob, Hole, Part

Accept = Union[Callable[[str], bool], None]

_TEXT, _ONE, _ANY, _FOLDERS, _NAME, _AGAIN = range(6)


class _Token(NamedTuple):
    """One step of a match. text: the literal or the name; least: how many characters at least; slash: may hold `/`."""

    kind: int
    text: str = ""
    least: int = 0
    slash: bool = False
    accept: Accept = None


class PathPattern:
    """Parts made ready to match many paths.

    accept: what the value of a name must pass (None: anything); slashes: the names whose values may hold `/`;
    dots: whether a component may begin with a dot where the pattern's does not.
    `prefix` and `suffix` are the literal ends of every path that matches; `names` the wildcards in order; `depth` the
    least and the greatest number of slashes (None: any number).
    """

    __slots__ = ("prefix", "suffix", "names", "depth", "_tokens", "_dots", "_later", "_single", "_pair", "_globs")

    def __init__(
        self,
        parts: Sequence[Part],
        accept: Mapping[str, Accept] | None = None,
        slashes: Container[str] = (),
        dots: bool = True,
    ) -> None:
        tokens = _tokens(parts, accept or {}, slashes)
        self.names = tuple(token.text for token in tokens if token.kind == _NAME)
        slashed = any(token.slash or token.kind == _FOLDERS for token in tokens)
        least = sum(token.text.count("/") for token in tokens if token.kind == _TEXT)
        self.depth = (least, None if slashed else least)
        self.prefix = tokens.pop(0).text if tokens and tokens[0].kind == _TEXT else ""
        self.suffix = tokens.pop().text if tokens and tokens[-1].kind == _TEXT else ""
        self._tokens = tokens
        self._dots = dots
        self._globs = any(token.kind in (_ANY, _FOLDERS) for token in tokens)
        # Most patterns hold one wildcard, or two with a text between: these need no search.
        kinds = [token.kind for token in tokens]
        self._single = tokens[0] if kinds in ([_NAME], [_ANY]) else None
        self._pair = kinds == [_NAME, _TEXT, _NAME] and not (tokens[0].slash or tokens[2].slash)
        # For each token, the names bound before it that it or a later one repeats: with those values, what can match
        # from a position on does not depend on how it was reached.
        self._later: list[tuple[str, ...]] = []
        for index in range(len(tokens)):
            again = {token.text for token in tokens[index:] if token.kind == _AGAIN}
            before = (token.text for token in tokens[:index] if token.kind == _NAME)
            self._later.append(tuple(name for name in before if name in again))

    def first(self, path: str) -> dict[str, str] | None:
        """The leftmost-longest binding of `path`, None where it does not match."""
        token = self._single
        if token is None:
            return next(self.match(path), None)
        if not path.startswith(self.prefix) or not path.endswith(self.suffix):
            return None
        start, stop = len(self.prefix), len(path) - len(self.suffix)
        if stop - start < token.least or ("/" in path[start:stop] and not token.slash):
            return None
        if not self._dots:
            if path.startswith(".", start) and (start == 0 or path[start - 1] == "/"):
                return None
            if token.slash and path.find("/.", start, stop + 1) >= 0:
                return None
        if token.kind == _ANY:
            return {}
        value = path[start:stop]
        if token.accept is not None and not token.accept(value):
            return None
        return {token.text: value}

    def match(self, path: str) -> Iterator[dict[str, str]]:
        """Every binding of `path`, each once, the leftmost-longest first."""
        if not path.startswith(self.prefix) or not path.endswith(self.suffix):
            return
        start, end = len(self.prefix), len(path) - len(self.suffix)
        if start > end:
            return
        if self._single is not None:
            binding = self.first(path)
            if binding is not None:
                yield binding
        elif self._pair:
            (_, one, _, _, accept_one), (_, text, _, _, _), (_, two, _, _, accept_two) = self._tokens
            if not self._dots and path.startswith(".", start) and (start == 0 or path[start - 1] == "/"):
                return
            stop = end
            while (stop := path.rfind(text, start + 1, stop)) >= 0:
                head, tail = path[start:stop], path[stop + len(text) : end]
                shown = self._dots or text[-1] != "/" or not tail.startswith(".")
                if "/" not in head and "/" not in tail and tail and shown:
                    if (accept_one is None or accept_one(head)) and (accept_two is None or accept_two(tail)):
                        yield {one: head, two: tail}
                stop += len(text) - 1
        elif self._globs:  # several ways through a glob to one binding are one
            found: set[tuple[str, ...]] = set()
            for bound in self._walk(path, 0, start, end, {}, set(), set()):
                values = tuple(bound.values())
                if values not in found:
                    found.add(values)
                    yield bound
        else:
            yield from self._walk(path, 0, start, end, {}, set(), set())

    def _walk(
        self,
        path: str,
        index: int,
        place: int,
        end: int,
        bound: dict[str, str],
        dead: set[tuple[object, ...]],
        seen: set[tuple[object, ...]],
    ) -> Generator[dict[str, str], None, bool]:
        """The bindings of tokens[index:] with path[place:end]; returns whether there are any.

        dead: from where nothing matches; seen: what was walked already and matched.
        """
        tokens = self._tokens
        while True:  # what can match in one way only needs no branch
            if index == len(tokens):
                if place == end:
                    yield dict(bound)
                return place == end
            token = tokens[index]
            kind = token.kind
            if kind == _TEXT:
                stop = place + len(token.text)
                if stop > end or not path.startswith(token.text, place):
                    return False
            else:
                if kind != _FOLDERS and not self._dots and path.startswith(".", place):
                    if place == 0 or path[place - 1] == "/":
                        return False
                if kind == _ONE:
                    stop = place + token.least
                    if stop > end or "/" in path[place:stop]:
                        return False
                elif kind == _AGAIN:
                    stop = place + len(bound[token.text])
                    if stop > end or not path.startswith(bound[token.text], place):
                        return False
                else:
                    break
            place = stop
            index += 1
        here = (index, place, *[bound[name] for name in self._later[index]])
        if here in dead:
            return False
        state = (index, place, *bound.values())
        if state in seen:
            return True
        found = False
        name = token.text
        for stop in self._stops(path, index, place, end):
            if kind == _NAME:
                value = path[place:stop]
                if token.accept is not None and not token.accept(value):
                    continue
                bound[name] = value
            if (yield from self._walk(path, index + 1, stop, end, bound, dead, seen)):
                found = True
            if kind == _NAME:
                del bound[name]
        if not found:
            dead.add(here)
        elif self._globs:
            seen.add(state)
        return found

    def _stops(self, path: str, index: int, place: int, end: int) -> Iterator[int]:
        """Where token `index` may end if it begins at `place`: the longest first."""
        token = self._tokens[index]
        if token.kind == _FOLDERS:
            ends = [place]
            while True:
                slash = path.find("/", ends[-1], end)
                if slash < 0 or slash == ends[-1] or (not self._dots and path[ends[-1]] == "."):
                    break
                ends.append(slash + 1)
            yield from reversed(ends)
            return
        limit = end
        if not token.slash:
            slash = path.find("/", place, end)
            if slash >= 0:
                limit = slash
        elif not self._dots:
            hidden = path.find("/.", place)
            if 0 <= hidden < limit:
                limit = hidden
        least = place + token.least
        if index + 1 == len(self._tokens):
            if limit == end and end >= least:
                yield end
            return
        after = self._tokens[index + 1]
        if after.kind != _TEXT:
            yield from range(limit, least - 1, -1)
            return
        text = after.text
        high = min(end, limit + len(text))
        while True:
            stop = path.rfind(text, least, high)
            if stop < 0:
                return
            yield stop
            high = stop + len(text) - 1


def match_path(
    parts: Sequence[Part], path: str, accept: Mapping[str, Accept] | None = None, slashes: Container[str] = ()
) -> Iterator[dict[str, str]]:
    """Every binding of `path` against `parts`, the leftmost-longest first. For many paths make one `PathPattern`."""
    return PathPattern(parts, accept, slashes).match(path)


def _tokens(parts: Sequence[Part], accept: Mapping[str, Accept], slashes: Container[str]) -> list[_Token]:
    tokens: list[_Token] = []
    names: set[str] = set()
    boundary = True  # whether a component begins here
    pending = [part for part in parts if part]
    for index, part in enumerate(pending):
        last = tokens[-1] if tokens else None
        if isinstance(part, Hole):
            if part.name in names:
                tokens.append(_Token(_AGAIN, part.name))
            else:
                names.add(part.name)
                tokens.append(_Token(_NAME, part.name, 1, part.name in slashes, accept.get(part.name)))
        elif not isinstance(part, Glob):
            if last is not None and last.kind == _FOLDERS:
                part = part[1:]  # the token holds its slash
                if not part:
                    boundary = True
                    continue
            if last is not None and last.kind == _TEXT:
                tokens[-1] = last._replace(text=last.text + part)
            else:
                tokens.append(_Token(_TEXT, part))
            boundary = part.endswith("/")
            continue
        elif part == "?":
            if last is not None and last.kind == _ONE:
                tokens[-1] = last._replace(least=last.least + 1)
            else:
                tokens.append(_Token(_ONE, least=1))
        else:
            after = pending[index + 1] if index + 1 < len(pending) else None
            closes = after is None or (type(after) is str and after.startswith("/"))
            if part == "**" and boundary and closes:
                if last is None or last.kind != _FOLDERS:
                    tokens.append(_Token(_FOLDERS))
                if after is None:
                    tokens.append(_Token(_ANY, least=1))
            elif last is None or last.kind != _ANY:
                # A component that is only `*` is not empty: `a/*` is not `a/`. Whether it is shows at its end.
                rest = next((p for p in pending[index:] if not (isinstance(p, Glob) and p != "?")), "/")
                alone = boundary and type(rest) is str and rest.startswith("/")
                tokens.append(_Token(_ANY, least=int(alone)))
        boundary = False
    return tokens


# --- the files of a folder


class _Component(NamedTuple):
    """What stands between two slashes of a pattern, with the parts of it."""

    parts: tuple[Part, ...]

    @property
    def literal(self) -> str | None:
        return "".join(self.parts) if all(type(p) is str for p in self.parts) else None  # type: ignore[arg-type]

    @property
    def dotted(self) -> bool:
        return type(self.parts[0]) is str and self.parts[0].startswith(".")


def _components(parts: Sequence[Part]) -> tuple[str, list[_Component], bool]:
    """A pattern's root (`/` or nothing), its components without empty ones and `.`, and whether it ends in `/`."""
    split: list[list[Part]] = [[]]
    for part in parts:
        if type(part) is not str:
            split[-1].append(part)
            continue
        first, *others = part.split("/")
        if first:
            split[-1].append(first)
        split.extend([text] if text else [] for text in others)
    absolute = len(split) > 1 and not split[0] and bool(parts)
    folder = not split[-1] or split[-1] == ["."]
    return "/" if absolute else "", [_Component(tuple(c)) for c in split if c and c != ["."]], folder


def glob_files(
    root: str,
    parts: Sequence[Part],
    accept: Mapping[str, Accept] | None = None,
    *,
    skip: Callable[[str, bool], bool],
    listed: Callable[[str], None],
    slashes: Container[str] = (),
    span: Span | None = None,
) -> list[tuple[str, dict[str, str]]]:
    """The files that match `parts`, relative to `root`, with what their wildcards are; byte-sorted, distinct.

    A pattern that ends in `/` gives folders, with the `/`. One that begins with `/` or `../` gives paths as written.
    A component that begins with a dot needs a literal one in the pattern. Links to files are files; links to folders
    are followed, but never to a folder that holds them.
    skip(path, is_dir): leave out this file, or this folder and all below it (literal components are not asked about).
    listed(path): called once for each folder that was read or looked for; when none of them changes (the absent ones
    stay absent), neither does the answer. The root is ''.
    FlowError: a folder that cannot be read, at `span`.
    """
    return _Search(root, parts, accept or {}, skip, listed, slashes, span).run()


class _Search:
    """One `glob_files`: a stack of folders, each with the component of the pattern that is next there."""

    def __init__(
        self,
        root: str,
        parts: Sequence[Part],
        accept: Mapping[str, Accept],
        skip: Callable[[str, bool], bool],
        listed: Callable[[str], None],
        slashes: Container[str],
        span: Span | None,
    ) -> None:
        self.root = root
        self.skip = skip
        self.listed = listed
        self.span = span
        self.start, components, self.folder = _components(parts)
        if components and not self.folder and components[-1].parts == (Glob("**"),):
            components.append(_Component((Glob("*"),)))
        self.components = components
        self.deep = len(components)  # from here on a wildcard may hold slashes: the components cannot be told apart
        for index, component in enumerate(components):
            if any(isinstance(p, Hole) and p.name in slashes for p in component.parts):
                self.deep = index
                break
        self.deep_dots = any(c.dotted for c in components[self.deep + 1 :])
        joined: list[Part] = [self.start] if self.start else []
        for index, component in enumerate(components):
            joined += ["/"] * bool(index) + list(component.parts)
        joined += ["/"] * self.folder
        self.whole = PathPattern(_merged(joined), accept, slashes, dots=False)
        self.single = [PathPattern(c.parts, accept, slashes, dots=False) for c in components]
        # Where only the last component has names, it alone says what they are.
        self.last = self.single[-1] if self.deep == len(components) and components else None
        if any(isinstance(p, Hole) for c in components[:-1] for p in c.parts):
            self.last = None
        self.found: dict[str, dict[str, str]] = {}
        self.told: set[str] = set()
        self.ids: dict[str, tuple[int, int] | None] = {}
        self.listing: tuple[str, list[os.DirEntry[str]] | None] = ("\0", None)

    def run(self) -> list[tuple[str, dict[str, str]]]:
        if self.components:
            stack = [(self.start, 0)]
            done: set[tuple[str, int]] = set()
            while stack:
                step = stack.pop()
                if step not in done:
                    done.add(step)
                    stack.extend(self.step(*step))
        paths = sorted(self.found)
        try:
            "".join(paths).encode()
        except UnicodeEncodeError:  # for UTF-8 the order of characters is that of bytes, for other names it is not
            paths.sort(key=os.fsencode)
        return [(path, self.found[path]) for path in paths]

    def step(self, prefix: str, index: int) -> list[tuple[str, int]]:
        """Look for component `index` in the folder `prefix` ('' or ending in `/`); the steps that follow from it."""
        last = len(self.components) - 1
        while index < self.deep and index < last:
            literal = self.components[index].literal
            if literal is None:
                break
            prefix += literal + "/"
            index += 1
        component = self.components[index]
        if index < self.deep and component.literal is not None:
            self.probe(prefix, component.literal)
            return []
        if index < self.deep and component.parts == (Glob("**"),):
            entries = self.entries(prefix)
            if entries is None:
                return []
            below = [(f"{prefix}{entry.name}/", index) for entry in entries if self.descends(prefix, entry)]
            if index == last:
                if prefix.strip("/"):
                    self.take(prefix)
                return below
            return [*below, (prefix, index + 1)]  # the last is next: it reads the same folder
        entries = self.entries(prefix)
        if entries is None:
            return []
        if index < self.deep and index < last:
            first = self.single[index].first
            named = [entry for entry in entries if first(entry.name) is not None and self.is_dir(prefix, entry)]
            return [(f"{prefix}{e.name}/", index + 1) for e in named if not self.skip(prefix + e.name, True)]
        self.files(prefix, entries)
        if index < self.deep:
            return []
        dotted = component.dotted or self.deep_dots
        return [(f"{prefix}{e.name}/", index) for e in entries if self.descends(prefix, e, dotted)]

    def files(self, prefix: str, entries: list[os.DirEntry[str]]) -> None:
        """Take the entries of a folder that match the whole pattern."""
        first = self.last.first if self.last is not None else self.whole.first
        before, after = ("", "") if self.last is not None else (prefix, "/" if self.folder else "")
        skip, folder, found = self.skip, self.folder, self.found
        for entry in entries:
            name = entry.name
            binding = first(f"{before}{name}{after}")
            if binding is None:
                continue
            try:
                if not (entry.is_dir() if folder else entry.is_file()):
                    continue
            except OSError as error:
                self.odd(prefix, entry, error)
                continue
            path = prefix + name
            if not skip(path, folder):
                found[path + "/" if folder else path] = binding

    def take(self, path: str) -> None:
        binding = self.whole.first(path)
        if binding is not None:
            self.found[path] = binding

    def probe(self, prefix: str, name: str) -> None:
        """A path whose last component is literal: looked for, its folder not listed."""
        self.tell(prefix)
        path = prefix + name
        status = self.status(path)
        if status is None:
            return
        if (stat.S_ISDIR if self.folder else stat.S_ISREG)(status.st_mode) and not self.skip(path, self.folder):
            self.take(path + "/" * self.folder)

    # --- the disk

    def status(self, path: str) -> os.stat_result | None:
        try:
            return os.stat(os.path.join(self.root, path))
        except PermissionError as error:
            raise self.unreadable(path, error) from None
        except (OSError, ValueError):
            return None

    def tell(self, prefix: str) -> None:
        folder = prefix.rstrip("/") or prefix
        if folder not in self.told:
            self.told.add(folder)
            self.listed(folder)

    def entries(self, prefix: str) -> list[os.DirEntry[str]] | None:
        """What the folder holds; None where there is none."""
        if self.listing[0] == prefix:
            return self.listing[1]
        self.tell(prefix)
        entries: list[os.DirEntry[str]] | None
        try:
            with os.scandir(os.path.join(self.root, prefix) or ".") as scan:
                entries = list(scan)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            entries = None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENAMETOOLONG):
                raise self.unreadable(prefix, error) from None
            entries = None
        self.listing = (prefix, entries)
        return entries

    def unreadable(self, path: str, error: OSError) -> FlowError:
        return FlowError(f"{path or 'the project'} cannot be read: {error.strerror}", self.span)

    def is_dir(self, prefix: str, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError as error:
            self.odd(prefix, entry, error)
            return False

    def odd(self, prefix: str, entry: os.DirEntry[str], error: OSError) -> None:
        """An entry that cannot be looked at: an error, but for a link that leads nowhere, or to itself."""
        if isinstance(error, PermissionError):
            raise self.unreadable(prefix + entry.name, error) from None

    def descends(self, prefix: str, entry: os.DirEntry[str], dotted: bool = False) -> bool:
        """Whether an entry is a folder to go into at any depth."""
        if (entry.name.startswith(".") and not dotted) or not self.is_dir(prefix, entry):
            return False
        if self.skip(prefix + entry.name, True):
            return False
        return not entry.is_symlink() or not self.circular(prefix, entry)

    def circular(self, prefix: str, entry: os.DirEntry[str]) -> bool:
        """Whether a link leads to a folder that it stands in."""
        try:
            status = entry.stat()
        except OSError:
            return True
        folder = os.path.abspath(os.path.join(self.root, prefix))
        while True:
            if folder not in self.ids:
                try:
                    found = os.stat(folder)
                    self.ids[folder] = (found.st_dev, found.st_ino)
                except OSError:
                    self.ids[folder] = None
            if self.ids[folder] == (status.st_dev, status.st_ino):
                return True
            above = os.path.dirname(folder)
            if above == folder:
                return False
            folder = above


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Parts with adjacent texts as one."""
    merged: list[Part] = []
    for part in parts:
        last = merged[-1] if merged else None
        if type(part) is str and type(last) is str:
            merged[-1] = last + part
        else:
            merged.append(part)
    return merged
