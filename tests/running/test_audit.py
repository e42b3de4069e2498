"""`bflow build --audit`: a message as JSON-LD for each start and end of a job; what receives them holds up no build."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from buildflow import audit
from buildflow.errors import FlowError
from quick import Quick
from story import Story

Message = dict[str, Any]
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Story]:
    story = Quick(tmp_path)
    story.write(
        "Flowfile",
        """
        b: a
            cp a b
        a:
            echo 1 > a
        bad: a
            echo no; exit 3
        after: bad
            touch after
        [phony]
        talk:
            echo talks
        """,
    )
    yield story
    story.close()


def checked(lines: list[str]) -> list[Message]:
    """Messages that each stand for themselves: a context, an id, times of the right form."""
    found = []
    for line in lines:
        message = json.loads(line)
        context = message["@context"]
        assert context["prov"] == "http://www.w3.org/ns/prov#"
        assert message["@id"].startswith("urn:uuid:") and "prov:Activity" in message["@type"]
        for name, value in message.items():
            assert name.startswith("@") or name.partition(":")[0] in context, name
            if name.endswith("AtTime"):
                assert TIME.fullmatch(value) and context[name] == {"@type": "xsd:dateTime"}
        found.append(message)
    return found


def told(messages: list[Message]) -> list[tuple[str, str]]:
    """What happened to what, in order; the build is `-`."""
    return [(" ".join(m.get("bflow:targets", ["-"])), m["bflow:event"]) for m in messages]


def read(story: Story, path: str = "log") -> list[Message]:
    text = story.read(path)
    assert text.endswith("\n")
    return checked(text.splitlines())


def test_starts_and_ends_are_printed(project: Story) -> None:
    ran = project.bflow("build", "--audit", "print", "b")
    messages = checked(ran.out.splitlines())
    assert told(messages) == [("-", "start"), ("a", "start"), ("a", "end"), ("b", "start"), ("b", "end"), ("-", "end")]
    assert "done: 2 ran" in ran.err
    build, start, end = messages[0], messages[3], messages[4]
    assert build["bflow:jobs"] == 2 and build["bflow:host"] and build["prov:wasAssociatedWith"]["bflow:version"]
    assert start["@id"] == end["@id"] and start["prov:wasInformedBy"] == build["@id"] == messages[-1]["@id"]
    assert start["prov:startedAtTime"] <= end["prov:endedAtTime"] and end["bflow:wall_s"] >= 0
    assert end["bflow:rule"] == "b" and messages[-1]["bflow:ran"] == 2
    # It is the activity of whose entry `bflow provenance` tells.
    document = json.loads(project.bflow("provenance", "b").out)
    assert end["bflow:entry"] in [node["@id"] for node in document["@graph"]]


class Kept:
    """A sink for messages."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def send(self, line: str) -> None:
        self.lines.append(line)

    def close(self) -> str | None:
        return None


@pytest.mark.parametrize("state", ["ran", "failed"])
def test_monitored_resources_are_in_it(state: str) -> None:
    """(With a job that is known to have been sampled.)"""
    kept = Kept()
    reader = audit.Audit(kept, "0")
    job = {"rule": "r", "targets": ["x"]}
    runtime = {"wall_s": 2.5, "rss_peak_gb": 0.25, "vms_peak_gb": 1.5, "cpu_peak_percent": None}
    reader({"event": "plan", "jobs": 1, "sources": 0})
    reader({"event": "start", **job, "attempt": 1})
    reader({"event": "job", "state": state, **job, "cache_dir": None, "runtime": runtime, "seconds": 2.5})
    end = checked(kept.lines)[-1]
    assert (end["bflow:wall_s"], end["bflow:rss_peak_gb"], end["bflow:vms_peak_gb"]) == (2.5, 0.25, 1.5)
    assert "bflow:cpu_peak_percent" not in end


def test_a_try_that_never_ends_is_ended() -> None:
    """By its next try, or by the end of the build; one that was handed to a queue is left there."""
    for detached, last in ((0, "fail"), (1, "left")):
        kept = Kept()
        reader = audit.Audit(kept, "0")
        job = {"event": "start", "rule": "r", "targets": ["x"], "attempt": 1}
        for event in ({"event": "plan", "jobs": 1}, job, job, {"event": "build", "ok": True, "detached": detached}):
            reader(event)
        assert reader.close() is None
        assert [event for _, event in told(checked(kept.lines))] == ["start", "start", "fail", "start", last, "end"]


def test_failures_and_what_they_leave_out(project: Story) -> None:
    project.bflow("build", "-k", "--audit", "file:log", "after", "b", ok=1)
    messages = read(project)
    assert sorted(told(messages)) == sorted(
        [("-", "start"), ("a", "start"), ("a", "end"), ("b", "start"), ("b", "end"), ("bad", "start"), ("bad", "fail"),
         ("after", "skipped"), ("-", "fail")]
    )  # fmt: skip
    (fail,) = [m for m in messages if told([m]) == [("bad", "fail")]]
    assert fail["bflow:problem"] == "its recipe ended with status 3" and fail["bflow:wall_s"] >= 0


def test_each_try_has_its_own_end(project: Story) -> None:
    project.write("Flowfile", "[retries = 2]\nx:\n    test {attempt} = 3 && touch x\n")
    project.bflow("build", "--audit", "file:log")
    messages = [m for m in read(project) if "bflow:targets" in m]
    assert told(messages) == [("x", event) for event in ("start", "fail", "start", "fail", "start", "end")]
    assert len({m["@id"] for m in messages}) == 3
    assert messages[1]["bflow:problem"] == "its recipe ended with status 1"
    assert [m["bflow:attempt"] for m in messages[::2]] == [1, 2, 3]


def test_what_is_restored_is_told_and_what_stands_is_not(project: Story) -> None:
    project.build("b")
    project.remove("a", "b")
    project.bflow("build", "b", "--audit", "file:log")
    assert told(read(project)) == [("-", "start"), ("a", "cached"), ("b", "cached"), ("-", "end")]
    project.bflow("build", "b", "--audit", "file:log2")
    assert told(read(project, "log2")) == [("-", "start"), ("-", "end")]
    ran = project.bflow("build", "b", "--audit", "print")
    assert told(checked(ran.out.splitlines())) == [("-", "start"), ("-", "end")]


def test_builds_append_to_one_file(project: Story) -> None:
    project.bflow("build", "a", "--audit", "file:log")
    project.bflow("build", "b", "--audit", "file:log")
    messages = read(project)
    assert len({m["@id"].partition("#")[0] for m in messages}) == 2 and told(messages).count(("-", "end")) == 2


def test_a_build_that_runs_nothing_tells_nothing(project: Story) -> None:
    project.bflow("build", "-n", "b", "--audit", "file:log")
    project.bflow("build", "--check", "b", "--audit", "file:log", ok=1)
    assert not project.exists("log")


def test_what_a_phony_job_prints_is_no_message(project: Story) -> None:
    ran = project.bflow("build", "talk", "--audit", "print")
    assert told(checked(ran.out.splitlines()))[1:3] == [("talk", "start"), ("talk", "end")]
    assert "talks" in ran.err


def test_what_is_wrong_is_said_before_anything_runs(project: Story) -> None:
    for form in ("paper", "file:", "ftp://x", "http://", "http://h:port/"):
        assert "print, file:PATH or http" in project.bflow("build", "b", "--audit", form, ok=2).err
    assert "cannot write no/log" in project.bflow("build", "b", "--audit", "file:no/log", ok=2).err
    ran = project.build("b", "--audit", "print", ok=2)
    assert "both print to stdout" in ran.err and ran.events == [ran.summary]
    assert not project.exists("b")


def test_a_target_that_cannot_be_planned_leaves_no_half_story(project: Story) -> None:
    project.bflow("build", "nothing", "--audit", "file:log", ok=2)
    assert project.read("log") == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_told_once_and_fails_no_build(project: Story) -> None:
    ran = project.bflow("build", "b", "--audit", "file:/dev/full")
    assert ran.err.count("audit message") == 1 and "6 audit messages could not be written" in ran.err
    assert project.read("b") == "1\n"


def test_an_interrupted_build_ends_what_ran(story: Story) -> None:
    story.write("Flowfile", f"x:\n    touch {story.path('started')}; sleep 60; touch x\n")
    running = story.start("build", "--audit", "file:log")
    running.until_exists(story.path("started"))
    running.signal(signal.SIGINT)
    running.wait(ok=130)
    messages = read(story)
    assert [event for target, event in told(messages) if target == "x"][0] == "start"
    ids = [m["@id"] for m in messages]
    assert all(ids.count(one) >= 2 for one in ids) and messages[-1]["prov:endedAtTime"]


# ---- over HTTP


class Receiver:
    """A server on this machine that keeps what it is sent; `answer` may hold back, or refuse."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.types: set[str] = set()
        self.status = 200
        self.go = threading.Event()
        self.go.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode("ascii")
                receiver.go.wait(30)
                receiver.bodies.append(body)
                receiver.types.add(self.headers["Content-Type"])
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/audit?token=secret"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.go.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


def test_messages_are_posted_one_by_one_in_order(project: Story, receiver: Receiver) -> None:
    ran = project.bflow("build", "b", "--audit", receiver.url)
    events = [event for _, event in told(checked(receiver.bodies))]
    assert events == ["start", "start", "end", "start", "end", "end"] and receiver.types == {"application/ld+json"}
    assert "audit" not in ran.err


def test_nobody_listens(project: Story, receiver: Receiver) -> None:
    receiver.server.server_close()
    ran = project.bflow("build", "b", "--audit", receiver.url)
    (line,) = [line for line in ran.err.splitlines() if "audit" in line]
    assert "6 audit messages of 6 could not be sent to http://127.0.0.1" in line and "refused" in line
    assert "secret" not in ran.err


def test_a_receiver_that_refuses(project: Story, receiver: Receiver) -> None:
    receiver.status = 500
    ran = project.bflow("build", "b", "--audit", receiver.url)
    assert "6 audit messages of 6 could not be sent" in ran.err and "500" in ran.err
    assert len(receiver.bodies) == audit.TRIES


def test_a_receiver_that_hangs_holds_up_the_end_only(
    project: Story, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PATIENCE", 0.05)
    receiver.go.clear()
    ran = project.bflow("build", "b", "--audit", receiver.url)
    assert "could not be sent" in ran.err and not receiver.bodies and project.read("b") == "1\n"


def test_a_build_that_fails_to_plan_after_it_began(project: Story, receiver: Receiver) -> None:
    """An error that ends the build is no end of the job's story."""
    project.write("Flowfile", "x: {n}\n    touch x\nn = lines(list)\nlist:\n    echo nothing > list\n")
    project.bflow("build", "x", "--audit", receiver.url, ok=2)
    assert told(checked(receiver.bodies))[-1] == ("-", "fail")


def test_other_addresses_are_refused() -> None:
    with pytest.raises(FlowError):
        audit.audit("http://[::1/", "0")
