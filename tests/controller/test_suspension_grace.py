"""The grace before a suspension begins once in a period: no order of edits and restarts begins it again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.controller.evaluations import TERMS, an_answer
from tests.controller.objects import NOW, Body, a_body, merge, namespaces, stored

from carbonbudget_operator.api.times import format_time
from carbonbudget_operator.budgets.use_evaluation import EvaluationRecord
from carbonbudget_operator.controller.budget_evaluation import evaluate_budget, evaluate_invalid
from carbonbudget_operator.controller.budget_queries import period_answers, period_queries
from carbonbudget_operator.controller.prepared_budget import InvalidBudget, prepare_budget
from carbonbudget_operator.controller.status_json import is_visible_change
from carbonbudget_operator.enforcement.enforced_budgets import parse_budget

SUSPEND = [{"at": 100, "action": "Suspend"}]
USED_UG = 6 * 10**9
INVALID_PERIOD = {"period": None, "start": "2026-12-01T00:00:00Z", "end": "2026-11-01T00:00:00Z"}


def a_suspending_body() -> Body:
    body = a_body(thresholds=SUSPEND, enforce={"grace": "10m"})
    evaluate(body, NOW, None)
    return body


def evaluate(body: Body, now: int, remembered: EvaluationRecord | None) -> EvaluationRecord | None:
    """One evaluation, its status merged into the body. `remembered`: None after a restart."""
    try:
        prepared = prepare_budget(stored(body), now, namespaces(), remembered)
    except InvalidBudget as error:
        merge(body, {"status": evaluate_invalid(stored(body), str(error), now).status})
        return remembered
    asked = period_queries(prepared, 0, now)
    answers = {query.id: an_answer(USED_UG) for query in asked}
    made = evaluate_budget(prepared, period_answers(prepared, asked, answers, now), None, "", now, TERMS)
    merge(body, {"status": made.status})
    return made.record


def edit(body: Body, **spec: object) -> None:
    body["metadata"]["generation"] += 1
    merge(body["spec"], spec)


def test_an_invalid_edit_and_a_restart_and_a_valid_edit_do_not_begin_it_again() -> None:
    body = a_suspending_body()
    begun = body["status"]["enforcement"]["suspendFrom"]
    edit(body, limit="much")
    evaluate(body, NOW + 300, None)
    edit(body, limit="5kg")
    evaluate(body, NOW + 900, None)
    assert body["status"]["enforcement"]["suspendFrom"] == begun


def test_while_the_edit_is_invalid_nothing_is_refused_or_suspended() -> None:
    body = a_suspending_body()
    edit(body, **INVALID_PERIOD)
    invalid = evaluate_invalid(stored(body), "spec.end must be after spec.start", NOW + 900)
    merge(body, {"status": invalid.status})
    assert invalid.blocking is False
    assert body["status"]["enforcement"]["until"] == format_time(NOW + 900)
    read = parse_budget(body)
    assert read is not None
    assert not read.suspends(NOW + 900)
    assert not read.blocks_jobs(NOW + 900)


def test_an_invalid_budget_is_written_once_and_not_each_minute() -> None:
    body = a_suspending_body()
    edit(body, limit="much")
    evaluate(body, NOW + 300, None)
    again = evaluate_invalid(stored(body), body["status"]["message"], NOW + 360).status
    assert not is_visible_change(body, again)


def test_a_block_without_a_suspension_leaves_nothing_in_an_invalid_budget() -> None:
    body = a_body(thresholds=[{"at": 100, "action": "Block"}])
    evaluate(body, NOW, None)
    assert body["status"]["enforcement"]["action"] == "Block"
    edit(body, limit="much")
    evaluate(body, NOW + 300, None)
    assert "enforcement" not in body["status"]


def test_a_status_that_is_not_readable_leaves_nothing_either() -> None:
    body = a_body(limit="much")
    for wrong in ("soon", {"action": "Suspend"}, {"action": "Suspend", "until": "later", "suspendFrom": "soon"}, []):
        body["status"] = {"enforcement": wrong}
        assert evaluate_invalid(stored(body), "write a number", NOW).status["enforcement"] is None


STEPS = st.lists(
    st.tuples(st.sampled_from(["much", "5kg", "4kg"]), st.booleans(), st.integers(60, 900)), min_size=1, max_size=10
)


@given(STEPS)
def test_no_order_of_edits_and_restarts_postpones_it_in_its_period(steps: list[tuple[str, bool, int]]) -> None:
    body = a_suspending_body()
    begun, now, remembered = body["status"]["enforcement"]["suspendFrom"], NOW, None
    for limit, restarts, seconds in steps:
        now += seconds
        edit(body, limit=limit)
        remembered = evaluate(body, now, None if restarts else remembered)
        assert body["status"]["enforcement"]["suspendFrom"] == begun
