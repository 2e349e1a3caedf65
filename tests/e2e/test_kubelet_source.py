"""Pods from the real kubelet instead of the API server: its certificate verified, one right, the same names."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import AGENTS, Release, pod, wait_for

pytestmark = pytest.mark.cluster

ASK = """
import http.client, os, pathlib, ssl
token = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount/token").read_text()
context = ssl.create_default_context(cafile="/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
for path in ("/pods", "/stats/summary", "/configz", "/metrics"):
    connection = http.client.HTTPSConnection(os.environ["CARBONBUDGET_HOST_IP"], 10250, context=context, timeout=10)
    connection.request("GET", path, headers={"Authorization": "Bearer " + token})
    print(connection.getresponse().status, end=" ")
"""


@pytest.fixture(scope="module")
def by_kubelet(release: Release) -> Iterator[Release]:
    release.helm("--set", "agent.podSource=Kubelet")
    yield release
    release.helm()


def test_pods_of_two_seconds_get_their_names_from_the_kubelet(by_kubelet: Release, space: str) -> None:
    names = [f"brief-{n}" for n in range(4)]
    burn = "end=$(($(date +%s)+2)); while [ $(date +%s) -lt $end ]; do :; done"
    by_kubelet.apply(*(pod(name, space, {"app": "brief"}, burn) for name in names))
    done = "--for=jsonpath={.status.phase}=Succeeded"
    for name in names:
        by_kubelet.cluster.kubectl("-n", space, "wait", f"pod/{name}", done, "--timeout=120s")
    for name in names:
        uid = by_kubelet.uid(space, f"pod/{name}")
        wait_for(f"{name} in the ledger", lambda uid=uid: by_kubelet.booked_cpu_us(uid) > 0)


def test_the_agent_may_ask_the_kubelet_for_pods_and_for_nothing_else(by_kubelet: Release) -> None:
    inside = ("-n", AGENTS, "exec", "ds/carbonbudget-agent", "--")
    assert by_kubelet.cluster.kubectl(*inside, "python3", "-c", ASK).stdout.split() == ["200", "403", "403", "403"]


def test_with_the_kubelet_the_agent_has_no_right_to_list_pods_at_the_api_server(by_kubelet: Release) -> None:
    role = by_kubelet.cluster.get("clusterrole", "carbonbudget-agent")
    assert "watch" not in json.dumps(role["rules"])
