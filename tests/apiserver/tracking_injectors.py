"""The chart's policy and webhook that track pods, installed once for all tests of them.

Once: after the last binding of a policy with a ConfigMap is gone, the API server follows no ConfigMap any more
(kubernetes#130887).
"""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.apiserver.tracked_pods import CHANGED, LEFT, Pod, pod
from tests.apiserver.webhook_process import Webhook
from tests.conftest import ROOT, Cluster
from tests.e2e.conftest import CHART, wait_for

from carbonbudget_operator.controller.certificates import make_ca

SYSTEM = "tracking-system"
URL = f"https://carbonbudget-server.{SYSTEM}.svc:8443"
CA = make_ca(dt.datetime.now(dt.UTC)).certificate
GROUP = "admissionregistration.k8s.io"


class Tracking:
    """The chart's policy or webhook, for namespaces with a label of this run alone."""

    def __init__(self, cluster: Cluster, injector: str, directory: Path) -> None:
        self.cluster, self.injector = cluster, injector
        self.labels = {"carbonbudget.dev/track": f"{injector}-{uuid.uuid4().hex[:6]}"}
        self.space = self.labels["carbonbudget.dev/track"]
        (directory / "tracked-ca.crt").write_text(CA)
        arguments = (f"--server-url={URL}", f"--server-ca={directory / 'tracked-ca.crt'}")
        self.process = Webhook(cluster, directory, [], arguments, tracks_pods=True)
        self.made: list[str] = []

    def install(self) -> None:
        if self.injector == "webhook":
            self.process.start()
        for document in self._rendered():
            name = document["metadata"]["name"] = f"{document['metadata']['name']}-{self.space}"
            if document["kind"] == "MutatingAdmissionPolicyBinding":
                document["spec"]["policyName"] = name
            for hook in document.get("webhooks", []):
                url = self.process.url + hook["clientConfig"]["service"]["path"]
                hook["clientConfig"] = {"url": url, "caBundle": self.process.ca_bundle}
            self.made.append(f"{document['kind']}/{name}")
            self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))
        self.namespace(self.space)
        wait_for("the injector", lambda: self.is_tracked(self.created(pod("probe"))["probe"]), 30)

    @staticmethod
    def is_tracked(spec: Pod) -> bool:
        """Whether the pod got the token."""
        return bool(own_part(spec)["volumes"])

    def _rendered(self) -> list[dict[str, Any]]:
        command = ["helm", "template", "carbonbudget", CHART, "-n", SYSTEM, "--kube-version", "1.34"]
        command += ["--set", f"tracking.injector={self.injector},enforcement.mode=Observe"]
        command += ["--set-json", f"tracking.namespaceSelector={json.dumps({'matchLabels': self.labels})}"]
        listed = self.cluster.kubectl("api-resources", f"--api-group={GROUP}", "--no-headers").stdout
        for line in listed.splitlines():
            command += ["--api-versions", f"{line.split()[-3]}/{line.split()[-1]}"]
        wanted = ("MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding", "MutatingWebhookConfiguration")
        documents = [one for one in yaml.safe_load_all(self.cluster.run(*command).stdout) if one]
        return [one for one in documents if one["kind"] in wanted]

    def remove(self) -> None:
        self.cluster.kubectl("delete", "--ignore-not-found", *self.made, check=False)
        self.cluster.kubectl("delete", "namespace", self.space, "--wait=false", check=False)
        self.process.stop()

    def namespace(self, name: str, **labels: str) -> None:
        """A namespace in which pods are tracked, with its default account."""
        metadata = {"name": name, "labels": self.labels | labels}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))
        account = ("-n", name, "get", "serviceaccount", "default")
        wait_for("the account", lambda: not self.cluster.kubectl(*account, check=False).returncode, 30)

    def created(self, *pods: Pod, space: str = "", real: bool = False) -> dict[str, Pod]:
        """The pods as the API server creates them, by name: in a dry run, unless `real`."""
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": pods})
        command = ["-n", space or self.space, "create", "-f", "-", "-o", "json"]
        shown = self.cluster.kubectl(*command, *([] if real else ["--dry-run=server"]), stdin=body).stdout
        made = json.loads("[" + shown.strip().replace("\n}\n{", "\n},\n{") + "]")  # kubectl prints one after the other
        return {one["metadata"]["name"]: without_accidents(one["spec"]) for one in made}


def without_accidents(spec: Pod) -> Pod:
    """The specification with the random name of the default token's volume replaced."""
    text = json.dumps(spec)
    for volume in spec.get("volumes", []):
        if volume["name"].startswith("kube-api-access-"):
            text = text.replace(volume["name"], "kube-api-access")
    value: Pod = json.loads(text)
    return value


def own_part(spec: Pod) -> Pod:
    """What is ours in a specification: the volume, and per container the mount and the variables."""
    containers = [*spec["containers"], *spec.get("initContainers", [])]
    return {
        "volumes": [v for v in spec.get("volumes", []) if v["name"] == "carbonbudget-token"],
        "mounts": {
            c["name"]: [m for m in c.get("volumeMounts", []) if m["name"] == "carbonbudget-token"] for c in containers
        },
        "env": {c["name"]: {e["name"]: e["value"] for e in c.get("env", [])} for c in containers},
    }


@pytest.fixture(scope="session")
def tracking_ca(cluster: Cluster) -> Iterator[None]:
    """The CA where the controller writes it, in a release namespace of these tests."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    write_ca(cluster, CA)
    yield
    cluster.kubectl("delete", "namespace", SYSTEM, "--wait=false")


def write_ca(cluster: Cluster, text: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "carbonbudget-ca", "namespace": SYSTEM}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(body | {"data": {"ca.crt": text}}))


@pytest.fixture(scope="session")
def injectors(
    cluster: Cluster, tracking_ca: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Tracking, Tracking]]:
    """Policy and webhook, each for namespaces of its own."""
    if "mutatingadmissionpolicies" not in cluster.kubectl("api-resources", "-o", "name").stdout:
        pytest.skip("this API server does not serve MutatingAdmissionPolicy")
    policy, webhook = (Tracking(cluster, one, tmp_path_factory.mktemp(one)) for one in ("policy", "webhook"))
    try:
        policy.install()
        webhook.install()
        yield policy, webhook
    finally:
        policy.remove()
        webhook.remove()


@pytest.fixture(params=["policy", "webhook"])
def tracking(request: pytest.FixtureRequest, injectors: tuple[Tracking, Tracking]) -> Tracking:
    return injectors[request.param == "webhook"]


@pytest.fixture(scope="session")
def tracked_specs(cluster: Cluster, injectors: tuple[Tracking, Tracking]) -> dict[str, dict[str, Pod]]:
    """The specifications of the whole table: by policy, by webhook, and where pods are not tracked."""
    policy, webhook = injectors
    (lines,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8"), re.DOTALL)
    pods = [*CHANGED, *LEFT, pod("from-the-page") | {"spec": yaml.safe_load(lines)}]
    return {
        "policy": policy.created(*pods),
        "webhook": webhook.created(*pods),
        "untracked": policy.created(*pods, space="default"),
    }
