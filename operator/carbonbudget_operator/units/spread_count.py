"""Spreads a count of a span of time over whole hours, in proportion to time. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

HOUR: Final = 3600
_HOUR_MS: Final = HOUR * 1000


def spread_count(micro: int, start_ms: int, end_ms: int, first: int, end: int) -> Iterator[tuple[int, int]]:
    """Hours of [first, end) that the span touches, each with its part of `micro`.

    What was counted up to an instant is cut to a whole millionth, and an hour's part is the difference of two of these:
    the parts of all hours add up to `micro`, and an hour's part does not depend on which hours are asked for. A span
    without a length counts in the hour of its instant.
    """
    if end_ms <= start_ms:
        hour = start_ms // _HOUR_MS * HOUR
        if first <= hour < end:
            yield hour, micro
        return
    length = end_ms - start_ms
    begin = max(first, start_ms // _HOUR_MS * HOUR)

    def upto(instant_ms: int) -> int:
        return micro * (min(max(instant_ms, start_ms), end_ms) - start_ms) // length

    for hour in range(begin, min(end, -(-end_ms // _HOUR_MS) * HOUR), HOUR):
        if part := upto((hour + HOUR) * 1000) - upto(hour * 1000):
            yield hour, part
