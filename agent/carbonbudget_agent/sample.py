"""The sample: cumulative counters of all meters, the CPU and all pods of a node at one instant, and who uses devices.

Attribution compares two samples of one boot, five seconds or an hour apart, and needs nothing else. Therefore the
checkpoint on disk stores a sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from carbonbudget_agent.device_sharing import DeviceUse
from carbonbudget_agent.meters import CounterReading


@dataclass(frozen=True, slots=True)
class PodCounters:
    """A pod's cumulative CPU time and its memory now; `parent` is the cgroup that outlives it."""

    cpu_us: int
    memory_bytes: int
    parent: str


@dataclass(frozen=True, slots=True)
class PodLifetime:
    """When a pod began and ended, in milliseconds of the node's wall clock (UTC); None: unknown, or not ended."""

    started_ms: int | None = None
    ended_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """`wall_ms` is UTC; `steady_ms` is the boot's clock that is never set.

    `meters` by unit; `devices` by domain; `ended` are pods that began after the previous sample and ended before this
    one, with their last counters.
    """

    wall_ms: int
    steady_ms: int
    meters: Mapping[str, CounterReading]
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
    """The inverse of `sample_to_json`; ValueError, TypeError, KeyError or AttributeError if it is something else.

    Every figure is checked: otherwise a bad one would stop the agent at each start, long after it was read.
    """
    if not isinstance(value, dict):
        raise ValueError("a sample is a JSON object")
    fields = dict(value)
    for pods in ("pods", "ended"):
        fields[pods] = {uid: _pod(counters) for uid, counters in fields[pods].items()}
    fields["meters"] = {unit: _counter_reading(reading) for unit, reading in fields["meters"].items()}
    fields["devices"] = {domain: _device(use) for domain, use in fields["devices"].items()}
    fields["parents_us"] = amounts(
        fields["parents_us"], least=-(2**62)
    )  # computed from files that are read one after the other
    sample = Sample(**fields)
    amounts({key: fields[key] for key in ("wall_ms", "steady_ms", "busy_us", "memory_used_bytes")})
    return sample


def amounts(value: Mapping[str, Any], least: int = 0) -> dict[str, int]:
    """The mapping if all its values are integers of at least `least`, else ValueError."""
    if not all(type(amount) is int and least <= amount < 2**64 for amount in value.values()):
        raise ValueError("a figure is missing, negative or no integer")
    return dict(value)


def _pod(value: dict[str, Any]) -> PodCounters:
    if not isinstance(value["parent"], str):
        raise ValueError("a pod's parent is a name")
    amounts({key: value[key] for key in ("cpu_us", "memory_bytes")})
    return PodCounters(**value)


def _counter_reading(value: dict[str, Any]) -> CounterReading:
    amounts({"steady_ms": value["steady_ms"]})
    return CounterReading(value["steady_ms"], amounts(value["counters"]))


def _device(value: dict[str, Any]) -> DeviceUse:
    busy = value["busy_permille"]
    amounts({"parts": value["parts"]} | ({} if busy is None else {"busy": busy}))
    claimed, active = amounts(value["held"]), amounts(value["active"])
    if sum(claimed.values()) > value["parts"]:
        raise ValueError("more of a device is claimed than it has")
    return DeviceUse(value["parts"], claimed, active, busy)
