"""What a worker of Dask does for one element of a submission. It is sent as text (so the worker needs no buildflow, nor
the driver's Python), and executed with `given`: the command of the node, the folder of the submission, the element.

    id          in the folder: the submission was accepted, so that a later driver finds it; nothing begins before
    stop        ... : its tasks are to end, and with N.stop those of element N; where there is no `batch` any more too
    N.run       ... : made by the first worker that gets element N. Dask gives an element that was on a worker that died
                to another one: that one says so, and runs nothing.

The node ends its task when it hears that this worker is told to end, and when this worker is killed: it has a watch
beside it that reads a pipe.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

LOOK = 0.2
"""Seconds between two looks for what ends it."""
SOON = 0.02
DIED = "the worker that ran it died"

WATCHED = """
exec 3<&0 </dev/null
"$@" 3<&- &
node=$!
{ read -r line <&3; kill -TERM "$node"; } 2>/dev/null &
watch=$!
exec 3<&-
wait "$node"
status=$?
kill "$watch" 2>/dev/null
exit "$status"
"""


def run(command: str, folder: str, element: int) -> None:
    """Run the node of an element until it ends."""
    from distributed import get_worker

    worker = get_worker()
    try:
        os.close(os.open(f"{folder}/{element}.run", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    except FileExistsError:
        raise RuntimeError(DIED) from None
    while not os.path.exists(folder + "/id"):
        if ending(worker, folder, element):
            return
        time.sleep(SOON)
    with open(f"{folder}/out.{element}", "wb") as out:
        node = subprocess.Popen(
            ["sh", "-c", WATCHED, "bflow", "sh", "-c", command], start_new_session=True, cwd="/",
            stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    pipe = node.stdin
    assert pipe is not None
    with pipe:
        while True:
            try:
                status = node.wait(LOOK)
                break
            except subprocess.TimeoutExpired:
                if ending(worker, folder, element):
                    pipe.close()
    if status not in (0, 1, 143):
        with open(f"{folder}/out.{element}", encoding="utf-8", errors="replace") as out:
            said = [line for line in out.read().splitlines() if line.strip()]
        raise RuntimeError(said[-1] if said else f"exit status {status}")


def ending(worker: Any, folder: str, element: int) -> bool:
    """Whether nothing is to go on."""
    if os.path.exists(folder + "/stop") or os.path.exists(f"{folder}/{element}.stop"):
        return True
    if not os.path.exists(folder + "/batch"):
        return True
    return worker.status.name in ("closing", "closed", "failed")


if __name__ == "bflow_element":
    run(*globals()["given"])
