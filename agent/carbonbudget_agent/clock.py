"""The agent's clock: wall time, steady time and waiting. It is a Protocol, so that tests can set the time."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time is UTC and may be set; steady time is the boot's own, also while suspended."""

    def wall_ms(self) -> int:
        """UTC milliseconds."""

    def steady_ms(self) -> int:
        """Milliseconds since the boot."""

    def wait(self, milliseconds: int) -> bool:
        """Sleep; True if the agent was asked to stop meanwhile."""


class SystemClock:
    """The real one; `stop` may be called from a signal handler."""

    def __init__(self) -> None:
        self._stop = threading.Event()

    def wall_ms(self) -> int:
        """UTC milliseconds."""
        return time.time_ns() // 1_000_000

    def steady_ms(self) -> int:
        """Milliseconds since the boot, the same for every process of it."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def wait(self, milliseconds: int) -> bool:
        """Sleep; True if the agent was asked to stop meanwhile."""
        return self._stop.wait(max(0, milliseconds) / 1000)

    def stop(self) -> None:
        """End the present wait and all later ones at once."""
        self._stop.set()
