"""Events of runs over their own limit: each once, bounded in each window, on the budget and on the workload."""

from __future__ import annotations

from typing import Any

from tests.controller.evaluation_bench import Bench

from carbonbudget_operator.controller.run_events import RunEvents


def runs(*used_g: float) -> list[dict[str, Any]]:
    return [
        {"namespace": "team-a", "workload": f"Job/run-{n}", "used_ug": int(used * 10**6), "energy_uj": 1}
        for n, used in enumerate(used_g)
    ]


async def test_each_run_over_its_limit_has_its_own_event_on_the_budget_and_on_the_job(bench: Bench) -> None:
    own = bench.add("own", per="Workload")
    bench.loop.run_events.uids = lambda: {("team-a", "Job", "run-1"): "uid-1"}
    bench.world.workloads = runs(2, 0.5)
    await bench.evaluate()
    assert bench.run_events() == [("CarbonBudget", "own", "own"), ("Job", "run-0", "")]
    bench.world.workloads = runs(3, 1.1, 0.9)
    await bench.evaluate()
    sentences = {event["involvedObject"]["name"]: (event["reason"], event["message"]) for event in bench.world.bodies}
    assert bench.run_events() == [
        ("CarbonBudget", "own", "own"), ("CarbonBudget", "own", "own"), ("Job", "run-1", "uid-1"), ("Job", "run-2", ""),
    ]  # fmt: skip
    assert sentences["run-1"][0] == "RunExceeded"
    assert sentences["run-1"][1].startswith("carbon budget own: Job/run-1 used 1.1g of 1g CO2e (110 %), resets ")
    assert sentences["run-2"][0] == "RunWarning"
    assert [top["state"] for top in own["status"]["topWorkloads"]] == ["Exceeded", "Exceeded", "Warning"]
    await bench.evaluate()
    assert bench.run_events() == []


async def test_a_restarted_controller_repeats_no_runs_event(bench: Bench) -> None:
    bench.add("own", per="Workload")
    bench.world.workloads = runs(2, 2)
    await bench.evaluate()
    bench.run_events()
    bench.loop.run_events = RunEvents(bench.client)
    await bench.evaluate()
    assert bench.run_events() == []
    bench.world.workloads = runs(2, 2, 2)
    await bench.evaluate()
    assert {name for _, name, _ in bench.run_events()} == {"own", "run-2"}


async def test_runs_events_are_bounded_in_each_window_and_none_is_lost(bench: Bench) -> None:
    for n in range(3):
        bench.add(f"own-{n}", per="Workload")
    bench.world.workloads = runs(*[2] * 100)
    found: list[int] = []
    for _ in range(4):
        await bench.evaluate()
        found.append(sum(kind == "Job" for kind, _, _ in bench.run_events()))
    assert found == [100, 100, 100, 0]


async def test_a_run_in_a_namespace_where_budgets_do_not_act_or_with_an_impossible_name_is_told_on_the_budget_alone(
    bench: Bench,
) -> None:
    bench.add_cluster_wide("own", per="Workload")
    bench.loop.run_events.enforced = lambda namespace: namespace != "off"
    one = {"used_ug": 2 * 10**6, "energy_uj": 1}
    bench.world.workloads = [
        one | {"namespace": "off", "workload": "Job/a"}, one | {"namespace": "team-a", "workload": "Job/../b"},
        one | {"namespace": "team-a", "workload": "RayJob/c"}, one | {"namespace": "team-a", "workload": "Job/d"},
    ]  # fmt: skip
    await bench.evaluate()
    events = bench.run_events()
    assert [kind for kind, _, _ in events].count("ClusterCarbonBudget") == 4
    assert [one for one in events if one[0] != "ClusterCarbonBudget"] == [("Job", "d", "")]
