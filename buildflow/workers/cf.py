"""The local pool: `n_procs` jobs at once, by default as many as there are usable processors. The command's default."""

from __future__ import annotations

from buildflow.workers.local import LocalWorker


class Worker(LocalWorker):
    """`--worker cf`."""

    name = "cf"
