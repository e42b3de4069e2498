"""Files that another tool made, taken as results: after it a build has nothing to do.

A job is adopted where all its inputs and outputs stand, and no output is older than an input; its entry says that it
was. What a job would read and what its key is are decided as for any build; nothing runs.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from buildflow.cache import file_stat, output_digest, output_names, tree_stat, write_result
from buildflow.dry import dry_build
from buildflow.errors import FlowError
from buildflow.files import copy, place, place_tree, remove_tree
from buildflow.keys import second_key
from buildflow.plan.graph import order
from buildflow.run import Run
from buildflow.sandbox import Sandbox
from buildflow.workers.base import End, Task
from buildflow.workers.debug import Worker

if TYPE_CHECKING:
    from buildflow.decide import Identity
    from buildflow.job import Job
    from buildflow.plan.resolve import Resolver
    from buildflow.submitter import Session


@dataclass
class Adoption:
    """What came of it: the outputs of jobs that were adopted, and of those that stood already as results; the target
    of each job that was not, with the reason."""

    adopted: list[list[str]] = field(default_factory=list)
    standing: list[list[str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)


class _Refused(Exception):
    """Why a job is not adopted, in a sentence."""


class Adopter:
    """Adopts the jobs of what a resolver has resolved. `force`: also where an output is older than an input, is bflow's
    own of other inputs, or differs from a result that the cache has. `dry`: only say what would be."""

    def __init__(
        self, session: Session, resolver: Resolver, *, force: bool = False, dry: bool = False, env: str | None = None,
        default_env: str | None = None,
    ) -> None:  # fmt: skip
        self.resolver = resolver
        self.plan = resolver.plan
        self.disk = session.disk
        self.cache = session.cache
        self.state = session.state
        self.staging = f"{session.folder}/tmp"
        self.force = force
        self.dry = dry
        self.build = dry_build(session, resolver, env=env, default_env=default_env)
        self.decider = self.build.decider
        self.found = Adoption()
        self._lost: set[int] = set()  # files whose job was refused
        self._seen: set[int] = set()

    def run(self) -> Adoption:
        """Adopt what can be, jobs before those that read what they make."""
        resolver, rules = self.resolver, self.resolver.builder.rules
        self.decider.check_environments(range(len(self.decider.plan.rule)))
        while True:
            for number in order(self.plan, rules):
                if number not in self._seen and number not in resolver.deferred:
                    self._seen.add(number)
                    self._job(number)
            if not resolver.deferred and not resolver.open_goals:
                break
            before = (dict(resolver.deferred), len(resolver.open_goals), len(self.plan.rule))
            resolver.resume()
            if before == (resolver.deferred, len(resolver.open_goals), len(self.plan.rule)):
                break
        for number in resolver.deferred:
            self._refuse(number, "what it reads shows only once an input of it is made")
        return self.found

    def _refuse(self, number: int, why: str) -> None:
        job = self.decider.job(number)
        self._lost.update(self.plan.outputs[number])
        self.found.refused.append((job.target, why))

    def _job(self, number: int) -> None:
        job = self.decider.job(number)
        if job.rule.phony:
            return
        try:
            lost = next((f for f in self._read_by(number) if f in self._lost), None)
            if lost is not None:
                raise _Refused(f"its input {self.plan.paths[lost]} was not adopted")
            if job.rule.inplace:
                self._in_place(job)
            else:
                self._adopt(job)
        except _Refused as refused:
            self._refuse(number, str(refused))
            return
        except FlowError as error:
            self._refuse(number, error.message)
            return
        self.resolver.finished.update(job.outputs)

    def _read_by(self, number: int) -> list[int]:
        """The files that a job reads; of folders those in it too."""
        found = [*self.plan.inputs[number], *self.plan.extra[number]]
        if "depfile" in self.resolver.builder.rules[self.plan.rule[number]].attributes:
            found += self.plan.after[number]
        for f in list(found):
            tree = self.plan.tree(number, f) if self.plan.trees else None
            found.extend(tree[0] if tree is not None else ())
            if f in self.plan.within:
                found.append(self.plan.within[f])
        return found

    def _in_place(self, job: Job) -> None:
        for name, f in zip(job.outputs, self.plan.outputs[job.number], strict=True):
            self.decider.digests[f] = self._digest(name)

    def _digest(self, name: str) -> bytes:
        """The digest of an output that stands in the workspace."""
        path = self.disk.path(name.rstrip("/"))
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            raise _Refused(f"{name} is not there") from None
        if stat.S_ISLNK(mode):
            raise _Refused(f"{name} is a link, and a result is a file of its own (cp -L makes one)")
        if stat.S_ISDIR(mode) != name.endswith("/"):
            kind = ("folder", "file") if stat.S_ISDIR(mode) else ("file", "folder")
            raise _Refused(f"{name} is a {kind[0]}, and the rule makes a {kind[1]}")
        if stat.S_ISDIR(mode):
            return self.disk.tree(name)[0]
        if not stat.S_ISREG(mode):
            raise _Refused(f"{name} is no plain file")
        return self.disk.digest(name)

    # ---- one job -----------------------------------------------------------------------------------------------

    def _adopt(self, job: Job) -> None:
        digests = [self._digest(name) for name in job.outputs]
        identity = self.decider.identity(job)
        read = self._read(job, identity) if job.depfile is not None else None
        key = identity.key if read is None else second_key(identity.first, read)
        assert key is not None
        names = dict(zip(job.outputs, digests, strict=True))
        entry = self.decider.entry(job, key)
        known = self.decider.known(key, len(digests)) or (entry.digests() if entry is not None else None)
        if known == digests:
            self.found.standing.append(job.outputs)
        else:
            if not self.force:
                self._doubts(job, key, read, known)
            self.found.adopted.append(job.outputs)
        if not self.dry:
            if known != digests:
                self.cache.discard(self.cache.path_of(job.kind, key))
                self._commit(job, identity, key, names)
            if read is not None and (known != digests or identity.key is None):
                self.decider.add_manifest(identity.first, read)
            self.decider.remember(key, digests)
            for name, digest in names.items():
                if not self.build.temporaries.stays_in_cache(job, name):
                    self.decider.stands(name, digest, key)
        self.decider.keys[job.number] = key
        self.decider.digests.update(zip(self.plan.outputs[job.number], digests, strict=True))

    def _read(self, job: Job, identity: Identity) -> list[tuple[str, bytes]]:
        """What a job with a depfile has read: as its depfile says, where that stands too; else all that it may read."""
        assert job.depfile is not None
        if identity.key is not None:
            return list(identity.read)
        run = Run(job, identity, Sandbox(self.disk.root, -1), Worker())
        if os.path.exists(self.disk.path(job.depfile)):
            read = self.build.executor.read_depfile(run)
            if read is not None:
                return read
        always = self.decider.always(job)
        ids = dict(zip((*job.inputs, *job.after, *job.extra), (*job.input_ids, *job.after_ids, *job.extra_ids)))
        return [(name, self.decider.digest(f, job.number)) for name, f in ids.items() if name not in always]

    def _doubts(self, job: Job, key: bytes, read: list[tuple[str, bytes]] | None, known: list[bytes] | None) -> None:
        """Raises _Refused where the files are probably not what the job would make of its inputs of today."""
        for name in job.outputs:
            record = self.disk.record(name)
            if record is not None and record.key and record.key != key and self.disk.ours(name):
                raise _Refused(f"bflow made {name} itself, of other inputs or by another recipe")
        if known is not None:
            raise _Refused(f"the cache has another result for what {job.target} is made of")
        counted = None if read is None else {*(name for name, _ in read), *self.decider.always(job)}
        oldest, name = min((self._time(name), name) for name in job.outputs)
        for f in self._read_by(job.number):
            path = self.plan.paths[f]
            if path.endswith("/") or (counted is not None and path not in counted):
                continue
            if self._time(path) > oldest:
                raise _Refused(f"{name} is older than its input {path}")

    def _time(self, name: str) -> int:
        """When a file was written last (ns); of a folder the newest file in it."""
        path = self.disk.path(name.rstrip("/"))
        if not name.endswith("/"):
            return os.stat(path).st_mtime_ns
        times = [os.lstat(os.path.join(d, n)).st_mtime_ns for d, _, names in os.walk(path) for n in names]
        return max(times, default=os.stat(path).st_mtime_ns)

    # ---- committing --------------------------------------------------------------------------------------------

    def _commit(self, job: Job, identity: Identity, key: bytes, outputs: dict[str, bytes]) -> None:
        """An entry of the files as they stand: reflinks where the file system can, else copies or links as `place`."""
        folder = self.cache.open(job.kind, key)
        os.makedirs(self.staging, exist_ok=True)
        rows = []
        links: dict[str, bool] = {}
        try:
            for (name, digest), inner in zip(outputs.items(), output_names(job.outputs), strict=True):
                target = f"{folder}/{inner}"
                os.makedirs(os.path.dirname(target), exist_ok=True)
                linked = self._take(self.disk.path(name.rstrip("/")), target, name.endswith("/"))
                if output_digest(target, name.endswith("/")) != digest:
                    raise _Refused(f"{name} changed while it was taken")
                signature: Any = tree_stat(target) if name.endswith("/") else file_stat(target)
                rows.append({"name": name, "file": inner, "folder": name.endswith("/"), "digest": digest.hex(),
                             "stat": signature})  # fmt: skip
                links[name] = linked
            if job.depfile is not None and os.path.exists(self.disk.path(job.depfile)):
                copy(self.disk.path(job.depfile), f"{folder}/depfile")
            run = Run(job, identity, Sandbox("", -1), Worker())
            end = End(Task(job.number, None, ""), 0)  # type: ignore[arg-type]  # nothing runs
            result = {**self.build.executor.result(run, end, key, rows), "worker": None, "adopted": True}
            write_result(folder, result)
            self.cache.commit(folder, job.kind, key)
        finally:
            remove_tree(folder)
        for name, linked in links.items():
            if not name.endswith("/"):
                self.disk.written(name, outputs[name], key, linked)

    def _take(self, source: str, target: str, is_folder: bool) -> bool:
        """Whether it is a hard link of the file in the workspace now."""
        if is_folder:
            place_tree(source, target, staging=self.staging)
            return False
        return place(source, target, staging=self.staging) == "link"
