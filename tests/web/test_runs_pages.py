"""The pages of runs: the address is the state, an answer is shown as it is, and a refusal is a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import pytest
from tests.web.data_answers import run_row, runs_answer
from tests.web.page_world import World, shown, text_of

from carbonbudget_operator.web.pages import runs_page
from carbonbudget_operator.web.views.run_view import run_list, shown_run


def asked(world: World, path: str) -> dict[str, str]:
    (query,) = [query for its, query, _, _ in world.asked if its == path]
    return query


async def test_the_list_shows_model_emissions_and_state_and_leads_to_each_run() -> None:
    world = World()
    world.runs = [run_row("exp-1"), run_row("exp-2", "team-b", state="provisional", model=None, pods=None)]
    html = (await shown("/runs", world)).text
    text = text_of(html)
    assert "exp-1 team-a chat 1.3 training" in text
    assert "410g" in text
    assert "Final" in text
    assert "Provisional" in text
    links = [unescape(one) for one in re.findall(r'href="(/runs/[^"]+)"', html)]
    assert links == ["/runs/team-a/exp-1?window=7d", "/runs/team-b/exp-2?window=7d"]
    page = text_of((await shown(links[0], world)).text)
    assert "exp-1 team-a" in page
    assert "Emissions, market-based 205g CO2e" in page
    assert page.count("Final") == 5  # the run's and its four hours'


async def test_the_address_is_the_question() -> None:
    world = World()
    html = (await shown("/runs?window=30d&namespace=team-b&model=chat&stage=training", world)).text
    query = asked(world, "/api/v1/runs")
    assert {key: query[key] for key in ("window", "namespace", "model", "stage")} == {
        "window": "30d", "namespace": "team-b", "model": "chat", "stage": "training",
    }  # fmt: skip
    assert 'value="team-b"' in html
    csv = unescape(re.search(r'href="(/runs\.csv[^"]+)"', html)[1])  # type: ignore[index] # it is there
    assert csv == "/runs.csv?window=30d&namespace=team-b&model=chat&stage=training"
    answer = await shown(csv, other := World())
    assert answer.headers["content-disposition"] == 'attachment; filename="runs.csv"'
    assert asked(other, "/api/v1/runs") | {"limit": ""} == query | {"format": "csv", "limit": ""}
    span = World()
    await shown("/runs?from=2026-11-01&to=2026-11-02", span)
    assert {"from": "2026-11-01", "to": "2026-11-02"}.items() <= asked(span, "/api/v1/runs").items()


async def test_the_page_of_a_run_of_long_ago_is_about_its_own_time() -> None:
    world = World()
    world.runs = [
        run_row("old", start="2026-03-01T00:00:00Z", end="2026-03-03T00:00:00Z"),
        run_row("long", start="2026-03-01T00:00:00Z", end="2026-11-03T00:00:00Z"), run_row("new"),
    ]  # fmt: skip
    links = [
        unescape(one) for one in re.findall(r'href="(/runs/[^"]+)"', (await shown("/runs?window=365d", world)).text)
    ]
    first = 1_772_323_200
    assert links == [
        "/runs/team-a/new?window=35d", f"/runs/team-a/long?from={first}&to={first + 35 * 86_400}",
        f"/runs/team-a/old?from={first}&to={first + 2 * 86_400}",
    ]  # fmt: skip
    other = World()
    other.runs = world.runs
    answer = await shown(links[2], other)
    assert answer.status_code == 200
    assert asked(other, "/api/v1/runs/team-a/old") == {"from": str(first), "to": str(first + 2 * 86_400)}
    assert f"hours.csv?from={first}&amp;to=" in answer.text


async def test_the_hours_of_a_run_are_a_chart_a_table_and_a_file() -> None:
    html = (await shown("/runs/team-a/exp-0")).text
    assert len(re.findall(r'<rect [^>]*class="s0"', html)) == 4
    assert "5 steps" in html  # the hour without pods has a place in the chart
    assert html.count('<th scope="row">') == 4
    world = World()
    answer = await shown("/runs/team-a/exp-0/hours.csv?window=24h", world)
    assert answer.headers["content-disposition"] == 'attachment; filename="run.csv"'
    assert asked(world, "/api/v1/runs/team-a/exp-0") == {"window": "24h", "format": "csv"}
    assert (await shown("/runs/team-a/exp-0/hours.xls")).status_code == 404


async def test_a_name_in_the_address_reaches_no_other_path_of_the_api() -> None:
    world = World()
    for path in ("/runs/team-a/%2e%2e", "/runs/%2e%2e/budgets", "/runs/team-a/x%2Fy", "/runs/a/" + "b" * 64):
        assert (await shown(path, world)).status_code == 404
    assert all(its.startswith("/api/v1/runs/") for its, *_ in world.asked)


@pytest.mark.parametrize("path", ["/runs", "/runs/team-a/exp-0", "/runs.csv"])
async def test_a_refusal_is_the_servers_sentence(path: str) -> None:
    world = World()
    world.refused = {"/api/v1/runs": (403, "anna may not get carbonbudgets in any namespace")}
    answer = await shown(path, world)
    assert answer.status_code == 403
    assert "anna may not get carbonbudgets in any namespace" in answer.text


async def test_a_page_without_runs_says_where_the_label_belongs() -> None:
    world = World()
    world.runs = []
    assert "The label belongs on the pod template." in text_of((await shown("/runs", world)).text)


async def test_a_page_that_did_not_change_is_not_sent_again() -> None:
    first = await shown("/runs")
    again = await shown("/runs", **{"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


def test_of_many_runs_the_table_has_those_that_began_last() -> None:
    rows = [run_row(f"r{number}", start=f"2026-11-{1 + number % 28:02}T00:00:00Z") for number in range(600)]
    found = run_list(runs_answer(rows))
    assert (len(found.lines), found.left_out) == (500, 100)
    assert found.lines[0].began == "28 Nov 2026 00:00 UTC"
    assert found.total.location_ug == 600 * 410_000_000


@pytest.mark.parametrize(
    "odd", [{}, {"run": 7, "rows": "x"}, {"rows": [None, {"start": []}]}, {"run": {"pods": "1e9"}}]
)
def test_an_answer_of_another_form_breaks_nothing(odd: dict[str, object]) -> None:
    assert run_list(odd).total.location_ug == 0
    found = shown_run(odd)
    assert found.line.pods is None
    assert runs_page._chart(found.hours) == ""


class GoingOn(World):
    """A run that tells its progress."""

    expected: object = {
        "progress_percent": 12, "ends_at": "2026-11-24T18:30:00Z", "energy_kwh": 20.0, "energy_low_kwh": 18.0,
        "energy_high_kwh": 23.0, "location_g": 7400.0, "location_low_g": 6600.0, "location_high_g": 8100.0,
    }  # fmt: skip

    def _answer(self, path: str, query: Mapping[str, str]) -> Any:
        answer = super()._answer(path, query)
        return answer | {"expected": self.expected} if answer and path.startswith("/api/v1/runs/") else answer


async def test_a_run_that_goes_on_shows_what_is_expected_at_its_end_with_its_range() -> None:
    world = GoingOn()
    text = text_of((await shown("/runs/team-a/exp-0", world)).text)
    assert "At its end expected, by its own progress of 12 %" in text
    assert "Emissions, location-based 7.4kg CO2e; 6.6kg to 8.1kg" in text
    assert "IT energy 20.00 kWh 18.00 kWh to 23.00 kWh End 24 Nov 2026 18:30 UTC" in text
    assert "At its end" not in text_of((await shown("/runs/team-a/exp-0")).text)


@pytest.mark.parametrize("broken", [None, {}, [], "7kg", {"progress_percent": 5, "location_g": "x"}])
async def test_an_expectation_that_is_none_is_left_out(broken: object) -> None:
    world = GoingOn()
    world.expected = broken
    answer = await shown("/runs/team-a/exp-0", world)
    assert answer.status_code == 200
    assert "At its end" not in text_of(answer.text)
