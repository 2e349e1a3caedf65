"""The programs of the cluster: their command lines and health checks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import health
from .settings import NAMESPACE, Settings

# In the order of their start; they are stopped in the reverse order.
ORDER = (
    "etcd",
    "kube-apiserver",
    "containerd",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
)
LOG_LEVEL = "--v=1"


@dataclass(frozen=True)
class Component:
    name: str
    command: tuple[str, ...]
    healthy: Callable[[], bool]
    start_s: float  # how long a healthy start may take on a slow machine


def environment(extra: Mapping[str, str] = {}) -> dict[str, str]:
    """The environment of the programs: only PATH and HOME."""
    path = os.environ.get("PATH", "")
    for directory in ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"):
        if directory not in path.split(":"):
            path += f":{directory}"
    return {"PATH": path, "HOME": os.environ.get("HOME", "/"), **extra}


def proxies() -> dict[str, str]:
    """For containerd alone: a machine may reach registries only through a proxy."""
    names = (
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
    )
    return {name: os.environ[name] for name in names if name in os.environ}


def _etcd(s: Settings) -> list[str]:
    # Only TLS clients with our certificate: write access to etcd is control of the cluster and so of the machine.
    pki = s.pki
    return [
        "--name=default",
        f"--data-dir={s.state}/etcd",
        "--unsafe-no-fsync=true",
        "--listen-client-urls=https://127.0.0.1:2379",
        "--advertise-client-urls=https://127.0.0.1:2379",
        "--listen-peer-urls=https://127.0.0.1:2380",
        "--initial-advertise-peer-urls=https://127.0.0.1:2380",
        "--initial-cluster=default=https://127.0.0.1:2380",
        "--listen-metrics-urls=http://127.0.0.1:2381",
        f"--cert-file={pki}/etcd.crt",
        f"--key-file={pki}/etcd.key",
        f"--trusted-ca-file={pki}/ca.crt",
        "--client-cert-auth=true",
        f"--peer-cert-file={pki}/etcd.crt",
        f"--peer-key-file={pki}/etcd.key",
        f"--peer-trusted-ca-file={pki}/ca.crt",
        "--peer-client-cert-auth=true",
        "--log-level=warn",
    ]


def _api_server(s: Settings, node_ip: str) -> list[str]:
    pki = s.pki
    flags = [
        "--bind-address=0.0.0.0",
        "--secure-port=6443",
        f"--advertise-address={node_ip}",
        "--etcd-servers=https://127.0.0.1:2379",
        f"--etcd-cafile={pki}/ca.crt",
        f"--etcd-certfile={pki}/apiserver-etcd-client.crt",
        f"--etcd-keyfile={pki}/apiserver-etcd-client.key",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--client-ca-file={pki}/ca.crt",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        # MutatingAdmissionPolicy, which tracking.injector=policy needs, is beta and switched off in 1.34.
        "--feature-gates=MutatingAdmissionPolicy=true",
        "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
        "--allow-privileged=true",
        f"--service-cluster-ip-range={s.service_cidr}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki}/front-proxy-client.crt",
        f"--proxy-client-key-file={pki}/front-proxy-client.key",
        LOG_LEVEL,
    ]
    if s.kubelet_serving_cert == "cluster":
        flags.append(f"--kubelet-certificate-authority={pki}/ca.crt")
    return flags


def _controller_manager(s: Settings) -> list[str]:
    kubeconfig = s.config / "controller-manager.kubeconfig"
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        f"--root-ca-file={s.pki}/ca.crt",
        f"--service-account-private-key-file={s.pki}/sa.key",
        f"--cluster-signing-cert-file={s.pki}/ca.crt",
        f"--cluster-signing-key-file={s.pki}/ca.key",
        f"--flex-volume-plugin-dir={s.kubelet_root}/volume-plugins",
        LOG_LEVEL,
    ]


def _scheduler(s: Settings) -> list[str]:
    kubeconfig = s.config / "scheduler.kubeconfig"
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        LOG_LEVEL,
    ]


def kubelet_flags(s: Settings, node_ip: str) -> list[str]:
    """The kubelet's command line; the paths are those of the node it runs on."""
    return [
        f"--config={s.config}/kubelet.json",
        f"--kubeconfig={s.config}/kubelet.kubeconfig",
        f"--root-dir={s.kubelet_root}",
        f"--cert-dir={s.kubelet_root}/pki",
        f"--hostname-override={s.node_name}",
        f"--node-ip={node_ip}",
        LOG_LEVEL,
    ]


def all_of(s: Settings, node_ip: str, tools: Mapping[str, Path]) -> dict[str, Component]:
    """Every component by name. `tools` has the path of each program (containerd's too)."""
    flags = {
        "etcd": _etcd(s),
        "kube-apiserver": _api_server(s, node_ip),
        "containerd": [f"--config={s.config}/containerd.toml"],
        "kube-controller-manager": _controller_manager(s),
        "kube-scheduler": _scheduler(s),
        "kubelet": kubelet_flags(s, node_ip),
        "kube-proxy": [f"--config={s.config}/kube-proxy.json", LOG_LEVEL],
    }
    ca = s.pki / "ca.crt"
    probes: dict[str, Callable[[], bool]] = {
        "etcd": lambda: health.get_ok("http://127.0.0.1:2381/health"),
        "kube-apiserver": lambda: health.get_ok("https://127.0.0.1:6443/readyz", ca=ca),
        "containerd": lambda: health.containerd_ok(s.containerd_socket, NAMESPACE),
        "kube-controller-manager": lambda: health.get_ok("https://127.0.0.1:10257/healthz"),
        "kube-scheduler": lambda: health.get_ok("https://127.0.0.1:10259/readyz"),
        "kubelet": lambda: health.get_ok("http://127.0.0.1:10248/healthz"),
        "kube-proxy": lambda: health.get_ok("http://127.0.0.1:10256/livez"),
    }
    return {
        name: Component(name, (str(tools[name]), *flags[name]), probes[name], 90.0 if name != "kubelet" else 60.0)
        for name in ORDER
    }
