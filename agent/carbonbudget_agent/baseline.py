"""The idle baseline of a domain whose meter counts but cannot tell idle: learned, and kept over restarts.

Pure, like attribution. The baseline is the lowest mean power of any tick in the last week, in day-long
buckets so that an old minimum is forgotten (a kernel or firmware may change it). A node that is never
idle gives too high a baseline at first; it can only fall when the node rests, and never exceeds what was
measured, because attribution caps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_DAY_MS = 86_400_000
_DAYS = 7
_SHORTEST_TICK_MS = 900  # below it a counter's own update interval would show as a low power


@dataclass(frozen=True, slots=True)
class Baseline:
    """Lowest power in milliwatts by day (UTC day number) of one domain."""

    lowest_mw: Mapping[int, int] = field(default_factory=dict)

    def seen(self, energy_uj: int, elapsed_ms: int, wall_ms: int) -> Baseline:
        """The baseline after one more tick."""
        if elapsed_ms < _SHORTEST_TICK_MS:
            return self
        day, power_mw = wall_ms // _DAY_MS, energy_uj // elapsed_ms  # uJ / ms = mW
        kept = {d: mw for d, mw in self.lowest_mw.items() if day - _DAYS < d <= day}
        kept[day] = min(power_mw, kept.get(day, power_mw))
        return Baseline(kept)

    def energy_uj(self, elapsed_ms: int) -> int:
        """What idling for `elapsed_ms` draws; 0 while nothing was seen."""
        return min(self.lowest_mw.values()) * elapsed_ms if self.lowest_mw else 0
