"""Counters of the agent's own work and errors. The exporter shows them as metrics; the log has each error once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class WorkCounters:
    """Plain numbers; each is written by one thread and read by the exporter."""

    windows: int = 0
    meter_errors: int = 0
    meter_doubts: int = 0
    meter_implausible: int = 0
    pod_errors: int = 0
    pods_left_out: int = 0
    pods_disputed: int = 0
    device_errors: int = 0
    devices_unmatched: int = 0
    gpu_unclaimed: int = 0
    node_errors: int = 0
    cgroup_errors: int = 0
    cpu_beyond: int = 0
    sample_ms: int = 0
    sampled_ms: int = 0  # steady time of the last complete sample; 0: none yet
    checkpoint_errors: int = 0
    outbox_errors: int = 0
    in_memory: int = 0  # reports that wait in memory now, because the disk cannot be written
    dropped: int = 0
    corrupt: int = 0
    sent: int = 0
    delayed: int = 0
    rejected: int = 0
    send_errors: int = 0
    refused: Counter[int] = field(default_factory=Counter)
