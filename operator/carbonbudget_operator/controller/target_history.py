"""The history of a target: its calendar windows that are over, with what they saved. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.target_query_bodies import TargetSpanAnswer
from carbonbudget_operator.api.target_status import FrozenBaseline
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.quantity import format_mass
from carbonbudget_operator.controller.baseline_method import compared_method
from carbonbudget_operator.controller.prepared_target import PreparedTarget
from carbonbudget_operator.controller.status_json import Status
from carbonbudget_operator.controller.target_queries import AskedSpans, SpanAnswers, history_of, sums_of
from carbonbudget_operator.controller.target_status_json import bounded, figure_json
from carbonbudget_operator.targets.target_baseline import WHOLE_COVERAGE_PERCENT, TargetBaseline
from carbonbudget_operator.targets.target_verdict import judge_target
from carbonbudget_operator.targets.window_savings import window_savings

# What savings of micrograms and microjoules are worth at a UTC second, with the currency; None without a price.
SavingsPrice = Callable[[int, int, int], str | None]


def no_price(_micrograms: int, _microjoules: int, _at: int) -> str | None:
    """Where the settings have no price."""
    return None


def windows_in_status(
    prepared: PreparedTarget,
    frozen: FrozenBaseline | None,
    asked: AskedSpans,
    answers: SpanAnswers,
    price: SavingsPrice = no_price,
) -> tuple[list[Status], frozenset[Period]]:
    """The history for the status, newest first, and the windows that were asked for and have no figure.

    A window keeps its figure, its state and what was expected of it, whatever the spec's path says later.
    """
    if frozen is None:
        return [], frozenset()
    baseline = prepared.baseline_of(frozen)
    windows: dict[Period, Status] = {}
    for one in history_of(prepared):
        period = Period(seconds(one.figure.start), seconds(one.figure.end))
        windows[period] = one.model_dump(mode="json", by_alias=True, exclude_none=True)
    empty = set()
    for period, answer in answers.windows.items():
        method = compared_method(prepared, frozen, answers, period)
        made = _window(prepared, baseline, period, answer, price, method.sentence)
        if made is not None:
            windows[period] = made
        elif period not in windows:
            empty.add(period)
    return [windows[period] for period in asked.shown if period in windows], frozenset(empty)


def newest_savings(history: Sequence[Status]) -> int | None:
    """Micrograms that the newest window saved; None without one, or where it has no savings."""
    if not history:
        return None
    found = at(history[0], "savings").get("micrograms")
    return found if isinstance(found, int) else None


def _window(
    prepared: PreparedTarget,
    baseline: TargetBaseline,
    period: Period,
    answer: TargetSpanAnswer,
    price: SavingsPrice,
    other_method: str,
) -> Status | None:
    sums = sums_of(answer)
    verdict = judge_target(
        prepared.terms, prepared.path, baseline, sums, period.end, coverage_percent=answer.coverage_percent,
        other_method=other_method,
    )  # fmt: skip
    if verdict.current is None or verdict.expected is None:
        return None
    made: Status = {
        "figure": figure_json(prepared, answer, format_mass(int(verdict.current))),
        "expectedMicrograms": bounded(verdict.expected),
        "state": verdict.state.value,
    }
    # There are no savings in the baseline's own span, in a window with too much unreported time, and in one that was
    # computed by another method.
    is_whole = answer.coverage_percent >= WHOLE_COVERAGE_PERCENT
    if period.start >= baseline.path_start and is_whole and not other_method:
        savings = window_savings(baseline, sums, prepared.terms.per)
        if savings is not None:
            made["savings"] = {
                "micrograms": bounded(savings.saved_ug),
                "absoluteFallMicrograms": bounded(savings.absolute_fall_ug),
                "microjoules": bounded(savings.saved_uj),
            }
            worth = price(bounded(savings.saved_ug), bounded(savings.saved_uj), period.end - 1)
            if worth is not None:
                made["savings"] = {**at(made, "savings"), "money": worth}
    return made
