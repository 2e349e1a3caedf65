"""A cumulative counter of a pod as a curve over time, made of the readings that its spans carry. Pure.

Between two readings the counter is taken to grow evenly, as far as the windows between them allow it. Where a later
reading is smaller, the counter was reset or the readings are of two counters: nothing is known of the time between
them. Each hour has a curve of its own, so that an hour is divided in the same way whether it is asked for alone or with
others. Of a span that crosses a full hour, the reading on the other side is known in both hours.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from carbonbudget_operator.spans.pod_windows import HOUR_MS
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.spans.window_readings import Amount, Reading, edge_readings, readings_of_one_window

_Reading = tuple[int, int, int]  # the hour that it is of, its instant, the counter


class CounterCurve:
    """The curve through the readings of spans. Of several readings at one instant the smallest one ends a growth.

    `amounts` are what was measured in each window. Those that lie in two hours are of no use.
    """

    def __init__(
        self, spans_counters: Iterable[tuple[Span, tuple[int, int] | None]], amounts: Iterable[Amount] = ()
    ) -> None:
        counters = list(spans_counters)
        found = {reading for span, counter in counters for reading in _readings(span, counter)}
        by_hour: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for hour, at_ms, value in sorted(found):
            by_hour[hour].append((at_ms, value))
        windows: dict[int, list[Amount]] = defaultdict(list)
        for start_ms, end_ms, amount in amounts:
            if start_ms < end_ms and start_ms // HOUR_MS == (end_ms - 1) // HOUR_MS:
                windows[start_ms // HOUR_MS].append((start_ms, end_ms, amount))
        before, after = _beyond(counters)
        for hour, readings in by_hour.items():
            edges = edge_readings(readings, windows[hour]) or readings_of_one_window(
                readings, windows[hour], (hour * HOUR_MS, before.get(hour)), ((hour + 1) * HOUR_MS, after.get(hour))
            )
            found.update((hour, *reading) for reading in edges)
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


def _beyond(
    counters: Iterable[tuple[Span, tuple[int, int] | None]],
) -> tuple[dict[int, Reading], dict[int, Reading]]:
    """Of the spans that cross a full hour: the last reading before each hour, and the first one after it, by hour."""
    before: dict[int, Reading] = {}
    after: dict[int, Reading] = {}
    for span, counter in counters:
        first, last = span.start_ms // HOUR_MS, (span.end_ms - 1) // HOUR_MS
        if counter is None or counter[0] > counter[1] or first >= last:
            continue
        began, ended = (span.start_ms, counter[0]), (span.end_ms, counter[1])
        before[first + 1] = max(before.get(first + 1, began), began)
        after[last - 1] = min(after.get(last - 1, ended), ended)
    return before, after


def _readings(span: Span, counter: tuple[int, int] | None) -> Iterable[_Reading]:
    """The two readings of a span; none of one that is empty or reversed, or in which the counter fell.

    Both are of hours that the span touches: what ends with an hour has no part in the next one.
    """
    if counter is not None and counter[0] <= counter[1] and span.start_ms < span.end_ms:
        yield (span.start_ms // HOUR_MS, span.start_ms, counter[0])
        yield ((span.end_ms - 1) // HOUR_MS, span.end_ms, counter[1])
