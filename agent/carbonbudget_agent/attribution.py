"""Attribution: what a node drew between two samples goes to those who used it, exactly.

Law of this module: integers in, integers out, no I/O, no clock, no log. For each domain the parts add up
to what was measured, to the microjoule:

    measured_uj == idle_uj + system_uj + unseen_uj + sum over pods (energy_uj + held idle)

Energy above idle is dynamic and follows use: CPU time in the domain `cpu`, resident memory in `dram`,
activity of those who hold it in a device's. Idle is the node's, except of a device, whose holders have it.
Who is not a pod (kernel, kubelet, runtime) is `system`; the time of pods that came and went between two
samples is `unseen` unless exactly they are still known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from carbonbudget_agent.devices import NO_POD, UNKNOWN_POD, DeviceUse
from carbonbudget_agent.exact import share_out
from carbonbudget_agent.meters import DomainEnergy
from carbonbudget_agent.sample import Sample

# A key of no pod: a uid never holds a space.
_NODE: Final = " node"
# Parents are read some microseconds apart and may seem to go back by that much, never by this much.
_SKEW_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """What pods and others used between two samples: microseconds of CPU, bytes held at the end, devices."""

    elapsed_ms: int
    pods_cpu_us: Mapping[str, int]
    pods_memory_bytes: Mapping[str, int]
    system_cpu_us: int
    system_memory_bytes: int
    unseen_cpu_us: int
    devices: Mapping[str, DeviceUse] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shares:
    """One domain's energy, shared out; `pods_idle_uj` is the idle of a device that pods hold."""

    domain: DomainEnergy
    idle_uj: int
    system_uj: int
    unseen_uj: int
    pods_uj: Mapping[str, int]
    pods_idle_uj: Mapping[str, int] = field(default_factory=dict)
    pods_gpu_ms: Mapping[str, int] = field(default_factory=dict)


def usage_between(before: Sample, after: Sample, carry_us: Mapping[str, int]) -> tuple[Usage, dict[str, int]]:
    """Use between two samples of one boot, and the carry for the next call.

    A parent cgroup keeps the time of children that are gone, so `parent - sum(known children)` is the
    time that was missed. It goes to the pods of that parent that ended since `before`, in equal parts;
    without such a pod it is unseen. Parent and children are read some microseconds apart: the difference
    is carried over, so that it never adds up.
    """
    pods_us: dict[str, int] = {}
    missed_us = dict(carry_us)
    total_us = 0
    for parent, now_us in after.parents_us.items():
        delta_us = now_us - before.parents_us.get(parent, 0)
        if delta_us < -_SKEW_US:  # made anew: it counts from 0
            delta_us = max(0, now_us)
        missed_us[parent] = missed_us.get(parent, 0) + delta_us
        total_us += delta_us
    gone: dict[str, dict[str, int]] = {}
    for uid, pod in before.pods.items():
        if uid not in after.pods:
            gone.setdefault(pod.parent, {})[uid] = 1
    for uid, pod in after.ended.items():
        gone.setdefault(pod.parent, {})[uid] = 1
    for uid, pod in (*after.ended.items(), *after.pods.items()):
        former = before.pods.get(uid)
        delta_us = pod.cpu_us - (former.cpu_us if former else 0)
        if delta_us < 0:  # its cgroup was made anew: it counts from 0
            delta_us = pod.cpu_us
        pods_us[uid] = delta_us
        missed_us[pod.parent] = missed_us.get(pod.parent, 0) - delta_us
    unseen_us = 0
    for parent, lost_us in list(missed_us.items()):
        if lost_us <= 0:
            continue
        if parent in gone:
            for uid, part_us in share_out(lost_us, gone[parent]).items():
                pods_us[uid] = pods_us.get(uid, 0) + part_us
        else:
            unseen_us += lost_us
        missed_us[parent] = 0
    memory = {uid: pod.memory_bytes for uid, pod in after.pods.items()}
    usage = Usage(
        elapsed_ms=max(0, after.steady_ms - before.steady_ms),
        pods_cpu_us=pods_us,
        pods_memory_bytes=memory,
        system_cpu_us=max(0, after.busy_us - before.busy_us - total_us),
        system_memory_bytes=max(0, after.memory_used_bytes - sum(memory.values())),
        unseen_cpu_us=unseen_us,
        devices={domain: _held(before.devices.get(domain), use) for domain, use in after.devices.items()},
    )
    return usage, {parent: us for parent, us in missed_us.items() if us}


def _held(before: DeviceUse | None, after: DeviceUse) -> DeviceUse:
    """Who had a device between two looks: those who hold it or work on it now, else those who just gave it back."""
    return after if after.held or after.active or before is None else before


def share_domain(domain: DomainEnergy, baseline_uj: int, usage: Usage) -> Shares:
    """Share one domain's energy. `baseline_uj` is the learned idle, taken where the meter has none.

    Idle is never more than was measured. Dynamic energy that nobody's use explains is the system's.
    """
    idle_uj = min(domain.energy_uj, baseline_uj if domain.idle_uj is None else domain.idle_uj)
    device = usage.devices.get(domain.name)
    weights = _weights(domain.name, usage) if device is None else device.active
    if not any(weights.values()):
        weights = {NO_POD: 1} if device is None or not device.held else device.held
    parts = share_out(domain.energy_uj - idle_uj, weights)
    idle = {_NODE: idle_uj}
    if device is not None and device.held:
        idle = share_out(idle_uj, {**device.held, _NODE: device.parts - sum(device.held.values())})
    busy: dict[str, int] = {}
    if device is not None and device.busy_permille:
        busy = share_out(domain.elapsed_ms * device.busy_permille // 1000, weights)
        busy.pop(NO_POD, 0), busy.pop(UNKNOWN_POD, 0)
    return Shares(
        domain=domain,
        idle_uj=idle.pop(_NODE, 0),
        system_uj=parts.pop(NO_POD, 0),
        unseen_uj=parts.pop(UNKNOWN_POD, 0) + idle.pop(UNKNOWN_POD, 0),
        pods_uj=parts,
        pods_idle_uj=idle,
        pods_gpu_ms=busy,
    )


def _weights(domain: str, usage: Usage) -> dict[str, int]:
    if domain == "dram":
        return {**usage.pods_memory_bytes, NO_POD: usage.system_memory_bytes}
    return {**usage.pods_cpu_us, NO_POD: usage.system_cpu_us, UNKNOWN_POD: usage.unseen_cpu_us}
