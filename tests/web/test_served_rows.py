"""What the rows that the server makes of objects look like on a page. `kubectl carbon ui` makes the same rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
from tests.server.budget_objects import a_budget, a_status
from tests.server.target_objects import a_figure, a_target, a_target_status
from tests.web.page_world import World, shown, text_of

from carbonbudget_operator.api.wire_names import BUDGET, CLUSTER_BUDGET, CLUSTER_TARGET, TARGET
from carbonbudget_operator.server.public.budget_api_rows import budget_detail, history_rows
from carbonbudget_operator.server.public.target_api_rows import former_windows, target_detail
from carbonbudget_operator.web.views.page_budget import PageBudget
from carbonbudget_operator.web.views.page_budget_from_answer import shown_detail
from carbonbudget_operator.web.views.page_target_from_answer import shown_target_detail
from carbonbudget_operator.web.views.target_path_points import path_points

KG = 10**9
ADJUSTMENTS = [
    {"reason": "CarryOver", "amount": "+1kg", "micrograms": KG, "source": "period from 2025-10-01"},
    {"reason": "Overspend", "amount": "-100g", "micrograms": -KG // 10, "source": "period from 2025-10-01"},
    {"reason": "TransferIn", "amount": "+2kg", "micrograms": 2 * KG, "source": "CarbonTransfer team-b/lend"},
    {"reason": "TransferOut", "amount": "-300g", "micrograms": -3 * KG // 10, "source": "CarbonTransfer to-c"},
    {"reason": "Credit", "amount": "+1mg", "micrograms": 1_001, "source": "CarbonTarget team-a/chat"},
]
CHILDREN = {"count": 3, "allocated": "4.5kg", "unallocated": "500g"}
EARLIER = {"start": "2025-11-10T00:00:00Z", "end": "2025-11-17T00:00:00Z"}
WEEKS = [
    a_target_status()["history"][0],
    {"figure": a_figure(47_000_000, **EARLIER), "expectedMicrograms": 46_500_000, "state": "Behind"},
]
STEPS = [
    {"by": "2025-12-15T00:00:00Z", "reduction": 5},
    {"by": "2026-02-01T00:00:00Z", "reduction": 12},
]
STEPPED = {"reduction": 20, "by": "2026-03-01T00:00:00Z", "path": "Stepped", "steps": STEPS}


class Served(World):
    """A server with these answers: its own rows of one object."""

    def __init__(self, answers: Mapping[str, dict[str, Any]]) -> None:
        super().__init__()
        self.answers = answers

    def _answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        return self.answers.get(path) or super()._answer(path, query)


def served_budget(body: dict[str, Any]) -> Served:
    resource = BUDGET if body["metadata"].get("namespace") else CLUSTER_BUDGET
    path = "/api/v1/budgets/team-a/monthly" if resource is BUDGET else "/api/v1/clusterbudgets/company"
    return Served({path: budget_detail(resource, body), f"{path}/history": {"rows": history_rows(resource, body)}})


async def test_a_budget_of_the_server_is_shown_with_each_adjustment_its_limit_and_its_parent() -> None:
    body = a_budget(status=a_status(adjustments=ADJUSTMENTS), parent="company")
    html = (await shown("/budgets/team-a/monthly", served_budget(body))).text
    text = text_of(html)
    for part in (
        "The limit of the budget 5kg",
        "Left over before +1kg period from 2025-10-01",
        "Used above the limit before -100g period from 2025-10-01",
        "Transferred to this budget +2kg CarbonTransfer team-b/lend",
        "Transferred to another budget -300g CarbonTransfer to-c",
        "Savings of a target +1.001mg CarbonTarget team-a/chat",
        "4.1kg of 7.600001001kg",
        "The limit is 5kg without the adjustments",
    ):
        assert part in text, part
    assert 'href="/cluster-budgets/company"' in html


async def test_a_parent_of_the_server_is_shown_with_what_it_has_handed_down() -> None:
    body = a_budget("", "company", status=a_status(children=CHILDREN))
    text = text_of((await shown("/cluster-budgets/company", served_budget(body))).text)
    assert "3 budgets name this one as their parent. Their limits are together 4.5kg; 500g of 5kg is left" in text


async def test_the_steps_of_a_target_of_the_server_are_drawn() -> None:
    def path_of(html: str) -> str:
        return html[html.index('class="chart target-path"') :].partition("</svg>")[0]

    pictures = []
    for goal in (STEPPED, STEPPED | {"steps": STEPS[:1]}):
        body = a_target(target=goal)
        base = "/api/v1/targets/team-a/chat"
        world = Served({base: target_detail(TARGET, body), f"{base}/history": {"rows": former_windows(TARGET, body)}})
        pictures.append(path_of((await shown("/targets/team-a/chat", world)).text))
    assert pictures[0] != pictures[1]


def test_the_path_from_a_stated_baseline_begins_at_the_creation_of_the_target_and_not_when_it_was_frozen() -> None:
    stated = {"perUnit": "50g", "perUnitMicrograms": 50_000_000, "frozenAt": "2026-01-10T00:00:00Z", "hash": ""}
    body = a_target(baseline={"value": "50g"}, status=a_target_status(baseline=stated))
    body["metadata"]["creationTimestamp"] = "2025-11-20T08:00:00Z"
    created = int(dt.datetime(2025, 11, 20, 8, tzinfo=dt.UTC).timestamp())
    assert path_points(shown_target_detail(target_detail(TARGET, body), {}))[0] == (created, 50_000_000)


def shown_budget(body: dict[str, Any]) -> PageBudget:
    return shown_detail(budget_detail(BUDGET, body), {"rows": history_rows(BUDGET, body)})


def test_a_former_period_is_shown_with_the_limit_that_was_in_force_and_one_without_adjustments_with_its_own() -> None:
    period = {"start": "2025-10-01T00:00:00Z", "end": "2025-11-01T00:00:00Z", "used": "5kg", "limit": "5kg"}
    earlier = period | {"start": "2025-09-01T00:00:00Z", "end": "2025-10-01T00:00:00Z"}
    history = [period | {"effectiveLimit": "10kg"}, earlier]
    found = shown_budget(a_budget(status=a_status(history=history))).history
    assert [(one.used_ug, one.limit_ug) for one in found] == [(5 * KG, 5 * KG), (5 * KG, 10 * KG)]


def test_a_budget_that_was_not_evaluated_yet_is_shown_with_its_limit_alone() -> None:
    found = shown_budget(a_budget(status={}))
    assert (found.limit_ug, found.base_limit_ug, found.used_ug, found.state) == (5 * KG, 5 * KG, None, "")
    assert (found.workloads, found.history, found.adjustments, found.children) == ([], [], [], None)


def test_an_instant_beyond_the_calendar_is_not_known() -> None:
    period = {"start": "0001-01-01T00:00:00+05:00", "end": "9999-12-31T23:59:59-05:00"}
    found = shown_budget(a_budget(status=a_status(period=period)))
    assert (found.start, found.end) == (None, None)


@pytest.mark.parametrize("namespace", ["team-a", ""])
def test_a_target_says_whose_emissions_and_whose_units_count(namespace: str) -> None:
    change = {
        "selector": {"matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["a", "b"]}, {"key": "old", "operator": "DoesNotExist"},
        ]},
        "unit": {"name": "request", "source": {"counter": {"metric": "x_total", "matchLabels": {"code": "200"}}}},
    }  # fmt: skip
    resource = TARGET if namespace else CLUSTER_TARGET
    counts = " ".join(shown_target_detail(target_detail(resource, a_target(namespace, **change)), {}).counts)
    assert "tier in (a, b),!old" in counts
    assert "Who counts the units: counter x_total with code=200." in counts
