"""The chart's pods: where they run, which labels they have, and how an upgrade or a drained node replaces them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import Cluster
from tests.docs.test_chart_values import RENDER
from tests.e2e.conftest import CHART

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]  # helm is the cluster's

EVERYTHING = "web.enabled=true,server.opencost.proxy.enabled=true,agent.gpu.enabled=true"
# Each workload, and the section of the values that has its scheduling.
SECTIONS = {
    "carbonbudget-server": "server",
    "carbonbudget-opencost": "server",
    "carbonbudget-controller": "controller",
    "carbonbudget-release": "controller",
    "carbonbudget-admission": "admission",
    "carbonbudget-web": "web",
    "carbonbudget-agent": "agent",
    "carbonbudget-agent-gpu": "agent",
}
TEMPLATED = ("Deployment", "DaemonSet", "Job")


def rendered(cluster: Cluster, *given: str, chart: str | Path = CHART) -> list[dict[str, Any]]:
    command = [str(chart) if word == CHART else word for word in RENDER]
    return [one for one in yaml.safe_load_all(cluster.run(*command, *given).stdout) if one]


def templates(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one["spec"]["template"] for one in objects if one["kind"] in TEMPLATED}


def of(objects: list[dict[str, Any]], kind: str, name: str) -> list[dict[str, Any]]:
    return [one["spec"] for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]


def test_another_version_of_the_chart_with_the_same_images_restarts_no_pod(cluster: Cluster, tmp_path: Path) -> None:
    """Else each upgrade would restart every agent, and the server, whose SQLite ledger is away meanwhile."""
    later = tmp_path / "carbonbudget"
    shutil.copytree(CHART, later)
    about = yaml.safe_load((later / "Chart.yaml").read_text())
    (later / "Chart.yaml").write_text(yaml.safe_dump(about | {"version": "99.0.0", "appVersion": "99.0.0"}))
    images = ("--set", f"images.agent.tag=x,images.operator.tag=x,{EVERYTHING}")
    now, then = rendered(cluster, *images), rendered(cluster, *images, chart=later)
    assert now != then
    assert templates(now).keys() == SECTIONS.keys()
    assert templates(now) == templates(then)


def test_selectors_choose_the_pods_that_they_are_for(cluster: Cluster) -> None:
    objects = rendered(cluster, "--set", EVERYTHING)
    workloads = [one for one in objects if one["kind"] in ("Deployment", "DaemonSet")]
    assert len(workloads) == 7
    for one in workloads:
        chosen = one["spec"]["selector"]["matchLabels"].items()
        pods = [name for name, pod in templates(objects).items() if chosen <= pod["metadata"]["labels"].items()]
        assert pods == [one["metadata"]["name"]]


@pytest.mark.parametrize("section", ["server", "controller", "admission", "web", "agent"])
def test_what_a_platform_sets_on_pods_is_on_each_pod_of_the_workload_and_on_no_other(
    cluster: Cluster, section: str
) -> None:
    affinity = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    given = {
        "priorityClassName": "own", "podLabels": {"team": "platform"}, "podAnnotations": {"sidecar": "no"},
        "affinity": affinity,
    }  # fmt: skip
    values = ("--set-json", f"{section}={json.dumps(given)}", "--set", EVERYTHING)
    seen = set()
    for name, pod in templates(rendered(cluster, *values)).items():
        labels, annotations = pod["metadata"]["labels"], pod["metadata"].get("annotations", {})
        own = SECTIONS[name] == section
        assert (labels.get("team") == "platform") is own, name
        assert (annotations.get("sidecar") == "no") is own, name
        assert (pod["spec"].get("priorityClassName") == "own") is own, name
        assert (pod["spec"].get("affinity", {}).items() >= affinity.items()) is own, name
        seen |= {name} if own else set()
    assert seen == {name for name, one in SECTIONS.items() if one == section}


def test_an_annotation_of_the_values_does_not_keep_a_changed_setting_from_the_pods(cluster: Cluster) -> None:
    given = ("--set-json", 'server.podAnnotations={"carbonbudget.dev/config":"mine"}')
    (plain, changed) = (templates(rendered(cluster, *more))["carbonbudget-server"] for more in ((), given))
    assert plain == changed
    assert len(plain["metadata"]["annotations"]["carbonbudget.dev/config"]) == 64


@pytest.mark.parametrize("section", ["server", "agent"])
@pytest.mark.parametrize("label", ["name", "instance", "component"])
def test_a_label_that_selectors_read_is_refused(cluster: Cluster, section: str, label: str) -> None:
    given = json.dumps({f"app.kubernetes.io/{label}": "x"})
    done = cluster.run(*RENDER, "--set-json", f"{section}.podLabels={given}", check=False)
    assert (done.returncode, f"invalid propertyName 'app.kubernetes.io/{label}'" in done.stderr) == (1, True)


def test_several_servers_survive_a_drain_and_prefer_different_nodes(cluster: Cluster) -> None:
    name = "carbonbudget-server"
    objects = rendered(cluster, "--set", "server.replicas=2,server.database.secretName=ledger,web.enabled=true")
    for kind in ("server", "admission", "web"):
        labels = templates(objects)[f"carbonbudget-{kind}"]["metadata"]["labels"].items()
        (budget,) = of(objects, "PodDisruptionBudget", f"carbonbudget-{kind}")
        (spread,) = templates(objects)[f"carbonbudget-{kind}"]["spec"]["topologySpreadConstraints"]
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"].items() <= labels
        assert spread["labelSelector"] == budget["selector"]
        assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    one = rendered(cluster, "--set", "server.database.secretName=ledger")
    assert of(one, "PodDisruptionBudget", name) == []
    assert "topologySpreadConstraints" not in templates(one)[name]["spec"]


def quotas(objects: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The classes that each namespace may use."""
    found = [one for one in objects if one["kind"] == "ResourceQuota"]
    for one in found:
        assert one["spec"]["hard"] == {"pods": "1M"}, "more than a cluster can have"
        (scope,) = one["spec"]["scopeSelector"]["matchExpressions"]
        assert (scope["scopeName"], scope["operator"]) == ("PriorityClass", "In")
    return {
        one["metadata"]["namespace"]: one["spec"]["scopeSelector"]["matchExpressions"][0]["values"] for one in found
    }


def test_a_namespace_with_pods_of_a_system_class_has_the_quota_without_which_gke_refuses_them(cluster: Cluster) -> None:
    assert quotas(rendered(cluster)) == {"carbonbudget-agent": ["system-node-critical"]}
    assert quotas(rendered(cluster, "--set", "agent.priorityClassName=high-priority")) == {}
    given = ",".join(f"{part}.priorityClassName=system-cluster-critical" for part in ("server", "controller", "web"))
    more = ("--set", f"agent.namespace=agents,admission.priorityClassName=system-node-critical,{given},{EVERYTHING}")
    objects = rendered(cluster, *more)
    assert quotas(objects) == {
        "agents": ["system-node-critical"],
        "carbonbudget-system": ["system-cluster-critical", "system-node-critical"],
    }
    for one in objects:
        if one["kind"] in TEMPLATED:
            assert one["spec"]["template"]["spec"]["priorityClassName"] in quotas(objects)[one["metadata"]["namespace"]]


def test_a_server_that_migrates_its_ledger_for_an_hour_is_not_killed(cluster: Cluster) -> None:
    """It listens after the migration: until then every probe fails."""
    (container,) = templates(rendered(cluster))["carbonbudget-server"]["spec"]["containers"]
    start, alive = container["startupProbe"], container["livenessProbe"]
    assert start["httpGet"] == alive["httpGet"]
    assert start["periodSeconds"] * start["failureThreshold"] >= 3_600
    assert start["periodSeconds"] <= container["readinessProbe"]["periodSeconds"], "or each start takes longer"


def test_agents_are_replaced_as_the_values_say(cluster: Cluster) -> None:
    default = {"rollingUpdate": {"maxUnavailable": "10%"}}
    for given, wanted in (
        ((), default),
        (("--set", "agent.updateStrategy.type=OnDelete"), default | {"type": "OnDelete"}),
    ):
        objects = rendered(cluster, "--set", "agent.gpu.enabled=true", *given)
        for name in ("carbonbudget-agent", "carbonbudget-agent-gpu"):
            (agent,) = of(objects, "DaemonSet", name)
            assert agent["updateStrategy"] == wanted
