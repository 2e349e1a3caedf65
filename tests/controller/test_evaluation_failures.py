"""What fails or is missing for one budget changes nothing for the others, and is reported once."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tests.controller.evaluation_bench import BLOCK, Bench, actions_logged

from carbonbudget_operator.controller.watch_audit import WatchAudit


async def test_while_the_server_is_away_the_last_verdict_stands(bench: Bench) -> None:
    tight = bench.add("tight", thresholds=BLOCK)
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    bench.world.up = False
    await bench.evaluate()
    assert tight["status"]["state"] == "Exceeded"
    assert "enforcement" in tight["status"]
    assert tight["metadata"]["labels"] == {"carbonbudget.dev/blocking": "true"}
    reasons = {c["type"]: c["reason"] for c in tight["status"]["conditions"]}
    assert reasons["DataComplete"] == "ServerUnavailable"
    assert await bench.evaluate() == []  # said once


async def test_before_any_report_nothing_is_evaluated(bench: Bench) -> None:
    tight = bench.add("tight", thresholds=BLOCK, limit="0g")
    bench.world.reports = False
    await bench.evaluate()
    assert tight["status"]["state"] == "Unknown"
    assert bench.world.events == []


async def test_unknown_is_told_once_when_something_was_known(bench: Bench) -> None:
    bench.add("careful", thresholds=BLOCK, onMissingData="Unknown")
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    bench.world.data_lag_s = 901
    await bench.evaluate()
    await bench.evaluate()
    assert bench.world.events == [("team-a", "BudgetExceeded"), ("team-a", "BudgetUnknown")]


async def test_a_bad_budget_holds_up_nobody_else(bench: Bench) -> None:
    bad, good = bench.add("bad", limit="much"), bench.add("good")
    await bench.evaluate()
    assert bad["status"]["conditions"][0]["reason"] == "BadSpec"
    assert good["status"]["state"] == "WithinBudget"
    assert await bench.evaluate() == []


SPAN = {"period": None, "start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"}


# What none of our controllers writes: no question to the server can be of that period, no text of that year.
BEFORE_1970 = {"period": {"start": "1960-01-01T00:00:00Z", "end": "1961-01-01T00:00:00Z"}, "state": "Exceeded"}


YEAR_10000 = {
    "history": [{"start": "2026-10-01T00:00:00Z", "end": "9999-12-31T23:59:59-05:00", "used": "1g", "limit": "1g"}]
}


@pytest.mark.parametrize("status", [BEFORE_1970, YEAR_10000])
async def test_what_nobody_foresaw_of_one_budget_holds_up_nobody_else(
    bench: Bench, caplog: pytest.LogCaptureFixture, status: dict[str, Any]
) -> None:
    odd, good = bench.add("odd", **SPAN), bench.add("good")
    odd["status"] = dict(status)
    await bench.evaluate()
    await bench.evaluate()
    assert good["status"]["state"] == "WithinBudget"
    assert odd["status"]["conditions"][0]["reason"] == "BadSpec"
    assert odd["status"]["message"].startswith("this budget cannot be evaluated")
    assert bench.failures() == 2
    assert [record.getMessage() for record in caplog.records if record.exc_info] == ["team-a/odd cannot be evaluated"]


async def test_a_budget_that_nobody_foresaw_is_evaluated_once_it_is_mended(bench: Bench) -> None:
    odd = bench.add("odd", **SPAN)
    odd["status"] = dict(BEFORE_1970)
    await bench.evaluate()
    del odd["status"]["period"]
    await bench.evaluate()
    assert odd["status"]["state"] == "WithinBudget"


async def test_a_budget_that_is_gone_is_forgotten_by_the_write_that_misses_it(bench: Bench) -> None:
    bench.add("gone")
    bench.show()
    bench.world.objects.clear()
    await bench.loop.evaluate()
    assert bench.seen.budgets.snapshot() == {}


async def test_a_budget_whose_end_the_watch_missed_is_forgotten_by_the_next_audit(bench: Bench) -> None:
    bench.add("kept")
    bench.add("gone")
    bench.add_cluster_wide("kept")
    await bench.evaluate()
    await bench.evaluate()
    del bench.world.objects["namespaces/team-a/carbonbudgets/gone"]
    await bench.loop.evaluate()
    assert "team-a/gone" in bench.seen.budgets.snapshot()  # nothing to write, so no 404 tells
    await WatchAudit(bench.client, bench.seen.budgets).compare()
    assert sorted(bench.seen.budgets.snapshot()) == ["/kept", "team-a/kept"]


async def test_a_budget_that_is_too_large_is_told_so_once_and_blocks_nothing(bench: Bench) -> None:
    """Not all of its status is kept, so that it cannot be compared."""
    body = bench.add("huge")
    body["metadata"]["labels"] = {"carbonbudget.dev/blocking": "true"}
    spec = body["spec"]
    body["spec"] = spec | {"selector": {"matchLabels": {"k" * 2**20: "x"}}}
    assert [call for call in await bench.evaluate() if call[0] == "PATCH"] == [
        ("PATCH", "/apis/carbonbudget.dev/v1alpha1/namespaces/team-a/carbonbudgets/huge/status"),
        ("PATCH", "/apis/carbonbudget.dev/v1alpha1/namespaces/team-a/carbonbudgets/huge"),
    ]
    assert "too large" in body["status"]["message"]
    assert body["metadata"]["labels"] == {}
    del body["status"]
    assert [call for call in await bench.evaluate() if call[0] == "PATCH"] == []
    body["spec"] = spec
    body["metadata"]["generation"] = 2
    await bench.evaluate()
    assert body["status"]["state"] == "WithinBudget"


async def test_a_budget_made_anew_under_its_name_is_another_one(bench: Bench) -> None:
    bench.add("monthly", thresholds=BLOCK)
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    bench.world.used_ug = 1_000
    again = bench.add("monthly", uid="another", thresholds=BLOCK)
    await bench.loop.evaluate()  # the watch has not told yet: what it would write is refused by the uid
    assert "status" not in again
    await bench.evaluate()
    assert again["status"]["state"] == "WithinBudget"


async def test_the_server_away_and_back_is_a_line_each(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.add("monthly")
    with caplog.at_level(logging.INFO):
        for up in (True, False, False, True, True):
            bench.world.up = up
            await bench.evaluate()
    assert [action for action, _ in actions_logged(caplog)] == ["server-away", "server-back"]
    assert actions_logged(caplog)[0][1].endswith("; the last verdicts stand")


async def test_a_status_that_is_refused_again_and_again_is_logged_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    made = bench.add("monthly")
    bench.show()
    made["metadata"]["uid"] = "another"  # the API server refuses writes to the former
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            await bench.loop.evaluate()
    assert len([record for record in caplog.records if "not updated" in record.getMessage()]) == 1
    assert bench.failures() == 3
    made["metadata"]["uid"] = "monthly"
    with caplog.at_level(logging.INFO):
        await bench.loop.evaluate()
    assert [record.getMessage() for record in caplog.records][-1] == "team-a/monthly updated again"
