"""A status that another version wrote: whatever cannot be read of it, the budget is evaluated and its block stays."""

from __future__ import annotations

from typing import Any

import pytest
from tests.api.test_unreadable_status import paths, spoiled
from tests.controller.evaluations import BLOCK, GRAM, KILO, an_answer, evaluated, written
from tests.controller.objects import NOW, Body, a_body, a_cluster_body, merge, namespaces, stored

from carbonbudget_operator.admission.webhook_budget import webhook_budget
from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, WorkloadUse
from carbonbudget_operator.budgets.verdict import Action
from carbonbudget_operator.controller.prepared_budget import prepare_budget
from carbonbudget_operator.enforcement.enforced_budgets import parse_budget

FORM = [{"another": "form"}]
ADJUSTMENT = {"reason": "TransferOut", "amount": "-1kg", "micrograms": -KILO, "source": "uid"}


def answer() -> BudgetAnswer:
    use = WorkloadUse(namespace="team-a", workload="Job/train", used_ug=KILO, energy_uj=1)
    return an_answer(6 * KILO, settled_ug=6 * KILO, settled_energy_uj=100, workloads=[use])


def bodies() -> list[Body]:
    selects = a_cluster_body(thresholds=BLOCK, namespaceSelector={"matchLabels": {"kind": "team"}})
    return [written(body, answer()) for body in (a_body(thresholds=BLOCK), selects)]


@pytest.mark.parametrize("body", bodies(), ids=["namespaced", "cluster"])
def test_whatever_of_a_status_cannot_be_read_is_written_anew_and_the_block_stays(body: Body) -> None:
    is_cluster = "namespace" not in body["metadata"]
    body["status"]["adjustments"] = [ADJUSTMENT]
    for path in paths(body["status"]):
        read = body | {"status": spoiled(body["status"], path, FORM)}
        made = evaluated(read, answer(), NOW + 60)
        assert made.blocking, path
        merge(read, {"status": made.status})  # type: ignore[arg-type] # a dict
        assert str(FORM) not in str(read["status"]), path
        assert webhook_budget(read, is_cluster).acts_until, path
        assert parse_budget(read) is not None, path


@pytest.mark.parametrize("body", bodies(), ids=["namespaced", "cluster"])
def test_webhook_and_enforcement_read_the_rest_of_such_a_status(body: Body) -> None:
    is_cluster = "namespace" not in body["metadata"]
    for path in paths(body["status"]):
        for form in (FORM, "AnotherWord"):
            read = body | {"status": spoiled(body["status"], path, form)}
            found, enforced = webhook_budget(read, is_cluster), parse_budget(read)
            assert enforced is not None, path
            if path[0] != "enforcement":
                assert found.acts_until == enforced.acts_until > NOW, path


def test_an_adjustment_for_a_reason_that_is_new_stays_part_of_the_limit() -> None:
    body = written(a_body(thresholds=BLOCK), answer())
    body["status"]["adjustments"] = [ADJUSTMENT | {"reason": "Donation"}]
    prepared = prepare_budget(stored(body), NOW, namespaces())
    assert prepared.budget_limit.limit_ug == 4 * KILO
    assert webhook_budget(body, cluster=False).limit_ug == 4 * KILO


def test_an_action_that_is_new_is_none_that_this_version_takes() -> None:
    status: dict[str, Any] = written(a_body(), an_answer(GRAM))["status"] | {"action": "Throttle"}
    assert webhook_budget(a_body() | {"status": status}, cluster=False).candidate.action is Action.NONE
