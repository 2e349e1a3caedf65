"""What the pages of the grid and of the data show."""

from __future__ import annotations

from html import unescape

import pytest
from tests.web import page_world
from tests.web.budget_answers import DAY, NOW, instant
from tests.web.data_answers import status
from tests.web.page_world import World, shown, text_of


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


async def test_the_page_tells_which_hours_are_the_sources_own_forecast_and_how_good_it_was() -> None:
    world = World()
    text = text_of((await shown("/grid", world)).text)
    assert "Forecasts of the sources" not in text
    world.forecasts = [
        {
            "source": "Electricity Maps", "zone": "DE", "fetched": instant(NOW), "until": instant(NOW + DAY),
            "used": True, "failing": False, "error": None, "compared_hours": 140, "mean_error_g_per_kwh": 18.25,
        },
        {
            "source": "<b>NESO", "zone": "GB", "fetched": None, "until": None, "used": False, "failing": True,
            "error": None, "compared_hours": 0, "mean_error_g_per_kwh": None,
        },
    ]  # fmt: skip
    world.own_until = NOW + DAY
    html = (await shown("/grid", world)).text
    text = text_of(html)
    assert "Forecast: forecast of Electricity Maps until" in text
    assert "then mean of this hour of the week in the last weeks. It values no energy." in text
    assert "18.2 g CO2e per kWh, mean of 140 h" in text
    assert "Past weeks instead" in text
    assert "the latest question failed" in text
    assert "not known yet" in text
    assert "<b>NESO" not in html


async def test_a_window_that_is_no_number_of_days_has_no_forecast() -> None:
    world = World()
    html = (await shown("/grid?window=yesterday", world)).text
    assert world.asked[0][1]["window"] == "yesterday"
    assert 'class="range"' not in html
    assert "Lowest hours of the day" in html


async def test_the_data_page_says_which_read_token_it_sends() -> None:
    world = World()
    assert "You use" not in text_of((await shown("/data", world)).text)
    world.read_token = {"id": 7, "name": "graf<b>ana"}
    html = (await shown("/data", world)).text
    assert 'read token 7, "graf<b>ana", created by anna@example.org' in unescape(text_of(html))
    assert "<b>ana" not in html


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
