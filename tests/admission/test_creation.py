"""What is said to whoever creates work."""

from __future__ import annotations

import pytest
from tests.admission.given import HOUR, NOW, Bench, a_budget, a_review, an_object

from carbonbudget_operator.admission.admission_decision import AdmissionDecision
from carbonbudget_operator.admission.webhook_budget import webhook_budget

X = {"matchLabels": {"project": "x"}}


def test_the_strictest_and_most_used_come_first_and_at_most_three() -> None:
    bench = Bench(
        a_budget("a", "Warning", 80),
        a_budget("b", "Exceeded", 110),
        a_budget("c", "Exceeded", 300),
        a_budget("d", "Warning", 90),
        a_budget("e", "WithinBudget", 10),
    )
    said = bench.creates().warnings
    assert [sentence.split(":")[0] for sentence in said] == ["carbon budget c", "carbon budget b", "carbon budget d"]


@pytest.mark.parametrize("kind", ["Job", "Pod"])
def test_the_labels_of_the_pods_decide(kind: str) -> None:
    bench = Bench(a_budget(selector=X))
    assert bench.creates(kind, {"project": "x"}).warnings == ["carbon budget tight: used up"]
    assert bench.creates(kind, {"project": "y"}).warnings == []


def test_a_deployment_is_warned_of_only_where_the_budget_names_it() -> None:
    assert Bench(a_budget()).creates("Deployment").warnings == []
    assert Bench(a_budget(enforce={"kinds": ["Deployment"]})).creates("Deployment").warnings != []


def test_a_configured_kind_is_read_by_the_path_of_its_template() -> None:
    bench = Bench(a_budget(selector=X, until=NOW + HOUR, enforce={"kinds": ["TrainJob"]}))
    assert "used up" in bench.creates("TrainJob", {"project": "x"}).refusal
    assert bench.creates("TrainJob", {"project": "y"}).refusal == ""


def test_a_budget_that_blocks_refuses_what_the_policy_let_through() -> None:
    """As while a restarted API server does not know the budgets yet."""
    decision = Bench(a_budget(until=NOW + HOUR)).creates()
    assert decision.refusal == "carbon budget tight: used up; see: kubectl -n team-a describe carbonbudget tight"
    assert decision.basis == "Used"


def test_a_block_that_nobody_renewed_has_lapsed() -> None:
    assert Bench(a_budget(until=NOW)).creates().refusal == ""


def test_a_period_that_is_over_says_nothing_about_the_next() -> None:
    decision = Bench(a_budget(ends=NOW, until=NOW + HOUR)).creates()
    assert decision.outcome == "allowed"


def test_a_budget_says_nothing_before_its_period_begins() -> None:
    projected = [{"at": 100, "action": "Block", "basis": "Projected"}]
    budget = a_budget(state="WithinBudget", begins=NOW + 1, thresholds=projected)
    assert Bench(budget).knows(core_hour_ug=10**12).creates(activeDeadlineSeconds=HOUR).outcome == "allowed"
    begun = a_budget(state="WithinBudget", begins=NOW, thresholds=projected)
    assert Bench(begun).knows(core_hour_ug=10**12).creates(activeDeadlineSeconds=HOUR).outcome == "refused"


def test_where_budgets_only_warn_what_would_be_refused_is_said_though_nothing_is_in_force() -> None:
    budget = a_budget()
    budget["status"]["action"] = "Block"  # as the controller writes it in mode Warn: no status.enforcement
    assert Bench(budget, mode="Warn").creates().warnings[0].startswith("would be refused: carbon budget tight")
    assert "would be" not in " ".join(Bench(a_budget(), mode="Warn").creates().warnings)


def test_each_retry_of_a_refused_creation_is_about_the_same_object() -> None:
    """The API server makes up a uid for each attempt before it asks."""
    bench = Bench(a_budget(until=NOW + HOUR))
    assert bench.creates(metadata={"uid": "1"}).about == bench.creates(metadata={"uid": "2"}).about


def test_of_several_budgets_that_block_the_strictest_is_named() -> None:
    bench = Bench(a_budget("a", percent=120, until=NOW + HOUR), a_budget("b", percent=300, until=NOW + HOUR))
    assert bench.creates().refusal.startswith("carbon budget b: ")


def test_an_exempt_object_is_not_checked_and_a_template_with_the_label_is() -> None:
    bench = Bench(a_budget(until=NOW + HOUR))
    assert bench.creates(metadata={"labels": {"carbonbudget.dev/exempt": "true"}}).refusal == ""
    assert bench.creates(labels={"carbonbudget.dev/exempt": "true"}).refusal != ""
    assert bench.creates(metadata={"labels": {"carbonbudget.dev/exempt": "false"}}).refusal != ""


@pytest.mark.parametrize(("mode", "warnings"), [("Warn", 2), ("Observe", 0)])
def test_only_in_mode_enforce_is_anything_refused(mode: str, warnings: int) -> None:
    decision = Bench(a_budget(until=NOW + HOUR), mode=mode).creates()  # type: ignore[arg-type] # a parameter
    assert decision.refusal == ""
    assert len(decision.warnings) == warnings


def test_the_event_about_a_cronjobs_job_is_the_cronjobs() -> None:
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "7", "controller": True}
    about = Bench(a_budget()).creates(metadata={"ownerReferences": [owner]}).about
    assert (about.kind, about.name, about.uid) == ("CronJob", "nightly", "7")


def test_a_cluster_budget_holds_where_its_namespace_selector_says() -> None:
    wide = a_budget("wide", namespace="", until=NOW + HOUR, namespaceSelector={"matchLabels": {"dept": "ml"}})
    bench = Bench(wide)
    assert bench.creates().refusal == ""
    bench.namespace("team-a", dept="ml")
    assert bench.creates().refusal.endswith("see: kubectl describe clustercarbonbudget wide")
    bench.namespace("team-a", dept="web")
    assert bench.creates().refusal == ""


def test_a_cluster_budget_without_a_selector_holds_everywhere_also_in_a_namespace_just_made() -> None:
    assert Bench(a_budget("wide", namespace="", until=NOW + HOUR)).creates().refusal != ""


@pytest.mark.parametrize(
    ("key", "operator", "values", "at_once", "later"),
    [
        ("dept", "DoesNotExist", [], False, False),  # it may have the label
        ("dept", "NotIn", ["ml"], False, True),
        ("kubernetes.io/metadata.name", "NotIn", ["kube-system"], True, True),
        ("kubernetes.io/metadata.name", "NotIn", ["team-a"], False, False),
        ("kubernetes.io/metadata.name", "In", ["team-a"], True, True),
    ],
)
def test_of_a_namespace_just_made_its_name_is_known_and_what_that_leaves_open_passes(
    key: str, operator: str, values: list[str], at_once: bool, later: bool
) -> None:
    selector = {"matchExpressions": [{"key": key, "operator": operator, "values": values}]}
    bench = Bench(a_budget("wide", namespace="", until=NOW + HOUR, namespaceSelector=selector))
    assert (bench.creates().refusal != "") == at_once
    bench.namespace("team-a", dept="web")
    assert (bench.creates().refusal != "") == later


def test_a_runs_own_budget_stands_in_nobody_elses_way() -> None:
    decision = Bench(a_budget(per="Workload", until=NOW + HOUR)).creates()
    assert (decision.refusal, list(decision.warnings)) == ("", [])


def test_a_long_message_is_cut_to_what_the_api_server_passes_on() -> None:
    body = a_budget(contact="#ml")
    body["status"]["message"] = "x" * 300
    assert [len(sentence) for sentence in Bench(body).creates().warnings] == [256]


def test_a_status_and_a_contact_that_somebody_wrote_by_hand_act_in_no_terminal() -> None:
    hostile = "\x1b[2J\u202e\nforged"
    body = {
        "metadata": {"name": "tight", "namespace": "team-a"},
        "spec": {"limit": "1kg", "period": "Month", "contact": hostile},
        "status": {"message": hostile},
    }
    seen = webhook_budget(body, cluster=False)
    assert seen.contact == seen.candidate.message == "\\x1b[2J\\u202e\\nforged"


OPERATOR = "system:serviceaccount:databases:operator"


def made_by(username: str, **owner: object) -> AdmissionDecision:
    """The answer where a budget blocks, to a pod under a controller's ownerReference."""
    reference = {"apiVersion": "db.example/v1", "kind": "Cluster", "name": "db", "uid": "7", "controller": True} | owner
    pod = an_object("Pod", metadata={"ownerReferences": [reference]})
    return Bench(a_budget(until=NOW + HOUR)).answers(a_review("Pod", pod, userInfo={"username": username}))


def test_an_account_that_may_be_a_controllers_is_told_how_it_is_allowed_on_the_owner() -> None:
    decision = made_by(OPERATOR)
    assert f"(if {OPERATOR} is a controller, name it in enforcement.controllerAccounts)" in decision.refusal
    assert (decision.about.kind, decision.about.name, decision.about.uid) == ("Cluster", "db", "7")


@pytest.mark.parametrize("username", ["dev", "system:node:a", "system:serviceaccount:kube-system:job-controller", ""])
def test_no_other_account_is(username: str) -> None:
    decision = made_by(username)
    assert decision.refusal.startswith("carbon budget tight: used up; see:")
    assert decision.about.kind == "Pod"


@pytest.mark.parametrize("owner", [{"name": "../../x"}, {"name": "a\x1b[2J"}, {"kind": "a/b"}, {"name": "x" * 300}])
def test_an_owner_that_no_object_can_be_called_gets_no_event(owner: dict[str, object]) -> None:
    assert made_by(OPERATOR, **owner).about.kind == "Pod"


def test_without_a_controller_an_account_makes_its_own_work() -> None:
    assert made_by(OPERATOR, controller=False).refusal.startswith("carbon budget tight: used up; see:")
