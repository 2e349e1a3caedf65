"""What is known of pods, and from when on it is all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from carbonbudget_operator.cluster.pods import PodIndex

UIDS = [f"2c7e0a9f-4685-440d-86c1-37cd78634b{n:02x}" for n in range(100)]
HASH = "1f6b3c0a5d1e4b6f8a7c9d0e2f3a4b5c"


@dataclass
class Clock:
    at: int = 1_000_000


def a_pod(number: int, node: str = "node-1", **metadata: object) -> dict[str, object]:
    its = {"uid": UIDS[number], "namespace": "team-a", "name": f"pod-{number}"} | metadata
    return {"metadata": its, "cells": {"Node": node}}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pods(clock: Clock) -> PodIndex:
    return PodIndex(None, CollectorRegistry(), now=lambda: clock.at, max_pods=5)  # type: ignore[arg-type] # asks nobody


def listed(pods: PodIndex, *items: dict[str, object]) -> None:
    pods.apply("LISTING", None)
    for item in items:
        pods.apply("ADDED", item)
    pods.apply("LISTED", None)


def test_a_pod_is_known_by_its_uid_with_its_place(pods: PodIndex) -> None:
    listed(pods, a_pod(1), a_pod(2, "node-2"))
    assert pods.place(UIDS[1]) == "node-1/team-a/pod-1"
    assert pods.place(UIDS[2]) == "node-2/team-a/pod-2"
    assert [pods.place(uid) for uid in (UIDS[3], "", "pod-1", "zz", UIDS[1][:-1], "\u0661" * 32)] == [None] * 6


@pytest.mark.parametrize("node", ["<none>", ""])
def test_a_pod_that_runs_nowhere_yet_is_known_once_it_does(pods: PodIndex, node: str) -> None:
    listed(pods, a_pod(1, node))
    assert pods.place(UIDS[1]) is None
    pods.apply("MODIFIED", a_pod(1))
    assert pods.place(UIDS[1]) == "node-1/team-a/pod-1"


def test_a_pod_that_is_gone_stays_known_for_as_long_as_a_report_of_it_may_come(pods: PodIndex, clock: Clock) -> None:
    listed(pods, a_pod(1), a_pod(2))
    pods.apply("DELETED", a_pod(1))
    clock.at += 7 * 86_400
    listed(pods, a_pod(2))
    assert pods.place(UIDS[1]) is not None
    clock.at += 2 * 86_400
    listed(pods, a_pod(2))
    assert pods.place(UIDS[1]) is None
    assert pods.place(UIDS[2]) is not None


def test_a_pod_whose_end_was_missed_is_gone_since_the_list_that_lacks_it(pods: PodIndex, clock: Clock) -> None:
    listed(pods, a_pod(1))
    clock.at += 60
    listed(pods)
    assert pods.place(UIDS[1]) is not None
    clock.at += 9 * 86_400
    listed(pods)
    assert pods.place(UIDS[1]) is None


def test_all_is_known_from_some_time_after_the_list_on(pods: PodIndex, clock: Clock) -> None:
    assert not pods.knows_all(clock.at + 10_000)
    pods.apply("LISTING", None)
    assert not pods.knows_all(clock.at + 10_000)
    pods.apply("LISTED", None)
    assert pods.knows_all(clock.at + 600)
    assert not pods.knows_all(clock.at + 599)  # one that was deleted before the list may have run on
    pods.apply("LISTING", None)  # the watch was interrupted: what came and went meanwhile is not known
    assert not pods.knows_all(clock.at + 600)
    clock.at += 3_600
    pods.apply("LISTED", None)
    assert not pods.knows_all(clock.at)


def test_beyond_the_bound_the_first_to_go_are_forgotten_and_their_time_cannot_be_verified(
    pods: PodIndex, clock: Clock
) -> None:
    listed(pods, *(a_pod(n) for n in range(5)))
    for number in range(3):
        clock.at += 1_000
        pods.apply("DELETED", a_pod(number))
    began = clock.at
    for number in range(5, 7):
        pods.apply("ADDED", a_pod(number))
    pods._prune(clock.at)
    assert [pods.place(UIDS[n]) is not None for n in range(7)] == [False, False, True, True, True, True, True]
    assert pods.knows_all(began - 1_000 + 600)
    assert not pods.knows_all(began - 1_000 + 599)


def test_pods_that_run_are_never_forgotten(pods: PodIndex, clock: Clock) -> None:
    listed(pods, *(a_pod(n) for n in range(50)))
    clock.at += 30 * 86_400
    pods._prune(clock.at)
    assert all(pods.place(UIDS[n]) for n in range(50))


def a_mirror(number: int, node: str = "node-1", status: str = "Running", **owner: object) -> dict[str, object]:
    owners = [{"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "n", "controller": True} | owner]
    pod = a_pod(number, node, annotations={"kubernetes.io/config.mirror": HASH}, ownerReferences=owners)
    pod["cells"] = {"Node": node, "Status": status}
    return pod


def test_a_static_pod_is_known_by_its_objects_uid_and_by_the_kubelets(pods: PodIndex) -> None:
    listed(pods, a_mirror(1))
    assert pods.place(UIDS[1]) == pods.place(HASH) == "node-1/team-a/pod-1"


@pytest.mark.parametrize(
    "change",
    [{"name": "node-2"}, {"kind": "ReplicaSet"}, {"apiVersion": "apps/v1"}, {"controller": False},
    {"status": "Pending"}, {"status": "Terminating"}],
)  # fmt: skip
def test_who_is_no_mirror_pod_of_its_node_takes_no_other_uid(pods: PodIndex, change: dict[str, Any]) -> None:
    listed(pods, a_mirror(1, **change))
    assert pods.place(HASH) is None


def test_a_forged_mirror_pod_that_is_listed_first_does_not_take_a_static_pods_uid(pods: PodIndex) -> None:
    listed(pods, a_mirror(1, status="Terminating"), a_mirror(2))
    assert pods.place(HASH) == "node-1/team-a/pod-2"


def test_a_forged_mirror_pod_does_not_take_another_pods_uid(pods: PodIndex) -> None:
    forged = a_mirror(2)
    forged["metadata"]["annotations"]["kubernetes.io/config.mirror"] = UIDS[1]  # type: ignore[index] # a mapping
    listed(pods, a_pod(1), forged)
    assert pods.place(UIDS[1]) == "node-1/team-a/pod-1"


def test_pods_on_some_nodes_are_counted_by_namespace_and_each_once(pods: PodIndex) -> None:
    other = {"uid": UIDS[3], "namespace": "team-b", "name": "pod-3"}
    listed(
        pods,
        a_pod(1),
        a_pod(2, "node-2"),
        {"metadata": other, "cells": {"Node": "node-2"}},
        a_mirror(4, "node-2", name="node-2"),
    )
    assert pods.place(HASH) is not None
    assert pods.count_on({"node-2"}) == {"team-a": 2, "team-b": 1}
    pods.apply("DELETED", a_pod(2, "node-2"))
    assert pods.count_on({"node-2", "node-9"}) == {"team-a": 1, "team-b": 1}
    assert pods.count_on(set()) == {}
