"""The one place where errors are printed: what a user can mend is a sentence and an exit status, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

from buildflow.errors import FlowError


def guarded(work: Callable[[], Any]) -> int:
    """The exit status of `work`: what it gives, if that is a number, else 0."""
    try:
        status = work()
        sys.stdout.flush()
    except FlowError as error:
        say(error.show())
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        where = error.filename or "while writing"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            say(f"bflow: the disk is full ({where}); make room and build again, nothing is lost")
        else:
            say(f"bflow: {error.strerror or error}" + (f" ({error.filename})" if error.filename else ""))
        return 1
    except RecursionError:
        say("bflow: a name, pattern or rule is nested too deeply")
        return 2
    return status if isinstance(status, int) else 0


def say(text: str) -> None:
    """A text to stderr, names that are no UTF-8 in it or not."""
    sys.stderr.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")
