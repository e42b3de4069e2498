"""What happens when a job fails: its sandbox and log are kept, and what is said helps to mend it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from buildflow.errors import FlowError
from buildflow.files import copy, remove_tree
from buildflow.hints import hints
from buildflow.hooks import HookError
from buildflow.job import LIST_FILE

if TYPE_CHECKING:
    from buildflow.build import Build
    from buildflow.execute import Run
    from buildflow.workers.base import End

TAIL = 200
"""Lines of a failed job's log that go to the screen."""


def failed_folder(folder: str, target: str) -> str:
    """Where the sandbox and log of a failed job stay: `.bflow/failed/<target>`, slashes as `%`."""
    name = target.rstrip("/").replace("/", "%")
    if len(os.fsencode(name)) > 200 or "%" in target:
        from xxhash import xxh3_64_hexdigest

        name = name[:50] + "-" + xxh3_64_hexdigest(os.fsencode(target))
    return f"{folder}/failed/{name}"


class Failures:
    """The failed jobs of one build."""

    def __init__(self, build: Build) -> None:
        self.build = build
        self._some = os.path.isdir(f"{build.folder}/failed")

    def succeeded(self, run: Run, entry: str) -> None:
        """A job ended well: what an earlier failure of it left is removed; its declared log is copied out."""
        if self._some:
            remove_tree(failed_folder(self.build.folder, run.job.target))
        self._declared_log(run, entry)

    def _declared_log(self, run: Run, entry: str | None = None) -> None:
        """`log = path` is a file of the workspace: what the recipe wrote there, else what it printed.

        Kept also when the job fails; where it is a target too, its entry has it once the job is committed.
        """
        name = run.job.log
        if not name or (entry is not None and name in run.job.outputs):
            return
        target = self.build.disk.path(name)
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        if os.path.lexists(target) and not self.build.disk.ours(name):
            self.build.workspace.keep(name)
        temporary = os.path.join(os.path.dirname(target), f".bflow-tmp.{os.getpid()}")
        remove_tree(temporary)
        for source in (os.path.join(run.sandbox.path, name), run.sandbox.log, f"{entry}/log"):
            if os.path.isfile(source):
                copy(source, temporary)
                break
        else:
            open(temporary, "wb").close()
        os.replace(temporary, target)
        self.build.disk.written(name, self.build.disk.digest(name), b"log", False)

    def failed(
        self, number: int, problem: str, error: FlowError | None = None, run: Run | None = None, end: End | None = None
    ) -> None:
        """Record a failure, tell of it, and stop what depends on it."""
        build = self.build
        job = build.decider.job(number) if run is None else run.job
        log_path: str | None = None
        tail: list[str] = []
        more: list[str] = []
        exclusive = job.rule.phony or job.rule.inplace
        left: list[str] = []
        text = ""
        if run is not None and not exclusive and not run.given:
            self._declared_log(run)
            text = _read_tail(run.sandbox.log)
            tail = text.removesuffix("\n").split("\n")[-TAIL:] if text else []
            more = run.identity.environment.hints(text)
            more += hints(job, text, build.disk.root, run.sandbox.path, run.env, _has_link(run))
            left = _undeclared(run)
            if _is_full(build.folder):
                more.append(f"the disk is full ({build.folder}): make room and build again, nothing is lost")
            folder = failed_folder(build.folder, job.target)
            log_path = f"{folder}/log"
            self._some = True
            build.executor.pool.retire(run.sandbox, f"{folder}/sandbox")
            try:
                os.rename(run.sandbox.log, log_path)
            except OSError:
                log_path = None
            build.executor.give_back(run, fresh=True)
        if left:
            more.append(f"it wrote files that are not declared: {', '.join(left)}")
        hook_problem = None
        try:
            build.hooks.failed(job, run, end, problem, text)
        except (HookError, FlowError) as hook:
            hook_problem = hook.message
        for name in job.outputs:
            if not exclusive and os.path.lexists(build.disk.path(name.rstrip("/"))) and build.disk.ours(name):
                more.append(f"{name} stays as it was, and is out of date")
        if error is not None and error.hint:
            more.append(error.hint)
        build.summary.errors[number] = problem
        cause = end.exception if end is not None and end.exception is not None else error.__cause__ if error else None
        build.summary.results[number] = {"runtime": end.runtime if end is not None else None, "exception": cause}
        if hook_problem:
            more.append(hook_problem)
        build.stream.emit(
            "job", state="failed", rule=job.rule.name, targets=job.outputs, cache_dir=None, problem=problem,
            where=str(error.span or job.rule.span or "") if error is not None else str(job.rule.span or ""),
            tail=tail, log=log_path, hints=more, seconds=end.runtime.get("wall_s") if end is not None else None,
            runtime=end.runtime if end is not None else None,
        )  # fmt: skip
        build.fail(number)


def _read_tail(path: str, most: int = 1 << 20) -> str:
    """The last part of a log, at most `most` bytes."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                file.seek(size - most)
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _is_full(folder: str) -> bool:
    """Whether a file system has next to no room, or no inodes, left."""
    try:
        room = os.statvfs(folder)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < 1 << 16 or (room.f_files > 0 and room.f_favail == 0)


def _has_link(run: Run) -> bool:
    return any(held.link for held in run.sandbox.held.values())


def _undeclared(run: Run, most: int = 10) -> list[str]:
    """The first files that a failed job wrote and nobody declared."""
    job, sandbox = run.job, run.sandbox
    known = {*sandbox.held, *(staged for _, staged in run.outputs), LIST_FILE, job.log, job.depfile}
    folders = tuple(name for name in known if name and name.endswith("/"))
    found: list[str] = []
    for folder, _, names in os.walk(sandbox.path):
        below = folder[len(sandbox.path) + 1 :]
        inside = [f"{below}/{name}" if below else name for name in names]
        found.extend(name for name in inside if name not in known and not name.startswith(folders))
        if len(found) > 1000:
            break
    return sorted(found)[:most]
