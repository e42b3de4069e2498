"""buildflow: file targets from rules, content-addressed results, wherever they run. The command is `bflow`.

The names below are the public Python interface; each is imported when it is first used.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` itself takes longer to import than a build with nothing to do
if TYPE_CHECKING:
    from buildflow.errors import BuildError as BuildError
    from buildflow.errors import FlowError as FlowError
    from buildflow.flow import Flow as Flow
    from buildflow.hooks import TaskHooks as TaskHooks
    from buildflow.result import JobError as JobError
    from buildflow.result import Result as Result
    from buildflow.result import Results as Results
    from buildflow.sources import config as config
    from buildflow.sources import env as env
    from buildflow.sources import glob as glob
    from buildflow.sources import lines as lines
    from buildflow.sources import shell as shell
    from buildflow.sources import table as table
    from buildflow.submitter import Submitter as Submitter

__version__ = "0.1.0"

_HOMES = {
    "BuildError": "errors", "FlowError": "errors", "Flow": "flow", "TaskHooks": "hooks", "JobError": "result",
    "Result": "result", "Results": "result", "Submitter": "submitter", "config": "sources", "env": "sources",
    "glob": "sources", "lines": "sources", "shell": "sources", "table": "sources",
}  # fmt: skip

__all__ = [*_HOMES, "__version__"]


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'buildflow' has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(f"buildflow.{home}"), name)
    return found
