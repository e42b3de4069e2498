"""`bflow watch`: build, and build again what changes affect."""

from __future__ import annotations

import gc
import os
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from buildflow.cli import build_command, making
from buildflow.cli.common import note
from buildflow.cli.project import find, load
from buildflow.errors import FlowError
from buildflow.events import Stream
from buildflow.seen import Seen
from buildflow.watch import Watch

if TYPE_CHECKING:
    from buildflow.events import Reader
    from buildflow.outcome import Summary
    from buildflow.progress import Progress

ONCE = {"dry_run": False, "check": False, "always_make": False, "rerun": (), "shuffle": None}
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
    _check(given)
    rebuilds = Rebuilds(flowfile, found, given)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # of nohup
            signal.signal(number, signal.default_int_handler)
    root = found[1]
    try:
        while True:
            watch = Watch(root, f"{root}/.bflow", lambda text: note(f"bflow: {text}"), poll)
            try:
                watch.run(partial(rebuilds.build, watch))
            except Elsewhere as other:
                root = other.root
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            note("")  # the terminal shows ^C
        return 130


def _check(given: dict[str, Any]) -> None:
    """What is wrong on the command line no change to a file can mend."""
    from buildflow.workers.registry import worker as worker_named

    making.limits({}, given["resource"])
    if given["worker"]:
        worker_named(given["worker"], given["jobs"]).close()


class Elsewhere(Exception):
    """The `Flow` of a Flowfile.py has another root than the folder it was found from."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.root = root


class Rebuilds:
    """The builds of one watch, each with a session of its own: between them others may build the project."""

    summary: Summary

    def __init__(self, flowfile: str | None, found: tuple[str, str], given: dict[str, Any]) -> None:
        self.flowfile = flowfile
        self.found = found
        self.given = given
        self.problem: str | None = None  # what was last shown as wrong with the Flowfile
        self.talks = not (given["quiet"] or given["as_json"])

    def build(self, watch: Watch, seen: Seen, look: bool) -> None:
        """One build: load, plan, run, and tell how it went. Raises KeyboardInterrupt where a signal ended it."""
        from buildflow.outcome import Summary

        if watch.changes and not look and self.talks:
            more = f" and {len(watch.changes) - 1} more" if len(watch.changes) > 1 else ""
            note(f"bflow: {watch.changes[0]}{more} changed")
        stream, screen = self._screen(look and self.problem is None)
        self.summary = Summary()
        problem: str | None = None
        told: list[str] = []
        try:
            told = self._build(watch, seen, stream, screen)
        except FlowError as error:
            problem = error.show()
        except BrokenPipeError:
            raise
        except OSError as error:
            problem = f"bflow: {error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
        except RecursionError:
            problem = "bflow: a name, pattern or rule is nested too deeply"
        if self.summary.interrupted:
            self._emit_end(stream, False)
            raise KeyboardInterrupt
        seen.finished(problem is None and not self.summary.planning_failed)
        if watch.cover(seen):
            watch.inbox.lose()  # what only showed while it built is watched from now on: look once more
        if problem is not None and look and problem == self.problem:
            return  # it still stands on the screen
        self.problem = problem
        if problem is not None:
            note(problem)
        if problem is None or self.given["as_json"]:
            self._emit_end(stream, problem is None)
        if self.talks and not screen.held:
            for text in told:
                note(text)
            note("bflow: watching for changes (Ctrl-C ends it)")

    def _emit_end(self, stream: Stream, well: bool) -> None:
        stream.emit("build", **{**making.told_of(self.summary), "ok": self.summary.ok and well})

    def _build(self, watch: Watch, seen: Seen, stream: Stream, screen: Held) -> list[str]:
        from buildflow.submitter import Session

        given = self.given
        for _ in range(PLANS):
            project = load(self.flowfile, given["words"], self.found)
            builder = project.builder
            if os.path.realpath(builder.root) != watch.root:
                raise Elsewhere(os.path.realpath(builder.root))
            builder.reads.file(self.found[0])
            chosen = making.merged(builder.root, given, builder.reads)
            if not given["as_json"]:
                screen.progress.level = -1 if chosen["quiet"] else 1 if chosen["verbose"] else 0
            session = Session(builder, cache_root=chosen["cache_root"], readonly=chosen["readonly_cache"])
            session.open(stream)
            try:
                seen.opened(session.disk)
                resolver = session.resolve(project.targets)
                making.check_named(resolver, (), given["until"])
                seen.planned(resolver.plan, resolver.reads)
                if watch.cover(seen):
                    continue
                stream.clocks = [screen.progress.tick]
                try:
                    return making.make(
                        session, resolver, making.worker_of(chosen), {**making.GIVEN, **given}, chosen, stream,
                        self.summary, screen.progress, recorded=self.flowfile is None,
                    )  # fmt: skip
                finally:
                    seen.planned(resolver.plan, resolver.reads)
            finally:
                session.close()
        raise FlowError("the folders that the Flowfile reads keep changing")

    def _screen(self, held: bool) -> tuple[Stream, Held]:
        """A stream with its readers: lines for people, or for `--json` events on stdout and failures on stderr."""
        from buildflow.progress import JsonLines, Progress

        stream = Stream()
        progress = Progress()
        screen = Held(stream, progress, held)
        if self.given["as_json"]:
            screen.readers.insert(0, JsonLines())
            progress.live = False
            progress.level = -1
        return stream, screen


class Held:
    """Holds events back until one tells that something is done; so a look that finds nothing to do says nothing."""

    def __init__(self, stream: Stream, progress: Progress, held: bool) -> None:
        self.progress = progress
        self.readers: list[Reader] = [progress]
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
    return event["event"] == "plan" or (event["event"] == "note" and not event.get("error"))
