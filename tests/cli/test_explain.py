"""The rows of budgets and the sentences of `kubectl carbon explain`, from a budget and its status."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.kubectl_budgets import BLOCK, NOW, STATUS, a_budget, an_object, told

from carbonbudget_operator.admission.admission_decision import Mode
from carbonbudget_operator.api.carbonbudget import CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.cli.budget_effects import ReaderContext
from carbonbudget_operator.cli.budget_table import as_item, budget_rows, workload_rows
from carbonbudget_operator.cli.explain import explain
from carbonbudget_operator.cli.formatted_values import minute_in


def test_a_row_has_what_the_status_says() -> None:
    (row,) = budget_rows([a_budget()])
    assert (row.limit, row.used, row.percent, row.forecast) == ("5kg", "4.1kg", 82, "6.3kg")
    assert [minute_in(one, row.time_zone) for one in (row.exhausted, row.resets, row.as_of)] == [
        "2026-11-27 00:00 CET", "2026-12-01 00:00 CET", "2026-11-24 12:59 CET",
    ]  # fmt: skip
    assert (row.state, row.action) == ("Warning", "Warn")


def test_a_budget_that_is_not_evaluated_yet_is_a_row_of_its_limit() -> None:
    (row,) = budget_rows([a_budget(given={})])
    assert (row.limit, row.used, row.percent, row.state, row.resets) == ("5kg", None, None, None, None)


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("end", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+14:00"])
def test_an_instant_beyond_all_calendars_hides_no_budget(zone: str, end: str) -> None:
    odd = a_budget(given=STATUS | {"period": {"start": "2026-10-31T23:00:00Z", "end": end}}, timeZone=zone)
    found = budget_rows([odd, a_budget("other")])
    assert [row.name for row in found] == ["monthly", "other"]
    assert minute_in(found[0].resets, zone).startswith(end[:4])
    assert str(as_item(found[0])["resets"]).startswith(end[:4])
    assert told(odd, "Forecast")


def test_rows_are_by_namespace_and_name_and_the_clusters_come_last() -> None:
    whole = ClusterCarbonBudget.model_validate(an_object("all", ""))
    other = CarbonBudget.model_validate(an_object("a", "team-b"))
    assert [row.name for row in budget_rows([whole, other, a_budget("z"), a_budget("b")])] == ["b", "z", "a", "all"]


def test_workloads_are_by_what_they_emitted_not_by_how_it_is_written() -> None:
    whole = ClusterCarbonBudget.model_validate(
        an_object("all", "", {"topWorkloads": [{"kind": "Job", "name": "x", "namespace": "n", "emissions": "1.5kg"}]})
    )
    found = workload_rows([a_budget(), whole])
    assert [(one.namespace, one.name, one.emissions) for one in found] == [
        ("team-a", "train", "2.2kg"), ("n", "x", "1.5kg"), ("team-a", "small", "900g"),
    ]  # fmt: skip


def test_what_counts_is_said_with_selector_span_and_what_is_left_out() -> None:
    selector = {
        "matchLabels": {"project": "x"},
        "matchExpressions": [
            {"key": "tier", "operator": "NotIn", "values": ["a", "b"]}, {"key": "canary", "operator": "DoesNotExist"},
        ],
    }  # fmt: skip
    text = told(a_budget(selector=selector), "Counts")
    assert "pods with labels project=x, tier notin (a, b), !canary in namespace team-a" in text
    assert "from 2026-11-01 until 2026-12-01 (Europe/Paris)" in text
    assert "what counts is dynamic, idle and overhead, without embodied" in text
    assert "all pods in namespace team-a" in told(a_budget(), "Counts")


ADJUSTED = STATUS | {
    "adjustments": [
        {"reason": "CarryOver", "amount": "+2kg", "micrograms": 2 * 10**9, "source": "period from 2026-10-01"},
        {"reason": "TransferOut", "amount": "-1kg", "micrograms": -(10**9), "source": "CarbonTransfer to-b"},
    ]
}


def test_a_limit_with_adjustments_is_told_with_what_changed_it() -> None:
    adjusted = a_budget(given=ADJUSTED)
    counts = told(adjusted, "Counts")
    assert "Allowed are 6kg (5kg and adjustments) of CO2e." in counts
    assert "+2kg carried over from the period from 2026-10-01 and -1kg given away by CarbonTransfer to-b." in counts
    assert "4.1kg of 6kg" in told(adjusted, "Used")
    assert [row.limit for row in budget_rows([adjusted])] == ["6kg"]


def test_a_clusters_budget_says_over_which_namespaces() -> None:
    every = ClusterCarbonBudget.model_validate(an_object("all", ""))
    some = ClusterCarbonBudget.model_validate(an_object("ml", "", namespaceSelector={"matchLabels": {"d": "ml"}}))
    assert "in all namespaces" in told(every, "Counts")
    assert "in namespaces with labels d=ml" in told(some, "Counts")


def test_the_use_is_told_with_its_parts_its_workloads_and_how_well_it_is_known() -> None:
    budget = a_budget()
    assert told(budget, "Used").startswith(
        "4.1kg of 5kg (82 %); 900g are left. Location-based, by reports up to 2026-11-24 12:59 CET. "
        "Of it 3kg that followed"
    )
    assert "Job train 2.2kg and Job small 900g" in told(budget, "Used")
    assert "98 % of the nodes' time was reported; what the rest used is missing" in told(budget, "Measured")
    assert "40 % of the energy was measured by a meter; the rest is modelled" in told(budget, "Measured")


def test_a_part_of_nothing_is_left_out() -> None:
    none_idle = {"breakdown": {"dynamic": "3kg", "idle": "0mg"}}
    assert "3kg that followed the pods' use." in told(a_budget(given=STATUS | none_idle), "Used")
    nothing = {"breakdown": {"dynamic": "0mg"}, "topWorkloads": None}
    assert told(a_budget(given=STATUS | nothing), "Used").startswith("4.1kg of 5kg (82 %); 900g are left. Location")


UNUSED = STATUS | {"used": "0mg", "usedMicrograms": 0, "percentUsed": 0, "topWorkloads": None, "breakdown": None}


def test_a_budget_whose_selector_matches_nothing_says_where_to_look() -> None:
    typed_wrong = a_budget(given=UNUSED, selector={"matchLabels": {"projct": "x"}})
    assert told(typed_wrong, "Used").endswith(
        "No use of these pods was reported in the period. If you expected some, compare the labels: "
        "kubectl get pods -n team-a --show-labels. The labels of a Job's pod template count, not the Job's own."
    )
    both = {"namespaceSelector": {"matchLabels": {"d": "ml"}}, "selector": {"matchLabels": {"p": "x"}}}
    whole = ClusterCarbonBudget.model_validate(an_object("ml", "", UNUSED, **both))
    assert "kubectl get namespaces --show-labels and kubectl get pods -A --show-labels." in told(whole, "Used")
    assert told(a_budget(given=UNUSED), "Used").endswith("No use of these pods was reported in the period.")
    assert "No use" not in told(a_budget(selector={"matchLabels": {"p": "x"}}), "Used")


def test_of_no_energy_no_part_was_measured() -> None:
    told_of_nothing = told(a_budget(given=UNUSED | {"measured": 100}), "Measured")
    assert "98 % of the nodes' time was reported" in told_of_nothing
    assert "measured by a meter" not in told_of_nothing


def test_a_budget_per_workload_tells_of_the_one_that_used_most() -> None:
    assert told(a_budget(per="Workload"), "Used").startswith("By the workload that used most: 4.1kg of 5kg")


def test_a_forecast_says_when_the_limit_is_reached_or_why_there_is_none() -> None:
    assert "6.3kg by 2026-12-01: the limit is reached on 2026-11-27." in told(a_budget(), "Forecast")
    assert "the limit is not reached" in told(a_budget(given=STATUS | {"exhaustedAt": None}), "Forecast")
    assert "used up already" in told(a_budget(given=STATUS | BLOCK), "Forecast")
    assert "too little is known" in told(a_budget(given=STATUS | {"forecast": None}), "Forecast")
    assert "a limit of its own" in told(a_budget(per="Workload"), "Forecast")


def test_thresholds_say_what_happens_and_whether_it_did() -> None:
    assert told(a_budget(), "Thresholds") == (
        "At 80 % it warns whoever creates a Job or bare Pod (reached). "
        "At 100 % it warns whoever creates a Job or bare Pod (not reached)."
    )
    projected = a_budget(thresholds=[{"at": 90, "action": "Block", "basis": "Projected"}])
    assert told(projected, "Thresholds") == (
        "At 90 % it refuses a new Job or bare Pod (by what was used and what the new work is expected to emit)."
    )


def test_with_the_default_kinds_growth_is_that_of_jobs_and_gated_pods() -> None:
    said = told(a_budget(thresholds=[{"at": 100, "action": "Block"}]), "Thresholds")
    assert said.startswith(
        "At 100 % it refuses a new Job or bare Pod, and growth (a Job that is resumed or runs more pods at a time; "
        "a Pod that loses its last scheduling gate)"
    )


ALL_THREE = [{"at": 80, "action": "Warn"}, {"at": 90, "action": "Block"}, {"at": 100, "action": "Suspend"}]


def test_thresholds_name_the_kinds_that_they_act_on_and_the_grace() -> None:
    budget = a_budget(thresholds=ALL_THREE, enforce={"kinds": ["Deployment", "Job"], "grace": "2h"})
    growth = (
        "and growth (more replicas of a Deployment or a rollout of one whose pods may take more than 600 s to end; "
        "a Job that is resumed or runs more pods at a time)"
    )
    assert told(budget, "Thresholds").split(". ") == [
        "At 80 % it warns whoever creates a Job, bare Pod or Deployment (reached)",
        f"At 90 % it refuses a new Deployment or Job, {growth}, and warns whoever creates a bare Pod (not reached)",
        f"At 100 % it refuses a new Deployment or Job, {growth}, and suspends running Jobs labelled "
        "carbonbudget.dev/suspendable=true 2h later (not reached).",
    ]


def test_a_runs_own_thresholds_concern_the_run_alone() -> None:
    text = told(a_budget(thresholds=ALL_THREE, per="Workload"), "Thresholds")
    assert "At 80 % it reports the run by an Event (reached)." in text
    assert "At 90 % it reports the run by an Event, and refuses nobody else's work (not reached)." in text
    assert "and suspends it 30m later, if it is a Job labelled carbonbudget.dev/suspendable=true" in text


def test_what_revised_factors_added_reaches_no_threshold() -> None:
    settled = {"through": "2026-11-24T11:00:00Z", "micrograms": 0, "microjoules": 0, "revisedMicrograms": 200 * 10**6}
    revised = STATUS | {"usedMicrograms": 41 * 10**8, "settled": settled}
    assert "At 80 % it warns whoever creates a Job or bare Pod (not reached)" in told(
        a_budget(given=revised), "Thresholds"
    )


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("Enforce", "enforcement.mode is Enforce: what the thresholds say is done"),
        ("Warn", "nothing is refused or suspended here"),
        ("Observe", "nothing is warned of, refused or suspended here"),
        (None, "cannot be seen with your rights"),
    ],
)
def test_the_clusters_mode_says_whether_thresholds_act(mode: Mode | None, words: str) -> None:
    assert words in told(a_budget(), "Cluster", mode=mode)


def test_where_the_mode_was_changed_since_nothing_is_refused_any_more() -> None:
    held = {"action": "Block", "until": "2026-11-24T18:00:00Z"}
    budget = a_budget(given=STATUS | BLOCK | {"enforcement": held})
    assert told(budget, "Refused now", mode="Warn") == "Nothing: the cluster's enforcement.mode is Warn."
    assert "Wait" not in told(budget, "Next", mode="Warn")
    assert "New Job or bare Pod" in told(budget, "Refused now", mode=None)


def test_a_runs_own_budget_refuses_nothing_to_others_and_says_whom_it_suspends() -> None:
    held = {"action": "Suspend", "until": "2026-11-24T18:00:00Z", "suspendFrom": "2026-11-24T12:30:00Z"}
    budget = a_budget(given=STATUS | BLOCK | {"enforcement": held}, per="Workload")
    assert "blocks no other workload" in told(budget, "Refused now")
    assert "New Job" not in told(budget, "Refused now")
    assert "will be suspended" in told(budget, "Refused now")
    assert "Wait" not in told(budget, "Next")


def test_what_is_refused_is_told_with_its_kinds_and_until_when() -> None:
    assert told(a_budget(), "Refused now") == "Nothing."
    held = {"action": "Suspend", "until": "2026-11-24T18:00:00Z", "suspendFrom": "2026-11-24T12:30:00Z"}
    budget = a_budget(given=STATUS | BLOCK | {"enforcement": held}, enforce={"kinds": ["Job", "Pod", "Deployment"]})
    assert "New Job, bare Pod or Deployment until 2026-11-24 19:00 CET" in told(budget, "Refused now")
    assert "will be suspended from 2026-11-24 13:30 CET" in told(budget, "Refused now")
    assert "are suspended from" in told(budget, "Refused now", now=NOW + dt.timedelta(hours=1))
    resumes = (
        "See which Jobs are suspended: kubectl get jobs -n team-a -l carbonbudget.dev/suspended=true. They resume by "
        "themselves after 2026-12-01, or when the limit is raised."
    )
    assert resumes in told(budget, "Next")
    lapsed = NOW + dt.timedelta(days=1)
    assert resumes not in told(budget, "Next", now=lapsed)
    assert "was not renewed" in told(budget, "Refused now", now=lapsed)
    assert "Wait until 2026-12-01" in told(budget, "Next")
    assert "Wait" not in told(budget, "Next", now=lapsed)


def test_troubles_are_the_conditions_that_are_not_as_they_should_be() -> None:
    conditions = [
        {"type": "Ready", "status": "True", "reason": "Evaluated", "message": "fine"},
        {"type": "DataComplete", "status": "False", "reason": "UsedFell", "message": "the ledger has less"},
        {"type": "EnforcementConflict", "status": "False", "reason": "None", "message": ""},
    ]
    budget = a_budget(given=STATUS | {"conditions": conditions})
    assert told(budget, "Troubles") == "DataComplete is False (UsedFell): the ledger has less"
    assert "Troubles" not in dict(explain(a_budget(), NOW, ReaderContext(None, None)))


def test_who_decides_is_whom_to_ask_and_whether_it_is_you() -> None:
    assert told(a_budget(), "Who decides", True) == "You may change it. Ask #ml-platform."
    assert "carbonbudget-editor" in told(a_budget(), "Who decides", False)
    assert told(a_budget(), "Who decides", None) == "Ask #ml-platform."


@given(
    st.sampled_from([None, "WithinBudget", "Warning", "Exceeded", "Unknown"]),
    st.lists(st.sampled_from(sorted(STATUS)), unique=True),
    st.sampled_from(["UTC", "Europe/Paris", "Nowhere/Land", "../etc/passwd"]),
    st.sampled_from(["Selection", "Workload"]),
)
def test_whatever_a_status_lacks_it_is_explained(state: str | None, absent: list[str], zone: str, per: str) -> None:
    given_status = {key: value for key, value in (STATUS | {"state": state}).items() if key not in absent}
    budget = a_budget(given=given_status, timeZone=zone, per=per)
    assert all(all(sentences) for _, sentences in explain(budget, NOW, ReaderContext(None, None)))
    assert "None" not in minute_in(budget_rows([budget])[0].resets, zone)
