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
    for minute in range(60):
        made.book(
            a_report(DAY + 60 * minute, "own", {"p1": 3_000_000}, idle_uj=1_000_000),
            replace(a_report(DAY + 60 * minute, "rented", {"p2": 5_000_000}, idle_uj=2_000_000), node_info=cloud),
        )
    yield made
    made.engine.dispose()
