"""What the policy over CarbonBudgets refuses in the real API server, and what it lets by."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from tests.apiserver.chart_policies import OPERATOR, ChartPolicies
from tests.apiserver.manifests import ALL, OWNER, SELECT_X, X, work
from tests.e2e.conftest import wait_for

POLICIES = ["carbonbudget", "carbonbudget-cluster", "carbonbudget-exempt", "carbonbudget-suspended"]
pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]


@pytest.mark.parametrize("policy", POLICIES)
def test_the_api_server_finds_no_fault_with_the_types(policies: ChartPolicies, policy: str) -> None:
    def checked() -> dict[str, object] | None:
        status = policies.cluster.get("validatingadmissionpolicy", policies.named(policy)).get("status", {})
        return status if isinstance(status, dict) and "observedGeneration" in status else None

    assert wait_for("the type check", checked).get("typeChecking", {}) == {}


@pytest.mark.parametrize("kind", ALL)
def test_each_kind_is_refused_where_the_budget_names_it_and_its_pods_are_selected(
    policies: ChartPolicies, space: str, kind: str
) -> None:
    policies.block(space, "tight", selector=SELECT_X, enforce={"kinds": [kind]})
    said = policies.refusal(work(kind, space))
    assert f"carbon budget tight: used 110 %; see: kubectl -n {space} describe carbonbudget tight" in said
    assert policies.admitted(work(kind, space, labels={"project": "y"}))


def test_by_default_only_jobs_and_bare_pods_are_checked(policies: ChartPolicies, space: str) -> None:
    policies.block(space, "tight")
    policies.refusal(work("Job", space))
    assert not policies.admitted(work("Pod", space))
    assert [kind for kind in ALL if policies.admitted(work(kind, space))] == ALL[2:]


def test_of_the_two_only_what_is_named_is_checked(policies: ChartPolicies, space: str) -> None:
    policies.block(space, "tight", enforce={"kinds": ["Pod"]})
    policies.refusal(work("Pod", space))
    assert policies.admitted(work("Job", space))


def test_a_pod_with_a_forged_owner_is_refused_and_a_controllers_is_not(policies: ChartPolicies, space: str) -> None:
    policies.block(space, "tight")
    forged = work("Pod", space, metadata={"ownerReferences": [OWNER]})
    policies.refusal(forged)
    controller = "--as=system:serviceaccount:kube-system:job-controller"
    assert policies.admitted(forged, controller)
    assert not policies.admitted(work("Pod", space), controller)


def test_a_configured_controllers_pods_count_as_their_owners(policies: ChartPolicies, space: str) -> None:
    policies.block(space, "tight")
    group = ("create", "rolebinding", "operator", "--clusterrole=edit", f"--user={OPERATOR}")
    policies.cluster.kubectl("-n", space, *group)
    policies.refusal(work("Pod", space), f"--as={OPERATOR}")
    assert policies.admitted(work("Pod", space, metadata={"ownerReferences": [OWNER]}), f"--as={OPERATOR}")


def test_a_custom_object_without_the_template_is_admitted_where_labels_would_decide(
    policies: ChartPolicies, space: str
) -> None:
    policies.block(space, "tight", selector=SELECT_X, enforce={"kinds": ["TrainJob"]})
    policies.refusal(work("TrainJob", space))
    bare = {
        "apiVersion": "train.example/v1",
        "kind": "TrainJob",
        "metadata": {"name": "bare", "namespace": space},
        "spec": {},
    }
    assert policies.admitted(bare)


def test_pods_of_a_deployment_from_before_the_block_go_on_and_those_of_one_after_it_start(
    policies: ChartPolicies, space: str
) -> None:
    """Only when it is named is a Deployment checked; its pods and ReplicaSets never are."""
    kubectl = policies.cluster.kubectl
    policies.apply(work("Deployment", space, "before"))
    policies.block(space, "tight", enforce={"kinds": ["Job", "Pod", "ReplicaSet"]})
    policies.refusal(work("Job", space))
    kubectl("-n", space, "delete", "pods", "-l", "app=before", "--wait=false")
    policies.apply(work("Deployment", space, "after"))
    for name in ("before", "after"):
        policies.roll_out(space, name)
    assert not policies.admitted(work("ReplicaSet", space))


def test_a_cronjob_is_admitted_and_its_job_is_not_and_the_cronjob_says_so(policies: ChartPolicies, space: str) -> None:
    policies.block(space, "tight")
    policies.refusal(work("Job", space))
    policies.schedule(space, "nightly", work("Job", space))
    event = wait_for("the CronJob's run", lambda: next(iter(policies.events(space, "FailedCreate")), None), 100)
    assert (event["involvedObject"]["kind"], event["involvedObject"]["name"]) == ("CronJob", "nightly")
    assert "carbon budget tight: used 110 %" in event["message"]
    assert policies.cluster.kubectl("-n", space, "get", "jobs", "-o", "name").stdout == ""


def test_a_real_create_and_a_dry_run_are_refused_alike(policies: ChartPolicies, space: str) -> None:
    policies.block(space, "tight")
    tried = policies.refusal(work("Job", space))
    fine, said = policies.create(work("Job", space))
    assert not fine
    assert said.split("denied request: ")[1] == tried.split("denied request: ")[1]


def test_a_namespace_labelled_off_is_not_checked(policies: ChartPolicies, space: str) -> None:
    policies.block(space, "tight")
    policies.refusal(work("Job", space))
    label = ("label", "namespace", space, "--overwrite")
    policies.cluster.kubectl(*label, "carbonbudget.dev/enforcement=off")
    policies.wait_admitted(work("Job", space))
    policies.cluster.kubectl(*label, "carbonbudget.dev/enforcement-")
    policies.refusal(work("Job", space))


def test_a_block_lapses_at_its_until_with_nobody_there_to_lift_it(policies: ChartPolicies, space: str) -> None:
    """`until` is the earlier of the period's end and freshFor; the API server's clock alone decides."""
    policies.block(space, "tight", until=dt.timedelta(seconds=8))
    policies.refusal(work("Job", space))
    policies.wait_admitted(work("Job", space), seconds=30)
    labels = policies.cluster.get("-n", space, "carbonbudget", "tight")["metadata"]["labels"]  # type: ignore[index]
    assert labels == {"carbonbudget.dev/blocking": "true"}, "nobody has touched the budget"


def test_an_update_has_no_clock_so_that_only_what_was_made_after_the_block_shows_that_it_has_lapsed(
    policies: ChartPolicies, space: str
) -> None:
    """What is held then is a change of labels, and whoever may edit budgets lets go of it."""

    def label_in(name: str) -> tuple[bool, str]:
        write = ("-n", space, "label", "pod", name, "project=x", "--overwrite", "--dry-run=server")
        done = policies.cluster.kubectl(*write, check=False)
        return done.returncode == 0, done.stderr

    policies.apply(work("Pod", space, "before", labels={"project": "y"}))
    policies.block(space, "tight", until=dt.timedelta(seconds=8), selector=SELECT_X)
    policies.refusal(work("Pod", space))
    policies.wait_admitted(work("Pod", space), seconds=30)
    policies.apply(work("Pod", space, "after", labels={"project": "y"}))
    assert label_in("after")[0]
    assert "carbon budget tight: used 110 %" in label_in("before")[1]
    policies.patch(space, "tight", {"metadata": {"labels": {"carbonbudget.dev/blocking": None}}})
    wait_for("the label to be gone", lambda: label_in("before")[0], 15)


def test_a_runs_own_budget_blocks_nobody(policies: ChartPolicies, space: str) -> None:
    policies.block(space, "own", per="Workload")
    policies.block(space, "tight", selector=SELECT_X)
    policies.refusal(work("Job", space))
    assert policies.admitted(work("Job", space, labels={"project": "y"}))


def test_of_several_budgets_one_that_blocks_decides_and_is_named(policies: ChartPolicies, space: str) -> None:
    policies.block(space, "roomy", until=dt.timedelta(days=-1))
    policies.block(space, "elsewhere", selector={"matchLabels": {"project": "y"}})
    policies.block(space, "tight", selector=SELECT_X)
    assert "carbon budget tight: used" in policies.refusal(work("Job", space))


def test_a_pod_with_500_labels_is_checked(policies: ChartPolicies, space: str) -> None:
    expressions = [{"key": f"l{n}", "operator": "In", "values": [str(n)]} for n in range(32)]
    policies.block(space, "many", selector={"matchExpressions": expressions})
    many = {f"l{n}": str(n) for n in range(500)}
    policies.refusal(work("Job", space, labels=many))
    assert policies.admitted(work("Job", space, labels=many | {"l31": "other"}))


def test_without_its_message_a_status_still_refuses_with_a_sentence(policies: ChartPolicies, space: str) -> None:
    policies.block(space, "mute")
    policies.patch(space, "mute", {"status": {"message": None}}, "--subresource=status")
    wait_for("the message to go", lambda: "mute is exceeded; see" in policies.try_out(work("Job", space))[1], 15)


def test_labels_of_the_object_itself_do_not_count(policies: ChartPolicies, space: str) -> None:
    policies.block(space, "tight", selector=SELECT_X)
    policies.refusal(work("Job", space))
    assert policies.admitted(work("Job", space, labels={}, metadata={"labels": X}))


def test_a_status_from_nowhere_is_the_controllers_alone_to_write(policies: ChartPolicies, space: str) -> None:
    """Whoever may edit a namespace can neither lift a block nor write one."""
    policies.block(space, "tight")
    policies.cluster.kubectl("-n", space, "create", "rolebinding", "dev", "--clusterrole=edit", "--user=dev")
    patch = json.dumps({"status": {"enforcement": None}})
    write = ("-n", space, "patch", "carbonbudget", "tight", "--type=merge", "--subresource=status", "-p", patch)
    assert policies.cluster.kubectl(*write, "--as=dev", check=False).returncode == 1
