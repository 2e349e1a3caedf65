"""Refusal: an answer other than 2xx to a request, with the reason. Also maps results of the ledger to refusals.

The agent sets a report aside after 400, 409, 413 and 422 and sends it again after any other status.
"""

from __future__ import annotations

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.ledger.booking import BookingResult
from carbonbudget_operator.ledger.report_bounds import MAX_ROWS


class Refusal(Exception):
    """HTTP status, the kind that a metric counts, one sentence for the reader, and Retry-After (0: none)."""

    def __init__(self, status: int, kind: str, reason: str, retry_after_s: int = 0) -> None:
        super().__init__(reason)
        self.status, self.kind, self.reason, self.retry_after_s = status, kind, reason, retry_after_s


_NOT_BOOKED = {
    BookingResult.SEALED: (422, "sealed", "the window's hour is sealed: it takes no more reports"),
    BookingResult.TOO_MANY: (422, "impossible", "the node's hour holds more windows than an hour can have"),
    BookingResult.IMPOSSIBLE: (
        422, "impossible", "its hour would hold more energy than a node can draw, or a domain twice its time",
    ),
    BookingResult.TOO_LARGE: (
        413, "too_large", f"the report is more than {MAX_ROWS} rows: its gap is too long for its pods",
    ),
}  # fmt: skip


def require_booked(result: BookingResult, report: NodeReport) -> None:
    """Raise Refusal unless the report is in the ledger: stored now, or before."""
    if result is BookingResult.CONFLICT:
        reason = f"window {report.window_start} part {report.part} is stored with other content"
        raise Refusal(409, "conflict", reason)
    if result in _NOT_BOOKED:
        raise Refusal(*_NOT_BOOKED[result])
