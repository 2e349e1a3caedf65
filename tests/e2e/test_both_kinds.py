"""Both kinds of budget on a real API server, and an end of everything while the operator is away."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from tests.conftest import Cluster
from tests.e2e.conftest import Manifest, Release, budget, pod, wait_for

pytestmark = pytest.mark.cluster

LABEL = "carbonbudget.dev/test-team"


def test_a_cluster_wide_budget_counts_labelled_namespaces_also_when_they_are_gone(
    release: Release, cluster: Cluster
) -> None:
    name = f"e2e-{uuid.uuid4().hex[:8]}"  # of the namespace, of its label's value, of the budget
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, f"{LABEL}={name}")
    wide: Manifest = {
        "apiVersion": "carbonbudget.dev/v1alpha1",
        "kind": "ClusterCarbonBudget",
        "metadata": {"name": name},
        "spec": {"limit": "1mg", "period": "Year", "namespaceSelector": {"matchLabels": {LABEL: name}}},
    }
    release.apply(wide, pod("busy", name, {}, "while true; do :; done"))

    def status() -> dict[str, Any]:
        found = cluster.get("clustercarbonbudget", name).get("status", {})
        assert isinstance(found, dict)
        return found

    try:
        wait_for("the budget to be exceeded", lambda: status().get("state") == "Exceeded", seconds=240)
        exceeded = status()
        assert exceeded["namespaces"] == [name]
        top = exceeded["topWorkloads"][0]
        assert (top["namespace"], top["kind"], top["name"]) == (name, "Pod", "busy")
        query = ("-n", "default", "get", "events", "--field-selector", f"involvedObject.name={name}")
        wait_for("the Event", lambda: "BudgetExceeded" in cluster.kubectl(*query).stdout)
        cluster.kubectl("delete", "namespace", name, "--timeout=120s")
        raised = json.dumps({"spec": {"limit": "2mg"}})
        cluster.kubectl("patch", "clustercarbonbudget", name, "--type=merge", "-p", raised)
        wait_for("the new limit", lambda: status().get("evaluatedGeneration") == 2, seconds=60)
        assert status()["namespaces"] == [name]
        assert status()["usedMicrograms"] >= exceeded["usedMicrograms"]
    finally:
        cluster.kubectl("delete", "clustercarbonbudget", name)
        cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


def test_a_namespace_is_deleted_while_the_operator_is_down_and_waits_for_nobody(
    release: Release, cluster: Cluster
) -> None:
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    release.apply(budget(name, "monthly", limit="5kg", period="Month"))
    wait_for("a verdict", lambda: release.budget(name, "monthly").get("state"), seconds=120)
    metadata = cluster.get("-n", name, "carbonbudget", "monthly")["metadata"]
    assert isinstance(metadata, dict)
    assert "finalizers" not in metadata
    release.scale(0, "carbonbudget-controller")
    try:
        cluster.kubectl("delete", "namespace", name, "--timeout=60s")
    finally:
        release.scale(None, "carbonbudget-controller")
