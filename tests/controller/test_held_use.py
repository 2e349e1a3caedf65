"""Within a period a threshold that was reached stays reached, whatever the readings and the edits of the spec."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from tests.controller.evaluations import TERMS, an_answer
from tests.controller.objects import NOW, Body, a_body, merge, namespaces, stored

from carbonbudget_operator.budgets.use_evaluation import EvaluationRecord
from carbonbudget_operator.budgets.verdict import Action
from carbonbudget_operator.controller.budget_evaluation import (
    BudgetEvaluation,
    evaluate_budget,
    evaluate_without_answer,
)
from carbonbudget_operator.controller.budget_queries import period_answers, period_queries
from carbonbudget_operator.controller.prepared_budget import prepare_budget


@dataclass(frozen=True)
class Step:
    """A minute: maybe an edit, then a reported, or none while the server does not answer; maybe a restart before."""

    edit: dict[str, object] | None
    used_mg: int | None
    restarts: bool


EDITS = st.fixed_dictionaries(
    {},
    optional={
        "limit": st.integers(0, 100).map(lambda value: f"{value}mg"),
        "contact": st.sampled_from(["#a", "#b"]),
        "thresholds": st.lists(st.integers(1, 150), min_size=1, max_size=3, unique=True).map(
            lambda ats: [
                {"at": at, "action": action}
                for at, action in zip(sorted(ats), ("Warn", "Block", "Suspend"), strict=False)
            ]
        ),
        "include": st.permutations(["Dynamic", "Idle", "Overhead"]),
        "selector": st.sampled_from([{}, {"matchLabels": {}}]),
    },
)
STEPS = st.lists(
    st.builds(Step, st.none() | EDITS, st.none() | st.integers(0, 150), st.booleans()), min_size=2, max_size=8
)


def evaluated(body: Body, step: Step, now: int, remembered: EvaluationRecord | None) -> BudgetEvaluation:
    prepared = prepare_budget(stored(body), now, namespaces(), remembered)
    if step.used_mg is None:
        return evaluate_without_answer(prepared, "ServerUnavailable", "no answer", now, "", now, TERMS)
    asked = period_queries(prepared, 0, now)
    answers = {query.id: an_answer(step.used_mg * 1000) for query in asked}
    return evaluate_budget(prepared, period_answers(prepared, asked, answers, now), None, "", now, TERMS)


def reached_action(body: Body, used_mg: int) -> Action:
    """The action of the thresholds that this use reaches, by the spec as it is now."""
    limit_mg = int(body["spec"]["limit"].removesuffix("mg"))
    thresholds = body["spec"].get("thresholds") or [{"at": 80, "action": "Warn"}]
    reached = (
        Action[t["action"].upper()]
        for t in thresholds
        if (used_mg * 100 >= limit_mg * t["at"] if limit_mg else used_mg > 0)
    )
    return max(reached, default=Action.NONE)


@given(STEPS)
def test_a_threshold_that_was_reached_stays_reached_over_all_readings_edits_and_restarts(steps: list[Step]) -> None:
    body = a_body(limit="100mg")
    remembered: EvaluationRecord | None = None
    highest_mg, generation = -1, 3
    for minute, step in enumerate(steps):
        now = NOW + 60 * minute
        if step.edit is not None:
            generation += 1
            body["metadata"]["generation"] = generation
            body["spec"] |= step.edit
        made = evaluated(body, step, now, None if step.restarts else remembered)
        remembered = made.record
        merge(body, {"status": made.status})
        highest_mg = max(highest_mg, step.used_mg if step.used_mg is not None else -1)
        if highest_mg >= 0:
            assert made.record is not None
            assert made.record.verdict.used_ug == highest_mg * 1000
            assert made.record.verdict.action is reached_action(body, highest_mg)
