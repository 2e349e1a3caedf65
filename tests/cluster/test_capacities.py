"""What a node has is what its Node object says."""

from __future__ import annotations

import logging

import pytest
from aiohttp import web
from tests.kube.test_client import client_of

from carbonbudget_core.node_report import Allocatable
from carbonbudget_operator.cluster.node_capacities import NodeCapacities, node_object

NODE = {
    "metadata": {
        "name": "n1",
        "labels": {
            "topology.kubernetes.io/region": "eu-west-1", "topology.kubernetes.io/zone": "eu-west-1a",
            "node.kubernetes.io/instance-type": "m7i.2xlarge",
        },
    },
    "spec": {"providerID": "aws:///eu-west-1a/i-1"},
    "status": {
        "capacity": {"cpu": "8", "memory": "16384Ki", "nvidia.com/gpu": "2", "nvidia.com/mig-1g.5gb": "7"},
        "allocatable": {"cpu": "7910m", "memory": "16000Ki", "nvidia.com/gpu": "1"},
    },
}  # fmt: skip


def test_a_node_object_says_where_the_node_is_and_what_it_has() -> None:
    found = node_object(NODE, 5.0)  # type: ignore[arg-type] # JSON
    assert found is not None
    assert found.capacity == Allocatable(8_000, 2**24, 9)
    info = found.info
    assert (info.provider_id, info.region, info.zone) == ("aws:///eu-west-1a/i-1", "eu-west-1", "eu-west-1a")
    assert (info.instance_type, info.threads, info.memory_bytes) == ("m7i.2xlarge", 8, 2**24)
    assert info.allocatable == Allocatable(7_910, 16_384_000, 1)


@pytest.mark.parametrize(
    "capacity",
    [
        {},
        {"cpu": "8"},
        {"cpu": "x", "memory": "1Gi"},
        {"cpu": 8, "memory": "1Gi"},
        None,
        {"cpu": "8", "memory": "99999Pi"},
    ],
)
def test_a_node_that_does_not_say_what_it_has_is_not_known(capacity: object) -> None:
    assert node_object({"metadata": {}, "status": {"capacity": capacity}}, 5.0) is None


async def test_a_node_is_asked_for_once_an_hour_and_sooner_where_it_is_in_doubt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[str] = []
    status = 200

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response(NODE if status == 200 else {"message": "not today"}, status=status)

    now = 1_000.0
    async with client_of(answer) as client:
        capacities = NodeCapacities(client, now=lambda: now)
        assert capacities.find("n1") is None
        await capacities.step()
        assert capacities.find("n1") is not None
        for after, expected in ((0, 1), (30, 1), (61, 2)):
            now = 1_000.0 + after
            capacities.doubt("n1")
            await capacities.step()
            assert asked == ["/api/v1/nodes/n1"] * expected
        now, status = 5_000.0, 403
        known = capacities.find("n1")
        with caplog.at_level(logging.WARNING):
            for _ in range(2):
                capacities.find("n1")
                await capacities.step()
        assert capacities.find("n1") is known  # what was known stands
    assert len(caplog.records) == 1
