"""What several commands share: the options that say which cache and environment are meant, and how data is printed."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from buildflow.builder import Builder
from buildflow.errors import FlowError
from buildflow.submitter import Session

C = TypeVar("C", bound=Callable[..., Any])


def count(option: str) -> Callable[[str], int]:
    """The type of an option that takes a whole number, 1 or more."""

    def convert(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < 1:
            raise FlowError(f"{option} {text or repr(text)}: it takes a whole number, 1 or more")
        return int(text)

    return convert


def cache_options(command: C) -> C:
    """`--cache-root --readonly-cache --profile`, as `bflow build` has them."""
    for option in (
        click.option("--profile", metavar="NAME", help="A group of settings of bflow.toml."),
        click.option("--readonly-cache", multiple=True, metavar="DIR", help="A cache to look in as well."),
        click.option("--cache-root", metavar="DIR", help="The cache (default: .bflow/cache)."),
    ):
        command = option(command)
    return command


def environment_options(command: C) -> C:
    """`--env --default-env`, as `bflow build` has them."""
    for option in (
        click.option("--default-env", metavar="ENV", help="The environment of rules that name none."),
        click.option("--env", metavar="ENV", help="The environment of every job, whatever the rules say."),
    ):
        command = option(command)
    return command


@contextlib.contextmanager
def opened(builder: Builder, chosen: dict[str, Any], *, write: bool = False) -> Iterator[Session]:
    """A session of the project with the settings in `chosen`; one that does not write makes no `.bflow`."""
    from buildflow.events import Stream

    stream = Stream()
    stream.readers.append(_tell)
    session = Session(builder, cache_root=chosen["cache_root"], readonly=chosen["readonly_cache"], write=write)
    session.settings = chosen
    session.open(stream)
    try:
        yield session
    finally:
        session.close()


def _tell(event: dict[str, Any]) -> None:
    if event["event"] == "note":
        note(f"bflow: {event['text']}")


def data(text: str) -> None:
    """A line of data to stdout; names that are no UTF-8 come out as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")


def note(text: str) -> None:
    """A line of status to stderr."""
    sys.stdout.flush()
    sys.stderr.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")


def file_data(path: str) -> None:
    """A file's bytes to stdout."""
    sys.stdout.flush()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


def as_json(value: Any) -> None:
    import json

    data(json.dumps(value, indent=2))


def size_text(size: int | float | None) -> str:
    """`12 bytes`, `3.4 kB`: powers of 1000, as `ls -h --si` and the disks' makers have them."""
    if size is None:
        return "size unknown"
    if size < 1000:
        return "1 byte" if size == 1 else f"{int(size)} bytes"
    units = iter("kMGTP")
    unit = next(units)
    while (size := size / 1000) >= 999.95:
        unit = next(units)
    return f"{size:.1f} {unit}B"


def age_text(seconds: float) -> str:
    """`4 s`, `12 min`, `3 h`, `8 days`."""
    seconds = max(0.0, seconds)
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{int(seconds // unit)} {name}"
    return f"{int(seconds // 86400)} days"


class Colours:
    """Marks for a terminal; plain text elsewhere."""

    def __init__(self) -> None:
        tty = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")
        self.bold, self.dim, self.red, self.green, self.off = (
            ("\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[0m") if tty else ("",) * 5
        )
        self.on = tty
