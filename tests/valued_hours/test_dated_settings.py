"""Dated settings value each hour by what is in force at its start; what changes the past is logged and counted."""

from __future__ import annotations

import asyncio
import datetime as dt
import gc
import logging
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from tests.databases import make_tables
from tests.ledger.reports import a_report, book

from carbonbudget_operator.answers.emissions_report import EmissionsReporter
from carbonbudget_operator.carbon.grid_factors import UnknownZone
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.fact_reader import read_nodes
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.valued_rows import EMBODIED_UG, FACILITY_UJ, LOCATION_UG, MARKET_UG, ValuedRow
from carbonbudget_operator.settings import Settings
from carbonbudget_operator.valuation.derivation import BUNDLED, changes, describe, differences
from carbonbudget_operator.valuation.grid_hours import IntensityPoller
from carbonbudget_operator.valuation.node_factors import check_all_places
from carbonbudget_operator.valued_hours.upkeep import Upkeep
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR = 3600
FIRST = 1_761_868_800  # 2025-10-31T00:00Z
HOURS = 6
NOW = FIRST + 10 * 86_400
RATE = {"source": "bill", "year": 2025}


def settings(**carbon: Any) -> Settings:
    return Settings.model_validate({"carbon": {"zone": "DE", "pue": 1.2, **carbon}})


def after(value: object, hours: int, other: object) -> list[dict[str, object]]:
    """A value, and another one that is in force from so many hours after FIRST on."""
    when = dt.datetime.fromtimestamp(FIRST + hours * HOUR, dt.UTC).isoformat()
    return [{"value": value}, {"valid_from": when, "value": other}]


def fill(engine: sa.Engine) -> sa.Engine:
    """A tenth of a kWh in each hour, a third of it idle."""
    book(
        Booker(engine),
        *(a_report(FIRST + n * HOUR, pods={"p": 240 * 10**9, "q": 10**9}, idle_uj=120 * 10**9) for n in range(HOURS)),
    )
    return engine


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    return fill(engine)


def by_hour(engine: sa.Engine, given: Settings) -> list[list[ValuedRow]]:
    """Rows of each hour, made of the facts."""
    made = ValuedReader(engine, given)
    found = []
    with engine.connect() as connection:
        for n in range(HOURS):
            rows = made.make(connection, FIRST + n * HOUR).rows
            found.append(sorted(rows, key=lambda row: (row.scope, row.namespace, row.workload, str(row.labels))))
    return found


def location_ug(rows: list[ValuedRow]) -> int:
    return sum(sum(row.figures[LOCATION_UG]) for row in rows)


STATIC = {"type": "static", "basis": "lifecycle", "source": "inventory", "figures": {"DE": 300}, "year": 2025}
CHANGES: list[tuple[str, object, object]] = [
    ("pue", 1.2, 1.1),
    ("zone", "DE", "FR"),
    ("ownership", "owned", "cloud"),
    ("provider", "own", "gcp"),
    ("market", {}, {"supplier": RATE | {"g_per_kwh": 120}}),
    ("market", {"residual_mixes": []}, {"residual_mixes": [RATE | {"g_per_kwh": 700, "zone": "DE"}]}),
    ("embodied", {"life_years": 4}, {"life_years": 6}),
    ("embodied", {"server_kg": 1000}, {"server_kg": 1400}),
]


@pytest.mark.parametrize(("key", "value", "other"), CHANGES)
def test_hours_before_the_change_have_the_former_value_and_those_from_it_on_the_new_one(
    filled: sa.Engine, key: str, value: object, other: object
) -> None:
    if isinstance(value, dict) and isinstance(other, dict):
        dated: object = {name: after(value.get(name), 3, other[name]) for name in other}
    else:
        dated = after(value, 3, other)
    former, later = (by_hour(filled, settings(**{key: its})) for its in (value, other))
    assert former[0] != later[0] or key == "provider"  # all nodes here are one's own
    assert by_hour(filled, settings(**{key: dated})) == [*former[:3], *later[3:]]


def test_who_bears_idle_energy_may_change_from_an_hour_on(filled: sa.Engine) -> None:
    def allocation(idle: object) -> Settings:
        return Settings.model_validate({"carbon": {"zone": "DE"}, "allocation": {"idle": idle}})

    former, later = by_hour(filled, allocation("even")), by_hour(filled, allocation("separate"))
    assert former[0] != later[0]
    assert by_hour(filled, allocation(after("even", 2, "separate"))) == [*former[:2], *later[2:]]
    reporter = EmissionsReporter(filled, allocation(after("even", 2, "separate")))
    assert list(reporter.run(FIRST, FIRST + HOURS * HOUR, NOW))
    result = reporter.result()
    assert isinstance(result["policy"], dict)
    assert result["policy"]["idle"] == "separate"
    assert result["settings_changes"] == [
        {"from": FIRST + 2 * HOUR, "settings": ['allocation.idle "even" -> "separate"']}
    ]
    before = EmissionsReporter(filled, allocation(after("even", 2, "separate")))
    assert list(before.run(FIRST, FIRST + 2 * HOUR, NOW))
    assert before.result()["policy"]["idle"] == "even"  # type: ignore[index]
    assert "settings_changes" not in before.result()


@hypothesis_settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(st.integers(0, HOURS + 2), st.floats(1, 5), max_size=4),
    hour=st.integers(0, HOURS + 2), pue=st.floats(1, 5),
)  # fmt: skip
def test_a_change_at_an_hour_never_changes_an_hour_before_it(
    once_filled: sa.Engine, changes: dict[int, float], hour: int, pue: float
) -> None:
    """And energy is the same whatever the settings are."""

    def dated(entries: dict[int, float]) -> Settings:
        written = [{"value": 1.5}] + [
            {"valid_from": dt.datetime.fromtimestamp(FIRST + n * HOUR, dt.UTC).isoformat(), "value": value}
            for n, value in sorted(entries.items())
        ]
        return settings(pue=written)

    earlier = {n: value for n, value in changes.items() if n < hour}
    before, now = by_hour(once_filled, dated(earlier)), by_hour(once_filled, dated({**earlier, hour: pue}))
    assert now[:hour] == before[:hour]
    for rows, others in zip(before, now, strict=True):
        assert sum(sum(row.figures[:3]) for row in rows) == sum(sum(row.figures[:3]) for row in others)
    alone = by_hour(once_filled, settings(pue=pue))
    assert now[hour:] == alone[hour:]


@pytest.fixture(scope="module")
def once_filled(tmp_path_factory: pytest.TempPathFactory) -> Any:
    engine = open_ledger(f"sqlite:///{tmp_path_factory.mktemp('dated')}/ledger.db")
    make_tables(engine)
    yield fill(engine)
    engine.dispose()


def test_a_day_and_a_month_over_a_change_are_the_sum_of_their_hours(filled: sa.Engine) -> None:
    given = settings(pue=after(1.2, 3, 1.1), ownership=after("owned", 4, "cloud"))
    hours = [row for rows in by_hour(filled, given) for row in rows]
    deriver = UpkeepSteps(ValuedReader(filled, given), 35, 25)
    while deriver.step(NOW + 40 * 86_400) is not None:
        pass
    kept = list(ValuedReader(filled, given).rows(FIRST - 86_400, NOW + 40 * 86_400))
    for columns in (LOCATION_UG, MARKET_UG, slice(EMBODIED_UG, FACILITY_UJ + 1)):
        assert sum(sum(row.figures[columns]) for row in kept) == sum(sum(row.figures[columns]) for row in hours)
    assert {row.scope for row in kept} == {"Scope 2", "Scope 3, category 1"}


def test_static_figures_may_change_from_an_hour_on(filled: sa.Engine) -> None:
    given = settings(
        pue=1.0, intensity={"sources": after([STATIC], 2, [STATIC | {"figures": {"DE": 200}, "year": 2026}])}
    )
    uj = location_ug(by_hour(filled, settings(pue=1.0, intensity={"sources": [STATIC]}))[0]) // 300
    found = by_hour(filled, given)
    assert [round(location_ug(rows) / uj) for rows in found] == [300, 300, 200, 200, 200, 200]
    factors = [{factor for row in rows for factor in row.factors if "static" in factor} for rows in found]
    assert factors == [
        {f"DE lifecycle, {figure} g/kWh, static: inventory, {year}, PUE 1 (configured)"}
        for figure, year in [(300, 2025)] * 2 + [(200, 2026)] * 4
    ]


async def test_a_source_that_came_later_leaves_the_hours_before_it_at_their_yearly_figures(filled: sa.Engine) -> None:
    yearly = by_hour(filled, settings())
    given = settings(intensity={"sources": after([], 4, [STATIC])})
    await IntensityPoller(filled, given, CollectorRegistry()).step(NOW)
    assert by_hour(filled, given)[:4] == yearly[:4]
    assert by_hour(filled, given)[4:] != yearly[4:]


async def test_static_figures_that_ended_long_ago_are_no_failure(filled: sa.Engine) -> None:
    """Nobody asks for what the settings state: an alert that it fails would never end."""
    both, much_later = STATIC | {"other_figures": {"DE": 250}}, FIRST + 60 * 86_400
    book(Booker(filled), a_report(much_later, pods={"p": 10}))
    for later in ([], [STATIC], [both | {"name": "now", "figures": {"DE": 200}, "other_figures": {"FR": 20}}]):
        registry = CollectorRegistry()
        follower = IntensityPoller(filled, settings(intensity={"sources": after([both], 2, later)}), registry)
        await follower.step(much_later + HOUR, force=True)
        failed = {"source": "static", "outcome": "failed"}
        assert not registry.get_sample_value("carbonbudget_intensity_polls_total", failed), later


def test_a_zone_that_nothing_can_stand_in_later_stops_the_start() -> None:
    with pytest.raises(UnknownZone, match=r"'NOWHERE'.*\(in force from 2025-10-31T03:00Z\)"):
        check_all_places(settings(zone=after("DE", 3, "NOWHERE")).carbon)


def test_a_report_keeps_nothing_of_what_it_has_added_up(filled: sa.Engine) -> None:
    """A server has the room for its questions; a year's report beside them must not take as much again."""

    def rows_in_memory() -> int:
        gc.collect()
        return sum(isinstance(one, ValuedRow) for one in gc.get_objects())

    before, reporter = rows_in_memory(), EmissionsReporter(filled, settings())
    most = max(rows_in_memory() - before for _ in reporter.run(FIRST, FIRST + HOURS * HOUR, NOW))
    assert most <= 2 * max(len(rows) for rows in by_hour(filled, settings()))


def upkeep(engine: sa.Engine, given: Settings, caplog: pytest.LogCaptureFixture) -> tuple[float | None, list[str]]:
    """What a server with these settings counts and logs in its first rounds."""
    caplog.clear()
    registry = CollectorRegistry()
    its = Upkeep(UpkeepSteps(ValuedReader(engine, given), 35, 25), registry)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):  # it takes hours that did not change since the round before
            asyncio.run(its.run(NOW))
    return registry.get_sample_value("carbonbudget_restated_hours_total"), [r.getMessage() for r in caplog.records]


def test_a_plain_value_that_is_changed_restates_the_past_and_that_is_logged_and_counted(
    filled: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    assert upkeep(filled, settings(), caplog) == (0, [])
    count, lines = upkeep(filled, settings(pue=1.5), caplog)
    assert count == HOURS
    (line,) = lines
    assert line.startswith("6 hours between 2025-10-31T00:00Z and 2025-10-31T06:00Z restated: location-based ")
    assert "; changed: carbon.pue 1.2 -> 1.5; to keep the past as it was, give the former value" in line
    assert upkeep(filled, settings(pue=1.5), caplog) == (0, [])  # once


def test_an_entry_that_is_added_restates_nothing_before_it(filled: sa.Engine, caplog: pytest.LogCaptureFixture) -> None:
    upkeep(filled, settings(), caplog)
    former = by_hour(filled, settings())
    given = settings(pue=after(1.2, HOURS + 1, 1.5))
    assert upkeep(filled, given, caplog) == (0, [])
    assert by_hour(filled, given) == former
    count, lines = upkeep(filled, settings(pue=after(1.2, 4, 1.5)), caplog)
    assert count == 2
    assert lines[0].startswith("2 hours between 2025-10-31T04:00Z and 2025-10-31T06:00Z restated: ")
    assert "changed: carbon.pue 1.2 -> 1.5" in lines[0]


async def test_a_stated_figure_that_is_changed_is_logged_though_its_hours_got_new_revisions(
    filled: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    def stated(figure: int) -> Settings:
        return settings(intensity={"sources": [STATIC | {"figures": {"DE": figure}}]})

    for figure, expected in ((300, 0), (200, HOURS)):
        await IntensityPoller(filled, stated(figure), CollectorRegistry()).step(NOW + 3600 * (figure == 200))
        count, lines = await asyncio.to_thread(upkeep, filled, stated(figure), caplog)
        assert count == expected
    assert "; changed: carbon.intensity " in lines[0]


def test_facts_that_came_late_are_no_restatement(filled: sa.Engine, caplog: pytest.LogCaptureFixture) -> None:
    upkeep(filled, settings(), caplog)
    book(Booker(filled), a_report(FIRST + 60, pods={"late": 10**9}))
    count, _ = upkeep(filled, settings(pue=1.5), caplog)
    assert count == HOURS - 1


def test_settings_without_dates_are_described_as_by_the_former_version() -> None:
    """Or every upgrade would value all hours again."""
    text = describe(settings())
    assert text.startswith("rules 8; cluster default; figures ")
    assert (
        '; carbon {"zone":"DE","pue":1.2,"basis":"lifecycle","ownership":"auto","provider":"","market":{"contracts":[],'
        '"supplier":null,"residual_mixes":[],"attested_providers":[]},"embodied":{"server_kg":null,"gpu_kg":null,'
        '"host_threads":96,"life_years":4,"in_service":null}}; sources [], 24 h; allocation {"idle":"byRequest",'
        '"overhead":"proportional","shared":{}}'
    ) in text
    assert text.endswith('"shared":{}}')


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({}, {}, []),
        ({"pue": 1.4}, {"pue": 1.1, "ownership": "owned"}, ['carbon.ownership "auto" -> "owned"',
                                                             "carbon.pue 1.4 -> 1.1"]),
        ({}, {"pue": after(1.2, 3, 1.1)}, ["carbon.pue 1.2 -> 1.1"]),
        ({"pue": after(1.2, 3, 1.1)}, {"pue": after(1.2, 5, 1.1)}, ["carbon.pue 1.1 -> 1.2"]),
        ({"embodied": {"life_years": 4}}, {"embodied": {"life_years": 5}}, ["carbon.embodied.life_years 4 -> 5"]),
    ],
)  # fmt: skip
def test_what_two_settings_differ_by_is_named(one: dict[str, Any], other: dict[str, Any], expected: list[str]) -> None:
    assert differences(describe(settings(**one)), describe(settings(**other))) == expected


def test_a_source_whose_words_look_like_a_description_breaks_nothing() -> None:
    odd = STATIC | {"source": 'a"]; allocation {"idle": 1}; from 5: carbon {'}
    given = settings(intensity={"sources": after([STATIC], 3, [odd])})
    assert [since for since, _ in changes(given, FIRST, NOW)] == [FIRST + 3 * HOUR]
    assert isinstance(differences(describe(given), describe(settings())), list)


def test_other_tables_of_a_version_are_named_as_such() -> None:
    text = describe(settings())
    assert differences(text.replace("figures ", "figures 0"), text) == [BUNDLED]
    assert differences("something of long ago", text) == []


def test_a_node_is_of_the_scope_of_its_time(filled: sa.Engine) -> None:
    terms = ValuedReader(filled, settings(ownership=after("owned", 3, "cloud"))).terms
    with filled.connect() as connection:
        (node,) = read_nodes(connection, "default").values()
    scopes = [terms.at(FIRST + n * HOUR).places.scope(node) for n in (2, 3)]
    assert scopes == ["Scope 2", "Scope 3, category 1"]
