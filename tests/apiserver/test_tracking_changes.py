"""Where pods are tracked and where not, and what happens while the CA changes or policy and webhook are away."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.apiserver.tracked_pods import MODEL, pod
from tests.apiserver.tracking_injectors import CA, SYSTEM, Tracking, own_part, write_ca
from tests.conftest import Cluster
from tests.e2e.conftest import wait_for

from carbonbudget_operator.admission.tracking_patch import MOST_CA_CHARACTERS

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]


def test_a_namespace_with_restricted_pod_security_accepts_the_pod(tracking: Tracking) -> None:
    space = f"{tracking.space}-restricted"
    tracking.namespace(space, **{"pod-security.kubernetes.io/enforce": "restricted"})
    try:
        assert tracking.is_tracked(tracking.created(pod("r", MODEL), space=space)["r"])
    finally:
        tracking.cluster.kubectl("delete", "namespace", space, "--wait=false")


def test_pods_of_carbonbudget_s_own_namespace_and_of_kube_system_are_never_changed(
    tracking: Tracking, cluster: Cluster
) -> None:
    for space in (SYSTEM, "kube-system"):
        tracking.namespace(space)
        assert not tracking.is_tracked(tracking.created(pod("own"), space=space)["own"])
        cluster.kubectl("label", "namespace", space, "carbonbudget.dev/track-")


def test_a_mirror_pod_is_created_unchanged(tracking: Tracking) -> None:
    made = tracking.created(pod("mirror", annotations={"kubernetes.io/config.mirror": "x"}, nodeName="node"))
    assert not tracking.is_tracked(made["mirror"])


def test_a_ca_that_fits_into_no_variable_is_left_out_and_a_new_one_reaches_new_pods(
    injectors: tuple[Tracking, Tracking], cluster: Cluster
) -> None:
    policy, _ = injectors

    def ca() -> str | None:
        spec = policy.created(pod("ca"))["ca"]
        assert policy.is_tracked(spec)
        return own_part(spec)["env"]["train"].get("CARBONBUDGET_CA")

    try:
        write_ca(cluster, "x" * (MOST_CA_CHARACTERS + 1))
        wait_for("a pod without CA", lambda: ca() is None, 30)
        write_ca(cluster, CA + CA)
        wait_for("the next CA", lambda: ca() == CA + CA, 30)
    finally:
        write_ca(cluster, CA)
        wait_for("the CA of before", lambda: ca() == CA, 30)


def test_without_the_parameter_pods_are_created_unchanged(
    injectors: tuple[Tracking, Tracking], cluster: Cluster
) -> None:
    policy, _ = injectors
    try:
        cluster.kubectl("-n", SYSTEM, "delete", "configmap", "carbonbudget-ca")
        wait_for("an unchanged pod", lambda: not policy.is_tracked(policy.created(pod("p"))["p"]), 30)
    finally:
        write_ca(cluster, CA)
        wait_for("a changed pod", lambda: policy.is_tracked(policy.created(pod("p"))["p"]), 30)


def test_while_the_webhook_is_away_pods_are_created_unchanged(injectors: tuple[Tracking, Tracking]) -> None:
    _, webhook = injectors
    assert webhook.process.figure('carbonbudget_admission_tracked_pods_total{outcome="patched"}') > 0
    webhook.process.stop()
    try:
        assert not webhook.is_tracked(webhook.created(pod("alone"), real=True)["alone"])
    finally:
        webhook.process.start()


@pytest.mark.parametrize("injector", ["policy", "webhook"])
def test_after_an_uninstall_pods_are_created_unchanged(
    injectors: tuple[Tracking, Tracking], cluster: Cluster, tmp_path: Path, injector: str
) -> None:
    """Of another release: the API server follows no ConfigMap any more once the last policy with one is gone."""
    other = Tracking(cluster, injector, tmp_path)
    try:
        other.install()
        cluster.kubectl("delete", "--ignore-not-found", *other.made)
        wait_for("an unchanged pod", lambda: not other.is_tracked(other.created(pod("later"))["later"]), 30)
    finally:
        other.remove()
