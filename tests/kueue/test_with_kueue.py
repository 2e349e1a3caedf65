"""enforcement.kueue with a running Kueue: what it really does when `spec.active` changes, and what it writes itself.

Kueue's controller manager, webhooks and CRDs of hack/tools/kueue, on an API server with a Job controller and no node.
We act as the chart's account, under its rights and the policy of its own writes.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Cluster
from tests.controller.api_server import eventually
from tests.e2e.conftest import wait_for
from tests.kueue.bench import Bench
from tests.kueue.conftest import credentials
from tests.kueue.module import VERSIONS

from carbonbudget_operator.kube.client import KubeClient

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane, pytest.mark.kueue]

PATIENCE_S = 60


@dataclass(frozen=True)
class Space:
    """A namespace with the queue `local`, in which Jobs of one CPU run."""

    cluster: Cluster
    name: str

    def submit(self, name: str, cpu: str = "1") -> None:
        """An opted-in Job in the queue, as a person makes it: not suspended."""
        container = {"name": "c", "image": "x", "resources": {"requests": {"cpu": cpu}}}
        labels = {"kueue.x-k8s.io/queue-name": "local", "carbonbudget.dev/suspendable": "true"}
        body = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": self.name, "labels": labels},
            "spec": {"completions": 2, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
        }
        self.cluster.kubectl("create", "-f", "-", stdin=json.dumps(body))

    def job(self, name: str) -> dict[str, Any]:
        """As it is now."""
        return self.cluster.get("-n", self.name, "job", name)

    def workload(self, job: str) -> dict[str, Any] | None:
        """Kueue's, of that Job, if it has made it."""
        items: Any = self.cluster.get("-n", self.name, "workloads.v1beta2.kueue.x-k8s.io")["items"]
        return next((one for one in items if one["metadata"]["ownerReferences"][0]["name"] == job), None)

    def condition(self, job: str, kind: str) -> dict[str, Any]:
        """Of its Workload; empty without one."""
        conditions = ((self.workload(job) or {}).get("status") or {}).get("conditions") or []
        return next((one for one in conditions if one["type"] == kind), {})

    def runs(self, job: str) -> bool:
        """Whether Kueue has admitted it, and lets its pods be made."""
        admitted = self.condition(job, "Admitted").get("status") == "True"
        return admitted and self.job(job)["spec"]["suspend"] is False

    def stopped(self, job: str) -> bool:
        """Whether Kueue has evicted it: suspended, without pods and quota."""
        found = self.job(job)
        reserved = self.condition(job, "QuotaReserved").get("status") == "True"
        return found["spec"]["suspend"] is True and not found["status"].get("active") and not reserved

    def wait_runs(self, job: str) -> None:
        """Until it runs."""
        wait_for(f"{job} to be admitted", lambda: self.runs(job), PATIENCE_S)

    def wait_stopped(self, job: str) -> None:
        """Until it is evicted."""
        wait_for(f"{job} to be evicted", lambda: self.stopped(job), PATIENCE_S)

    def activate(self, job: str, active: bool) -> None:
        """As an administrator."""
        name = (self.workload(job) or {})["metadata"]["name"]
        patch = ("--type=merge", "-p", json.dumps({"spec": {"active": active}}), "--field-manager=ada")
        self.cluster.kubectl("-n", self.name, "patch", "workload", name, *patch)


@pytest.fixture
def space(kueue: Cluster) -> Iterator[Space]:
    name = f"team-{uuid.uuid4().hex[:6]}"
    kueue.kubectl("create", "namespace", name)
    queue = {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "LocalQueue",
        "metadata": {"name": "local", "namespace": name},
        "spec": {"clusterQueue": "main"},
    }
    kueue.kubectl("apply", "-f", "-", stdin=json.dumps(queue))
    yield Space(kueue, name)
    kueue.kubectl("delete", "namespace", name, "--timeout=90s")


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """Of Kueue's API, as the setting has it: Kueue converts the older one."""
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture
async def train(space: Space, version: str, tmp_path: Path) -> AsyncIterator[Bench]:
    """A Job `train` that Kueue has admitted, and our enforcement over it."""
    space.submit("train")
    space.wait_runs("train")
    name = (space.workload("train") or {})["metadata"]["name"]
    client = KubeClient.connect(credentials(space.cluster, "carbonbudget-controller", tmp_path))
    try:
        bench = Bench(space.cluster, client, space.name, name, version)
        async with bench.following():
            yield bench
    finally:
        await client.close()


async def test_kueue_evicts_what_a_budget_deactivates_and_admits_it_again(space: Space, train: Bench) -> None:
    before = train.workload()["spec"]
    train.suspends(True)
    found = await train.step_until(active=False)
    assert found["metadata"]["labels"]["carbonbudget.dev/suspended"] == "true"
    assert found["metadata"]["annotations"]["carbonbudget.dev/suspended-by"] == f"{space.name}/monthly"
    assert found["spec"] == before | {"active": False}
    space.wait_stopped("train")
    assert space.condition("train", "Evicted")["reason"].startswith("Deactivated")
    assert "carbonbudget.dev/suspended" not in space.job("train")["metadata"]["labels"]

    await train.decide_anew()  # what Kueue wrote meanwhile is nobody's objection, and we write nothing again
    assert train.conflicts.of(f"{space.name}/monthly") == ""
    assert train.workload()["spec"]["active"] is False

    train.suspends(False)
    found = await train.step_until(active=True)
    assert "carbonbudget.dev/suspended" not in found["metadata"].get("labels", {})
    space.wait_runs("train")
    wait_for("its pod", lambda: space.job("train")["status"].get("active") == 1, PATIENCE_S)
    assert train.conflicts.of(f"{space.name}/monthly") == ""


async def test_it_is_suspended_a_second_time_as_well(space: Space, train: Bench) -> None:
    for _ in range(2):
        train.suspends(True)
        await train.step_until(active=False)
        space.wait_stopped("train")
        train.suspends(False)
        await train.step_until(active=True)
        space.wait_runs("train")


async def test_what_an_administrator_deactivated_stays_off(space: Space, train: Bench) -> None:
    space.activate("train", False)
    space.wait_stopped("train")
    for suspends in (True, False):
        train.suspends(suspends)
        await train.decide_anew()
    found = train.workload()
    assert found["spec"]["active"] is False
    assert not [key for key in found["metadata"].get("labels", {}) if key.startswith("carbonbudget.dev/suspended")]


async def test_what_an_administrator_activates_runs_on_and_the_budget_names_who(space: Space, train: Bench) -> None:
    train.suspends(True)
    await train.step_until(active=False)
    space.wait_stopped("train")
    space.activate("train", True)
    space.wait_runs("train")
    await train.decide_anew()
    assert train.workload()["spec"]["active"] is True
    assert train.conflicts.of(f"{space.name}/monthly") == (
        f"suspended Jobs were resumed and are left running: {space.name}/train by ada"
    )


@pytest.mark.parametrize("version", ["v1beta2"], indirect=True)
async def test_what_waits_for_quota_does_not_start_while_the_budget_suspends(space: Space, train: Bench) -> None:
    space.submit("large", cpu="2")  # of 2, one is taken

    async def both_until(active: bool) -> None:
        async with asyncio.timeout(30):  # Kueue may write to one in the same moment: then it is decided anew
            while {one.active for one in store.workloads.values() if one.namespace == space.name} != {active}:
                await train.loop.step()
                await asyncio.sleep(0.1)

    store = train.loop.store
    await eventually(lambda: sum(one.namespace == space.name for one in store.workloads.values()) == 2, 30)
    train.suspends(True)
    await both_until(active=False)
    space.wait_stopped("train")
    assert (space.workload("large") or {})["spec"]["active"] is False
    assert space.stopped("large")
    train.suspends(False)
    await both_until(active=True)
    assert (space.workload("large") or {})["spec"]["active"] is True


@pytest.mark.parametrize("version", ["v1beta2"], indirect=True)
async def test_a_job_that_is_changed_while_it_is_inactive_does_not_start(space: Space, train: Bench) -> None:
    train.suspends(True)
    await train.step_until(active=False)
    space.wait_stopped("train")
    marked = train.workload()["metadata"]
    patch = ("--type=merge", "-p", json.dumps({"spec": {"parallelism": 2}}))
    space.cluster.kubectl("-n", space.name, "patch", "job", "train", *patch)

    def followed() -> bool:
        found = space.workload("train")
        return found is not None and found["spec"]["podSets"][0]["count"] == 2

    wait_for("Kueue to follow", followed, PATIENCE_S)
    await train.decide_anew()
    found = train.workload()
    assert found["spec"]["active"] is False
    assert (found["metadata"]["uid"], found["metadata"]["labels"]) == (marked["uid"], marked["labels"])
    assert space.stopped("train")


@pytest.mark.parametrize("version", ["v1beta2"], indirect=True)
async def test_a_workload_that_is_deleted_meanwhile_is_made_anew_and_deactivated_anew(
    space: Space, train: Bench
) -> None:
    train.suspends(True)
    former = (await train.step_until(active=False))["metadata"]["uid"]
    space.wait_stopped("train")
    space.cluster.kubectl("-n", space.name, "delete", "workload", train.workload()["metadata"]["name"])

    def again() -> bool:
        found = space.workload("train")
        return found is not None and found["metadata"]["uid"] != former

    wait_for("Kueue to make it anew", again, PATIENCE_S)
    found = await train.step_until(active=False)
    assert found["metadata"]["labels"]["carbonbudget.dev/suspended"] == "true"
    space.wait_stopped("train")
