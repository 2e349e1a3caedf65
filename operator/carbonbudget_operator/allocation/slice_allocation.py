"""One node slice shared out among its groups of pods, domain by domain.

Order: own energy (dynamic and held idle), then the node's idle, then system and platform by own energy on
that node. Whatever the policy, the parts of a domain add up to what was measured in it, to the microjoule:
each step shares out an integer total with `share_list`, or leaves it to nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.exact import share_list
from carbonbudget_operator.allocation.policy import AllocationPolicy, IdleRule, OverheadRule
from carbonbudget_operator.ledger.facts import DomainFacts, NodeSlice, PodGroupFacts

IDLE_ROW: Final = "__idle__"
SYSTEM_ROW: Final = "__system__"
UNSEEN_ROW: Final = "__unseen__"


@dataclass(frozen=True, slots=True)
class AllocatedEnergy:
    """Microjoules of one domain, by the index of the group; what nobody bears has rows of its own.

    `idle_uj` is held idle and the allocated share of the node's idle, `overhead_uj` system and platform.
    """

    domain: str
    dynamic_uj: list[int]
    idle_uj: list[int]
    overhead_uj: list[int]
    nobody_idle_uj: int
    nobody_overhead_uj: int
    unseen_uj: int


def allocate(slice_: NodeSlice, policy: AllocationPolicy) -> Iterator[AllocatedEnergy]:
    """The shares of each domain; they add up to its `measured_uj`."""
    groups = slice_.groups
    own_uj = [sum(group.energy_uj.values()) + sum(group.idle_uj.values()) for group in groups]
    even = _even(groups) if IdleRule.EVEN is policy.idle or OverheadRule.EVEN is policy.overhead else []
    for name, domain in slice_.domains.items():
        idle, nobody_idle = _idle(name, domain, slice_, policy, own_uj, even)
        for index, group in enumerate(groups):
            if group.idle_uj:
                idle[index] += group.idle_uj.get(name, 0)
        by = {OverheadRule.PROPORTIONAL: own_uj, OverheadRule.EVEN: even, OverheadRule.SEPARATE: []}[policy.overhead]
        overhead, nobody_overhead = _shared(domain.system_uj, by, len(groups))
        yield AllocatedEnergy(
            domain=name,
            dynamic_uj=[group.energy_uj.get(name, 0) for group in groups],
            idle_uj=idle,
            overhead_uj=overhead,
            nobody_idle_uj=nobody_idle,
            nobody_overhead_uj=nobody_overhead,
            unseen_uj=domain.unseen_uj,
        )


def reserve(total: int, reserved: Sequence[int], capacity: int) -> tuple[list[int], int]:
    """Share `total` by what each reserves of `capacity`; the rest is nobody's. Above capacity all is normalised."""
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
    # An unallocated GPU's idle is the node's; a held one's is in the pod already.
    if policy.idle is IdleRule.SEPARATE or name.startswith("gpu:"):
        return [0] * len(groups), domain.idle_uj
    # Integrals of both kinds: a core used or reserved for a microsecond counts one.
    capacity = slice_.node.cpu_millicores * domain.duration_ms
    return reserve(domain.idle_uj, [group.reserved for group in groups], capacity)


def _even(groups: Sequence[PodGroupFacts]) -> list[int]:
    """Equal weight to each namespace, divided by the number of pods of its groups."""
    members: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group.group.namespace, []).append(index)
    weights = [0] * len(groups)
    for indexes in members.values():
        for index, weight in zip(indexes, share_list(2**40, [groups[i].pods for i in indexes]), strict=True):
            weights[index] = weight
    return weights


def _shared(total_uj: int, weights: Sequence[int], count: int) -> tuple[list[int], int]:
    """Shares of `total_uj` for `count` groups, and what is nobody's: that of a last weight beyond them, or all."""
    if not total_uj or not any(weights):
        return [0] * count, total_uj
    parts = share_list(total_uj, weights)
    return parts[:count], sum(parts[count:])
