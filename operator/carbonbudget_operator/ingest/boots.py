"""Two machines under one node name: each would count, and neither could be told from the other.

A node that boots again has a new boot id, and its former boot ends. Where a boot goes on after another one began,
two machines share the name: the newer one's reports are taken, the older one's refused until one of them is gone.
"""

from __future__ import annotations

from dataclasses import dataclass

from carbonbudget_agent.report import NodeReport
from carbonbudget_operator.ingest.refusal import Refusal

_OVERLAP_SECONDS = 120  # a boot's last window may be sent as the next one's first begins
_MAX_BOOTS = 4
_MAX_NODES = 50_000  # an autoscaler makes new ones for ever: those that came first are forgotten


@dataclass(slots=True)
class _Boot:
    first: int
    last: int


class Boots:
    """Each node's latest boots, by the windows that this process has seen."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, _Boot]] = {}

    def check(self, report: NodeReport) -> None:
        """Raise Refusal 409 for a boot that goes on after a newer one began."""
        boots = self._nodes.get(report.node)
        if boots is None:
            if len(self._nodes) >= _MAX_NODES:
                for name in list(self._nodes)[: _MAX_NODES // 2]:
                    del self._nodes[name]
            boots = self._nodes[report.node] = {}
        at = report.window_start
        mine = boots.get(report.boot_id)
        first = at if mine is None else min(mine.first, at)
        for boot_id, other in boots.items():
            newer = (other.first, boot_id) > (first, report.boot_id)
            if boot_id != report.boot_id and newer and other.first + _OVERLAP_SECONDS < at:
                raise Refusal(
                    409,
                    "duplicate_node",
                    f"node {report.node!r} reports from two machines: this one's boot goes on after a newer one began",
                )
        if mine is None:
            boots[report.boot_id] = _Boot(at, at)
            if len(boots) > _MAX_BOOTS:
                del boots[min(boots, key=lambda key: boots[key].last)]
        else:
            mine.first, mine.last = first, max(mine.last, at)
