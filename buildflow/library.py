"""The rule library on the disk: where the files are that `include <name.flow>` names.

They stand in `rules/` at a checkout's top and are installed as the package `buildflow.rules`. Looking beside this file
finds both without `importlib.resources`, which costs more than a whole start of bflow. Nothing here reads the files.
"""

from __future__ import annotations

import os

from buildflow.errors import FlowError


def library_folder() -> str:
    """The absolute path of the folder of the `.flow` files; a FlowError where the installation has lost it."""
    package = os.path.dirname(os.path.abspath(__file__))
    inside = os.path.join(package, "rules")
    if os.path.isdir(inside):  # an install; in a checkout this is a link to the next
        return os.path.realpath(inside) if os.path.islink(inside) else inside
    beside = os.path.join(os.path.dirname(package), "rules")
    # The marker keeps some other package that is called `rules` in site-packages from being taken for ours.
    if os.path.isfile(os.path.join(beside, "__init__.py")) and os.path.isfile(os.path.join(beside, "..", "setup.cfg")):
        return beside
    raise FlowError("the rule library is missing from this installation of buildflow", hint="install buildflow again")


def library_files() -> list[str]:
    """The library's files as `include <…>` names them (`cc.flow`), sorted."""
    return sorted(n for n in os.listdir(library_folder()) if n.endswith(".flow") and not n.startswith("."))
