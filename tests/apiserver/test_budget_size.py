"""How large metadata of budgets and targets may be, in the real API server: nobody may fill the controller with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.api_requests import api_requests
from tests.conftest import Cluster
from tests.e2e.conftest import CHART, budget, wait_for

from carbonbudget_operator.api.wire_names import RESOURCES, TARGETS

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

POLICY = "carbonbudget-budget-size"
SPACE = "budget-size"
KINDS = {one.kind: one for one in (*RESOURCES, *TARGETS)}
TARGET_SPEC: dict[str, Any] = {
    "unit": {"name": "request", "source": {"counter": {"metric": "a_total", "matchLabels": {"status": "200"}}}},
    "baseline": {"value": "42g"},
    "target": {"reduction": 20, "by": "2027-03-01T00:00:00Z"},
}
OURS = f"system:serviceaccount:{SPACE}:carbonbudget-controller"
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def owners(number: int, name: str = "x") -> list[dict[str, str]]:
    return [{"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": str(n)} for n in range(number)]


def many(number: int, value: str = "x") -> dict[str, str]:
    return {f"k{n}": value for n in range(number)}


def managed(fields: dict[str, Any], managers: int = 1) -> dict[str, Any]:
    """What a client says of who wrote what; the API server keeps it as it is where it can be read."""
    shared = {"operation": "Update", "apiVersion": "carbonbudget.dev/v1alpha1", "fieldsType": "FieldsV1"}
    shared["time"] = "2026-11-29T00:00:00Z"
    return {"managedFields": [shared | {"manager": f"m{n}", "fieldsV1": fields} for n in range(managers)]}


def names(number: int) -> dict[str, Any]:
    return {f"f:n{n}": {} for n in range(number)}


def deep(levels: int) -> dict[str, Any]:
    return {"f:a": deep(levels - 1)} if levels else {}


ALLOWED: dict[str, dict[str, Any]] = {
    "64 labels": {"labels": many(64)},
    "64 annotations": {"annotations": many(64)},
    "an annotation of 4096 characters": {"annotations": {"note": "x" * 4096}},
    "what kubectl apply keeps": {"annotations": {APPLIED: "x" * 65536}},
    "16 finalizers": {"finalizers": [f"example.com/f{n}" for n in range(16)]},
    "16 owners": {"ownerReferences": owners(16, "x" * 253)},
    "ten managers of 100 labels each": managed({"f:metadata": {"f:labels": names(100)}, "f:spec": names(20)}, 10),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "65 labels": ({"labels": many(65)}, "at most 64 labels: remove some"),
    "30,000 labels": ({"labels": many(30_000)}, "at most 64 labels: remove some"),
    "65 annotations": ({"annotations": many(65)}, "at most 64 annotations: remove some"),
    "10,000 annotations": ({"annotations": many(10_000)}, "at most 64 annotations: remove some"),
    "an annotation of 4097 characters": ({"annotations": {"note": "x" * 4097}}, "at most 4096 characters"),
    "more than kubectl apply keeps": ({"annotations": {APPLIED: "x" * 65537}}, "65536: make it shorter"),
    "17 finalizers": ({"finalizers": [f"example.com/f{n}" for n in range(17)]}, "at most 16 finalizers: remove some"),
    "17 owners": ({"ownerReferences": owners(17)}, "at most 16 ownerReferences: remove some"),
    "10,000 owners": ({"ownerReferences": owners(10_000)}, "at most 16 ownerReferences: remove some"),
    "an owner's name of a megabyte": ({"ownerReferences": owners(1, "x" * 1_000_000)}, "253 characters in each field"),
    "3,000 managed fields": (managed({"f:spec": names(3_000)}), "at most 2000 managedFields on a level"),
    "3,000 managed fields below": (managed({"f:spec": {"f:a": {"f:b": names(3_000)}}}), "at most 2000 managedFields"),
    "nine managers of 300 fields each": (managed({"f:spec": names(300)}, 9), "at most 2000 managedFields"),
    "managed fields of nine levels": (managed(deep(9)), "at most 2000 managedFields on a level"),
    "a managed field of 100 KB": (managed({"f:spec": {"f:" + "x" * 100_000: {}}}), "1024 characters each"),
}


def a_budget(kind: str, name: str, metadata: dict[str, Any]) -> str:
    made = budget(SPACE, name, limit="1kg", period="Month")
    if kind in [one.kind for one in TARGETS]:
        where = {"namespace": SPACE} if KINDS[kind].namespaced else {}
        made |= {"kind": kind, "metadata": {"name": name} | where, "spec": TARGET_SPEC}
    if kind == "ClusterCarbonBudget":
        made |= {"kind": kind, "metadata": {"name": name}, "spec": made["spec"] | {"namespaceSelector": {}}}
    return json.dumps(made | {"metadata": made["metadata"] | metadata})


@pytest.fixture(scope="module")
def kept(cluster: Cluster) -> Iterator[Cluster]:
    """The policy as the chart has it, and a budget `old` of before it that is larger than it allows."""
    kubectl = cluster.kubectl
    kubectl("create", "namespace", SPACE)
    rendered = cluster.run(
        "helm", "template", "carbonbudget", CHART, "-n", SPACE, "--kube-version", "1.34",
        "--show-only=templates/budget-size-policy.yaml",
    ).stdout  # fmt: skip
    large = {
        "labels": many(70), "annotations": many(70, "y") | {"long": "x" * 5000},
        "ownerReferences": owners(20, "x" * 300), "finalizers": [f"example.com/f{n}" for n in range(20)],
    }  # fmt: skip
    try:
        kubectl("create", "-f", "-", stdin=a_budget("CarbonBudget", "old", large))
        for document in yaml.safe_load_all(rendered):
            kubectl("apply", "-f", "-", stdin=json.dumps(document))
        wait_for("the policy", lambda: "at most" in refusal(cluster, "CarbonBudget", {"labels": many(65)}), 30)
        yield cluster
    finally:
        for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
            kubectl("delete", kind, POLICY, "--ignore-not-found")
        patch(cluster, "old", {"metadata": {"finalizers": None}})
        kubectl("delete", "namespace", SPACE, "--wait=false")


def refusal(cluster: Cluster, kind: str, metadata: dict[str, Any]) -> str:
    """What is said against making it, empty if nothing; nothing is kept."""
    collection = KINDS[kind].path(SPACE)
    # As it is: kubectl would write the annotation of its own anew.
    made = json.loads(a_budget(kind, "new", metadata))
    done, said = api_requests(cluster).send("POST", f"{collection}?dryRun=All", made)
    return "" if done else said


def patch(cluster: Cluster, name: str, change: dict[str, Any], *options: str) -> str:
    """The same of a change, which is kept."""
    done, said = api_requests(cluster).patch("carbonbudget.dev/v1alpha1", "CarbonBudget", SPACE, name, change, *options)
    return "" if done else said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", ALLOWED)
def test_what_people_and_their_tools_write_is_allowed(kept: Cluster, kind: str, what: str) -> None:
    assert refusal(kept, kind, ALLOWED[what]) == ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", REFUSED)
def test_metadata_beyond_the_bounds_is_refused_with_what_to_do(kept: Cluster, kind: str, what: str) -> None:
    metadata, told = REFUSED[what]
    said = refusal(kept, kind, metadata)
    assert POLICY in said
    assert told in said


def test_labels_of_a_counter_are_six_levels_deep_and_allowed(kept: Cluster) -> None:
    """By kubectl apply, with the managed fields that the API server itself writes, and an edit after it."""
    for kind in [one.kind for one in TARGETS]:
        for value in ("200", "500"):
            made = json.loads(a_budget(kind, "deep", {}))
            made["spec"]["unit"]["source"]["counter"]["matchLabels"] = {"status": value}
            kept.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(made))
        where = ("-n", SPACE) if KINDS[kind].namespaced else ()
        kept.kubectl(*where, "label", kind, "deep", "team=a")
        kept.kubectl(*where, "delete", kind, "deep")


@pytest.mark.parametrize("what", [name for name in REFUSED if "000" not in name and "megabyte" not in name])
def test_a_change_is_refused_as_a_new_budget_is(kept: Cluster, what: str) -> None:
    kept.kubectl("apply", "-f", "-", stdin=a_budget("CarbonBudget", "small", {}))
    metadata, told = REFUSED[what]
    assert told in patch(kept, "small", {"metadata": metadata}, "--dry-run=server")


def test_a_budget_of_before_the_policy_goes_on_and_may_shrink_but_not_grow(kept: Cluster) -> None:
    assert patch(kept, "old", {"spec": {"limit": "2kg"}}) == ""
    assert patch(kept, "old", {"metadata": {"finalizers": [f"example.com/f{n}" for n in range(19)]}}) == ""
    assert patch(kept, "old", {"metadata": {"labels": {"k0": None}, "annotations": {"long": "x" * 4500}}}) == ""
    assert "at most 64 labels" in patch(kept, "old", {"metadata": {"labels": {"k0": "x", "more": "x"}}})
    assert "at most 4096 characters" in patch(kept, "old", {"metadata": {"annotations": {"long": "x" * 4501}}})


def test_statuses_and_our_own_account_are_not_narrowed(kept: Cluster) -> None:
    kept.kubectl("apply", "-f", "-", stdin=a_budget("CarbonBudget", "ours", {}))
    more = {"metadata": {"labels": many(65)}}
    assert "at most 64 labels" in patch(kept, "ours", more)
    assert patch(kept, "ours", more, f"--as={OURS}", "--as-group=system:masters") == ""
    assert patch(kept, "ours", {"status": {"state": "Exceeded", "message": "used up"}}, "--subresource=status") == ""


def test_the_api_server_finds_no_fault_with_the_types(kept: Cluster) -> None:
    def checked() -> dict[str, Any] | None:
        status: Any = kept.get("validatingadmissionpolicy", POLICY).get("status", {})
        return status if "observedGeneration" in status else None

    assert wait_for("the type check", checked).get("typeChecking", {}) == {}
