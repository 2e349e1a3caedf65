"""`allocate` and `report` with a kubeconfig alone: real commands, a real API server, its proxy, and a real server."""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aiohttp.test_utils import unused_port
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.cli.test_server import settings
from tests.conftest import ENDS_WITH_US, Cluster
from tests.e2e.conftest import CHART, wait_for
from tests.external.given import FILES
from tests.ledger.reports import a_report, book

from carbonbudget_operator.ledger.booking import Booker
from carbonbudget_operator.ledger.ledger_engine import open_ledger
from carbonbudget_operator.ledger.schema_migration import migrate

pytestmark = [pytest.mark.cluster, pytest.mark.control_plane]

SPACE = "reports-outside"
COMMAND = str(Path(sys.executable).with_name("carbonbudget"))
HOUR = 1_764_003_600
ROLES = tuple(f"carbonbudget-{what}" for what in ("reports", "closing", "importing", "sharing", "api"))
DAYS = ("--from", "2025-11-24", "--to", "2025-11-25")


@dataclass
class Outside:
    """Somebody with a kubeconfig, and nothing else of the cluster."""

    directory: Path
    cluster_entry: dict[str, Any]

    def kubeconfig(self, name: str, user: dict[str, str]) -> Path:
        path = self.directory / f"{name}.kubeconfig"
        config = {
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "c", "cluster": self.cluster_entry}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        }  # fmt: skip
        path.write_text(json.dumps(config))
        return path

    def run(self, kubeconfig: Path, *args: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("CARBONBUDGET_", "KUBE"))}
        command = (COMMAND, *args, "--server-namespace", SPACE)
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=kept | {"KUBECONFIG": str(kubeconfig)},
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def outside(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    """The chart's accounts and roles, the server as a process, and its Service."""
    directory, kubectl, port = tmp_path_factory.mktemp("outside"), cluster.kubectl, unused_port()
    made: list[tuple[str, str]] = []
    kubectl("create", "namespace", SPACE)
    file = settings(directory, port, "0.0.0.0")  # the API server's proxy goes to no loopback address
    filled(f"sqlite:///{directory}/ledger.db")
    with (directory / "server.log").open("wb") as log:
        server = subprocess.Popen(
            (*ENDS_WITH_US, COMMAND, "server", "--config", str(file)),
            env=cluster.environment, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        rendered = cluster.run(
            "helm", "template", "carbonbudget", CHART, "-n", SPACE, "--kube-version", "1.34",
            "--show-only=templates/rbac.yaml",
        ).stdout  # fmt: skip
        for document in yaml.safe_load_all(rendered):
            if document["metadata"]["name"] in ROLES:
                made.append((document["kind"], document["metadata"]["name"]))
                kubectl("apply", "-f", "-", stdin=json.dumps(document))
        for one in a_service(cluster, port):
            kubectl("apply", "-f", "-", stdin=json.dumps(one))
        config = json.loads(kubectl("config", "view", "--raw", "-o", "json").stdout)
        found = Outside(directory, config["clusters"][0]["cluster"])
        answered: list[subprocess.CompletedProcess[str]] = []

        def answers() -> bool:
            answered[:] = [found.run(cluster.kubeconfig, "allocate", *DAYS)]
            return answered[0].returncode == 0

        try:
            wait_for("the server", answers, 60)
        except AssertionError:
            raise AssertionError(answered[0].stderr + (directory / "server.log").read_text()[-2000:]) from None
        yield found
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
        for kind, name in made:
            kubectl("-n", SPACE, "delete", kind, name, "--ignore-not-found")
        kubectl("delete", "namespace", SPACE, "--wait=false")


def filled(url: str) -> None:
    engine = open_ledger(url)
    migrate(engine)
    book(Booker(engine), *(a_report(HOUR + 60 * minute, "node-1", {"p": 3_600_000}) for minute in range(60)))
    engine.dispose()


def a_service(cluster: Cluster, port: int) -> list[dict[str, Any]]:
    nodes = json.loads(cluster.kubectl("get", "endpoints", "kubernetes", "-n", "default", "-o", "json").stdout)
    address = nodes["subsets"][0]["addresses"][0]["ip"]
    metadata = {"name": "carbonbudget-server", "namespace": SPACE}
    # The API server's proxy goes to addresses of pods alone: one that nothing runs, with the machine's address.
    pod = {"kind": "Pod", "name": "server"}
    spec = {"containers": [{"name": "a", "image": "example.org/a"}], "automountServiceAccountToken": False}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "server", "namespace": SPACE}, "spec": spec}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(body))
    status = json.dumps({"status": {"podIP": address, "podIPs": [{"ip": address}]}})
    cluster.kubectl("-n", SPACE, "patch", "pod", "server", "--subresource=status", "--type=merge", "-p", status)
    return [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"ports": [{"name": "https", "port": 8443}]},
        },
        {
            "apiVersion": "v1", "kind": "Endpoints", "metadata": metadata,
            "subsets": [
                {
                    "addresses": [{"ip": address, "targetRef": pod | {"namespace": SPACE}}],
                    "ports": [{"name": "https", "port": port}],
                }
            ],
        },
    ]  # fmt: skip


@pytest.fixture
def nobody(cluster: Cluster, outside: Outside) -> Iterator[Path]:
    """A kubeconfig of a service account without any right."""
    cluster.kubectl("-n", SPACE, "create", "serviceaccount", "lead")
    token = cluster.kubectl("-n", SPACE, "create", "token", "lead").stdout.strip()
    yield outside.kubeconfig("lead", {"token": token})
    for role in ROLES:
        cluster.kubectl("-n", SPACE, "delete", "rolebinding", f"lead-{role}", "--ignore-not-found")
    cluster.kubectl("-n", SPACE, "delete", "serviceaccount", "lead")


def bind(cluster: Cluster, role: str, *subject: str) -> None:
    cluster.kubectl("-n", SPACE, "create", "rolebinding", f"lead-{role}", f"--role={role}", *subject)


def certificate_of(cluster: Cluster, user: str) -> dict[str, str]:
    """A client certificate, as the API server's own signer gives them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, user)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    spec = {
        "request": base64.b64encode(pem).decode(), "usages": ["client auth"],
        "signerName": "kubernetes.io/kube-apiserver-client",
    }  # fmt: skip
    body = {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": user},
        "spec": spec,
    }  # fmt: skip
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(body))
    try:
        cluster.kubectl("certificate", "approve", user)
        made = wait_for("the certificate", lambda: cluster.get("csr", user)["status"].get("certificate"), 30)
    finally:
        cluster.kubectl("delete", "csr", user)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {"client-certificate-data": made, "client-key-data": base64.b64encode(private).decode()}


def test_without_a_right_each_command_names_the_role_that_has_it(outside: Outside, nobody: Path) -> None:
    for args in (
        ("allocate", *DAYS),
        ("report", "--period", "2025-11"),
        ("report", "list"),
        ("report", "show", "2025"),
    ):
        done = outside.run(nobody, *args)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
        assert "the right to create serviceaccounts/token is missing, role carbonbudget-reports in" in done.stderr


def test_with_the_role_a_token_reads_what_the_ledger_itself_answers_and_closes_nothing(
    cluster: Cluster, outside: Outside, nobody: Path
) -> None:
    bind(cluster, "carbonbudget-reports", f"--serviceaccount={SPACE}:lead")
    local = outside.directory / "config.yaml"
    for args in (("allocate", *DAYS, "-o", "json"), ("report", "--period", "2025-11", "-o", "json")):
        far = wait_for("the right", lambda args=args: settled(outside.run(nobody, *args)), 60)
        near = subprocess.run((COMMAND, *args, "--config", str(local)), capture_output=True, text=True, check=True)
        assert json.loads(far) == json.loads(near.stdout)
        assert json.loads(far)["total"]["location_ug"] > 0
    refused = outside.run(nobody, "report", "close", "2025-11-24", "--incomplete")
    assert refused.returncode == 1
    assert "role carbonbudget-closing in" in refused.stderr
    assert json.loads(outside.run(nobody, "report", "list", "-o", "json").stdout) == {"items": [], "reopened": []}


def test_the_role_for_importing_imports_and_removes_external_figures_and_closes_nothing(
    cluster: Cluster, outside: Outside, nobody: Path
) -> None:
    bring = ("external", "import", "--format", "aws", str(FILES / "aws-v3.csv"))
    without = outside.run(nobody, *bring)
    assert (without.returncode, without.stdout) == (1, "")
    assert "role carbonbudget-importing in" in without.stderr
    bind(cluster, "carbonbudget-importing", f"--serviceaccount={SPACE}:lead")
    name = wait_for("the right", lambda: settled(outside.run(nobody, *bring)), 60).partition(":")[0]
    assert "imported before" in outside.run(nobody, *bring).stderr
    shown = json.loads(outside.run(nobody, "report", "--period", "2025-10", "-o", "json").stdout)
    assert len(shown["external"]) == 5
    assert outside.run(nobody, "external", "remove", name, "--reason", "why").returncode == 0
    (gone,) = json.loads(outside.run(nobody, "external", "list", "-o", "json").stdout)["removed"]
    assert gone["removed_by"] == f"system:serviceaccount:{SPACE}:carbonbudget-importing"
    assert outside.run(nobody, "report", "close", "2025-11-24", "--incomplete").returncode == 1


def test_a_client_certificate_closes_shows_verifies_exports_and_reopens(cluster: Cluster, outside: Outside) -> None:
    auditor = outside.kubeconfig("auditor", certificate_of(cluster, "auditor"))
    bind(cluster, "carbonbudget-closing", "--user=auditor")
    try:
        text = wait_for(
            "the right", lambda: settled(outside.run(auditor, "report", "close", "2025-11-24", "--incomplete")), 60
        )
        digest = text.split()[-1]
        listed = outside.run(auditor, "report", "list").stdout
        assert digest in listed
        assert "2025-11-24" in listed
        assert digest in outside.run(auditor, "report", "show", "2025-11-24").stdout
        file = outside.directory / "closed.json"
        assert digest in outside.run(auditor, "report", "export", "2025-11-24", str(file)).stdout
        assert "match" in outside.run(auditor, "report", "verify", "2025-11-24", "--file", str(file)).stdout
        again = outside.run(auditor, "report", "close", "2025-11-24", "--incomplete")
        assert (again.returncode, digest in again.stdout) == (0, True)  # the same content is the same closure
        near = ("report", "verify", "2025-11-24", "--config", str(outside.directory / "config.yaml"))
        assert digest in subprocess.run((COMMAND, *near), capture_output=True, text=True, check=True).stdout
        done = outside.run(auditor, "report", "reopen", "2025-11-24", "--reason", "a test")
        assert "is open again" in done.stdout
        assert outside.run(auditor, "report", "show", "2025-11-24").returncode == 1
    finally:
        cluster.kubectl("-n", SPACE, "delete", "rolebinding", "lead-carbonbudget-closing")


def test_a_token_of_the_reader_closes_nothing_whoever_sends_it(cluster: Cluster, outside: Outside) -> None:
    """The server asks for the right itself; which account a command takes is the command's choice alone."""
    token = cluster.kubectl(
        "-n", SPACE, "create", "token", "carbonbudget-reports", "--audience=carbonbudget-server"
    ).stdout.strip()
    (outside.directory / "token").write_text(token)
    config = json.loads((outside.directory / "config.yaml").read_text())
    port = config["server"]["listen"].rpartition(":")[2]
    done = subprocess.run(
        (
            COMMAND, "report", "close", "2025-11-24", "--incomplete", "--server-url", f"https://localhost:{port}",
            "--server-ca", str(outside.directory / "ca.crt"), "--server-token-file", str(outside.directory / "token"),
        ),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "may not create closedreports.carbonbudget.dev" in done.stderr


def test_what_is_not_there_is_said_in_one_line(cluster: Cluster, outside: Outside) -> None:
    admin = cluster.kubeconfig
    done = outside.run(admin, "report", "list")
    assert done.returncode == 0, done.stderr
    done = subprocess.run(
        (COMMAND, "report", "list", "--server-namespace", "default"),
        capture_output=True, text=True, env=cluster.environment, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no carbonbudget server in namespace default" in done.stderr
    done = outside.run(admin, "report", "show", "2025-13")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def settled(done: subprocess.CompletedProcess[str]) -> str | None:
    """What it printed; None where the API server does not know of a new binding yet."""
    if done.returncode:
        assert "is missing" in done.stderr or "may not" in done.stderr, done.stderr
        time.sleep(0.1)
        return None
    return done.stdout


def test_a_tenant_reads_the_public_api_through_the_api_server_by_its_own_token(
    cluster: Cluster, outside: Outside, nobody: Path
) -> None:
    """The API server removes Authorization; the token in X-Carbonbudget-Token says who asks."""
    own = json.loads(nobody.read_text())["users"][0]["user"]["token"]
    ours = cluster.kubectl("-n", SPACE, "create", "token", "lead", "--audience=carbonbudget-server").stdout.strip()
    url = f"{outside.cluster_entry['server']}/api/v1/namespaces/{SPACE}/services/https:carbonbudget-server:8443/proxy"
    verify = ssl.create_default_context(cadata=base64.b64decode(ca_of(outside)).decode())

    def whoami(**headers: str) -> httpx.Response:
        given = {"Authorization": f"Bearer {own}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.get(f"{url}/api/v1/whoami", headers=given, verify=verify, timeout=30)

    assert whoami(X_Carbonbudget_Token=ours).json()["kind"] == "Status"  # the API server's own refusal
    bind(cluster, "carbonbudget-api", f"--serviceaccount={SPACE}:lead")
    wait_for("the binding", lambda: whoami(X_Carbonbudget_Token=ours).status_code == 200, 30)
    assert whoami(X_Carbonbudget_Token=ours).json()["user"] == f"system:serviceaccount:{SPACE}:lead"
    assert whoami().status_code == 401
    assert whoami(X_Carbonbudget_Token=own).status_code == 401  # good for the API server, and not for ours


def test_a_read_token_is_created_through_the_api_server_and_reads_by_its_proxy(
    cluster: Cluster, outside: Outside, nobody: Path
) -> None:
    bind(cluster, "carbonbudget-sharing", f"--serviceaccount={SPACE}:lead")
    wanted = ("token", "create", "--namespaces", "*", "--expires", "1d")
    wait_for("the binding", lambda: outside.run(nobody, *wanted).returncode == 0, 30)
    token = outside.run(nobody, *wanted).stdout.strip()
    own = json.loads(nobody.read_text())["users"][0]["user"]["token"]
    url = f"{outside.cluster_entry['server']}/api/v1/namespaces/{SPACE}/services/https:carbonbudget-server:8443/proxy"
    verify = ssl.create_default_context(cadata=base64.b64decode(ca_of(outside)).decode())
    headers = {"Authorization": f"Bearer {own}", "X-Carbonbudget-Token": token}
    for path in ("emissions?window=2025-11-24,2025-11-25", "budgets"):
        answer = httpx.get(f"{url}/api/v1/{path}", headers=headers, verify=verify, timeout=30)
        assert answer.status_code == 200, answer.text
    assert outside.run(nobody, "token", "revoke", "1").returncode == 0
    assert "revoked" in outside.run(nobody, "token", "list").stdout


def ca_of(outside: Outside) -> str:
    entry = outside.cluster_entry
    if "certificate-authority-data" in entry:
        return str(entry["certificate-authority-data"])
    return base64.b64encode(Path(entry["certificate-authority"]).read_bytes()).decode()
