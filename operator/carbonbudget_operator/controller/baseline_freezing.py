"""Computes the baseline of a target once, and compares it with the factors of today. No I/O, no clock."""

from __future__ import annotations

from carbonbudget_operator.api.target_status import FrozenBaseline
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.quantity import exact_mass, format_mass
from carbonbudget_operator.controller.baseline_method import counted_methods, method_in_span
from carbonbudget_operator.controller.prepared_target import PreparedTarget
from carbonbudget_operator.controller.target_conditions import baseline_missing_since
from carbonbudget_operator.controller.target_queries import SpanAnswers, sums_of
from carbonbudget_operator.controller.target_status_json import bounded, figure_json
from carbonbudget_operator.targets.target_baseline import not_yet_frozen, restated_rate
from carbonbudget_operator.targets.target_sentence import shown_rates
from carbonbudget_operator.targets.unit_sums import rate_ug


def freeze_baseline(
    prepared: PreparedTarget, answers: SpanAnswers, current: Period, through: int, now: int
) -> tuple[FrozenBaseline | None, str]:  # fmt: skip
    """The baseline, or why it cannot be frozen now. `current`: the window, whose newest method a stated value is of."""
    span = prepared.span
    if span is None:
        value = prepared.value_ug
        methods = counted_methods(prepared, answers, current)
        made = FrozenBaseline.model_validate(
            {
                "perUnit": exact_mass(value),
                "perUnitMicrograms": value,
                "frozenAt": format_time(now),
                "hash": prepared.hash,
                "method": list(methods[-1]) if methods else None,
            }
        )
        return made, ""
    if answers.baseline is None:
        return None, f"the baseline's span ends {format_time(span.end)}; until then there is nothing to compare with"
    sums = sums_of(answers.baseline)
    why = not_yet_frozen(
        sums,
        span.end,
        through,
        now - max(baseline_missing_since(prepared, now), span.end),
        prepared.terms.minimum_units_micro,
        answers.baseline.missing,
        answers.baseline.coverage_percent,
    )
    method, mixed = method_in_span(prepared, answers, span)
    if why or mixed:
        return None, why or mixed
    rate = rate_ug(sums.emissions_ug, sums.units_micro, prepared.terms.per)
    body = {
        "perUnit": format_mass(int(rate)),
        "perUnitMicrograms": bounded(rate),
        "measured": figure_json(prepared, answers.baseline, format_mass(int(rate))),
        "frozenAt": format_time(now),
        "hash": prepared.hash,
        "method": method,
    }
    return FrozenBaseline.model_validate(body), ""


def restated_baseline(
    prepared: PreparedTarget, frozen: FrozenBaseline, answers: SpanAnswers, current: Period
) -> FrozenBaseline:
    """The frozen baseline, with what it would be by the factors of today.

    One without a method gets it: a stated value that of the window `current`, and one that a former version froze that
    of its hours, if they still give the same figure.
    """
    if prepared.span is None and frozen.method is None and (methods := counted_methods(prepared, answers, current)):
        return frozen.model_copy(update={"method": list(methods[-1])})
    sums = prepared.baseline_of(frozen).sums
    if sums is None or answers.baseline is None:
        return frozen
    now = sums_of(answers.baseline)
    rate = restated_rate(sums, now, prepared.terms.per)
    text = shown_rates(rate, prepared.baseline_of(frozen).rate_ug)[0] if rate is not None else None
    method = frozen.method
    same = (now.emissions_ug, now.energy_uj, now.units_micro) == (sums.emissions_ug, sums.energy_uj, sums.units_micro)
    if method is None and same and prepared.span is not None:
        method, _ = method_in_span(prepared, answers, prepared.span)
    return frozen.model_copy(update={"restated": text, "method": method})
