"""What a real API server tells of pods as tables is what reports are compared with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry
from tests.conftest import Cluster

from carbonbudget_operator.cluster.pods import PodIndex
from carbonbudget_operator.kube.client import KubeClient

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]


def a_pod(name: str, namespace: str) -> str:
    """Without a node: there is no scheduler that would give it one."""
    spec = {"containers": [{"name": "a", "image": "example.org/a"}], "automountServiceAccountToken": False}
    metadata = {"name": name, "namespace": namespace}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the watch sets no event
            await asyncio.sleep(0.05)


async def test_a_pod_is_known_with_its_node_from_its_binding_on(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", cluster.environment["KUBECONFIG"])

    async def kubectl(*arguments: str, stdin: str | None = None) -> str:
        return (await asyncio.to_thread(cluster.kubectl, *arguments, stdin=stdin)).stdout

    async def uid(name: str) -> str:
        return await kubectl("get", "pod", name, "-n", namespace, "-o", "jsonpath={.metadata.uid}")

    async def bind(name: str) -> None:
        target = {"apiVersion": "v1", "kind": "Node", "name": "node-7"}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/binding"
        await kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(binding))

    await kubectl("create", "-f", "-", stdin=a_pod("before", namespace))
    await bind("before")
    client = KubeClient.from_environment()
    pods = PodIndex(client, CollectorRegistry())
    task = asyncio.create_task(pods.run())
    try:
        before = await uid("before")
        await until(lambda: pods.place(before) == f"node-7/{namespace}/before")  # by the list
        await kubectl("create", "-f", "-", stdin=a_pod("after", namespace))
        after = await uid("after")
        assert pods.place(after) is None  # it runs nowhere
        await bind("after")
        await until(lambda: pods.place(after) == f"node-7/{namespace}/after")  # by the watch
        assert pods.count_on({"node-7"}).get(namespace) == 2
        await kubectl("delete", "pod", "after", "-n", namespace, "--force", "--grace-period=0", "--wait=false")
        # By namespace: pods of other tests' namespaces may end meanwhile.
        await until(lambda: pods.count_on({"node-7"}).get(namespace) == 1)
        assert pods.place(after) == f"node-7/{namespace}/after"
    finally:
        task.cancel()
        await client.close()
