"""The results of a pod's spans: its windows divided among them, and the emissions of its hours divided likewise.

Where no window is stored, the hourly facts stand in. So the spans of a pod and the rest add up to its hours in the
ledger, whatever was stored of them. Figures of spans whose windows are gone were folded before (`span_folding.py`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from carbonbudget_operator.answers.pod_figures import PodFigures, PodFiguresReader
from carbonbudget_operator.ledger.ledger_engine import snapshot
from carbonbudget_operator.ledger.span_store import StoredSpan, read_spans
from carbonbudget_operator.ledger.time_slices import HOUR
from carbonbudget_operator.ledger.tracked_pods import TrackedPod, find_tracked, read_windows
from carbonbudget_operator.spans.counter_curve import PodCurves
from carbonbudget_operator.spans.pod_windows import fill_gaps
from carbonbudget_operator.spans.span_bodies import MAX_RESULTS, SelfAnswer, SpanResult
from carbonbudget_operator.spans.span_division import Division, divide
from carbonbudget_operator.spans.span_emissions import EmissionsDivision, SpanEmissions, divide_emissions
from carbonbudget_operator.spans.span_record import Span
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

_HOUR_MS: Final = HOUR * 1000
MOST_SPANS: Final = 50_000  # of a pod that one answer looks at: five weeks of one a minute
DEFAULT_SECONDS: Final = 24 * HOUR


@dataclass(frozen=True, slots=True)
class DividedPod:
    """A pod's hours, divided among all spans that touch them."""

    figures: PodFigures
    division: Division
    emissions: EmissionsDivision
    energy_uj: int
    windows_until_ms: int


class PodSpansReader:
    """Answers about the spans of one pod at a time."""

    def __init__(self, reader: ValuedReader) -> None:
        self._reader, self._figures = reader, PodFiguresReader(reader)

    def answer(
        self, uid: str, now: int, from_ms: int | None, to_ms: int | None, ids: Collection[str]
    ) -> SelfAnswer | None:
        """The results of the spans in [from_ms, to_ms) (None: the last day), or of these ids; None if not tracked.

        `energy_uj` is that of the hours that the spans touch, and `rest_uj` what no listed span has of it.
        """
        with snapshot(self._reader.engine) as connection:
            pod = find_tracked(connection, self._reader.cluster, uid)
            if pod is None:
                return None
            stored = read_spans(connection, pod.id, MOST_SPANS)
            if ids:
                asked = [one for one in stored if one.span.id in ids]
                start_ms, end_ms = _bounds(asked) if from_ms is None or to_ms is None else (from_ms, to_ms)
            else:
                end_ms = now * 1000 if to_ms is None else to_ms
                start_ms = end_ms - DEFAULT_SECONDS * 1000 if from_ms is None else from_ms
                asked = [one for one in stored if one.span.end_ms > start_ms and one.span.start_ms < end_ms]
            asked = asked[-MAX_RESULTS:]
            divided = self.divide(connection, pod, stored, asked, (start_ms, end_ms), now)
        cuts = _Cuts([one.span for one in stored if one.result is None])
        results = [folded_or_new(one, divided, cuts) for one in asked]
        listed_uj = sum(result.energy_uj or 0 for result in results)
        return SelfAnswer(
            namespace=pod.namespace,
            pod=pod.name,
            pod_uid=pod.uid,
            run=pod.run or None,
            tracked=True,
            capped=pod.is_capped,
            windows_until_ms=divided.windows_until_ms,
            energy_uj=divided.energy_uj,
            rest_uj=divided.energy_uj - listed_uj,
            spans=results,
        )

    def divide(
        self, connection: sa.Connection, pod: TrackedPod, stored: Sequence[StoredSpan], asked: Iterable[StoredSpan],
        span_ms: tuple[int, int], now: int,
    ) -> DividedPod:  # fmt: skip
        """Divide whole hours: those that hold the spans asked for, and [start, end) of `span_ms`."""
        bounds = [(one.span.start_ms, one.span.end_ms) for one in asked]
        bounds += [span_ms] if span_ms[0] < span_ms[1] else []
        if not bounds:
            bounds = [(now * 1000 - _HOUR_MS, now * 1000)]
        start = min(first for first, _ in bounds) // _HOUR_MS * HOUR
        end = -(-max(last for _, last in bounds) // _HOUR_MS) * HOUR
        end = min(max(end, start + HOUR), now - now % HOUR + HOUR)
        # The curves also use what was read and measured just before and just after these hours: counter_curve.py.
        beside = (start - HOUR, end + HOUR)
        measured = read_windows(connection, pod.id, *beside)
        curves = PodCurves(measured, _touching(stored, *beside))
        windows = [one for one in measured if one.end_ms > start * 1000 and one.start_ms < end * 1000]
        figures = self._figures.read(connection, pod.uid, start, end, now)
        filled = fill_gaps(windows, figures.hours, figures.first_ms, figures.last_ms)
        division = divide(filled, _touching(stored, start, end), curves)
        energy_uj = sum(sum(one.energy_uj.values()) + sum(one.idle_uj.values()) for one in filled)
        until_ms = max((window.end_ms for window in windows), default=0)
        return DividedPod(figures, division, divide_emissions(figures.valued, division), energy_uj, until_ms)


def _touching(stored: Sequence[StoredSpan], start: int, end: int) -> list[Span]:
    """The spans that touch [start, end), UTC seconds."""
    return [one.span for one in stored if one.span.end_ms > start * 1000 and one.span.start_ms < end * 1000]


def _bounds(spans: Sequence[StoredSpan]) -> tuple[int, int]:
    return min((one.span.start_ms for one in spans), default=0), max((one.span.end_ms for one in spans), default=0)


class _Cuts:
    """Where spans that are not folded divide the time of others.

    A folded result holds until a span that came later shares its time. One around it, such as a training of weeks that
    is posted at its end, takes none of it: the folded one stays the innermost.
    """

    def __init__(self, spans: Iterable[Span]) -> None:
        self._bounds = {(span.start_ms, span.end_ms) for span in spans if span.start_ms < span.end_ms}
        self._edges = sorted({edge for bounds in self._bounds for edge in bounds})

    def share(self, span: Span) -> bool:
        """Whether one of them shares the span's time without being around it."""
        after = bisect_right(self._edges, span.start_ms)
        is_cut = after < len(self._edges) and self._edges[after] < span.end_ms
        return is_cut or (span.start_ms, span.end_ms) in self._bounds


def folded_or_new(stored: StoredSpan, divided: DividedPod, cuts: _Cuts) -> SpanResult:
    """The figures of one span: the folded ones if no span that is not folded shares its time."""
    if stored.result is not None and not cuts.share(stored.span):
        return SpanResult.model_validate_json(stored.result)
    return result_of(stored, divided)


def result_of(stored: StoredSpan, divided: DividedPod) -> SpanResult:
    """The figures of one span; null where its time is not reported or not valued yet."""
    span = stored.span
    energy = divided.division.spans.get(span.id)
    is_known = energy is not None and (energy.covered_ms > 0 or span.end_ms <= span.start_ms)
    # The hour may be valued before the span's window came: its share of that is no figure yet.
    emitted = divided.emissions.spans.get(span.id) if is_known else None
    if emitted is None and is_known and span.id in divided.division.uncounted:
        emitted = SpanEmissions(0, 0, 0, 0, 0, 0, divided.emissions.rest.state)
    inclusive = divided.emissions.inclusive.get(span.id) if is_known else None
    # Windows come a minute or two after their time: until then the span's energy grows.
    is_complete = span.end_ms <= divided.figures.through * 1000
    is_final = emitted is not None and emitted.state == "final" and is_complete
    return SpanResult(
        id=span.id,
        name=span.name,
        step=span.step,
        start_ms=span.start_ms,
        end_ms=span.end_ms,
        energy_uj=energy.energy_uj if energy and is_known else None,
        inclusive_energy_uj=energy.inclusive_energy_uj if energy and is_known else None,
        emissions_ug=emitted.emissions_ug if emitted else None,
        market_emissions_ug=emitted.market_ug if emitted else None,
        embodied_ug=emitted.embodied_ug if emitted else None,
        low_ug=emitted.low_ug if emitted else None,
        high_ug=emitted.high_ug if emitted else None,
        inclusive_emissions_ug=inclusive.emissions_ug if inclusive else None,
        measured_permille=emitted.measured_permille if emitted else None,
        resolution=energy.resolution if energy else "prorated",
        state="final" if is_final else "provisional",
    )
