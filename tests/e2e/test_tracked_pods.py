"""A labelled pod on the real cluster sees token, CA and variables; only carbonbudget's server accepts the token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.e2e.conftest import SYSTEM, Release, wait_for
from tests.e2e.test_tokens import post

pytestmark = pytest.mark.cluster

PATH = "/var/run/secrets/carbonbudget.dev"
SHOW = f'cat {PATH}/token && echo && env && echo "end of the variables" && sleep 600'
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True)
class Seen:
    """What a container of the pod printed: its token, and its variables as text."""

    space: str
    uid: str
    token: str
    variables: str


@pytest.fixture(scope="module")
def tracking(release: Release, space: str) -> Iterator[str]:
    """A namespace that asks for tracking, while the chart's policy (else its webhook) is installed."""
    served = release.cluster.kubectl("api-resources", "-o", "name").stdout
    injector = "policy" if "mutatingadmissionpolicies" in served else "webhook"
    release.helm("--set", f"tracking.injector={injector}")
    labels = ("carbonbudget.dev/track=enabled", "pod-security.kubernetes.io/enforce=restricted")
    release.cluster.kubectl("label", "namespace", space, *labels)
    yield space
    release.helm()


@pytest.fixture(scope="module")
def seen(release: Release, tracking: str) -> Seen:
    """A running pod of a plain image, with nothing but the label."""
    kubectl = release.cluster.kubectl
    container = {"name": "train", "image": "busybox:dev", "securityContext": RESTRICTED, "command": ["sh", "-c", SHOW]}
    labels = {"carbonbudget.dev/run": "exp-42", "carbonbudget.dev/model": "net"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "train", "labels": labels},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "initContainers": [container | {"name": "first", "command": ["sh", "-c", f"test -s {PATH}/token"]}],
            "containers": [container],
        },
    }

    def created() -> bool:
        """Whether a dry run shows the volume: the API server follows a new policy within a second or two."""
        shown = kubectl("-n", tracking, "create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(pod))
        return "carbonbudget-token" in shown.stdout

    wait_for("the injector", created, 30)
    kubectl("-n", tracking, "create", "-f", "-", stdin=json.dumps(pod))

    def printed() -> str | None:
        text = kubectl("-n", tracking, "logs", "train", "-c", "train", check=False).stdout
        return text if "end of the variables" in text else None

    token, _, variables = wait_for("the pod to print", printed).partition("\n")
    return Seen(tracking, release.uid(tracking, "pod", "train"), token, variables)


def reviewed(release: Release, token: str, *audiences: str) -> dict[str, Any]:
    """The API server's opinion of a token, for these audiences or its own."""
    spec = {"token": token} | ({"audiences": list(audiences)} if audiences else {})
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    answer = release.cluster.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(review)).stdout
    status: dict[str, Any] = json.loads(answer)["status"]
    return status


def test_the_pod_sees_the_ca_the_url_and_the_names_of_its_labels(release: Release, seen: Seen) -> None:
    ca = release.cluster.get("-n", SYSTEM, "configmap", "carbonbudget-ca")["data"]["ca.crt"]  # type: ignore[index] # JSON
    for line in (
        f"CARBONBUDGET_SERVER_URL=https://carbonbudget-server.{SYSTEM}.svc:8443",
        f"CARBONBUDGET_TOKEN_FILE={PATH}/token",
        f"CARBONBUDGET_CA={ca}",
        "CARBONBUDGET_RUN=exp-42",
        "CARBONBUDGET_MODEL=net",
    ):
        assert f"{line.strip()}\n" in seen.variables


def test_the_token_identifies_the_pod_to_carbonbudget_s_server(release: Release, seen: Seen) -> None:
    status = reviewed(release, seen.token, "carbonbudget-server")
    assert (status["authenticated"], status["audiences"]) == (True, ["carbonbudget-server"])
    assert status["user"]["username"] == f"system:serviceaccount:{seen.space}:default"
    assert status["user"]["extra"]["authentication.kubernetes.io/pod-uid"] == [seen.uid]
    assert status["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["train"]


@pytest.mark.parametrize("audiences", [(), ("carbonbudget",), ("https://kubernetes.default.svc.cluster.local",)])
def test_the_token_is_good_for_no_other_audience(release: Release, seen: Seen, audiences: tuple[str, ...]) -> None:
    assert not reviewed(release, seen.token, *audiences).get("authenticated", False)


def test_the_api_server_does_not_accept_the_token(release: Release, seen: Seen) -> None:
    server = release.cluster.kubectl(
        "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"
    ).stdout
    bare = ("kubectl", "--kubeconfig=/dev/null", f"--server={server}", "--insecure-skip-tls-verify")
    done = release.cluster.run(*bare, f"--token={seen.token}", "get", "--raw", "/api", check=False)
    assert done.returncode
    assert "Unauthorized" in done.stderr


def test_the_server_accepts_the_token_and_knows_whose_it_is(release: Release, seen: Seen) -> None:
    status, reason = post(release, seen.token, "{}")
    assert status == 403  # 401 is what a token of another audience gets
    assert f"system:serviceaccount:{seen.space}:default" in reason


def test_a_pod_without_the_label_gets_nothing(release: Release, tracking: str) -> None:
    container = {"name": "c", "image": "busybox:dev", "securityContext": RESTRICTED}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other"}, "spec": {"containers": [container]}}
    command = ("-n", tracking, "create", "--dry-run=server", "-o", "json", "-f", "-")
    assert "carbonbudget" not in json.dumps(
        json.loads(release.cluster.kubectl(*command, stdin=json.dumps(pod)).stdout)["spec"]
    )
