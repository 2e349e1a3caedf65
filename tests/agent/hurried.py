"""The agent's own command with hands that turn sixty times as fast: a window of ten seconds takes a sixth of one.

Run as a process: `python hurried.py run ...`. All else is what runs on a node; only the clock is another.
"""

from __future__ import annotations

import time

from carbonbudget_agent import run
from carbonbudget_agent.cli import main
from carbonbudget_agent.clock import SystemClock

SPEED = 60
# Wall time at boot: any moment does, if all lives of the agent agree on it.
BOOT_MS = 1_764_000_000_000


class HurriedClock(SystemClock):
    """Both hands follow the boot's clock, so that every life of the agent sees one time."""

    def wall_ms(self) -> int:
        return BOOT_MS + self.steady_ms()

    def steady_ms(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) * SPEED // 1_000_000

    def wait(self, milliseconds: int) -> bool:
        return super().wait(milliseconds // SPEED)


if __name__ == "__main__":
    run.SystemClock = HurriedClock  # type: ignore[misc]
    main()
