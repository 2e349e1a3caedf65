"""Hours to come by the forecast of the zone's source, then by past weeks; no past hour is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.answers.test_grid_intensity import stated, store
from tests.answers.test_intensity_forecast import NOW, WEEK, by_hour, forecast
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.answers.forecast_states import forecast_states
from carbonbudget_operator.answers.grid_intensity import grid_intensity
from carbonbudget_operator.answers.intensity_change import intensity_change
from carbonbudget_operator.answers.pod_prediction import PodPredictions
from carbonbudget_operator.intensity_settings import AnySource, ElectricityMapsSettings, IntensitySettings
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.forecast_store import fail_forecast, store_forecast
from carbonbudget_operator.ledger.forecast_tables import grid_forecast_poll
from carbonbudget_operator.ledger.intensity_store import claim_poll, store_intensities
from carbonbudget_operator.ledger.span_store import Post, ProgressPoint, SpanStore
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

NEXT = HOUR + 3600
MEAN = "mean of this hour of the week in the last weeks"


def maps(name: str = "maps", **more: Any) -> ElectricityMapsSettings:
    return ElectricityMapsSettings(name=name, key_file=Path("/none"), **more)


def a_reader(engine: sa.Engine, *sources: AnySource, **more: Any) -> ValuedReader:
    intensity = IntensitySettings(sources=list(sources), max_age_hours=2)
    return ValuedReader(engine, Settings(carbon=CarbonSettings(zone="DE", pue=1.0, intensity=intensity, **more)))


def expect(
    engine: sa.Engine, grams: dict[int, int], at: int = NOW, source: str = "maps", basis: str = "lifecycle"
) -> None:
    """The source's forecast at `at`, by hour after HOUR."""
    claim_poll(engine, source, "DE", at, 0, grid_forecast_poll)
    hours = {HOUR + 3600 * hour: 1000 * figure for hour, figure in grams.items()}
    store_forecast(engine, source, "DE", basis, hours, at - at % 3600 + 3600, at)


def weeks(engine: sa.Engine, source: str = "maps", grams: int = 100) -> None:
    store(engine, source, {-hour: grams for hour in range(3 * WEEK)})


def test_the_sources_own_forecast_comes_first_and_past_weeks_go_on_after_it(engine: sa.Engine) -> None:
    weeks(engine)
    expect(engine, {1: 40, 2: 50})
    found = forecast(a_reader(engine, maps()), 4)
    assert by_hour(found) == {
        1: (40_000, None, None), 2: (50_000, None, None),
        3: (100_000, 100_000, 100_000), 4: (100_000, 100_000, 100_000),
    }  # fmt: skip
    assert [row.source for row in found] == ["forecast of maps"] * 2 + [MEAN] * 2
    assert [row.received for row in found] == [NOW, NOW, None, None]
    assert {(row.kind, row.applied, row.basis) for row in found} == {("forecast", False, "lifecycle")}


def test_an_hour_that_the_forecast_leaves_out_has_that_of_past_weeks(engine: sa.Engine) -> None:
    weeks(engine)
    expect(engine, {1: 40, 3: 50})
    assert [mg for mg, _, _ in by_hour(forecast(a_reader(engine, maps()), 3)).values()] == [40_000, 100_000, 50_000]


@pytest.mark.parametrize(("age_s", "source"), [(6 * 3600, "forecast of maps"), (6 * 3600 + 1, f"{MEAN}; the fo")])
def test_a_forecast_that_is_too_old_is_left_for_past_weeks_and_that_is_told(
    engine: sa.Engine, age_s: int, source: str
) -> None:
    weeks(engine)
    expect(engine, {1: 40}, NOW - age_s)
    (row,) = forecast(a_reader(engine, maps()), 1)
    assert row.source.startswith(source)
    assert row.mg_per_kwh == (40_000 if source.startswith("forecast") else 100_000)
    if not row.source.startswith("forecast"):
        assert row.source == f"{MEAN}; the forecast of maps is too old"


@pytest.mark.parametrize("kept", ["direct", "lifecycle"])
def test_a_forecast_of_the_other_basis_is_never_used(engine: sa.Engine, kept: str) -> None:
    other = {"direct": "lifecycle", "lifecycle": "direct"}[kept]
    store(engine, "maps", {-hour: 100 for hour in range(3 * WEEK)}, basis=other)
    expect(engine, {1: 40}, basis=kept)
    (row,) = forecast(a_reader(engine, maps(), basis=other), 1)
    assert (row.mg_per_kwh, row.basis, row.source) == (100_000, other, MEAN)


def test_the_first_source_in_the_list_that_has_the_hour_is_used_fresh_before_old(engine: sa.Engine) -> None:
    expect(engine, {1: 40, 2: 41, 3: 42}, source="b")
    expect(engine, {1: 60}, source="a")
    both = a_reader(engine, maps("a"), maps("b"))
    assert [(row.source, row.mg_per_kwh) for row in forecast(both, 2)] == [
        ("forecast of a", 60_000),
        ("forecast of b", 41_000),
    ]
    expect(engine, {1: 70}, NOW - 7 * 3600, source="a")
    assert forecast(both, 1)[0].source == "forecast of b"


def test_a_figure_that_the_settings_state_before_the_source_is_what_the_hour_will_be_valued_by(
    engine: sa.Engine,
) -> None:
    expect(engine, {1: 40})
    assert forecast(a_reader(engine, stated(321), maps()), 1)[0].mg_per_kwh == 321_000
    assert forecast(a_reader(engine, maps(), stated(321)), 1)[0].mg_per_kwh == 40_000


def test_what_is_switched_off_or_gone_from_the_settings_is_not_used(engine: sa.Engine) -> None:
    expect(engine, {1: 40})
    for its in (a_reader(engine, maps(forecast=False)), a_reader(engine, maps("other")), a_reader(engine)):
        assert forecast(its, 1)[0].mg_per_kwh != 40_000
        assert forecast_states(its, ["DE"], NOW) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.integers(-5, WEEK + 5), st.integers(0, 900), max_size=30),
    st.dictionaries(st.integers(-5, 0), st.integers(0, 900), max_size=6),
    st.integers(0, 12 * 3600),
)
def test_the_series_has_one_value_an_hour_without_a_gap_and_past_hours_stay_as_they_were(
    engine: sa.Engine, coming: dict[int, int], past: dict[int, int], age_s: int
) -> None:
    with engine.begin() as connection:
        for table in ("grid_hour", "grid_forecast", "grid_forecast_poll"):
            connection.execute(sa.text(f"DELETE FROM {table}"))
    store(engine, "maps", past)
    its = a_reader(engine, maps())
    window = HOUR - 5 * 3600, HOUR + 3600 * (WEEK + 1)
    before = list(grid_intensity(its, ["DE"], window, NOW))
    at = NOW - age_s
    expect(engine, coming, at)
    assert list(grid_intensity(its, ["DE"], window, NOW)) == before
    found = forecast(its)
    assert [row.start for row in found] == [HOUR + 3600 * hour for hour in range(1, WEEK + 1)]
    for number, row in enumerate(found, 1):
        used = number in coming and age_s <= 6 * 3600
        assert row.source.startswith("forecast of") == used
        assert not used or row.mg_per_kwh == 1000 * coming[number]


def test_how_good_forecasts_were_is_told_by_hours_that_were_expected_a_day_before_and_then_published(
    engine: sa.Engine,
) -> None:
    its = a_reader(engine, maps())
    expect(engine, {-3: 90, -2: 130, -1: 500, 0: 500}, NOW - 30 * 3600)
    expect(engine, {-3: 999, -2: 999, -1: 999, 3: 70}, NOW - 20 * 3600)  # later ones do not count; hour 0 was left out
    expect(engine, {5: 60}, NOW)
    store(engine, "maps", {-3: 100, -2: 100})
    hours = {HOUR - 3600: (100_000, True)}  # an estimate: it may be the forecast itself
    store_intensities(engine, "maps", "DE", "lifecycle", hours, NOW, 2)
    (state,) = forecast_states(its, ["DE"], NOW)
    assert (state.compared_hours, state.mean_error_mg) == (2, 20_000)  # 10 and 30
    assert (state.is_used, state.fetched_at, state.until) == (True, NOW, HOUR + 6 * 3600)
    fail_forecast(engine, "maps", "DE", "away", NOW)
    (later,) = forecast_states(its, ["DE"], NOW + 7 * 3600)
    assert (later.is_used, later.error) == (False, "away")
    assert forecast_states(its, ["FR"], NOW) == []


def test_what_a_pod_will_need_goes_by_the_sources_forecast_of_the_hours_to_come(engine: sa.Engine) -> None:
    booker = Booker(engine)
    for minute in range(10):
        report = a_report(HOUR + 60 * minute, pods={"pod-1": 300_000_000}, labels={"carbonbudget.dev/run": "exp-42"})
        book(booker, report)
    points = [ProgressPoint("epoch", done, 20, (HOUR + 300 * done) * 1000) for done in range(2)]
    assert all(SpanStore(engine, "default", 100).store([Post("team-a", "pod-1", "pod-1", progress=p)], NOW) == [True]
               for p in points)  # fmt: skip
    store(engine, "maps", {-hour: 100 for hour in range(3 * WEEK)})
    reader = a_reader(engine, maps())
    now = HOUR + 600

    def rest() -> tuple[int, int, list[int]]:
        found = PodPredictions(reader).rest("pod-1", "epoch", now)
        assert found is not None
        its = found.prediction
        return its.energy_uj, its.emissions_ug, [hour.emissions_ug for hour in its.hours]

    energy, by_weeks, hours = rest()
    expect(engine, {1: 400, 2: 400}, now)
    same_energy, by_source, changed = rest()
    assert same_energy == energy
    assert changed[0] == hours[0]  # the hour that has begun
    assert len(hours) == 2
    assert changed[1] == pytest.approx(4 * hours[1], abs=4)
    assert by_source > by_weeks


def test_budgets_are_told_how_far_the_forecast_lies_from_the_usual(engine: sa.Engine) -> None:
    book(Booker(engine), a_report(HOUR))
    its = a_reader(engine, maps())
    assert intensity_change(its, NOW) == (NEXT, [])
    expect(engine, {1: 50, 2: 100, 3: 250, 4: 100_000})
    assert intensity_change(its, NOW) == (NEXT, [])  # nothing is usual yet
    weeks(engine)
    assert intensity_change(its, NOW) == (NEXT, [500, 1000, 2500, 10_000])
    assert intensity_change(its, NOW + 7 * 3600)[1] == []  # too old
