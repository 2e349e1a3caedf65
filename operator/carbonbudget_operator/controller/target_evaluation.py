"""The evaluation of one target: from the prepared target and the server's answers to its new status.

No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import at, objects
from carbonbudget_operator.api.target_query_bodies import TargetSpanAnswer
from carbonbudget_operator.api.target_spec import ClusterCarbonTargetSpec
from carbonbudget_operator.api.target_status import FrozenBaseline
from carbonbudget_operator.api.times import format_time, seconds
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.budgets.quantity import exact_mass, format_mass
from carbonbudget_operator.controller.prepared_target import PreparedTarget
from carbonbudget_operator.controller.status_conditions import (
    MOST_NAMESPACES,
    NAMESPACES_LEFT_OUT,
    DesiredCondition,
    Truth,
    merged,
)
from carbonbudget_operator.controller.status_json import Status
from carbonbudget_operator.controller.target_history import SavingsPrice, newest_savings, no_price, windows_in_status
from carbonbudget_operator.controller.target_queries import AskedSpans, SpanAnswers, sums_of
from carbonbudget_operator.controller.target_status_json import (
    bounded,
    expected_json,
    figure_json,
    top_workloads_json,
)
from carbonbudget_operator.controller.target_store import StoredTarget
from carbonbudget_operator.targets.target_baseline import TargetBaseline, not_yet_frozen, restated_rate
from carbonbudget_operator.targets.target_sentence import describe_target, shown_rates
from carbonbudget_operator.targets.target_verdict import (
    TargetState,
    TargetVerdict,
    change_percent,
    judge_target,
    without_figure,
)
from carbonbudget_operator.targets.unit_sums import rate_ug

_ON_TRACK: Final[Mapping[TargetState, Truth]] = {
    TargetState.ACHIEVED: "True",
    TargetState.ON_TRACK: "True",
    TargetState.BEHIND: "False",
    TargetState.VIOLATED: "False",
    TargetState.NO_DATA: "Unknown",
}


@dataclass(frozen=True, slots=True)
class TargetEvaluation:
    """The result of one evaluation. `status`: what to write; None for what is to be removed.

    `frozen`: the baseline. `newly_frozen`: whether this evaluation computed it. `known_percent`: of the window's hours
    that are known. `saved_ug`: of the calendar window that ended last. `empty`: calendar windows without a figure.
    `incomplete`: whether hours are missing that may still come. Micrograms are per `spec.unit.per` units. `per_unit`:
    these units in words.
    """

    status: Status
    state: TargetState
    message: str
    current_ug: int | None = None
    expected_ug: int | None = None
    baseline_ug: int | None = None
    frozen: FrozenBaseline | None = None
    newly_frozen: bool = False
    known_percent: int = 0
    saved_ug: int | None = None
    empty: frozenset[Period] = frozenset()
    incomplete: bool = False
    per_unit: str = ""


def evaluate_target(
    prepared: PreparedTarget,
    frozen: FrozenBaseline | None,
    asked: AskedSpans,
    answers: SpanAnswers,
    through: int,
    now: int,
    price: SavingsPrice = no_price,
) -> TargetEvaluation:
    """Evaluate a target by the server's answers at `now` (UTC seconds), with data up to `through`."""
    no_baseline, newly = "", False
    if frozen is None:
        frozen, no_baseline = _freeze(prepared, answers, through, now)
        newly = frozen is not None
    elif answers.baseline is not None:
        frozen = _restated(prepared, frozen, answers)
    baseline = prepared.baseline_of(frozen) if frozen is not None else None
    window, missing = sums_of(answers.current), answers.current.missing
    verdict = judge_target(
        prepared.terms,
        prepared.path,
        baseline,
        window,
        asked.current.end,
        missing,
        no_baseline,
        answers.current.coverage_percent,
    )
    message = describe_target(
        prepared.subject, verdict, baseline.rate_ug if baseline is not None else None, asked.current.end
    )
    former, empty = windows_in_status(prepared, baseline, asked, answers, price)
    status: Status = {
        "observedGeneration": prepared.target_object.metadata.generation,
        "baseline": _baseline_json(frozen),
        "current": figure_json(prepared, answers.current, _text(verdict)) if verdict.current is not None else None,
        **_against_baseline(verdict, baseline),
        "state": verdict.state.value,
        "message": message,
        **_namespaces(prepared),
        "topWorkloads": top_workloads_json(prepared, answers.workloads),
        "dataThrough": format_time(asked.current.end),
        "observedAt": format_time(now),
        "history": former or None,
    }
    status["conditions"] = _conditions(prepared, now, verdict, message, no_baseline, answers)
    return TargetEvaluation(
        status=status,
        state=verdict.state,
        message=message,
        current_ug=bounded(verdict.current) if verdict.current is not None else None,
        expected_ug=bounded(verdict.expected) if verdict.expected is not None else None,
        baseline_ug=frozen.per_unit_micrograms if frozen is not None else None,
        frozen=frozen,
        newly_frozen=newly,
        known_percent=window.known_percent,
        saved_ug=newest_savings(former),
        empty=empty,
        per_unit=prepared.subject.per_unit,
        incomplete=(
            asked.more
            or answers.current.known_hours < answers.current.hours
            or (answers.baseline is not None and frozen is None)
            or any(one.known_hours < one.hours for one in answers.windows.values())
        ),
    )


def evaluate_target_without_answer(
    prepared: PreparedTarget, reason: str, sentence: str, now: int
) -> TargetEvaluation:  # fmt: skip
    """A target without an answer: its figures and its state stay, and the condition Ready says why."""
    previous = prepared.target_object.status
    status: Status = {"conditions": merged(prepared.target_object, now, (not_ready(reason, sentence),))}
    state = TargetState(previous.state) if previous.state is not None else TargetState.NO_DATA
    message = previous.message or sentence
    if previous.state is None:
        status |= {"state": state.value, "message": sentence}
    return TargetEvaluation(status, state, message)


def evaluate_invalid_target(stored: StoredTarget, sentence: str, now: int) -> TargetEvaluation:
    """A target that cannot be evaluated: it is not ready. Its figures stay, and so does `observedGeneration`."""
    since = next(
        (
            one.get("lastTransitionTime")
            for one in objects(at(stored.body, "status").get("conditions"))
            if one.get("type") == "Ready" and one.get("status") == "False"
        ),
        None,
    )
    condition = not_ready("BadSpec", sentence)
    status: Status = {
        "state": TargetState.NO_DATA.value,
        "message": sentence,
        "conditions": [
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "lastTransitionTime": since or format_time(now),
                "observedGeneration": stored.metadata.get("generation"),
            }
        ],
    }
    return TargetEvaluation(status, TargetState.NO_DATA, sentence)


def not_ready(reason: str, sentence: str) -> DesiredCondition:
    """Ready is False: there is no new evaluation."""
    return DesiredCondition("Ready", "False", reason, sentence)


def _freeze(
    prepared: PreparedTarget, answers: SpanAnswers, through: int, now: int
) -> tuple[FrozenBaseline | None, str]:  # fmt: skip
    """The baseline, or why it cannot be frozen now."""
    span = prepared.span
    if span is None:
        value = prepared.value_ug
        made = FrozenBaseline.model_validate(
            {
                "perUnit": exact_mass(value),
                "perUnitMicrograms": value,
                "frozenAt": format_time(now),
                "hash": prepared.hash,
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
        now - max(_waits_since(prepared, now), span.end),
        prepared.terms.minimum_units_micro,
        answers.baseline.missing,
        answers.baseline.coverage_percent,
    )
    if why:
        return None, why
    rate = rate_ug(sums.emissions_ug, sums.units_micro, prepared.terms.per)
    body = {
        "perUnit": format_mass(int(rate)),
        "perUnitMicrograms": bounded(rate),
        "measured": figure_json(prepared, answers.baseline, format_mass(int(rate))),
        "frozenAt": format_time(now),
        "hash": prepared.hash,
    }
    return FrozenBaseline.model_validate(body), ""


def _restated(prepared: PreparedTarget, frozen: FrozenBaseline, answers: SpanAnswers) -> FrozenBaseline:
    """The frozen baseline, with what it would be by the factors of today."""
    sums = prepared.baseline_of(frozen).sums
    if sums is None or answers.baseline is None:
        return frozen
    rate = restated_rate(sums, sums_of(answers.baseline), prepared.terms.per)
    text = shown_rates(rate, prepared.baseline_of(frozen).rate_ug)[0] if rate is not None else None
    return frozen.model_copy(update={"restated": text})


def _waits_since(prepared: PreparedTarget, now: int) -> int:
    """Since when the baseline of this spec is waited for, by the condition that says so."""
    for condition in prepared.target_object.status.conditions or ():
        same = condition.observed_generation == prepared.target_object.metadata.generation
        since = condition.last_transition_time
        if condition.type == "BaselineFrozen" and condition.status == "False" and same and since is not None:
            return seconds(since)
    return now


def _baseline_json(frozen: FrozenBaseline | None) -> Status | None:
    if frozen is None:
        return None
    return frozen.model_dump(mode="json", by_alias=True, exclude_none=True) | {
        # Absent from a merge patch would leave that of a baseline before.
        "measured": frozen.measured.model_dump(mode="json", by_alias=True) if frozen.measured is not None else None,
        "restated": frozen.restated,
    }


def _against_baseline(verdict: TargetVerdict, baseline: TargetBaseline | None) -> Status:
    change = grid = None
    if baseline is not None and verdict.compared is not None:
        change = change_percent(verdict.compared, baseline.rate_ug) or None
    if baseline is not None and baseline.sums is not None and verdict.at_grid is not None:
        grid = format_mass(int(verdict.at_grid))
    return {"atBaselineGrid": grid, "expectedNow": expected_json(verdict), "change": change}


def _namespaces(prepared: PreparedTarget) -> Status:
    """Those that count and those that did, of a target that selects some."""
    spec = prepared.spec
    if not isinstance(spec, ClusterCarbonTargetSpec) or spec.namespace_selector is None:
        return {"namespaces": None, "formerNamespaces": None}
    former = [{"name": name, "until": format_time(until)} for name, until in sorted(prepared.until.items())]
    live = [name for name in prepared.namespaces or () if name not in prepared.until]
    return {"namespaces": live or None, "formerNamespaces": former or None}


def _text(verdict: TargetVerdict) -> str:
    """The current figure, with as many digits as show on which side of the path it is."""
    assert verdict.current is not None
    if verdict.expected is None:
        return format_mass(int(verdict.current))
    return shown_rates(verdict.current, verdict.expected)[0]


def _conditions(
    prepared: PreparedTarget,
    now: int,
    verdict: TargetVerdict,
    message: str,
    no_baseline: str,
    answers: SpanAnswers,
) -> list[dict[str, object]]:
    waits = no_baseline != ""
    wanted = (
        _ready(prepared),
        DesiredCondition("BaselineFrozen", "False", "Waiting", no_baseline)
        if waits
        else DesiredCondition("BaselineFrozen", "True", "Frozen", "the baseline is computed and stays"),
        _units_available(prepared, answers),
        DesiredCondition("OnTrack", _ON_TRACK[verdict.state], verdict.state.value, message),
    )
    made = merged(prepared.target_object, now, wanted)
    for condition in made:
        # Another spec waits anew, although the status of the condition stays False.
        if condition["type"] == "BaselineFrozen" and waits:
            condition["lastTransitionTime"] = format_time(_waits_since(prepared, now))
    return made


def _ready(prepared: PreparedTarget) -> DesiredCondition:
    if prepared.namespaces_left_out:
        sentence = (
            f"more than {MOST_NAMESPACES} namespaces counted: those that were deleted first are no longer counted; "
            "leave namespaceSelector out to count all"
        )
        return DesiredCondition("Ready", "True", NAMESPACES_LEFT_OUT, sentence)
    return DesiredCondition("Ready", "True", "Evaluated", "the target is evaluated when a new hour is reported")


def _left_out(answer: TargetSpanAnswer) -> str:
    """It changes with the names alone: a new sentence is written, and the share is in `current`."""
    more = answer.left_out_count - len(answer.left_out)
    names = ", ".join(answer.left_out) + (f" and {more} more" if more else "")
    why = f" ({answer.missing})" if answer.missing else ""
    return (
        f"units of {names} are not known in all hours{why}: these hours of theirs count neither as units nor as "
        "emissions; current.emissionsPercent has the share that counts"
    )


def _units_available(prepared: PreparedTarget, answers: SpanAnswers) -> DesiredCondition:
    answer = answers.current
    window = sums_of(answer)
    why = without_figure(window, prepared.terms, answer.missing, answer.coverage_percent)
    if why:
        return DesiredCondition("UnitsAvailable", "False", "NoUnits", why)
    if answer.left_out_count:
        return DesiredCondition("UnitsAvailable", "True", NAMESPACES_LEFT_OUT, _left_out(answer))
    if window.known_hours < window.hours:
        lacking = window.hours - window.known_hours
        sentence = f"units of {lacking} of the window's {window.hours} hours are missing"
        sentence += f": {answer.missing}" if answer.missing else ""
        return DesiredCondition("UnitsAvailable", "True", "SomeHoursMissing", sentence)
    return DesiredCondition("UnitsAvailable", "True", "Complete", "units of all hours of the window are known")
