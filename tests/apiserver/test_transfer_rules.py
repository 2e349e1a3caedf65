"""CarbonTransfers in the real API server: the CRD's rules, and the policy that asks for rights on both budgets."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.conftest import Cluster
from tests.e2e.conftest import CHART, budget, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

SOURCE, RECEIVER, SYSTEM = "transfer-from", "transfer-to", "transfer-system"
OURS = f"system:serviceaccount:{SYSTEM}:carbonbudget-controller"
POLICIES = ("carbonbudget-transfers", "carbonbudget-transfer-status")
ROLES = ("carbonbudget-editor", "carbonbudget-view", "carbonbudget-transfer-view", "carbonbudget-controller-transfers")
# Who has carbonbudget-editor where.
USERS = {"both": (SOURCE, RECEIVER), "source-only": (SOURCE,), "receiver-only": (RECEIVER,), "nobody": ()}


def transfer(**change: Any) -> dict[str, Any]:
    spec = {"source": "a", "to": {"namespace": RECEIVER, "name": "b"}, "amount": "5kg"} | change
    return {
        "apiVersion": "carbonbudget.dev/v1alpha1",
        "kind": "CarbonTransfer",
        "metadata": {"name": "t", "namespace": SOURCE},
        "spec": spec,
    }


def refusal(cluster: Cluster, body: dict[str, Any], user: str = "", *flags: str) -> str:
    """The answer of the API server to a creation that is not kept; empty if it is admitted."""
    who = ("--as", user) if user else ()
    done = cluster.kubectl(
        "create", "--dry-run=server", "--validate=strict", "-f", "-", *who, *flags, stdin=json.dumps(body), check=False
    )
    return done.stderr if done.returncode else ""


@pytest.fixture(scope="module")
def ruled(cluster: Cluster) -> Iterator[Cluster]:
    """The policies and roles as the chart has them, bound to USERS, and the two budgets."""
    kubectl = cluster.kubectl
    made = []
    for name in (SOURCE, RECEIVER):
        kubectl("create", "namespace", name)
    try:
        rendered = cluster.run(
            "helm", "template", "carbonbudget", CHART, "-n", SYSTEM, "--kube-version", "1.34",
            "--show-only=templates/transfer-policy.yaml", "--show-only=templates/rbac.yaml",
        ).stdout  # fmt: skip
        for document in yaml.safe_load_all(rendered):
            if document["metadata"]["name"] in (*POLICIES, *ROLES):
                made.append((document["kind"], document["metadata"]["name"]))
                kubectl("apply", "-f", "-", stdin=json.dumps(document))
        for user, spaces in USERS.items():
            for space in spaces:
                bind = ("rolebinding", user, "--clusterrole=carbonbudget-editor", f"--user={user}")
                kubectl("-n", space, "create", *bind)
        # May create transfers, and change neither budget.
        kubectl("-n", SOURCE, "create", "role", "maker", "--verb=create", "--resource=carbontransfers.carbonbudget.dev")
        for user in ("nobody", "receiver-only"):
            kubectl("-n", SOURCE, "create", "rolebinding", f"{user}-makes", "--role=maker", f"--user={user}")
        for space, name in ((SOURCE, "a"), (RECEIVER, "b")):
            kubectl("create", "-f", "-", stdin=json.dumps(budget(space, name, limit="9kg", period="Month")))
        wait_for("the policy", lambda: "carbonbudget-transfers" in refusal(cluster, transfer(), "nobody"), 30)
        yield cluster
    finally:
        for kind, name in made:
            kubectl("delete", kind, name, "--ignore-not-found")
        for name in (SOURCE, RECEIVER):
            kubectl("delete", "namespace", name, "--wait=false")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"amount": "5 kilos"}, "amount must be a number with a unit mg, g, kg or t, without a space, for example 5kg"),
    ({"amount": "-5kg"}, "amount must be a number with a unit"),
    ({"amount": "5"}, "amount must be a number with a unit"),
    ({"amount": "1e3kg"}, "amount must be a number with a unit"),
    ({"amount": "0kg"}, "amount must be more than zero"),
    ({"amount": "0.000kg"}, "amount must be more than zero"),
    ({"amount": "0.0001mg"}, "amount is finer than a microgram"),
    ({"amount": "0.0000001g"}, "amount is finer than a microgram"),
    ({"amount": "9" * 25 + "kg"}, "Too long: may not be more than 24"),
    ({"amount": None}, "spec.amount: Required value"),
    ({"source": "A"}, "no CarbonBudget can have this name"),
    ({"source": "a/b"}, "no CarbonBudget can have this name"),
    ({"source": ""}, "should be at least 1 chars long"),
    ({"source": "a..b"}, "no CarbonBudget can have this name"),
    ({"to": {"namespace": RECEIVER, "name": "b."}}, "no CarbonBudget can have this name"),
    ({"to": {"namespace": "a.b", "name": "b"}}, "no namespace can have this name"),
    ({"to": {"namespace": "", "name": "b"}}, "should be at least 1 chars long"),
    ({"to": {"name": "b"}}, "spec.to.namespace: Required value"),
    ({"to": {"namespace": SOURCE, "name": "a"}}, "a transfer is from one CarbonBudget to another"),
    ({"reason": "a\nb"}, "reason must be one line of printable characters"),
    ({"reason": "a\u202eb"}, "reason must be one line of printable characters"),
    ({"reason": "x" * 129}, "Too long: may not be more than 128"),
    ({"from": "a"}, 'unknown field "spec.from"'),
]


@pytest.mark.parametrize(("change", "sentence"), BAD, ids=[f"{change}"[:40] for change, _ in BAD])
def test_nonsense_is_refused_with_a_sentence(ruled: Cluster, change: dict[str, Any], sentence: str) -> None:
    assert sentence in refusal(ruled, transfer(**change), "both")


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "0.001mg"},
        {"amount": "999999999.999999999t"},
        {"to": {"namespace": SOURCE, "name": "b"}},
        {"to": {"namespace": RECEIVER, "name": "a"}},
        {"source": "a" * 253},
        {"reason": "Équipe Énergie ⚡"},
    ],
    ids=lambda change: str(change)[:40],
)
def test_what_is_unusual_but_right_is_accepted(ruled: Cluster, change: dict[str, Any]) -> None:
    assert refusal(ruled, transfer(**change), "both") == ""


def test_who_may_update_both_budgets_may_transfer(ruled: Cluster) -> None:
    assert refusal(ruled, transfer(), "both") == ""


@pytest.mark.parametrize(
    ("user", "lacks"),
    [
        ("source-only", f"you may not update carbonbudgets/b in namespace {RECEIVER}"),
        ("receiver-only", f"you may not update carbonbudgets/a in namespace {SOURCE}"),
        ("nobody", f"you may not update carbonbudgets/a in namespace {SOURCE}"),
    ],
)
def test_rights_on_one_side_or_none_are_refused_with_the_missing_right(ruled: Cluster, user: str, lacks: str) -> None:
    said = refusal(ruled, transfer(), user)
    assert "ValidatingAdmissionPolicy 'carbonbudget-transfers'" in said
    assert lacks in said


def test_a_right_on_another_budget_of_the_namespace_is_not_one_on_this(ruled: Cluster) -> None:
    kubectl = ruled.kubectl
    for space, name in ((SOURCE, "a"), (RECEIVER, "other")):
        role = ("--verb=update", "--resource=carbonbudgets.carbonbudget.dev", f"--resource-name={name}")
        kubectl("-n", space, "create", "role", "named", *role)
        kubectl("-n", space, "create", "rolebinding", "named", "--role=named", "--user=named")
    kubectl("-n", SOURCE, "create", "rolebinding", "named-makes", "--role=maker", "--user=named")
    missing = f"you may not update carbonbudgets/b in namespace {RECEIVER}"
    wait_for("the right on the source", lambda: missing in refusal(ruled, transfer(), "named"), 30)
    assert refusal(ruled, transfer(to={"namespace": RECEIVER, "name": "other"}), "named") == ""


def test_a_transfer_cannot_be_changed_and_its_decision_is_the_controllers_and_final(ruled: Cluster) -> None:
    kubectl = ruled.kubectl

    def patch(change: dict[str, Any], *flags: str) -> str:
        write = ("-n", SOURCE, "patch", "carbontransfer", "t", "--type=merge", "-p", json.dumps(change))
        done = kubectl(*write, *flags, check=False)
        return done.stderr if done.returncode else ""

    kubectl("create", "-f", "-", stdin=json.dumps(transfer() | {"status": {"state": "Applied"}}))
    assert "status" not in ruled.get("-n", SOURCE, "carbontransfer", "t")
    assert "a transfer cannot be changed" in patch({"spec": {"amount": "6kg"}})
    assert "(Forbidden)" in patch({"metadata": {"labels": {"a": "b"}}}, "--as", "both")  # the role cannot
    status = "--subresource=status"
    applied = {"status": {"state": "Applied", "message": "done"}}
    wait_for("the policy", lambda: "only carbonbudget's controller" in patch(applied, status, "--dry-run=server"), 30)
    ours = ("--as", OURS, "--as-group", "system:masters", status)  # kubectl reads before it writes
    assert patch({"status": {"message": "waits for figures"}}, *ours) == ""
    assert patch(applied, *ours) == ""
    assert "a decision is final" in patch({"status": {"state": "Refused"}}, *ours)
    assert "a decision is final" in patch({"status": None}, *ours)
    kubectl("-n", SOURCE, "delete", "carbontransfer", "t", "--as", "both")


def test_metadata_beyond_the_bounds_is_refused(ruled: Cluster) -> None:
    body = transfer()
    body["metadata"]["annotations"] = {"note": "x" * 16385}
    assert "at most 64 labels, 64 annotations of 16384 characters" in refusal(ruled, body, "both")


def test_the_api_server_finds_no_fault_with_the_types(ruled: Cluster) -> None:
    def checked(name: str) -> Any:
        status: Any = ruled.get("validatingadmissionpolicy", name).get("status", {})
        return status if "observedGeneration" in status else None

    for name in POLICIES:
        status: Any = wait_for("the type check", functools.partial(checked, name))
        assert status.get("typeChecking", {}) == {}
