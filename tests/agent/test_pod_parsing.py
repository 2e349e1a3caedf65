"""What the agent reads from a pod's JSON: requests, labels, controller, and quantities of every kind."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agent.pod_api import a_pod, parse_pod

from carbonbudget_core.node_report import PodController, PodRequests
from carbonbudget_core.pod_requests import parse_quantity


def container(cpu: str, **more: object) -> dict[str, object]:
    return {"resources": {"requests": {"cpu": cpu}}} | more


@pytest.mark.parametrize(
    ("spec", "millicores"),
    [
        ({"containers": [container("100m"), container("0.25")]}, 350),
        ({"containers": [container("100m")], "initContainers": [container("1")]}, 1000),
        ({"containers": [container("1")], "initContainers": [container("200m", restartPolicy="Always")]}, 1200),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("500m", restartPolicy="Always"), container("2")],
            },
            2500,
        ),
        ({"containers": [container("100m")], "overhead": {"cpu": "50m"}}, 150),
        ({"containers": [{"resources": {"limits": {"cpu": "2"}}}]}, 2000),
        ({"containers": [{}]}, 0),
        ({"containers": [container("garbage")]}, 0),
    ],
)
def test_requests_are_what_the_scheduler_counts(spec: dict[str, object], millicores: int) -> None:
    assert parse_pod(a_pod(**spec)).requests.cpu_millicores == millicores


def test_labels_that_a_controller_makes_are_left_out() -> None:
    pod = a_pod()
    pod["metadata"]["labels"] = {"app": "x", "pod-template-hash": "5f", "batch.kubernetes.io/job-name": "j"}
    assert parse_pod(pod).labels == {"app": "x"}


def test_the_controller_is_the_owner_that_says_so() -> None:
    pod = a_pod()
    owner = {"kind": "Job", "name": "train", "uid": "o"}
    pod["metadata"]["ownerReferences"] = [{"kind": "X", "name": "x", "uid": "x"}, owner | {"controller": True}]
    assert parse_pod(pod).controller == PodController("Job", "train", "o")


@pytest.mark.parametrize(
    ("phase", "finished"),
    [("Pending", False), ("Running", False), ("Unknown", False), ("Succeeded", True), ("Failed", True), (None, False)],
)
def test_a_pod_has_finished_when_its_phase_says_so(phase: str | None, finished: bool) -> None:
    assert parse_pod(a_pod() | {"status": {"phase": phase}}).finished is finished
    assert parse_pod(a_pod()).finished is False


def test_requests_of_the_whole_pod_go_before_those_of_its_containers() -> None:
    pod = a_pod()
    pod["spec"] = {
        "resources": {"requests": {"cpu": "4"}},
        "overhead": {"cpu": "250m", "memory": "1Mi"},
        "containers": [{"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}, {}],
    }
    requests = parse_pod(pod).requests
    assert (requests.cpu_millicores, requests.memory_bytes) == (4_250, 2**30 + 2**20)


@pytest.mark.parametrize(
    ("text", "value"), [("100m", "1/10"), ("1.5Gi", "1610612736"), ("2e3", "2000"), ("1k", "1000")]
)
def test_quantities_of_every_kind_are_exact(text: str, value: str) -> None:
    assert str(parse_quantity(text)) == value


def test_every_suffix_of_kubernetes_is_known() -> None:
    suffixes = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
    values = [parse_quantity(f"3{suffix}") for suffix in suffixes]
    decimal = [Fraction(3) * Fraction(10) ** power for power in (-9, -6, -3, 0, 3, 6, 9, 12, 15, 18)]
    assert values == [*decimal, *(Fraction(3 * 1024**power) for power in range(1, 7))]


@pytest.mark.parametrize(
    "text", ["", "m", "1/0", "1/2", "1_0", "1e999999999", "1e-999999999", "9" * 5000, " 1", "1 ", "1e", "0x1", "NaN",
             "1KiB", "\u0661", "--1", "1ki"]
)  # fmt: skip
def test_what_is_no_quantity_is_refused_at_once(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        parse_quantity(text)


@given(st.text("0123456789.eE+-numkKMGTPi/_ ", max_size=60))
def test_any_text_is_a_quantity_of_a_size_that_can_be_held_or_refused(text: str) -> None:
    try:
        value = parse_quantity(text)
    except ValueError:
        return
    assert abs(value) < 10**160


def test_a_tenants_request_that_no_node_has_costs_no_window() -> None:
    """A pod may name its node itself, and so reach the agent without a scheduler having looked at it."""
    spec = {"containers": [{"resources": {"requests": {"cpu": "9E", "memory": "1e99", "nvidia.com/gpu": "1e999999"}}}]}
    assert parse_pod(a_pod(**spec)).requests == PodRequests(0, 0, 0)


@pytest.mark.parametrize("value", [{}, {"metadata": None}, {"metadata": {"uid": 5, "name": "x", "namespace": "y"}}])
def test_what_is_no_pod_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="a pod has a uid"):
        parse_pod(value)
