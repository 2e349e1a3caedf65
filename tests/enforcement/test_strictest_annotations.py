"""Which emissions, budget and state a workload that runs is annotated with."""

from __future__ import annotations

from tests.enforcement.worlds import RUNS, a_budget

from carbonbudget_operator.enforcement.enforced_budgets import EnforcedBudget
from carbonbudget_operator.enforcement.workload_annotations import WorkloadKey, workload_annotations


def test_a_runs_state_is_by_its_own_use_and_not_by_another_runs() -> None:
    def states(budget: EnforcedBudget) -> dict[str, str | None]:
        return {key[2]: texts.state for key, texts in workload_annotations([budget]).items()}

    own = a_budget(spec={"per": "Workload"}, status=RUNS)
    assert states(own) == {"big": "Exceeded", "train": "Warning", "small": "WithinBudget"}
    # A status of the version before names no states: by the per cent.
    tops = [{key: value for key, value in top.items() if key != "state"} for top in RUNS["topWorkloads"]]  # type: ignore[attr-defined] # a list
    assert states(a_budget(spec={"per": "Workload"}, status=RUNS | {"topWorkloads": tops})) == states(own)
    assert set(states(a_budget(spec={"per": "Workload"}, status=RUNS | {"state": "Unknown"})).values()) == {"Unknown"}
    assert set(states(a_budget(status=RUNS)).values()) == {"Exceeded"}, "a budget of all together is one"


def test_of_two_budgets_the_one_that_is_stricter_for_the_run_is_named() -> None:
    runs = a_budget("runs", spec={"per": "Workload"}, status=RUNS)
    together = a_budget("together", status=RUNS | {"state": "Warning", "action": "Warn", "percentUsed": 95})
    told = workload_annotations([runs, together])
    assert {key[2]: texts.budget for key, texts in told.items()} == {
        "big": "team-a/runs", "train": "team-a/runs", "small": "team-a/together",
    }  # fmt: skip


def test_a_workload_is_annotated_with_its_strictest_budget() -> None:
    use = {"kind": "Deployment", "name": "web", "emissions": "2.2kg", "percent": 44}
    calm = a_budget("calm", status={"state": "WithinBudget", "percentUsed": 99, "topWorkloads": [use]})
    warns = {"state": "Warning", "percentUsed": 85, "dataThrough": "2026-11-23T18:50:00Z"}
    cluster = a_budget("all", "", status=warns | {"topWorkloads": [use | {"namespace": "team-a"}]})
    ((key, annotations),) = workload_annotations([calm, cluster]).items()
    assert key == ("team-a", "Deployment", "web")
    assert annotations.patch() == {
        "carbonbudget.dev/emissions": "2.2kg",
        "carbonbudget.dev/accounting": "LocationBased",
        "carbonbudget.dev/as-of": "2026-11-23T18:50:00Z",
        "carbonbudget.dev/budget": "all",
        "carbonbudget.dev/state": "Warning",
        "carbonbudget.dev/targets": None,
    }
    assert str(WorkloadKey("team-a", "CronJob", "x").path) == "/apis/batch/v1/namespaces/team-a/cronjobs/x"


def test_the_strictest_is_the_one_that_a_refusal_names_too() -> None:
    """By what it does first, and without data before within budget: budgets/strictest.py decides for all rooms."""
    use = {"kind": "Deployment", "name": "web", "emissions": "1kg"}
    blocks = a_budget("a-blocks", status={"state": "Warning", "action": "Block", "topWorkloads": [use]})
    warns = a_budget(
        "b-warns", status={"state": "Exceeded", "action": "Warn", "percentUsed": 250, "topWorkloads": [use]}
    )
    odd = a_budget("odd", status={"state": "WithinBudget", "action": "Explode", "topWorkloads": [use]})
    unknown = a_budget("unknown", status={"state": "Unknown", "action": "", "topWorkloads": [use]})

    def told(*budgets: EnforcedBudget) -> str | None:
        (annotations,) = workload_annotations(budgets).values()
        return annotations.budget

    assert told(odd, warns, blocks) == "team-a/a-blocks"
    assert told(odd, unknown) == "team-a/unknown"


def test_kinds_that_we_may_not_write_and_budgets_without_a_state_are_left_out() -> None:
    def top(kind: str) -> list[dict[str, object]]:
        return [{"kind": kind, "name": "x", "emissions": "1g"}]

    assert workload_annotations([a_budget(status={"topWorkloads": top("RayJob")})]) == {}
    assert workload_annotations([a_budget(status={"state": None, "topWorkloads": top("Job")})]) == {}
