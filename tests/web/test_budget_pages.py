"""What the pages of budgets show."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.web.budget_answers import BUDGETS, DAY, NOW, budget_row, instant
from tests.web.page_world import World, shown, text_of


@pytest.mark.parametrize(("at", "in_force"), [(NOW + 3599, True), (NOW + 3600, False), (NOW + 90 * 86_400, False)])
async def test_a_block_that_has_ended_is_not_shown_as_in_force(at: int, in_force: bool) -> None:
    pages = [(await shown(path, at=at)).text for path in ("/budgets", "/budgets/team-b/training")]
    assert ["Refuses new work until" in html for html in pages] == [in_force, in_force]
    assert ("1 refusing work" in pages[0]) == in_force


async def test_a_budget_whose_block_has_ended_is_in_the_order_of_its_state() -> None:
    world = World()
    ended = budget_row("ended", "team-z", state="WithinBudget", enforced_until=instant(NOW - 1))
    world.budgets = [ended, budget_row("warns"), budget_row("blocks", "team-y", enforced_until=instant(NOW + 1))]
    names = re.findall(r"<h2><a href=\"[^\"]+\">([^<]+)</a>", (await shown("/budgets", world)).text)
    assert names == ["blocks", "warns", "ended"]


@pytest.mark.parametrize("odd", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00"])
@pytest.mark.parametrize("path", ["/budgets", "/budgets/team-a/odd"])
async def test_an_instant_beyond_the_calendar_leaves_the_page(path: str, odd: str) -> None:
    world = World()
    times = ("exhausted_at", "period_end", "enforced_until", "data_through")
    world.budgets = [*BUDGETS, budget_row("odd", time_zone="Asia/Tokyo", **dict.fromkeys(times, odd))]
    answer = await shown(path, world)
    assert (answer.status_code, "odd" in answer.text) == (200, True)


async def test_budgets_that_refuse_work_come_first_and_those_within_last() -> None:
    html = (await shown("/budgets")).text
    names = re.findall(r"<h2><a href=\"[^\"]+\">([^<]+)</a>", html)
    assert names == ["training", "monthly", "new", "company", "inference", "runs"]


async def test_a_budget_card_tells_its_state_by_word_its_use_its_forecast_and_its_data() -> None:
    world = World()
    world.budgets = [budget_row()]
    text = text_of((await shown("/budgets", world)).text)
    for part in ("Warning", "4.1kg of 5kg", "82 %", "5.3kg", "98 % reported", "40 % measured", "location-based"):
        assert part in text
    assert "1 Dec 01:00 CET" in text


async def test_the_address_selects_budgets_by_namespace_and_state() -> None:
    names = re.findall(
        r"<h2><a href=\"[^\"]+\">([^<]+)</a>", (await shown("/budgets?namespace=team-b&state=within")).text
    )
    assert names == ["runs"]
    assert "No budget is selected" in (await shown("/budgets?namespace=team-z")).text


async def test_a_budget_without_an_evaluation_is_shown_as_such() -> None:
    text = text_of((await shown("/budgets/team-d/new")).text)
    assert "No data" in text
    assert "None" not in text


async def test_one_budget_has_its_curve_its_parts_its_workloads_and_its_former_periods() -> None:
    html = (await shown("/budgets/team-a/monthly")).text
    text = text_of(html)
    for part in ("Use in this period", "Dynamic", "3kg", "train-llm", "44 %", "Former periods", "used up", "kept"):
        assert part in text
    assert html.count('class="chart burn-up"') == 1
    assert html.count('class="limit"') >= 1


async def test_a_budget_whose_series_is_refused_is_shown_by_its_status_and_says_why() -> None:
    world = World()
    world.refused["/api/v1/budgets/team-a/monthly/series"] = 503, "the server is busy"
    html = (await shown("/budgets/team-a/monthly", world)).text
    assert "The curve between start and now is not shown. the server is busy" in text_of(html)
    assert 'class="chart burn-up"' in html


async def test_a_budget_per_workload_has_no_curve_of_its_own() -> None:
    html = (await shown("/budgets/team-b/runs")).text
    assert "burn-up" not in html
    assert "each workload has a limit of its own" in html


async def test_a_budget_has_its_forecasts_range_and_the_intensity_of_its_hours() -> None:
    html = (await shown("/budgets/team-a/monthly")).text
    text = text_of(html)
    assert "range 4.9kg to 5.8kg" in text
    assert "Grid intensity in this period" in text
    assert html.count('class="range"') == 3  # of the use, and of two zones
    world = World()
    world.refused = {"/api/v1/intensity": (503, "busy"), "/api/v1/budgets/team-a/monthly/series": (503, "busy")}
    text = text_of((await shown("/budgets/team-a/monthly", world)).text)
    assert "Grid intensity" not in text
    assert "range 4.9kg" not in text


async def test_a_long_period_has_the_intensity_of_the_last_weeks_and_the_coming_one() -> None:
    world = World()
    start = NOW - 200 * DAY
    world.budgets = [budget_row("year", period_start=instant(start), period_end=instant(start + 365 * DAY))]
    assert "Grid intensity of the last four weeks" in text_of((await shown("/budgets/team-a/year", world)).text)
    (asked,) = [query for path, query, _, _ in world.asked if path == "/api/v1/intensity"]
    assert (int(asked["from"]), int(asked["to"])) == (NOW - 28 * DAY, NOW + 7 * DAY)


async def test_adjustments_are_listed_with_sign_and_source_between_the_limit_and_what_is_in_force() -> None:
    class Adjusted(World):
        def _answer(self, path: str, query: Any) -> dict[str, Any] | None:
            answer = super()._answer(path, query)
            if answer and path == "/api/v1/budgets/team-a/monthly":
                answer |= {
                    "limit_ug": "5700000000", "base_limit_ug": "5000000000", "parent": "company",
                    "adjustments": [
                        {"reason": "CarryOver", "amount_ug": "1000000000", "source": "2026-10-01"},
                        {"reason": "TransferOut", "amount_ug": "-300000000", "source": "team-a/<b>lend</b>"},
                    ],
                }  # fmt: skip
            return answer

    html = (await shown("/budgets/team-a/monthly", Adjusted())).text
    text = text_of(html)
    assert "Adjustments of the limit" in text
    for part in ("The limit of the budget 5kg", "Left over before +1kg 2026-10-01", "-300g"):
        assert part in text
    assert "In force in this period 5.7kg" in text
    assert "The limit is 5kg without the adjustments" in text
    assert "<b>lend</b>" not in html
    assert 'href="/cluster-budgets/company"' in html


async def test_a_budget_that_nothing_changed_has_no_adjustments() -> None:
    text = text_of((await shown("/budgets/team-a/monthly")).text)
    assert "Adjustments" not in text
    assert "Handed down" not in text


async def test_a_parent_shows_how_much_it_has_handed_down() -> None:
    class Parent(World):
        def _answer(self, path: str, query: Any) -> dict[str, Any] | None:
            answer = super()._answer(path, query)
            if answer and path == "/api/v1/clusterbudgets/company":
                answer["children"] = {"count": 4, "allocated_g": 90000.0, "unallocated_g": 0.0}
            return answer

    text = text_of((await shown("/cluster-budgets/company", Parent())).text)
    assert "4 budgets name this one as their parent. Their limits are together 90kg; 0mg of 80kg is left" in text
