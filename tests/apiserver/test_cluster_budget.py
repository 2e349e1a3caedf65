"""The policy over ClusterCarbonBudgets: for which namespaces, and beside a namespace's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.apiserver.chart_policies import RUN_LABEL, ChartPolicies
from tests.apiserver.manifests import SELECT_X, work
from tests.e2e.conftest import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]


@pytest.fixture(scope="module")
def ml(policies: ChartPolicies) -> Iterator[str]:
    with policies.namespace(dept="ml") as name:
        yield name


@pytest.fixture(scope="module")
def web(policies: ChartPolicies) -> Iterator[str]:
    with policies.namespace(dept="web") as name:
        yield name


@pytest.fixture(scope="module")
def plain(policies: ChartPolicies) -> Iterator[str]:
    with policies.namespace() as name:
        yield name


def expressions(operator: str, *values: str, run: str) -> dict[str, Any]:
    found: dict[str, Any] = {"key": "dept", "operator": operator} | ({"values": list(values)} if values else {})
    return {"matchLabels": {RUN_LABEL: run}, "matchExpressions": [found]}


@pytest.mark.parametrize(
    ("operator", "values", "caught"),
    [
        ("In", ["ml", "x"], {"ml"}),
        ("NotIn", ["ml"], {"web", "plain"}),
        ("Exists", [], {"ml", "web"}),
        ("DoesNotExist", [], {"plain"}),
    ],
)
def test_its_namespace_selector_selects_as_kubernetes_does(
    policies: ChartPolicies, ml: str, web: str, plain: str, operator: str, values: list[str], caught: set[str]
) -> None:
    name = policies.named(f"wide-{operator.lower()}")
    policies.block("", name, namespaceSelector=expressions(operator, *values, run=policies.run))
    try:
        spaces = {"ml": ml, "web": web, "plain": plain}
        policies.refusal(work("Job", spaces[min(caught)]))
        assert {key for key, space in spaces.items() if not policies.admitted(work("Job", space))} == caught
    finally:
        policies.unblock("", name)
    policies.wait_admitted(work("Job", spaces[min(caught)]))


def test_it_says_which_and_where_to_look(policies: ChartPolicies, ml: str) -> None:
    name = policies.named("said")
    policies.block(
        "", name, namespaceSelector={"matchLabels": {RUN_LABEL: policies.run}}, enforce={"kinds": ["Deployment"]}
    )
    try:
        said = policies.refusal(work("Deployment", ml))
        assert f"carbon budget {name}: used 110 %; see: kubectl describe clustercarbonbudget {name}" in said
        assert policies.admitted(work("Job", ml))
    finally:
        policies.unblock("", name)


def test_without_a_namespace_selector_it_holds_in_every_checked_namespace(
    policies: ChartPolicies, ml: str, plain: str, namespace: str
) -> None:
    """Its pod selector is of this run, so that nobody else's work is in its way."""
    name = policies.named("everywhere")
    mine = {"run": policies.run}
    policies.block("", name, selector={"matchLabels": mine})
    try:
        policies.refusal(work("Job", ml, labels=mine))
        assert not policies.admitted(work("Job", plain, labels=mine))
        assert policies.admitted(work("Job", plain))
        for reserved in ("kube-system", "kube-public"):  # by its name, and by the beginning of it
            assert policies.admitted(work("Job", reserved, labels=mine))
    finally:
        policies.unblock("", name)


def test_a_namespace_that_gets_the_label_is_covered_from_then_on(policies: ChartPolicies, plain: str) -> None:
    name = policies.named("later")
    policies.block("", name, namespaceSelector={"matchLabels": {RUN_LABEL: policies.run, "late": "yes"}})
    try:
        assert policies.admitted(work("Job", plain))
        policies.cluster.kubectl("label", "namespace", plain, "late=yes")
        policies.refusal(work("Job", plain))
    finally:
        policies.unblock("", name)
        policies.cluster.kubectl("label", "namespace", plain, "late-")


def test_labels_of_pods_are_held_as_in_a_namespaces_own(policies: ChartPolicies, space: str) -> None:
    name = policies.named("labels")
    policies.apply(
        work("Pod", space, "outside", labels={"project": "y"}), work("ReplicaSet", space, "made", replicas=1)
    )
    pods = ("-n", space, "get", "pods", "-l", "app=made", "-o", "name")
    (made,) = wait_for("its pod", lambda: policies.cluster.kubectl(*pods).stdout.split(), 30)

    def labelled(pod: str, label: str) -> bool:
        write = ("-n", space, "label", pod, label, "--overwrite", "--dry-run=server")
        return policies.cluster.kubectl(*write, check=False).returncode == 0

    assert labelled("pod/outside", "project=x")
    mine = {"matchLabels": {RUN_LABEL: policies.run}}
    policies.block("", name, namespaceSelector=mine, selector=SELECT_X, enforce={"kinds": ["Pod", "ReplicaSet"]})
    try:
        policies.refusal(work("Pod", space))
        assert not labelled("pod/outside", "project=x")
        assert labelled("pod/outside", "project=z")
        assert not labelled(made, "app-")
    finally:
        policies.unblock("", name)


def test_beside_a_namespaces_own_budget_either_of_them_decides(policies: ChartPolicies, space: str) -> None:
    name = policies.named("beside")
    policies.block("", name, namespaceSelector={"matchLabels": {RUN_LABEL: policies.run}}, selector=SELECT_X)
    try:
        policies.block(space, "own", selector={"matchLabels": {"project": "y"}})
        policies.refusal(work("Job", space))
        assert "carbon budget own: used" in policies.refusal(work("Job", space, labels={"project": "y"}))
        assert policies.admitted(work("Job", space, labels={"project": "z"}))
    finally:
        policies.unblock("", name)
    policies.wait_admitted(work("Job", space))
    wait_for("its own to stand", lambda: not policies.admitted(work("Job", space, labels={"project": "y"})), 5)
