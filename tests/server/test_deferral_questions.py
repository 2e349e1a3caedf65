"""What the controller asks the server for deferred Jobs, and the start that follows from the answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.ledger.reports import HOUR as T0
from tests.server.forecast_server import CLEAN_HOUR, DAY, HOUR, FaceClient, a_forecasting_server

from carbonbudget_operator.budgets.expected_emissions import ExpectedEmissions, WorkloadPlan
from carbonbudget_operator.budgets.workload_demand import PodDemand
from carbonbudget_operator.cleaner_hours.start_choice import choose_start
from carbonbudget_operator.enforcement.forecast_source import ForecastSource
from carbonbudget_operator.server_client import ServerUnavailable


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
