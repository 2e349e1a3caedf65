"""The reports that this server refused, by sender and reason, for people who look for a node's missing data.

It is in memory: it begins with the server, and it is bounded, because whoever has a token can cause refusals. The
metric `carbonbudget_ingest_refused` counts all of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final

from carbonbudget_operator.ingest.refusal import Refusal

MOST_KEPT: Final = 500
_MOST_TEXT: Final = 300


class RefusedReports:
    """Counts refusals by sender and kind. The ones that did not happen for longest make room for new ones."""

    def __init__(self, since: int) -> None:
        """`since` is the UTC second at which the server started."""
        self.since = since
        self._found: OrderedDict[tuple[str, str], tuple[int, int, str]] = OrderedDict()

    def add(self, sender: str, refusal: Refusal, at: int) -> None:
        """One refusal at the UTC second `at`. `sender` is an authenticated node or account, or `unknown`."""
        key = (sender[:_MOST_TEXT], refusal.kind)
        count = self._found.pop(key, (0, 0, ""))[0]
        self._found[key] = (count + 1, at, refusal.reason[:_MOST_TEXT])
        if len(self._found) > MOST_KEPT:
            self._found.popitem(last=False)

    def listed(self) -> list[Mapping[str, Any]]:
        """The latest first: sender, kind, how many, the UTC second of the last one and its sentence."""
        return [
            {"sender": sender, "kind": kind, "reports": count, "last": last, "reason": reason}
            for (sender, kind), (count, last, reason) in reversed(self._found.items())
        ]
