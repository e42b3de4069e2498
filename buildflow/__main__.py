"""`python -m buildflow`: the command where its script is not on the PATH."""

from __future__ import annotations

import os
import sys

# `-m` puts the current folder first, and a project's own `json.py` must not stand in for Python's. Where the package
# itself was found in the current folder (a checkout), it has to stay.
_home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if sys.path and sys.path[0] != _home and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from buildflow.start import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
