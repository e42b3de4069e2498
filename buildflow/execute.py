"""One run of one job: stage its inputs, check what it did, commit what it made.

The loop decides that a job runs, and when; here is how. Nothing is in the cache or the workspace before `commit`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from buildflow import afloat
from buildflow.afloat import Adrift, Afloat
from buildflow.cache import LOG, Entry, output_names, take_in, tree_stat, write_result
from buildflow.decide import Decider, Identity
from buildflow.depfile import parse_depfile, project_names
from buildflow.digest import dated_digest, file_digest, tree_digest
from buildflow.errors import BuildError, FlowError
from buildflow.files import remove_tree
from buildflow.job import Job
from buildflow.outputs import collect, detach
from buildflow.run import Composer, Run
from buildflow.sandbox import Pool, Sandbox
from buildflow.staging import InputChanged, Staging
from buildflow.workers.base import End, Worker

if TYPE_CHECKING:
    from buildflow.cache import Cache

__all__ = ["Executor", "InputChanged", "Run"]

_HOST = os.uname().nodename

_LAST_BREATH = 0.2
"""Seconds that processes of an ended group have to go: those left then have left the group and stay."""


class Executor:
    """Stages and commits jobs of one build."""

    def __init__(
        self, decider: Decider, cache: Cache, folder: str, seconds: Mapping[str, float],
        workers: Callable[[str], Worker],
    ) -> None:  # fmt: skip
        self.decider = decider
        self.cache = cache
        self.disk = decider.disk
        self.root = self.disk.root
        self.folder = folder  # .bflow, absolute
        self.pool = Pool(f"{folder}/work")
        self.adrift = Adrift(self.pool, workers)
        self.composer = Composer(decider, self.root, folder, seconds)

    def stage(self, job: Job, identity: Identity, worker: Worker) -> Run:
        """Give a job a sandbox with its inputs, and compose its task. Raises InputChanged, FlowError."""
        staging = Staging(self.decider, job)
        if self.adrift.found:
            taken = self.adrift.take_over(identity.first, staging, worker)
            if taken is not None:
                return self._resumed(job, identity, worker, staging, *taken)
        run = Run(job, identity, self.pool.take(job.rule.name), worker)
        try:
            run.staging = staging
            staging.staged(run.sandbox.prepare(staging.pieces, staging.folders))
            run.task = self.composer.task(run)
            if not worker.here:
                afloat.write(run)
        except BaseException:
            self.give_back(run)
            raise
        return run

    def _resumed(
        self, job: Job, identity: Identity, worker: Worker, staging: Staging, sandbox: Sandbox, note: Afloat
    ) -> Run:
        """The run of a job that an earlier driver has started."""
        run = Run(job, identity, sandbox, worker)
        run.staging = staging
        run.resumed = True
        if job.attempt != note.attempt:
            job.attempt = note.attempt
            job.amounts(self.decider.size(job))
        run.started = note.started
        run.description = {"returned": note.returned}
        run.task = self.composer.resumed(run)
        return run

    def give_back(self, run: Run, *, fresh: bool = False) -> None:
        """Take the sandbox of a run back, once; `fresh`: it is emptied before its next job."""
        if run.given or run.sandbox.lock < 0:
            return
        run.given = True
        if not run.worker.here:
            for path in (afloat.note_of(run.sandbox), f"{run.sandbox.path}.taken"):
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass
        if fresh:
            run.sandbox.fresh = True
        self.pool.give(run.sandbox, run.job.rule.name)

    # ---- after the run -----------------------------------------------------------------------------------------

    def ended(self, run: Run) -> None:
        """The job's group was ended: wait until its processes are gone, and note where one has left the group."""
        if run.sandbox.lock < 0:
            return
        deadline = time.monotonic() + _LAST_BREATH
        while not run.sandbox.reclaim() and time.monotonic() < deadline:
            time.sleep(0.002)
        returned = (run.description or {}).get("returned")
        if returned:
            try:
                with open(returned, encoding="ascii") as file:
                    run.returned = file.read()
            except OSError:
                pass

    def check_inputs(self, run: Run, failed: bool) -> None:
        """Raises InputChanged where an input is no longer what its digest says, in the sandbox or in the project. What
        a job with a depfile may have read is looked at by `read_depfile`, but here where it has `failed`."""
        assert run.staging is not None
        run.staging.check(run.sandbox, candidates=failed)

    def problem(self, run: Run, end: End) -> str | None:
        """Why a job failed, in one sentence; None where its outputs are all there."""
        failed = failure(end, run.job)
        if failed is not None:
            return failed
        problem = collect(run.sandbox.path, run.outputs, lambda real: self._is_own(run, real))
        if problem is None and not run.sandbox.alone:
            for _, staged in run.outputs:  # what lives on could write to them
                detach(f"{run.sandbox.path}/{staged.rstrip('/')}")
        return problem

    def _is_own(self, run: Run, real: str) -> bool:
        """Whether a path is an input or output of the job, or in such a folder: what a link may stand for."""
        sandbox = os.path.realpath(run.sandbox.path) + "/"
        job = run.job
        if real.startswith(sandbox):
            names = [staged for _, staged in run.outputs]
            names += [job.staged.get(n, n) for n in (*job.inputs, *job.after, *job.extra)]
            places = [f"{sandbox}{name}".rstrip("/") for name in names]
        else:
            files = (*job.input_ids, *job.after_ids, *job.extra_ids)
            places = [os.path.realpath(self.decider.place(f)) for f in files]
        return any(real == place or real.startswith(place + "/") for place in places)

    def read_depfile(self, run: Run) -> list[tuple[str, bytes]] | None:
        """What a job with a depfile read besides what always counts, with digests; None where it has none. Raises
        InputChanged where it is no longer what its digest says."""
        job = run.job
        if job.depfile is None:
            return None
        staging = run.staging  # None: of files that are adopted, nothing is staged
        candidates = staging.candidates if staging is not None else None
        path = os.path.join(run.sandbox.path, job.depfile)
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                names = parse_depfile(file.read())
        except OSError:
            raise BuildError(
                f"the recipe did not write its depfile {job.depfile}", None, "pass it on, as in cc -MMD -MF {depfile}"
            ) from None
        known = {job.staged.get(n, n): n for n in (*job.inputs, *job.after, *job.extra)}
        staged: dict[str, str] = dict(known)
        for name in run.sandbox.held:
            staged.setdefault(name, name)
        inside, outside = project_names(names, run.sandbox.path, staged)
        always = self.decider.always(job)
        read: list[tuple[str, bytes]] = []
        plan = self.decider.plan
        for name in inside:
            project = staged[name]
            if project in always:
                continue
            f = plan.ids.get(project)
            if f is None or not (f in job.input_ids or f in job.after_ids or f in job.extra_ids):
                # a file of an input folder: the folder counts
                folder = next((n for n in job.inputs if n.endswith("/") and project.startswith(n)), None)
                if folder is None:
                    continue
                project, f = folder, plan.ids[folder]
            row = (project, self.decider.digest(f, job.number))
            if row not in read:
                read.append(row)
                if staging is not None and candidates is not None and project in candidates.numbers:
                    staging.check_candidate(f)
        for name in outside:
            if os.path.isfile(name):
                read.append((name, self.decider.external(name)))
        return read

    def commit(self, run: Run, end: End, key: bytes, depfile: bool) -> Entry:
        """Move the outputs into an entry and commit it; the entry that is there then, which may be another build's."""
        job = run.job
        folder = self.cache.open(job.kind, key)
        try:
            now = time.time_ns()
            contents: dict[str, bytes] = {}
            if not run.worker.here:
                afloat.taking(run, folder, output_names(job.outputs))
            outputs = [
                self._take_in(f"{run.sandbox.path}/{staged.rstrip('/')}", folder, inner, name, now, contents)
                for (name, staged), inner in zip(run.outputs, output_names(job.outputs), strict=True)
            ]
            run.logged = self._keep_log(run, f"{folder}/{LOG}")
            if depfile and job.depfile is not None:
                take_in(os.path.join(run.sandbox.path, job.depfile), f"{folder}/depfile")
            result = self.result(run, end, key, outputs)
            write_result(folder, result)
            path = self.cache.path_of(job.kind, key)
            if self.cache.commit(folder, job.kind, key):
                entry = Entry(path, result)
                entry.contents = contents
                return entry
        except BaseException:
            remove_tree(folder)
            raise
        found = self.cache.find(job.kind, key)
        return found if found is not None and len(found.outputs) == len(outputs) else Entry(path, result)

    @staticmethod
    def _take_in(
        source: str, folder: str, inner: str, name: str, now: int, contents: dict[str, bytes]
    ) -> dict[str, Any]:
        """One output into the folder of an entry, with its digest; `now` (in ns) becomes a file's time. What a small
        file holds is put into `contents`."""
        target = f"{folder}/{inner}"
        if "/" in inner:
            os.makedirs(os.path.dirname(target), exist_ok=True)
        take_in(source, target)
        if name.endswith("/"):
            digest, _ = tree_digest(
                target, source=False, ignore=None,
                file_digest_of=lambda p, s: file_digest(p, bool(s.st_mode & 0o100)),
            )  # fmt: skip
            return {"name": name, "file": inner, "folder": True, "digest": digest.hex(), "stat": tree_stat(target)}
        digest, signature, data = dated_digest(target, now)
        if data is not None:
            contents[inner] = data
        return {"name": name, "file": inner, "folder": False, "digest": digest.hex(), "stat": list(signature[:3])}

    @staticmethod
    def _keep_log(run: Run, target: str) -> bool:
        try:
            if os.stat(run.sandbox.log).st_size == 0:
                return False
        except OSError:
            return False
        take_in(run.sandbox.log, target)
        return True

    def result(self, run: Run, end: End, key: bytes, outputs: list[dict[str, Any]]) -> dict[str, Any]:
        """What `result.json` says."""
        job = run.job
        plan = self.decider.plan
        inputs = []
        read = {name for name, _ in run.identity.read}
        candidates = run.staging.candidates if run.staging is not None else None
        for f in (*job.input_ids, *job.after_ids, *job.extra_ids):
            if candidates is not None and plan.paths[f] in candidates.numbers and plan.paths[f] not in read:
                continue  # it might have been read, and was not
            row = self._origin(job, f)
            tree = plan.tree(job.number, f) if plan.trees else None
            if tree is not None:
                made = [self._origin(job, member) for member in tree[0] if plan.maker[member] >= 0]
                row = {**row, "made": made} if made else row
            inputs.append(row)
        return {
            "format": 1,
            "kind": job.kind,
            "key": key.hex(),
            "rule": job.rule.name,
            "wildcards": job.wildcards,
            "manifest": run.identity.rows,
            "read": [[name, digest.hex()] for name, digest in run.identity.read],
            "inputs": inputs,
            "outputs": outputs,
            "log": run.logged,
            **({"returned": run.returned} if run.returned else {}),
            "runtime": end.runtime,
            "host": end.host or _HOST,
            "worker": run.worker.name,
            "environment": run.identity.environment.name,
            **({"image": str(run.identity.environment)} if run.identity.environment.name != "native" else {}),
            "started": run.started,
            "ended": time.time(),
        }

    def _origin(self, job: Job, f: int) -> dict[str, Any]:
        """An input in `result.json`: what it held, and the entry that it came from; of a folder that no rule makes, see
        `made` for what is of jobs in it."""
        plan = self.decider.plan
        maker = plan.maker[f]
        made = self.decider.key_of(maker) if maker >= 0 else None
        try:
            digest = self.decider.digest(f, job.number).hex()
        except FlowError:
            digest = ""
        source = "source" if made is None else f"{self.decider.kind(maker)}-{made.hex()}"
        record = self.disk.record(plan.paths[f])
        size = record.signature[0] if record is not None and record.digest.hex() == digest else None
        return {"name": plan.paths[f], "digest": digest, "size": size, "from": source}


def failure(end: End, job: Job) -> str | None:
    """How a task failed, in one sentence; None where it ended well."""
    if end.error:
        return end.error
    if end.timed_out:
        from buildflow.quantity import format_time

        return f"it took longer than its time ({format_time(job.amounts().time or 0)})"
    if end.status < 0:
        return f"it was ended by the signal {_signal_name(-end.status)}"
    if end.status > 128 and _signal_name(end.status - 128) != str(end.status - 128):
        return f"its recipe ended with status {end.status} (a command of it ended by {_signal_name(end.status - 128)})"
    if end.status > 0:
        return f"its recipe ended with status {end.status}"
    return None


def _signal_name(number: int) -> str:
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
