"""Kueue's Workloads in the real API server, by Kueue's own CRD; no Kueue runs.

Once as a Kueue that has v1beta1 alone, once as one that serves both versions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.apiserver.manifests import work
from tests.conftest import Cluster
from tests.controller.api_server import eventually
from tests.kueue.bench import Bench
from tests.kueue.module import VERSIONS, apply_workloads_crd, delete_workloads_crd, pod_sets

from carbonbudget_operator.enforcement.budget_effects_removal import BudgetEffectsRemoval, RemovalScope
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import find_credentials

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

SPACE = "queued"


@pytest.fixture(scope="module", params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """Of Kueue's API, as the setting has it."""
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture(scope="module")
def kueue(cluster: Cluster, version: str) -> Iterator[Cluster]:
    """The kind, and a Job that a queue holds, with its Workload."""
    kubectl = cluster.kubectl
    kubectl("create", "namespace", SPACE)
    try:
        apply_workloads_crd(cluster, *(("v1beta1",) if version == "v1beta1" else VERSIONS))
        labels = {"carbonbudget.dev/suspendable": "true", "kueue.x-k8s.io/queue-name": "q"}
        job = work("Job", SPACE, "train", metadata={"labels": labels}, suspend=True)
        kubectl("apply", "-f", "-", stdin=json.dumps(job))
        uid = cluster.get("-n", SPACE, "job", "train")["metadata"]["uid"]  # type: ignore[index] # JSON
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": uid, "controller": True}
        workload = {
            "apiVersion": f"kueue.x-k8s.io/{version}",
            "kind": "Workload",
            "metadata": {"name": "job-train-1a2b3", "namespace": SPACE, "ownerReferences": [owner]},
            "spec": {"queueName": "q", "priority": 7, "podSets": pod_sets()},
        }
        kubectl("create", "--field-manager=kueue", "-f", "-", stdin=json.dumps(workload))
        yield cluster
    finally:
        kubectl("delete", "namespace", SPACE, "--timeout=60s")  # its name is taken again for the other version
        delete_workloads_crd(cluster)


@pytest.fixture
async def bench(kueue: Cluster, version: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setenv("KUBECONFIG", kueue.environment["KUBECONFIG"])
    client = KubeClient.connect(find_credentials())
    try:
        made = Bench(kueue, client, SPACE, "job-train-1a2b3", version)
        async with made.following():
            yield made
    finally:
        await client.close()


async def test_a_budget_deactivates_the_workload_and_activates_it_again(bench: Bench) -> None:
    before = bench.workload()["spec"]
    bench.suspends(True)
    found = await bench.step_until(active=False)
    assert found["metadata"]["labels"] == {"carbonbudget.dev/suspended": "true"}
    assert found["metadata"]["annotations"] == {"carbonbudget.dev/suspended-by": f"{SPACE}/monthly"}
    assert found["spec"] == before | {"active": False}
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


async def test_an_uninstall_activates_what_we_deactivated_and_nothing_else(bench: Bench, version: str) -> None:
    path = bench.loop._actions.workloads.at(SPACE, "job-train-1a2b3")
    marks = {
        "labels": {"carbonbudget.dev/suspended": "true"},
        "annotations": {"carbonbudget.dev/suspended-by": f"{SPACE}/monthly"},
    }
    merge = "application/merge-patch+json"
    await bench.client.request("PATCH", path, {"spec": {"active": False}}, content_type=merge)
    await BudgetEffectsRemoval(bench.client, False, [].append, version).run(RemovalScope(SPACE), 1)
    assert bench.workload()["spec"]["active"] is False
    await bench.client.request("PATCH", path, {"metadata": marks}, content_type=merge)
    said: list[str] = []
    await BudgetEffectsRemoval(bench.client, False, said.append, version).run(RemovalScope(SPACE), 1)
    assert said == [f"Workload {SPACE}/job-train-1a2b3: active again"]
    assert bench.workload()["spec"]["active"] is True
