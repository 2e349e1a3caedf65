"""The cumulative CPU time of this container, else of this process: a span's weight inside a measured window."""

from __future__ import annotations

import time


def cpu_us() -> int | None:
    """Microseconds of CPU time so far."""
    return time.process_time_ns() // 1000
