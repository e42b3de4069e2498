"""The history of files, read from the entries of the caches alone: what made them, from what, back to the sources.

An entry names for each input the entry that it came from, so the history is a walk from entry to entry. One that is
gone, or cannot be read, is an opaque step: that it made the file is known, and no more. How a history is written down
is the business of `provenance_prov` and `provenance_crate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from buildflow.cache import Entry, output_digest, read_entry
from buildflow.entries import KINDS
from buildflow.errors import FlowError
from buildflow.history import History

if TYPE_CHECKING:
    from buildflow.cache import Cache
    from buildflow.submitter import Session
    from buildflow.targets import Asked

SOURCE = ""


class Name(NamedTuple):
    """What tells one file of a history from another: its path in the project (a folder's ends in `/`), the digest of
    what it held (hex; empty: not known) and the step that made it (empty: a source). A path may be there several times.
    """

    path: str
    digest: str
    step: str


@dataclass(eq=False)
class File:
    """One file or folder with what it held. `output`: which of its step's outputs it is, or lies in; None: of a source,
    or not known. `members`: what is known of the inside of a folder."""

    name: Name
    size: int | None = None
    output: dict[str, Any] | None = None
    within: File | None = None
    members: list[File] = field(default_factory=list)

    @property
    def path(self) -> str:
        return self.name.path

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")

    @property
    def is_source(self) -> bool:
        return self.name.step == SOURCE


@dataclass(eq=False)
class Step:
    """One run of a job; its id is that of the entry, `<kind>-<key>`. Without an entry it is opaque, and `why` says so.

    `used` and `made` are in the order of the entry; what was read is all that a depfile names, where there is one.
    """

    id: str
    entry: Entry | None
    why: str = ""
    used: list[File] = field(default_factory=list)
    made: dict[Name, File] = field(default_factory=dict)

    @property
    def result(self) -> dict[str, Any]:
        return self.entry.result if self.entry is not None else {}

    @property
    def rule(self) -> str:
        return str(self.result.get("rule") or "")

    @property
    def ran(self) -> bool:
        """Whether the entry tells of a run: not of what another tool made, or what was committed again later."""
        return self.entry is not None and not self.result.get("adopted") and not self.result.get("again")

    def rows(self, section: str) -> list[tuple[str, str]]:
        """Names and values of a section of the job's manifest (see `keys.manifest`)."""
        rows = self.result.get("manifest") or []
        return [(str(row[1]), str(row[2])) for row in rows if row[0] == section]

    @property
    def recipe(self) -> str:
        """The recipe as it was run: filled, of a shell recipe; the function's name, of a function."""
        functions = [value for name, value in self.rows("function") if name == "function"]
        texts = [text for kind, text in self.rows("recipe") if kind != "interpreter"]
        return next(filter(None, [*texts, *functions]), "")

    @property
    def label(self) -> str:
        """A few words for people."""
        made = next((file.path for file in self.made.values()), self.id)
        return f"{self.rule}: {made}" if self.rule and self.rule != made else made

    def time(self, name: str) -> float | None:
        """`started` or `ended` of the run (seconds since 1970), where it is known."""
        value = self.result.get(name)
        return float(value) if self.ran and isinstance(value, (int, float)) and value > 0 else None


class Provenance(NamedTuple):
    """The history of `targets`: every file, and the steps, each after those that made what it used."""

    targets: list[File]
    files: dict[Name, File]
    steps: dict[str, Step]

    @property
    def sources(self) -> list[File]:
        return [file for file in self.files.values() if file.is_source and not file.members]

    @property
    def opaque(self) -> list[Step]:
        return [step for step in self.steps.values() if step.entry is None]


def provenance(session: Session, jobs: Iterable[Asked]) -> Provenance:
    """The history of what was asked for. Raises FlowError for what was never made, or by no job that is recorded."""
    walk = _Walk(session.cache)
    history = History(session)
    targets = [walk.target(*_last(session, history, job)) for job in jobs]
    walk.finish()
    steps = _ordered(walk.steps, targets)
    files = [file for step in steps.values() for file in (*step.used, *step.made.values())]
    whole = [one for file in files for one in (*file.members, file)]
    return Provenance(targets, {file.name: file for file in (*targets, *whole)}, steps)


def _last(session: Session, history: History, job: Asked) -> tuple[str, int | None, str, str]:
    """A target's path, its place among the outputs of its job, its step, and its digest where only the state has it."""
    target = job.file
    if job.kind == "source":
        raise FlowError(f"{target} is a source: no job makes it, so it has no history")
    if job.kind in ("phony", "inplace"):
        raise FlowError(f"{target} is {job.kind}: nothing is recorded of its runs")
    last = history.last(job.outputs)
    if last is None:
        raise FlowError(f"{target} was never made here, so it has no history", None, f"bflow build {target}")
    place = job.outputs.index(target) if target in job.outputs and job.kind == "rule" else None
    if last.entry is not None:
        return target, place, f"{last.entry.result.get('kind')}-{last.key.hex()}", ""
    record = session.disk.record(target)
    return target, place, f"job-{last.key.hex()}", record.digest.hex() if record is not None else ""


class _Walk:
    """From entry to entry, each read once."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.files: dict[Name, File] = {}
        self.steps: dict[str, Step] = {}
        self._outputs: dict[str, _Outputs] = {}
        self._unread: list[Step] = []

    def target(self, path: str, place: int | None, step_id: str, digest: str) -> File:
        """A file of a step: the output at `place` of its job, whatever its entry calls it; None: found by its path."""
        step = self.step(step_id)
        outputs = step.entry.outputs if step.entry is not None else []
        if place is not None and place < len(outputs):
            digest = outputs[place]["digest"]
        elif step.entry is not None:
            digest = self._outputs[step_id].digest(path, step.entry)
        return self.made(path, digest, step)

    def finish(self) -> None:
        """Read on until the sources are reached."""
        while self._unread:
            step = self._unread.pop()
            try:
                self._read(step)
            except (KeyError, TypeError, ValueError, AttributeError):
                step.entry, step.why, step.used = None, "its result.json is damaged", []

    def step(self, step_id: str) -> Step:
        found = self.steps.get(step_id)
        if found is None:
            entry = self._entry(step_id)
            found = self.steps[step_id] = Step(step_id, entry, "" if entry else "its entry is gone from the cache")
            if entry is not None:
                self._outputs[step_id] = _Outputs(entry.outputs)
                self._unread.append(found)
        return found

    def _entry(self, step_id: str) -> Entry | None:
        kind, _, key = step_id.partition("-")
        if kind not in KINDS or len(key) != 32:
            return None
        for number, root in enumerate(self.cache.roots):
            entry = read_entry(f"{root}/{key[:2]}/{step_id}", readonly=number > 0)
            if entry is not None and all(map(_is_output, entry.outputs)):
                return entry
        return None

    # ---- files -------------------------------------------------------------------------------------------------

    def source(self, path: str, digest: str, size: int | None = None) -> File:
        return self._file(Name(path, digest, SOURCE), size)

    def made(self, path: str, digest: str, step: Step, size: int | None = None) -> File:
        """A file that a step made. Where its entry of today holds other bytes, an earlier run has made it."""
        output: dict[str, Any] | None = None
        folder: File | None = None
        if step.entry is not None:
            outputs = self._outputs[step.id]
            output = outputs.same(path, digest)
            if output is None and (output := outputs.around(path)) is not None:
                folder = self.made(output["name"], output["digest"], step)
            elif output is None:  # the run before the one that the entry tells of
                step_id = f"{step.id}-{digest}"
                why = "its job ran again since and made something else, which the entry is about"
                step = self.steps.setdefault(step_id, Step(step_id, None, why))
            elif size is None:
                size = _size(output)
        file = self._file(Name(path, digest, step.id), size)
        file.output = output
        if folder is not None and file.within is None:
            file.within = folder
            folder.members.append(file)
        step.made.setdefault(file.name, file)
        return file

    def _file(self, name: Name, size: int | None) -> File:
        found = self.files.get(name)
        if found is None:
            found = self.files[name] = File(name, size)
        elif found.size is None:
            found.size = size
        return found

    # ---- one entry ---------------------------------------------------------------------------------------------

    def _read(self, step: Step) -> None:
        for _, _, _ in step.result.get("manifest") or ():
            pass  # each row has three parts
        for output in step.entry.outputs if step.entry is not None else ():
            self.made(output["name"], output["digest"], step)
        step.used = list(dict.fromkeys(self._used(step)))

    def _used(self, step: Step) -> Iterator[File]:
        inputs = {row["name"]: row for row in step.result.get("inputs") or ()}
        read = {str(name): str(digest) for name, digest in step.result.get("read") or ()}
        counted = {name for name, digest in step.rows("input") if digest}
        narrowed = bool(step.rows("depfile"))
        for name, row in inputs.items():
            if not narrowed or name in counted or name in read:
                yield self._input(row)
        for name, digest in read.items():
            if name not in inputs:  # a header of the system
                yield self.source(name, digest)
        for name, digest in step.rows("function"):
            if name.startswith("module "):
                yield self.source(name.removeprefix("module "), digest)

    def _input(self, row: dict[str, Any]) -> File:
        size = None if row["name"].endswith("/") else row.get("size")
        if row["from"] != "source":
            return self.made(row["name"], row["digest"], self.step(row["from"]), size)
        file = self.source(row["name"], row["digest"], size)
        if not file.members:
            file.members = [self._input(member) for member in row.get("made") or ()]
        return file


class _Outputs:
    """What an entry says that its job made, found by name."""

    def __init__(self, outputs: Sequence[dict[str, Any]]) -> None:
        self.by_name = {output["name"]: output for output in outputs}
        self.by_digest = {output["digest"]: output for output in outputs}
        self.folders = [output for output in outputs if output["name"].endswith("/")]

    def same(self, path: str, digest: str) -> dict[str, Any] | None:
        """The output of that name and digest, else one that another job of the same key has under another name."""
        found = self.by_name.get(path)
        return found if found is not None and found["digest"] == digest else self.by_digest.get(digest)

    def around(self, path: str) -> dict[str, Any] | None:
        """The folder that a path lies in."""
        return next((one for one in self.folders if path.startswith(one["name"]) and path != one["name"]), None)

    def digest(self, path: str, entry: Entry) -> str:
        """The digest of an output, or of a file in one; empty where there is none."""
        found = self.by_name.get(path)
        if found is not None:
            return str(found["digest"])
        folder = self.around(path)
        try:
            return output_digest(entry.file(folder) + "/" + path[len(folder["name"]) :], False).hex() if folder else ""
        except (OSError, FlowError):
            return ""


def _is_output(output: Any) -> bool:
    return isinstance(output, dict) and all(isinstance(output.get(name), str) for name in ("name", "file", "digest"))


def _size(output: dict[str, Any]) -> int | None:
    """The bytes of an output; of a folder those of all its files."""
    stat = output.get("stat") or []
    try:
        return sum(row[2] for row in stat) if output.get("folder") else int(stat[0])
    except (IndexError, TypeError, ValueError):
        return None


def _ordered(steps: dict[str, Step], targets: Sequence[File]) -> dict[str, Step]:
    """The steps, each after those that made what it used; a circle (of files that were made from each other at
    different times) is cut where it closes."""

    def before(step: Step) -> Iterator[Step]:
        for file in step.used:
            for one in (file, *file.members):
                if not one.is_source:
                    yield steps[one.name.step]

    found: dict[str, Step] = {}
    begun: set[str] = set()
    for target in targets:
        stack = [iter([steps[target.name.step]])]
        path: list[Step] = []
        while stack:
            step = next((one for one in stack[-1] if one.id not in begun), None)
            if step is not None:
                begun.add(step.id)
                path.append(step)
                stack.append(before(step))
            else:
                stack.pop()
                if path:
                    done = path.pop()
                    found[done.id] = done
    return found
