"""The chart's monitors: each pod is scraped once, as often and with the credentials that the values name."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from tests.conftest import Cluster
from tests.docs.test_chart_values import RENDER

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]  # helm is the cluster's

SCRAPED = ("--set-json", 'networkPolicy.metricsFrom=[{"namespaceSelector":{}}]')  # or monitors are refused
ON = (*SCRAPED, "--set", "monitoring.monitors.enabled=true,web.enabled=true,agent.gpu.enabled=true")
RULES = [{"sourceLabels": ["__name__"], "regex": "carbonbudget_pod_.*", "action": "drop"}]


def rendered(cluster: Cluster, *given: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(cluster.run(*RENDER, *given).stdout) if one]


def ends(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The endpoint of each monitor."""
    monitors = {one["metadata"]["name"]: one["spec"] for one in objects if one["kind"].endswith("Monitor")}
    return {name: (one.get("endpoints") or one["podMetricsEndpoints"])[0] for name, one in monitors.items()}


def annotations(objects: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Prometheus' annotations of the agents' pods."""
    agents = [one["spec"]["template"]["metadata"] for one in objects if one["kind"] == "DaemonSet"]
    return [
        {name: text for name, text in one.get("annotations", {}).items() if name.startswith("prometheus.io/")}
        for one in agents
    ]


def test_agents_have_the_annotations_of_a_scrape_only_where_no_monitor_scrapes_them(cluster: Cluster) -> None:
    asked = {"prometheus.io/scrape": "true", "prometheus.io/port": "9109"}
    assert annotations(rendered(cluster, "--set", "agent.gpu.enabled=true")) == [asked, asked]
    assert annotations(rendered(cluster, *ON)) == [{}, {}]
    assert annotations(rendered(cluster, "--set", "agent.metricsPort=0")) == [{}]


def test_every_monitor_has_the_interval_and_the_relabelings_of_the_values(cluster: Cluster) -> None:
    given = ("--set", "monitoring.monitors.interval=1m30s")
    rules = ("--set-json", f"monitoring.monitors.metricRelabelings={json.dumps(RULES)}")
    found = ends(rendered(cluster, *ON, *given, *rules))
    assert found.keys() == {f"carbonbudget-{name}" for name in ("server", "controller", "admission", "agent", "web")}
    for end in found.values():
        assert (end["interval"], end["metricRelabelings"]) == ("1m30s", RULES)
    for end in ends(rendered(cluster, *ON)).values():
        assert not end.keys() & {"interval", "metricRelabelings"}


def test_a_secret_takes_the_place_of_the_file_that_prometheus_may_not_read(cluster: Cluster) -> None:
    secret = {"credentials": {"name": "prometheus-carbonbudget", "key": "token"}}
    given = ("--set-json", f"monitoring.monitors.authorization={json.dumps(secret)}")
    for more, expected in (((), None), (given, secret)):
        end = ends(rendered(cluster, *ON, *more))["carbonbudget-server"]
        assert end.get("authorization") == expected
        assert ("bearerTokenFile" in end) is (expected is None)
        assert end["tlsConfig"]["ca"] == {"configMap": {"name": "carbonbudget-ca", "key": "ca.crt"}}


@pytest.mark.parametrize(
    ("key", "value"),
    [("interval", "often"), ("authorization.credentials.name", "x"), ("authorization.file", "/x")],
)
def test_a_value_that_the_prometheus_operator_would_refuse_is_refused_by_helm(
    cluster: Cluster, key: str, value: str
) -> None:
    done = cluster.run(*RENDER, *ON, "--set", f"monitoring.monitors.{key}={value}", check=False)
    assert (done.returncode, "at '/monitoring/monitors/" in done.stderr) == (1, True), done.stderr
