"""Chooses the start of a run: of all seconds from now to the latest start, the one whose run is exposed to least.

The exposure of a run of one length is a straight line between those starts at which its beginning or its end crosses
a whole hour. So its least value lies at such a start, at now or at the latest start, and no other has to be looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from carbonbudget_operator.cleaner_hours.intensity_hours import HOUR, Exposure, IntensityTimeline


@dataclass(frozen=True, slots=True)
class StartChoice:
    """The chosen start and what is compared with it. UTC seconds.

    Attributes:
        start: when to start: not before now, and by `latest` unless that has passed.
        latest: the latest start that still ends by the deadline; before now where it is too late for that.
        chosen: what a run from `start` is exposed to.
        at_once: what a run from now would be exposed to.
    """

    start: int
    latest: int
    chosen: Exposure
    at_once: Exposure

    def is_late(self, now: int) -> bool:
        """Whether even a start now ends after the deadline."""
        return self.latest < now

    @property
    def percent_less(self) -> int | None:
        """By how many per cent the chosen start emits less than one now, rounded down; None where it is not known."""
        if self.chosen.unknown_s or self.at_once.unknown_s or not self.at_once.mg_s:
            return None
        return (self.at_once.mg_s - self.chosen.mg_s) * 100 // self.at_once.mg_s


def choose_start(hours: IntensityTimeline, duration_s: int, now: int, deadline: int) -> StartChoice:
    """The start with the fewest unknown seconds, then the least exposure; of equal ones the earliest.

    So an hour without a figure is never chosen over one that has one, and where nothing is known the choice is now.
    Where the deadline cannot be met any more, it is now too.
    """
    latest = deadline - duration_s
    at_once = hours.exposure(now, duration_s)
    if latest <= now:
        return StartChoice(now, latest, at_once, at_once)
    start = min(_starts(hours, duration_s, now, latest), key=lambda at: rank(hours.exposure(at, duration_s), at))
    return StartChoice(start, latest, hours.exposure(start, duration_s), at_once)


def rank(exposure: Exposure, start: int) -> tuple[int, int, int]:
    """The order of starts, the best first."""
    return exposure.unknown_s, exposure.mg_s, start


def expected_ug(base_ug: int, reference_mg: int | None, exposure: Exposure, duration_s: int) -> int | None:
    """Micrograms of a run that would emit `base_ug` at a steady intensity of `reference_mg` per kWh, rounded down.

    None where not all of the run's intensity is known, or the reference is not.
    """
    if exposure.unknown_s or not reference_mg or duration_s <= 0:
        return None
    return base_ug * exposure.mg_s // (duration_s * reference_mg)


def _starts(hours: IntensityTimeline, duration_s: int, now: int, latest: int) -> Iterator[int]:
    yield now
    yield latest
    for hour in range(hours.first, hours.end + 1, HOUR):
        for at in (hour, hour - duration_s):
            if now < at < latest:
                yield at
