"""One look at the node: raw cumulative counters of meter, CPU and pods at one instant.

A sample is what a checkpoint keeps: two samples of one boot, five seconds or an hour apart, are all
that attribution needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class PodCounters:
    """A pod's cumulative CPU time and its memory now; `parent` is the cgroup that outlives it."""

    cpu_us: int
    memory_bytes: int
    parent: str


@dataclass(frozen=True, slots=True)
class Sample:
    """`wall_ms` is UTC; `steady_ms` is the boot's clock that is never set."""

    wall_ms: int
    steady_ms: int
    meter: Mapping[str, int]
    busy_us: int
    memory_used_bytes: int
    parents_us: Mapping[str, int]
    pods: Mapping[str, PodCounters]


def sample_to_json(sample: Sample) -> dict[str, object]:
    """A JSON object that `sample_from_json` reads back to an equal sample."""
    return asdict(sample)


def sample_from_json(value: object) -> Sample:
    """The inverse of `sample_to_json`; ValueError, TypeError or KeyError if it is something else."""
    if not isinstance(value, dict):
        raise ValueError("a sample is a JSON object")
    fields = dict(value)
    fields["pods"] = {uid: PodCounters(**counters) for uid, counters in fields["pods"].items()}
    return Sample(**fields)
