"""A client of GNU make's jobserver: under `make -jN`, `+bflow build` runs jobs only as make has slots for them.

Make keeps its spare slots as bytes ("tokens") in a pipe or a fifo that all its children share: reading one takes a
slot, and writing the same byte gives it back. Every child owns one slot more, which it never reads: its implicit token.
What this module does not do: serve tokens to recipes, or decide how many jobs run (that is the scheduler's).

Two things make it longer than a read and a write:

- The pipe's open file description is shared with make and all its children, so setting O_NONBLOCK on it would break
  those that expect a read to wait. Where /proc is, the pipe is opened anew, which gives a description of our own. Where
  it is not (macOS), a read that another client was quicker for is ended by a timer, as make itself does it.
- A token that is read and forgotten is a slot that make has lost for the rest of its run. Python runs signal handlers
  (Ctrl-C's raises) between any two steps of Python code, but within no call of C code. So a token passes from the pipe
  into this object, and back, in one such call (`_take`, `_give_back`). What is held at Python's exit goes back then.

Reference: the GNU make manual, "Sharing Job Slots with GNU make".
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import select
import signal
import stat
import threading
from collections.abc import Mapping
from types import FrameType

_RETRY = 0.01  # seconds until a read that lost the race for a token is ended


class Jobserver:
    """The slots that this process has of its make. One object a process; not for several threads at once.

    `acquire` before a job starts, `release` when it has ended, as often as there are jobs: the first job held at a time
    takes the implicit token, the others one each from make. `close` (also at Python's exit) gives everything back.
    """

    def __init__(self, reader: int, writer: int, own_description: bool) -> None:
        """Owns both descriptors; `own_description`: `reader` does not wait (O_NONBLOCK), which nobody else sees."""
        self._reader = reader
        self._writer = writer
        self._waits = not own_description
        self._implicit = True  # whether the implicit token is free
        self._tokens: list[bytes] = []  # the bytes read, to be written back as they are
        self._process = os.getpid()
        self._open = True
        atexit.register(self.close)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Jobserver | None:
        """The jobserver that `MAKEFLAGS` names.

        None without one, under `make -j1`, and where make did not pass its descriptors on (a recipe line that is
        neither `+…` nor `$(MAKE)`): then this process has one slot or is not counted at all.
        """
        place = _auth(environ.get("MAKEFLAGS", ""))
        if place is None:
            return None
        if place.startswith("fifo:"):
            return cls._from_fifo(place[len("fifo:") :])
        numbers = place.split(",")
        if len(numbers) != 2 or not all(n.isascii() and n.isdigit() and len(n) < 8 for n in numbers):
            return None  # also "-2,-2", by which make says that it does not pass them on
        return cls._from_pipe(int(numbers[0]), int(numbers[1]))

    @classmethod
    def _from_fifo(cls, path: str) -> Jobserver | None:
        try:
            # Without waiting for a writer: make may have gone and left its fifo behind.
            reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except (OSError, ValueError):
            return None
        try:
            if not stat.S_ISFIFO(os.fstat(reader).st_mode):
                os.close(reader)
                return None
            writer = os.open(path, os.O_WRONLY | os.O_CLOEXEC)  # does not wait: there is a reader, ours
        except OSError:
            os.close(reader)
            return None
        return cls(reader, writer, own_description=True)

    @classmethod
    def _from_pipe(cls, reader: int, writer: int) -> Jobserver | None:
        # Without the `+` the numbers are closed, or are by now something else that this process has opened.
        if not _is_pipe_end(reader, os.O_RDONLY) or not _is_pipe_end(writer, os.O_WRONLY):
            return None
        own_reader = -1
        own_description = False
        try:
            with contextlib.suppress(OSError):  # no /proc, or make runs as another user
                again = os.open(f"/proc/self/fd/{reader}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                own_reader, own_description = again, True
            if not own_description:
                own_reader = fcntl.fcntl(reader, fcntl.F_DUPFD_CLOEXEC, 3)
            own_writer = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, 3)
        except OSError:  # no descriptor left
            if own_reader >= 0:
                os.close(own_reader)
            return None
        return cls(own_reader, own_writer, own_description)

    def acquire(self) -> bool:
        """Take a slot for one more job, without waiting: whether there was one."""
        if not self._open:
            return False
        if self._implicit:
            self._implicit = False
            return True
        if self._waits:
            return self._acquire_in_time()
        try:
            return self._take(self._reader)
        except BlockingIOError:
            return False

    def _take(self, reader: int) -> bool:
        """Read a token and keep it, in one call: an interrupt comes before both or after both."""
        before = len(self._tokens)
        self._tokens.extend(filter(None, map(os.read, (reader,), (1,))))
        return len(self._tokens) > before

    def _acquire_in_time(self) -> bool:
        """`acquire` on a description that others share: the read may wait where another client takes the token first.

        The timer's handler puts /dev/null under the descriptor that is read. So a read that still waits finds the
        end of a file when Python repeats it after the signal, and one that has got its byte keeps it. The timer goes
        off again and again, since once might be just before the read begins.
        """
        if threading.current_thread() is not threading.main_thread():
            return False  # a handler can be set in the main thread only; one job at a time is always right
        if not select.select([self._reader], [], [], 0)[0]:
            return False
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        reader = fcntl.fcntl(self._reader, fcntl.F_DUPFD_CLOEXEC, 3)

        def give_up(number: int, frame: FrameType | None) -> None:
            os.dup2(nothing, reader, inheritable=False)

        mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
        former = signal.signal(signal.SIGALRM, give_up)
        rest = signal.setitimer(signal.ITIMER_REAL, _RETRY, _RETRY)
        try:
            return self._take(reader)
        finally:
            signal.setitimer(signal.ITIMER_REAL, *rest)
            # None: a handler that Python did not set and cannot set again.
            signal.signal(signal.SIGALRM, signal.SIG_DFL if former is None else former)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(reader)
            os.close(nothing)

    def release(self) -> None:
        """Give back the slot of a job that has ended: the implicit token last, so that others of make's can go on."""
        if not self._open:
            return
        if self._tokens:
            self._give_back()
        else:
            self._implicit = True

    def _give_back(self) -> None:
        """Forget a token and write it, in one call; no wait: a pipe holds far more than all the tokens there are."""
        next(map(os.write, (self._writer,), iter(self._tokens.pop, None)))

    def fileno(self) -> int:
        """A descriptor that is readable when a token may be free, to wait on beside the running jobs."""
        return self._reader

    @property
    def held(self) -> int:
        """The slots in use, the implicit one included."""
        return len(self._tokens) + (not self._implicit)

    def close(self) -> None:
        """Give all tokens back and close the descriptors. A forked child only closes: the tokens are its parent's."""
        if not self._open:
            return
        if os.getpid() == self._process:
            # Make has gone, or its pipe has: there is nobody left to give them to.
            with contextlib.suppress(OSError):
                while self._tokens:
                    self._give_back()
        self._open = False
        atexit.unregister(self.close)
        os.close(self._reader)
        os.close(self._writer)

    def __enter__(self) -> Jobserver:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _auth(makeflags: str) -> str | None:
    """What the last `--jobserver-auth=` (make 4.2 on) or `--jobserver-fds=` (before) says; None under `-j1`."""
    place = None
    single = False
    for word in _words(makeflags):
        if word == "--":  # the rest are variables of the command line, which may hold any text
            break
        if word.startswith("-j"):
            single = word == "-j1"
        for option in ("--jobserver-auth=", "--jobserver-fds="):
            if word.startswith(option):
                place = word[len(option) :]
    return None if single else place


def _words(makeflags: str) -> list[str]:
    """The words of MAKEFLAGS, in which make has put a `\\` before blanks and has doubled each `$`."""
    words: list[str] = []
    word: list[str] = []
    characters = iter(makeflags)
    for character in characters:
        if character.isspace():
            if word:
                words.append("".join(word))
            word = []
        else:
            word.append(next(characters, "") if character == "\\" else character)
    if word:
        words.append("".join(word))
    return [word.replace("$$", "$") for word in words]


def _is_pipe_end(descriptor: int, access: int) -> bool:
    """Whether `descriptor` is open, is a pipe or fifo, and can be read (O_RDONLY) or written (O_WRONLY)."""
    try:
        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        return mode in (access, os.O_RDWR) and stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except (OSError, OverflowError):
        return False
