"""Which ports of the chart's pods are open, and to whom; what the real API server makes of it.

That packets are really dropped is not seen here: this cluster's network enforces no NetworkPolicy.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from tests.conftest import Cluster
from tests.e2e.conftest import CHART

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

ANYBODY = "anybody"
PROMETHEUS = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
CONTROL_PLANE = [{"ipBlock": {"cidr": "192.0.2.0/28"}}]
GPU = ("--set", "agent.gpu.enabled=true")
Manifest = dict[str, Any]


def rendered(cluster: Cluster, *more: str, namespace: str = "carbonbudget-system") -> list[Manifest]:
    command = ("helm", "template", "carbonbudget", CHART, "-n", namespace, "--kube-version", "1.34")
    return [one for one in yaml.safe_load_all(cluster.run(*command, *more).stdout) if one]


def peers(name: str, value: object) -> tuple[str, str]:
    return "--set-json", f"networkPolicy.{name}={json.dumps(value)}"


def selects(policy: Manifest, namespace: str, labels: dict[str, str]) -> bool:
    """As Kubernetes does, for the operators that are used."""
    selector = policy["spec"]["podSelector"]
    assert {expression["operator"] for expression in selector["matchExpressions"]} == {"In"}
    return (
        policy["metadata"]["namespace"] == namespace
        and selector["matchLabels"].items() <= labels.items()
        and all(labels.get(one["key"]) in one["values"] for one in selector["matchExpressions"])
    )


def open_to(documents: list[Manifest]) -> dict[tuple[str, int], object]:
    """Who reaches each port that a workload's containers name: a list of peers, none of them, or anybody."""
    found_policies = [one for one in documents if one["kind"] == "NetworkPolicy"]
    policies = [one for one in found_policies if one["metadata"]["name"] != "carbonbudget-egress"]
    found: dict[tuple[str, int], object] = {}
    for workload in documents:
        if workload["kind"] not in ("Deployment", "DaemonSet"):
            continue
        namespace, template = workload["metadata"]["namespace"], workload["spec"]["template"]
        (policy,) = [one for one in policies if selects(one, namespace, template["metadata"]["labels"])]
        assert policy["spec"]["policyTypes"] == ["Ingress"], "what a pod may reach has a policy of its own"
        rules = {port["port"]: rule for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        # An empty `from` would be anybody, not nobody.
        assert all(rule.get("from", ANYBODY) for rule in policy["spec"]["ingress"])
        for container in template["spec"]["containers"]:
            for port in container.get("ports", ()):
                rule = rules.pop(port["containerPort"], {"from": []})
                found[workload["metadata"]["name"], port["containerPort"]] = rule.get("from", ANYBODY)
        assert rules == {}, "a port is open on which nothing listens"
    return found


def test_metrics_are_closed_and_what_agents_and_the_api_server_ask_is_open(cluster: Cluster) -> None:
    assert open_to(rendered(cluster, *GPU)) == {
        ("carbonbudget-server", 8443): ANYBODY,
        ("carbonbudget-admission", 9443): ANYBODY,
        ("carbonbudget-admission", 8081): [],
        ("carbonbudget-controller", 8080): [],
        ("carbonbudget-agent", 9109): [],
        ("carbonbudget-agent-gpu", 9109): [],
    }


def test_metrics_are_open_to_whom_the_value_names_and_the_webhook_to_whom_its_own_does(cluster: Cluster) -> None:
    more = (*peers("metricsFrom", PROMETHEUS), *peers("webhookFrom", CONTROL_PLANE), "--set", "agent.metricsPort=9200")
    assert open_to(rendered(cluster, *more)) == {
        ("carbonbudget-server", 8443): ANYBODY,
        ("carbonbudget-admission", 9443): CONTROL_PLANE,
        ("carbonbudget-admission", 8081): PROMETHEUS,
        ("carbonbudget-controller", 8080): PROMETHEUS,
        ("carbonbudget-agent", 9200): PROMETHEUS,
    }


def test_agents_without_metrics_have_no_open_port(cluster: Cluster) -> None:
    made = rendered(cluster, *peers("metricsFrom", PROMETHEUS), "--set", "agent.metricsPort=0")
    (policy,) = [one for one in made if one["kind"] == "NetworkPolicy" and "agent" in one["metadata"]["name"]]
    assert policy["spec"]["ingress"] == []


def agents_probes(cluster: Cluster, port: int) -> dict[str, Any]:
    """The liveness probe of each DaemonSet; None: it has none."""
    made = rendered(cluster, *GPU, "--set", f"agent.metricsPort={port}")
    agents = [one for one in made if one["kind"] == "DaemonSet"]
    return {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0].get("livenessProbe") for one in agents
    }


def test_agents_are_probed_at_the_port_of_their_metrics_and_have_ten_minutes(cluster: Cluster) -> None:
    """A probe comes from the pod's own node, which no NetworkPolicy keeps out."""
    probes = agents_probes(cluster, 9200)
    assert probes.keys() == {"carbonbudget-agent", "carbonbudget-agent-gpu"}
    for probe in probes.values():
        assert probe["httpGet"] == {"path": "/healthz", "port": "metrics"}
        assert probe["periodSeconds"] * probe["failureThreshold"] >= 300 <= probe["initialDelaySeconds"]


def test_agents_without_metrics_have_no_probe(cluster: Cluster) -> None:
    assert agents_probes(cluster, 0) == {"carbonbudget-agent": None, "carbonbudget-agent-gpu": None}


def test_none_is_made_where_they_are_switched_off(cluster: Cluster) -> None:
    off = ("--set", "networkPolicy.enabled=false", "--set", "monitoring.monitors.enabled=true")
    assert "NetworkPolicy" not in {one["kind"] for one in rendered(cluster, *off)}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--set", "monitoring.monitors.enabled=true"), "needs networkPolicy.metricsFrom: set where"),
        (peers("webhookFrom", []), "/networkPolicy/webhookFrom"),
        (peers("metricsFrom", [{}]), "/networkPolicy/metricsFrom/0"),
        (peers("metricsFrom", [{"namespace": "monitoring"}]), "'namespace' not allowed"),
    ],
    ids=["monitors that reach nothing", "a webhook for nobody", "a peer that is empty", "a peer that is none"],
)
def test_what_would_not_work_is_refused_when_it_is_rendered(
    cluster: Cluster, more: tuple[str, str], sentence: str
) -> None:
    command = ("helm", "template", "carbonbudget", CHART, "--kube-version", "1.34", *more)
    done = cluster.run(*command, check=False)
    assert done.returncode == 1
    assert sentence in done.stderr


def test_the_api_server_takes_them_as_they_are(cluster: Cluster, namespace: str) -> None:
    more = (*peers("metricsFrom", PROMETHEUS), *peers("webhookFrom", CONTROL_PLANE))
    made = rendered(cluster, *more, "--set", f"agent.namespace={namespace}", namespace=namespace)
    policies = {one["metadata"]["name"]: one for one in made if one["kind"] == "NetworkPolicy"}
    cluster.kubectl("create", "--validate=strict", "-f", "-", stdin=yaml.safe_dump_all(policies.values()))
    kept = cluster.get("-n", namespace, "networkpolicies")["items"]
    assert isinstance(kept, list)
    assert {one["metadata"]["name"]: one["spec"] for one in kept} == {
        name: one["spec"] for name, one in policies.items()
    }
    closed = [one for one in rendered(cluster, namespace=namespace) if one["kind"] == "NetworkPolicy"]
    cluster.kubectl(
        "apply", "--dry-run=server", "-n", namespace, "-f", "-",
        stdin=yaml.safe_dump_all([one | {"metadata": {"name": one["metadata"]["name"]}} for one in closed]),
    )  # fmt: skip
