"""The cluster's certificates and kubeconfigs, made with the openssl command.

Three authorities: one for everything in the cluster, one for the aggregation layer (front proxy),
and a key pair that signs service-account tokens. All elliptic (P-256): made in milliseconds.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .say import ClusterError
from .settings import Settings

DAYS = "3650"  # longer than any test machine lives: nothing here rotates


def _openssl(*args: str, cwd: Path) -> None:
    done = subprocess.run(["openssl", *args], cwd=cwd, capture_output=True, text=True)
    if done.returncode != 0:
        why = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ClusterError(f"openssl {args[0]} failed: {why}")


def _key(directory: Path, name: str) -> None:
    _openssl(
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-out",
        f"{name}.key",
        cwd=directory,
    )


def _authority(directory: Path, name: str, common_name: str) -> None:
    _key(directory, name)
    _openssl(
        "req",
        "-x509",
        "-new",
        "-key",
        f"{name}.key",
        "-days",
        DAYS,
        "-subj",
        f"/CN={common_name}",
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
        "-out",
        f"{name}.crt",
        cwd=directory,
    )


def _leaf(directory: Path, name: str, subject: str, authority: str = "ca", sans: Sequence[str] = ()) -> None:
    """A certificate for a client, and for a server too where names (`DNS:..`, `IP:..`) are given."""
    _key(directory, name)
    usage = "serverAuth,clientAuth" if sans else "clientAuth"
    lines = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        f"extendedKeyUsage={usage}",
        "authorityKeyIdentifier=keyid",
        "subjectKeyIdentifier=hash",
    ]
    if sans:
        lines.append("subjectAltName=" + ",".join(sans))
    (directory / f"{name}.ext").write_text("\n".join(lines) + "\n")
    _openssl("req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr", cwd=directory)
    _openssl(
        "x509",
        "-req",
        "-in",
        f"{name}.csr",
        "-CA",
        f"{authority}.crt",
        "-CAkey",
        f"{authority}.key",
        "-CAcreateserial",
        "-days",
        DAYS,
        "-sha256",
        "-extfile",
        f"{name}.ext",
        "-out",
        f"{name}.crt",
        cwd=directory,
    )
    for leftover in (f"{name}.csr", f"{name}.ext"):
        (directory / leftover).unlink()


def create(settings: Settings, node_ip: str) -> None:
    """Makes every key and certificate of a new cluster under settings.pki."""
    pki = settings.pki
    pki.mkdir(parents=True, mode=0o700)
    old = os.umask(0o077)
    try:
        _authority(pki, "ca", "carbonbudget-local-ca")
        _authority(pki, "front-proxy-ca", "carbonbudget-local-front-proxy-ca")
        _key(pki, "sa")
        _openssl("pkey", "-in", "sa.key", "-pubout", "-out", "sa.pub", cwd=pki)
        local = ["DNS:localhost", "IP:127.0.0.1"]
        service = ["kubernetes", "default", "svc", "cluster", "local"]
        names = [f"DNS:{'.'.join(service[:n])}" for n in (1, 2, 3, 5)]
        _leaf(
            pki,
            "apiserver",
            "/CN=kube-apiserver",
            sans=[
                *local,
                *names,
                f"DNS:{settings.node_name}",
                f"IP:{node_ip}",
                f"IP:{settings.api_service_ip}",
            ],
        )
        _leaf(pki, "etcd", "/CN=etcd", sans=local)
        _leaf(pki, "apiserver-etcd-client", "/CN=kube-apiserver-etcd-client")
        _leaf(pki, "apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
        _leaf(pki, "front-proxy-client", "/CN=front-proxy-client", authority="front-proxy-ca")
        _leaf(pki, "kubelet-serving", _node(settings.node_name), sans=[f"DNS:{settings.node_name}", f"IP:{node_ip}"])
        for name, subject in clients(settings).items():
            _leaf(pki, name, subject)
    finally:
        os.umask(old)


def clients(settings: Settings) -> dict[str, str]:
    """Certificate name -> subject of those who talk to the API server with a kubeconfig."""
    return {
        "admin": "/O=system:masters/CN=kubernetes-admin",
        "controller-manager": "/CN=system:kube-controller-manager",
        "scheduler": "/CN=system:kube-scheduler",
        "kube-proxy": "/CN=system:kube-proxy",
        "kubelet": _node(settings.node_name),
    }


def _node(name: str) -> str:
    """The subject by which the API server knows a node's kubelet."""
    return f"/O=system:nodes/CN=system:node:{name}"


def node(settings: Settings, name: str, address: str) -> None:
    """Makes what the kubelet of another node needs: `NAME-serving` and, as a client, `NAME-kubelet`."""
    old = os.umask(0o077)
    try:
        _leaf(settings.pki, f"{name}-serving", _node(name), sans=[f"DNS:{name}", f"IP:{address}"])
        _leaf(settings.pki, f"{name}-kubelet", _node(name))
    finally:
        os.umask(old)


def write_kubeconfig(settings: Settings, client: str, server: str, path: Path) -> None:
    """A kubeconfig with everything embedded, readable by root only (JSON is YAML too)."""

    def data(name: str) -> str:
        return base64.b64encode((settings.pki / name).read_bytes()).decode()

    name = "carbonbudget-local"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": data("ca.crt")}}],
        "users": [
            {
                "name": client,
                "user": {
                    "client-certificate-data": data(f"{client}.crt"),
                    "client-key-data": data(f"{client}.key"),
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": client}}],
        "current-context": name,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        json.dump(content, out, indent=1)
