"""What the controller asks the server for deferred Jobs, and the start that follows from the answer."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from tests.carbon.answering import Answer, answering
from tests.ledger.reports import HOUR as T0
from tests.server.forecast_server import CLEAN_HOUR, DAY, HOUR, FaceClient, a_forecasting_server

from carbonbudget_operator.budgets.expected_emissions import ExpectedEmissions, WorkloadPlan
from carbonbudget_operator.budgets.workload_demand import PodDemand
from carbonbudget_operator.cleaner_hours.start_choice import choose_start
from carbonbudget_operator.enforcement.forecast_source import ForecastSource
from carbonbudget_operator.enforcement.job_fields import instant
from carbonbudget_operator.intensity_settings import ElectricityMapsSettings, IntensitySettings
from carbonbudget_operator.server_client import ServerUnavailable
from carbonbudget_operator.settings import CarbonSettings, Settings
from carbonbudget_operator.valuation.forecast_poller import ForecastPoller
from carbonbudget_operator.valuation.grid_hours import IntensityPoller


async def test_the_controllers_account_gets_the_forecast_and_the_rates_and_finds_the_clean_hour(tmp_path: Path) -> None:
    async with a_forecasting_server(tmp_path) as face:
        source = ForecastSource(FaceClient(face), lambda: face.clock[0])
        assert await source.refresh()
        forecast = source.newest
        assert forecast is not None
        now = face.clock[0]
        assert forecast.hours.zones == ("DE",)
        assert forecast.hours.exposure(now, 6 * DAY).unknown_s == 0
        choice = choose_start(forecast.hours, HOUR, now, now + DAY)
        assert choice.start % DAY == CLEAN_HOUR * HOUR
        assert choice.percent_less == 75
        plan = WorkloadPlan(PodDemand(1000, 0), 1, 1, stated_s=HOUR)
        found, reference_mg = forecast.base("team-a", "Job/x", "", plan)
        assert isinstance(found, ExpectedEmissions)
        assert reference_mg == (23 * 400_000 + 100_000) // 24


async def test_whoever_may_read_nothing_gets_the_forecast_without_rates(tmp_path: Path) -> None:
    async with a_forecasting_server(tmp_path) as face:
        client = FaceClient(face, "user:nobody@")
        assert await client.intensity(T0, T0 + DAY)
        with pytest.raises(ServerUnavailable, match="403"):
            await client.projection()


async def test_a_windy_night_that_the_source_expects_is_chosen_before_the_usual_clean_hour(tmp_path: Path) -> None:
    """From the source's answer over HTTP to the start that controller and `carbonbudget when` choose."""
    (tmp_path / "key").write_text("s3cret")
    windy = T0 + 3 * HOUR
    with answering() as server:
        source = ElectricityMapsSettings(name="net", url=server.url, key_file=tmp_path / "key")
        carbon = CarbonSettings(zone="DE", pue=1.0, intensity=IntensitySettings(sources=[source]))
        async with a_forecasting_server(tmp_path, carbon) as face:
            now = int(face.clock[0])
            controller = ForecastSource(FaceClient(face), lambda: face.clock[0])

            async def chosen() -> tuple[int, int | None]:
                assert await controller.refresh()
                assert controller.newest is not None
                choice = choose_start(controller.newest.hours, HOUR, now, now + DAY)
                return choice.start, choice.percent_less

            usual = await chosen()
            assert usual[0] % DAY == CLEAN_HOUR * HOUR
            registry, settings = CollectorRegistry(), Settings(carbon=carbon)
            poller = ForecastPoller(face.engine, settings, registry, IntensityPoller(face.engine, settings, registry))
            starts = [dt.datetime.fromtimestamp(at, dt.UTC) for at in range(T0 + HOUR, T0 + 25 * HOUR, HOUR)]
            hours = [
                {"carbonIntensity": 40 if at.timestamp() == windy else 400, "datetime": at.isoformat()} for at in starts
            ]
            server.answers = [Answer({"zone": "FR", "forecast": hours}), Answer({"zone": "DE", "forecast": hours})]
            await poller.step(now)
            assert await chosen() == usual  # a forecast for another zone changes nothing
            await poller.step(now + HOUR)
            assert await chosen() == (windy, 90)
            rows = await FaceClient(face).intensity(T0, now + 2 * DAY)
    sources = {(instant(row.start) - T0) // HOUR: row.source for row in rows if row.kind == "forecast"}
    usual_words = "mean of this hour of the week in the last weeks"
    # The source was asked an hour later than the question: what is past by then is no part of its forecast.
    assert sources == {hour: "forecast of net" if 2 <= hour <= 24 else usual_words for hour in range(1, 49)}
