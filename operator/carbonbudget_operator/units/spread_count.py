"""Spreads a count of a span of time over whole hours, in proportion to time. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

HOUR: Final = 3600
_HOUR_MS: Final = HOUR * 1000


def spread_count(micro: int, start_ms: int, end_ms: int) -> Iterator[tuple[int, int]]:
    """Hours that the span touches, each with its part of `micro`.

    What was counted up to an instant is cut to a whole millionth, and an hour's part is the difference of two of these:
    the parts of all hours add up to `micro`. A span without a length counts in the hour of its instant.
    """
    begin = start_ms // _HOUR_MS * HOUR
    if end_ms <= start_ms:
        yield begin, micro
        return
    length = end_ms - start_ms

    def upto(instant_ms: int) -> int:
        return micro * (min(max(instant_ms, start_ms), end_ms) - start_ms) // length

    for hour in range(begin, -(-end_ms // _HOUR_MS) * HOUR, HOUR):
        if part := upto((hour + HOUR) * 1000) - upto(hour * 1000):
            yield hour, part


def hours_touched(start_ms: int, end_ms: int) -> int:
    """How many hours a span touches, at least one."""
    return max(1, -(-end_ms // _HOUR_MS) - start_ms // _HOUR_MS)
