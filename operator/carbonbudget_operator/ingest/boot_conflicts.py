"""Detects two machines that report under one node name, because their energy would be counted as one node's.

A node that boots again has a new boot id, and its previous boot ends. If a boot goes on after another one began, two
machines share the name. The server accepts the newer boot's reports, and the agent of the older one must wait. If the
newer boot sends nothing for five minutes, the older one may go on. Only its windows in the newer boot's time are
rejected for good, because that time is counted already.
"""

from __future__ import annotations

from dataclasses import dataclass

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.ingest.refusal import Refusal

_OVERLAP_SECONDS = 120  # a boot's last window may be sent as the next one's first begins
_GONE_SECONDS = 300  # five windows; an agent that is alone tries again every minute at the latest
_RETRY_SECONDS = 60
_MAX_BOOTS = 4
_MAX_NODES = 50_000  # an autoscaler always makes new ones: the oldest are forgotten


@dataclass(slots=True)
class _Boot:
    """A boot's accepted windows: the start of its first one, of the first and last since its last absence, and when
    the latest report arrived.
    """

    first_ever: int
    first: int
    last: int
    reported_at: int

    def accept(self, at: int, now: int) -> None:
        back = at > self.last + _GONE_SECONDS  # it was absent, and the time between is not its own
        self.first_ever = min(self.first_ever, at)
        self.first = at if back else min(self.first, at)
        self.last, self.reported_at = max(self.last, at), now


class BootConflicts:
    """Each node's latest boots, by the windows that this process has seen."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, _Boot]] = {}

    def check_and_record(self, report: NodeReport, now: int) -> None:
        """Record the report's window as its boot's, unless the boot goes on after a newer one began.

        `now` is UTC seconds.

        Raises:
            Refusal: 503 while the newer boot reports, so that the agent sends the window again; then 409 for a window
                in the newer boot's time. Nothing is recorded.
        """
        boots = self._nodes.get(report.node)
        if boots is None:
            if len(self._nodes) >= _MAX_NODES:
                for name in list(self._nodes)[: _MAX_NODES // 2]:
                    del self._nodes[name]
            boots = self._nodes[report.node] = {}
        at = report.window_start
        mine = boots.get(report.boot_id)
        first_ever = at if mine is None else min(mine.first_ever, at)
        taken = False
        for boot_id, other in boots.items():
            newer = (other.first_ever, boot_id) > (first_ever, report.boot_id)
            if boot_id == report.boot_id or not newer or at <= other.first + _OVERLAP_SECONDS:
                continue
            if now < other.reported_at + _GONE_SECONDS:
                raise Refusal(
                    503,
                    "duplicate_node",
                    f"node {report.node!r} reports from two machines: this one's boot goes on after a newer one began, "
                    "and waits until that one is gone",
                    _RETRY_SECONDS,
                )
            taken |= at <= other.last
        if taken:
            raise Refusal(
                409,
                "duplicate_node",
                f"node {report.node!r} reported from two machines: this window's time was taken from the other one",
            )
        if mine is None:
            boots[report.boot_id] = _Boot(at, at, at, now)
            if len(boots) > _MAX_BOOTS:
                del boots[min(boots, key=lambda key: boots[key].last)]
        else:
            mine.accept(at, now)
