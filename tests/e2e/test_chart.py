"""The chart: rendered, upgraded."""

from __future__ import annotations

import pytest
import yaml
from tests.conftest import Cluster
from tests.e2e.conftest import CHART, Release

pytestmark = pytest.mark.cluster

RENDER = ("helm", "template", "carbonbudget", CHART, "-n", "carbonbudget-system", "--kube-version", "1.34")
WEBHOOK = (
    "get",
    "validatingwebhookconfiguration",
    "carbonbudget",
    "-o",
    "jsonpath={.webhooks[0].clientConfig.caBundle}",
)


def test_two_renderings_are_byte_equal(cluster: Cluster) -> None:
    assert cluster.run(*RENDER).stdout == cluster.run(*RENDER).stdout


def test_helm_lint_is_clean(cluster: Cluster) -> None:
    assert "0 chart(s) failed" in cluster.run("helm", "lint", "--strict", CHART).stdout


def test_an_unknown_value_is_refused(cluster: Cluster) -> None:
    done = cluster.run(*RENDER, "--set", "sever.replicas=2", check=False)
    assert done.returncode == 1
    assert "sever" in done.stderr


def test_no_workload_takes_service_links_or_privileges(cluster: Cluster) -> None:
    found = 0
    for document in yaml.safe_load_all(cluster.run(*RENDER).stdout):
        if document["kind"] not in ("Deployment", "DaemonSet"):
            continue
        found += 1
        spec = document["spec"]["template"]["spec"]
        assert spec["enableServiceLinks"] is False
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True
            assert security["allowPrivilegeEscalation"] is False
    assert found == 4


@pytest.mark.parametrize(("mode", "policies", "webhooks"), [("Enforce", 1, 1), ("Warn", 0, 1), ("Observe", 0, 0)])
def test_the_mode_is_the_switch(cluster: Cluster, mode: str, policies: int, webhooks: int) -> None:
    text = cluster.run(*RENDER, "--set", f"enforcement.mode={mode}").stdout
    kinds = [document["kind"] for document in yaml.safe_load_all(text)]
    assert kinds.count("ValidatingAdmissionPolicy") == policies
    assert kinds.count("ValidatingWebhookConfiguration") == webhooks


def test_an_upgrade_rolls_what_changed_and_keeps_the_certificates(release: Release) -> None:
    bundle = release.cluster.kubectl(*WEBHOOK).stdout
    assert bundle
    release.helm("--set", "controller.freshForSeconds=7200")
    assert release.cluster.kubectl(*WEBHOOK).stdout == bundle
    config = release.cluster.get("-n", "carbonbudget-system", "configmap", "carbonbudget-config")
    assert "fresh_for_seconds: 7200" in config["data"]["config.yaml"]  # type: ignore[index] # JSON
    release.helm()
