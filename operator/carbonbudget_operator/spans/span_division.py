"""Divides the measured windows of a pod among its spans, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from carbonbudget_operator.spans.pod_windows import PodWindow
from carbonbudget_operator.spans.span_record import Span

Resolution = Literal["window", "weighted", "prorated"]
# More spans at one instant than anybody reads; it bounds what an instant costs.
MAX_OPEN: Final = 64


@dataclass(frozen=True, slots=True)
class SpanEnergy:
    """One span's energy in microjoules by domain. Exclusive figures add up, with the rest; inclusive ones do not.

    `covered_ms` is how much of the span's time has windows.
    """

    exclusive_uj: Mapping[str, int]
    inclusive_uj: Mapping[str, int]
    resolution: Resolution
    covered_ms: int = 0

    @property
    def energy_uj(self) -> int:
        """The exclusive energy of all domains."""
        return sum(self.exclusive_uj.values())

    @property
    def inclusive_energy_uj(self) -> int:
        """The inclusive energy of all domains."""
        return sum(self.inclusive_uj.values())


@dataclass(frozen=True, slots=True)
class HourDivision:
    """One hour of the division: energy (all domains) in microjoules and time in milliseconds, by span id.

    Exclusive figures and the rest add up to the windows of the hour.
    """

    exclusive_uj: Mapping[str, int]
    inclusive_uj: Mapping[str, int]
    exclusive_ms: Mapping[str, int]
    inclusive_ms: Mapping[str, int]
    rest_uj: int
    rest_ms: int


@dataclass(frozen=True, slots=True)
class Division:
    """All spans of a pod by id, the rest by domain, and the same by hour (its start, UTC milliseconds).

    `uncounted` are the ids of spans that own nothing because MAX_OPEN others were open when they started.
    """

    spans: Mapping[str, SpanEnergy]
    rest_uj: Mapping[str, int]
    hours: Mapping[int, HourDivision] = field(default_factory=dict)
    uncounted: frozenset[str] = frozenset()


def divide(windows: Sequence[PodWindow], spans: Sequence[Span]) -> Division:
    """Divide the windows among the spans. The sum of exclusive energy and rest is that of the windows.

    The order of windows and of spans does not matter. Raises ValueError for two spans of one id.
    """
    raise NotImplementedError
