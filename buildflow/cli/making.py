"""One build as a command makes it: the settings, the plan, the loop, the snapshot, and what is told.

`bflow build` and `bflow watch` stand on this; the fastest path comes here without click.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from buildflow.errors import FlowError
from buildflow.near import did_you_mean

if TYPE_CHECKING:
    from buildflow.audit import Audit
    from buildflow.build import Build
    from buildflow.events import Reader, Stream
    from buildflow.outcome import Summary
    from buildflow.plan.again import Again
    from buildflow.plan.resolve import Resolver
    from buildflow.plan.snapshot import Snapshot
    from buildflow.progress import Progress
    from buildflow.reads import Reads
    from buildflow.submitter import Session
    from buildflow.workers.base import Worker

GIVEN: dict[str, Any] = {
    "jobs": None, "keep_going": False, "dry_run": False, "always_make": False, "quiet": False, "verbose": False,
    "rerun": (), "until": (), "check": False, "shuffle": None, "worker": None, "options": (), "detach": False,
    "env": None, "default_env": None, "resource": (), "cache_root": None, "readonly_cache": (), "profile": None,
    "as_json": False, "audit": None,
}  # fmt: skip
"""What the options of `bflow build` say where they are not given."""


class Onlooker(Protocol):
    """Who stands by while `make` builds: `bflow watch`."""

    def began(self, build: Build) -> None:
        """The loop is about to run."""

    def ended(self, build: Build, snapshot: Snapshot | None) -> None:
        """A whole plan was built, well or not; and the snapshot of it, where one was left."""


def run(flowfile: str | None, again: Again | None = None, **given: Any) -> int:
    """Build; the exit status. With `--json` the last line is the build's event, whatever is raised. `again`: what is
    known of the plan from an earlier build."""
    from buildflow.outcome import Summary
    from buildflow.progress import JsonLines

    summary = Summary()
    lines = JsonLines() if given["as_json"] else None
    audit: Audit | None = None
    try:
        audit = audit_of(given)
        return _run(flowfile, given["words"], given, summary, lines, audit, again)
    except (FlowError, OSError):
        if lines is not None:
            lines({"event": "build", **told_of(summary), "ok": False})
        raise
    finally:
        if audit is not None and (problem := audit.close()) is not None:
            sys.stderr.write(f"bflow: {problem}\n")


def audit_of(given: dict[str, Any]) -> Audit | None:
    """The reader that `--audit` asks for. A build that runs nothing has none."""
    if given["audit"] is None or given["dry_run"] or given["check"]:
        return None
    if given["audit"] == "print" and given["as_json"]:
        raise FlowError("--json and --audit print both print to stdout", None, "write one to a file: --audit file:PATH")
    from buildflow import __version__
    from buildflow.audit import audit

    return audit(given["audit"], __version__)


def _count(jobs: int) -> str:
    return "1 job is left" if jobs == 1 else f"{jobs} jobs are left"


def told_of(summary: Summary) -> dict[str, Any]:
    """The fields of the build's event."""
    return {
        "ok": summary.ok, "ran": summary.ran, "cached": summary.cached, "up_to_date": summary.up_to_date,
        "failed": summary.failed, "skipped": summary.skipped, "seconds": round(summary.seconds, 3),
        "would_run": summary.would_run, "interrupted": summary.interrupted, "detached": summary.detached,
        "saved": round(summary.saved, 3),
    }  # fmt: skip


def _run(
    flowfile: str | None, words: tuple[str, ...], given: dict[str, Any], summary: Summary, lines: Reader | None,
    audit: Reader | None, again: Again | None,
) -> int:  # fmt: skip
    from buildflow.cli.project import load
    from buildflow.events import Stream
    from buildflow.progress import Progress
    from buildflow.submitter import Session

    project = load(flowfile, words)
    builder = project.builder
    chosen = merged(builder.root, given, builder.reads)
    dry = given["dry_run"] or given["check"]
    stream = Stream()
    progress = Progress(-1 if chosen["quiet"] else 1 if chosen["verbose"] else 0)
    if lines is not None:
        stream.readers.append(lines)
        progress.live = False
        progress.level = min(progress.level, -1)
    stream.readers.append(progress)
    if audit is not None:
        stream.readers.append(audit)
    worker = worker_of(chosen)
    session = Session(builder, cache_root=chosen["cache_root"], readonly=chosen["readonly_cache"], write=not dry)
    session.open(stream)
    try:
        resolver = again.resolver(builder, session.disk) if again is not None else session.resolve(project.targets)
        check_named(resolver, given["rerun"], given["until"])
        stream.clocks = [progress.tick]
        told = make(
            session, resolver, worker, given, chosen, stream, summary, progress, again, recorded=flowfile is None
        )
    finally:
        session.close()
    stream.emit("build", **told_of(summary), dry_run=dry)
    if summary.detached:
        told.append(f"{_count(summary.detached)} in the queue; the same command takes up what they make")
    for text in told:
        if progress.level >= 0:
            sys.stderr.write(text + "\n")
    if given["check"] and summary.would_run:
        return 1
    return summary.status


def worker_of(chosen: dict[str, Any]) -> Worker:
    """The worker of a build. Raises FlowError for a name or an option that there is not."""
    from buildflow.workers.registry import DEFAULT, configured

    return configured(chosen, chosen["worker"] or DEFAULT, chosen["jobs"])


def make(
    session: Session, resolver: Resolver, worker: Worker, given: dict[str, Any], chosen: dict[str, Any],
    stream: Stream, summary: Summary, progress: Progress, again: Again | None = None, *, recorded: bool,
    onlooker: Onlooker | None = None,
) -> list[str]:  # fmt: skip
    """Build what was resolved, into `summary`; what is to be told besides. `recorded`: whether a build that goes well
    leaves a snapshot, so that the next one knows at once what there is to do."""
    from buildflow.build import Build
    from buildflow.jobserver import Jobserver
    from buildflow.workers.registry import configured

    dry = given["dry_run"] or given["check"]
    options = options_of(given, chosen, dry)
    if given["shuffle"] == "":
        stream.emit("note", text=f"the order is shuffled: --shuffle={options.shuffle} gives it again")
    build = Build(
        resolver, session.disk, session.state, session.cache, worker, options, stream, session.folder,
        partial(configured, chosen), again,
    )  # fmt: skip
    build.summary = summary
    if os.environ.get("MAKEFLAGS") and not dry:
        build.launch.jobserver = Jobserver.from_environment(os.environ)
        if build.launch.jobserver is not None and given["jobs"]:
            stream.emit("note", text=f"-j{given['jobs']} was asked for: make's jobserver is left alone")
            build.launch.jobserver.close()
            build.launch.jobserver = None
    progress.counts, progress.estimate = build.counts, build.seconds_left
    if onlooker is not None:
        onlooker.began(build)
    try:
        with Signals(build), build.decider.environments.serving(chosen, stream):
            build.run()
    finally:
        progress.close()
    if again is not None:
        again.record(build.decider, summary.ok)
        return []
    told = sources_asked(build)
    snapshot = None
    if summary.ok and not dry and not summary.detached and recorded and plain(given) and not told:
        from buildflow.plan.record import record
        from buildflow.plan.snapshot import request_of

        request = request_of(list(given["words"]), os.getcwd()[len(resolver.builder.root) :])
        snapshot = record(build.decider, session.folder, request, build.temporaries.unplaced())
    if onlooker is not None:
        onlooker.ended(build, snapshot)
    return told


def check_named(resolver: Resolver, rerun: Sequence[str], until: Sequence[str]) -> None:
    """Raises FlowError where `-R` or `--until` names neither a rule nor a target."""
    if not rerun and not until:
        return
    known: dict[str, None] = {}
    for rule in resolver.builder.rules:
        known.setdefault(rule.name)
        known.update(dict.fromkeys(word.text for word in rule.targets))
    for option, names in (("-R", rerun), ("--until", until)):
        for name in names:
            if name not in known and name not in resolver.plan.ids:
                hint = did_you_mean(name, [*known, *resolver.plan.ids])
                raise FlowError(
                    f"{option} {name}: no rule has that name, and no job of this build that target",
                    None,
                    hint or "it is a rule's name, or a target as written in the Flowfile",
                )


PLAIN = ("always_make", "rerun", "until", "env", "default_env", "cache_root", "readonly_cache", "profile", "worker")


def plain(given: dict[str, Any]) -> bool:
    """Whether nothing was asked that a snapshot does not know of."""
    return not any(given[name] for name in PLAIN)


def sources_asked(build: Any) -> list[str]:
    """For each source that was asked for by name: that it is one."""
    plan = build.plan
    found = []
    for text, files, _ in plan.goals:
        if len(files) != 1 or plan.paths[files[0]] != text or plan.maker[files[0]] >= 0:
            continue
        tree = plan.trees.get(files[0])
        if tree is None or all(plan.maker[f] < 0 for f in tree[0]):
            found.append(f"{text} is a source: no rule makes it, and there is nothing to do for it")
    return found


def merged(root: str, given: dict[str, Any], reads: Reads) -> dict[str, Any]:
    """The settings with the command line over them."""
    from buildflow.settings import placed, setting_files, settings

    found = settings(root, given.get("profile"))
    base = os.getcwd()  # what is typed is relative to where it is typed, as a target is
    if given.get("cache_root"):
        given = {**given, "cache_root": placed("cache_root", given["cache_root"], base)}
    if given.get("readonly_cache"):
        given = {**given, "readonly_cache": placed("readonly_cache", list(given["readonly_cache"]), base)}
    for path in setting_files(root):
        reads.file(path) if os.path.exists(path) else reads.missing(path)
    for name in ("jobs", "worker", "env", "default_env", "cache_root"):
        if given.get(name) is not None:
            found[name] = given[name]
    for name in ("jobs", "worker", "env", "default_env", "cache_root"):
        found.setdefault(name, None)
    found["readonly_cache"] = [*(given.get("readonly_cache") or ()), *found.get("readonly_cache", ())]
    for name in ("keep_going", "quiet", "verbose"):
        found[name] = bool(given.get(name)) or bool(found.get(name))
    found["named"] = limits(found.get("resources", {}), given.get("resource") or ())
    if given.get("options"):
        found["options"] = {**found.get("options", {}), **_worker_options(given["options"])}
    return found


def _worker_options(words: Sequence[str]) -> dict[str, str]:
    """`-o NAME=VALUE`."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise FlowError(f"-o {word}: an option is written as NAME=VALUE")
        found[name] = value
    return found


def limits(file: dict[str, Any], words: tuple[str, ...] | list[str]) -> dict[str, float]:
    """The limits of resources: `[resources]` of the file, then `--resource NAME=N`."""
    from buildflow.quantity import evaluate

    texts = {name: str(value) for name, value in file.items()}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise FlowError(f"--resource {word}: a limit is written as NAME=N")
        texts[name] = value
    found = {}
    for name, text in texts.items():
        try:
            found[name] = evaluate(text, {}, "memory" if name == "mem" else "count")
        except FlowError as error:
            raise FlowError(f"the limit {name}={text}: {error.message}", None, error.hint) from None
    return found


def options_of(given: dict[str, Any], chosen: dict[str, Any], dry: bool) -> Any:
    from buildflow.outcome import Options

    shuffle = given.get("shuffle")
    seed: int | None = None
    if shuffle == "":
        import random

        seed = random.randrange(1 << 30)
    elif shuffle is not None:
        import zlib

        seed = int(shuffle) if shuffle.isascii() and shuffle.isdigit() else zlib.crc32(os.fsencode(shuffle))
    return Options(
        keep_going=chosen["keep_going"], dry_run=dry, force=given["always_make"], rerun=frozenset(given["rerun"]),
        until=frozenset(given["until"]), shuffle=seed, env=chosen["env"], default_env=chosen["default_env"],
        named=chosen["named"], json=given["as_json"] or given.get("audit") == "print", one_worker=bool(given["worker"]),
        detach=bool(given.get("detach")),
    )  # fmt: skip


class Signals:
    """SIGINT, SIGTERM and SIGHUP interrupt the build, but for those that the caller ignores (nohup, a background job of
    a script); what was there before is put back."""

    def __init__(self, build: Any) -> None:
        self.build = build

    def __enter__(self) -> None:
        def handle(number: int, frame: Any) -> None:
            self.build.interrupt()

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        heard = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
        self.before = {n: signal.signal(n, handle) for n in heard}

    def __exit__(self, *exc: object) -> None:
        for number, handler in self.before.items():
            # One more interrupt does not disturb the end of an interrupted build.
            signal.signal(number, signal.SIG_IGN if self.build.interrupts else handler)
