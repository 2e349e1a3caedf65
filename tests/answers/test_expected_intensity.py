"""The intensity that predictions go by: what is remembered is what would be made anew, whatever happened between."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.answers.test_source_forecasts import a_reader, expect, maps
from tests.ledger.reports import HOUR

from carbonbudget_operator.answers import expected_intensity
from carbonbudget_operator.answers.expected_intensity import ExpectedHours, ExpectedIntensity
from carbonbudget_operator.ledger.intensity_store import store_intensities

ZONES = (["DE"], ["FR"], ["DE", "FR"])
STEP = st.one_of(
    # What of an hour, before or after HOUR, is published or restated, and in which basis.
    st.tuples(
        st.just("figure"), st.sampled_from(["maps", "other"]), st.sampled_from(["DE", "FR"]),
        st.sampled_from(["lifecycle", "direct"]), st.integers(-400, 4), st.integers(1, 900),
    ),
    # A forecast of some hours.
    st.tuples(
        st.just("forecast"), st.sampled_from(["maps", "other"]), st.sampled_from(["lifecycle", "direct"]),
        st.dictionaries(st.integers(1, 30), st.integers(1, 900), min_size=1, max_size=3),
    ),
    st.tuples(st.just("wait"), st.sampled_from([1, 59, 60, 1_200, 3_600, 7 * 3_600])),
)  # fmt: skip


# So many random histories; `make soak` sets 500.
HISTORIES = int(os.environ.get("CARBONBUDGET_HISTORIES", "20"))


class CountedIntensity(ExpectedIntensity):
    """Counts how often it makes the figures."""

    made = 0

    def _made(self, zones: Sequence[str], now: int) -> ExpectedHours:
        self.made += 1
        return super()._made(zones, now)


def publish(engine: sa.Engine, grams: dict[int, int], at: int, zone: str = "DE") -> None:
    series = {HOUR + 3600 * hour: (1000 * figure, False) for hour, figure in grams.items()}
    store_intensities(engine, "maps", zone, "lifecycle", series, at, 2)


@given(st.lists(STEP, min_size=1, max_size=12))
@settings(deadline=None, max_examples=HISTORIES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_remembered_is_what_would_be_made_anew_after_any_history(
    engine: sa.Engine, steps: list[tuple[object, ...]]
) -> None:
    with engine.begin() as connection:
        for table in ("grid_hour", "grid_forecast"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    reader, now = a_reader(engine, maps(), maps("other")), HOUR + 60
    remembered = ExpectedIntensity(reader)
    for kind, *step in steps:
        now += 1  # nothing is stored twice in a second
        if kind == "figure":
            source, zone, basis, hour, grams = step
            series = {HOUR + 3600 * hour: (1000 * grams, False)}  # type: ignore[operator]
            store_intensities(engine, source, zone, basis, series, now, 2)  # type: ignore[arg-type]
        elif kind == "forecast":
            expect(engine, step[2], now, step[0], step[1])  # type: ignore[arg-type]
        else:
            now += step[0]  # type: ignore[operator]
        for zones in ZONES:
            assert remembered.of(zones, now) == ExpectedIntensity(reader).of(zones, now)


def test_it_is_made_once_for_all_pods_of_a_zone_until_a_figure_or_a_forecast_changes(engine: sa.Engine) -> None:
    publish(engine, dict.fromkeys(range(-400, 0), 100), HOUR)
    counted, now = CountedIntensity(a_reader(engine, maps())), HOUR + 60
    for _ in range(50):
        before = counted.of(["DE"], now)
    assert counted.made == 1
    publish(engine, {-1: 500}, now + 1, "FR")  # of another zone
    assert counted.of(["DE"], now + 2) is before
    publish(engine, {-168: 500}, now + 3)
    restated = counted.of(["DE"], now + 4)
    assert counted.made == 2
    assert restated != before
    expect(engine, {1: 40}, now + 5)
    assert counted.of(["DE"], now + 6).coming[1].mg_per_kwh == 40_000
    assert counted.made == 3


def test_what_is_remembered_is_bounded(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expected_intensity, "_MOST_ZONES", 3)
    counted = CountedIntensity(a_reader(engine, maps()))
    for number in range(10):
        counted.of([f"Z{number}"], HOUR + 60)
        assert len(counted._known) <= 3
    assert counted.made == 10
