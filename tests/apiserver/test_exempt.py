"""The label that takes a workload out of all budgets, and who may set it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.apiserver.chart_policies import ChartPolicies
from tests.apiserver.manifests import OWNER, work

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

EXEMPT = {"labels": {"carbonbudget.dev/exempt": "true"}}
DEV, LEAD = "--as=dev", "--as=lead"
CRON = "--as=system:serviceaccount:kube-system:cronjob-controller"
SENTENCE = "the label carbonbudget.dev/exempt needs the verb exempt on carbonbudgets in namespace"


@pytest.fixture(scope="module")
def team(policies: ChartPolicies) -> Iterator[str]:
    """A namespace whose budget blocks, where dev may edit and lead may exempt too."""
    kubectl = policies.cluster.kubectl
    with policies.namespace() as name:
        for user in ("dev", "lead"):
            kubectl("-n", name, "create", "rolebinding", user, "--clusterrole=edit", f"--user={user}")
        kubectl("-n", name, "create", "role", "exempt", "--verb=exempt", "--resource=carbonbudgets.carbonbudget.dev")
        kubectl("-n", name, "create", "rolebinding", "exempt", "--role=exempt", "--user=lead")
        policies.block(name, "tight", enforce={"kinds": ["Job", "Pod", "Deployment"]})
        policies.refusal(work("Job", name), DEV)
        policies.wait_admitted(work("Job", name, metadata=EXEMPT), LEAD)
        yield name


def test_with_the_verb_a_labelled_job_is_not_checked(policies: ChartPolicies, team: str) -> None:
    assert policies.admitted(work("Job", team, metadata=EXEMPT), LEAD)
    assert not policies.admitted(work("Job", team), LEAD)


def test_without_the_verb_the_label_is_refused_with_a_sentence(policies: ChartPolicies, team: str) -> None:
    fine, said = policies.try_out(work("Job", team, metadata=EXEMPT), DEV)
    assert not fine
    assert "carbon budget tight" in said or SENTENCE in said


@pytest.mark.parametrize("kind", ["Job", "Pod", "Deployment", "StatefulSet", "TrainJob"])
def test_without_the_verb_it_is_refused_also_where_no_budget_blocks(
    policies: ChartPolicies, space: str, kind: str
) -> None:
    policies.cluster.kubectl("-n", space, "create", "rolebinding", "dev", "--clusterrole=edit", "--user=dev")
    if kind == "TrainJob":
        train = ("create", "role", "train", "--verb=create", "--resource=trainjobs.train.example")
        policies.cluster.kubectl("-n", space, *train)
        policies.cluster.kubectl("-n", space, "create", "rolebinding", "train", "--role=train", "--user=dev")
    policies.wait_admitted(work(kind, space), DEV)
    fine, said = policies.try_out(work(kind, space, metadata=EXEMPT), DEV)
    assert not fine
    assert (
        f"{SENTENCE} {space}, which the role carbonbudget-exempter contains: remove the label, or ask for that role"
        in said
    )


def test_another_value_of_the_label_is_nothing(policies: ChartPolicies, team: str) -> None:
    odd: dict[str, Any] = {"labels": {"carbonbudget.dev/exempt": "yes"}}
    said = policies.refusal(work("Job", team, metadata=odd), LEAD)
    assert "carbon budget tight" in said


def test_an_update_that_brings_it_needs_the_verb_and_one_that_keeps_it_does_not(
    policies: ChartPolicies, space: str
) -> None:
    kubectl = policies.cluster.kubectl
    kubectl("-n", space, "create", "rolebinding", "dev", "--clusterrole=edit", "--user=dev")
    policies.apply(work("Deployment", space, replicas=0))

    def patch(change: dict[str, Any], user: str = "") -> tuple[bool, str]:
        write = ("-n", space, "patch", "deployment", "w", "--type=merge", "-p", json.dumps(change))
        done = kubectl(*write, *([user] if user else []), check=False)
        return done.returncode == 0, done.stderr

    policies.wait_admitted(work("Job", space), DEV)
    fine, said = patch({"metadata": EXEMPT}, DEV)
    assert not fine
    assert SENTENCE in said
    assert patch({"metadata": {"labels": {"other": "x"}}}, DEV)[0]
    assert patch({"metadata": EXEMPT})[0]  # an administrator has every verb
    assert patch({"metadata": {"labels": {"other": "y"}}}, DEV)[0]
    assert patch({"metadata": {"labels": {"carbonbudget.dev/exempt": None}}}, DEV)[0]
    assert not patch({"metadata": EXEMPT}, DEV)[0]


def test_a_cronjobs_template_is_guarded_as_the_jobs_it_makes(policies: ChartPolicies, team: str) -> None:
    def cron(metadata: dict[str, Any]) -> dict[str, Any]:
        template = {"metadata": metadata, "spec": work("Job", team)["spec"]}
        spec = {"schedule": "0 0 1 1 *", "jobTemplate": template}
        return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "namespace": team}, "spec": spec}

    assert policies.admitted(cron({}), DEV)
    assert SENTENCE in policies.try_out(cron(EXEMPT), DEV)[1]
    assert policies.admitted(cron(EXEMPT), LEAD)
    owned = {"ownerReferences": [OWNER | {"kind": "CronJob"}]}
    assert policies.admitted(work("Job", team, metadata=EXEMPT | owned), CRON)
    assert not policies.admitted(work("Job", team, metadata=owned), CRON)


def test_a_forged_owner_does_not_make_the_label_count(policies: ChartPolicies, team: str) -> None:
    assert not policies.admitted(work("Job", team, metadata=EXEMPT | {"ownerReferences": [OWNER]}), DEV)
