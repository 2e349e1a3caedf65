"""`kubectl carbon`: what it shows of budgets, and errors that say what to do."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.api_server import Asked, Said, api_server, kubeconfig, status
from typer.testing import CliRunner, Result

from carbonbudget_operator.admission.admission_decision import Mode
from carbonbudget_operator.api.carbonbudget import AnyBudget, CarbonBudget, ClusterCarbonBudget
from carbonbudget_operator.cli.budget_effects import ReaderContext
from carbonbudget_operator.cli.budget_table import budget_rows, workload_rows
from carbonbudget_operator.cli.explain import explain
from carbonbudget_operator.cli.kubectl import app
from carbonbudget_operator.printable import is_printable

NOW = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "period": {"start": "2026-10-31T23:00:00Z", "end": "2026-11-30T23:00:00Z"},
    "used": "4.1kg", "remaining": "900g", "percentUsed": 82, "forecast": "6.3kg", "exhaustedAt": "2026-11-26T23:00:00Z",
    "breakdown": {"dynamic": "3kg", "idle": "700g", "overhead": "400g"},
    "state": "Warning", "action": "Warn", "dataThrough": "2026-11-24T11:59:00Z", "coverage": 98, "measured": 40,
    "topWorkloads": [
        {"kind": "Job", "name": "train", "emissions": "2.2kg", "percent": 44},
        {"kind": "Job", "name": "small", "emissions": "900g", "percent": 18},
    ],
}  # fmt: skip
BLOCK = {"state": "Exceeded", "action": "Block", "used": "5.5kg", "percentUsed": 110, "exhaustedAt": None}


def an_object(name: str, namespace: str = "team-a", given: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    wanted = {"limit": "5kg", "period": "Month", "timeZone": "Europe/Paris", "contact": "#ml-platform"} | spec
    return {"metadata": metadata, "spec": wanted, "status": STATUS if given is None else given}


def a_budget(name: str = "monthly", given: dict[str, Any] | None = None, **spec: Any) -> CarbonBudget:
    return CarbonBudget.model_validate(an_object(name, given=given, **spec))


def told(
    budget: AnyBudget,
    heading: str,
    may_change: bool | None = None,
    now: dt.datetime = NOW,
    mode: Mode | None = "Enforce",
) -> str:
    return " ".join(dict(explain(budget, now, ReaderContext(may_change, mode))).get(heading, []))


def test_a_row_has_what_the_status_says_in_the_budgets_own_time() -> None:
    (row,) = budget_rows([a_budget()])
    assert (row.limit, row.used, row.percent, row.forecast) == ("5kg", "4.1kg", 82, "6.3kg")
    assert (row.exhausted, row.resets) == ("2026-11-27", "2026-12-01")
    assert (row.state, row.action) == ("Warning", "Warn")


def test_a_budget_that_nobody_judged_yet_is_a_row_of_its_limit() -> None:
    (row,) = budget_rows([a_budget(given={})])
    assert (row.limit, row.used, row.percent, row.state, row.resets) == ("5kg", "", None, "", "")


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("end", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+14:00"])
def test_an_instant_beyond_all_calendars_hides_no_budget(zone: str, end: str) -> None:
    odd = a_budget(given=STATUS | {"period": {"start": "2026-10-31T23:00:00Z", "end": end}}, timeZone=zone)
    found = budget_rows([odd, a_budget("other")])
    assert [row.name for row in found] == ["monthly", "other"]
    assert found[0].resets.startswith(end[:4])
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


ALL_THREE = [{"at": 80, "action": "Warn"}, {"at": 90, "action": "Block"}, {"at": 100, "action": "Suspend"}]


def test_thresholds_name_the_kinds_that_they_act_on_and_the_grace() -> None:
    budget = a_budget(thresholds=ALL_THREE, enforce={"kinds": ["Deployment", "Job"], "grace": "2h"})
    assert told(budget, "Thresholds").split(". ") == [
        "At 80 % it warns whoever creates a Job, bare Pod or Deployment (reached)",
        "At 90 % it refuses a new Deployment or Job, and growth of what runs, and warns whoever creates a bare Pod "
        "(not reached)",
        "At 100 % it refuses a new Deployment or Job, and growth of what runs, and suspends running Jobs labelled "
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
        {"type": "Ready", "status": "True", "reason": "Judged", "message": "fine"},
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
    assert "None" not in str(budget_rows([budget])[0].resets)


def run(tmp_path: Path, answer: Callable[[Asked], Said], *args: str) -> Result:
    with api_server(answer, tmp_path, namespace="team-a") as path:
        return CliRunner().invoke(app, [*args, "--kubeconfig", str(path)])


def cluster_of(namespaced: list[dict[str, Any]], whole: list[dict[str, Any]]) -> Callable[[Asked], Said]:
    def answer(asked: Asked) -> Said:
        if asked.path.endswith("/clustercarbonbudgets"):
            return Said({"metadata": {}, "items": whole})
        if asked.path.endswith("/carbonbudgets"):
            space = asked.path.split("/")[5] if "/namespaces/" in asked.path else ""
            items = [one for one in namespaced if not space or one["metadata"]["namespace"] == space]
            return Said({"metadata": {}, "items": items})
        if asked.path.endswith("/validatingadmissionpolicies/carbonbudget"):
            return Said({"kind": "ValidatingAdmissionPolicy"})
        if asked.path.startswith("/api/v1/namespaces/"):
            return Said({"metadata": {"labels": {}}})
        assert asked.path.endswith("/selfsubjectaccessreviews")
        return Said({"status": {"allowed": False}}, 201)

    return answer


BOTH = cluster_of([an_object("monthly"), an_object("weekly", "team-b")], [an_object("company", "")])


def test_budgets_are_those_of_the_contexts_namespace_and_the_clusters(tmp_path: Path) -> None:
    result = run(tmp_path, BOTH, "budgets")
    lines = result.stdout.splitlines()
    assert lines[0].split() == [
        "NAMESPACE", "NAME", "LIMIT", "USED", "%", "FORECAST", "EXHAUSTED", "STATE", "ACTION", "RESETS", "BASIS",
        "AS", "OF",
    ]  # fmt: skip
    assert lines[1].split() == [
        "team-a", "monthly", "5kg", "4.1kg", "82", "6.3kg", "2026-11-27", "Warning", "Warn", "2026-12-01", "location",
        "2026-11-24T11:59:00Z",
    ]  # fmt: skip
    assert lines[2].split()[:2] == ["(cluster)", "company"]
    assert len(lines) == 3
    assert "weekly" in run(tmp_path, BOTH, "budgets", "-A").stdout
    assert "weekly" in run(tmp_path, BOTH, "budgets", "-n", "team-b").stdout


def test_json_has_the_same_rows(tmp_path: Path) -> None:
    items = json.loads(run(tmp_path, BOTH, "budgets", "-o", "json").stdout)["items"]
    assert [(one["kind"], one["name"], one["percent"]) for one in items] == [
        ("CarbonBudget", "monthly", 82), ("ClusterCarbonBudget", "company", 82),
    ]  # fmt: skip
    items = json.loads(run(tmp_path, BOTH, "top", "-o", "json").stdout)["items"]
    assert (items[0]["name"], items[0]["emissions"]) == ("train", "2.2kg")


def test_top_lists_the_workloads(tmp_path: Path) -> None:
    lines = run(tmp_path, BOTH, "top").stdout.splitlines()
    assert lines[:2] == ["location-based", lines[1]]
    assert lines[1].split() == ["NAMESPACE", "WORKLOAD", "CO2E", "%", "OF", "LIMIT", "BUDGET", "SINCE", "AS", "OF"]
    assert lines[2].split() == [
        "team-a", "Job/train", "2.2kg", "44", "monthly", "2026-10-31T23:00:00Z", "2026-11-24T11:59:00Z",
    ]  # fmt: skip


def tops(*names: str, namespace: str | None = None, emissions: str = "1g") -> dict[str, Any]:
    named = [{"kind": "Job", "name": name, "emissions": emissions, "percent": 0} for name in names]
    return STATUS | {"topWorkloads": [one | ({"namespace": namespace} if namespace else {}) for one in named]}


def top(tmp_path: Path, answer: Callable[[Asked], Said], *args: str) -> tuple[list[str], str]:
    """The workloads of the rows, and the notes."""
    result = run(tmp_path, answer, "top", *args)
    assert result.exit_code == 0
    rows = [line.split() for line in result.stdout.splitlines()]
    return [row[1] for row in rows if len(row) > 5 and row[1].startswith("Job/")], result.stderr


def test_top_of_a_namespace_shows_no_other_namespaces_workloads(tmp_path: Path) -> None:
    there = cluster_of([an_object("own", given=tops("a"))], [an_object("all", "", tops("b", namespace="team-b"))])
    assert top(tmp_path, there)[0] == ["Job/a"]
    assert top(tmp_path, there, "-A")[0] == ["Job/a", "Job/b"]


def test_top_mixes_no_two_bases(tmp_path: Path) -> None:
    there = cluster_of(
        [
            an_object("l", given=tops("a", "b")),
            an_object("m", given=tops("c", emissions="9g"), accounting="MarketBased"),
        ],
        [],
    )
    assert top(tmp_path, there)[0] == ["Job/a", "Job/b", "Job/c"]
    printed = run(tmp_path, there, "top").stdout
    assert (
        printed.index("location-based")
        < printed.index("Job/b")
        < printed.index("market-based")
        < printed.index("Job/c")
    )
    assert top(tmp_path, there, "--accounting", "MarketBased")[0] == ["Job/c"]
    items = json.loads(run(tmp_path, there, "top", "-o", "json").stdout)["items"]
    assert {(one["name"], one["accounting"]) for one in items} == {
        ("a", "LocationBased"), ("b", "LocationBased"), ("c", "MarketBased"),
    }  # fmt: skip


def test_what_others_used_is_of_the_reading_that_names_the_workloads(tmp_path: Path) -> None:
    given = tops(*(f"j{n}" for n in range(5)), emissions="1kg") | {
        "breakdown": {"dynamic": "4.9kg", "idle": "100g", "overhead": "50g"}
    }
    notes = top(tmp_path, cluster_of([an_object("b", given=given)], []))[1]
    assert "all others used some 50g" in notes


def test_top_shows_all_rows_or_as_many_as_asked_for_and_says_what_is_left_out(tmp_path: Path) -> None:
    names = [f"j{n}" for n in range(5)]
    there = cluster_of([an_object("b", given=tops(*names))], [])
    rows, notes = top(tmp_path, there)
    assert len(rows) == 5
    assert "team-a/b names the 5 workloads that used most; all others used some 4kg" in notes
    rows, notes = top(tmp_path, there, "--limit", "2")
    assert rows == ["Job/j0", "Job/j1"]
    assert "2 of 5 rows" in notes
    assert "others" not in top(tmp_path, cluster_of([an_object("b", given=tops("a"))], []))[1]


def test_a_small_share_is_not_0(tmp_path: Path) -> None:
    assert "<1" in run(tmp_path, cluster_of([an_object("b", given=tops("a"))], []), "top").stdout


def test_explain_is_of_one_budget(tmp_path: Path) -> None:
    text = run(tmp_path, BOTH, "explain", "monthly").stdout
    assert text.startswith("CarbonBudget monthly in namespace team-a\n\nCounts\n")
    assert "You may not change it" in text
    assert run(tmp_path, BOTH, "explain", "company", "--cluster").stdout.startswith("ClusterCarbonBudget company\n")
    value = json.loads(run(tmp_path, BOTH, "explain", "monthly", "-o", "json").stdout)
    assert (value["kind"], value["mayChange"], value["sections"][0]["heading"]) == ("CarbonBudget", False, "Counts")
    assert (value["kinds"], value["enforcementMode"]) == (["Job", "Pod"], "Enforce")


@pytest.mark.parametrize(("code", "label", "off"), [(200, "off", True), (200, "on", False), (403, "off", False)])
def test_explain_says_that_the_namespace_is_left_alone_where_that_may_be_read(
    tmp_path: Path, code: int, label: str, off: bool
) -> None:
    def answer(asked: Asked) -> Said:
        if asked.path.startswith("/api/v1/namespaces/"):
            labels = {"carbonbudget.dev/enforcement": label}
            return Said({"metadata": {"labels": labels}}) if code == 200 else status(code, "x", "x")
        return BOTH(asked)

    said = run(tmp_path, answer, "explain", "monthly").stdout
    assert ("the namespace is labelled carbonbudget.dev/enforcement=off" in said) is off


@pytest.mark.parametrize(
    ("policy", "webhook", "mode"),
    [(200, 404, "Enforce"), (404, 200, "Warn"), (404, 404, "Observe"), (403, 403, None), (404, 403, None)],
)
def test_the_mode_is_seen_by_what_the_chart_installed(
    tmp_path: Path, policy: int, webhook: int, mode: str | None
) -> None:
    def answer(asked: Asked) -> Said:
        if "validatingadmissionpolicies" in asked.path:
            return Said({}, 200) if policy == 200 else status(policy, "x", "x")
        if "validatingwebhookconfigurations" in asked.path:
            return Said({}, 200) if webhook == 200 else status(webhook, "x", "x")
        return BOTH(asked)

    value = json.loads(run(tmp_path, answer, "explain", "monthly", "-o", "json").stdout)
    assert value["enforcementMode"] == mode


def test_a_name_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    result = run(tmp_path, BOTH, "explain", "montly")
    assert result.exit_code == 1
    assert result.output == "no CarbonBudget montly in namespace team-a; there is: monthly\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("budgets",), "the role view or carbonbudget-view has; is namespace team-a spelt right?"),
        (("explain", "monthly"), "the role view or carbonbudget-view has; is namespace team-a spelt right?"),
        (("budgets", "-A"), "or leave -A out to see one namespace"),
        (("top", "-A"), "or leave -A out to see one namespace"),
        (("explain", "all", "--cluster"), "the role carbonbudget-cluster-view, bound for the whole cluster, has"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_who_may_not_read_is_told_which_right_is_missing_and_what_to_look_at(
    tmp_path: Path, command: tuple[str, ...], words: str
) -> None:
    result = run(tmp_path, lambda _: status(403, "Forbidden", "no"), *command)
    assert result.exit_code == 1
    assert words in result.output


def test_options_before_the_command_are_said_to_stand_after_it(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["-n", "team-a", "budgets"])
    assert result.exit_code == 2
    assert "write options after the command: kubectl carbon budgets -n NAMESPACE" in " ".join(result.output.split())


def test_a_name_that_is_elsewhere_is_told_with_the_option_that_finds_it(tmp_path: Path) -> None:
    whole = run(tmp_path, BOTH, "explain", "company")
    assert whole.output.endswith("there is: monthly; a ClusterCarbonBudget has that name: add --cluster\n")
    empty = run(tmp_path, BOTH, "explain", "monthly", "-n", "team-c")
    assert empty.output == (
        "no CarbonBudget monthly in namespace team-c; there is: none; -n names another namespace, and "
        "`kubectl carbon budgets -A` shows all\n"
    )

    def hidden(asked: Asked) -> Said:
        return status(403, "Forbidden", "no") if asked.path.endswith("/clustercarbonbudgets") else BOTH(asked)

    assert run(tmp_path, hidden, "explain", "company").output.endswith("there is: monthly\n")


def test_a_team_that_may_not_see_the_clusters_budgets_sees_its_own(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Said:
        return status(403, "Forbidden", "no") if asked.path.endswith("/clustercarbonbudgets") else BOTH(asked)

    result = run(tmp_path, answer, "budgets")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2


def test_nothing_to_show_is_said(tmp_path: Path) -> None:
    for command in ("budgets", "top"):
        result = run(tmp_path, cluster_of([], []), command)
        assert (result.exit_code, result.stdout) == (0, "")
        assert "no carbon budgets in namespace team-a" in result.stderr
        assert "-A shows all namespaces" in result.stderr
    result = run(tmp_path, cluster_of([an_object("new", given={})], []), "top")
    assert "no budget in namespace team-a names a workload yet" in result.stderr
    assert run(tmp_path, cluster_of([], []), "budgets", "-A").stderr == "no carbon budgets\n"


PRO_RATA = STATUS | {"proRata": ["2026-10-31T23:20:00Z"]}
SENTENCE = "The hour around 2026-11-01 00:20 CET is counted pro rata in time"


@pytest.mark.parametrize("args", [("budgets",), ("top",), ("explain", "monthly")], ids=lambda args: args[0])
def test_a_figure_that_holds_a_part_of_an_hour_by_time_says_so(tmp_path: Path, args: tuple[str, ...]) -> None:
    def said(given: dict[str, Any], *more: str) -> str:
        return run(tmp_path, cluster_of([an_object("monthly", given=given)], []), *args, *more).stdout

    assert SENTENCE in said(PRO_RATA)
    assert said(PRO_RATA).count(SENTENCE) == 1
    assert "pro rata" not in said(STATUS)
    value = json.loads(said(PRO_RATA, "-o", "json"))
    if args[0] == "explain":
        assert any(SENTENCE in line for one in value["sections"] for line in one["sentences"])
    else:
        assert all(item["pro_rata"] == ["2026-11-01 00:20 CET"] for item in value["items"])
        assert all(item["pro_rata"] == [] for item in json.loads(said(STATUS, "-o", "json"))["items"])


def test_a_budget_that_is_not_understood_hides_no_other(tmp_path: Path) -> None:
    broken = {"metadata": {"name": "odd", "namespace": "team-a"}, "spec": {"limit": 5}}
    result = run(tmp_path, cluster_of([broken, an_object("monthly")], []), "budgets")
    assert "monthly" in result.stdout
    assert "CarbonBudget odd is not understood" in result.stderr


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (status(404, "NotFound", "the server could not find the requested resource"), "helm install carbonbudget"),
        (status(403, "Forbidden", 'User "u" cannot list resource "carbonbudgets"'), "cannot list resource"),
        (status(401, "Unauthorized", "Unauthorized"), "renew your credentials"),
        (status(500, "InternalError", "etcd is slow"), "etcd is slow"),
        (Said(raw=b"<html>"), "something else than a JSON object"),
        (Said(raw=b"\xff\xfe"), "something else than a JSON object"),
    ],
    ids=["no CRD", "no right", "nobody", "5xx", "html", "bytes"],
)
@pytest.mark.parametrize("command", [("budgets",), ("top", "-A"), ("explain", "x")], ids=lambda c: c[0])
def test_an_error_is_one_sentence_that_says_what_to_do(
    tmp_path: Path, said: Said, words: str, command: tuple[str, ...]
) -> None:
    result = run(tmp_path, lambda _: said, *command)
    assert result.exit_code == 1
    assert words in result.output
    assert result.output.count("\n") == 1


def test_no_api_server_is_one_sentence(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "http://127.0.0.1:1")
    result = CliRunner().invoke(app, ["budgets", "--kubeconfig", str(path)])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)


@pytest.mark.parametrize("args", [("budgets", "-A", "-n", "x"), ("explain", "b", "--cluster", "-n", "x")])
def test_options_that_contradict_each_other_are_2(tmp_path: Path, args: tuple[str, ...]) -> None:
    assert run(tmp_path, BOTH, *args).exit_code == 2


@pytest.mark.parametrize("args", [("top",), ("explain", "monthly"), ("budgets",), ("top", "-o", "json")])
def test_what_a_tenant_wrote_is_shown_and_neither_acts_nor_deceives(tmp_path: Path, args: tuple[str, ...]) -> None:
    """Also where the status is of a controller that wrote it as it was."""
    hostile = "\x1b[2J\x1b[31mPWNED\x1b[0m\nDeployment/fake-row  0mg\x1b]0;title\a\u202e"
    tops = [{"kind": "CronJob", "name": hostile, "emissions": "2.2kg", "percent": 44}]
    budget = an_object("monthly", given=STATUS | {"topWorkloads": tops, "message": hostile}, contact=hostile[:64])
    shown = run(tmp_path, cluster_of([budget], []), *args).output
    assert "monthly" in shown
    assert all(is_printable(line) for line in shown.split("\n"))
    assert not any(line.strip().startswith("Deployment/fake-row") for line in shown.split("\n"))
