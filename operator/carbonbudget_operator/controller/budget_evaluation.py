"""The evaluation of one budget: from the prepared budget and the server's answers to its new status.

No I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from carbonbudget_core.jsons import at
from carbonbudget_operator.api.budget_query_bodies import NO_MARKET_FACTOR
from carbonbudget_operator.api.times import format_time, instant, seconds
from carbonbudget_operator.budgets.budget_sentence import describe
from carbonbudget_operator.budgets.forecast import WeeklyProfile
from carbonbudget_operator.budgets.quantity import format_beside
from carbonbudget_operator.budgets.use_evaluation import (
    EvaluationRecord,
    UseEvaluation,
    evaluate_use,
    evaluate_without_use,
)
from carbonbudget_operator.budgets.verdict import EnforcementTerms, State, counts_the_same, refuses_new_work
from carbonbudget_operator.controller.budget_limitations import enforcement_effective, figures_exact
from carbonbudget_operator.controller.budget_queries import PeriodAnswers
from carbonbudget_operator.controller.budget_store import StoredBudget
from carbonbudget_operator.controller.period_history import history
from carbonbudget_operator.controller.prepared_budget import PreparedBudget
from carbonbudget_operator.controller.run_limits import (
    RunExpectedOver,
    RunOverThreshold,
    runs_expected_over,
    runs_over,
)
from carbonbudget_operator.controller.status_conditions import (
    ENFORCEMENT_EFFECTIVE,
    FIGURES_EXACT,
    DesiredCondition,
    data_complete,
    enforcement_conflict,
    expected_within_limit,
    invalid_conditions,
    merged,
    ready,
    waiting,
    within_budget,
)
from carbonbudget_operator.controller.status_json import (
    Status,
    details,
    evaluation_fields,
    overallocated,
    spec_fields,
)

_UNKNOWN_IF_INVALID: Final = (FIGURES_EXACT, ENFORCEMENT_EFFECTIVE, "DataComplete", "WithinBudget")


@dataclass(frozen=True, slots=True)
class BudgetEvaluation:
    """The result of one evaluation. `status`: what to write; None for what is to be removed.

    `blocking`: whether the object needs the blocking label. `record`: None while nothing is known.
    `use`: the evaluation by the server's figures; None without an answer.
    `runs`: the runs over a threshold, for a budget per workload. `expected`: its runs that are expected to exceed the
    limit.
    """

    status: Status
    blocking: bool
    record: EvaluationRecord | None
    message: str
    use: UseEvaluation | None = None
    runs: tuple[RunOverThreshold, ...] = ()
    expected: tuple[RunExpectedOver, ...] = ()


def evaluate_budget(
    prepared: PreparedBudget,
    answers: PeriodAnswers,
    week: WeeklyProfile | None,
    conflict: str,
    now: int,
    terms: EnforcementTerms,
    managed: bool = False,
) -> BudgetEvaluation:
    """Evaluate a budget by the server's answers at `now` (UTC seconds). `conflict`: see ConflictStore."""
    made = evaluate_use(prepared.budget_limit, answers.reported, week, now, terms, prepared.previous)
    verdict = made.record.verdict
    message = _message(prepared, made, answers)
    status = spec_fields(prepared) | evaluation_fields(prepared, made.record)
    status |= details(prepared, answers.use, verdict, now)
    if not made.lost:  # else the last forecast stays, as all figures do
        forecast_ug, limit_ug = made.forecast_ug, prepared.budget_limit.limit_ug
        status["forecast"] = format_beside(forecast_ug, limit_ug) if forecast_ug is not None else None
    reported = answers.reported
    status |= {
        "message": message,
        "observedAt": format_time(now),
        "dataThrough": format_time(reported.data_through),
        "history": history(prepared, answers.previous),
    }
    expected = runs_expected_over(prepared, answers.use, verdict, reported.data_through)
    per_workload = prepared.budget_limit.per_workload and verdict.state is not State.UNKNOWN
    status["conditions"] = merged(
        prepared.budget_object,
        now,
        (
            ready(),
            figures_exact(
                prepared.namespaces,
                prepared.namespaces_left_out,
                answers.use.pro_rata,
                _stands_in(prepared, answers),
            ),
            enforcement_effective(prepared.unenforced, prepared.ignored_labels),
            data_complete(
                answers.use.coverage_percent,
                made.lost,
                made.missing,
                reported.data_through,
                answers.use.pods_without_agent,
            ),
            within_budget(verdict.state, message),
            enforcement_conflict(conflict, managed),
            *((expected_within_limit([run.message for run in expected]),) if per_workload else ()),
            *overallocated(prepared),
            *((prepared.credit_condition,) if prepared.credit_condition is not None else ()),
        ),
    )
    over = runs_over(prepared, answers.use, verdict, reported.data_through)
    blocking = _blocks(prepared, made.record)
    return BudgetEvaluation(status, blocking, made.record, message, made, over, expected)


def evaluate_without_answer(
    prepared: PreparedBudget,
    reason: str,
    sentence: str,
    missing_since: int,
    conflict: str,
    now: int,
    terms: EnforcementTerms,
    managed: bool = False,
) -> BudgetEvaluation:
    """Evaluate a budget without an answer. Fields that do not change are left out, and a condition gives the reason.

    It stays ready while the last verdict is of what the spec counts now.
    """
    incomplete = DesiredCondition("DataComplete", "False", reason, sentence)
    effective = enforcement_effective(prepared.unenforced, prepared.ignored_labels)
    others = (effective, incomplete, enforcement_conflict(conflict, managed))
    made = evaluate_without_use(prepared.budget_limit, missing_since, now, terms, prepared.previous)
    if made is None:
        # The period that the status shows stays there: it will be asked for when there are answers again.
        status: Status = {"state": State.UNKNOWN.value, "action": "", "enforcement": None, "message": sentence}
        status |= spec_fields(prepared)
        wanted = (waiting(sentence), *others, within_budget(State.UNKNOWN, sentence))
        status["conditions"] = merged(prepared.budget_object, now, wanted)
        return BudgetEvaluation(status, blocking=False, record=None, message=sentence)
    status = spec_fields(prepared)
    message = prepared.budget_object.status.message or ""
    shown_ug = prepared.budget_object.status.effective_limit_micrograms
    adjusted = shown_ug is not None and shown_ug != prepared.budget_limit.limit_ug
    if prepared.previous is None or made.verdict != prepared.previous.verdict or adjusted:
        through = prepared.budget_object.status.data_through
        message = describe(
            prepared.subject(""),
            prepared.budget_limit.limit_ug,
            made.verdict,
            None,
            seconds(through) if through is not None else 0,
            prepared.base_limit_ug,
        )
        status |= evaluation_fields(prepared, made) | {"message": message, "observedAt": format_time(now)}
    is_ready = ready() if counts_the_same(prepared.budget_limit, made.verdict) else waiting(sentence)
    wanted = (is_ready, *others, within_budget(made.verdict.state, message))
    status["conditions"] = merged(prepared.budget_object, now, wanted)
    return BudgetEvaluation(status, _blocks(prepared, made), made, message)


def evaluate_invalid(stored: StoredBudget, sentence: str, now: int) -> BudgetEvaluation:
    """A budget that cannot be evaluated: it is not ready and blocks nothing.

    `evaluatedGeneration` stays that of the last evaluation, because its figures stay. So does `suspendFrom`, in an
    `enforcement` that is over: a valid edit after a restart does not begin the grace again.
    """
    status: Status = {
        "state": State.UNKNOWN.value,
        "message": sentence,
        "action": "",
        "enforcement": _ended_suspension(stored, now),
        "observedGeneration": stored.metadata.get("generation"),
        "conditions": invalid_conditions(stored.body, sentence, now, _UNKNOWN_IF_INVALID),
    }
    return BudgetEvaluation(status, blocking=False, record=None, message=sentence)


def _message(prepared: PreparedBudget, made: UseEvaluation, answers: PeriodAnswers) -> str:
    top = answers.use.workloads[0] if answers.use.workloads else None
    workload = top.workload if top is not None else ""
    if top is not None and not prepared.stored.resource.namespaced:
        workload = f"{top.namespace}/{workload}"
    through = answers.reported.data_through
    return describe(
        prepared.subject(workload),
        prepared.budget_limit.limit_ug,
        made.record.verdict,
        made.forecast_ug,
        through,
        prepared.base_limit_ug,
    )


def _stands_in(prepared: PreparedBudget, answers: PeriodAnswers) -> bool:
    """Whether a market-based budget uses the location's figure for some of its energy."""
    market = prepared.spec.accounting == "MarketBased"
    return market and any(why.startswith(NO_MARKET_FACTOR) for why in answers.use.factors)


def _blocks(prepared: PreparedBudget, made: EvaluationRecord) -> bool:
    """Whether the object needs the blocking label, by which the policy's binding selects it."""
    return bool(made.verdict.acts_until) and refuses_new_work(prepared.budget_limit.per_workload)


def _ended_suspension(stored: StoredBudget, now: int) -> Status | None:
    """The suspension that the status shows, ended at `now` if it was still in force; None without one."""
    enforcement = at(stored.body, "status", "enforcement")
    until, suspend_from = instant(enforcement.get("until")), instant(enforcement.get("suspendFrom"))
    if until is None or suspend_from is None:
        return None
    ended = min(int(until), now)  # it stays the same from then on, so that the status is written once
    return {"action": "Suspend", "until": format_time(ended), "suspendFrom": format_time(int(suspend_from))}
