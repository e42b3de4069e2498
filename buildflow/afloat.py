"""Jobs that were handed to a queue and outlive their driver: what is known of each stands beside its sandbox.

`.bflow/work/N.run` is written before a job is submitted and goes when it has come to its end. After the driver died the
next build finds these files: a job of the same key, whose inputs were not written to since, takes the run over with its
sandbox; one that nobody wants any more is cancelled. Until then no other job gets that sandbox.
"""

from __future__ import annotations

import contextlib
import marshal
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from buildflow.cache import LOG, take_in
from buildflow.run import Run
from buildflow.sandbox import Pool, Sandbox

if TYPE_CHECKING:
    from buildflow.plan.plan import Plan
    from buildflow.staging import Staging
    from buildflow.workers.base import Worker

FORMAT = 1


class Afloat(NamedTuple):
    """A job that an earlier driver has staged: `key` is its first-level key; `watched` the paths and signatures of its
    inputs."""

    number: int
    key: bytes
    worker: str
    outputs: tuple[str, ...]
    attempt: int
    started: float
    returned: str | None
    watched: list[Any]
    held: dict[str, Any]
    folders: list[str]


class Adrift:
    """The jobs of earlier drivers of one project. `make(name)`: a worker that is ready for the build."""

    def __init__(self, pool: Pool, make: Callable[[str], Worker]) -> None:
        self.pool = pool
        self.make = make
        self.found: dict[bytes, list[Afloat]] = {}
        for one in _read(pool.folder):
            self.found.setdefault(one.key, []).append(one)
            pool.reserve(one.number)

    def take_over(self, run_key: bytes, staging: Staging, worker: Worker) -> tuple[Sandbox, Afloat] | None:
        """The sandbox of a run of that key that goes on, or has ended, with `worker`; any other one is given up."""
        taken: tuple[Sandbox, Afloat] | None = None
        for one in self.found.pop(run_key, ()):
            folder = f"{self.pool.folder}/{one.number}"
            fits = taken is None and one.worker == worker.name and one.watched == watched_of(staging)
            if fits and worker.recall(folder):
                sandbox = self.pool.adopt(one.number, one.held, one.folders)
                if sandbox is not None:
                    taken = sandbox, one
                    continue
            self._give_up(one)
        return taken

    def drop_unwanted(self, plan: Plan) -> None:
        """Give up the runs whose targets this plan makes, and that no job of it took over: their keys are old ones."""
        for key, several in list(self.found.items()):
            for one in several:
                if all(name in plan.ids and plan.maker[plan.ids[name]] >= 0 for name in one.outputs):
                    self._give_up(one)
                    del self.found[key]
                    break

    def _give_up(self, one: Afloat) -> None:
        folder = f"{self.pool.folder}/{one.number}"
        if not self.make(one.worker).forget(folder):
            return  # something of it runs yet: the next build asks again
        with contextlib.suppress(OSError):
            os.unlink(f"{folder}.run")
        self.pool.free(one.number)


def watched_of(staging: Staging) -> list[Any]:
    """The inputs of a staged job, as they can be compared with those of another driver."""
    found: list[Any] = [[w.path, list(w.signature), w.link] for w in staging.watched]
    found += [[name] for name, _ in staging.trees]
    return found + [[staging.candidates.digest]] if staging.candidates is not None else found


def write(run: Run) -> None:
    """Note that a job is about to be handed over."""
    assert run.staging is not None
    returned = (run.description or {}).get("returned")
    note = (
        FORMAT, run.identity.first, run.worker.name, tuple(run.job.outputs), run.job.attempt, run.started, returned,
        watched_of(run.staging), run.sandbox.saved(), sorted(run.sandbox.folders),
    )  # fmt: skip
    # One that is half written is of a job that was not handed over yet, and is passed over.
    fd = os.open(note_of(run.sandbox), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(fd, marshal.dumps(note))
    finally:
        os.close(fd)


def note_of(sandbox: Sandbox) -> str:
    """The path of the note beside a sandbox."""
    return f"{sandbox.path}.run"


def taking(run: Run, folder: str, names: Sequence[str]) -> None:
    """Note that the outputs of a job are about to be moved to those names in a folder, from which `put_back` fetches
    them where the driver dies meanwhile: so the job need not run again."""
    moves = [(f"{folder}/{inner}", staged.rstrip("/")) for (_, staged), inner in zip(run.outputs, names, strict=True)]
    moves.append((f"{folder}/{LOG}", f"../{os.path.basename(run.sandbox.log)}"))
    if run.job.depfile is not None:
        moves.append((f"{folder}/depfile", run.job.depfile))
    with open(f"{run.sandbox.path}.taken", "wb") as file:
        file.write(marshal.dumps((FORMAT, moves)))


def put_back(work: str) -> None:
    """Move what a driver that died had taken of jobs, and not committed, back into their sandboxes in a folder."""
    for name in os.listdir(work) if os.path.isdir(work) else ():
        if not name.endswith(".taken"):
            continue
        base = f"{work}/{name[: -len('.taken')]}"
        with contextlib.suppress(OSError, ValueError, EOFError, TypeError):
            with open(f"{work}/{name}", "rb") as file:
                version, moves = marshal.loads(file.read())
            for source, staged in moves if version == FORMAT else ():
                if os.path.exists(f"{base}.run") and not os.path.lexists(f"{base}/{staged}"):
                    with contextlib.suppress(FileNotFoundError):
                        take_in(source, f"{base}/{staged}")
        with contextlib.suppress(OSError):
            os.unlink(f"{work}/{name}")


def _read(folder: str) -> list[Afloat]:
    """The notes in a folder of sandboxes; broken ones and those of other versions are passed over."""
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".run") and name[:-4].isdigit()]
    except OSError:
        return []
    found = []
    for name in names:
        try:
            with open(f"{folder}/{name}", "rb") as file:
                version, *rest = marshal.loads(file.read())
            if version == FORMAT:
                found.append(Afloat(int(name[:-4]), *rest))
        except (OSError, ValueError, EOFError, TypeError):
            continue
    return found
