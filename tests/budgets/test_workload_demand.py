"""What new work is expected to emit."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_operator.api.budget_spec import EnforceSpec
from carbonbudget_operator.budgets.workload_demand import EmissionRates, PodDemand, duration_s, expected_ug, pod_demand

RATES = EmissionRates(core_hour_ug=5_000_000, gpu_hour_ug=100_000_000)
naturals = st.integers(0, 10**6)


def a_container(restart: str = "", **requests: str) -> dict[str, Any]:
    names = {name.replace("gpu", "nvidia.com/gpu"): value for name, value in requests.items()}
    container: dict[str, Any] = {"name": "c", "resources": {"requests": names}}
    return container | ({"restartPolicy": restart} if restart else {})


def test_it_is_requests_times_pods_times_hours_times_rates() -> None:
    # 2 cores and 4 GPUs, 3 pods, 2 hours: 3 x 2 h x (2 x 5 g + 4 x 100 g)
    assert expected_ug(PodDemand(2000, 4000), 3, 7200, RATES) == 2_460_000_000


@given(naturals, naturals, naturals, naturals)
def test_more_of_anything_never_gives_less(cores: int, gpus: int, pods: int, seconds: int) -> None:
    base = expected_ug(PodDemand(cores, gpus), pods, seconds, RATES)
    assert expected_ug(PodDemand(cores + 1, gpus), pods, seconds, RATES) >= base
    assert expected_ug(PodDemand(cores, gpus + 1), pods, seconds, RATES) >= base
    assert expected_ug(PodDemand(cores, gpus), pods + 1, seconds, RATES) >= base
    assert expected_ug(PodDemand(cores, gpus), pods, seconds + 1, RATES) >= base


@given(naturals, naturals, st.integers(1, 100), st.integers(1, 10**5))
def test_it_is_never_below_the_truth_and_less_than_a_microgram_above(
    cores: int, gpus: int, pods: int, seconds: int
) -> None:
    found = expected_ug(PodDemand(cores, gpus), pods, seconds, RATES)
    exact = pods * seconds * (cores * RATES.core_hour_ug + gpus * RATES.gpu_hour_ug)
    assert 0 <= found * 3_600_000 - exact < 3_600_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3h", 10800),
        ("90m", 5400),
        ("1h30m", 5400),
        ("2d", 172800),
        ("45s", 45),
        (" 1d2h3m4s ", 93784),
        ("1w1d", 691200),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: int) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "3", "three hours", "-3h", "3h 5m", "1.5h", "5m3h", "99999999999h", "\u0661h"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert duration_s(text) is None


@given(st.from_regex(r"[0-9]{0,5}(w|d|h|m|s|)[0-9]{0,3}(d|h|m|s|)[0-9]{0,3}(h|m|s|)", fullmatch=True))
def test_the_rule_of_enforce_grace_takes_what_the_parser_takes(text: str) -> None:
    (rule,) = EnforceSpec.model_json_schema()["properties"]["grace"]["x-kubernetes-validations"]
    pattern = re.search(r"matches\('(.*)'\)", rule["rule"])
    assert pattern is not None
    assert (text != "" and re.fullmatch(pattern[1], text) is not None) == (duration_s(text) is not None)


@pytest.mark.parametrize(
    ("text", "millicores"),
    [("500m", 500), ("2", 2000), ("0.5", 500), ("1.", 1000), (".25", 250), ("1e2", 100_000), ("1k", 1_000_000),
     ("0.0001", 1), ("two", 0), ("-1", 0), ("", 0)],
)  # fmt: skip
def test_quantities_are_kubernetes_own(text: str, millicores: int) -> None:
    assert pod_demand({"containers": [a_container(cpu=text)]}).millicores == millicores


def test_containers_add_up() -> None:
    spec = {"containers": [a_container(cpu="1", gpu="2"), a_container(cpu="500m", gpu="1")]}
    assert pod_demand(spec) == PodDemand(1500, 3000)


def test_an_init_container_counts_where_it_needs_more_than_the_rest() -> None:
    spec = {"containers": [a_container(cpu="1")], "initContainers": [a_container(cpu="4"), a_container(cpu="2")]}
    assert pod_demand(spec).millicores == 4000


def test_a_sidecar_runs_beside_the_rest_and_beside_later_init_containers() -> None:
    sidecar, init = a_container("Always", cpu="1"), a_container(cpu="2")
    assert pod_demand({"containers": [a_container(cpu="500m")], "initContainers": [sidecar]}).millicores == 1500
    assert pod_demand({"containers": [], "initContainers": [sidecar, init]}).millicores == 3000
    assert pod_demand({"containers": [], "initContainers": [init, sidecar]}).millicores == 2000


def test_what_the_pod_itself_requests_stands_for_its_containers_cpu() -> None:
    spec = {"containers": [a_container(cpu="1", gpu="2")], "resources": {"requests": {"cpu": "3"}}}
    assert pod_demand(spec | {"overhead": {"cpu": "250m"}}) == PodDemand(3250, 2000)


def test_a_pods_overhead_and_a_limit_without_a_request_count() -> None:
    limited = {"name": "c", "resources": {"limits": {"cpu": "2", "nvidia.com/gpu": 1}, "requests": {"cpu": "1"}}}
    assert pod_demand({"containers": [limited], "overhead": {"cpu": "250m"}}) == PodDemand(1250, 1000)


def test_a_mig_device_is_its_share_of_a_gpu() -> None:
    resources = {"requests": {"nvidia.com/mig-3g.40gb": "2", "nvidia.com/mig-1g.10gb.me": 1, "amd.com/gpu": "1"}}
    assert pod_demand({"containers": [{"resources": resources}]}).milligpus == 2000 * 3 // 7 + 1000 // 7 + 1000


KEYS = ["containers", "initContainers", "resources", "requests", "limits", "cpu", "overhead"]
leaves = st.none() | st.integers() | st.text(max_size=5)


@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(KEYS), inner)))
def test_no_shape_of_a_pod_can_break_it(spec: Any) -> None:
    demand = pod_demand(spec if isinstance(spec, dict) else {})
    assert demand.millicores >= 0
    assert demand.milligpus >= 0
