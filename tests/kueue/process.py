"""Kueue's controller manager as a process on loopback, with the objects of Kueue's own chart.

What its chart gives to a Service goes to a port of this machine instead: its webhooks and the conversion between the
versions of its API. It acts as its own service account, with the rights of its chart.
"""

from __future__ import annotations

import base64
import datetime as dt
import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from tests.apiserver.webhook_process import free_port
from tests.conftest import ENDS_WITH_US, Cluster
from tests.e2e.conftest import wait_for
from tests.kueue.module import directory

from carbonbudget_operator.controller.certificates import CertificatePair
from localcluster import tools

NAMESPACE = "kueue-system"
ACCOUNT = "kueue-controller-manager"
_SERVICE, _SECRET = "kueue-webhook-service", "kueue-webhook-server-cert"
# No pod of Kueue's runs here, and without its visibility server nobody answers its aggregated API.
_LEFT_OUT = ("Deployment", "Service", "APIService", "ConfigMap", "Secret", "PodDisruptionBudget")


@contextmanager
def running_kueue(cluster: Cluster, at: Path) -> Iterator[None]:
    """Installed and ready; the process ends with the block, the objects with the API server."""
    port, health = free_port(), free_port()
    ca, leaf = _certificates()
    for name, text in (("tls.crt", leaf.certificate), ("tls.key", leaf.key)):
        (at / name).write_text(text)
    _install(cluster, f"https://localhost:{port}", ca, leaf)
    (at / "kubeconfig").write_text(json.dumps(_kubeconfig(cluster)))
    (at / "config.yaml").write_text(yaml.safe_dump(_configuration(port, health, at)))
    log = at / "kueue.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            (*ENDS_WITH_US, tools.bin_dir() / "kueue", f"--config={at / 'config.yaml'}", "--zap-log-level=2"),
            env=cluster.environment | {"KUBECONFIG": str(at / "kubeconfig")}, stdout=out, stderr=out,
        )  # fmt: skip

    def ready() -> bool:
        assert process.poll() is None, "it ended"
        connection = http.client.HTTPConnection("127.0.0.1", health, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    try:
        try:
            wait_for("Kueue", ready)
        except AssertionError as error:
            raise AssertionError(f"{error}; it wrote:\n{log.read_text()[-6000:]}") from None
        yield
    finally:
        process.kill()
        process.wait()


def _install(cluster: Cluster, url: str, ca: CertificatePair, leaf: CertificatePair) -> None:
    cluster.kubectl("create", "namespace", NAMESPACE)
    chart = str(directory() / "charts" / "kueue")
    text = cluster.run("helm", "template", "kueue", chart, "-n", NAMESPACE, "--kube-version", "1.34").stdout
    found = [one for one in yaml.load_all(text, yaml.CSafeLoader) if one and one["kind"] not in _LEFT_OUT]
    for one in found:
        for hook in one.get("webhooks", ()):
            _reached_at(hook["clientConfig"], url, ca)
        conversion = one["spec"].get("conversion") if one["kind"] == "CustomResourceDefinition" else None
        if conversion:
            _reached_at(conversion["webhook"]["clientConfig"], url, ca)
    # Kueue keeps certificates that are valid for its Service, and puts their CA where the API server looks for it.
    texts = {"ca.crt": ca.certificate, "ca.key": ca.key, "tls.crt": leaf.certificate, "tls.key": leaf.key}
    metadata = {"name": _SECRET, "namespace": NAMESPACE}
    found.append({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": texts})
    # Its webhooks last: until it runs they would refuse what comes after them.
    found.sort(key=lambda one: (one["kind"].endswith("WebhookConfiguration"), one["kind"] != "ServiceAccount"))
    stdin = "\n---\n".join(map(json.dumps, found))
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=stdin)


def _reached_at(client: dict[str, Any], url: str, ca: CertificatePair) -> None:
    """The same path at another address."""
    service = client.pop("service")
    client |= {"url": url + service["path"], "caBundle": base64.b64encode(ca.certificate.encode()).decode()}


def _kubeconfig(cluster: Cluster) -> dict[str, Any]:
    token = cluster.kubectl("-n", NAMESPACE, "create", "token", ACCOUNT, "--duration=2h").stdout.strip()
    config: dict[str, Any] = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json").stdout)
    context = {"cluster": config["clusters"][0]["name"], "user": ACCOUNT}
    return config | {
        "users": [{"name": ACCOUNT, "user": {"token": token}}],
        "contexts": [{"name": ACCOUNT, "context": context}],
        "current-context": ACCOUNT,
    }


def _configuration(port: int, health: int, certificates: Path) -> dict[str, Any]:
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": NAMESPACE,
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": "127.0.0.1", "port": port, "certDir": str(certificates)},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": True, "webhookServiceName": _SERVICE, "webhookSecretName": _SECRET},
        "integrations": {"frameworks": ["batch/job"]},
        "featureGates": {"VisibilityOnDemand": False},
    }


def _certificates() -> tuple[CertificatePair, CertificatePair]:
    """CA and server certificate as Kueue makes its own, or it would replace them.

    The CA is valid for the name kueue-ca, and both for more than the 90 days that Kueue looks ahead.
    """
    ca_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))  # Kueue reads no other kind of key
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kueue-ca")])
    ca = _signed(ca_name, ["kueue-ca"], ca_key.public_key(), ca_name, ca_key, authority=True)
    names = ["localhost", f"{_SERVICE}.{NAMESPACE}.svc"]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[1])])
    return _pair(ca, ca_key), _pair(_signed(subject, names, key.public_key(), ca_name, ca_key, authority=False), key)


def _signed(
    subject: x509.Name,
    names: list[str],
    key: rsa.RSAPublicKey,
    issuer: x509.Name,
    issuer_key: rsa.RSAPrivateKey,
    authority: bool,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _pair(certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> CertificatePair:
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return CertificatePair(certificate.public_bytes(serialization.Encoding.PEM).decode(), text.decode())
