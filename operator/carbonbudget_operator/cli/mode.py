"""Whether budgets act in a cluster at all: the chart's enforcement.mode, seen by what it installed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from carbonbudget_operator.admission.decide import Mode
from carbonbudget_operator.api_path import ApiPath

# Everybody may read these two by name (the chart's ClusterRole carbonbudget-check), and nothing else of their kinds.
_GROUP: Final = "admissionregistration.k8s.io"
_POLICY: Final = ApiPath(_GROUP, "v1", "validatingadmissionpolicies", name="carbonbudget")
_WEBHOOK: Final = ApiPath(_GROUP, "v1", "validatingwebhookconfigurations", name="carbonbudget")


async def enforcement_mode(status_of: Callable[[ApiPath], Awaitable[int]]) -> Mode | None:
    """The mode; None where it cannot be seen. `status_of` gives the HTTP status of reading a path."""
    policy = await status_of(_POLICY)
    if policy != 404:
        return "Enforce" if policy == 200 else None
    modes: dict[int, Mode] = {200: "Warn", 404: "Observe"}
    return modes.get(await status_of(_WEBHOOK))
