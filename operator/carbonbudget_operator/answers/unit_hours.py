"""Units of one selection hour by hour, and why those of an hour are not known. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from carbonbudget_operator.ledger.labelled_units import MOST_MICRO
from carbonbudget_operator.ledger.time_slices import HOUR

DAY: Final = 24 * HOUR
NOT_ASKED: Final = "Prometheus has not been asked for these hours yet"
NO_STORE: Final = "no Prometheus is configured to count them (units.url)"
_TOO_MANY: Final = "the pods of one hour count together more than can be: see what their counters expose"


@dataclass(slots=True)
class UnitDay:
    """A day's units in millionths by hour, and which of its hours are known."""

    signature: Hashable
    micro: array[int]
    known: bytearray
    reasons: dict[int, str] = field(default_factory=dict)  # of hours that were asked for and are not known

    def add(self, at: int, micro: int) -> None:
        """Add units to an hour that is known. Pods claim them: more than any pods can serve are not believed."""
        if not self.known[at]:
            return
        total = self.micro[at] + micro
        if total >= MOST_MICRO:
            self.known[at], self.reasons[at] = False, _TOO_MANY
            total = 0
        self.micro[at] = total


class UnitHours:
    """The hours of one selection in one question."""

    def __init__(self, days: Mapping[int, UnitDay], not_asked: str = NOT_ASKED) -> None:
        """`not_asked`: the reason that is given for hours which were not asked for."""
        self._days, self._not_asked = days, not_asked

    def known(self, start: int, end: int) -> bytes:
        """One byte for each hour of [start, end), whole hours: 1 where it is known."""
        return b"".join(bytes(day.known[first:last]) for day, first, last in self._cut(start, end))

    def units_micro(self, start: int, end: int) -> int:
        """Units of the known hours of [start, end)."""
        return sum(sum(day.micro[first:last]) for day, first, last in self._cut(start, end))

    def reason(self, start: int, end: int) -> str:
        """Why hours of [start, end) are not known, which some are not: of the newest that was asked for in vain."""
        for day, first, last in reversed(list(self._cut(start, end))):
            for at in range(last - 1, first - 1, -1):
                if not day.known[at] and (text := day.reasons.get(at)):
                    return text
        return self._not_asked

    def _cut(self, start: int, end: int) -> Iterator[tuple[UnitDay, int, int]]:
        for number in range(start // DAY, -(-end // DAY)):
            since = number * DAY
            yield self._days[number], max(0, start - since) // HOUR, (min(end, since + DAY) - since) // HOUR


def runs_of(known: bytes, start: int, longest: int | None = None) -> list[tuple[int, int]]:
    """The maximal runs of known hours, [start, end) each; `longest` bounds them, in hours."""
    runs: list[tuple[int, int]] = []
    first = known.find(1)
    while first >= 0:
        end = known.find(0, first)
        end = len(known) if end < 0 else end
        step = longest or end - first
        runs += ((start + at * HOUR, start + min(end, at + step) * HOUR) for at in range(first, end, step))
        first = known.find(1, end)
    return runs


def hours_of(day: int) -> Sequence[int]:
    """The starts of the hours of a day, which is its number since 1970, in UTC seconds."""
    return range(day * DAY, (day + 1) * DAY, HOUR)
