"""The evaluation loop: what it evaluates, asks and writes in each window, against two small HTTP servers."""

from __future__ import annotations

import logging

import pytest
from tests.controller.evaluation_bench import BLOCK, HOUR, Bench, actions_logged

from carbonbudget_operator.api.budget_query_bodies import BudgetQuery
from carbonbudget_operator.controller.query_sender import _batches
from carbonbudget_operator.printable import is_printable


async def test_a_verdict_is_written_once_and_then_nothing_until_it_changes(bench: Bench) -> None:
    monthly = bench.add("monthly")
    assert await bench.evaluate() == [
        ("PATCH", "/apis/carbonbudget.dev/v1alpha1/namespaces/team-a/carbonbudgets/monthly/status")
    ]
    assert monthly["status"]["state"] == "WithinBudget"
    assert await bench.evaluate() == []


async def test_a_block_writes_status_label_and_event_and_its_end_takes_both_back(bench: Bench) -> None:
    tight = bench.add("tight", thresholds=BLOCK)
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    assert tight["status"]["enforcement"]["action"] == "Block"
    assert tight["metadata"]["labels"] == {"carbonbudget.dev/blocking": "true"}
    assert bench.world.events == [("team-a", "BudgetExceeded")]
    tight["spec"]["limit"] = "1kg"
    tight["metadata"]["generation"] = 2
    await bench.evaluate()
    assert "enforcement" not in tight["status"]
    assert tight["metadata"]["labels"] == {}
    assert bench.world.events == [("team-a", "BudgetExceeded"), ("team-a", "BudgetWithinLimit")]


async def test_a_cluster_wide_budget_goes_the_same_way(bench: Bench) -> None:
    everything = bench.add_cluster_wide("all", thresholds=BLOCK)
    bench.add("all")
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    assert sorted(query["id"] for query in bench.world.asked) == ["/all", "team-a/all"]
    assert everything["status"]["state"] == "Exceeded"
    assert everything["metadata"]["labels"] == {"carbonbudget.dev/blocking": "true"}
    assert sorted(bench.world.events) == [("default", "BudgetExceeded"), ("team-a", "BudgetExceeded")]
    assert await bench.evaluate() == []


async def test_a_cluster_wide_budget_with_a_selector_waits_for_the_namespaces(bench: Bench) -> None:
    teams = bench.add_cluster_wide("teams", namespaceSelector={"matchLabels": {"kind": "team"}})
    await bench.evaluate()
    assert {c["type"]: c["reason"] for c in teams["status"]["conditions"]}["DataComplete"] == "NamespacesUnknown"
    bench.seen.namespaces.seen("ADDED", {"metadata": {"name": "team-a", "labels": {"kind": "team"}}})
    bench.seen.namespaces.listed = True
    await bench.evaluate()
    assert teams["status"]["namespaces"] == ["team-a"]
    bench.seen.namespaces.seen("DELETED", {"metadata": {"name": "team-a"}})
    await bench.evaluate()
    assert bench.world.asked[0]["namespaces"] == ["team-a"]


async def test_a_label_that_somebody_took_off_is_put_back(bench: Bench) -> None:
    tight = bench.add("tight", thresholds=BLOCK)
    bench.world.used_ug = 2_000_000
    await bench.evaluate()
    tight["metadata"]["labels"].clear()
    await bench.evaluate()
    assert tight["metadata"]["labels"] == {"carbonbudget.dev/blocking": "true"}


def test_questions_go_in_parts_that_the_server_names_all_workloads_of() -> None:
    def query(n: int, workloads: int) -> BudgetQuery:
        return BudgetQuery(id=str(n), namespaces=["a"], start=0, end=1, workloads=workloads)

    parts = _batches([query(n, 100) for n in range(3000)])
    assert [len(part) for part in parts] == [1000, 1000, 1000]
    assert [len(part) for part in _batches([query(n, 5) for n in range(5001)])] == [5000, 1]
    assert _batches([]) == [[]]


async def test_only_what_blocks_is_renewed(bench: Bench) -> None:
    bench.add("calm")
    tight = bench.add("tight", thresholds=BLOCK)
    bench.world.uses_ug = {"team-a/tight": 2_000_000}
    await bench.evaluate()
    bench.world.now += 4 * HOUR
    calls = await bench.evaluate()
    assert [path.rsplit("/", 2)[1] for _, path in calls] == ["tight"]
    assert tight["status"]["enforcement"]["until"] == "2026-11-24T04:53:20Z"


async def test_a_revised_factor_acts_on_nothing_in_the_loop_too(bench: Bench) -> None:
    tight = bench.add("tight", thresholds=BLOCK)
    bench.world.used_ug = 700_000
    await bench.evaluate()
    await bench.evaluate()
    bench.world.used_ug = 1_400_000  # at the same energy
    await bench.evaluate()
    assert (tight["status"]["percentUsed"], tight["status"]["state"]) == (140, "WithinBudget")
    assert "(140 %, 700mg of it by revised factors)" in tight["status"]["message"]
    assert tight["status"]["settled"]["revisedMicrograms"] == 700_000
    assert "enforcement" not in tight["status"]


async def test_a_forecast_goes_by_the_hours_of_a_week_once_they_are_known(bench: Bench) -> None:
    monthly = bench.add("monthly", limit="1kg")
    bench.world.used_ug = 10_000_000
    await bench.evaluate()
    assert monthly["status"]["forecast"] == "13.1g"
    bench.world.hours_ug = [1_000_000] * 672
    await bench.loop.profiles.refresh()
    await bench.evaluate()
    assert monthly["status"]["forecast"] == "183g"


async def test_a_forecast_goes_by_what_the_grids_source_expects_of_the_hours_to_come(bench: Bench) -> None:
    monthly = bench.add("monthly", limit="1kg")
    whole = bench.add("whole", limit="1kg", include=["Dynamic", "Idle", "Overhead", "Embodied"])
    market = bench.add("market", limit="1kg", accounting="MarketBased")
    bench.world.used_ug = 10_000_000
    await bench.evaluate()
    bench.world.hours_ug = [1_000_000] * 672
    bench.world.change_permille = [500] * 20
    await bench.loop.profiles.refresh()
    await bench.evaluate()
    assert monthly["status"]["forecast"] == "173g"  # 20 hours of half the usual intensity
    # Manufacturing and bought energy do not follow the grid.
    assert (whole["status"]["forecast"], market["status"]["forecast"]) == ("183g", "183g")


async def test_no_more_than_sixteen_writes_are_under_way_at_once(bench: Bench) -> None:
    for index in range(60):
        bench.add(f"b{index}")
    assert len(await bench.evaluate()) == 60
    assert bench.world.most_writing <= 16


async def test_series_come_with_a_budget_and_go_with_it(bench: Bench) -> None:
    bench.add("monthly", limit="2g", thresholds=BLOCK)
    bench.add_cluster_wide("all")
    bench.world.used_ug = 2_500_000
    await bench.evaluate()
    labels = 'kind="CarbonBudget",name="monthly",namespace="team-a"'
    series = bench.metrics()
    for expected in (
        f"carbonbudget_budget_limit_grams{{{labels}}} 2.0",
        f"carbonbudget_budget_used_grams{{{labels}}} 2.5",
        f'carbonbudget_budget_state{{{labels},state="Exceeded"}} 1.0',
        f'carbonbudget_budget_state{{{labels},state="Warning"}} 0.0',
        f"carbonbudget_budget_blocking{{{labels}}} 1.0",
        f"carbonbudget_budget_used_fell{{{labels}}} 0.0",
        f"carbonbudget_budget_data_through_timestamp_seconds{{{labels}}} 1.79546e+09",
        'carbonbudget_budget_limit_grams{kind="ClusterCarbonBudget",name="all",namespace=""} 1.0',
    ):
        assert expected in series, expected
    assert any(line.startswith(f"carbonbudget_budget_forecast_grams{{{labels}}}") for line in series)
    bench.seen.budgets.forget("team-a/monthly", "monthly")
    await bench.loop.evaluate()
    assert all('name="all"' in line for line in bench.metrics())


async def test_a_conflict_is_shown_until_it_is_cleared(bench: Bench) -> None:
    monthly = bench.add("monthly")
    bench.seen.conflicts.report("team-a/monthly", "argocd reverts Job/train")
    await bench.evaluate()
    bench.seen.conflicts.clear("team-a/monthly")
    shown = {c["type"]: c["status"] for c in monthly["status"]["conditions"]}
    await bench.evaluate()
    after = {c["type"]: c["status"] for c in monthly["status"]["conditions"]}
    assert (shown["EnforcementConflict"], after["EnforcementConflict"]) == ("True", "False")


async def test_a_budget_shows_our_verdict_once_the_watch_has_given_the_status_back(bench: Bench) -> None:
    bench.add("monthly", limit="2g", thresholds=BLOCK)
    bench.world.used_ug = 2_500_000
    bench.show()
    assert not bench.loop.shows_verdict("team-a/monthly")
    await bench.evaluate()
    former = bench.seen.budgets.snapshot()["team-a/monthly"]
    bench.show()
    assert bench.loop.shows_verdict("team-a/monthly")
    bench.seen.budgets.seen(former.resource, "MODIFIED", {**former.body, "status": {}})  # a late echo
    assert not bench.loop.shows_verdict("team-a/monthly")
    assert not bench.loop.shows_verdict("team-a/other")


def texts_of(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts_of(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    return [value] if isinstance(value, str) else []


async def test_an_owners_name_and_a_contact_are_shown_and_neither_acts_nor_deceives(bench: Bench) -> None:
    """A pod's ownerReferences and a budget's contact are free text: a terminal would act on what is in them."""
    hostile = "\x1b[2J\x1b[31mPWNED\x1b[0m\nDeployment/fake-row  0mg\x1b]0;title\a\u202e"
    bench.world.used_ug = 2_000_000
    bench.world.workloads = [
        {"namespace": "team-a", "workload": f"{kind}/{hostile}", "used_ug": 9, "energy_uj": 9}
        for kind in ("CronJob", hostile.replace("/", ""))
    ]
    bench.add("tight", per="Workload", contact=hostile[:64])
    await bench.evaluate()
    status = bench.world.objects["namespaces/team-a/carbonbudgets/tight"]["status"]
    assert status["topWorkloads"][0]["name"].startswith("\\x1b[2J\\x1b[31mPWNED")
    assert [text for text in texts_of(status) + bench.world.messages if not is_printable(text)] == []
    assert [call for call in await bench.evaluate() if call[0] == "PATCH"] == []  # the same again is no change


async def test_a_change_of_verdict_is_one_line(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    tight = bench.add("tight", thresholds=BLOCK)
    with caplog.at_level(logging.INFO):
        await bench.evaluate()
        bench.world.used_ug = 2_000_000
        await bench.evaluate()
        await bench.evaluate()
    (line,) = actions_logged(caplog)
    assert line == ("verdict", f"team-a/tight is Exceeded, was WithinBudget: {tight['status']['message']}")
