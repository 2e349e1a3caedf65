"""What a report may hold at most, whatever else it says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.ledger.reports import HOUR, a_report

from carbonbudget_agent.report import Domain, NodeReport
from carbonbudget_operator.ingest.checks import check
from carbonbudget_operator.ingest.refusal import Refusal


def taken(report: NodeReport) -> None:
    check(report, "default", 20_000, HOUR + 120)


def test_a_report_names_four_thousand_pods_and_no_more() -> None:
    taken(a_report(pods={f"p{i}": 0 for i in range(4_000)}))
    with pytest.raises(Refusal, match="4001 pods, 4000 are allowed") as refusal:
        taken(a_report(pods={f"p{i}": 0 for i in range(4_001)}))
    assert (refusal.value.status, refusal.value.kind) == (413, "too_large")


def test_a_report_names_256_domains_and_no_more() -> None:
    domains = tuple(Domain(f"gpu:{i}", "nvml", "board", 60_000, 0, 0, 0, 0) for i in range(257))
    taken(replace(a_report(pods={}), domains=domains[:256]))
    with pytest.raises(Refusal, match="257 domains, 256 are allowed"):
        taken(replace(a_report(pods={}), domains=domains))
