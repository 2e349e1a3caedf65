"""Divides the energy of one node slice among its pod groups, for each domain.

First comes own energy (dynamic and held idle), then the node's idle energy, then system and platform energy. With every
policy, the parts of a domain add up to the measured energy, to the microjoule: each step divides an integer total with
`share_list` or leaves it unallocated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.allocation.policy import AllocationPolicy, IdleRule, OverheadRule
from carbonbudget_operator.ledger.facts import DomainFacts, NodeSlice, PodGroupFacts

IDLE_ROW: Final = "__idle__"
SYSTEM_ROW: Final = "__system__"
UNSEEN_ROW: Final = "__unseen__"


@dataclass(frozen=True, slots=True)
class AllocatedEnergy:
    """Microjoules of one domain, for `groups` pod groups, in one list: valuation divides emissions by it as it is.

    `energies_uj` has the dynamic energy of each group, then the idle energy of each, then the overhead of each. The
    last three are charged to no pod and have rows of their own: unallocated idle, unallocated overhead, unseen.
    """

    domain: str
    groups: int
    energies_uj: list[int]

    @property
    def dynamic_uj(self) -> list[int]:
        """The dynamic energy of each group."""
        return self.energies_uj[: self.groups]

    @property
    def idle_uj(self) -> list[int]:
        """The idle energy of each group: held idle plus the allocated part of the node's idle energy."""
        return self.energies_uj[self.groups : 2 * self.groups]

    @property
    def overhead_uj(self) -> list[int]:
        """The overhead of each group: system and platform."""
        return self.energies_uj[2 * self.groups : 3 * self.groups]

    @property
    def unallocated_uj(self) -> tuple[int, int, int]:
        """Idle, overhead and unseen energy of no pod."""
        idle_uj, overhead_uj, unseen_uj = self.energies_uj[3 * self.groups :]
        return idle_uj, overhead_uj, unseen_uj


def allocate(slice_: NodeSlice, policy: AllocationPolicy) -> Iterator[AllocatedEnergy]:
    """Yield the parts of each domain. They add up to its `measured_uj`."""
    groups = slice_.groups
    own_uj = [sum(group.energy_uj.values()) + sum(group.idle_uj.values()) for group in groups]
    even = _even(groups) if IdleRule.EVEN is policy.idle or OverheadRule.EVEN is policy.overhead else []
    for name, domain in slice_.domains.items():
        idle, unallocated_idle = _idle(name, domain, slice_, policy, own_uj, even)
        for index, group in enumerate(groups):
            if group.idle_uj:
                idle[index] += group.idle_uj.get(name, 0)
        by = {OverheadRule.PROPORTIONAL: own_uj, OverheadRule.EVEN: even, OverheadRule.SEPARATE: []}[policy.overhead]
        overhead, unallocated_overhead = _shared(domain.system_uj, by, len(groups))
        energies_uj = [group.energy_uj.get(name, 0) for group in groups]
        energies_uj += idle
        energies_uj += overhead
        energies_uj += (unallocated_idle, unallocated_overhead, domain.unseen_uj)
        yield AllocatedEnergy(name, len(groups), energies_uj)


def reserve(total: int, reserved: Sequence[int], capacity: int) -> tuple[list[int], int]:
    """Divide `total` by the parts of `capacity` that are reserved. Returns the shares and the unallocated rest.

    If more than the capacity is reserved, the whole total is divided and the rest is 0.
    """
    free = max(0, capacity - sum(reserved))
    return _shared(total, [*reserved, free], len(reserved))


def _idle(
    name: str, domain: DomainFacts, slice_: NodeSlice, policy: AllocationPolicy, own_uj: list[int], even: list[int]
) -> tuple[list[int], int]:
    groups = slice_.groups
    if policy.idle is IdleRule.BY_USAGE:
        return _shared(domain.idle_uj, own_uj, len(groups))
    if policy.idle is IdleRule.EVEN:
        return _shared(domain.idle_uj, even, len(groups))
    # The idle energy of a GPU that no pod holds is the node's. That of a held GPU is part of the pod already.
    if policy.idle is IdleRule.SEPARATE or name.startswith("gpu:"):
        return [0] * len(groups), domain.idle_uj
    # millicores x milliseconds: one core for one microsecond is 1, as in `reserved`.
    capacity = slice_.node.cpu_millicores * domain.duration_ms
    return reserve(domain.idle_uj, [group.reserved for group in groups], capacity)


def _even(groups: Sequence[PodGroupFacts]) -> list[int]:
    """Equal weights for namespaces. Each is divided among its groups by their numbers of pods."""
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group.group.namespace, []).append(index)
    weights = [0] * len(groups)
    for indexes in members.values():
        for index, weight in zip(indexes, share_list(2**40, [groups[i].pods for i in indexes]), strict=True):
            weights[index] = weight
    return weights


def _shared(total_uj: int, weights: Sequence[int], count: int) -> tuple[list[int], int]:
    """Shares of `total_uj` for `count` groups, and the unallocated rest: the share of a weight after them, or all."""
    if not total_uj or not any(weights):
        return [0] * count, total_uj
    parts = share_list(total_uj, weights)
    return parts[:count], sum(parts[count:])
