"""Slices: hours, or parts of them where a cut splits the hour. Pure arithmetic on UTC seconds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

HOUR = 3600


def slice_start(at: int, cuts: Sequence[int]) -> int:
    """The start of the slice that the instant `at` lies in. `cuts` is sorted."""
    hour = at - at % HOUR
    index = bisect_right(cuts, at)
    return max(hour, cuts[index - 1]) if index else hour


def slice_end(start: int, cuts: Sequence[int]) -> int:
    """The end of the slice that starts at `start`: the next cut or the end of the hour."""
    hour_end = start - start % HOUR + HOUR
    index = bisect_right(cuts, start)
    return min(hour_end, cuts[index]) if index < len(cuts) else hour_end


def spread(start: int, end: int, cuts: Sequence[int]) -> dict[int, int]:
    """The slices that [start, end) touches: seconds of overlap by slice start."""
    parts: dict[int, int] = {}
    at = start
    while at < end:
        stop = min(end, slice_end(slice_start(at, cuts), cuts))
        parts[slice_start(at, cuts)] = stop - at
        at = stop
    return parts
