"""Evaluations of a budget's body, with and without answers, for tests of the status that they make."""

from __future__ import annotations

from typing import Any

from tests.controller.objects import NOVEMBER, NOW, Body, merge, namespaces, stored

from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, WorkloadUse
from carbonbudget_operator.budgets.verdict import EnforcementTerms
from carbonbudget_operator.controller.budget_evaluation import (
    BudgetEvaluation,
    evaluate_budget,
    evaluate_without_answer,
)
from carbonbudget_operator.controller.budget_queries import period_answers, period_queries
from carbonbudget_operator.controller.prepared_budget import prepare_budget

TERMS = EnforcementTerms(6 * 3600)


BLOCK = [{"at": 100, "action": "Block"}]


SUSPEND = [{"at": 100, "action": "Suspend"}]


GRAM, KILO = 10**6, 10**9


def an_answer(used_ug: int, **more: Any) -> BudgetAnswer:
    defaults: dict[str, Any] = {
        "id": "", "used_g": "0", "energy_uj": 1, "energy_kwh": "0", "coverage_percent": 100, "measured_percent": 91,
        "data_from": NOVEMBER,
    }  # fmt: skip
    return BudgetAnswer(used_ug=used_ug, **(defaults | more))


def evaluated(
    body: Body,
    answer: BudgetAnswer,
    now: int = NOW,
    *,
    through: int = 0,
    conflict: str = "",
    terms: EnforcementTerms = TERMS,
    more_labels: dict[str, str] | None = None,
) -> BudgetEvaluation:
    prepared = prepare_budget(stored(body), now, namespaces(team_a={"kind": "team"} | (more_labels or {})))
    asked = period_queries(prepared, 0, now)
    answers = {query.id: answer for query in asked}
    return evaluate_budget(
        prepared, period_answers(prepared, asked, answers, through or now), None, conflict, now, terms
    )


def written(body: Body, answer: BudgetAnswer, now: int = NOW, **more: Any) -> Body:
    """The body as it reads after the verdict was written."""
    after = stored(body).body
    merge(after, {"status": evaluated(body, answer, now, **more).status})  # type: ignore[arg-type] # a dict
    return after  # type: ignore[return-value]


def status_of(evaluation: BudgetEvaluation) -> dict[str, Any]:
    return evaluation.status


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def used_by(*grams: int) -> BudgetAnswer:
    uses = [
        WorkloadUse(namespace="team-a", workload=f"Job/j{n}", used_ug=used * GRAM, energy_uj=1)
        for n, used in enumerate(grams)
    ]
    return an_answer(sum(grams) * GRAM, workloads=uses)


# --- no data ---------------------------------------------------------------------------------------------------------


def unanswered(body: Body, now: int = NOW, since: int = NOW) -> BudgetEvaluation:
    prepared = prepare_budget(stored(body), now, namespaces())
    return evaluate_without_answer(prepared, "ServerUnavailable", "the server does not answer", since, "", now, TERMS)
