"""Divides the measured windows of a pod among its spans, exactly. Pure.

The time is cut at every edge of every span. The energy of each segment belongs in equal parts to the innermost spans
that are open in it (`innermost_spans.py`), else to the rest. Exclusive figures and the rest therefore add up to the
windows, under any nesting and overlap. A span's inclusive figure is the energy of all segments inside it.

What a division costs is bounded, because a pod chooses its spans: those that touch most hours own nothing beyond
MAX_SPAN_HOURS, and from the hour on in which MAX_PARTS would be exceeded, hours are divided by time alone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.spans.counter_curve import PodCurves
from carbonbudget_operator.spans.hours_by_time import hour_by_time, level_hours
from carbonbudget_operator.spans.innermost_spans import InnermostSpans
from carbonbudget_operator.spans.pod_windows import HOUR_MS, PodWindow
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.spans.window_segments import Segments, sums_before

# The amounts that are given to an owner: of each segment, domain and innermost span. Some 2 s. 50,000 nested spans have
# 100,000 segments with one owner each.
MAX_PARTS: Final = 3_000_000
# Spans by the hours that they touch. 50,000 steps of seconds or minutes are below 75,000.
MAX_SPAN_HOURS: Final = 100_000
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

    `uncounted` are the ids of spans that own nothing because MAX_OPEN others were open when they started, or because
    others touch fewer hours and MAX_SPAN_HOURS in all.
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
    counted = _counted(segments, spans)
    innermost = InnermostSpans(counted)
    hours = {hour: _Hour() for hour in segments.hours}
    divided = _divide_segments(hours, segments, innermost)
    counted = [span for span in counted if span.id not in innermost.uncounted]
    level_hours(segments, segments.hours[divided:])
    touching = _add_inclusive(hours, segments, counted)
    for hour_ms in segments.hours[divided:]:
        its = hours[hour_ms]
        its.parts, its.exclusive_ms = hour_by_time(segments, hour_ms, touching.get(hour_ms, ()), its.inclusive_ms)
    exclusive: dict[str | None, dict[str, int]] = defaultdict(dict, {None: dict.fromkeys(segments.energy_uj, 0)})
    for its in hours.values():
        for owner, parts in its.parts.items():
            into = exclusive[owner]
            for domain, energy_uj in parts.items():
                into[domain] = into.get(domain, 0) + energy_uj
    ids = {span.id for span in counted}
    return Division(
        _span_energies(segments, spans, exclusive),
        exclusive[None],
        {start_ms: hour.division() for start_ms, hour in hours.items()},
        frozenset(span.id for span in spans if span.id not in ids),
    )


def _counted(segments: Segments, spans: Sequence[Span]) -> list[Span]:
    """The spans that own energy: with too many hours in all, those that touch the fewest."""
    touched = []
    for span in spans:
        first = bisect_left(segments.hours, span.start_ms - span.start_ms % HOUR_MS)
        touched.append(max(1, bisect_left(segments.hours, span.end_ms) - first))
    if sum(touched) <= MAX_SPAN_HOURS:
        return list(spans)
    counted, left = list[Span](), MAX_SPAN_HOURS
    for number in sorted(range(len(spans)), key=lambda number: (touched[number], spans[number].id)):
        left -= touched[number]
        if left < 0:
            break
        counted.append(spans[number])
    return counted


class _Hour:
    """The sums of one hour; the rest is None's. `parts` is exclusive energy by owner and domain."""

    def __init__(self) -> None:
        self.parts: dict[str | None, dict[str, int]] = {}
        self.exclusive_ms: dict[str | None, int] = {}
        self.inclusive_uj: dict[str, int] = {}
        self.inclusive_ms: dict[str, int] = {}

    def division(self) -> HourDivision:
        energy_uj = {owner: sum(parts.values()) for owner, parts in self.parts.items()}
        return HourDivision(
            {span_id: energy_uj.get(span_id, 0) for span_id in self.inclusive_uj},
            self.inclusive_uj,
            {span_id: self.exclusive_ms.get(span_id, 0) for span_id in self.inclusive_ms},
            self.inclusive_ms,
            energy_uj.get(None, 0),
            self.exclusive_ms.get(None, 0),
        )


def _divide_segments(hours: Mapping[int, _Hour], segments: Segments, innermost: InnermostSpans) -> int:
    """Give each segment of the hours to the innermost spans; how many of the hours that is within MAX_PARTS."""
    total_uj, left = segments.total_uj(), MAX_PARTS
    domains = list(segments.energy_uj.items())
    for index in range(segments.count):
        start_ms = segments.edges[index]
        innermost.move_to(start_ms)
        if not total_uj[index] and not segments.time_ms[index]:
            continue
        owners = innermost.ids
        left -= max(1, len(owners)) * (len(domains) + 1)
        if left < 0:
            return bisect_left(segments.hours, start_ms - start_ms % HOUR_MS)
        hour = hours[start_ms - start_ms % HOUR_MS]
        for owner, time_ms in _equal_parts(segments.time_ms[index], owners):
            hour.exclusive_ms[owner] = hour.exclusive_ms.get(owner, 0) + time_ms
        for domain, energies in domains:
            for owner, energy_uj in _equal_parts(energies[index], owners):
                into = hour.parts.setdefault(owner, {})
                into[domain] = into.get(domain, 0) + energy_uj
    return len(segments.hours)


def _equal_parts(amount: int, owners: Sequence[str]) -> Iterator[tuple[str | None, int]]:
    """The parts of an amount by owner, the rest's under None; ids are sorted, so that their order decides nothing."""
    if not amount:
        return
    if len(owners) <= 1:
        yield (owners[0] if owners else None), amount
        return
    yield from zip(owners, share_list(amount, [1] * len(owners)), strict=True)


def _add_inclusive(hours: Mapping[int, _Hour], segments: Segments, spans: Sequence[Span]) -> dict[int, list[Span]]:
    """Each span's inclusive energy and time in each hour with windows that it touches; the spans of each hour."""
    before_uj, before_ms = sums_before(segments.total_uj()), sums_before(segments.time_ms)
    touching: dict[int, list[Span]] = defaultdict(list)
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
            touching[hour_ms].append(span)
    return touching


def _span_energies(
    segments: Segments, spans: Sequence[Span], exclusive: Mapping[str | None, Mapping[str, int]]
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
