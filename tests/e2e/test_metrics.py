"""What Prometheus reads of the installed chart: how current the watches are, and when certificates expire."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.conftest import SYSTEM, Release

pytestmark = pytest.mark.cluster

BUDGETS = "/apis/carbonbudget.dev/v1alpha1/carbonbudgets"
CLUSTER_BUDGETS = "/apis/carbonbudget.dev/v1alpha1/clustercarbonbudgets"
NAMESPACES, JOBS = "/api/v1/namespaces", "/apis/batch/v1/jobs"
DAY_SECONDS = 86_400
# Runs in the server's pod. Its CA is the one that Prometheus is given.
GET = """
import json, ssl, sys, urllib.request
asked = json.load(sys.stdin)
request = urllib.request.Request(asked["url"], headers={"Authorization": "Bearer " + asked["token"]})
print(urllib.request.urlopen(request, context=ssl.create_default_context(cadata=asked["ca"])).read().decode())
"""


def samples(text: str, name: str, label: str) -> dict[str, float]:
    """A metric's values by one of its labels."""
    return {
        sample.labels[label]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def scrape(release: Release, component: str, port: int) -> str:
    """/metrics of a pod, by way of the API server: this cluster's network enforces no NetworkPolicy."""
    selector = ("-l", f"app.kubernetes.io/component={component}", "--field-selector=status.phase=Running")
    pod = release.cluster.kubectl("-n", SYSTEM, "get", "pods", *selector, "-o", "jsonpath={.items[0].metadata.name}")
    path = f"/api/v1/namespaces/{SYSTEM}/pods/{pod.stdout}:{port}/proxy/metrics"
    return release.cluster.kubectl("get", "--raw", path).stdout


@pytest.mark.parametrize(
    ("component", "port", "paths"),
    [
        ("admission", 8081, {BUDGETS, CLUSTER_BUDGETS, NAMESPACES}),
        ("controller", 8080, {BUDGETS, CLUSTER_BUDGETS, NAMESPACES, JOBS}),
    ],
)
def test_each_watch_is_told_and_none_is_old(release: Release, component: str, port: int, paths: set[str]) -> None:
    """A bookmark comes each minute, an audit each two. Run among all tests, the release is older than that."""
    told = samples(scrape(release, component, port), "carbonbudget_watch_current_timestamp_seconds", "path")
    assert told.keys() >= paths  # and workloads, while a budget blocks them
    assert {path: at for path, at in told.items() if time.time() - at > 200} == {}


@pytest.fixture
def prometheus(release: Release) -> Iterator[str]:
    """A token as the runbooks' page says that Prometheus gets one."""
    name = "e2e-prometheus"
    kubectl = release.cluster.kubectl
    kubectl("-n", SYSTEM, "create", "serviceaccount", name)
    reads = ("--clusterrole=carbonbudget-metrics-reader", f"--serviceaccount={SYSTEM}:{name}")
    kubectl("create", "clusterrolebinding", name, *reads)
    yield kubectl("-n", SYSTEM, "create", "token", name, "--audience", "carbonbudget-server").stdout.strip()
    kubectl("delete", "clusterrolebinding", name)
    kubectl("-n", SYSTEM, "delete", "serviceaccount", name)


def test_the_end_of_each_certificate_is_told_by_who_serves_it(release: Release, prometheus: str) -> None:
    config = release.cluster.get("-n", SYSTEM, "configmap", "carbonbudget-ca")
    asked = {
        "url": f"https://carbonbudget-server.{SYSTEM}.svc:8443/metrics",
        "ca": config["data"]["ca.crt"],  # type: ignore[index] # JSON
        "token": prometheus,
    }
    inside = ("-n", SYSTEM, "exec", "-i", "deploy/carbonbudget-server", "-c", "server", "--", "python3", "-c", GET)
    server = release.cluster.kubectl(*inside, stdin=json.dumps(asked)).stdout
    name = "carbonbudget_certificate_expiration_timestamp_seconds"
    told = samples(server, name, "name") | samples(scrape(release, "admission", 8081), name, "name")
    assert told.keys() == {f"carbonbudget-server.{SYSTEM}.svc", f"carbonbudget-admission.{SYSTEM}.svc"}
    assert all(29 < (at - time.time()) / DAY_SECONDS < 91 for at in told.values())  # 90 days, renewed at 30
