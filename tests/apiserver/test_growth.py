"""The webhook in the real API server: growth, warnings, Events, and what holds while it is dead.

There is no metrics API in the test cluster, so that no autoscaler would scale: its account is impersonated on the scale
subresource, which is all that it does. How old a workload is cannot be made up here (creationTimestamp is the API
server's): tests/admission/test_growth.py has those cases.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.apiserver.chart_policies import ChartPolicies
from tests.apiserver.manifests import OWNER, SELECT_X, work
from tests.apiserver.webhook_process import Webhook
from tests.e2e.conftest import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

AUTOSCALER = "--as=system:serviceaccount:kube-system:horizontal-pod-autoscaler"
KINDS = {"kinds": ["Job", "Pod", "Deployment", "StatefulSet", "ReplicaSet", "TrainJob"]}


@pytest.fixture(scope="module")
def webhook(policies: ChartPolicies) -> Iterator[Webhook]:
    with policies.webhook() as process:
        yield process


class Team:
    """A namespace with running things, and kubectl in it."""

    def __init__(self, policies: ChartPolicies, name: str) -> None:
        self.policies, self.name = policies, name

    def kubectl(self, *args: str) -> tuple[bool, str]:
        done = self.policies.cluster.kubectl("-n", self.name, *args, check=False)
        return done.returncode == 0, done.stderr

    def patch(self, kind: str, change: dict[str, Any], *more: str) -> tuple[bool, str]:
        return self.kubectl("patch", kind, "w", "--type=merge", "-p", json.dumps(change), *more)

    def autoscale(self, replicas: int) -> tuple[bool, str]:
        """What the autoscaler sends: an update of the scale, in its name."""
        metadata = {"name": "w", "namespace": self.name}
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": replicas}}
        path = f"/apis/apps/v1/namespaces/{self.name}/deployments/w/scale"
        write = ("replace", "--raw", path, "-f", "-", AUTOSCALER)
        done = self.policies.cluster.kubectl(*write, stdin=json.dumps(scale), check=False)
        return done.returncode == 0, done.stderr

    def block(self, **spec: Any) -> None:
        """Block, and wait until webhook and policy both know."""
        self.policies.block(self.name, "tight", **{"enforce": KINDS} | spec)
        self.policies.refusal(work("Pod", self.name))
        self.wait_refused("scale", "deployment/probe", "--replicas=2", "--dry-run=server")

    def wait_refused(self, *args: str) -> str:
        def refused() -> str | None:
            fine, said = self.kubectl(*args)
            return None if fine else said

        return wait_for(f"{' '.join(args)} to be refused", refused, 15)


@pytest.fixture
def team(policies: ChartPolicies, webhook: Webhook, space: str) -> Team:
    policies.apply(work("Deployment", space, "probe", command="sleep 600"))
    return Team(policies, space)


def test_scaling_up_by_kubectl_and_by_the_autoscaler_is_refused_and_down_is_not(team: Team) -> None:
    team.policies.apply(work("Deployment", team.name, replicas=2))
    team.block()
    fine, said = team.kubectl("scale", "deployment/w", "--replicas=3")
    assert not fine
    assert "carbon budget tight: used 110 % (Deployment w grows from 2 to 3 pods); see: kubectl -n " in said
    fine, said = team.autoscale(4)
    assert not fine
    assert "grows from 2 to 4 pods" in said
    assert team.autoscale(1)[0]
    assert team.kubectl("scale", "deployment/w", "--replicas=0")[0]
    assert team.kubectl("scale", "deployment/w", "--replicas=2")[0], "what was scaled to zero must come back"
    event = wait_for("the Event", lambda: next(iter(team.policies.events(team.name, "WorkRefused")), None), 15)
    assert (event["involvedObject"]["kind"], event["type"]) == ("Deployment", "Warning")
    assert event["involvedObject"]["uid"]


def test_a_rollout_passes_and_one_that_also_grows_does_not(team: Team) -> None:
    team.policies.apply(work("Deployment", team.name, replicas=1))
    team.block()
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "busybox:other"}]}}}}
    assert team.patch("deployment", image)[0]
    assert team.kubectl("rollout", "restart", "deployment/w")[0]
    fine, said = team.patch("deployment", {"spec": {"replicas": 2} | image["spec"]})
    assert not fine
    assert "grows from 1 to 2 pods" in said


def test_a_new_version_still_rolls_out_under_a_block(team: Team) -> None:
    """The ReplicaSets that the deployment controller grows are the Deployment's, though ReplicaSet is named."""
    team.policies.apply(work("Deployment", team.name, replicas=1))
    team.policies.roll_out(team.name, "w")
    team.block()
    assert team.kubectl("rollout", "restart", "deployment/w")[0]
    team.policies.roll_out(team.name, "w")


@pytest.mark.parametrize("kind", ["StatefulSet", "ReplicaSet"])
def test_other_kinds_grow_by_update_and_by_scale(team: Team, kind: str) -> None:
    team.policies.apply(work(kind, team.name, replicas=1))
    team.block()
    assert "grows from 1 to 2" in team.patch(kind.lower(), {"spec": {"replicas": 2}})[1]
    assert "grows from 1 to 3" in team.kubectl("scale", f"{kind.lower()}/w", "--replicas=3")[1]
    assert team.kubectl("scale", f"{kind.lower()}/w", "--replicas=0")[0]


def test_a_job_cannot_be_resumed_nor_get_more_pods_at_once(team: Team) -> None:
    team.policies.apply(work("Job", team.name, suspend=True, parallelism=1, completions=4))
    team.block()
    assert "(Job w is resumed)" in team.patch("job", {"spec": {"suspend": False}})[1]
    assert team.patch("job", {"metadata": {"annotations": {"a": "b"}}})[0]
    team.policies.unblock(team.name, "tight")
    wait_for("the job to be resumed", lambda: team.patch("job", {"spec": {"suspend": False}})[0], 15)
    team.block()
    assert "from parallelism 1 to 2" in team.patch("job", {"spec": {"parallelism": 2}})[1]
    assert team.patch("job", {"spec": {"parallelism": 0}})[0]
    assert team.patch("job", {"spec": {"suspend": True}})[0]


def test_a_configured_kind_grows_by_its_own_path(team: Team) -> None:
    team.policies.apply(work("TrainJob", team.name))
    team.block()
    assert "(TrainJob w grows from 2 to 3 pods)" in team.patch("trainjob", {"spec": {"worker": {"count": 3}}})[1]
    assert "grows from 2 to 5 pods" in team.kubectl("scale", "trainjob/w", "--replicas=5")[1]
    assert team.patch("trainjob", {"spec": {"worker": {"count": 1}}})[0]


def test_only_kinds_that_the_budget_names_are_held(team: Team) -> None:
    team.policies.apply(work("Deployment", team.name), work("StatefulSet", team.name))
    team.block(enforce={"kinds": ["Pod", "Deployment"]})
    assert team.kubectl("scale", "statefulset/w", "--replicas=2")[0]
    assert not team.kubectl("scale", "deployment/w", "--replicas=2")[0]


def test_a_scale_is_checked_by_the_templates_labels_which_it_does_not_say(team: Team) -> None:
    """The Deployment's own selector is by app alone: only its template carries project."""
    team.policies.apply(work("Deployment", team.name), work("Deployment", team.name, "other", {"project": "y"}))
    team.block(selector=SELECT_X)
    team.wait_refused("scale", "deployment/w", "--replicas=2", "--dry-run=server")
    assert team.kubectl("scale", "deployment/other", "--replicas=2")[0]


def test_an_exempt_workload_grows_by_scale_and_by_update(team: Team) -> None:
    exempt = {"labels": {"carbonbudget.dev/exempt": "true"}}
    team.policies.apply(work("Deployment", team.name, metadata=exempt))
    team.block()

    def grown() -> bool:  # the label is known by a watch, which starts with the block
        return team.kubectl("scale", "deployment/w", "--replicas=2")[0]

    wait_for("the exempt one to be known", grown, 15)
    assert team.patch("deployment", {"spec": {"replicas": 3}})[0]


def test_a_cluster_budget_holds_growth_too(team: Team, policies: ChartPolicies) -> None:
    name = policies.named("grown")
    mine = {"matchLabels": {"e2e.carbonbudget.dev/run": policies.run}}
    policies.block("", name, namespaceSelector=mine, enforce=KINDS)
    try:
        said = team.wait_refused("scale", "deployment/probe", "--replicas=2", "--dry-run=server")
        assert f"see: kubectl describe clustercarbonbudget {name}" in said
    finally:
        policies.unblock("", name)


def test_a_warning_is_shown_and_left_as_an_event_but_not_by_a_dry_run(team: Team, policies: ChartPolicies) -> None:
    policies.stand(team.name, "soft", 85, None, state="Warning")

    def warned() -> str | None:
        said = policies.try_out(work("Job", team.name, "tried"))[1]
        return said if "Warning: " in said else None

    assert "Warning: carbon budget soft: used 85 %" in wait_for("the warning", warned, 15)
    fine, said = policies.create(work("Job", team.name, "made"))
    assert fine
    assert "Warning: carbon budget soft: used 85 %" in said
    wait_for("the Event", lambda: policies.events(team.name, "WorkWarned"), 15)
    assert {event["involvedObject"]["name"] for event in policies.events(team.name, "WorkWarned")} == {"made"}


def test_an_operators_account_that_recreates_a_pod_is_refused_and_an_event_on_the_owner_says_what_to_do(
    team: Team, policies: ChartPolicies
) -> None:
    """As a database operator does: the pod is its own, and no controller of Kubernetes makes it again."""
    account = f"system:serviceaccount:{team.name}:db-operator"
    policies.cluster.kubectl("-n", team.name, "create", "rolebinding", "db", "--clusterrole=edit", f"--user={account}")
    policies.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "db", "namespace": team.name}})
    uid = policies.cluster.get("-n", team.name, "configmap", "db")["metadata"]["uid"]  # type: ignore[index]
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "db", "uid": uid, "controller": True}
    pod = work("Pod", team.name, "db-1", metadata={"ownerReferences": [owner]})
    assert policies.admitted(pod, f"--as={account}")
    team.block()
    fine, said = policies.create(pod, f"--as={account}")
    assert not fine
    hint = f"(if {account} is a controller, name it in enforcement.controllerAccounts)"
    assert hint in said
    event = wait_for("the Event", lambda: next(iter(policies.events(team.name, "WorkRefused")), None), 15)
    assert event["involvedObject"]["uid"] == uid
    assert hint in event["message"]


def test_the_warning_about_a_cronjobs_job_is_the_cronjobs_event(team: Team, policies: ChartPolicies) -> None:
    policies.stand(team.name, "soft", 85, None, state="Warning")
    policies.schedule(team.name, "nightly", work("Job", team.name))
    event = wait_for("the CronJob's run", lambda: next(iter(policies.events(team.name, "WorkWarned")), None), 100)
    involved = event["involvedObject"]
    assert (involved["kind"], involved["name"]) == ("CronJob", "nightly")
    assert involved["uid"]


def test_updates_that_are_no_growth_never_reach_the_webhook(team: Team, webhook: Webhook) -> None:
    team.policies.apply(work("Deployment", team.name, replicas=1))
    team.policies.roll_out(team.name, "w")
    counted = 'carbonbudget_admission_reviews_total{outcome="allowed"}'
    before = webhook.figure(counted)
    for number in range(3):
        assert team.patch("deployment", {"metadata": {"annotations": {"n": str(number)}}})[0]
        # A rollout; `kubectl rollout restart` refuses a second one within the same second.
        template = {"metadata": {"annotations": {"n": str(number)}}}
        assert team.patch("deployment", {"spec": {"template": template}})[0]
    assert team.kubectl("scale", "deployment/w", "--replicas=0")[0]
    assert webhook.figure(counted) == before
    assert team.kubectl("scale", "deployment/probe", "--replicas=2")[0]
    assert webhook.figure(counted) == before + 1


def test_growth_of_an_object_that_is_padded_beyond_what_the_webhook_reads_is_refused(
    team: Team, webhook: Webhook
) -> None:
    padded = work("Deployment", team.name, replicas=2)
    # JSON writes six bytes for each of these: the review has the old and the new object, 8 MiB together.
    padded["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "P", "value": "<" * 700_000}]
    # As it is: kubectl would write them in six bytes too, which is more than the API server takes.
    path = f"/apis/apps/v1/namespaces/{team.name}/deployments"
    team.policies.cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(padded))
    # Until its controller has written the status: the API server asks the webhook again for a patch that met a change.
    team.policies.roll_out(team.name, "w")
    team.block()
    fine, said = team.patch("deployment", {"spec": {"replicas": 3}})
    assert not fine
    assert "carbon budget tight: used 110 % (Deployment w is too large to be read, so that no selector" in said
    assert webhook.figure('carbonbudget_admission_too_large_total{answer="refused"}') == 1


def test_a_dead_webhook_lets_growth_by_within_a_second_and_new_work_stays_refused(
    policies: ChartPolicies, team: Team
) -> None:
    """Last in this file: it ends the webhook that the others share."""
    team.policies.apply(work("Deployment", team.name, labels={"project": "y"}))
    team.block(selector=SELECT_X)
    process = team.policies.current
    assert process is not None
    process.stop()
    began = time.monotonic()
    assert team.kubectl("scale", "deployment/probe", "--replicas=2")[0]
    assert time.monotonic() - began < 5  # kubectl itself takes a part of that
    assert not policies.admitted(work("Job", team.name))
    owned = work("Pod", team.name, metadata={"ownerReferences": [OWNER]})
    account = f"system:serviceaccount:{team.name}:operator"
    policies.cluster.kubectl("-n", team.name, "create", "rolebinding", "o", "--clusterrole=edit", f"--user={account}")
    hint = f"(if {account} is a controller, name it in enforcement.controllerAccounts)"
    assert hint in policies.refusal(owned, f"--as={account}"), "the policy's own sentence"
    template = {"spec": {"template": {"metadata": {"labels": {"project": "x"}}}}}
    fine, said = team.patch("deployment", template, "--dry-run=server")
    assert not fine, "labels that bring pods into the budget are held by the policy too"
    assert "carbon budget tight" in said
