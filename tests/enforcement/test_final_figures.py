"""Figures of finished Jobs: what the loop asks the server, and writes to the Job and its Event."""

from __future__ import annotations

from tests.enforcement.loop_bench import JOBS, Bench, annotations
from tests.enforcement.worlds import HOUR, NOW, finished, job_body

from carbonbudget_operator.enforcement.job import parse_job


async def test_a_finished_job_gets_its_figures_once_when_the_data_has_passed_its_end(bench: Bench) -> None:
    bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR))
    bench.world.data_through = NOW - 31
    assert await bench.annotate() == []
    bench.world.data_through = NOW - 30
    await bench.annotate()
    assert annotations(bench) == {
        "carbonbudget.dev/emissions": "400g",
        "carbonbudget.dev/energy": "1.00 kWh",
        "carbonbudget.dev/accounting": "LocationBased",
        "carbonbudget.dev/as-of": "2026-11-23T18:52:50Z",
        "carbonbudget.dev/final": "true",
    }
    ((reason, message),) = bench.world.events
    assert reason == "CarbonEmitted"
    assert message == (
        "train emitted 400g CO2e: 1.00 kWh, 1.0 h; location-based, by reports up to 2026-11-23T18:52:50Z"
    )
    bench.world.asked.clear()
    assert await bench.annotate() == []
    assert bench.world.asked == []  # nobody is asked in vain
    assert bench.metric("final_figures_total", fate="annotated") == 1


async def test_while_the_server_is_away_figures_wait(bench: Bench) -> None:
    bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR))
    bench.world.up = False
    assert await bench.annotate() == []
    bench.world.up = True
    assert len(await bench.annotate()) == 1


async def test_a_job_without_data_gets_no_figure_and_is_asked_for_an_hour(bench: Bench) -> None:
    bench.add(labels={}, status=finished(NOW - 30, NOW - HOUR))
    bench.world.pods = 0
    assert await bench.annotate() == []
    bench.world.data_through = NOW + HOUR
    assert await bench.annotate() == []
    assert bench.metric("final_figures_total", fate="nodata") == 1
    bench.world.asked.clear()
    await bench.annotate()
    assert bench.world.asked == []


async def test_no_more_runs_are_asked_for_than_can_be_told_and_those_without_data_hold_up_nobody(bench: Bench) -> None:
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


async def test_a_job_that_went_with_its_end_still_has_its_event_and_is_counted(bench: Bench) -> None:
    """ttlSecondsAfterFinished: 0 deletes the object in the second in which it ends."""
    done = parse_job(job_body(status=finished(NOW - 30, NOW - HOUR)))
    bench.show()
    bench.loop.store.jobs[done.uid] = done
    bench.loop.store._gone(done.uid)
    await bench.loop.annotate()
    assert bench.world.patches == []
    assert [reason for reason, _ in bench.world.events] == ["CarbonEmitted"]
    assert bench.metric("final_figures_total", fate="event") == 1
    await bench.loop.annotate()
    assert len(bench.world.events) == 1
    assert bench.metric("failures_total") == 0
