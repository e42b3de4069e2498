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
from buildflow.kept import Kept, KeptAgain
from buildflow.seen import Seen
from buildflow.watch import TURN, Watch

if TYPE_CHECKING:
    from buildflow.build import Build
    from buildflow.events import Reader
    from buildflow.outcome import Summary
    from buildflow.plan.resolve import Resolver
    from buildflow.plan.snapshot import Snapshot
    from buildflow.progress import Progress
    from buildflow.state import State
    from buildflow.submitter import Session

ONCE = {"dry_run": False, "check": False, "always_make": False, "rerun": (), "shuffle": None, "audit": None}
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
            watch.idle = rebuilds.idle
            try:
                watch.run(partial(rebuilds.build, watch))
            except Elsewhere as other:
                root = other.root
            finally:
                rebuilds.idle()
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
    """The builds of one watch, each with a session of its own: between them others may build the project. What one has
    read and planned is kept for the next."""

    summary: Summary
    watch: Watch
    seen: Seen

    def __init__(self, flowfile: str | None, found: tuple[str, str], given: dict[str, Any]) -> None:
        self.flowfile = flowfile
        self.found = found
        self.given = given
        self.problem: str | None = None  # what was last shown as wrong with the Flowfile
        self.state: State | None = None
        self.kept: Kept | None = None  # the last plan that was built, whole and well
        self.talks = not (given["quiet"] or given["as_json"])

    def build(self, watch: Watch, seen: Seen, look: bool) -> None:
        """One build: load, plan, run, and tell how it went. Raises KeyboardInterrupt where a signal ended it."""
        from buildflow.outcome import Summary

        if watch.changes and not look and self.talks:
            more = f" and {len(watch.changes) - 1} more" if len(watch.changes) > 1 else ""
            note(f"bflow: {watch.changes[0]}{more} changed")
        self.watch, self.seen = watch, seen
        stream, screen = self._screen(look and self.problem is None)
        self.summary = Summary()
        problem: str | None = None
        told: list[str] = []
        try:
            if not self._affected(stream, screen, all_of_it=True):
                told = self._build(stream, screen)
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
        if not seen.kept and watch.cover(seen):
            watch.inbox.lose()  # what only showed while it built is watched from now on: look once more
        by_last = problem is not None and self._by_last_good(stream, screen)
        if problem is not None and look and problem == self.problem and not by_last:
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

    def idle(self) -> None:
        """Nothing has changed for a while, or the watch ends."""
        if self.kept is not None:
            self.kept.write()

    def _emit_end(self, stream: Stream, well: bool) -> None:
        stream.emit("build", **{**making.told_of(self.summary), "ok": self.summary.ok and well})

    # ---- a whole plan ------------------------------------------------------------------------------------------

    def _build(self, stream: Stream, screen: Held) -> list[str]:
        from buildflow.submitter import Session

        given, watch, seen = self.given, self.watch, self.seen
        for _ in range(PLANS):
            project = load(self.flowfile, given["words"], self.found)
            builder = project.builder
            if os.path.realpath(builder.root) != watch.root:
                raise Elsewhere(os.path.realpath(builder.root))
            builder.reads.file(self.found[0])
            chosen = making.merged(builder.root, given, builder.reads)
            session = Session(builder, cache_root=chosen["cache_root"], readonly=chosen["readonly_cache"])
            self._open(session, stream)
            try:
                seen.opened(session.disk)
                resolver = session.resolve(project.targets)
                making.check_named(resolver, (), given["until"])
                seen.planned(resolver.plan, resolver.reads)
                if watch.cover(seen):
                    continue
                self.kept = None  # there is a new plan
                try:
                    return self._make(session, resolver, chosen, stream, screen)
                finally:
                    seen.planned(resolver.plan, resolver.reads)
            finally:
                session.close()
        raise FlowError("the folders that the Flowfile reads keep changing")

    def _open(self, session: Session, stream: Stream) -> None:
        session.open(stream, self.state)
        self.state = session.state

    def _make(
        self, session: Session, resolver: Resolver, chosen: dict[str, Any], stream: Stream, screen: Held,
        again: KeptAgain | None = None,
    ) -> list[str]:  # fmt: skip
        given = self.given
        if not given["as_json"]:
            screen.progress.level = -1 if chosen["quiet"] else 1 if chosen["verbose"] else 0
        stream.clocks = [screen.progress.tick]
        self._chosen = chosen
        return making.make(
            session, resolver, making.worker_of(chosen), {**making.GIVEN, **given}, chosen, stream, self.summary,
            screen.progress, again, recorded=self.flowfile is None, onlooker=self,
        )  # fmt: skip

    def began(self, build: Build) -> None:
        """The loop is about to run: from now on it goes back to sources that change."""

        def look() -> float:
            self.watch.catch_up(self.seen, build.goback.take_in)
            return TURN

        build.look = look

    def ended(self, build: Build, snapshot: Snapshot | None) -> None:
        """A whole plan was built: it is kept, if it went well and files have no say in it."""
        from buildflow.plan.record import collected
        from buildflow.plan.snapshot import place_of

        path = None if snapshot is None else place_of(build.folder, snapshot.request)
        if snapshot is None and build.summary.ok and not build.summary.detached and not self.given["until"]:
            snapshot = collected(build.decider, "", build.temporaries.unplaced(), phony=True)
        if snapshot is not None and snapshot.numbers:
            self.kept = Kept(build.resolver, build.state, snapshot, path, self._chosen)

    # ---- the plan that is kept ---------------------------------------------------------------------------------

    def _affected(self, stream: Stream, screen: Held, *, all_of_it: bool) -> bool:
        """Build what the changes affect by the plan that is kept; False, and nothing was done, where there is none, or
        it holds no more. `all_of_it`: the changes must be none to the plan."""
        kept, watch = self.kept, self.watch
        if kept is None or not watch.changes:
            return False
        if all_of_it and not (self.problem is None and watch.whole and kept.covers(watch.changes)):
            return False
        again = kept.again(watch.changes)
        if again is None:
            return False
        from buildflow.submitter import Session

        resolver, chosen = kept.resolver, kept.chosen
        builder, reads = resolver.builder, resolver.reads
        session = Session(builder, cache_root=chosen["cache_root"], readonly=chosen["readonly_cache"])
        self._open(session, stream)
        try:
            if session.state is not kept.state:  # another build was there
                self.kept = None
                return False
            self.seen.opened(session.disk)
            known = len(reads.files), len(reads.absent), len(reads.folders)
            if all_of_it:
                self.seen.keep(self.watch.before)
            self._make(session, resolver, chosen, stream, screen, again)
            if not again.holds:
                self.kept = None
            if all_of_it and known != (len(reads.files), len(reads.absent), len(reads.folders)):
                self.seen.planned(resolver.plan, reads)
                self.seen.kept = False
        finally:
            session.close()
        return True

    def _by_last_good(self, stream: Stream, screen: Held) -> bool:
        """The Flowfile is broken: what else has changed is built by the last one that was not. Whether it was."""
        try:
            if not self._affected(stream, screen, all_of_it=False):
                return False
        except FlowError as error:
            note(error.show())
        if self.talks:
            note("bflow: this was built by the Flowfile as it was before it was broken:")
        return True

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
