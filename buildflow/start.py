"""The first lines that run: a build with nothing to do is answered from the snapshot, anything else by the commands.

Imports next to nothing itself.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command that `sys.argv` gives; its exit status."""
    from buildflow.cli.main import run

    return run(sys.argv[1:])
