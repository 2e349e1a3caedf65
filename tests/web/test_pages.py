"""What each page shows, and what it shows where there is no answer."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.controller.api_server import eventually
from tests.web import page_world
from tests.web.page_world import (
    BUDGETS,
    DAY,
    EXTERNAL,
    NOW,
    Everybody,
    World,
    budget_detail,
    budget_row,
    client,
    emissions,
    history,
    instant,
    intensity,
    node_row,
    run_detail,
    run_row,
    runs_answer,
    series,
    shown,
    status,
)

from carbonbudget_operator.api.budget_bodies import BudgetDetail, BudgetHistory, BudgetsAnswer, BudgetSeries
from carbonbudget_operator.api.carbonbudget import CarbonBudget
from carbonbudget_operator.api.cluster_bodies import NodesAnswer
from carbonbudget_operator.api.emission_bodies import EmissionAnswer
from carbonbudget_operator.api.external_bodies import ExternalAnswer
from carbonbudget_operator.api.grid_bodies import IntensityAnswer
from carbonbudget_operator.api.run_bodies import RunDetail, RunsAnswer
from carbonbudget_operator.api.status_bodies import ServerStatus
from carbonbudget_operator.web import questions
from carbonbudget_operator.web.app import make_app
from carbonbudget_operator.web.budget_objects import shown_object
from carbonbudget_operator.web.gateway import ApiAnswer, PageCaller
from carbonbudget_operator.web.pages import emissions_page
from carbonbudget_operator.web.security_headers import POLICY

PAGES = (
    "/budgets",
    "/budgets/team-a/monthly",
    "/cluster-budgets/company",
    "/emissions",
    "/runs",
    "/runs/team-a/exp-0",
    "/grid",
    "/data",
)


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def test_the_answers_of_these_tests_have_the_form_that_the_server_documents() -> None:
    query = {"by": "namespace", "step": "day", "compare": "previous", "unlabelled": "true"}
    assert EmissionAnswer.model_validate(emissions(query, ("a",))).rows
    assert IntensityAnswer.model_validate(intensity(("DE",), NOW)).rows
    nodes = {"data_through": None, "start": "", "end": "", "next": None, "rows": [node_row("a", NOW)]}
    assert NodesAnswer.model_validate(nodes).rows
    assert BudgetsAnswer.model_validate({"read_at": "", "next": None, "rows": BUDGETS}).rows
    assert BudgetDetail.model_validate(budget_detail(BUDGETS[0])).top_workloads
    assert BudgetSeries.model_validate(series(BUDGETS[0])).forecast_low_g
    assert ServerStatus.model_validate(status()).exports
    assert ExternalAnswer.model_validate(EXTERNAL).rows
    assert RunsAnswer.model_validate(runs_answer([run_row("a")])).rows
    assert RunDetail.model_validate(run_detail(run_row("a"))).rows
    assert BudgetHistory.model_validate({"read_at": "", **history(BUDGETS[0])}).rows


@pytest.mark.parametrize("path", [*PAGES, "/nowhere", "/static/page.css", "/static/nothing.css", "/budgets/no/thing"])
async def test_every_response_has_the_headers_that_protect_it(path: str) -> None:
    answer = await shown(path)
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "cookie" not in answer.headers.get("vary", "")
    if not path.startswith("/static"):
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_has_a_script_or_a_style_inside(path: str) -> None:
    html = (await shown(path)).text
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", html)


async def test_static_files_are_kept_by_their_digest_alone() -> None:
    page = (await shown("/budgets")).text
    address = re.search(r'href="(/static/page\.css\?v=[0-9a-f]{12})"', page)
    assert address is not None
    assert "immutable" in (await shown(address[1])).headers["cache-control"]
    assert (await shown("/static/page.css")).headers["cache-control"] == "no-cache"


async def test_a_post_to_a_page_is_refused() -> None:
    async with client(make_app(World(), Everybody())) as asking:
        assert (await asking.post("/emissions")).status_code == 405


async def test_an_error_of_ours_is_a_sentence_with_the_same_headers() -> None:
    class Broken(World):
        async def get(self, *_: object) -> object:  # type: ignore[override] # fails
            raise RuntimeError("secret detail")

    import httpx

    transport = httpx.ASGITransport(app=make_app(Broken(), Everybody()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as asking:
        answer = await asking.get("/emissions")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.headers["content-security-policy"] == POLICY


async def test_every_question_is_asked_with_the_callers_own_credentials() -> None:
    world, everybody = World(), Everybody()
    everybody.caller = PageCaller("anna", "token-of-anna")
    async with client(make_app(world, everybody)) as asking:
        for path in PAGES:
            assert (await asking.get(path)).status_code == 200
    assert {caller.token for _, _, caller, _ in world.asked} == {"token-of-anna"}


def test_a_caller_does_not_print_its_token() -> None:
    assert "token-of-anna" not in repr(PageCaller("anna", "token-of-anna"))


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


def test_an_object_s_instant_beyond_the_calendar_is_not_known() -> None:
    status = {"period": {"start": "0001-01-01T00:00:00+05:00", "end": "9999-12-31T23:59:59-05:00"}}
    spec = {"limit": "5kg", "period": "Month"}
    budget = CarbonBudget.model_validate({"metadata": {"name": "b", "namespace": "a"}, "spec": spec, "status": status})
    assert budget.status.period is not None
    found = shown_object(budget)
    assert (found.start, found.end) == (None, None)


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


@pytest.mark.parametrize("path", ["/budgets/team-a/nothing", "/budgets/TEAM/x", "/cluster-budgets/a%2Fb", "/nowhere"])
async def test_what_is_not_there_is_a_page_that_says_so(path: str) -> None:
    answer = await shown(path)
    assert answer.status_code == 404
    assert "there is no such" in answer.text.lower()


async def test_emissions_have_share_and_change_against_the_window_before() -> None:
    world = World()
    text = text_of((await shown("/emissions?window=30d&by=namespace&step=day", world)).text)
    assert re.search(r"team-a \S+g \d+(\.\d)? % [+±-]\d+ %", text)
    whole, steps = world.asked
    assert whole[1]["compare"] == "previous"
    assert whole[1]["step"] == "all"
    assert steps[1]["step"] == "day"
    assert {query["window"] for _, query, _, _ in world.asked} == {"30d"}


async def test_emissions_by_a_label_ask_for_that_label() -> None:
    world = World()
    assert (await shown("/emissions?by=label&label=team", world)).status_code == 200
    assert world.asked[0][1]["by"] == "label:team"
    assert (await shown("/emissions?by=label", world)).status_code == 400


async def test_a_namespace_leads_to_its_workloads_and_idle_energy_to_nothing() -> None:
    html = (await shown("/emissions?window=30d")).text
    assert "by=workload&amp;step=day&amp;accounting=LocationBased&amp;filter=namespace%3Dteam-a" in html
    assert "filter=namespace%3D__idle__" not in html
    assert "(idle, charged to nobody)" in html


async def test_the_same_question_is_a_csv_file() -> None:
    world = World()
    html = (await shown("/emissions?window=30d&by=workload")).text
    address = re.search(r'href="(/emissions\.csv\?[^"]+)"', html)
    assert address is not None
    answer = await shown(address[1].replace("&amp;", "&"), world)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="emissions.csv"'
    assert world.asked[0][1]["by"] == "workload"
    assert (await shown("/emissions.exe")).status_code == 404


async def test_too_many_bars_are_not_drawn_and_the_table_stays() -> None:
    class Many(World):
        def _answer(self, path: str, query: object) -> dict[str, object] | None:
            answer = super()._answer(path, query)  # type: ignore[arg-type] # as it came
            return (
                {**answer, "next": "more"} if answer and isinstance(query, dict) and query["step"] == "day" else answer
            )

    html = (await shown("/emissions", Many())).text
    assert "too many bars" in html
    assert 'class="chart bars"' not in html
    assert "team-a" in html


async def test_a_table_that_is_cut_says_so_and_no_answer_is_asked_for_in_more_than_10_000_rows() -> None:
    class Cut(World):
        def _answer(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
            answer = super()._answer(path, query)
            return {**answer, "next": "more"} if answer and query["step"] == "all" else answer

    world = Cut()
    text = text_of((await shown("/emissions", world)).text)
    assert "more than 10,000 groups: the table has the largest of the first 10,000" in text
    assert {query["limit"] for _, query, _, _ in world.asked} == {"10000"}
    assert "10,000" not in text_of((await shown("/emissions")).text)


async def test_answers_of_emissions_are_parsed_and_added_up_beside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = []

    def seen(made: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object) -> object:
            threads.append(threading.current_thread())
            return made(*given)

        return call

    monkeypatch.setattr(questions, "parse_object", seen(questions.parse_object))
    for name in ("emission_table", "emission_bars"):
        monkeypatch.setattr(emissions_page, name, seen(getattr(emissions_page, name)))
    assert (await shown("/emissions")).status_code == 200
    assert (len(threads), threading.main_thread() in threads) == (4, False)


async def test_two_pages_of_emissions_are_made_at_once_and_one_of_each_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emissions_page, "_TURN_SECONDS", 0.05)
    go_on = asyncio.Event()

    class Slow(World):
        async def get(self, *asked: Any) -> ApiAnswer:
            found = await super().get(*asked)
            await go_on.wait()
            return found

    world, everybody = Slow(), Everybody()

    async def opened(name: str) -> int:
        everybody.caller = PageCaller(name)
        return (await asking.get("/emissions")).status_code

    async with client(make_app(world, everybody)) as asking:
        first = asyncio.create_task(opened("ann"))
        await eventually(lambda: len(world.asked) == 2)
        assert await opened("ann") == 503
        second = asyncio.create_task(opened("bob"))
        await eventually(lambda: len(world.asked) == 4)
        assert await opened("cem") == 503
        go_on.set()
        assert (await first, await second, await opened("cem")) == (200, 200, 200)


async def test_market_based_emissions_are_asked_for_and_shown() -> None:
    world = World()
    html = (await shown("/emissions?accounting=MarketBased", world)).text
    assert world.asked[0][1]["accounting"] == "MarketBased"
    assert "Emissions, market-based" in html


async def test_the_grid_has_intensity_source_and_the_lowest_hours() -> None:
    text = text_of((await shown("/grid")).text)
    for part in ("DE", "g CO2e per kWh", "Electricity Maps", "no answer within 10 s"):
        assert part in text


async def test_hours_to_come_are_drawn_as_a_forecast_and_the_greenest_are_named() -> None:
    world = World()
    html = (await shown("/grid", world)).text
    assert {"from": str(NOW - 7 * DAY), "to": str(NOW + 2 * DAY), "limit": "50000"} in [one[1] for one in world.asked]
    assert html.count('class="forecast"') == html.count('class="range"') == 2  # one in the chart of each zone
    assert "Greenest hours to come" in html
    assert "Forecast: mean of this hour of the week in the last weeks." in html


async def test_a_window_that_is_no_number_of_days_has_no_forecast() -> None:
    world = World()
    html = (await shown("/grid?window=yesterday", world)).text
    assert world.asked[0][1]["window"] == "yesterday"
    assert 'class="range"' not in html
    assert "Lowest hours of the day" in html


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


async def test_the_data_page_lists_nodes_that_do_not_report_first() -> None:
    text = text_of((await shown("/data")).text)
    assert text.index("node-3") < text.index("node-2")
    assert "Never reported" in text
    assert "61 %" in text


async def test_the_data_page_has_refused_reports_exports_and_external_figures() -> None:
    text = text_of((await shown("/data")).text)
    for part in (
        "Figures that cannot be", "9 kW are more than a node can draw", "41", "Refused reports since 21 Nov 2026",
        "mimir Behind", "history Up to date", "28", "codecarbon", "AWS model 2.0", "and 1 partly",
    ):  # fmt: skip
        assert part in text, part
    assert "4.2kg" in text
    assert "12.50 kWh" in text


async def test_nothing_refused_nothing_exported_and_nothing_imported_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_world, "EXTERNAL", page_world.EXTERNAL | {"rows": []})
    monkeypatch.setattr(page_world, "status", lambda _: status() | {"refused": [], "exports": []})
    text = text_of((await shown("/data")).text)
    assert "This server has refused no report since it started." in text
    assert "The settings name no target to export to." in text
    assert "No imported figure lies in this window." in text


async def test_many_refusals_are_cut_and_the_rest_is_named() -> None:
    world = World([f"node-{number}" for number in range(200)])
    text = text_of((await shown("/data", world)).text)
    assert "The table has the latest 50 lines; 152 more are in /api/v1/status." in text


async def test_who_may_not_read_all_namespaces_sees_no_refusal_and_no_target() -> None:
    world = World()
    world.refused = {f"/api/v1/{name}": (403, f"no {name}") for name in ("nodes", "status", "external")}
    text = text_of((await shown("/data", world)).text)
    for part in ("Refused reports", "Exports", "External figures", "mimir"):
        assert part not in text


async def test_the_emissions_page_has_the_share_of_energy_without_required_labels() -> None:
    html = (await shown("/emissions")).text
    assert "7.5 % of the pods' energy: 2.5 % without team, 7.5 % without project" in text_of(html).replace("&#39;", "'")


@pytest.mark.parametrize("path", ["/emissions", "/grid", "/budgets", "/budgets/team-a/monthly"])
async def test_a_page_whose_right_is_missing_names_the_right(path: str) -> None:
    world = World()
    world.refused["/api/v1/"] = 403, "anna may not get carbonbudgets in any namespace"
    answer = await shown(path, world)
    assert answer.status_code == 403
    assert "A right is missing" in answer.text
    assert "anna may not get carbonbudgets in any namespace" in answer.text


async def test_parts_whose_right_is_missing_leave_the_other_parts() -> None:
    world = World()
    world.refused = {
        "/api/v1/nodes": (403, "nodes need the right in all namespaces"),
        "/api/v1/status": (403, "so does this"),
    }
    answer = await shown("/data", world)
    assert answer.status_code == 200
    assert "nodes need the right in all namespaces" in answer.text
    assert "anna@example.org" in answer.text


async def test_a_server_that_is_away_is_told_in_its_own_sentence() -> None:
    world = World()
    world.down = "The server in namespace carbonbudget-system does not answer just now: try again."
    answer = await shown("/emissions", world)
    assert answer.status_code == 503
    assert world.down in answer.text


async def test_a_busy_server_says_when_to_ask_again() -> None:
    world = World()
    world.refused["/api/v1/emissions"] = 429, "too many questions"
    assert "too many questions. Try again" in (await shown("/emissions", world)).text


async def test_an_unchanged_page_is_a_304_that_costs_no_rendering_and_another_question_is_not() -> None:
    world = World()
    first = await shown("/emissions?window=7d", world)
    again = await shown("/emissions?window=7d", world, **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    world.names = (*world.names, "team-new")
    changed = await shown("/emissions?window=7d", world, **{"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    assert "team-new" in changed.text


@pytest.mark.parametrize("tag", ['"AAAA"', "*", '"' + "x" * 5000 + '"', '"W10="', '"WyJhXHJcbmIiXQ=="'])
async def test_a_tag_that_is_none_of_ours_is_a_page(tag: str) -> None:
    world = World()
    answer = await shown("/emissions?step=all", world, **{"If-None-Match": tag})
    assert answer.status_code == 200
    assert all(etag is None for _, _, _, etag in world.asked)


@pytest.mark.parametrize("query", ["window=" + "x" * 3000, "filter=" + "y" * 5000, "step=minute", "by=label"])
async def test_a_question_that_is_none_gets_a_sentence(query: str) -> None:
    answer = await shown(f"/emissions?{query}")
    assert answer.status_code == 400
    assert "Traceback" not in answer.text
