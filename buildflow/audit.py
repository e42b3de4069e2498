"""`--audit`: a message for each thing that happens to a job, as JSON-LD in the terms of W3C PROV, sent as it happens.

A reader of the event stream. A job's try is an activity; its start and its end are two messages about it, with the same
`@id`, so that a store that merges them by id has the whole. Each message stands for itself: it has its context within.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Protocol

from buildflow.errors import FlowError
from buildflow.provenance_terms import AGENT, CONTEXT, SOFTWARE, job_urn, runtime_of, shown, time_text

FORMS = "it is print, file:PATH or http://…"
PATIENCE = 5.0
"""Seconds that a build waits at its end for messages that are still to be sent, and that a receiver has to answer."""
TRIES = 3
"""Messages in a row that a receiver may fail to take: then nothing more is sent."""

STATES = {"ran": "end", "failed": "fail", "cached": "cached", "skipped": "skipped", "stopped": "fail"}
"""The events of jobs that are told of, and what a message calls them. Of what was up to date there is none."""

Message = dict[str, Any]


class Sink(Protocol):
    """Where messages go, each as a line of JSON. What cannot be sent fails no build."""

    def send(self, line: str) -> None: ...

    def close(self) -> str | None:
        """No more comes; what could not be sent, in one sentence."""


class Audit:
    """Makes messages of events. `close` ends it, also where the build raised."""

    def __init__(self, sink: Sink, version: str) -> None:
        from uuid import uuid4

        self.sink = sink
        self.version = version
        self.id = uuid4().urn
        self._count = 0
        self._open: dict[tuple[str, ...], tuple[str, Message]] = {}  # tries that run: their ids and what they are
        self._begun = False
        self._ended = False

    def __call__(self, event: dict[str, Any]) -> None:
        handler = getattr(self, "_" + event["event"], None)
        if handler is not None:
            handler(event)

    def close(self) -> str | None:
        """The build is over; what could not be sent, in one sentence."""
        if self._begun and not self._ended:
            self._build({"ok": False})
        return self.sink.close()

    # ---- events ------------------------------------------------------------------------------------------------

    def _plan(self, event: dict[str, Any]) -> None:
        if self._begun:
            return
        self._begun = True
        self._send(
            self.id, "start", ["prov:Activity", "bflow:Build"],
            {"prov:startedAtTime": _now(), "prov:wasAssociatedWith": {**SOFTWARE, "bflow:version": self.version},
             "bflow:jobs": event["jobs"], "bflow:host": os.uname().nodename, "bflow:user": _user(),
             "bflow:pid": os.getpid()},
        )  # fmt: skip

    def _start(self, event: dict[str, Any]) -> None:
        self._end_try(event, "fail", {"bflow:problem": "it was started again"})
        about = _about(event)
        self._count += 1
        identifier = f"{self.id}#{self._count}"
        self._open[_key(event)] = identifier, about
        self._send(
            identifier, "start", "prov:Activity",
            {**about, "bflow:attempt": event.get("attempt"), "prov:startedAtTime": _now(),
             "prov:wasInformedBy": self.id, "prov:wasAssociatedWith": AGENT},
        )  # fmt: skip

    def _job(self, event: dict[str, Any]) -> None:
        kind = STATES.get(event["state"])
        if kind is None:
            return
        more = _result(event)
        if event["state"] == "stopped":
            more["bflow:problem"] = "it was ended, since an input changed"
        if not self._end_try(event, kind, more):
            self._count += 1
            about = {**_about(event), "prov:wasInformedBy": self.id}
            self._send(f"{self.id}#{self._count}", kind, "prov:Activity", {**about, **more})

    def _note(self, event: dict[str, Any]) -> None:
        """A try that failed, after which there is another."""
        tried = event.get("tried")
        if tried is not None:
            self._end_try(tried, "fail", _result(tried))

    def _build(self, event: dict[str, Any]) -> None:
        left = "left in the queue" if event.get("detached") else "it was ended"
        for targets in list(self._open):
            self._end_try({"targets": targets}, "left" if event.get("detached") else "fail", {"bflow:problem": left})
        self._ended = True
        counts = ("ran", "cached", "up_to_date", "failed", "skipped")
        self._send(
            self.id, "end" if event["ok"] else "fail", ["prov:Activity", "bflow:Build"],
            {"prov:endedAtTime": _now(), **{f"bflow:{name}": event[name] for name in counts if name in event}},
        )  # fmt: skip

    # ---- messages ----------------------------------------------------------------------------------------------

    def _end_try(self, event: dict[str, Any], kind: str, more: Message) -> bool:
        """Tell of the end of a job's try, if one runs; whether it does."""
        found = self._open.pop(_key(event), None)
        if found is None:
            return False
        identifier, about = found
        ended = {} if kind == "left" else {"prov:endedAtTime": _now()}
        self._send(identifier, kind, "prov:Activity", {**about, **ended, **more})
        return True

    def _send(self, identifier: str, kind: str, types: Any, more: Message) -> None:
        import json

        message = {"@context": CONTEXT, "@id": identifier, "@type": types, "bflow:event": kind}
        message.update({name: value for name, value in more.items() if value is not None})
        self.sink.send(json.dumps(message, separators=(",", ":")))


def _key(event: dict[str, Any]) -> tuple[str, ...]:
    return tuple(event["targets"])


def _about(event: dict[str, Any]) -> Message:
    return {"bflow:rule": shown(str(event["rule"])), "bflow:targets": [shown(target) for target in event["targets"]]}


def _result(event: dict[str, Any]) -> Message:
    """What is known at the end of a try: what it took, the entry that it made, or what is wrong."""
    found: Message = {f"bflow:{name}": value for name, value in runtime_of(event.get("runtime")).items()}
    if event.get("seconds") is not None:
        found.setdefault("bflow:wall_s", event["seconds"])
    if event.get("cache_dir"):
        found["bflow:entry"] = job_urn(os.path.basename(event["cache_dir"]))
    if event.get("problem"):
        found["bflow:problem"] = shown(event["problem"])
    return found


def _now() -> str:
    return time_text(time.time())


def _user() -> str | None:
    from pwd import getpwuid

    try:
        return getpwuid(os.getuid()).pw_name
    except KeyError:
        return None


# ---- where messages go -----------------------------------------------------------------------------------------


def audit(form: str, version: str) -> Audit:
    """The audit that `--audit FORM` means. Raises FlowError for another form, or a file that cannot be written."""
    return Audit(_sink(form), version)


def _sink(form: str) -> Sink:
    if form == "print":
        return _Print()
    if form.startswith("file:") and len(form) > 5:
        return _File(form[5:])
    if form.startswith(("http://", "https://")):
        return _Post(form)
    raise FlowError(f"--audit {form}: {FORMS}")


class _Print:
    """To stdout, a line each: messages are data. What is wrong there ends the build, as with `--json`."""

    def send(self, line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def close(self) -> str | None:
        return None


class _File:
    """Appended to a file, a whole line at once: several builds may share it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lost = 0
        self.problem = ""
        try:
            self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise FlowError(f"--audit cannot write {path}: {error.strerror}") from None

    def send(self, line: str) -> None:
        data = line.encode("ascii") + b"\n"
        try:
            while data:
                data = data[os.write(self.fd, data) :]
        except OSError as error:
            self.lost += 1
            self.problem = error.strerror or str(error)

    def close(self) -> str | None:
        os.close(self.fd)
        return f"{_messages(self.lost)} could not be written to {self.path}: {self.problem}" if self.lost else None


class _Post:
    """To a receiver, one POST a message in their order, by a thread of its own: the build never waits for it, but for
    `PATIENCE` seconds at its end."""

    def __init__(self, url: str) -> None:
        from queue import SimpleQueue
        from threading import Thread
        from urllib.parse import urlsplit

        try:
            parts = urlsplit(url)
            whole = bool(parts.hostname) and parts.port != 0
        except ValueError:
            whole = False
        if not whole:
            raise FlowError(f"--audit {url}: this is no address of a receiver", None, FORMS)
        self.url = url
        self.shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.patience = PATIENCE
        self.given = self.sent = 0
        self.problem = ""
        self._queue: SimpleQueue[str | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="audit", daemon=True)
        self._thread.start()

    def send(self, line: str) -> None:
        self.given += 1
        self._queue.put(line)

    def close(self) -> str | None:
        self._queue.put(None)
        self._thread.join(self.patience)
        lost = self.given - self.sent
        if not lost:
            return None
        problem = self.problem or "no answer in time"
        return f"{_messages(lost)} of {self.given} could not be sent to {self.shown}: {problem}"

    def _work(self) -> None:
        from urllib.request import Request, urlopen

        failed = 0
        headers = {"Content-Type": "application/ld+json"}
        while (line := self._queue.get()) is not None:
            if failed >= TRIES:
                continue
            try:
                with urlopen(Request(self.url, line.encode("ascii"), headers), timeout=self.patience) as answer:
                    answer.read()
            except Exception as error:  # whatever a receiver, a proxy or this address may do
                failed += 1
                self.problem = _reason(error)
            else:
                failed = 0
                self.sent += 1


def _reason(error: BaseException) -> str:
    code = getattr(error, "code", None)
    if code is not None:
        return f"it answers {code} ({getattr(error, 'reason', '')})"
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason or type(error).__name__)


def _messages(count: int) -> str:
    return "1 audit message" if count == 1 else f"{count} audit messages"
