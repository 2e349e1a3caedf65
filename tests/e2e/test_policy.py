"""The static policy in the real API server, with statuses written by hand while the controller is away."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import Manifest, Release, budget, deployment, job, pod, wait_for

pytestmark = pytest.mark.cluster

TRAINING = {"project": "training"}
OWNER = {"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": "0" * 8, "controller": True}


@pytest.fixture(scope="module")
def blocked(release: Release, space: str) -> Iterator[str]:
    """A namespace whose one budget blocks for an hour; the controller, which would write another status, is away."""
    release.scale(0, "carbonbudget-controller")
    release.apply(budget(space, "tight", limit="1g", period="Month", selector={"matchLabels": TRAINING}))
    set_block(release, space, "tight", dt.timedelta(hours=1))
    release.refusal(job("wait", space, TRAINING))
    yield space
    release.scale(None, "carbonbudget-controller")


def set_block(release: Release, namespace: str, name: str, duration: dt.timedelta) -> None:
    """What the controller would write."""
    until = (dt.datetime.now(dt.UTC) + duration).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"enforcement": {"action": "Block", "until": until}, "message": "carbon budget tight: used 2g of 1g"}
    write = ("-n", namespace, "patch", "carbonbudget", name, "--type=merge")
    release.cluster.kubectl(*write, "--subresource=status", "-p", json.dumps({"status": status}))
    release.cluster.kubectl(
        "-n", namespace, "label", "carbonbudget", name, "carbonbudget.dev/blocking=true", "--overwrite"
    )


def admitted(release: Release, manifest: Manifest) -> bool:
    return release.create(manifest, "--dry-run=server")[0] == 0


def test_a_job_is_refused_with_the_message_and_where_to_look(release: Release, blocked: str) -> None:
    code, said = release.create(job("j", blocked, TRAINING))
    assert code == 1
    assert f"carbon budget tight: used 2g of 1g; see: kubectl -n {blocked} describe carbonbudget tight" in said


def test_a_bare_pod_is_refused(release: Release, blocked: str) -> None:
    assert not admitted(release, pod("p", blocked, TRAINING))


def test_a_pod_with_a_forged_owner_is_refused(release: Release, blocked: str) -> None:
    assert not admitted(release, pod("p", blocked, TRAINING, ownerReferences=[OWNER]))


def test_the_selector_decides_by_the_pod_templates_labels(release: Release, blocked: str) -> None:
    assert admitted(release, job("j", blocked, {"project": "other"}))
    assert admitted(release, job("j", blocked, {}))
    outside = job("j", blocked, {"project": "other"})
    outside["metadata"]["labels"] = TRAINING  # type: ignore[index] # a manifest
    assert admitted(release, outside)


def test_the_label_of_suspended_jobs_is_ours_alone(release: Release, blocked: str, namespace: str) -> None:
    """Or whoever is refused a start would let the controller start his Job."""
    mine = job("j", namespace, {})
    mine["metadata"]["labels"] = {"carbonbudget.dev/suspended": "true"}  # type: ignore[index] # a manifest
    code, said = release.create(mine, "--dry-run=server")
    assert code == 1
    assert "the label carbonbudget.dev/suspended may be set only by carbonbudget: remove it" in said
    plain = job("plain", namespace, {})
    release.apply(plain)
    put_on = ("-n", namespace, "label", "job", "plain", "carbonbudget.dev/suspended=true", "--dry-run=server")
    assert release.cluster.kubectl(*put_on, check=False).returncode == 1
    assert release.cluster.kubectl(*put_on, *release.AS_CONTROLLER, check=False).returncode == 0


def test_another_namespace_is_not_touched(release: Release, blocked: str, namespace: str) -> None:
    assert admitted(release, job("j", namespace, TRAINING))


def test_a_deployments_pods_are_not_refused(release: Release, blocked: str) -> None:
    release.apply(deployment("web", blocked, TRAINING))
    release.cluster.kubectl("-n", blocked, "rollout", "status", "deploy/web", "--timeout=60s")


def test_a_namespace_labelled_off_is_not_checked(release: Release, blocked: str) -> None:
    label = ("label", "namespace", blocked, "--overwrite")
    release.cluster.kubectl(*label, "carbonbudget.dev/enforcement=off")
    try:
        wait_for("the label to count", lambda: admitted(release, job("j", blocked, TRAINING)), seconds=15)
    finally:
        release.cluster.kubectl(*label, "carbonbudget.dev/enforcement-")
    release.refusal(job("j", blocked, TRAINING))


def test_kube_system_is_never_checked(release: Release, blocked: str) -> None:
    """Even with a budget of its own that blocks."""
    release.apply(budget("kube-system", "tight", limit="1g", period="Month"))
    try:
        set_block(release, "kube-system", "tight", dt.timedelta(hours=1))
        # The same writes reached the other namespace's policy within the refusal's patience.
        release.refusal(job("j", blocked, TRAINING))
        assert admitted(release, job("j", "kube-system", TRAINING))
    finally:
        release.cluster.kubectl("-n", "kube-system", "delete", "carbonbudget", "tight")


def test_enforce_kinds_limits_what_is_refused(release: Release, blocked: str) -> None:
    patch = ("-n", blocked, "patch", "carbonbudget", "tight", "--type=merge", "-p")
    release.cluster.kubectl(*patch, '{"spec": {"enforce": {"kinds": ["Pod"]}}}')
    try:
        wait_for("the change to count", lambda: admitted(release, job("j", blocked, TRAINING)), seconds=15)
        assert not admitted(release, pod("p", blocked, TRAINING))
    finally:
        release.cluster.kubectl(*patch, '{"spec": {"enforce": null}}')
    release.refusal(job("j", blocked, TRAINING))


@pytest.mark.parametrize(
    ("expression", "caught", "spared"),
    [
        ({"key": "project", "operator": "In", "values": ["a", "b"]}, {"project": "b"}, {"project": "c"}),
        ({"key": "project", "operator": "NotIn", "values": ["a"]}, {}, {"project": "a"}),
        ({"key": "project", "operator": "Exists"}, {"project": "x"}, {"team": "x"}),
        ({"key": "project", "operator": "DoesNotExist"}, {"team": "x"}, {"project": "x"}),
    ],
    ids=["In", "NotIn", "Exists", "DoesNotExist"],
)
def test_match_expressions_select_as_kubernetes_does(
    release: Release, blocked: str, expression: Manifest, caught: dict[str, str], spared: dict[str, str]
) -> None:
    name = f"by-{expression['operator']}".lower()
    release.apply(budget(blocked, name, limit="1g", period="Month", selector={"matchExpressions": [expression]}))
    set_block(release, blocked, name, dt.timedelta(hours=1))
    try:
        release.refusal(job("j", blocked, caught))
        assert admitted(release, job("j", blocked, spared))
    finally:
        release.cluster.kubectl("-n", blocked, "delete", "carbonbudget", name)


def test_a_block_that_nobody_renews_lapses(release: Release, blocked: str) -> None:
    set_block(release, blocked, "tight", dt.timedelta(seconds=8))
    release.refusal(job("j", blocked, TRAINING))
    wait_for("the block to lapse", lambda: admitted(release, job("j", blocked, TRAINING)), seconds=30)
    set_block(release, blocked, "tight", dt.timedelta(hours=1))
    release.refusal(job("j", blocked, TRAINING))
