"""Readings of a counter at the edges of windows, as the windows' own amounts allow them. Pure.

A window's amount is measured; a client's readings say where inside the windows it arose. Both are the same counter but
for a constant: what it had at the first window's start. With the constant, each edge between windows has a reading. It
is estimated wherever readings that follow each other are of different windows: what the windows between them leave of
the growth is taken to have an even pace. Estimates near by are averaged, those with the least to guess counting most,
and all readings near by bound the result: each lies between what the counter had at the start and at the end of its
window.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

Reading = tuple[int, int]  # instant in milliseconds, counter
Amount = tuple[int, int, int]  # start and end of a window in milliseconds, what was measured in it

# Bounds that contradict each other by more than this part of the amounts near by are of another counter than the pod's.
# Windows are cut a moment late, so that small contradictions are no sign of that.
_CONTRADICTION: Final = 16
# So many estimates on each side count. More of them cost time and gain nothing.
NEAR: Final = 24
_LATE_MS: Final = 50  # agents cut windows late by about that, so no estimate is better
_SLACK: Final = 2  # bounds that contradict each other by so many times that agree
_WEIGHT: Final = 1 << 60


@dataclass(frozen=True, slots=True)
class _Crossing:
    """Two readings that follow each other and are of different windows, with the edges [first, last) between them.

    `constant` is its estimate, which counts the more the less there is to guess, `amount` what the windows of both had.
    """

    before: Reading
    after: Reading
    first: int
    last: int
    constant: int
    weight: int
    amount: int


def edge_readings(readings: Sequence[Reading], amounts: Iterable[Amount]) -> list[Reading]:
    """Readings at the edges between windows that follow each other, where they lie between two of `readings`.

    `readings` are in order of time. Nothing where they fall or contradict the windows.
    """
    found: list[Reading] = []
    for run in _runs(sorted(amounts)):
        first, last = run[0][0], run[-1][1]
        inside = readings[bisect_left(readings, (first,)) : bisect_left(readings, (last + 1,))]
        if len(run) > 1 and len(inside) > 1 and all(one[1] <= other[1] for one, other in pairwise(inside)):
            found += _Run(run, inside).edge_readings(inside)
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


def _weight(unsure: int) -> int:
    """How much an estimate counts that may be wrong by so much."""
    return max(1, _WEIGHT // unsure**2)


class _Run:
    """Windows that follow each other: their edges, the last one's end included, and what was measured before each.

    Where the windows inside have more than the readings grew by, the pod has more than the container that reads: then
    the amounts are taken to be the container's in one proportion.
    """

    def __init__(self, run: Sequence[Amount], readings: Sequence[Reading]) -> None:
        self._edges = [*(start for start, _, _ in run), run[-1][1]]
        self._before = list(accumulate((amount for _, _, amount in run), initial=0))
        first, last = readings[0], readings[-1]
        grown, inner = last[1] - first[1], self._before[self._window(last)]
        inner -= self._before[min(self._window(first) + 1, len(run))]
        if 0 < grown < inner:
            even = self._even(last[0]) - self._even(first[0])
            self._before = [amount * grown // even for amount in self._before]
        self._late = _LATE_MS * self._before[-1] // (self._edges[-1] - self._edges[0]) + 1

    def edge_readings(self, readings: Sequence[Reading]) -> list[Reading]:
        crossings: list[_Crossing] = []
        bounds: list[tuple[int, int]] = []  # of the windows with readings: crossing n lies between n and n + 1
        began = readings[0]
        for one, other in pairwise(readings):
            if self._window(one) < self._window(other):
                bounds.append(self._bounds(began, one))
                crossings.append(self._crossing(one, other))
                began = other
        bounds.append(self._bounds(began, readings[-1]))
        found: list[Reading] = []
        for index, crossing in enumerate(crossings):
            constant = self._constant(index, crossings, bounds)
            if constant is not None:
                least, most = crossing.before[1], crossing.after[1]
                found += (
                    (self._edges[edge], min(max(self._before[edge] + constant, least), most))
                    for edge in range(crossing.first, crossing.last)
                )
        return found

    def _even(self, at_ms: int) -> int:
        """What was measured before an instant, at an even pace in its window."""
        index = min(bisect_right(self._edges, at_ms), len(self._edges) - 1) - 1
        start_ms, end_ms = self._edges[index : index + 2]
        amount = self._before[index + 1] - self._before[index]
        return self._before[index] + amount * (at_ms - start_ms) // (end_ms - start_ms)

    def _window(self, reading: Reading) -> int:
        return bisect_right(self._edges, reading[0]) - 1

    def _bounds(self, first: Reading, last: Reading) -> tuple[int, int]:
        """The least and the most that the constant can be by the first and the last reading of one window."""
        index = self._window(first)
        most = first[1] - self._before[index]
        if last[0] == self._edges[index]:
            return most, most
        least = last[1] - self._before[index + 1]
        return (max(least, most), most) if first[0] == self._edges[index] else (least, most)

    def _crossing(self, one: Reading, other: Reading) -> _Crossing:
        first, last = bisect_right(self._edges, one[0]), bisect_left(self._edges, other[0])
        amount = self._before[min(last, len(self._edges) - 1)] - self._before[first - 1]
        if first == last:  # the second reading is at the edge itself
            return _Crossing(one, other, first, last, other[1] - self._before[first], _weight(self._late), amount)
        before_ms, after_ms = self._edges[first] - one[0], other[0] - self._edges[last - 1]
        left, length_ms = other[1] - one[1] - self._before[last - 1] + self._before[first], before_ms + after_ms
        constant = one[1] - self._before[first] + left * before_ms // length_ms
        unsure = abs(left) * before_ms * after_ms // length_ms**2 + self._late
        return _Crossing(one, other, first, last, constant, _weight(unsure), amount)

    def _constant(self, index: int, crossings: Sequence[_Crossing], bounds: Sequence[tuple[int, int]]) -> int | None:
        """The constant at one crossing: the mean of estimates near by, as far as the readings' bounds agree."""
        (low, high), (least, most) = bounds[index : index + 2]
        low, high = max(low, least), min(high, most)
        if low > high:
            return None if (low - high) * _CONTRADICTION > crossings[index].amount else (low + high) // 2
        near = [crossings[index]]
        for step in (-1, 1):
            for at in range(1, NEAR + 1):
                beside = index + step * at
                if not 0 <= beside < len(crossings) or high - low < self._late:
                    break
                least, most = bounds[beside + (step > 0)]
                if max(low, least) > min(high, most) + _SLACK * self._late:
                    break
                if max(low, least) <= min(high, most):
                    low, high = max(low, least), min(high, most)
                near.append(crossings[beside])
        mean = sum(one.weight * one.constant for one in near) // sum(one.weight for one in near)
        return min(max(mean, low), high)
