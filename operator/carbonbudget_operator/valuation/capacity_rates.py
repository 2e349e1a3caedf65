"""Emissions of a reserved core-hour and GPU-hour, by instance type, with bundled figures where there are no facts.

The energy of `gpu:` domains belongs to the GPUs, that of all others (package, memory, platform) to the CPUs. Of both,
the energy that allocation charges to pods counts: their own, their idle energy, system and platform. Idle energy that
nobody reserves and unseen energy do not count, because a new workload is not charged with them either. A node's grams
are divided between CPUs and GPUs by that energy. This is exact, because one node has one factor in one hour.

    core-hour = grams of the CPUs / core-hours reserved (requested, or used where that is more)
    GPU-hour  = grams of the GPUs / GPU-hours requested

Embodied emissions: those of the server by reserved cores, those of its GPUs by use, as in allocation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Final

from carbonbudget_core.bundled_tables import cpu_power_rows
from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.allocation.policy import AllocationPolicy
from carbonbudget_operator.allocation.slice_allocation import allocate, reserve
from carbonbudget_operator.api.projection_bodies import CapacityRate
from carbonbudget_operator.carbon.accelerators import find_accelerators
from carbonbudget_operator.carbon.emissions_formula import emissions_ug
from carbonbudget_operator.ledger.facts import NodeFacts, NodeSlice
from carbonbudget_operator.ledger.valued_rows import LOCATION_UG, MARKET_UG, ValuedRow
from carbonbudget_operator.valuation.gpu_embodied import gpu_count, share_gpus
from carbonbudget_operator.valuation.node_factors import Places

_CORE_HOUR: Final = 3_600_000_000  # in millicore-milliseconds
_GPU_HOUR_MS: Final = 3_600_000
# The GPU for which no node has reported one yet: most published figures are about it.
_UNKNOWN_GPU: Final = "A100 SXM4 80GB"


@dataclass(slots=True)
class ReservedCapacity:
    """What was reserved on some nodes, and the micrograms that were charged to it."""

    reserved: int = 0
    gpu_reserved_ms: int = 0
    gpus: int = 0
    cpu_location_ug: int = 0
    cpu_market_ug: int = 0
    cpu_embodied_ug: int = 0
    gpu_location_ug: int = 0
    gpu_market_ug: int = 0
    gpu_embodied_ug: int = 0

    def add(self, other: ReservedCapacity) -> None:
        """Nodes or hours more; of GPUs the most there were."""
        for item in fields(self):
            mine, its = getattr(self, item.name), getattr(other, item.name)
            setattr(self, item.name, max(mine, its) if item.name == "gpus" else mine + its)


def capacity_of_hour(
    slices: Sequence[NodeSlice], rows: Iterable[ValuedRow], places: Places, policy: AllocationPolicy
) -> dict[str, ReservedCapacity]:
    """Capacity by instance type; "" has the nodes without one. `rows` are the slices' valued rows by node."""
    grams: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        if not row.special:
            total = grams[row.node]
            total[0] += sum(row.figures[LOCATION_UG])
            total[1] += sum(row.figures[MARKET_UG])
    charged_uj: dict[str, list[int]] = defaultdict(lambda: [0, 0])  # CPUs' side, GPUs' side
    found: dict[str, ReservedCapacity] = defaultdict(ReservedCapacity)
    types: dict[str, str] = {}
    for slice_ in slices:
        node = slice_.node
        types[node.name] = node.instance_type
        for shares in allocate(slice_, policy):
            side = int(shares.domain.startswith("gpu:"))
            charged_uj[node.name][side] += sum(shares.dynamic_uj) + sum(shares.idle_uj) + sum(shares.overhead_uj)
        found[node.instance_type].add(_reserved(slice_, places))
    for name, (location_ug, market_ug) in grams.items():
        sides = charged_uj[name] if any(charged_uj[name]) else [1, 0]
        its = found[types[name]]
        cpu, gpu = share_list(location_ug, sides)
        its.cpu_location_ug += cpu
        its.gpu_location_ug += gpu
        cpu, gpu = share_list(market_ug, sides)
        its.cpu_market_ug += cpu
        its.gpu_market_ug += gpu
    return found


def _reserved(slice_: NodeSlice, places: Places) -> ReservedCapacity:
    node, gpus, duration_ms = slice_.node, gpu_count(slice_), slice_.duration_ms
    hardware = places.hardware(node, gpus)
    cores, gpus_ms = sum(g.reserved for g in slice_.groups), sum(g.gpu_reserved_ms for g in slice_.groups)
    server_ug = hardware.server.emissions_ug(duration_ms, slice_.start)
    gpus_ug = hardware.gpus.emissions_ug(duration_ms, slice_.start) if hardware.gpus else 0
    return ReservedCapacity(
        reserved=cores,
        gpu_reserved_ms=gpus_ms,
        gpus=gpus,
        cpu_embodied_ug=reserve(server_ug, [cores], node.cpu_millicores * duration_ms)[0][0],
        gpu_embodied_ug=sum(share_gpus(gpus_ug, slice_)[0]),
    )


def rates_of(found: Mapping[str, ReservedCapacity], places: Places, now: int) -> list[CapacityRate]:
    """The rate over all nodes first, then one for each instance type."""
    overall = ReservedCapacity()
    for part in found.values():
        overall.add(part)
    if not overall.reserved:
        return [bundled_rate(places, now)]
    kinds = {"": overall} | {name: part for name, part in sorted(found.items()) if name and part.reserved}
    return [_rate(name, part, places, now) for name, part in kinds.items()]


def _rate(name: str, its: ReservedCapacity, places: Places, now: int) -> CapacityRate:
    gpus_ms = its.gpu_reserved_ms
    stand_in = bundled_rate(places, now) if its.gpus and not gpus_ms else None  # GPUs that nobody has requested yet
    return CapacityRate(
        instance_type=name,
        core_hour_location_ug=its.cpu_location_ug * _CORE_HOUR // its.reserved,
        core_hour_market_ug=its.cpu_market_ug * _CORE_HOUR // its.reserved,
        core_hour_embodied_ug=its.cpu_embodied_ug * _CORE_HOUR // its.reserved,
        gpu_hour_location_ug=stand_in.gpu_hour_location_ug if stand_in else _by_gpu(its.gpu_location_ug, gpus_ms),
        gpu_hour_market_ug=stand_in.gpu_hour_market_ug if stand_in else _by_gpu(its.gpu_market_ug, gpus_ms),
        gpu_hour_embodied_ug=stand_in.gpu_hour_embodied_ug if stand_in else _by_gpu(its.gpu_embodied_ug, gpus_ms),
        modelled=False,
    )


def _by_gpu(emissions_ug_: int, gpus_ms: int) -> int:
    return emissions_ug_ * _GPU_HOUR_MS // gpus_ms if gpus_ms else 0


def bundled_rate(places: Places, now: int) -> CapacityRate:
    """The rate before the first report: the VM model's default CPU and an A100, both at full power."""
    nowhere = NodeFacts(-1, "", "", "", "", "", 0)
    core = NodeFacts(-2, "", "unknown://", "", "", "", 1000, threads=1, gpus=1)  # one thread of a cloud's host
    place, hardware = places.of(nowhere, now), places.hardware(core)
    core_uj, gpu_uj = (milliwatts * 3_600_000 for milliwatts in (_default_core_mw(), _unknown_gpu_mw()))
    market_mg = place.market.mg_per_kwh
    return CapacityRate(
        instance_type="",
        core_hour_location_ug=emissions_ug(core_uj, place.pue_permille, place.mg_per_kwh),
        core_hour_market_ug=emissions_ug(core_uj, place.pue_permille, market_mg),
        core_hour_embodied_ug=hardware.server.emissions_ug(_GPU_HOUR_MS, now),
        gpu_hour_location_ug=emissions_ug(gpu_uj, place.pue_permille, place.mg_per_kwh),
        gpu_hour_market_ug=emissions_ug(gpu_uj, place.pue_permille, market_mg),
        gpu_hour_embodied_ug=hardware.gpus.emissions_ug(_GPU_HOUR_MS, now) if hardware.gpus else 0,
        modelled=True,
    )


@cache
def _default_core_mw() -> int:
    """Full power of a thread of an unknown CPU, from the table that the agent uses."""
    rows = cpu_power_rows()
    return next(int(row["max_mw_per_thread"]) for row in rows if row["microarchitecture"] == "default")


@cache
def _unknown_gpu_mw() -> int:
    return find_accelerators(_UNKNOWN_GPU)[0].max_mw
