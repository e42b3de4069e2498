"""What a job gave: `Result` of one, `Results` of several, and the error of one that failed.

Only what a user sees; `buildflow.submitter` and the hooks make them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from buildflow.errors import FlowError, Span
from buildflow.view import View, Wildcards

if TYPE_CHECKING:
    from buildflow.execute import Run
    from buildflow.job import Job
    from buildflow.workers.base import End

TAIL = 50
"""Lines of a failed job's log in the text of its error."""


class JobView(View):
    """A job as hooks and results show it.

    `rule` (its name), `target` (its first), `inputs` and `outputs` (paths from the project's root), `wildcards`,
    `cpus`, `mem` (bytes, None where the rule does not say), `gpus`, `attempt` (1 is the first).
    """

    @classmethod
    def of(cls, job: Job) -> JobView:
        amounts = job.amounts()
        return cls(
            rule=job.rule.name,
            target=job.target,
            inputs=list(job.inputs),
            outputs=[] if job.rule.phony else list(job.outputs),
            wildcards=Wildcards(job.wildcards),
            cpus=amounts.cpus,
            mem=amounts.mem,
            gpus=amounts.gpus,
            attempt=job.attempt,
        )

    @classmethod
    def of_source(cls, name: str) -> JobView:
        """For a source that was asked for by name: no rule makes it, and there is nothing to do."""
        none: dict[str, Any] = {"rule": None, "inputs": [], "wildcards": Wildcards(), "mem": None}
        return cls(none, target=name, outputs=[name], cpus=0, gpus=0, attempt=0)

    def __repr__(self) -> str:
        return f"Job({self['target']!r})"


class Runtime(View):
    """`wall_s` (seconds), `rss_peak_gb` and `vms_peak_gb` (10⁹ bytes), `cpu_peak_percent` (100 is one processor).

    Each is None where it is not known: the job was too short to sample, there is no /proc, or another tool ran it.
    """

    def __init__(self, values: Mapping[str, float | None] | None = None) -> None:
        super().__init__(dict.fromkeys(("wall_s", "rss_peak_gb", "vms_peak_gb", "cpu_peak_percent")))
        self.update(values or {})
        self.__dict__.update(self)

    def __repr__(self) -> str:
        known = ", ".join(f"{name}={value:.6g}" for name, value in self.items() if value is not None)
        return f"Runtime({known})"


class Outputs(View):
    """The outputs of a job: by label, and those that have none as `out` (several as a list). Values are absolute
    `pathlib.Path`; a label that names several files has a list."""

    def __repr__(self) -> str:
        return f"Outputs({dict(self)!r})"


class Result:
    """What one job gave.

    `job`: a `JobView`; `outputs`: paths by name; `key`: 32 hex digits (None of a phony, a source, or a job whose key is
    not known since it failed or never started); `runtime`: a `Runtime`, of what ran once where it is cached; `cached`:
    nothing ran; `errored`: it failed, or was not started since another job failed; `problem`: why, in a sentence;
    `cache_dir`: the entry of the key (None where there is none); `log`: what the job printed, of a failed one the last
    200 lines.
    """

    def __init__(
        self,
        job: JobView,
        outputs: Outputs,
        *,
        key: str | None,
        runtime: Runtime,
        errored: bool,
        cached: bool,
        cache_dir: Path | None,
        problem: str | None = None,
        log: str | None = None,
        returned: str | None = None,
    ) -> None:
        self.job = job
        self.outputs = outputs
        self.key = key
        self.runtime = runtime
        self.errored = errored
        self.cached = cached
        self.cache_dir = cache_dir
        self.problem = problem
        self._log = log
        self._returned = returned

    @property
    def log(self) -> str:
        """What the job printed; of one that failed the end of it."""
        if self._log is None and self.cache_dir is not None:
            try:
                return (self.cache_dir / "log").read_text("utf-8", "replace")
            except OSError:
                return ""
        return self._log or ""

    @property
    def value(self) -> Any:
        """What a function returned, read back from its one output.

        Of an output that no function returned: JSON where it is JSON, else text, else bytes. Raises FlowError where the
        job failed, or has no output or several, or a folder.
        """
        if self.errored:
            raise FlowError(f"{self.job.target} has no value: {self.problem}")
        paths: list[Path] = []
        for found in dict.values(self.outputs):
            paths.extend(found if isinstance(found, list) else [found])
        if len(paths) != 1:
            raise FlowError(f"{self.job.target} has {len(paths)} outputs, and a value is in one")
        try:
            data = paths[0].read_bytes()
        except OSError as error:
            raise FlowError(f"cannot read {paths[0]}: {error.strerror}") from None
        return value_of(data, self._returned)

    def __repr__(self) -> str:
        state = "errored" if self.errored else "cached" if self.cached else "ran"
        return f"Result({self.job.target!r}, {state}, key={self.key!r})"


def value_of(data: bytes, returned: str | None) -> Any:
    """The value that an output's bytes stand for; `returned`: "text", "bytes" or "json" where a function gave it."""
    if returned == "bytes":
        return data
    if returned == "text":
        return data.decode("utf-8", "surrogateescape")
    import json

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return data
    try:
        return json.loads(text)
    except ValueError:
        return text


class Results(Sequence[Result]):
    """The results of several jobs, in the order in which they were asked for."""

    def __init__(self, results: Sequence[Result]) -> None:
        self._results = list(results)

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    def __getitem__(self, index: int | slice) -> Result | Results:
        if isinstance(index, slice):
            return Results(self._results[index])
        return self._results[index]

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    @property
    def outputs(self) -> Outputs:
        """Each output's values as a list, in the order of the results."""
        names = dict.fromkeys(name for result in self._results for name in result.outputs)
        return Outputs({n: [dict.get(r.outputs, n) for r in self._results if n in r.outputs] for n in names})

    @property
    def key(self) -> str:
        """A hash of the jobs' keys, in order (32 hex digits)."""
        from xxhash import xxh3_128_hexdigest

        return xxh3_128_hexdigest("\0".join(result.key or "" for result in self._results).encode())

    @property
    def value(self) -> list[Any]:
        """What each job's function returned."""
        return [result.value for result in self._results]

    @property
    def errored(self) -> bool:
        """Whether any of the jobs failed or was not started."""
        return any(result.errored for result in self._results)

    @property
    def cached(self) -> bool:
        """Whether nothing ran."""
        return all(result.cached for result in self._results)

    def __repr__(self) -> str:
        return f"Results({self._results!r})"


class JobError(FlowError):
    """A job failed; `result` is its `Result`, the text has the end of its log."""

    exit_status = 1

    def __init__(self, result: Result, span: Span | None = None, hint: str | None = None) -> None:
        super().__init__(f"{result.job.target} failed: {result.problem or 'see its log'}", span, hint)
        self.result = result

    def show(self) -> str:
        lines = [f"    {line}" for line in self.result.log.rstrip().splitlines()[-TAIL:]]
        return "\n".join([super().show(), *([f"  the end of its log ({len(lines)} lines):", *lines] if lines else [])])

    def __reduce__(self) -> Any:
        return type(self), (self.result, None, self.hint)


def outputs_of(job: Job, place: Mapping[str, str], root: str) -> Outputs:
    """The outputs of a job as paths; `place` says where those stand that are not in the workspace."""
    if job.rule.phony:
        return Outputs()
    labels = job.named_outputs
    found: dict[str, Any] = {}
    named: set[str] = set()

    def path(name: str) -> Path:
        return Path(place.get(name) or f"{root}/{name}")

    for label, names in labels.items():
        named.update(names)
        found[label] = path(names[0]) if len(names) == 1 else [path(n) for n in names]
    rest = [name for name in job.outputs if name not in named]
    if rest:
        found["out"] = path(rest[0]) if len(rest) == 1 else [path(n) for n in rest]
    return Outputs(found)


# ---- what hooks are given


def collected_result(run: Run, end: End) -> Result:
    """For `post_run_task`: outputs as they stand in the sandbox, nothing committed."""
    place = {name: f"{run.sandbox.path}/{staged}" for name, staged in run.outputs}
    return Result(
        JobView.of(run.job), outputs_of(run.job, place, run.sandbox.path), key=_hex(run.identity.key),
        runtime=Runtime(end.runtime), errored=False, cached=False, cache_dir=None, log=_read(end),
        returned=run.returned,
    )  # fmt: skip


def committed_result(run: Run, end: End, path: str | None, place: Mapping[str, str], root: str) -> Result:
    """For `post_run`: the entry is there (`path` is None for a job without one) and the outputs stand in the workspace,
    temporary ones at their `place`."""
    return Result(
        JobView.of(run.job), outputs_of(run.job, place, root), key=path.rpartition("-")[2] if path else None,
        runtime=Runtime(end.runtime), errored=False, cached=False, cache_dir=Path(path) if path else None,
        returned=run.returned,
    )  # fmt: skip


def failed_result(job: Job, key: bytes | None, end: End | None, problem: str, log: str) -> Result:
    """For the last two hooks of a job that failed."""
    return Result(
        JobView.of(job), Outputs(), key=_hex(key), runtime=Runtime(end.runtime if end else None),
        errored=True, cached=False, cache_dir=None, problem=problem, log=log,
    )  # fmt: skip


def _hex(key: bytes | None) -> str | None:
    return key.hex() if key else None


def _read(end: End) -> str:
    if end.task.terminal:
        return ""  # the terminal has it
    try:
        return Path(end.task.log).read_text("utf-8", "replace")
    except OSError:
        return ""
