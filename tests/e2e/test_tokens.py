"""Real tokens at the real server: a node speaks only for itself, and nobody else speaks at all."""

from __future__ import annotations

import base64
import json
import time

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from tests.e2e.conftest import AGENTS, SYSTEM, Release, wait_for
from tests.ledger.reports import a_report

from carbonbudget_core.node_report_json import encode_report

pytestmark = pytest.mark.cluster

AGENT = ("carbonbudget-agent", "-n", AGENTS)
OURS = ("--audience", "carbonbudget-server")
# Runs in the server's pod, which trusts the CA of its own Secret's issuer by way of the ConfigMap's text.
POST = """
import json, ssl, sys, urllib.error, urllib.request
asked = json.load(sys.stdin)
request = urllib.request.Request(asked["url"], asked["body"].encode(), {"Authorization": "Bearer " + asked["token"]})
try:
    answer = urllib.request.urlopen(request, context=ssl.create_default_context(cadata=asked["ca"]))
except urllib.error.HTTPError as error:
    answer = error
print(answer.status, answer.read().decode())
"""


def token(release: Release, *args: str) -> str:
    """A token of the TokenRequest API."""
    return release.cluster.kubectl("create", "token", *args).stdout.strip()


def post(release: Release, bearer: str, body: str) -> tuple[int, str]:
    """Post a report from inside the cluster; status and reason."""
    config = release.cluster.get("-n", SYSTEM, "configmap", "carbonbudget-ca")
    asked = {
        "url": f"https://carbonbudget-server.{SYSTEM}.svc:8443/v1/reports",
        "ca": config["data"]["ca.crt"],  # type: ignore[index] # JSON
        "token": bearer,
        "body": body,
    }
    inside = ("-n", SYSTEM, "exec", "-i", "deploy/carbonbudget-server", "-c", "server", "--", "python3", "-c", POST)
    status, _, text = release.cluster.kubectl(*inside, stdin=json.dumps(asked)).stdout.partition(" ")
    value = json.loads(text)
    return int(status), value.get("reason") or value["result"]


def expired(release: Release, good: str) -> str:
    """The same token as it will read once it has run out: its claims with a past `exp`, signed by the cluster's key."""
    key = serialization.load_pem_private_key((release.cluster.kubeconfig.parent / "pki/sa.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    header, payload, _ = good.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims |= {name: claims[name] - 7200 for name in ("exp", "iat", "nbf")}
    signed = f"{header}.{_base64(json.dumps(claims).encode())}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{_base64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def windows(release: Release) -> int:
    said = release.carbonbudget("ledger", "check", "--config", "/etc/carbonbudget/config/config.yaml").stdout
    return int(said.split(" nodes, ")[1].split()[0])


@pytest.mark.parametrize(
    ("args", "status", "reason"),
    [
        ((*AGENT,), 401, "not for the audience carbonbudget-server"),
        (("default", "-n", "default", *OURS), 403, "is not the agents' account"),
        ((*AGENT, *OURS), 403, "the token is bound to no node"),
    ],
    ids=["the API server's audience", "another account", "bound to no node"],
)
def test_a_token_that_is_not_a_nodes_own_is_refused(
    release: Release, args: tuple[str, ...], status: int, reason: str
) -> None:
    found, said = post(release, token(release, *args), encode_report(a_report(node="node-1")))
    assert (found, reason in said) == (status, True), said


def test_a_token_that_has_expired_is_refused(release: Release) -> None:
    node = release.cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}").stdout
    good = token(release, *AGENT, *OURS, "--bound-object-kind", "Node", "--bound-object-name", node)
    report = encode_report(a_report(int(time.time()) // 60 * 60 - 7200, node="another"))
    assert post(release, good, report)[0] == 403  # it is known, and speaks for another node
    status, said = post(release, expired(release, good), report)
    assert (status, "expired" in said) == (401, True), said


def test_a_nodes_token_speaks_for_that_node_alone(release: Release) -> None:
    node = release.cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}").stdout
    bound = token(release, *AGENT, *OURS, "--bound-object-kind", "Node", "--bound-object-name", node)
    start = int(time.time()) // 60 * 60 - 7200
    other = encode_report(a_report(start, node="another"))
    assert post(release, bound, other) == (403, f"the token is bound to node '{node}', the report is of node 'another'")
    broken = encode_report(a_report(start, node=node)).replace('"measured_uj":1000', '"measured_uj":1001')
    status, said = post(release, bound, broken)
    assert (status, "does not conserve" in said) == (400, True)
    # Refused ones left nothing: the agent's own windows come on, and only they.
    before = windows(release)
    wait_for("the agent's next window", lambda: windows(release) > before, seconds=60)
