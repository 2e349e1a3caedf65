"""One look at the node: raw cumulative counters of meters, CPU and pods at one instant, and who holds what.

A sample is what a checkpoint keeps: two samples of one boot, five seconds or an hour apart, are all
that attribution needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from carbonbudget_agent.devices import DeviceUse
from carbonbudget_agent.meters import Stamp


@dataclass(frozen=True, slots=True)
class PodCounters:
    """A pod's cumulative CPU time and its memory now; `parent` is the cgroup that outlives it."""

    cpu_us: int
    memory_bytes: int
    parent: str


@dataclass(frozen=True, slots=True)
class Sample:
    """`wall_ms` is UTC; `steady_ms` is the boot's clock that is never set.

    `meters` by unit; `devices` by domain; `ended` are pods that came after the former sample and went
    before this one, as they were last seen.
    """

    wall_ms: int
    steady_ms: int
    meters: Mapping[str, Stamp]
    busy_us: int
    memory_used_bytes: int
    parents_us: Mapping[str, int]
    pods: Mapping[str, PodCounters]
    ended: Mapping[str, PodCounters] = field(default_factory=dict)
    devices: Mapping[str, DeviceUse] = field(default_factory=dict)


def sample_to_json(sample: Sample) -> dict[str, object]:
    """A JSON object that `sample_from_json` reads back to an equal sample."""
    return asdict(sample)


def sample_from_json(value: object) -> Sample:
    """The inverse of `sample_to_json`; ValueError, TypeError or KeyError if it is something else."""
    if not isinstance(value, dict):
        raise ValueError("a sample is a JSON object")
    fields = dict(value)
    for pods in ("pods", "ended"):
        fields[pods] = {uid: PodCounters(**counters) for uid, counters in fields[pods].items()}
    fields["meters"] = {unit: Stamp(**stamp) for unit, stamp in fields["meters"].items()}
    fields["devices"] = {domain: DeviceUse(**use) for domain, use in fields["devices"].items()}
    return Sample(**fields)
