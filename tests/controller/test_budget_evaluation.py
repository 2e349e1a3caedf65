"""From a budget and the server's answers to its status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.controller.evaluations import (
    BLOCK,
    GRAM,
    KILO,
    SUSPEND,
    an_answer,
    conditions,
    evaluated,
    status_of,
    used_by,
    written,
)
from tests.controller.objects import DECEMBER, NOVEMBER, NOW, a_body, a_cluster_body, namespaces, stored

from carbonbudget_operator.api.budget_query_bodies import UseComponents, WorkloadUse
from carbonbudget_operator.api.carbonbudget import CarbonBudget
from carbonbudget_operator.budgets.verdict import EnforcementTerms, State, verdict_on_run
from carbonbudget_operator.controller.budget_limitations import enforcement_effective, figures_exact
from carbonbudget_operator.controller.budget_queries import period_queries
from carbonbudget_operator.controller.prepared_budget import evaluation_record_of, prepare_budget
from carbonbudget_operator.controller.status_json import is_visible_change


def test_a_status_lists_the_instants_that_are_counted_pro_rata_whatever_else_its_conditions_say() -> None:
    answer = an_answer(KILO, pro_rata=[NOVEMBER + 1200])
    for more in ({}, {"enforce": {"kinds": ["Nonesuch"]}}):
        status = status_of(evaluated(a_body(**more), answer))
        assert status["proRata"] == ["2026-11-01T00:20:00Z"]
    assert status_of(evaluated(a_body(), an_answer(KILO)))["proRata"] is None
    body = written(a_body(), answer)
    without = body | {"status": {key: value for key, value in body["status"].items() if key != "proRata"}}
    assert not is_visible_change(
        without, status_of(evaluated(a_body(), answer))
    )  # a former version's CRD drops the field


def test_a_status_says_all_of_the_design() -> None:
    answer = an_answer(
        4_100_000_000,
        parts=UseComponents(dynamic_ug=3 * KILO, idle_ug=700 * GRAM, overhead_ug=400 * GRAM),
        workloads=[WorkloadUse(namespace="team-a", workload="Job/train", used_ug=2_200 * GRAM, energy_uj=1)],
    )
    status = status_of(evaluated(a_body(timeZone="UTC", contact="#ml-platform"), answer))
    assert (status["observedGeneration"], status["evaluatedGeneration"]) == (3, 3)
    assert status["period"] == {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z"}
    assert (status["used"], status["usedMicrograms"]) == ("4.1kg", 4_100_000_000)
    assert (status["remaining"], status["percentUsed"]) == ("900g", 82)
    assert (status["forecast"], status["state"], status["action"]) == ("5.3kg", "Warning", "Warn")
    assert status["exhaustedAt"] == "2026-11-28T18:56:16Z"
    assert status["breakdown"] == {"dynamic": "3kg", "idle": "700g", "overhead": "400g", "embodied": None}
    assert status["topWorkloads"] == [{"kind": "Job", "name": "train", "emissions": "2.2kg", "percent": 44}]
    assert (status["coverage"], status["measured"]) == (100, 91)
    assert status["message"] == (
        "carbon budget monthly: used 4.1kg of 5kg CO2e (82 %), forecast 5.3kg, resets 2026-12-01; location-based, "
        "as of 2026-11-23 18:53 UTC; ask #ml-platform"
    )
    assert conditions(status) == {
        "Ready": ("True", "Evaluated"),
        "FiguresExact": ("True", "Exact"),
        "EnforcementEffective": ("True", "Effective"),
        "DataComplete": ("True", "Complete"),
        "WithinBudget": ("True", "Warning"),
        "EnforcementConflict": ("False", "NoConflict"),
    }
    assert {c["observedGeneration"] for c in status["conditions"]} == {3}
    CarbonBudget.model_validate(written(a_body(), answer))


def test_a_status_is_read_back_to_the_standing_that_wrote_it() -> None:
    body = a_body(thresholds=SUSPEND)
    made = evaluated(body, an_answer(5 * KILO + 1))
    after = written(body, an_answer(5 * KILO + 1))
    assert evaluation_record_of(stored(after).budget_object) == made.record
    assert made.record is not None
    assert made.record.verdict.state is State.EXCEEDED


def test_a_budget_per_workload_names_ten_and_beyond_them_all_that_reached_a_threshold_and_none_else() -> None:
    body = a_body(per="Workload", thresholds=SUSPEND)

    def named(*grams: int, **spec: Any) -> int:
        return len(status_of(evaluated(body | {"spec": body["spec"] | spec}, used_by(*grams)))["topWorkloads"])

    assert named(*[6000] * 5) == 5
    assert named(*[6000] * 12, *[4999] * 3) == 12
    assert named(*[5000] * 60, 4999) == 60
    assert named(*[4999] * 15) == 10
    assert named(*[6000] * 15, thresholds=BLOCK) == 15
    assert named(*[4000] * 15, *[3999] * 3, thresholds=[{"at": 80, "action": "Warn"}, *SUSPEND]) == 15
    assert named(*[6000] * 15, thresholds=[{"at": 150, "action": "Warn"}]) == 15, "each run over its limit has an Event"


def test_as_many_workloads_are_asked_for_as_may_be_named() -> None:
    def asked(**spec: Any) -> set[int]:
        prepared = prepare_budget(stored(a_body(**spec)), NOW, namespaces(team_a={}))
        return {query.workloads for query in period_queries(prepared, 0, NOW)}

    assert asked() == {5}
    assert asked(per="Workload") == {100}
    assert asked(per="Workload", thresholds=SUSPEND) == {100}
    assert asked(thresholds=SUSPEND) == {5}


def test_what_revised_factors_added_makes_no_run_stand_worse() -> None:
    body = written(a_body(per="Workload"), used_by(4000, 3000))
    prepared = prepare_budget(stored(body), NOW, namespaces(team_a={}))
    assert prepared.previous is not None
    verdict = replace(prepared.previous.verdict, used_ug=6000 * GRAM, revised_ug=3000 * GRAM)
    own = [verdict_on_run(prepared.budget_limit, verdict, used * GRAM) for used in (6000, 5000, 9000)]
    assert [(one.state.value, one.revised_ug // GRAM) for one in own] == [
        ("WithinBudget", 3000), ("WithinBudget", 2500), ("Warning", 4500),
    ]  # fmt: skip


def test_a_market_based_budget_says_where_the_locations_figure_stands_in() -> None:
    def reason(accounting: str, *factors: str) -> str:
        status = status_of(evaluated(a_body(accounting=accounting), an_answer(1, factors=list(factors))))
        return conditions(status)["FiguresExact"][1]

    none = "noMarketFactor: no contract, supplier or residual mix is configured for it; the location's factor stands in"
    assert reason("MarketBased", "DE 380 g/kWh", none) == "LocationStandsIn"
    assert reason("MarketBased", "market: contract c") == "Exact"
    assert reason("LocationBased", none) == "Exact"


def test_a_block_that_ends_is_taken_out_of_the_status() -> None:
    body = written(a_body(thresholds=BLOCK), an_answer(6 * KILO))
    assert body["status"]["enforcement"] == {"action": "Block", "until": "2026-11-24T00:53:20Z"}
    raised = body | {"spec": body["spec"] | {"limit": "50kg"}, "metadata": body["metadata"] | {"generation": 4}}
    made = evaluated(raised, an_answer(6 * KILO))
    assert status_of(made)["enforcement"] is None
    assert made.blocking is False


def test_suspension_says_from_when_and_keeps_it() -> None:
    body = written(a_body(thresholds=SUSPEND, enforce={"grace": "10m"}), an_answer(6 * KILO))
    assert body["status"]["enforcement"] == {
        "action": "Suspend", "until": "2026-11-24T00:53:20Z", "suspendFrom": "2026-11-23T19:03:20Z",
    }  # fmt: skip
    later = status_of(evaluated(body, an_answer(7 * KILO), NOW + 5 * 3600))
    assert later["enforcement"]["suspendFrom"] == "2026-11-23T19:03:20Z"


def test_a_budget_per_workload_names_the_one_that_used_most_and_blocks_nobody() -> None:
    uses = [
        WorkloadUse(namespace="team-a", workload="Job/big", used_ug=6 * KILO, energy_uj=1),
        WorkloadUse(namespace="team-a", workload="Job/small", used_ug=1 * KILO, energy_uj=1),
    ]
    answer = an_answer(7 * KILO, workloads=uses, parts=UseComponents(dynamic_ug=7 * KILO))
    made = evaluated(a_body(per="Workload", thresholds=BLOCK), answer)
    status = status_of(made)
    assert (status["used"], status["percentUsed"], status["state"]) == ("6kg", 120, "Exceeded")
    assert status["message"].startswith(
        "carbon budget monthly: Job/big used 6kg of 5kg CO2e (120 %), resets 2026-12-01;"
    )
    assert [(top["name"], top["percent"], top["state"]) for top in status["topWorkloads"]] == [
        ("big", 120, "Exceeded"), ("small", 20, "WithinBudget"),
    ]  # fmt: skip
    assert (status["enforcement"], status["forecast"], status["breakdown"]) == (None, None, None)
    assert made.blocking is False
    suspending = evaluated(a_body(per="Workload", thresholds=SUSPEND), answer)
    assert status_of(suspending)["enforcement"]["action"] == "Suspend"
    assert suspending.blocking is False


def test_a_cluster_wide_budget_names_namespaces() -> None:
    use = WorkloadUse(namespace="team-a", workload="Job/train", used_ug=KILO, energy_uj=1)
    body = a_cluster_body(namespaceSelector={"matchLabels": {"kind": "team"}})
    status = status_of(evaluated(body, an_answer(KILO, workloads=[use])))
    assert status["namespaces"] == ["team-a"]
    assert status["topWorkloads"][0]["namespace"] == "team-a"
    assert status["message"].startswith("cluster carbon budget all: used 1kg")
    assert status_of(evaluated(a_cluster_body(), an_answer(KILO)))["namespaces"] is None


def test_a_selector_that_matches_no_namespace_counts_nothing_and_says_so() -> None:
    body = a_cluster_body(namespaceSelector={"matchLabels": {"kind": "none"}})
    status = status_of(evaluated(body, an_answer(KILO)))
    assert (status["used"], status["namespaces"]) == ("0mg", [])
    assert conditions(status)["FiguresExact"] == ("False", "NoNamespaces")
    assert conditions(status)["Ready"] == ("True", "Evaluated")


def test_a_namespace_s_label_that_exempts_nothing_is_explained_in_each_budget_that_covers_it() -> None:
    """Whoever sets the label to Off looks at the budget that still refuses."""
    teams = {"matchLabels": {"kind": "team"}}
    for body in (a_body(thresholds=BLOCK), a_cluster_body(), a_cluster_body(namespaceSelector=teams)):
        status = status_of(evaluated(body, an_answer(KILO), more_labels={"carbonbudget.dev/enforcement": "Off"}))
        assert conditions(status)["EnforcementEffective"] == ("False", "EnforcementLabelIgnored")
        (message,) = [one["message"] for one in status["conditions"] if one["type"] == "EnforcementEffective"]
        assert message.startswith("only the value off exempts a namespace, so a label has no effect in team-a (carbon")
        status = status_of(evaluated(body, an_answer(KILO), more_labels={"carbonbudget.dev/enforcement": "off"}))
        assert conditions(status)["EnforcementEffective"] == ("True", "Effective")


def test_many_namespaces_with_such_a_label_take_one_short_sentence() -> None:
    found = enforcement_effective((), {f"team-{n}": "Off" for n in range(1000)})
    assert "team-2 (carbonbudget.dev/enforcement=Off) and 997 more: set it to off, or remove it" in found.message
    assert len(found.message) < 300


def test_no_notice_hides_another() -> None:
    answer = an_answer(KILO, pro_rata=[NOVEMBER + 1200], factors=["noMarketFactor: none"])
    spec = {"accounting": "MarketBased", "enforce": {"kinds": ["Job", "Deploiment"]}}
    status = status_of(evaluated(a_body(**spec), answer, more_labels={"carbonbudget.dev/enforcement": "Off"}))
    said = {one["type"]: one["message"] for one in status["conditions"]}
    assert conditions(status)["FiguresExact"] == ("False", "LocationStandsIn")
    assert "the location's figure stands in" in said["FiguresExact"]
    assert "is counted pro rata" in said["FiguresExact"]
    assert conditions(status)["EnforcementEffective"] == ("False", "KindsNotEnforced")
    assert "Deploiment of enforce.kinds" in said["EnforcementEffective"]
    assert "a label has no effect in team-a" in said["EnforcementEffective"]
    assert conditions(status)["Ready"] == ("True", "Evaluated")
    assert status["kindsNotEnforced"] == ["Deploiment"]
    both = figures_exact((), True, (), True).message
    assert all(part in both for part in ("stands in", "more than 1000 namespaces", "selects no namespace"))


def test_where_budgets_do_not_act_nothing_is_in_force_and_the_action_is_still_told() -> None:
    made = evaluated(a_body(thresholds=BLOCK), an_answer(6 * KILO), terms=EnforcementTerms(6 * 3600, acts=False))
    assert (status_of(made)["action"], status_of(made)["enforcement"], made.blocking) == ("Block", None, False)


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    body = written(a_body(), an_answer(1), NOW)
    later = written(body, an_answer(2), NOW + 600)
    assert {c["lastTransitionTime"] for c in later["status"]["conditions"]} == {"2026-11-23T18:53:20Z"}


def test_what_is_wrong_with_the_data_shows_as_a_condition() -> None:
    assert conditions(status_of(evaluated(a_body(), an_answer(1, coverage_percent=80))))["DataComplete"] == (
        "False", "Gaps",
    )  # fmt: skip
    unmetered = status_of(evaluated(a_body(), an_answer(0, pods_without_agent=2)))
    assert conditions(unmetered)["DataComplete"] == ("False", "NotMetered")
    (message,) = [c["message"] for c in unmetered["conditions"] if c["reason"] == "NotMetered"]
    assert message == (
        "100 % of the nodes' time was reported, and 2 pods of its namespaces are on nodes that cannot run an agent: "
        "no figure has their energy"
    )
    old = status_of(evaluated(a_body(), an_answer(1), through=NOW - 901))
    assert conditions(old)["DataComplete"] == ("False", "Stale")


def test_a_ledger_that_lost_facts_raises_the_alarm_and_keeps_the_figures() -> None:
    body = written(a_body(), an_answer(KILO, settled_ug=KILO, settled_energy_uj=100))
    body["status"]["settled"] = {"through": "2026-11-23T18:00:00Z", "micrograms": KILO, "microjoules": 100}
    status = status_of(evaluated(body, an_answer(GRAM, settled_ug=GRAM, settled_energy_uj=1)))
    assert conditions(status)["DataComplete"] == ("False", "UsedFell")
    assert (status["used"], "forecast" in status) == ("1kg", False)


def test_who_reverts_a_suspension_is_named_in_a_condition_and_a_change_of_it_is_written() -> None:
    body = written(a_body(), an_answer(1), conflict="argocd reverts Job/train")
    found = next(c for c in body["status"]["conditions"] if c["type"] == "EnforcementConflict")
    assert (found["status"], found["reason"], found["message"]) == ("True", "Reverted", "argocd reverts Job/train")
    assert not is_visible_change(body, status_of(evaluated(body, an_answer(1), conflict="argocd reverts Job/train")))
    assert is_visible_change(body, status_of(evaluated(body, an_answer(1), conflict="flux reverts Job/train")))
    assert is_visible_change(body, status_of(evaluated(body, an_answer(1))))


# --- former periods --------------------------------------------------------------------------------------------------


def test_when_a_period_ends_its_final_use_is_kept_and_asked_for_again_for_an_hour() -> None:
    body = written(a_body(), an_answer(KILO), DECEMBER - 60)
    body = written(body, an_answer(2 * KILO), DECEMBER + 12)
    november = {"start": "2026-11-01T00:00:00Z", "end": "2026-12-01T00:00:00Z", "limit": "5kg"}
    assert body["status"]["history"] == [november | {"used": "2kg"}]
    edited = body | {"spec": body["spec"] | {"limit": "9kg"}}
    later = written(edited, an_answer(3 * KILO), DECEMBER + 600)
    assert later["status"]["history"] == [november | {"used": "3kg"}]
    assert written(later, an_answer(4 * KILO), DECEMBER + 3600)["status"]["history"] == [november | {"used": "3kg"}]


def test_a_controller_that_was_away_asks_for_each_period_that_it_missed() -> None:
    body = written(a_body(period="Day"), an_answer(KILO), NOW)
    after = written(body, an_answer(KILO), NOW + 3 * 86400)["status"]["history"]
    assert [item["start"][:10] for item in after] == ["2026-11-25", "2026-11-24", "2026-11-23"]


def test_twelve_periods_are_kept() -> None:
    body = written(a_body(period="Day"), an_answer(KILO), NOW)
    body = written(body, an_answer(KILO), NOW + 5 * 86400)
    after = written(body, an_answer(KILO), NOW + 40 * 86400)["status"]["history"]
    assert len(after) == 12
    assert after[0]["end"] == "2027-01-02T00:00:00Z"


def test_a_budget_that_is_new_has_no_history_and_counts_from_its_periods_start() -> None:
    prepared = prepare_budget(stored(a_body()), NOW, namespaces())
    assert [query.id for query in period_queries(prepared, 0, NOW)] == [prepared.key]
    assert prepared.budget_limit.period.start == NOVEMBER
