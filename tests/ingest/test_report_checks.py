"""What a report may hold at most, whatever else it says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.ledger.reports import HOUR, a_report

from carbonbudget_core.node_report import Allocatable, DomainUse, NodeInfo, NodeReport
from carbonbudget_core.node_report_json import encode_report
from carbonbudget_operator.ingest.node_report_body import parse_report
from carbonbudget_operator.ingest.refusal import Refusal
from carbonbudget_operator.ingest.report_checks import check_report_is_possible


def taken(report: NodeReport) -> None:
    check_report_is_possible(report, "default", 20_000, HOUR + 120)


def test_a_report_names_four_thousand_pods_and_no_more() -> None:
    taken(a_report(pods={f"p{i}": 0 for i in range(4_000)}))
    with pytest.raises(Refusal, match="4001 pods, 4000 are allowed") as refusal:
        taken(a_report(pods={f"p{i}": 0 for i in range(4_001)}))
    assert (refusal.value.status, refusal.value.kind) == (413, "too_large")


def test_a_report_names_256_domains_and_no_more() -> None:
    domains = tuple(DomainUse(f"sensor:{i}", "hwmon", "board", 60_000, 0, 0, 0, 0) for i in range(257))
    taken(replace(a_report(pods={}), domains=domains[:256]))
    with pytest.raises(Refusal, match="257 domains, 256 are allowed"):
        taken(replace(a_report(pods={}), domains=domains))


IMPOSSIBLE = 2**46 + 1


@pytest.mark.parametrize(
    "info",
    [
        NodeInfo(threads=8_193),
        NodeInfo(memory_bytes=IMPOSSIBLE),
        NodeInfo(allocatable=Allocatable(gpus=10_000)),
        NodeInfo(allocatable=Allocatable(cpu_millicores=2**60)),
        NodeInfo(allocatable=Allocatable(memory_bytes=2**60)),
    ],
)
def test_a_node_that_no_machine_can_be_is_refused(info: NodeInfo) -> None:
    with pytest.raises(Refusal, match="a machine can have") as refusal:
        taken(replace(a_report(), node_info=info))
    assert (refusal.value.status, refusal.value.kind) == (422, "impossible")


def test_a_machine_has_at_most_64_gpus() -> None:
    domains = tuple(DomainUse(f"gpu:{i}", "nvml", "board", 60_000, 0, 0, 0, 0) for i in range(65))
    taken(replace(a_report(pods={}), domains=domains[:64]))
    with pytest.raises(Refusal, match="65 GPUs"):
        taken(replace(a_report(pods={}), domains=domains))


def test_pods_together_use_no_more_than_a_machine_has() -> None:
    """Each for itself would pass: four thousand of them would not be a machine."""
    half = 8_192_000 * 60_000 // 2
    pods = a_report(pods={f"p{i}": 0 for i in range(3)}).pods
    taken(replace(a_report(), domains=(), pods=tuple(replace(pod, cpu_us=half, energy_uj={}) for pod in pods[:2])))
    with pytest.raises(Refusal, match="cannot be"):
        taken(replace(a_report(), domains=(), pods=tuple(replace(pod, cpu_us=half, energy_uj={}) for pod in pods)))


NAMES = {
    "namespace": ["../../x", "team_a", "Team", "-a", "a-", "a" * 64, "__idle__", "a/b", "a.b", "\u0430pp", "a\n"],
    "name": ["../x", "a/b", "-a", "a..b", "a" * 254, "a b", "A", "a\u00e9"],
    "uid": ["a b", "../x", "a/b", "-a", "a" * 129, "\u00e9"],
    "labels": [
        {"": "x"}, {"a/b/c": "x"}, {"-a": "x"}, {"A/b": "x"}, {"a" * 64: "x"}, {"a/": "x"}, {"/a": "x"},
        {"a": "x" * 64},
        {"a": "x y"}, {"a": "x/y"}, {"a": "-x"}, {"a": "\u00e9"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in NAMES.items() for value in values])
def test_a_name_that_kubernetes_does_not_allow_is_refused(field: str, value: object) -> None:
    report = a_report()
    with pytest.raises(Refusal, match="cannot be in Kubernetes") as refusal:
        taken(replace(report, pods=(replace(report.pods[0], **{field: value}),)))
    assert (refusal.value.status, refusal.value.kind) == (422, "name")
    assert refusal.value.reason.isprintable()


@pytest.mark.parametrize(
    "change",
    [
        {"namespace": "a", "name": "a", "uid": "0"},
        {"namespace": "a" * 63, "name": ".".join(["a" * 63] * 3), "uid": "2c7e0a9f-4685-440d-86c1-37cd78634b6b"},
        {"name": "kube-apiserver-node-1.example.org", "uid": "1f6b3c0a5d1e4b6f8a7c9d0e2f3a4b5c"},
        {"labels": {"app.kubernetes.io/name": "x", "a": "", "A_b.c": "X.y_z", "x" * 63: "x" * 63}},
        {"labels": {f"{'a.' * 126}a/b": "1"}},
    ],
)
def test_a_name_that_kubernetes_allows_is_taken(change: dict[str, object]) -> None:
    report = a_report()
    taken(replace(report, pods=(replace(report.pods[0], **change),)))


@pytest.mark.parametrize("change", [{"part": 2**60}, {"part": 1_001}])
def test_a_window_has_no_more_parts_than_an_agent_can_restart(change: dict[str, int]) -> None:
    taken(a_report(part=1_000))
    with pytest.raises(Refusal, match="has a part that cannot be"):
        taken(replace(a_report(), **change))


@pytest.mark.parametrize("text", ["\x1b[31m", "a\nb", "\u202egnp", "\u2028", "\u200b"])
@pytest.mark.parametrize("where", ["namespace", "name", "uid", "labels", "controller", "boot_id", "domain", "region"])
def test_no_text_of_a_report_holds_what_acts_or_deceives(where: str, text: str) -> None:
    value = json.loads(encode_report(replace(a_report(), node_info=NodeInfo(region="r"))))
    pod = value["pods"][0]
    pod["controller"] = {"kind": "Job", "name": "j", "uid": "u"}
    if where == "labels":
        pod["labels"] = {"app": text}
    elif where == "controller":
        pod["controller"]["name"] = text
    elif where == "domain":
        value["domains"][0]["name"], pod["energy_uj"] = text, {text: 300}
    elif where in pod:
        pod[where] = text
    else:
        (value if where in value else value["node_info"])[where] = text
    with pytest.raises(Refusal):
        taken(parse_report(json.dumps(value).encode())[0])
