"""Divides the measured windows of a pod among its spans, exactly. Pure.

The time is cut at every edge of every span. The energy of each segment belongs in equal parts to the innermost spans
that are open in it (`innermost_spans.py`), else to the rest. Exclusive figures and the rest therefore add up to the
windows, under any nesting and overlap. A span's inclusive figure is the energy of all segments inside it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.spans.counter_curve import PodCurves
from carbonbudget_operator.spans.innermost_spans import InnermostSpans
from carbonbudget_operator.spans.pod_windows import HOUR_MS, PodWindow
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.spans.window_segments import Segments, sums_before

Resolution = Literal["window", "weighted", "prorated"]


@dataclass(frozen=True, slots=True)
class SpanEnergy:
    """One span's energy in microjoules by domain. Exclusive figures add up, with the rest; inclusive ones do not.

    `covered_ms` is how much of the span's time has windows.
    """

    exclusive_uj: Mapping[str, int]
    inclusive_uj: Mapping[str, int]
    resolution: Resolution
    covered_ms: int = 0

    @property
    def energy_uj(self) -> int:
        """The exclusive energy of all domains."""
        return sum(self.exclusive_uj.values())

    @property
    def inclusive_energy_uj(self) -> int:
        """The inclusive energy of all domains."""
        return sum(self.inclusive_uj.values())


@dataclass(frozen=True, slots=True)
class HourDivision:
    """One hour of the division: energy (all domains) in microjoules and time in milliseconds, by span id.

    Exclusive figures and the rest add up to the windows of the hour.
    """

    exclusive_uj: Mapping[str, int]
    inclusive_uj: Mapping[str, int]
    exclusive_ms: Mapping[str, int]
    inclusive_ms: Mapping[str, int]
    rest_uj: int
    rest_ms: int


@dataclass(frozen=True, slots=True)
class Division:
    """All spans of a pod by id, the rest by domain, and the same by hour (its start, UTC milliseconds).

    `uncounted` are the ids of spans that own nothing because MAX_OPEN others were open when they started.
    """

    spans: Mapping[str, SpanEnergy]
    rest_uj: Mapping[str, int]
    hours: Mapping[int, HourDivision] = field(default_factory=dict)
    uncounted: frozenset[str] = frozenset()


def divide(windows: Sequence[PodWindow], spans: Sequence[Span], curves: PodCurves | None = None) -> Division:
    """Divide the windows among the spans. The sum of exclusive energy and rest is that of the windows.

    The order of windows and of spans does not matter. Windows need not be whole or apart. `curves` are the counters of
    the pod, by default as these windows and spans tell them. Raises ValueError for two spans of one id.
    """
    if len({span.id for span in spans}) < len(spans):
        raise ValueError("two spans have one id")
    measured = [window for window in windows if not window.hourly]
    segments = Segments(windows, spans, curves or PodCurves(measured, spans))
    innermost = InnermostSpans(spans)
    hours = {hour: _Hour() for hour in segments.hours}
    exclusive: dict[str, dict[str, int]] = defaultdict(dict)
    rest_uj = dict.fromkeys(segments.energy_uj, 0)
    total_uj = segments.total_uj()
    for index in range(segments.count):
        start_ms = segments.edges[index]
        innermost.move_to(start_ms)
        if not total_uj[index] and not segments.time_ms[index]:
            continue
        hour, owners = hours[start_ms - start_ms % HOUR_MS], innermost.ids
        for owner, time_ms in _equal_parts(segments.time_ms[index], owners):
            hour.exclusive_ms[owner] += time_ms
        for domain, energies in segments.energy_uj.items():
            for owner, energy_uj in _equal_parts(energies[index], owners):
                hour.exclusive_uj[owner] += energy_uj
                into = exclusive[owner] if owner is not None else rest_uj
                into[domain] = into.get(domain, 0) + energy_uj
    uncounted = frozenset(innermost.uncounted)
    _add_inclusive(hours, segments, total_uj, [span for span in spans if span.id not in uncounted])
    return Division(
        _span_energies(segments, spans, exclusive),
        rest_uj,
        {start_ms: hour.division() for start_ms, hour in hours.items()},
        uncounted,
    )


class _Hour:
    """The sums of one hour; the rest is None's."""

    def __init__(self) -> None:
        self.exclusive_uj: dict[str | None, int] = defaultdict(int)
        self.exclusive_ms: dict[str | None, int] = defaultdict(int)
        self.inclusive_uj: dict[str, int] = {}
        self.inclusive_ms: dict[str, int] = {}

    def division(self) -> HourDivision:
        rest_uj, rest_ms = self.exclusive_uj.pop(None, 0), self.exclusive_ms.pop(None, 0)
        return HourDivision(
            {span_id: self.exclusive_uj.get(span_id, 0) for span_id in self.inclusive_uj},
            self.inclusive_uj,
            {span_id: self.exclusive_ms.get(span_id, 0) for span_id in self.inclusive_ms},
            self.inclusive_ms,
            rest_uj,
            rest_ms,
        )


def _equal_parts(amount: int, owners: Sequence[str]) -> Iterator[tuple[str | None, int]]:
    """The parts of an amount by owner, the rest's under None; ids are sorted, so that their order decides nothing."""
    if not amount:
        return
    if len(owners) <= 1:
        yield (owners[0] if owners else None), amount
        return
    yield from zip(owners, share_list(amount, [1] * len(owners)), strict=True)


def _add_inclusive(hours: dict[int, _Hour], segments: Segments, total_uj: list[int], spans: Sequence[Span]) -> None:
    """Each span's inclusive energy and time in each hour with windows that it touches."""
    before_uj, before_ms = sums_before(total_uj), sums_before(segments.time_ms)
    for span in spans:
        first_hour = span.start_ms - span.start_ms % HOUR_MS
        last_ms = max(span.start_ms, span.end_ms - 1)
        for at in range(bisect_left(segments.hours, first_hour), len(segments.hours)):
            hour_ms = segments.hours[at]
            if hour_ms > last_ms:
                break
            first = segments.index(max(span.start_ms, hour_ms))
            last = segments.index(max(span.start_ms, min(span.end_ms, hour_ms + HOUR_MS)))
            hours[hour_ms].inclusive_uj[span.id] = before_uj[last] - before_uj[first]
            hours[hour_ms].inclusive_ms[span.id] = before_ms[last] - before_ms[first]


def _span_energies(
    segments: Segments, spans: Sequence[Span], exclusive: Mapping[str, Mapping[str, int]]
) -> dict[str, SpanEnergy]:
    before_uj = {domain: sums_before(energies) for domain, energies in segments.energy_uj.items()}
    before_ms = sums_before(segments.time_ms)
    hourly, by_time, weighted = map(sums_before, (segments.hourly, segments.by_time, segments.weighted))
    found: dict[str, SpanEnergy] = {}
    for span in spans:
        first = segments.index(span.start_ms)
        last = max(first, segments.index(span.end_ms))
        covered_ms = before_ms[last] - before_ms[first]
        resolution: Resolution = "window"
        if not covered_ms or hourly[last] > hourly[first]:
            resolution = "prorated"
        elif weighted[last] > weighted[first] and by_time[last] == by_time[first]:
            resolution = "weighted"
        inclusive = {domain: sums[last] - sums[first] for domain, sums in before_uj.items()}
        own = exclusive.get(span.id, {})
        found[span.id] = SpanEnergy(
            {domain: own.get(domain, 0) for domain in before_uj}, inclusive, resolution, covered_ms
        )
    return found
