"""What a build has seen, and whether a path that was touched since holds anything else.

Events only say where to look: they come late, several for one save, and for bflow's own files too. So what counts is
what stands there now, against what stood there when the build began. A change that a build has overtaken (it read some
of the old and some of the new) is a change as well, which is why the beginning counts and not the end.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Mapping

from buildflow.digest import Signature, is_racy, signature, signature_matches, stable_digest
from buildflow.disk import Disk
from buildflow.errors import FlowError
from buildflow.ignore import Ignore, built_in
from buildflow.lookout import Touch
from buildflow.plan.matcher import normal
from buildflow.plan.plan import Plan
from buildflow.reads import Reads
from buildflow.state import LINKED, RACY, TREE, WRITTEN, FileRecord

NOTHING, MAYBE, SURE = range(3)
"""Verdicts: nothing has changed; a look will tell (a new name in a folder that a glob lists); something has."""

HASHED = 64 << 20
"""Bytes up to which a file that was written anew is compared by its content."""


class Seen:
    """What one build sees. Made before it reads anything; `touched` is what the build is for (names as in plans), and
    `previous` what the build before it saw.
    """

    def __init__(self, root: str, touched: Iterable[str] = (), previous: Seen | None = None) -> None:
        self.root = root
        self.started = time.time_ns()
        self.ended = 0
        self.whole = False  # whether the plan was made and carried out to its end, so that it knows all that it reads
        self.kept = False  # whether the plan is that of the build before
        self.plan = Plan()
        self.disk: Disk | None = None
        self.ignore = Ignore(root, gitignore=True)
        self.at_start = {name: self._signature(name) for name in touched}
        self.contents: dict[str, bytes] = {}  # of sources that were touched at some time, as this build finds them
        self.standing = {name for name, found in self.at_start.items() if found is not None}
        self.files: dict[str, Signature | None] = {}  # what the plan was read from
        self.absent: set[str] = set()
        self.folders: set[str] = set()
        self._before: dict[str, bytes] = {}
        self._made: set[str] = set()
        self._above: set[str] | None = None
        self._above_outputs: set[str] | None = None
        if previous is not None:
            self.standing |= previous.standing - self.at_start.keys()
            self.files = {name: self._signature(name) for name in previous.files}
            sources = filter(previous.is_source, previous.contents.keys() - self.at_start.keys())
            self.contents = {name: previous.contents[name] for name in sources}
            for name, found in self.at_start.items():
                if found is not None and previous.is_source(name):
                    digest = self._content(name, found)
                    if digest is not None:
                        self.contents[name] = digest

    # ---- while it builds ---------------------------------------------------------------------------------------

    def opened(self, disk: Disk) -> None:
        """The state was read."""
        self.disk = disk
        self._before = dict(disk.state.files)

    def keep(self, previous: Seen) -> None:
        """The plan is the one that was made before, from what was read then."""
        self.kept = True
        self.plan, self.ignore = previous.plan, previous.ignore
        self.files, self.absent, self.folders = previous.files, previous.absent, previous.folders
        self._made, self._above, self._above_outputs = previous._made, previous._above, previous._above_outputs

    def planned(self, plan: Plan, reads: Reads) -> None:
        """The plan is made (or as far as it could be); called again once it is known in full."""
        self.plan = plan
        known, self.files = self.files, {}
        for name, read in reads.files.items():
            own = self._own(name)
            if own in self.files:
                continue
            if own in known:
                self.files[own] = known[own]  # taken earlier
            elif read is None:
                self.files[own] = None
            else:
                ctime, mtime, ino, size, mode = read
                self.files[own] = (size, mtime, ino, ctime, mode)
        self.absent = {self._own(name) for name in reads.absent}
        self.folders = {self._own(name) for name in reads.folders}
        self._made = {path for f, path in enumerate(plan.paths) if path.endswith("/") and plan.maker[f] >= 0}
        self._above = self._above_outputs = None

    def finished(self, whole: bool) -> None:
        """The build has ended."""
        self.whole = whole
        self.ended = time.time_ns()

    def _own(self, name: str) -> str:
        """A name as plans have it: without `./` and a `/` at the end, and below the root not absolute."""
        name = normal(name).rstrip("/") if name not in ("", ".") else ""
        if name == self.root:
            return ""
        return name[len(self.root) + 1 :] if name.startswith(self.root + "/") else name

    # ---- where to look -----------------------------------------------------------------------------------------

    def is_source(self, name: str) -> bool:
        """Whether the plan reads a file and does not make it."""
        f = self.plan.ids.get(name)
        return name in self.files or (f is not None and self.plan.maker[f] < 0)

    def places(self) -> tuple[set[str], set[str]]:
        """The folders where a change would matter, outputs left out, and the sources that might be links."""
        plan = self.plan
        sources = {path for f, path in enumerate(plan.paths) if plan.maker[f] < 0 and not path.endswith("/")}
        sources.update(self.files)
        folders = {os.path.dirname(path) for path in sources}
        folders.update(self.folders, (os.path.dirname(path) for path in self.absent))
        return folders, sources

    def matters(self, name: str, folder: bool) -> bool:
        """Whether a path is worth a look; `folder`: it is one, or was."""
        if name in self.files or name in self.absent or (folder and name in self.above):
            return True
        f = self.plan.ids.get(name)
        if f is not None:
            return self.plan.maker[f] >= 0 or not self.ignored(name, False) or not self._only_member(f)
        if self._made and self._made_folder(name):
            return True
        return (not self.whole or self._listed(os.path.dirname(name))) and not self.ignored(name, folder)

    def reread(self) -> None:
        """An ignore file was touched."""
        self.ignore = Ignore(self.root, gitignore=True)

    def ignored(self, name: str, folder: bool) -> bool:
        """Whether `.gitignore`, `.bflowignore` or the built-in list name it."""
        try:
            return self.ignore.ignored(name, folder)
        except FlowError:
            return any(built_in(part) for part in name.split("/"))

    @property
    def above(self) -> set[str]:
        """Every folder that holds something known, at any depth."""
        if self._above is None:
            known = {os.path.dirname(path.rstrip("/")) for path in self.plan.paths}
            known.update(os.path.dirname(path) for path in (*self.files, *self.absent))
            known.update(self.folders, (path.rstrip("/") for path in self.plan.paths if path.endswith("/")))
            self._above = _with_parents(known)
        return self._above

    @property
    def above_outputs(self) -> set[str]:
        """Every folder that holds an output, at any depth."""
        if self._above_outputs is None:
            outputs = (path for f, path in enumerate(self.plan.paths) if self.plan.maker[f] >= 0)
            self._above_outputs = _with_parents({os.path.dirname(path.rstrip("/")) for path in outputs})
        return self._above_outputs

    def _only_member(self, f: int) -> bool:
        """Whether a file is read only as one of a folder's."""
        if not self.plan.trees:
            return False
        plan = self.plan
        return not any(f in plan.inputs[j] or f in plan.extra[j] or f in plan.after[j] for j in range(len(plan.rule)))

    def _made_folder(self, name: str) -> str | None:
        """The made folder that a path is or lies in."""
        if name + "/" in self._made:
            return name + "/"
        end = name.find("/")
        while end >= 0:
            if name[: end + 1] in self._made:
                return name[: end + 1]
            end = name.find("/", end + 1)
        return None

    def _listed(self, folder: str) -> bool:
        """Whether a new name in a folder could join the plan: it was listed, or made by now in one that was."""
        while folder not in self.folders:
            if not folder or folder not in self.above_outputs:
                return False
            folder = os.path.dirname(folder)
        return True

    # ---- what has changed --------------------------------------------------------------------------------------

    def changed(self, touched: Mapping[str, Touch]) -> tuple[list[str], int]:
        """Of paths that matter those that have changed, and the strongest verdict."""
        found: list[str] = []
        strongest = NOTHING
        gone: list[str] = []
        for name, touch in touched.items():
            if touch.folder and name in self.above and not os.path.isdir(self._path(name)):
                gone.append(name)
            verdict = self._verdict(name, touch)
            if verdict:
                found.append(name)
                strongest = max(strongest, verdict)
        if gone and strongest < SURE:
            lost = self._lost_below(gone)
            if lost is not None:
                found, strongest = [*found, lost], SURE
        return [*found, *(name for name in gone if name not in found)], strongest

    def overtaken(self, touched: Mapping[str, Touch]) -> dict[str, tuple[Signature, bytes | None]]:
        """While a build runs: the sources that jobs read and that hold something else than it found, with what they
        hold (signature and, of files up to `HASHED`, digest)."""
        found = {}
        for name in touched:
            f = self.plan.ids.get(name)
            if f is None or self.plan.maker[f] >= 0 or name in self.files:
                continue
            now = self._signature(name)
            if now is None or now == self.at_start.get(name) or not stat.S_ISREG(now[4]):
                continue
            data = self._before.get(name)
            before = None if data is None else FileRecord.unpack(data)
            if before is not None and before.signature == now and not before.flags & RACY:
                continue
            digest = self._content(name, now)
            known = self.contents.get(name) or (before.digest if before is not None else None)
            if digest is None or digest != known:
                found[name] = (now, digest)
        return found

    def caught_up(self, found: Mapping[str, tuple[Signature, bytes | None]]) -> None:
        """The build has gone back to these sources, and takes them as they are now."""
        for name, (now, digest) in found.items():
            self.at_start[name] = now
            self.standing.add(name)
            if digest is not None:
                self.contents[name] = digest
            else:
                self.contents.pop(name, None)

    def _verdict(self, name: str, touch: Touch) -> int:
        now = self._signature(name)
        if name in self.at_start and self.at_start[name] == now and (now is None or not is_racy(now, self.started)):
            return NOTHING
        f = self.plan.ids.get(name)
        if f is not None and self.plan.maker[f] >= 0:
            return NOTHING if self._stands(name) else SURE
        made = self._made_folder(name) if self._made else None
        if made is not None:
            return NOTHING if self._stands(made) else SURE
        if f is not None or name in self.files:
            if not self._source_changed(name, f is not None, now):
                return NOTHING
            return SURE
        if now is None and not os.path.lexists(self._path(name)):
            return NOTHING if name in self.absent else self._left(name, touch)
        if self._ours(name):
            return NOTHING
        if name in self.absent:
            return SURE
        return self._joined(name, touch)

    def _left(self, name: str, touch: Touch) -> int:
        """A name that no longer stands in a folder."""
        if not self._stood(name, touch):
            return NOTHING
        record = self._record(name)
        return NOTHING if record is not None and record.flags & WRITTEN else MAYBE

    def _joined(self, name: str, touch: Touch) -> int:
        """A name that stands in a folder and is the user's."""
        if self._stood(name, touch):
            return MAYBE if not self.whole and not touch.folder else NOTHING
        return NOTHING if touch.folder and name in self.above_outputs else MAYBE

    def _stood(self, name: str, touch: Touch) -> bool:
        """Whether something stood there when the build began."""
        if name in self.at_start:
            return self.at_start[name] is not None
        return name in self.standing or not touch.made

    def _stands(self, name: str) -> bool:
        """Whether an output is as bflow left it (which may be: not there)."""
        record = self._record(name)
        if not os.path.lexists(self._path(name).rstrip("/")):
            return record is None or not record.flags & WRITTEN
        if name.endswith("/"):
            return self._ours(name)
        return record is not None and self._holds(name, record)

    def _source_changed(self, name: str, hashed: bool, now: Signature | None) -> bool:
        if now is None:
            return True
        trusted = not is_racy(now, self.started)
        if self.files.get(name) == now and trusted:
            return False
        data = self._before.get(name)
        before = None if data is None else FileRecord.unpack(data)
        if before is not None and before.signature == now and not before.flags & RACY:
            return False
        if before is None and hashed and trusted:
            record = self._record(name)  # it was first looked at in this build, and is older
            if record is not None and record.signature == now and not record.flags & RACY:
                return False
        digest = self.contents.get(name) or (before.digest if before is not None else None)
        if digest is not None and digest == self._content(name, now):
            return now[3] > self.ended  # written anew with what it held: news only where the user did it, afterwards
        return True

    def _lost_below(self, gone: Iterable[str]) -> str | None:
        """A known path that was lost with one of some folders (what lies in one that is moved away is not told)."""
        below: dict[str, bool] = dict.fromkeys(gone, True)

        def lost(folder: str) -> bool:
            found = below.get(folder)
            if found is None:
                parent = os.path.dirname(folder)
                found = below[folder] = parent != folder and lost(parent)
            return found

        for name in (*self.plan.paths, *self.files, *self.folders):
            if lost(os.path.dirname(name.rstrip("/"))) and not (self._known_output(name) and self._stands(name)):
                return name
        return None

    def _known_output(self, name: str) -> bool:
        f = self.plan.ids.get(name)
        return f is not None and self.plan.maker[f] >= 0

    # ---- the disk ----------------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return name if name.startswith("/") else os.path.join(self.root, name)

    def _signature(self, name: str) -> Signature | None:
        try:
            return signature(os.stat(self._path(name)))
        except (OSError, ValueError):
            return None

    def _content(self, name: str, now: Signature) -> bytes | None:
        if not stat.S_ISREG(now[4]) or now[0] > HASHED:
            return None
        try:
            return stable_digest(self._path(name))[1]
        except (OSError, FlowError):
            return None

    def _record(self, name: str) -> FileRecord | None:
        return None if self.disk is None else self.disk.record(name)

    def _holds(self, name: str, record: FileRecord) -> bool:
        """Whether a file is as a record has it. (`Disk.holds` would remember what it finds instead.)"""
        now = self._signature(name)
        if now is None:
            return False
        if signature_matches(record.signature, now, bool(record.flags & LINKED)) and not record.flags & RACY:
            return True
        return now[0] == record.signature[0] and self._content(name, now) == record.digest

    def _ours(self, name: str) -> bool:
        """Whether bflow wrote what stands there, and it is unchanged since."""
        record = self._record(name)
        if record is not None and record.flags & WRITTEN and not record.flags & TREE:
            return self._holds(name, record)
        try:
            return self.disk is not None and self.disk.ours(name)
        except FlowError:
            return False


def _with_parents(folders: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for folder in folders:
        while folder not in found:
            found.add(folder)
            folder = os.path.dirname(folder)
    return found
