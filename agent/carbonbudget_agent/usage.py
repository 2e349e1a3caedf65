"""What pods and the rest of a node used between two samples: CPU time, memory, devices, and how long each pod ran.

This module is pure: integers in, integers out, no I/O, no clock, no log. Counters are cumulative and are read one after
the other. So a difference of two counters (a parent cgroup minus its children, the node minus its pods) can fall,
though no time was given back. Such a fall is carried over: nothing is counted until the difference has risen by as much
again. The sum never exceeds the CPU time that the node has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from carbonbudget_agent.device_sharing import NO_POD, DeviceUse
from carbonbudget_agent.sample import PodLifetime, Sample
from carbonbudget_core.exact_division import share_out

# The most CPUs that a kernel can have (NR_CPUS of x86), where the node's number is not known.
_MOST_THREADS = 8_192
# Samples are stamped after their counters are read, which may take that long on a saturated node.
_SLACK_MS = 1_000
# Two samples further apart than this are an outage. Within it a pod whose start or end is not known counts as there all
# the time; in a longer gap it counts as there for this long.
OUTAGE_MS = 60_000
_NO_LIVES: Mapping[str, PodLifetime] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Usage:
    """What pods and others used between two samples: microseconds of CPU, bytes of memory at the end, devices.

    `pods_ms` is how long each pod ran between the samples; a pod that is not in it ran all the time. `ages_ms` is how
    long a pod of the second sample has run, where its start is known. `beyond_us` is CPU time that the counters show
    and the node does not have.
    """

    elapsed_ms: int
    pods_cpu_us: Mapping[str, int]
    pods_memory_bytes: Mapping[str, int]
    system_cpu_us: int
    system_memory_bytes: int
    unseen_cpu_us: int
    devices: Mapping[str, DeviceUse] = field(default_factory=dict)
    pods_ms: Mapping[str, int] = field(default_factory=dict)
    ages_ms: Mapping[str, int] = field(default_factory=dict)
    beyond_us: int = 0


def usage_between(
    before: Sample,
    after: Sample,
    carry_us: Mapping[str, int],
    threads: int = 0,
    lives: Mapping[str, PodLifetime] = _NO_LIVES,
) -> tuple[Usage, dict[str, int]]:
    """Use between two samples of one boot, and the carry for the next call.

    A parent cgroup includes the time of children that ended, so `parent - sum(known children)` is the time that was
    missed. It goes to the pods of that parent that ended since `before`, in equal parts; without such a pod it is
    unseen. `threads` are the node's logical CPUs (0: not known), `lives` the starts and ends of pods.
    """
    elapsed_ms = max(0, after.steady_ms - before.steady_ms)
    capacity_us = (threads or _MOST_THREADS) * (elapsed_ms + _SLACK_MS) * 1000
    shown_us = _pods_us(before, after)
    pods_us = share_out(capacity_us, shown_us) if sum(shown_us.values()) > capacity_us else dict(shown_us)
    pods_sum_us = sum(pods_us.values())

    total_us, owed_us = _total_us(before, after, capacity_us), dict(carry_us)
    system_us = owed_us.pop(NO_POD, 0) + after.busy_us - before.busy_us - total_us
    missed_us, carry = _missed_us(before, after, shown_us, owed_us, capacity_us)
    # The parents together are one counter, that of all pods. If only one of them rose, it was created again, not used.
    known_us = max(0, total_us + sum(owed_us.values()) - sum(carry.values()) - sum(shown_us.values()))
    missed_sum_us = min(sum(missed_us.values()), known_us)
    lost_us = min(missed_sum_us, capacity_us - pods_sum_us)
    beyond_us = sum(shown_us.values()) - pods_sum_us + missed_sum_us - lost_us
    unseen_us = _add_missed(before, after, share_out(lost_us, missed_us), pods_us)
    pods_sum_us += lost_us

    if system_us < 0:
        carry[NO_POD] = max(system_us, -capacity_us)
    memory = {uid: pod.memory_bytes for uid, pod in after.pods.items()}
    usage = Usage(
        elapsed_ms=elapsed_ms,
        pods_cpu_us=pods_us,
        pods_memory_bytes=memory,
        system_cpu_us=min(max(0, system_us), capacity_us - pods_sum_us),
        system_memory_bytes=max(0, after.memory_used_bytes - sum(memory.values())),
        unseen_cpu_us=unseen_us,
        devices={domain: _device_use(before.devices.get(domain), use) for domain, use in after.devices.items()},
        pods_ms={uid: _present_ms(uid, before, after, elapsed_ms, lives.get(uid, PodLifetime())) for uid in pods_us},
        ages_ms=_ages_ms(before, after, elapsed_ms, lives),
        beyond_us=beyond_us,
    )
    return usage, carry


def _pods_us(before: Sample, after: Sample) -> dict[str, int]:
    """Each pod's CPU time. A new pod counts from 0, and so does a pod whose cgroup was created again."""
    found: dict[str, int] = {}
    for uid, pod in (*after.ended.items(), *after.pods.items()):
        earlier = before.pods.get(uid)
        delta_us = pod.cpu_us - (earlier.cpu_us if earlier else 0)
        found[uid] = delta_us if delta_us >= 0 else pod.cpu_us
    return found


def _total_us(before: Sample, after: Sample, capacity_us: int) -> int:
    """CPU time of all pods, ended ones included: the parents add up to the counter of the cgroup that contains all."""
    total_us = sum(after.parents_us.values())
    delta_us = total_us - sum(before.parents_us.values())
    return delta_us if delta_us >= -capacity_us else total_us  # created again: it counts from 0


def _missed_us(
    before: Sample, after: Sample, pods_us: Mapping[str, int], owed_us: Mapping[str, int], capacity_us: int
) -> tuple[dict[str, int], dict[str, int]]:
    """By parent: the time that no known child used; and where that is below 0, the carry for the next call."""
    missed_us = dict(owed_us)
    for parent, now_us in after.parents_us.items():
        delta_us = now_us - before.parents_us.get(parent, 0)
        if delta_us < -capacity_us:  # more than a delay between two reads explains: it was created again
            delta_us = max(0, now_us)
        missed_us[parent] = missed_us.get(parent, 0) + delta_us
    for uid, pod in (*after.ended.items(), *after.pods.items()):
        missed_us[pod.parent] = missed_us.get(pod.parent, 0) - pods_us[uid]
    carry = {parent: max(us, -capacity_us) for parent, us in missed_us.items() if us < 0}
    return {parent: us for parent, us in missed_us.items() if us > 0}, carry


def _add_missed(before: Sample, after: Sample, missed_us: Mapping[str, int], pods_us: dict[str, int]) -> int:
    """Add missed time to the ended pods of its parent. Returns the rest, which is unseen."""
    ended: dict[str, dict[str, int]] = {}
    for uid, pod in before.pods.items():
        if uid not in after.pods:
            ended.setdefault(pod.parent, {})[uid] = 1
    for uid, pod in after.ended.items():
        ended.setdefault(pod.parent, {})[uid] = 1
    unseen_us = 0
    for parent, lost_us in missed_us.items():
        if parent not in ended:
            unseen_us += lost_us
            continue
        for uid, part_us in share_out(lost_us, ended[parent]).items():
            pods_us[uid] = pods_us.get(uid, 0) + part_us
    return unseen_us


def _present_ms(uid: str, before: Sample, after: Sample, elapsed_ms: int, life: PodLifetime) -> int:
    """How long the pod ran between the samples; see `OUTAGE_MS` for a pod whose start or end is unknown."""
    first_ms, last_ms = after.wall_ms - elapsed_ms, after.wall_ms
    start_ms, end_ms = first_ms, last_ms
    if uid not in before.pods:
        known = life.started_ms is not None and life.started_ms <= last_ms  # else the clock was set
        start_ms = max(first_ms, life.started_ms or 0) if known else max(first_ms, last_ms - OUTAGE_MS)
    if uid not in after.pods:
        known = life.ended_ms is not None and life.ended_ms >= start_ms
        end_ms = min(last_ms, life.ended_ms or 0) if known else min(last_ms, start_ms + OUTAGE_MS)
    return end_ms - start_ms


def _ages_ms(before: Sample, after: Sample, elapsed_ms: int, lives: Mapping[str, PodLifetime]) -> dict[str, int]:
    ages: dict[str, int] = {}
    for uid in after.pods:
        started_ms = lives.get(uid, PodLifetime()).started_ms
        if started_ms is not None and started_ms <= after.wall_ms:
            ages[uid] = after.wall_ms - started_ms
        elif uid not in before.pods:
            ages[uid] = min(elapsed_ms, OUTAGE_MS)
    return ages


def _device_use(before: DeviceUse | None, after: DeviceUse) -> DeviceUse:
    """The use of a device between two samples: that of the second one, or of the first if it is unused now."""
    return after if after.held or after.active or before is None else before
