"""What leaves its controller or ends late runs on while the controller makes another: on a real API server.

Dry runs of a tenant with the role `edit`, in a namespace whose objects are older than the block.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.apiserver.attempts import EXEMPT
from tests.apiserver.chart_policies import OPERATOR, ChartPolicies
from tests.apiserver.manifests import ALL, SELECT_X, work
from tests.e2e.conftest import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

DEV = "--as=dev"
REFUSED = "carbon budget tight: used 110 %"
LONG = "--grace-period=86400"
NODE = "leaving-node"


class Tenant:
    """A namespace of controllers that have one pod each, and what a tenant tries there."""

    def __init__(self, policies: ChartPolicies, space: str) -> None:
        self.policies, self.space = policies, space

    def prepare(self) -> None:
        """Rights and objects, then the block."""
        self.kubectl("create", "rolebinding", "dev", "--clusterrole=edit", "--user=dev")
        grant = ("create", "role", "lead", "--verb=exempt", "--resource=carbonbudgets.carbonbudget.dev")
        passes(self.kubectl(*grant))
        self.kubectl("create", "rolebinding", "lead", "--clusterrole=edit", "--user=lead")
        self.kubectl("create", "rolebinding", "lead-exempts", "--role=lead", "--user=lead")
        self.policies.cluster.kubectl(
            "create", "clusterrolebinding", self.space, "--clusterrole=edit", "--user=drainer"
        )
        long = {"terminationGracePeriodSeconds": 7200}
        made = [work(kind, self.space, kind.lower()) for kind in ALL if kind != "TrainJob"]
        made += [work("Deployment", self.space, "slow"), work("Job", self.space, "slow-job")]
        made.append(work("Deployment", self.space, "free", metadata={"labels": EXEMPT}))
        for slow in made[-3:]:
            slow["spec"]["template"]["spec"] |= long  # type: ignore[index] # a manifest
        made[-1]["spec"]["template"]["metadata"]["labels"] |= EXEMPT  # type: ignore[index] # a manifest
        self.policies.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}, *made)
        for app in [
            "job",
            "deployment",
            "statefulset",
            "replicaset",
            "replicationcontroller",
            "slow",
            "slow-job",
            "free",
        ]:
            wait_for(f"the pod of {app}", lambda app=app: self.names("pods", app), 60)
            self.bind(self.names("pods", app)[0])
        self.bind("pod")
        self.policies.block(self.space, "tight", selector=SELECT_X, enforce={"kinds": ALL})
        self.policies.refusal(work("Pod", self.space))

    def remove(self) -> None:
        """What is not in the namespace."""
        self.policies.cluster.kubectl("delete", "clusterrolebinding", self.space)
        self.policies.cluster.kubectl("delete", "node", NODE)

    def bind(self, pod: str) -> None:
        """To a node: what waits for one ends at once, whatever its grace period."""
        target = {"apiVersion": "v1", "kind": "Node", "name": NODE}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}
        path = f"/api/v1/namespaces/{self.space}/pods/{pod}/binding"
        passes(self.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(body)))

    def kubectl(self, *args: str, stdin: str | None = None) -> tuple[bool, str]:
        """Whether it passed, and what was said."""
        done = self.policies.cluster.kubectl("-n", self.space, *args, stdin=stdin, check=False)
        return done.returncode == 0, done.stderr

    def names(self, resource: str, app: str) -> list[str]:
        """Objects by their label app."""
        where = ("-n", self.space, "get", resource, "-l", f"app={app}", "-o", "jsonpath={.items[*].metadata.name}")
        return self.policies.cluster.kubectl(*where).stdout.split()

    def patch(self, kind: str, name: str, change: dict[str, Any], account: str = DEV) -> tuple[bool, str]:
        """Merge a change into an object, as a dry run."""
        return self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps(change), "--dry-run=server", account)

    def delete(self, kind: str, app: str, *options: str, account: str = DEV) -> tuple[bool, str]:
        """Delete what has the label app, as a dry run."""
        name = self.names(kind, app)[0]
        return self.kubectl("delete", kind, name, "--wait=false", "--dry-run=server", account, *options)

    def evict(self, app: str, options: dict[str, Any] | None, account: str = DEV) -> tuple[bool, str]:
        """Evict a pod by its label app, as a dry run."""
        name = self.names("pods", app)[0]
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        body |= {"deleteOptions": {"dryRun": ["All"], **(options or {})}}
        path = f"/api/v1/namespaces/{self.space}/pods/{name}/eviction?dryRun=All"
        return self.kubectl("create", "--raw", path, "-f", "-", account, stdin=json.dumps(body))


@pytest.fixture(scope="module")
def tenant(policies: ChartPolicies) -> Iterator[Tenant]:
    with policies.namespace() as space:
        made = Tenant(policies, space)
        try:
            made.prepare()
            yield made
        finally:
            made.remove()


def refused(answer: tuple[bool, str], *words: str) -> None:
    passed, said = answer
    assert not passed
    for word in (REFUSED, *words):
        assert word in said


def passes(answer: tuple[bool, str]) -> None:
    passed, said = answer
    assert passed, said


@pytest.mark.parametrize(
    "change",
    [{"labels": {"app": None}}, {"ownerReferences": None}, {"labels": {"pod-template-hash": "x"}}],
    ids=["label away", "owner away", "another hash"],
)
def test_a_replica_set_does_not_leave_its_deployment(tenant: Tenant, change: dict[str, Any]) -> None:
    """The deployment controller makes another under a new hash, and the pods of both run."""
    name = tenant.names("replicasets", "deployment")[0]
    refused(tenant.patch("replicaset", name, {"metadata": change}), "labels and the controller")


def test_a_replica_set_is_annotated_and_one_without_a_controller_labelled(tenant: Tenant) -> None:
    name = tenant.names("replicasets", "deployment")[0]
    passes(tenant.patch("replicaset", name, {"metadata": {"annotations": {"example.com/note": "a"}}}))
    passes(tenant.patch("replicaset", "replicaset", {"metadata": {"labels": {"example.com/note": "a"}}}))


def test_the_deployment_controller_may_let_a_replica_set_go(tenant: Tenant) -> None:
    name = tenant.names("replicasets", "deployment")[0]
    tenant.kubectl(
        "create", "rolebinding", "controller", "--clusterrole=edit",
        "--serviceaccount=kube-system:deployment-controller",
    )  # fmt: skip
    account = "--as=system:serviceaccount:kube-system:deployment-controller"
    passes(tenant.patch("replicaset", name, {"metadata": {"ownerReferences": None}}, account))


def test_a_replica_set_is_not_deleted_from_under_its_pods_while_a_deployment_makes_another(tenant: Tenant) -> None:
    refused(tenant.delete("replicasets", "deployment", "--cascade=orphan"), "without --cascade=orphan")
    passes(tenant.delete("replicasets", "deployment"))
    passes(tenant.delete("replicasets", "deployment", "--cascade=foreground"))
    passes(tenant.kubectl("delete", "replicaset", "replicaset", "--cascade=orphan", "--dry-run=server", DEV))


def test_the_finalizer_of_orphaning_counts_as_orphaning(tenant: Tenant) -> None:
    """The garbage collector honours it where a deletion names no policy."""
    name = tenant.names("replicasets", "deployment")[0]
    tenant.kubectl("patch", "replicaset", name, "--type=merge", "-p", '{"metadata": {"finalizers": ["orphan"]}}')
    try:
        path = f"/apis/apps/v1/namespaces/{tenant.space}/replicasets/{name}"
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "dryRun": ["All"]}
        answer = tenant.kubectl("delete", "--raw", path, "-f", "-", DEV, stdin=json.dumps(options))
        refused(answer, "without --cascade=orphan")
        passes(tenant.delete("replicasets", "deployment", "--cascade=background"))
    finally:
        tenant.kubectl("patch", "replicaset", name, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


@pytest.mark.parametrize("app", ["job", "replicaset", "replicationcontroller", "deployment"])
def test_a_pod_that_is_replaced_does_not_run_on_for_long_after_its_deletion(tenant: Tenant, app: str) -> None:
    refused(tenant.delete("pods", app, LONG), "--grace-period=600 or less")
    passes(tenant.delete("pods", app))
    passes(tenant.delete("pods", app, "--grace-period=600"))


def test_its_own_grace_period_counts_where_the_deletion_has_none(tenant: Tenant) -> None:
    refused(tenant.delete("pods", "slow-job"), "--grace-period=600 or less")
    passes(tenant.delete("pods", "slow-job", "--grace-period=30"))


def test_pods_that_nothing_replaces_end_as_late_as_they_like(tenant: Tenant) -> None:
    passes(tenant.delete("pods", "pod", LONG))
    passes(tenant.delete("pods", "statefulset", LONG))


def test_a_controller_that_the_settings_name_deletes_as_it_must(tenant: Tenant) -> None:
    flags = ("--as-group=system:masters", LONG)
    passes(tenant.delete("pods", "job", *flags, account=f"--as={OPERATOR}"))
    refused(tenant.delete("pods", "job", *flags, account="--as=system:serviceaccount:training:other"))


def test_what_is_exempt_ends_and_leaves_its_pods_as_ever(tenant: Tenant) -> None:
    """A deletion has no new object, and the label of the old one counts; of a pod for who has the verb, as ever."""
    passes(tenant.delete("replicasets", "free", "--cascade=orphan"))
    passes(tenant.delete("pods", "free", account="--as=lead"))
    passes(tenant.delete("pods", "free", LONG, account="--as=lead"))
    refused(tenant.delete("pods", "free"), "--grace-period=600 or less")


def test_all_pods_at_once_are_no_way_around_it(tenant: Tenant) -> None:
    path = f"/api/v1/namespaces/{tenant.space}/pods?dryRun=All&gracePeriodSeconds=86400&labelSelector=app%3Djob"
    refused(tenant.kubectl("delete", "--raw", path, DEV), "--grace-period=600 or less")


@pytest.mark.parametrize("account", ["system:kube-scheduler", "system:serviceaccount:kube-system:job-controller"])
def test_kubernetes_own_parts_delete_as_they_must(tenant: Tenant, account: str) -> None:
    """Preemption and suspension take a pod's own grace period."""
    flags = ("--as-group=system:masters",)
    passes(tenant.delete("pods", "slow-job", *flags, account=f"--as={account}"))


def test_an_eviction_that_is_not_of_the_whole_cluster_says_a_short_grace_period(tenant: Tenant) -> None:
    """Which pod it is about is not in the request."""
    refused(tenant.evict("job", {"gracePeriodSeconds": 86400}), "gracePeriodSeconds of 600 or less")
    refused(tenant.evict("job", None), "gracePeriodSeconds of 600 or less")
    passes(tenant.evict("job", {"gracePeriodSeconds": 30}))


def test_who_drains_nodes_evicts_as_ever(tenant: Tenant) -> None:
    passes(tenant.evict("slow-job", None, "--as=drainer"))


def test_nothing_of_it_holds_where_the_budget_does_not_name_the_kinds(policies: ChartPolicies, space: str) -> None:
    policies.apply(work("Deployment", space, "d"), work("StatefulSet", space, "s"))
    team = Tenant(policies, space)
    team.kubectl("create", "rolebinding", "dev", "--clusterrole=edit", "--user=dev")
    wait_for("the pod", lambda: team.names("pods", "d"), 60)
    policies.block(space, "tight", selector=SELECT_X, enforce={"kinds": ["StatefulSet", "Pod"]})
    policies.refusal(work("Pod", space))
    passes(team.patch("replicaset", team.names("replicasets", "d")[0], {"metadata": {"labels": {"app": None}}}))
    passes(team.delete("replicasets", "d", "--cascade=orphan"))
    passes(team.delete("pods", "d", LONG))
    passes(team.evict("d", None))
