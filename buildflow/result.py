"""What a job gave: `Result` of one, `Results` of several, and the error of one that failed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from buildflow.errors import FlowError
from buildflow.view import View, Wildcards

if TYPE_CHECKING:
    from buildflow.execute import Run
    from buildflow.job import Job
    from buildflow.workers.base import End


class JobView(View):
    """A job as hooks and results show it: `rule`, `target`, `inputs`, `outputs`, `wildcards`, `cpus`, `mem`, `attempt`."""

    @classmethod
    def of(cls, job: Job) -> JobView:
        amounts = job.amounts()
        return cls(
            rule=job.rule.name,
            target=job.target,
            inputs=list(job.inputs),
            outputs=list(job.outputs),
            wildcards=Wildcards(job.wildcards),
            cpus=amounts.cpus,
            mem=amounts.mem,
            gpus=amounts.gpus,
            attempt=job.attempt,
        )

    def __repr__(self) -> str:
        return f"Job({self['target']!r})"


class Runtime(View):
    """`wall_s` (seconds), `rss_peak_gb`, `vms_peak_gb` (10⁹ bytes), `cpu_peak_percent`; None where not sampled."""


class Outputs(View):
    """The outputs of a job: by label, and `out` where there is one that has no name. Values are `pathlib.Path`."""


class Result:
    """What one job gave. `key` is 32 hex digits; `cached`: nothing ran; `cache_dir`: the entry, None where none is."""

    def __init__(
        self,
        job: JobView,
        outputs: Outputs,
        *,
        key: str | None,
        runtime: Runtime | None,
        errored: bool,
        cached: bool,
        cache_dir: Path | None,
        problem: str | None = None,
        log: str = "",
    ) -> None:
        self.job = job
        self.outputs = outputs
        self.key = key
        self.runtime = runtime
        self.errored = errored
        self.cached = cached
        self.cache_dir = cache_dir
        self.problem = problem
        self.log = log

    @property
    def value(self) -> Any:
        """What a function returned, read back from its one output: JSON where it is JSON, else text, else bytes."""
        paths = [p for p in self.outputs.values() if isinstance(p, Path)]
        if len(paths) != 1:
            raise FlowError(f"{self.job.target} has {len(paths)} outputs, and a value is in one")
        data = paths[0].read_bytes()
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return data
        try:
            return json.loads(text)
        except ValueError:
            return text

    def __repr__(self) -> str:
        state = "errored" if self.errored else "cached" if self.cached else "ran"
        return f"Result({self.job.target!r}, {state}, key={self.key!r})"


class Results(Sequence[Result]):
    """The results of several jobs, in the order asked for."""

    def __init__(self, results: Sequence[Result]) -> None:
        self._results = list(results)

    def __getitem__(self, index: Any) -> Any:
        found = self._results[index]
        return Results(found) if isinstance(index, slice) else found

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[Result]:
        return iter(self._results)

    @property
    def outputs(self) -> Outputs:
        """Each output's values as a list, in the order of the results."""
        names = dict.fromkeys(name for result in self._results for name in result.outputs)
        return Outputs({name: [result.outputs.get(name) for result in self._results] for name in names})

    @property
    def key(self) -> str:
        """A hash of the jobs' keys, in order (32 hex digits)."""
        from xxhash import xxh3_128_hexdigest

        return xxh3_128_hexdigest("\0".join(result.key or "" for result in self._results).encode())

    @property
    def errored(self) -> bool:
        return any(result.errored for result in self._results)

    @property
    def value(self) -> list[Any]:
        return [result.value for result in self._results]

    def __repr__(self) -> str:
        return f"Results({self._results!r})"


class JobError(FlowError):
    """A job failed; `result` is its `Result`, the message has the end of its log."""

    exit_status = 1

    def __init__(self, result: Result) -> None:
        self.result = result
        lines = result.log.strip().splitlines()[-20:]
        tail = "\n".join(f"    {line}" for line in lines)
        message = f"{result.job.target} failed: {result.problem or 'see its log'}"
        super().__init__(f"{message}\n{tail}" if tail else message)


def outputs_of(job: Job, place: Mapping[str, str], root: str) -> Outputs:
    """The outputs of a job as paths; `place` says where those stand that are not in the workspace."""
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


def collected_result(run: Run, end: End) -> Result:
    """For `post_run_task`: outputs as they stand in the sandbox, nothing committed."""
    place = {name: f"{run.sandbox.path}/{staged}" for name, staged in run.outputs}
    return Result(
        JobView.of(run.job), outputs_of(run.job, place, run.sandbox.path), key=_hex(run.identity.key),
        runtime=Runtime(end.runtime), errored=False, cached=False, cache_dir=None,
    )  # fmt: skip


def committed_result(run: Run, end: End, path: str, root: str) -> Result:
    """For `post_run`: the entry is there and the outputs stand in the workspace."""
    return Result(
        JobView.of(run.job), outputs_of(run.job, {}, root), key=path.rpartition("-")[2],
        runtime=Runtime(end.runtime), errored=False, cached=False, cache_dir=Path(path),
    )  # fmt: skip


def failed_result(run: Run, end: End | None, problem: str, root: str) -> Result:
    return Result(
        JobView.of(run.job), Outputs(), key=_hex(run.identity.key), runtime=Runtime(end.runtime) if end else None,
        errored=True, cached=False, cache_dir=None, problem=problem,
    )  # fmt: skip


def _hex(key: bytes | None) -> str | None:
    return key.hex() if key else None
