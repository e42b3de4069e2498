"""What stands in a job's sandbox, piece by piece, and whether it was still what its digest says when the job ended.

Small inputs and code are real files, larger ones links, folders real folders of such files. `Staging` decides which;
`Sandbox` makes them. The stat signature of every input is that of its digest, before and after the run.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from xxhash import xxh3_128

from buildflow.digest import Signature, signature, signature_matches
from buildflow.errors import FlowError
from buildflow.lazy import regex
from buildflow.sandbox import Piece, Sandbox
from buildflow.state import LINKED, RACY

if TYPE_CHECKING:
    from buildflow.decide import Decider
    from buildflow.job import Job

SMALL = 1 << 20
"""Bytes up to which an input is a real file in the sandbox; larger ones are symlinks."""

MANY = 1000
"""Files above which a folder is one link."""

FEW = 16
"""Files that a job may read, up to which each is watched as any input."""

_COPIERS = regex(
    r"(?<![\w.-])(?:(?:bsd|g)?tar|zip|cpio|rsync|find)(?![\w.-])"
    r"|(?<![\w.-])cp\s(?:[^|;&\n]|\\\n)*?(?<!\S)(?:-\w*[adPRr]|--(?:archive|recursive|no-dereference|preserve))"
)
"""Tools that take a link for the file, silently."""

_CODE = (".py", ".r", ".pl", ".sh", ".bash", ".rb", ".jl", ".lua", ".js", ".mjs", ".m", ".awk", ".php", ".tcl")
"""Endings of files that an interpreter runs: through a link it would look beside the real file for more."""


class InputChanged(Exception):
    """An input changed under a job: what it made is of no known input. `by_job`: its own copy, in the sandbox."""

    def __init__(self, name: str, by_job: bool) -> None:
        super().__init__(name)
        self.name = name
        self.by_job = by_job


class Watched:
    """One path whose signature was that of its digest; `digest` None: only the signature counts (links, folders)."""

    __slots__ = ("path", "file", "signature", "digest", "link")

    def __init__(self, path: str, file: int, sig: Signature, digest: bytes | None, link: bool) -> None:
        self.path = path
        self.file = file
        self.signature = sig
        self.digest = digest
        self.link = link


class Candidates:
    """The files that the jobs of a rule may read, as they stand in a sandbox: `pieces` and numbers by name."""

    def __init__(self, staging: Staging, files: Sequence[int]) -> None:
        decider, paths = staging.decider, staging.plan.paths
        self.pieces: dict[str, Piece] = {}
        self.numbers: dict[str, int] = {}
        state = xxh3_128()
        for f in files:
            name = paths[f]
            digest = decider.digest(f, staging.job.number)
            state.update(digest)
            path = decider.place(f)
            try:
                st = os.stat(path)
            except OSError:
                raise InputChanged(name, False) from None
            code = bool(st.st_mode & 0o100) or name.lower().endswith(_CODE)
            real = staging.copies or f in staging.extra or code or st.st_size <= staging.small
            self.pieces[name] = Piece(path, digest, real)
            self.numbers[name] = f
        self.digest: bytes = state.digest()


class Staging:
    """The inputs of one job: `pieces` (name in the sandbox → piece), `folders`, and what is `watched`."""

    def __init__(self, decider: Decider, job: Job) -> None:
        self.decider = decider
        self.disk = decider.disk
        self.plan = decider.plan
        self.job = job
        self.pieces: dict[str, Piece] = {}
        self.folders: list[str] = []
        self.watched: list[Watched] = []
        self.trees: list[tuple[str, int]] = []  # made folders of the workspace
        how = job.attribute("stage") or "auto"
        self.copies = how == "copy" or (how == "auto" and copies_links(job))
        self.small = SMALL if how == "auto" else -1
        self.extra = frozenset(job.extra_ids)
        ids, self.candidates = self._split((*job.input_ids, *job.after_ids, *job.extra_ids))
        for f in ids:
            self._add(f)
        if self.candidates is not None:
            self.pieces = {**self.candidates.pieces, **self.pieces}
        self._linked_folders_are_whole()
        self._room_for_outputs()

    def _split(self, ids: Sequence[int]) -> tuple[Sequence[int], Candidates | None]:
        """Of a job with a depfile: the inputs that count whether they are read or not, and the others, as far as they
        are plain files (a program's headers): these are looked at together with those of the rule's other jobs."""
        if self.job.depfile is None:
            return ids, None
        always, paths, maker = self.decider.always(self.job), self.plan.paths, self.plan.maker
        first: list[int] = []
        rest: list[int] = []
        for f in ids:
            name = paths[f]
            plain = name not in always and maker[f] < 0 and name[-1] != "/" and name[0] != "/" and name[:3] != "../"
            (rest if plain else first).append(f)
        if len(rest) < FEW or self.job.anonymous:
            return ids, None
        key = (tuple(rest), self.copies, self.small)
        found: Candidates | None = self.decider.candidates.get(key)
        if found is None:
            found = self.decider.candidates[key] = Candidates(self, rest)
        return first, found

    def _add(self, f: int) -> None:
        name = self.plan.paths[f]
        outside = name.startswith(("/", "../"))
        staged = self.job.staged.get(name, name)
        tree = self.plan.tree(self.job.number, f) if self.plan.trees else None
        if tree is not None:
            self._source_folder(f, name, staged, tree, outside)
        elif name.endswith("/"):
            self._made_folder(f, name, staged, outside)
        else:
            size = self._watch(f)
            if not outside:
                real = self.copies or f in self.extra or self._is_code(f)
                self._file(f, staged, real, size)

    def _is_code(self, f: int) -> bool:
        """Whether an input is something that is run."""
        last = self.watched[-1]
        return bool(last.signature[4] & 0o100) or self.plan.paths[f].lower().endswith(_CODE)

    def _file(self, f: int, staged: str, real: bool, size: int) -> None:
        path = self.decider.place(f)
        digest = self.decider.digest(f, self.job.number)
        self.pieces[staged] = Piece(path, digest, real or size <= self.small)

    def _source_folder(
        self, f: int, name: str, staged: str, tree: tuple[tuple[int, ...], tuple[str, ...]], outside: bool
    ) -> None:
        """A folder that no rule makes: its members one by one, or one link where they are many."""
        members, empty = tree
        one_link = len(members) > MANY and not self.copies and not any(o.startswith(name) for o in self.job.outputs)
        if one_link and not outside:
            self.pieces[staged] = Piece(self.decider.place(f), self.decider.digest(f, self.job.number), False, True)
            for folder in {self.decider.place(m).rpartition("/")[0] for m in members}:
                self._watch_as_is(folder, f)  # the job could make files there
        if not outside and not one_link:
            self.folders.append(staged)
            self.folders.extend(staged + inner[len(name) :] for inner in empty)
        for member in members:
            path = self.decider.place(member)
            inner = staged + self.plan.paths[member][len(name) :]
            separately = not outside and not one_link
            if self.plan.maker[member] < 0 and os.path.islink(path):
                self._watch_as_is(path, member)
                if not os.path.isfile(path):  # it leads nowhere, or to a folder: its text is all there is
                    if separately:
                        digest = self.decider.member_digest(member, self.job.number)
                        self.pieces[inner] = Piece(os.readlink(path), digest, False)
                    continue
            size = self._watch(member)
            if separately:
                self._file(member, inner, self.copies or self._is_code(member), size)

    def _made_folder(self, f: int, name: str, staged: str, outside: bool) -> None:
        """A folder that a rule made."""
        place = self.decider.place(f).rstrip("/")
        digest = self.decider.digest(f, self.job.number)
        if f not in self.decider.places:
            if not self.disk.tree_unchanged(name):
                raise InputChanged(name, False)
            self.trees.append((name, f))
        files: list[tuple[str, str, os.stat_result]] = []
        folders: list[str] = []
        for folder, names, inner in os.walk(place):
            below = folder[len(place) + 1 :]
            prefix = f"{staged}{below}/" if below else staged
            folders.append(prefix)
            for base in (*inner, *(n for n in names if os.path.islink(f"{folder}/{n}"))):
                path = f"{folder}/{base}"
                st = os.lstat(path)
                files.append((f"{prefix}{base}", path, st))
                if f in self.decider.places:
                    self.watched.append(Watched(path, f, signature(st), None, True))
        if outside:
            return
        if len(files) > MANY and not self.copies and not any(o.startswith(name) for o in self.job.outputs):
            self.pieces[staged] = Piece(place, digest, False, True)
            return
        self.folders.extend(folders)
        for inner_name, path, st in files:
            if stat.S_ISLNK(st.st_mode):
                self.pieces[inner_name] = Piece(os.readlink(path), digest, False)
            else:
                # the folder's digest stands for each of its files: when it changes they are staged anew
                code = st.st_mode & 0o100 or inner_name.lower().endswith(_CODE)
                self.pieces[inner_name] = Piece(path, digest, bool(self.copies or code or st.st_size <= self.small))

    def _linked_folders_are_whole(self) -> None:
        """A folder that is one link holds what stands below it already."""
        for link in [name for name, piece in self.pieces.items() if piece.folder]:
            for name in [n for n in self.pieces if n.startswith(link) and n != link]:
                del self.pieces[name]
            self.folders = [n for n in self.folders if not n.startswith(link)]

    def _room_for_outputs(self) -> None:
        """An output folder is there, empty; of other outputs the parent is."""
        job = self.job
        for name in job.outputs:
            staged = job.staged.get(name, name)
            self.folders.append(staged if staged.endswith("/") else staged.rpartition("/")[0] + "/")
        for extra in (job.depfile, job.log):
            if extra and not extra.startswith("/"):
                self.folders.append(extra.rpartition("/")[0] + "/")
        self.folders = [name for name in self.folders if name not in ("/", "./")]

    def outside(self) -> list[str]:
        """The paths that the job reads and that are not real files in its sandbox: links, and inputs outside the
        project."""
        found = [piece.source for piece in self.pieces.values() if not piece.real and piece.source.startswith("/")]
        names = ((f, self.plan.paths[f]) for f in (*self.job.input_ids, *self.job.after_ids))
        found += [self.decider.place(f) for f, name in names if name.startswith(("/", "../"))]
        whole = [piece.source.rstrip("/") + "/" for piece in self.pieces.values() if piece.folder]
        if whole:  # a folder that is one link: so are links in it
            found += [w.path for w in self.watched if w.link and w.path.startswith(tuple(whole))]
        return found

    # ---- signatures --------------------------------------------------------------------------------------------

    def _watch(self, f: int) -> int:
        """Watch a file from before it is staged; its size. Raises InputChanged where it is not what was hashed."""
        decider = self.decider
        path = decider.place(f)
        digest = decider.digest(f, self.job.number)
        try:
            sig = signature(os.stat(path))
        except OSError:
            raise InputChanged(self.plan.paths[f], False) from None
        name = decider.places.get(f) or self.plan.paths[f]
        record = self.disk.record(name)
        if record is None:
            self.watched.append(Watched(path, f, sig, digest, False))  # of an entry, whose signatures were looked at
            return sig[0]
        linked = bool(record.flags & LINKED)
        if record.flags & RACY or record.digest != digest or not signature_matches(record.signature, sig, linked):
            try:
                if self.disk.digest(name) != digest:
                    raise InputChanged(self.plan.paths[f], False)
            except FlowError:
                raise InputChanged(self.plan.paths[f], False) from None
            now = self.disk.record(name)
            sig = now.signature if now is not None else sig
        self.watched.append(Watched(path, f, sig, digest, False))
        return sig[0]

    def _watch_as_is(self, path: str, f: int) -> None:
        try:
            self.watched.append(Watched(path, f, signature(os.lstat(path)), None, True))
        except OSError:
            raise InputChanged(self.plan.paths[f], False) from None

    def staged(self, new: Iterable[str]) -> None:
        """What was put into the sandbox now is what was hashed. Raises InputChanged where a candidate is not."""
        if self.candidates is not None:
            for name in new:
                f = self.candidates.numbers.get(name)
                if f is not None:
                    self.check_candidate(f)

    def check_candidate(self, f: int) -> None:
        """Raises InputChanged where a file that the job may have read is not what its digest says."""
        name = self.plan.paths[f]
        digest = self.decider.digest(f, self.job.number)
        record = self.disk.record(name)
        try:
            sig = signature(os.stat(self.disk.path(name)))
            if record is not None and record.signature == sig and record.digest == digest and not record.flags & RACY:
                return
            if self.disk.digest(name) == digest:
                return
        except (OSError, FlowError):
            pass
        raise InputChanged(name, False)

    def check(self, sandbox: Sandbox, *, candidates: bool = False) -> None:
        """After the run. Raises InputChanged where an input is not what its digest says, in the project or the sandbox.

        A file whose status alone changed (a hard link to it was made) is hashed again; so is one that was hashed within
        the clock's granularity of a write. `candidates`: also what the job may have read, where nobody knows whether it
        did.
        """
        touched = sandbox.touched()
        if candidates and self.candidates is not None:
            for f in self.candidates.numbers.values():
                self.check_candidate(f)
        for watched in self.watched:
            try:
                now = signature(os.lstat(watched.path) if watched.link else os.stat(watched.path))
            except OSError:
                raise InputChanged(self.plan.paths[watched.file], False) from None
            if now == watched.signature and not self._racy(watched):
                continue
            same = now[:3] == watched.signature[:3] and now[4] == watched.signature[4]
            if not same or not self._holds(watched):
                raise InputChanged(self.plan.paths[watched.file], False)
        for name, f in self.trees:
            if not self.disk.tree_unchanged(name):
                raise InputChanged(self.plan.paths[f], False)
        if touched:
            raise InputChanged(touched[0], True)

    def _name(self, f: int) -> str:
        return self.decider.places.get(f) or self.plan.paths[f]

    def _racy(self, watched: Watched) -> bool:
        if watched.digest is None:
            return False
        record = self.disk.record(self._name(watched.file))
        return record is not None and bool(record.flags & RACY)

    def _holds(self, watched: Watched) -> bool:
        if watched.digest is None:
            return True
        try:
            return self.disk.digest(self._name(watched.file)) == watched.digest
        except FlowError:
            return False


def copies_links(job: Job) -> bool:
    """Whether a recipe calls a tool that would take a link for the file."""
    recipe = job.rule.recipe
    assert recipe is not None
    if recipe.kind not in ("shell", "script", "python"):
        return False
    if _names_copier(recipe.text):
        return True
    if recipe.kind != "shell":
        return False
    definitions, wildcards = job.scope.definitions, job.wildcards
    if not any(hole.name in definitions and hole.name not in wildcards for hole, _ in recipe.filler.holes):
        return False
    return _COPIERS.search(job.text()) is not None  # what it calls may be the value of a name


@lru_cache(maxsize=1024)
def _names_copier(text: str) -> bool:
    return _COPIERS.search(text) is not None
