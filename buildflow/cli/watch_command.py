"""`bflow watch`: build, and build again what changes affect."""

from __future__ import annotations

import gc
import os
import signal
from typing import Any

import click

from buildflow.cli import build_command
from buildflow.cli.common import note
from buildflow.cli.project import find, load
from buildflow.errors import FlowError
from buildflow.events import Stream
from buildflow.seen import Seen
from buildflow.watch import Watch

ONCE = {"dry_run": False, "check": False, "always_make": False, "rerun": ()}
"""Options of `bflow build` that make no sense again and again, with what stands for them here."""

PLANS = 3
"""Times that a plan is made in a row where it leads to folders that were not watched before."""


@click.command("watch", params=[p for p in build_command.command.params if p.name not in ONCE])
@click.option("--poll", is_flag=True, help="Look at the files again and again (other hosts write them, say).")
@click.pass_obj
def command(obj: dict[str, Any], /, **given: Any) -> int:
    """Build TARGETs as “bflow build” does, then wait for changes, and build what they affect.

    A change to anything that the plan reads counts: sources, scripts, tables, new files that a glob matches, the
    Flowfile and what it includes. So does an output that is edited or removed. Ctrl-C ends it.

    \b
    bflow watch                      all that the first rule names
    bflow watch test                 run the tests after each change
    """
    gc.disable()
    return run(obj.get("flowfile"), given.pop("poll"), **given)


def run(flowfile: str | None, poll: bool, **given: Any) -> int:
    """Build and watch until a signal ends it; the exit status."""
    found = find(flowfile)
    given.update(ONCE)
    build_command.limits({}, given["resource"])  # what is wrong on the command line no change to a file can mend
    rebuilds = Rebuilds(flowfile, found, given)
    watch = Watch(found[1], f"{found[1]}/.bflow", lambda text: note(f"bflow: {text}"), poll)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # of nohup
            signal.signal(number, signal.default_int_handler)
    try:
        watch.run(lambda seen, look: rebuilds.build(watch, seen, look))
    except KeyboardInterrupt:
        return 130
    return 0


class Rebuilds:
    """The builds of one watch, each with a session of its own: between them others may build the project."""

    def __init__(self, flowfile: str | None, found: tuple[str, str], given: dict[str, Any]) -> None:
        self.flowfile = flowfile
        self.found = found
        self.given = given
        self.problem: str | None = None  # what was last shown as wrong with the Flowfile
        self.talks = not (given["quiet"] or given["as_json"])

    def build(self, watch: Watch, seen: Seen, look: bool) -> None:
        """One build: load, plan, run, and tell how it went. Raises KeyboardInterrupt where a signal ended it."""
        from buildflow.build import Summary

        if watch.changes and not look and self.talks:
            more = f" and {len(watch.changes) - 1} more" if len(watch.changes) > 1 else ""
            note(f"bflow: {watch.changes[0]}{more} changed")
        stream, screen = self._screen(look and self.problem is None)
        summary = Summary()
        error: FlowError | None = None
        told: list[str] = []
        try:
            summary, told = self._build(watch, seen, stream)
        except FlowError as wrong:
            error = wrong
        except OSError as wrong:
            error = FlowError(f"{wrong.strerror or wrong}" + (f" ({wrong.filename})" if wrong.filename else ""))
        except RecursionError:
            error = FlowError("a name, pattern or rule is nested too deeply")
        seen.finished(error is None and not summary.planning_failed)
        if watch.cover(seen):
            watch.inbox.lose()  # what only showed while it built is watched from now on: look once more
        if error is not None:
            text = error.show()
            if look and text == self.problem:
                return  # it still stands on the screen
            self.problem = text
            note(text)
        else:
            self.problem = None
        if summary.interrupted:
            raise KeyboardInterrupt
        stream.emit(
            "build", ok=summary.ok and error is None, ran=summary.ran, cached=summary.cached,
            up_to_date=summary.up_to_date, failed=summary.failed, skipped=summary.skipped,
            seconds=round(summary.seconds, 3),
        )  # fmt: skip
        if self.talks and not screen.held:
            for text in told:
                note(text)
            note("bflow: watching for changes (Ctrl-C ends it)")

    def _build(self, watch: Watch, seen: Seen, stream: Stream) -> tuple[Any, list[str]]:
        from buildflow.build import Build
        from buildflow.submitter import Session
        from buildflow.workers.registry import worker as worker_named

        given = self.given
        for _ in range(PLANS):
            project = load(self.flowfile, given["words"], self.found)
            builder = project.builder
            chosen = build_command.merged(builder.root, given, builder.reads)
            session = Session(builder, cache_root=chosen["cache_root"], readonly=chosen["readonly_cache"])
            session.open(stream)
            try:
                seen.opened(session.disk)
                resolver = session.resolve(project.targets)
                seen.planned(resolver.plan, resolver.reads)
                if watch.cover(seen):
                    continue
                worker = worker_named(chosen["worker"] or "cf", chosen["jobs"])
                build = Build(
                    resolver, session.disk, session.state, session.cache, worker,
                    build_command.options_of(given, chosen, False), stream, session.folder,
                )  # fmt: skip
                try:
                    with build_command._signals(build):
                        summary = build.run()
                finally:
                    seen.planned(resolver.plan, resolver.reads)
                if summary.ok and self.flowfile is None and build_command.plain(given):
                    self._record(build, session.folder)
                return summary, build_command.sources_asked(build)
            finally:
                session.close()
        raise FlowError("the folders that the Flowfile reads keep changing")

    def _record(self, build: Any, folder: str) -> None:
        """The snapshot, so that a `bflow build` afterwards has nothing to do and knows it at once."""
        from buildflow.plan.record import record
        from buildflow.plan.snapshot import request_of

        request = request_of(list(self.given["words"]), os.getcwd()[len(build.resolver.builder.root) :])
        record(build.decider, folder, request, build.temporaries.unplaced())

    def _screen(self, held: bool) -> tuple[Stream, Held]:
        """A stream with its readers: lines for people, or for `--json` events on stdout and failures on stderr."""
        from buildflow.progress import JsonLines, Progress

        stream = Stream()
        progress = Progress(-1 if self.given["quiet"] else 1 if self.given["verbose"] else 0)
        screen = Held(stream, held)
        if self.given["as_json"]:
            screen.readers.append(JsonLines())
            progress.live = False
            progress.level = min(progress.level, -1)
        screen.readers.append(progress)
        return stream, screen


class Held:
    """Holds events back until one tells that something is done; so a look that finds nothing to do says nothing."""

    def __init__(self, stream: Stream, held: bool) -> None:
        self.readers: list[Any] = []
        self.held = held
        self._events: list[dict[str, Any]] = []
        stream.readers.append(self)

    def __call__(self, event: dict[str, Any]) -> None:
        if self.held:
            self._events.append(event)
            if _dull(event):
                return
            self.held = False
            events, self._events = self._events, []
        else:
            events = [event]
        for one in events:
            for reader in self.readers:
                reader(one)


def _dull(event: dict[str, Any]) -> bool:
    """Whether an event is one of a build that has nothing to do."""
    if event["event"] == "job":
        return bool(event["state"] == "up_to_date")
    if event["event"] == "build":
        return bool(event["ok"] and not event["ran"] and not event["cached"])
    return bool(event["event"] == "plan")
