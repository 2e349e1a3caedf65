"""A ledger with reports of one hour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.answers.reported_days import DAY, Ledger
from tests.ledger.reports import a_report

from carbonbudget_core.node_report import NodeInfo


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path)
    cloud = NodeInfo(provider_id="gce://p/europe-west4-a/i", region="europe-west4", threads=2)
    starts = range(DAY, DAY + 3600, 60)
    own = [a_report(start, "own", {"p1": 3_000_000}, idle_uj=1_000_000) for start in starts]
    rented = [a_report(start, "rented", {"p2": 5_000_000}, idle_uj=2_000_000) for start in starts]
    made.book(*own, *(replace(report, node_info=cloud) for report in rented))
    yield made
    made.engine.dispose()
