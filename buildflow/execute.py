"""One run of one job: stage its inputs, compose its command, check what it did, commit what it made.

The loop decides that a job runs, and when; here is how. Nothing is in the cache or the workspace before `commit`.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import time
from typing import TYPE_CHECKING, Any

from buildflow.cache import LOG, file_stat, output_names, take_in, tree_stat, write_result
from buildflow.decide import Decider, Identity
from buildflow.depfile import parse_depfile, project_names
from buildflow.digest import file_digest, tree_digest
from buildflow.environments.base import Command
from buildflow.errors import BuildError, FlowError
from buildflow.files import remove_tree
from buildflow.job import LIST_FILE, Job
from buildflow.sandbox import MANY, SMALL, Piece, Pool, Sandbox, collect
from buildflow.workers.base import End, Task

if TYPE_CHECKING:
    from buildflow.cache import Cache

_COPIERS = re.compile(r"(?<![\w./-])(?:tar|zip|cpio|rsync|find)(?![\w.-])|(?<![\w./-])cp\s[^|;&\n]*-\w*[adPRr]")
_LONG = 120_000
"""Bytes of a recipe above which it runs from a file: the kernel takes 128 KiB in one argument."""

_HOST = socket.gethostname()


class Run:
    """A job on its way: staged, started, ended."""

    __slots__ = ("job", "identity", "sandbox", "task", "signatures", "started", "outputs", "env", "description")

    def __init__(self, job: Job, identity: Identity, sandbox: Sandbox) -> None:
        self.job = job
        self.identity = identity
        self.sandbox = sandbox
        self.task: Task | None = None
        self.signatures: list[tuple[str, int, tuple[int, ...]]] = []  # (path, file, signature) of each input's source
        self.started = 0.0
        self.outputs = [(name, job.staged.get(name, name)) for name in job.outputs]
        self.env: dict[str, str] = {}
        self.description: dict[str, Any] | None = None


class InputChanged(Exception):
    """An input changed under a job: what it made is of no known input."""

    def __init__(self, name: str, by_job: bool) -> None:
        super().__init__(name)
        self.name = name
        self.by_job = by_job


class Executor:
    """Stages and commits jobs of one build."""

    def __init__(self, decider: Decider, cache: Cache, folder: str, worker: str) -> None:
        self.decider = decider
        self.cache = cache
        self.disk = decider.disk
        self.root = self.disk.root
        self.folder = folder  # .bflow, absolute
        self.pool = Pool(f"{folder}/work")
        self.worker = worker
        self._copying: dict[int, bool] = {}

    # ---- staging -----------------------------------------------------------------------------------------------

    def stage(self, job: Job, identity: Identity) -> Run:
        """Give a job a sandbox with its inputs, and compose its task."""
        sandbox = self.pool.take(job.rule.number)
        run = Run(job, identity, sandbox)
        try:
            pieces, folders = self._pieces(job, run)
            for name, staged in run.outputs:
                if staged.endswith("/"):
                    folders.append(staged)
                else:
                    parent = staged.rpartition("/")[0]
                    if parent:
                        folders.append(parent + "/")
            for extra in (job.depfile, job.log):
                if extra and "/" in extra and not extra.startswith("/"):
                    folders.append(extra.rpartition("/")[0] + "/")
            folders = [f for f in folders if f not in ("/", "./")]
            sandbox.prepare(pieces, folders)
            run.task = self._task(run)
        except BaseException:
            self.pool.give(sandbox, job.rule.number)
            raise
        return run

    def _pieces(self, job: Job, run: Run) -> tuple[dict[str, Piece], list[str]]:
        decider = self.decider
        plan = decider.plan
        how = job.attribute("stage") or "auto"
        real_all = how == "copy" or (how == "auto" and self._copies(job))
        small = SMALL if how == "auto" else -1
        pieces: dict[str, Piece] = {}
        folders: list[str] = []
        extra = set(job.extra_ids)
        outputs = tuple(name for name in job.outputs)
        for f in (*job.input_ids, *job.after_ids, *job.extra_ids):
            name = plan.paths[f]
            tree = plan.tree(job.number, f) if plan.trees else None
            outside = name.startswith(("/", "../"))
            staged = job.staged.get(name, name)
            if tree is not None:
                for member in tree[0]:
                    self._watch(run, member)
                if outside:
                    continue
                if len(tree[0]) > MANY and how != "copy" and not any(o.startswith(name) for o in outputs):
                    pieces[staged] = Piece(decider.place(f), decider.digest(f, job.number), False, True)
                    continue
                folders.append(staged)
                folders.extend(staged + empty[len(name) :] for empty in tree[1])
                for member in tree[0]:
                    inner = plan.paths[member]
                    self._file(run, pieces, member, staged + inner[len(name) :], real_all, small)
                continue
            if name.endswith("/"):
                self._made_folder(run, pieces, folders, f, staged, how, outside)
                continue
            self._watch(run, f)
            if not outside:
                self._file(run, pieces, f, staged, real_all or f in extra, small)
        # a folder that is one link holds what stands below it already
        links = [n for n, p in pieces.items() if p.folder]
        for link in links:
            for name in [n for n in pieces if n.startswith(link) and n != link]:
                del pieces[name]
            folders = [n for n in folders if not n.startswith(link)]
        return pieces, folders

    def _watch(self, run: Run, f: int) -> None:
        path = self.decider.place(f)
        try:
            st = os.stat(path)
        except OSError:
            if os.path.islink(path):
                return
            raise InputChanged(self.decider.plan.paths[f], False) from None
        run.signatures.append((path, f, (st.st_size, st.st_mtime_ns, st.st_ino, st.st_mode)))

    def _file(self, run: Run, pieces: dict[str, Piece], f: int, staged: str, real: bool, small: int) -> None:
        path = self.decider.place(f)
        if self.decider.plan.maker[f] < 0 and os.path.islink(path) and not os.path.exists(path):
            pieces[staged] = Piece(os.readlink(path), self.decider.member_digest(f, run.job.number), False)
            return
        size = run.signatures[-1][2][0] if run.signatures and run.signatures[-1][1] == f else os.stat(path).st_size
        pieces[staged] = Piece(path, self.decider.digest(f, run.job.number), real or size <= small)

    def _made_folder(
        self, run: Run, pieces: dict[str, Piece], folders: list[str], f: int, staged: str, how: str, outside: bool
    ) -> None:
        """A folder that a rule made: a real folder of its files, or one link where they are many."""
        place = self.decider.place(f).rstrip("/")
        count = 0
        found: list[tuple[str, str, bool]] = []
        for folder, names, files in os.walk(place):
            below = folder[len(place) + 1 :]
            prefix = f"{staged}{below}/" if below else staged
            folders_here = [n for n in names if not os.path.islink(f"{folder}/{n}")]
            found.extend((f"{prefix}{n}", f"{folder}/{n}", True) for n in names if n not in folders_here)
            for name in files:
                found.append((f"{prefix}{name}", f"{folder}/{name}", os.path.islink(f"{folder}/{name}")))
                count += 1
            folders.append(prefix)
        for _, path, link in found:
            st = os.lstat(path)
            run.signatures.append((path, f, (st.st_size, st.st_mtime_ns, st.st_ino, st.st_mode)))
        if outside:
            return
        if count > MANY and how != "copy":
            folders[:] = [n for n in folders if not n.startswith(staged)]
            pieces[staged] = Piece(place, self.decider.digest(f, run.job.number), False, True)
            return
        digest = self.decider.digest(f, run.job.number)
        for name, path, link in found:
            if link:
                pieces[name] = Piece(os.readlink(path), digest, False)
            else:
                # the folder's digest stands for each of its files: when it changes they are staged anew
                size = os.stat(path).st_size
                pieces[name] = Piece(path, digest, how == "copy" or self._copies(run.job) or size <= SMALL)

    def _copies(self, job: Job) -> bool:
        """Whether a recipe calls a tool that would take a link for the file."""
        found = self._copying.get(job.rule.number)
        if found is None:
            recipe = job.rule.recipe
            assert recipe is not None
            found = recipe.kind in ("shell", "script") and _COPIERS.search(recipe.text) is not None
            self._copying[job.rule.number] = found
        return found

    # ---- the command -------------------------------------------------------------------------------------------

    def variables(self, run: Run) -> dict[str, str]:
        """The environment that the job sees."""
        env = dict(self.decider.base(run.identity.environment))
        env.update(run.identity.variables)
        return env

    def _task(self, run: Run) -> Task:
        job, sandbox = run.job, run.sandbox
        recipe = job.rule.recipe
        assert recipe is not None
        environment = run.identity.environment
        env = self.variables(run)
        env["TMPDIR"] = sandbox.empty_temporary()
        run.env = env
        if "gpus" in job.rule.attributes and "CUDA_VISIBLE_DEVICES" in job.__dict__.get("devices", {}):
            env["CUDA_VISIBLE_DEVICES"] = job.__dict__["devices"]["CUDA_VISIBLE_DEVICES"]
        for stale in (sandbox.log,):
            try:
                os.unlink(stale)
            except FileNotFoundError:
                pass
        redirections: list[tuple[int, str, str]] = []
        task = Task(job.number, Command([], env, sandbox.path), sandbox.log, (sandbox.lock,), job.amounts().time)
        if recipe.kind == "shell":
            argv = None
            if job.rule.attributes.get("shell") is None and environment.direct:
                found = recipe.filler.argv(job.values, job.rows)
                if found is not None:
                    argv, redirections = list(found[0]), list(found[1])
            if any(hole.name == "in" and hole.attr == "list" for hole, _ in recipe.filler.holes):
                self._list_inputs(run)
            if argv is None:
                text = recipe.filler.fill(job.values, job.rows)
                before = environment.shell(job.attribute("shell"))
                if len(text) > _LONG:
                    script = f"{sandbox.path}.sh"
                    with open(script, "w", encoding="utf-8", errors="surrogateescape") as file:
                        file.write(text + "\n")
                    argv = [*before[:-1], script]
                else:
                    argv = [*before, text]
            task.command.argv = argv
        elif recipe.kind == "script":
            self._describe(run, task)
            assert run.description is not None
            from buildflow.recipe.functions import script_environment

            env.update(script_environment(run.description))
            script = f"{sandbox.path}.script"
            with open(script, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(recipe.text + "\n")
            os.chmod(script, 0o700)
            task.command.argv = [script]
        elif recipe.kind == "python":
            self._describe(run, task)
            task.command.argv = [environment.python(), _runner(), "python", env["BFLOW_JOB"]]
        else:
            self._call(run, task)
        task.command.redirections = redirections
        task.command = environment.wrap(task.command)
        return task

    def _list_inputs(self, run: Run) -> None:
        names = run.job.shown(run.job.inputs, key=False)
        for name in names:
            if "\n" in name:
                raise FlowError(
                    f"{{in.list}} names one file a line, and the name {name!r} has a newline",
                    run.job.rule.span,
                    "rename the file",
                )
        target = f"{run.sandbox.path}/{LIST_FILE}"
        with open(target, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("".join(f"{name}\n" for name in names))

    def _describe(self, run: Run, task: Task) -> None:
        import json

        keyed, _ = self.decider.variables(run.job)
        run.description = run.job.description(keyed)
        path = f"{run.sandbox.path}.json"
        with open(path, "w", encoding="ascii") as file:
            json.dump(run.description, file)
        run.env["BFLOW_JOB"] = path

    def describe_exclusive(self, run: Run, task: Task, base: str) -> None:
        """A job in the project's root whose recipe is no shell: its description and script stand at `base`."""
        sandbox = run.sandbox
        root, sandbox.path = sandbox.path, base
        try:
            run.env = task.command.env
            recipe = run.job.rule.recipe
            assert recipe is not None
            if recipe.kind == "python":
                self._describe(run, task)
                task.command.argv = [run.identity.environment.python(), _runner(), "python", run.env["BFLOW_JOB"]]
            elif recipe.kind == "script":
                from buildflow.recipe.functions import script_environment

                self._describe(run, task)
                run.env.update(script_environment(run.description or {}))
                with open(f"{base}.script", "w", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(recipe.text + "\n")
                os.chmod(f"{base}.script", 0o700)
                task.command.argv = [f"{base}.script"]
            else:
                self._call(run, task)
                task.call = None
        finally:
            sandbox.path = root

    def _call(self, run: Run, task: Task) -> None:
        import json
        import sys

        from buildflow.workers.warm import WarmRequest

        job = run.job
        recipe = job.rule.recipe
        assert recipe is not None
        keyed, _ = self.decider.variables(job)
        description = run.description = job.description(keyed)
        description["kind"] = "call"
        description["root_dirs"] = [self.root]
        name = recipe.text
        if recipe.kind == "function":
            from buildflow.recipe.functions import portable

            home, pickled = portable(recipe.function, self.root)
            name = getattr(recipe.function, "__qualname__", "the function")
            description["function"] = home
            if pickled is not None:
                path = f"{run.sandbox.path}.pickle"
                with open(path, "wb") as file:
                    file.write(pickled)
                description["pickle"] = path
                description["python"] = list(sys.version_info[:2])
            task.function = recipe.function
        task.description = description
        path = f"{run.sandbox.path}.json"
        with open(path, "w", encoding="ascii") as file:
            json.dump(description, file)
        run.env["BFLOW_JOB"] = path
        environment = run.identity.environment
        rows = self.decider.functions(job)
        task.command.argv = [
            environment.python() if environment.name != "native" else sys.executable,
            _runner(),
            "call",
            path,
        ]
        if environment.name == "native":
            from xxhash import xxh3_128_digest

            digests = xxh3_128_digest("\0".join(f"{a}\0{b}" for a, b in rows).encode("utf-8", "surrogateescape"))
            task.call = WarmRequest(
                job=path, cwd=run.sandbox.path, log=run.sandbox.log, env=run.env, roots=(self.root,), digests=digests,
                name=name, fds=(run.sandbox.lock,),
            )  # fmt: skip

    # ---- after the run -----------------------------------------------------------------------------------------

    def check_inputs(self, run: Run) -> None:
        """Raises InputChanged where an input is no longer what its digest says, in the sandbox or in the project."""
        touched = run.sandbox.touched()
        for path, f, before in run.signatures:
            try:
                st = os.stat(path)
                now: tuple[int, ...] | None = (st.st_size, st.st_mtime_ns, st.st_ino, st.st_mode)
                if now != before and os.path.islink(path):
                    st = os.lstat(path)
                    now = (st.st_size, st.st_mtime_ns, st.st_ino, st.st_mode)
            except OSError:
                now = None
            if now != before:
                raise InputChanged(self.decider.plan.paths[f], False)
        if touched:
            raise InputChanged(touched[0], True)

    def problem(self, run: Run, end: End) -> str | None:
        """Why a job failed, in one sentence; None where its outputs are all there."""
        if end.error:
            return end.error
        if end.timed_out:
            from buildflow.quantity import format_time

            return f"it took longer than its time ({format_time(run.job.amounts().time or 0)})"
        if end.status < 0:
            import signal

            try:
                name = signal.Signals(-end.status).name
            except ValueError:
                name = str(-end.status)
            return f"it was ended by the signal {name}"
        if end.status > 0:
            return f"its recipe ended with status {end.status}"
        return collect(run.sandbox.path, run.outputs, lambda real: self._is_own(run, real))

    def _is_own(self, run: Run, real: str) -> bool:
        """Whether a path is an input or output of the job: what a link may stand for."""
        sandbox = os.path.realpath(run.sandbox.path) + "/"
        if real.startswith(sandbox):
            name = real[len(sandbox) :]
            return (
                any(name == staged.rstrip("/") for _, staged in run.outputs)
                or name in run.sandbox.held
                or any(name.startswith(h) for h in run.sandbox.held if h.endswith("/"))
            )
        return any(real == os.path.realpath(path) for path, _, _ in run.signatures)

    def read_depfile(self, run: Run) -> list[tuple[str, bytes]] | None:
        """What a job with a depfile read besides what always counts, with digests; None where it has none."""
        job = run.job
        if job.depfile is None:
            return None
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
        always = self.decider._always(job)
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
        for name in outside:
            if os.path.isfile(name):
                read.append((name, self.decider.external(name)))
        return read

    def commit(self, run: Run, end: End, key: bytes, depfile: bool, notes: dict[str, Any]) -> tuple[list[bytes], str]:
        """Move the outputs into an entry and commit it; their digests and the entry's path."""
        job = run.job
        names = output_names(job.outputs)
        folder = self.cache.open(job.kind, key)
        try:
            now = time.time_ns()
            outputs: list[dict[str, Any]] = []
            digests: list[bytes] = []
            for (name, staged), inner in zip(run.outputs, names, strict=True):
                target = f"{folder}/{inner}"
                if "/" in inner:
                    os.makedirs(os.path.dirname(target), exist_ok=True)
                take_in(f"{run.sandbox.path}/{staged.rstrip('/')}", target)
                is_folder = name.endswith("/")
                if is_folder:
                    self._check_tree(target, name)
                    digest, _ = tree_digest(
                        target, source=False, ignore=None,
                        file_digest_of=lambda p, s: file_digest(p, bool(s.st_mode & 0o100)),
                    )  # fmt: skip
                    signature: Any = tree_stat(target)
                else:
                    st = os.stat(target)
                    if not st.st_mode & 0o400:
                        os.chmod(target, st.st_mode | 0o400)
                    os.utime(target, ns=(now, now))
                    if st.st_nlink > 1:
                        _own_copy(target)
                        os.utime(target, ns=(now, now))
                    digest = file_digest(target, bool(st.st_mode & 0o100))
                    signature = file_stat(target)
                digests.append(digest)
                outputs.append(
                    {"name": name, "file": inner, "folder": is_folder, "digest": digest.hex(), "stat": signature}
                )
            logged = self._keep_log(run, f"{folder}/{LOG}")
            if depfile and job.depfile is not None:
                take_in(os.path.join(run.sandbox.path, job.depfile), f"{folder}/depfile")
            result = self.result(run, end, key, outputs, logged, notes)
            write_result(folder, result)
            self.cache.commit(folder, job.kind, key)
        except BaseException:
            remove_tree(folder)
            raise
        return digests, self.cache.path_of(job.kind, key)

    @staticmethod
    def _check_tree(target: str, name: str) -> None:
        for folder, names, files in os.walk(target):
            for inner in files:
                mode = os.lstat(f"{folder}/{inner}").st_mode
                if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
                    raise BuildError(f"the output {name} holds {inner}, which is no plain file, folder or link")

    @staticmethod
    def _keep_log(run: Run, target: str) -> bool:
        try:
            if os.stat(run.sandbox.log).st_size == 0:
                return False
        except OSError:
            return False
        take_in(run.sandbox.log, target)
        return True

    def result(
        self, run: Run, end: End, key: bytes, outputs: list[dict[str, Any]], logged: bool, notes: dict[str, Any]
    ) -> dict[str, Any]:
        """What `result.json` says."""
        job = run.job
        plan = self.decider.plan
        inputs = []
        for f in (*job.input_ids, *job.after_ids, *job.extra_ids):
            maker = plan.maker[f]
            made = self.decider.keys.get(maker) if maker >= 0 else None
            try:
                digest = self.decider.digest(f, job.number).hex()
            except FlowError:
                digest = ""
            source = "source" if made is None else f"{self.decider.job(maker).kind}-{made.hex()}"
            inputs.append({"name": plan.paths[f], "digest": digest, "from": source})
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
            "log": logged,
            "runtime": end.runtime,
            "host": _HOST,
            "worker": self.worker,
            "environment": run.identity.environment.name,
            "started": run.started,
            "ended": time.time(),
            **notes,
        }


def _own_copy(path: str) -> None:
    """An output that is a hard link to something else becomes a file of its own."""
    from buildflow.files import copy

    temporary = path + ".own"
    copy(path, temporary)
    os.rename(temporary, path)


def _runner() -> str:
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "runner.py")
