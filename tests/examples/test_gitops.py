"""The GitOps examples: the chart, values, objects and fields that they refer to exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT, Cluster
from tests.examples.readme import EXAMPLES

from carbonbudget_operator.api.wire_names import BLOCKING_LABEL

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]  # helm is the cluster's

FOLDER = EXAMPLES / "12-gitops"


def _documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


ARGO, TEAM = _documents("argocd.yaml")
FLUX_SOURCE, FLUX = _documents("flux.yaml")


@pytest.fixture(params=["argocd", "flux"])
def installed(request: pytest.FixtureRequest, cluster: Cluster, tmp_path: Path) -> tuple[str, list[dict[str, Any]]]:
    """The tool, and what the chart renders with its example's path, release name, namespace and values."""
    if request.param == "argocd":
        spec = ARGO["spec"]
        chart, helm = spec["source"]["path"], spec["source"]["helm"]
        name, namespace, values = helm["releaseName"], spec["destination"]["namespace"], helm["valuesObject"]
    else:
        spec = FLUX["spec"]
        chart = spec["chart"]["spec"]["chart"]
        name, namespace, values = spec["releaseName"], spec["targetNamespace"], spec["values"]
    file = tmp_path / "values.json"
    file.write_text(json.dumps(values), encoding="utf-8")
    command = ("helm", "template", name, str(ROOT / chart), "-n", namespace, "--kube-version", "1.34", "-f", str(file))
    return request.param, [one for one in yaml.safe_load_all(cluster.run(*command).stdout) if one]


def test_the_values_of_a_gitops_example_reach_the_manifests(installed: tuple[str, list[dict[str, Any]]]) -> None:
    tool, rendered = installed
    images = {
        container["image"]
        for one in rendered
        if one["kind"] in ("Deployment", "DaemonSet")
        for container in one["spec"]["template"]["spec"]["containers"]
    }
    assert images == {f"registry.example.org/carbonbudget-{name}:1" for name in ("agent", "operator")}
    if tool == "argocd":
        claims = re.findall(r"claimName['\"]?: ['\"]?([\w-]+)", json.dumps(rendered).replace('"', ""))
        assert "carbonbudget-ledger" in claims


def test_an_ignored_field_is_one_that_the_chart_or_the_crd_has(installed: tuple[str, list[dict[str, Any]]]) -> None:
    tool, rendered = installed
    objects = {(one["kind"], one["metadata"]["name"]): one for one in rendered}
    ignored: dict[tuple[str, str], int] = {}
    if tool == "argocd":
        for rule in ARGO["spec"]["ignoreDifferences"]:
            assert rule["jqPathExpressions"] == [".webhooks[].clientConfig.caBundle"]
            ignored[rule["kind"], rule["name"]] = len(objects[rule["kind"], rule["name"]]["webhooks"])
    else:
        for rule in FLUX["spec"]["driftDetection"]["ignore"]:
            target = (rule["target"]["kind"], rule["target"]["name"])
            paths = [f"/webhooks/{number}/clientConfig/caBundle" for number in range(len(objects[target]["webhooks"]))]
            assert rule["paths"] == paths
            ignored[target] = len(paths)
    every = {key: len(one["webhooks"]) for key, one in objects.items() if key[0].endswith("WebhookConfiguration")}
    assert ignored == every


def test_what_a_team_ignores_is_what_carbonbudget_writes() -> None:
    job, budget = TEAM["spec"]["ignoreDifferences"]
    assert (job["group"], job["kind"], job["jsonPointers"]) == ("batch", "Job", ["/spec/suspend"])
    assert budget["jqPathExpressions"] == [f'.metadata.labels["{BLOCKING_LABEL}"]']


def test_flux_takes_the_chart_from_the_source_that_the_file_creates() -> None:
    reference = FLUX["spec"]["chart"]["spec"]["sourceRef"]
    assert (reference["kind"], reference["name"]) == (FLUX_SOURCE["kind"], FLUX_SOURCE["metadata"]["name"])
