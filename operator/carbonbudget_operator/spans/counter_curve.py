"""A cumulative counter of a pod as a curve over time, made of the readings that its spans carry. Pure.

Between two readings the counter is taken to grow evenly, as far as the windows between them allow it. Where a later
reading is smaller, the counter was reset or the readings are of two counters: nothing is known of the time between
them. Each hour has a curve of its own, made of its own readings and windows and of those next to it in the hours
beside it. So an hour is divided in the same way whether it is asked for alone or with others.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from carbonbudget_operator.spans.pod_windows import HOUR_MS, PodWindow, is_gpu
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.spans.window_readings import NEAR, Amount, Reading, edge_readings

_Reading = tuple[int, int, int]  # the hour that it is of, its instant, the counter


class CounterCurve:
    """The curve through the readings of spans. Of several readings at one instant the smallest one ends a growth.

    `amounts` are what was measured in each window. Those that lie in two hours are of no use.
    """

    def __init__(
        self, spans_counters: Iterable[tuple[Span, tuple[int, int] | None]], amounts: Iterable[Amount] = ()
    ) -> None:
        found = {reading for span, counter in spans_counters for reading in _readings(span, counter)}
        by_hour: dict[int, list[Reading]] = defaultdict(list)
        for hour, at_ms, value in sorted(found):
            by_hour[hour].append((at_ms, value))
        windows: dict[int, list[Amount]] = defaultdict(list)
        for start_ms, end_ms, amount in amounts:
            if start_ms < end_ms and start_ms // HOUR_MS == (end_ms - 1) // HOUR_MS:
                windows[start_ms // HOUR_MS].append((start_ms, end_ms, amount))
        for hour, own in by_hour.items():
            readings = [*_before(own, by_hour.get(hour - 1, [])), *own, *_after(own, by_hour.get(hour + 1, []))]
            first_ms, last_ms = readings[0][0], readings[-1][0]
            near = [
                amount
                for at in (hour - 1, hour, hour + 1)
                for amount in windows.get(at, [])
                if at == hour or (amount[1] > first_ms and amount[0] < last_ms)
            ]
            found.update(
                (hour, at_ms, value)
                for at_ms, value in edge_readings(readings, near)
                if 0 <= at_ms - hour * HOUR_MS <= HOUR_MS
            )
        self._readings: Final = sorted(found)

    def growth(self, start_ms: int, end_ms: int) -> int | None:
        """By how much it grew in a part of an hour that no reading divides; None where that is not known.

        Parts of the time between two readings add up to the difference of the readings.
        """
        hour = start_ms // HOUR_MS
        after = bisect_left(self._readings, (hour, start_ms + 1))
        if not 0 < after < len(self._readings):
            return None
        (before_hour, before_ms, before), (after_hour, after_ms, value) = self._readings[after - 1 : after + 1]
        if not before_hour == hour == after_hour or after_ms < end_ms or value < before:
            return None
        length_ms, difference = after_ms - before_ms, value - before
        return difference * (end_ms - before_ms) // length_ms - difference * (start_ms - before_ms) // length_ms


class PodCurves:
    """The curves of a pod's CPU time (microseconds) and of its GPUs' energy (microjoules), of its measured windows.

    An hour is exact up to its edges if the windows of the hours beside it are given too, and the spans that touch them.
    """

    def __init__(self, windows: Sequence[PodWindow], spans: Sequence[Span]) -> None:
        self.cpu = CounterCurve(
            ((span, span.cpu_us) for span in spans),
            ((window.start_ms, window.end_ms, window.cpu_us) for window in windows),
        )
        self.gpu = CounterCurve(
            ((span, span.gpu_uj) for span in spans),
            ((window.start_ms, window.end_ms, _gpu_uj(window)) for window in windows),
        )


def _before(own: Sequence[Reading], earlier: Sequence[Reading]) -> list[Reading]:
    """The last readings of the hour before, as far back as the counter did not fall until the hour's own ones."""
    found: list[Reading] = []
    value = own[0][1]
    for reading in reversed(earlier[-NEAR:]):
        if reading[1] > value:
            break
        value = reading[1]
        found.append(reading)
    return found[::-1]


def _after(own: Sequence[Reading], later: Sequence[Reading]) -> list[Reading]:
    """The first readings of the hour after, until the counter falls."""
    found: list[Reading] = []
    value = own[-1][1]
    for reading in later[:NEAR]:
        if reading[1] < value:
            break
        value = reading[1]
        found.append(reading)
    return found


def _readings(span: Span, counter: tuple[int, int] | None) -> Iterable[_Reading]:
    """The two readings of a span; none of one that is empty or reversed, or in which the counter fell.

    Both are of hours that the span touches: what ends with an hour has no part in the next one.
    """
    if counter is not None and counter[0] <= counter[1] and span.start_ms < span.end_ms:
        yield (span.start_ms // HOUR_MS, span.start_ms, counter[0])
        yield ((span.end_ms - 1) // HOUR_MS, span.end_ms, counter[1])


def _gpu_uj(window: PodWindow) -> int:
    """What the GPUs' counters grew by in a window: idle energy is in them."""
    return sum(
        energy_uj
        for parts in (window.energy_uj, window.idle_uj)
        for domain, energy_uj in parts.items()
        if is_gpu(domain)
    )
