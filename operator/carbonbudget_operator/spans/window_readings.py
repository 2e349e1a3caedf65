"""Readings of a counter at the edges of windows, as the windows' own amounts allow them. Pure.

A window's amount is measured; a client's readings say where inside the windows it arose. Both are the same counter but
for a constant: what it had at the first window's start. Each reading lies between what the counter had at the start and
at the end of its window, which bounds that constant, and more readings bound it more closely. Between two readings the
counter is taken to grow evenly, as far as these bounds allow.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Final

Reading = tuple[int, int]  # instant in milliseconds, counter
Amount = tuple[int, int, int]  # start and end of a window in milliseconds, what was measured in it

# Bounds that contradict each other by more than this part of all amounts are of another counter than the pod's. Windows
# are cut a moment late, so that small contradictions are no sign of that.
_CONTRADICTION: Final = 16


def edge_readings(readings: Sequence[Reading], amounts: Iterable[Amount]) -> list[Reading]:
    """Readings at the edges between windows that follow each other, where they lie between two of `readings`.

    `readings` are in order of time. Nothing where they fall or contradict the windows.
    """
    found: list[Reading] = []
    for run in _runs(sorted(amounts)):
        first, last = run[0][0], run[-1][1]
        inside = readings[bisect_left(readings, (first,)) : bisect_left(readings, (last + 1,))]
        if len(run) > 1 and len(inside) > 1 and all(one[1] <= other[1] for one, other in pairwise(inside)):
            found += _between(inside, run)
    return found


def _runs(amounts: Sequence[Amount]) -> list[list[Amount]]:
    """Windows without a gap between them."""
    runs: list[list[Amount]] = []
    for amount in amounts:
        if runs and runs[-1][-1][1] == amount[0]:
            runs[-1].append(amount)
        else:
            runs.append([amount])
    return runs


def _between(readings: Sequence[Reading], run: Sequence[Amount]) -> list[Reading]:
    starts = [start for start, _, _ in run]
    before = list(accumulate((amount for _, _, amount in run), initial=0))  # what was measured before each edge
    lows, highs = [], []
    for at_ms, value in readings:
        index = bisect_right(starts, at_ms) - 1
        highs.append(value - before[index])
        lows.append(value - before[index if at_ms == starts[index] else index + 1])
    low, high = max(lows), min(highs)
    if low > high:
        if (low - high) * _CONTRADICTION > before[-1]:
            return []
        low = high = (low + high) // 2
    found, next_one = [], 0
    for edge_ms, measured in zip(starts[1:], before[1:], strict=False):
        while next_one < len(readings) and readings[next_one][0] < edge_ms:
            next_one += 1
        if not 0 < next_one < len(readings) or readings[next_one][0] == edge_ms:
            continue
        (before_ms, smaller), (after_ms, larger) = readings[next_one - 1 : next_one + 1]
        even = smaller + (larger - smaller) * (edge_ms - before_ms) // (after_ms - before_ms)
        allowed = min(max(even, measured + low), measured + high)
        found.append((edge_ms, min(max(allowed, smaller), larger)))
    return found
