"""Computes the embodied emissions of a device for a time span. Pure.

M = TE x TS x RS (Software Carbon Intensity, ISO/IEC 21031:2024): total embodied emissions of the device, times
the reserved part of its expected life, times the reserved part of the device. Of a device whose first day in service is
known, nothing is charged before that day, nor after its expected life. The specification does not cover these cases;
its formula would charge more than was emitted. Without that day the charge begins and ends with the reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

YEAR_MS: Final = 31_557_600_000  # 365.25 days
_UG_PER_GRAM: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class EmbodiedDevice:
    """Emissions of making a device, and the years over which they are charged.

    `since` is the UTC second from which the device is in service, 0 if unknown. `low_grams` and `high_grams` are the
    lowest and highest figure of other models and sources, None if unknown.
    """

    grams: int
    life_years: int
    since: int = 0
    low_grams: int | None = None
    high_grams: int | None = None

    def range_ug(self, emissions_ug: int) -> tuple[int, int]:
        """This part of the emissions by the lowest and by the highest figure, in micrograms, rounded down."""
        if not self.grams:
            return emissions_ug, emissions_ug
        low, high = (self.grams if grams is None else grams for grams in (self.low_grams, self.high_grams))
        return emissions_ug * low // self.grams, emissions_ug * high // self.grams

    def emissions_ug(self, duration_ms: int, at: int) -> int:
        """Micrograms of CO2e for `duration_ms` milliseconds from the UTC second `at` on, rounded down.

        With `since`, spans that do not overlap add up to no more than the device's emissions, and to all of them, to
        the microgram, if they fill its life: each has the difference of what is charged at its two ends.
        """
        if not self.since:
            return self._charged_ug(duration_ms)
        begin_ms = (at - self.since) * 1000
        return self._charged_ug(begin_ms + duration_ms) - self._charged_ug(begin_ms)

    def _charged_ug(self, age_ms: int) -> int:
        """What is charged of the device up to an age in milliseconds; it stops with its life if its age is known."""
        life_ms = self.life_years * YEAR_MS
        if self.since:
            age_ms = min(max(age_ms, 0), life_ms)
        return self.grams * _UG_PER_GRAM * age_ms // life_ms
