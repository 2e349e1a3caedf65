"""Following sources of intensities: figures are kept, revised ones value their hours again, gaps are bridged."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from tests.ledger.reports import a_report, book
from typer.testing import CliRunner

from carbonbudget_core.node_report import NodeInfo
from carbonbudget_operator.carbon.intensity.hourly_intensity import IntensityPoint
from carbonbudget_operator.carbon.intensity.intensity_source import IntensitySourceError
from carbonbudget_operator.cli.fetch_summary import fetched_lines
from carbonbudget_operator.cli.main import app
from carbonbudget_operator.intensity_settings import ElectricityMapsSettings, IntensitySettings, StaticSourceSettings
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.intensity_store import load_intensities, store_intensities
from carbonbudget_operator.ledger.valued_rows import LOCATION_UG, MARKET_UG
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valuation.grid_hours import Fetched, IntensityPoller
from carbonbudget_operator.valued_hours.upkeep_steps import UpkeepSteps
from carbonbudget_operator.valued_hours.valued_reader import ValuedReader

HOUR = 1_764_000_000
NOW = HOUR + 3 * 3600 + 60
# The kept figures are those of sources named like these; `Told` below stands in for their network.
FIRST = ElectricityMapsSettings(name="first", key_file=Path("/none"))
SECOND = ElectricityMapsSettings(name="second", key_file=Path("/none"))
INTENSITY = IntensitySettings(sources=[FIRST, SECOND], interval_seconds=900, max_age_hours=2)
SETTINGS = Settings(carbon=CarbonSettings(zone="DE", pue=1.0, intensity=INTENSITY))


@dataclass
class Told:
    """A source that says what a test says, by hour after HOUR."""

    name: str = "first"
    says: dict[int, int] = field(default_factory=dict)
    error: str = ""
    zones: Mapping[str, str] = field(default_factory=dict)
    max_days: int = 2
    asked: list[tuple[str, int, int]] = field(default_factory=list)

    def zone_name(self, zone: str) -> str | None:
        return self.zones.get(zone) if self.zones else zone

    async def fetch(self, zone: str, start: int, end: int) -> list[IntensityPoint]:
        self.asked.append((zone, start, end))
        if self.error:
            raise IntensitySourceError(self.error)
        return [IntensityPoint(HOUR + 3600 * at, HOUR + 3600 * (at + 1), value) for at, value in self.says.items()]


def follower(engine: sa.Engine, *sources: Told, settings: Settings = SETTINGS) -> IntensityPoller:
    return IntensityPoller(engine, settings, CollectorRegistry(), sources)


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    """A kWh in each of four hours."""
    joules = 3_600_000 * 10**6
    book(
        Booker(engine),
        *(a_report(HOUR + 3600 * i, pods={"p": joules - 100}, idle_uj=0) for i in range(4)),
    )
    return engine


def grams(engine: sa.Engine, settings: Settings = SETTINGS) -> list[int]:
    """By hour after HOUR, rounded; the market's figure is the location's where nothing else is configured."""
    found = []
    for i in range(4):
        rows = list(ValuedReader(engine, settings).rows(HOUR + 3600 * i, HOUR + 3600 * (i + 1)))
        location = sum(sum(row.figures[LOCATION_UG]) for row in rows)
        assert location == sum(sum(row.figures[MARKET_UG]) for row in rows)
        found.append(round(location / 10**6))
    return found


async def test_an_hour_is_valued_with_its_own_figure_then_the_last_good_one_then_the_years(filled: sa.Engine) -> None:
    yearly = grams(filled, Settings(carbon=CarbonSettings(zone="DE", pue=1.0)))[0]
    assert grams(filled) == [yearly] * 4
    assert await follower(filled, Told(says={0: 100_000})).step(NOW) == 1
    assert grams(filled) == [100, 100, 100, yearly]


async def test_revised_figures_value_their_hours_again_also_those_that_leant_on_them(filled: sa.Engine) -> None:
    deriver = UpkeepSteps(ValuedReader(filled, SETTINGS), 35, 25)
    told = Told(says={0: 100_000, 2: 300_000})
    await follower(filled, told).step(NOW)
    while deriver.step(NOW + 86_400) is not None:
        pass
    assert grams(filled) == [100, 100, 300, 300]
    told.says[0] = 150_000
    assert await follower(filled, told).step(NOW + 900) == 1
    assert grams(filled) == [150, 150, 300, 300]  # at once
    made = []
    while (key := deriver.step(NOW + 86_400)) is not None:
        made.append(key)
    assert made
    assert grams(filled) == [150, 150, 300, 300]
    with filled.connect() as connection:  # what was known before stays to be seen
        rows = connection.execute(sa.text("SELECT mg_per_kwh FROM grid_hour ORDER BY hour, seen_at")).scalars()
        assert list(rows) == [100_000, 150_000, 300_000]


async def test_what_did_not_change_costs_no_revision(filled: sa.Engine) -> None:
    told = Told(says={0: 100_000})
    await follower(filled, told).step(NOW)
    with filled.connect() as connection:
        before = connection.execute(sa.text("SELECT hour, revision FROM hour_revision ORDER BY hour")).all()
    assert await follower(filled, told).step(NOW + 900) == 0
    with filled.connect() as connection:
        assert connection.execute(sa.text("SELECT hour, revision FROM hour_revision ORDER BY hour")).all() == before


async def test_a_source_is_asked_once_in_its_interval_by_all_servers_together(filled: sa.Engine) -> None:
    told = [Told(says={0: 100_000}) for _ in range(4)]
    followers = [follower(filled, source) for source in told]
    await asyncio.gather(*(one.step(NOW) for one in followers))
    await asyncio.gather(*(one.step(NOW + 899) for one in followers))
    assert sum(len(source.asked) for source in told) == 1
    await asyncio.gather(*(one.step(NOW + 900) for one in followers))
    assert sum(len(source.asked) for source in told) == 2


async def test_it_asks_for_what_is_missing_and_what_may_be_revised_of_zones_that_nodes_stand_in(
    filled: sa.Engine,
) -> None:
    told = Told(says={3: 100_000})
    elsewhere = Told("second", zones={"FR": "FR"})
    await follower(filled, told, elsewhere).step(HOUR + 40 * 3600)
    assert told.asked == [("DE", HOUR, HOUR + 41 * 3600)]  # the first hour with facts and without a figure
    assert elsewhere.asked == []


async def test_it_does_not_ask_for_zones_that_nodes_have_left(filled: sa.Engine) -> None:
    told = Told(says={3: 100_000})
    await follower(filled, told).step(HOUR + 4 * 86_400)  # its two days hold no report
    assert told.asked == []


async def test_where_one_source_fails_the_next_stands_in_and_it_is_logged_once(
    filled: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    broken, second = Told(error="first: the key is refused (401)"), Told("second", dict.fromkeys(range(4), 200000))
    one = follower(filled, broken, second)
    with caplog.at_level(logging.WARNING):
        for turn in range(3):
            await one.step(NOW + 900 * turn)
    assert [record.message for record in caplog.records] == [
        "zone DE: first: the key is refused (401); former and yearly figures stand in"
    ]
    assert grams(filled) == [200] * 4


async def test_an_answer_without_any_of_the_hours_is_a_failure(filled: sa.Engine) -> None:
    one = follower(filled, Told(says={500: 100_000}))
    assert await one.step(NOW) == 0
    with filled.connect() as connection:
        assert (
            connection.execute(sa.text("SELECT error FROM grid_poll")).scalar().startswith("first: no figure of zone")
        )
        assert load_intensities(connection, "lifecycle", 0, 2**40) == {}


def stated(figure: str, source: str = "inventory", **more: Any) -> Settings:
    its = StaticSourceSettings(figures={"de": Decimal(figure)}, basis="lifecycle", source=source, year=2025, **more)
    return Settings(carbon=CarbonSettings(zone="DE", pue=1.0, intensity=IntensitySettings(sources=[its])))


def test_a_stated_figure_and_its_source_change_together_and_at_once(filled: sa.Engine) -> None:
    """Nobody has to ask: no row has a former figure under the name of the present source."""
    for figure, source in (("363", "old table"), ("301.5", "new table"), ("1234.567", "new table")):
        given = stated(figure, source)
        assert grams(filled, given) == [round(float(figure))] * 4
        rows = list(ValuedReader(filled, given).rows(HOUR, NOW))
        assert {factor for row in rows for factor in row.factors if "static" in factor} == {
            f"DE lifecycle, {figure} g/kWh, static: {source}, 2025, PUE 1 (configured)"
        }


async def test_what_the_ledger_keeps_of_a_stated_source_never_replaces_what_the_settings_state(
    filled: sa.Engine,
) -> None:
    """A former version asked for stated figures and kept them."""
    for basis in ("lifecycle", "direct"):
        store_intensities(filled, "static", "DE", basis, {HOUR + 3600 * i: (100_000, False) for i in range(4)}, NOW, 2)
    assert grams(filled, stated("300")) == [300] * 4
    fr = StaticSourceSettings(figures={"FR": Decimal(20)}, basis="lifecycle", source="s", year=2025)
    elsewhere = Settings(carbon=CarbonSettings(zone="DE", pue=1.0, intensity=IntensitySettings(sources=[fr])))
    assert grams(filled, elsewhere) == grams(filled, Settings(carbon=CarbonSettings(zone="DE", pue=1.0)))


def test_stated_figures_reach_the_zones_of_nodes_that_reported_years_ago(filled: sa.Engine) -> None:
    later = HOUR + 3 * 366 * 86_400
    book(Booker(filled), replace(a_report(later, "new"), node_info=NodeInfo(region="europe-west9")))
    given = Settings(carbon=stated("300").carbon.at(0).model_copy(update={"zone": ""}))
    book(Booker(filled), replace(a_report(HOUR, "old"), node_info=NodeInfo(region="europe-west3")))
    rows = list(ValuedReader(filled, given).rows(HOUR, HOUR + 3600, by_node=True))
    (old,) = {factor for row in rows for factor in row.factors if row.node == "old" and "g/kWh" in factor}
    assert old.startswith("DE lifecycle, 300 g/kWh, static: inventory, 2025")


def test_factors_shows_the_hourly_figure_and_how_its_source_is_doing(
    url: str, open_engine: Callable[[str], sa.Engine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = open_engine(url)
    book(Booker(engine), a_report(HOUR))
    monkeypatch.setattr("time.time", lambda: HOUR + 60.0)
    config = tmp_path / "config.yaml"
    config.write_text(
        "carbon: {zone: DE, intensity: {sources: [{type: static, figures: {DE: 301.5}, basis: lifecycle, "
        "source: inventory, year: 2025}, {type: electricityMaps, url: 'http://127.0.0.1:1', key_file: /none}]}}"
    )
    args = ["factors", "--config", str(config), "--ledger", url]
    before = CliRunner().invoke(app, args)
    assert "world" not in before.stdout
    after = CliRunner().invoke(app, [*args, "--fetch"])
    for said in (before, after):
        assert "node-1: zone DE, 301.5 g/kWh, PUE 1.58" in said.output
        assert "DE lifecycle, 301.5 g/kWh, static: inventory, 2025, PUE 1.58" in said.output
        assert "source static: inventory, 2025: 301.5 g/kWh in zone DE, from the settings\n" in said.output
    assert "static: nothing to fetch: its figures (DE) are in the settings, and apply to every hour" in after.output
    assert "electricityMaps, zone DE: nothing was fetched: electricityMaps: no key in /none" in after.output
    fetched = json.loads(CliRunner().invoke(app, [*args, "--fetch", "-o", "json"]).stdout)["fetched"]
    assert [(one["source"], one["zone"], one["hours"]) for one in fetched] == [("electricityMaps", "DE", 0)]
    assert "electricityMaps, zone DE: last answer never, now: electricityMaps: no key in /none: put it" in after.output


async def test_each_source_and_zone_says_what_it_gave(filled: sa.Engine) -> None:
    good, bad = Told(says={0: 100_000, 1: 110_000}), Told("second", error="second: away")
    one = follower(filled, good, bad)
    assert await one.ask(NOW, force=True) == [
        Fetched("first", "DE", 2, 2),
        Fetched("second", "DE", 0, 0, "second: away"),
    ]
    assert (await one.ask(NOW, force=True))[0] == Fetched("first", "DE", 2, 0)


@pytest.mark.parametrize(
    ("sources", "through", "line"),
    [
        ([], NOW, "nothing to fetch: carbon.intensity.sources names no source, so the bundled yearly figures apply."),
        ([FIRST], 0, "first: nothing was fetched: no node has reported yet"),
        ([FIRST], HOUR, "first: nothing was fetched: no node of the last"),
        ([FIRST], HOUR - 40 * 86_400, "the last report ends at 2025-10-15 16:00 UTC. Older hours keep the figures"),
    ],
)
def test_where_nothing_was_fetched_the_command_says_why(sources: list[Any], through: int, line: str) -> None:
    (said,) = fetched_lines(CarbonSettings(intensity=IntensitySettings(sources=sources)), [], through, NOW)
    assert line in said
