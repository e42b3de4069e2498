"""What jobs ask for and what there is: cpus, memory, gpus, named resources. The sum never passes the limits."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from buildflow.errors import FlowError
from buildflow.job import Amounts, Job
from buildflow.names import Pending
from buildflow.quantity import format_memory

if TYPE_CHECKING:
    from buildflow.decide import Decider
    from buildflow.plan.plan import Plan

LIMITED = ("mem", "gpus")


class Resources:
    """The account of one worker's jobs. `slots`: how many jobs at once; `cpus`: the limit of their processors (default:
    here as many as slots, elsewhere none); `mem` in bytes; `named`: limits of named resources, of which `used` is in
    use: that is one account for all workers of a build. `here`: jobs share this machine's memory and devices."""

    def __init__(
        self, slots: int, mem: float | None = None, gpus: int | None = None, named: Mapping[str, float] = {},
        used: dict[str, float] | None = None, *, cpus: float | None = None, here: bool = True,
    ) -> None:  # fmt: skip
        self.slots = slots
        if here:
            self.most_cpus: int | None = max(1, min(slots, int(cpus) if cpus is not None else slots))
            self.slots = self.most_cpus
            self.mem = physical_memory() if mem is None else mem
            self.devices: list[str] | None = devices(gpus)
        else:
            self.most_cpus = max(1, int(cpus)) if cpus is not None else None
            self.mem = float("inf") if mem is None else mem
            self.devices = None if gpus is None else [str(i) for i in range(gpus)]
        self.here = here
        self.named = dict(named)
        self.jobs = 0
        self.used_cpus = 0
        self.used_mem = 0.0
        self.free_devices = list(self.devices or ())
        self.used: dict[str, float] = {} if used is None else used

    def resize(self, slots: int, cpus: float | None) -> None:
        """What is elsewhere may grow and shrink."""
        self.slots = slots
        self.most_cpus = max(1, int(cpus)) if cpus is not None else None

    def check(self, job: Job, amounts: Amounts) -> None:
        """Raises FlowError for a job that could never run here."""
        attributes = job.rule.attributes
        if amounts.mem is not None and amounts.mem > self.mem:
            raise FlowError(
                f"{job.target} asks for mem = {format_memory(amounts.mem)}, and the limit is {format_memory(self.mem)}",
                attributes["mem"].span,
                "ask for less, or raise the limit (--resource mem=…)",
            )
        if self.devices is not None and amounts.gpus > len(self.devices):
            raise FlowError(
                f"{job.target} asks for gpus = {amounts.gpus}, and there are {len(self.devices)}",
                attributes["gpus"].span,
                "ask for less, or raise the limit (--resource gpus=…)",
            )
        for name, value in amounts.named.items():
            limit = self.named.get(name)
            if limit is not None and value > limit:
                raise FlowError(
                    f"{job.target} asks for resource.{name} = {value:g}, and the limit is {limit:g}",
                    attributes[f"resource.{name}"].span,
                    f"ask for less, or raise the limit (--resource {name}=…)",
                )

    def excess(self, job: Job, amounts: Amounts) -> FlowError | None:
        """What `check` would raise."""
        try:
            self.check(job, amounts)
        except FlowError as error:
            return error
        return None

    def fits(self, amounts: Amounts) -> bool:
        """Whether a job can start beside those that run."""
        if self.jobs:
            if self.jobs >= self.slots:
                return False
            if self.most_cpus is not None and self.used_cpus + amounts.cpus > self.most_cpus:
                return False
        return self.has_beside_cpus(amounts)

    def has_beside_cpus(self, amounts: Amounts) -> bool:
        """Whether there is all but processors, which come free soon."""
        if amounts.mem and self.used_mem + amounts.mem > self.mem:
            return False
        if self.devices is not None and amounts.gpus > len(self.free_devices):
            return False
        return not amounts.named or all(
            self.used.get(name, 0.0) + value <= self.named[name]
            for name, value in amounts.named.items()
            if name in self.named
        )

    def take(self, amounts: Amounts) -> list[str]:
        """Book a job; the numbers of the devices that it gets here."""
        self.jobs += 1
        self.used_cpus += amounts.cpus
        self.used_mem += amounts.mem or 0.0
        for name, value in amounts.named.items():
            self.used[name] = self.used.get(name, 0.0) + value
        given: list[str] = []
        if amounts.gpus and self.devices is not None:
            given, self.free_devices = self.free_devices[: amounts.gpus], self.free_devices[amounts.gpus :]
        return given

    def give(self, amounts: Amounts, given: list[str]) -> None:
        self.jobs -= 1
        self.used_cpus -= amounts.cpus
        self.used_mem -= amounts.mem or 0.0
        for name, value in amounts.named.items():
            left = self.used[name] - value
            self.used[name] = left if left > 1e-9 else 0.0  # what is left may be the rounding of fractions
        if given:
            assert self.devices is not None
            self.free_devices = sorted(self.free_devices + given, key=self.devices.index)
        if not self.jobs:
            self.used_mem = 0.0


def physical_memory() -> float:
    """The bytes of memory of this machine."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (ValueError, OSError):
        return float(1 << 50)


def devices(limit: int | None = None) -> list[str]:
    """The numbers of the GPUs that this process may use; where a limit is given, that many, whatever is found."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        found = [word.strip() for word in visible.split(",") if word.strip()]
    else:
        numbers = [name[len("/dev/nvidia") :] for name in glob.glob("/dev/nvidia[0-9]*")]
        found = sorted(numbers, key=lambda number: (len(number), number))
    if limit is None:
        return found
    more = (str(i) for i in range(len(found) + limit) if str(i) not in found)
    return [*found, *(next(more) for _ in range(limit - len(found)))][:limit]


def over_limits(
    of: Callable[[Job], Resources], decider: Decider, jobs: Iterable[int]
) -> dict[int, FlowError]:
    """Those of `jobs` that are known to ask for more than there is, as far as that is known before anything runs.
    `of(job)`: the account of the worker that it would run on."""
    found: dict[int, FlowError] = {}
    plan = decider.plan
    rules = decider.resolver.builder.rules
    fine: dict[int, bool] = {}  # rules whose jobs all ask for the same, and not for too much
    for number in jobs:
        index = plan.rule[number]
        if fine.get(index):
            continue
        asked = [a for name, a in rules[index].attributes.items() if name in LIMITED or name.startswith("resource.")]
        if not asked:
            fine[index] = True
            continue
        job = decider.job(number)
        try:
            quantities = [job.quantity(attribute.name) for attribute in asked]
            varies = {name for quantity in quantities if quantity is not None for name in quantity.names} - {"attempt"}
            if varies and not _all_sources(plan, number):
                continue
            error = of(job).excess(job, job.amounts(decider.size(job)))
        except Pending:
            continue
        if error is not None:
            found[number] = error
        elif not varies and all(attribute.plain for attribute in asked):
            fine[index] = True
    return found


def _all_sources(plan: Plan, job: int) -> bool:
    """Whether all that `size(…)` may ask for is there before anything runs."""
    for f in (*plan.inputs[job], *plan.after[job]):
        tree = plan.tree(job, f)
        if any(plan.maker[member] >= 0 for member in (tree[0] if tree is not None else (f,))):
            return False
    return True
