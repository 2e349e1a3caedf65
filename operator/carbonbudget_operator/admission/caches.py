"""What the webhook knows without asking: budgets, namespaces' labels, and the workloads that may be scaled."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from dataclasses import dataclass

from carbonbudget_operator.admission.kept import Kept
from carbonbudget_operator.admission.review import at, texts
from carbonbudget_operator.admission.shapes import JOB, POD, Shape, Shapes
from carbonbudget_operator.admission.view import BudgetView, view
from carbonbudget_operator.api.names import BUDGET, CLUSTER_BUDGET, EXEMPT_LABEL
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.namespaces import Namespaces

_NAME_LABEL = "kubernetes.io/metadata.name"
# With more namespaces than this, one watch of all of them is cheaper than one each.
_MAX_WATCHES_OF_A_KIND = 20


class Budgets:
    """Both kinds of budget, and the namespaces' labels that decide where a cluster's holds."""

    def __init__(self) -> None:
        self.own = Kept[BudgetView]("CarbonBudget", functools.partial(view, cluster=False))
        self.wide = Kept[BudgetView]("ClusterCarbonBudget", functools.partial(view, cluster=True))
        self.namespaces = Namespaces()

    def of(self, namespace: str) -> list[BudgetView]:
        """The budgets that hold in a namespace."""
        wide = self.wide.of("").values()
        found = [*self.own.of(namespace).values()]
        if wide:
            labels = self._labels(namespace)
            found += [budget for budget in wide if budget.holds_in(namespace, labels)]
        return found

    def listed(self) -> bool:
        """Whether each watch has had its first complete list."""
        return self.own.listed.is_set() and self.wide.listed.is_set() and self.namespaces.listed

    def watches(self, client: KubeClient) -> list[asyncio.Task[None]]:
        """The three watches, started."""
        return [
            asyncio.create_task(self.own.follow(client, BUDGET.collection), name="carbonbudgets"),
            asyncio.create_task(self.wide.follow(client, CLUSTER_BUDGET.collection), name="clustercarbonbudgets"),
            asyncio.create_task(self.namespaces.follow(client), name="namespaces"),
        ]

    def scaled_kinds(self, kinds: Mapping[str, Shape], now: int) -> set[tuple[Shape, str]]:
        """Which kinds' scaling may have to be refused, and where: empty is everywhere."""
        wanted: dict[Shape, set[str]] = {}
        for budget in [*self.own.all(), *self.wide.all()]:
            for shape in [kinds[kind] for kind in budget.kinds if kind in kinds and budget.blocks(kind, now)]:
                wanted.setdefault(shape, set()).update(self._where(budget))
        return {
            (shape, namespace)
            for shape, namespaces in wanted.items()
            for namespace in ({""} if len(namespaces) > _MAX_WATCHES_OF_A_KIND or "" in namespaces else namespaces)
        }

    def _where(self, budget: BudgetView) -> set[str]:
        if budget.namespace:
            return {budget.namespace}
        selector = budget.namespace_selector
        if selector is None:
            return {""}
        return self.namespaces.matching(selector)

    def _labels(self, namespace: str) -> Mapping[str, str]:
        # One made a moment ago may not have arrived yet: its name it has at any rate.
        return (self.namespaces.labels() or {}).get(namespace, {_NAME_LABEL: namespace})


@dataclass(frozen=True, slots=True)
class Scalable:
    """What a Scale does not say of its workload."""

    labels: Mapping[str, str]
    exempt: bool


class Workloads:
    """Pod labels of the workloads whose scaling a blocking budget judges; nothing while none does."""

    def __init__(self, shapes: Shapes) -> None:
        self.kinds = {shape.kind: shape for shape in shapes.values() if shape.replicas and shape not in (JOB, POD)}
        self._kept: dict[tuple[Shape, str], tuple[Kept[Scalable], asyncio.Task[None]]] = {}

    def find(self, shape: Shape, namespace: str, name: str) -> Scalable | None:
        """None where it is not known (yet)."""
        for place in (namespace, ""):
            kept = self._kept.get((shape, place))
            if kept is not None and (found := kept[0].of(namespace).get(name)) is not None:
                return found
        return None

    def want(self, client: KubeClient, wanted: set[tuple[Shape, str]]) -> None:
        """Watch these and no others."""
        for key in self._kept.keys() - wanted:
            self._kept.pop(key)[1].cancel()
        for shape, namespace in wanted - self._kept.keys():
            kept = Kept[Scalable](shape.kind, functools.partial(_scalable, shape))
            task = asyncio.create_task(kept.follow(client, shape.collection(namespace)), name=f"{shape.resource}")
            self._kept[shape, namespace] = (kept, task)

    def stop(self) -> None:
        """End all watches."""
        for _, task in self._kept.values():
            task.cancel()
        self._kept.clear()


def _scalable(shape: Shape, body: Mapping[str, object]) -> Scalable:
    labels = texts(at(body, *shape.template, "metadata").get("labels"))
    return Scalable(labels, texts(at(body, "metadata").get("labels")).get(EXEMPT_LABEL) == "true")
