"""The host itself: its identity is the platform and the architecture, not the machine's name."""

from __future__ import annotations

import os
import sys
from typing import ClassVar

from buildflow.environments.base import Environment as Base


class Environment(Base):
    """`env = native`."""

    name: ClassVar[str] = "native"

    def __str__(self) -> str:
        return "native"

    def identity(self) -> str:
        return f"native {sys.platform} {os.uname().machine}"
