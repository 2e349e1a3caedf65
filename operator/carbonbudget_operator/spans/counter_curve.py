"""A cumulative counter of a pod as a curve over time, made of the readings that its spans carry. Pure.

Between two readings the counter is taken to grow evenly. Where a later reading is smaller, the counter was reset or the
readings are of two counters: nothing is known of the time between them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class CounterCurve:
    """The curve through all readings (UTC milliseconds, value). Growth ends with the smallest one of an instant."""

    def __init__(self, readings: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(set(readings))
        self._times = [at for at, _ in ordered]
        self._values = [value for _, value in ordered]

    def growth(self, start_ms: int, end_ms: int) -> int | None:
        """By how much it grew in a time that no reading divides; None where that is not known.

        Parts of the time between two readings add up to the difference of the readings.
        """
        after = bisect_right(self._times, start_ms)
        if not 0 < after < len(self._times) or self._times[after] < end_ms:
            return None
        before_ms, before = self._times[after - 1], self._values[after - 1]
        length_ms, difference = self._times[after] - before_ms, self._values[after] - before
        if difference < 0:
            return None
        return difference * (end_ms - before_ms) // length_ms - difference * (start_ms - before_ms) // length_ms
