"""From a budget and the server's answers to what its object should be. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from carbonbudget_core.jsons import at, objects
from carbonbudget_operator.api.query_bodies import NO_MARKET_FACTOR
from carbonbudget_operator.api.times import format_time, seconds
from carbonbudget_operator.budgets.assessment import Assessment, EvaluationRecord, assess, assess_without_answer
from carbonbudget_operator.budgets.evaluate import EnforcementTerms, State
from carbonbudget_operator.budgets.forecast import WeeklyProfile
from carbonbudget_operator.budgets.message import describe
from carbonbudget_operator.budgets.quantity import format_beside
from carbonbudget_operator.controller.budget_store import StoredBudget
from carbonbudget_operator.controller.conditions import (
    DesiredCondition,
    bad_spec,
    data_complete,
    enforcement_conflict,
    merged,
    ready,
    within_budget,
)
from carbonbudget_operator.controller.history import history
from carbonbudget_operator.controller.prepared_budget import PreparedBudget
from carbonbudget_operator.controller.query_batch import PeriodAnswers
from carbonbudget_operator.controller.run_limits import RunOverThreshold, runs_over
from carbonbudget_operator.controller.status_json import DesiredObject, Status, details, evaluation_fields


@dataclass(frozen=True, slots=True)
class BudgetEvaluation:
    """What was found, and what the object should be. `standing` is None where nothing is known.

    `runs` are those over a threshold of a budget per workload.
    """

    outcome: DesiredObject
    standing: EvaluationRecord | None
    message: str
    forecast_ug: int | None = None
    lost: bool = False
    runs: tuple[RunOverThreshold, ...] = ()


def evaluate_budget(
    case: PreparedBudget,
    answers: PeriodAnswers,
    week: WeeklyProfile | None,
    conflict: str,
    now: int,
    terms: EnforcementTerms,
    managed: bool = False,
) -> BudgetEvaluation:
    """By the server's answers at `now`."""
    made = assess(case.budget, answers.reading, week, now, terms, case.former)
    verdict = made.standing.verdict
    message = _message(case, made, answers)
    status = evaluation_fields(case, made.standing) | details(case, answers.use, verdict)
    if not made.lost:  # else the last forecast stands, as all figures do
        forecast_ug = made.forecast_ug
        status["forecast"] = format_beside(forecast_ug, case.budget.limit_ug) if forecast_ug is not None else None
    reading = answers.reading
    status |= {
        "message": message,
        "observedAt": format_time(now),
        "dataThrough": format_time(reading.data_through),
        "history": history(case, answers.former),
    }
    status["conditions"] = merged(
        case.resource,
        now,
        (
            ready(case.namespaces, case.left_out, case.unjudged, answers.use.pro_rata, _stands_in(case, answers)),
            data_complete(
                answers.use.coverage_percent,
                made.lost,
                made.missing,
                reading.data_through,
                answers.use.pods_without_agent,
            ),
            within_budget(verdict.state, message),
            enforcement_conflict(conflict, managed),
        ),
    )
    outcome = DesiredObject(status, _blocks(case, made.standing))
    over = runs_over(case, answers.use, verdict, reading.data_through)
    return BudgetEvaluation(outcome, made.standing, message, made.forecast_ug, made.lost, over)


def evaluate_without_answer(
    case: PreparedBudget,
    reason: str,
    sentence: str,
    missing_since: int,
    conflict: str,
    now: int,
    terms: EnforcementTerms,
    managed: bool = False,
) -> BudgetEvaluation:
    """While there is nothing to judge by. What did not change is left as it is, and a condition says why."""
    incomplete = DesiredCondition("DataComplete", "False", reason, sentence)
    made = assess_without_answer(case.budget, missing_since, now, terms, case.former)
    if made is None:
        # The period that the status shows stays there: it will be asked for when there are answers again.
        status: Status = {"state": State.UNKNOWN.value, "action": "", "enforcement": None, "message": sentence}
        wanted = (incomplete, within_budget(State.UNKNOWN, sentence), enforcement_conflict(conflict, managed))
        status["conditions"] = merged(case.resource, now, wanted)
        return BudgetEvaluation(DesiredObject(status, blocking=False), None, sentence)
    status = {}
    message = case.resource.status.message or ""
    if case.former is None or made.verdict != case.former.verdict:
        through = case.resource.status.data_through
        message = describe(
            case.subject(""), case.budget.limit_ug, made.verdict, None, seconds(through) if through is not None else 0
        )
        status = evaluation_fields(case, made) | {"message": message, "observedAt": format_time(now)}
    wanted = (incomplete, within_budget(made.verdict.state, message), enforcement_conflict(conflict, managed))
    status["conditions"] = merged(case.resource, now, wanted)
    return BudgetEvaluation(DesiredObject(status, _blocks(case, made)), made, message)


def evaluate_invalid(held: StoredBudget, sentence: str, now: int) -> BudgetEvaluation:
    """A budget that cannot be judged: not ready, and blocking nothing. The generation that was judged stays."""
    generation = held.metadata.get("generation")
    condition = bad_spec(sentence)
    since = next((item for item in _conditions(held) if item.get("type") == "Ready"), {})
    kept = since.get("lastTransitionTime") if since.get("status") == condition.status else None
    status: Status = {
        "state": State.UNKNOWN.value,
        "message": sentence,
        "action": "",
        "enforcement": None,
        "conditions": [
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "lastTransitionTime": kept or format_time(now),
                "observedGeneration": generation,
            }
        ],
    }
    return BudgetEvaluation(DesiredObject(status, blocking=False), None, sentence)


def _message(case: PreparedBudget, made: Assessment, answers: PeriodAnswers) -> str:
    top = answers.use.workloads[0] if answers.use.workloads else None
    workload = top.workload if top is not None else ""
    if top is not None and not case.held.resource.namespaced:
        workload = f"{top.namespace}/{workload}"
    through = answers.reading.data_through
    return describe(case.subject(workload), case.budget.limit_ug, made.standing.verdict, made.forecast_ug, through)


def _stands_in(case: PreparedBudget, answers: PeriodAnswers) -> bool:
    """Whether a market-based budget's figures are the location's for some of its energy, by the server's factors."""
    market = case.spec.accounting == "MarketBased"
    return market and any(why.startswith(NO_MARKET_FACTOR) for why in answers.use.factors)


def _blocks(case: PreparedBudget, made: EvaluationRecord) -> bool:
    """Whether new work is refused: a limit for each workload refuses nobody else's."""
    return bool(made.verdict.block_until) and not case.budget.per_workload


def _conditions(held: StoredBudget) -> list[Mapping[str, object]]:
    return list(objects(at(held.body, "status").get("conditions")))
