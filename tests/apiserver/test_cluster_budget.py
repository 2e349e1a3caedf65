"""The policy over ClusterCarbonBudgets: for which namespaces, and beside a namespace's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.apiserver.judging import RUN_LABEL, Judging
from tests.apiserver.manifests import SELECT_X, work
from tests.e2e.conftest import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]


@pytest.fixture(scope="module")
def ml(judging: Judging) -> Iterator[str]:
    with judging.namespace(dept="ml") as name:
        yield name


@pytest.fixture(scope="module")
def web(judging: Judging) -> Iterator[str]:
    with judging.namespace(dept="web") as name:
        yield name


@pytest.fixture(scope="module")
def plain(judging: Judging) -> Iterator[str]:
    with judging.namespace() as name:
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
    judging: Judging, ml: str, web: str, plain: str, operator: str, values: list[str], caught: set[str]
) -> None:
    name = judging.named(f"wide-{operator.lower()}")
    judging.block("", name, namespaceSelector=expressions(operator, *values, run=judging.run))
    try:
        spaces = {"ml": ml, "web": web, "plain": plain}
        judging.refusal(work("Job", spaces[min(caught)]))
        assert {key for key, space in spaces.items() if not judging.admitted(work("Job", space))} == caught
    finally:
        judging.unblock("", name)
    judging.wait_admitted(work("Job", spaces[min(caught)]))


def test_it_says_which_and_where_to_look(judging: Judging, ml: str) -> None:
    name = judging.named("said")
    judging.block(
        "", name, namespaceSelector={"matchLabels": {RUN_LABEL: judging.run}}, enforce={"kinds": ["Deployment"]}
    )
    try:
        said = judging.refusal(work("Deployment", ml))
        assert f"carbon budget {name}: used 110 %; see: kubectl describe clustercarbonbudget {name}" in said
        assert judging.admitted(work("Job", ml))
    finally:
        judging.unblock("", name)


def test_without_a_namespace_selector_it_holds_in_every_judged_namespace(
    judging: Judging, ml: str, plain: str, namespace: str
) -> None:
    """Its pod selector is of this run, so that nobody else's work is in its way."""
    name = judging.named("everywhere")
    mine = {"run": judging.run}
    judging.block("", name, selector={"matchLabels": mine})
    try:
        judging.refusal(work("Job", ml, labels=mine))
        assert not judging.admitted(work("Job", plain, labels=mine))
        assert judging.admitted(work("Job", plain))
        assert judging.admitted(work("Job", "kube-system", labels=mine))
    finally:
        judging.unblock("", name)


def test_a_namespace_that_gets_the_label_is_covered_from_then_on(judging: Judging, plain: str) -> None:
    name = judging.named("later")
    judging.block("", name, namespaceSelector={"matchLabels": {RUN_LABEL: judging.run, "late": "yes"}})
    try:
        assert judging.admitted(work("Job", plain))
        judging.cluster.kubectl("label", "namespace", plain, "late=yes")
        judging.refusal(work("Job", plain))
    finally:
        judging.unblock("", name)
        judging.cluster.kubectl("label", "namespace", plain, "late-")


def test_labels_of_pods_are_held_as_in_a_namespaces_own(judging: Judging, space: str) -> None:
    name = judging.named("labels")
    judging.apply(work("Pod", space, "outside", labels={"project": "y"}), work("ReplicaSet", space, "made", replicas=1))
    pods = ("-n", space, "get", "pods", "-l", "app=made", "-o", "name")
    (made,) = wait_for("its pod", lambda: judging.cluster.kubectl(*pods).stdout.split(), 30)

    def labelled(pod: str, label: str) -> bool:
        write = ("-n", space, "label", pod, label, "--overwrite", "--dry-run=server")
        return judging.cluster.kubectl(*write, check=False).returncode == 0

    assert labelled("pod/outside", "project=x")
    mine = {"matchLabels": {RUN_LABEL: judging.run}}
    judging.block("", name, namespaceSelector=mine, selector=SELECT_X, enforce={"kinds": ["Pod", "ReplicaSet"]})
    try:
        judging.refusal(work("Pod", space))
        assert not labelled("pod/outside", "project=x")
        assert labelled("pod/outside", "project=z")
        assert not labelled(made, "app-")
    finally:
        judging.unblock("", name)


def test_beside_a_namespaces_own_budget_either_of_them_decides(judging: Judging, space: str) -> None:
    name = judging.named("beside")
    judging.block("", name, namespaceSelector={"matchLabels": {RUN_LABEL: judging.run}}, selector=SELECT_X)
    try:
        judging.block(space, "own", selector={"matchLabels": {"project": "y"}})
        judging.refusal(work("Job", space))
        assert "carbon budget own: used" in judging.refusal(work("Job", space, labels={"project": "y"}))
        assert judging.admitted(work("Job", space, labels={"project": "z"}))
    finally:
        judging.unblock("", name)
    judging.wait_admitted(work("Job", space))
    wait_for("its own to stand", lambda: not judging.admitted(work("Job", space, labels={"project": "y"})), 5)
