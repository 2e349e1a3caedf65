"""One node slice to rows, domain by domain.

Order: own energy (dynamic and held idle), then the node's idle, then system and platform by own energy on
that node. Whatever the policy, the rows of a domain add up to what was measured in it, to the microjoule:
each step shares out an integer total with `share_out`, or leaves it in a special row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from carbonbudget_agent.exact import share_out
from carbonbudget_operator.allocation.policy import Idle, Overhead, Policy
from carbonbudget_operator.ledger.facts import DomainFacts, NodeSlice, PodFacts

IDLE_ROW: Final = "__idle__"
SYSTEM_ROW: Final = "__system__"
UNSEEN_ROW: Final = "__unseen__"
# Nobody's pod: the index of special rows, and the key of an unreserved share.
_NOBODY: Final = -1


class Component(StrEnum):
    """What kind of share a row is."""

    DYNAMIC = "Dynamic"  # own energy
    IDLE = "Idle"  # held idle and the allocated share of the node's idle
    OVERHEAD = "Overhead"  # system and platform


@dataclass(frozen=True, slots=True)
class Row:
    """Microjoules of one domain that a pod bears, or a special row where `pod` is None."""

    domain: str
    pod: PodFacts | None
    special: str
    component: Component
    energy_uj: int


def allocate(slice_: NodeSlice, policy: Policy) -> Iterator[Row]:
    """All rows of one node slice; per domain they add up to its `measured_uj`."""
    own_total = {
        index: sum(pod.energy_uj.values()) + sum(pod.idle_uj.values()) for index, pod in enumerate(slice_.pods)
    }
    for name, domain in slice_.domains.items():
        yield from _own(name, slice_.pods)
        if domain.unseen_uj:
            yield Row(name, None, UNSEEN_ROW, Component.DYNAMIC, domain.unseen_uj)
        yield from _idle(name, domain, slice_, policy, own_total)
        yield from _overhead(name, domain, slice_.pods, policy, own_total)


def _own(name: str, pods: Sequence[PodFacts]) -> Iterator[Row]:
    for pod in pods:
        if pod.energy_uj.get(name):
            yield Row(name, pod, "", Component.DYNAMIC, pod.energy_uj[name])
        if pod.idle_uj.get(name):
            yield Row(name, pod, "", Component.IDLE, pod.idle_uj[name])


def _idle(
    name: str, domain: DomainFacts, slice_: NodeSlice, policy: Policy, own_total: Mapping[int, int]
) -> Iterator[Row]:
    weights: dict[int, int]
    match policy.idle:
        case Idle.BY_REQUEST if not name.startswith("gpu:"):
            # Integrals of both kinds: a core used or reserved for a microsecond counts one.
            weights = {index: max(pod.cpu_request_millicore_ms, pod.cpu_us) for index, pod in enumerate(slice_.pods)}
            capacity = slice_.node.cpu_millicores * domain.duration_ms
            weights[_NOBODY] = max(0, capacity - sum(weights.values()))
        case Idle.BY_USAGE:
            weights = dict(own_total)
        case Idle.EVEN:
            weights = _even(slice_.pods)
        case _:  # an unallocated GPU's idle is the node's; a held one's is in the pod already
            weights = {}
    yield from _shared(name, domain.idle_uj, weights, slice_.pods, Component.IDLE, IDLE_ROW)


def _overhead(
    name: str,
    domain: DomainFacts,
    pods: Sequence[PodFacts],
    policy: Policy,
    own_total: Mapping[int, int],
) -> Iterator[Row]:
    match policy.overhead:
        case Overhead.PROPORTIONAL:
            weights = dict(own_total)
        case Overhead.EVEN:
            weights = _even(pods)
        case Overhead.SEPARATE:
            weights = {}
    yield from _shared(name, domain.system_uj, weights, pods, Component.OVERHEAD, SYSTEM_ROW)


def _even(pods: Sequence[PodFacts]) -> dict[int, int]:
    """Equal weight to each namespace, divided equally among its pods."""
    count: dict[str, int] = {}
    for pod in pods:
        count[pod.namespace] = count.get(pod.namespace, 0) + 1
    parts = {namespace: share_out(2**40, dict.fromkeys(range(n), 1)) for namespace, n in count.items()}
    weights: dict[int, int] = {}
    for index, pod in enumerate(pods):
        count[pod.namespace] -= 1
        weights[index] = parts[pod.namespace][count[pod.namespace]]
    return weights


def _shared(
    name: str,
    total_uj: int,
    weights: Mapping[int, int],
    pods: Sequence[PodFacts],
    component: Component,
    leftover: str,
) -> Iterator[Row]:
    """Rows of `total_uj` by weight; all of it the special row `leftover` where nobody has any."""
    if not total_uj:
        return
    if not any(weights.values()):
        yield Row(name, None, leftover, component, total_uj)
        return
    for index, energy_uj in share_out(total_uj, weights).items():
        if energy_uj and index == _NOBODY:
            yield Row(name, None, leftover, component, energy_uj)
        elif energy_uj:
            yield Row(name, pods[index], "", component, energy_uj)
