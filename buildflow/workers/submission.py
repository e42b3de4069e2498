"""Tasks on their way to a queue: the folder of a submission, which a node reads and tells its ends in.

`.bflow/queue/<token>/` is written before anything is submitted, so that a driver that dies leaves word of what it did,
and goes once all of its tasks have come to their ends. `buildflow/node.py` has the form of `batch`, `N.began` and
`N.end`. For the driver alone there are

    about       JSON: worker, token, created, elements, and of each task its folder and target
    id          the queue's name of the submission, written once it has answered
    script      what the queue runs for each element
    out.*       what that printed
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from buildflow.files import remove_tree
from buildflow.node import FORMAT
from buildflow.workers.base import End, Task

SPAN = 60.0
"""Seconds for which an element of an array takes more tasks."""

_tokens = 0


class Submission:
    """Some tasks that go to a queue together. `tasks`: by number, None for those that this driver does not wait for."""

    def __init__(self, folder: str, tasks: Sequence[Task | None], elements: int, batch: int | None) -> None:
        self.folder = folder
        self.token = os.path.basename(folder)
        self.tasks = list(tasks)
        self.elements = elements
        self.batch = batch
        self.first = 0  # the queue's number of the first element
        self.id: str | None = None
        self.created = time.time()
        self.open = {number for number, task in enumerate(tasks) if task is not None}  # not known to have ended
        self.folders: list[str] = [task.folder if task is not None else "" for task in tasks]
        self.notes: list[Any] = [None] * len(self.folders)

    # ---- writing -----------------------------------------------------------------------------------------------

    def write(self, worker: str, *, watch_memory: bool = False) -> None:
        """Make the folder. All tasks are there."""
        os.makedirs(self.folder)
        tasks = [task for task in self.tasks if task is not None]
        common = common_environment([task.command.env for task in tasks])
        lines = [json.dumps(_line(task, common), separators=(",", ":")) + "\n" for task in tasks]
        offsets, place = [], 0
        for line in lines:
            offsets.append(place)
            place += len(line)
        header = {
            "format": FORMAT, "batch": self.batch, "span": SPAN, "watch_memory": watch_memory, "env": common,
            "offsets": offsets,
        }  # fmt: skip
        about = {
            "worker": worker, "token": self.token, "created": self.created, "elements": self.elements,
            "batch": self.batch, "folders": self.folders, "notes": [_note(folder) for folder in self.folders],
        }  # fmt: skip
        _write(f"{self.folder}/about", json.dumps(about))
        _write(f"{self.folder}/batch", json.dumps(header) + "\n" + "".join(lines))

    def script(self, text: str) -> str:
        """Write what the queue runs for each element; the path of it."""
        path = f"{self.folder}/script"
        _write(path, text)
        return path

    def submitted(self, name: str) -> None:
        """The queue has answered."""
        self.id = name
        _write(f"{self.folder}/id", name)

    def remove(self) -> None:
        """All is over: a node that comes late finds nothing to do."""
        with contextlib.suppress(OSError):
            os.unlink(f"{self.folder}/batch")
        remove_tree(self.folder)

    # ---- reading -----------------------------------------------------------------------------------------------

    @classmethod
    def read(cls, folder: str, worker: str) -> Submission | None:
        """A submission of an earlier driver with that worker; None where there is none of it."""
        try:
            with open(f"{folder}/about", encoding="ascii") as file:
                about = json.load(file)
            if about["worker"] != worker:
                return None
            found = cls(folder, [None] * len(about["folders"]), about["elements"], about["batch"])
            found.created, found.folders = about["created"], about["folders"]
            found.notes = about["notes"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        with contextlib.suppress(OSError), open(f"{folder}/id", encoding="utf-8") as file:
            found.id = file.read()
        return found

    def is_noted(self, number: int) -> bool:
        """Whether the note beside a task's folder is still of that task: the next job of the folder may have been
        staged since, and not submitted yet."""
        now, before = _note(self.folders[number]), self.notes[number]
        return now is not None and before in (None, now)

    def ends(self) -> list[int]:
        """The open tasks that have ended, by one look at the folder."""
        opened = self.open
        with contextlib.suppress(OSError):
            numbers = [int(name[:-4]) for name in os.listdir(self.folder) if name[-4:] == ".end"]
            return [number for number in numbers if number in opened]
        return []

    def end(self, number: int) -> dict[str, Any] | None:
        """What a node told of a task's end; None where it has not."""
        return read_end(f"{self.folder}/{number}.end")

    def began(self, number: int) -> dict[str, Any] | None:
        """Who took a task: `element`, `host`, `started`; None where nobody has."""
        try:
            with open(f"{self.folder}/{number}.began", encoding="ascii") as file:
                text = file.read()
        except OSError:
            return None
        try:
            found: dict[str, Any] = json.loads(text)
        except ValueError:
            return {}  # it is being written
        return found

    def take_back(self, number: int) -> bool:
        """Keep a task from being begun; False where it has begun."""
        try:
            made = os.open(f"{self.folder}/{number}.began", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            return False
        except FileNotFoundError:
            return True  # the folder is gone, and with it all that a node could begin
        os.write(made, b'{"element": -1}')
        os.close(made)
        return True

    def own_element(self, number: int) -> int:
        """The element that begins with a task, or would have."""
        return number // self.batch if self.batch else min(number, self.elements - 1)

    def printed(self, element: int) -> str:
        """The last line that the queue's script of an element printed."""
        try:
            with open(f"{self.folder}/out.{element + self.first}", "rb") as file:
                lines = file.read().decode("utf-8", "replace").split("\n")
        except OSError:
            return "there is no word of it"
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def refresh(self) -> None:
        """Make a network file system show what others have written: a change of ours makes it ask."""
        with contextlib.suppress(OSError):
            path = f"{self.folder}/.look"
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
            os.unlink(path)

    def elements_of(self, number: int) -> range:
        """The elements that may begin a task."""
        if self.batch:
            return range(number // self.batch, number // self.batch + 1)
        return range(self.elements)


def _note(folder: str) -> list[int] | None:
    """What tells the note of a job (`buildflow.afloat`) from that of another in the same folder."""
    try:
        st = os.stat(f"{folder}.run")
    except OSError:
        return None
    return [st.st_mtime_ns, st.st_ino, st.st_size]


def token(rule: str) -> str:
    """A name for a submission that nothing else has: also the queue's, so that one whose number was never read is
    found by it."""
    global _tokens
    _tokens += 1
    words = "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in rule)[:40]
    return f"bflow-{words or 'job'}-{os.urandom(4).hex()}{_tokens}"


def common_environment(environments: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What all of them say alike."""
    common = dict(environments[0])
    for env in environments[1:]:
        common = {name: value for name, value in common.items() if env.get(name) == value}
    return common


def read_end(path: str) -> dict[str, Any] | None:
    """What a node told in a file of an end; None where there is no such file."""
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            found: dict[str, Any] = json.loads(os.read(file, 1 << 20))
        finally:
            os.close(file)
    except (OSError, ValueError):
        return None
    return found


def to_end(task: Task, told: Mapping[str, Any]) -> End:
    """The end of a task as a node told it."""
    end = End(task, told["status"], told["timed_out"], host=told["host"], runtime=told["runtime"])
    if told["memory"]:
        end.error = out_of_memory(task)
    return end


def out_of_memory(task: Task) -> str:
    from buildflow.quantity import format_memory

    mem = None if task.amounts is None else task.amounts.mem
    if mem is None:
        return "it took more memory than the queue gives it"
    return f"it took more memory than it asked for ({format_memory(mem)})"


def unseen(task: Task, told: Mapping[str, Any]) -> str | None:
    """An output that was there on the node when the task ended, and is not here, or not whole."""
    for path, size in zip(task.outputs, told["sizes"]):
        if size is None:
            continue
        try:
            st = os.stat(path)
        except OSError:
            return path
        if size >= 0 and st.st_size != size:
            return path
    return None


def _line(task: Task, common: Mapping[str, str]) -> dict[str, Any]:
    """A task as its node reads it."""
    command = task.command
    line: dict[str, Any] = {
        "argv": list(command.argv), "cwd": command.cwd, "log": task.log,
        "env": {name: value for name, value in command.env.items() if common.get(name) != value},
    }  # fmt: skip
    if command.redirections:
        line["redirections"] = list(command.redirections)
    if task.fallback is not None:
        line["fallback"] = task.fallback()
    if command.cleanup:
        line["cleanup"] = command.cleanup
    if task.time:
        line["time"] = task.time
    if task.amounts is not None:
        if task.amounts.mem:
            line["mem"] = task.amounts.mem
        if task.amounts.gpus:
            line["gpus"] = task.amounts.gpus
    if command.prefix:
        line["prefix"] = command.prefix
    if task.outputs:
        line["outputs"] = list(task.outputs)
    return line


def _write(path: str, text: str) -> None:
    with open(f"{path}.new", "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.replace(f"{path}.new", path)
