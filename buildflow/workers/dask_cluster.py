"""A cluster of Dask: that at an address, or one of this machine that ends with the build.

The own one is a scheduler in this process and a worker beside it, both bound to 127.0.0.1, without a dashboard. Its
worker is started by the command line's module: processes that multiprocessing spawns would import the caller's script.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
from typing import Any

from buildflow.errors import FlowError
from buildflow.files import remove_tree

PATIENCE = 15
"""Seconds that a scheduler has to answer."""
REFRESH = 2.0
"""Seconds for which the number of threads counts."""
DEATHS = 20
"""Times that the own worker is started anew."""


class DaskCluster:
    """`address`: the scheduler's; None: an own cluster of that many `threads`, whose files are in `folder`."""

    def __init__(self, address: str | None, threads: int, folder: str) -> None:
        import distributed

        dask: Any = distributed  # which has types, and not for all that it has

        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters of it is told in a sentence
        self.own = address is None
        self.folder = folder
        self._threads, self._asked = threads, time.monotonic()
        self._local: Any = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._deaths = 0
        if address is None:
            self._local = dask.LocalCluster(
                n_workers=0, host="127.0.0.1", dashboard_address=None, silence_logs=logging.CRITICAL,
                scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            )  # fmt: skip
            address = str(self._local.scheduler_address)
        self.address = address
        try:
            _knock(address)
            self.client: Any = dask.Client(address, set_as_default=False, timeout=PATIENCE, name="bflow")
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            said = str(error).strip().split("\n")[0]
            raise FlowError(
                f"no scheduler of Dask answers at {address}" + (f": {said}" if said else ""), None,
                "dask scheduler prints its address (tcp://…); without -o address=… there is a cluster of this machine",
            ) from None  # fmt: skip
        if self.own:
            self.mend()
        else:
            self._asked = 0.0

    def mend(self) -> None:
        """See to it that the own worker is there."""
        if not self.own or (self._worker is not None and self._worker.poll() is None) or self._deaths > DEATHS:
            return
        self._deaths += 1
        os.makedirs(self.folder, exist_ok=True)
        self._worker = subprocess.Popen(
            [
                sys.executable, "-m", "distributed.cli.dask_worker", self.address, "--host", "127.0.0.1",
                "--nthreads", str(self._threads), "--no-nanny", "--no-dashboard", "--dashboard-address", "127.0.0.1:0",
                "--memory-limit", "0", "--death-timeout", "60", "--local-directory", self.folder,
            ],
            cwd=self.folder, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def threads(self) -> int:
        """The threads of all workers, as far as they are known."""
        now = time.monotonic()
        if not self.own and now - self._asked >= REFRESH:
            with contextlib.suppress(Exception):  # it does not answer just now
                self._threads = sum(self.client.nthreads().values())
            self._asked = now
        return max(self._threads, 1)

    def resources(self) -> dict[str, float]:
        """The resources that workers say they have, each the most that one has."""
        try:
            info = self.client.scheduler_info(n_workers=-1)
        except TypeError:  # an older Dask, which tells of all
            info = self.client.scheduler_info()
        found: dict[str, float] = {}
        for worker in info["workers"].values():
            for name, amount in (worker.get("resources") or {}).items():
                found[name] = max(found.get(name, 0.0), float(amount))
        return found

    def close(self) -> None:
        """Leave the cluster; the own one ends, and with its worker whatever that still runs."""
        if self._worker is not None:
            with contextlib.suppress(OSError):
                os.killpg(self._worker.pid, 9)
            self._worker.wait()
        with contextlib.suppress(Exception):
            self.client.close(timeout=PATIENCE)
        if self._local is not None:
            with contextlib.suppress(Exception):
                self._local.close(timeout=PATIENCE)
            remove_tree(self.folder)


def _knock(address: str) -> None:
    """Raises OSError or ValueError where nobody listens at a plain address (Dask itself would go on trying)."""
    import socket
    from urllib.parse import urlsplit

    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    if parts.scheme in ("tcp", "tls"):
        if parts.hostname is None or parts.port is None:
            raise ValueError("an address is tcp://HOST:PORT")
        socket.create_connection((parts.hostname, parts.port), PATIENCE).close()
