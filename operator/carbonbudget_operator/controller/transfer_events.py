"""Posts Kubernetes Events about decided transfers: on the transfer, and where it was applied on both budgets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from carbonbudget_operator.api.kubernetes_event import InvolvedObject
from carbonbudget_operator.api.wire_names import BUDGET, GROUP, TRANSFER, VERSION
from carbonbudget_operator.budgets.transfers import BudgetFigures, TransferDecision, TransferOutcome
from carbonbudget_operator.controller.event_posting import ObjectEvent, post_event
from carbonbudget_operator.controller.transfer_store import StoredTransfer
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.logs import FailureLog


async def post_transfer_events(
    client: KubeClient,
    stored: StoredTransfer,
    decision: TransferDecision,
    figures: Mapping[str, BudgetFigures],
    now: int,
    failing: FailureLog,
) -> None:
    """Post the Events."""
    version = f"{GROUP}/{VERSION}"
    abouts = [InvolvedObject(version, TRANSFER.kind, stored.name, stored.namespace, stored.uid)]
    kind: Literal["Normal", "Warning"]
    kind, reason = "Warning", "TransferRefused"
    if decision.outcome is TransferOutcome.APPLIED and stored.pending is not None:
        kind, reason = "Normal", "TransferApplied"
        for budget in (stored.pending.source, stored.pending.receiver):
            if budget in figures:
                namespace, _, name = budget.partition("/")
                abouts.append(InvolvedObject(version, BUDGET.kind, name, namespace, figures[budget].uid))
    message = f"transfer {stored.namespace}/{stored.name}: {decision.message}"
    for about in abouts:
        await post_event(client, ObjectEvent(about, kind, reason, message), f"transfer {stored.name}", now, failing)
