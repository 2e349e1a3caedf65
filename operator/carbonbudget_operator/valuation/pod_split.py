"""Divides the valued row of a pod group among its pods, for questions about one run. Pure.

Allocation and valuation are exact to the row of a group: pods that agree in workload and labels. A run is some of a
group's pods (one Job of a CronJob), so each figure of the row is divided again, by the rule that applied to it: dynamic
energy by the pods' own dynamic energy; idle energy by that of the devices that each pod reserved, and the node's by the
policy's rule; overhead by the policy's rule, ordinarily own energy; embodied emissions by reservation. The parts add up
to the row, whatever the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.allocation.policy import AllocationPolicy, IdleRule, OverheadRule
from carbonbudget_operator.ledger.valued_rows import (
    COLUMNS,
    DIRECT_UG,
    DYNAMIC_UJ,
    EMBODIED_HIGH_UG,
    EMBODIED_LOW_UG,
    EMBODIED_UG,
    FACILITY_UJ,
    IDLE_UJ,
    LOCATION_UG,
    MARKET_UG,
    METERED_UJ,
    OF_INVENTORY,
    OVERHEAD_UJ,
    STOOD_IN_UG,
    UNSPLIT_UG,
    UPSTREAM_UG,
)


@dataclass(frozen=True, slots=True)
class PodWeight:
    """One pod's own energy, the idle energy of its reserved devices, and its reserved millicore-milliseconds."""

    energy_uj: int
    held_uj: int
    reserved: int

    @property
    def own_uj(self) -> int:
        """The pod's own energy as allocation takes it."""
        return self.energy_uj + self.held_uj


def split_row(figures: Sequence[int], pods: Sequence[PodWeight], policy: AllocationPolicy) -> list[list[int]]:
    """Each pod's figures, in the order of `pods`; column by column they add up to `figures`.

    `figures` are a valued row's columns; at least one pod. What nothing decides goes in equal parts.
    """
    own, reserved = [pod.own_uj for pod in pods], [pod.reserved for pod in pods]
    dynamic = [pod.energy_uj for pod in pods]
    by_idle = {IdleRule.BY_USAGE: own, IdleRule.EVEN: [1] * len(pods)}.get(policy.idle, reserved)
    by_overhead = [1] * len(pods) if policy.overhead is OverheadRule.EVEN else own
    held = [pod.held_uj for pod in pods]
    free_uj = figures[IDLE_UJ] - sum(held)  # below 0 only if some of it is charged to another namespace
    idle = (
        [a + b for a, b in zip(held, _share(free_uj, by_idle, reserved), strict=True)]
        if free_uj >= 0
        else _share(figures[IDLE_UJ], held)
    )
    weights = {DYNAMIC_UJ: (dynamic, own, reserved), IDLE_UJ: (idle,), OVERHEAD_UJ: (by_overhead, own, reserved)}
    columns: list[list[int]] = [[]] * COLUMNS
    for column, by in weights.items():
        for at in (column, LOCATION_UG.start + column, MARKET_UG.start + column):
            columns[at] = _share(figures[at], *by)
    energies = [sum(parts) for parts in zip(*(columns[at] for at in (DYNAMIC_UJ, IDLE_UJ, OVERHEAD_UJ)), strict=True)]
    for at in (METERED_UJ, FACILITY_UJ, DIRECT_UG, UPSTREAM_UG, UNSPLIT_UG, STOOD_IN_UG, *OF_INVENTORY):
        columns[at] = _share(figures[at], energies)
    for at in (EMBODIED_UG, EMBODIED_LOW_UG, EMBODIED_HIGH_UG):
        columns[at] = _share(figures[at], reserved)
    return [list(parts) for parts in zip(*columns, strict=True)]


def _share(total: int, *weights: list[int]) -> list[int]:
    """Divide by the first weights that are not all 0, else in equal parts."""
    by = next((some for some in weights if any(some)), [1] * len(weights[0]))
    return share_list(total, by)
