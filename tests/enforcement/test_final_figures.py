"""Figures of finished Jobs: provisional at the Job's end, final when its last hour is over."""

from __future__ import annotations

import pytest
from tests.enforcement.loop_bench import JOBS, Bench, annotations
from tests.enforcement.worlds import HOUR, NOW, finished

from carbonbudget_operator.enforcement.job_fields import parse_job

HOUR_END = NOW - NOW % HOUR + HOUR  # 19:00:00; NOW is 18:53:20
PROVISIONAL = {
    "carbonbudget.dev/emissions": "400g",
    "carbonbudget.dev/energy": "1.00 kWh",
    "carbonbudget.dev/accounting": "LocationBased",
    "carbonbudget.dev/as-of": "2026-11-23T18:52:50Z",
}
FINAL = PROVISIONAL | {"carbonbudget.dev/as-of": "2026-11-23T19:00:00Z", "carbonbudget.dev/final": "true"}


def delete(bench: Bench, name: str = "train") -> None:
    """The Job is deleted in the cluster, and the watch shows it."""
    body = bench.world.jobs.pop(name)
    bench.loop.store.jobs[body["metadata"]["uid"]] = parse_job(body)
    bench.loop.store._record_deletion(body["metadata"]["uid"])


def at(bench: Bench, second: int) -> None:
    """The clock and the data of all nodes are at `second`."""
    bench.time[0], bench.world.data_through = float(second), second


async def test_a_finished_job_has_provisional_figures_until_its_last_hour_is_over_and_then_final_ones(
    bench: Bench,
) -> None:
    """Pods that join the node later share its idle energy of the hour: a Job of 209 mg at its end had 135 mg."""
    bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR))
    at(bench, NOW - 31)
    assert await bench.annotate() == []
    bench.world.data_through, bench.world.location_ug = NOW - 30, 600_000_000
    assert len(await bench.annotate()) == 1
    assert annotations(bench) == PROVISIONAL | {"carbonbudget.dev/emissions": "600g"}
    for second in (NOW + 60, HOUR_END - 1):
        at(bench, second)
        assert await bench.annotate() == []
    assert bench.world.events == []
    assert bench.metric("final_figures_total", fate="annotated") == 0
    at(bench, HOUR_END)
    bench.world.location_ug = 400_000_000
    assert len(await bench.annotate()) == 1
    assert annotations(bench) == FINAL
    assert bench.world.events == [
        (
            "CarbonEmitted",
            "train emitted 400g CO2e: 1.00 kWh, 1.0 h; location-based, by reports up to 2026-11-23T19:00:00Z",
        )
    ]
    bench.world.asked.clear()
    assert await bench.annotate() == []
    assert bench.world.asked == []  # the server is not asked in vain
    assert bench.metric("final_figures_total", fate="annotated") == 1


async def test_a_restart_of_the_controller_repeats_neither_figure(bench: Bench) -> None:
    said = {"carbonbudget.dev/as-of": "2026-11-23T18:52:50Z", "carbonbudget.dev/emissions": "600g"}
    bench.add("waits", labels={}, status=finished(NOW - 30, NOW - HOUR), annotations=said)
    bench.add("done", labels={}, status=finished(NOW - 30, NOW - HOUR), annotations=FINAL)
    at(bench, NOW + 60)
    assert await bench.annotate() == []
    at(bench, HOUR_END)
    assert [path for path, _ in await bench.annotate()] == [f"{JOBS}waits"]
    assert len(bench.world.events) == 1


async def test_the_figure_of_a_budgets_status_while_the_job_ran_is_not_its_provisional_figure(bench: Bench) -> None:
    said = {"carbonbudget.dev/as-of": "2026-11-23T18:52:49Z", "carbonbudget.dev/emissions": "1g"}
    bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR), annotations=said)
    assert len(await bench.annotate()) == 1
    assert annotations(bench)["carbonbudget.dev/emissions"] == "400g"


async def test_a_job_that_ends_on_the_hour_waits_for_the_hour_that_begins_there(bench: Bench) -> None:
    """Its end is known to the second only: a part of it may be in the next hour, which the question includes."""
    bench.add(labels={}, status=finished(HOUR_END, NOW))
    bench.add("before", labels={}, status=finished(HOUR_END - 1, NOW))
    at(bench, HOUR_END + 60)
    await bench.annotate()
    assert annotations(bench, "before")["carbonbudget.dev/final"] == "true"
    assert "carbonbudget.dev/final" not in annotations(bench)
    at(bench, HOUR_END + HOUR)
    await bench.annotate()
    assert annotations(bench)["carbonbudget.dev/final"] == "true"


async def test_a_job_that_ended_days_ago_while_the_controller_was_away_gets_only_final_figures(bench: Bench) -> None:
    bench.add(labels={}, status=finished(NOW - 72 * HOUR, NOW - 73 * HOUR))
    ((_, patch),) = await bench.annotate()
    assert patch["metadata"]["annotations"]["carbonbudget.dev/final"] == "true"
    assert len(bench.world.events) == 1
    assert await bench.annotate() == []


async def test_while_the_server_is_away_figures_wait(bench: Bench) -> None:
    bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR))
    bench.world.up = False
    assert await bench.annotate() == []
    bench.world.up = True
    assert len(await bench.annotate()) == 1


async def test_when_all_reports_stop_before_the_hour_is_over_the_figure_is_partial_after_another_hour(
    bench: Bench,
) -> None:
    bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR))
    bench.add("silent", labels={}, status=finished(NOW - 30, NOW - HOUR))
    bench.world.silent = {"uid-silent"}
    at(bench, NOW)
    await bench.annotate()
    bench.time[0] = float(HOUR_END + HOUR - 1)
    assert await bench.annotate() == []
    bench.time[0] += 1
    assert [path for path, _ in await bench.annotate()] == [f"{JOBS}train"]
    assert annotations(bench)["carbonbudget.dev/final"] == "partial"
    ((_, message),) = bench.world.events
    assert message == (
        "train emitted 400g CO2e: 1.00 kWh, 1.0 h; location-based, by reports up to 2026-11-23T18:53:20Z; "
        "the reports of the rest of the hour until 2026-11-23T19:00:00Z are missing"
    )
    assert bench.metric("final_figures_total", fate="nodata") == 1
    bench.world.asked.clear()
    assert await bench.annotate() == []
    assert bench.world.asked == []


async def test_the_hour_of_patience_counts_from_the_last_report(bench: Bench) -> None:
    bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR))
    await bench.annotate()
    bench.time[0], bench.world.data_through = float(HOUR_END + HOUR // 2), HOUR_END - 1
    assert await bench.annotate() == []
    for second in (HOUR_END + HOUR, HOUR_END + HOUR // 2 + HOUR - 1):
        bench.time[0] = float(second)
        assert await bench.annotate() == []
    bench.time[0] += 1
    await bench.annotate()
    assert annotations(bench)["carbonbudget.dev/final"] == "partial"


@pytest.mark.parametrize("away", ["the server", "the controller"])
async def test_a_long_absence_does_not_make_a_figure_final_before_the_nodes_have_sent_their_reports(
    bench: Bench, away: str
) -> None:
    """After it the data are old for some minutes, until the nodes have sent what they stored."""
    bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR))
    if away == "the server":
        await bench.annotate()
        bench.world.up = False
        await bench.annotate()
        bench.world.up = True
    else:
        said = {"carbonbudget.dev/as-of": "2026-11-23T18:52:50Z"}
        bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR), annotations=said)
    bench.time[0] = float(NOW + 9 * HOUR)
    assert await bench.annotate() == []
    at(bench, NOW + 9 * HOUR + 300)
    await bench.annotate()
    assert annotations(bench)["carbonbudget.dev/final"] == "true"


async def test_a_job_without_data_gets_no_figure_and_is_asked_until_an_hour_after_its_last(bench: Bench) -> None:
    bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR))
    bench.world.pods = 0
    for second in (NOW, HOUR_END, HOUR_END + HOUR - 1):
        at(bench, second)
        assert await bench.annotate() == []
        assert bench.metric("final_figures_total", fate="nodata") == 0
    at(bench, HOUR_END + HOUR)
    assert await bench.annotate() == []
    assert bench.metric("final_figures_total", fate="nodata") == 1
    bench.world.asked.clear()
    await bench.annotate()
    assert bench.world.asked == []
    delete(bench)
    await bench.annotate()
    assert bench.metric("final_figures_total", fate="nodata") == 1, "its deletion does not count it again"
    assert (bench.world.asked, bench.loop.store.deleted) == ([], {})


async def test_no_more_runs_are_asked_for_than_can_be_written_and_jobs_without_data_delay_no_others(
    bench: Bench,
) -> None:
    for n in range(250):
        bench.add(f"silent{n}", labels={}, status=finished(NOW - 90, NOW - HOUR))
    bench.add("heard", labels={}, status=finished(NOW - 30, NOW - HOUR))  # the youngest
    bench.world.silent = {f"uid-silent{n}" for n in range(250)}
    await bench.annotate()
    assert bench.world.asked == [0, 200]
    bench.time[0] += 60
    await bench.annotate()
    assert [path for path, _ in bench.world.patches] == [f"{JOBS}heard"]
    assert bench.world.asked == [0, 200, 0, 200]


async def test_jobs_that_wait_for_their_hour_take_no_places_of_others(bench: Bench) -> None:
    said = {"carbonbudget.dev/as-of": "2026-11-23T18:52:50Z"}
    for n in range(10_000):
        bench.add(f"waits{n}", labels={}, status=finished(NOW - 90, NOW - HOUR), annotations=said)
    bench.add("late", labels={}, status=finished(NOW - 30, NOW - HOUR))
    assert [path for path, _ in await bench.annotate()] == [f"{JOBS}late"]
    assert bench.world.asked == [0, 1]


async def test_final_figures_come_before_provisional_ones(bench: Bench) -> None:
    """So that more Jobs than can be written twice an hour still have their final figures."""
    for n in range(150):
        bench.add(f"old{n}", labels={}, status=finished(NOW - HOUR, NOW - 2 * HOUR))
        bench.add(f"new{n}", labels={}, status=finished(NOW - 30, NOW - HOUR))
    first = [path.removeprefix(JOBS) for path, _ in await bench.annotate()]
    assert {f"old{n}" for n in range(150)} <= set(first)
    assert len(first) == 200
    second = [path.removeprefix(JOBS) for path, _ in await bench.annotate()]
    assert {*first, *second} == bench.world.jobs.keys()
    assert await bench.annotate() == []


async def test_a_job_that_is_deleted_before_its_hour_is_over_has_its_event_at_once_which_says_so(bench: Bench) -> None:
    """ttlSecondsAfterFinished: 0 deletes the object in the second in which it ends."""
    bench.add("at-once", labels={}, status=finished(NOW - 30, NOW - HOUR))
    bench.add("later", labels={}, status=finished(NOW - 30, NOW - HOUR))
    delete(bench, "at-once")
    await bench.annotate()
    delete(bench, "later")  # with its provisional figures
    await bench.annotate()
    text = "emitted 400g CO2e: 1.00 kWh, 1.0 h; location-based, by reports up to 2026-11-23T18:53:20Z"
    may_change = "the figure may change until the hour is over at 2026-11-23T19:00:00Z"
    assert bench.world.events == [
        ("CarbonEmitted", f"at-once {text}; {may_change}"), ("CarbonEmitted", f"later {text}; {may_change}"),
    ]  # fmt: skip
    assert bench.metric("final_figures_total", fate="event") == 2
    at(bench, HOUR_END)
    assert await bench.annotate() == []
    assert len(bench.world.events) == 2
    assert bench.metric("failures_total") == 0


async def test_a_job_that_is_deleted_after_its_hour_has_an_event_without_a_reservation(bench: Bench) -> None:
    bench.add(labels={}, status=finished(NOW - HOUR, NOW - 2 * HOUR))
    delete(bench)
    await bench.annotate()
    ((_, message),) = bench.world.events
    assert "may change" not in message
    assert bench.loop.store.deleted == {}


async def test_the_event_of_a_deleted_job_that_was_not_taken_is_sent_again(bench: Bench) -> None:
    """The Event is the only place in the cluster where its figures are."""
    bench.add(labels={}, status=finished(NOW - HOUR, NOW - 2 * HOUR))
    delete(bench)
    bench.world.no_events = 503
    await bench.annotate()
    assert (bench.world.events, bench.metric("final_figures_total", fate="event")) == ([], 0)
    bench.world.no_events = 0
    await bench.annotate()
    assert [reason for reason, _ in bench.world.events] == ["CarbonEmitted"]
    assert (bench.loop.store.deleted, bench.metric("final_figures_total", fate="event")) == ({}, 1)


async def test_a_job_that_was_suspended_and_never_had_a_pod_has_no_figures(bench: Bench) -> None:
    bench.add("suspended", suspend=True, status={})
    bench.add("ended", suspend=True, status=finished(NOW - 30, 0, kind="Failed"))
    bench.world.silent = {"uid-ended"}
    for second in (NOW, HOUR_END + HOUR):
        at(bench, second)
        assert await bench.annotate() == []
    assert bench.world.events == []
    assert bench.metric("final_figures_total", fate="nodata") == 1
