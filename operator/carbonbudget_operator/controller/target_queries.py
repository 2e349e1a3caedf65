"""The question about one target for the batch to the server, and its answer by span. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from carbonbudget_operator.api.budget_query_bodies import WorkloadUse
from carbonbudget_operator.api.target_query_bodies import (
    MOST_NAMED,
    TargetAnswer,
    TargetAnswers,
    TargetQuery,
    TargetSpan,
    TargetSpanAnswer,
    TargetWishes,
)
from carbonbudget_operator.api.target_status import FormerWindow, FrozenBaseline
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.controller.prepared_target import PreparedTarget
from carbonbudget_operator.controller.question_batches import MOST_BYTES, question_bytes
from carbonbudget_operator.special_namespaces import EVERY_NAMESPACE
from carbonbudget_operator.targets.counted_method import Method
from carbonbudget_operator.targets.target_baseline import WHOLE_COVERAGE_PERCENT
from carbonbudget_operator.targets.target_windows import ended_windows, rolling_window
from carbonbudget_operator.targets.unit_sums import UnitSums

# So long a calendar window without all of its units or reports is asked for again; then its figure stays.
SETTLING_S: Final = 2 * 86400


# Of one request. The server refuses one that is too large, and answers late where each target has other spans: the
# targets of one namespace must not be why those of all others have no answer.
_MOST_RANGES: Final = 200
_MOST_DAYS: Final = 1_000_000
_DAY_S: Final = 86400
# Of a target of many namespaces so many days of calendar windows at once, and at least one window: each namespace has
# units of its own on each day, and a year of thousands of them is not read before the question is given up.
_MANY_NAMESPACES: Final = 200
_DAYS_OF_MANY: Final = 70


class TargetSource(Protocol):
    """Who answers questions about targets: the server."""

    async def targets(self, queries: Sequence[TargetQuery]) -> TargetAnswers:
        """The answers in the order of the questions. Raises ServerUnavailable."""


@dataclass(frozen=True, slots=True)
class AskedSpans:
    """The spans of one target's question.

    `current`: the rolling window. `baseline`: its span, where it is to be computed or compared. `windows`: calendar
    windows for the history, newest first. `shown`: all calendar windows that the history may have. `more`: others of
    these are to be asked for later.
    """

    current: Period
    baseline: Period | None
    windows: tuple[Period, ...]
    shown: tuple[Period, ...]
    more: bool = False

    def query(self, prepared: PreparedTarget) -> TargetQuery:
        """The question. The namespaces must be known."""
        spec = prepared.spec
        spans = [self.current, *([self.baseline] if self.baseline is not None else []), *self.windows]
        return TargetQuery(
            id=prepared.key,
            namespaces=list(prepared.namespaces or ()),
            selector=spec.selector,
            accounting=spec.accounting,
            include=spec.include,
            source=prepared.source,
            spans=[TargetSpan(start=span.start, end=span.end) for span in spans],
            until=dict(prepared.until),
            wishes=TargetWishes(workloads=MOST_NAMED),
        )

    def answers(self, answer: TargetAnswer, methods: Sequence[Sequence[str]] = ()) -> SpanAnswers:
        """The answer by span; `methods` are those of the whole batch. Raises ValueError if it is not of these spans."""
        by_span = {Period(one.start, one.end): one for one in answer.spans}
        try:
            return SpanAnswers(
                current=by_span[self.current],
                baseline=by_span[self.baseline] if self.baseline is not None else None,
                windows={span: by_span[span] for span in self.windows},
                workloads=answer.workloads or (),
                methods={
                    span: tuple(tuple(methods[number]) for number in one.methods) for span, one in by_span.items()
                },
            )
        except LookupError:
            raise ValueError("the server's answer is not of the spans that were asked for") from None


@dataclass(frozen=True, slots=True)
class SpanAnswers:
    """The figures of the spans of `AskedSpans`, and the workloads of the first."""

    current: TargetSpanAnswer
    baseline: TargetSpanAnswer | None
    windows: dict[Period, TargetSpanAnswer]
    workloads: Sequence[WorkloadUse] = ()
    """The workloads that emitted most in the rolling window."""
    methods: Mapping[Period, tuple[Method, ...]] = field(default_factory=dict)
    """By which methods a span's hours were counted, the newest hour's last; empty where that is not known."""


def batches_of(queries: Iterable[TargetQuery], most: int) -> list[list[TargetQuery]]:
    """The questions in requests of at most `most`, those with short spans first. Each request is bounded.

    That is in bytes, in days over all namespaces, and in different spans, each of which the server adds up by itself.
    """
    batches: list[list[TargetQuery]] = []
    ranges: set[tuple[int, int]] = set()
    days = size = 0
    for query in sorted(queries, key=_days_of):  # stable
        its = {(span.start, span.end) for span in query.spans}
        its_days, its_size = _days_of(query), question_bytes(query)
        is_full = (
            len(batches[-1]) >= most
            or len(ranges | its) > _MOST_RANGES
            or days + its_days > _MOST_DAYS
            or size + its_size > MOST_BYTES
        ) if batches else True  # fmt: skip
        if is_full:
            batches.append([])
            ranges, days, size = set(), 0, 0
        batches[-1].append(query)
        ranges |= its
        days, size = days + its_days, size + its_size
    return batches


def _days_of(query: TargetQuery) -> int:
    return sum(-(-(span.end - span.start) // _DAY_S) for span in query.spans) * len(query.namespaces)


def frozen_in(prepared: PreparedTarget, remembered: FrozenBaseline | None) -> FrozenBaseline | None:
    """The baseline that is frozen for this spec: that of the status, or `remembered` while the watch is behind.

    One of another hash is not, and neither is one whose units cannot be read.
    """
    for frozen in (prepared.target_object.status.baseline, remembered):
        if frozen is not None and frozen.hash == prepared.hash:
            try:
                prepared.baseline_of(frozen)
            except (ValueError, ZeroDivisionError):
                continue
            return frozen
    return None


def spans_to_ask(
    prepared: PreparedTarget,
    frozen: FrozenBaseline | None,
    through: int,
    restates: bool,
    empty: Collection[Period] = (),
) -> AskedSpans:
    """The spans to ask for, with data up to `through` (UTC seconds).

    `restates`: whether a frozen baseline is compared with the factors of today. `empty`: calendar windows that had no
    figure when they were asked for last. History is asked for once the baseline is frozen: it is compared with that.
    """
    span = prepared.span
    baseline = None
    if span is not None and span.end <= through and (frozen is None or restates):
        baseline = span
    current = rolling_window(prepared.window, through)
    if frozen is None and span is not None:
        return AskedSpans(current, baseline, (), ())
    shown = ended_windows(prepared.window, prepared.zone, prepared.counts_from, through)
    known = {_period(one): one for one in history_of(prepared)}
    windows = tuple(one for one in shown if _is_asked(one, known.get(one), one in empty, through))
    now = _at_once(windows) if _has_many(prepared) else windows
    return AskedSpans(current, baseline, now, shown, len(now) < len(windows))


def _has_many(prepared: PreparedTarget) -> bool:
    names = prepared.namespaces or ()
    return EVERY_NAMESPACE in names or len(names) > _MANY_NAMESPACES


def _at_once(windows: tuple[Period, ...]) -> tuple[Period, ...]:
    days = 0
    for number, window in enumerate(windows):
        days += -(-(window.end - window.start) // _DAY_S)
        if number and days > _DAYS_OF_MANY:
            return windows[:number]
    return windows


def history_of(prepared: PreparedTarget) -> list[FormerWindow]:
    """The history in its status; empty if it is of a spec with another baseline."""
    status = prepared.target_object.status
    same = status.baseline is not None and status.baseline.hash == prepared.hash
    return list(status.history or ()) if same else []


def sums_of(answer: TargetSpanAnswer) -> UnitSums:
    """The sums of a span's answer."""
    return UnitSums(
        emissions_ug=answer.emissions_ug,
        embodied_ug=answer.embodied_ug,
        energy_uj=answer.energy_uj,
        units_micro=answer.units_micro,
        hours=answer.hours,
        known_hours=answer.known_hours,
        all_emissions_ug=answer.all_emissions_ug,
        known_share=answer.known_percent,
    )


def _is_asked(window: Period, known: FormerWindow | None, empty: bool, through: int) -> bool:
    settling = through - window.end < SETTLING_S
    if known is not None:
        whole = known.figure.hours_percent == 100 and known.figure.coverage >= WHOLE_COVERAGE_PERCENT
        # A window without a state may get one: the setting that its method differs by may be taken back.
        return settling and (not whole or known.state == "NoData")
    return settling or not empty


def _period(window: FormerWindow) -> Period:
    return Period(seconds(window.figure.start), seconds(window.figure.end))
