"""A span: a name, a step and two instants in the life of one pod, with the pod's own counters at both.

The process inside the pod writes all of it, so each field is a claim. The counters only decide how measured energy is
divided (`span_division.py`); no energy is ever made of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """The part [start_ms, end_ms) of one pod's time, in UTC milliseconds. `id` is unique within the pod.

    `cpu_us` are two readings of a cumulative counter of CPU time in microseconds, at the start and at the end;
    `gpu_uj` are two of the cumulative energy of all GPUs that the process sees, in microjoules. None: not read.
    """

    id: str
    name: str
    step: int | None
    start_ms: int
    end_ms: int
    cpu_us: tuple[int, int] | None = None
    gpu_uj: tuple[int, int] | None = None
