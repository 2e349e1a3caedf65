"""Which warnings new work gets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from carbonbudget_operator.admission.app import Budgets, make_app
from carbonbudget_operator.admission.warnings import BadReview, parse_review, warnings_for
from carbonbudget_operator.api.carbonbudget import CarbonBudget


def a_budget(name: str, state: str, percent: int, blocking: bool = False, **spec: object) -> dict[str, Any]:
    status: dict[str, Any] = {
        "state": state, "action": {"WithinBudget": "", "Warning": "Warn"}.get(state, "Block" if blocking else "Warn"),
        "percentUsed": percent, "message": f"carbon budget {name}",
    }  # fmt: skip
    if blocking:
        status["enforcement"] = {"action": "Block", "until": "2026-12-01T00:00:00Z"}
    return {
        "metadata": {"name": name, "namespace": "team-a"},
        "spec": {"limit": "1g", "period": "Month"} | spec,
        "status": status,
    }


def a_review(kind: str = "Job", labels: dict[str, str] | None = None) -> dict[str, Any]:
    metadata = {"labels": labels or {}}
    body = {"metadata": metadata} if kind == "Pod" else {"spec": {"template": {"metadata": metadata}}}
    return {"request": {"uid": "u", "namespace": "team-a", "kind": {"kind": kind}, "object": body}}


def warned(review: dict[str, Any], *budgets: dict[str, Any]) -> list[str]:
    return warnings_for(parse_review(review), [CarbonBudget.model_validate(b) for b in budgets])


def test_the_strictest_and_most_used_come_first_and_at_most_three() -> None:
    budgets = [
        a_budget("a", "Warning", 80), a_budget("b", "Exceeded", 110),
        a_budget("c", "Exceeded", 300), a_budget("d", "Warning", 90), a_budget("e", "WithinBudget", 10),
    ]  # fmt: skip
    assert warned(a_review(), *budgets) == ["carbon budget c", "carbon budget b", "carbon budget d"]


def test_what_is_refused_anyway_is_not_warned_of_twice() -> None:
    assert warned(a_review(), a_budget("a", "Exceeded", 110, blocking=True)) == []
    only_pods = a_budget("a", "Exceeded", 110, blocking=True, enforce={"kinds": ["Pod"]})
    assert warned(a_review("Job"), only_pods) == ["carbon budget a"]


@pytest.mark.parametrize("kind", ["Job", "Pod"])
def test_the_labels_of_the_pods_decide(kind: str) -> None:
    budget = a_budget("a", "Warning", 80, selector={"matchLabels": {"project": "x"}})
    assert warned(a_review(kind, {"project": "x"}), budget) == ["carbon budget a"]
    assert warned(a_review(kind, {"project": "y"}), budget) == []


@pytest.mark.parametrize("value", [None, [], {}, {"request": {}}, {"request": {"uid": 5}}, "x"])
def test_what_is_no_review_is_refused_in_a_line(value: object) -> None:
    with pytest.raises(BadReview, match="no AdmissionReview"):
        parse_review(value)


async def test_it_is_ready_after_the_first_list_and_answers_garbage_with_400() -> None:
    budgets = Budgets()
    async with TestClient(TestServer(make_app(budgets))) as client:
        assert (await client.get("/readyz")).status == 503
        budgets.listed.set()
        assert (await client.get("/readyz")).status == 200
        for junk in (b"", b"{", b"[" * 100_000, b"null", b"\xff"):
            answer = await client.post("/validate", data=junk)
            assert answer.status == 400
            assert "\n" not in (await answer.json())["reason"]


async def test_it_always_allows_and_says_the_uid() -> None:
    budgets = Budgets()
    budgets._put("ADDED", a_budget("a", "Warning", 80))
    async with TestClient(TestServer(make_app(budgets))) as client:
        answer = await (await client.post("/validate", data=json.dumps(a_review()))).json()
    assert answer["response"] == {"uid": "u", "allowed": True, "warnings": ["carbon budget a"]}


async def test_after_a_new_list_what_is_not_in_it_is_gone() -> None:
    class Watch:
        async def watch(self, _: str) -> Any:
            yield "LISTING", None
            yield "ADDED", a_budget("a", "Warning", 80)
            yield "ADDED", a_budget("b", "Warning", 80)
            yield "LISTED", None
            yield "DELETED", a_budget("b", "Warning", 80)
            yield "ADDED", a_budget("d", "Warning", 80)
            yield "LISTING", None
            yield "ADDED", a_budget("c", "Warning", 80)
            yield "LISTED", None

    budgets = Budgets()
    await budgets.follow(Watch())  # type: ignore[arg-type] # one method of it
    assert {b.metadata.name for b in budgets.of("team-a")} == {"c"}
