"""What a report may be at most, as rows of the ledger. Beyond any honest node: a made-up report must cost little."""

from __future__ import annotations

from carbonbudget_agent.report import NodeReport
from carbonbudget_operator.ledger.slices import HOUR

# Written in some 1.5 s, with 80 MB. After a gap of 11 days a node with 250 pods in two domains is just below it.
MAX_ROWS = 200_000


def too_large(report: NodeReport, slices: int) -> bool:
    """Whether it would be more than 200,000 rows: each domain, pod and pod's domain is one in each slice it spans."""
    if _rows_at_most(report) * slices <= MAX_ROWS:  # so it is but for what is made up: nothing is counted
        return False
    energies = sum(len(pod.energy_uj.keys() | pod.idle_uj.keys()) for pod in report.pods)
    return (len(report.domains) + len(report.pods) + energies) * slices > MAX_ROWS


def weight(report: NodeReport) -> int:
    """About how many rows it is, or more: for a batch to end before it is too much at once."""
    return _rows_at_most(report) * (1 + (report.window_end - report.since) // HOUR)


def _rows_at_most(report: NodeReport) -> int:
    return (len(report.pods) + 1) * (len(report.domains) + 1)
