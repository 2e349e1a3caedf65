"""The server's table of emission rates and former runs, fetched each minute, so that a review makes no request."""

from __future__ import annotations

import asyncio
import logging
import random

from carbonbudget_operator.admission.reviewed_work import ReviewedWork
from carbonbudget_operator.admission.webhook_budget import WebhookBudget
from carbonbudget_operator.api.projection_bodies import CapacityRate, FormerRuns, ProjectionAnswer
from carbonbudget_operator.budgets.expected_emissions import (
    ExpectedEmissions,
    FormerRunMean,
    NoExpectation,
    expect_emissions,
)
from carbonbudget_operator.budgets.workload_demand import EmissionRates
from carbonbudget_operator.logs import log_action
from carbonbudget_operator.server_client import ServerClient, ServerUnavailable

_log = logging.getLogger(__name__)
FETCH_SECONDS = 60.0
# Rates change slowly and former runs do not, so an old table remains useful for a day.
MAX_AGE_SECONDS = 86_400


class ProjectionCache:
    """The newest table of rates and former runs. Empty until the server's first answer."""

    def __init__(self) -> None:
        self.as_of = 0
        self._rates: dict[str, CapacityRate] = {}
        self._runs: dict[tuple[str, str], FormerRuns] = {}

    def store(self, projection: ProjectionAnswer) -> None:
        """Replaces the table by the server's answer."""
        self.as_of = projection.as_of
        self._rates = {rate.instance_type: rate for rate in projection.rates}
        self._runs = {(run.namespace, run.workload): run for run in projection.runs}

    def age_s(self, now: int) -> int | None:
        """Seconds since the server made the table; None without a table."""
        return max(0, now - self.as_of) if self.as_of else None

    def expected(
        self, work: ReviewedWork, namespace: str, now: int, budget: WebhookBudget
    ) -> ExpectedEmissions | NoExpectation:
        """The expected emissions of the work until the budget's period ends, as the budget counts; or why not."""
        if work.plan is None:
            return NoExpectation.PODS_UNKNOWN
        if not self.as_of or now - self.as_of > MAX_AGE_SECONDS:
            return NoExpectation.NO_TABLE
        run = self._runs.get((namespace, work.workload))
        former = None if run is None else FormerRunMean(_former_ug(run, budget), run.pod_seconds)
        rate = self._rates.get(work.instance_type) or self._rates.get("")
        return expect_emissions(
            work.plan, former, None if rate is None else _rates(rate, budget), budget.period_end - now
        )


def _former_ug(run: FormerRuns, budget: WebhookBudget) -> int:
    energy = (run.pod_market_ug if budget.market else run.pod_location_ug) if budget.operational else 0
    return energy + (run.pod_embodied_ug if budget.embodied else 0)


def _rates(rate: CapacityRate, budget: WebhookBudget) -> EmissionRates:
    core = gpu = 0
    if budget.operational:
        core = rate.core_hour_market_ug if budget.market else rate.core_hour_location_ug
        gpu = rate.gpu_hour_market_ug if budget.market else rate.gpu_hour_location_ug
    if budget.embodied:
        core, gpu = core + rate.core_hour_embodied_ug, gpu + rate.gpu_hour_embodied_ug
    return EmissionRates(core, gpu)


async def keep_fetching(table: ProjectionCache, server: ServerClient) -> None:
    """Fetches the table, without end. While the server does not answer, the last table is used, with one log line."""
    failing = False
    while True:
        try:
            table.store(await server.projection())
            if failing:
                log_action(_log, "server-back", "the server answers again")
            failing = False
        except ServerUnavailable as error:
            if not failing:
                sentence = f"no new table of projections, the last one stands: {error}"
                log_action(_log, "server-away", sentence, level=logging.WARNING)
            failing = True
        await asyncio.sleep(FETCH_SECONDS * (0.75 + random.random() / 2))  # noqa: S311 - jitter, not secrecy
