"""Attribution: divides the energy of a domain between two samples among the pods that used it, exactly.

This module is pure: integers in, integers out, no I/O, no clock, no log. For each domain the parts add up to the
measured energy, to the microjoule:

    measured_uj == idle_uj + system_uj + unseen_uj + sum over pods (energy_uj + held idle)

Energy above idle is dynamic. It is divided by use: CPU time in the domain `cpu`, resident memory in `dram`, activity in
the domain of a device. Idle energy is the node's, except for a device: its idle energy goes to the pods that claim it.
Use by the kernel, the kubelet and the container runtime is `system`. Use by pods that began and ended between two
samples is `unseen`, unless their uids are known.

The use of memory and the claims of devices are known only at the instants of samples. After an outage, a sample counts
for no longer than its pods have run. The energy of the time before is unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from carbonbudget_agent.device_sharing import NO_POD, UNKNOWN_POD
from carbonbudget_agent.meters import DomainEnergy
from carbonbudget_agent.usage import OUTAGE_MS, Usage
from carbonbudget_core.exact_division import share_out

# No pod has this key: a uid never contains a space.
_NODE: Final = " node"


@dataclass(frozen=True, slots=True)
class AttributedEnergy:
    """One domain's energy, divided; `pods_idle_uj` is the idle energy of a device that pods claim."""

    domain: DomainEnergy
    idle_uj: int
    system_uj: int
    unseen_uj: int
    pods_uj: Mapping[str, int]
    pods_idle_uj: Mapping[str, int] = field(default_factory=dict)
    pods_gpu_ms: Mapping[str, int] = field(default_factory=dict)


def share_domain(domain: DomainEnergy, baseline_uj: int, usage: Usage) -> AttributedEnergy:
    """Divide one domain's energy. `baseline_uj` is the learned idle energy, used where the meter has none.

    Idle energy is at most the measured energy. Dynamic energy without any known use is `system`.
    """
    idle_uj = min(domain.energy_uj, baseline_uj if domain.idle_uj is None else domain.idle_uj)
    device = usage.devices.get(domain.name)
    weights = _weights(domain.name, usage) if device is None else device.active
    if not any(weights.values()):
        weights = {NO_POD: 1} if device is None or not device.held else device.held
    weights = _weights_over_outage(weights, domain, usage, UNKNOWN_POD)
    parts = share_out(domain.energy_uj - idle_uj, weights)
    idle = {_NODE: idle_uj}
    if device is not None and device.held:
        claimed = {**device.held, _NODE: device.parts - sum(device.held.values())}
        idle = share_out(idle_uj, _weights_over_outage(claimed, domain, usage, _NODE))
    busy: dict[str, int] = {}
    if device is not None and device.busy_permille:
        busy = share_out(domain.elapsed_ms * device.busy_permille // 1000, weights)
        busy.pop(NO_POD, 0), busy.pop(UNKNOWN_POD, 0)
    return AttributedEnergy(
        domain=domain,
        idle_uj=idle.pop(_NODE, 0),
        system_uj=parts.pop(NO_POD, 0),
        unseen_uj=parts.pop(UNKNOWN_POD, 0) + idle.pop(UNKNOWN_POD, 0),
        pods_uj=parts,
        pods_idle_uj=idle,
        pods_gpu_ms=busy,
    )


def _weights_over_outage(
    weights: Mapping[str, int], domain: DomainEnergy, usage: Usage, rest: str
) -> Mapping[str, int]:
    """Weights of one instant, applied to the whole time of the domain's energy if that is an outage.

    Each pod has its weight for as long as it has run; for the time before, `rest` has it. CPU time is not the weight of
    an instant: it covers the time between two samples, but not the longer time of a meter that could not be read.
    """
    covered_ms = usage.elapsed_ms if domain.name == "cpu" else 0
    if domain.elapsed_ms - covered_ms <= OUTAGE_MS:
        return weights
    found: dict[str, int] = {rest: 0}
    for uid, weight in weights.items():
        there_ms = min(domain.elapsed_ms, usage.ages_ms.get(uid, domain.elapsed_ms))
        found[uid] = found.get(uid, 0) + weight * there_ms
        found[rest] += weight * (domain.elapsed_ms - there_ms)
    return found


def _weights(domain: str, usage: Usage) -> dict[str, int]:
    if domain == "dram":
        return {**usage.pods_memory_bytes, NO_POD: usage.system_memory_bytes}
    return {**usage.pods_cpu_us, NO_POD: usage.system_cpu_us, UNKNOWN_POD: usage.unseen_cpu_us}
