"""From a budget and the server's answers to its status."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.controller.objects import DECEMBER, NOVEMBER, NOW, Body, a_body, a_cluster_body, merge, namespaces, stored

from carbonbudget_operator.api.budget_query_bodies import BudgetAnswer, UseComponents, WorkloadUse
from carbonbudget_operator.api.carbonbudget import CarbonBudget
from carbonbudget_operator.budgets.verdict import EnforcementTerms, State, verdict_on_run
from carbonbudget_operator.controller.budget_evaluation import (
    BudgetEvaluation,
    evaluate_budget,
    evaluate_invalid,
    evaluate_without_answer,
)
from carbonbudget_operator.controller.budget_queries import period_answers, period_queries
from carbonbudget_operator.controller.conditions import ready
from carbonbudget_operator.controller.prepared_budget import evaluation_record_of, prepare_budget
from carbonbudget_operator.controller.status_json import is_visible_change

TERMS = EnforcementTerms(6 * 3600)
BLOCK = [{"at": 100, "action": "Block"}]
SUSPEND = [{"at": 100, "action": "Suspend"}]
GRAM, KILO = 10**6, 10**9


def an_answer(used_ug: int, **more: Any) -> BudgetAnswer:
    defaults: dict[str, Any] = {
        "id": "", "used_g": "0", "energy_uj": 1, "energy_kwh": "0", "coverage_percent": 100, "measured_percent": 91,
        "data_from": NOVEMBER,
    }  # fmt: skip
    return BudgetAnswer(used_ug=used_ug, **(defaults | more))


def judged(
    body: Body,
    answer: BudgetAnswer,
    now: int = NOW,
    *,
    through: int = 0,
    conflict: str = "",
    terms: EnforcementTerms = TERMS,
    more_labels: dict[str, str] | None = None,
) -> BudgetEvaluation:
    prepared = prepare_budget(stored(body), now, namespaces(team_a={"kind": "team"} | (more_labels or {})))
    asked = period_queries(prepared, 0, now)
    answers = {query.id: answer for query in asked}
    return evaluate_budget(
        prepared, period_answers(prepared, asked, answers, through or now), None, conflict, now, terms
    )


def written(body: Body, answer: BudgetAnswer, now: int = NOW, **more: Any) -> Body:
    """The body as it reads after the verdict was written."""
    after = stored(body).body
    merge(after, {"status": judged(body, answer, now, **more).desired.status})  # type: ignore[arg-type] # a dict
    return after  # type: ignore[return-value]


def status_of(judgement: BudgetEvaluation) -> dict[str, Any]:
    return judgement.desired.status


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def test_a_status_lists_the_instants_that_are_counted_pro_rata_whatever_else_its_conditions_say() -> None:
    answer = an_answer(KILO, pro_rata=[NOVEMBER + 1200])
    for more in ({}, {"enforce": {"kinds": ["Nonesuch"]}}):
        status = status_of(judged(a_body(**more), answer))
        assert status["proRata"] == ["2026-11-01T00:20:00Z"]
    assert status_of(judged(a_body(), an_answer(KILO)))["proRata"] is None
    body = written(a_body(), answer)
    without = body | {"status": {key: value for key, value in body["status"].items() if key != "proRata"}}
    assert not is_visible_change(without, status_of(judged(a_body(), answer)))  # a former version's CRD drops the field


def test_a_status_says_all_of_the_design() -> None:
    answer = an_answer(
        4_100_000_000,
        parts=UseComponents(dynamic_ug=3 * KILO, idle_ug=700 * GRAM, overhead_ug=400 * GRAM),
        workloads=[WorkloadUse(namespace="team-a", workload="Job/train", used_ug=2_200 * GRAM, energy_uj=1)],
    )
    status = status_of(judged(a_body(timeZone="UTC", contact="#ml-platform"), answer))
    assert status["observedGeneration"] == 3
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
        "DataComplete": ("True", "Complete"),
        "WithinBudget": ("True", "Warning"),
        "EnforcementConflict": ("False", "NoConflict"),
    }
    assert {c["observedGeneration"] for c in status["conditions"]} == {3}
    CarbonBudget.model_validate(written(a_body(), answer))


def test_a_status_is_read_back_to_the_standing_that_wrote_it() -> None:
    body = a_body(thresholds=SUSPEND)
    made = judged(body, an_answer(5 * KILO + 1))
    after = written(body, an_answer(5 * KILO + 1))
    assert evaluation_record_of(stored(after).budget_object) == made.record
    assert made.record is not None
    assert made.record.verdict.state is State.EXCEEDED


def test_nothing_that_a_person_sees_changed_means_nothing_to_write() -> None:
    body = written(a_body(), an_answer(1_050_000_000))
    assert not is_visible_change(body, status_of(judged(body, an_answer(1_050_000_100), NOW + 60)))


def test_a_used_that_reads_differently_is_written() -> None:
    body = written(a_body(), an_answer(1_000_000_000))
    status = status_of(judged(body, an_answer(1_100_000_000), NOW + 60))
    assert is_visible_change(body, status)
    assert status["used"] == "1.1kg"


def test_who_is_on_top_is_written_and_their_grams_alone_are_not() -> None:
    def by(name: str, used_ug: int) -> BudgetAnswer:
        use = WorkloadUse(namespace="team-a", workload=f"Job/{name}", used_ug=used_ug, energy_uj=1)
        return an_answer(1_050_000_000, workloads=[use])

    body = written(a_body(), by("train", 500 * GRAM))
    assert not is_visible_change(body, status_of(judged(body, by("train", 501 * GRAM))))
    assert is_visible_change(body, status_of(judged(body, by("train", 551 * GRAM))))
    assert is_visible_change(body, status_of(judged(body, by("other", 500 * GRAM))))


def used_by(*grams: int) -> BudgetAnswer:
    uses = [
        WorkloadUse(namespace="team-a", workload=f"Job/j{n}", used_ug=used * GRAM, energy_uj=1)
        for n, used in enumerate(grams)
    ]
    return an_answer(sum(grams) * GRAM, workloads=uses)


def test_a_budget_per_workload_names_ten_and_beyond_them_all_that_reached_a_threshold_and_none_else() -> None:
    body = a_body(per="Workload", thresholds=SUSPEND)

    def named(*grams: int, **spec: Any) -> int:
        return len(status_of(judged(body | {"spec": body["spec"] | spec}, used_by(*grams)))["topWorkloads"])

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


def test_beyond_the_ten_it_is_written_who_is_over_and_not_by_how_much() -> None:
    body = a_body(per="Workload", thresholds=SUSPEND)
    after = written(body, used_by(*[9000] * 10, 6000, 6000))
    assert not is_visible_change(after, status_of(judged(after, used_by(*[9000] * 10, 6400, 6000))))
    assert is_visible_change(after, status_of(judged(after, used_by(*[9000] * 10, 6400, 6000, 5000))))
    assert is_visible_change(after, status_of(judged(after, used_by(9200, *[9000] * 9, 6400, 6000))))
    CarbonBudget.model_validate(written(body, used_by(*[9000] * 100)))


def test_a_figure_that_moves_is_written_within_ten_minutes_and_one_that_does_not_is_not() -> None:
    """By two digits of a month's budget it would be hours."""
    body = written(a_body(per="Workload"), used_by(1050, 1))  # it has no forecast, which moves by itself
    for minute in range(1, 30):
        due = is_visible_change(body, status_of(judged(body, used_by(1051, 2), NOW + 60 * minute)))
        assert due or minute < 10
        assert not due or minute >= 5
        assert not is_visible_change(body, status_of(judged(body, used_by(1050, 1), NOW + 60 * minute)))


def test_moving_figures_of_many_budgets_are_not_written_in_the_same_minute() -> None:
    def due_at(uid: str) -> int:
        own = a_body(per="Workload")
        body = written(own | {"metadata": own["metadata"] | {"uid": uid}}, used_by(1050))
        status = {minute: status_of(judged(body, used_by(1051), NOW + 60 * minute)) for minute in range(1, 12)}
        return next(minute for minute, one in status.items() if is_visible_change(body, one))

    assert len({due_at(f"uid-{n}") for n in range(40)}) >= 4


def test_a_run_that_comes_over_its_limit_is_written_though_others_are_over_longer() -> None:
    body = written(a_body(per="Workload"), used_by(6000, 4990))
    assert is_visible_change(body, status_of(judged(body, used_by(6000, 5000), NOW + 60)))


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
        status = status_of(judged(a_body(accounting=accounting), an_answer(1, factors=list(factors))))
        return conditions(status)["Ready"][1]

    none = "noMarketFactor: no contract, supplier or residual mix is configured; the location's factor stands in"
    assert reason("MarketBased", "DE 380 g/kWh", none) == "LocationStandsIn"
    assert reason("MarketBased", "market: contract c") == "Evaluated"
    assert reason("LocationBased", none) == "Evaluated"


def test_a_block_that_ends_is_taken_out_of_the_status() -> None:
    body = written(a_body(thresholds=BLOCK), an_answer(6 * KILO))
    assert body["status"]["enforcement"] == {"action": "Block", "until": "2026-11-24T00:53:20Z"}
    raised = body | {"spec": body["spec"] | {"limit": "50kg"}, "metadata": body["metadata"] | {"generation": 4}}
    made = judged(raised, an_answer(6 * KILO))
    assert status_of(made)["enforcement"] is None
    assert made.desired.blocking is False


def test_suspension_says_from_when_and_keeps_it() -> None:
    body = written(a_body(thresholds=SUSPEND, enforce={"grace": "10m"}), an_answer(6 * KILO))
    assert body["status"]["enforcement"] == {
        "action": "Suspend", "until": "2026-11-24T00:53:20Z", "suspendFrom": "2026-11-23T19:03:20Z",
    }  # fmt: skip
    later = status_of(judged(body, an_answer(7 * KILO), NOW + 5 * 3600))
    assert later["enforcement"]["suspendFrom"] == "2026-11-23T19:03:20Z"


def test_a_budget_per_workload_names_the_one_that_used_most_and_blocks_nobody() -> None:
    uses = [
        WorkloadUse(namespace="team-a", workload="Job/big", used_ug=6 * KILO, energy_uj=1),
        WorkloadUse(namespace="team-a", workload="Job/small", used_ug=1 * KILO, energy_uj=1),
    ]
    answer = an_answer(7 * KILO, workloads=uses, parts=UseComponents(dynamic_ug=7 * KILO))
    made = judged(a_body(per="Workload", thresholds=BLOCK), answer)
    status = status_of(made)
    assert (status["used"], status["percentUsed"], status["state"]) == ("6kg", 120, "Exceeded")
    assert status["message"].startswith(
        "carbon budget monthly: Job/big used 6kg of 5kg CO2e (120 %), resets 2026-12-01;"
    )
    assert [(top["name"], top["percent"], top["state"]) for top in status["topWorkloads"]] == [
        ("big", 120, "Exceeded"), ("small", 20, "WithinBudget"),
    ]  # fmt: skip
    assert (status["enforcement"], status["forecast"], status["breakdown"]) == (None, None, None)
    assert made.desired.blocking is False
    suspending = judged(a_body(per="Workload", thresholds=SUSPEND), answer)
    assert status_of(suspending)["enforcement"]["action"] == "Suspend"
    assert suspending.desired.blocking is False


def test_a_cluster_wide_budget_names_namespaces() -> None:
    use = WorkloadUse(namespace="team-a", workload="Job/train", used_ug=KILO, energy_uj=1)
    body = a_cluster_body(namespaceSelector={"matchLabels": {"kind": "team"}})
    status = status_of(judged(body, an_answer(KILO, workloads=[use])))
    assert status["namespaces"] == ["team-a"]
    assert status["topWorkloads"][0]["namespace"] == "team-a"
    assert status["message"].startswith("cluster carbon budget all: used 1kg")
    assert status_of(judged(a_cluster_body(), an_answer(KILO)))["namespaces"] is None


def test_a_selector_that_matches_no_namespace_counts_nothing_and_says_so() -> None:
    body = a_cluster_body(namespaceSelector={"matchLabels": {"kind": "none"}})
    status = status_of(judged(body, an_answer(KILO)))
    assert (status["used"], status["namespaces"]) == ("0mg", [])
    assert conditions(status)["Ready"] == ("True", "NoNamespaces")


def test_a_namespace_s_label_that_exempts_nothing_is_explained_in_each_budget_that_covers_it() -> None:
    """Whoever sets the label to Off looks at the budget that still refuses."""
    teams = {"matchLabels": {"kind": "team"}}
    for body in (a_body(thresholds=BLOCK), a_cluster_body(), a_cluster_body(namespaceSelector=teams)):
        status = status_of(judged(body, an_answer(KILO), more_labels={"carbonbudget.dev/enforcement": "Off"}))
        assert conditions(status)["Ready"] == ("True", "EnforcementLabelIgnored")
        (message,) = [one["message"] for one in status["conditions"] if one["type"] == "Ready"]
        assert message.startswith("only the value off exempts a namespace, so a label has no effect in team-a (carbon")
        status = status_of(judged(body, an_answer(KILO), more_labels={"carbonbudget.dev/enforcement": "off"}))
        assert conditions(status)["Ready"] == ("True", "Evaluated")


def test_many_namespaces_with_such_a_label_take_one_short_sentence() -> None:
    found = ready(("*",), False, ignored_labels={f"team-{n}": "Off" for n in range(1000)})
    assert "team-2 (carbonbudget.dev/enforcement=Off) and 997 more: set it to off, or remove it" in found.message
    assert len(found.message) < 300


def test_where_budgets_do_not_act_nothing_is_in_force_and_the_action_is_still_told() -> None:
    made = judged(a_body(thresholds=BLOCK), an_answer(6 * KILO), terms=EnforcementTerms(6 * 3600, acts=False))
    assert (status_of(made)["action"], status_of(made)["enforcement"], made.desired.blocking) == ("Block", None, False)


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    body = written(a_body(), an_answer(1), NOW)
    later = written(body, an_answer(2), NOW + 600)
    assert {c["lastTransitionTime"] for c in later["status"]["conditions"]} == {"2026-11-23T18:53:20Z"}


def test_what_is_wrong_with_the_data_shows_as_a_condition() -> None:
    assert conditions(status_of(judged(a_body(), an_answer(1, coverage_percent=80))))["DataComplete"] == (
        "False", "Gaps",
    )  # fmt: skip
    unmetered = status_of(judged(a_body(), an_answer(0, pods_without_agent=2)))
    assert conditions(unmetered)["DataComplete"] == ("False", "NotMetered")
    (message,) = [c["message"] for c in unmetered["conditions"] if c["reason"] == "NotMetered"]
    assert message == (
        "100 % of the nodes' time was reported, and 2 pods of its namespaces are on nodes that cannot run an agent: "
        "no figure has their energy"
    )
    old = status_of(judged(a_body(), an_answer(1), through=NOW - 901))
    assert conditions(old)["DataComplete"] == ("False", "Stale")


def test_a_ledger_that_lost_facts_raises_the_alarm_and_keeps_the_figures() -> None:
    body = written(a_body(), an_answer(KILO, settled_ug=KILO, settled_energy_uj=100))
    body["status"]["settled"] = {"through": "2026-11-23T18:00:00Z", "micrograms": KILO, "microjoules": 100}
    status = status_of(judged(body, an_answer(GRAM)))
    assert conditions(status)["DataComplete"] == ("False", "UsedFell")
    assert (status["used"], "forecast" in status) == ("1kg", False)


def test_who_reverts_a_suspension_is_named_in_a_condition_and_a_change_of_it_is_written() -> None:
    body = written(a_body(), an_answer(1), conflict="argocd reverts Job/train")
    found = next(c for c in body["status"]["conditions"] if c["type"] == "EnforcementConflict")
    assert (found["status"], found["reason"], found["message"]) == ("True", "Reverted", "argocd reverts Job/train")
    assert not is_visible_change(body, status_of(judged(body, an_answer(1), conflict="argocd reverts Job/train")))
    assert is_visible_change(body, status_of(judged(body, an_answer(1), conflict="flux reverts Job/train")))
    assert is_visible_change(body, status_of(judged(body, an_answer(1))))


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


# --- no data ---------------------------------------------------------------------------------------------------------


def unanswered(body: Body, now: int = NOW, since: int = NOW) -> BudgetEvaluation:
    prepared = prepare_budget(stored(body), now, namespaces())
    return evaluate_without_answer(prepared, "ServerUnavailable", "the server does not answer", since, "", now, TERMS)


def test_without_data_the_last_verdict_stands_and_a_condition_says_why() -> None:
    body = written(a_body(thresholds=BLOCK), an_answer(6 * KILO))
    made = unanswered(body)
    assert set(made.desired.status) == {"conditions"}
    assert made.desired.blocking is True
    assert is_visible_change(body, made.desired.status)
    assert conditions(status_of(made))["DataComplete"] == ("False", "ServerUnavailable")


def test_without_data_a_block_is_renewed_or_dropped_as_the_budget_says() -> None:
    body = written(a_body(thresholds=BLOCK), an_answer(6 * KILO))
    kept = unanswered(body, NOW + 4 * 3600)
    assert status_of(kept)["enforcement"]["until"] == "2026-11-24T04:53:20Z"
    careful = written(a_body(thresholds=BLOCK, onMissingData="Unknown"), an_answer(6 * KILO))
    dropped = unanswered(careful, NOW + 4 * 3600)
    assert (status_of(dropped)["state"], status_of(dropped)["enforcement"]) == ("Unknown", None)
    assert dropped.desired.blocking is False
    assert "no data now; last known: used 6kg" in dropped.message


def test_a_limit_raised_without_data_unblocks_and_the_status_says_which_generation_was_judged() -> None:
    body = written(a_body(thresholds=BLOCK), an_answer(6 * KILO, settled_ug=6 * KILO, settled_energy_uj=100))
    body["metadata"]["generation"] = 4
    body["spec"] |= {"limit": "50kg", "selector": {"matchLabels": {"a": "b"}}}
    made = unanswered(body, NOW + 600)
    assert (status_of(made)["enforcement"], made.desired.blocking) == (None, False)
    assert status_of(made)["observedGeneration"] == 3
    merge(body, {"status": made.desired.status})
    after = status_of(judged(body, an_answer(GRAM, settled_ug=GRAM, settled_energy_uj=1), NOW + 1200))
    assert (after["observedGeneration"], after["used"]) == (4, "1g")
    assert conditions(after)["DataComplete"] == ("True", "Complete")


def test_a_lowered_limit_suspends_by_the_highest_reading_also_after_a_restart() -> None:
    body = written(a_body(thresholds=SUSPEND, limit="10kg"), an_answer(6 * KILO))
    body["metadata"]["generation"] = 4
    body["spec"] |= {"limit": "6kg", "contact": "#ml"}
    after = status_of(judged(body, an_answer(5 * KILO), NOW + 60))
    assert (after["used"], after["action"], after["observedGeneration"]) == ("6kg", "Suspend", 4)


def test_the_status_of_an_earlier_version_starts_again_after_an_edit_and_gets_the_hash() -> None:
    body = written(a_body(), an_answer(6 * KILO))
    del body["status"]["counted"]
    assert not is_visible_change(body, status_of(judged(body, an_answer(6 * KILO))))  # its CRD drops the field
    body["metadata"]["generation"] = 4
    after = status_of(judged(body, an_answer(GRAM), NOW + 60))
    assert (after["used"], after["counted"]["generation"]) == ("1g", 4)


def test_a_hash_that_an_older_controller_left_behind_is_ignored() -> None:
    """It writes the use of the edited selector and leaves the unknown field; then the selector is edited back."""
    body = written(a_body(), an_answer(GRAM))
    body["status"] |= {"observedGeneration": 4, "usedMicrograms": 6 * KILO}
    body["metadata"]["generation"] = 5
    assert status_of(judged(body, an_answer(GRAM), NOW + 60))["used"] == "1g"


def test_before_the_first_data_a_budget_is_unknown_and_blocks_nothing() -> None:
    status = status_of(unanswered(a_body()))
    assert (status["state"], status["enforcement"]) == ("Unknown", None)
    assert "used" not in status


def test_a_period_that_begins_without_data_is_unknown_and_the_former_is_not_forgotten() -> None:
    body = written(a_body(thresholds=BLOCK), an_answer(6 * KILO), DECEMBER - 60)
    merge(body, {"status": unanswered(body, DECEMBER + 60).desired.status})
    assert body["status"]["state"] == "Unknown"
    assert "enforcement" not in body["status"]
    assert written(body, an_answer(KILO), DECEMBER + 600)["status"]["history"][0]["end"] == "2026-12-01T00:00:00Z"


def test_a_budget_that_cannot_be_judged_blocks_nothing() -> None:
    made = evaluate_invalid(stored(a_body(limit="much")), "write a number", NOW)
    assert (status_of(made)["enforcement"], made.desired.blocking) == (None, False)
    assert conditions(status_of(made)) == {"Ready": ("False", "BadSpec")}


def test_a_budget_that_cannot_be_judged_keeps_the_generation_that_was() -> None:
    """Or its old use would bind the next verdict of that generation, as if it were its own."""
    body = written(a_body(), an_answer(6 * KILO, settled_ug=6 * KILO, settled_energy_uj=100))
    body["metadata"]["generation"] = 4
    body["spec"]["include"] = ["Dynamic"]
    status = status_of(evaluate_invalid(stored(body), "write a number", NOW))
    merge(body, {"status": status})
    assert body["status"]["observedGeneration"] == 3
    assert [c["observedGeneration"] for c in status["conditions"]] == [4]
    after = status_of(judged(body, an_answer(GRAM, settled_ug=GRAM, settled_energy_uj=1)))
    assert (after["observedGeneration"], after["used"]) == (4, "1g")
