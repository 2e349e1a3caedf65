"""Deferred Jobs through the enforcement loop: what is written to them, said about them and counted."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from tests.enforcement.deferred_worlds import DEFER, FORECAST, HELD, START, STARTED, T0, deferred_body, wish
from tests.enforcement.loop_bench import Bench, annotations
from tests.enforcement.worlds import HOUR, NOW, Body, budget_body, finished

from carbonbudget_operator.api.times import format_time

CLEAN = T0 + 3 * HOUR


def add(bench: Bench, name: str = "train", **more: Any) -> None:
    bench.world.jobs[name] = deferred_body(name, **more)


async def with_forecast(bench: Bench) -> None:
    """The grid is four times as clean in one of the hours to come."""
    bench.world.grid_mg = {CLEAN: 100_000}
    bench.loop.deferral.forecasts.want({"team-a"})
    assert await bench.loop.deferral.forecasts.refresh()


async def test_a_job_is_started_at_the_hour_that_the_forecast_names_and_compared_when_it_ends(bench: Bench) -> None:
    add(bench)
    await with_forecast(bench)
    await bench.defer()
    assert annotations(bench)[START] == format_time(CLEAN)
    assert json.loads(annotations(bench)[FORECAST]) == {
        "forecastOf": format_time(NOW), "zones": "DE", "chosenAt": format_time(NOW),
        "expected": "5g", "expectedAtOnce": "20g", "percentLess": 75,
    }  # fmt: skip
    assert gauges(bench) == (1, CLEAN, NOW + 11 * HOUR)
    bench.time[0] = CLEAN - 1
    assert await bench.defer() == []
    bench.time[0] = CLEAN
    await bench.defer()
    assert bench.world.jobs["train"]["spec"]["suspend"] is False
    assert annotations(bench)[STARTED] == annotations(bench)["carbonbudget.dev/resumed-at"] == format_time(CLEAN)
    assert gauges(bench) == (None, None, None)
    bench.world.jobs["train"]["status"] = finished(CLEAN + HOUR, CLEAN)
    bench.time[0] = bench.world.data_through = CLEAN + 2 * HOUR
    bench.world.location_ug = 6_000_000
    await bench.annotate()
    result = f"expected 5g at {format_time(CLEAN)}, would have been 20g at {format_time(NOW)}, emitted 6g CO2e"
    assert annotations(bench)["carbonbudget.dev/deferred-result"] == result
    reasons = [reason for reason, _ in bench.world.events]
    assert reasons == ["StartDeferred", "DeferredJobStarted", "CarbonEmitted"]
    chosen, started, emitted = (message for _, message in bench.world.events)
    assert f"train starts at {format_time(CLEAN)}: expected 5g CO2e, 20g if it started at {format_time(NOW)}" in chosen
    assert f"latest start {format_time(NOW + 11 * HOUR)} to end by {format_time(NOW + 12 * HOUR)}" in chosen
    assert "expected 5g CO2e" in started
    assert f"deferred: {result}" in emitted
    assert ": 1.00 kWh, 1.0 h;" in emitted  # it was resumed once, by us, so it has one duration


async def test_a_started_job_is_one_that_we_resumed_so_that_a_budget_may_suspend_it_later(bench: Bench) -> None:
    add(bench, labels=DEFER | {"carbonbudget.dev/suspendable": "true"}, annotations=wish(NOW))
    await bench.defer()
    bench.time[0] += 600  # no forecast
    await bench.defer()
    await bench.defer()
    train = bench.world.jobs["train"]
    assert train["spec"]["suspend"] is False
    resumed = {"type": "Suspended", "status": "False", "lastTransitionTime": format_time(NOW + 600)}
    train["status"] = {"conditions": [resumed]}
    bench.world.budgets = [budget_body(suspend_from=NOW - HOUR)]
    await bench.step()
    assert train["metadata"]["name"] in [path.rsplit("/", 1)[1] for path, _ in bench.world.patches]
    assert bench.conflicts.messages == {}
    bench.time[0] += 60
    await bench.defer()
    assert bench.world.jobs["train"]["spec"]["suspend"] is True  # deferral leaves what a budget suspended


async def test_a_blocked_job_waits_with_one_event_and_is_started_once_the_block_is_over(bench: Bench) -> None:
    add(bench, marks={START: format_time(NOW)})
    block: Body = {"enforcement": {"action": "Block", "until": format_time(NOW + 6 * HOUR)}}
    bench.world.budgets = [budget_body(status=block)]
    for _ in range(3):
        await bench.defer()
        bench.time[0] += 60
    assert bench.world.jobs["train"]["spec"]["suspend"] is True
    assert annotations(bench)[HELD] == "team-a/monthly"
    assert [reason for reason, _ in bench.world.events] == ["DeferredStartHeld"]
    bench.world.budgets = []
    await bench.defer()
    assert bench.world.jobs["train"]["spec"]["suspend"] is False
    assert HELD not in annotations(bench)


async def test_why_a_job_is_not_deferred_is_said_once_and_nothing_is_written(bench: Bench) -> None:
    add(bench, labels=DEFER | {"kueue.x-k8s.io/queue-name": "q"})
    add(bench, "broken", annotations={})
    for _ in range(3):
        assert await bench.defer() == []
    assert sorted(message for _, message in bench.world.events) == [
        "broken: its annotation carbonbudget.dev/finish-by is missing: write e.g. 2026-12-01T08:00:00Z; until then it "
        "stays suspended",
        "train: Kueue decides when it runs, so its start is not deferred",
    ]
    bench.world.jobs["broken"]["metadata"]["annotations"] = wish(duration="long")
    await bench.defer()
    assert len(bench.world.events) == 3


async def test_an_event_that_could_not_be_posted_is_said_later(bench: Bench) -> None:
    add(bench, annotations={})
    bench.world.no_events = 500
    await bench.defer()
    bench.world.no_events = 0
    await bench.defer()
    await bench.defer()
    assert [reason for reason, _ in bench.world.events] == ["NotDeferred"]


async def test_while_the_server_is_away_jobs_start_by_what_was_chosen_last(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    add(bench)
    await with_forecast(bench)
    await bench.defer()
    bench.world.up = False
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            assert not await bench.loop.deferral.forecasts.refresh()
    assert [r.message for r in caplog.records if "forecast" in r.message] == [
        "no forecast of the grid's intensity, deferred Jobs start by the last one: the server answered 503: "
        '{"reason": "starting"}'
    ]
    bench.time[0] = CLEAN
    await bench.defer()
    assert bench.world.jobs["train"]["spec"]["suspend"] is False


async def test_the_server_is_asked_only_while_a_job_waits(bench: Bench) -> None:
    forecasts = bench.loop.deferral.forecasts
    bench.add()
    await bench.defer()
    assert not forecasts.wanted.is_set()
    add(bench, "later")
    await bench.defer()
    assert forecasts.wanted.is_set()
    assert forecasts.namespaces == {"team-a"}


async def test_a_forecast_in_pages_is_read_whole(bench: Bench) -> None:
    await with_forecast(bench)
    assert bench.world.grid_asked == 2
    newest = bench.loop.deferral.forecasts.newest
    assert newest is not None
    assert len(newest.hours.hours) == 21 * 24 + 1
    assert None not in newest.hours.hours


async def test_in_every_mode_and_namespace_deferral_is_the_owners_wish(bench: Bench) -> None:
    settings = bench.loop.deferral._settings.model_copy(update={"mode": "Observe"})
    bench.loop.deferral._settings = settings
    bench.namespaces["team-a"] = {"carbonbudget.dev/enforcement": "off"}
    add(bench)
    await with_forecast(bench)
    bench.time[0] = NOW
    await bench.defer()
    assert annotations(bench)[START] == format_time(CLEAN)


async def test_a_write_that_fails_is_tried_again(bench: Bench) -> None:
    add(bench, marks={START: format_time(NOW)})
    bench.world.refused = 1
    await bench.defer()
    assert bench.world.jobs["train"]["spec"]["suspend"] is True
    await bench.defer()
    assert bench.world.jobs["train"]["spec"]["suspend"] is False


async def test_before_budgets_are_evaluated_no_job_is_started(bench: Bench) -> None:
    add(bench, marks={START: format_time(NOW)})
    bench.world.budgets = [budget_body()]
    bench.evaluated = set()
    assert await bench.defer() == []
    bench.evaluated = {"team-a/monthly"}
    await bench.defer()
    assert bench.world.jobs["train"]["spec"]["suspend"] is False


async def test_the_running_loop_starts_what_is_due_and_asks_for_a_forecast_of_what_waits(bench: Bench) -> None:
    add(bench, "due", marks={START: format_time(NOW)})
    add(bench)
    running = asyncio.create_task(bench.loop.run())
    try:
        async with asyncio.timeout(20):
            while bench.world.jobs["due"]["spec"]["suspend"] or START not in annotations(bench):
                await asyncio.wait([running], timeout=0.05)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert bench.world.grid_asked == 2


def gauges(bench: Bench) -> tuple[float | None, float | None, float | None]:
    def value(name: str) -> float | None:
        return bench.registry.get_sample_value(f"carbonbudget_deferred_{name}", {"namespace": "team-a"})

    return value("jobs"), value("job_start_timestamp_seconds"), value("job_latest_start_timestamp_seconds")


async def test_a_job_that_its_owner_started_and_suspended_again_stays_suspended(bench: Bench) -> None:
    def by_its_owner(suspend: bool, generation: int) -> None:
        train = bench.world.jobs["train"]
        train["spec"]["suspend"], train["metadata"]["generation"] = suspend, generation

    add(bench)
    await with_forecast(bench)
    await bench.defer()
    by_its_owner(suspend=False, generation=2)
    await bench.defer()
    assert not {START, FORECAST, HELD, STARTED} & annotations(bench).keys()
    by_its_owner(suspend=True, generation=3)
    for at in (NOW + 60, CLEAN, NOW + 13 * HOUR):
        bench.time[0] = at
        await bench.defer()
        assert bench.world.jobs["train"]["spec"]["suspend"] is True
    assert [reason for reason, _ in bench.world.events] == ["StartDeferred", "NotDeferred"]
