"""Grid Engine (SGE, Son of Grid Engine and its kin): `qsub` with arrays, `qstat` for all at once, `qacct` for what is
over.

`[workers.sge]` of `bflow.toml` and `-o`: queue, project, pe, memory, gpu, and those of all clusters. A rule says
`sge = -l some_resource=1`: arguments of qsub. Nodes end what takes more memory than it asked for themselves, since what
the queue itself does about memory is another thing at each site.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from buildflow.workers import states
from buildflow.workers.base import Task
from buildflow.workers.cluster import ClusterWorker, Seen
from buildflow.workers.commands import Answer
from buildflow.workers.live import Live
from buildflow.workers.states import State
from buildflow.workers.submission import SPAN

NO_ANSWER = (
    "unable to contact", "commlib", "select error", "gdi", "timeout", "timed out", "can't find connection",
    "connection refused", "cannot register", "not reachable", "try again", "does not answer", "qmaster",
)  # fmt: skip
"""Words of messages that are no answer to what was asked."""

MARGIN = 60.0
"""Seconds that a job gets over the `time` of its tasks, which their node sees to."""

SETTLED = 3
"""Questions to the accounting after which an element that it does not have was deleted before it began."""

KILLED, TOLD_TO_END = "100", "143"
"""`failed` of a job that was ended by a signal, `exit_status` of a node that was told to end (`buildflow/node.py`)."""


class Worker(ClusterWorker):
    """`--worker sge`."""

    name = "sge"
    commands = ("qsub", "qstat", "qdel")
    watch_memory = True
    first = 1
    options = {
        **ClusterWorker.options,
        "queue": "the queue (qsub -q)",
        "project": "the project (qsub -P)",
        "pe": "the parallel environment of jobs with several cpus (default smp)",
        "memory": "the resource that mem asks for, of each slot (default mem_free; several: mem_free,h_vmem)",
        "gpu": "the resource that gpus asks for (default gpu)",
    }

    # ---- submitting ------------------------------------------------------------------------------------------------

    def submit(self, live: Live, node: str, then: Callable[[str | None, Answer], None]) -> None:
        submission = live.submission
        task = next(task for task in submission.tasks if task is not None)
        words = [
            "qsub", "-terse", "-N", submission.token, "-t", f"1-{submission.elements}", "-S", "/bin/sh",
            "-wd", submission.folder, "-o", "out.$TASK_ID", "-j", "y", "-r", "n", "-notify", "-v", "PATH",
            *self._wanted_resources(task, submission.batch), *self._options(), *task.arguments,
            submission.script(f"{node} $((SGE_TASK_ID - 1))\n"),
        ]  # fmt: skip

        def answered(answer: Answer) -> None:
            name = answer.out.strip().rpartition("\n")[2].partition(".")[0]
            then(name if answer.status == 0 and name.isdigit() else None, answer)

        self.queue.ask(words, answered)

    def _wanted_resources(self, task: Task, batch: int | None) -> Iterator[str]:
        amounts = task.amounts
        asked = {}
        if task.time:
            asked["h_rt"] = str(int((task.time * batch if batch else task.time + SPAN) + MARGIN))
        if amounts is not None:
            if amounts.mem:
                for name in str(self.given.get("memory", "mem_free")).split(","):
                    asked[name] = f"{-(-int(amounts.mem) // (1024 * amounts.cpus))}K"
            if amounts.gpus:
                asked[str(self.given.get("gpu", "gpu"))] = str(amounts.gpus)
            if amounts.cpus > 1:
                yield from ("-pe", str(self.given.get("pe", "smp")), str(amounts.cpus))
        if asked:
            yield from ("-l", ",".join(f"{name}={value}" for name, value in asked.items()))

    def _options(self) -> Iterator[str]:
        for name, option in (("queue", "-q"), ("project", "-P")):
            if self.given.get(name):
                yield from (option, str(self.given[name]))
        if self.given.get("args"):
            from shlex import split

            yield from split(str(self.given["args"]))

    def refused(self, answer: Answer) -> bool:
        text = (answer.err + answer.out).lower()
        return answer.status > 0 and not any(words in text for words in NO_ANSWER)

    # ---- asking ----------------------------------------------------------------------------------------------------

    def look(self, lives: Sequence[Live], then: Callable[[Seen | None, Answer], None]) -> None:
        tokens = {live.submission.token for live in lives}

        def answered(answer: Answer) -> None:
            seen = _seen(answer.out, tokens) if answer.status == 0 else None
            for name, found in (seen or {}).values():
                if any(state.said.startswith("E") for state in found.values()):
                    self.cancel([name], kill=False)  # it would stay in the queue, and never run
            then(seen, answer)

        self.queue.ask(["qstat", "-xml"], answered)

    def history(self, live: Live, then: Callable[[dict[int, State]], None]) -> None:
        if live.id is None:
            then({})
            return

        def answered(answer: Answer) -> None:
            found = _accounted(answer.out) if answer.status == 0 else {}
            if live.asked >= SETTLED:
                begun = live.begun_elements()
                for element in range(live.submission.elements):
                    if element not in found and element not in begun:
                        found[element] = State(states.CANCELLED)
            then(found)

        self.queue.ask(["qacct", "-j", live.id], answered)

    def cancel(self, ids: Sequence[str], *, kill: bool) -> None:
        self.queue.ask(["qdel", *ids], lambda answer: None)

    def cancel_element(self, name: str, element: int) -> None:
        self.queue.ask(["qdel", f"{name}.{element + 1}"], lambda answer: None)


def _seen(text: str, tokens: set[str]) -> Seen | None:
    """What `qstat -xml` tells; None for what is no XML."""
    from xml.etree import ElementTree

    try:
        tree = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    found: Seen = {}
    for job in tree.iter("job_list"):
        token = job.findtext("JB_name") or ""
        if token in tokens:
            name = job.findtext("JB_job_number") or ""
            state = _state(job.findtext("state") or "", (job.findtext("queue_name") or "").partition("@")[2])
            elements = found.setdefault(token, (name, {}))[1]
            elements.update((element, state) for element in _places(job.findtext("tasks") or "1"))
    return found


def _state(letters: str, node: str) -> State:
    """A state as Grid Engine writes it: `qw`, `r`, `dr`, `Eqw` …"""
    if letters.startswith("E"):
        return State(states.FAILED, node, letters)
    return State(states.RUNNING if set(letters) & set("rtsST") else states.WAITING, node, letters)


def _places(text: str) -> Iterator[int]:
    """The elements that Grid Engine writes as `1,3-7:1`, from 0."""
    for part in text.split(","):
        span, _, step = part.strip().partition(":")
        first, _, last = span.partition("-")
        if first.isdigit() and (last or first).isdigit():
            yield from range(int(first) - 1, int(last or first), int(step) if step.isdigit() else 1)


def _accounted(text: str) -> dict[int, State]:
    """What `qacct -j` tells, a record a task, of `name value` a line."""
    found: dict[int, State] = {}
    for record in text.split("=" * 62):
        rows = (line.split(None, 1) for line in record.splitlines())
        fields = {row[0]: row[1].strip() for row in rows if len(row) == 2}
        task = fields.get("taskid", "")
        if task.isdigit():
            found[int(task) - 1] = _ended(fields)
    return found


def _ended(fields: Mapping[str, str]) -> State:
    node = fields.get("hostname", "")
    failed = fields.get("failed", "0").split(" ")[0]
    status = fields.get("exit_status", "0").split(" ")[0]
    if failed == KILLED or status == TOLD_TO_END:
        return State(states.CANCELLED, node)
    if failed != "0":
        return State(states.FAILED, node, fields["failed"].replace(" : ", ": "))
    return State(states.COMPLETED if status == "0" else states.FAILED, node)
