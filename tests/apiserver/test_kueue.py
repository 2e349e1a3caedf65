"""Kueue's Workloads in the real API server, by a CRD with the fields that Kueue documents; no Kueue runs."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.apiserver.manifests import work
from tests.conftest import Cluster
from tests.controller.api_server import eventually
from tests.enforcement.worlds import Body, budget_body

from carbonbudget_operator.controller.conflicts import Conflicts
from carbonbudget_operator.enforcement.loop import EnforcementLoop
from carbonbudget_operator.enforcement.metrics import EnforcementMetrics
from carbonbudget_operator.enforcement.release import Release, Scope
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import find_credentials
from carbonbudget_operator.server_client import Server
from carbonbudget_operator.settings import Enforcement

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

SPACE = "queued"
WORKLOADS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "workloads.kueue.x-k8s.io",
        # The API server asks for it of groups below k8s.io; Kueue's own CRD has it.
        "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/kueue"},
    },
    "spec": {
        "group": "kueue.x-k8s.io",
        "scope": "Namespaced",
        "names": {"kind": "Workload", "plural": "workloads", "singular": "workload"},
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "active": {"type": "boolean", "default": True},
                                    "queueName": {"type": "string"},
                                    "priority": {"type": "integer", "format": "int32"},
                                },
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def kueue(cluster: Cluster) -> Iterator[Cluster]:
    """The kind, and a Job that a queue holds, with its Workload."""
    kubectl = cluster.kubectl
    kubectl("create", "namespace", SPACE)
    try:
        kubectl("apply", "-f", "-", stdin=json.dumps(WORKLOADS))
        kubectl("wait", "--for=condition=Established", "crd", "workloads.kueue.x-k8s.io", "--timeout=60s")
        labels = {"carbonbudget.dev/suspendable": "true", "kueue.x-k8s.io/queue-name": "q"}
        job = work("Job", SPACE, "train", metadata={"labels": labels}, suspend=True)
        kubectl("apply", "-f", "-", stdin=json.dumps(job))
        uid = cluster.get("-n", SPACE, "job", "train")["metadata"]["uid"]  # type: ignore[index] # JSON
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": uid, "controller": True}
        workload = {
            "apiVersion": "kueue.x-k8s.io/v1beta1",
            "kind": "Workload",
            "metadata": {"name": "job-train-1a2b3", "namespace": SPACE, "ownerReferences": [owner]},
            "spec": {"queueName": "q", "priority": 7},
        }
        kubectl("create", "--field-manager=kueue", "-f", "-", stdin=json.dumps(workload))
        yield cluster
    finally:
        kubectl("delete", "namespace", SPACE, "--wait=false")
        kubectl("delete", "crd", "workloads.kueue.x-k8s.io", "--ignore-not-found")


class Bench:
    """The controller's enforcement as it is, over budgets that the test writes."""

    def __init__(self, cluster: Cluster, client: KubeClient) -> None:
        self.cluster, self.client, self.budgets, self.conflicts = cluster, client, dict[str, Body](), Conflicts()
        self.loop = EnforcementLoop(
            client, Server("http://127.0.0.1:1", None, lambda: ""), lambda: self.budgets, asyncio.Event(),
            lambda: {SPACE: {}}, self.conflicts, Enforcement(kueue="v1beta1", resume_jitter_seconds=0), frozenset(),
            EnforcementMetrics(CollectorRegistry()), 60, 35,
        )  # fmt: skip

    def suspends(self, yes: bool) -> None:
        now = int(dt.datetime.now(dt.UTC).timestamp())
        more: dict[str, int] = {"suspend_from": now - 60, "until": now + 3600} if yes else {}
        self.budgets = {"b": budget_body("monthly", SPACE, **more)}

    def workload(self) -> dict[str, Any]:
        return self.cluster.get("-n", SPACE, "workload", "job-train-1a2b3")

    async def step_until(self, active: bool) -> dict[str, Any]:
        """Decide until the API server has it so."""
        for _ in range(50):
            await self.loop.step()
            if self.workload()["spec"]["active"] is active:
                return self.workload()
            await asyncio.sleep(0.1)
        raise AssertionError(f"active is not {active}")


@pytest.fixture
async def bench(kueue: Cluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setenv("KUBECONFIG", kueue.environment["KUBECONFIG"])
    assert "KUBECONFIG" in os.environ
    client = KubeClient.connect(find_credentials())
    made = Bench(kueue, client)
    monkeypatch.setattr(made.loop, "_complete", True)  # budgets are given, not listed
    made.suspends(False)
    store = made.loop.store
    tasks = [
        asyncio.create_task(store.follow(client)),
        asyncio.create_task(store.follow_workloads(client, made.loop._actor._workloads)),
    ]
    await eventually(lambda: store.listed and store.workloads)
    yield made
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await client.close()


async def test_a_budget_deactivates_the_workload_and_activates_it_again(bench: Bench) -> None:
    bench.suspends(True)
    found = await bench.step_until(active=False)
    assert found["metadata"]["labels"] == {"carbonbudget.dev/suspended": "true"}
    assert found["metadata"]["annotations"] == {"carbonbudget.dev/suspended-by": f"{SPACE}/monthly"}
    assert found["spec"] == {"active": False, "queueName": "q", "priority": 7}
    job = bench.cluster.get("-n", SPACE, "job", "train")
    assert "carbonbudget.dev/suspended" not in job["metadata"]["labels"]  # type: ignore[index] # JSON
    bench.suspends(False)
    found = await bench.step_until(active=True)
    assert "labels" not in found["metadata"]
    events = bench.cluster.get("-n", SPACE, "events")["items"]
    assert {"SuspendedByCarbonBudget", "ResumedByCarbonBudget"} <= {e["reason"] for e in events}  # type: ignore[attr-defined] # a list


async def test_who_activates_it_meanwhile_is_told_and_not_fought(bench: Bench) -> None:
    bench.suspends(True)
    await bench.step_until(active=False)
    patch = ("patch", "workload", "job-train-1a2b3", "--type=merge", "-p", '{"spec":{"active":true}}')
    bench.cluster.kubectl("-n", SPACE, *patch, "--field-manager=ada")
    await eventually(lambda: all(one.active for one in bench.loop.store.workloads.values()))
    await bench.loop.step()
    assert bench.workload()["spec"]["active"] is True
    assert bench.conflicts.of(f"{SPACE}/monthly") == (
        f"suspended Jobs were resumed and are left running: {SPACE}/train by ada"
    )
    bench.suspends(False)
    for _ in range(20):
        await bench.loop.step()
        await asyncio.sleep(0.05)
    assert "labels" not in bench.workload()["metadata"]


async def test_an_uninstall_activates_what_we_deactivated_and_nothing_else(bench: Bench) -> None:
    path = bench.loop._actor._workloads.at(SPACE, "job-train-1a2b3")
    marks = {
        "labels": {"carbonbudget.dev/suspended": "true"},
        "annotations": {"carbonbudget.dev/suspended-by": f"{SPACE}/monthly"},
    }
    merge = "application/merge-patch+json"
    await bench.client.request("PATCH", path, {"spec": {"active": False}}, content_type=merge)
    await Release(bench.client, False, [].append, "v1beta1").run(Scope(SPACE), 1)
    assert bench.workload()["spec"]["active"] is False
    await bench.client.request("PATCH", path, {"metadata": marks}, content_type=merge)
    said: list[str] = []
    await Release(bench.client, False, said.append, "v1beta1").run(Scope(SPACE), 1)
    assert said == [f"Workload {SPACE}/job-train-1a2b3: active again"]
    assert bench.workload()["spec"]["active"] is True
