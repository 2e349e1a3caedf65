"""/api/v1/budgets shows the limit in force, and what makes it of the spec's."""

from __future__ import annotations

from tests.server.budget_objects import a_budget, a_status

from carbonbudget_operator.api.budget_bodies import BudgetDetail
from carbonbudget_operator.api.times import seconds
from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET
from carbonbudget_operator.server.public.budget_api_rows import budget_detail, budget_row, history_rows, parse_budget
from carbonbudget_operator.server.public.budget_series import series_question

KG = 10**9
ADJUSTMENTS = [
    {"reason": "CarryOver", "amount": "+2kg", "micrograms": 2 * KG, "source": "period from 2026-10-01"},
    {"reason": "TransferOut", "amount": "-1kg", "micrograms": -KG, "source": "CarbonTransfer to-b"},
]


def test_the_limit_is_the_one_in_force() -> None:
    row = budget_row(BUDGET, a_budget(status=a_status(adjustments=ADJUSTMENTS)))
    assert (row["limit_g"], row["limit_ug"]) == (6_000.0, str(6 * KG))


def test_one_budget_has_its_own_limit_and_its_adjustments_beside() -> None:
    body = a_budget(status=a_status(adjustments=ADJUSTMENTS), parent="company")
    found = BudgetDetail.model_validate(budget_detail(BUDGET, body) | {"read_at": ""})
    assert (found.base_limit_g, found.base_limit_ug, found.parent) == (5_000.0, str(5 * KG), "company")
    assert [(one.reason, one.amount_g, one.amount_ug) for one in found.adjustments] == [
        ("CarryOver", 2_000.0, str(2 * KG)), ("TransferOut", -1_000.0, str(-KG)),
    ]  # fmt: skip
    assert found.children is None


def test_a_parent_has_its_childrens_sum() -> None:
    children = {"count": 3, "allocated": "4.5kg", "unallocated": "500g"}
    found = budget_detail(CLUSTER_BUDGET, a_budget("", "company", status=a_status(children=children)))
    assert found["children"] == {"count": 3, "allocated_g": 4_500.0, "unallocated_g": 500.0}


def test_former_periods_have_the_limit_that_was_in_force() -> None:
    former = {"start": "2026-09-01T00:00:00Z", "end": "2026-10-01T00:00:00Z", "used": "5kg", "limit": "5kg"}
    status = a_status(history=[former | {"effectiveLimit": "10kg"}, former])
    rows = history_rows(BUDGET, a_budget(status=status))
    assert [(row["limit_g"], row["percent_used"]) for row in rows] == [(10_000.0, 50), (5_000.0, 100)]


def test_the_series_of_the_present_period_has_its_limit_and_a_new_period_the_specs() -> None:
    parsed = parse_budget(BUDGET, a_budget(status=a_status(adjustments=ADJUSTMENTS)))
    assert parsed is not None
    assert parsed.status.period is not None
    start, end = seconds(parsed.status.period.start), seconds(parsed.status.period.end)
    assert series_question(parsed, "day", start + 3_600)["limit_ug"] == 6 * KG
    assert series_question(parsed, "day", end + 3_600)["limit_ug"] == 5 * KG
