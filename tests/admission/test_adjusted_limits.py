"""The webhook, the policy's message and enforcement go by the limit with adjustments."""

from __future__ import annotations

from typing import Any

import pytest
from tests.admission.given import Bench, a_budget, a_review, an_object

from carbonbudget_operator.admission.check_command_figures import FIGURES
from carbonbudget_operator.admission.webhook_budget import webhook_budget
from carbonbudget_operator.api.wire_names import CHECK_MANAGER
from carbonbudget_operator.enforcement.enforced_budgets import parse_budget

STATED = {"name": "train", "annotations": {"carbonbudget.dev/expected-duration": "2h"}}
WITHIN: dict[str, Any] = {"state": "WithinBudget", "percent": 90, "used_g": 999}
PROJECTED = [{"at": 100, "action": "Block", "basis": "Projected"}]
CHECK: dict[str, Any] = {"dryRun": True, "options": {"fieldManager": CHECK_MANAGER}}


def adjusted(grams: int, **more: Any) -> dict[str, Any]:
    body = a_budget(**(WITHIN | more))
    body["status"]["adjustments"] = [
        {"reason": "CarryOver", "amount": f"{grams}g", "micrograms": grams * 10**6, "source": "period from 2026-10-01"}
    ]
    return body


@pytest.mark.parametrize(("grams", "allowed"), [(0, False), (1, False), (100, True), (-100, False)])
def test_what_is_expected_is_compared_with_the_limit_in_force(grams: int, allowed: bool) -> None:
    bench = Bench(adjusted(grams, thresholds=PROJECTED)).knows(core_hour_ug=10**6)
    assert (not bench.answers(a_review("Job", an_object(metadata=STATED))).refusal) is allowed


def test_a_refusal_says_what_is_left_of_the_limit_in_force() -> None:
    bench = Bench(adjusted(-500, thresholds=PROJECTED, used_g=499)).knows(core_hour_ug=10**6)
    assert "left 1g of 500g CO2e" in bench.answers(a_review("Job", an_object(metadata=STATED))).refusal


def test_check_is_told_what_is_left_of_it() -> None:
    bench = Bench(adjusted(200)).knows(core_hour_ug=10**6)
    (told,) = bench.answers(a_review("Job", an_object(metadata=STATED), **CHECK)).figures
    assert told.startswith(f"{FIGURES}carbon budget tight: expected 2g, left 201g of 1.2kg CO2e")


def test_webhook_and_enforcement_know_the_same_limit() -> None:
    body = adjusted(200)
    parsed = parse_budget(body)
    assert parsed is not None
    assert webhook_budget(body, cluster=False).limit_ug == parsed.limit_ug == 1_200 * 10**6
