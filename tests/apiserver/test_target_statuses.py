"""Targets in the real API server: the controller's own account writes what people read, and nobody else does."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from tests.conftest import Cluster
from tests.controller.target_bench import PlayedServer, at
from tests.e2e.conftest import CHART

from carbonbudget_operator.controller.target_loop import TargetLoop
from carbonbudget_operator.controller.target_metrics import TargetMetrics
from carbonbudget_operator.controller.target_store import TargetStore
from carbonbudget_operator.kube.client import KubeClient
from carbonbudget_operator.kube.credentials import Credentials
from carbonbudget_operator.namespace_labels import Namespaces

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

SPACE = "target-statuses"
ACCOUNT = "carbonbudget-controller"
ROLES = (
    ACCOUNT, "carbonbudget-view", "carbonbudget-cluster-view", "carbonbudget-target-editor",
    "carbonbudget-cluster-target-editor",
)  # fmt: skip


@pytest.fixture(scope="module")
def chart(cluster: Cluster) -> Iterator[Cluster]:
    """The controller's account and the roles for people, as the chart has them."""
    kubectl = cluster.kubectl
    kubectl("create", "namespace", SPACE)
    made = []
    try:
        templates = [f"--show-only=templates/{name}.yaml" for name in ("rbac", "controller")]
        rendered = cluster.run(
            "helm", "template", "carbonbudget", CHART, "-n", SPACE, "--kube-version", "1.34", *templates,
            "--set", "certificates.mode=Provided",
        ).stdout  # fmt: skip
        for document in yaml.safe_load_all(rendered):
            if document["metadata"]["name"] in ROLES and document["kind"] != "Deployment":
                made.append((document["kind"], document["metadata"]["name"]))
                kubectl("apply", "-f", "-", stdin=json.dumps(document))
        yield cluster
    finally:
        for kind, name in made:
            kubectl("-n", SPACE, "delete", kind, name, "--ignore-not-found")
        kubectl("delete", "clustercarbontarget", "all", "--ignore-not-found")
        kubectl("delete", "namespace", SPACE, "--wait=false")


def a_target(kind: str, name: str, **change: object) -> str:
    metadata = {"name": name} | ({"namespace": SPACE} if kind == "CarbonTarget" else {})
    spec: dict[str, Any] = {
        "unit": {"name": "token", "per": 1000, "source": {"preset": "vLLMOutputTokens"}},
        "window": "Day",
        "baseline": {"start": "2026-11-01T00:00:00Z", "end": "2026-11-02T00:00:00Z"},
        "target": {"reduction": 20, "by": "2026-12-02T00:00:00Z"},
    }
    made = {"apiVersion": "carbonbudget.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec | change}
    return json.dumps(made)


def as_controller(cluster: Cluster, directory: Path) -> Credentials:
    config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json").stdout)["clusters"][0]["cluster"]
    ca = directory / "ca.crt"
    ca.write_bytes(base64.b64decode(config["certificate-authority-data"]))
    token = cluster.kubectl("-n", SPACE, "create", "token", ACCOUNT).stdout.strip()
    return Credentials(config["server"], lambda: token, str(ca))


async def play(credentials: Credentials, server: PlayedServer, days: list[str], targets: int) -> None:
    """Watch as the controller does, and evaluate once for each day of data."""
    client, store = KubeClient.connect(credentials), TargetStore()
    now = [0.0]
    loop = TargetLoop(client, server, store, Namespaces(), TargetMetrics(CollectorRegistry()), now=lambda: now[0])
    watching = asyncio.create_task(store.run(client))
    try:
        async with asyncio.timeout(60):
            while not store.listed() or len(store.snapshot()) < targets:
                store.changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(store.changed.wait(), 0.2)
            for day in days:
                server.through, now[0] = at(day), at(day) + 60.0
                await loop.evaluate()
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await client.close()


def test_people_read_what_the_controller_wrote_in_columns_events_and_conditions(chart: Cluster, tmp_path: Path) -> None:
    kubectl = chart.kubectl
    kubectl("apply", "-f", "-", stdin=a_target("CarbonTarget", "chatbot"))
    kubectl("apply", "-f", "-", stdin=a_target("CarbonTarget", "stated", baseline={"value": "42g"}))
    kubectl("apply", "-f", "-", stdin=a_target("ClusterCarbonTarget", "all", basis="Efficiency"))
    server = PlayedServer(grams={0: 100, at("2026-11-02"): 93}, energy_j=100)
    credentials = as_controller(chart, tmp_path)
    asyncio.run(play(credentials, server, ["2026-11-02", "2026-11-02T01:00", "2026-11-17"], 3))
    rows = [line.split() for line in kubectl("-n", SPACE, "get", "ct").stdout.splitlines()]
    assert rows[1][:8] == ["chatbot", "token", "1000", "93g", "90g", "100g", "Behind", "2026-12-02T00:00:00Z"]
    assert rows[2][:5] == ["stated", "token", "1000", "93g", "42g"]
    cluster_row = kubectl("get", "cct", "all", "--no-headers").stdout.split()
    assert cluster_row[6] == "Violated"  # the same energy as in the baseline's span
    status = chart.get("-n", SPACE, "ct", "chatbot")["status"]
    assert isinstance(status, dict)
    assert status["message"].startswith("carbon target chatbot: Behind, 93g CO2e per 1,000 token (-7.0 %)")
    assert len(status["history"]) == 12
    assert status["history"][0]["savings"] == {
        "micrograms": 0, "absoluteFallMicrograms": 0, "microjoules": 0,
    }  # fmt: skip
    kubectl("-n", SPACE, "wait", "ct/chatbot", "--for=condition=OnTrack=false", "--timeout=5s")
    events = kubectl("-n", SPACE, "get", "events", "-o", "jsonpath={.items[*].reason}").stdout.split()
    assert sorted(set(events)) == ["BaselineFrozen", "TargetBehind", "TargetViolated"]


def test_a_second_evaluation_of_the_same_hour_writes_nothing(chart: Cluster, tmp_path: Path) -> None:
    """What the API server stores is what was written: no field is dropped, none is given a default."""
    kubectl = chart.kubectl
    kubectl("apply", "-f", "-", stdin=a_target("CarbonTarget", "same"))
    credentials = as_controller(chart, tmp_path)
    server = PlayedServer()
    days = ["2026-11-02", "2026-11-02T01:00", "2026-11-17"]
    asyncio.run(play(credentials, server, days, 1))
    before = chart.get("-n", SPACE, "ct", "same")["metadata"]
    time.sleep(1.1)  # a write would have another time in managedFields
    asyncio.run(play(credentials, server, days[-1:], 1))
    after = chart.get("-n", SPACE, "ct", "same")["metadata"]
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    assert before["resourceVersion"] == after["resourceVersion"]


@pytest.mark.parametrize(
    ("role", "verb", "resource", "allowed"),
    [
        ("carbonbudget-target-editor", "create", "carbontargets.carbonbudget.dev", "yes"),
        ("carbonbudget-target-editor", "patch", "carbontargets.carbonbudget.dev/status", "no"),
        ("carbonbudget-target-editor", "create", "carbonbudgets.carbonbudget.dev", "no"),
        ("edit", "get", "carbontargets.carbonbudget.dev", "yes"),
        ("edit", "create", "carbontargets.carbonbudget.dev", "no"),
        ("admin", "create", "carbontargets.carbonbudget.dev", "no"),
        ("admin", "patch", "carbontargets.carbonbudget.dev/status", "no"),
        ("view", "watch", "carbontransfers.carbonbudget.dev", "yes"),
    ],
)
def test_writing_targets_is_a_role_of_its_own_and_their_status_is_the_controllers(
    chart: Cluster, role: str, verb: str, resource: str, allowed: str
) -> None:
    kubectl = chart.kubectl
    kubectl("-n", SPACE, "create", "rolebinding", "r", f"--clusterrole={role}", "--user=ada")
    resource, _, subresource = resource.partition("/")
    options = (f"--subresource={subresource}",) if subresource else ()
    try:
        for _ in range(50):  # the aggregation takes a moment
            said = kubectl("-n", SPACE, "auth", "can-i", verb, resource, *options, "--as=ada", check=False).stdout
            if said.strip() == allowed:
                break
            time.sleep(0.1)
        assert said.strip() == allowed
    finally:
        kubectl("-n", SPACE, "delete", "rolebinding", "r")
