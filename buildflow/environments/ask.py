"""Asking other commands (`docker`, `module`, `pip`) through the library sh: their output, or why there is none."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any


class Refused(Exception):
    """A command that ended badly: `status`, and what it `said`. There is none of that name: `status` is None."""

    def __init__(self, words: Sequence[str], status: int | None, said: str) -> None:
        super().__init__(f"{words[0]}: {said}")
        self.status = status
        self.said = said.strip()

    @property
    def last(self) -> str:
        """The last line that it said, for an error of one sentence."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with status {self.status}"

    @property
    def more(self) -> str | None:
        """The end of what it said, where that is more than a line."""
        lines = self.said.splitlines()
        return "\n".join(lines[-20:]) if len(lines) > 1 else None


def ask(words: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None,
        merged: bool = False) -> str:  # fmt: skip
    """What a command prints (`merged`: to stderr too). It reads nothing. Raises Refused."""
    import sh

    path = (os.environ if env is None else env).get("PATH", os.defpath)
    try:
        command = sh.Command(words[0], search_paths=path.split(os.pathsep))
    except sh.CommandNotFound:
        raise Refused(words, None, f"there is no command {words[0]}") from None
    options: Any = {"_in": b"", "_tty_out": False, "_tty_in": False, "_err_to_out": merged, "_return_cmd": True}
    if env is not None:
        options["_env"] = dict(env)
    if cwd is not None:
        options["_cwd"] = cwd
    try:
        ended = command(*words[1:], **options)
    except sh.ErrorReturnCode as error:
        said = error.stdout if merged else error.stderr
        raise Refused(words, error.exit_code, said.decode("utf-8", "replace")) from None
    except OSError as error:
        raise Refused(words, None, f"{words[0]}: {error.strerror}") from None
    text: str = ended.stdout.decode("utf-8", "surrogateescape")
    return text
