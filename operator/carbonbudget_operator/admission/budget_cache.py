"""The webhook's cache of budgets and of namespaces' labels, which watches fill."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping

from carbonbudget_operator.admission.watch_cache import WatchCache
from carbonbudget_operator.admission.webhook_budget import WebhookBudget, bounded_webhook_budget, text_bytes
from carbonbudget_operator.admission.workload_kinds import WorkloadKind
from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET
from carbonbudget_operator.budgets.coverage import Covers
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.watch_restart import keep_following
from carbonbudget_operator.namespace_labels import NAMESPACES, Namespaces
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE

# Longer than the age that the alert CarbonBudgetWatchStale reports, so that the alert comes first.
MAX_AGE_SECONDS = 600.0
# For more namespaces than this, one watch reads all of them. Each watch takes a connection and memory, so their number
# must not grow with the cluster.
_MAX_WATCHES_OF_A_KIND = 3


class BudgetCache:
    """Both kinds of budget, and the labels of namespaces, by which a ClusterCarbonBudget selects."""

    def __init__(self) -> None:
        self.own = WatchCache[WebhookBudget](
            BUDGET.kind, functools.partial(bounded_webhook_budget, cluster=False), text_bytes
        )
        self.wide = WatchCache[WebhookBudget](
            CLUSTER_BUDGET.kind, functools.partial(bounded_webhook_budget, cluster=True), text_bytes
        )
        self.namespaces = Namespaces()

    def of(self, namespace: str, now: int) -> list[WebhookBudget]:
        """The budgets that cover a namespace and whose period is at `now` (UTC seconds).

        The labels of a namespace that was created a moment ago may not have arrived. Until then a budget covers it only
        if its name alone decides that.
        """
        labels = (self.namespaces.labels() or {}).get(namespace)
        budgets = (*self.own.of(namespace).values(), *self.wide.of("").values())
        return [each for each in budgets if each.counts(now) and each.scope.holds_in(namespace, labels) is Covers.YES]

    def crowded(self) -> int:
        """The number of namespaces of which some budgets are not cached."""
        return len(self.own.crowded) + len(self.wide.crowded)

    def listed(self) -> bool:
        """Whether each watch has had its first complete list."""
        return self.own.listed.is_set() and self.wide.listed.is_set() and self.namespaces.listed

    def watches(self, client: KubeClient) -> list[asyncio.Task[None]]:
        """Starts the three watches and returns their tasks."""
        follow = (
            (BUDGET.collection, lambda: self.own.follow(client, BUDGET.collection)),
            (CLUSTER_BUDGET.collection, lambda: self.wide.follow(client, CLUSTER_BUDGET.collection)),
            (NAMESPACES, lambda: self.namespaces.follow(client)),
        )
        return [asyncio.create_task(keep_following(client, path, each), name=str(path)) for path, each in follow]

    def unready(self, current_at: Mapping[str, float], now: float) -> str:
        """Why the caches must not be used for a decision; empty if they may. Times in UTC seconds."""
        if not self.listed():
            return "budgets are not listed yet"
        for path in map(str, (BUDGET.collection, CLUSTER_BUDGET.collection, NAMESPACES)):
            age_s = now - current_at.get(path, now)
            if age_s > MAX_AGE_SECONDS:
                return f"the watch of {path} was last current {age_s:.0f} s ago"
        return ""

    def scaled_kinds(self, kinds: Mapping[str, WorkloadKind], now: int) -> set[tuple[WorkloadKind, str]]:
        """The kinds whose scaling a budget may refuse at `now`, each with a namespace."""
        wanted: dict[WorkloadKind, set[str]] = {}
        for budget in [*self.own.all(), *self.wide.all()]:
            for workload_kind in [kinds[kind] for kind in budget.kinds if kind in kinds and budget.blocks(kind, now)]:
                wanted.setdefault(workload_kind, set()).update(budget.scope.names(self.namespaces.labels() or {}) or ())
        return {
            (workload_kind, namespace)
            for workload_kind, namespaces in wanted.items()
            for namespace in (
                {EVERY_NAMESPACE}
                if len(namespaces) > _MAX_WATCHES_OF_A_KIND or EVERY_NAMESPACE in namespaces
                else namespaces
            )
        }
