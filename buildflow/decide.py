"""What a job's key is, and whether its outputs stand, lie in the cache, or must be made.

Everything here looks and hashes; nothing is made. Used by the loop for each job once the jobs before it are done, and
by the commands that only want to know.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from xxhash import xxh3_128

from buildflow.cache import Cache, Entry
from buildflow.disk import Disk
from buildflow.environment_of import Environments
from buildflow.environments.base import Environment
from buildflow.errors import FlowError
from buildflow.job import Job
from buildflow.keys import Row, key_of, manifest, second_key
from buildflow.plan.resolve import Resolver
from buildflow.rule import Rule
from buildflow.state import TREE, WRITTEN, FileRecord, State


class Identity:
    """A job's key with all that it was made from."""

    __slots__ = ("key", "first", "rows", "variables", "read", "environment")

    def __init__(self, key: bytes | None, first: bytes, rows: list[Row], variables: Mapping[str, str],
                 environment: Environment) -> None:  # fmt: skip
        self.key = key  # None: a depfile's first-level key without a manifest that holds
        self.first = first
        self.rows = rows
        self.variables = variables
        self.environment = environment
        self.read: tuple[tuple[str, bytes], ...] = ()


class Decider:
    """Keys and look-ups for the jobs of one plan."""

    def __init__(
        self, resolver: Resolver, disk: Disk, state: State, cache: Cache,
        *, env: str | None = None, default_env: str | None = None,
        cpu_limit: Callable[[Job], int | None] = lambda job: None,
    ) -> None:  # fmt: skip
        self.resolver = resolver
        self.plan = resolver.plan
        self.disk = disk
        self.state = state
        self.cache = cache
        self.environments = Environments(resolver.reads, disk, state, cache, env=env, default=default_env)
        self.cpu_limit = cpu_limit
        self.digests: dict[int, bytes] = {}
        self.keys: dict[int, bytes] = {}  # job → entry key, once known
        self.places: dict[int, str] = {}  # file → where it stands, if not in the workspace
        self._trees: dict[tuple[int, int], bytes] = {}
        self._functions: dict[int, list[tuple[str, str]]] = {}
        self._tools: dict[tuple[str, str], str] = {}
        self._externals: dict[str, bytes] = {}
        self.candidates: dict[Any, Any] = {}  # of jobs with depfiles, as `staging` keeps them

    # ---- digests -----------------------------------------------------------------------------------------------

    def digest(self, f: int, job: int) -> bytes:
        """The digest of an input of a job; those of made files are known once their jobs are done."""
        found = self.digests.get(f)
        if found is not None:
            return found
        plan = self.plan
        tree = plan.tree(job, f) if plan.trees else None
        if tree is not None:
            return self._tree_digest(f, job, tree)
        path = plan.paths[f]
        folder = plan.within.get(f)
        if folder is not None:
            place = self.places.get(folder)
            inner = path[len(plan.paths[folder]) :]
            where = f"{place.rstrip('/')}/{inner}" if place else path
            if not os.path.exists(self.disk.path(where)):
                raise FlowError(
                    f"{path} is not there: {plan.paths[folder]} was made without it",
                    None,
                    "see “bflow log” of that folder",
                )
            if place:
                self.places[f] = where
            found = self.disk.digest(where)
        else:
            found = self.disk.digest(path)
        self.digests[f] = found
        return found

    def _tree_digest(self, f: int, job: int, tree: tuple[tuple[int, ...], tuple[str, ...]]) -> bytes:
        own = (job, f) if (job, f) in self.plan.trees else (-1, f)
        found = self._trees.get(own)
        if found is None:
            folder = self.plan.paths[f]
            rows = []
            for member in tree[0]:
                name = self.plan.paths[member]
                rows.append((os.fsencode(name[len(folder) :]), self.member_digest(member, job)))
            rows.extend((os.fsencode(name[len(folder) :]), b"") for name in tree[1])
            rows.sort()
            state = xxh3_128(b"folder\0")
            for encoded, digest in rows:
                state.update(encoded + b"\0" + digest + b"\0")
            found = self._trees[own] = state.digest()
        return found

    def forget_sources(self) -> None:
        """What is known of files that no job makes is read anew."""
        plan = self.plan
        self.digests = {f: d for f, d in self.digests.items() if plan.maker[f] >= 0 and f not in plan.within}
        self._trees.clear()
        self._externals.clear()
        self.candidates.clear()

    def member_digest(self, f: int, job: int) -> bytes:
        """The digest of a file in a folder: of a link, its text and what it leads to, which is staged in its place."""
        path = self.disk.path(self.plan.paths[f])
        if self.plan.maker[f] < 0 and os.path.islink(path):
            content = self.digest(f, job) if os.path.isfile(path) else b""
            return b"link\0" + os.fsencode(os.readlink(path)) + b"\0" + content
        return self.digest(f, job)

    def place(self, f: int) -> str:
        """Where an input stands (absolute)."""
        return self.disk.path(self.places.get(f) or self.plan.paths[f])

    def size(self, job: Job) -> Any:
        """For `size(in)`: the bytes of an input by name."""

        def of(name: str) -> float:
            f = self.plan.ids[name]
            tree = self.plan.tree(job.number, f)
            files = tree[0] if tree is not None else (f,)
            total = 0
            for member in files:
                path = self.place(member)
                try:
                    st = os.stat(path)
                except OSError:
                    continue
                if stat.S_ISDIR(st.st_mode):
                    total += sum(os.stat(os.path.join(d, n)).st_size for d, _, names in os.walk(path) for n in names)
                else:
                    total += st.st_size
            return float(total)

        return of

    # ---- environments, variables, tools ------------------------------------------------------------------------

    def environment(self, rule: Rule, job: Job) -> Environment:
        """The environment of a job. Raises FlowError for one that is unknown or cannot be had."""
        self.environments.check(rule, job)
        return self.environments.of(rule, job)

    def check_environments(self, jobs: Iterable[int]) -> None:
        """Raises FlowError where the environment of one of these jobs is unknown or cannot be had."""
        rules = self.resolver.builder.rules
        seen: set[int] = set()
        for job in jobs:
            number = self.plan.rule[job]
            if number not in seen and job not in self.resolver.deferred:
                attribute = rules[number].attributes.get("env")
                if self.environments.one_a_rule and (attribute is None or attribute.plain):
                    seen.add(number)
                self.environments.check(rules[number], self.job(job))

    def variables(self, job: Job) -> tuple[dict[str, str], dict[str, str]]:
        """The variables that the rule's `vars` (in the key) and `pass` (not in it) give."""
        keyed: dict[str, str] = {}
        passed: dict[str, str] = {}
        for attribute, into in (("vars", keyed), ("pass", passed)):
            found = job.rule.attributes.get(attribute)
            if found is None:
                continue
            for word in job.words(found):
                name, equals, value = word.partition("=")
                if equals:
                    into[name] = value
                elif attribute == "vars":
                    current = self.resolver.reads.variable(name)
                    if current is not None:
                        into[name] = current
                elif name in self.resolver.reads.environ:
                    into[name] = self.resolver.reads.environ[name]
        return keyed, passed

    def tools(self, job: Job, env: Environment, keyed: Mapping[str, str]) -> list[tuple[str, str]]:
        """The digests of the executables that `tools` names, as the job's PATH finds them.

        What an image brings its id stands for, and nothing is looked up here; nor is what a made prefix brings, whose
        identity stands for it: of its tools those count that the machine has too.
        """
        found = job.rule.attributes.get("tools")
        if found is None:
            return []
        rows = []
        base = self.resolver.reads.environ if env.made else self.environments.base(env)
        path = keyed.get("PATH") or base.get("PATH", os.defpath)
        for tool in job.words(found):
            if env.contained and ("/" not in tool or tool.startswith("/")):
                continue
            known = self._tools.get((tool, path))
            if known is None:
                place = self._executable(tool, path)
                if place is None and env.made:
                    continue
                if place is None:
                    raise FlowError(
                        f"tools names {tool}, and no such command is on the job's PATH",
                        found.span,
                        "install it, or correct the name",
                    )
                known = self._tools[(tool, path)] = self.external(os.path.realpath(place)).hex()
            rows.append((tool, known))
        return rows

    def _executable(self, tool: str, path: str) -> str | None:
        """Where a command is found; that it is not in the folders before is remembered as read."""
        reads = self.resolver.reads
        if "/" in tool:
            return self.disk.path(tool) if os.path.exists(self.disk.path(tool)) else None
        reads.variable("PATH")
        for folder in path.split(os.pathsep):
            place = os.path.join(folder or ".", tool)
            if os.access(place, os.X_OK) and os.path.isfile(place):
                return place
            reads.missing(place)
        return None

    def functions(self, job: Job) -> list[tuple[str, str]]:
        """The rows of a function that is called."""
        rule = job.rule
        recipe = rule.recipe
        assert recipe is not None
        if recipe.kind not in ("call", "function"):
            return []
        found = self._functions.get(rule.number)
        if found is None:
            if recipe.kind == "call":
                found = list(self.resolver.world.call_info(rule).rows)
            else:
                from buildflow.recipe.functions import manifest_of_function

                assert recipe.function is not None
                found = [(str(a), str(b)) for a, b in manifest_of_function(recipe.function, self.disk.root)]
            self._functions[rule.number] = found
        return found

    # ---- keys --------------------------------------------------------------------------------------------------

    def job(self, number: int) -> Job:
        job = Job(self.resolver, number)
        job.cpu_limit = self.cpu_limit(job)
        return job

    def key_of(self, number: int) -> bytes | None:
        """The key of a job that is done; of one that this build had no need to look at, by what its output's record
        says."""
        found = self.keys.get(number)
        if found is None and self.plan.outputs[number]:
            record = self.disk.record(self.plan.paths[self.plan.outputs[number][0]])
            if record is not None and record.flags & WRITTEN and record.key:
                found = record.key
        return found

    def kind(self, number: int) -> str:
        """The kind of the entry of a job."""
        recipe = self.resolver.builder.rules[self.plan.rule[number]].recipe
        assert recipe is not None
        return recipe.entry_kind

    def identity(self, job: Job) -> Identity:
        """The key of a job whose inputs are known."""
        number = job.number
        env = self.environment(job.rule, job)
        keyed, passed = self.variables(job)
        job.amounts(self.size(job))
        ids = self.plan.ids

        def digest(name: str) -> bytes:
            return self.digest(ids[name], number)

        always = self.always(job) if job.depfile is not None else None
        rows = manifest(
            job,
            self.environments.identity(env),
            digest,
            sorted(keyed.items()),
            self.tools(job, env, keyed),
            self.functions(job),
            always,
        )
        first = key_of(rows)
        found = Identity(first, first, rows, {**passed, **keyed}, env)
        if job.depfile is not None:
            read = self._manifest_that_holds(job, first)
            found.key = None if read is None else second_key(first, read)
            found.read = read or ()
        return found

    def always(self, job: Job) -> frozenset[str]:
        """Of a job with a depfile: the inputs that count whether it names them or not, since the recipe names them."""
        names = set(job.extra)
        recipe = job.rule.recipe
        assert recipe is not None
        if recipe.kind == "shell":
            labels = job.named_inputs
            for hole, _ in recipe.filler.holes:
                if hole.name == "in" and hole.attr != "list":
                    if hole.index is None:
                        names.update(job.inputs)
                    elif -len(job.inputs) <= hole.index < len(job.inputs):
                        names.add(job.inputs[hole.index])
                elif hole.name == "in":
                    names.update(job.inputs)
                elif hole.name in labels:
                    names.update(labels[hole.name])
        return frozenset(names)

    def _manifest_that_holds(self, job: Job, first: bytes) -> tuple[tuple[str, bytes], ...] | None:
        """The newest recorded set of files read whose digests are those of today."""
        known = self.state.depends.get(first)
        if known is None:
            known = self.read_manifests(first)
            if known:
                self.state.put("depends", first, known)
        for read in reversed(known or ()):
            if self._holds(job, read):
                return tuple((name, digest) for name, digest in read)
        return None

    def _holds(self, job: Job, read: Any) -> bool:
        for name, digest in read:
            try:
                f = self.plan.ids.get(name)
                if f is not None and (f in job.input_ids or f in job.extra_ids or f in job.after_ids):
                    now = self.digest(f, job.number)
                else:
                    now = self.external(name)
            except FlowError:
                return False
            if now != digest:
                return False
        return True

    def external(self, name: str) -> bytes:
        """The digest of a file outside the project that a depfile names."""
        found = self._externals.get(name)
        if found is None:
            found = self._externals[name] = self.disk.digest(name)
        return found

    @property
    def outside(self) -> dict[str, bytes]:
        """Files outside the project that decided keys: those that depfiles name, and tools."""
        return self._externals

    def manifests_path(self, first: bytes, root: str) -> str:
        text = first.hex()
        return f"{root}/{text[:2]}/deps-{text}.json"

    def read_manifests(self, first: bytes) -> list[list[tuple[str, bytes]]]:
        """The manifests that the cache roots hold for a first-level key, the newest last."""
        import json

        found: list[list[tuple[str, bytes]]] = []
        for root in reversed(self.cache.roots):
            try:
                with open(self.manifests_path(first, root), "rb") as file:
                    for line in file.read().splitlines():
                        found.append([(name, bytes.fromhex(digest)) for name, digest in json.loads(line)])
            except (OSError, ValueError):
                continue
        return found

    def add_manifest(self, first: bytes, read: list[tuple[str, bytes]]) -> None:
        """Record what a job with a depfile read."""
        import json

        known = [m for m in (self.state.depends.get(first) or []) if [tuple(x) for x in m] != read]
        self.state.put("depends", first, [*known[-15:], read])
        line = json.dumps([[name, digest.hex()] for name, digest in read]) + "\n"
        path = self.manifests_path(first, self.cache.root)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(fd, line.encode("ascii"))  # one write: whole lines also where two builds append
        finally:
            os.close(fd)

    # ---- look-ups ----------------------------------------------------------------------------------------------

    def known(self, key: bytes, count: int) -> list[bytes] | None:
        """The digests of a key's outputs as remembered; None where nothing is."""
        data = self.state.results.get(key)
        if data is None or len(data) != 16 * count:
            return None
        return [data[i : i + 16] for i in range(0, len(data), 16)]

    def remember(self, key: bytes, digests: list[bytes]) -> None:
        data = b"".join(digests)
        if self.state.results.get(key) != data:
            self.state.put("results", key, data)

    def stands(self, path: str, digest: bytes, key: bytes) -> bool:
        """Whether a file (or folder) with that digest stands in the workspace; one that does is bflow's from now on."""
        if path.endswith("/"):
            record = self.disk.record(path)
            if record is None or not record.flags & TREE or record.digest != digest:
                return self._tree_stands(path, digest, key)
            return self.disk.tree_unchanged(path)
        record = self.disk.record(path)
        if record is not None and record.digest == digest and record.flags & WRITTEN:
            if self.disk.holds(path, record) and not os.path.islink(self.disk.path(path)):
                if record.key != key:
                    self.state.put("files", path, FileRecord(record.signature, digest, record.flags, key).pack())
                    self.disk.placed.append(key)
                return True
            return False
        st = self.disk.stat(path)
        if st is None or not stat.S_ISREG(st.st_mode) or os.path.islink(self.disk.path(path)):
            return False
        if self.disk.digest(path) != digest:
            return False
        self.disk.written(path, digest, key, False)
        return True

    def _tree_stands(self, path: str, digest: bytes, key: bytes) -> bool:
        if not os.path.isdir(self.disk.path(path)):
            return False
        try:
            found, _ = self.disk.tree(path)
        except (OSError, FlowError):
            return False
        if found != digest:
            return False
        self.disk.written_tree(path, digest, key)
        return True

    def entry(self, job: Job, key: bytes) -> Entry | None:
        return self.cache.find(job.kind, key)
