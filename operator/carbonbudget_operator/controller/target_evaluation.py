"""The evaluation of one target: from the prepared target and the server's answers to its new status.

No I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from carbonbudget_operator.api.target_status import FrozenBaseline
from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.budgets.period import Period
from carbonbudget_operator.controller.baseline_freezing import freeze_baseline, restated_baseline
from carbonbudget_operator.controller.baseline_method import compared_method
from carbonbudget_operator.controller.prepared_target import PreparedTarget
from carbonbudget_operator.controller.status_conditions import invalid_conditions, merged
from carbonbudget_operator.controller.status_json import Status
from carbonbudget_operator.controller.target_conditions import not_ready, target_conditions
from carbonbudget_operator.controller.target_history import SavingsPrice, newest_savings, no_price, windows_in_status
from carbonbudget_operator.controller.target_queries import AskedSpans, SpanAnswers, sums_of
from carbonbudget_operator.controller.target_status_json import (
    against_baseline,
    baseline_json,
    bounded,
    current_json,
    namespaces_json,
    top_workloads_json,
)
from carbonbudget_operator.controller.target_store import StoredTarget
from carbonbudget_operator.targets.target_sentence import describe_target
from carbonbudget_operator.targets.target_verdict import TargetState, judge_target


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
        frozen, no_baseline = freeze_baseline(prepared, answers, asked.current, through, now)
        newly = frozen is not None
    else:
        frozen = restated_baseline(prepared, frozen, answers, asked.current)
    baseline = prepared.baseline_of(frozen) if frozen is not None else None
    window, missing = sums_of(answers.current), answers.current.missing
    method = compared_method(prepared, frozen, answers, asked.current)
    verdict = judge_target(
        prepared.terms,
        prepared.path,
        baseline,
        window,
        asked.current.end,
        missing,
        no_baseline,
        answers.current.coverage_percent,
        method.sentence,
    )
    message = describe_target(
        prepared.subject, verdict, baseline.rate_ug if baseline is not None else None, asked.current.end
    )
    former, empty = windows_in_status(prepared, frozen, asked, answers, price)
    status: Status = {
        "observedGeneration": prepared.target_object.metadata.generation,
        "evaluatedGeneration": prepared.target_object.metadata.generation,
        "baseline": baseline_json(frozen),
        "current": current_json(prepared, answers.current, verdict),
        **against_baseline(verdict, baseline),
        "state": verdict.state.value,
        "message": message,
        **namespaces_json(prepared),
        "topWorkloads": top_workloads_json(prepared, answers.workloads),
        "dataThrough": format_time(asked.current.end),
        "observedAt": format_time(now),
        "history": former or None,
    }
    status["conditions"] = target_conditions(prepared, now, verdict, message, no_baseline, answers, method)
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
    status: Status = {
        "observedGeneration": prepared.target_object.metadata.generation,
        "conditions": merged(prepared.target_object, now, (not_ready(reason, sentence),)),
    }
    state = TargetState(previous.state) if previous.state is not None else TargetState.NO_DATA
    was_bad = any(one.type == "Ready" and one.reason == "BadSpec" for one in previous.conditions or ())
    message = sentence if was_bad else previous.message or sentence
    if previous.state is None or was_bad:
        status |= {"state": state.value, "message": sentence}
    return TargetEvaluation(status, state, message)


def evaluate_invalid_target(stored: StoredTarget, sentence: str, now: int) -> TargetEvaluation:
    """A target that cannot be evaluated: it is not ready. Its figures stay, and so does `evaluatedGeneration`."""
    status: Status = {
        "state": TargetState.NO_DATA.value,
        "message": sentence,
        "observedGeneration": stored.metadata.get("generation"),
        "conditions": invalid_conditions(stored.body, sentence, now, ("BaselineFrozen", "UnitsAvailable", "OnTrack")),
    }
    return TargetEvaluation(status, TargetState.NO_DATA, sentence)
