"""`container = warm`: one container of an image is kept for a build, and a shell in it starts the jobs.

`docker exec` takes a third of the time of `docker run`, this less than a fifth. The shell reads requests from a named
pipe in `.bflow/work`, which is mounted; what a job is lies beside it (`N.warm`, a script). On this machine each job is
a small process that sends the request and waits for the status: a worker sees, stops and kills it as any other.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence

from buildflow.environments.base import Command, Kept
from buildflow.records import replace

_LOOP = r"""
exec 3<>"$1"
run() {
    [ -z "$2" ] || export CUDA_VISIBLE_DEVICES="$2"
    setsid sh "$1.warm" </dev/null >/dev/null 2>&1 3>&- &
    wait $!
    status=$?
    kill -9 "-$!" 2>/dev/null
    echo $status >"$1.status"
    echo $status 1<>"$1.end"
}
while read -r verb job devices <&3; do
    case $verb in
    run) run "$job" "$devices" & ;;
    quit) exit 0 ;;
    *) [ -e "$job.pid" ] && kill "-$verb" "-$(cat "$job.pid")" 2>/dev/null ;;
    esac
done
"""
"""In the container. A job has a session of its own; when it ends so does what is left of it. (`1<>` never waits for a
reader.)"""

_CLIENT = r"""
exec 4<>"$1.end"
trap 'echo "TERM $1" >"$0"' TERM INT
echo "run $1 ${CUDA_VISIBLE_DEVICES:-}" >"$0"
(trap '' TERM INT; read -r status; exit "$status") <&4 &
while kill -0 $! 2>/dev/null; do wait $!; status=$?; done
exit "$status"
"""
"""On this machine. The pipe is open before the request goes out, so that no answer is lost; a signal is passed on."""

_END = r"""
: >"$1.stop"
echo "KILL $1" >"$0"
tries=500
while [ ! -e "$1.status" ] && [ $((tries -= 1)) -gt 0 ]; do sleep 0.01; done
"""
"""Ends a job for good. One that has not begun will not."""

_WATCH = r"""
"$@" >/dev/null 2>&1
for end in "$WORK"/*.end; do
    [ -p "$end" ] && echo 137 1<>"$end"
done
"""
"""On this machine, as long as the container lives: whoever still waits for a job in it is told that there is none."""

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Warm(Kept):
    """A container that is kept: started with `run` (all words of `docker run -d …` up to the image's shell)."""

    def __init__(self, run: Sequence[str], wait: Sequence[str], env: Mapping[str, str], work: str) -> None:
        """`wait`: the words that wait for the container's end. Raises `ask.Refused`."""
        from buildflow.environments.ask import ask

        self.work = work
        self.requests = f"{work}/requests.{os.getpid()}"
        for name in os.listdir(work):
            if name.startswith("requests."):  # of a build that was killed
                os.unlink(f"{work}/{name}")
        os.mkfifo(self.requests, 0o600)
        ask([*run, "-c", f"command -v setsid >/dev/null || exit 1\n{_LOOP}", "sh", self.requests], env=env)
        self._open = os.open(self.requests, os.O_RDWR)  # so that nobody waits to write
        self._watch = subprocess.Popen(
            ["sh", "-c", _WATCH, "sh", *wait], env={**env, "WORK": work}, start_new_session=True, cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    @staticmethod
    def possible() -> bool:
        """Whether a named pipe reaches into a container: not where containers run in a virtual machine."""
        return sys.platform == "linux"

    def command(self, command: Command) -> Command:
        """The command that runs this one in the container."""
        base = command.cwd
        for kind in ("pid", "status", "stop", "end"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{base}.{kind}")
        os.mkfifo(f"{base}.end", 0o600)
        name = shlex.quote(base)
        lines = [f"echo $$ >{name}.pid", f"[ ! -e {name}.stop ] || exit 143", f"exec >>{shlex.quote(command.log)} 2>&1"]
        lines += [f"export {key}={shlex.quote(value)}" for key, value in command.env.items() if _NAME.fullmatch(key)]
        lines += [f"cd {name}", f"exec {shlex.join(command.argv)}"]
        with open(f"{base}.warm", "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write("\n".join(lines) + "\n")
        client = ["sh", "-c", _CLIENT, self.requests, base]
        env = {"PATH": os.environ.get("PATH", os.defpath)}
        return replace(command, argv=client, env=env, cleanup=["sh", "-c", _END, self.requests, base])

    def close(self) -> None:
        """End the container (its guard sees to it that it is gone)."""
        with contextlib.suppress(OSError):
            os.write(self._open, b"quit\n")
        with contextlib.suppress(subprocess.TimeoutExpired, OSError):
            self._watch.wait(10)
        os.close(self._open)
        with contextlib.suppress(OSError):
            os.unlink(self.requests)
