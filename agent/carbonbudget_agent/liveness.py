"""Whether the sampling loop still runs, for the agent's liveness probe. No I/O.

The metrics are served by threads of their own. So an agent whose loop hangs, in a driver's call or in a read of sysfs,
would look healthy: it runs, is scraped, and measures nothing.
"""

from __future__ import annotations

from carbonbudget_agent.clock import Clock
from carbonbudget_agent.work_counters import WorkCounters

_WINDOWS = 5
_LEAST_MS = 300_000  # a saturated node delays a sample by minutes: that is no reason to restart the agent


class Liveness:
    """Alive until no sample was completed for five windows, and never for less than five minutes.

    The time before the first sample counts from the start. A sample that fails in part, a full disk and a server that
    does not answer are no hang: the loop goes on.
    """

    def __init__(self, counts: WorkCounters, clock: Clock, window_seconds: int) -> None:
        self._counts, self._clock = counts, clock
        self._limit_ms = max(_LEAST_MS, _WINDOWS * window_seconds * 1000)
        self._began_ms = clock.steady_ms()

    def __call__(self) -> bool:
        """Whether the agent is alive. Steady time, so a wall clock that is set ends nothing."""
        return self._clock.steady_ms() - max(self._began_ms, self._counts.sampled_ms) <= self._limit_ms
