"""Forecasts of sources are asked for once an hour, kept as the newest, and never touch what values energy."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from prometheus_client import CollectorRegistry
from tests.carbon.answering import Answer, Answering, Asked, answering
from tests.ledger.reports import a_report, book
from typer.testing import CliRunner

from carbonbudget_operator.cli.main import app
from carbonbudget_operator.intensity_settings import ElectricityMapsSettings, IntensitySettings, NesoSettings
from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.forecast_store import forecast_polls, load_forecasts
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valuation.forecast_poller import FetchedForecast, ForecastPoller
from carbonbudget_operator.valuation.grid_hours import IntensityPoller

HOUR = 1_764_000_000
NOW = HOUR + 60
NEXT = HOUR + 3600


@pytest.fixture
def server() -> Iterator[Answering]:
    with answering() as state:
        yield state


@pytest.fixture
def filled(engine: sa.Engine) -> sa.Engine:
    book(Booker(engine), a_report(HOUR))
    return engine


class World:
    """A server that polls a source on this machine."""

    def __init__(self, engine: sa.Engine, server: Answering, tmp_path: Path, **more: Any) -> None:
        (tmp_path / "key").write_text("s3cret")
        source = ElectricityMapsSettings(
            name="maps", url=f"{server.url}/v3", key_file=tmp_path / "key", requests_per_minute=6000, **more
        )
        settings = Settings(carbon=CarbonSettings(zone="DE", intensity=IntensitySettings(sources=[source])))
        self.engine, self.server, self.registry = engine, server, CollectorRegistry()
        intensities = IntensityPoller(engine, settings, self.registry)
        self.poller = ForecastPoller(engine, settings, self.registry, intensities)

    def says(self, *grams: float | None, start: int = NEXT, status: int = 200, **headers: str) -> None:
        """The answer to every question from now on."""
        hours = [
            {"carbonIntensity": value, "datetime": dt.datetime.fromtimestamp(start + 3600 * at, dt.UTC).isoformat()}
            for at, value in enumerate(grams)
        ]
        self.server.answers = [Answer({"zone": "DE", "forecast": hours}, status, headers)]

    def kept(self, start: int = 0) -> dict[int, int]:
        with self.engine.connect() as connection:
            found = load_forecasts(connection, "lifecycle", ["DE"], start).get(("maps", "DE"))
        return {} if found is None else {(hour - HOUR) // 3600: mg for hour, mg in found.mg_per_kwh.items()}

    def error(self) -> str:
        with self.engine.connect() as connection:
            return forecast_polls(connection)["maps", "DE"].error

    def counted(self, outcome: str) -> float | None:
        labels = {"source": "maps", "outcome": outcome}
        return self.registry.get_sample_value("carbonbudget_intensity_forecast_polls_total", labels)


async def test_the_newest_forecast_replaces_the_former_one_and_ends_where_it_ends(
    filled: sa.Engine, server: Answering, tmp_path: Path
) -> None:
    world = World(filled, server, tmp_path)
    world.says(100, 110, 120, 130)
    assert await world.poller.step(NOW) == [FetchedForecast("maps", "DE", 4)]
    assert world.kept() == {1: 100_000, 2: 110_000, 3: 120_000, 4: 130_000}
    world.says(200, 210, start=NEXT + 3600)
    await world.poller.step(NOW + 3600)
    # The hour that has begun keeps what was expected of it; hour 4 is no longer expected.
    assert world.kept() == {1: 100_000, 2: 200_000, 3: 210_000}
    assert world.kept(NEXT + 3600) == {2: 200_000, 3: 210_000}
    with filled.connect() as connection:
        first = connection.execute(sa.text("SELECT hour, first_mg_per_kwh FROM grid_forecast ORDER BY hour")).all()
        assert [mg for _, mg in first] == [100_000, 110_000, 120_000]
        assert connection.execute(sa.text("SELECT count(*) FROM grid_hour")).scalar() == 0


async def test_what_is_expected_values_no_hour_again(filled: sa.Engine, server: Answering, tmp_path: Path) -> None:
    with filled.connect() as connection:
        before = connection.execute(sa.text("SELECT hour, revision FROM hour_revision")).all()
    world = World(filled, server, tmp_path)
    world.says(100, start=NEXT)
    await world.poller.step(NOW)
    with filled.connect() as connection:
        assert connection.execute(sa.text("SELECT hour, revision FROM hour_revision")).all() == before


async def test_a_zone_is_asked_once_an_hour_by_all_servers_together(
    filled: sa.Engine, server: Answering, tmp_path: Path
) -> None:
    worlds = [World(filled, server, tmp_path) for _ in range(3)]
    worlds[0].says(100, 100, 100)
    for after in (0, 60, 3599):
        await asyncio.gather(*(world.poller.step(NOW + after) for world in worlds))
    assert len(server.asked) == 1
    await asyncio.gather(*(world.poller.step(NOW + 3600) for world in worlds))
    assert len(server.asked) == 2


async def test_a_refused_forecast_is_counted_and_logged_once_and_the_former_one_stays(
    filled: sa.Engine, server: Answering, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(filled, server, tmp_path)
    world.says(100, 110, 120, 130)
    await world.poller.step(NOW)
    server.answers = [Answer({"zone": "FR", "forecast": []})]
    with caplog.at_level(logging.WARNING):
        for turn in (1, 2):
            (done,) = await world.poller.step(NOW + 3600 * turn)
    assert done == FetchedForecast("maps", "DE", 0, "maps: asked for zone DE, the answer is for FR")
    assert [record.message for record in caplog.records] == [
        "no forecast of zone DE: maps: asked for zone DE, the answer is for FR; the mean of past weeks is expected"
    ]
    assert world.kept() == {1: 100_000, 2: 110_000, 3: 120_000, 4: 130_000}
    assert (world.counted("failed"), world.counted("answered")) == (2, 1)
    assert world.error() == done.error
    world.says(90, 90, start=NEXT + 3 * 3600)
    await world.poller.step(NOW + 3 * 3600)
    assert world.error() == ""


@pytest.mark.parametrize(
    ("retry_after", "pause"), [("10800", 10_800), ("120", 3600), ("999999999", 86_400), ("soon", 3600)]
)
async def test_a_source_that_asks_for_a_longer_pause_gets_it(
    filled: sa.Engine, server: Answering, tmp_path: Path, retry_after: str, pause: int
) -> None:
    world = World(filled, server, tmp_path)
    world.says(status=429, **{"retry-after": retry_after})
    if retry_after == "soon":  # no time is no long one, so two more attempts are made at once
        world.says(status=403)
    await world.poller.step(NOW)
    assert len(server.asked) == 1
    await world.poller.step(NOW + pause - 1)
    assert len(server.asked) == 1
    await world.poller.step(NOW + pause)
    assert len(server.asked) == 2


async def test_what_has_no_forecast_or_shall_have_none_is_not_asked(
    filled: sa.Engine, server: Answering, tmp_path: Path
) -> None:
    world = World(filled, server, tmp_path, forecast=False)
    world.says(100)
    assert await world.poller.step(NOW) == []
    assert server.asked == []


async def test_the_horizon_is_that_of_the_plan(filled: sa.Engine, server: Answering, tmp_path: Path) -> None:
    world = World(filled, server, tmp_path, forecast_hours=24)
    world.says(100)
    await world.poller.step(NOW)
    assert server.asked[0].params["horizonHours"] == "24"


async def test_neso_is_asked_for_great_britain_alone(engine: sa.Engine, server: Answering) -> None:
    book(Booker(engine), a_report(HOUR))
    for zone, times in (("DE", 0), ("GB", 1)):
        source = NesoSettings(url=server.url)
        carbon = CarbonSettings(zone=zone, basis="direct", intensity=IntensitySettings(sources=[source]))
        settings, registry = Settings(carbon=carbon), CollectorRegistry()
        halves = [
            {"from": f"2025-11-24T17:{begin}Z", "to": f"2025-11-24T{end}Z", "intensity": {"forecast": value}}
            for begin, end, value in (("00", "17:30", 100), ("30", "18:00", 200))
        ]
        server.answers = [Answer({"data": halves})]
        poller = ForecastPoller(engine, settings, registry, IntensityPoller(engine, settings, registry))
        await poller.step(NOW)
        assert len(server.asked) == times
    with engine.connect() as connection:
        found = load_forecasts(connection, "direct", ["GB"], 0)["neso", "GB"]
        assert dict(found.mg_per_kwh) == {NEXT: 150_000}
        assert load_forecasts(connection, "lifecycle", ["GB"], 0) == {}


def test_factors_fetch_says_what_the_forecast_gave(
    url: str, open_engine: Callable[[str], sa.Engine], server: Answering, tmp_path: Path, monkeypatch: Any
) -> None:
    book(Booker(open_engine(url)), a_report(HOUR))
    monkeypatch.setattr("time.time", lambda: HOUR + 60.0)
    (tmp_path / "key").write_text("s3cret")
    config = tmp_path / "config.yaml"
    source = {"type": "electricityMaps", "url": server.url, "key_file": str(tmp_path / "key")}
    config.write_text(json.dumps({"carbon": {"zone": "DE", "intensity": {"sources": [source]}}}))
    forecast = [{"carbonIntensity": 90, "datetime": "2025-11-24T17:00:00Z"}]

    def answer(asked: Asked) -> Answer:
        body = {"zone": "DE", "forecast": forecast, "history": []}
        return Answer(body if forecast else b"", 200 if forecast else 403)

    server.answers = [answer]
    args = ["factors", "--config", str(config), "--ledger", url, "--fetch"]
    said = CliRunner().invoke(app, args)
    assert "electricityMaps, zone DE: forecast: fetched 1 hour to come" in said.output
    forecast.clear()
    said = CliRunner().invoke(app, [*args, "-o", "json"])
    assert "the key is refused (403)" in json.loads(said.stdout)["forecasts"][0]["error"]
