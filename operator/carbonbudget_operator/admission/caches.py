"""The webhook's caches of budgets, namespaces' labels and workloads that may be scaled; watches fill them."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from carbonbudget_core.jsons import at, texts
from carbonbudget_operator.admission.budget_view import BudgetView, bounded_view, text_bytes
from carbonbudget_operator.admission.watch_cache import WatchCache
from carbonbudget_operator.admission.workload_kinds import JOB, POD, Shapes, WorkloadKind
from carbonbudget_operator.api.resource_names import BUDGET, CLUSTER_BUDGET, EXEMPT_LABEL
from carbonbudget_operator.budgets.coverage import Covers
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.following import keep_following
from carbonbudget_operator.namespace_names import EVERY_NAMESPACE
from carbonbudget_operator.namespaces import NAMESPACES, Namespaces

# Older than what the alert CarbonBudgetWatchStale reports, so that the alert comes first.
MAX_AGE_SECONDS = 600.0
# With more namespaces than this there is one watch of all of them: a watch is a connection and its memory, so their
# number has a bound that does not grow with the cluster.
_MAX_WATCHES_OF_A_KIND = 3
# A workload that takes more once parsed comes with its metadata alone, and so without its pods' labels.
_MOST_PARSED = 8 * 2**20
_MOST_LABELS_BYTES = 8 * 2**10


class BudgetCache:
    """Both kinds of budget, and the namespaces' labels that decide where a cluster's holds."""

    def __init__(self) -> None:
        self.own = WatchCache[BudgetView](BUDGET.kind, functools.partial(bounded_view, cluster=False), text_bytes)
        self.wide = WatchCache[BudgetView](
            CLUSTER_BUDGET.kind, functools.partial(bounded_view, cluster=True), text_bytes
        )
        self.namespaces = Namespaces()

    def of(self, namespace: str) -> list[BudgetView]:
        """The budgets that hold in a namespace.

        One made a moment ago may not have arrived yet: what its name does not settle passes until it has.
        """
        labels = (self.namespaces.labels() or {}).get(namespace)
        budgets = (*self.own.of(namespace).values(), *self.wide.of("").values())
        return [budget for budget in budgets if budget.scope.holds_in(namespace, labels) is Covers.YES]

    def crowded(self) -> int:
        """Of how many namespaces some budgets are left out."""
        return len(self.own.crowded) + len(self.wide.crowded)

    def listed(self) -> bool:
        """Whether each watch has had its first complete list."""
        return self.own.listed.is_set() and self.wide.listed.is_set() and self.namespaces.listed

    def watches(self, client: KubeClient) -> list[asyncio.Task[None]]:
        """The three watches, started."""
        follow = (
            (BUDGET.collection, lambda: self.own.follow(client, BUDGET.collection)),
            (CLUSTER_BUDGET.collection, lambda: self.wide.follow(client, CLUSTER_BUDGET.collection)),
            (NAMESPACES, lambda: self.namespaces.follow(client)),
        )
        return [asyncio.create_task(keep_following(client, path, each), name=str(path)) for path, each in follow]

    def unready(self, current_at: Mapping[str, float], now: float) -> str:
        """Returns why the caches must not be used for a decision; empty where it may. Times in UTC seconds."""
        if not self.listed():
            return "budgets are not listed yet"
        for path in map(str, (BUDGET.collection, CLUSTER_BUDGET.collection, NAMESPACES)):
            age_s = now - current_at.get(path, now)
            if age_s > MAX_AGE_SECONDS:
                return f"the watch of {path} was last current {age_s:.0f} s ago"
        return ""

    def scaled_kinds(self, kinds: Mapping[str, WorkloadKind], now: int) -> set[tuple[WorkloadKind, str]]:
        """Which kinds' scaling may have to be refused, and in which namespaces."""
        wanted: dict[WorkloadKind, set[str]] = {}
        for budget in [*self.own.all(), *self.wide.all()]:
            for shape in [kinds[kind] for kind in budget.kinds if kind in kinds and budget.blocks(kind, now)]:
                wanted.setdefault(shape, set()).update(budget.scope.names(self.namespaces.labels() or {}) or ())
        return {
            (shape, namespace)
            for shape, namespaces in wanted.items()
            for namespace in (
                {EVERY_NAMESPACE}
                if len(namespaces) > _MAX_WATCHES_OF_A_KIND or EVERY_NAMESPACE in namespaces
                else namespaces
            )
        }


@dataclass(frozen=True, slots=True)
class ScalableWorkload:
    """What a Scale does not say of its workload. `labels` is None where they are too many to be kept."""

    labels: Mapping[str, str] | None
    exempt: bool


_LEFT_OUT = ScalableWorkload(None, exempt=False)


class WorkloadCache:
    """Pod labels of the workloads whose scaling a blocking budget decides on; empty while none does."""

    def __init__(self, shapes: Shapes) -> None:
        self.kinds = {shape.kind: shape for shape in shapes.values() if shape.replicas and shape not in (JOB, POD)}
        self._watched: dict[tuple[WorkloadKind, str], tuple[WatchCache[ScalableWorkload], asyncio.Task[None]]] = {}

    def find(self, shape: WorkloadKind, namespace: str, name: str) -> ScalableWorkload | None:
        """None where it is not known (yet)."""
        kept = [
            self._watched[shape, place][0] for place in (namespace, EVERY_NAMESPACE) if (shape, place) in self._watched
        ]
        found = next((one.of(namespace)[name] for one in kept if name in one.of(namespace)), None)
        if found is None and any(namespace in one.crowded for one in kept):
            return _LEFT_OUT
        return found

    def crowded(self) -> int:
        """Of how many namespaces some are left out."""
        return sum(len(kept.crowded) for kept, _ in self._watched.values())

    def want(self, client: KubeClient, wanted: set[tuple[WorkloadKind, str]]) -> None:
        """Watch these and no others."""
        for key in self._watched.keys() - wanted:
            self._watched.pop(key)[1].cancel()
        for shape, namespace in wanted - self._watched.keys():
            kept = WatchCache[ScalableWorkload](
                shape.kind, functools.partial(_scalable, shape), _labels_bytes, _MOST_PARSED
            )
            path = shape.collection(namespace)
            follow = keep_following(client, path, functools.partial(kept.follow, client, path))
            self._watched[shape, namespace] = (kept, asyncio.create_task(follow, name=str(path)))

    def stop(self) -> None:
        """End all watches."""
        for _, task in self._watched.values():
            task.cancel()
        self._watched.clear()


def _scalable(shape: WorkloadKind, body: Mapping[str, object]) -> ScalableWorkload:
    labels = texts(at(body, *shape.template, "metadata").get("labels"))
    kept = "spec" in body and _length(labels) <= _MOST_LABELS_BYTES
    return ScalableWorkload(
        {sys.intern(key): sys.intern(value) for key, value in labels.items()} if kept else None,
        texts(at(body, "metadata").get("labels")).get(EXEMPT_LABEL) == "true",
    )


def _labels_bytes(found: ScalableWorkload) -> int:
    return _length(found.labels or {})


def _length(labels: Mapping[str, str]) -> int:
    return sum(len(key) + len(value) for key, value in labels.items())
