"""When a pod began and ended: as its status says, else as its cgroup shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.agent.node import BURSTABLE, UID_A, UID_B, FakeNode

from carbonbudget_agent.pods.cgroups import CgroupReader
from carbonbudget_agent.pods.pod_info import parse_pod
from carbonbudget_agent.pods.pod_lifetime import life_of
from carbonbudget_agent.sample import PodLifetime

ENDED = {"state": {"terminated": {"finishedAt": "2026-11-29T03:50:00Z"}}}
LATER = {"state": {"terminated": {"finishedAt": "2026-11-29T03:51:00Z"}}}
STARTED = "2026-11-29T03:49:02Z"


@pytest.mark.parametrize(
    ("status", "life"),
    [
        ({"startTime": STARTED}, PodLifetime(1_795_924_142_000)),
        ({"startTime": STARTED, "phase": "Running", "containerStatuses": [ENDED]}, PodLifetime(1_795_924_142_000)),
        (
            {"phase": "Failed", "containerStatuses": [ENDED, LATER, {"state": {"running": {}}}]},
            PodLifetime(None, 1_795_924_260_000),
        ),
        ({"phase": "Succeeded", "containerStatuses": []}, PodLifetime()),
        ({"startTime": "yesterday"}, PodLifetime()),
        ({"startTime": "2026-11-29T03:49:02"}, PodLifetime()),
        (
            {"startTime": 5, "phase": "Failed", "containerStatuses": [5, {"state": 5}, {"state": {"terminated": 5}}]},
            PodLifetime(),
        ),
        ({"startTime": "0001-01-01T00:00:00Z"}, PodLifetime(0)),
        ({}, PodLifetime()),
    ],
)
def test_a_pod_begins_when_the_kubelet_took_it_and_ends_with_its_last_container(
    status: dict[str, object], life: PodLifetime
) -> None:
    assert life_of(status) == life
    metadata = {"uid": "u", "name": "n", "namespace": "t"}
    assert parse_pod({"metadata": metadata, "status": status}).life == life


def test_a_new_pods_cgroup_shows_since_when_it_is_there(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    for uid, second in ((UID_A, 1_000), (UID_B, 2_000)):
        node.burn(1, uid)
        os.utime(node.cgroups / "cpuacct" / BURSTABLE / f"pod{uid}", (second, second))
        if uid == UID_A:
            reader = CgroupReader(node.cgroups)
            assert reader.read().created_ms == {UID_A: 1_000_000}
    reader.peek()  # the second one comes and goes between two readings
    node.remove(UID_B)
    reading = reader.read()
    assert reading.ended.keys() == {UID_B}
    assert reading.created_ms[UID_B] == 2_000_000
    assert reader.read().created_ms == {}
