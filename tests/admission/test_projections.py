"""What new work is expected to emit, as it is warned of and refused by."""

from __future__ import annotations

from typing import Any

import pytest
from tests.admission.given import HOUR, NOW, Bench, a_budget

from carbonbudget_operator.api.projection_bodies import FormerRuns

WITHIN: dict[str, Any] = {"state": "WithinBudget", "percent": 10, "used_g": 100}
BLOCK = [{"at": 100, "action": "Block", "basis": "Projected"}]
ANNOTATED = {"name": "train", "annotations": {"carbonbudget.dev/expected-duration": "2h"}}


def runs(workload: str = "Job/train", grams: int = 500) -> FormerRuns:
    return FormerRuns(
        namespace="team-a", workload=workload, pods=3, pod_location_ug=grams * 10**6,
        pod_market_ug=grams * 10**5, pod_embodied_ug=10**6, pod_seconds=HOUR,
    )  # fmt: skip


def test_work_that_does_not_fit_is_warned_of_with_what_is_left() -> None:
    decision = Bench(a_budget(**WITHIN)).knows(core_hour_ug=650 * 10**6).creates(metadata=ANNOTATED)
    assert list(decision.warnings) == [
        "carbon budget tight: expected 1.3kg, left 900g of 1kg CO2e (by the requests of Job train; location-based)"
    ]


def test_work_that_fits_is_not_warned_of_and_its_projection_is_told_beside_another_warning() -> None:
    small = {"metadata": ANNOTATED}
    assert Bench(a_budget(**WITHIN)).knows(core_hour_ug=10**6).creates(**small).warnings == []
    said = Bench(a_budget(state="Warning", percent=85, used_g=850)).knows(core_hour_ug=10**6).creates(**small).warnings
    assert (
        said[1]
        == "carbon budget tight: expected 2g, left 150g of 1kg CO2e (by the requests of Job train; location-based)"
    )


def test_a_projected_threshold_refuses_what_would_reach_it_and_names_whom_to_ask() -> None:
    bench = Bench(a_budget(**WITHIN, thresholds=BLOCK, contact="#ml"))
    decision = bench.knows(core_hour_ug=450 * 10**6).creates(metadata=ANNOTATED)
    assert decision.basis == "Projected"
    assert decision.refusal == (
        "carbon budget tight: expected 900g, left 900g of 1kg CO2e (by the requests of Job train; location-based); "
        "ask #ml; see: kubectl -n team-a describe carbonbudget tight"
    )
    assert bench.knows(core_hour_ug=449 * 10**6).creates(metadata=ANNOTATED).refusal == ""


def test_a_projected_threshold_that_warns_does_not_refuse() -> None:
    warn = [{"at": 50, "action": "Warn", "basis": "Projected"}]
    decision = Bench(a_budget(**WITHIN, thresholds=warn)).knows(core_hour_ug=300 * 10**6).creates(metadata=ANNOTATED)
    assert decision.outcome == "warned"


def test_a_projection_refuses_only_the_kinds_that_the_budget_checks() -> None:
    bench = Bench(a_budget(**WITHIN, thresholds=BLOCK, enforce={"kinds": ["Pod"]})).knows(core_hour_ug=10**9)
    assert bench.creates(metadata=ANNOTATED).outcome == "warned"
    assert bench.creates("Pod", metadata=ANNOTATED).outcome == "refused"


def test_former_runs_of_the_same_name_tell_without_a_duration() -> None:
    said = Bench(a_budget(**WITHIN)).knows(runs(grams=1000)).creates().warnings
    assert said == [
        "carbon budget tight: expected 1kg, left 900g of 1kg CO2e (by the former runs of Job train; location-based)"
    ]
    assert Bench(a_budget(**WITHIN)).knows(runs("Job/other", 1000)).creates().warnings == []


def test_a_cronjobs_job_is_expected_by_the_cronjobs_former_runs() -> None:
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "7", "controller": True}
    bench = Bench(a_budget(**WITHIN)).knows(runs("CronJob/nightly", 1000))
    assert len(bench.creates(metadata={"name": "nightly-29", "ownerReferences": [owner]}).warnings) == 1


def test_accounting_and_include_decide_which_figures_count() -> None:
    def expected(**spec: Any) -> str:
        body = a_budget(state="Warning", percent=85, used_g=0, **spec)
        return Bench(body).knows(runs(grams=500)).creates().warnings[1].split(",")[0].split("expected ")[1]

    assert expected() == "500g"
    assert expected(accounting="MarketBased") == "50g"
    assert expected(include=["Dynamic", "Embodied"]) == "501g"
    assert expected(include=["Embodied"]) == "1g"


def test_a_deployment_that_is_named_is_expected_to_run_until_the_period_ends() -> None:
    bench = Bench(a_budget(**WITHIN, enforce={"kinds": ["Deployment"]})).knows(core_hour_ug=50 * 10**6)
    assert "expected 1kg, left 900g" in bench.creates("Deployment", replicas=2).warnings[0]


def test_a_nodes_instance_type_has_its_own_rates() -> None:
    bench = Bench(a_budget(**WITHIN)).knows(core_hour_ug=10**6)
    overall = bench.table._rates[""]
    bench.table._rates["big"] = overall.model_copy(update={"instance_type": "big", "core_hour_location_ug": 10**9})
    pod = {"nodeSelector": {"node.kubernetes.io/instance-type": "big"}}
    assert bench.creates(metadata=ANNOTATED).warnings == []
    assert len(bench.creates(metadata=ANNOTATED, pod=pod).warnings) == 1


def test_a_runs_own_limit_is_compared_with_the_run_alone() -> None:
    own = a_budget("run", "Exceeded", 300, used_g=3000, per="Workload", thresholds=BLOCK)
    assert Bench(own).knows(runs(grams=900)).creates().outcome == "allowed"
    assert (
        Bench(own)
        .knows(runs(grams=1000))
        .creates()
        .refusal.startswith(
            "carbon budget run: expected 1kg, allowed 1kg for each workload (by the former runs of Job train; "
            "location-based); see: "
        )
    )


@pytest.mark.parametrize("bench", [Bench(a_budget(**WITHIN)), Bench(a_budget(**WITHIN)).knows(as_of=NOW - 90_000)])
def test_without_a_table_or_with_one_of_yesterday_nothing_is_expected(bench: Bench) -> None:
    assert bench.creates(metadata=ANNOTATED, parallelism=10**6, completions=10**6).outcome == "allowed"


def test_where_it_is_not_known_what_was_used_nothing_is_compared() -> None:
    bench = Bench(a_budget(state="Unknown", percent=0, thresholds=BLOCK)).knows(core_hour_ug=10**12)
    assert bench.creates(metadata=ANNOTATED).outcome == "allowed"


def mistyped(stated: str = "2 hours", **metadata: Any) -> dict[str, Any]:
    return {"name": "train", "annotations": {"carbonbudget.dev/expected-duration": stated}} | metadata


NEW = mistyped(name="new")


@pytest.mark.parametrize(
    ("kind", "spec", "instead"),
    [
        ("Job", {}, "the duration of its former runs is used instead"),
        ("Job", {"metadata": NEW}, "nothing is projected"),
        ("Job", {"metadata": NEW, "activeDeadlineSeconds": 60}, "activeDeadlineSeconds is used instead"),
        ("Deployment", {"replicas": 1}, "the rest of the period is used instead"),
    ],
)
def test_a_duration_that_cannot_be_read_is_warned_of_with_what_is_used_instead(
    kind: str, spec: dict[str, Any], instead: str
) -> None:
    bench = Bench(a_budget(**WITHIN, enforce={"kinds": ["Job", "Deployment"]})).knows(runs(grams=1), core_hour_ug=1)
    decision = bench.creates(kind, **({"metadata": mistyped()} | spec))
    assert list(decision.warnings) == [
        f'carbonbudget.dev/expected-duration "2 hours" is no duration, so {instead}; write e.g. 2h30m'
    ]


@pytest.mark.parametrize("stated", ["2 hours", "2H", "1.5h", "0h", "-2h", "90", "soon"])
def test_what_is_no_duration_is_never_refused_for(stated: str) -> None:
    bench = Bench(a_budget(**WITHIN, thresholds=BLOCK)).knows(core_hour_ug=10**12)
    assert bench.creates(metadata=mistyped(stated)).outcome == "warned"


@pytest.mark.parametrize("stated", ["2h", "90m", " 1h30m ", "2d", ""])
def test_what_is_a_duration_or_nothing_is_not_warned_of(stated: str) -> None:
    assert Bench(a_budget(**WITHIN)).knows(core_hour_ug=1).creates(metadata=mistyped(stated)).outcome == "allowed"


def test_a_mistyped_duration_is_warned_of_after_what_the_budgets_say() -> None:
    bench = Bench(a_budget(state="Warning", percent=85, used_g=850)).knows(runs(grams=1000))
    warnings = bench.creates(metadata=mistyped()).warnings
    assert [one.split()[0] for one in warnings] == ["carbon", "carbon", "carbonbudget.dev/expected-duration"]


def test_a_mistyped_duration_matters_only_where_a_budget_counts_the_work_and_acts() -> None:
    work: dict[str, Any] = {"metadata": mistyped()}
    assert Bench(a_budget(**WITHIN)).creates("Deployment", **work).outcome == "allowed", "a kind that no budget checks"
    assert Bench(a_budget(**WITHIN), mode="Observe").creates(**work).outcome == "allowed"
    assert Bench(a_budget(**WITHIN, selector={"matchLabels": {"a": "b"}})).creates(**work).outcome == "allowed"
    assert Bench(a_budget(**WITHIN)).creates(metadata=mistyped(labels={"carbonbudget.dev/exempt": "true"})).outcome == (
        "allowed"
    )
