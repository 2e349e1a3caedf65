"""Workloads that we deactivated are given back when enforcement.kueue goes, or all of the chart: its hooks, really run.

Helm would run each hook's Job as a pod. Here the same command runs with the same arguments, under the account and the
rights that are there at that moment, and the policy of our own writes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.apiserver.manifests import work
from tests.conftest import Cluster
from tests.e2e.conftest import CHART, budget
from tests.kueue.module import apply_workloads_crd, delete_workloads_crd, pod_sets

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

SPACE, OURS = "switched-off", "switched-off-system"
ACCOUNT = "carbonbudget-release"
MARKS = {
    "labels": {"carbonbudget.dev/suspended": "true", "carbonbudget.dev/suspendable": "true"},
    "annotations": {"carbonbudget.dev/suspended-by": f"{SPACE}/monthly"},
}


def rendered(cluster: Cluster, *more: str) -> list[dict[str, Any]]:
    """The chart's hooks and its policy of own writes."""
    shown = ("--show-only=templates/release-hook.yaml", "--show-only=templates/own-writes-policy.yaml")
    command = ("helm", "template", "carbonbudget", CHART, "-n", OURS, "--kube-version", "1.34", *shown, *more)
    return [one for one in yaml.safe_load_all(cluster.run(*command).stdout) if one]


def events_of(document: dict[str, Any]) -> set[str]:
    """Helm's events at which it is there; none: always."""
    return set(filter(None, document["metadata"].get("annotations", {}).get("helm.sh/hook", "").split(",")))


class Hooks:
    """`run` is what Helm does at an event."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster, self._directory = cluster, directory

    def run(self, event: str, *values: str) -> list[str]:
        """Make the event's objects, run its Jobs and take the objects away: what the Jobs wrote."""
        documents = [one for one in rendered(self.cluster, *values) if event in events_of(one)]
        jobs = [one for one in documents if one["kind"] == "Job"]
        others = [one for one in documents if one["kind"] != "Job"]
        self.cluster.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, others)))
        try:
            return [line for job in jobs for line in self._command(job)]
        finally:
            self.cluster.kubectl("delete", "-f", "-", stdin="\n---\n".join(map(json.dumps, others)))

    def _command(self, job: dict[str, Any]) -> list[str]:
        pod = job["spec"]["template"]["spec"]
        assert pod["serviceAccountName"] == ACCOUNT
        (container,) = pod["containers"]
        token = self.cluster.kubectl("-n", OURS, "create", "token", ACCOUNT).stdout.strip()
        config = json.loads(self.cluster.kubectl("config", "view", "--raw", "-o", "json").stdout)
        config["users"] = [{"name": "x", "user": {"token": token}}]
        config["contexts"] = [{"name": "x", "context": {"cluster": config["clusters"][0]["name"], "user": "x"}}]
        config["current-context"] = "x"
        path = self._directory / "kubeconfig"
        path.write_text(json.dumps(config))
        done = subprocess.run(
            [str(Path(sys.executable).parent / "carbonbudget"), *container["args"]],
            env={"KUBECONFIG": str(path), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    def active(self) -> dict[str, bool]:
        """Workloads by name."""
        items: Any = self.cluster.get("-n", SPACE, "workloads.v1beta2.kueue.x-k8s.io")["items"]
        return {one["metadata"]["name"]: one["spec"]["active"] for one in items}

    def suspended(self) -> bool:
        """Our suspended Job."""
        job: Any = self.cluster.get("-n", SPACE, "job", "plain")
        return bool(job["spec"]["suspend"])

    def blocks(self) -> bool:
        """The budget."""
        found: Any = self.cluster.get("-n", SPACE, "carbonbudget", "monthly")
        return "carbonbudget.dev/blocking" in found["metadata"].get("labels", {})


def a_workload(name: str, job: str, uid: str, **metadata: Any) -> dict[str, Any]:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job, "uid": uid, "controller": True}
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "Workload",
        "metadata": {"name": name, "namespace": SPACE, "ownerReferences": [owner]} | metadata,
        "spec": {"queueName": "q", "active": False, "podSets": pod_sets()},
    }


@pytest.fixture
def hooks(cluster: Cluster, tmp_path: Path) -> Iterator[Hooks]:
    """Two inactive Workloads, one of them ours, a Job that we suspended and a budget that blocks."""
    kubectl = cluster.kubectl
    policy = [one for one in rendered(cluster) if not events_of(one)]
    for namespace in (SPACE, OURS):
        kubectl("create", "namespace", namespace)
    try:
        apply_workloads_crd(cluster)
        for one in policy:
            kubectl("apply", "-f", "-", stdin=json.dumps(one))
        for one in (
            work("Job", SPACE, "queued", suspend=True),
            work("Job", SPACE, "plain", metadata=MARKS, suspend=True),
            budget(SPACE, "monthly", limit="1kg", period="Month"),
        ):
            kubectl("apply", "-f", "-", stdin=json.dumps(one))
        kubectl("-n", SPACE, "label", "carbonbudget", "monthly", "carbonbudget.dev/blocking=true")
        uid = cluster.get("-n", SPACE, "job", "queued")["metadata"]["uid"]  # type: ignore[index] # JSON
        for one in (a_workload("ours", "queued", uid, **MARKS), a_workload("administrators", "queued", uid)):
            kubectl("create", "-f", "-", stdin=json.dumps(one))
        yield Hooks(cluster, tmp_path)
    finally:
        for one in policy:
            kubectl("delete", "-f", "-", "--ignore-not-found", stdin=json.dumps(one))
        delete_workloads_crd(cluster)
        for namespace in (SPACE, OURS):
            kubectl("delete", "namespace", namespace, "--timeout=60s")


HAS_KUEUE = ("--api-versions", "kueue.x-k8s.io/v1beta2")


@pytest.mark.parametrize("event", ["post-upgrade", "post-rollback"])
def test_switched_off_what_carries_our_marks_is_activated_and_nothing_else(hooks: Hooks, event: str) -> None:
    assert hooks.run(event, *HAS_KUEUE)[0] == f"Workload {SPACE}/ours: active again"
    assert hooks.active() == {"ours": True, "administrators": False}
    assert (hooks.suspended(), hooks.blocks()) == (True, True)
    found: Any = hooks.cluster.get("-n", SPACE, "workloads.v1beta2.kueue.x-k8s.io", "ours")
    assert "carbonbudget.dev/suspended" not in found["metadata"]["labels"]
    assert hooks.run(event, *HAS_KUEUE) == ["nothing to release"]


@pytest.mark.parametrize("values", [HAS_KUEUE, ("--set", "enforcement.kueue=v1beta1")], ids=["off", "on"])
def test_an_uninstall_gives_them_back_whether_it_is_on_or_was_switched_off(
    hooks: Hooks, values: tuple[str, ...]
) -> None:
    said = hooks.run("pre-delete", *values)
    assert {f"Workload {SPACE}/ours: active again", f"Job {SPACE}/plain: resumed"} <= {*said}
    assert hooks.active() == {"ours": True, "administrators": False}
    assert (hooks.suspended(), hooks.blocks()) == (False, False)


def test_without_kueue_or_while_it_is_on_an_upgrade_runs_nothing(cluster: Cluster) -> None:
    for values in ((), ("--set", "enforcement.kueue=v1beta2"), (*HAS_KUEUE, "--set", "enforcement.kueue=v1beta2")):
        assert [one for one in rendered(cluster, *values) if events_of(one) - {"pre-delete"}] == []
    assert [one for one in rendered(cluster) if "workloads" in one["metadata"]["name"]] == []


def test_after_an_upgrade_the_hook_has_no_right_but_to_workloads(cluster: Cluster) -> None:
    found = [one for one in rendered(cluster, *HAS_KUEUE) if "post-upgrade" in events_of(one)]
    rules = [rule for one in found for rule in one.get("rules", ())]
    assert rules == [{"apiGroups": ["kueue.x-k8s.io"], "resources": ["workloads"], "verbs": ["list", "patch"]}]
