"""Whose a cgroup is: what the API server and the kubelet wrote decides, and nothing that a tenant can write."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.node import UID_A, UID_B, FakeClock, FakeNode
from tests.agent.running_agent import START, Agent

from carbonbudget_agent.pods.pod_cache import PodCache
from carbonbudget_agent.pods.pod_info import parse_pod
from carbonbudget_agent.work_counters import WorkCounters
from carbonbudget_core.node_report import NodeReport

HASH = "0123456789abcdef0123456789abcdef"
MIRROR_UID = "5b0c1f7e-0000-4000-8000-0000000000ee"
NODE_OWNER = {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "n", "controller": True}
STARTED = {"phase": "Running", "startTime": "2026-11-29T08:00:00Z"}


def a_pod(uid: str, name: str, namespace: str = "team-a", **metadata: object) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "name": name, "namespace": namespace} | metadata, "status": STARTED}


def a_mirror_pod(config_hash: str = HASH, uid: str = MIRROR_UID, name: str = "static-node-1") -> dict[str, Any]:
    """As a kubelet makes it: kubernetes/pkg/kubelet/pod/mirror_client.go."""
    annotations = {f"kubernetes.io/config.{key}": config_hash for key in ("hash", "mirror")}
    return a_pod(uid, name, "kube-system", annotations=annotations, ownerReferences=[NODE_OWNER])


def owners(*pods: dict[str, Any], counts: WorkCounters | None = None) -> dict[str, str]:
    """The pod's name of each cgroup."""
    known = PodCache(counts or WorkCounters())
    known.replace((parse_pod(pod, "node-1") for pod in pods), now=0.0)
    return {uid: pod.name for uid, pod in known.snapshot().items()}


def measure(tmp_path: Path, pods: Iterable[dict[str, Any]], burnt: Mapping[str, int]) -> NodeReport:
    """A minute in which these cgroups used that much CPU time, in microseconds."""
    node = FakeNode(tmp_path)
    for uid in burnt:
        node.burn(1_000, uid)
    clock = FakeClock(START)
    agent = Agent(node, clock)
    node.write("pods.json", json.dumps({"items": list(pods)}))
    for uid, cpu_us in burnt.items():
        node.burn(cpu_us, uid)
    report = agent.tick(60)
    assert report is not None
    return report


@pytest.mark.parametrize("config_hash", ["deadbeef", HASH, UID_A, "", "kubepods"])
def test_a_config_hash_that_a_tenant_wrote_changes_nothing(tmp_path: Path, config_hash: str) -> None:
    forged = a_pod(UID_B, "b", "team-b", annotations={"kubernetes.io/config.hash": config_hash})
    report = measure(tmp_path, [a_pod(UID_A, "a"), forged], {UID_A: 2_000_000, UID_B: 3_000_000})
    assert {pod.name: pod.cpu_us for pod in report.pods} == {"a": 2_000_000, "b": 3_000_000}
    assert report.domains[0].unseen_uj == 0


def test_a_static_pods_energy_is_its_mirror_pods(tmp_path: Path) -> None:
    report = measure(tmp_path, [a_mirror_pod(), a_pod(UID_A, "a")], {UID_A: 1_000_000, HASH: 2_000_000})
    assert {pod.uid: pod.cpu_us for pod in report.pods} == {MIRROR_UID: 2_000_000, UID_A: 1_000_000}


def lacking(pod: dict[str, Any], what: str) -> dict[str, Any]:
    """The mirror pod without one of the things that make it one."""
    metadata, status = dict(pod["metadata"]), dict(pod["status"])
    annotations, owner = dict(metadata["annotations"]), dict(NODE_OWNER)
    match what:
        case "mirror annotation":
            del annotations["kubernetes.io/config.mirror"]
        case "owner":
            owner = {}
        case "status":
            status = {"phase": "Pending"}
        case "life":
            metadata["deletionTimestamp"] = "2026-11-29T08:00:01Z"
        case "controller":
            owner["controller"] = False
        case _:
            key, _, value = what.partition("=")
            owner[key] = value
    return {"metadata": metadata | {"annotations": annotations, "ownerReferences": [owner]}, "status": status}


@pytest.mark.parametrize(
    "what",
    ["mirror annotation", "owner", "status", "life", "controller", "kind=Job", "name=node-2", "apiVersion=apps/v1"],
)
def test_a_mirror_pod_that_lacks_anything_is_known_by_its_own_uid_alone(what: str) -> None:
    assert owners(a_mirror_pod()) == {HASH: "static-node-1", MIRROR_UID: "static-node-1"}
    assert owners(lacking(a_mirror_pod(), what)) == {MIRROR_UID: "static-node-1"}


@pytest.mark.parametrize("config_hash", ["", "other", UID_A])
def test_a_config_hash_that_was_changed_afterwards_moves_no_static_pod(config_hash: str) -> None:
    """`edit` in the mirror pod's namespace may change that annotation; `config.mirror` nobody may."""
    pod = a_mirror_pod()
    pod["metadata"]["annotations"]["kubernetes.io/config.hash"] = config_hash
    assert owners(pod) == {HASH: "static-node-1", MIRROR_UID: "static-node-1"}


def test_a_pod_whose_uid_is_the_hash_keeps_its_cgroup_and_it_is_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    counts = WorkCounters()
    known = PodCache(counts)
    for _ in range(3):
        pods = [a_mirror_pod(UID_A, name="thief"), a_pod(UID_A, "victim")]
        known.replace((parse_pod(pod, "node-1") for pod in pods), now=0.0)
        assert known.snapshot()[UID_A].name == "victim"
    assert (counts.pods_disputed, len(caplog.records)) == (1, 1)
    assert "claimed by more than one pod" in caplog.text


def test_a_pod_that_was_deleted_keeps_its_cgroup_too() -> None:
    """Its owner deletes it by force, so that it runs on, and has a mirror pod of another namespace take its place."""
    known = PodCache(WorkCounters())
    known.put(parse_pod(a_pod(UID_A, "victim"), "node-1"))
    known.remove(UID_A, now=0.0)
    known.put(parse_pod(a_mirror_pod(UID_A, name="thief"), "node-1"))
    assert known.snapshot()[UID_A].name == "victim"


def test_a_hash_that_two_mirror_pods_have_belongs_to_neither() -> None:
    counts = WorkCounters()
    pods = [a_mirror_pod(), a_mirror_pod(uid=UID_B, name="thief")]
    assert owners(*pods, counts=counts) == {MIRROR_UID: "static-node-1", UID_B: "thief"}
    assert counts.pods_disputed == 1


def test_a_static_pod_that_is_made_anew_under_its_hash_is_the_new_mirror_pods() -> None:
    known = PodCache(WorkCounters())
    known.put(parse_pod(a_mirror_pod(name="former"), "node-1"))
    known.remove(MIRROR_UID, now=0.0)
    assert known.snapshot()[HASH].name == "former"
    known.put(parse_pod(a_mirror_pod(uid=UID_B, name="next"), "node-1"))
    assert known.snapshot()[HASH].name == "next"


def test_a_mirror_pod_whose_own_uid_has_a_cgroup_too_pays_for_both(tmp_path: Path) -> None:
    report = measure(tmp_path, [a_mirror_pod(uid=UID_A)], {UID_A: 1_000_000, HASH: 2_000_000})
    assert [(pod.uid, pod.cpu_us) for pod in report.pods] == [(UID_A, 3_000_000)]
    assert report.domains[0].unseen_uj == 0


UIDS = [UID_A, UID_B, MIRROR_UID]
ANNOTATIONS = st.dictionaries(
    st.sampled_from(["kubernetes.io/config.hash", "kubernetes.io/config.mirror", "kubernetes.io/config.source"]),
    st.sampled_from([*UIDS, HASH, "", "x"]),
)
FORGED = st.builds(
    lambda uid, annotations, owners, deleted, started: {
        "metadata": {"uid": uid, "name": uid, "namespace": "team", "annotations": annotations}
        | {"ownerReferences": owners}
        | ({"deletionTimestamp": "now"} if deleted else {}),
        "status": STARTED if started else {"phase": "Pending"},
    },
    st.sampled_from(UIDS),
    ANNOTATIONS,
    st.lists(st.sampled_from([NODE_OWNER, NODE_OWNER | {"name": "node-2"}, {"kind": "Job", "controller": True}])),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(FORGED, max_size=6, unique_by=lambda pod: pod["metadata"]["uid"]))
def test_whatever_pods_claim_each_keeps_the_cgroup_of_its_own_uid(pods: list[dict[str, Any]]) -> None:
    found = owners(*pods)
    for pod in pods:
        assert found[pod["metadata"]["uid"]] == pod["metadata"]["name"]


def test_a_pod_that_runs_on_after_a_deletion_by_force_keeps_its_name_while_its_cgroup_stands() -> None:
    known = PodCache(WorkCounters())
    known.put(parse_pod(a_pod(UID_A, "a"), "node-1"))
    known.remove(UID_A, now=0.0)
    for now in range(0, 7_200, 60):
        known.seen([UID_A], float(now))
        assert known.snapshot()[UID_A].name == "a"
    known.seen([], 7_200.0 + 299)
    assert known.snapshot() == {}


def test_it_keeps_its_name_over_a_restart_of_the_agent_too(tmp_path: Path) -> None:
    node = FakeNode(tmp_path)
    node.burn(1_000, UID_A)
    node.burn(1_000, UID_B)
    clock = FakeClock(START)
    Agent(node, clock).tick(60)
    for _ in range(2):
        agent = Agent(node, clock)
        node.write("pods.json", json.dumps({"items": []}))  # deleted by force
        for _ in range(3):
            node.burn(1_000_000, UID_B)
            report = agent.tick(60)
            assert report is not None
            assert {pod.uid: pod.cpu_us for pod in report.pods}[UID_B] == 1_000_000
