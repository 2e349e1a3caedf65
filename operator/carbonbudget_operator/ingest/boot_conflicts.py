"""Two machines under one node name: each would count, and neither could be told from the other.

A node that boots again has a new boot id, and its former boot ends. Where a boot goes on after another one began,
two machines share the name: the newer one's reports are taken, the older one's wait with their agent. Once the newer
one has not been heard of for five minutes it is gone, and the older one goes on; only what it measured in the other's
time is refused for good, because that time is counted already.
"""

from __future__ import annotations

from dataclasses import dataclass

from carbonbudget_core.node_report import NodeReport
from carbonbudget_operator.ingest.refusal import Refusal

_OVERLAP_SECONDS = 120  # a boot's last window may be sent as the next one's first begins
_GONE_SECONDS = 300  # five windows; an agent that is alone tries again every minute at the latest
_RETRY_SECONDS = 60
_MAX_BOOTS = 4
_MAX_NODES = 50_000  # an autoscaler makes new ones for ever: those that came first are forgotten


@dataclass(slots=True)
class _Boot:
    """What was taken of it: the start of its first window ever, of the first and last one of its present stay, and
    when the latest report came.
    """

    born: int
    first: int
    last: int
    heard: int

    def take(self, at: int, now: int) -> None:
        back = at > self.last + _GONE_SECONDS  # it was away: the time between is not its own
        self.born = min(self.born, at)
        self.first = at if back else min(self.first, at)
        self.last, self.heard = max(self.last, at), now


class BootConflicts:
    """Each node's latest boots, by the windows that this process has seen."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, _Boot]] = {}

    def check(self, report: NodeReport, now: int) -> None:
        """Raise Refusal for a boot that goes on after a newer one began: 503 while that one lives, so that the agent
        keeps its window, then 409 for a window of a time that was taken from the other. `now` is UTC seconds.
        """
        boots = self._nodes.get(report.node)
        if boots is None:
            if len(self._nodes) >= _MAX_NODES:
                for name in list(self._nodes)[: _MAX_NODES // 2]:
                    del self._nodes[name]
            boots = self._nodes[report.node] = {}
        at = report.window_start
        mine = boots.get(report.boot_id)
        born = at if mine is None else min(mine.born, at)
        taken = False
        for boot_id, other in boots.items():
            newer = (other.born, boot_id) > (born, report.boot_id)
            if boot_id == report.boot_id or not newer or at <= other.first + _OVERLAP_SECONDS:
                continue
            if now < other.heard + _GONE_SECONDS:
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
            mine.take(at, now)
