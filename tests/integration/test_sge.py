"""The worker sge on a real Grid Engine of one node."""

from __future__ import annotations

import pytest
from cluster_stories import Stories

from clusters import Sge

pytestmark = pytest.mark.sge


class TestSge(Stories):
    @pytest.fixture
    def cluster(self, sge: Sge) -> Sge:
        return sge
