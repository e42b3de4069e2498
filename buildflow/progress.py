"""What a build looks like on the screen: a reader of the event stream. Status goes to stderr.

On a terminal also a live region (`buildflow.screen`): how far it is, and the jobs that run, the oldest first. A plain
line for each job that ran goes above it; elsewhere these lines are all. A job's output is shown whole when it ends.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any

from buildflow.screen import Screen, head, shown, tail

if TYPE_CHECKING:
    from buildflow.job import Job

ROWS = 8
"""Jobs that are shown while they run."""

NARROW = 30
"""Columns below which their times are left out."""

WORTH = 1.0
"""Seconds from which on it is told what the cache has saved."""

SHOWN = 16 << 20
"""Bytes of a job's output that are shown; the rest is in its log."""


class Progress:
    """Lines for people. level: -1 quiet (failures only), 0, 1 verbose."""

    def __init__(self, level: int = 0, out: IO[str] | None = None, live: bool | None = None) -> None:
        self.out = out or sys.stderr
        self.level = level
        tty = self.out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.screen = Screen(self.out, tty if live is None else live)
        self.colour = tty and not os.environ.get("NO_COLOR")
        self.total = 0
        self.finished = 0
        self.counts: Callable[[], tuple[int, int]] | None = None  # jobs that are done, and all, where the build tells
        self.estimate: Callable[[], float | None] | None = None  # the seconds that are left, where the build knows
        self.running: dict[str, float] = {}
        self._begun: tuple[float, int] | None = None  # when the first job started, and how many were done by then
        self.failures: list[dict[str, Any]] = []
        self._lent: str | None = None  # the job that has the terminal to itself

    @property
    def live(self) -> bool:
        """Whether there is a live region."""
        return self.screen.live

    @live.setter
    def live(self, live: bool) -> None:
        self.screen.live = live

    def __call__(self, event: dict[str, Any]) -> None:
        handler = getattr(self, "_" + event["event"], None)
        if handler is not None:
            handler(event)

    # ---- events ------------------------------------------------------------------------------------------------

    def _plan(self, event: dict[str, Any]) -> None:
        self.total = event["jobs"]

    def _start(self, event: dict[str, Any]) -> None:
        now = time.monotonic()
        if self._begun is None:
            self._begun = now, self._done()[0]
        self.running[self._name(event)] = now
        if event.get("terminal"):
            self.screen.clear()
            self._lent = self._name(event)
        self._draw()

    def _job(self, event: dict[str, Any]) -> None:
        state = event["state"]
        name = self._name(event)
        self.running.pop(name, None)
        if self._lent == name:
            self._lent = None
        if state != "stopped":  # it starts again
            self.finished += 1
        if state == "ran":
            if self.level >= 0:
                seconds = event.get("seconds")
                self._say(
                    f"{self._count()}{name}"
                    + (f"  {self._dim(self._time(seconds))}" if seconds and seconds >= 0.5 else "")
                )
                self._show_recipe(event)
                self._show_log(event.get("log"))
                if self.level > 0 and event.get("undeclared"):
                    self._say(f"  wrote and did not declare: {', '.join(event['undeclared'][:10])}")
        elif state == "cached":
            if self.level > 0:
                self._say(f"{self._count()}{name}  {self._dim('from the cache')}")
        elif state == "would run":
            if self.level >= 0:
                self._say(f"would run: {name}")
                self._show_recipe(event)
        elif state == "failed":
            self._failed(event)
        elif state == "skipped" and self.level > 0:
            self._say(f"skipped: {name}")
        self._draw()

    def _show_recipe(self, event: dict[str, Any]) -> None:
        """With -v: what runs in the shell, the holes filled in."""
        job: Job | None = event.get("job") if self.level > 0 else None
        if job is not None and job.rule.recipe is not None and job.rule.recipe.kind == "shell":
            for line in job.text().rstrip("\n").split("\n"):
                self._say(f"    {line}")

    def _failed(self, event: dict[str, Any]) -> None:
        where = f"{event['where']}: " if event.get("where") else ""
        self._say(self._red(f"{where}{self._name(event)} failed: {event['problem']}"))
        for line in event.get("tail") or ():
            self._say(f"    {line}")
        for hint in event.get("hints") or ():
            for line in hint.split("\n"):
                self._say(f"  {line}")
        if event.get("log"):
            path = min(os.path.relpath(event["log"]), event["log"], key=len)
            self._say(f"  the whole log: {path}   (bflow log {self._name(event)})")
        self.failures.append(event)

    def _note(self, event: dict[str, Any]) -> None:
        if self.level >= 0 or event.get("error"):
            self._say(f"bflow: {event['text']}")

    def _build(self, event: dict[str, Any]) -> None:
        self.close()
        if self.level < 0:
            return
        self._say(self.summary(event))

    def summary(self, event: dict[str, Any]) -> str:
        """The last line."""
        parts = []
        for key in ("ran", "cached", "up_to_date", "failed", "skipped"):
            word = {"cached": "from the cache", "up_to_date": "up to date"}.get(key, key)
            if event[key]:
                parts.append(f"{event[key]} {word}")
            if key == "cached" and event.get("saved", 0) >= WORTH:
                parts[-1] += f" that took {self._time(event['saved'])} to make"
        took = self._time(event["seconds"])
        if event.get("would_run") or event.get("dry_run") and event["cached"]:
            some = [f"{event['would_run']} of {self.total} jobs would run"] if event.get("would_run") else []
            some += [f"{event['cached']} would come from the cache"] if event["cached"] else []
            return ", ".join(some)
        if event.get("interrupted"):
            return f"interrupted ({', '.join(parts) or 'nothing was done'})"
        if not event["ok"]:
            return self._red(f"failed ({', '.join(parts)}; {took})")
        if not event["ran"] and not event["cached"]:
            if event["up_to_date"]:
                several = "all are" if event["up_to_date"] > 1 else "it is"
                return f"nothing to do: {several} up to date ({event['up_to_date']} jobs, {took})".replace(
                    "(1 jobs", "(1 job"
                )
            return f"nothing to do ({took})"
        return f"done: {', '.join(parts)} ({took})"

    # ---- the screen --------------------------------------------------------------------------------------------

    @staticmethod
    def _name(event: dict[str, Any]) -> str:
        return str(event["targets"][0]) if event.get("targets") else str(event.get("rule"))

    def _done(self) -> tuple[int, int]:
        """The jobs that are done, and all."""
        return self.counts() if self.counts is not None else (self.finished, self.total)

    def _count(self) -> str:
        done, total = self._done()
        return self._dim(f"[{done:>{len(str(total))}}/{total}] ") if total else ""

    def _left(self, now: float) -> str:
        """How long the rest takes, by how long such jobs took before; else by the pace since the first job started."""
        if self._begun is None:
            return ""
        known = self.estimate() if self.estimate is not None else None
        if known is not None:
            return f", about {self._time(max(1.0, known))} left" if known >= 1 else ""
        done, total = self._done()
        passed, made = now - self._begun[0], done - self._begun[1]
        if passed < 2 or made < 1 or done >= total:
            return ""
        return f", {self._time(passed / made * (total - done))} left"

    @staticmethod
    def _time(seconds: float) -> str:
        if seconds < 10:
            return f"{seconds:.2f} s"
        if seconds < 120:
            return f"{seconds:.0f} s"
        minutes, rest = divmod(int(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"

    def _dim(self, text: str) -> str:
        return f"\x1b[2m{text}\x1b[0m" if self.colour else text

    def _red(self, text: str) -> str:
        return f"\x1b[31m{text}\x1b[0m" if self.colour else text

    def _say(self, text: str) -> None:
        self.screen.say(text)

    def _show_log(self, path: str | None) -> None:
        """A job's output, whole."""
        if path is None:
            return
        import codecs

        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        told, last = 0, "\n"
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                while told < SHOWN and (data := file.read(1 << 16)):
                    told += len(data)
                    text = decoder.decode(data)
                    self.screen.write(text)
                    last = text[-1:] or last
        except OSError:
            return
        self.screen.write(decoder.decode(b"", True) + ("" if last == "\n" else "\n"))
        if size > told:
            self.screen.write(f"… {size - told} bytes more in {path}\n")
        self.out.flush()

    def tick(self) -> None:
        """The region anew: for what has changed since it was drawn, and the times."""
        self._draw()

    def close(self) -> None:
        """Take the region away: nothing runs any more, or somebody else writes."""
        self.screen.clear()

    def _draw(self) -> None:
        if not self.live or self.level < 0 or not self.running or self._lent is not None or not self.screen.is_due():
            return
        now = time.monotonic()
        width, rows = self.screen.size()
        width -= 1  # a full line would be followed by an empty one
        done, total = self._done()
        failed = f", {len(self.failures)} failed" if self.failures else ""
        lines = [head(f"[{done}/{total}] {len(self.running)} running{failed}{self._left(now)}", width)]
        room = max(0, min(ROWS, rows - 2))
        oldest = list(self.running.items())
        if len(oldest) > room:
            oldest = oldest[: max(0, room - 1)]
        for name, since in oldest:
            time_text = f"{self._short(now - since):>8}  " if width >= NARROW else ""
            lines.append(time_text + tail(shown(name), width - len(time_text)))
        if len(oldest) < len(self.running) and room:
            lines.append(head(f"{'':10}and {len(self.running) - len(oldest)} more", width))
        self.screen.draw(lines)

    @classmethod
    def _short(cls, seconds: float) -> str:
        """A time that passes."""
        return f"{seconds:.0f} s" if seconds < 120 else cls._time(seconds)


class JsonLines:
    """One event a line on stdout, flushed; the last of a build is its `build` event."""

    KEPT = (
        "event", "state", "rule", "targets", "cache_dir", "seconds", "problem", "log", "attempt", "text", "jobs", "ok",
        "ran", "cached", "up_to_date", "failed", "skipped", "would_run", "saved",
    )  # fmt: skip

    def __init__(self, out: IO[str] | None = None) -> None:
        self.out = out or sys.stdout

    def __call__(self, event: dict[str, Any]) -> None:
        import json

        kept = {name: event[name] for name in self.KEPT if name in event}
        self.out.write(json.dumps(kept) + "\n")
        self.out.flush()
