"""What a build looks like on the screen: a reader of the event stream. Status goes to stderr.

On a terminal one live line; elsewhere a plain line for each job that ran. A job's output is shown whole when it ends.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import IO, Any

SHOWN = 16 << 20
"""Bytes of a job's output that are shown; the rest is in its log."""


class Progress:
    """Lines for people. level: -1 quiet (failures only), 0, 1 verbose."""

    def __init__(self, level: int = 0, out: IO[str] | None = None, live: bool | None = None) -> None:
        self.out = out or sys.stderr
        self.level = level
        tty = self.out.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self.live = tty if live is None else live
        self.colour = tty and not os.environ.get("NO_COLOR")
        self.total = 0
        self.finished = 0
        self.counts: Callable[[], tuple[int, int]] | None = None  # jobs that are done, and all, where the build tells
        self.running: dict[str, float] = {}
        self._begun: tuple[float, int] | None = None  # when the first job started, and how many were done by then
        self.failures: list[dict[str, Any]] = []
        self._line = False
        self._drawn = 0.0
        self._width = 80

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
        self._draw()

    def _job(self, event: dict[str, Any]) -> None:
        state = event["state"]
        name = self._name(event)
        self.running.pop(name, None)
        self.finished += 1
        if state == "ran":
            if self.level >= 0:
                seconds = event.get("seconds")
                self._say(
                    f"{self._count()}{name}"
                    + (f"  {self._dim(self._time(seconds))}" if seconds and seconds >= 0.5 else "")
                )
                self._show_log(event.get("log"))
                if self.level > 0 and event.get("undeclared"):
                    self._say(f"  wrote and did not declare: {', '.join(event['undeclared'][:10])}")
        elif state == "cached":
            if self.level > 0:
                self._say(f"{self._count()}{name}  {self._dim('from the cache')}")
        elif state == "would run":
            if self.level >= 0:
                self._say(f"would run: {name}")
        elif state == "failed":
            self._failed(event)
        elif state == "skipped" and self.level > 0:
            self._say(f"skipped: {name}")
        self._draw()

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
        self._clear()
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
        """How long the rest takes, by what was done since the first job started."""
        if self._begun is None:
            return ""
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
        self._clear()
        self.out.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
        self.out.flush()

    def _show_log(self, path: str | None) -> None:
        """A job's output, whole."""
        if path is None:
            return
        self._clear()
        import codecs

        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        shown, last = 0, "\n"
        try:
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                while shown < SHOWN and (data := file.read(1 << 16)):
                    shown += len(data)
                    text = decoder.decode(data)
                    self.out.write(text)
                    last = text[-1:] or last
        except OSError:
            return
        self.out.write(decoder.decode(b"", True) + ("" if last == "\n" else "\n"))
        if size > shown:
            self.out.write(f"… {size - shown} bytes more in {path}\n")
        self.out.flush()

    def tick(self) -> None:
        """The line anew: for what has changed since it was drawn, and the time left."""
        if self.live:
            self._draw()

    def _clear(self) -> None:
        if self._line:
            self.out.write("\r\x1b[K")
            self._line = False

    def _draw(self) -> None:
        if not self.live or self.level < 0 or not self.running:
            return
        now = time.monotonic()
        if now - self._drawn < 0.05:
            return
        self._drawn = now
        try:
            self._width = os.get_terminal_size(self.out.fileno()).columns or 80  # 0: it does not know
        except (OSError, ValueError):
            self._width = 80
        names = "  ".join(list(self.running)[:4])
        done, total = self._done()
        text = f"[{done}/{total}] {len(self.running)} running{self._left(now)}: {names}"
        self._clear()
        self.out.write(text[: max(self._width - 1, 10)])
        self.out.flush()
        self._line = True


class JsonLines:
    """One event a line on stdout, flushed; the last of a build is its `build` event."""

    KEPT = (
        "event", "state", "rule", "targets", "cache_dir", "seconds", "problem", "log", "attempt", "text", "jobs", "ok",
        "ran", "cached", "up_to_date", "failed", "skipped", "would_run",
    )  # fmt: skip

    def __init__(self, out: IO[str] | None = None) -> None:
        self.out = out or sys.stdout

    def __call__(self, event: dict[str, Any]) -> None:
        import json

        kept = {name: event[name] for name in self.KEPT if name in event}
        self.out.write(json.dumps(kept) + "\n")
        self.out.flush()
