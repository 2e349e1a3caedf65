"""A report counts as far as the API server agrees with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from tests.ledger.reports import HOUR, a_report

from carbonbudget_core.node_report import Allocatable, NodeInfo, NodeReport, PodRequests, check_report
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.report_verifier import ReportVerifier

END = HOUR + 60


@dataclass
class Node:
    info: NodeInfo
    capacity: Allocatable


@dataclass
class Cluster:
    """Nodes and pods as the API server has them."""

    nodes: dict[str, Node] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    complete: bool = True
    current_at: float = END + 1
    doubted: list[str] = field(default_factory=list)

    def find(self, node: str) -> Node | None:
        return self.nodes.get(node)

    def doubt(self, node: str) -> None:
        self.doubted.append(node)

    def knows_all(self, since: int) -> bool:
        return self.complete and since >= HOUR

    def place(self, uid: str) -> str | None:
        return self.places.get(uid)

    def labels(self, uid: str, namespace: str, reported: Mapping[str, str]) -> Mapping[str, str]:
        return reported


class Checked:
    def __init__(self, cluster: Cluster) -> None:
        self.registry = CollectorRegistry()
        self._verifier = ReportVerifier(cluster, cluster, self.registry)

    def __call__(self, report: NodeReport, now: int = END + 5) -> NodeReport:
        found = self._verifier.verify(report, now)
        check_report(found)  # whatever was changed, it conserves
        return found

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"carbonbudget_ingest_{name}_total", labels) or 0.0


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def checked(cluster: Cluster) -> Checked:
    return Checked(cluster)


def report_of(pods: Mapping[str, int], **more: int) -> NodeReport:
    return a_report(pods=dict(pods), **more)


def test_a_pod_that_the_api_server_has_there_is_taken_as_it_is(cluster: Cluster, checked: Checked) -> None:
    cluster.places = {"a": "node-1/team-a/a", "b": "node-1/team-a/b"}
    report = report_of({"a": 300, "b": 20})
    assert checked(report) is report


def test_a_pod_that_never_was_there_counts_as_unseen(
    cluster: Cluster, checked: Checked, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.places = {"a": "node-1/team-a/a", "elsewhere": "node-2/team-a/elsewhere"}
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = checked(report_of({"a": 300, "made-up": 500, "elsewhere": 7}))
    assert [pod.uid for pod in found.pods] == ["a"]
    assert found.domains[0].unseen_uj == 10 + 507
    assert checked.count("pods_compared", outcome="unseen") == 4
    assert len(caplog.records) == 1


def test_a_pod_counts_for_its_own_namespace_whatever_the_report_says(cluster: Cluster, checked: Checked) -> None:
    cluster.places = {"a": "node-1/team-a/web"}
    found = checked(replace(report_of({"a": 300}), pods=(replace(report_of({"a": 300}).pods[0], namespace="victim"),)))
    assert [(pod.namespace, pod.name) for pod in found.pods] == [("team-a", "web")]
    assert checked.count("pods_compared", outcome="renamed") == 1


@pytest.mark.parametrize("change", [{"complete": False}, {"current_at": END}])
def test_a_pod_that_nobody_can_verify_is_taken_and_counted(
    cluster: Cluster, checked: Checked, change: dict[str, float]
) -> None:
    for name, value in change.items():
        setattr(cluster, name, value)
    report = report_of({"new": 300})
    assert checked(report, now=END + 200) is report
    assert checked.count("pods_compared", outcome="unverified") == 1


def test_a_gap_that_began_before_the_watch_cannot_be_verified(cluster: Cluster, checked: Checked) -> None:
    report = report_of({"new": 300}, since=HOUR - 3_600)
    assert checked(report) is report
    assert checked.count("pods_compared", outcome="unverified") == 1


def test_a_pod_that_the_watch_may_still_tell_of_is_asked_for_again(cluster: Cluster, checked: Checked) -> None:
    """Else who sends at once would always be before the watch's next bookmark."""
    cluster.current_at = END - 10
    with pytest.raises(Refusal) as refusal:
        checked(report_of({"new": 300}))
    assert (refusal.value.status, refusal.value.kind) == (503, "pod_unknown")
    assert refusal.value.retry_after_s
    cluster.current_at = END + 20
    assert checked(report_of({"new": 300})).pods == ()


def test_of_a_node_the_api_servers_word_stands(
    cluster: Cluster, checked: Checked, caplog: pytest.LogCaptureFixture
) -> None:
    own = NodeInfo("aws:///i-1", "eu-west-1", "eu-west-1a", "m7i", "", 2, 10**9, Allocatable(1_900, 9 * 10**8, 0))
    cluster.nodes["node-1"] = Node(own, Allocatable(2_000, 10**9, 0))
    claimed = NodeInfo("", "pl", "", "", "Xeon", 2, 10**9, Allocatable(2_000, 10**9, 4_000))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = checked(replace(report_of({}), node_info=claimed))
    assert found.node_info == replace(own, cpu_model="Xeon")
    assert checked.count("nodes_corrected", what="node_info") == 2
    assert cluster.doubted == ["node-1"] * 2
    assert len(caplog.records) == 1


def test_an_agent_that_does_not_know_its_node_object_yet_is_no_liar(cluster: Cluster, checked: Checked) -> None:
    own = NodeInfo("aws:///i-1", "eu-west-1", "eu-west-1a", "m7i", "", 2, 10**9, Allocatable(1_900, 9 * 10**8, 1))
    cluster.nodes["node-1"] = Node(own, Allocatable(2_000, 10**9, 1))
    fresh = NodeInfo(threads=2, memory_bytes=10**9, allocatable=Allocatable(2_000, 10**9, 0))
    assert checked(replace(report_of({}), node_info=fresh)).node_info == own
    assert checked.count("nodes_corrected", what="node_info") == 0


@given(
    st.lists(st.tuples(*(st.integers(0, 2**60) for _ in range(6))), min_size=1, max_size=8),
    st.integers(1, 64_000),
    st.integers(1, 2**40),
)
def test_pods_use_and_reserve_no_more_than_their_node_has(
    figures: list[tuple[int, ...]], millicores: int, memory_bytes: int
) -> None:
    cluster = Cluster(nodes={"node-1": Node(NodeInfo(), Allocatable(millicores, memory_bytes, 2))}, complete=False)
    report = report_of({f"p{n}": n for n in range(len(figures))})
    pods = tuple(
        replace(pod, cpu_us=cpu, memory_byte_seconds=memory, gpu_ms=gpu, requests=PodRequests(*requests))
        for pod, (cpu, memory, gpu, *requests) in zip(report.pods, figures, strict=True)
    )
    found = Checked(cluster)(replace(report, pods=pods), now=END + 200)
    assert sum(pod.cpu_us for pod in found.pods) <= millicores * 70_000
    assert sum(pod.memory_byte_seconds for pod in found.pods) <= memory_bytes * 70
    assert sum(pod.gpu_ms for pod in found.pods) <= 2 * 70_000
    for pod in found.pods:
        assert pod.requests.cpu_millicores <= millicores
        assert pod.requests.memory_bytes <= memory_bytes
        assert pod.requests.gpus <= 2
    assert [pod.energy_uj for pod in found.pods] == [pod.energy_uj for pod in report.pods]


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 10**9)), st.sets(st.sampled_from("abcdefgh")))
def test_what_is_left_out_of_a_report_stays_in_its_domains(pods: dict[str, int], real: set[str]) -> None:
    cluster = Cluster(places={uid: f"node-1/team-a/{uid}" for uid in real})
    report = report_of(pods)
    found = Checked(cluster)(report)
    assert {pod.uid for pod in found.pods} == real & pods.keys()
    assert [domain.measured_uj for domain in found.domains] == [domain.measured_uj for domain in report.domains]


def test_pods_that_ended_long_ago_are_not_charged_because_they_were_right_once(
    cluster: Cluster, checked: Checked
) -> None:
    cluster.places = {"a": "node-1/team-a/a"}
    report = report_of({"a": 300})
    assert checked(report) is report
    cluster.places = {}  # eight days after it ended it is forgotten
    assert checked(report, now=END + 3_605).pods == ()


_PODS = st.dictionaries(st.sampled_from(["p", "q"]), st.sampled_from(["a", "b"]))


@given(st.lists(st.tuples(st.sampled_from(["node-1", "node-2"]), _PODS), max_size=8))
def test_what_was_right_a_minute_before_is_compared_as_at_first(reports: list[tuple[str, dict[str, str]]]) -> None:
    """A list of pods that was good is remembered by its node: no other list, and no other node, passes for it."""
    cluster = Cluster(places={"p": "node-1/a/p", "q": "node-2/b/q"})
    remembers = Checked(cluster)
    for node, pods in reports:
        whole = a_report(HOUR, node, dict.fromkeys(pods, 10) or {"other": 1})
        named = (replace(pod, namespace=pods.get(pod.uid, "a"), name=pod.uid) for pod in whole.pods)
        report = replace(whole, pods=tuple(named))
        assert remembers(report) == Checked(cluster)(report)
