"""Real back-ends in tests: where one cannot be had its tests are skipped and say why; with BFLOW_REQUIRE they fail.

    BFLOW_REQUIRE=slurm,sge,docker python -m pytest --integration tests/integration
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

SERVICES = Path(__file__).resolve().parent / "services"


def require(name: str, problem: str | None) -> None:
    """Skip, or fail where BFLOW_REQUIRE names the back-end, for a `problem`; None: it is there."""
    if problem is None:
        return
    if name in os.environ.get("BFLOW_REQUIRE", "").replace(",", " ").split():
        pytest.fail(f"{name} is required (BFLOW_REQUIRE), and {problem}", pytrace=False)
    pytest.skip(f"{name}: {problem}")


def service(
    name: str, *words: str, script: str | None = None, env: Mapping[str, str] | None = None, timeout: float = 300
) -> str:
    """Run `tests/services/NAME.sh WORDS` (or `script`); what it printed. Skips or fails where it does not go well."""
    path = SERVICES / f"{script or name}.sh"
    try:
        ran = subprocess.run(
            [str(path), *words], env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        require(name, f"`{path.name} {' '.join(words)}` took longer than {timeout:g} s")
        raise
    if ran.returncode != 0:
        said = (ran.stderr or ran.stdout).strip()[-500:]
        require(name, f"`{path.name} {' '.join(words)}` ended with status {ran.returncode}: {said}")
    return ran.stdout
