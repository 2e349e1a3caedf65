"""The rounds of the enforcement loop: when it acts on Jobs, what it reports and logs."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.enforcement.loop_bench import Bench, annotations
from tests.enforcement.worlds import HOUR, NOW, Body, budget_body

from carbonbudget_operator.enforcement.job_fields import parse_job


async def test_a_job_is_announced_suspended_and_resumed_each_with_its_event(bench: Bench) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW + 60)]
    await bench.step()
    assert annotations(bench)["carbonbudget.dev/suspend-at"].endswith("Z")
    bench.time[0] = NOW + 60
    await bench.step()
    train = bench.world.jobs["train"]
    assert train["spec"]["suspend"] is True
    assert train["metadata"]["labels"]["carbonbudget.dev/suspended"] == "true"
    assert annotations(bench) == {"carbonbudget.dev/suspended-by": "team-a/monthly"}
    assert await bench.step() == []
    assert bench.metric("suspended_jobs") == 1
    bench.world.budgets = []
    await bench.step()
    train = bench.world.jobs["train"]
    assert train["spec"]["suspend"] is False
    assert train["metadata"]["labels"] == {"carbonbudget.dev/suspendable": "true"}
    assert [reason for reason, _ in bench.world.events] == [
        "SuspendAnnounced", "SuspendedByCarbonBudget", "ResumedByCarbonBudget",
    ]  # fmt: skip
    assert bench.metric("suspended_jobs") == 0
    assert [bench.metric("actions_total", action=a) for a in ("announce", "suspend", "resume")] == [1, 1, 1]


async def test_before_all_jobs_and_budgets_were_seen_nothing_is_resumed(bench: Bench) -> None:
    marked = {"carbonbudget.dev/suspendable": "true", "carbonbudget.dev/suspended": "true"}
    bench.add(labels=marked, suspend=True)
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.show()
    bench.loop.store.listed = False
    await bench.loop.step()
    bench.loop.store.listed = True
    seen = dict(bench.bodies)
    bench.bodies.clear()  # as right after a start
    await bench.loop.step()
    assert bench.world.patches == []
    bench.bodies.update(seen)
    await bench.loop.step()
    assert bench.world.jobs["train"]["spec"]["suspend"] is True


async def test_after_a_start_nothing_is_done_before_each_budget_was_evaluated_but_not_for_ever(bench: Bench) -> None:
    """A block whose `until` passed while the controller was away is renewed by the first verdict."""
    marked = {"carbonbudget.dev/suspendable": "true", "carbonbudget.dev/suspended": "true"}
    bench.add(labels=marked, annotations={"carbonbudget.dev/suspended-by": "team-a/monthly"}, suspend=True)
    lapsed = [budget_body(suspend_from=NOW - HOUR, until=NOW - 60), budget_body("other")]
    bench.world.budgets = lapsed
    bench.evaluated = {"team-a/other"}
    assert await bench.step() == []
    bench.world.budgets = [budget_body(suspend_from=NOW - HOUR), budget_body("other")]
    bench.evaluated.add("team-a/monthly")
    assert await bench.step() == []
    bench.evaluated.clear()  # once is enough
    bench.world.budgets = []
    assert len(await bench.step()) == 1


async def test_a_controller_that_can_evaluate_nothing_resumes_jobs_after_five_windows(bench: Bench) -> None:
    marked = {"carbonbudget.dev/suspendable": "true", "carbonbudget.dev/suspended": "true"}
    bench.add(labels=marked, annotations={"carbonbudget.dev/suspended-by": "team-a/monthly"}, suspend=True)
    bench.world.budgets = [budget_body(suspend_from=NOW - HOUR, until=NOW - 60)]
    bench.evaluated = set()
    assert await bench.step() == []
    bench.time[0] += 299
    assert await bench.step() == []
    bench.time[0] += 1
    assert len(await bench.step()) == 1


async def test_a_job_that_changed_meanwhile_is_left_to_the_next_decision(bench: Bench) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.show()
    bench.world.jobs["train"]["metadata"]["resourceVersion"] = "8"  # the watch has not said so yet
    await bench.loop.step()
    assert bench.world.jobs["train"]["spec"]["suspend"] is False
    assert bench.world.events == []
    assert (bench.metric("failures_total"), bench.metric("overtaken_total")) == (0, 1)
    await bench.step()
    assert bench.world.jobs["train"]["spec"]["suspend"] is True


async def test_what_the_watch_showed_while_a_patch_was_under_way_is_newer_than_its_answer(bench: Bench) -> None:
    def resumed(body: Body) -> None:
        body["spec"]["suspend"] = False
        body["metadata"]["resourceVersion"] = "9"
        bench.loop.store.put(parse_job(body))

    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.world.meanwhile = resumed
    bench.show()
    await bench.loop.step()
    (job,) = bench.loop.store.jobs.values()
    assert (job.version, job.suspended) == ("9", False)
    bench.world.budgets = []  # and so the next write is of that version, and is taken
    bench.bodies.clear()
    await bench.loop.step()
    assert "carbonbudget.dev/suspended" not in bench.world.jobs["train"]["metadata"]["labels"]


async def test_a_job_that_was_deleted_while_a_patch_was_under_way_is_not_revived(bench: Bench) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.world.meanwhile = lambda body: bench.loop.store.forget(body["metadata"]["uid"])
    bench.show()
    await bench.loop.step()
    assert bench.loop.store.jobs == {}


async def test_a_job_that_is_gone_is_forgotten(bench: Bench) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.show()
    bench.world.jobs.clear()
    await bench.loop.step()
    assert bench.loop.store.jobs == {}


async def test_a_reverted_suspension_is_reported_not_fought_and_cleared_in_the_end(bench: Bench) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    await bench.step()
    train = bench.world.jobs["train"]
    train["spec"]["suspend"] = False
    train["metadata"]["managedFields"] = [{"manager": "argocd", "fieldsV1": {"f:spec": {"f:suspend": {}}}}]
    for _ in range(3):
        assert await bench.step() == []
    assert bench.conflicts.messages == {
        "team-a/monthly": "suspended Jobs were resumed and are left running: team-a/train by argocd"
    }
    bench.world.budgets = [budget_body()]
    await bench.step()
    assert bench.conflicts.messages == {}
    assert "carbonbudget.dev/suspended" not in bench.world.jobs["train"]["metadata"]["labels"]


async def test_a_budget_with_an_invalid_grace_does_not_stop_the_others(bench: Bench) -> None:
    bench.add()
    odd = budget_body("odd", suspend_from=NOW - 60, spec={"enforce": {"grace": "abc"}})
    bench.world.budgets = [odd, budget_body(suspend_from=NOW - 60)]
    await bench.step()
    assert annotations(bench) == {"carbonbudget.dev/suspended-by": "team-a/monthly"}


async def test_it_acts_within_seconds_of_a_change_and_a_round_that_fails_ends_nothing(bench: Bench) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.world.failing = 1
    bodies = {body["metadata"]["uid"]: body for body in bench.world.budgets}
    running = asyncio.create_task(bench.loop.run())
    try:
        async with asyncio.timeout(20):
            await asyncio.wait_for(bench.world.failed.wait(), 10)
            bench.bodies.update({"bad": {"metadata": None}} | bodies)  # one that cannot be read beside it
            while not bench.world.patches:
                bench.changed.set()
                await asyncio.sleep(0.05)
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert bench.world.patches[0][1]["spec"] == {"suspend": True}


def actions_logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [(getattr(record, "action", ""), record.getMessage()) for record in caplog.records]
    return [one for one in found if one[0]]


async def test_each_step_with_a_job_is_one_line(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW + 60)]
    with caplog.at_level(logging.INFO):
        await bench.step()
        bench.time[0] = NOW + 60
        await bench.step()
        await bench.step()
        bench.world.budgets = []
        await bench.step()
    assert actions_logged(caplog) == [
        ("announce", "announce Job team-a/train by budget team-a/monthly"),
        ("suspend", "suspend Job team-a/train by budget team-a/monthly"),
        ("resume", "resume Job team-a/train"),
    ]


async def test_a_write_that_fails_again_and_again_is_logged_once_and_when_it_works(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.add()
    bench.world.budgets = [budget_body(suspend_from=NOW - 60)]
    bench.world.refused = 3
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            await bench.step()
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("carbonbudget")]
    path = "/apis/batch/v1/namespaces/team-a/jobs/train"
    assert lines == [
        f"{path} not updated, tried again later: refused",
        f"{path} updated again",
        "suspend Job team-a/train by budget team-a/monthly",
    ]
    assert bench.metric("failures_total") == 3


async def test_events_that_cannot_be_posted_are_one_line(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        bench.add(f"j{number}")
    bench.world.budgets, bench.world.no_events = [budget_body(suspend_from=NOW - 60)], True
    await bench.step()
    assert len([record for record in caplog.records if "was not posted" in record.getMessage()]) == 1
    assert all(job["spec"]["suspend"] for job in bench.world.jobs.values())
