"""Divides whole hours of a pod among its spans by time alone, which costs the same however the spans overlap. Pure.

It stands in where many spans overlap for so long that dividing each segment among them would take minutes. Each span
has the energy of an hour in proportion to its own time in it, the rest in proportion to the time without any span.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from carbonbudget_core.exact_division import share_list
from carbonbudget_operator.spans.pod_windows import HOUR_MS
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.spans.window_segments import Segments, sums_before

# Of one hour, by owner (None: the rest): energy by domain, and time.
HourParts = tuple[dict[str | None, dict[str, int]], dict[str | None, int]]


def level_hours(segments: Segments, hours: Iterable[int]) -> None:
    """Spread the energy of these hours evenly over the time in them that has windows."""
    for hour_ms in hours:
        first, last = segments.index(hour_ms), segments.index(hour_ms + HOUR_MS)
        times = segments.time_ms[first:last]
        segments.hourly[first:last] = b"\1" * (last - first)
        if any(times):
            for energies in segments.energy_uj.values():
                energies[first:last] = share_list(sum(energies[first:last]), times)


def hour_by_time(segments: Segments, hour_ms: int, spans: Sequence[Span], inclusive_ms: Mapping[str, int]) -> HourParts:
    """The hour's parts. `spans` are those that touch it, `inclusive_ms` their time in it that has windows."""
    first, last = segments.index(hour_ms), segments.index(hour_ms + HOUR_MS)
    times = segments.time_ms[first:last]
    owners: list[str | None] = [*(span.id for span in spans), None]
    weights = [*(inclusive_ms[span.id] for span in spans), _alone_ms(segments, first, last, spans)]
    if not any(weights):
        weights[-1] = 1
    parts: dict[str | None, dict[str, int]] = {owner: {} for owner in owners}
    for domain, energies in segments.energy_uj.items():
        for owner, energy_uj in zip(owners, share_list(sum(energies[first:last]), weights), strict=True):
            parts[owner][domain] = energy_uj
    return parts, dict(zip(owners, share_list(sum(times), weights), strict=True))


def _alone_ms(segments: Segments, first: int, last: int, spans: Sequence[Span]) -> int:
    """The time with windows of segments [first, last) in which no span is open."""
    before_ms, alone_ms, at = sums_before(segments.time_ms[first:last]), 0, first
    for start_ms, end_ms in sorted((span.start_ms, span.end_ms) for span in spans if span.start_ms < span.end_ms):
        start, end = max(first, segments.index(start_ms)), min(last, segments.index(end_ms))
        if start > at:
            alone_ms += before_ms[start - first] - before_ms[at - first]
        at = max(at, end)
    return alone_ms + before_ms[last - first] - before_ms[at - first]
