"""The forecast of the grid's intensity is made of the figures that valued our own hours."""

from __future__ import annotations

from decimal import Decimal

import pytest
import sqlalchemy as sa
from tests.answers.test_grid_intensity import a_book, network, stated, store
from tests.ledger.reports import HOUR

from carbonbudget_operator.answers.grid_intensity import ZoneIntensity
from carbonbudget_operator.answers.intensity_forecast import forecast_end, intensity_forecast
from carbonbudget_operator.intensity_settings import StaticSourceSettings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

WEEK = 7 * 24
NOW = HOUR + 1_800


def forecast(its: ValuedReader, hours: int = WEEK, zones: tuple[str, ...] = ("DE",)) -> list[ZoneIntensity]:
    return list(intensity_forecast(its, zones, (NOW - 3600, HOUR + 3600 * (hours + 1)), NOW))


def by_hour(rows: list[ZoneIntensity]) -> dict[int, tuple[int, int | None, int | None]]:
    return {(row.start - HOUR) // 3600: (row.mg_per_kwh, row.low_mg_per_kwh, row.high_mg_per_kwh) for row in rows}


def test_an_hour_to_come_is_expected_as_the_same_hour_of_the_weeks_before(engine: sa.Engine) -> None:
    its = a_book(engine, network("a"))
    store(engine, "a", {-hour: 100 + hour % WEEK + 10 * (hour // WEEK) for hour in range(3 * WEEK)})
    found = forecast(its)
    assert [row.start for row in found] == [HOUR + 3600 * number for number in range(1, WEEK + 1)]
    # The hour one from now is 167 hours after the one that is 167 hours ago; two weeks before it there were 10 g more.
    assert by_hour(found)[1] == ((267 + 277 + 287) * 1000 // 3, 267_000, 287_000)
    assert by_hour(found)[WEEK] == (110_000, 100_000, 120_000)
    assert {(row.kind, row.applied, row.received, row.basis) for row in found} == {
        ("forecast", False, None, "lifecycle")
    }


def test_hours_without_a_figure_of_their_own_are_no_part_of_the_profile(engine: sa.Engine) -> None:
    its = a_book(engine, network("a"))
    store(engine, "a", {-hour: 100 for hour in range(3 * WEEK) if hour != WEEK - 1} | {-(WEEK - 2): 700})
    assert by_hour(forecast(its))[1] == (100_000, 100_000, 100_000)  # 700 g stood in for the missing hour


def test_before_two_weeks_the_mean_of_what_is_known_is_expected(engine: sa.Engine) -> None:
    its = a_book(engine, network("a"))
    store(engine, "a", {0: 100, -1: 300})
    assert set(by_hour(forecast(its)).values()) == {(200_000, 100_000, 300_000)}
    assert "2 hours" in forecast(its)[0].source


def test_what_the_settings_state_is_expected_without_a_range(engine: sa.Engine) -> None:
    assert set(by_hour(forecast(a_book(engine, stated(321)))).values()) == {(321_000, None, None)}


def test_a_zone_without_hourly_figures_is_expected_at_its_yearly_one(engine: sa.Engine) -> None:
    its = a_book(engine, network("a"))
    (row,) = {(row.source, row.mg_per_kwh, row.low_mg_per_kwh) for row in forecast(its, zones=("FR",))}
    assert "FR" in row[0]
    assert row[1:] == (row[1], None)


def test_each_zone_has_its_own(engine: sa.Engine) -> None:
    france = StaticSourceSettings(name="fr", figures={"FR": Decimal(20)}, basis="lifecycle", source="x", year=2025)
    its = a_book(engine, network("a"), france)
    store(engine, "a", {-hour: 100 for hour in range(3 * WEEK)})
    found = forecast(its, 3, ("FR", "DE"))
    assert [(row.zone, row.mg_per_kwh) for row in found] == [("DE", 100_000), ("FR", 20_000)] * 3


@pytest.mark.parametrize(
    ("window", "end"),
    [
        ((HOUR - 7200, HOUR), None),
        ((HOUR - 7200, NOW), None),
        ((HOUR, HOUR + 3601), HOUR + 7200),
        ((HOUR + 7200, HOUR + 7201), HOUR + 10_800),
        ((HOUR, HOUR + 30 * 24 * 3600), HOUR + 3600 + WEEK * 3600),
        ((HOUR + 20 * 24 * 3600, HOUR + 30 * 24 * 3600), None),
    ],
)  # fmt: skip
def test_a_forecast_reaches_seven_days_ahead_at_most(window: tuple[int, int], end: int | None) -> None:
    assert forecast_end(window, NOW) == end
