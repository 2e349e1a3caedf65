"""Where the page has targets from: one form of a target, several readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from carbonbudget_operator.web.gateway import PageCaller
from carbonbudget_operator.web.views.page_target import PageTarget


@dataclass(frozen=True, slots=True)
class FoundTargets:
    """All that the reader may see. `notes` are sentences about what may be missing."""

    targets: Sequence[PageTarget]
    notes: Sequence[str] = ()


class TargetReader(Protocol):
    """Reads targets with the caller's rights. Both raise NotShown."""

    async def all(self, caller: PageCaller) -> FoundTargets:
        """Targets of all namespaces that the caller may read, and the cluster's."""

    async def one(self, caller: PageCaller, namespace: str, name: str) -> PageTarget:
        """One target with its history; an empty namespace for a ClusterCarbonTarget."""
