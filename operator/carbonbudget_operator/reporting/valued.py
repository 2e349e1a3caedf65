"""Valued rows: an hour's facts, allocated and valued once, then summed by anybody.

Groups are kept, not pods: budgets ask by namespace and labels, and a group of pods that agree in all that
can be asked for is one row. Every figure of a query is a sum of these rows, so it cannot depend on how the
query groups or filters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from carbonbudget_operator.allocation.allocate import Component, Row, allocate
from carbonbudget_operator.allocation.policy import Policy
from carbonbudget_operator.carbon.factors import Factor, find_factor
from carbonbudget_operator.carbon.value import emissions_ug, share_emissions_ug
from carbonbudget_operator.ledger.facts import NodeFacts, NodeSlice
from carbonbudget_operator.settings import Carbon


@dataclass(frozen=True, slots=True)
class ValuedRow:
    """What one group of pods bears on one node in one slice. `namespace` is a special row's name too."""

    start: int
    end: int
    node: str
    namespace: str
    workload: str
    labels: Mapping[str, str]
    component: Component
    energy_uj: int
    metered_uj: int
    location_ug: int
    factor: str

    @property
    def special(self) -> bool:
        """Whether it belongs to no pod."""
        return self.namespace.startswith("__")


class Valuer:
    """Allocates by one policy and values by the configured place."""

    def __init__(self, carbon: Carbon, policy: Policy) -> None:
        self._carbon, self._policy = carbon, policy
        self._factors: dict[tuple[str, str], Factor] = {}

    def value(self, slices: Iterable[NodeSlice]) -> list[ValuedRow]:
        """All rows of some node slices."""
        return [row for slice_ in slices for row in self._value_slice(slice_)]

    def factor(self, node: NodeFacts) -> Factor:
        """The node's factor, looked up once per place."""
        key = (node.region, node.provider_id.partition("://")[0])
        if key not in self._factors:
            pue = self._carbon.pue
            self._factors[key] = find_factor(
                region=node.region,
                provider_id=node.provider_id,
                zone=self._carbon.zone,
                pue_permille=None if pue is None else round(pue * 1000),
                basis=self._carbon.basis,
            )
        return self._factors[key]

    def _value_slice(self, slice_: NodeSlice) -> list[ValuedRow]:
        factor = self.factor(slice_.node)
        by_domain: dict[str, list[Row]] = {}
        for row in allocate(slice_, self._policy):
            by_domain.setdefault(row.domain, []).append(row)
        sums: dict[tuple[str, str, tuple[tuple[str, str], ...], Component], list[int]] = {}
        for name, rows in by_domain.items():
            domain = slice_.domains[name]
            energies = {index: row.energy_uj for index, row in enumerate(rows)}
            total_ug = emissions_ug(domain.measured_uj, factor.pue_permille, factor.intensity_mg_per_kwh)
            grams = share_emissions_ug(total_ug, energies)
            for index, row in enumerate(rows):
                metered_uj = row.energy_uj * domain.metered_uj // max(1, domain.measured_uj)
                total = sums.setdefault(_key(row), [0, 0, 0])
                total[0] += row.energy_uj
                total[1] += metered_uj
                total[2] += grams[index]
        return [
            ValuedRow(
                start=slice_.start,
                end=slice_.end,
                node=slice_.node.name,
                namespace=namespace,
                workload=workload,
                labels=dict(labels),
                component=component,
                energy_uj=energy_uj,
                metered_uj=metered_uj,
                location_ug=location_ug,
                factor=factor.why,
            )
            for (namespace, workload, labels, component), (energy_uj, metered_uj, location_ug) in sums.items()
        ]


def _key(row: Row) -> tuple[str, str, tuple[tuple[str, str], ...], Component]:
    if row.pod is None:
        return (row.special, "", (), row.component)
    return (row.pod.namespace, row.pod.workload, tuple(sorted(row.pod.labels.items())), row.component)
