"""The hourly intensities that are shown are those by which energy is valued."""

from __future__ import annotations

from decimal import Decimal

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.reports import HOUR, a_report, book

from carbonbudget_operator.answers.grid_intensity import ZoneIntensity, grid_intensity, zones_of_nodes
from carbonbudget_operator.intensity_settings import (
    AnySource,
    ElectricityMapsSettings,
    HttpJsonSettings,
    IntensitySettings,
    StaticSourceSettings,
)
from carbonbudget_operator.ledger import schema
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.fact_reader import read_nodes
from carbonbudget_operator.ledger.intensity_store import store_intensities
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOURS = 6
WINDOW = (HOUR, HOUR + HOURS * 3600)
LATE = WINDOW[1] + 3600


def network(name: str) -> HttpJsonSettings:
    return HttpJsonSettings(name=name, url="https://source.example/{zone}", value="v", time="t", basis="lifecycle")


def stated(grams: int) -> StaticSourceSettings:
    return StaticSourceSettings(figures={"de": Decimal(grams)}, basis="lifecycle", source="a contract", year=2025)


def a_book(engine: sa.Engine, *sources: AnySource, zone: str = "DE", age: int = 2) -> ValuedReader:
    intensity = IntensitySettings(sources=list(sources), max_age_hours=age)
    return ValuedReader(engine, Settings(carbon=CarbonSettings(zone=zone, pue=1.0, intensity=intensity)))


def store(engine: sa.Engine, source: str, grams: dict[int, int], at: int = HOUR, basis: str = "lifecycle") -> None:
    series = {HOUR + 3600 * hour: (1000 * figure, False) for hour, figure in grams.items()}
    store_intensities(engine, source, "DE", basis, series, at, 2)


def applied(rows: list[ZoneIntensity]) -> dict[int, tuple[str, int, int]]:
    return {(row.start - HOUR) // 3600: (row.kind, row.mg_per_kwh, row.age_hours) for row in rows if row.applied}


def test_where_no_source_has_an_hour_an_earlier_figure_stands_in_and_then_the_yearly_one(engine: sa.Engine) -> None:
    its = a_book(engine, network("a"), network("b"))
    store(engine, "a", {0: 100})
    store(engine, "b", {0: 300, 2: 400})
    rows = list(grid_intensity(its, ["DE"], WINDOW, LATE))
    assert applied(rows) == {
        0: ("published", 100_000, 0), 1: ("standIn", 100_000, 1), 2: ("published", 400_000, 0),
        3: ("standIn", 400_000, 1), 4: ("standIn", 400_000, 2), 5: ("yearly", applied(rows)[5][1], 0),
    }  # fmt: skip
    (other,) = [row for row in rows if not row.applied]
    assert (other.source, other.start, other.mg_per_kwh) == ("b", HOUR, 300_000)
    assert "DE" in next(row.source for row in rows if row.kind == "yearly")


def test_a_figure_that_changed_is_shown_as_it_is_now_with_when_it_came(engine: sa.Engine) -> None:
    its = a_book(engine, network("a"))
    store(engine, "a", {0: 100}, at=HOUR + 10)
    store(engine, "a", {0: 120}, at=HOUR + 20)
    (row,) = grid_intensity(its, ["DE"], (HOUR, HOUR + 3600), LATE)
    assert (row.mg_per_kwh, row.received) == (120_000, HOUR + 20)


def test_the_other_basis_is_shown_and_values_nothing(engine: sa.Engine, tmp_path: object) -> None:
    source = ElectricityMapsSettings(key_file=f"{tmp_path}/key", both_bases=True)  # type: ignore[arg-type] # a path
    its = a_book(engine, source)
    store(engine, source.name, {0: 100})
    store(engine, source.name, {0: 80}, basis="direct")
    rows = list(grid_intensity(its, ["DE"], (HOUR, HOUR + 3600), LATE))
    assert [(row.basis, row.mg_per_kwh, row.applied) for row in rows] == [
        ("lifecycle", 100_000, True), ("direct", 80_000, False),
    ]  # fmt: skip


def test_hours_that_have_not_begun_are_not_shown(engine: sa.Engine) -> None:
    its = a_book(engine, stated(50))
    assert {row.start for row in grid_intensity(its, ["DE"], WINDOW, HOUR + 3601)} == {HOUR, HOUR + 3600}
    assert list(grid_intensity(its, ["DE"], WINDOW, HOUR)) == []


@pytest.mark.parametrize(("zone", "found"), [("DE", ["DE"]), ("", ["WORLD"])])
def test_without_a_zone_those_of_the_nodes_are_meant(engine: sa.Engine, zone: str, found: list[str]) -> None:
    its = a_book(engine, zone=zone)
    assert zones_of_nodes(its, WINDOW) == []
    book(Booker(engine), a_report(HOUR))
    assert zones_of_nodes(its, WINDOW) == found
    (row, *_) = grid_intensity(its, found, WINDOW, LATE)
    assert (row.kind, row.applied, row.zone) == ("yearly", True, found[0])


_series = st.dictionaries(st.integers(-3, HOURS - 1), st.integers(1, 900), max_size=6)


@settings(max_examples=60)
@given(st.lists(st.one_of(_series, st.integers(1, 900)), max_size=3), st.integers(0, 4))
def test_the_figure_that_is_marked_as_applied_is_the_one_that_values_the_hour(
    given_by: list[dict[int, int] | int], age: int
) -> None:
    """A source is a series of hours, or one figure of the settings; the order decides."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    schema.metadata.create_all(engine)
    sources: list[AnySource] = []
    for number, one in enumerate(given_by):
        name = f"s{number}"
        sources.append(network(name) if isinstance(one, dict) else stated(one).model_copy(update={"name": name}))
        if isinstance(one, dict):
            store(engine, name, one)
    its = a_book(engine, *sources, age=age)
    book(Booker(engine), a_report(HOUR))
    found = [row for row in grid_intensity(its, ["DE"], WINDOW, LATE) if row.applied]
    assert [row.start for row in found] == list(range(*WINDOW, 3600))
    with engine.connect() as connection:
        (node,) = read_nodes(connection, its.cluster).values()
        for row in found:
            place = its.terms.at(row.start).places.of(node, row.start, its.grid(connection, row.start))
            assert (row.mg_per_kwh, row.basis) == (place.mg_per_kwh, place.basis), row
    engine.dispose()
