"""An API server of their own with a running Kueue, and our accounts as the chart has them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.apiserver.chart_policies import apply_crds
from tests.conftest import Cluster
from tests.control_plane import control_plane
from tests.e2e.conftest import CHART, SYSTEM
from tests.kueue.process import running_kueue

from carbonbudget_operator.kube.credentials import Credentials
from localcluster import tools


@pytest.fixture(scope="session")
def kueue(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """With Kueue, one queue `main` of 2 CPUs, and our chart's rights and policies with enforcement.kueue."""
    if not tools.is_built("kueue"):
        pytest.skip("Kueue's controller manager is not built: `make kueue` builds it (minutes, once) and runs these")
    with control_plane(cluster, tmp_path_factory.mktemp("control-plane")) as made:
        apply_crds(made)
        made.kubectl("create", "namespace", SYSTEM)
        apply_chart(made, "enforcement.kueue=v1beta2")
        with running_kueue(made, tmp_path_factory.mktemp("kueue")):
            made.kubectl("apply", "-f", "-", stdin=QUEUE)
            yield made


QUEUE = """
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: default}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: main}
spec:
  namespaceSelector: {}
  resourceGroups:
    - coveredResources: [cpu]
      flavors: [{name: default, resources: [{name: cpu, nominalQuota: 2}]}]
"""


def apply_chart(cluster: Cluster, *values: str) -> None:
    """The chart's accounts, rights and policy of own writes."""
    templates = [f"--show-only=templates/{name}.yaml" for name in ("rbac", "controller", "own-writes-policy")]
    command = ("helm", "template", "carbonbudget", CHART, "-n", SYSTEM, "--kube-version", "1.34", *templates)
    text = cluster.run(*command, "--set", ",".join(("certificates.mode=Provided", *values))).stdout
    for document in yaml.safe_load_all(text):
        named = document["metadata"]["name"] in ("carbonbudget-controller", "carbonbudget-own-writes")
        if named and document["kind"] not in ("Deployment", "Service"):
            cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))


def credentials(cluster: Cluster, account: str, directory: Path) -> Credentials:
    """A service account of ours, by a token of its own."""
    token = cluster.kubectl("-n", SYSTEM, "create", "token", account).stdout.strip()
    config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json").stdout)["clusters"][0]["cluster"]
    ca = directory / "ca.crt"
    ca.write_bytes(base64.b64decode(config["certificate-authority-data"]))
    return Credentials(config["server"], lambda: token, str(ca))
