"""Embodied emissions of hardware over time. Pure.

M = TE x TS x RS (Software Carbon Intensity, ISO/IEC 21031:2024): total embodied emissions of the device, times
the share of its expected life that was reserved, times the share of the device. Past its life a device has
none left: the specification is silent there, and a literal reading would charge more than was ever emitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

YEAR_MS: Final = 31_557_600_000  # 365.25 days
_UG_PER_GRAM: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class EmbodiedDevice:
    """What making a device emitted, and over which life it is written off. `since` is 0 if not known.

    `low_grams` and `high_grams`: between which figures sources put it; None where nothing is known of that.
    """

    grams: int
    life_years: int
    since: int = 0
    low_grams: int | None = None
    high_grams: int | None = None

    def range_ug(self, emissions_ug: int) -> tuple[int, int]:
        """What a part of its emissions would be by the lowest and by the highest figure, rounded down."""
        if not self.grams:
            return emissions_ug, emissions_ug
        low, high = (self.grams if grams is None else grams for grams in (self.low_grams, self.high_grams))
        return emissions_ug * low // self.grams, emissions_ug * high // self.grams

    def emissions_ug(self, duration_ms: int, at: int) -> int:
        """Micrograms that belong to `duration_ms` of its life at the UTC second `at`, rounded down."""
        if self.since and at >= self.since + self.life_years * YEAR_MS // 1000:
            return 0
        return self.grams * _UG_PER_GRAM * duration_ms // (self.life_years * YEAR_MS)
