"""What the chart takes as values: numbers as helm's --set gives them, zones that exist, the cluster's Kubernetes."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from typing import Any

import pytest
import yaml
from tests.conftest import ROOT, Cluster
from tests.e2e.conftest import CHART

from carbonbudget_operator.carbon.grid_factors import providers
from carbonbudget_operator.intensity_settings import IntensitySettings
from carbonbudget_operator.market_settings import MarketSettings
from carbonbudget_operator.settings import EmbodiedSettings, Settings, SettingsError, parse_settings

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]  # helm is the cluster's

RENDER = ("helm", "template", "carbonbudget", CHART, "-n", "carbonbudget-system", "--kube-version", "1.34")


def test_the_chart_s_list_of_zones_is_that_of_the_tables() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "hack" / "zones", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("given", "value"), [("1.2", 1.2), ("1", 1), ("5.0", 5), ("null", None)])
def test_a_pue_may_be_given_by_set(cluster: Cluster, given: str, value: float | None) -> None:
    shown = cluster.run(*RENDER, "--set", f"carbon.pue={given}", "-s", "templates/config.yaml").stdout
    assert yaml.safe_load(yaml.safe_load(shown)["data"]["config.yaml"])["carbon"]["pue"] == value


@pytest.mark.parametrize("given", ["0.9", "5.1", "much", "1.2.3"])
def test_a_pue_that_is_none_is_refused(cluster: Cluster, given: str) -> None:
    done = cluster.run(*RENDER, "--set", f"carbon.pue={given}", check=False)
    assert (done.returncode, "carbon/pue" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"zone": "mars-1"}, 'carbon.zone: "mars-1" is no grid zone'),
        ({"zone": "mars-1", "basis": "direct"}, 'carbon.zone: "mars-1" is no grid zone'),
        ({"market": {"contracts": [{"zone": "XX"}]}}, 'carbon.market.contracts: "XX" is no grid zone'),
        ({"market": {"residual_mixes": [{"zone": "XX"}]}}, 'carbon.market.residual_mixes: "XX" is no grid zone'),
        ({"intensity": {"sources": [{"type": "static", "figures": {"XX": 1}}]}}, '"XX" is no grid zone'),
        ({"intensity": {"sources": [{"type": "http", "zones": {"XX": "x"}}]}}, '"XX" is no grid zone'),
    ],
)
def test_a_zone_that_is_none_stops_the_installation(cluster: Cluster, values: object, sentence: str) -> None:
    done = cluster.run(*RENDER, "--set-json", f"carbon={json.dumps(values)}", check=False)
    assert (done.returncode, sentence in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("zone", ["DE", "de", "WORLD", "", "US-VA,carbon.basis=direct"])
def test_a_zone_of_the_tables_is_taken(cluster: Cluster, zone: str) -> None:
    cluster.run(*RENDER, "--set", f"carbon.zone={zone}", "-s", "templates/config.yaml")


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("agent.resources.limits.memory", "96MB", "agent/resources/limits/memory"),
        ("server.resources.requests.cpu", "1 core", "server/resources/requests/cpu"),
        ("server.persistence.size", "10Gb", "server/persistence/size"),
        ("carbon.intensity.sources", "x", "carbon/intensity/sources"),
        ("carbon.intensity.source", "x", "carbon/intensity"),
        ("carbon.market.contract", "x", "carbon/market"),
        ("carbon.embodied.server", "900", "carbon/embodied"),
        ("carbon.embodied.server_kg", "much", "carbon/embodied/server_kg"),
        ("carbon.provider", "amazon", "carbon/provider"),
        ("carbon.price", "much", "carbon/price"),
        ("carbon.tariff", "-0.3", "carbon/tariff"),
        ("carbon.currency", "euro", "carbon/currency"),
        ("allocation.shared.kube-system", "proportinal", "allocation/shared/kube-system"),
    ],
)
def test_a_value_by_which_no_component_would_start_is_refused_by_helm(
    cluster: Cluster, key: str, value: str, place: str
) -> None:
    done = cluster.run(*RENDER, "--set", f"{key}={value}", check=False)
    assert (done.returncode, f"at '/{place}'" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("key", ["price", "tariff"])
@pytest.mark.parametrize("given", [-5, -0.3, "-0.3", [{"value": 50}, {"valid_from": "2026-10-01", "value": -1}]])
def test_a_negative_price_is_refused_by_helm_and_by_the_settings(cluster: Cluster, key: str, given: object) -> None:
    carbon = {key: given, "currency": "EUR"}
    done = cluster.run(*RENDER, "--set-json", f"carbon={json.dumps(carbon)}", check=False)
    assert (done.returncode, f"at '/carbon/{key}" in done.stderr) == (1, True), done.stderr
    with pytest.raises(SettingsError, match=f"^values: carbon.{key}: must be at least 0"):
        parse_settings(json.dumps({"carbon": carbon}).encode(), "values")


@pytest.mark.parametrize("key", ["price", "tariff"])
@pytest.mark.parametrize("given", [5, 0, "0.3", [{"value": None}, {"valid_from": "2026-10-01", "value": 1}]])
def test_a_price_without_a_currency_is_refused_by_helm_and_by_the_settings(
    cluster: Cluster, key: str, given: object
) -> None:
    carbon: dict[str, object] = {key: given}
    done = cluster.run(*RENDER, "--set-json", f"carbon={json.dumps(carbon)}", check=False)
    assert (done.returncode, f"carbon.{key} needs carbon.currency, for example EUR" in done.stderr) == (1, True)
    with pytest.raises(SettingsError, match=r"needs carbon\.currency, for example EUR"):
        parse_settings(json.dumps({"carbon": carbon}).encode(), "values")
    nothing = [{"value": None}, {"valid_from": "2026-10-01", "value": None}]
    for unpriced in (None, nothing):
        cluster.run(*RENDER, "--set-json", f"carbon={json.dumps({key: unpriced})}")


@pytest.mark.parametrize("given", [0.1234567, 1e-7, [{"value": 1}, {"valid_from": "2026-10-01", "value": 0.0000005}]])
def test_a_price_of_more_than_six_decimals_is_refused_by_helm_and_by_the_settings(
    cluster: Cluster, given: object
) -> None:
    carbon = {"tariff": given, "currency": "EUR"}
    done = cluster.run(*RENDER, "--set-json", f"carbon={json.dumps(carbon)}", check=False)
    assert (done.returncode, "has more than 6 decimals" in done.stderr) == (1, True), done.stderr
    with pytest.raises(SettingsError, match=r"carbon\.tariff: must have at most 6 digits after the decimal point"):
        parse_settings(json.dumps({"carbon": carbon}).encode(), "values")
    cluster.run(*RENDER, "--set-json", 'carbon={"tariff":0.123456,"price":1000000,"currency":"EUR"}')


@pytest.mark.parametrize(
    ("instant", "taken"),
    [
        ("2026-01-01T00:30Z", False),
        ("2026-01-01T00:30", False),
        ("2026-01-01 00:15:00Z", False),
        ("2026-01-01T00:00+05:30", False),
        ("2026-01-01T00:30+05:00", False),
        ("2026-01-01T00:45-03:45", False),
        ("2026-01-01T02:00:00+02:00", True),
        ("2026-01-01T05:30+05:30", True),
        ("2026-01-01T00:30-03:30", True),
        ("2026-01-01T05:45:00+05:45", True),
        ("2026-01-01T00:15-03:45", True),
        ("2026-01-01 23:00", True),
        ("2026-01-01", True),
    ],
)
def test_helm_refuses_an_instant_that_is_no_full_hour_as_the_server_does(
    cluster: Cluster, instant: str, taken: bool
) -> None:
    pue = [{"value": 1.4}, {"valid_from": instant, "value": 1.2}]
    done = cluster.run(*RENDER, "--set-json", f"carbon.pue={json.dumps(pue)}", check=False)
    assert (done.returncode == 0) is taken, done.stderr
    assert taken or f"valid_from': '{instant}' does not match pattern" in done.stderr
    with nullcontext() if taken else pytest.raises(ValueError, match="inside an hour of UTC"):
        Settings.model_validate({"carbon": {"pue": pue}})


@pytest.mark.parametrize(
    "given",
    [
        'server.resources={"limits":{"memory":"1.5Gi","cpu":2}}',
        'server.resources={"requests":{"cpu":"250m","memory":"1e9","ephemeral-storage":"5G"}}',
        'carbon.embodied={"server_kg":900.5,"host_threads":64,"in_service":"2025-01-01","gpu_kg":null}',
        'carbon.embodied={"life_years":[{"value":4},{"valid_from":"2026-10-01","value":6}]}',
        'carbon={"price":[{"value":50},{"valid_from":"2026-10-01","value":"85.5"}],"tariff":0.3,"currency":"EUR"}',
        'allocation.shared={"kube-system":"even","monitoring":{"team-a":2,"team-b":1}}',
        'allocation.shared=[{"value":{}},{"valid_from":"2026-10-01","value":{"kube-system":"separate"}}]',
    ],
)
def test_good_values_of_every_form_are_taken(cluster: Cluster, given: str) -> None:
    cluster.run(*RENDER, "--set-json", given)


@pytest.mark.parametrize("path", ["/sys/fs/cgroup/../../../etc", "/sys/fs/cgroups"])
def test_a_mount_of_cgroups_that_lies_elsewhere_is_refused_by_helm(cluster: Cluster, path: str) -> None:
    done = cluster.run(*RENDER, "--set", f"agent.cgroupMounts={{{path}}}", check=False)
    assert (done.returncode, "at '/agent/cgroupMounts/0'" in done.stderr) == (1, True), done.stderr
    cluster.run(*RENDER, "--set", "agent.cgroupMounts={/sys/fs/cgroup/cpuacct,/sys/fs/cgroup/memory}")


@pytest.mark.parametrize("values", [(), ("--api-versions", "kueue.x-k8s.io/v1beta2")], ids=["alone", "beside Kueue"])
def test_the_jobs_of_an_uninstall_end_before_helm_gives_up_and_need_no_controller(
    cluster: Cluster, values: tuple[str, ...]
) -> None:
    shown = cluster.run(*RENDER, *values, "-s", "templates/release-hook.yaml").stdout
    jobs = [one for one in yaml.safe_load_all(shown) if one and one["kind"] == "Job"]
    assert len(jobs) == (2 if values else 1)
    for job in jobs:
        assert 0 < job["spec"]["activeDeadlineSeconds"] < 300  # helm waits five minutes
        assert job["spec"]["backoffLimit"] <= 3
        stops = any(word.startswith("--stop-controller=") for word in _args(job))
        assert ("--ignore-not-found" in _args(job)) == stops


def test_the_schema_has_the_keys_of_the_settings() -> None:
    """A key that one of them has and the other lacks is refused by helm, or stops the server."""
    schema = json.loads((ROOT / "charts" / "carbonbudget" / "values.schema.json").read_text())
    carbon = schema["properties"]["carbon"]["properties"]
    for name, section in (("market", MarketSettings), ("embodied", EmbodiedSettings), ("intensity", IntensitySettings)):
        assert set(carbon[name]["properties"]) == set(section.model_fields), name
        assert carbon[name]["additionalProperties"] is False
    assert set(carbon["provider"]["else"]["enum"]) == {"", "own", *providers()}


def test_values_of_a_former_version_without_the_later_keys_start_every_component(cluster: Cluster) -> None:
    """What `helm upgrade --reuse-values` gives: the former chart's defaults, in which later keys are missing."""
    of_pods = ("podLabels", "podAnnotations")
    more = ("priorityClassName", "affinity", *of_pods)
    later = (
        "logFormat", "agent.nodesWithoutAgent", "agent.updateStrategy", *(f"agent.{key}" for key in of_pods),
        *(f"{part}.{key}" for part in ("server", "controller", "admission", "web") for key in more),
        "certificates.caBundle", "certificates.webhookAnnotations", "networkPolicy.egress",
        "server.env", "server.spans", "agent.createNamespace", "agent.seLinuxType", "agent.gpu.nodeLabelValue",
        "agent.kubelet.port", "admission.port", "admission.metricsPort", "admission.hostNetwork",
        "enforcement.exemptNamespacePrefixes",
        *(f"monitoring.monitors.{key}" for key in ("interval", "metricRelabelings", "authorization")),
    )  # fmt: skip
    missing = [word for key in later for word in ("--set", f"{key}=null")]
    on = ("--set", "web.enabled=true,monitoring.monitors.enabled=true,server.opencost.proxy.enabled=true")
    prometheus = ("--set-json", 'networkPolicy.metricsFrom=[{"namespaceSelector":{}}]')  # or monitors are refused
    shown = list(yaml.safe_load_all(cluster.run(*RENDER, *missing, *on, *prometheus).stdout))
    words = [word for one in shown if one for word in _args(one) if word.startswith("--log-format")]
    assert len(words) >= 4
    assert set(words) == {"--log-format=text"}
    config = next(one["data"]["config.yaml"] for one in shown if one and "config.yaml" in one.get("data", {}))
    assert Settings.model_validate(yaml.safe_load(config)).server.nodes_without_agent == {}


def _args(manifest: dict[str, Any]) -> list[str]:
    containers = manifest.get("spec", {}).get("template", {}).get("spec", {}).get("containers", [])
    return [word for container in containers for word in container.get("args", [])]


def test_each_dashboard_is_a_config_map_with_the_file_as_it_is(cluster: Cluster) -> None:
    on = ("--set", "monitoring.dashboards.enabled=true", "--set", "monitoring.dashboards.namespace=grafana")
    shown = cluster.run(*RENDER, *on, "-s", "templates/dashboards.yaml").stdout
    made = {document["metadata"]["name"]: document for document in yaml.safe_load_all(shown) if document}
    files = sorted((ROOT / "charts/carbonbudget/files/dashboards").glob("*.json"))
    assert made.keys() == {f"carbonbudget-dashboard-{file.stem}" for file in files}
    for file in files:
        document = made[f"carbonbudget-dashboard-{file.stem}"]
        assert document["metadata"]["namespace"] == "grafana"
        assert document["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert json.loads(document["data"][file.name]) == json.loads(file.read_text(encoding="utf-8"))
        assert len(document["data"][file.name]) < 1_000_000  # a ConfigMap has at most 1 MiB


def test_the_monitoring_example_brings_monitors_and_dashboards(cluster: Cluster) -> None:
    folder = ROOT / "examples" / "15-monitoring"
    shown = cluster.run(*RENDER, "-f", str(folder / "values.yaml")).stdout
    made = [document for document in yaml.safe_load_all(shown) if document]
    kinds = [document["kind"] for document in made]
    assert (kinds.count("PodMonitor"), kinds.count("ServiceMonitor"), kinds.count("PrometheusRule")) == (3, 1, 1)
    own = yaml.safe_load((folder / "values.yaml").read_text(encoding="utf-8"))
    labelled = [one for one in made if one["kind"] in ("PodMonitor", "ServiceMonitor", "PrometheusRule")]
    assert all(one["metadata"]["labels"]["release"] == "kube-prometheus-stack" for one in labelled)
    config = next(one for one in made if one["metadata"]["name"] == "carbonbudget-config")
    settings = Settings.model_validate(yaml.safe_load(config["data"]["config.yaml"]))
    assert settings.server.metric_labels == own["server"]["metricLabels"]
    # What the other files name is there: the role, the token's place and audience, the folder's annotation, the server.
    rights = yaml.safe_load((folder / "rights.yaml").read_text(encoding="utf-8"))
    assert ("ClusterRole", rights["roleRef"]["name"]) in {(one["kind"], one["metadata"]["name"]) for one in made}
    stack = yaml.safe_load((folder / "kube-prometheus-stack-values.yaml").read_text(encoding="utf-8"))
    spec = stack["prometheus"]["prometheusSpec"]
    token = spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    # Else Prometheus would put the scraped pod's namespace in place of a budget's or an emission's.
    monitors = [one["spec"] for one in made if one["kind"] in ("PodMonitor", "ServiceMonitor")]
    ends = [end for its in monitors for end in its.get("endpoints", its.get("podMetricsEndpoints"))]
    assert len(ends) == 4
    assert all(end["honorLabels"] is True for end in ends)
    monitor = next(one for one in made if one["kind"] == "ServiceMonitor")
    file = monitor["spec"]["endpoints"][0]["bearerTokenFile"]
    assert str(file) == f"{spec['volumeMounts'][0]['mountPath']}/{token['path']}"
    assert token["audience"] == settings.server.audience
    boards = [one["metadata"] for one in made if one["metadata"]["name"].startswith("carbonbudget-dashboard-")]
    assert len(boards) == 8
    annotation = stack["grafana"]["sidecar"]["dashboards"]["folderAnnotation"]
    assert all(annotation in board["annotations"] for board in boards)
    source = yaml.safe_load((folder / "grafana-infinity.yaml").read_text(encoding="utf-8"))["datasources"][0]
    assert source["url"] == "https://carbonbudget-server.carbonbudget-system.svc:8443"
    assert ("Service", "carbonbudget-server") in {(one["kind"], one["metadata"]["name"]) for one in made}
