"""What a pod reserves: one table for the agent, which reads running pods, and the operator, which reads new work.

Expected figures by k8s.io/component-helpers/resource (1.34.4): PodRequests with UseStatusResources, after the API
server's defaults.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonbudget_core.pod_requests import pod_requests
from carbonbudget_operator.budgets.workload_demand import pod_demand


def c(cpu: str = "", name: str = "c", limit: str = "", gpus: str = "", sidecar: bool = False) -> dict[str, Any]:
    requests = {key: value for key, value in (("cpu", cpu), ("nvidia.com/gpu", gpus)) if value}
    resources = ({"requests": requests} if requests else {}) | ({"limits": {"cpu": limit}} if limit else {})
    return {"name": name, "resources": resources} | ({"restartPolicy": "Always"} if sidecar else {})


def whole(cpu: str = "", limit: str = "") -> dict[str, Any]:
    return {"resources": c(cpu, limit=limit)["resources"]}


# What is wished for alone: agent and operator read it, each with its own count of resources.
SPECS: dict[str, tuple[dict[str, Any], int, int]] = {
    "nothing": ({}, 0, 0),
    "no requests": ({"containers": [{}, {"resources": {}}]}, 0, 0),
    "containers together": ({"containers": [c("100m"), c("0.25")]}, 350, 0),
    "a limit stands for a request": ({"containers": [c(limit="2")]}, 2000, 0),
    "a request goes before its limit": ({"containers": [c("1", limit="2")]}, 1000, 0),
    "a larger init container": ({"containers": [c("100m")], "initContainers": [c("1")]}, 1000, 0),
    "a smaller init container": ({"containers": [c("2")], "initContainers": [c("1")]}, 2000, 0),
    "the largest of init containers": ({"containers": [c("1")], "initContainers": [c("2"), c("3")]}, 3000, 0),
    "a sidecar": ({"containers": [c("1")], "initContainers": [c("200m", sidecar=True)]}, 1200, 0),
    "an init container after a sidecar": (
        {"containers": [c("1")], "initContainers": [c("500m", sidecar=True), c("2")]},
        2500,
        0,
    ),
    "an init container before a sidecar": (
        {"containers": [c("1")], "initContainers": [c("2"), c("500m", sidecar=True)]},
        2000,
        0,
    ),
    "two sidecars while it starts": (
        {"containers": [], "initContainers": [c("1", sidecar=True), c("2"), c("1", sidecar=True)]},
        3000,
        0,
    ),
    "overhead": ({"containers": [c("100m")], "overhead": {"cpu": "50m"}}, 150, 0),
    "of the whole pod": ({**whole("4"), "containers": [c("1"), c("1")]}, 4000, 0),
    "of the whole pod, nothing": ({**whole("0"), "containers": []}, 0, 0),
    "of the whole pod, with overhead": ({**whole("4"), "containers": [c("1")], "overhead": {"cpu": "250m"}}, 4250, 0),
    "a limit of the whole pod and requests of containers": (
        {**whole(limit="4"), "containers": [c("1"), c("500m")]},
        1500,
        0,
    ),
    "a limit of the whole pod alone": ({**whole(limit="4"), "containers": [{}]}, 4000, 0),
    "GPUs": ({"containers": [c("1", gpus="2"), c(gpus="1")]}, 1000, 3),
    "GPUs beside a request of the whole pod": ({**whole("2"), "containers": [c("1", gpus="2")]}, 2000, 2),
    "GPUs of an init container": ({"containers": [c(gpus="1")], "initContainers": [c(gpus="4")]}, 0, 4),
    "what is no quantity": ({"containers": [c("garbage"), c("1")]}, 1000, 0),
    "exponents": ({"containers": [c("1e1")]}, 10_000, 0),
}


@pytest.mark.parametrize("case", SPECS)
def test_agent_and_operator_count_the_same_requests(case: str) -> None:
    spec, millicores, gpus = SPECS[case]
    agent, operator = pod_requests(spec, {}), pod_demand(spec)
    assert (agent.cpu_millicores, agent.gpus) == (millicores, gpus)
    assert (operator.millicores, operator.milligpus) == (millicores, 1000 * gpus)


CPU = st.sampled_from(["", "0", "100m", "1", "2.5"])
CONTAINERS = st.lists(
    st.builds(c, cpu=CPU, limit=CPU, gpus=st.sampled_from(["", "1"]), sidecar=st.booleans()), max_size=4
)


@given(CONTAINERS, CONTAINERS, st.builds(whole, CPU, CPU), CPU)
def test_they_count_the_same_for_any_pod(
    containers: list[object], init: list[object], of_the_pod: dict[str, object], overhead: str
) -> None:
    spec = {"containers": containers, "initContainers": init, **of_the_pod}
    spec |= {"overhead": {"cpu": overhead}} if overhead else {}
    agent, operator = pod_requests(spec, {}), pod_demand(spec)
    assert (agent.cpu_millicores, agent.gpus * 1000) == (operator.millicores, operator.milligpus)


def status(cpu: str | None, allocated: str = "", name: str = "c", pending: str = "", init: bool = False) -> Any:
    own: dict[str, Any] = {"name": name}
    own |= {"resources": {"requests": {"cpu": cpu}}} if cpu is not None else {}
    own |= {"allocatedResources": {"cpu": allocated}} if allocated else {}
    conditions = [{"type": "PodResizePending", "status": "True", "reason": pending}] if pending else []
    return {("initContainerStatuses" if init else "containerStatuses"): [own], "conditions": conditions}


ONE = {"containers": [c("1")]}
# With what the kubelet granted (KEP-1287): the agent alone sees it.
RESIZES: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "no status yet": (ONE, {}, 1000),
    "a status without resources": (ONE, status(None, allocated="4"), 1000),
    "granted": (ONE, status("1", "1"), 1000),
    "infeasible: what is granted": ({"containers": [c("1000")]}, status("500m", "500m", pending="Infeasible"), 500),
    "deferred: the scheduler holds it": ({"containers": [c("4")]}, status("500m", "500m", pending="Deferred"), 4000),
    "larger, under way": ({"containers": [c("4")]}, status("500m", "4"), 4000),
    "smaller, under way": ({"containers": [c("100m")]}, status("4", "100m"), 4000),
    "smaller, not granted yet": ({"containers": [c("100m")]}, status("100m", "4"), 4000),
    "infeasible, with a smaller resize still in force": (
        {"containers": [c("1000")]},
        status("500m", "2", pending="Infeasible"),
        2000,
    ),
    "another container": ({"containers": [c("1"), c("1", name="d")]}, status("3", name="d"), 4000),
    "a sidecar": ({"containers": [c("1")], "initContainers": [c("1", name="s", sidecar=True)]},
                  status("3", name="s", init=True), 4000),
    "an init container is never resized": ({"containers": [c("1")], "initContainers": [c("2", name="i")]},
                                           status("9", name="i", init=True), 2000),
    "of the whole pod": ({**whole("4"), "containers": [c("1")]}, status("3"), 4000),
}  # fmt: skip


@pytest.mark.parametrize("case", RESIZES)
def test_a_resize_counts_as_what_the_scheduler_holds(case: str) -> None:
    spec, of_the_kubelet, millicores = RESIZES[case]
    assert pod_requests(spec, of_the_kubelet).cpu_millicores == millicores


@given(CPU, CPU, CPU, st.sampled_from(["", "Infeasible", "Deferred", "x"]))
def test_nothing_that_is_wished_for_adds_to_what_an_infeasible_resize_leaves(
    wished: str, in_force: str, allocated: str, pending: str
) -> None:
    found = pod_requests({"containers": [c(wished)]}, status(in_force or "0", allocated, pending=pending))
    granted = pod_requests({"containers": [c("0")]}, status(in_force or "0", allocated))
    largest = max(granted.cpu_millicores, pod_requests({"containers": [c(wished)]}, {}).cpu_millicores)
    assert found.cpu_millicores == (granted.cpu_millicores if pending == "Infeasible" else largest)
