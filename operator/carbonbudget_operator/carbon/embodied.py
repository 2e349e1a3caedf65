"""Computes the embodied emissions of a device for a time span. Pure.

M = TE x TS x RS (Software Carbon Intensity, ISO/IEC 21031:2024): total embodied emissions of the device, times
the reserved part of its expected life, times the reserved part of the device. After its expected life a device has no
embodied emissions left. The specification does not cover this case; its formula would charge more than was emitted.
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
    lowest and highest figure of other sources, None if unknown.
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
        """Micrograms of CO2e for `duration_ms` milliseconds at the UTC second `at`, rounded down."""
        if self.since and at >= self.since + self.life_years * YEAR_MS // 1000:
            return 0
        return self.grams * _UG_PER_GRAM * duration_ms // (self.life_years * YEAR_MS)
