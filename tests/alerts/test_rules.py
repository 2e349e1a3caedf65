"""The chart's alert rules: correct, tried, each with a runbook, and about metrics that there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import Cluster

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
CHART = ROOT / "charts/carbonbudget"
RULES = CHART / "files/rules.yaml"
RUNBOOKS = ROOT / "docs/runbooks"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
}
TRIED = sorted(HERE.glob("*.yaml"))
# Of the API server and of kube-state-metrics.
FOREIGN = {
    "apiserver_validating_admission_policy_check_total",
    "apiserver_admission_webhook_fail_open_count",
    "kube_pod_container_status_restarts_total",
}
RENDER = ("helm", "template", "carbonbudget", str(CHART), "-n", "carbonbudget-system", "--kube-version", "1.34")
SCRAPED = ("--set-json", 'networkPolicy.metricsFrom=[{"namespaceSelector":{}}]')  # or monitors are refused


def promtool(*args: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("promtool")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail("promtool is missing and CI=true allows no skip: hack/test-packages installs it")
    if found is None:
        pytest.skip("promtool is missing: hack/test-packages installs it")
    return subprocess.run([found, *args], capture_output=True, text=True, check=False, cwd=HERE)


def test_promtool_finds_the_rules_correct() -> None:
    done = promtool("check", "rules", str(RULES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


@pytest.mark.parametrize("file", TRIED, ids=lambda path: path.name)
def test_alerts_fire_when_they_should_and_not_before(file: Path) -> None:
    done = promtool("test", "rules", file.name)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire() -> None:
    fired = {
        one["alertname"]
        for file in TRIED
        for case in yaml.safe_load(file.read_text())["tests"]
        for one in case["alert_rule_test"]
        if one["exp_alerts"]
    }
    assert fired == set(ALERTS)


def test_every_metric_that_a_rule_reads_is_one_that_there_is() -> None:
    page = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    read = set()
    for rule in ALERTS.values():
        read |= set(re.findall(r"\b(?:carbonbudget|apiserver|kube)_[a-z_]+\b", rule["expr"]))
    ours = {name for name in read if name.startswith("carbonbudget_")}
    assert len(ours) > 10
    assert {name for name in ours if f"`{name.removesuffix('_total')}`" not in page} == set()
    assert read - ours == FOREIGN


@pytest.mark.parametrize("name", sorted(ALERTS))
def test_every_alert_says_what_is_wrong_and_has_a_runbook(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
    page = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    assert headings == [name, "What it means", "Look at", "Do", "Ignore when"]
    assert re.search(r"```sh\n(kubectl|carbonbudget) ", page), "a runbook begins with what to type"


def test_every_runbook_has_its_alert_and_stands_in_the_index_with_its_severity() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(ALERTS) | {"README"}
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| (\w+) \|$", index, re.MULTILINE))
    assert listed == {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}


def test_values_that_runbooks_name_are_the_charts() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    sections = r"(?:agent|server|controller|carbon|enforcement|certificates|networkPolicy|monitoring)"
    missing = set()
    for path in RUNBOOKS.glob("*.md"):
        for name in re.findall(rf"`({sections}\.[A-Za-z.]+)", path.read_text()):
            at: Any = values
            for key in name.split("."):
                if not isinstance(at, dict) or key not in at:
                    missing.add(name)
                    break
                at = at[key]
    assert missing == set()


def rendered(cluster: Cluster, *values: str) -> list[dict[str, Any]]:
    settings = [argument for value in values for argument in ("--set", value)]
    return [one for one in yaml.safe_load_all(cluster.run(*RENDER, *SCRAPED, *settings).stdout) if one]


@pytest.mark.cluster
def test_without_the_prometheus_operator_the_chart_makes_none_of_its_kinds(cluster: Cluster) -> None:
    assert [one["kind"] for one in rendered(cluster) if one["apiVersion"].startswith("monitoring.")] == []


@pytest.mark.cluster
def test_the_chart_makes_the_rules_that_promtool_read(cluster: Cluster) -> None:
    base = "https://wiki.example.org/"
    more = ("monitoring.rules.enabled=true", "monitoring.rules.labels.release=x")
    made = rendered(cluster, *more, f"monitoring.rules.runbookBaseURL={base}")
    (rule,) = [one for one in made if one["kind"] == "PrometheusRule"]
    assert rule["metadata"]["labels"]["release"] == "x"
    wanted = yaml.safe_load(RULES.read_text().replace("docs/runbooks/", base))
    assert rule["spec"] == wanted
    (rule,) = [one for one in rendered(cluster, *more) if one["kind"] == "PrometheusRule"]
    assert rule["spec"] == yaml.safe_load(RULES.read_text())


@pytest.mark.cluster
def test_monitors_find_ports_that_the_pods_have(cluster: Cluster) -> None:
    made = rendered(cluster, "monitoring.monitors.enabled=true", "agent.gpu.enabled=true")
    pods = {
        (one["metadata"]["namespace"], template["metadata"]["labels"]["app.kubernetes.io/component"]): {
            port["name"] for container in template["spec"]["containers"] for port in container.get("ports", ())
        }
        for one in made
        if one["kind"] in ("Deployment", "DaemonSet")
        for template in [one["spec"]["template"]]
    }
    monitors = [one for one in made if one["kind"] == "PodMonitor"]
    scraped = set()
    for monitor in monitors:
        (components,) = monitor["spec"]["selector"]["matchExpressions"]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        for component in components["values"]:
            assert endpoint["port"] in pods[monitor["metadata"]["namespace"], component]
            scraped.add(component)
    assert scraped == {"controller", "admission", "agent", "agent-gpu"}
    (monitor,) = [one for one in made if one["kind"] == "ServiceMonitor"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    chosen = [one for one in made if one["kind"] == "Service" and wanted <= one["metadata"]["labels"].items()]
    assert [one["metadata"]["name"] for one in chosen] == ["carbonbudget-server"]
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in chosen[0]["spec"]["ports"]}


@pytest.mark.cluster
def test_agents_without_metrics_have_no_monitor(cluster: Cluster) -> None:
    made = rendered(cluster, "monitoring.monitors.enabled=true", "agent.metricsPort=0")
    assert sorted(one["metadata"]["name"] for one in made if one["kind"] == "PodMonitor") == [
        "carbonbudget-admission",
        "carbonbudget-controller",
    ]
